//! The width of the counters that an aggregator keeps for each event and each bucket.
//!
//! On 32-bit targets, memory is scarce and an operation on a 64-bit number takes two instructions
//! or more. Such counters therefore have 32 bits there and saturate. Numbers returned to the user,
//! such as [`Counters`](crate::Counters), have 64 bits on every target.

/// The type of a counter in memory: 64 bits on 64-bit targets, where a counter cannot reach its
/// maximum in practice, and 32 bits on 32-bit targets, where a counter saturates.
#[cfg(target_pointer_width = "64")]
pub type CountWord = u64;
/// The type of a counter in memory: 64 bits on 64-bit targets, where a counter cannot reach its
/// maximum in practice, and 32 bits on 32-bit targets, where a counter saturates.
#[cfg(not(target_pointer_width = "64"))]
pub type CountWord = u32;

/// Converts a 64-bit number to a counter, saturating at [`CountWord::MAX`].
#[inline(always)]
pub(crate) fn saturating_word(number: u64) -> CountWord {
    CountWord::try_from(number).unwrap_or(CountWord::MAX)
}

/// Converts a counter to a 64-bit number.
#[inline(always)]
#[cfg_attr(
    target_pointer_width = "64",
    expect(clippy::unnecessary_cast, reason = "the cast is needed on 32-bit targets")
)]
pub(crate) const fn widen(counter: CountWord) -> u64 {
    counter as u64
}

/// Adds `more` to a counter. On 32-bit targets, the counter saturates.
#[inline(always)]
pub(crate) const fn add(counter: &mut CountWord, more: CountWord) {
    *counter = if cfg!(target_pointer_width = "64") {
        counter.wrapping_add(more)
    } else {
        counter.saturating_add(more)
    };
}

/// Increments a counter of anomalies, one of [`Counters`](crate::Counters).
///
/// These have 64 bits even on 32-bit targets: there are few of them, and anomalies are rare. On
/// 32-bit targets this function is not inlined, which saves flash at each of its many calls.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) const fn increment(counter: &mut u64) {
    *counter += 1;
}
