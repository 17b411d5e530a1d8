//! Items that cannot be measured.

#![allow(unused_imports)] // a function that is not measured does not use its event

use tailwatch::{Trading, measure};

#[measure(Trading::OrderPlacement)]
pub struct Order {
    id: u64,
}

#[measure(Trading::OrderPlacement)]
impl Order {
    #[measure(Trading::OrderPlacement)]
    const fn id(&self) -> u64 {
        self.id
    }
}

#[measure(Trading::OrderPlacement)]
trait Venue {
    #[measure(Trading::OrderPlacement)]
    fn place(&self, id: u64) -> bool;
}

#[measure(Trading::OrderPlacement)]
mod orders {}

#[measure(Trading::OrderPlacement)]
const ID: u64 = 5;

unsafe extern "C" {
    #[measure(Trading::OrderPlacement)]
    fn place(id: u64);
}

#[measure(Trading::OrderPlacement)]
unsafe extern "C" {}

#[measure(Trading::OrderPlacement)]
use core::mem;

fn main() {}
