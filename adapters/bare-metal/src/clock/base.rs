//! A 64-bit tick stored in two 32-bit words, for targets without wider atomics.

use core::fmt;

use tailwatch_core::sync::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
    compiler_fence,
};

/// The 64-bit tick at which a clock last looked at its 32-bit counter.
///
/// A clock adds to it what the counter has counted since. Reading and writing are wait-free and
/// need only loads and stores.
///
/// Writers must not interrupt each other. Any context may read it, even one that interrupts the
/// writer between its two stores: the second word counts *halves* of the range of the first, so an
/// old second word and a new first word still give the right tick, as long as a step is less than
/// 2^31. The time drivers of embassy use the same method.
///
/// It is public for [`CycleCounter::with_registers`](super::CycleCounter::with_registers).
pub struct Base {
    /// The low 32 bits of the tick.
    low: AtomicU32,
    /// The tick divided by 2^31, plus one.
    next_half: AtomicU32,
}

impl Base {
    /// Creates a base at tick 0.
    #[expect(
        clippy::new_without_default,
        reason = "it is made in constants, where `Default` cannot be called"
    )]
    pub const fn new() -> Self {
        Self { low: AtomicU32::new(0), next_half: AtomicU32::new(1) }
    }

    /// Returns the tick, and its low word to pass to [`is_still`](Self::is_still).
    #[inline(always)]
    pub(crate) fn load(&self) -> (u64, u32) {
        let next_half = self.next_half.load(Relaxed);
        // Read the halves first: they may be older than the low word, but not newer.
        same_core_fence();
        let low = self.low.load(Relaxed);
        same_core_fence();
        (join(next_half, low), low)
    }

    /// Returns whether nothing was stored since [`load`](Self::load) returned this low word.
    #[inline(always)]
    pub(crate) fn is_still(&self, low: u32) -> bool {
        same_core_fence();
        self.low.load(Relaxed) == low
    }

    /// Sets the tick. `tick` must be less than 2^31 ahead of the current one.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the two words of a 64-bit number")]
    pub(crate) fn store(&self, tick: u64) {
        self.low.store(tick as u32, Relaxed);
        same_core_fence();
        self.next_half.store(((tick >> 31) as u32).wrapping_add(1), Relaxed);
        same_core_fence();
    }
}

/// Combines the two words into a tick. `next_half` may be one behind `low`.
#[inline(always)]
const fn join(next_half: u32, low: u32) -> u64 {
    let high = next_half.wrapping_sub(low >> 31) >> 1;
    (high as u64) << 32 | low as u64
}

/// Keeps the compiler from moving loads and stores across this point. It emits no instruction.
///
/// Its partner is the same fence in the other context. Both contexts run on one core, where the
/// reordering of the processor itself is not visible. `SeqCst`, because loads and stores must be
/// kept apart in both directions; without it, a reader could combine words of different ticks.
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
                "the old halves with the new low word"
            );
            let base = Base::new();
            base.store(before);
            base.store(after);
            prop_assert_eq!(base.load(), (after, low(after)));
        }
    }
}
