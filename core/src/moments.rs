//! Count, extremes, mean and spread, in integers.

use self::sum::narrow;
use crate::{FixedPoint, TimeUnit, fixed_point::FRACTION_BITS, select::WeightedSample, wide_math};

/// What a set of samples adds up to, exactly: sums of integers, so that merging is addition in any order.
///
/// A sample of weight `w` stands for `w` of its like: it counts once, `w` times in everything but `count`, `min` and `max`.
/// Sums are full at 2^128: those of the squares, for durations of a minute, after 2^36 samples. Where registers have 32 bits, the plain
/// sum is at 2^64, after 544 years of time in units of 2^-30 s; and the squares are at 2^96, for durations of a minute after 2^24 samples.
/// What follows from a sum that is full is told as the largest number there is; there, so are mean and deviation of 2^47 samples, by weight, and those of a mean from 2^47.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Moments {
    count: u64,
    weight: u64,
    min: u64,
    max: u64,
    sum: Sum,
    squares: u128,
}

/// What values are summed up in.
#[cfg(target_pointer_width = "64")]
type Sum = u128;
#[cfg(not(target_pointer_width = "64"))]
type Sum = u64;

/// A mean or deviation, times 2^16.
#[cfg(target_pointer_width = "64")]
pub(crate) type Bits = u128;
/// A mean or deviation, times 2^16.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) type Bits = u64;

/// The root of a number with so many more bits has 16 more.
const SQUARE_BITS: u32 = 2 * FRACTION_BITS;

#[cfg(target_pointer_width = "64")]
mod sum {
    use super::{Bits, FRACTION_BITS, SQUARE_BITS};
    use crate::wide_math;

    pub(super) const fn narrow(sum: u128) -> u128 {
        sum
    }

    /// The quotient and the remainder.
    #[expect(clippy::cast_possible_truncation, reason = "less than the divisor")]
    const fn divided(sum: u128, n: u64) -> (u128, u64) {
        (sum / n as u128, (sum % n as u128) as u64)
    }

    /// Mean and standard deviation of `n`, times 2^16.
    #[inline(always)]
    pub(super) fn mean_and_deviation(sum: u128, squares: u128, n: u64) -> [Bits; 2] {
        [mean(sum, n), deviation(sum, squares, n)]
    }

    #[inline(always)]
    const fn mean(sum: u128, n: u64) -> u128 {
        let (whole, rest) = divided(sum, n);
        // The rest is below n, so it has room for 16 bits more.
        (whole << FRACTION_BITS)
            + wide_math::quotient(((rest as u128) << FRACTION_BITS) + (n / 2) as u128, n)
    }

    #[inline(always)]
    fn deviation(sum: u128, squares: u128, n: u64) -> u128 {
        if squares == u128::MAX {
            return u128::MAX;
        }
        // n²·variance = n·Σx² − (Σx)², which is exact where it fits 128 bits.
        let exact = u128::from(n)
            .checked_mul(squares)
            .zip(sum.checked_mul(sum))
            .map(|(squares, square)| squares.saturating_sub(square));
        let numerator = exact.unwrap_or_else(|| {
            // n·variance = Σx² − (Σx)²/n, with the quotient taken apart so that no product exceeds Σx².
            let (whole, rest) = divided(sum, n);
            let square = whole.saturating_mul(sum.saturating_add(rest.into()));
            squares.saturating_sub(
                square.saturating_add(wide_math::quotient(wide_math::product(rest, rest), n)),
            )
        });
        // Where more bits do not fit, they would not show.
        let has_room = numerator.leading_zeros() >= SQUARE_BITS;
        let numerator = if has_room { numerator << SQUARE_BITS } else { numerator };
        let mut variance = wide_math::quotient(numerator, n);
        if exact.is_some() {
            variance = wide_math::quotient(variance, n);
        }
        let root = u128::from(wide_math::root(variance));
        if has_room { root } else { root << FRACTION_BITS }
    }
}

#[cfg(not(target_pointer_width = "64"))]
mod sum {
    use super::{Bits, FRACTION_BITS, SQUARE_BITS};
    use crate::wide_math;

    pub(super) const fn narrow(sum: u128) -> u64 {
        wide_math::clamp(sum)
    }

    /// Mean and standard deviation of `n`, times 2^16.
    pub(super) fn mean_and_deviation(sum: u64, squares: u128, n: u64) -> [Bits; 2] {
        let (whole, rest) = wide_math::divided(sum, n);
        // Then there is no room for the fraction, rounded.
        if (whole | n) >> (u64::BITS - FRACTION_BITS - 1) != 0 {
            return [Bits::MAX; 2];
        }
        let mean =
            (whole << FRACTION_BITS) + wide_math::divided((rest << FRACTION_BITS) + n / 2, n).0;
        if squares >> (u128::BITS - SQUARE_BITS) != 0 {
            return [mean, Bits::MAX];
        }
        // n·variance = Σx² − whole·(Σx + rest) − rest²/n, where Σx = whole·n + rest: nothing there exceeds Σx², nor is it negative.
        let above = squares
            .wrapping_sub(wide_math::product(whole, sum))
            .wrapping_sub(wide_math::product(whole, rest));
        let square = wide_math::quotient(wide_math::product(rest, rest) << SQUARE_BITS, n);
        [mean, wide_math::root(wide_math::quotient((above << SQUARE_BITS).wrapping_sub(square), n))]
    }
}

impl Moments {
    /// Of no samples.
    pub const EMPTY: Self = Self { count: 0, weight: 0, min: 0, max: 0, sum: 0, squares: 0 };

    /// What this was before it was taken apart.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn of_parts(
        [count, weight]: [u64; 2],
        [min, max]: [u64; 2],
        sum: u64,
        squares: u128,
    ) -> Self {
        Self { count, weight, min, max, sum, squares }
    }

    /// The sum of all values, by weight.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn sum(&self) -> u64 {
        self.sum
    }

    /// The sum of the squares.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn squares(&self) -> u128 {
        self.squares
    }

    /// Of a single sample. Where registers have 32 bits, none is too large to be weighed in 64.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub(crate) fn of(sample: WeightedSample) -> Self {
        let (value, sampling) = (sample.value(), sample.sampling());
        if cfg!(target_pointer_width = "64") {
            Self::of_any(value, sampling)
        } else {
            Self::of_narrow(value, sampling)
        }
    }

    /// Of a sample of any value and the weight 2^`sampling`.
    #[cfg_attr(target_pointer_width = "64", inline)]
    fn of_any(value: u64, sampling: u8) -> Self {
        if value.leading_zeros() >= u32::from(sampling) {
            return Self::of_narrow(value, sampling);
        }
        let square = wide_math::product(value, value);
        let fits = square.leading_zeros() >= u32::from(sampling);
        let squares = if fits { square << sampling } else { u128::MAX };
        let sum = narrow(u128::from(value) << sampling);
        Self { count: 1, weight: 1 << sampling, min: value, max: value, sum, squares }
    }

    /// Of a sample that has 64 bits with its weight.
    #[inline(always)]
    fn of_narrow(value: u64, sampling: u8) -> Self {
        let weighted = value << sampling;
        let squares = wide_math::product(value, weighted);
        Self {
            count: 1,
            weight: 1 << sampling,
            min: value,
            max: value,
            sum: weighted.into(),
            squares,
        }
    }

    /// Adds samples: the same as one after the other, but for less.
    #[cfg(any(target_pointer_width = "64", test))]
    #[inline]
    pub(crate) fn add_all(&mut self, samples: impl Iterator<Item = WeightedSample> + Clone) {
        let (mut sums, mut sum, mut bits) = (Self { min: u64::MAX, ..Self::EMPTY }, 0, 0);
        for sample in samples.clone() {
            let value = sample.value();
            // A product of what is below 2^48 and a weight is one of 64 bits, and a few thousand squares of it fit 128.
            let weighted = value.wrapping_mul(sample.weight());
            bits |= value;
            sums.min = sums.min.min(value);
            sums.max = sums.max.max(value);
            sums.count += 1;
            sums.weight += sample.weight();
            sum += u128::from(weighted);
            sums.squares = sums.squares.wrapping_add(wide_math::product(value, weighted));
        }
        if cfg!(target_pointer_width = "64") && bits >> 48 == 0 {
            self.merge(&Self { sum: narrow(sum), ..sums });
        } else {
            samples.for_each(|sample| self.add(sample.value(), sample.sampling()));
        }
    }

    /// Adds a sample of weight 2^`sampling`.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub fn add(&mut self, value: u64, sampling: u8) {
        self.merge(&Self::of_any(value, sampling));
    }

    /// Adds `count` samples of weight 2^`sampling` each, spaced evenly from below `value` down to `least`: `value − step`,
    /// `value − 2·step`, …, where `count` steps lead to `least`. Constant time; a step that is no whole number is not rounded.
    pub(crate) fn add_series(&mut self, value: u64, least: u64, count: u64, sampling: u8) {
        let Some(distance) = value.checked_sub(least).filter(|_| count > 0) else { return };
        self.min = if self.count == 0 { least } else { self.min.min(least) };
        self.max = self.max.max(value - wide_math::divided(distance, count).0);
        self.count = self.count.saturating_add(count);
        self.weight = self.weight.saturating_add(count.saturating_mul(1 << sampling));
        // Of v − j·d/n for j = 1…n: Σ = n·v − d·(n + 1)/2, and Σ of the squares = n·v² − v·d·(n + 1) + d²·(n + 1)·(2n + 1)/6n.
        let [n, v, d] = [count, value, distance].map(u128::from);
        let part = wide_math::saturating_product;
        let sum = part(n, v).saturating_sub(part(d, n + 1) / 2);
        let of_steps = part(d * d, 2 * n + 3).saturating_add(wide_math::quotient(d * d, count));
        let of_steps = wide_math::quotient(of_steps, 6);
        let squares = part(n, v * v).saturating_add(of_steps).saturating_sub(part(v * d, n + 1));
        self.sum = self.sum.saturating_add(narrow(part(sum, 1 << sampling)));
        self.squares = self.squares.saturating_add(part(squares, 1 << sampling));
    }

    /// Adds what another set adds up to.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count = self.count.saturating_add(other.count);
        self.weight = self.weight.saturating_add(other.weight);
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
    }

    /// What was added since `earlier`, a former state of the same; its extremes, which cannot be subtracted, are given. `None` if
    /// that is no former state.
    pub fn since(&self, earlier: &Self, min: u64, max: u64) -> Option<Self> {
        // What was added to a sum that is full is not known, and is not little.
        Some(Self {
            count: self.count.checked_sub(earlier.count)?,
            weight: if self.weight == u64::MAX {
                u64::MAX
            } else {
                self.weight.checked_sub(earlier.weight)?
            },
            min,
            max,
            sum: if self.sum == Sum::MAX { Sum::MAX } else { self.sum.checked_sub(earlier.sum)? },
            squares: if self.squares == u128::MAX {
                u128::MAX
            } else {
                self.squares.checked_sub(earlier.squares)?
            },
        })
    }

    /// Samples that were added.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How many they stand for.
    pub const fn weight(&self) -> u64 {
        self.weight
    }

    /// The smallest; 0 of none.
    pub const fn min(&self) -> u64 {
        self.min
    }

    /// The largest; 0 of none.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The mean, and the standard deviation of the samples themselves (of the whole set, not estimated from a part of it); times 2^16.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn mean_and_deviation(&self) -> [Bits; 2] {
        if self.weight == 0 {
            return [0; 2];
        }
        // How much more there was is not known.
        if self.sum == Sum::MAX {
            return [Bits::MAX; 2];
        }
        sum::mean_and_deviation(self.sum, self.squares, self.weight)
    }
}

impl Default for Moments {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A mean or deviation in units of time, times 2^16, as nanoseconds.
#[cfg(target_pointer_width = "64")]
pub(crate) fn fixed_nanos(bits: Bits, unit: TimeUnit) -> FixedPoint {
    FixedPoint::from_wide(bits.saturating_mul(1_000_000_000) >> unit.bits())
}

/// A mean or deviation in units of time, times 2^16, as nanoseconds.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) const fn fixed_nanos(bits: Bits, unit: TimeUnit) -> FixedPoint {
    // Samples have 44 bits: the largest number follows from a sum that is full.
    FixedPoint::from_bits(if bits == Bits::MAX { bits } else { unit.nanos_by_words(bits, 0) })
}

/// A mean or deviation of plain numbers.
#[cfg(target_pointer_width = "64")]
pub(crate) const fn fixed_numbers(bits: Bits) -> FixedPoint {
    FixedPoint::from_wide(bits)
}

/// A mean or deviation of plain numbers.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) const fn fixed_numbers(bits: Bits) -> FixedPoint {
    FixedPoint::from_bits(bits)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;

    /// The bits that no sample has.
    const SPARE: u32 = u64::BITS - WeightedSample::VALUE_BITS;

    fn of(values: &[u64]) -> Moments {
        let mut moments = Moments::EMPTY;
        for value in values {
            moments.add(*value, 0);
        }
        moments
    }

    proptest! {
        #[test]
        fn mean_and_spread_are_those_of_big_integers(
            values in proptest::collection::vec((any::<u64>(), SPARE..64).prop_map(|(value, shift)| value >> shift), 1..100)
        ) {
            let moments = of(&values);
            let n = values.len();
            let sum: BigUint = values.iter().map(|value| BigUint::from(*value)).sum();
            let squares: BigUint = values.iter().map(|value| BigUint::from(*value).pow(2)).sum();
            let exact_mean = ((&sum << 17) / n + 1_u8) >> 1;
            let difference = |a: BigUint, b: BigUint| if a > b { a - b } else { b - a };
            prop_assert!(difference(exact_mean, moments.mean_and_deviation()[0].into()) <= BigUint::from(1_u8));
            let variance: BigUint = ((squares * n - sum.pow(2)) << 32) / (n * n);
            let spread = variance.sqrt();
            let told = BigUint::from(moments.mean_and_deviation()[1]);
            // Where n times the spread exceeds 48 bits, the fraction is dropped: at most one whole.
            let allowed = if spread < BigUint::from(1_u8) << 57 { 1_u64 } else { 1 << 17 };
            prop_assert!(difference(spread, told) <= BigUint::from(allowed));
        }

        #[test]
        fn a_series_is_its_terms(
            before in proptest::collection::vec(0..1_u64 << 50, 0..3),
            least in 0..1_u64 << 45,
            step in 1..1_u64 << 40,
            count in 0..200_u64,
            sampling in 0..16_u8,
        ) {
            let mut whole = of(&before);
            whole.add_series(least + count * step, least, count, sampling);
            let mut terms = of(&before);
            for j in 0..count {
                terms.add(least + j * step, sampling);
            }
            prop_assert_eq!(whole, terms);
        }

        #[test]
        fn many_are_one_after_the_other(
            before in proptest::collection::vec(any::<u64>(), 0..3),
            values in proptest::collection::vec((any::<u64>(), 4..64_u32, 0..16_u8), 0..80),
            shift in 0..40_u32,
        ) {
            let samples = values.into_iter().map(|(value, size, k)| WeightedSample::new(value >> size >> shift >> (60 - WeightedSample::VALUE_BITS), k).unwrap());
            let (mut all, mut each) = (of(&before), of(&before));
            all.add_all(samples.clone());
            samples.for_each(|sample| each.add(sample.value(), sample.sampling()));
            prop_assert_eq!(all, each);
        }

        #[test]
        fn merging_is_adding_in_any_order(values in proptest::collection::vec(any::<u64>(), 0..50), cut in 0..50_usize) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = of(right);
            merged.merge(&of(left));
            prop_assert_eq!(merged, of(&values));
        }

        #[test]
        fn what_was_added_since_is_the_rest(
            values in proptest::collection::vec(0..1_u64 << WeightedSample::VALUE_BITS, 1..50),
            cut in 0..50_usize,
        ) {
            let (before, after) = values.split_at(cut.min(values.len() - 1));
            let rest = of(after);
            let since = of(&values).since(&of(before), rest.min(), rest.max());
            prop_assert_eq!(since, Some(rest));
            prop_assert_eq!(of(before).since(&of(&values), 0, 0), None);
        }

        #[test]
        fn a_weight_is_that_many_samples(values in proptest::collection::vec(0..1_u64 << 40, 1..20), sampling in 0..5_u8) {
            let mut weighted = Moments::EMPTY;
            for value in &values {
                weighted.add(*value, sampling);
            }
            let repeated: Vec<u64> = values.iter().flat_map(|value| core::iter::repeat_n(*value, 1 << sampling)).collect();
            let repeated = of(&repeated);
            prop_assert_eq!(weighted.count(), values.len() as u64);
            prop_assert_eq!(weighted.weight(), repeated.count());
            prop_assert_eq!(weighted.mean_and_deviation(), repeated.mean_and_deviation());
        }
    }

    /// Where registers have 32 bits, the rounding of a mean has to fit 64.
    #[test]
    fn a_mean_is_rounded_as_long_as_it_is_told() {
        let mut moments = Moments::EMPTY;
        moments.add(0, 0);
        (1..47).for_each(|sampling| moments.add(1, sampling));
        assert_eq!(
            (moments.weight(), moments.mean_and_deviation()[0]),
            ((1 << 47) - 1, 1 << FRACTION_BITS)
        );
        moments.add(1, 47);
        let told = if cfg!(target_pointer_width = "64") { 1 << FRACTION_BITS } else { Bits::MAX };
        assert_eq!((moments.weight(), moments.mean_and_deviation()[0]), ((1 << 48) - 1, told));
    }

    #[test]
    fn extremes_saturate() {
        let mut moments = Moments::EMPTY;
        for _ in 0..10 {
            moments.add(u64::MAX, 15);
        }
        assert_eq!(moments.squares, u128::MAX);
        moments.add_series(u64::MAX, 0, u64::MAX, 15);
        moments.add_series(u64::MAX, 0, 1, 15);
        moments.add(1, 0);
        let _ = moments.mean_and_deviation();
    }
}
