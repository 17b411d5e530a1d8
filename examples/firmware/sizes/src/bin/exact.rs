//! An image that records, drains and summarizes four events, with windows of 1 s and 5 s, 64 exact
//! samples per event and no histograms.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use tailwatch_core::{Shape, storage};
use tailwatch_sizes::watched;

const SHAPE: Shape = Shape { octaves: 0, scale: 0, ..watched::SHAPE };

storage!(Memory: SHAPE, u16);

#[entry]
fn main() -> ! {
    static mut STORAGE: Memory = Memory::new();
    watched::run(STORAGE)
}
