//! Compares a ring with a queue, and its readers with a model. Lets a hostile process write into
//! the ring's memory.

mod own_reader;

use std::{
    collections::VecDeque,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use arbitrary::Arbitrary;
use tailwatch_core::{Consumer, EventId, Producer, Record, Ring, ring::batch};

use self::own_reader::{Beginning, OwnReader};

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
    /// One of the readers with a position of its own begins anew.
    NewReader(bool, Beginning),
    /// One of these readers looks for new records.
    RefreshReader(bool),
    /// One of these readers reads up to this many records.
    DrainReader(bool, u16),
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

    /// Returns the values of all words.
    fn words(&self) -> Vec<u64> {
        self.0.iter().flat_map(|block| &block.0).map(|word| word.load(Relaxed)).collect()
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
    /// Readers with positions of their own.
    readers: [OwnReader<'m>; 2],
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

impl<'m> Comparison<'m> {
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
            Operation::NewReader(second, beginning) => {
                self.read(*second, |reader, ring, head, next| {
                    *reader = OwnReader::new(ring, *beginning, head, next.unwrap_or_default());
                    if next.is_some() {
                        reader.check_beginning(*beginning, head);
                    }
                });
            }
            Operation::RefreshReader(second) => {
                self.read(*second, |reader, _, _, next| reader.refresh(next));
            }
            Operation::DrainReader(second, max) => {
                self.read(*second, |reader, _, _, next| reader.drain(usize::from(*max), next));
            }
        }
        let total = self.consumer.total();
        let accounted = total
            .delivered
            .wrapping_add(total.overwritten)
            .wrapping_add(self.consumer.pending() as u64);
        assert_eq!(self.consumer.produced(), accounted, "the loss law");
    }

    /// Calls `act` with a reader, the ring, the sequence number of the next record and, unless the
    /// ring is damaged, the record's own number. Checks that the reader writes nothing.
    fn read(
        &mut self,
        second: bool,
        act: impl FnOnce(&mut OwnReader<'m>, &'m Ring, usize, Option<u64>),
    ) {
        let before = self.memory.words();
        let next = (!self.is_damaged).then_some(self.next);
        let reader = &mut self.readers[usize::from(second)];
        act(reader, self.ring, self.producer.head(), next);
        assert!(self.memory.words() == before, "a reader has written into the ring");
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
        for operation in [
            Operation::NewReader(false, Beginning::Now),
            Operation::NewReader(true, Beginning::Now),
            Operation::Push(3),
            Operation::Refresh,
            Operation::Drain,
            Operation::RefreshReader(false),
            Operation::DrainReader(false, 2),
            Operation::DrainReader(false, u16::MAX),
            Operation::RefreshReader(true),
            Operation::DrainReader(true, u16::MAX),
        ] {
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
    let producer = ring.attach_producer();
    let head = producer.head();
    let mut comparison = Comparison {
        memory: &memory,
        ring,
        producer,
        consumer: ring.attach_consumer(),
        readers: [Beginning::Oldest, Beginning::Now]
            .map(|beginning| OwnReader::new(ring, beginning, head, 0)),
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
