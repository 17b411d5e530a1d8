//! A loop that records four events, drains them and computes their summaries.

use core::hint::black_box;

use tailwatch_core::{Aggregator, Clock, Event, Gate, Recorder, Ring, Scope, Shape, Slot, Storage};

use crate::{Four, MinimalClock, RATE, WINDOWS};

/// The capacities of the storage in the image `histogram`. The image `exact` removes the
/// histograms.
pub const SHAPE: Shape =
    Shape { samples: 64, in_flight: 8, slowest: 0, ..Shape::small(Four::ALL, &WINDOWS) };

static RING: Ring<[Slot; 64]> = Ring::new();
static GATE: Gate<5> = Gate::new();

/// Records, drains and summarizes for ever.
pub fn run<S: Storage>(storage: S) -> ! {
    let ring: &Ring = &RING;
    let recorder = Recorder::new(ring.attach_producer(), &GATE, MinimalClock);
    let mut consumer = ring.attach_consumer();
    let Ok(mut aggregator) =
        Aggregator::new(&WINDOWS, Four::ALL, RATE, MinimalClock.start(), storage)
    else {
        loop {}
    };
    loop {
        for event in [Four::Sample, Four::Filter, Four::Control, Four::Send] {
            let _span = recorder.measure(black_box(event));
        }
        let as_of = MinimalClock.start();
        consumer.refresh();
        aggregator.begin_pass(MinimalClock.start());
        aggregator.drain(0, &mut consumer, |_, _| ());
        aggregator.expire_orphans(aggregator.pass());
        aggregator.evaluate_limits(as_of, |change| {
            black_box(change);
        });
        for event in Four::ALL {
            for scope in [Scope::Window(0), Scope::Window(1), Scope::Total] {
                // By reference, because `black_box` would copy a value by `memcpy`. Nothing else
                // calls `memcpy`, so the image would grow by its 350 bytes.
                black_box(&aggregator.summary(event.id.id(), scope));
            }
        }
    }
}
