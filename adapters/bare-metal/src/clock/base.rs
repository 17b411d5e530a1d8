//! A tick count below 2^63 that is stored in two 32-bit words, for targets without 64-bit atomics.

use core::fmt;

use tailwatch_core::sync::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
    compiler_fence,
};

/// The tick count of a clock, below 2^63, at the last call of its method `tick`.
///
/// A clock over a counter of up to 32 bits returns this tick count plus what the counter has
/// counted since. Reading and writing are wait-free and need only loads and stores.
///
/// Writers must not interrupt each other. Any context may read the tick count, even a context that
/// interrupts the writer between its two stores. It then reads the new low word and the old second
/// word. This still gives the right tick count if the new tick count is less than 2^31 above the
/// old one, because the second word does not hold the high 32 bits: it counts the *halves* of the
/// range of the low word, so it is at most one behind. The time drivers of embassy use the same
/// method.
///
/// This type is public because
/// [`CycleCounter::with_registers`](super::CycleCounter::with_registers) takes it as an argument.
pub struct Base {
    /// The low 32 bits of the tick count.
    low: AtomicU32,
    /// The tick count divided by 2^31, plus one; modulo 2^32.
    next_half: AtomicU32,
}

impl Base {
    /// Creates a tick count of 0.
    #[expect(
        clippy::new_without_default,
        reason = "it is made in constants, where `Default` cannot be called"
    )]
    pub const fn new() -> Self {
        Self { low: AtomicU32::new(0), next_half: AtomicU32::new(1) }
    }

    /// Returns the tick count, and its low word to pass to [`is_unchanged`](Self::is_unchanged).
    #[inline(always)]
    pub(crate) fn load(&self) -> (u64, u32) {
        // This word is read first, so it may be older than the low word, but never newer. `join`
        // relies on this.
        let next_half = self.next_half.load(Relaxed);
        same_core_fence();
        let low = self.low.load(Relaxed);
        same_core_fence();
        (join(next_half, low), low)
    }

    /// Returns whether the low word is still `low`, the word that [`load`](Self::load) returned. If
    /// so, no other tick count was stored in between.
    #[inline(always)]
    pub(crate) fn is_unchanged(&self, low: u32) -> bool {
        same_core_fence();
        self.low.load(Relaxed) == low
    }

    /// Sets the tick count. `tick` must be less than 2^31 above the current tick count.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the two words of a 64-bit number")]
    pub(crate) fn store(&self, tick: u64) {
        self.low.store(tick as u32, Relaxed);
        same_core_fence();
        self.next_half.store(((tick >> 31) as u32).wrapping_add(1), Relaxed);
        same_core_fence();
    }
}

/// Combines the two words into a tick count. `next_half` may be one behind `low`.
#[inline(always)]
const fn join(next_half: u32, low: u32) -> u64 {
    // The number of the current half is 2 · high + bit, where bit is the highest bit of `low`. So
    // `next_half` is 2 · high + bit + 1, or one less if it is behind. Without the bit this is 2 ·
    // high + 1 or 2 · high, and half of either is high.
    let high = next_half.wrapping_sub(low >> 31) >> 1;
    (high as u64) << 32 | low as u64
}

/// Keeps the compiler from moving loads and stores across this point. It emits no instruction.
///
/// Each fence of a reader is paired with the fences of the writer that it interrupts or that
/// interrupts it. Both contexts run on one core, where a context never sees reordering by the
/// processor. The fence is `SeqCst`, because it must keep loads and stores in order in both
/// directions. Without it, a reader could combine an old low word with a newer second word.
#[inline(always)]
pub(super) fn same_core_fence() {
    compiler_fence(SeqCst);
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Base").field(&self.load().0).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_reader_between_the_two_stores_sees_the_new_tick(
            // Shifted right by 2 below, so that adding `step` does not overflow.
            before in prop_oneof![
                any::<u64>(),
                (0..4_u64).prop_map(|n| n << 31),
                Just(u64::from(u32::MAX)),
            ],
            step in prop_oneof![0..1_u32 << 31, Just((1 << 31) - 1)],
        ) {
            let before = before >> 2;
            let after = before + u64::from(step);
            let half = |tick: u64| u32::try_from(tick >> 31 & 0xFFFF_FFFF).unwrap().wrapping_add(1);
            let low = |tick: u64| u32::try_from(tick & 0xFFFF_FFFF).unwrap();
            prop_assert_eq!(join(half(before), low(before)), before);
            prop_assert_eq!(
                join(half(before), low(after)),
                after,
                "the old second word with the new low word"
            );
            let base = Base::new();
            base.store(before);
            base.store(after);
            prop_assert_eq!(base.load(), (after, low(after)));
        }
    }
}
