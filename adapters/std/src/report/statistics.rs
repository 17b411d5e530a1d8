//! What is known of an event over a window, or since the start.

use core::fmt;

use tailwatch_core::{
    Accuracy, Bucket, Buckets, CountWord, Distribution, DistributionData, Moments, Quantile,
    Summary, UnitConverter, WeightedSample,
};

use super::SlowSample;

/// What is known of an event over a window, or since the start: its summary, and all its values as far as they are known, so that
/// a quantile nobody thought of can still be asked for.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Count, extremes, mean, spread, the usual quantiles.
    pub summary: Summary,
    /// The same, corrected for coordinated omission; `None` unless the event has an expected interval.
    pub corrected: Option<Summary>,
    /// The slowest samples, the slowest first.
    pub slowest: Vec<SlowSample>,
    converter: UnitConverter,
    values: Owned,
}

/// [`DistributionData`], kept.
#[derive(Clone, PartialEq)]
enum Owned {
    Exact(Vec<WeightedSample>),
    Counted { buckets: Buckets, moments: Moments, first: usize, counts: Vec<CountWord> },
}

impl Owned {
    /// Keeps what is known now, in the room of what was known before.
    fn keep(&mut self, known: DistributionData<'_>) {
        match (&mut *self, known) {
            (Self::Exact(kept), DistributionData::Exact(samples)) => {
                kept.clear();
                // No more than that, or memory would not be what is told.
                kept.reserve_exact(samples.iter().count());
                kept.extend(samples.iter());
            }
            (
                Self::Counted { counts, .. },
                DistributionData::Counted { buckets, moments, first, counts: now },
            ) => {
                let mut counts = core::mem::take(counts);
                counts.clear();
                counts.reserve_exact(now.len());
                counts.extend_from_slice(now);
                *self = Self::Counted { buckets, moments, first, counts };
            }
            (_, known) => *self = known.into(),
        }
    }
}

impl From<DistributionData<'_>> for Owned {
    fn from(known: DistributionData<'_>) -> Self {
        match known {
            DistributionData::Exact(samples) => Self::Exact(samples.iter().collect()),
            DistributionData::Counted { buckets, moments, first, counts } => {
                Self::Counted { buckets, moments, first, counts: counts.into() }
            }
        }
    }
}

impl Statistics {
    pub(crate) fn new(summary: Summary, values: Distribution<'_>) -> Self {
        Self {
            summary,
            corrected: None,
            slowest: Vec::new(),
            converter: values.converter,
            values: values.known.into(),
        }
    }

    /// Tells this instead.
    pub(crate) fn renew(&mut self, summary: Summary, values: Distribution<'_>) {
        (self.summary, self.converter) = (summary, values.converter);
        self.values.keep(values.known);
    }

    pub(super) fn values(&self) -> Distribution<'_> {
        let known = match &self.values {
            Owned::Exact(samples) => DistributionData::Exact(samples[..].into()),
            Owned::Counted { buckets, moments, first, counts } => DistributionData::Counted {
                buckets: *buckets,
                moments: *moments,
                first: *first,
                counts,
            },
        };
        Distribution { converter: self.converter, known }
    }

    /// The value at a quantile, in nanoseconds or the event's unit, and how far it may be off.
    ///
    /// ```
    /// use tailwatch::{Accuracy, Collector, Quantile, Trading, record_value};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().start()?;
    /// collector.register_thread("main")?;
    /// for n in 1..=100 {
    ///     record_value(Trading::QueueBacklog, n);
    /// }
    /// collector.stop();
    /// let report = collector.report();
    /// let total = report.event(Trading::QueueBacklog).unwrap().total.as_ref().unwrap();
    /// assert_eq!(total.quantile("p75".parse()?), (75, Accuracy::Exact));
    /// # Ok(())
    /// # }
    /// ```
    pub fn quantile(&self, quantile: Quantile) -> (u64, Accuracy) {
        // There is no summary of nothing.
        self.values().quantile(quantile).unwrap_or((self.summary.max, self.summary.accuracy))
    }

    /// Buckets that hold something, with how many by weight: of a base-2 exponential histogram, ascending, or where every sample
    /// is known, one for each of them, in no order. For exporters.
    ///
    /// Bounds are those inside: 2^-40 s for what is measured in time, so that a bucket is one of a Prometheus native or an
    /// OpenTelemetry exponential histogram in seconds; plain numbers as they are.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + use<'_> {
        self.values().buckets()
    }
}

impl fmt::Debug for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statistics")
            .field("summary", &self.summary)
            .field("corrected", &self.corrected)
            .field("slowest", &self.slowest)
            .finish_non_exhaustive()
    }
}
