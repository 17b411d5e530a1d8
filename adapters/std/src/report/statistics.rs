//! The statistics of an event over a window or since the start.

use core::{cmp::Reverse, fmt};
use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};
use tailwatch_core::{
    Accuracy, Bucket, ConfidenceInterval, Distribution, Outcome, Quantile, Summary, UnitConverter,
};

use super::{
    histogram::{Histogram, SumProblem},
    interval::Intervals,
    json::{self, StatisticsJson},
    owned_data::OwnedData,
    stated_quantile::Bounds,
    summary_sum,
};

/// The number of slowest samples that an event has at most.
const SLOWEST: usize = 4;

/// The statistics of an event over a window or since the start.
///
/// Beside the summary, they contain the samples or a histogram of them, so any other
/// [`quantile`](Self::quantile) can be computed later. Those of a report that was
/// [read](crate::Report::from_json) have a histogram only if they are since the start; otherwise
/// other quantiles are bounded by those of the summary.
///
/// Two are equal if all of this is, the samples or histogram included.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlowSample {
    /// The time at which the span or duration began, or the value was recorded, in nanoseconds
    /// since 1970.
    pub start_unix_ns: u64,
    /// The duration in nanoseconds, or the plain number.
    pub duration: u64,
    /// How the span ended. `None` for a duration that was recorded without a span, and for a plain
    /// number. JSON leaves it out then.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "json::optional_text",
        deserialize_with = "json::read::optional_outcome"
    )]
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

    /// Creates statistics of which only this is known.
    pub(super) fn of_summary(
        summary: Summary,
        corrected: Option<Summary>,
        slowest: Vec<SlowSample>,
        converter: UnitConverter,
        intervals: Option<Intervals>,
    ) -> Self {
        let values = OwnedData::Summarized { histogram: None, intervals };
        Self { summary, corrected, slowest, converter, values }
    }

    /// Adds a histogram of the samples, and what converts its values.
    pub(super) fn set_histogram(&mut self, histogram: Histogram, converter: UnitConverter) {
        if let OwnedData::Summarized { histogram: of_values, .. } = &mut self.values {
            *of_values = Some(histogram);
        }
        self.converter = converter;
    }

    /// Returns the statistics of all samples together, without a corrected summary, or `None` if
    /// there are none.
    pub(super) fn sum(parts: &[&Self]) -> Result<Option<Self>, SumProblem> {
        let Some((first, rest)) = parts.split_first() else { return Ok(None) };
        if rest.is_empty() {
            return Ok(Some(Self { corrected: None, ..(*first).clone() }));
        }
        let converter = first.converter;
        if rest.iter().any(|part| part.converter != converter) {
            return Err(SumProblem::Buckets);
        }
        let data: Vec<_> = parts.iter().map(|part| &part.values).collect();
        let values = OwnedData::sum(&data, converter.unit)?;
        let summaries: Vec<_> = parts.iter().map(|part| &part.summary).collect();
        let histogram = values.histogram(converter.unit).ok_or(SumProblem::NoHistogram)?;
        let mut summary = summary_sum::sum(&summaries, &histogram, converter)?;
        let Summary { covered, complete, .. } = summary;
        // More exact, because it comes from the samples or from exact sums.
        let exact = values.with(|data| Distribution { converter, data }.summary(covered, complete));
        summary = exact.flatten().unwrap_or(summary);
        drop(histogram);
        let mut slowest: Vec<_> = parts.iter().flat_map(|part| &part.slowest).cloned().collect();
        slowest.sort_by(|one, other| {
            let key = |of: &SlowSample| (Reverse(of.duration), of.start_unix_ns, of.tag, of.tid);
            key(one).cmp(&key(other)).then_with(|| one.thread.cmp(&other.thread))
        });
        slowest.truncate(SLOWEST);
        Ok(Some(Self { summary, corrected: None, slowest, converter, values }))
    }

    /// Returns a histogram of the samples, if there is one.
    pub(super) fn histogram(&self) -> Option<Cow<'_, Histogram>> {
        self.values.histogram(self.converter.unit)
    }

    /// Returns what converts the data to the units in which they are reported.
    pub(super) fn converter(&self) -> UnitConverter {
        self.converter
    }

    /// Calls `with` with the distribution of the values, if the samples or their exact sums are
    /// known.
    fn with_values<T>(&self, with: impl FnOnce(Distribution<'_>) -> T) -> Option<T> {
        self.values.with(|data| with(Distribution { converter: self.converter, data }))
    }

    /// Returns the value at a quantile, in nanoseconds or as a plain number, and its accuracy.
    ///
    /// In a report that was read, the extremes and the quantiles of the summary are as in the
    /// summary. Any other is the middle of the range in which it lies, by the quantiles below and
    /// above it and by the histogram, if there is one; the accuracy is stated accordingly.
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
        let known = self.with_values(|values| values.quantile(quantile)).flatten();
        known.unwrap_or_else(|| {
            let histogram = self.histogram();
            Bounds::of_summary(&self.summary, histogram.as_deref(), self.converter)
                .quantile(quantile)
        })
    }

    /// Returns the 95 % confidence interval of a quantile, in nanoseconds or as plain numbers:
    /// where the true quantile lies, if the samples are independent. Consecutive latencies are not,
    /// so the true quantile is outside more often than 5 % of the time: see [`ConfidenceInterval`].
    ///
    /// Its bounds are samples if the quantile is exact. Otherwise they are the outer bounds of
    /// buckets, narrowed by the smallest and the largest sample. They follow from the number of
    /// recorded samples, not from their weight. A bound is `None` if there are too few samples for
    /// it: p99 has no upper bound below 368.
    ///
    /// Returns `None` if the event was [sampled](crate::Sampling) at different rates, so that the
    /// samples have different weights; with a histogram, if it was sampled at all, because buckets
    /// do not show the weights of single samples. In a report that was read, windows have only the
    /// intervals of the quantiles of their summary.
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
        let OwnedData::Summarized { histogram, intervals } = &self.values else {
            return self.with_values(|values| values.interval(quantile))?;
        };
        let read = intervals.as_ref().and_then(|intervals| intervals.interval(quantile));
        read.or_else(|| {
            let histogram = histogram.as_ref()?;
            let bounds = Bounds::of_summary(&self.summary, Some(histogram), self.converter);
            bounds.interval(quantile, self.summary.count)
        })
    }

    /// Returns the buckets that are not empty, each with the weight of its samples: a sample of an
    /// event that is sampled 1 in 2^k counts 2^k times. Intended for exporters.
    ///
    /// The buckets are those of a base-2 exponential histogram, in ascending order. If every sample
    /// is known, each sample has a bucket of its own instead, in no particular order. There are
    /// none over a window of a report that was read.
    ///
    /// The bounds of durations are in units of 2^-40 s. Therefore every bucket of the histogram is
    /// also a bucket of a Prometheus native histogram and of an OpenTelemetry exponential histogram
    /// in seconds. The bounds of plain numbers are the numbers themselves.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + use<'_> {
        let known = self.with_values(|values| values.buckets().collect::<Vec<_>>());
        known
            .unwrap_or_else(|| self.histogram().map_or_else(Vec::new, |of| of.bounded()))
            .into_iter()
    }
}

/// Serializes the statistics as those of a window, without their histogram.
impl Serialize for Statistics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StatisticsJson::of_window(self).serialize(serializer)
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
