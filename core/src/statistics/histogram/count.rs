//! The integer types in which counts are stored.

use crate::stored::Stored;

/// An unsigned integer that is used as a counter: `u16`, `u32` or `u64`.
///
/// [`add`](Self::add) saturates at [`MAX`](Self::MAX) and returns the amount that did not fit.
/// [`from_u64`](Self::from_u64), [`wrapping_sum`](Self::wrapping_sum) and
/// [`subtract`](Self::subtract) are faster and check nothing in release builds: the caller must
/// ensure that the result fits.
pub trait Count: Stored + Ord + private::Sealed {
    /// A counter of 0.
    const ZERO: Self;
    /// The largest count that fits into this type.
    const MAX: u64;

    /// Returns the count as a `u64`.
    fn get(self) -> u64;

    /// Creates a counter from `count`, which must be at most [`MAX`](Self::MAX). This is not
    /// checked: of a greater number, only the low bits that fit into the type are kept.
    fn from_u64(count: u64) -> Self;

    /// Returns the sum of two counters, which must be at most [`MAX`](Self::MAX). This is not
    /// checked: a greater sum wraps around.
    fn wrapping_sum(self, other: Self) -> Self;

    /// Returns the sum of two counters, saturating at [`MAX`](Self::MAX).
    fn saturating_sum(self, other: Self) -> Self;

    /// Subtracts `less`, which must not be greater than the counter.
    fn subtract(&mut self, less: Self);

    /// Creates a counter from `count`, saturating at [`MAX`](Self::MAX).
    #[inline(always)]
    fn saturating_from(count: u64) -> Self {
        Self::from_u64(count.min(Self::MAX))
    }

    /// Adds `n`, saturating at [`MAX`](Self::MAX). Returns the amount that did not fit.
    #[inline]
    fn add(&mut self, n: u64) -> u64 {
        let added = n.min(Self::MAX - self.get());
        *self = Self::from_u64(self.get() + added);
        n - added
    }

    /// Decrements the counter, which must not be 0.
    #[inline(always)]
    fn decrement(&mut self) {
        self.subtract(Self::from_u64(1));
    }

    /// Increments the counter. It saturates at [`MAX`](Self::MAX), unless it has 64 bits: such a
    /// counter cannot get there.
    #[inline(always)]
    fn increment(&mut self) {
        *self = self.saturating_sum(Self::from_u64(1));
    }
}

mod private {
    pub trait Sealed {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

impl Count for u16 {
    const ZERO: Self = 0;
    const MAX: u64 = Self::MAX as u64;

    #[inline]
    fn get(self) -> u64 {
        u64::from(self)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the caller passes at most MAX")]
    fn from_u64(count: u64) -> Self {
        count as Self
    }

    #[inline]
    fn wrapping_sum(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline]
    fn saturating_sum(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    #[inline]
    fn subtract(&mut self, less: Self) {
        *self -= less;
    }
}

impl Count for u32 {
    const ZERO: Self = 0;
    const MAX: u64 = Self::MAX as u64;

    #[inline]
    fn get(self) -> u64 {
        u64::from(self)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the caller passes at most MAX")]
    fn from_u64(count: u64) -> Self {
        count as Self
    }

    #[inline]
    fn wrapping_sum(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline]
    fn saturating_sum(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    #[inline]
    fn subtract(&mut self, less: Self) {
        *self -= less;
    }
}

impl Count for u64 {
    const ZERO: Self = 0;
    const MAX: u64 = Self::MAX;

    #[inline]
    fn get(self) -> u64 {
        self
    }

    #[inline]
    fn from_u64(count: u64) -> Self {
        count
    }

    #[inline]
    fn wrapping_sum(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline]
    fn saturating_sum(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    #[inline]
    fn subtract(&mut self, less: Self) {
        *self -= less;
    }

    /// Does not saturate: 2^64 increments would take centuries.
    #[inline(always)]
    fn increment(&mut self) {
        *self = self.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saturated_counter_stays_at_its_maximum_and_returns_the_excess() {
        fn saturate<C: Count>() {
            let mut count = C::default();
            assert_eq!(count.add(C::MAX - 1), 0);
            assert_eq!(count.add(3), 2);
            assert_eq!(count.get(), C::MAX);
            assert_eq!(count.add(u64::MAX), u64::MAX);
        }
        saturate::<u16>();
        saturate::<u32>();
        saturate::<u64>();
    }
}
