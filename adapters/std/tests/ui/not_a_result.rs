//! `err` on a function that obviously returns no `Result`.

#![allow(unused_imports)] // a function that is not measured does not use its event

use tailwatch::{Trading, measure};

#[measure(Trading::OrderPlacement, err)]
fn nothing() {}

#[measure(Trading::OrderPlacement, err)]
async fn nothing_later() {}

#[measure(Trading::OrderPlacement, err)]
fn never() -> ! {
    loop {}
}

fn main() {}
