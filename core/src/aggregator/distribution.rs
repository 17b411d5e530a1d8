//! The distribution of samples, from which any quantile can be computed.

use crate::{
    repr::{Repr, Wide, samples::Samples},
    statistics::{
        confidence::ConfidenceInterval,
        histogram::{self, Bucket, buckets::Buckets, count::Count},
        moments::Moments,
        quantile::Quantile,
        select,
        summary::{Accuracy, QUANTILES, Summary, UnitConverter},
    },
};

/// The distribution of an event's samples over a [`Scope`](crate::Scope): all samples, or their
/// histogram. From it, any quantile can be computed.
///
/// Durations are in the aggregator's internal [unit of time](crate::TimeUnit), other values are
/// plain numbers. `converter` converts both to the units in which they are reported.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Distribution<'a, R: Repr = Wide> {
    /// Converts durations to nanoseconds and leaves plain numbers unchanged.
    pub converter: UnitConverter,
    /// The samples or their histogram.
    pub data: DistributionData<'a, R>,
}

/// What is known of the samples of a [`Distribution`]: every single sample, or their weight in each
/// bucket of a histogram.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DistributionData<'a, R: Repr = Wide> {
    /// Every sample with its weight, in no particular order. Available while the aggregator's
    /// buffer of the event's newest samples contains all samples of the scope.
    Exact(Samples<'a>),
    /// The weight of the samples in each bucket of a histogram.
    Counted {
        /// The buckets of the histogram.
        buckets: Buckets,
        /// The count, weight, sum, sum of squares and extremes of the samples.
        moments: Moments<R::Sum>,
        /// The index of the bucket that holds the smallest sample; 0 without histograms.
        first: usize,
        /// The weights in the buckets, from the bucket with index `first` to the bucket that holds
        /// the largest sample. Empty if the storage has no histograms.
        counts: &'a [R::Counter],
    },
}

impl<'a, R: Repr> Distribution<'a, R> {
    /// Returns the value at a quantile, in nanoseconds or as a plain number, and its accuracy.
    /// Returns `None` if there are no samples.
    ///
    /// Takes time linear in the number of buckets. With [`DistributionData::Exact`], the time is
    /// linear in the number of samples times the number of bits of the largest one.
    pub fn quantile(&self, quantile: Quantile) -> Option<(u64, Accuracy)> {
        match self.data {
            DistributionData::Exact(samples) => {
                let value = select::quantile(&samples.iter(), quantile)?;
                Some((self.converter.value(value), Accuracy::Exact))
            }
            DistributionData::Counted { buckets, moments, counts, .. } => {
                let rank = quantile.rank(moments.weight());
                let [estimate] = histogram::estimate(buckets, &moments, counts, [rank]);
                (moments.count() > 0).then(|| self.converter.estimate(estimate))
            }
        }
    }

    /// Returns the 95 % confidence interval of a quantile, in nanoseconds or as plain numbers. It
    /// follows from the ranks of [`ConfidenceInterval::of_ranks`], where n is the number of
    /// recorded samples, not their weight.
    ///
    /// With [`DistributionData::Exact`], its bounds are samples. With a histogram, they are the
    /// outer bounds of the buckets that contain these samples, narrowed by the smallest and the
    /// largest sample; if counters are saturated, they are those of all the buckets that may
    /// contain them.
    ///
    /// Returns `None` if there are no samples, or if some samples may have another
    /// [weight](crate::WeightedSample::weight) than others: the method then does not apply. With a
    /// histogram, this is so unless every sample has the weight 1, because buckets do not show
    /// which weights make up their count.
    ///
    /// Takes as much time as [`quantile`](Self::quantile) for each bound. With
    /// [`DistributionData::Exact`], it is linear in the number of samples if they are sorted.
    ///
    /// The samples must be independent, which consecutive latencies are not: see
    /// [`ConfidenceInterval`].
    pub fn interval(&self, quantile: Quantile) -> Option<ConfidenceInterval> {
        // Converting never swaps two values, so the converted bounds are bounds, too.
        let convert = |value| self.converter.value(value);
        match self.data {
            DistributionData::Exact(samples) => {
                let (n, sampling) = select::count_and_sampling(samples.iter())?;
                let at =
                    |rank: u64| select::at_rank(&samples.iter(), rank << sampling).map(convert);
                Some(ConfidenceInterval::of_ranks(quantile, n).map(at, at))
            }
            DistributionData::Counted { buckets, moments, counts, .. } => {
                if moments.count() == 0 || moments.weight() != moments.count() {
                    return None;
                }
                let at = |rank| {
                    let [estimate] = histogram::estimate(buckets, &moments, counts, [rank]);
                    [estimate.least, estimate.most].map(convert)
                };
                let ranks = ConfidenceInterval::of_ranks(quantile, moments.count());
                Some(ranks.map(|rank| Some(at(rank)[0]), |rank| Some(at(rank)[1])))
            }
        }
    }

    /// Returns the summary of the distribution, with the given fields [`Summary::covered`] and
    /// [`Summary::complete`]. Returns `None` if there are no samples.
    pub fn summary(&self, covered: u64, complete: bool) -> Option<Summary> {
        let (converter, coverage) = (self.converter, (covered, complete));
        match self.data {
            DistributionData::Exact(samples) => {
                let mut moments = Moments::<u128>::default();
                moments.add_all(samples.iter());
                let mut found = [0; QUANTILES.len()];
                for (found, quantile) in found.iter_mut().zip(QUANTILES) {
                    *found = select::quantile(&samples.iter(), quantile)?;
                }
                Some(converter.summary(&moments, &found, Accuracy::Exact, coverage))
            }
            DistributionData::Counted { buckets, moments, counts, .. } => {
                let ranks = QUANTILES.map(|quantile| quantile.rank(moments.weight()));
                let estimates = histogram::estimate(buckets, &moments, counts, ranks);
                let (found, accuracy) =
                    (estimates.map(|estimate| estimate.value), converter.accuracy(&estimates));
                (moments.count() > 0)
                    .then(|| converter.summary(&moments, &found, accuracy, coverage))
            }
        }
    }

    /// Returns an iterator over the buckets that are not empty. The count of a bucket is the weight
    /// of its samples: a sample counts 2^k times if 1 in 2^k occurrences of its event is recorded.
    /// Bounds are in internal units; [`converter`](Self::converter) converts them to nanoseconds.
    ///
    /// The buckets of a histogram come in ascending order, and their counts are too low if counters
    /// of the storage are saturated. With [`DistributionData::Exact`], each sample forms a bucket
    /// of its own, and the order is arbitrary. If not all samples are kept and the storage has no
    /// histograms, there are no buckets.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + use<'a, R> {
        let (samples, counted) = match self.data {
            DistributionData::Exact(samples) => (samples, None),
            DistributionData::Counted { buckets, first, counts, .. } => {
                (Samples::from(&[][..]), Some((buckets, first, counts)))
            }
        };
        let exact = samples.iter().map(|sample| Bucket {
            above: sample.value().saturating_sub(1),
            up_to: sample.value(),
            count: sample.weight(),
        });
        let counted = counted.into_iter().flat_map(|(buckets, first, counts)| {
            let taken = counts.iter().enumerate().filter(|(_, count)| count.get() > 0);
            taken.map(move |(offset, count)| {
                let (above, up_to) = buckets.bounds(first + offset);
                Bucket { above, up_to, count: count.get() }
            })
        });
        exact.chain(counted)
    }
}
