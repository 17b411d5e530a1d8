//! How wide what is stored is: where registers have 32 bits, memory is scarce, and numbers of 64 bits cost twice.
//!
//! What is told has 64 bits everywhere.

/// What is counted in, in memory: 64 bits, which are never full, or where registers have 32 bits as many, which stay full.
#[cfg(target_pointer_width = "64")]
pub type CountWord = u64;
/// What is counted in, in memory: 64 bits, which are never full, or where registers have 32 bits as many, which stay full.
#[cfg(not(target_pointer_width = "64"))]
pub type CountWord = u32;

/// The number; the largest of these if it is more.
#[inline(always)]
pub(crate) fn narrow(number: u64) -> CountWord {
    CountWord::try_from(number).unwrap_or(CountWord::MAX)
}

/// The number as it is told.
#[inline(always)]
#[cfg_attr(
    target_pointer_width = "64",
    expect(clippy::unnecessary_cast, reason = "elsewhere it is none")
)]
pub(crate) const fn widen(word: CountWord) -> u64 {
    word as u64
}

/// One more, or so many; it stays full.
#[inline(always)]
pub(crate) const fn count(word: &mut CountWord, more: CountWord) {
    *word = if cfg!(target_pointer_width = "64") {
        word.wrapping_add(more)
    } else {
        word.saturating_add(more)
    };
}

/// One more of what is rare: a call, where flash is scarce.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) const fn note(counter: &mut u64) {
    *counter += 1;
}
