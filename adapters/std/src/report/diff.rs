//! The difference between two reports.

use core::{fmt, iter};
use std::borrow::Cow;

use tailwatch_core::{
    Accuracy, ConfidenceInterval, Distribution, DistributionData, EventId, FixedPoint, Moments,
    Outcomes, Quantile, Unit, UnitConverter, WeightedSample,
};

use super::{
    EventReport, Report, health::Health, histogram::Histogram, owned_data::OwnedData,
    stated_quantile::Bounds, statistics::Statistics, text,
};

/// The differences of all counts between two reports, the statistics of the samples that were
/// added, and the time between the reports; returned by [`Report::diff`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReportDiff {
    /// Whether the later report is of another collector, which was started after the earlier
    /// report. Then the differences are everything since that start.
    pub restarted: bool,
    /// The time between the two reports, in nanoseconds. After a restart, the time since then.
    pub elapsed_ns: u64,
    /// What happened to each event, in the order of the reports.
    pub events: Vec<EventDiff>,
    /// Records that were written into rings.
    pub produced: u64,
    /// Records that the drain read from the rings.
    pub delivered: u64,
    /// Records that newer ones overwrote, or may have begun to overwrite, before the drain read
    /// them.
    pub overwritten: u64,
    /// Records that were written into no ring, because all rings were taken by other threads or the
    /// collector had stopped, and those that were written too late for the drain's last pass.
    /// [`Health::unregistered`](crate::Health::unregistered) describes both.
    pub unregistered: u64,
}

/// What happened to one event between two reports.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventDiff {
    /// The event's id.
    pub id: EventId,
    /// The event's name.
    pub name: Cow<'static, str>,
    /// The unit of the samples: `ns` for nanoseconds, or `1` for plain numbers.
    pub unit: Unit,
    /// The number of drained ENDs, by outcome, each counted as 1, whatever its weight.
    /// Discarded spans are not included.
    pub outcomes: Outcomes,
    /// The statistics of the samples that were added, or `None` if none were.
    pub samples: Option<SamplesDiff>,
}

/// The state that is to be subtracted cannot be an earlier state of the same event: it has
/// something that the later state lacks.
#[derive(Debug)]
struct NotEarlier;

/// The statistics of the samples that were added between two reports. Mean and quantiles are in
/// nanoseconds for an event that is measured in time; otherwise they are in the plain numbers that
/// were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SamplesDiff {
    /// The number of samples that were recorded.
    pub count: u64,
    /// The estimated number of occurrences of the event, including those that sampling left out.
    pub estimated_total: u64,
    /// The mean of the samples, each by its weight; `None` if it is not known, as in
    /// [`Summary::mean`](tailwatch_core::Summary::mean).
    pub mean: Option<FixedPoint>,
    /// The median.
    pub p50: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The 99.9th percentile.
    pub p99_9: u64,
    /// The largest error of the four quantiles.
    pub accuracy: Accuracy,
    /// The confidence intervals of the four quantiles, the median first. `None` if some samples may
    /// have another weight than others, as in [`Statistics::interval`].
    pub intervals: Option<[ConfidenceInterval; 4]>,
}

impl Report {
    /// Returns what happened since an `earlier` report.
    ///
    /// Of an event that was made after `earlier`, everything is new. If the collector was restarted
    /// in between, so that the two reports have different [starts](Self::started_unix_ns), all of
    /// `self` is new, and [`ReportDiff::restarted`] is `true`.
    ///
    /// Returns `None` if `earlier` cannot be earlier: the collector of `self` was not started after
    /// it or, if both are of one collector, a count, the uptime or the samples of an event are not
    /// contained in those of `self`.
    ///
    /// Also returns `None` if one of the reports is [merged](Self::merge), or was
    /// [read](Self::from_json) from the schema `tailwatch.report/1`, which has no histograms.
    ///
    /// Counts and means are subtracted exactly. Quantiles are computed from the difference of the
    /// histograms, or exactly from the samples if `self` still has all samples since the start. If
    /// one of the reports was read, the mean of an event with earlier samples is not known, because
    /// JSON has no sums.
    ///
    /// Use it for intervals that are not windows, such as from one deployment, request or test to
    /// the next.
    ///
    /// ```
    /// use tailwatch::{Collector, Trading, record_value};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().start()?;
    /// collector.register_thread("main")?;
    /// record_value(Trading::QueueBacklog, 1_000);
    /// collector.flush();
    /// let before = collector.report();
    /// (1..=3).for_each(|n| record_value(Trading::QueueBacklog, n));
    /// collector.flush();
    /// let diff = collector.report().diff(&before).expect("`before` is earlier");
    /// let backlog = diff.event(Trading::QueueBacklog).and_then(|event| event.samples).unwrap();
    /// assert_eq!((backlog.count, backlog.p50, backlog.p99), (3, 2, 3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn diff(&self, earlier: &Self) -> Option<ReportDiff> {
        // Without the time of the start, nothing shows whether the collector was restarted.
        let is_known = |report: &Self| report.started_unix_ns > 0 && report.collectors.is_empty();
        (is_known(self) && is_known(earlier)).then_some(())?;
        let restarted = self.started_unix_ns != earlier.started_unix_ns;
        if restarted && self.started_unix_ns < earlier.unix_ns {
            return None;
        }
        let earlier = (!restarted).then_some(earlier);
        let added = |count: fn(&Health) -> u64| {
            count(&self.health).checked_sub(earlier.map_or(0, |earlier| count(&earlier.health)))
        };
        let known = earlier.map_or(&[][..], |earlier| &earlier.events);
        (self.events.len() >= known.len()).then_some(())?;
        // Events are only ever added at the end.
        let before = known.iter().map(Some).chain(iter::repeat(None));
        let events = self.events.iter().zip(before).map(|(event, before)| event.since(before));
        Some(ReportDiff {
            restarted,
            elapsed_ns: self
                .uptime_ns
                .checked_sub(earlier.map_or(0, |earlier| earlier.uptime_ns))?,
            events: events.collect::<Option<_>>()?,
            produced: added(|health| health.produced)?,
            delivered: added(|health| health.delivered)?,
            overwritten: added(|health| health.overwritten)?,
            unregistered: added(|health| health.unregistered)?,
        })
    }
}

impl ReportDiff {
    /// Returns what happened to `event`, or `None` if the collector does not have the event. An
    /// event without new samples has a difference as well, without `samples`.
    pub fn event(&self, event: impl tailwatch_core::Event) -> Option<&EventDiff> {
        let id = event.id();
        self.events.iter().find(|event| event.id == id)
    }
}

impl fmt::Display for ReportDiff {
    /// Writes the elapsed time, and a line for each event with new samples.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = if self.restarted { ", since a restart" } else { "" };
        write!(f, "in {}{since}:", text::value(Unit::Time, self.elapsed_ns))?;
        for EventDiff { name, unit, samples, .. } in &self.events {
            if let Some(SamplesDiff { count, p50, p99, .. }) = *samples {
                write!(
                    f,
                    "\n{name}: {count}, p50 {}, p99 {}",
                    text::value(*unit, p50),
                    text::value(*unit, p99)
                )?;
            }
        }
        Ok(())
    }
}

impl EventReport {
    /// Returns what happened since `earlier`, or `None` if that cannot be an earlier report of the
    /// same event. The event did not exist before if `earlier` is `None`.
    fn since(&self, earlier: Option<&Self>) -> Option<EventDiff> {
        earlier.is_none_or(|earlier| earlier.id == self.id).then_some(())?;
        let before = earlier.map(|earlier| earlier.outcomes).unwrap_or_default();
        let outcomes = Outcomes {
            ok: self.outcomes.ok.checked_sub(before.ok)?,
            error: self.outcomes.error.checked_sub(before.error)?,
            cancelled: self.outcomes.cancelled.checked_sub(before.cancelled)?,
        };
        let samples = match (&self.total, earlier.and_then(|earlier| earlier.total.as_ref())) {
            (Some(now), before) => now.since(before).ok()?,
            (None, None) => None,
            (None, Some(_)) => return None,
        };
        Some(EventDiff { id: self.id, name: self.name.clone(), unit: self.unit, outcomes, samples })
    }
}

impl Statistics {
    /// Returns the statistics of the samples that were added since `earlier`, or `None` if none
    /// were. Both `self` and `earlier` are statistics since the start; an `earlier` of `None` has
    /// no samples.
    fn since(&self, earlier: Option<&Self>) -> Result<Option<SamplesDiff>, NotEarlier> {
        let before = earlier.map(Statistics::data);
        match (self.data(), before) {
            (OwnedData::Exact(samples), None) => self.exact_since(samples, &[]),
            (OwnedData::Exact(samples), Some(OwnedData::Exact(before))) => {
                self.exact_since(samples, before)
            }
            (OwnedData::Exact(_), Some(OwnedData::Counted { .. })) => Err(NotEarlier),
            (OwnedData::Counted { moments, histogram }, None) => {
                self.counted_since((moments, histogram), None)
            }
            (
                OwnedData::Counted { moments, histogram },
                Some(before @ (OwnedData::Exact(_) | OwnedData::Counted { .. })),
            ) => {
                let sums = before.moments().ok_or(NotEarlier)?;
                let of_before = before.histogram(self.converter().unit).ok_or(NotEarlier)?;
                self.counted_since((moments, histogram), Some((&sums, &of_before)))
            }
            (OwnedData::Summarized { .. }, _) | (_, Some(OwnedData::Summarized { .. })) => {
                self.summarized_since(earlier)
            }
        }
    }

    /// Subtracts samples.
    fn exact_since(
        &self,
        samples: &[WeightedSample],
        before: &[WeightedSample],
    ) -> Result<Option<SamplesDiff>, NotEarlier> {
        let rest = difference(samples, before).ok_or(NotEarlier)?;
        let mut moments = Moments::EMPTY;
        for sample in &rest {
            moments.add(sample.value(), sample.sampling());
        }
        Ok(summarize(self.converter(), &moments, DistributionData::Exact(rest[..].into())))
    }

    /// Subtracts sums and histograms.
    fn counted_since(
        &self,
        (moments, histogram): (&Moments, &Histogram),
        before: Option<(&Moments, &Histogram)>,
    ) -> Result<Option<SamplesDiff>, NotEarlier> {
        let rest = match before {
            None => histogram.clone(),
            Some((_, before)) => histogram.since(before).ok_or(NotEarlier)?,
        };
        let buckets = rest.buckets();
        let mut used = rest.used().map(|(index, _)| index);
        let Some(begin) = used.next() else { return Ok(None) };
        let end = used.last().unwrap_or(begin);
        // The minimum and maximum of the new samples are not known, because those of the total
        // cannot be subtracted. They are replaced by the bounds of the outermost buckets that are
        // left, (lower, upper], and of the total.
        let min = buckets.bounds(begin).0.saturating_add(1).max(moments.min()).min(moments.max());
        let max = buckets.bounds(end).1.min(moments.max());
        let min = if begin == buckets.index(moments.min()) { moments.min() } else { min };
        let before = before.map_or(Moments::EMPTY, |(before, _)| *before);
        let moments = moments.since(&before, min, max).ok_or(NotEarlier)?;
        let data = DistributionData::Counted {
            buckets,
            moments,
            first: rest.first(),
            counts: &rest.counts(),
        };
        Ok(summarize(self.converter(), &moments, data))
    }

    /// Subtracts histograms whose sums are not known.
    fn summarized_since(&self, earlier: Option<&Self>) -> Result<Option<SamplesDiff>, NotEarlier> {
        let converter = self.converter();
        let histogram = self.histogram().ok_or(NotEarlier)?;
        let Some(earlier) = earlier else {
            let bounds = Bounds::of_summary(&self.summary, Some(&histogram), converter);
            let summary = &self.summary;
            let counts = [summary.count, summary.estimated_total];
            return Ok(Some(bounded(&bounds, counts, summary.mean)));
        };
        let before = earlier.histogram().ok_or(NotEarlier)?;
        let is_earlier = earlier.converter() == converter
            && earlier.summary.min >= self.summary.min
            && earlier.summary.max <= self.summary.max;
        let rest = histogram.since(&before).filter(|_| is_earlier).ok_or(NotEarlier)?;
        let since =
            |number: fn(&Self) -> u64| number(self).checked_sub(number(earlier)).ok_or(NotEarlier);
        let count = since(|statistics| statistics.summary.count)?;
        let weight = since(|statistics| statistics.summary.estimated_total)?;
        if weight == 0 && count == 0 {
            return Ok(None);
        }
        let extremes = [self.summary.min, self.summary.max];
        let bounds = Bounds::new(extremes, weight, Some(&rest), converter);
        Ok(Some(bounded(&bounds, [count, weight], None)))
    }
}

/// Returns the statistics of samples whose quantiles have these bounds.
fn bounded(
    bounds: &Bounds<'_>,
    [count, estimated_total]: [u64; 2],
    mean: Option<FixedPoint>,
) -> SamplesDiff {
    let quantiles = QUANTILES.map(|quantile| bounds.quantile(quantile));
    let [p50, p95, p99, p99_9] = quantiles.map(|(value, _)| value);
    let accuracy = least_accurate(quantiles.map(|(_, accuracy)| accuracy));
    let intervals = all_known(QUANTILES.map(|quantile| bounds.interval(quantile, count)));
    SamplesDiff { count, estimated_total, mean, p50, p95, p99, p99_9, accuracy, intervals }
}

/// The quantiles of the statistics.
const QUANTILES: [Quantile; 4] = [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9];

/// Returns the intervals, if all are known.
fn all_known(intervals: [Option<ConfidenceInterval>; 4]) -> Option<[ConfidenceInterval; 4]> {
    let [p50, p95, p99, p99_9] = intervals;
    Some([p50?, p95?, p99?, p99_9?])
}

fn least_accurate(all: [Accuracy; 4]) -> Accuracy {
    let [first, rest @ ..] = all;
    rest.into_iter().fold(first, |one, other| {
        if one.max_relative_error_ppm() >= other.max_relative_error_ppm() { one } else { other }
    })
}

/// Returns the statistics of samples with these moments and this distribution, or `None` if there
/// are no samples.
fn summarize(
    converter: UnitConverter,
    moments: &Moments,
    data: DistributionData<'_>,
) -> Option<SamplesDiff> {
    let values = Distribution { converter, data };
    let [p50, p95, p99, p99_9] = QUANTILES.map(|quantile| values.quantile(quantile));
    let intervals = QUANTILES.map(|quantile| values.interval(quantile));
    Some(SamplesDiff {
        count: moments.count(),
        estimated_total: moments.weight(),
        mean: converter.mean(moments),
        p50: p50?.0,
        p95: p95?.0,
        p99: p99?.0,
        p99_9: p99_9?.0,
        accuracy: least_accurate([p50?.1, p95?.1, p99?.1, p99_9?.1]),
        intervals: all_known(intervals),
    })
}

/// Returns the samples of `all` without those of `some`, or `None` if `some` has a sample that
/// `all` lacks.
fn difference(all: &[WeightedSample], some: &[WeightedSample]) -> Option<Vec<WeightedSample>> {
    let sorted = |samples: &[WeightedSample]| {
        let mut samples = samples.to_vec();
        samples.sort_unstable();
        samples
    };
    let mut to_remove = sorted(some).into_iter().peekable();
    let mut rest = sorted(all);
    rest.retain(|sample| to_remove.next_if_eq(sample).is_none());
    to_remove.peek().is_none().then_some(rest)
}
