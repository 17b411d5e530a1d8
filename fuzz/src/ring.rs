//! Compares a ring with a queue, and lets a hostile process write into the ring's memory.

use std::{
    collections::VecDeque,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use arbitrary::Arbitrary;
use tailwatch_core::{Consumer, EventId, Producer, Record, Ring, ring::batch};

#[derive(Debug, Arbitrary)]
struct Input {
    /// The first value of the counters.
    first: u64,
    capacity_bits: u8,
    operations: Vec<Operation>,
}

#[derive(Debug, Arbitrary)]
enum Operation {
    Push(u8),
    Refresh,
    Drain,
    NewProducer,
    NewConsumer,
    /// A hostile process writes values into words of the memory: pairs of index and value.
    Hostile(Vec<(u16, u64)>),
    /// A hostile process writes into a counter, where it can do most harm.
    HostileCounter(u8, u64),
}

const CAPACITY_BITS: [u8; 4] = [3, 4, 7, 10];
/// The words of the counters `head`, `reserved` and `tail`.
const COUNTERS: [usize; 3] = [0, 1, 16];

/// 128 bytes of a ring's memory: a ring has its counters in the first two blocks, then its records.
#[repr(align(128))]
struct Block([AtomicU64; 16]);

/// The memory of a ring, into which a hostile process can write.
struct Memory(Vec<Block>);

impl Memory {
    fn new(capacity: usize) -> Self {
        let bytes = Ring::layout(capacity).expect("a valid capacity").size();
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
        // SAFETY: the blocks have the size and alignment of the ring's layout, are initialised, and
        // outlive the reference. They are only accessed as atomic words, as the ring itself does.
        unsafe { Ring::from_memory(memory, capacity) }.expect("a valid capacity")
    }
}

/// A ring and the queue that it is compared with.
struct Comparison<'m> {
    memory: &'m Memory,
    ring: &'m Ring,
    producer: Producer<'m>,
    consumer: Consumer<'m>,
    /// Numbers pushed and not drained, oldest first.
    waiting: VecDeque<u64>,
    /// How many of them were pushed before the consumer's last refresh.
    refreshed: usize,
    /// The next number to push.
    next: u64,
    /// Whether a hostile process has written into the memory.
    is_damaged: bool,
}

/// Returns the record of number `n`.
fn numbered(n: u64) -> Record {
    let n = n & ((1 << 46) - 1);
    Record::value(n, EventId::new(1).expect("a valid id"), 0, n)
}

impl Comparison<'_> {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Push(count) => (0..*count).for_each(|_| self.push()),
            Operation::Refresh => {
                let pending = self.consumer.refresh();
                self.refreshed = self.waiting.len();
                assert!(
                    self.is_damaged || pending == self.refreshed,
                    "{pending} pending, not {}",
                    self.refreshed
                );
            }
            Operation::Drain => self.drain(),
            Operation::NewProducer => self.producer = self.ring.attach_producer(),
            Operation::NewConsumer => {
                self.consumer = self.ring.attach_consumer();
                self.refreshed = 0;
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
            "a pass must deliver or count as overwritten all that was pending"
        );
        assert_eq!(self.consumer.pending(), 0);
        assert!(seen.len() <= self.ring.capacity());
        if self.is_damaged {
            return;
        }
        // Records pushed since the refresh may have overwritten more.
        let capacity = self.ring.capacity();
        let safe = (capacity - batch(capacity)).saturating_sub(self.waiting.len() - self.refreshed);
        assert!(
            seen.len() >= self.refreshed.min(safe),
            "{} delivered, although the newest {safe} cannot be overwritten",
            seen.len()
        );
        let numbers = self.waiting.drain(..std::mem::take(&mut self.refreshed)).collect::<Vec<_>>();
        let newest = &numbers[numbers.len() - seen.len()..];
        assert!(
            seen.iter().copied().eq(newest.iter().copied().map(numbered)),
            "the newest records must be delivered in order"
        );
    }

    /// Attaches new ends and drains everything. Checks that the ring then works like any other,
    /// whatever was in its memory.
    fn recover(&mut self) {
        self.producer = self.ring.attach_producer();
        self.consumer = self.ring.attach_consumer();
        self.consumer.refresh();
        self.is_damaged = true;
        self.drain();
        (self.is_damaged, self.refreshed) = (false, 0);
        self.waiting.clear();
        for operation in [Operation::Push(3), Operation::Refresh, Operation::Drain] {
            self.apply(&operation);
        }
    }
}

/// Runs the operations that the bytes encode.
///
/// # Panics
/// If the ring differs from the queue, or does not recover after a hostile process has written into
/// it.
pub fn run(data: &[u8]) {
    let Some(Input { first, capacity_bits, operations }) = crate::input(data) else { return };
    let capacity = 1 << CAPACITY_BITS[usize::from(capacity_bits) % CAPACITY_BITS.len()];
    let memory = Memory::new(capacity);
    for word in COUNTERS {
        memory.write(word, first);
    }
    let ring = memory.ring(capacity);
    let mut comparison = Comparison {
        memory: &memory,
        ring,
        producer: ring.attach_producer(),
        consumer: ring.attach_consumer(),
        waiting: VecDeque::new(),
        refreshed: 0,
        next: 0,
        is_damaged: false,
    };
    for operation in &operations {
        comparison.apply(operation);
    }
    comparison.recover();
}
