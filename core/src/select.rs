//! Exact quantiles of the samples in an array, by selection.
//!
//! Selection is the standard library's (introselect: quickselect that falls back to median of medians), linear in the worst
//! case. Several quantiles are found from the largest to the smallest, each in what the former left below it.
//!
//! Where registers are of 32 bits, flash is scarce and samples are few: there they are put in order by Shellsort, which takes a
//! hundred bytes where the library's sorting and selection take seven thousand.

use crate::Quantile;

/// Whether there is room for the fast ways.
const ROOMY: bool = cfg!(target_pointer_width = "64");

/// The quantiles of `samples`, by nearest rank; `None` if there are none. The samples are reordered.
///
/// `quantiles` ascend.
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
    debug_assert!(quantiles.is_sorted(), "quantiles ascend");
    let count = samples.len() as u64;
    if count == 0 {
        return None;
    }
    let mut found = [T::default(); K];
    if !ROOMY {
        sort_by_gaps(samples, |sample| *sample);
    }
    let mut rest = samples;
    for (value, quantile) in found.iter_mut().zip(quantiles).rev() {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a rank is at most the number of samples"
        )]
        let index = (quantile.rank(count) - 1) as usize;
        // Out of range only if the quantiles do not ascend: then what is left has its largest at the end.
        let index = index.min(rest.len() - 1);
        *value = if ROOMY { *rest.select_nth_unstable(index).1 } else { rest[index] };
        rest = &mut rest[..=index];
    }
    Some(found)
}

/// Shellsort with the gaps 1, 3, 7, 15, … (Hibbard, 1963; Knuth, TAOCP 3, 5.2.1): n^1.5 in the worst case, without recursion.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn sort_by_gaps<T: Copy, K: Ord>(samples: &mut [T], key: impl Fn(&T) -> K) {
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

/// A sample and its weight in one word, whose order is that of the values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WeightedSample(u64);

impl WeightedSample {
    /// Values are smaller than 2 to this power: 60, or where registers have 32 bits, 44, which leaves room for the slices of
    /// a sample beside it.
    pub const VALUE_BITS: u32 = if ROOMY { u64::BITS - Self::SAMPLING_BITS } else { 44 };
    pub(crate) const SAMPLING_BITS: u32 = 4;

    #[cfg(target_pointer_width = "64")]
    pub(crate) const ZERO: Self = Self(0);

    /// A sample that stands for 2^`sampling` of its like; `None` for a value that is too large.
    pub const fn new(value: u64, sampling: u8) -> Option<Self> {
        if value >> Self::VALUE_BITS != 0 {
            return None;
        }
        Some(Self(value << Self::SAMPLING_BITS | (sampling as u64 & 0xF)))
    }

    /// A sample that was one before.
    #[cfg(not(target_pointer_width = "64"))]
    #[inline(always)]
    pub(crate) const fn of(value: u64, sampling: u8) -> Self {
        Self(value << Self::SAMPLING_BITS | sampling as u64)
    }

    /// The sample.
    pub const fn value(self) -> u64 {
        self.0 >> Self::SAMPLING_BITS
    }

    /// It stands for 2^k of its like.
    pub const fn sampling(self) -> u8 {
        (self.0 & 0xF) as u8
    }

    /// How many it stands for.
    pub const fn weight(self) -> u64 {
        // It is at most 2^15, and shifts of one word are cheap everywhere.
        (1_u32 << self.sampling()) as u64
    }
}

/// The quantiles of samples that stand for several of their like each; `None` if there are none. The samples are sorted.
///
/// `quantiles` ascend.
///
/// ```
/// use tailwatch_core::{Quantile, select::{self, WeightedSample}};
///
/// let mut samples = [(20, 0), (10, 3), (90, 0)].map(|(value, k)| WeightedSample::new(value, k).unwrap()); // 10 stands for 8
/// let quantiles = [Quantile::P50, Quantile::MAX];
/// assert_eq!(select::weighted_quantiles(&mut samples, quantiles), Some([10, 90]));
/// ```
pub fn weighted_quantiles<const K: usize>(
    samples: &mut [WeightedSample],
    quantiles: [Quantile; K],
) -> Option<[u64; K]> {
    debug_assert!(quantiles.is_sorted(), "quantiles ascend");
    if ROOMY {
        samples.sort_unstable();
    } else {
        sort_by_gaps(samples, |sample| *sample);
    }
    let total = samples.iter().fold(0_u64, |sum, sample| sum.saturating_add(sample.weight()));
    let (mut found, mut rest) = ([0; K], samples.iter());
    // No rank is 0.
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

/// One quantile of samples that stand for several of their like each, which stay as they are; `None` if there are none.
///
/// By bisection of the values: 60 passes over the samples at the most, and no room needed.
pub(crate) fn rank_in(
    samples: &(impl Iterator<Item = WeightedSample> + Clone),
    quantile: Quantile,
) -> Option<u64> {
    let total = samples.clone().fold(0_u64, |sum, sample| sum.saturating_add(sample.weight()));
    let rank = quantile.rank(total);
    let reached = |value: u64| {
        let below = samples.clone().filter(|sample| sample.value() <= value);
        below.fold(0_u64, |sum, sample| sum.saturating_add(sample.weight()))
    };
    let (mut low, mut high) =
        (samples.clone().map(WeightedSample::value).min()?, samples.clone().max()?.value());
    // The least value that the rank's share of samples does not exceed is a sample.
    while low < high {
        let middle = low + (high - low) / 2;
        if reached(middle) >= rank { high = middle } else { low = middle + 1 }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn by_sorting(samples: &[u64], quantile: Quantile) -> u64 {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        // The smallest sample that at least a share q of all samples does not exceed.
        let enough = |x: &u64| {
            let covered = sorted.iter().filter(|y| *y <= x).count() as u128;
            covered * 1_000_000 >= u128::from(quantile.ppm()) * sorted.len() as u128
        };
        *sorted.iter().find(|x| enough(x)).unwrap()
    }

    proptest! {
        #[test]
        fn selection_agrees_with_sorting(
            samples in proptest::collection::vec(prop_oneof![any::<u64>(), 0..10_u64], 1..300),
            mut ppms in proptest::array::uniform4(prop_oneof![0..=1_000_000_u32, Just(0), Just(1_000_000)]),
        ) {
            ppms.sort_unstable();
            let wanted = ppms.map(|ppm| Quantile::from_ppm(ppm).unwrap());
            let found = quantiles(&mut samples.clone(), wanted).unwrap();
            prop_assert_eq!(found, wanted.map(|quantile| by_sorting(&samples, quantile)));
        }
    }

    proptest! {
        #[test]
        fn sorting_by_gaps_puts_in_order(samples in proptest::collection::vec(prop_oneof![any::<u64>(), 0..10_u64], 0..200)) {
            let (mut by_gaps, mut sorted) = (samples.clone(), samples);
            sort_by_gaps(&mut by_gaps, |sample| *sample);
            sorted.sort_unstable();
            prop_assert_eq!(by_gaps, sorted);
        }
    }

    proptest! {
        #[test]
        fn a_weight_is_that_many_samples(
            samples in proptest::collection::vec((0..50_u64, 0..6_u64), 1..80),
            mut ppms in proptest::array::uniform4(0..=1_000_000_u32),
        ) {
            ppms.sort_unstable();
            let wanted = ppms.map(|ppm| Quantile::from_ppm(ppm).unwrap());
            let repeated: Vec<u64> =
                samples.iter().flat_map(|(value, k)| core::iter::repeat_n(*value, 1 << *k)).collect();
            let mut weighted: Vec<WeightedSample> =
                samples.iter().map(|(value, k)| WeightedSample::new(*value, *k as u8).unwrap()).collect();
            let found = weighted_quantiles(&mut weighted, wanted).unwrap();
            prop_assert_eq!(found, wanted.map(|quantile| by_sorting(&repeated, quantile)));
            prop_assert_eq!(found, wanted.map(|quantile| rank_in(&weighted.iter().copied(), quantile).unwrap()));
        }
    }

    #[test]
    fn a_value_too_large_is_refused() {
        let bits = if cfg!(target_pointer_width = "64") { 60 } else { 44 };
        assert_eq!(WeightedSample::new(1 << bits, 0), None);
        let most = WeightedSample::new((1 << bits) - 1, 15).unwrap();
        assert_eq!((most.value(), most.weight()), ((1 << bits) - 1, 32_768));
    }

    /// At both ends, at the usual ones, and on either side of a step from one rank to the next.
    #[test]
    fn every_small_number_of_samples_has_its_ranks() {
        assert_eq!(quantiles::<u64, 1>(&mut [], [Quantile::P50]), None);
        for n in 1..=3_000_u64 {
            // Each of 1 to n once, in no order, as 2,741 is a prime; of itself it would make n times the same.
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
            // The samples are their own ranks.
            let expected = ppms.map(|ppm| (u64::from(ppm) * n).div_ceil(1_000_000).max(1));
            let wanted = ppms.map(|ppm| Quantile::from_ppm(ppm).unwrap());
            assert_eq!(quantiles(&mut samples, wanted), Some(expected), "of {n}");
        }
    }
}
