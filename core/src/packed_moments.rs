//! The moments of a slice, as they are stored.
//!
//! On 64-bit targets, [`Moments`](crate::Moments) are stored unchanged (`wide`). On 32-bit targets
//! they are packed into 40 bytes instead of 64 (`compact`).

#[cfg(not(target_pointer_width = "64"))]
pub use self::compact::PackedMoments;
#[cfg(target_pointer_width = "64")]
pub use self::wide::PackedMoments;

#[cfg(target_pointer_width = "64")]
mod wide {
    use crate::{Moments, sample_buffer::Sample};

    /// The moments of a slice's samples.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub struct PackedMoments(Moments);

    impl PackedMoments {
        pub(crate) const EMPTY: Self = Self(Moments::EMPTY);

        /// Returns the unpacked moments.
        #[inline(always)]
        pub(crate) const fn moments(&self) -> Moments {
            self.0
        }

        /// Adds these moments to `moments`.
        #[inline(always)]
        pub(crate) fn add_to(&self, moments: &mut Moments) {
            moments.merge(&self.0);
        }

        /// Returns the number of samples.
        #[inline(always)]
        pub(crate) const fn count(&self) -> u64 {
            self.0.count()
        }

        /// Returns the total weight of the samples.
        #[inline(always)]
        pub(crate) const fn weight(&self) -> u64 {
            self.0.weight()
        }

        /// Merges `other`. Returns the weight that did not fit, which is always 0 in this
        /// representation.
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
mod compact {
    use core::mem;

    use crate::{
        Moments, counter_width::narrow, sample_buffer::Sample, wide_math::product_of_words,
    };

    /// The moments of a slice's samples.
    ///
    /// Once the weight is full, at 2^32 − 1, it stays full, and so do both sums. A full weight or
    /// sum is reported as the largest number. The sum of squares is full at 2^96 − 1.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub struct PackedMoments {
        count: u32,
        weight: u32,
        sum: u64,
        /// The low 64 bits of the sum of squares.
        squares: u64,
        /// The high 32 bits of the sum of squares.
        squares_above: u32,
        /// The low 32 bits of the minimum.
        min: u32,
        /// The low 32 bits of the maximum.
        max: u32,
        /// The high bits of the minimum. 16 bits are enough, because the value of a
        /// [`WeightedSample`](crate::WeightedSample) has at most 44 bits on these targets.
        min_above: u16,
        /// The high bits of the maximum.
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

        /// Returns the unpacked moments. A full weight or sum becomes a full one of [`Moments`], so
        /// that the bounds of quantiles allow for any weight that the slice lacks.
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

        /// Adds these moments to `moments`.
        pub(crate) fn add_to(&self, moments: &mut Moments) {
            moments.merge(&self.moments());
        }

        /// Returns the number of samples.
        pub(crate) const fn count(&self) -> u64 {
            self.count as u64
        }

        /// Returns the total weight of the samples.
        pub(crate) const fn weight(&self) -> u64 {
            self.weight as u64
        }

        /// Packs moments.
        #[expect(clippy::cast_possible_truncation, reason = "numbers are split into words")]
        fn of(moments: &Moments) -> Self {
            let (min, max) = (moments.min(), moments.max());
            let [count, weight] = [moments.count(), moments.weight()].map(narrow);
            let (sum, squares) = (moments.sum(), moments.squares());
            // Once the weight is full, the sums are not known any more, either. They are marked as
            // full. The extremes stay exact.
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

        /// Merges `other`. Returns the weight that did not fit.
        #[inline(never)]
        pub(crate) fn merge(&mut self, other: &Moments) -> u64 {
            let mut moments = self.moments();
            moments.merge(other);
            let before = mem::replace(self, Self::of(&moments)).weight();
            other.weight() - (self.weight() - before)
        }

        /// Adds a sample. The weight so far must be below 2^31.
        #[inline(never)]
        pub(crate) fn add(&mut self, sample: Sample) {
            // Most samples have the weight 1 and are below 2^32 units, which is 4 s in the coarse
            // unit.
            let Some(value) = sample.unweighted_u32() else {
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
