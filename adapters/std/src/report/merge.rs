//! One report of several collectors: of several processes, machines or hours.

pub(crate) mod error;
mod health;
mod limits;

use core::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tailwatch_core::{EventId, Outcomes};

pub use self::error::MergeError;
use super::{ClockReport, EventReport, InFlight, Report, json::SCHEMA_2, statistics::Statistics};

/// A collector whose report is part of a [merged](Report::merge) report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MergedCollector {
    /// The time of its start, in nanoseconds since 1970.
    pub started_unix_ns: u64,
    /// The time from then to its report, in nanoseconds.
    pub uptime_ns: u64,
}

impl Report {
    /// Combines reports of several processes, machines or hours into one.
    ///
    /// Reports are of the same collector if they have the same
    /// [start](Self::started_unix_ns). Of these, only the latest counts, because it contains the
    /// others. Reports with different starts, as before and after a restart, are added up. For
    /// counts, buckets, extremes and states, it does not matter in which order reports are merged,
    /// nor in which groups, as long as all reports of one collector are in one group. For the order
    /// of events, their ids and means that are rounded, it may.
    ///
    /// Events are the same if they have the same name and labels. In the result:
    ///
    /// - [Totals](EventReport::total) have the sum of all buckets, at the coarser scale if scales
    ///   differ. Counts, buckets and extremes are exact, as if one collector had seen everything.
    ///   Quantiles come from the sum of the buckets, with their stated error, or from all samples
    ///   if every report has them and they are not more than 65,536. Mean and deviation are rounded
    ///   if one of the reports was [read](Self::from_json), because JSON has no sums. The covered
    ///   time is that in which at least one of the collectors ran. The slowest samples are the
    ///   slowest of all.
    /// - There are no corrected summaries and no windows, because JSON lacks their buckets, and
    ///   windows of reports of different times are not the same time.
    /// - Outcomes, open spans and the counters of the [health](Self::health) are added up. The
    ///   oldest open span is the oldest of all. `drain_lag_ns`, `overhead_ratio`, `record_ns`,
    ///   `drain_ns`, `memory_bytes` and `reserved_bytes` are the largest of any report, and
    ///   `sampling` has the smallest share. `enabled` and `has_drain` are `true` if they are in all
    ///   reports.
    /// - A [limit](Self::sla) is violated if it is in any report, and otherwise unknown if it is in
    ///   any. Its counts are added up, and `since_unix_ns` is the latest. `observed` is the
    ///   largest, or not known if it is not in a report in which the limit is violated. Limits of
    ///   an event that were set differently stay apart.
    /// - `unix_ns` is the time of the latest report, `started_unix_ns` that of the earliest start,
    ///   and `uptime_ns` the time between them. [`collectors`](Self::collectors) lists what was
    ///   merged.
    /// - An event keeps its [id](EventReport::id) if it is the same in all reports and that of no
    ///   other event. The [clock](Self::clock) is known if all reports have the same; its drift is
    ///   the greatest of all.
    ///
    /// If all reports are of one collector, the result is the latest report, unchanged.
    ///
    /// ```
    /// use tailwatch::{Collector, Report, Trading, record_value};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut reports = vec![];
    /// for n in [3, 40] {
    ///     let collector = Collector::builder().start()?;
    ///     collector.register_thread("main")?;
    ///     record_value(Trading::QueueBacklog, n);
    ///     collector.stop();
    ///     reports.push(Report::from_json(&collector.report().to_json())?);
    /// }
    /// let merged = Report::merge(&reports)?;
    /// let backlog = merged.event(Trading::QueueBacklog).unwrap().total.as_ref().unwrap();
    /// assert_eq!((backlog.summary.count, backlog.summary.min, backlog.summary.max), (2, 3, 40));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if there are no reports, if one was read from the schema
    /// `tailwatch.report/1`, if an event has different units or its summaries cover different
    /// outcomes, if histograms have ranges with nothing in common, if a sum exceeds 2^64 − 1, or if
    /// reports have the same start, but neither contains the other.
    pub fn merge<'r>(reports: impl IntoIterator<Item = &'r Self>) -> Result<Self, MergeError> {
        let reports = distinct(reports.into_iter().collect())?;
        match reports.as_slice() {
            [] => Err(MergeError::NoReports),
            [one] => Ok((*one).clone()),
            _ => combine(&reports),
        }
    }

    /// Returns the collectors of which this is a report, by the time of their start.
    fn members(&self) -> Vec<MergedCollector> {
        if self.collectors.is_empty() {
            let (started_unix_ns, uptime_ns) = (self.started_unix_ns, self.uptime_ns);
            return vec![MergedCollector { started_unix_ns, uptime_ns }];
        }
        self.collectors.clone()
    }

    /// Returns whether every sample and outcome of `earlier` may be part of this report.
    fn contains(&self, earlier: &Self) -> bool {
        let by_name: HashMap<&str, &EventReport> =
            self.events.iter().map(|event| (&*event.name, event)).collect();
        let is_contained = |before: &EventReport| {
            by_name.get(&*before.name).is_some_and(|now| {
                let no_more =
                    |count: fn(&Outcomes) -> u64| count(&before.outcomes) <= count(&now.outcomes);
                no_more(|of| of.ok)
                    && no_more(|of| of.error)
                    && no_more(|of| of.cancelled)
                    && now.unit == before.unit
                    && contains(now.total.as_ref(), before.total.as_ref())
                    && contains(now.failed.as_deref(), before.failed.as_deref())
            })
        };
        self.health.produced >= earlier.health.produced
            && self.health.delivered >= earlier.health.delivered
            && earlier.events.iter().all(is_contained)
    }
}

impl Statistics {
    /// Returns whether every sample of `earlier` may be one of these.
    fn contains(&self, earlier: &Self) -> bool {
        let histograms = (self.histogram(), earlier.histogram());
        self.summary.count >= earlier.summary.count
            && self.converter() == earlier.converter()
            && matches!(histograms, (Some(now), Some(before)) if now.since(&before).is_some())
    }
}

/// Returns whether every sample of `earlier` may be one of these.
fn contains(statistics: Option<&Statistics>, earlier: Option<&Statistics>) -> bool {
    match (statistics, earlier) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(now), Some(before)) => now.contains(before),
    }
}

/// Returns the reports that no other one of these contains, by the time of their start.
fn distinct(mut reports: Vec<&Report>) -> Result<Vec<&Report>, MergeError> {
    if let Some(report) = reports.iter().find(|report| report.started_unix_ns == 0) {
        return Err(MergeError::UnknownStart { unix_ns: report.unix_ns });
    }
    // A report comes after those that may contain it.
    reports.sort_by_cached_key(|report| {
        let members = report.members();
        let uptime: u128 = members.iter().map(|member| u128::from(member.uptime_ns)).sum();
        Reverse((members.len(), uptime, report.unix_ns, report.health.produced))
    });
    let mut kept: Vec<&Report> = Vec::new();
    let mut owners: HashMap<u64, (usize, u64)> = HashMap::new();
    for report in reports {
        let members = report.members();
        let started = |member: &MergedCollector| member.started_unix_ns;
        let shared = members.iter().find_map(|of| Some((of, owners.get(&started(of))?.0)));
        let Some((shared, owner)) = shared else {
            let of_report = members.iter().map(|of| (started(of), (kept.len(), of.uptime_ns)));
            owners.extend(of_report);
            kept.push(report);
            continue;
        };
        let is_in_owner = |member: &MergedCollector| {
            let found = owners.get(&started(member));
            found.is_some_and(|(of, uptime)| *of == owner && member.uptime_ns <= *uptime)
        };
        let started_unix_ns = shared.started_unix_ns;
        if !members.iter().all(is_in_owner) {
            return Err(MergeError::Overlap { started_unix_ns });
        }
        if !kept[owner].contains(report) {
            return Err(MergeError::SameStart { started_unix_ns });
        }
    }
    kept.sort_by_key(|report| report.started_unix_ns);
    Ok(kept)
}

/// Adds up reports of different collectors, of which there is at least one.
fn combine(reports: &[&Report]) -> Result<Report, MergeError> {
    let mut collectors: Vec<_> = reports.iter().flat_map(|report| report.members()).collect();
    collectors.sort_by_key(|collector| collector.started_unix_ns);
    let started_unix_ns =
        reports.iter().map(|report| report.started_unix_ns).min().unwrap_or_default();
    let unix_ns = reports.iter().map(|report| report.unix_ns).max().unwrap_or_default();
    let mut events = events(reports)?;
    let covered = covered_ns(&collectors);
    for event in &mut events {
        for total in event.total.iter_mut().chain(event.failed.as_deref_mut()) {
            total.summary.covered = covered;
        }
    }
    Ok(Report {
        schema: SCHEMA_2,
        unix_ns,
        started_unix_ns,
        uptime_ns: unix_ns.saturating_sub(started_unix_ns),
        collectors,
        clock: same_clock(reports),
        events,
        sla: limits::merged(reports)?,
        health: health::merged(reports)?,
        finished: reports.iter().all(|report| report.finished),
    })
}

/// Returns how long at least one of the collectors ran, in nanoseconds. They must be in the order
/// of their starts.
fn covered_ns(collectors: &[MergedCollector]) -> u64 {
    let (mut covered, mut end) = (0_u64, 0);
    for MergedCollector { started_unix_ns, uptime_ns } in collectors {
        let to = started_unix_ns.saturating_add(*uptime_ns);
        covered = covered.saturating_add(to.saturating_sub(end.max(*started_unix_ns)));
        end = end.max(to);
    }
    covered
}

/// Returns the clock, if all reports have the same, with the greatest drift of all.
fn same_clock(reports: &[&Report]) -> Option<ClockReport> {
    let mut clocks = reports.iter().map(|report| report.clock.as_ref());
    let first = clocks.next()??.clone();
    clocks.try_fold(first, |sum, clock| {
        let clock = clock?;
        let is_same = (clock.source, clock.ordered, clock.hz) == (sum.source, sum.ordered, sum.hz);
        let drifts_more = clock.drift_ppm.abs() > sum.drift_ppm.abs();
        is_same.then(|| if drifts_more { clock.clone() } else { sum })
    })
}

/// Adds up the events of the same name, in the order in which the reports have them.
fn events(reports: &[&Report]) -> Result<Vec<EventReport>, MergeError> {
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    let mut parts: Vec<Vec<&EventReport>> = Vec::new();
    for event in reports.iter().flat_map(|report| &report.events) {
        let index = *by_name.entry(&event.name).or_insert(parts.len());
        if index == parts.len() {
            parts.push(Vec::new());
        }
        parts[index].push(event);
    }
    let ids: Vec<_> = parts.iter().map(|parts| same_id(parts)).collect();
    // An id that an event has in any report must not stand for another event.
    let mut names_of_id: HashMap<EventId, HashSet<&str>> = HashMap::new();
    for event in parts.iter().flatten() {
        names_of_id.entry(event.id).or_default().insert(&event.name);
    }
    let is_unique = |id: &EventId| names_of_id.get(id).is_some_and(|names| names.len() == 1);
    let event = |(parts, id): (&Vec<&EventReport>, &Option<EventId>)| {
        merged_event(parts, id.filter(is_unique).unwrap_or(EventId::UNNUMBERED))
    };
    parts.iter().zip(&ids).map(event).collect()
}

/// Returns the id, if it is the same in all reports.
fn same_id(parts: &[&EventReport]) -> Option<EventId> {
    let id = parts.first()?.id;
    parts.iter().all(|event| event.id == id).then_some(id)
}

/// Adds up the parts of several reports about one event, of which there is at least one.
fn merged_event(parts: &[&EventReport], id: EventId) -> Result<EventReport, MergeError> {
    let first = parts[0];
    if let Some(other) = parts.iter().find(|event| event.unit != first.unit) {
        let units = [first.unit, other.unit];
        return Err(MergeError::OtherUnit { event: first.name.to_string(), units });
    }
    let overflow = |what: &str| MergeError::Overflow { what: format!("{what} of {}", first.name) };
    let add = |what: &str, count: fn(&EventReport) -> u64| {
        let mut counts = parts.iter().map(|event| count(event));
        counts.try_fold(0, u64::checked_add).ok_or_else(|| overflow(what))
    };
    if parts.iter().any(|event| event.covered != first.covered) {
        return Err(MergeError::OtherOutcomes { event: first.name.to_string() });
    }
    let sum = |parts: Vec<&Statistics>| {
        Statistics::sum(&parts).map_err(|problem| MergeError::of_sum(problem, &first.name))
    };
    let total = sum(parts.iter().filter_map(|event| event.total.as_ref()).collect())?;
    let failed = sum(parts.iter().filter_map(|event| event.failed.as_deref()).collect())?;
    let oldest = parts.iter().map(|event| event.in_flight).max_by_key(|of| of.oldest_ns);
    let InFlight { oldest_ns, oldest_tag, .. } = oldest.unwrap_or_default();
    Ok(EventReport {
        id,
        name: first.name.clone(),
        base_name: first.base_name.clone(),
        labels: first.labels.clone(),
        unit: first.unit,
        windows: Vec::new(),
        total,
        covered: first.covered,
        failed: failed.map(Box::new),
        outcomes: Outcomes {
            ok: add("the outcomes", |event| event.outcomes.ok)?,
            error: add("the outcomes", |event| event.outcomes.error)?,
            cancelled: add("the outcomes", |event| event.outcomes.cancelled)?,
        },
        in_flight: InFlight {
            open: add("the open spans", |event| event.in_flight.open)?,
            uncertain: add("the open spans", |event| event.in_flight.uncertain)?,
            untracked: add("the open spans", |event| event.in_flight.untracked)?,
            oldest_ns,
            oldest_tag,
        },
    })
}
