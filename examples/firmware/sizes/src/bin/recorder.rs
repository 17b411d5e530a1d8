//! A recorder and its ring, at one site: what a program needs that is drained by something else, such as a debugger.

#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m_rt::entry;
use tailwatch_core::{Gate, Recorder, Ring, Slot};
use tailwatch_sizes::{CountWord, Four, TICKS};

static RING: Ring<[Slot; 64]> = Ring::new();
static GATE: Gate<5> = Gate::new();

#[entry]
fn main() -> ! {
    let ring: &Ring = &RING;
    // Else nobody would read the records, and there would be none.
    black_box((ring, &GATE));
    let recorder = Recorder::new(ring.attach_producer(), &GATE, CountWord);
    loop {
        let _span = recorder.measure(Four::Sample);
        black_box(&TICKS);
    }
}
