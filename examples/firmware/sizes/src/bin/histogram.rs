//! Like the image `exact`, but with histograms at scale 3 (8 buckets per power of two) from 1 µs
//! to 16 s. The counters of a slice of a window have 16 bits.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use tailwatch_core::{Shape, storage};
use tailwatch_sizes::watched;

const SHAPE: Shape = watched::SHAPE;

storage!(Memory: SHAPE, u16);

#[entry]
fn main() -> ! {
    static mut STORAGE: Memory = Memory::new();
    watched::run(STORAGE)
}
