//! What a library needs to be measured by [tailwatch](https://docs.rs/tailwatch): events, the
//! functions and guards that record spans, and the recorder of each thread.
//!
//! A library depends on this crate, as it depends on `log` for its messages. It declares its events
//! and measures them. Whether anybody collects what it measures, the program decides: it depends on
//! the crate `tailwatch`, which re-exports everything here and adds the collector, reports and
//! files. This crate depends on nothing but `tailwatch-core`, which depends on nothing.
//!
//! ```
//! use tailwatch_record::{events, measure};
//!
//! events! {
//!     /// The events of this library.
//!     pub enum Parser {
//!         /// Parsing one message.
//!         Parse,
//!     }
//! }
//!
//! pub fn parse(message: &str) -> Option<u64> {
//!     let _span = measure(Parser::Parse);
//!     message.trim().parse().ok()
//! }
//!
//! assert_eq!(parse("42"), Some(42)); // no collector: the span goes nowhere
//! ```
//!
//! # Cost
//!
//! A span costs a few nanoseconds; without a collector, less. If there is a collector that does not
//! have the set, each record is counted in a place that all threads share. It does not allocate,
//! unless the program has a collector and the thread takes a ring with its first record. Recording
//! never panics, blocks or returns an error, and is wait-free on a thread that has a ring.
//!
//! # Limits
//!
//! - Spans that begin before the program installs a collector are not recorded.
//! - A program with two incompatible versions of this crate collects the spans of only one.
//! - If any package of a program enables the feature `off`, it is enabled for the whole program. So
//!   only the package of a binary should enable it.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro)]

#[doc(hidden)]
pub mod __private;
mod clock;
mod collectors;
mod declare;
mod event_set;
mod measure;
mod stamp;
mod thread_recorder;
mod wire;

/// What the crate `tailwatch` needs to collect what threads record. A library does not use it, and
/// any release may change it.
pub mod collecting {
    // Only the function: with the feature `macros`, the root also has the attribute of this name.
    pub use crate::measure::measure;
    pub use crate::{
        clock::{ReadMethod, ThreadClock},
        collectors::{AttachedCollector, Attempt, Collectors, WireHashes, set_collectors},
        event_set::sets_with_missed_records,
        thread_recorder::{
            IDS, LargerRingAt, OFF, RecorderCopies, RingOffer, ThreadRing, attach, attached_to,
            copies, detach,
        },
    };
}

pub use tailwatch_core;
pub use tailwatch_core::{
    AnyEvent, CoveredOutcomes, Event, EventId, EventInfo, EventNumber, Limit, MinSamples, Outcome,
    Quantile, Threshold, Token, Trading, Unit, tag_of,
};
#[cfg(feature = "macros")]
pub use tailwatch_macros::measure_recorded as measure;

pub use self::event_set::EventSet;
pub use self::measure::{
    CancelOnDrop, SpanGuard, measure, measure_cancel_on_drop, measure_cancel_on_drop_tagged,
    measure_tagged, record_discard, record_duration, record_end, record_start, record_start_tagged,
    record_value, time, try_time,
};
pub use self::stamp::{Stamp, record_since};
pub use self::wire::{IntoWire, WireError, receive_span};

/// Makes `cargo test --doc` compile and run the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
