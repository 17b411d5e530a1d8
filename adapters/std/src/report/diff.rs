//! The difference between two reports.

use core::{fmt, iter};
use std::collections::BTreeMap;

use tailwatch_core::{
    Accuracy, Buckets, ConfidenceInterval, Distribution, DistributionData, EventId, FixedPoint,
    Moments, Outcomes, Quantile, Unit, UnitConverter, WeightedSample,
};

use super::{
    EventReport, Report, health::Health, owned_data::OwnedData, statistics::Statistics, text,
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
    pub name: &'static str,
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
    /// Counts and means are subtracted exactly. Quantiles are computed from the difference of the
    /// histograms, or exactly from the samples if `self` still has all samples since the start.
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
        Some(EventDiff { id: self.id, name: self.name, unit: self.unit, outcomes, samples })
    }
}

impl Statistics {
    /// Returns the statistics of the samples that were added since `earlier`, or `None` if none
    /// were. Both `self` and `earlier` are statistics since the start; an `earlier` of `None` has
    /// no samples.
    fn since(&self, earlier: Option<&Self>) -> Result<Option<SamplesDiff>, NotEarlier> {
        let before = earlier.map(Statistics::data);
        match self.data() {
            OwnedData::Exact(samples) => {
                let before = match before {
                    None => &[],
                    Some(OwnedData::Exact(samples)) => samples.as_slice(),
                    Some(OwnedData::Counted { .. }) => return Err(NotEarlier),
                };
                let rest = difference(samples, before).ok_or(NotEarlier)?;
                let mut moments = Moments::EMPTY;
                for sample in &rest {
                    moments.add(sample.value(), sample.sampling());
                }
                Ok(summarize(self.converter(), &moments, DistributionData::Exact(rest[..].into())))
            }
            OwnedData::Counted { buckets, moments, first, counts } => {
                let (buckets, first) = (*buckets, *first);
                let (moments_before, counts_before) = before
                    .map_or((Moments::EMPTY, BTreeMap::new()), |before| {
                        counts_by_bucket(before, buckets)
                    });
                let mut rest: Vec<_> = counts.iter().collect();
                for (bucket, count) in counts_before {
                    let left = bucket
                        .checked_sub(first)
                        .and_then(|offset| rest.get_mut(offset))
                        .ok_or(NotEarlier)?;
                    *left = left.checked_sub(count).ok_or(NotEarlier)?;
                }
                let is_used = |count: &u64| *count > 0;
                let Some(begin) = rest.iter().position(is_used) else { return Ok(None) };
                let end = rest.iter().rposition(is_used).unwrap_or(begin);
                // The minimum and maximum of the new samples are not known, because those of the
                // total cannot be subtracted. They are replaced by the bounds of the outermost
                // buckets that are left, (lower, upper], and of the total.
                let min = buckets
                    .bounds(first + begin)
                    .0
                    .saturating_add(1)
                    .max(moments.min())
                    .min(moments.max());
                let max = buckets.bounds(first + end).1.min(moments.max());
                let min =
                    if first + begin == buckets.index(moments.min()) { moments.min() } else { min };
                let moments = moments.since(&moments_before, min, max).ok_or(NotEarlier)?;
                let data = DistributionData::Counted {
                    buckets,
                    moments,
                    first: first + begin,
                    counts: &rest[begin..=end],
                };
                Ok(summarize(self.converter(), &moments, data))
            }
        }
    }
}

/// Returns the statistics of samples with these moments and this distribution, or `None` if there
/// are no samples.
fn summarize(
    converter: UnitConverter,
    moments: &Moments,
    data: DistributionData<'_>,
) -> Option<SamplesDiff> {
    let values = Distribution { converter, data };
    let quantiles = [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9];
    let [p50, p95, p99, p99_9] = quantiles.map(|quantile| values.quantile(quantile));
    let intervals = || {
        let [p50, p95, p99, p99_9] = quantiles.map(|quantile| values.interval(quantile));
        Some([p50?, p95?, p99?, p99_9?])
    };
    let less_accurate = |one: Accuracy, other: Accuracy| {
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
        accuracy: [p50?.1, p95?.1, p99?.1, p99_9?.1].into_iter().reduce(less_accurate)?,
        intervals: intervals(),
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

/// Returns the moments of all values and the weight in each bucket of the histogram.
fn counts_by_bucket(data: &OwnedData, buckets: Buckets) -> (Moments, BTreeMap<usize, u64>) {
    let mut by_bucket = BTreeMap::new();
    match data {
        OwnedData::Exact(samples) => {
            let mut moments = Moments::EMPTY;
            for sample in samples {
                moments.add(sample.value(), sample.sampling());
                *by_bucket.entry(buckets.index(sample.value())).or_default() += sample.weight();
            }
            (moments, by_bucket)
        }
        OwnedData::Counted { moments, first, counts, .. } => {
            by_bucket.extend((*first..).zip(counts.iter()).filter(|(_, count)| *count > 0));
            (*moments, by_bucket)
        }
    }
}
