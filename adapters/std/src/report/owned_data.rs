//! The samples of a report, or a histogram of them.

use tailwatch_core::{Buckets, DistributionData, Moments, WeightedSample};

use super::packed_counts::PackedCounts;

/// The data of a [`DistributionData`], but with samples or counts that it owns.
#[derive(Clone, PartialEq)]
pub(super) enum OwnedData {
    Exact(Vec<WeightedSample>),
    Counted {
        buckets: Buckets,
        moments: Moments,
        /// The index of the bucket of the first count.
        first: usize,
        counts: PackedCounts,
    },
}

impl OwnedData {
    /// Calls `with` with the data. Unpacks counts for it.
    pub(super) fn with<T>(&self, with: impl FnOnce(DistributionData<'_>) -> T) -> T {
        match self {
            Self::Exact(samples) => with(DistributionData::Exact(samples[..].into())),
            Self::Counted { buckets, moments, first, counts } => with(DistributionData::Counted {
                buckets: *buckets,
                moments: *moments,
                first: *first,
                counts: &counts.iter().collect::<Vec<_>>(),
            }),
        }
    }

    /// Returns how many bytes the data has on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Exact(samples) => samples.capacity() * size_of::<WeightedSample>(),
            Self::Counted { counts, .. } => counts.heap_bytes(),
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
                Self::Counted { buckets, moments, first, counts },
                DistributionData::Counted {
                    buckets: new_buckets,
                    moments: new_moments,
                    first: new_first,
                    counts: new_counts,
                },
            ) => {
                (*buckets, *moments, *first) = (new_buckets, new_moments, new_first);
                counts.replace(new_counts);
            }
            (_, data) => *self = data.into(),
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
                Self::Counted { buckets, moments, first, counts: PackedCounts::new(counts) }
            }
        }
    }
}
