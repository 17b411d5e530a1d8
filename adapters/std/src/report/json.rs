//! The JSON schema `tailwatch.report/2`: those of its parts that are laid out differently from the
//! structs.

pub(crate) mod error;
mod histogram;
pub(crate) mod read;
mod read_event;
mod read_limit;
mod read_statistics;

use core::fmt;

use serde::{
    Deserialize, Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};
use tailwatch_core::{EventId, FixedPoint, MinSamples, Outcomes, Summary};

use self::histogram::HistogramJson;
use super::{
    EventReport, WindowReport,
    interval::Intervals,
    sla::SlaReport,
    statistics::{SlowSample, Statistics},
    text::window_name,
};
use crate::clock::nanos;

/// The name of the schema.
pub(crate) const SCHEMA_2: &str = "tailwatch.report/2";
/// The name of the schema before, which can be read.
pub(crate) const SCHEMA_1: &str = "tailwatch.report/1";

/// Stands for [`MinSamples::Auto`].
const AUTO: &str = "auto";

/// The fields of a summary in JSON.
#[derive(Serialize, Deserialize)]
struct Numbers {
    count: u64,
    estimated_total: u64,
    min: u64,
    max: u64,
    /// `null` if it is not known.
    mean: Option<f64>,
    /// As `mean`.
    stddev: Option<f64>,
    p50: u64,
    p95: u64,
    p99: u64,
    p99_9: u64,
    /// `null` if a summary is corrected, or if the weights of its samples may differ. The schema
    /// `tailwatch.report/1` lacks it.
    interval: Option<Intervals>,
    max_relative_error_ppm: u32,
    covered_ns: u64,
    complete: bool,
}

impl From<&Summary> for Numbers {
    /// Takes the numbers of a summary, without intervals.
    fn from(summary: &Summary) -> Self {
        Self {
            count: summary.count,
            estimated_total: summary.estimated_total,
            min: summary.min,
            max: summary.max,
            mean: summary.mean.map(FixedPoint::to_f64),
            stddev: summary.stddev.map(FixedPoint::to_f64),
            p50: summary.p50,
            p95: summary.p95,
            p99: summary.p99,
            p99_9: summary.p99_9,
            interval: None,
            max_relative_error_ppm: summary.accuracy.max_relative_error_ppm(),
            covered_ns: summary.covered,
            complete: summary.complete,
        }
    }
}

impl Numbers {
    /// Returns the same numbers with the confidence intervals of the quantiles.
    fn with_intervals(self, interval: Option<Intervals>) -> Self {
        Self { interval, ..self }
    }
}

/// Statistics in JSON. Only those since the start have a histogram.
#[derive(Serialize)]
pub(super) struct StatisticsJson<'a> {
    #[serde(flatten)]
    summary: Numbers,
    corrected: Option<Numbers>,
    slowest: &'a [SlowSample],
    #[serde(skip_serializing_if = "Option::is_none")]
    histogram: Option<HistogramJson>,
}

impl<'a> StatisticsJson<'a> {
    pub(super) fn of_window(statistics: &'a Statistics) -> Self {
        Self {
            summary: Numbers::from(&statistics.summary).with_intervals(Intervals::of(statistics)),
            corrected: statistics.corrected.as_ref().map(Numbers::from),
            slowest: &statistics.slowest,
            histogram: None,
        }
    }

    fn of_total(total: &'a Statistics) -> Self {
        Self { histogram: HistogramJson::of(total), ..Self::of_window(total) }
    }
}

impl Serialize for EventReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let total = self.total.as_ref().map(StatisticsJson::of_total);
        let number = (self.id != EventId::UNNUMBERED).then(|| self.id.get());
        let failed = self.failed.as_deref().map(StatisticsJson::of_total);
        let mut event = serializer.serialize_struct("EventReport", 13)?;
        event.serialize_field("id", &number)?;
        event.serialize_field("name", &self.name)?;
        event.serialize_field("base_name", &self.base_name)?;
        event.serialize_field("labels", &self.labels)?;
        event.serialize_field("unit", &Text(&self.unit))?;
        event.serialize_field("windows", &Windows(&self.windows))?;
        event.serialize_field("total", &total)?;
        event.serialize_field("of", &Text(&self.covered))?;
        event.serialize_field("failed", &failed)?;
        event.serialize_field("failed_windows", &FailedWindows(&self.windows))?;
        event.serialize_field("outcomes", &OutcomesJson::from(self.outcomes))?;
        event.serialize_field("flows", &[(); 0])?;
        event.serialize_field("in_flight", &self.in_flight)?;
        event.end()
    }
}

impl Serialize for SlaReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let quantile = self.quantile.map_or_else(|| self.kind.to_string(), |of| of.to_string());
        let min_samples = match self.min_samples {
            MinSamples::Count(samples) => MinSamplesJson::Count(samples),
            MinSamples::Auto => MinSamplesJson::Text(AUTO.to_owned()),
        };
        let mut limit = serializer.serialize_struct("SlaReport", 18)?;
        limit.serialize_field("event", &self.event)?;
        limit.serialize_field("labels", &self.labels)?;
        limit.serialize_field("quantile", &quantile)?;
        limit.serialize_field("window", &window_name(self.window))?;
        limit.serialize_field("limit", &self.limit)?;
        limit.serialize_field("unit", &Text(&self.unit))?;
        limit.serialize_field("state", &Text(&self.state))?;
        limit.serialize_field("over", &self.over)?;
        limit.serialize_field("failed", &self.failed)?;
        limit.serialize_field("count", &self.count)?;
        limit.serialize_field("observed", &self.observed)?;
        limit.serialize_field("since_unix_ns", &self.since_unix_ns)?;
        limit.serialize_field("raised", &self.raised)?;
        limit.serialize_field("cleared", &self.cleared)?;
        limit.serialize_field("min_samples", &min_samples)?;
        limit.serialize_field("raise_after_ns", &nanos(self.raise_after))?;
        limit.serialize_field("clear_after_ns", &self.clear_after.map(nanos))?;
        limit.serialize_field("origin", &self.origin)?;
        limit.end()
    }
}

/// A [`MinSamples`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum MinSamplesJson {
    Count(u32),
    Text(String),
}

/// Windows as a map from the name of the window, such as `60s`, to its statistics.
struct Windows<'a>(&'a [WindowReport]);

impl Serialize for Windows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for WindowReport { length, statistics, .. } in self.0 {
            map.serialize_entry(&window_name(*length), statistics)?;
        }
        map.end()
    }
}

/// As [`Windows`], of failed spans.
struct FailedWindows<'a>(&'a [WindowReport]);

impl Serialize for FailedWindows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for WindowReport { length, failed, .. } in self.0 {
            map.serialize_entry(&window_name(*length), failed)?;
        }
        map.end()
    }
}

/// Outcomes in JSON. The core's type implements neither `Serialize` nor `Deserialize`.
#[derive(Serialize, Deserialize)]
struct OutcomesJson {
    ok: u64,
    error: u64,
    cancelled: u64,
}

impl From<Outcomes> for OutcomesJson {
    fn from(outcomes: Outcomes) -> Self {
        let Outcomes { ok, error, cancelled } = outcomes;
        Self { ok, error, cancelled }
    }
}

/// A value as the text that its `Display` produces.
struct Text<'a, T>(&'a T);

impl<T: fmt::Display> Serialize for Text<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// Writes a value as [`text`] does, or `null` if there is none.
#[expect(clippy::ref_option, reason = "the signature that serde requires")]
pub(super) fn optional_text<T: fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Writes a value as the text that its `Display` produces.
pub(crate) fn text<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
