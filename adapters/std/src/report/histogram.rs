//! The weight of samples in each bucket of a base-2 exponential histogram.

use std::borrow::Cow;

use tailwatch_core::{
    Bucket, Buckets, Distribution, DistributionData, Moments, Shape, TimeUnit, Unit, UnitConverter,
    WeightedSample, Wide,
};

use super::packed_counts::PackedCounts;

/// Returns the buckets of every collector's histograms of events of this unit, in which exact
/// samples are counted as well.
pub(super) const fn buckets_of(unit: Unit) -> Buckets {
    Shape::server(&[], &[]).buckets(unit)
}

/// The index of the bucket of the value 0.
pub(super) const ZERO: usize = 0;
/// The index of the bucket of the values below the range.
pub(super) const UNDERFLOW: usize = 1;
/// The index of the first bucket in the range.
pub(super) const FIRST_IN_RANGE: usize = 2;

/// The weight of samples in each bucket. It has at least one bucket that is not empty.
#[derive(Clone, PartialEq)]
pub(super) struct Histogram {
    buckets: Buckets,
    /// The index of the bucket of the first count.
    first: usize,
    counts: PackedCounts,
}

/// Why histograms cannot be added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SumProblem {
    /// There is no histogram of some of the samples.
    NoHistogram,
    /// The histograms have different units, or ranges with nothing in common.
    Buckets,
    /// A sum exceeds 2^64 − 1.
    Overflow,
}

impl Histogram {
    /// Creates a histogram of the counts of neighbouring buckets, the first of which has the index
    /// `first`.
    pub(super) fn new(buckets: Buckets, first: usize, counts: &[u64]) -> Self {
        Self { buckets, first, counts: PackedCounts::new(counts) }
    }

    /// Counts these samples.
    pub(super) fn of_samples(buckets: Buckets, samples: &[WeightedSample]) -> Self {
        let mut counts = vec![0; buckets.len()];
        for sample in samples {
            counts[buckets.index(sample.value())] += sample.weight();
        }
        Self::of_all_counts(buckets, &counts)
    }

    /// Creates a histogram of the counts of all buckets.
    fn of_all_counts(buckets: Buckets, counts: &[u64]) -> Self {
        let is_used = |count: &u64| *count > 0;
        let first = counts.iter().position(is_used).unwrap_or(0);
        let last = counts.iter().rposition(is_used).unwrap_or(first);
        Self::new(buckets, first, &counts[first..=last])
    }

    /// Creates a histogram of the buckets that are not empty, in ascending order.
    pub(super) fn of_used(buckets: Buckets, used: &[(usize, u64)]) -> Self {
        let mut counts = vec![0; buckets.len()];
        for (index, count) in used {
            counts[*index] = *count;
        }
        Self::of_all_counts(buckets, &counts)
    }

    /// Replaces the contents. Reuses the allocated memory.
    pub(super) fn replace(&mut self, buckets: Buckets, first: usize, counts: &[u64]) {
        (self.buckets, self.first) = (buckets, first);
        self.counts.replace(counts);
    }

    pub(super) fn buckets(&self) -> Buckets {
        self.buckets
    }

    /// Returns the index of the bucket of the first count.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Returns all counts from the first bucket that is not empty to the last.
    pub(super) fn counts(&self) -> Vec<u64> {
        self.counts.iter().collect()
    }

    /// Returns the index and the count of each bucket that is not empty, in ascending order.
    pub(super) fn used(&self) -> impl Iterator<Item = (usize, u64)> {
        (self.first..).zip(self.counts.iter()).filter(|(_, count)| *count > 0)
    }

    /// Returns the buckets that are not empty with their bounds, in ascending order.
    pub(super) fn bounded(&self) -> Vec<Bucket> {
        let converter = UnitConverter { unit: Unit::One, time: TimeUnit::Fine };
        let data = DistributionData::Counted {
            buckets: self.buckets,
            moments: Moments::EMPTY,
            first: self.first,
            counts: &self.counts(),
        };
        Distribution::<Wide> { converter, data }.buckets().collect()
    }

    /// Returns the index of the bucket of the sample with this rank, counted from 1.
    pub(super) fn bucket_of(&self, rank: u64) -> Option<usize> {
        let mut reached = 0_u64;
        let mut used = self.used();
        used.find(|(_, count)| {
            reached = reached.saturating_add(*count);
            reached >= rank
        })
        .map(|(index, _)| index)
    }

    /// Returns how many bytes the counts have on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.counts.heap_bytes()
    }

    /// Adds up histograms, at the coarsest of their scales and over the range that all have.
    pub(super) fn sum(parts: &[Cow<'_, Self>]) -> Result<Self, SumProblem> {
        let buckets = in_common(parts.iter().map(|part| part.buckets));
        let buckets = buckets.ok_or(SumProblem::Buckets)?;
        let mut counts = vec![0_u64; buckets.len()];
        for part in parts {
            for (index, count) in part.used() {
                let sum = &mut counts[coarser_index(part.buckets, index, buckets)];
                *sum = sum.checked_add(count).ok_or(SumProblem::Overflow)?;
            }
        }
        Ok(Self::of_all_counts(buckets, &counts))
    }

    /// Returns the buckets that `earlier` lacks, or `None` if it has something that `self` lacks.
    /// The difference may be empty.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        let buckets = in_common([self.buckets, earlier.buckets].into_iter())?;
        let mut counts = vec![0_u64; buckets.len()];
        for (index, count) in self.used() {
            let sum = &mut counts[coarser_index(self.buckets, index, buckets)];
            *sum = sum.checked_add(count)?;
        }
        for (index, count) in earlier.used() {
            let rest = &mut counts[coarser_index(earlier.buckets, index, buckets)];
            *rest = rest.checked_sub(count)?;
        }
        Some(Self::of_all_counts(buckets, &counts))
    }
}

/// Returns the buckets to which all of these can be reduced exactly: with the coarsest scale, and
/// the range that all have. `None` if they have no range in common.
fn in_common(mut all: impl Iterator<Item = Buckets>) -> Option<Buckets> {
    let end = |buckets: Buckets| buckets.lowest() + buckets.octaves();
    let first = all.next()?;
    let (scale, lowest, end) =
        all.fold((first.scale(), first.lowest(), end(first)), |(scale, lowest, top), of| {
            (scale.min(of.scale()), lowest.max(of.lowest()), top.min(end(of)))
        });
    Buckets::new(scale, lowest, end.checked_sub(lowest)?)
}

/// Returns the index, among the buckets `to`, of the bucket that counts the values of a bucket of
/// `from`. The scale of `to` must be at most that of `from`, and its range must be part of that of
/// `from`.
fn coarser_index(from: Buckets, index: usize, to: Buckets) -> usize {
    if index < FIRST_IN_RANGE {
        return index;
    }
    let last = to.len() - 1;
    if index == from.len() - 1 {
        return last;
    }
    // Both are upper-inclusive, and each bound of the coarser scale is one of the finer scale, so
    // that a shift finds the bucket.
    let number = number(from, index) >> (from.scale() - to.scale());
    let below = usize::from(to.lowest()) << to.scale();
    if number < below { UNDERFLOW } else { (FIRST_IN_RANGE + number - below).min(last) }
}

/// Returns the number i of a bucket in the range, which counts the values in (2^(i/2^scale),
/// 2^((i+1)/2^scale)].
pub(super) fn number(buckets: Buckets, index: usize) -> usize {
    (usize::from(buckets.lowest()) << buckets.scale()) + index - FIRST_IN_RANGE
}

/// Returns the index of the bucket with this number, or `None` if it is not in the range.
pub(super) fn index_of(buckets: Buckets, number: usize) -> Option<usize> {
    let below = usize::from(buckets.lowest()) << buckets.scale();
    let index = FIRST_IN_RANGE.checked_add(number.checked_sub(below)?)?;
    (index < buckets.len() - 1).then_some(index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buckets() -> impl Strategy<Value = Buckets> {
        (0..=8_u8, 0..30_u8, 0..=30_u8)
            .prop_map(|(scale, lowest, octaves)| Buckets::new(scale, lowest, octaves).unwrap())
    }

    fn samples() -> impl Strategy<Value = Vec<WeightedSample>> {
        // Of all sizes, and often on a bound.
        let value = prop_oneof![
            (any::<u64>(), 4..64_u32).prop_map(|(value, shift)| value >> shift),
            (0..60_u32).prop_map(|bits| 1 << bits),
            (0..59_u32).prop_map(|bits| (1 << bits) + 1),
        ];
        let sample = (value, 0..16_u8);
        let sample = sample.prop_map(|(value, k)| WeightedSample::new(value, k).unwrap());
        prop::collection::vec(sample, 1..40)
    }

    proptest! {
        /// The sum equals a count of the samples themselves in the buckets of the sum.
        #[test]
        fn a_sum_at_the_coarser_scale_counts_like_the_samples_themselves(
            parts in prop::collection::vec((buckets(), samples()), 1..5),
        ) {
            let histograms: Vec<_> = parts
                .iter()
                .map(|(buckets, samples)| Cow::Owned(Histogram::of_samples(*buckets, samples)))
                .collect();
            let all: Vec<_> = parts.iter().flat_map(|(_, samples)| samples.clone()).collect();
            let lowest = parts.iter().map(|(of, _)| of.lowest()).max().unwrap();
            let end = parts.iter().map(|(of, _)| of.lowest() + of.octaves()).min().unwrap();
            match Histogram::sum(&histograms) {
                Ok(sum) => {
                    let scale = parts.iter().map(|(of, _)| of.scale()).min().unwrap();
                    let expected = Buckets::new(scale, lowest, end - lowest).unwrap();
                    prop_assert_eq!(sum.buckets(), expected);
                    prop_assert!(sum == Histogram::of_samples(expected, &all));
                    let first = &histograms[0];
                    let rest = sum.since(first).unwrap();
                    let rest_samples: Vec<_> =
                        parts[1..].iter().flat_map(|(_, samples)| samples.clone()).collect();
                    prop_assert!(rest == Histogram::of_samples(expected, &rest_samples));
                    prop_assert!(first.since(&sum).is_none() || parts.len() == 1);
                }
                Err(problem) => {
                    prop_assert_eq!(problem, SumProblem::Buckets);
                    prop_assert!(end < lowest);
                }
            }
        }

        #[test]
        fn the_number_of_a_bucket_names_its_bounds(buckets in buckets(), value in 1..1_u64 << 60) {
            let index = buckets.index(value);
            if (FIRST_IN_RANGE..buckets.len() - 1).contains(&index) {
                let number = number(buckets, index);
                prop_assert_eq!(index_of(buckets, number), Some(index));
                let wide = Buckets::new(buckets.scale(), 0, 64).unwrap();
                prop_assert_eq!(number + FIRST_IN_RANGE, wide.index(value));
            }
        }
    }

    #[test]
    fn a_sum_that_overflows_is_an_error() {
        let buckets = buckets_of(Unit::Time);
        let full = Histogram::of_used(buckets, &[(7, u64::MAX)]);
        let one = Histogram::of_used(buckets, &[(7, 1)]);
        let sum = Histogram::sum(&[Cow::Borrowed(&full), Cow::Borrowed(&one)]);
        assert!(matches!(sum, Err(SumProblem::Overflow)));
        assert_eq!(index_of(buckets, usize::MAX), None);
    }
}
