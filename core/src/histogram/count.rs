//! How wide a counter is.

use crate::counter_width::{CountWord, narrow, widen};

/// An unsigned integer that a histogram counts with: `u16`, `u32` or `u64`.
///
/// A counter that is full stays full; how many did not fit is told by who adds to it, so that nothing is lost silently.
pub trait Count: Copy + Default + PartialEq + core::fmt::Debug + private::Sealed {
    /// Nothing counted.
    const ZERO: Self;
    /// The largest count.
    const MAX: u64;

    /// The count.
    fn get(self) -> u64;

    /// The counter that stands at `count`, which is at most [`MAX`](Self::MAX).
    fn of(count: u64) -> Self;

    /// The sum, where it is known to fit.
    fn plus(self, other: Self) -> Self;

    /// Adds `n`, as far as there is room; returns what did not fit.
    #[inline]
    fn add(&mut self, n: u64) -> u64 {
        let taken = n.min(Self::MAX - self.get());
        *self = Self::of(self.get() + taken);
        n - taken
    }

    /// The same, in as many bits as are added fast.
    #[inline]
    fn add_word(&mut self, n: CountWord) -> CountWord {
        let taken = n.min(narrow(Self::MAX - self.get()));
        *self = Self::of(self.get() + widen(taken));
        n - taken
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
    #[expect(clippy::cast_possible_truncation, reason = "at most the largest")]
    fn of(count: u64) -> Self {
        count as Self
    }

    #[inline]
    fn plus(self, other: Self) -> Self {
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
    #[expect(clippy::cast_possible_truncation, reason = "at most the largest")]
    fn of(count: u64) -> Self {
        count as Self
    }

    #[inline]
    fn plus(self, other: Self) -> Self {
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
    fn of(count: u64) -> Self {
        count
    }

    #[inline]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_counter_stays_full_and_says_what_did_not_fit() {
        fn fill<C: Count>() {
            let mut count = C::default();
            assert_eq!(count.add(C::MAX - 1), 0);
            assert_eq!(count.add(3), 2);
            assert_eq!(count.get(), C::MAX);
            assert_eq!(count.add(u64::MAX), u64::MAX);
        }
        fill::<u16>();
        fill::<u32>();
        fill::<u64>();
    }
}
