//! `err` on a function that returns another type, which only the compiler can detect.

use tailwatch::{Trading, measure};

struct Placed<T>(T);

#[measure(Trading::OrderPlacement, err)]
fn number() -> u32 {
    5
}

#[measure(Trading::OrderPlacement, err)]
async fn option() -> Option<u32> {
    None
}

#[measure(Trading::OrderPlacement, err)]
fn own() -> Placed<u32> {
    Placed(5)
}

fn main() {}
