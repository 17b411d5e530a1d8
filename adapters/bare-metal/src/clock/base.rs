//! A 64-bit tick in two words of 32 bits, for targets whose atomics are no wider.

use core::fmt;

use tailwatch_core::sync::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
    compiler_fence,
};

/// The tick up to which a clock has counted: what it adds its register to. All wait-free, by loads and stores alone.
///
/// Written in one context at a time, and read in any, also in one that interrupts the writer between its two stores: the second word
/// counts *halves* of the first one's range, so that the old one beside a new first word still tells the right tick, as long as a step
/// is less than 2^31. (The method is that of embassy's time drivers, there for a timer and its interrupt.)
///
/// It is public for those who bring registers of their own.
pub struct Base {
    /// The low 32 bits.
    low: AtomicU32,
    /// One more than how many times 2^31 ticks are over.
    next_half: AtomicU32,
}

impl Base {
    /// At tick 0.
    #[expect(
        clippy::new_without_default,
        reason = "`const` is the point of it, and `Default::default` is not"
    )]
    pub const fn new() -> Self {
        Self { low: AtomicU32::new(0), next_half: AtomicU32::new(1) }
    }

    /// The tick, and its low word, by which [`is_still`](Self::is_still) recognises it.
    #[inline(always)]
    pub(crate) fn load(&self) -> (u64, u32) {
        let next_half = self.next_half.load(Relaxed);
        // The half first: it may be older than the low word, but not newer.
        same_core_fence();
        let low = self.low.load(Relaxed);
        same_core_fence();
        (join(next_half, low), low)
    }

    /// Whether nothing was stored since [`load`](Self::load) told this low word.
    #[inline(always)]
    pub(crate) fn is_still(&self, low: u32) -> bool {
        same_core_fence();
        self.low.load(Relaxed) == low
    }

    /// Moves on to `tick`, which is less than 2^31 ahead.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the two words of a 64-bit number")]
    pub(crate) fn store(&self, tick: u64) {
        self.low.store(tick as u32, Relaxed);
        same_core_fence();
        self.next_half.store(((tick >> 31) as u32).wrapping_add(1), Relaxed);
        same_core_fence();
    }
}

/// The tick that these words tell, of which the half may be one behind.
#[inline(always)]
const fn join(next_half: u32, low: u32) -> u64 {
    let high = next_half.wrapping_sub(low >> 31) >> 1;
    (high as u64) << 32 | low as u64
}

/// Keeps the compiler from moving loads and stores across it; no instruction.
///
/// Its partner is the same fence in the other context, which runs on the same core, where a processor's own reordering cannot
/// be seen: `SeqCst`, because loads and stores are kept apart in both directions.
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
            before in prop_oneof![any::<u64>(), (0..4_u64).prop_map(|n| n << 31), Just(u64::from(u32::MAX))],
            step in prop_oneof![0..1_u32 << 31, Just((1 << 31) - 1)],
        ) {
            let before = before >> 2;
            let after = before + u64::from(step);
            let half = |tick: u64| u32::try_from(tick >> 31 & 0xFFFF_FFFF).unwrap().wrapping_add(1);
            let low = |tick: u64| u32::try_from(tick & 0xFFFF_FFFF).unwrap();
            prop_assert_eq!(join(half(before), low(before)), before);
            prop_assert_eq!(join(half(before), low(after)), after, "the new low word beside the old half");
            let base = Base::new();
            base.store(before);
            base.store(after);
            prop_assert_eq!(base.load(), (after, low(after)));
        }
    }
}
