//! Four events that are recorded, drained and summed up.

use core::hint::black_box;

use tailwatch_core::{Aggregator, Clock, Event, Gate, Period, Recorder, Ring, Shape, Slot, Storage};

use crate::{Four, RATE, WINDOWS, Word};

/// What both images keep; they differ in their histograms.
pub const SHAPE: Shape = Shape { samples: 64, in_flight: 8, slowest: 0, ..Shape::small(Four::ALL, &WINDOWS) };

static RING: Ring<[Slot; 64]> = Ring::new();
static GATE: Gate<5> = Gate::new();

/// Records, drains and sums up for ever.
pub fn run<S: Storage>(shape: Shape, storage: S) -> ! {
    let ring: &Ring = &RING;
    let recorder = Recorder::new(ring.attach_producer(), &GATE, Word);
    let mut consumer = ring.attach_consumer();
    let Ok(mut aggregator) = Aggregator::new(shape, &WINDOWS, Four::ALL, RATE, Word.start(), storage) else { loop {} };
    loop {
        for event in [Four::Sample, Four::Filter, Four::Control, Four::Send] {
            let _span = recorder.measure(black_box(event));
        }
        let as_of = Word.start();
        consumer.look();
        aggregator.begin_pass(Word.start());
        aggregator.drain(0, &mut consumer, |_, _| ());
        aggregator.settle(aggregator.pass());
        aggregator.watch(as_of, |transition| {
            black_box(transition);
        });
        for event in Four::ALL {
            for period in [Period::Window(0), Period::Window(1), Period::Total] {
                // By reference: `black_box` copies what it takes by value, by a `memcpy` of 350 bytes that nothing else here calls.
                black_box(&aggregator.summary(event.id.id(), period));
            }
        }
    }
}
