//! The statistics of a window or since the start in the JSON of a report.

use serde::Deserialize;
use tailwatch_core::{Accuracy, FixedPoint, Outcome, Summary, TimeUnit, Unit, UnitConverter};

use super::{
    Numbers,
    error::ReportProblem,
    histogram::HistogramJson,
    read::{Schema, number},
};
use crate::report::{
    interval::Intervals,
    statistics::{SlowSample, Statistics},
    summary_sum::fixed_point,
};

/// Returns whether a summary covers samples of this outcome.
pub(super) type Covers = fn(Option<Outcome>) -> bool;

/// Statistics, as far as they are read.
#[derive(Deserialize)]
pub(super) struct ReadStatisticsJson {
    #[serde(flatten)]
    summary: Numbers,
    corrected: Option<Numbers>,
    slowest: Vec<SlowSample>,
    histogram: Option<HistogramJson>,
}

impl ReadStatisticsJson {
    /// Checks the statistics of a window, which have no histogram.
    pub(super) fn check(self, unit: Unit, covers: Covers) -> Result<Statistics, ReportProblem> {
        let summary = self.summary.check()?;
        let corrected = self.corrected.as_ref().map(Numbers::check).transpose()?;
        check_slowest(&self.slowest, &summary, covers)?;
        let converter = UnitConverter { unit, time: TimeUnit::Fine };
        let intervals = self.summary.interval;
        Ok(Statistics::of_summary(summary, corrected, self.slowest, converter, intervals))
    }

    /// Checks the statistics since the start.
    pub(super) fn check_total(
        mut self,
        schema: Schema,
        unit: Unit,
        covers: Covers,
    ) -> Result<Statistics, ReportProblem> {
        let histogram = self.histogram.take().map(Some);
        let histogram = schema.require("histogram", histogram, None)?;
        let mut total = self.check(unit, covers)?;
        if let Some(histogram) = histogram {
            let Summary { min, max, estimated_total, .. } = total.summary;
            let checked = histogram.check(unit, estimated_total, [min, max]);
            let (histogram, converter) = checked.map_err(ReportProblem::Histogram)?;
            total.set_histogram(histogram, converter);
        }
        Ok(total)
    }
}

impl Numbers {
    fn check(&self) -> Result<Summary, ReportProblem> {
        let Self { count, estimated_total, min, max, p50, p95, p99, p99_9, .. } = *self;
        if count == 0 {
            return Err(number("count", count, "at least 1"));
        }
        let must_not_exceed = [
            ("`count` exceeds `estimated_total`", count, estimated_total),
            ("`min` exceeds `p50`", min, p50),
            ("`p50` exceeds `p95`", p50, p95),
            ("`p95` exceeds `p99`", p95, p99),
            ("`p99` exceeds `p99_9`", p99, p99_9),
            ("`p99_9` exceeds `max`", p99_9, max),
        ];
        if let Some((what, first, second)) =
            must_not_exceed.into_iter().find(|(_, first, second)| first > second)
        {
            return Err(ReportProblem::Contradiction { what, first, second });
        }
        let mean = known("mean", self.mean)?;
        // The extremes are rounded to integers.
        if mean.is_some_and(|mean| mean.round() > max.saturating_add(1))
            || mean.is_some_and(|mean| mean.round().saturating_add(1) < min)
        {
            let mean = self.mean.unwrap_or_default();
            return Err(number("mean", mean, "from `min` to `max`"));
        }
        let quantiles = [p50, p95, p99, p99_9];
        let intervals = self.interval.iter().flat_map(Intervals::all);
        for ((_, [low, high]), quantile) in intervals.zip(quantiles) {
            let (low, high) = (low.unwrap_or(min), high.unwrap_or(max));
            let what = "a quantile is not in its `interval`, or that is not from `min` to `max`";
            for (first, second) in [(min, low), (low, quantile), (quantile, high), (high, max)] {
                if first > second {
                    return Err(ReportProblem::Contradiction { what, first, second });
                }
            }
        }
        let mut summary = Summary::of_value(min);
        (summary.count, summary.estimated_total, summary.max) = (count, estimated_total, max);
        (summary.mean, summary.stddev) = (mean, known("stddev", self.stddev)?);
        (summary.p50, summary.p95, summary.p99, summary.p99_9) = (p50, p95, p99, p99_9);
        summary.accuracy = match self.max_relative_error_ppm {
            0 => Accuracy::Exact,
            ppm => Accuracy::WithinPpm(ppm),
        };
        (summary.covered, summary.complete) = (self.covered_ns, self.complete);
        Ok(summary)
    }
}

/// What earlier versions wrote for a mean or deviation that is not known, 2^48.
const NOT_KNOWN: f64 = 281_474_976_710_656.0;

/// Reads a mean or deviation that may not be known.
fn known(key: &'static str, value: Option<f64>) -> Result<Option<FixedPoint>, ReportProblem> {
    let Some(value) = value.filter(|value| value.to_bits() != NOT_KNOWN.to_bits()) else {
        return Ok(None);
    };
    let read = fixed_point(value).ok_or_else(|| number(key, value, "at least 0 and below 2^48"))?;
    Ok(Some(read))
}

/// Checks the slowest samples, among which are also spans that the summary does not cover.
fn check_slowest(
    slowest: &[SlowSample],
    summary: &Summary,
    covers: Covers,
) -> Result<(), ReportProblem> {
    let is_descending = |pair: &&[SlowSample]| pair[0].duration >= pair[1].duration;
    if let Some(pair) = slowest.windows(2).find(|pair| !is_descending(pair)) {
        let (first, second) = (pair[0].duration, pair[1].duration);
        let what = "`slowest` is not in descending order";
        return Err(ReportProblem::Contradiction { what, first, second });
    }
    let mut covered = slowest.iter().filter(|sample| covers(sample.outcome));
    match covered.next().filter(|sample| sample.duration > summary.max) {
        Some(sample) => Err(ReportProblem::Contradiction {
            what: "a duration in `slowest` exceeds `max`",
            first: sample.duration,
            second: summary.max,
        }),
        None => Ok(()),
    }
}
