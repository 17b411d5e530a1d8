//! One slot of a ring.

use core::fmt;

use crate::{
    Record,
    sync::{AtomicUsize, Ordering::Relaxed},
};

const WORDS: usize = 16 / size_of::<usize>();

/// Space for one record.
///
/// The words are atomics, because the producer may write them while the consumer reads them.
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
        let values = split(record.words());
        // A hand-written loop: with iterators there is so much to optimise away that the compiler
        // no longer inlines the hot path around this.
        let mut word = 0;
        while word < WORDS {
            self.0[word].store(values[word], Relaxed);
            word += 1;
        }
    }

    /// Writes the record word by word. Wait-free.
    // Written without a loop, because the compiler would not unroll one when it optimises for size.
    #[cfg(target_pointer_width = "32")]
    #[inline(always)]
    pub(super) fn store(&self, record: Record) {
        let [a, b, c, d] = split(record.words());
        self.0[0].store(a, Relaxed);
        self.0[1].store(b, Relaxed);
        self.0[2].store(c, Relaxed);
        self.0[3].store(d, Relaxed);
    }

    /// Reads the current words, which may belong to two different records. Wait-free.
    #[cfg(target_pointer_width = "32")]
    #[inline(always)]
    pub(super) fn load(&self) -> Record {
        let [a, b, c, d] = &self.0;
        Record::from_words(join([
            a.load(Relaxed),
            b.load(Relaxed),
            c.load(Relaxed),
            d.load(Relaxed),
        ]))
    }

    /// Reads the current words, which may belong to two different records. Wait-free.
    #[cfg(target_pointer_width = "64")]
    #[inline(always)]
    pub(super) fn load(&self) -> Record {
        let mut words = [0; WORDS];
        for (value, word) in words.iter_mut().zip(&self.0) {
            *value = word.load(Relaxed);
        }
        Record::from_words(join(words))
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

#[cfg(target_pointer_width = "64")]
#[expect(clippy::cast_possible_truncation, reason = "a usize has 64 bits here")]
const fn split(words: [u64; 2]) -> [usize; WORDS] {
    [words[0] as usize, words[1] as usize]
}

#[cfg(target_pointer_width = "64")]
const fn join(words: [usize; WORDS]) -> [u64; 2] {
    [words[0] as u64, words[1] as u64]
}

#[cfg(target_pointer_width = "32")]
#[expect(clippy::cast_possible_truncation, reason = "the halves of a 64-bit word")]
const fn split(words: [u64; 2]) -> [usize; WORDS] {
    let [a, b] = words;
    [a as usize, (a >> 32) as usize, b as usize, (b >> 32) as usize]
}

#[cfg(target_pointer_width = "32")]
const fn join(words: [usize; WORDS]) -> [u64; 2] {
    [words[0] as u64 | (words[1] as u64) << 32, words[2] as u64 | (words[3] as u64) << 32]
}
