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
    pub(super) fn store(&self, record: Record) {
        let values = to_machine_words(record.words());
        // A loop by hand: with iterators, this function looks so large to the compiler before it is
        // optimised that the hot path around it is no longer inlined.
        let mut word = 0;
        while word < WORDS {
            self.0[word].store(values[word], Relaxed);
            word += 1;
        }
    }

    /// Writes the record word by word. Wait-free.
    // Without a loop, because the compiler does not unroll loops when it optimises for size.
    #[cfg(target_pointer_width = "32")]
    #[inline(always)]
    pub(super) fn store(&self, record: Record) {
        let [a, b, c, d] = to_machine_words(record.words());
        self.0[0].store(a, Relaxed);
        self.0[1].store(b, Relaxed);
        self.0[2].store(c, Relaxed);
        self.0[3].store(d, Relaxed);
    }

    /// Reads the record word by word. Wait-free.
    ///
    /// If the producer writes at the same time, the words may belong to several records. The
    /// consumer detects that afterwards.
    #[cfg(target_pointer_width = "32")]
    #[inline(always)]
    pub(super) fn load(&self) -> Record {
        let [a, b, c, d] = &self.0;
        Record::from_words(from_machine_words([
            a.load(Relaxed),
            b.load(Relaxed),
            c.load(Relaxed),
            d.load(Relaxed),
        ]))
    }

    /// Reads the record word by word. Wait-free.
    ///
    /// If the producer writes at the same time, the words may belong to several records. The
    /// consumer detects that afterwards.
    #[cfg(target_pointer_width = "64")]
    #[inline(always)]
    pub(super) fn load(&self) -> Record {
        let mut words = [0; WORDS];
        for (value, word) in words.iter_mut().zip(&self.0) {
            *value = word.load(Relaxed);
        }
        Record::from_words(from_machine_words(words))
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

/// Converts the two words of a record to machine words.
#[cfg(target_pointer_width = "64")]
#[expect(clippy::cast_possible_truncation, reason = "a usize has 64 bits here")]
const fn to_machine_words(words: [u64; 2]) -> [usize; WORDS] {
    [words[0] as usize, words[1] as usize]
}

/// Undoes [`to_machine_words`].
#[cfg(target_pointer_width = "64")]
const fn from_machine_words(words: [usize; WORDS]) -> [u64; 2] {
    [words[0] as u64, words[1] as u64]
}

/// Cuts the two 64-bit words of a record into machine words, the low half of each first.
#[cfg(target_pointer_width = "32")]
#[expect(clippy::cast_possible_truncation, reason = "the halves of a 64-bit word")]
const fn to_machine_words(words: [u64; 2]) -> [usize; WORDS] {
    let [first, second] = words;
    [first as usize, (first >> 32) as usize, second as usize, (second >> 32) as usize]
}

/// Undoes [`to_machine_words`].
#[cfg(target_pointer_width = "32")]
const fn from_machine_words(words: [usize; WORDS]) -> [u64; 2] {
    [words[0] as u64 | (words[1] as u64) << 32, words[2] as u64 | (words[3] as u64) << 32]
}
