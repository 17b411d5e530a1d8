//! The slot: the memory of one record in a ring.

use core::fmt;

use crate::{
    record::Record,
    sync::{AtomicUsize, Ordering::Relaxed},
};

/// The number of machine words in a record: 2 on 64-bit targets, 4 on 32-bit targets.
const WORDS: usize = size_of::<Record>() / size_of::<usize>();

/// The memory of one record in a [`Ring`](crate::Ring), 16 bytes.
///
/// A slot consists of atomic machine words, because the producer may write them while the consumer
/// reads them.
#[repr(transparent)]
pub struct Slot([AtomicUsize; WORDS]);

impl Slot {
    #[cfg(not(tailwatch_loom))]
    pub(super) const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; WORDS])
    }

    #[cfg(tailwatch_loom)]
    pub(super) fn new() -> Self {
        Self(core::array::from_fn(|_| AtomicUsize::new(0)))
    }

    /// Writes the record word by word. Wait-free.
    #[cfg(target_pointer_width = "64")]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a usize has 64 bits here")]
    pub(super) fn store(&self, record: Record) {
        let values = record.words();
        // A loop by hand: with iterators, this function looks so large to the compiler before it is
        // optimised that the hot path around it is no longer inlined.
        let mut word = 0;
        while word < WORDS {
            self.0[word].store(values[word] as usize, Relaxed);
            word += 1;
        }
    }

    /// Writes the record word by word, the low half of each 64-bit word first. Wait-free.
    #[cfg(target_pointer_width = "32")]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a 64-bit word")]
    pub(super) fn store(&self, record: Record) {
        let [first, second] = record.words();
        let words =
            [first as usize, (first >> 32) as usize, second as usize, (second >> 32) as usize];
        self.0[0].store(words[0], Relaxed);
        self.0[1].store(words[1], Relaxed);
        self.0[2].store(words[2], Relaxed);
        self.0[3].store(words[3], Relaxed);
    }

    /// Reads the record word by word. Wait-free.
    ///
    /// If the producer writes at the same time, the words may belong to several records. The
    /// consumer detects that afterwards.
    #[cfg(target_pointer_width = "64")]
    #[inline(always)]
    pub(super) fn load(&self) -> Record {
        let [first, second] = &self.0;
        Record::from_words([first.load(Relaxed) as u64, second.load(Relaxed) as u64])
    }

    /// Reads the record word by word. Wait-free.
    ///
    /// If the producer writes at the same time, the words may belong to several records. The
    /// consumer detects that afterwards.
    #[cfg(target_pointer_width = "32")]
    #[inline(always)]
    pub(super) fn load(&self) -> Record {
        let [a, b, c, d] = &self.0;
        let word = |low: &AtomicUsize, high: &AtomicUsize| {
            low.load(Relaxed) as u64 | (high.load(Relaxed) as u64) << 32
        };
        Record::from_words([word(a, b), word(c, d)])
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}
