//! An image with a recorder and its ring, which measures a single event. A program needs no more if
//! something else, such as a debugger, drains the ring.

#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m_rt::entry;
use tailwatch_core::{Gate, Recorder, Ring, Slot};
use tailwatch_sizes::{Four, MinimalClock, TICKS};

static RING: Ring<[Slot; 64]> = Ring::new();
static GATE: Gate<5> = Gate::new();

#[entry]
fn main() -> ! {
    let ring: &Ring = &RING;
    // No code reads the records. Without this line, the compiler would remove the ring.
    black_box((ring, &GATE));
    let recorder = Recorder::new(ring.attach_producer(), &GATE, MinimalClock);
    loop {
        let _span = recorder.measure(Four::Sample);
        black_box(&TICKS);
    }
}
