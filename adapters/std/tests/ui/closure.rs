//! A closure, whose attributes Rust does not allow yet.

#![allow(unused_imports)] // what is not measured does not use its event

use tailwatch::{Trading, measure};

fn main() {
    let place = #[measure(Trading::OrderPlacement)]
    |id: u64| id + 1;
    place(5);
}
