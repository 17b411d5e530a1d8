//! The width of the counters in memory.
//!
//! On 32-bit targets, memory is scarce and operations on 64-bit numbers take two instructions or
//! more, so that counters have 32 bits there. Reported numbers have 64 bits on every target.

/// The type of a counter in memory: 64 bits on 64-bit targets, where a counter is never full, and
/// 32 bits on 32-bit targets, where a full counter stays full.
#[cfg(target_pointer_width = "64")]
pub type CountWord = u64;
/// The type of a counter in memory: 64 bits on 64-bit targets, where a counter is never full, and
/// 32 bits on 32-bit targets, where a full counter stays full.
#[cfg(not(target_pointer_width = "64"))]
pub type CountWord = u32;

/// Converts a number to a counter, saturating at [`CountWord::MAX`].
#[inline(always)]
pub(crate) fn narrow(number: u64) -> CountWord {
    CountWord::try_from(number).unwrap_or(CountWord::MAX)
}

/// Converts a counter to a number with 64 bits.
#[inline(always)]
#[cfg_attr(
    target_pointer_width = "64",
    expect(clippy::unnecessary_cast, reason = "the cast is needed on 32-bit targets")
)]
pub(crate) const fn widen(counter: CountWord) -> u64 {
    counter as u64
}

/// Adds `more` to a counter. On 32-bit targets, a full counter stays full.
#[inline(always)]
pub(crate) const fn add(counter: &mut CountWord, more: CountWord) {
    *counter = if cfg!(target_pointer_width = "64") {
        counter.wrapping_add(more)
    } else {
        counter.saturating_add(more)
    };
}

/// Increments the counter of a rare event. On 32-bit targets this is not inlined, to save flash.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) const fn increment(counter: &mut u64) {
    *counter += 1;
}
