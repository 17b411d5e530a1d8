//! Count, extremes, mean and standard deviation, in integer arithmetic.

use self::sum::to_sum;
use crate::{FixedPoint, TimeUnit, arithmetic, fixed_point::FRACTION_BITS, select::WeightedSample};

/// The count, weight, extremes, sum and sum of squares of a set of samples.
///
/// All of them are integers, and exact as long as no sum saturates. So samples and sets of samples
/// can be added in any order, with the same result. (The samples that correct a summary for
/// coordinated omission are not exact: an aggregator adds them as a series, whose two sums it
/// rounds once each. Their order does not matter either.) A sample of weight `w`, which stands for
/// `w` occurrences of its event, counts once in the count, and `w` times in the weight and in both
/// sums.
///
/// # Limits
///
/// The sums saturate. A mean or standard deviation that is computed from a saturated sum is the
/// largest number of its type.
///
/// - On 64-bit targets, both sums saturate at 2^128 − 1. In the unit [`TimeUnit::Fine`], the sum
///   of squares reaches this after 2^36 durations of a minute.
/// - On 32-bit targets, the sum saturates at 2^64 − 1: in the unit [`TimeUnit::Coarse`], once the
///   durations add up to 544 years. The sum of squares counts as saturated from 2^96 on: after 2^24
///   durations of a minute. Mean and standard deviation are also the largest number if the weight
///   or the mean is at least 2^47, because the division would need more than 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Moments {
    /// The number of samples.
    count: u64,
    /// The sum of the samples' weights.
    weight: u64,
    /// The smallest value, or 0 if there are no samples.
    min: u64,
    /// The largest value, or 0 if there are no samples.
    max: u64,
    /// The sum of the values, each multiplied by its weight.
    sum: Sum,
    /// The sum of the squares of the values, each multiplied by its weight.
    squares: u128,
}

/// The type of a sum of values.
#[cfg(target_pointer_width = "64")]
type Sum = u128;
/// The type of a sum of values.
#[cfg(not(target_pointer_width = "64"))]
type Sum = u64;

/// A mean or standard deviation as a fixed-point number with 16 fractional bits. 64 bits are not
/// enough on 64-bit targets, where values alone have up to 60 bits.
#[cfg(target_pointer_width = "64")]
pub(crate) type RawFixed = u128;
/// A mean or standard deviation as a fixed-point number with 16 fractional bits. 64 bits are enough
/// on 32-bit targets, where values have at most 44 bits.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) type RawFixed = u64;

/// The number of fractional bits that a variance is computed with, 32. Its square root, the
/// standard deviation, has half as many: [`FRACTION_BITS`].
const VARIANCE_FRACTION_BITS: u32 = 2 * FRACTION_BITS;

#[cfg(target_pointer_width = "64")]
mod sum {
    use super::{FRACTION_BITS, RawFixed, VARIANCE_FRACTION_BITS};
    use crate::arithmetic;

    /// Converts to [`Sum`](super::Sum), the type of a sum of values, which is `u128` on these
    /// targets.
    pub(super) const fn to_sum(sum: u128) -> u128 {
        sum
    }

    /// Returns the quotient and the remainder of `sum / n`.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder is less than the divisor")]
    const fn div_rem(sum: u128, n: u64) -> (u128, u64) {
        (sum / n as u128, (sum % n as u128) as u64)
    }

    /// Returns the mean and the standard deviation of samples with the total weight `n`.
    #[inline(always)]
    pub(super) fn mean_and_deviation(sum: u128, squares: u128, n: u64) -> [RawFixed; 2] {
        [mean(sum, n), deviation(sum, squares, n)]
    }

    #[inline(always)]
    const fn mean(sum: u128, n: u64) -> u128 {
        let (whole, rest) = div_rem(sum, n);
        // Splitting off the integer part keeps the dividend small: `rest` is less than n, so it has
        // at most 64 bits, and 16 more always fit. Adding n / 2 rounds to nearest.
        (whole << FRACTION_BITS)
            + arithmetic::quotient(((rest as u128) << FRACTION_BITS) + (n / 2) as u128, n)
    }

    #[inline(always)]
    fn deviation(sum: u128, squares: u128, n: u64) -> u128 {
        if squares == u128::MAX {
            return u128::MAX;
        }
        // n²·variance = n·Σx² − (Σx)². This is an exact integer, which is used if both
        // terms fit into 128 bits.
        let n_squared_variance = u128::from(n)
            .checked_mul(squares)
            .zip(sum.checked_mul(sum))
            .map(|(n_squares, sum_squared)| n_squares.saturating_sub(sum_squared));
        let numerator = n_squared_variance.unwrap_or_else(|| {
            // Otherwise, use n·variance = Σx² − (Σx)²/n. With Σx = whole·n + rest:
            // (Σx)²/n = whole²·n + 2·whole·rest + rest²/n = whole·(Σx + rest) + rest²/n.
            // No term is greater than Σx², because the variance is not negative.
            let (whole, rest) = div_rem(sum, n);
            let first_term = whole.saturating_mul(sum.saturating_add(rest.into()));
            squares.saturating_sub(
                first_term.saturating_add(arithmetic::quotient(arithmetic::product(rest, rest), n)),
            )
        });
        // If the numerator is 2^96 or more, there is no room for 32 fractional bits behind it. The
        // root is then computed as an integer, without a fraction.
        let has_fraction = numerator.leading_zeros() >= VARIANCE_FRACTION_BITS;
        let numerator = if has_fraction { numerator << VARIANCE_FRACTION_BITS } else { numerator };
        let mut variance = arithmetic::quotient(numerator, n);
        if n_squared_variance.is_some() {
            // The numerator was n²·variance. It is divided by n a second time, because n² may
            // not fit into the 64 bits of a divisor.
            variance = arithmetic::quotient(variance, n);
        }
        let root = u128::from(arithmetic::isqrt(variance));
        if has_fraction { root } else { root << FRACTION_BITS }
    }
}

#[cfg(not(target_pointer_width = "64"))]
mod sum {
    use super::{FRACTION_BITS, RawFixed, VARIANCE_FRACTION_BITS};
    use crate::arithmetic;

    /// Converts to [`Sum`](super::Sum), the type of a sum of values, which is `u64` on these
    /// targets. Saturates at [`u64::MAX`].
    pub(super) const fn to_sum(sum: u128) -> u64 {
        arithmetic::saturating_u64(sum)
    }

    /// Returns the mean and the standard deviation of samples with the total weight `n`.
    pub(super) fn mean_and_deviation(sum: u64, squares: u128, n: u64) -> [RawFixed; 2] {
        let (whole, rest) = arithmetic::div_rem(sum, n);
        // From 2^47 on, the mean with its 16 fractional bits, or the dividend below (a remainder
        // less than n with 16 more bits, plus n / 2), might not fit into 64 bits.
        if (whole | n) >> (u64::BITS - FRACTION_BITS - 1) != 0 {
            return [RawFixed::MAX; 2];
        }
        let mean =
            (whole << FRACTION_BITS) + arithmetic::div_rem((rest << FRACTION_BITS) + n / 2, n).0;
        if squares >> (u128::BITS - VARIANCE_FRACTION_BITS) != 0 {
            return [mean, RawFixed::MAX];
        }
        // n·variance = Σx² − (Σx)²/n. With Σx = whole·n + rest:
        // (Σx)²/n = whole²·n + 2·whole·rest + rest²/n = whole·Σx + whole·rest + rest²/n.
        // No term is greater than Σx², and no intermediate result is negative, because the
        // variance is not negative. rest²/n is computed with 32 fractional bits.
        let without_last_term = squares
            .wrapping_sub(arithmetic::product(whole, sum))
            .wrapping_sub(arithmetic::product(whole, rest));
        let last_term =
            arithmetic::quotient(arithmetic::product(rest, rest) << VARIANCE_FRACTION_BITS, n);
        let n_variance = (without_last_term << VARIANCE_FRACTION_BITS).wrapping_sub(last_term);
        [mean, arithmetic::isqrt(arithmetic::quotient(n_variance, n))]
    }
}

impl Moments {
    /// The moments of no samples.
    pub const EMPTY: Self = Self { count: 0, weight: 0, min: 0, max: 0, sum: 0, squares: 0 };

    /// Creates moments from the values of their fields.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn from_parts(
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
    #[inline]
    pub(crate) fn of(sample: WeightedSample) -> Self {
        let (value, sampling) = (sample.value(), sample.sampling());
        if cfg!(target_pointer_width = "64") {
            Self::of_any_value(value, sampling)
        } else {
            // A value has at most 44 bits here, so its product with a weight of at most 2^15 fits.
            Self::of_small_value(value, sampling)
        }
    }

    /// Returns the moments of a sample with any value and the weight 2^`sampling`.
    #[inline]
    fn of_any_value(value: u64, sampling: u8) -> Self {
        if value.leading_zeros() >= u32::from(sampling) {
            return Self::of_small_value(value, sampling);
        }
        let square = arithmetic::product(value, value);
        let fits = square.leading_zeros() >= u32::from(sampling);
        let squares = if fits { square << sampling } else { u128::MAX };
        let sum = to_sum(u128::from(value) << sampling);
        Self { count: 1, weight: 1 << sampling, min: value, max: value, sum, squares }
    }

    /// Returns the moments of a sample whose product of value and weight fits into 64 bits.
    #[inline(always)]
    fn of_small_value(value: u64, sampling: u8) -> Self {
        let weighted = value << sampling;
        let squares = arithmetic::product(value, weighted);
        Self {
            count: 1,
            weight: 1 << sampling,
            min: value,
            max: value,
            sum: weighted.into(),
            squares,
        }
    }

    /// Adds several samples. Has the same result as [`add`](Self::add) for each of them, and is
    /// faster.
    ///
    /// The caller must pass at most 2^17 samples, so that the sums below cannot overflow. The
    /// aggregator passes at most 64.
    #[cfg(any(target_pointer_width = "64", test))]
    #[inline]
    pub(crate) fn add_all(&mut self, samples: impl Iterator<Item = WeightedSample> + Clone) {
        // If every value is less than 2^48, nothing overflows: a value times a weight of at most
        // 2^15 fits into 64 bits, and the sum of 2^17 products of a value and a weighted value fits
        // into 128 bits. `bits` shows afterwards whether this was so. If it was not, `added` is
        // discarded, and the samples are added one by one. The tests on 32-bit targets, where
        // nothing else calls this function, always add them one by one.
        let (mut added, mut sum, mut bits) = (Self { min: u64::MAX, ..Self::EMPTY }, 0, 0);
        for sample in samples.clone() {
            let value = sample.value();
            let weighted = value.wrapping_mul(sample.weight());
            bits |= value;
            added.min = added.min.min(value);
            added.max = added.max.max(value);
            added.count += 1;
            added.weight += sample.weight();
            sum += u128::from(weighted);
            added.squares = added.squares.wrapping_add(arithmetic::product(value, weighted));
        }
        if cfg!(target_pointer_width = "64") && bits >> 48 == 0 {
            self.merge(&Self { sum: to_sum(sum), ..added });
        } else {
            samples.for_each(|sample| self.add(sample.value(), sample.sampling()));
        }
    }

    /// Adds a sample of the weight 2^`sampling`: it stands for this many occurrences of its event.
    /// `sampling` must be less than 64.
    ///
    /// Any `value` is valid here, although a [`WeightedSample`] has at most
    /// [`VALUE_BITS`](WeightedSample::VALUE_BITS) bits (60 on 64-bit targets).
    #[inline]
    pub fn add(&mut self, value: u64, sampling: u8) {
        self.merge(&Self::of_any_value(value, sampling));
    }

    /// Adds `count` samples of weight 2^`sampling` each: `value − step`, `value − 2·step`,
    /// …, `least`. The correction for coordinated omission adds such a series for the spans that
    /// were not started while one took long.
    ///
    /// The step is `(value − least) / count`. It need not be an integer: both sums are computed
    /// from the exact step and then rounded to integers. Takes constant time. Adds nothing if
    /// `least` is greater than `value` or `count` is 0.
    pub(crate) fn add_series(&mut self, value: u64, least: u64, count: u64, sampling: u8) {
        let Some(distance) = value.checked_sub(least).filter(|_| count > 0) else { return };
        self.min = if self.count == 0 { least } else { self.min.min(least) };
        self.max = self.max.max(value - arithmetic::div_rem(distance, count).0);
        self.count = self.count.saturating_add(count);
        self.weight = self.weight.saturating_add(count.saturating_mul(1 << sampling));
        // The samples are v − j·d/n for j = 1…n, where v is `value`, d the distance and n the
        // count. Their sum is n·v − d·(n + 1)/2, because Σj = n·(n + 1)/2. The sum of their
        // squares is n·v² − v·d·(n + 1) + d²·(n + 1)·(2n + 1)/6n, because
        // Σj² = n·(n + 1)·(2n + 1)/6. In the third term, (n + 1)·(2n + 1)/n = 2n + 3 + 1/n.
        let [n, v, d] = [count, value, distance].map(u128::from);
        let times = arithmetic::saturating_product;
        let sum = times(n, v).saturating_sub(times(d, n + 1) / 2);
        let third_term_times_6 =
            times(d * d, 2 * n + 3).saturating_add(arithmetic::quotient(d * d, count));
        let third_term = arithmetic::quotient(third_term_times_6, 6);
        let squares =
            times(n, v * v).saturating_add(third_term).saturating_sub(times(v * d, n + 1));
        self.sum = self.sum.saturating_add(to_sum(times(sum, 1 << sampling)));
        self.squares = self.squares.saturating_add(times(squares, 1 << sampling));
    }

    /// Adds the samples of `other`.
    #[inline(never)]
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
    /// Extremes cannot be subtracted, so the caller passes `min` and `max` of these samples. A
    /// saturated weight or sum does not show how much was added, so it stays saturated in the
    /// result.
    ///
    /// Returns `None` if the count, weight, sum or sum of squares of `earlier` is greater than
    /// here, because then it cannot be an earlier state. Unrelated moments whose numbers are all
    /// smaller are not detected.
    pub fn since(&self, earlier: &Self, min: u64, max: u64) -> Option<Self> {
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

    /// Returns the total weight of the samples: the number of occurrences of the event that they
    /// stand for.
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

    /// Returns the mean and the population standard deviation (not the sample standard deviation),
    /// which are 0 if there are no samples.
    #[inline(never)]
    pub(crate) fn mean_and_deviation(&self) -> [RawFixed; 2] {
        if self.weight == 0 {
            return [0; 2];
        }
        // The actual sum may be any amount above the maximum, so the mean is unknown. It becomes
        // the largest number.
        if self.sum == Sum::MAX {
            return [RawFixed::MAX; 2];
        }
        sum::mean_and_deviation(self.sum, self.squares, self.weight)
    }
}

impl Default for Moments {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Converts a mean or standard deviation of durations from `unit` to nanoseconds.
#[cfg(target_pointer_width = "64")]
pub(crate) fn fixed_nanos(raw: RawFixed, unit: TimeUnit) -> FixedPoint {
    FixedPoint::from_wide(raw.saturating_mul(1_000_000_000) >> unit.bits())
}

/// Converts a mean or standard deviation of durations from `unit` to nanoseconds.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) const fn fixed_nanos(raw: RawFixed, unit: TimeUnit) -> FixedPoint {
    // Values have at most 44 bits, so `RawFixed::MAX` is never an actual mean: it marks a result
    // that could not be computed and stays the largest number.
    FixedPoint::from_bits(if raw == RawFixed::MAX { raw } else { unit.nanos_with_addend(raw, 0) })
}

/// Converts a mean or standard deviation of plain numbers, which keep their unit.
#[cfg(target_pointer_width = "64")]
pub(crate) const fn fixed_numbers(raw: RawFixed) -> FixedPoint {
    FixedPoint::from_wide(raw)
}

/// Converts a mean or standard deviation of plain numbers, which keep their unit.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) const fn fixed_numbers(raw: RawFixed) -> FixedPoint {
    FixedPoint::from_bits(raw)
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

    /// Adds values of weight 1.
    fn moments_of(values: &[u64]) -> Moments {
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
            let moments = moments_of(&values);
            let n = values.len();
            let sum: BigUint = values.iter().map(|value| BigUint::from(*value)).sum();
            let squares: BigUint = values.iter().map(|value| BigUint::from(*value).pow(2)).sum();
            let exact_mean = ((&sum << 17) / n + 1_u8) >> 1;
            let difference = |a: BigUint, b: BigUint| if a > b { a - b } else { b - a };
            let [mean, deviation] = moments.mean_and_deviation().map(BigUint::from);
            prop_assert!(difference(exact_mean, mean) <= BigUint::from(1_u8));
            let variance: BigUint = ((squares * n - sum.pow(2)) << 32) / (n * n);
            let exact_deviation = variance.sqrt();
            // Here n is less than 2^7. If the deviation is less than 2^41, n times the deviation
            // has at most 48 bits. Its square, the numerator in the code, has at most 96 bits, so
            // the code takes the branch with a fraction (`has_fraction`). If the deviation is
            // greater, the code may take the other branch: it drops the fraction, and rounds the
            // variance down before it rounds the root down. Each costs less than 1, which is 2^16
            // in units of the lowest fractional bit.
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
            let mut whole = moments_of(&before);
            whole.add_series(least + count * step, least, count, sampling);
            let mut terms = moments_of(&before);
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
            let (mut all, mut each) = (moments_of(&before), moments_of(&before));
            all.add_all(samples.clone());
            samples.for_each(|sample| each.add(sample.value(), sample.sampling()));
            prop_assert_eq!(all, each);
        }

        #[test]
        fn merging_equals_adding_all_samples_to_one_set(
            values in proptest::collection::vec(any::<u64>(), 0..50),
            cut in 0..50_usize,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = moments_of(right);
            merged.merge(&moments_of(left));
            prop_assert_eq!(merged, moments_of(&values));
        }

        #[test]
        fn since_returns_the_samples_added_later(
            values in proptest::collection::vec(0..1_u64 << WeightedSample::VALUE_BITS, 1..50),
            cut in 0..50_usize,
        ) {
            let (before, after) = values.split_at(cut.min(values.len() - 1));
            let rest = moments_of(after);
            let since = moments_of(&values).since(&moments_of(before), rest.min(), rest.max());
            prop_assert_eq!(since, Some(rest));
            prop_assert_eq!(moments_of(before).since(&moments_of(&values), 0, 0), None);
        }

        #[test]
        fn a_sample_of_weight_n_enters_the_sums_like_n_samples(
            values in proptest::collection::vec(0..1_u64 << 40, 1..20),
            sampling in 0..5_u8,
        ) {
            let mut weighted = Moments::EMPTY;
            for value in &values {
                weighted.add(*value, sampling);
            }
            let repeat = |value: &u64| core::iter::repeat_n(*value, 1 << sampling);
            let repeated: Vec<u64> = values.iter().flat_map(repeat).collect();
            let repeated = moments_of(&repeated);
            prop_assert_eq!(weighted.count(), values.len() as u64);
            prop_assert_eq!(weighted.weight(), repeated.count());
            prop_assert_eq!(weighted.mean_and_deviation(), repeated.mean_and_deviation());
        }
    }

    /// On 32-bit targets, the dividend that rounds the mean has to fit into 64 bits, so there is no
    /// mean from a weight of 2^47 on.
    #[test]
    fn the_mean_is_rounded_correctly_up_to_the_largest_weight() {
        let mut moments = Moments::EMPTY;
        moments.add(0, 0);
        (1..47).for_each(|sampling| moments.add(1, sampling));
        assert_eq!(
            (moments.weight(), moments.mean_and_deviation()[0]),
            ((1 << 47) - 1, 1 << FRACTION_BITS)
        );
        moments.add(1, 47);
        let mean =
            if cfg!(target_pointer_width = "64") { 1 << FRACTION_BITS } else { RawFixed::MAX };
        assert_eq!((moments.weight(), moments.mean_and_deviation()[0]), ((1 << 48) - 1, mean));
    }

    #[test]
    fn sums_of_the_largest_values_saturate_without_a_panic() {
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
