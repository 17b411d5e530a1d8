//! The runtime and nothing else: what is taken off the sizes of the others.

#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m_rt::entry;
use tailwatch_sizes::TICKS;

#[entry]
fn main() -> ! {
    loop {
        black_box(&TICKS);
    }
}
