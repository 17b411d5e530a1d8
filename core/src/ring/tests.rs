extern crate std;

use core::ptr::NonNull;
use std::{boxed::Box, collections::VecDeque, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{arithmetic::HAS_64_BIT_REGISTERS, event::EventId, record::Record};

/// Creates a record with `n` in both words, so that a mixture of two records is detected.
fn numbered(n: u64) -> Record {
    Record::value(n, EventId::new(1).unwrap(), 0, n)
}

#[derive(Clone, Debug)]
enum Operation {
    /// Push this many records.
    Push(u8),
    /// Refresh and drain.
    Drain,
    /// Attach another producer in place of the current one.
    NewProducer,
    /// Attach another consumer in place of the current one.
    NewConsumer,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        4 => (0..40_u8).prop_map(Operation::Push),
        2 => Just(Operation::Drain),
        1 => Just(Operation::NewProducer),
        1 => Just(Operation::NewConsumer),
    ];
    proptest::collection::vec(operation, 0..60)
}

/// Runs the operations on a ring whose first record has the number `first`, and compares it with an
/// unbounded queue.
fn compare_with_queue(first: usize, operations: Vec<Operation>) {
    const CAPACITY: usize = 16;
    let ring = Box::new(Ring::<[Slot; CAPACITY]>::new());
    ring.published.head.store(first, Relaxed);
    ring.published.reserved.store(first, Relaxed);
    ring.consumed.tail.store(first, Relaxed);
    let ring: &Ring = &*ring;
    let (mut producer, mut consumer) = (ring.attach_producer(), ring.attach_consumer());
    let mut waiting = VecDeque::new();
    let mut next = 0;
    for operation in operations {
        match operation {
            Operation::Push(count) => {
                for _ in 0..count {
                    producer.push(numbered(next));
                    waiting.push_back(next);
                    next += 1;
                }
            }
            Operation::NewProducer => producer = ring.attach_producer(),
            Operation::NewConsumer => consumer = ring.attach_consumer(),
            Operation::Drain => {
                assert_eq!(consumer.refresh(), waiting.len());
                let mut seen = Vec::new();
                let drained = consumer.drain(|record| seen.push(record));
                assert_eq!(drained.delivered, seen.len() as u64);
                assert_eq!(drained.delivered + drained.overwritten, waiting.len() as u64);
                // The newest records are delivered in order, and at least as many as the docs of
                // the module promise.
                assert!(seen.len() >= waiting.len().min(CAPACITY - batch(CAPACITY)));
                let lost = waiting.len() - seen.len();
                assert!(seen.iter().copied().eq(waiting.drain(..).skip(lost).map(numbered)));
                assert_eq!(consumer.pending(), 0);
            }
        }
        // A new consumer counts from where its predecessor stopped, so this holds for each of them.
        let total = consumer.total();
        assert_eq!(
            consumer.produced(),
            total.delivered + total.overwritten + consumer.pending() as u64
        );
    }
}

proptest! {
    #[test]
    fn a_ring_is_a_queue_that_loses_only_its_oldest_records(
        first in prop_oneof![Just(0), any::<usize>(), usize::MAX - 100..=usize::MAX],
        operations in operations(),
    ) {
        compare_with_queue(first, operations);
    }

    #[test]
    fn a_ring_in_memory_with_arbitrary_content_works(
        words in proptest::collection::vec(
            prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), 0..64_u64],
            512,
        ),
        pushes in 0..50_u64,
    ) {
        #[repr(align(128))]
        struct Aligned([u64; 512]);
        let mut memory = Box::new(Aligned([0; 512]));
        memory.0.copy_from_slice(&words);
        let layout = Ring::layout(128).unwrap();
        prop_assert!(layout.size() <= size_of::<Aligned>());
        // SAFETY: the box outlives the ring. It is aligned, initialised and large enough, and
        // nothing else accesses it.
        let ring = unsafe { Ring::from_memory(NonNull::from(&mut *memory).cast(), 128) }.unwrap();
        let (producer, mut consumer) = (ring.attach_producer(), ring.attach_consumer());
        for n in 0..pushes {
            producer.push(numbered(n));
        }
        let pending = consumer.refresh() as u64;
        let drained = consumer.drain(|_| ());
        prop_assert_eq!(drained.delivered.wrapping_add(drained.overwritten), pending);
        prop_assert!(drained.delivered <= 128);
        // Draining has moved the tail to the head, so from here on the ring works as usual.
        producer.push(numbered(7));
        consumer.refresh();
        let mut seen = vec![];
        consumer.drain(|record| seen.push(record));
        prop_assert_eq!(seen, [numbered(7)]);
    }
}

#[test]
fn the_layout_equals_that_of_a_ring_of_constant_capacity() {
    // `counters` is their size in bytes. On 64-bit targets the counters of the producer and of the
    // consumer take 128 bytes each. On 32-bit targets they are three adjacent words.
    let (counters, align) = if HAS_64_BIT_REGISTERS { (256, 128) } else { (12, 4) };
    for capacity in [8_usize, 64, 16_384] {
        let layout = Ring::layout(capacity).unwrap();
        assert_eq!(layout.size(), counters + 16 * capacity);
        assert_eq!(layout.align(), align);
    }
    assert_eq!(Ring::layout(64).unwrap(), Layout::new::<Ring<[Slot; 64]>>());
    for invalid in [0, 1, 4, 100, usize::MAX, 1 << (usize::BITS - 1)] {
        assert_eq!(Ring::layout(invalid), Err(CapacityError { capacity: invalid }));
    }
}

#[test]
fn a_batch_is_an_eighth_of_the_capacity_but_at_most_64() {
    assert_eq!([8, 16, 64, 512, 1_024, 1 << 20].map(batch), [1, 2, 8, 64, 64, 64]);
}

#[test]
fn every_record_of_two_concurrent_threads_is_delivered_or_counted() {
    const PUSHES: u64 = if cfg!(miri) { 2_000 } else { 2_000_000 };
    let mut ring = Box::new(Ring::<[Slot; 256]>::new());
    let (producer, mut consumer) = ring.split();
    let mut last = None;
    let mut delivered = 0;
    let mut drain = |consumer: &mut Consumer<'_>| {
        consumer.refresh();
        consumer.drain(|record| {
            assert_eq!(record.ticks(), record.payload(), "a torn record");
            assert!(last < Some(record.ticks()), "a record out of order");
            last = Some(record.ticks());
            delivered += 1;
        });
    };
    std::thread::scope(|scope| {
        let pushing = scope.spawn(move || (0..PUSHES).for_each(|n| producer.push(numbered(n))));
        while !pushing.is_finished() {
            drain(&mut consumer);
        }
    });
    drain(&mut consumer);
    assert_eq!(last, Some(PUSHES - 1));
    assert_eq!(PUSHES, delivered + consumer.total().overwritten);
}
