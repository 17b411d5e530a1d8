//! Finds exact quantiles of the samples in an array, by selection or sorting.
//!
//! [`quantiles`] selects samples without weights by the standard library's `select_nth_unstable`
//! (introselect: quickselect that falls back to median of medians), which takes linear time even in
//! the worst case. It finds several quantiles from the smallest to the largest, each among the
//! samples from the one on that the previous selection found. [`weighted_quantiles`] sorts the
//! samples by the standard library's `sort_unstable`.
//!
//! The standard library's selection and sorting take about 7,000 bytes of code on a Cortex-M,
//! optimised for size. Compact storage, where flash is scarce and samples are few, sorts by
//! Shellsort instead, which takes about 200.

use crate::statistics::quantile::Quantile;

/// Returns the values at the given quantiles by [nearest rank](Quantile), or `None` if there are no
/// samples. Reorders the samples.
///
/// `quantiles` must be in ascending order. Otherwise some results may be too large (they are still
/// values of samples), and debug builds panic.
///
/// ```
/// use tailwatch_core::{Quantile, select};
///
/// let mut samples = [30, 10, 50, 20, 40];
/// let quantiles = [Quantile::P50, Quantile::P99];
/// assert_eq!(select::quantiles(&mut samples, quantiles), Some([30, 50]));
/// assert_eq!(select::quantiles::<u64, 2>(&mut [], quantiles), None);
/// ```
pub fn quantiles<T: Copy + Default + Ord, const K: usize>(
    samples: &mut [T],
    quantiles: [Quantile; K],
) -> Option<[T; K]> {
    debug_assert!(quantiles.is_sorted(), "the quantiles are not in ascending order");
    let count = samples.len() as u64;
    if count == 0 {
        return None;
    }
    // The samples from the index `first` on are the largest ones. Once a quantile was found, it is
    // the first of them.
    let (mut found, mut rest, mut first, mut is_found) = ([T::default(); K], samples, 0, false);
    for (value, quantile) in found.iter_mut().zip(quantiles) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a rank is at most the number of samples"
        )]
        let index = (quantile.rank(count) - 1) as usize;
        // The index is less than `first` only if the quantiles are not in ascending order. Then the
        // first of the rest is used.
        let offset = index.saturating_sub(first);
        if offset > 0 || !is_found {
            rest.select_nth_unstable(offset);
            rest = &mut rest[offset..];
        }
        (*value, first, is_found) = (rest[0], first + offset, true);
    }
    Some(found)
}

/// Sorts `samples` in ascending order of `key`, by Shellsort with the gaps 1, 3, 7, 15, …
/// (Hibbard, 1963; Knuth, TAOCP 3, 5.2.1). Takes time proportional to n^1.5 in the worst case and
/// does not recurse.
#[inline(never)]
pub(crate) fn shell_sort<T: Copy, K: Ord>(samples: &mut [T], key: impl Fn(&T) -> K) {
    let mut gap = 0;
    while gap < samples.len() / 2 {
        gap = 2 * gap + 1;
    }
    while gap > 0 {
        for next in gap..samples.len() {
            let mut at = next;
            while let Some(before) =
                at.checked_sub(gap).filter(|before| key(&samples[*before]) > key(&samples[at]))
            {
                samples.swap(at, before);
                at = before;
            }
        }
        gap /= 2;
    }
}

/// A value and its weight, packed into 64 bits. The weight is 2^`sampling`: the sample stands for
/// 2^`sampling` occurrences of its event, because only 1 in 2^`sampling` was recorded. If every
/// occurrence was recorded, `sampling` is 0 and the weight is 1.
///
/// Weighted samples are ordered by value, and samples with the same value by weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
// The lowest four bits are `sampling`, and the value is in the bits above.
pub struct WeightedSample(u64);

impl WeightedSample {
    /// The largest number of bits in a value. In [compact](crate::Compact) storage, a value has at
    /// most 44 bits.
    pub const VALUE_BITS: u32 = u64::BITS - Self::SAMPLING_BITS;
    /// The number of bits that hold `sampling`.
    pub(crate) const SAMPLING_BITS: u32 = 4;

    pub(crate) const ZERO: Self = Self(0);

    /// Creates a sample of the weight 2^`sampling`: it stands for this many occurrences of its
    /// event. Only the lowest four bits of `sampling` are used, so the weight is at most 2^15.
    ///
    /// Returns `None` if the value needs more than [`VALUE_BITS`](Self::VALUE_BITS) bits.
    pub const fn new(value: u64, sampling: u8) -> Option<Self> {
        if value >> Self::VALUE_BITS != 0 {
            return None;
        }
        Some(Self(value << Self::SAMPLING_BITS | (sampling as u64 & 0xF)))
    }

    /// Creates a sample without checks. The caller passes the value and the `sampling` of an
    /// existing `WeightedSample`, which are in range.
    #[inline(always)]
    pub(crate) const fn from_checked_parts(value: u64, sampling: u8) -> Self {
        Self(value << Self::SAMPLING_BITS | sampling as u64)
    }

    /// Returns the value without the weight.
    pub const fn value(self) -> u64 {
        self.0 >> Self::SAMPLING_BITS
    }

    /// Returns the binary logarithm of the [weight](Self::weight): the sample stands for
    /// 2^`sampling` occurrences of its event.
    pub const fn sampling(self) -> u8 {
        (self.0 & 0xF) as u8
    }

    /// Returns the weight, 2^`sampling`: the number of occurrences of the event that the sample
    /// stands for.
    pub const fn weight(self) -> u64 {
        // The weight is at most 2^15. Shifting a `u32` is cheap on every target.
        (1_u32 << self.sampling()) as u64
    }
}

/// Returns the values at the given quantiles of weighted samples by [nearest rank](Quantile), or
/// `None` if there are no samples. A sample of weight `w` counts as `w` samples of the same value.
/// Sorts the samples.
///
/// `quantiles` must be in ascending order. Otherwise some results may be too large (they are still
/// values of samples), and debug builds panic.
///
/// ```
/// use tailwatch_core::{Quantile, select::{self, WeightedSample}};
///
/// let mut samples = [(20, 0), (10, 3), (90, 0)] // 10 has the weight 2^3 = 8, the others 2^0 = 1
///     .map(|(value, sampling)| WeightedSample::new(value, sampling).unwrap());
/// let quantiles = [Quantile::P50, Quantile::MAX];
/// assert_eq!(select::weighted_quantiles(&mut samples, quantiles), Some([10, 90]));
/// ```
pub fn weighted_quantiles<const K: usize>(
    samples: &mut [WeightedSample],
    quantiles: [Quantile; K],
) -> Option<[u64; K]> {
    debug_assert!(quantiles.is_sorted(), "the quantiles are not in ascending order");
    samples.sort_unstable();
    let total = samples.iter().fold(0_u64, |sum, sample| sum.saturating_add(sample.weight()));
    let (mut found, mut rest) = ([0; K], samples.iter());
    // A rank is at least 1, so the loop sets `value` before it is used.
    let (mut value, mut reached) = (0, 0_u64);
    for (found, quantile) in found.iter_mut().zip(quantiles) {
        let rank = quantile.rank(total);
        while reached < rank {
            let Some(next) = rest.next() else { break };
            value = next.value();
            reached = reached.saturating_add(next.weight());
        }
        *found = value;
    }
    (!samples.is_empty()).then_some(found)
}

/// Returns the value at one quantile of weighted samples by nearest rank, or `None` if there are no
/// samples. Does not reorder the samples. Takes the time of [`at_rank`].
pub(crate) fn quantile(
    samples: &(impl Iterator<Item = WeightedSample> + Clone),
    quantile: Quantile,
) -> Option<u64> {
    let total = samples.clone().fold(0_u64, |sum, sample| sum.saturating_add(sample.weight()));
    at_rank(samples, quantile.rank(total))
}

/// Returns the value at a rank of weighted samples, or `None` if there are no samples. The rank is
/// a weight, from 1 to that of all samples. Does not reorder the samples.
///
/// If the samples are not in ascending order, bisects the range of the values. This goes through
/// the samples about 60 times at most, once for each bit of a value, and takes no extra memory.
pub(crate) fn at_rank(
    samples: &(impl Iterator<Item = WeightedSample> + Clone),
    rank: u64,
) -> Option<u64> {
    if samples.clone().is_sorted() {
        let mut reached = 0_u64;
        let is_at_rank = |sample: &WeightedSample| {
            reached = reached.saturating_add(sample.weight());
            reached >= rank
        };
        return samples.clone().find(is_at_rank).map(WeightedSample::value);
    }
    let weight_up_to = |value: u64| {
        let included = samples.clone().filter(|sample| sample.value() <= value);
        included.fold(0_u64, |sum, sample| sum.saturating_add(sample.weight()))
    };
    let (mut low, mut high) =
        (samples.clone().map(WeightedSample::value).min()?, samples.clone().max()?.value());
    // Finds the smallest value up to which the weight reaches the rank. This is the value of a
    // sample, because only there the weight increases.
    while low < high {
        let middle = low + (high - low) / 2;
        if weight_up_to(middle) >= rank { high = middle } else { low = middle + 1 }
    }
    Some(low)
}

/// Returns the number of samples, and the [`sampling`](WeightedSample::sampling) that all of them
/// have. `None` if there are no samples, or if some have another weight than others.
pub(crate) fn count_and_sampling(
    mut samples: impl Iterator<Item = WeightedSample>,
) -> Option<(u64, u8)> {
    let sampling = samples.next()?.sampling();
    let count = |count, sample: WeightedSample| (sample.sampling() == sampling).then(|| count + 1);
    Some((samples.try_fold(1, count)?, sampling))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Finds a quantile by its definition: the smallest sample x such that at least the given share
    /// of all samples is at most x.
    fn by_definition(samples: &[u64], quantile: Quantile) -> u64 {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let covers_share = |x: &u64| {
            let covered = sorted.iter().filter(|y| *y <= x).count() as u128;
            covered * 1_000_000 >= u128::from(quantile.ppm()) * sorted.len() as u128
        };
        *sorted.iter().find(|x| covers_share(x)).unwrap()
    }

    proptest! {
        #[test]
        fn selection_agrees_with_the_definition_of_a_quantile(
            samples in proptest::collection::vec(prop_oneof![any::<u64>(), 0..10_u64], 1..300),
            mut ppms in proptest::array::uniform4(
                prop_oneof![0..=1_000_000_u32, Just(0), Just(1_000_000)]
            ),
        ) {
            ppms.sort_unstable();
            let wanted = ppms.map(|ppm| Quantile::from_ppm(ppm).unwrap());
            let found = quantiles(&mut samples.clone(), wanted).unwrap();
            prop_assert_eq!(found, wanted.map(|quantile| by_definition(&samples, quantile)));
        }
    }

    proptest! {
        #[test]
        fn shell_sort_agrees_with_the_standard_library(
            samples in proptest::collection::vec(prop_oneof![any::<u64>(), 0..10_u64], 0..200),
        ) {
            let (mut shell_sorted, mut sorted) = (samples.clone(), samples);
            shell_sort(&mut shell_sorted, |sample| *sample);
            sorted.sort_unstable();
            prop_assert_eq!(shell_sorted, sorted);
        }
    }

    proptest! {
        #[test]
        fn a_sample_of_weight_n_counts_as_n_samples(
            samples in proptest::collection::vec((0..50_u64, 0..6_u64), 1..80),
            mut ppms in proptest::array::uniform4(0..=1_000_000_u32),
        ) {
            ppms.sort_unstable();
            let wanted = ppms.map(|ppm| Quantile::from_ppm(ppm).unwrap());
            let repeat =
                |(value, sampling): &(u64, u64)| core::iter::repeat_n(*value, 1 << *sampling);
            let repeated: Vec<u64> = samples.iter().flat_map(repeat).collect();
            let to_weighted = |(value, sampling): &(u64, u64)| {
                WeightedSample::new(*value, *sampling as u8).unwrap()
            };
            let mut weighted: Vec<WeightedSample> = samples.iter().map(to_weighted).collect();
            let in_order = |samples: &[WeightedSample]| {
                wanted.map(|wanted| quantile(&samples.iter().copied(), wanted))
            };
            let bisected = in_order(&weighted);
            let found = weighted_quantiles(&mut weighted, wanted).unwrap();
            prop_assert_eq!(found, wanted.map(|quantile| by_definition(&repeated, quantile)));
            prop_assert_eq!(found.map(Some), bisected);
            prop_assert_eq!(bisected, in_order(&weighted), "sorted");
        }
    }

    #[test]
    fn a_value_that_is_too_large_is_refused() {
        let bits = 60;
        assert_eq!(WeightedSample::new(1 << bits, 0), None);
        let largest = WeightedSample::new((1 << bits) - 1, 15).unwrap();
        assert_eq!((largest.value(), largest.weight()), ((1 << bits) - 1, 32_768));
    }

    /// Tests the smallest and the largest quantile, the usual ones, and those around `step`: if
    /// there are several samples, the rank increases by 1 from `step` ppm to `step + 1` ppm.
    #[test]
    fn quantiles_have_the_exact_rank_for_every_small_number_of_samples() {
        assert_eq!(quantiles::<u64, 1>(&mut [], [Quantile::P50]), None);
        for n in 1..=3_000_u64 {
            // The numbers 1 to n in a mixed order. 2,741 is a prime, so `i * 2_741 % n` is
            // different for each i in 1…n, unless n is 2,741 itself. Then all remainders would be
            // 0, so the numbers are in descending order instead.
            let mut samples: Vec<u64> = (1..=n).map(|i| i * 2_741 % n + 1).collect();
            if n == 2_741 {
                samples = (1..=n).rev().collect();
            }
            let step = u32::try_from((1 + n / 3) * 1_000_000 / n).unwrap();
            let mut ppms = [
                0,
                1,
                step.saturating_sub(1),
                step,
                step + 1,
                500_000,
                950_000,
                990_000,
                999_000,
                999_999,
                1_000_000,
            ];
            ppms = ppms.map(|ppm| ppm.min(1_000_000));
            ppms.sort_unstable();
            // The samples are 1 to n, so each equals its rank.
            let expected = ppms.map(|ppm| (u64::from(ppm) * n).div_ceil(1_000_000).max(1));
            let wanted = ppms.map(|ppm| Quantile::from_ppm(ppm).unwrap());
            assert_eq!(quantiles(&mut samples, wanted), Some(expected), "{n} samples");
        }
    }
}
