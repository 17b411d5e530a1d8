//! The moments of the samples in one slice of a window, as they are stored.
//!
//! Each window is cut into intervals of equal length, its slices, and every event has moments for
//! each of them. The samples of an event that are *staged*, that is, not yet added to the slices,
//! have such moments, too.
//!
//! On 64-bit targets, [`Moments`](crate::Moments) are stored unchanged (`wide`). On 32-bit targets
//! they are packed into 40 bytes (`compact`).

#[cfg(not(target_pointer_width = "64"))]
pub use self::compact::PackedMoments;
#[cfg(target_pointer_width = "64")]
pub use self::wide::PackedMoments;

#[cfg(target_pointer_width = "64")]
mod wide {
    use crate::{Moments, sample_buffer::Sample};

    /// The moments of the samples in one slice of a window.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub struct PackedMoments(Moments);

    impl PackedMoments {
        /// The moments of no samples.
        pub(crate) const EMPTY: Self = Self(Moments::EMPTY);

        /// Returns the moments, which are not packed in this representation.
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

        /// Adds the samples of `other`. Returns the weight that did not fit, which is always 0 in
        /// this representation.
        #[inline(always)]
        pub(crate) fn merge(&mut self, other: &Moments) -> u64 {
            self.0.merge(other);
            0
        }

        /// Adds one sample.
        #[inline(always)]
        pub(crate) fn add(&mut self, sample: Sample) {
            self.0.merge(&Moments::of(sample.weighted()));
        }

        /// Adds at most 2^17 samples: the aggregator adds batches of at most 64.
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
        Moments, arithmetic::product_of_words, counter_width::saturating_word,
        sample_buffer::Sample,
    };

    /// The moments of the samples in one slice of a window.
    ///
    /// The count and the weight saturate at 2^32 − 1, the sum at 2^64 − 1 and the sum of
    /// squares at 2^96 − 1. When the weight saturates, both sums are set to their maximum, too,
    /// because they no longer belong to a known weight. The minimum and the maximum stay exact.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub struct PackedMoments {
        /// The number of samples.
        count: u32,
        /// The sum of the samples' weights.
        weight: u32,
        /// The sum of the values, each multiplied by its weight.
        sum: u64,
        /// The low 64 bits of the sum of squares.
        squares: u64,
        /// The high 32 bits of the sum of squares.
        squares_above: u32,
        /// The low 32 bits of the minimum.
        min: u32,
        /// The low 32 bits of the maximum.
        max: u32,
        /// The other bits of the minimum. 16 bits are enough, because the value of a
        /// [`WeightedSample`](crate::WeightedSample) has at most 44 bits on these targets.
        min_above: u16,
        /// The other bits of the maximum.
        max_above: u16,
    }

    impl PackedMoments {
        /// The moments of no samples.
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

        /// Returns the unpacked moments. A saturated weight or sum becomes the largest number of
        /// its type in [`Moments`]. What the bucket counts lack of this weight may lie anywhere, so
        /// the bounds of quantiles allow for it everywhere.
        #[inline(never)]
        pub(crate) fn moments(&self) -> Moments {
            let weight = if self.weight == u32::MAX { u64::MAX } else { self.weight.into() };
            let squares = u128::from(self.squares_above) << u64::BITS | u128::from(self.squares);
            let is_saturated = self.squares == u64::MAX && self.squares_above == u32::MAX;
            let squares = if is_saturated { u128::MAX } else { squares };
            Moments::from_parts(
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

        /// Returns the total weight of the samples as it is stored: at most 2^32 − 1, unlike the
        /// weight in [`moments`](Self::moments).
        pub(crate) const fn weight(&self) -> u64 {
            self.weight as u64
        }

        /// Packs `moments`, saturating what does not fit.
        #[expect(clippy::cast_possible_truncation, reason = "numbers are split into words")]
        fn pack(moments: &Moments) -> Self {
            let (min, max) = (moments.min(), moments.max());
            let [count, weight] = [moments.count(), moments.weight()].map(saturating_word);
            let (sum, squares) = (moments.sum(), moments.squares());
            // A mean cannot be computed without the weight. Saturated sums make it the largest
            // number, as if the sum itself had not fitted.
            let (sum, squares) =
                if weight == u32::MAX { (u64::MAX, u128::MAX) } else { (sum, squares) };
            let is_saturated = squares >> (u64::BITS + u32::BITS) != 0;
            Self {
                count,
                weight,
                sum,
                squares: if is_saturated { u64::MAX } else { squares as u64 },
                squares_above: if is_saturated { u32::MAX } else { (squares >> u64::BITS) as u32 },
                min: min as u32,
                max: max as u32,
                min_above: (min >> u32::BITS) as u16,
                max_above: (max >> u32::BITS) as u16,
            }
        }

        /// Adds the samples of `other`. Returns the weight that did not fit.
        #[inline(never)]
        pub(crate) fn merge(&mut self, other: &Moments) -> u64 {
            let mut moments = self.moments();
            moments.merge(other);
            let before = mem::replace(self, Self::pack(&moments)).weight();
            other.weight() - (self.weight() - before)
        }

        /// Adds one sample.
        ///
        /// The weight before must be at most 2^31, so that the count and the weight cannot overflow
        /// here. The aggregator calls this for staged samples only. Once their weight is greater,
        /// it adds them to the slices and starts again from [`EMPTY`](Self::EMPTY).
        #[inline(never)]
        pub(crate) fn add(&mut self, sample: Sample) {
            // Most samples have the weight 1 and are less than 2^32, which is 4 s in the coarse
            // unit of time. They take a path with less 64-bit and 128-bit arithmetic.
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
            let (above, is_saturated) = self.squares_above.overflowing_add(carry.into());
            self.squares = if is_saturated { u64::MAX } else { low };
            self.squares_above = if is_saturated { u32::MAX } else { above };
        }

        /// Adds samples one by one, like [`add`](Self::add) and with the same limit on the weight.
        pub(crate) fn add_all(&mut self, samples: &[Sample]) {
            samples.iter().for_each(|sample| self.add(*sample));
        }
    }
}
