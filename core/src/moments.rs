//! Count, extremes, mean and standard deviation, in integer arithmetic.

use self::sum::narrow;
use crate::{FixedPoint, TimeUnit, fixed_point::FRACTION_BITS, select::WeightedSample, wide_math};

/// The count, weight, extremes, sum and sum of squares of a set of samples.
///
/// All of them are exact integers, so that merging is addition and its order does not matter. A
/// sample of weight `w` counts once in `count`, and `w` times in the weight and in both sums.
///
/// # Limits
///
/// The sums saturate, and a mean or deviation that follows from a full sum is reported as the
/// largest number:
///
/// - On 64-bit targets, both sums are full at 2^128. For durations of a minute, in the fine unit of
///   2^-40 s, the sum of squares is full after 2^36 samples.
/// - On 32-bit targets, the sum is full at 2^64: after 544 years in the coarse unit of 2^-30 s. The
///   sum of squares counts as full at 2^96: for durations of a minute after 2^24 samples. The mean
///   and the deviation are also reported as the largest number once the weight or the mean reaches
///   2^47.
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

/// The type of a sum of values.
#[cfg(target_pointer_width = "64")]
type Sum = u128;
/// The type of a sum of values.
#[cfg(not(target_pointer_width = "64"))]
type Sum = u64;

/// A mean or standard deviation as a fixed-point number with 16 fractional bits.
#[cfg(target_pointer_width = "64")]
pub(crate) type Bits = u128;
/// A mean or standard deviation as a fixed-point number with 16 fractional bits.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) type Bits = u64;

/// The fractional bits of a variance. Its square root has half as many, which is 16.
const SQUARE_BITS: u32 = 2 * FRACTION_BITS;

#[cfg(target_pointer_width = "64")]
mod sum {
    use super::{Bits, FRACTION_BITS, SQUARE_BITS};
    use crate::wide_math;

    pub(super) const fn narrow(sum: u128) -> u128 {
        sum
    }

    /// Returns the quotient and the remainder.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder is less than the divisor")]
    const fn divided(sum: u128, n: u64) -> (u128, u64) {
        (sum / n as u128, (sum % n as u128) as u64)
    }

    /// Returns the mean and the standard deviation of samples of weight `n`.
    #[inline(always)]
    pub(super) fn mean_and_deviation(sum: u128, squares: u128, n: u64) -> [Bits; 2] {
        [mean(sum, n), deviation(sum, squares, n)]
    }

    #[inline(always)]
    const fn mean(sum: u128, n: u64) -> u128 {
        let (whole, rest) = divided(sum, n);
        // The remainder is below n, so 16 more bits always fit.
        (whole << FRACTION_BITS)
            + wide_math::quotient(((rest as u128) << FRACTION_BITS) + (n / 2) as u128, n)
    }

    #[inline(always)]
    fn deviation(sum: u128, squares: u128, n: u64) -> u128 {
        if squares == u128::MAX {
            return u128::MAX;
        }
        // n²·variance = n·Σx² − (Σx)², which is exact if it fits into 128 bits.
        let exact = u128::from(n)
            .checked_mul(squares)
            .zip(sum.checked_mul(sum))
            .map(|(squares, square)| squares.saturating_sub(square));
        let numerator = exact.unwrap_or_else(|| {
            // Otherwise use n·variance = Σx² − (Σx)²/n. The quotient is split into the quotient and
            // the remainder of Σx / n, so that no product exceeds Σx².
            let (whole, rest) = divided(sum, n);
            let square = whole.saturating_mul(sum.saturating_add(rest.into()));
            squares.saturating_sub(
                square.saturating_add(wide_math::quotient(wide_math::product(rest, rest), n)),
            )
        });
        // A numerator without room for the fractional bits is at least 2^96. Its root is computed
        // as an integer, without a fraction.
        let has_room = numerator.leading_zeros() >= SQUARE_BITS;
        let numerator = if has_room { numerator << SQUARE_BITS } else { numerator };
        let mut variance = wide_math::quotient(numerator, n);
        if exact.is_some() {
            variance = wide_math::quotient(variance, n);
        }
        let root = u128::from(wide_math::isqrt(variance));
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

    /// Returns the mean and the standard deviation of samples of weight `n`.
    pub(super) fn mean_and_deviation(sum: u64, squares: u128, n: u64) -> [Bits; 2] {
        let (whole, rest) = wide_math::div_rem(sum, n);
        // There is no room for the 16 fractional bits and for rounding.
        if (whole | n) >> (u64::BITS - FRACTION_BITS - 1) != 0 {
            return [Bits::MAX; 2];
        }
        let mean =
            (whole << FRACTION_BITS) + wide_math::div_rem((rest << FRACTION_BITS) + n / 2, n).0;
        if squares >> (u128::BITS - SQUARE_BITS) != 0 {
            return [mean, Bits::MAX];
        }
        // n·variance = Σx² − whole·(Σx + rest) − rest²/n, where Σx = whole·n + rest. No term
        // exceeds Σx², and no intermediate result is negative.
        let above = squares
            .wrapping_sub(wide_math::product(whole, sum))
            .wrapping_sub(wide_math::product(whole, rest));
        let square = wide_math::quotient(wide_math::product(rest, rest) << SQUARE_BITS, n);
        [
            mean,
            wide_math::isqrt(wide_math::quotient((above << SQUARE_BITS).wrapping_sub(square), n)),
        ]
    }
}

impl Moments {
    /// The moments of no samples.
    pub const EMPTY: Self = Self { count: 0, weight: 0, min: 0, max: 0, sum: 0, squares: 0 };

    /// Creates moments from their parts: count and weight, minimum and maximum, both sums.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn of_parts(
        [count, weight]: [u64; 2],
        [min, max]: [u64; 2],
        sum: u64,
        squares: u128,
    ) -> Self {
        Self { count, weight, min, max, sum, squares }
    }

    /// Returns the sum of all values, each times its weight.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns the sum of the squares of all values, each times its weight.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn squares(&self) -> u128 {
        self.squares
    }

    /// Returns the moments of a single sample.
    ///
    /// On 32-bit targets, a value has at most 44 bits, so that its product with a weight always
    /// fits into 64 bits.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub(crate) fn of(sample: WeightedSample) -> Self {
        let (value, sampling) = (sample.value(), sample.sampling());
        if cfg!(target_pointer_width = "64") {
            Self::of_any(value, sampling)
        } else {
            Self::of_narrow(value, sampling)
        }
    }

    /// Returns the moments of a sample of any value and the weight 2^`sampling`.
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

    /// Returns the moments of a sample whose product of value and weight fits into 64 bits.
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

    /// Adds samples. Has the same result as adding one after the other, and is faster.
    #[cfg(any(target_pointer_width = "64", test))]
    #[inline]
    pub(crate) fn add_all(&mut self, samples: impl Iterator<Item = WeightedSample> + Clone) {
        let (mut sums, mut sum, mut bits) = (Self { min: u64::MAX, ..Self::EMPTY }, 0, 0);
        for sample in samples.clone() {
            let value = sample.value();
            // A value below 2^48 times a weight of at most 2^15 fits into 64 bits, and the sum of
            // 2^17 such squares fits into 128 bits.
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

    /// Adds `count` samples of weight 2^`sampling` each, spaced evenly between `value`, which is
    /// not included, and `least`, which is: `value − step`, `value − 2·step`, …, `least`.
    ///
    /// The step `(value − least) / count` need not be an integer; it is not rounded. Takes constant
    /// time. Adds nothing if `least` exceeds `value` or `count` is 0.
    pub(crate) fn add_series(&mut self, value: u64, least: u64, count: u64, sampling: u8) {
        let Some(distance) = value.checked_sub(least).filter(|_| count > 0) else { return };
        self.min = if self.count == 0 { least } else { self.min.min(least) };
        self.max = self.max.max(value - wide_math::div_rem(distance, count).0);
        self.count = self.count.saturating_add(count);
        self.weight = self.weight.saturating_add(count.saturating_mul(1 << sampling));
        // The terms are v − j·d/n for j = 1…n. Their sum is n·v − d·(n + 1)/2. The sum of their
        // squares is n·v² − v·d·(n + 1) + d²·(n + 1)·(2n + 1)/6n.
        let [n, v, d] = [count, value, distance].map(u128::from);
        let times = wide_math::saturating_product;
        let sum = times(n, v).saturating_sub(times(d, n + 1) / 2);
        let of_steps = times(d * d, 2 * n + 3).saturating_add(wide_math::quotient(d * d, count));
        let of_steps = wide_math::quotient(of_steps, 6);
        let squares = times(n, v * v).saturating_add(of_steps).saturating_sub(times(v * d, n + 1));
        self.sum = self.sum.saturating_add(narrow(times(sum, 1 << sampling)));
        self.squares = self.squares.saturating_add(times(squares, 1 << sampling));
    }

    /// Adds the samples of another set.
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

    /// Returns the moments of the samples that were added since `earlier`, an earlier state of the
    /// same moments.
    ///
    /// Extremes cannot be subtracted, so the caller passes `min` and `max` of these samples.
    /// Returns `None` if `earlier` is not an earlier state.
    pub fn since(&self, earlier: &Self, min: u64, max: u64) -> Option<Self> {
        // A full sum does not show how much was added, so the difference is reported as full, too.
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

    /// Returns the number of samples.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the total weight of the samples: the number of events that they stand for.
    pub const fn weight(&self) -> u64 {
        self.weight
    }

    /// Returns the smallest value, or 0 if there are no samples.
    pub const fn min(&self) -> u64 {
        self.min
    }

    /// Returns the largest value, or 0 if there are no samples.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Returns the mean and the population standard deviation (not the sample standard deviation).
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn mean_and_deviation(&self) -> [Bits; 2] {
        if self.weight == 0 {
            return [0; 2];
        }
        // A full sum does not show how much more was added.
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

/// Converts a mean or standard deviation from units of time to nanoseconds.
#[cfg(target_pointer_width = "64")]
pub(crate) fn fixed_nanos(bits: Bits, unit: TimeUnit) -> FixedPoint {
    FixedPoint::from_wide(bits.saturating_mul(1_000_000_000) >> unit.bits())
}

/// Converts a mean or standard deviation from units of time to nanoseconds.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) const fn fixed_nanos(bits: Bits, unit: TimeUnit) -> FixedPoint {
    // A sample has at most 44 bits, so `Bits::MAX` always stands for a full sum.
    FixedPoint::from_bits(if bits == Bits::MAX { bits } else { unit.nanos_by_words(bits, 0) })
}

/// Returns a mean or standard deviation of plain numbers.
#[cfg(target_pointer_width = "64")]
pub(crate) const fn fixed_numbers(bits: Bits) -> FixedPoint {
    FixedPoint::from_wide(bits)
}

/// Returns a mean or standard deviation of plain numbers.
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

    /// The number of high bits that are 0 in the value of every sample.
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
        fn mean_and_deviation_agree_with_big_integers(
            values in proptest::collection::vec(
                (any::<u64>(), SPARE..64).prop_map(|(value, shift)| value >> shift),
                1..100,
            )
        ) {
            let moments = of(&values);
            let n = values.len();
            let sum: BigUint = values.iter().map(|value| BigUint::from(*value)).sum();
            let squares: BigUint = values.iter().map(|value| BigUint::from(*value).pow(2)).sum();
            let exact_mean = ((&sum << 17) / n + 1_u8) >> 1;
            let difference = |a: BigUint, b: BigUint| if a > b { a - b } else { b - a };
            let [mean, deviation] = moments.mean_and_deviation().map(BigUint::from);
            prop_assert!(difference(exact_mean, mean) <= BigUint::from(1_u8));
            let variance: BigUint = ((squares * n - sum.pow(2)) << 32) / (n * n);
            let exact_deviation = variance.sqrt();
            // If n times the deviation exceeds 48 bits, the fraction is dropped: an error of up to
            // 1.
            let is_small = exact_deviation < BigUint::from(1_u8) << 57;
            let allowed = if is_small { 1_u64 } else { 1 << 17 };
            prop_assert!(difference(exact_deviation, deviation) <= BigUint::from(allowed));
        }

        #[test]
        fn add_series_equals_adding_each_term(
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
        fn add_all_equals_adding_each_sample(
            before in proptest::collection::vec(any::<u64>(), 0..3),
            values in proptest::collection::vec((any::<u64>(), 4..64_u32, 0..16_u8), 0..80),
            shift in 0..40_u32,
        ) {
            let samples = values.into_iter().map(|(value, size, k)| {
                let value = value >> size >> shift >> (60 - WeightedSample::VALUE_BITS);
                WeightedSample::new(value, k).unwrap()
            });
            let (mut all, mut each) = (of(&before), of(&before));
            all.add_all(samples.clone());
            samples.for_each(|sample| each.add(sample.value(), sample.sampling()));
            prop_assert_eq!(all, each);
        }

        #[test]
        fn merging_equals_adding_everything_to_one(
            values in proptest::collection::vec(any::<u64>(), 0..50),
            cut in 0..50_usize,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = of(right);
            merged.merge(&of(left));
            prop_assert_eq!(merged, of(&values));
        }

        #[test]
        fn since_returns_what_was_added_later(
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
        fn a_weighted_sample_counts_as_that_many_samples(
            values in proptest::collection::vec(0..1_u64 << 40, 1..20),
            sampling in 0..5_u8,
        ) {
            let mut weighted = Moments::EMPTY;
            for value in &values {
                weighted.add(*value, sampling);
            }
            let repeat = |value: &u64| core::iter::repeat_n(*value, 1 << sampling);
            let repeated: Vec<u64> = values.iter().flat_map(repeat).collect();
            let repeated = of(&repeated);
            prop_assert_eq!(weighted.count(), values.len() as u64);
            prop_assert_eq!(weighted.weight(), repeated.count());
            prop_assert_eq!(weighted.mean_and_deviation(), repeated.mean_and_deviation());
        }
    }

    /// On 32-bit targets, the sum that rounds the mean has to fit into 64 bits.
    #[test]
    fn the_mean_is_rounded_right_up_to_the_largest_weight() {
        let mut moments = Moments::EMPTY;
        moments.add(0, 0);
        (1..47).for_each(|sampling| moments.add(1, sampling));
        assert_eq!(
            (moments.weight(), moments.mean_and_deviation()[0]),
            ((1 << 47) - 1, 1 << FRACTION_BITS)
        );
        moments.add(1, 47);
        let mean = if cfg!(target_pointer_width = "64") { 1 << FRACTION_BITS } else { Bits::MAX };
        assert_eq!((moments.weight(), moments.mean_and_deviation()[0]), ((1 << 48) - 1, mean));
    }

    #[test]
    fn sums_of_the_largest_values_saturate() {
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
