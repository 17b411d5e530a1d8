//! A recorder and its ring, with one measured place: all that a program needs if something else
//! drains the ring, such as a debugger.

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
    // Otherwise nothing would read the records, and the compiler would remove the ring.
    black_box((ring, &GATE));
    let recorder = Recorder::new(ring.attach_producer(), &GATE, MinimalClock);
    loop {
        let _span = recorder.measure(Four::Sample);
        black_box(&TICKS);
    }
}
