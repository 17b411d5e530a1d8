//! `future` on a function that obviously returns no future, or that needs no `future`.

#![allow(unused_imports)] // a function that is not measured does not use its event

use tailwatch::{Trading, measure};

#[measure(Trading::OrderPlacement, future)]
fn nothing() {}

#[measure(Trading::OrderPlacement, future, err)]
fn never() -> ! {
    loop {}
}

#[measure(Trading::OrderPlacement, future)]
async fn later() -> u32 {
    5
}

#[measure(Trading::OrderPlacement, future = true)]
fn future_with_value() {}

#[measure(Trading::OrderPlacement, future, future)]
fn twice() {}

fn main() {}
