//! The samples of a report, or a histogram of them.

use std::borrow::Cow;

use tailwatch_core::{DistributionData, Moments, Unit, WeightedSample};

use super::{
    histogram::{Histogram, SumProblem, buckets_of},
    interval::Intervals,
    packed_counts::PackedCounts,
};
use crate::settings::MAX_EXACT_SAMPLES;

/// What is known of samples beside their summary.
#[derive(Clone, PartialEq)]
pub(super) enum OwnedData {
    /// All samples.
    Exact(Vec<WeightedSample>),
    /// Their exact sums, and a histogram.
    Counted { moments: Moments, histogram: Histogram },
    /// At most a histogram, and the confidence intervals that were read: a report in JSON has no
    /// sums, and no histograms of windows.
    Summarized { histogram: Option<Histogram>, intervals: Option<Intervals> },
}

impl OwnedData {
    /// Calls `with` with the samples or sums, if they are known. Unpacks counts for it.
    pub(super) fn with<T>(&self, with: impl FnOnce(DistributionData<'_>) -> T) -> Option<T> {
        match self {
            Self::Exact(samples) => Some(with(DistributionData::Exact(samples[..].into()))),
            Self::Counted { moments, histogram } => Some(with(DistributionData::Counted {
                buckets: histogram.buckets(),
                moments: *moments,
                first: histogram.first(),
                counts: &histogram.counts(),
            })),
            Self::Summarized { .. } => None,
        }
    }

    /// Returns a histogram of the samples, which are in this unit, if there is one.
    pub(super) fn histogram(&self, unit: Unit) -> Option<Cow<'_, Histogram>> {
        match self {
            Self::Exact(samples) => {
                Some(Cow::Owned(Histogram::of_samples(buckets_of(unit), samples)))
            }
            Self::Counted { histogram, .. } => Some(Cow::Borrowed(histogram)),
            Self::Summarized { histogram, .. } => histogram.as_ref().map(Cow::Borrowed),
        }
    }

    /// Returns how many bytes the data has on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Exact(samples) => samples.capacity() * size_of::<WeightedSample>(),
            Self::Counted { histogram, .. } => histogram.heap_bytes(),
            Self::Summarized { histogram, .. } => {
                histogram.as_ref().map_or(0, Histogram::heap_bytes)
            }
        }
    }

    /// Returns how many bytes the data has on the heap at most: so many exact samples, or the
    /// counts of so many buckets.
    pub(super) fn max_heap_bytes(samples: usize, buckets: usize) -> usize {
        let samples = with_spare(samples) * size_of::<WeightedSample>();
        samples.max(PackedCounts::max_heap_bytes(buckets))
    }

    /// Replaces the data. Reuses the allocated memory.
    pub(super) fn replace(&mut self, data: DistributionData<'_>) {
        match (&mut *self, data) {
            (Self::Exact(owned), DistributionData::Exact(samples)) => {
                owned.clear();
                let len = samples.iter().count();
                if len > owned.capacity() {
                    owned.reserve_exact(with_spare(len));
                }
                owned.extend(samples.iter());
            }
            (
                Self::Counted { moments, histogram },
                DistributionData::Counted { buckets, moments: new_moments, first, counts },
            ) => {
                *moments = new_moments;
                histogram.replace(buckets, first, counts);
            }
            (_, data) => *self = data.into(),
        }
    }

    /// Returns the data of all samples together, which are in this unit: all samples if they are
    /// known and not too many, or else the sum of the histograms.
    pub(super) fn sum(parts: &[&Self], unit: Unit) -> Result<Self, SumProblem> {
        let exact: Option<Vec<_>> = parts.iter().map(|part| part.exact()).collect();
        if let Some(exact) = exact
            && exact.iter().map(|samples| samples.len()).sum::<usize>() <= MAX_EXACT_SAMPLES
        {
            return Ok(Self::Exact(exact.concat()));
        }
        let histograms: Option<Vec<_>> = parts.iter().map(|part| part.histogram(unit)).collect();
        let histogram = Histogram::sum(&histograms.ok_or(SumProblem::NoHistogram)?)?;
        let moments: Option<Vec<_>> = parts.iter().map(|part| part.moments()).collect();
        Ok(match moments {
            Some(all) => {
                let mut moments = Moments::EMPTY;
                for of_part in &all {
                    moments.merge(of_part);
                }
                Self::Counted { moments, histogram }
            }
            None => Self::Summarized { histogram: Some(histogram), intervals: None },
        })
    }

    /// Returns all samples, if they are known.
    fn exact(&self) -> Option<&[WeightedSample]> {
        match self {
            Self::Exact(samples) => Some(samples),
            Self::Counted { .. } | Self::Summarized { .. } => None,
        }
    }

    /// Returns the exact sums, if they are known.
    pub(super) fn moments(&self) -> Option<Moments> {
        match self {
            Self::Exact(samples) => {
                let mut moments = Moments::EMPTY;
                for sample in samples {
                    moments.add(sample.value(), sample.sampling());
                }
                Some(moments)
            }
            Self::Counted { moments, .. } => Some(*moments),
            Self::Summarized { .. } => None,
        }
    }
}

/// Returns how many samples to allocate memory for if there are so many now. Usually, each of the
/// next reports has more. Not twice as many, because many events have reports.
fn with_spare(samples: usize) -> usize {
    samples + (samples / 4).max(4)
}

impl From<DistributionData<'_>> for OwnedData {
    fn from(data: DistributionData<'_>) -> Self {
        match data {
            DistributionData::Exact(samples) => Self::Exact(samples.iter().collect()),
            DistributionData::Counted { buckets, moments, first, counts } => {
                Self::Counted { moments, histogram: Histogram::new(buckets, first, counts) }
            }
        }
    }
}
