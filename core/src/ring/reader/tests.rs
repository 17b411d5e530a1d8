//! Compares readers of one ring with a list of everything that was pushed into it.

extern crate std;

use core::ops::Range;
use std::{boxed::Box, sync::OnceLock, thread, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    event::EventId,
    record::MAX_PAYLOAD,
    ring::{Consumer, Producer, Published, Slot, batch, position::StoredPosition},
    sync::AtomicUsize,
};

const CAPACITY: usize = 16;

/// Creates a record whose second word follows from the first, so that a mixture of two records is
/// detected.
fn sealed(n: u64) -> Record {
    Record::value(n, EventId::new(1).unwrap(), 0, checksum(n))
}

/// A multiplicative hash: numbers that differ anywhere differ in its upper bits.
fn checksum(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 18 & MAX_PAYLOAD
}

/// Returns an empty ring whose first record has the sequence number `first`.
fn ring_from(first: usize) -> Box<Ring<[Slot; CAPACITY]>> {
    let ring = Box::new(Ring::new());
    set_counters(&*ring, [first; 3]);
    ring
}

/// Sets `head`, `reserved` and `tail`.
fn set_counters(ring: &Ring, [head, reserved, tail]: [usize; 3]) {
    ring.published.head.store(head, Relaxed);
    ring.published.reserved.store(reserved, Relaxed);
    ring.consumed.tail.store(tail, Relaxed);
}

fn assert_law<P>(reader: &Reader<'_, P>) {
    let Drained { delivered, overwritten } = reader.total();
    let found = delivered.wrapping_add(overwritten).wrapping_add(reader.pending() as u64);
    assert_eq!(reader.produced() as usize, found as usize);
}

#[derive(Clone, Debug)]
enum Operation {
    /// Push this many records.
    Push(usize),
    /// Attach another producer in place of the current one.
    NewProducer,
    /// Create another reader in place of one of them.
    NewReader(usize, ReaderStart),
    /// Refresh one reader.
    Refresh(usize),
    /// Drain at most so many records by one reader.
    Drain(usize, usize),
    /// Refresh the consumer.
    RefreshConsumer,
    /// Drain at most so many records by the consumer.
    DrainConsumer(usize),
    /// Attach another consumer in place of the current one.
    NewConsumer,
}

const READERS: usize = 3;

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let count = || prop_oneof![0..4_usize, 0..3 * CAPACITY];
    let max_records = || prop_oneof![3 => 0..2 * CAPACITY, 1 => Just(usize::MAX)];
    let start =
        prop_oneof![Just(ReaderStart::Oldest), Just(ReaderStart::Now), Just(ReaderStart::First)];
    let operation = prop_oneof![
        8 => count().prop_map(Operation::Push),
        1 => Just(Operation::NewProducer),
        2 => (0..READERS, start).prop_map(|(reader, start)| Operation::NewReader(reader, start)),
        6 => (0..READERS).prop_map(Operation::Refresh),
        6 => (0..READERS, max_records())
            .prop_map(|(reader, max_records)| Operation::Drain(reader, max_records)),
        2 => Just(Operation::RefreshConsumer),
        2 => max_records().prop_map(Operation::DrainConsumer),
        1 => Just(Operation::NewConsumer),
    ];
    proptest::collection::vec(operation, 0..100)
}

/// What a reader must do. The records are numbered from 0, whatever their sequence numbers are.
struct Expected {
    /// The first record that is neither delivered nor overwritten.
    next: usize,
    /// How many records had been pushed at the last refresh.
    refreshed: usize,
    began: usize,
}

impl Expected {
    fn begin(at: usize) -> Self {
        Self { next: at, refreshed: at, began: at }
    }

    /// Returns the records that a drain must deliver if `pushed` records have been pushed, and how
    /// many it must count as overwritten.
    fn drain(&mut self, pushed: usize, max_records: usize) -> (Range<usize>, usize) {
        // Those are skipped that had been overwritten at the refresh.
        let from = self.next.max(self.refreshed.saturating_sub(CAPACITY));
        let to = self.refreshed.min(from.saturating_add(max_records));
        let intact = from.max(oldest_whole(pushed)).min(to)..to;
        let overwritten = to - self.next - intact.len();
        self.next = to;
        (intact, overwritten)
    }
}

/// Returns the oldest record that the producer may not have begun to overwrite. It reserves whole
/// batches.
fn oldest_whole(pushed: usize) -> usize {
    pushed.next_multiple_of(batch(CAPACITY)).saturating_sub(CAPACITY)
}

/// Drains and compares.
fn drain<P: Position>(
    reader: &mut Reader<'_, P>,
    expected: &mut Expected,
    pushed: usize,
    max_records: usize,
) {
    let mut seen = vec![];
    let drained = reader.drain_up_to(max_records, |record| seen.push(record));
    let (intact, overwritten) = expected.drain(pushed, max_records);
    assert_eq!(drained.delivered, intact.len() as u64);
    assert_eq!(drained.overwritten, overwritten as u64);
    assert!(seen.into_iter().eq(intact.map(|n| sealed(n as u64))));
}

/// Compares the state of a reader. Record 0 has the sequence number `first`.
fn check<P>(reader: &Reader<'_, P>, expected: &Expected) {
    assert_law(reader);
    assert_eq!(reader.pending(), expected.refreshed - expected.next);
    assert_eq!(reader.produced(), (expected.refreshed - expected.began) as u64);
}

/// Runs the operations on a ring whose first record has the sequence number `first`.
fn compare_with_list(first: usize, operations: &[Operation]) {
    let ring = ring_from(first);
    let ring: &Ring = &*ring;
    let mut producer = ring.attach_producer();
    let mut pushed = 0;
    let push = |producer: &Producer<'_>, pushed: &mut usize, count| {
        for _ in 0..count {
            producer.push(sealed(*pushed as u64));
            *pushed += 1;
        }
    };
    if first != 0 {
        // A ring begins at 0. So that it can begin elsewhere, the test fills it.
        push(&producer, &mut pushed, 2 * CAPACITY);
    }
    let begin = |pushed: usize, start| match start {
        ReaderStart::Now => (ring.reader_from_now(), Expected::begin(pushed)),
        ReaderStart::First => (ring.reader_from_first(), Expected::begin(0)),
        ReaderStart::Oldest => {
            // After the counters have wrapped, the ring looks new.
            let since_wrap = first.wrapping_add(pushed);
            let oldest = oldest_whole(pushed).max(pushed.saturating_sub(since_wrap));
            (ring.reader_from_oldest(), Expected::begin(oldest))
        }
    };
    let mut readers = [ReaderStart::Oldest, ReaderStart::Now, ReaderStart::Oldest]
        .map(|start| begin(pushed, start));
    let mut consumer = (ring.attach_consumer(), Expected::begin(0));
    for operation in operations {
        match *operation {
            Operation::Push(count) => push(&producer, &mut pushed, count),
            Operation::NewProducer => producer = ring.attach_producer(),
            // The first record of a ring has the number 0.
            Operation::NewReader(_, ReaderStart::First) if first != 0 => {}
            Operation::NewReader(reader, start) => {
                readers[reader] = begin(pushed, start);
                assert_eq!(readers[reader].0.start(), start);
            }
            Operation::Refresh(reader) => {
                readers[reader].1.refreshed = pushed;
                readers[reader].0.refresh();
            }
            Operation::Drain(reader, max_records) => {
                let (reader, expected) = &mut readers[reader];
                drain(reader, expected, pushed, max_records);
            }
            Operation::RefreshConsumer => {
                consumer.1.refreshed = pushed;
                consumer.0.refresh();
            }
            Operation::DrainConsumer(max_records) => {
                drain(&mut consumer.0, &mut consumer.1, pushed, max_records);
            }
            Operation::NewConsumer => {
                consumer = (ring.attach_consumer(), Expected::begin(consumer.1.next));
            }
        }
        for (reader, expected) in &readers {
            check(reader, expected);
            assert_eq!(reader.first_seq(), first.wrapping_add(expected.began));
        }
        check(&consumer.0, &consumer.1);
        assert_eq!(ring.pending(), pushed - consumer.1.next, "only the consumer moves the tail");
    }
}

/// Numbers that are near a turning point of the counters, or anywhere.
fn counter() -> impl Strategy<Value = usize> {
    let near = |n: usize| (0..100_usize).prop_map(move |more| n.wrapping_add(more));
    prop_oneof![near(0), near(usize::MAX - 50), near(1 << (usize::BITS - 1)), any::<usize>()]
}

#[derive(Clone, Debug)]
enum Damage {
    SetCounters([usize; 3]),
    /// Add this number to `head`.
    MoveHead(usize),
    Push(u8),
    Refresh,
    Drain(usize),
    NewReader(ReaderStart),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let max_records = prop_oneof![0..2 * CAPACITY, Just(usize::MAX)];
    let damage = prop_oneof![
        1 => [counter(), counter(), counter()].prop_map(Damage::SetCounters),
        1 => counter().prop_map(Damage::MoveHead),
        3 => (0..40_u8).prop_map(Damage::Push),
        3 => Just(Damage::Refresh),
        3 => max_records.prop_map(Damage::Drain),
        1 => Just(Damage::NewReader(ReaderStart::Oldest)),
        1 => Just(Damage::NewReader(ReaderStart::Now)),
        1 => Just(Damage::NewReader(ReaderStart::First)),
    ];
    proptest::collection::vec(damage, 0..60)
}

fn begin(ring: &Ring, start: ReaderStart) -> Reader<'_> {
    match start {
        ReaderStart::Oldest => ring.reader_from_oldest(),
        ReaderStart::Now => ring.reader_from_now(),
        ReaderStart::First => ring.reader_from_first(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 5 } else { 1_000 }))]

    #[test]
    fn each_reader_delivers_the_suffix_that_is_whole_and_counts_the_rest(
        first in prop_oneof![Just(0), any::<usize>(), usize::MAX - 200..=usize::MAX],
        operations in operations(),
    ) {
        compare_with_list(first, &operations);
    }

    #[test]
    fn a_reader_of_a_ring_whose_counters_jump_neither_panics_nor_reads_more_than_the_ring_holds(
        damage in damage(),
    ) {
        let ring = ring_from(0);
        let ring: &Ring = &*ring;
        let mut reader = ring.reader_from_oldest();
        for damage in damage {
            match damage {
                Damage::SetCounters(counters) => set_counters(ring, counters),
                Damage::MoveHead(by) => {
                    let head = ring.published.head.load(Relaxed);
                    ring.published.head.store(head.wrapping_add(by), Relaxed);
                }
                Damage::Push(count) => {
                    let producer = ring.attach_producer();
                    (0..count).for_each(|n| producer.push(sealed(n.into())));
                }
                Damage::Refresh => {
                    let pending = reader.refresh();
                    prop_assert_eq!(pending, reader.pending());
                }
                Damage::Drain(max_records) => {
                    let (pending, before) = (reader.pending(), reader.total());
                    let mut delivered = 0;
                    let drained = reader.drain_up_to(max_records, |_| delivered += 1);
                    prop_assert_eq!(drained.delivered, delivered);
                    prop_assert!(drained.delivered <= CAPACITY.min(max_records) as u64);
                    let read = drained.delivered.wrapping_add(drained.overwritten);
                    prop_assert_eq!(pending.wrapping_sub(read as usize), reader.pending());
                    prop_assert!(max_records < CAPACITY || reader.pending() == 0);
                    let after = before.delivered.wrapping_add(drained.delivered);
                    prop_assert_eq!(reader.total().delivered, after);
                }
                Damage::NewReader(start) => {
                    reader = begin(ring, start);
                    let ahead = ring.published.head.load(Relaxed).wrapping_sub(reader.first_seq());
                    prop_assert!(ahead <= CAPACITY || start == ReaderStart::First);
                }
            }
            assert_law(&reader);
        }
        // Once the ring has been read to its end, everything is as usual again.
        let producer = ring.attach_producer();
        reader.refresh();
        reader.drain(|_| ());
        producer.push(sealed(7));
        reader.refresh();
        let mut seen = vec![];
        reader.drain(|record| seen.push(record));
        prop_assert_eq!(seen, [sealed(7)]);
    }
}

#[test]
fn records_beyond_the_reservation_of_a_damaged_ring_count_as_overwritten() {
    let ring = ring_from(0);
    let ring: &Ring = &*ring;
    let (producer, mut reader) = (ring.attach_producer(), ring.reader_from_oldest());
    (0..12).for_each(|n| producer.push(sealed(n)));
    set_counters(ring, [12, 5, 0]);
    reader.refresh();
    let mut seen = vec![];
    let drained = reader.drain(|record| seen.push(record.ticks()));
    assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    assert_eq!((drained.delivered, drained.overwritten), (6, 6));
}

#[test]
fn a_reader_leaves_every_byte_of_the_ring_as_it_is() {
    let ring = ring_from(0);
    let ring: &Ring = &*ring;
    let producer = ring.attach_producer();
    (0..40).for_each(|n| producer.push(sealed(n)));
    let content = || {
        let Published { head, reserved } = &ring.published;
        let counters = [head, reserved, &ring.consumed.tail].map(|counter| counter.load(Relaxed));
        (counters, ring.slots.iter().map(Slot::load).collect::<Vec<_>>())
    };
    let before = content();
    for start in [ReaderStart::Oldest, ReaderStart::Now] {
        let mut reader = begin(ring, start);
        reader.refresh();
        while reader.drain_up_to(3, |_| ()).delivered > 0 {}
    }
    assert_eq!(content(), before);
}

#[test]
fn the_type_of_a_consumer_says_that_its_position_is_stored() {
    let ring = ring_from(0);
    let ring: &Ring = &*ring;
    let mut consumer: Reader<'_, StoredPosition> = ring.attach_consumer();
    ring.attach_producer().push(sealed(1));
    consumer.refresh();
    consumer.drain(|_| ());
    assert_eq!(ring.pending(), 0);
    let _: Consumer<'_> = consumer;
}

/// Drains until `rounds` rounds are done, each of which begins once the producer is `lag` records
/// ahead, and then once more, when `over` is set, because nothing is pushed any more. Returns the
/// number of the last record that was delivered.
fn read_slowly<P: Position>(
    reader: &mut Reader<'_, P>,
    (lag, rounds): (usize, usize),
    done: &AtomicUsize,
    over: &OnceLock<()>,
) -> Option<u64> {
    let (mut last, mut delivered) = (None, 0);
    let mut observe = |record: Record| {
        assert_eq!(record.payload(), checksum(record.ticks()), "a torn record");
        assert!(last < Some(record.ticks()), "a record out of order");
        last = Some(record.ticks());
        delivered += 1;
    };
    for round in 0..rounds {
        while reader.refresh() < lag {
            thread::yield_now();
        }
        // Every other round leaves records pending.
        reader.drain_up_to(if round % 2 == 0 { 100 } else { usize::MAX }, &mut observe);
        assert_law(reader);
    }
    done.fetch_add(1, Relaxed);
    while over.get().is_none() {
        reader.refresh();
        reader.drain(&mut observe);
        thread::yield_now();
    }
    reader.refresh();
    reader.drain(&mut observe);
    assert_eq!(reader.pending(), 0);
    assert_eq!(reader.total().delivered, delivered);
    assert_law(reader);
    last
}

#[test]
fn readers_of_any_speed_read_a_ring_at_once() {
    const LAGS: [usize; 8] = [0, 1, 50, 200, 255, 256, 300, 2_000];
    const ROUNDS: usize = if cfg!(miri) { 3 } else { 100 };
    let ring = Box::new(Ring::<[Slot; 256]>::new());
    let ring: &Ring = &*ring;
    let (done, over) = (AtomicUsize::new(0), OnceLock::new());
    thread::scope(|scope| {
        let readers = LAGS.map(|lag| {
            let (done, over) = (&done, &over);
            scope.spawn(move || {
                let start = if lag % 2 == 0 { ReaderStart::Oldest } else { ReaderStart::Now };
                let mut reader = begin(ring, start);
                let last = read_slowly(&mut reader, (lag, ROUNDS), done, over);
                (lag, reader, last)
            })
        });
        let consuming = scope.spawn(|| {
            let mut consumer = ring.attach_consumer();
            let last = read_slowly(&mut consumer, (100, ROUNDS), &done, &over);
            (consumer.produced(), last)
        });
        let producer = ring.attach_producer();
        let mut pushed = 0;
        while done.load(Relaxed) <= LAGS.len() {
            producer.push(sealed(pushed));
            pushed += 1;
        }
        over.set(()).unwrap();
        for reading in readers {
            let (lag, reader, last) = reading.join().unwrap();
            assert_eq!(last, Some(pushed - 1), "the newest record is whole");
            let Drained { delivered, overwritten } = reader.total();
            assert_eq!(reader.first_seq() as u64 + delivered + overwritten, pushed);
            assert!(lag < 2_000 || overwritten > 0, "a reader that was lapped lost records");
        }
        assert_eq!(consuming.join().unwrap(), (pushed, Some(pushed - 1)));
    });
}
