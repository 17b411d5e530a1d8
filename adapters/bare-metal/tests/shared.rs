//! Tests of a recorder that several contexts share.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tailwatch_bare_metal::{
    AlreadyTaken, SharedRecorder, StaticRing,
    tailwatch_core::{Clock, Event as _, Gate, Kind, Outcome, TickRate, Trading},
};

/// A clock that the test advances.
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn start(&self) -> u64 {
        self.0.load(Relaxed)
    }
    fn rate(&self) -> TickRate {
        TickRate::NANOSECONDS
    }
}

/// Takes the consumer of `ring`, drains it, and returns the kind, tick and payload of each record.
fn drained<const N: usize>(ring: &StaticRing<N>) -> Vec<(Kind, u64, u64)> {
    let (mut consumer, mut seen) = (ring.take_consumer().unwrap(), vec![]);
    consumer.refresh();
    consumer.drain(|record| seen.push((record.kind(), record.ticks(), record.payload())));
    seen
}

#[test]
fn spans_of_contexts_that_interrupt_each_other_keep_their_own_latency() {
    let (clock, gate, ring) = (Ticks(AtomicU64::new(0)), Gate::<9>::new(), StaticRing::<64>::new());
    let shared = SharedRecorder::new(&ring, &gate, &clock);
    let outer = shared.measure_tagged(Trading::OrderFill, 1);
    clock.0.store(10, Relaxed);
    {
        // The interrupt handler.
        let inner = shared.measure_tagged(Trading::OrderFill, 2);
        clock.0.store(13, Relaxed);
        inner.end(Outcome::Error);
    }
    shared.measure(Trading::GcPause).discard();
    clock.0.store(40, Relaxed);
    drop(outer);
    let expected = [
        (Kind::Start, 0, 1),
        (Kind::Start, 10, 2),
        (Kind::EndError, 13, 3),
        (Kind::Start, 13, 0),
        (Kind::Forget, 13, 0),
        (Kind::EndOk, 40, 40),
    ];
    assert_eq!(drained(&ring), expected);
}

#[test]
fn no_record_of_concurrent_contexts_is_lost_or_torn() {
    const EACH: u64 = 4_000;
    static CLOCK: Ticks = Ticks(AtomicU64::new(0));
    static GATE: Gate<9> = Gate::new();
    static RING: StaticRing<16_384> = StaticRing::new();
    static SHARED: SharedRecorder<'static, &Ticks, 9, 16_384> =
        SharedRecorder::new(&RING, &GATE, &CLOCK);
    std::thread::scope(|scope| {
        for context in 0..4_u64 {
            scope.spawn(move || {
                (0..EACH)
                    .for_each(|n| assert!(SHARED.value(Trading::QueueBacklog, context * EACH + n)));
            });
        }
    });
    let mut values: Vec<u64> = drained(&RING).into_iter().map(|(_, _, payload)| payload).collect();
    values.sort_unstable();
    assert!(values.into_iter().eq(0..4 * EACH));
}

#[test]
fn records_are_refused_and_counted_if_the_producer_was_taken_elsewhere() {
    let (clock, gate, ring) = (Ticks(AtomicU64::new(0)), Gate::<9>::new(), StaticRing::<8>::new());
    let _producer = ring.take_producer().unwrap();
    let shared = SharedRecorder::new(&ring, &gate, &clock);
    // Only the START of each span is refused, because nothing is left to end or to discard.
    drop(shared.measure(Trading::OrderFill));
    shared.measure(Trading::OrderFill).discard();
    assert!(!shared.value(Trading::QueueBacklog, 1));
    assert!(!shared.duration(Trading::GcPause, 1));
    assert_eq!((shared.refused(), ring.pending()), (4, 0));
    assert_eq!(ring.take_producer().unwrap_err(), AlreadyTaken::Producer);
}

#[test]
fn the_random_draws_of_sampling_continue_from_record_to_record() {
    let (clock, gate, ring) =
        (Ticks(AtomicU64::new(0)), Gate::<9>::new(), StaticRing::<4_096>::new());
    let shared = SharedRecorder::new(&ring, &gate, &clock);
    gate.set_sampling(Trading::QueueBacklog.id(), 2);
    let taken = (0..4_000).filter(|n| shared.value(Trading::QueueBacklog, *n)).count();
    // 1 in 4, within 6 standard deviations of the binomial distribution.
    assert!((1_000 - 164..=1_000 + 164).contains(&taken), "{taken} of 4,000");
    assert_eq!(ring.pending(), taken);
}
