//! An image that contains only the runtime. Its size is subtracted from the sizes of the other
//! images.

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
