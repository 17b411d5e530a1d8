//! The difference between two reports.

use core::fmt;
use std::collections::BTreeMap;

use tailwatch_core::{
    Accuracy, Buckets, Count, CountWord, Distribution, DistributionData, EventId, FixedPoint,
    Moments, Outcomes, Quantile, Samples, Unit, UnitConverter, WeightedSample,
};

use super::{EventReport, Report, Statistics};
use crate::{Health, report::table};

/// What happened between two reports of a collector. Returned by [`Report::diff`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReportDiff {
    /// The time between the two reports, in nanoseconds.
    pub elapsed_ns: u64,
    /// All events, in the order of the reports.
    pub events: Vec<EventDiff>,
    /// Records written into rings.
    pub produced: u64,
    /// Records that were drained and counted.
    pub delivered: u64,
    /// Records that were overwritten before they were drained.
    pub overwritten: u64,
    /// Records that were not written, because their thread had no ring or the collector had
    /// stopped.
    pub unregistered: u64,
}

/// What happened to one event between two reports.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventDiff {
    /// The event's number.
    pub id: EventId,
    /// The event's name.
    pub name: &'static str,
    /// The unit of the samples: `ns`, or `1` for plain numbers.
    pub unit: Unit,
    /// The outcomes of the spans that ended.
    pub outcomes: Outcomes,
    /// The statistics of the new samples, or `None` if there are none.
    pub samples: Option<SamplesDiff>,
}

/// The state to be subtracted is not an earlier state of the same event.
#[derive(Debug)]
struct NotEarlier;

/// The statistics of the samples between two reports, in nanoseconds or as plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SamplesDiff {
    /// The number of recorded samples.
    pub count: u64,
    /// The estimated number of all samples, including those that sampling left out.
    pub estimated_total: u64,
    /// The mean.
    pub mean: FixedPoint,
    /// The median.
    pub p50: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The 99.9th percentile.
    pub p99_9: u64,
    /// The largest possible error of the four quantiles.
    pub accuracy: Accuracy,
}

impl Report {
    /// Returns what happened since an `earlier` report of the same collector, or `None` if
    /// `earlier` is not an earlier report.
    ///
    /// Counts and means are subtracted exactly. Quantiles are computed from the difference of the
    /// histograms, or exactly from the samples if the later report still has all of them.
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
        let count = |of: fn(&Health) -> u64| of(&self.health).checked_sub(of(&earlier.health));
        let events =
            self.events.iter().zip(&earlier.events).map(|(event, before)| event.since(before));
        (self.events.len() == earlier.events.len()).then_some(())?;
        Some(ReportDiff {
            elapsed_ns: self.uptime_ns.checked_sub(earlier.uptime_ns)?,
            events: events.collect::<Option<_>>()?,
            produced: count(|health| health.produced)?,
            delivered: count(|health| health.delivered)?,
            overwritten: count(|health| health.overwritten)?,
            unregistered: count(|health| health.unregistered)?,
        })
    }
}

impl ReportDiff {
    /// Returns what happened to an event, or `None` if the collector has no such event.
    pub fn event(&self, event: impl tailwatch_core::Event) -> Option<&EventDiff> {
        let id = event.id();
        self.events.iter().find(|event| event.id == id)
    }
}

impl fmt::Display for ReportDiff {
    /// Writes one line for each event with new samples.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {}:", table::value(Unit::Time, self.elapsed_ns))?;
        for EventDiff { name, unit, samples, .. } in &self.events {
            if let Some(SamplesDiff { count, p50, p99, .. }) = *samples {
                write!(
                    f,
                    "\n{name}: {count}, p50 {}, p99 {}",
                    table::value(*unit, p50),
                    table::value(*unit, p99)
                )?;
            }
        }
        Ok(())
    }
}

impl EventReport {
    fn since(&self, earlier: &Self) -> Option<EventDiff> {
        let outcomes = Outcomes {
            ok: self.outcomes.ok.checked_sub(earlier.outcomes.ok)?,
            error: self.outcomes.error.checked_sub(earlier.outcomes.error)?,
            cancelled: self.outcomes.cancelled.checked_sub(earlier.outcomes.cancelled)?,
        };
        let samples = match (&self.total, &earlier.total) {
            (Some(now), before) => now.since(before.as_ref()).ok()?,
            (None, None) => None,
            (None, Some(_)) => return None,
        };
        (self.id == earlier.id).then_some(EventDiff {
            id: self.id,
            name: self.name,
            unit: self.unit,
            outcomes,
            samples,
        })
    }
}

impl Statistics {
    /// Returns the statistics of the samples that were added to a total since `earlier`, or `None`
    /// if none were.
    fn since(&self, earlier: Option<&Self>) -> Result<Option<SamplesDiff>, NotEarlier> {
        let values = self.values();
        let before = earlier.map(Statistics::values);
        match values.known {
            DistributionData::Exact(samples) => {
                let before = match before.map(|before| before.known) {
                    None => [][..].into(),
                    Some(DistributionData::Exact(samples)) => samples,
                    Some(DistributionData::Counted { .. }) => return Err(NotEarlier),
                };
                let rest = difference(samples, before).ok_or(NotEarlier)?;
                let mut moments = Moments::EMPTY;
                for sample in &rest {
                    moments.add(sample.value(), sample.sampling());
                }
                Ok(summarize(values.converter, &moments, DistributionData::Exact(rest[..].into())))
            }
            DistributionData::Counted { buckets, moments, first, counts } => {
                let former = before.map_or((Moments::EMPTY, BTreeMap::new()), |before| {
                    counts_by_place(&before, buckets)
                });
                let mut rest = counts.to_vec();
                for (place, count) in former.1 {
                    let left = place
                        .checked_sub(first)
                        .and_then(|offset| rest.get_mut(offset))
                        .ok_or(NotEarlier)?;
                    *left = left.get().checked_sub(count).map(Count::of).ok_or(NotEarlier)?;
                }
                let taken = |count: &CountWord| *count > 0;
                let Some(begin) = rest.iter().position(taken) else { return Ok(None) };
                let end = rest.iter().rposition(taken).unwrap_or(begin);
                // The exact minimum and maximum cannot be subtracted. The bounds of the outermost
                // buckets that are left limit them, and so do the minimum and maximum of the total.
                let least = buckets
                    .bounds(first + begin)
                    .0
                    .saturating_add(1)
                    .max(moments.min())
                    .min(moments.max());
                let most = buckets.bounds(first + end).1.min(moments.max());
                let least = if first + begin == buckets.place(moments.min()) {
                    moments.min()
                } else {
                    least
                };
                let moments = moments.since(&former.0, least, most).ok_or(NotEarlier)?;
                let known = DistributionData::Counted {
                    buckets,
                    moments,
                    first: first + begin,
                    counts: &rest[begin..=end],
                };
                Ok(summarize(values.converter, &moments, known))
            }
        }
    }
}

fn summarize(
    converter: UnitConverter,
    moments: &Moments,
    known: DistributionData<'_>,
) -> Option<SamplesDiff> {
    let values = Distribution { converter, known };
    let [p50, p95, p99, p99_9] =
        [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9].map(|q| values.quantile(q));
    let worst = |one: Accuracy, other: Accuracy| {
        if one.max_relative_error_ppm() >= other.max_relative_error_ppm() { one } else { other }
    };
    Some(SamplesDiff {
        count: moments.count(),
        estimated_total: moments.weight(),
        mean: converter.mean(moments),
        p50: p50?.0,
        p95: p95?.0,
        p99: p99?.0,
        p99_9: p99_9?.0,
        accuracy: [p50?.1, p95?.1, p99?.1, p99_9?.1].into_iter().reduce(worst)?,
    })
}

/// Returns the samples in `all` that are not in `some`, or `None` if `some` has a sample that `all`
/// has not.
fn difference(all: Samples<'_>, some: Samples<'_>) -> Option<Vec<WeightedSample>> {
    let sorted = |samples: Samples<'_>| {
        let mut samples: Vec<_> = samples.iter().collect();
        samples.sort_unstable();
        samples
    };
    let mut gone = sorted(some).into_iter().peekable();
    let mut rest = sorted(all);
    rest.retain(|sample| gone.next_if_eq(sample).is_none());
    gone.peek().is_none().then_some(rest)
}

/// Returns the moments of all values and the weight at each place of the histogram.
fn counts_by_place(values: &Distribution<'_>, buckets: Buckets) -> (Moments, BTreeMap<usize, u64>) {
    let mut places = BTreeMap::new();
    match values.known {
        DistributionData::Exact(samples) => {
            let mut moments = Moments::EMPTY;
            for sample in samples.iter() {
                moments.add(sample.value(), sample.sampling());
                *places.entry(buckets.place(sample.value())).or_default() += sample.weight();
            }
            (moments, places)
        }
        DistributionData::Counted { moments, first, counts, .. } => {
            places.extend(
                (first..)
                    .zip(counts.iter().map(|count| count.get()))
                    .filter(|(_, count)| *count > 0),
            );
            (moments, places)
        }
    }
}
