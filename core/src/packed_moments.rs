//! Moments as they are stored in a slice.
//!
//! Where registers have 64 bits, they are kept as they are. Elsewhere in as few bits as do: 40 bytes instead of 64.

#[cfg(target_pointer_width = "64")]
pub use self::roomy::PackedMoments;
#[cfg(not(target_pointer_width = "64"))]
pub use self::scarce::PackedMoments;

#[cfg(target_pointer_width = "64")]
mod roomy {
    use crate::{Moments, sample_buffer::Sample};

    /// What the samples of a slice add up to.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub struct PackedMoments(Moments);

    impl PackedMoments {
        pub(crate) const EMPTY: Self = Self(Moments::EMPTY);

        /// As they are told.
        #[inline(always)]
        pub(crate) const fn moments(&self) -> Moments {
            self.0
        }

        /// Adds them to others.
        #[inline(always)]
        pub(crate) fn add_to(&self, moments: &mut Moments) {
            moments.merge(&self.0);
        }

        /// How many samples there are.
        #[inline(always)]
        pub(crate) const fn count(&self) -> u64 {
            self.0.count()
        }

        /// How many they stand for.
        #[inline(always)]
        pub(crate) const fn weight(&self) -> u64 {
            self.0.weight()
        }

        /// Adds what others add up to; how many of them, by weight, did not fit: none.
        #[inline(always)]
        pub(crate) fn merge(&mut self, other: &Moments) -> u64 {
            self.0.merge(other);
            0
        }

        /// Adds a sample.
        #[inline(always)]
        pub(crate) fn add(&mut self, sample: Sample) {
            self.0.merge(&Moments::of(sample.weighted()));
        }

        /// Adds samples.
        #[inline(always)]
        pub(crate) fn add_all(&mut self, samples: &[Sample]) {
            self.0.add_all(samples.iter().map(|sample| sample.weighted()));
        }
    }
}

#[cfg(not(target_pointer_width = "64"))]
mod scarce {
    use core::mem;

    use crate::{
        Moments, counter_width::narrow, sample_buffer::Sample, wide_math::product_of_words,
    };

    /// What the samples of a slice add up to.
    ///
    /// Once the weight does not fit, it and the other sums stay full, and are told as the largest number there is. Squares add up to 2^96.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub struct PackedMoments {
        count: u32,
        weight: u32,
        sum: u64,
        squares: u64,
        squares_above: u32,
        min: u32,
        max: u32,
        /// Of the smallest and the largest, what is above 32 bits: a [`WeightedSample`](crate::WeightedSample) has 44.
        min_above: u16,
        max_above: u16,
    }

    impl PackedMoments {
        pub(crate) const EMPTY: Self = Self {
            count: 0,
            weight: 0,
            sum: 0,
            squares: 0,
            squares_above: 0,
            min: 0,
            max: 0,
            min_above: 0,
            max_above: 0,
        };

        const fn min(&self) -> u64 {
            (self.min_above as u64) << u32::BITS | self.min as u64
        }

        const fn max(&self) -> u64 {
            (self.max_above as u64) << u32::BITS | self.max as u64
        }

        /// As they are told. A sum that is full is told as one: so the quantiles of such a slice allow for all that it does not know.
        #[inline(never)]
        pub(crate) fn moments(&self) -> Moments {
            let weight = if self.weight == u32::MAX { u64::MAX } else { self.weight.into() };
            let squares = u128::from(self.squares_above) << u64::BITS | u128::from(self.squares);
            let is_full = self.squares == u64::MAX && self.squares_above == u32::MAX;
            let squares = if is_full { u128::MAX } else { squares };
            Moments::of_parts(
                [self.count.into(), weight],
                [self.min(), self.max()],
                self.sum,
                squares,
            )
        }

        /// Adds them to others.
        pub(crate) fn add_to(&self, moments: &mut Moments) {
            moments.merge(&self.moments());
        }

        /// How many samples there are.
        pub(crate) const fn count(&self) -> u64 {
            self.count as u64
        }

        /// How many they stand for.
        pub(crate) const fn weight(&self) -> u64 {
            self.weight as u64
        }

        /// Moments as they are stored.
        #[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
        fn of(moments: &Moments) -> Self {
            let (min, max) = (moments.min(), moments.max());
            let [count, weight] = [moments.count(), moments.weight()].map(narrow);
            let (sum, squares) = (moments.sum(), moments.squares());
            // Once it has no room, it knows its extremes, and how many it does not know no more.
            let (sum, squares) =
                if weight == u32::MAX { (u64::MAX, u128::MAX) } else { (sum, squares) };
            let is_full = squares >> (u64::BITS + u32::BITS) != 0;
            Self {
                count,
                weight,
                sum,
                squares: if is_full { u64::MAX } else { squares as u64 },
                squares_above: if is_full { u32::MAX } else { (squares >> u64::BITS) as u32 },
                min: min as u32,
                max: max as u32,
                min_above: (min >> u32::BITS) as u16,
                max_above: (max >> u32::BITS) as u16,
            }
        }

        /// Adds what others add up to; how many of them, by weight, did not fit.
        #[inline(never)]
        pub(crate) fn merge(&mut self, other: &Moments) -> u64 {
            let mut moments = self.moments();
            moments.merge(other);
            let before = mem::replace(self, Self::of(&moments)).weight();
            other.weight() - (self.weight() - before)
        }

        /// Adds a sample to sums that weigh less than 2^31.
        #[inline(never)]
        pub(crate) fn add(&mut self, sample: Sample) {
            // The usual kind: below 4 s in the coarse unit, and for itself alone.
            let Some(value) = sample.word() else {
                self.merge(&Moments::of(sample.weighted()));
                return;
            };
            if self.count == 0 || self.min_above > 0 || value < self.min {
                (self.min, self.min_above) = (value, 0);
            }
            if self.max_above == 0 && value > self.max {
                self.max = value;
            }
            self.count += 1;
            self.weight += 1;
            self.sum = self.sum.saturating_add(value.into());
            let (low, carry) = self.squares.overflowing_add(product_of_words(value, value));
            let (above, is_full) = self.squares_above.overflowing_add(carry.into());
            self.squares = if is_full { u64::MAX } else { low };
            self.squares_above = if is_full { u32::MAX } else { above };
        }

        /// Adds samples.
        pub(crate) fn add_all(&mut self, samples: &[Sample]) {
            samples.iter().for_each(|sample| self.add(*sample));
        }
    }
}
