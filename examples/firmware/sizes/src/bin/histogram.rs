//! Like the image `exact`, with histograms at scale 3 from 1 µs to 16 s, whose counters in slices
//! have 16 bits.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use tailwatch_core::{Shape, storage};
use tailwatch_sizes::watched;

const SHAPE: Shape = watched::SHAPE;

#[entry]
fn main() -> ! {
    static mut STORAGE: storage!(SHAPE, u16) = <storage!(SHAPE, u16)>::new();
    watched::run(SHAPE, STORAGE)
}
