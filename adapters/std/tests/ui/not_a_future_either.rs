//! `future` on a function that returns another type, which only the compiler can detect.

use core::future::{Future, Ready, ready};

use tailwatch::{Trading, measure};

#[measure(Trading::OrderPlacement, future)]
fn number() -> u32 {
    5
}

#[measure(Trading::OrderPlacement, future)]
fn named() -> Ready<u32> {
    ready(5)
}

#[measure(Trading::OrderPlacement, future)]
fn fallible() -> Result<impl Future<Output = u32>, String> {
    Ok(ready(5))
}

fn main() {}
