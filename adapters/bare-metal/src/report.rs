//! The report: a sequence of items, each of which is a line of text, a log message or a frame.

use core::{fmt, time::Duration};

use tailwatch_core::{
    Clock, Counters, EventId, EventInfo, Limit, Outcomes, Pairing, Scope, SlaStatus, Storage,
    Summary, Unit,
};

use crate::Drain;

/// Counts of all records, by what happened to them.
///
/// `produced == delivered + overwritten + pending` always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Health {
    /// Records that were written to the rings, as far as the drain has seen.
    pub produced: u64,
    /// Records that were drained and processed.
    pub delivered: u64,
    /// Records that were overwritten before they were drained, because of an interrupt storm or a
    /// drain that did not run.
    pub overwritten: u64,
    /// Records that the drain has seen in the rings and not drained yet.
    pub pending: u64,
    /// Records that could not be processed normally, by cause.
    pub counters: Counters,
    /// The number of passes of the drain.
    pub passes: u64,
    /// Passes that delivered records although the clock had not advanced since the previous pass.
    ///
    /// A few are normal if several passes fit into one tick. If the clock has stopped, every pass
    /// that delivers records is one.
    pub still_passes: u64,
    /// Limits that were raised or cleared while the queue of changes was full.
    pub transitions_lost: u64,
}

/// How often the spans of an event ended, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct EventCounts {
    /// The id of the event.
    pub event: EventId,
    /// The name of the event.
    pub name: &'static str,
    /// How the spans have ended since the start.
    pub outcomes: Outcomes,
    /// How STARTs and ENDs were paired.
    pub pairing: Pairing,
    /// The age of the oldest open span in nanoseconds; `None` if no span is open.
    pub oldest: Option<u64>,
}

/// The summary of an event over a window, or since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct EventSummary {
    /// The id of the event.
    pub event: EventId,
    /// The name of the event.
    pub name: &'static str,
    /// The unit of the samples.
    pub unit: Unit,
    /// The length of the window; `None` for the total since the start.
    pub window: Option<Duration>,
    /// The statistics of the samples.
    pub summary: Summary,
}

/// A limit of an event, and its current state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct EventLimit {
    /// The name of the event.
    pub name: &'static str,
    /// The limit and its state.
    pub status: SlaStatus,
}

/// An item of a report.
///
/// Its [`Display`](fmt::Display) form is a line of `name=value` pairs. Times are in nanoseconds,
/// except in names that end in `_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ReportItem {
    /// Counts of all records.
    Health(Health),
    /// The counts of an event. There is no item for an event without spans.
    Counts(EventCounts),
    /// The summary of an event over a window. There is no item for a window without samples.
    Summary(EventSummary),
    /// The state of a limit.
    Limit(EventLimit),
}

impl<S: Storage, C: Clock, const IDS: usize, const RINGS: usize> Drain<'_, S, C, IDS, RINGS> {
    /// Calls `emit` with each item of the report: first the health, then the counts and summaries
    /// of each event, then the limits.
    ///
    /// Computing a summary takes time linear in the stored samples, or in the buckets of the
    /// histogram. To stay within a time budget, call [`summary`](Self::summary) for one event and
    /// scope at a time.
    pub fn report(&mut self, mut emit: impl FnMut(&ReportItem)) {
        self.report_health(&mut emit);
        let windows = self.windows().len();
        for info in self.events() {
            self.report_counts(info, &mut emit);
            for scope in (0..windows).map(Scope::Window).chain([Scope::Total]) {
                self.report_summary(info, scope, &mut emit);
            }
        }
        let events = self.events();
        self.aggregator()
            .limits(|status| emit(&ReportItem::Limit(EventLimit::new(events, *status))));
    }

    // These are separate functions so that their items occupy the stack one after the other, not
    // all at once. The functions that compute the items are inlined, so that the items are built in
    // place.
    #[inline(never)]
    fn report_health(&mut self, emit: &mut impl FnMut(&ReportItem)) {
        emit(&ReportItem::Health(self.health()));
    }

    #[inline(never)]
    fn report_counts(&mut self, info: &EventInfo, emit: &mut impl FnMut(&ReportItem)) {
        if let Some(counts) = self.counts(info) {
            emit(&ReportItem::Counts(counts));
        }
    }

    #[inline(never)]
    fn report_summary(
        &mut self,
        info: &EventInfo,
        scope: Scope,
        emit: &mut impl FnMut(&ReportItem),
    ) {
        if let Some(item) = self.summary(info, scope).map(ReportItem::Summary) {
            emit(&item);
        }
    }

    /// Returns the counts of an event; `None` if it has no spans.
    #[inline(always)]
    pub fn counts(&mut self, info: &EventInfo) -> Option<EventCounts> {
        let aggregator = self.aggregator();
        let (outcomes, pairing) = (aggregator.outcomes(info.id), aggregator.pairing(info.id));
        if outcomes == Outcomes::default() && pairing == Pairing::default() {
            return None;
        }
        let oldest = aggregator.oldest(info.id).map(|(nanos, _)| nanos);
        Some(EventCounts { event: info.id, name: info.name, outcomes, pairing, oldest })
    }

    /// Returns the summary of an event over `scope`; `None` if there are no samples, or no such
    /// window.
    #[inline(always)]
    pub fn summary(&mut self, info: &EventInfo, scope: Scope) -> Option<EventSummary> {
        let window = match scope {
            Scope::Window(window) => Some(self.windows().get(window)?.length),
            Scope::Total => None,
        };
        let summary = self.aggregator().summary(info.id, scope)?;
        Some(EventSummary { event: info.id, name: info.name, unit: info.unit, window, summary })
    }
}

impl EventLimit {
    /// Combines `status` with the name of its event; the name is empty if `events` does not contain
    /// it.
    pub fn new(events: &'static [EventInfo], status: SlaStatus) -> Self {
        let name = events.iter().find(|info| info.id == status.event).map_or("", |info| info.name);
        Self { name, status }
    }
}

/// Displays `None` as `none`.
struct OrNone(Option<u64>);

impl fmt::Display for OrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// Returns the duration in whole milliseconds. The `Debug` form of `Duration` would take a kilobyte
/// of code.
fn millis(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000).saturating_add(u64::from(duration.subsec_millis()))
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            produced,
            delivered,
            overwritten,
            pending,
            counters,
            passes,
            still_passes,
            transitions_lost,
        } = self;
        let Counters {
            late,
            clock_anomalies,
            saturated,
            invalid,
            unknown_events,
            full_counters,
            ..
        } = counters;
        write!(
            f,
            "produced={produced} delivered={delivered} overwritten={overwritten} \
             pending={pending} late={late} clock_anomalies={clock_anomalies} \
             saturated={saturated} invalid={invalid} unknown_events={unknown_events} \
             full_counters={full_counters} passes={passes} still_passes={still_passes} \
             transitions_lost={transitions_lost}"
        )
    }
}

impl fmt::Display for EventCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, outcomes, pairing, oldest, .. } = self;
        write!(
            f,
            "event={name} ok={} error={} cancelled={} paired={} open={} uncertain={} untracked={} \
             abandoned={} early={} orphans={} oldest={}",
            outcomes.ok,
            outcomes.error,
            outcomes.cancelled,
            pairing.paired,
            pairing.open,
            pairing.uncertain,
            pairing.untracked,
            pairing.abandoned,
            pairing.early,
            pairing.orphans,
            OrNone(*oldest),
        )
    }
}

impl fmt::Display for EventSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, window, summary, .. } = self;
        write!(f, "event={name} ")?;
        match window {
            Some(length) => write!(f, "window_ms={}", millis(*length))?,
            None => f.write_str("window_ms=all")?,
        }
        let Summary {
            count, estimated_total, min, max, mean, stddev, p50, p95, p99, p99_9, ..
        } = summary;
        write!(
            f,
            " count={count} min={min} p50={p50} p95={p95} p99={p99} p99.9={p99_9} max={max} \
             mean={mean} stddev={stddev} unit={unit} estimated_total={estimated_total} \
             error_ppm={} covered={} complete={}",
            summary.accuracy.max_relative_error_ppm(),
            summary.covered,
            summary.complete,
        )
    }
}

impl fmt::Display for EventLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, status } = self;
        write!(f, "event={name} ")?;
        match status.limit {
            Limit::Quantile(threshold) => write!(
                f,
                "limit={} quantile={} window_ms={}",
                threshold.limit,
                threshold.quantile,
                millis(threshold.window)
            )?,
            Limit::Silence(longest) => write!(f, "silence_ms={}", millis(longest))?,
        }
        write!(
            f,
            " state={} over={} count={} observed={} raised={} cleared={}",
            status.state,
            status.over,
            status.count,
            OrNone(status.observed),
            status.raised,
            status.cleared,
        )
    }
}

impl fmt::Display for ReportItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Health(health) => write!(f, "health {health}"),
            Self::Counts(counts) => write!(f, "counts {counts}"),
            Self::Summary(summary) => write!(f, "summary {summary}"),
            Self::Limit(limit) => write!(f, "limit {limit}"),
        }
    }
}
