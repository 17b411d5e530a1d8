//! A closure: Rust does not allow attributes on closures yet.

#![allow(unused_imports)] // a function that is not measured does not use its event

use tailwatch::{Trading, measure};

fn main() {
    let place = #[measure(Trading::OrderPlacement)]
    |id: u64| id + 1;
    place(5);
}
