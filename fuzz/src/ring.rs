//! A ring beside a queue that forgets its oldest; and what a hostile process may write into its memory.

use std::{
    collections::VecDeque,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use arbitrary::Arbitrary;
use tailwatch_core::{Consumer, EventId, Producer, Record, Ring, ring::batch};

#[derive(Debug, Arbitrary)]
struct Input {
    /// Where the counters begin.
    first: u64,
    capacity_bits: u8,
    operations: Vec<Operation>,
}

#[derive(Debug, Arbitrary)]
enum Operation {
    Push(u8),
    Look,
    Drain,
    NewProducer,
    NewConsumer,
    /// Somebody else writes these words into the memory.
    Hostile(Vec<(u16, u64)>),
    /// A counter, the worst that can be hit.
    HostileCounter(u8, u64),
}

const CAPACITY_BITS: [u8; 4] = [3, 4, 7, 10];
/// Words of the counters: `head`, `reserved`, `tail`.
const COUNTERS: [usize; 3] = [0, 1, 16];

/// As a ring is laid out: the counters in two blocks of 128 bytes, then the records.
#[repr(align(128))]
struct Block([AtomicU64; 16]);

/// The memory of a ring.
struct Memory(Vec<Block>);

impl Memory {
    fn new(capacity: usize) -> Self {
        let bytes = Ring::layout(capacity).expect("a capacity").size();
        assert_eq!(bytes, 256 + capacity * 16);
        Self(
            (0..bytes / size_of::<Block>())
                .map(|_| Block([const { AtomicU64::new(0) }; 16]))
                .collect(),
        )
    }

    fn write(&self, word: usize, value: u64) {
        let words = self.0.len() * 16;
        let word = word % words;
        self.0[word / 16].0[word % 16].store(value, Relaxed);
    }

    fn ring(&self, capacity: usize) -> &Ring {
        let memory = NonNull::from(self.0.as_slice()).cast();
        // SAFETY: the blocks have the size and alignment of the ring's layout, are initialised, outlive the reference, and
        // are accessed by atomic words alone, which the ring consists of too.
        unsafe { Ring::from_memory(memory, capacity) }.expect("a capacity")
    }
}

/// A ring and what is expected of it.
struct Pair<'m> {
    memory: &'m Memory,
    ring: &'m Ring,
    producer: Producer<'m>,
    consumer: Consumer<'m>,
    /// Numbers pushed and not drained, the oldest first.
    waiting: VecDeque<u64>,
    /// How many of them the consumer knows of.
    looked: usize,
    next: u64,
    /// Somebody else wrote into the memory.
    is_damaged: bool,
}

fn numbered(n: u64) -> Record {
    let n = n & ((1 << 46) - 1);
    Record::value(n, EventId::new(1).expect("an id"), 0, n)
}

impl Pair<'_> {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Push(count) => (0..*count).for_each(|_| self.push()),
            Operation::Look => {
                let pending = self.consumer.refresh();
                self.looked = self.waiting.len();
                assert!(
                    self.is_damaged || pending == self.looked,
                    "{pending} pending, not {}",
                    self.looked
                );
            }
            Operation::Drain => self.drain(),
            Operation::NewProducer => self.producer = self.ring.attach_producer(),
            Operation::NewConsumer => {
                self.consumer = self.ring.attach_consumer();
                self.looked = 0;
            }
            Operation::Hostile(words) => {
                for (word, value) in words {
                    self.memory.write(usize::from(*word), *value);
                }
                self.is_damaged |= !words.is_empty();
            }
            Operation::HostileCounter(counter, value) => {
                self.memory.write(COUNTERS[usize::from(*counter) % COUNTERS.len()], *value);
                self.is_damaged = true;
            }
        }
        let total = self.consumer.total();
        let accounted = total
            .delivered
            .wrapping_add(total.overwritten)
            .wrapping_add(self.consumer.pending() as u64);
        assert_eq!(self.consumer.produced(), accounted, "the loss law");
    }

    fn push(&mut self) {
        self.producer.push(numbered(self.next));
        self.waiting.push_back(self.next);
        self.next += 1;
    }

    fn drain(&mut self) {
        let pending = self.consumer.pending() as u64;
        let mut seen = vec![];
        let drained = self.consumer.drain(|record| seen.push(record));
        assert_eq!(drained.delivered, seen.len() as u64);
        assert_eq!(
            drained.delivered.wrapping_add(drained.overwritten),
            pending,
            "the law of a pass"
        );
        assert_eq!(self.consumer.pending(), 0);
        assert!(seen.len() <= self.ring.capacity());
        if self.is_damaged {
            return;
        }
        // What was pushed since the look may have overwritten more.
        let capacity = self.ring.capacity();
        let safe = (capacity - batch(capacity)).saturating_sub(self.waiting.len() - self.looked);
        assert!(
            seen.len() >= self.looked.min(safe),
            "fewer than the newest {safe}: {}",
            seen.len()
        );
        let looked = self.waiting.drain(..std::mem::take(&mut self.looked)).collect::<Vec<_>>();
        let newest = &looked[looked.len() - seen.len()..];
        assert!(
            seen.iter().copied().eq(newest.iter().copied().map(numbered)),
            "other records, or in another order"
        );
    }

    /// After new ends have been attached and all was drained, it is a ring like any other, whatever was in its memory.
    fn recover(&mut self) {
        self.producer = self.ring.attach_producer();
        self.consumer = self.ring.attach_consumer();
        self.consumer.refresh();
        self.is_damaged = true;
        self.drain();
        (self.is_damaged, self.looked) = (false, 0);
        self.waiting.clear();
        for operation in [Operation::Push(3), Operation::Look, Operation::Drain] {
            self.apply(&operation);
        }
    }
}

/// Runs the operations that the bytes stand for.
///
/// # Panics
/// If the ring does not do what the queue does, or does not survive.
pub fn run(data: &[u8]) {
    let Some(Input { first, capacity_bits, operations }) = crate::input(data) else { return };
    let capacity = 1 << CAPACITY_BITS[usize::from(capacity_bits) % CAPACITY_BITS.len()];
    let memory = Memory::new(capacity);
    for word in COUNTERS {
        memory.write(word, first);
    }
    let ring = memory.ring(capacity);
    let mut pair = Pair {
        memory: &memory,
        ring,
        producer: ring.attach_producer(),
        consumer: ring.attach_consumer(),
        waiting: VecDeque::new(),
        looked: 0,
        next: 0,
        is_damaged: false,
    };
    for operation in &operations {
        pair.apply(operation);
    }
    pair.recover();
}
