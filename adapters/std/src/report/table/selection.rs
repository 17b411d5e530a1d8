//! Which events a table shows, and in which order.

use core::cmp::Ordering;
use std::collections::HashMap;

use tailwatch_core::{CoveredOutcomes, FixedPoint, Outcomes, SlaState, Summary, Unit};

use super::ReportTable;
use crate::report::{EventReport, sla::SlaReport};

/// Up to this many events that were seen are all shown, in the order of their declaration.
const SMALL: usize = 30;

/// How many of more events are shown, unless [`ReportTable::top`] sets it. With three windows,
/// these take at most 80 lines.
const TOP: usize = 20;

/// The order of the events in a [`ReportTable`](crate::ReportTable), by their samples since the
/// start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SortBy {
    /// The order in which the events were passed to [`Builder::events`](crate::Builder::events).
    Declaration,
    /// The largest sum of all durations first, that is, what took the most time. Failed spans are
    /// included, as in all orders. A sample counts as often as its weight. Plain numbers follow in
    /// the order of their declaration.
    #[default]
    TotalTime,
    /// The most frequent event first. A sample counts as often as its weight.
    Count,
    /// The largest p99 first: that of failed spans for an event of which all failed. Plain numbers
    /// follow in an order of their own.
    P99,
    /// The largest maximum first. Plain numbers follow in an order of their own.
    Max,
}

impl SortBy {
    /// Returns how two events are ordered.
    fn compare(self, one: &EventReport, other: &EventReport) -> Ordering {
        let (is_plain, value) = self.key(one);
        let (other_is_plain, other_value) = self.key(other);
        is_plain.cmp(&other_is_plain).then(other_value.total_cmp(&value))
    }

    /// Returns whether the event comes after all that are measured in time, and then its value, the
    /// largest of which comes first.
    #[expect(clippy::cast_precision_loss, reason = "values that nearly agree may be swapped")]
    fn key(self, event: &EventReport) -> (bool, f64) {
        let is_plain = event.unit != Unit::Time;
        let failed = event.failed.as_ref().filter(|_| event.covered == CoveredOutcomes::Ok);
        let summaries = || {
            let succeeded = event.total.iter().map(|total| total.summary);
            succeeded.chain(failed.map(|failed| failed.summary))
        };
        let Some(first) = summaries().next() else { return (is_plain, -1.0) };
        // A sum that is not known is larger than any other.
        let time = |Summary { estimated_total, mean, .. }: Summary| {
            mean.map_or(f64::INFINITY, FixedPoint::to_f64) * estimated_total as f64
        };
        match self {
            Self::Declaration => (false, 0.0),
            Self::TotalTime if is_plain => (true, 0.0),
            Self::TotalTime => (false, summaries().map(time).sum()),
            Self::Count => (false, summaries().map(|of| of.estimated_total as f64).sum()),
            Self::P99 => (is_plain, first.p99 as f64),
            Self::Max => (is_plain, summaries().map(|of| of.max).max().unwrap_or(0) as f64),
        }
    }
}

/// The events that a table shows.
pub(super) struct Selection<'r> {
    pub(super) shown: Vec<&'r EventReport>,
    /// The number of events that would be shown if the table were longer.
    pub(super) cut: usize,
    /// The names of the events that were not seen.
    pub(super) not_seen: Vec<&'r str>,
    /// The limits of each event that has some.
    pub(super) limits: HashMap<&'r str, Vec<&'r SlaReport>>,
}

impl<'r> Selection<'r> {
    /// Selects the events that `table` shows.
    pub(super) fn of(table: &ReportTable<'r>) -> Self {
        let mut limits: HashMap<&str, Vec<&SlaReport>> = HashMap::new();
        for limit in &table.report.sla {
            limits.entry(&limit.event).or_default().push(limit);
        }
        let is_violated = |event: &EventReport| {
            let mut limits = limits.get(&*event.name).into_iter().flatten();
            limits.any(|limit| limit.state == SlaState::Violated)
        };
        let keeps = |event: &&EventReport| table.filter.as_ref().is_none_or(|keep| keep(event));
        let (mut shown, not_seen): (Vec<_>, Vec<_>) = table
            .report
            .events
            .iter()
            .filter(keeps)
            .partition(|event| was_seen(event) || is_violated(event));
        let is_small = table.order.is_none() && table.top.is_none() && shown.len() <= SMALL;
        let order = if is_small { SortBy::Declaration } else { table.order.unwrap_or_default() };
        if table.order != Some(SortBy::Declaration) {
            // Events that compare as equal stay in the order of their declaration.
            shown.sort_by(|one, other| {
                is_violated(other).cmp(&is_violated(one)).then_with(|| order.compare(one, other))
            });
        }
        let all = shown.len();
        let top = table.top.unwrap_or(if is_small { SMALL } else { TOP });
        let must_show = shown.iter().filter(|event| is_violated(event)).count();
        let mut room = top.saturating_sub(must_show);
        shown.retain(|event| {
            is_violated(event) || room.checked_sub(1).inspect(|left| room = *left).is_some()
        });
        let not_seen = not_seen.into_iter().map(|event| &*event.name).collect();
        Self { cut: all - shown.len(), shown, not_seen, limits }
    }
}

/// Returns whether anything is known of the event: a sample, an open span, or the end of a span.
fn was_seen(event: &EventReport) -> bool {
    let Outcomes { ok, error, cancelled } = event.outcomes;
    let counts = [ok, error, cancelled, event.in_flight.open, event.in_flight.untracked];
    event.total.is_some() || counts.iter().any(|count| *count > 0)
}
