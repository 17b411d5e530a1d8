//! Arguments after the event that are unknown, repeated, or have a wrong value.

#![allow(unused_imports)] // a function that is not measured does not use its event

use tailwatch::{Trading, measure};

#[measure(Trading::OrderPlacement, error)]
fn near_to_err() {}

#[measure(Trading::OrderPlacement, Tags = 5)]
fn near_to_tag() {}

#[measure(Trading::OrderPlacement, level = "debug", skip(order), tag = 3)]
fn far_from_all() {}

#[measure(Trading::OrderPlacement, tag = 1, err, tag = 2, err)]
fn twice() -> Result<(), ()> {
    Ok(())
}

#[measure(Trading::OrderPlacement, err = true)]
fn err_with_value() {}

#[measure(Trading::OrderPlacement, err(Debug))]
fn err_with_parentheses() {}

#[measure(Trading::OrderPlacement, tag)]
fn tag_without_value() {}

#[measure(Trading::OrderPlacement, tag(5))]
fn tag_with_parentheses() {}

#[measure(Trading::OrderPlacement, tag = )]
fn tag_with_nothing() {}

#[measure(Trading::OrderPlacement, crate)]
fn crate_without_value() {}

#[measure(Trading::OrderPlacement, crate = "tailwatch")]
fn crate_in_quotes() {}

#[measure(Trading::OrderPlacement, 5)]
fn number() {}

#[measure(Trading::OrderPlacement err)]
fn comma() {}

fn main() {}
