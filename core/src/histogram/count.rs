//! The integer types that a histogram can count in.

use crate::counter_width::{CountWord, saturating_word, widen};

/// An unsigned integer that a histogram uses as a counter: `u16`, `u32` or `u64`.
///
/// [`add`](Self::add) and [`add_word`](Self::add_word) saturate at [`MAX`](Self::MAX) and return
/// the amount that did not fit. [`from_u64`](Self::from_u64) and
/// [`wrapping_sum`](Self::wrapping_sum) are faster and check nothing: the caller must ensure that
/// the result fits.
pub trait Count: Copy + Default + PartialEq + core::fmt::Debug + private::Sealed {
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

    /// Adds `n`, saturating at [`MAX`](Self::MAX). Returns the amount that did not fit.
    #[inline]
    fn add(&mut self, n: u64) -> u64 {
        let added = n.min(Self::MAX - self.get());
        *self = Self::from_u64(self.get() + added);
        n - added
    }

    /// Adds `n` like [`add`](Self::add). [`CountWord`] is `u64` on 64-bit targets, and `u32` on
    /// 32-bit targets, where arithmetic with a `u64` takes several instructions.
    #[inline]
    fn add_word(&mut self, n: CountWord) -> CountWord {
        let added = n.min(saturating_word(Self::MAX - self.get()));
        *self = Self::from_u64(self.get() + widen(added));
        n - added
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
