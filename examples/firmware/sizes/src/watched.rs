//! Four events that are recorded, drained and summed up.

use core::hint::black_box;

use tailwatch_core::{Aggregator, Clock, Event, Gate, Recorder, Ring, Scope, Shape, Slot, Storage};

use crate::{CountWord, Four, RATE, WINDOWS};

/// What both images keep; they differ in their histograms.
pub const SHAPE: Shape =
    Shape { samples: 64, in_flight: 8, slowest: 0, ..Shape::small(Four::ALL, &WINDOWS) };

static RING: Ring<[Slot; 64]> = Ring::new();
static GATE: Gate<5> = Gate::new();

/// Records, drains and sums up for ever.
pub fn run<S: Storage>(shape: Shape, storage: S) -> ! {
    let ring: &Ring = &RING;
    let recorder = Recorder::new(ring.attach_producer(), &GATE, CountWord);
    let mut consumer = ring.attach_consumer();
    let Ok(mut aggregator) =
        Aggregator::new(shape, &WINDOWS, Four::ALL, RATE, CountWord.start(), storage)
    else {
        loop {}
    };
    loop {
        for event in [Four::Sample, Four::Filter, Four::Control, Four::Send] {
            let _span = recorder.measure(black_box(event));
        }
        let as_of = CountWord.start();
        consumer.refresh();
        aggregator.begin_pass(CountWord.start());
        aggregator.drain(0, &mut consumer, |_, _| ());
        aggregator.expire_orphans(aggregator.pass());
        aggregator.watch(as_of, |change| {
            black_box(change);
        });
        for event in Four::ALL {
            for period in [Scope::Window(0), Scope::Window(1), Scope::Total] {
                // By reference: `black_box` copies what it takes by value, by a `memcpy` of 350 bytes that nothing else here calls.
                black_box(&aggregator.summary(event.id.id(), period));
            }
        }
    }
}
