//! What `#[measure]` and `events!` promise holds in crates of other editions of Rust, too.
//!
//! Two packages compile this file: one of Rust 2018 and one of Rust 2021.

// The generated code must not cause any warning.
#![deny(warnings)]
#![allow(unexpected_cfgs, reason = "the tests of `events!` use names of no feature")]
#![allow(non_fmt_panics, reason = "`assert!` prints `{name}` literally before Rust 2021")]

#[path = "../../core/tests/events.rs"]
mod events;
#[path = "../../adapters/std/tests/measure_attribute/harness.rs"]
mod harness;
#[path = "../../adapters/std/tests/measure_attribute/other_attributes.rs"]
mod other_attributes;
#[path = "../../adapters/std/tests/measure_attribute/returned_futures.rs"]
mod returned_futures;
#[path = "../../adapters/std/tests/measure_attribute/shapes.rs"]
mod shapes;
#[allow(unused_variables, reason = "used only in the messages of `assert!`")]
#[path = "../../adapters/std/tests/support/mod.rs"]
mod support;
