//! The event is missing.

#![allow(unused_imports)] // a function that is not measured does not use its event

use tailwatch::{Trading, measure};

#[measure]
fn nothing() {}

#[measure()]
fn empty() {}

#[measure(err)]
fn only_err() -> Result<(), ()> {
    Ok(())
}

#[measure(tag = 5, Trading::OrderPlacement)]
fn tag_first() {}

#[measure(crate = tailwatch, Trading::OrderPlacement)]
fn crate_first() {}

#[measure(event = Trading::OrderPlacement)]
fn named() {}

#[measure(, err)]
fn comma() {}

fn main() {
    // The functions still exist, so there is no second error about a missing function.
    nothing();
    empty();
    let _ = only_err();
    tag_first();
    crate_first();
    named();
    comma();
}
