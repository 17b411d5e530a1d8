//! Moments as they are stored: those of a slice, and those of an event.
//!
//! Where registers have 64 bits, they are kept as they are. Elsewhere in as few bits as do: those of a slice take 40 bytes instead of 64.

#[cfg(target_pointer_width = "64")]
pub use self::roomy::Sums;
#[cfg(not(target_pointer_width = "64"))]
pub use self::scarce::Sums;

#[cfg(target_pointer_width = "64")]
mod roomy {
    use core::marker::PhantomData;

    use crate::{Moments, histogram::Count, kept::Sample};

    /// What the samples of a slice, or of an event since the start, add up to. `C` is what they are counted in where registers have 32
    /// bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub struct Sums<C = u32> {
        moments: Moments,
        width: PhantomData<C>,
    }

    impl<C: Count> Sums<C> {
        pub(crate) const EMPTY: Self = Self { moments: Moments::EMPTY, width: PhantomData };

        /// As they are told.
        #[inline(always)]
        pub(crate) const fn moments(&self) -> Moments {
            self.moments
        }

        /// Adds them to others.
        #[inline(always)]
        pub(crate) fn add_to(&self, moments: &mut Moments) {
            moments.merge(&self.moments);
        }

        /// How many samples there are.
        #[inline(always)]
        pub(crate) const fn count(&self) -> u64 {
            self.moments.count()
        }

        /// How many they stand for.
        #[inline(always)]
        pub(crate) const fn weight(&self) -> u64 {
            self.moments.weight()
        }

        /// Adds what others add up to; how many of them, by weight, did not fit: none.
        #[inline(always)]
        pub(crate) fn merge(&mut self, other: &Moments) -> u64 {
            self.moments.merge(other);
            0
        }

        /// Adds samples; how many, by weight, did not fit: none.
        #[inline(always)]
        pub(crate) fn add_all(&mut self, samples: &[Sample]) -> u64 {
            self.moments.add_all(samples.iter().map(|sample| sample.weighed()));
            0
        }
    }
}

#[cfg(not(target_pointer_width = "64"))]
mod scarce {
    use crate::{Moments, histogram::Count, kept::Sample, wide::product_of_words};

    /// What the samples of a slice, or of an event since the start, add up to, counted in `C`.
    ///
    /// Once the weight does not fit, it and the other sums stay full, and are told as the largest number there is. Squares add up to 2^96.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub struct Sums<C = u32> {
        count: C,
        weight: C,
        sum: u64,
        squares: u64,
        squares_above: u32,
        min: u32,
        max: u32,
        /// Of the smallest and the largest, what is above 32 bits: a [`Weighed`](crate::Weighed) has 44.
        min_above: u16,
        max_above: u16,
    }

    impl<C: Count> Sums<C> {
        pub(crate) const EMPTY: Self = Self {
            count: C::ZERO,
            weight: C::ZERO,
            sum: 0,
            squares: 0,
            squares_above: 0,
            min: 0,
            max: 0,
            min_above: 0,
            max_above: 0,
        };

        /// As they are told. A sum that is full is told as one: so the quantiles of such a slice allow for all that it does not know.
        #[inline(never)]
        pub(crate) fn moments(&self) -> Moments {
            let squares = u128::from(self.squares_above) << u64::BITS | u128::from(self.squares);
            let is_full = self.squares == u64::MAX && self.squares_above == u32::MAX;
            Moments::of_parts(
                [self.count.get(), if self.weight == C::of(C::MAX) { u64::MAX } else { self.weight.get() }],
                [self.min(), self.max()],
                self.sum,
                if is_full { u128::MAX } else { squares },
            )
        }

        /// Adds them to others.
        pub(crate) fn add_to(&self, moments: &mut Moments) {
            if self.count != C::ZERO {
                moments.merge(&self.moments());
            }
        }

        const fn min(&self) -> u64 {
            (self.min_above as u64) << u32::BITS | self.min as u64
        }

        const fn max(&self) -> u64 {
            (self.max_above as u64) << u32::BITS | self.max as u64
        }

        /// How many samples there are.
        pub(crate) fn count(&self) -> u64 {
            self.count.get()
        }

        /// How many they stand for.
        pub(crate) fn weight(&self) -> u64 {
            self.weight.get()
        }

        /// Adds what others add up to; how many of them, by weight, did not fit.
        #[inline(never)]
        #[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
        pub(crate) fn merge(&mut self, other: &Moments) -> u64 {
            if other.count() == 0 {
                return 0;
            }
            let (min, max) = (other.min(), other.max());
            if self.count == C::ZERO || min < self.min() {
                (self.min, self.min_above) = (min as u32, (min >> u32::BITS) as u16);
            }
            if max > self.max() {
                (self.max, self.max_above) = (max as u32, (max >> u32::BITS) as u16);
            }
            self.count.add(other.count());
            if C::MAX - self.weight.get() <= other.weight() {
                // From here on it knows its extremes, and how many it does not know no more.
                let known = core::mem::replace(&mut self.weight, C::of(C::MAX)).get();
                (self.sum, self.squares, self.squares_above) = (u64::MAX, u64::MAX, u32::MAX);
                return other.weight().saturating_sub(C::MAX - known);
            }
            self.weight.add(other.weight());
            self.sum = self.sum.saturating_add(other.sum());
            let (low, carry) = self.squares.overflowing_add(other.squares() as u64);
            let above = (other.squares() >> u64::BITS) as u64;
            let above = above.saturating_add(u64::from(self.squares_above) + u64::from(carry));
            let is_full = above > u64::from(u32::MAX);
            self.squares = if is_full { u64::MAX } else { low };
            self.squares_above = if is_full { u32::MAX } else { above as u32 };
            0
        }

        /// Adds samples; how many, by weight, did not fit.
        #[inline(never)]
        pub(crate) fn add_all(&mut self, samples: &[Sample]) -> u64 {
            // One kind after the other, so that their frames do not lie on each other.
            let are_words = samples.iter().all(|sample| sample.word().is_some());
            self.add_words(samples) + if are_words { 0 } else { self.add_others(samples) }
        }

        /// Those of the usual kind: below 4 s in the coarse unit, each for itself alone.
        #[inline(never)]
        fn add_words(&mut self, samples: &[Sample]) -> u64 {
            let (mut count, mut min, mut max) = (0_u32, u32::MAX, 0);
            let (mut sum, mut squares, mut above) = (0_u64, 0_u64, 0_u32);
            for value in samples.iter().filter_map(|sample| sample.word()) {
                count += 1;
                min = min.min(value);
                max = max.max(value);
                sum += u64::from(value);
                let (low, carry) = squares.overflowing_add(product_of_words(value, value));
                squares = low;
                above += u32::from(carry);
            }
            let squares = u128::from(above) << u64::BITS | u128::from(squares);
            self.merge(&Moments::of_parts([count.into(); 2], [min.into(), max.into()], sum, squares))
        }

        /// The others.
        #[cold]
        #[inline(never)]
        fn add_others(&mut self, samples: &[Sample]) -> u64 {
            let mut moments = Moments::EMPTY;
            for sample in samples.iter().filter(|sample| sample.word().is_none()) {
                moments.add_weighed(sample.weighed());
            }
            self.merge(&moments)
        }
    }
}
