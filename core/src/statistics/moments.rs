//! Count, extremes, mean and standard deviation, in integer arithmetic.

use crate::{
    arithmetic,
    clock::TimeUnit,
    statistics::{
        fixed_point::{FRACTION_BITS, FixedPoint},
        select::WeightedSample,
    },
    stored::Stored,
};

/// The number of fractional bits that a variance is computed with if there is room for them, 32.
/// Its square root, the standard deviation, has half as many: [`FRACTION_BITS`].
pub(crate) const VARIANCE_FRACTION_BITS: u32 = 2 * FRACTION_BITS;

/// A sum of values, or a mean or standard deviation as a fixed-point number with 16 fractional
/// bits: `u128`, or `u64` for values of at most 44 bits.
pub trait Sum: Stored + Ord {
    /// The sum of no values.
    const ZERO: Self;
    /// The largest sum, which stands for any sum that is too large.
    const MAX: Self;

    /// Converts a sum, saturating at [`MAX`](Self::MAX).
    fn from_wide(sum: u128) -> Self;

    /// Adds two sums, saturating at [`MAX`](Self::MAX).
    fn saturating_add(self, other: Self) -> Self;

    /// Returns by how much this sum is greater than an earlier one; `None` if it is less.
    fn since(self, earlier: Self) -> Option<Self>;

    /// Returns `value`² times 2^`sampling`, as a sum of squares. `sampling` must be less than 64.
    fn square(value: u64, sampling: u8) -> u128;

    /// Adds two sums of squares, saturating at 2^128 − 1.
    fn add_squares(one: u128, other: u128) -> u128;

    /// Returns the sum of the squares of a series of samples of weight 2^`sampling`. `squares` is
    /// that of the same samples with weight 1, or 2^128 − 1 if it does not fit. The samples are
    /// v − j·d/n for j = 1…n, and `[v, d, n]` is `series`.
    fn squares_of_series(squares: u128, series: [u64; 3], sampling: u8) -> u128;

    /// Returns by how much a sum of squares is greater than an earlier one; `None` if it is less. A
    /// saturated sum stays saturated.
    fn squares_since(squares: u128, earlier: u128) -> Option<u128>;

    /// Returns the mean and the standard deviation of values with this sum, the sum of squares
    /// `squares` and the total weight `n`. Each is [`MAX`](Self::MAX) if it cannot be computed.
    fn mean_and_deviation(self, squares: u128, n: u64) -> [Self; 2];

    /// Converts a mean or standard deviation of durations from `unit` to nanoseconds. Returns
    /// `None` if it is [`MAX`](Self::MAX), so not known, or too large.
    fn fixed_nanos(self, unit: TimeUnit) -> Option<FixedPoint>;

    /// Converts a mean or standard deviation of plain numbers, which keep their unit. Returns
    /// `None` if it is [`MAX`](Self::MAX), so not known, or too large.
    fn fixed_number(self) -> Option<FixedPoint>;
}

/// The count, weight, extremes, sum and sum of squares of a set of samples.
///
/// All of them are integers, and exact as long as none saturates. So samples and sets of samples
/// can be added in any order, with the same result. (The samples that correct a summary for
/// coordinated omission are not exact: an aggregator adds them as a series, whose two sums it
/// rounds once each. Their order does not matter either.) A sample of weight `w`, which stands for
/// `w` occurrences of its event, counts once in the count, and `w` times in the weight and in both
/// sums.
///
/// # Limits
///
/// `S` is the type of the sum: `u128`, or `u64` in [compact](crate::Compact) storage. The sums
/// saturate. A mean or standard deviation that would be computed from a saturated sum is not known:
/// it is `None` in a [`Summary`](crate::Summary).
///
/// - `u128`: no sum saturates in practice. From 2^127 on, the sum of squares is rounded to
///   multiples of 2^48 whenever samples are added, and it saturates at 2^175. In the unit
///   [`TimeUnit::Fine`], 2^40 durations of 18 hours of the weight 2^15 stay below that. The
///   rounding changes a standard deviation by at most 2^23.5 units, which are 11 µs. It begins
///   after 30,000 durations of 18 hours, or 2^35 of a minute.
/// - `u64`: the sum saturates at 2^64 − 1: in the unit [`TimeUnit::Coarse`], once the durations
///   add up to 544 years. The sum of squares counts as saturated from 2^96 on: after 2^24 durations
///   of a minute. Mean and standard deviation are also not known if the weight or the mean is at
///   least 2^47, because the division would need more than 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct Moments<S = u128> {
    /// The number of samples.
    count: u64,
    /// The sum of the samples' weights.
    weight: u64,
    /// The smallest value, or 0 if there are no samples.
    min: u64,
    /// The largest value, or 0 if there are no samples.
    max: u64,
    /// The sum of the values, each multiplied by its weight.
    sum: S,
    /// The sum of the squares of the values, each multiplied by its weight, as `S` stores it.
    squares: u128,
}

impl<S: Sum> Moments<S> {
    /// The moments of no samples.
    pub const EMPTY: Self = Self { count: 0, weight: 0, min: 0, max: 0, sum: S::ZERO, squares: 0 };

    /// Creates moments from the values of their fields.
    pub(crate) const fn from_parts(
        [count, weight]: [u64; 2],
        [min, max]: [u64; 2],
        sum: S,
        squares: u128,
    ) -> Self {
        Self { count, weight, min, max, sum, squares }
    }

    /// Returns the sum of all values, each times its weight.
    pub(crate) const fn sum(&self) -> S {
        self.sum
    }

    /// Returns the sum of the squares of all values, each times its weight, as `S` stores it.
    pub(crate) const fn squares(&self) -> u128 {
        self.squares
    }

    /// Returns the moments of a single sample.
    #[inline]
    pub(crate) fn of(sample: WeightedSample) -> Self {
        Self::of_value(sample.value(), sample.sampling())
    }

    /// Returns the moments of a sample with any value and the weight 2^`sampling`.
    #[inline]
    fn of_value(value: u64, sampling: u8) -> Self {
        // A weighted value of 63 bits has a sum of squares of at most 126 bits, which is exact.
        let (sum, squares) = if value.leading_zeros() > u32::from(sampling) {
            let weighted = value << sampling;
            (weighted.into(), arithmetic::product(value, weighted))
        } else {
            (u128::from(value) << sampling, S::square(value, sampling))
        };
        let (count, weight, sum) = (1, 1 << sampling, S::from_wide(sum));
        Self { count, weight, min: value, max: value, sum, squares }
    }

    /// Adds several samples. Has the same result as [`add`](Self::add) for each of them, and is
    /// faster.
    ///
    /// The caller must pass at most 2^16 samples, so that the sums below cannot overflow. The
    /// aggregator passes at most 64.
    #[inline]
    pub(crate) fn add_all(&mut self, samples: impl Iterator<Item = WeightedSample> + Clone) {
        // If every value is less than 2^48, nothing overflows: a value times a weight of at most
        // 2^15 fits into 64 bits, and the sum of 2^16 products of a value and a weighted value fits
        // into 127 bits. `bits` shows afterwards whether this was so. If it was not, `added` is
        // discarded, and the samples are added one by one.
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
        if bits >> 48 == 0 {
            self.merge(&Self { sum: S::from_wide(sum), ..added });
        } else {
            samples.for_each(|sample| self.add(sample.value(), sample.sampling()));
        }
    }

    /// Adds a sample of the weight 2^`sampling`: it stands for this many occurrences of its event.
    /// `sampling` must be less than 64.
    ///
    /// Any `value` is valid here, although a [`WeightedSample`] has at most
    /// [`VALUE_BITS`](WeightedSample::VALUE_BITS) bits.
    #[inline]
    pub fn add(&mut self, value: u64, sampling: u8) {
        self.merge(&Self::of_value(value, sampling));
    }

    /// Adds `count` samples of weight 2^`sampling` each: `value − step`, `value − 2·step`,
    /// …, `least`. The correction for coordinated omission adds such a series for the spans that
    /// were not started while one took long.
    ///
    /// The step is `(value − least) / count`. It need not be an integer: both sums are computed
    /// from the exact step and then rounded to integers, that of the values down and that of the
    /// squares up, so that the variance is not negative. Takes constant time. Adds nothing if
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
        let sum = times(n, v).saturating_sub(times(d, n + 1).div_ceil(2));
        let third_term_times_6 =
            times(d * d, 2 * n + 3).saturating_add(arithmetic::quotient(d * d + (n - 1), count));
        let third_term = arithmetic::quotient(third_term_times_6.saturating_add(5), 6);
        let (first_term, second_term) = (times(n, v * v), times(v * d, n + 1));
        // If a term is saturated, so is the sum: the difference of two such terms is meaningless.
        let is_saturated = [first_term, second_term, third_term_times_6].contains(&u128::MAX);
        let squares = match first_term.checked_add(third_term) {
            Some(sum) if !is_saturated => sum.saturating_sub(second_term),
            _ => u128::MAX,
        };
        self.sum = self.sum.saturating_add(S::from_wide(times(sum, 1 << sampling)));
        let squares = S::squares_of_series(squares, [value, distance, count], sampling);
        self.squares = S::add_squares(self.squares, squares);
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
        self.squares = S::add_squares(self.squares, other.squares);
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
            sum: if self.sum == S::MAX { S::MAX } else { self.sum.since(earlier.sum)? },
            squares: S::squares_since(self.squares, earlier.squares)?,
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
    /// which are 0 if there are no samples. One that is not known is the largest number.
    #[inline(never)]
    pub(crate) fn mean_and_deviation(&self) -> [S; 2] {
        if self.weight == 0 {
            return [S::ZERO; 2];
        }
        // The actual sum may be any amount above the maximum.
        if self.sum == S::MAX {
            return [S::MAX; 2];
        }
        self.sum.mean_and_deviation(self.squares, self.weight)
    }
}

impl<S: Sum> Default for Moments<S> {
    fn default() -> Self {
        Self::EMPTY
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;

    /// A type of sums, with the number of bits of the values that are added up in it.
    trait SumOfValues: Sum + Into<u128> {
        const VALUE_BITS: u32;
    }

    impl SumOfValues for u128 {
        const VALUE_BITS: u32 = 60;
    }

    impl SumOfValues for u64 {
        const VALUE_BITS: u32 = 44;
    }

    /// Adds values of weight 1.
    fn moments_of<S: Sum>(values: &[u64]) -> Moments<S> {
        let mut moments = Moments::EMPTY;
        for value in values {
            moments.add(*value, 0);
        }
        moments
    }

    /// Removes low bits of the values until the largest possible one has the right number of bits.
    fn shortened<S: SumOfValues>(values: &[u64]) -> Vec<u64> {
        values.iter().map(|value| value >> (u64::BITS - S::VALUE_BITS)).collect()
    }

    fn check_mean_and_deviation<S: SumOfValues>(values: &[u64]) -> Result<(), TestCaseError> {
        let values = shortened::<S>(values);
        let moments = moments_of::<S>(&values);
        let n = values.len();
        let sum: BigUint = values.iter().map(|value| BigUint::from(*value)).sum();
        let squares: BigUint = values.iter().map(|value| BigUint::from(*value).pow(2)).sum();
        let exact_mean = ((&sum << 17) / n + 1_u8) >> 1;
        let difference = |a: BigUint, b: BigUint| if a > b { a - b } else { b - a };
        let [mean, deviation] =
            moments.mean_and_deviation().map(|number| BigUint::from(number.into()));
        prop_assert!(difference(exact_mean, mean) <= BigUint::from(1_u8));
        let variance: BigUint = ((squares * n - sum.pow(2)) << 32) / (n * n);
        let exact_deviation = variance.sqrt();
        // Here n is less than 2^7. If the deviation is less than 2^41, the variance has at most 82
        // bits and n times the variance at most 89, so the code takes the branch with a fraction
        // (`has_fraction`). If the deviation is greater, the code for sums of 128 bits may take the
        // other branch: it drops the fraction, and rounds the variance down before it rounds the
        // root down. Each costs less than 1, which is 2^16 in units of the lowest fractional bit.
        let is_small = exact_deviation < BigUint::from(1_u8) << 57;
        let allowed = if is_small { 1_u64 } else { 1 << 17 };
        prop_assert!(difference(exact_deviation, deviation) <= BigUint::from(allowed));
        Ok(())
    }

    fn check_series<S: Sum>(
        before: &[u64],
        (least, step, count): (u64, u64, u64),
        sampling: u8,
    ) -> Result<(), TestCaseError> {
        let mut whole = moments_of::<S>(before);
        whole.add_series(least + count * step, least, count, sampling);
        let mut terms = moments_of::<S>(before);
        for j in 0..count {
            terms.add(least + j * step, sampling);
        }
        prop_assert_eq!(whole, terms);
        Ok(())
    }

    fn check_add_all<S: SumOfValues>(
        before: &[u64],
        samples: &[(u64, u8)],
    ) -> Result<(), TestCaseError> {
        let samples = samples.iter().map(|(value, sampling)| {
            WeightedSample::new(value >> (u64::BITS - S::VALUE_BITS), *sampling).unwrap()
        });
        let before = shortened::<S>(before);
        let (mut all, mut each) = (moments_of::<S>(&before), moments_of::<S>(&before));
        all.add_all(samples.clone());
        samples.for_each(|sample| each.add(sample.value(), sample.sampling()));
        prop_assert_eq!(all, each);
        Ok(())
    }

    fn check_merge<S: SumOfValues>(values: &[u64], cut: usize) -> Result<(), TestCaseError> {
        let values = shortened::<S>(values);
        let (left, right) = values.split_at(cut.min(values.len()));
        let mut merged = moments_of::<S>(right);
        merged.merge(&moments_of(left));
        prop_assert_eq!(merged, moments_of(&values));
        Ok(())
    }

    /// Adds the same series several times, and compares the deviation with that of its terms.
    fn check_deviation_of_series<S: SumOfValues>(
        (interval, more, count): (u64, u64, u64),
        times: u64,
    ) -> Result<(), TestCaseError> {
        let least = interval + more % interval;
        let distance = count * interval + more % count;
        let mut moments = Moments::<S>::EMPTY;
        (0..times).for_each(|_| moments.add_series(least + distance, least, count, 0));
        let terms = || (0..count).map(|j| least as f64 + (j * distance) as f64 / count as f64);
        let mean = terms().sum::<f64>() / count as f64;
        let expected =
            (terms().map(|term| (term - mean).powi(2)).sum::<f64>() / count as f64).sqrt();
        let one = f64::from(1 << FRACTION_BITS);
        let [found_mean, found] = moments.mean_and_deviation().map(|bits| bits.into() as f64 / one);
        prop_assert!((found_mean - mean).abs() <= 1.0, "{} {}", found_mean, mean);
        prop_assert!((found - expected).abs() <= 2.0 + expected * 1e-6, "{} {}", found, expected);
        Ok(())
    }

    fn check_since<S: SumOfValues>(values: &[u64], cut: usize) -> Result<(), TestCaseError> {
        let values = shortened::<S>(values);
        let (before, after) = values.split_at(cut.min(values.len() - 1));
        let rest = moments_of::<S>(after);
        let since = moments_of(&values).since(&moments_of(before), rest.min(), rest.max());
        prop_assert_eq!(since, Some(rest));
        prop_assert_eq!(moments_of::<S>(before).since(&moments_of(&values), 0, 0), None);
        Ok(())
    }

    fn check_weighted<S: Sum>(values: &[u64], sampling: u8) -> Result<(), TestCaseError> {
        let mut weighted = Moments::<S>::EMPTY;
        for value in values {
            weighted.add(*value, sampling);
        }
        let repeat = |value: &u64| core::iter::repeat_n(*value, 1 << sampling);
        let repeated: Vec<u64> = values.iter().flat_map(repeat).collect();
        let repeated = moments_of::<S>(&repeated);
        prop_assert_eq!(weighted.count(), values.len() as u64);
        prop_assert_eq!(weighted.weight(), repeated.count());
        prop_assert_eq!(weighted.mean_and_deviation(), repeated.mean_and_deviation());
        Ok(())
    }

    proptest! {
        #[test]
        fn mean_and_deviation_agree_with_big_integers(
            values in proptest::collection::vec(
                (any::<u64>(), 0..60_u32).prop_map(|(value, shift)| value >> shift),
                1..100,
            )
        ) {
            check_mean_and_deviation::<u128>(&values)?;
            check_mean_and_deviation::<u64>(&values)?;
        }

        #[test]
        fn add_series_equals_adding_each_term(
            before in proptest::collection::vec(0..1_u64 << 50, 0..3),
            least in 0..1_u64 << 45,
            step in 1..1_u64 << 40,
            count in 0..200_u64,
            sampling in 0..16_u8,
        ) {
            check_series::<u128>(&before, (least, step, count), sampling)?;
            check_series::<u64>(&before, (least, step, count), sampling)?;
        }

        #[test]
        fn the_rounded_sums_of_series_change_a_deviation_by_less_than_2(
            interval in prop_oneof![1..10_u64, 1..1_000_000_u64],
            more in any::<u64>(),
            count in prop_oneof![1..10_u64, 1..1_000_u64],
            times in 1..100_u64,
        ) {
            check_deviation_of_series::<u128>((interval, more, count), times)?;
            check_deviation_of_series::<u64>((interval, more, count), times)?;
        }

        #[test]
        fn add_all_equals_adding_each_sample(
            before in proptest::collection::vec(any::<u64>(), 0..3),
            values in proptest::collection::vec((any::<u64>(), 0..60_u32, 0..16_u8), 0..80),
            shift in 0..40_u32,
        ) {
            let samples: Vec<_> = values
                .into_iter()
                .map(|(value, size, sampling)| (value >> size >> shift, sampling))
                .collect();
            check_add_all::<u128>(&before, &samples)?;
            check_add_all::<u64>(&before, &samples)?;
        }

        #[test]
        fn merging_equals_adding_all_samples_to_one_set(
            values in proptest::collection::vec(any::<u64>(), 0..50),
            cut in 0..50_usize,
        ) {
            check_merge::<u128>(&values, cut)?;
            check_merge::<u64>(&values, cut)?;
        }

        #[test]
        fn since_returns_the_samples_added_later(
            values in proptest::collection::vec(any::<u64>(), 1..50),
            cut in 0..50_usize,
        ) {
            check_since::<u128>(&values, cut)?;
            check_since::<u64>(&values, cut)?;
        }

        #[test]
        fn a_sample_of_weight_n_enters_the_sums_like_n_samples(
            values in proptest::collection::vec(0..1_u64 << 40, 1..20),
            sampling in 0..5_u8,
        ) {
            check_weighted::<u128>(&values, sampling)?;
            check_weighted::<u64>(&values, sampling)?;
        }
    }

    /// With sums of 64 bits, the dividend that rounds the mean has to fit into 64 bits, so there is
    /// no mean from a weight of 2^47 on.
    #[test]
    fn the_mean_is_rounded_correctly_up_to_the_largest_weight() {
        fn check<S: Sum + From<u64>>(mean_of_a_larger_weight: S) {
            let one = S::from(1 << FRACTION_BITS);
            let mut moments = Moments::<S>::EMPTY;
            moments.add(0, 0);
            (1..47).for_each(|sampling| moments.add(1, sampling));
            assert_eq!((moments.weight(), moments.mean_and_deviation()[0]), ((1 << 47) - 1, one));
            moments.add(1, 47);
            assert_eq!(
                (moments.weight(), moments.mean_and_deviation()[0]),
                ((1 << 48) - 1, mean_of_a_larger_weight)
            );
        }
        check::<u128>(1 << FRACTION_BITS);
        check::<u64>(u64::MAX);
    }

    #[test]
    fn sums_of_the_largest_values_saturate_without_a_panic() {
        fn check<S: Sum>(sum: S) {
            let mut moments = Moments::<S>::EMPTY;
            for _ in 0..10 {
                moments.add(u64::MAX, 63);
            }
            assert_eq!((moments.sum, moments.squares), (sum, u128::MAX));
            moments.add_series(u64::MAX, 0, u64::MAX, 15);
            moments.add_series(u64::MAX, 0, 1, 15);
            moments.add(1, 0);
            assert_eq!(moments.mean_and_deviation()[1], S::MAX);
        }
        check::<u128>(u128::MAX);
        check::<u64>(u64::MAX);
    }

    /// The deviation of a series from 0 to v is v/√12 if it has many terms. The terms of its
    /// computation lie on both sides of 2^128 here. In compact storage, the deviation is the
    /// largest number, which means that it is not known, if one of them saturates.
    #[test]
    fn the_deviation_of_a_series_is_right_or_not_known() {
        fn check<S: SumOfValues>() {
            let bits = |range: core::ops::Range<u32>| {
                range.flat_map(|bits| (10..46).map(move |count_bits| (bits, count_bits)))
            };
            for (bits, count_bits) in bits(20..S::VALUE_BITS) {
                let mut moments = Moments::<S>::EMPTY;
                moments.add_series(1 << bits, 0, 1 << count_bits, 3);
                let [_, deviation] = moments.mean_and_deviation();
                if deviation == S::MAX {
                    assert!(S::VALUE_BITS < 60 && count_bits + 2 * bits > 70);
                    continue;
                }
                let expected = (1_u64 << bits) as f64 / 12_f64.sqrt();
                let deviation = deviation.into() as f64 / f64::from(1 << FRACTION_BITS);
                let is_right = (deviation / expected - 1.0).abs() < 0.001;
                assert!(is_right, "{bits} {count_bits}: {deviation}");
            }
        }
        check::<u128>();
        check::<u64>();
    }
}
