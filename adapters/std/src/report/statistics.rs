//! The statistics of an event over a window or since the start.

use core::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tailwatch_core::{
    Accuracy, Bucket, ConfidenceInterval, Distribution, Outcome, Quantile, Summary, UnitConverter,
};

use super::{
    interval::Intervals,
    json::{self, Numbers},
    owned_data::OwnedData,
};

/// The statistics of an event over a window or since the start.
///
/// Beside the summary, they contain the samples or a histogram of them, so any other
/// [`quantile`](Self::quantile) can be computed later.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Count, minimum, maximum, mean, standard deviation, p50, p95, p99 and p99.9.
    pub summary: Summary,
    /// The summary corrected for coordinated omission: it also counts the spans that a slow span
    /// kept from beginning. `None` if the event declares no expected interval.
    pub corrected: Option<Summary>,
    /// The slowest samples, at most 4, the slowest first. For plain numbers, the largest ones.
    /// Spans of every [outcome](SlowSample::outcome) are among them, even those that the summary
    /// does not cover.
    pub slowest: Vec<SlowSample>,
    /// Converts the values from the unit of the histogram to nanoseconds.
    converter: UnitConverter,
    values: OwnedData,
}

/// One of the slowest spans or durations of an event, or one of the largest values of an event with
/// plain numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlowSample {
    /// The time at which the span or duration began, or the value was recorded, in nanoseconds
    /// since 1970.
    pub start_unix_ns: u64,
    /// The duration in nanoseconds, or the plain number.
    pub duration: u64,
    /// How the span ended. `None` for a duration that was recorded without a span, and for a plain
    /// number. JSON leaves it out then.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::optional_text")]
    pub outcome: Option<Outcome>,
    /// The tag of the span, which is 0 for a span that began without one, or the tag of the
    /// duration. `None` if the START was not found, usually because it was lost, or if the sample
    /// is a plain number or a duration without a tag.
    /// [`Exemplar::tag`](tailwatch_core::Exemplar::tag) lists all cases.
    pub tag: Option<u64>,
    /// The text from which the tag was made, if [`Builder::tag_names`](crate::Builder::tag_names)
    /// was given it. It is at most 40 bytes long, and `…` stands for the rest. JSON leaves it out
    /// if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag_name: Option<Arc<str>>,
    /// The name of the thread that ended the span, or recorded the duration or value.
    pub thread: Arc<str>,
    /// The number that the operating system gave that thread, as in [`Delivery`](crate::Delivery).
    /// `None` except on Linux and Android, and if the slowest samples come from more threads
    /// at once than tailwatch can distinguish (over 65,000).
    pub tid: Option<u64>,
}

impl Statistics {
    /// Creates statistics without a corrected summary and slowest samples, which the caller adds.
    pub(crate) fn new(summary: Summary, values: Distribution<'_>) -> Self {
        Self {
            summary,
            corrected: None,
            slowest: Vec::new(),
            converter: values.converter,
            values: values.data.into(),
        }
    }

    /// Replaces the summary and the values. Reuses the allocated memory.
    pub(crate) fn replace(&mut self, summary: Summary, values: Distribution<'_>) {
        (self.summary, self.converter) = (summary, values.converter);
        self.values.replace(values.data);
    }

    /// Returns the samples or counts.
    pub(super) fn data(&self) -> &OwnedData {
        &self.values
    }

    /// Returns the statistics of other values in the same units. `None` if there are none.
    pub(super) fn with_data(
        &self,
        values: OwnedData,
        covered: u64,
        complete: bool,
        slowest: Vec<SlowSample>,
    ) -> Option<Self> {
        let converter = self.converter;
        let summary =
            values.with(|data| Distribution { converter, data }.summary(covered, complete))?;
        Some(Self { summary, corrected: None, slowest, converter, values })
    }

    /// Returns what converts the data to the units in which they are reported.
    pub(super) fn converter(&self) -> UnitConverter {
        self.converter
    }

    /// Calls `with` with the distribution of the values.
    fn with_values<T>(&self, with: impl FnOnce(Distribution<'_>) -> T) -> T {
        self.values.with(|data| with(Distribution { converter: self.converter, data }))
    }

    /// Returns the value at a quantile, in nanoseconds or as a plain number, and its accuracy.
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
        // There is always at least one sample, so the fallback is never used.
        self.with_values(|values| values.quantile(quantile))
            .unwrap_or((self.summary.max, self.summary.accuracy))
    }

    /// Returns the 95 % confidence interval of a quantile, in nanoseconds or as plain numbers: where
    /// the true quantile lies, if the samples are independent. Consecutive latencies are not, so
    /// the true quantile is outside more often than 5 % of the time: see [`ConfidenceInterval`].
    ///
    /// Its bounds are samples if the quantile is exact. Otherwise they are the outer bounds of
    /// buckets, narrowed by the smallest and the largest sample. They follow from the number of
    /// recorded samples, not from their weight. A bound is `None` if there are too few samples for
    /// it: p99 has no upper bound below 368.
    ///
    /// Returns `None` if the event was [sampled](crate::Sampling) at different rates, so that the
    /// samples have different weights; with a histogram, if it was sampled at all, because buckets
    /// do not show the weights of single samples.
    ///
    /// ```
    /// use tailwatch::{Collector, ConfidenceInterval, Quantile, Trading, record_value};
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
    /// let median = total.interval(Quantile::P50).unwrap();
    /// assert_eq!(median, ConfidenceInterval { low: Some(40), high: Some(61) });
    /// let p99 = total.interval(Quantile::P99).unwrap();
    /// assert_eq!(p99, ConfidenceInterval { low: Some(97), high: None });
    /// # Ok(())
    /// # }
    /// ```
    pub fn interval(&self, quantile: Quantile) -> Option<ConfidenceInterval> {
        self.with_values(|values| values.interval(quantile))
    }

    /// Returns the buckets that are not empty, each with the weight of its samples: a sample of an
    /// event that is sampled 1 in 2^k counts 2^k times. Intended for exporters.
    ///
    /// The buckets are those of a base-2 exponential histogram, in ascending order. If every sample
    /// is known, each sample has a bucket of its own instead, in no particular order.
    ///
    /// The bounds of durations are in units of 2^-40 s. Therefore every bucket of the histogram is
    /// also a bucket of a Prometheus native histogram and of an OpenTelemetry exponential histogram
    /// in seconds. The bounds of plain numbers are the numbers themselves.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + use<'_> {
        self.with_values(|values| values.buckets().collect::<Vec<_>>()).into_iter()
    }
}

impl Serialize for Statistics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Layout<'a> {
            #[serde(flatten)]
            summary: Numbers,
            corrected: Option<Numbers>,
            slowest: &'a [SlowSample],
        }
        Layout {
            summary: Numbers::from(&self.summary).with_intervals(Intervals::of(self)),
            corrected: self.corrected.as_ref().map(Numbers::from),
            slowest: &self.slowest,
        }
        .serialize(serializer)
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
