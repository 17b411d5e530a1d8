//! Type mismatches, which the compiler reports at the user's own code.

use tailwatch::{Trading, measure};

#[measure(Trading::OrderPlacement, tag = id)]
fn tag_of_32_bits(id: u32) {
    drop(id);
}

#[measure(Trading::OrderPlacement)]
fn body() -> u32 {
    "five"
}

#[measure(Trading::OrderPlacement)]
async fn body_later() -> u32 {
    "five"
}

fn main() {}
