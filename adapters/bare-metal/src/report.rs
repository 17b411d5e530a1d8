//! The report: a sequence of items. Each item can be displayed as a line of text, logged through
//! `defmt`, or encoded as a frame.

use core::{fmt, time::Duration};

use tailwatch_core::{
    Clock, Counters, EventId, EventInfo, Limit, Outcomes, Pairing, Scope, SlaStatus, Storage,
    Summary, Unit,
};

use crate::Drain;

/// How many records were written, drained and lost, and how the drain runs.
///
/// `produced`, `delivered` and `overwritten` are the sums of what the consumers of the rings have
/// counted since they were attached (see
/// [`Consumer::produced`](tailwatch_core::Consumer::produced)). They include records that were in a
/// ring already when its consumer was attached. `pending` is the present number. All other numbers
/// count from the creation of the drain.
///
/// `produced == delivered + overwritten + pending` always holds, as it does for a
/// [`Consumer`](tailwatch_core::Consumer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Health {
    /// Records that were written into the rings. Includes only the records that the drain has found
    /// when it looked at the rings, not those written since.
    pub produced: u64,
    /// Records that the drain has read and processed.
    pub delivered: u64,
    /// Records that newer records overwrote, or may have begun to overwrite, before the drain read
    /// them: because of an interrupt storm, or because the drain did not run for too long.
    pub overwritten: u64,
    /// Records that the drain has found in the rings and has not read yet.
    pub pending: u64,
    /// Records, samples and passes that could not be processed normally, by cause.
    pub counters: Counters,
    /// The number of passes of the drain: of calls of [`Drain::run`] and [`Drain::observe`].
    pub passes: u64,
    /// Passes that delivered records although the clock read the same as at the previous pass.
    ///
    /// A few such passes are normal if several passes fit into one tick of the clock. If the clock
    /// has stopped, every pass that delivers records counts.
    pub still_passes: u64,
    /// Violations that were raised or cleared while the queue of these changes
    /// ([`DrainConfig::changes`](crate::DrainConfig::changes)) was full.
    pub transitions_lost: u64,
}

/// How many spans of an event ended with each outcome, and how many are open. An event that
/// measures plain numbers has no spans, and therefore no such item in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct EventCounts {
    /// The id of the event.
    pub event: EventId,
    /// The name of the event.
    pub name: &'static str,
    /// How many ENDs have been drained with each outcome since the drain was created. An END counts
    /// as 1, whatever its weight. Discarded spans have no END, so they are not included.
    pub outcomes: Outcomes,
    /// How many STARTs and ENDs were paired, and what became of the others.
    pub pairing: Pairing,
    /// The age of the oldest open span at the last pass, in nanoseconds; `None` if no span is open.
    pub oldest: Option<u64>,
}

/// The summary of an event over a window, or over the time since the drain was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct EventSummary {
    /// The id of the event.
    pub event: EventId,
    /// The name of the event.
    pub name: &'static str,
    /// Whether the samples are durations in nanoseconds or plain numbers.
    pub unit: Unit,
    /// The length of the window; `None` for the summary since the drain was created.
    pub window: Option<Duration>,
    /// The count, extremes, mean and quantiles of the samples.
    pub summary: Summary,
}

/// A limit of an event, which is a bound that the event must keep, and whether it is violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct EventLimit {
    /// The name of the event; empty if the event is unknown.
    pub name: &'static str,
    /// The limit and its state at the last pass.
    pub status: SlaStatus,
}

/// An item of a report.
///
/// Its [`Display`](fmt::Display) form is a line that begins with the kind of the item, followed by
/// `name=value` pairs. Most names are those of the fields. Times are in nanoseconds, or in
/// milliseconds if the name ends in `_ms`. `window_ms=all` marks a summary of the time since the
/// drain was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ReportItem {
    /// How many records were written, drained and lost.
    Health(Health),
    /// The spans of an event, by outcome. An event without spans has no such item.
    Counts(EventCounts),
    /// The summary of an event over a window, or since the drain was created. If there are no
    /// samples, there is no such item.
    Summary(EventSummary),
    /// A limit and its state.
    Limit(EventLimit),
}

impl<S: Storage, C: Clock, const IDS: usize, const RINGS: usize> Drain<'_, S, C, IDS, RINGS> {
    /// Creates a report, and calls `emit` with each of its items: first the health, then the counts
    /// and summaries of each event, and then the limits.
    ///
    /// The report shows the state after the last pass. It does not drain any records. Computing a
    /// summary takes the time to sort the stored samples, or time linear in the buckets of the
    /// histogram. If the whole report takes too long, call [`summary`](Self::summary) for one event
    /// and scope at a time instead.
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

    // These functions are not inlined into `report`, because then all items would occupy the stack
    // at the same time instead of one after the other. The functions that compute the items are
    // inlined here, so the items are built in place and not copied.
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

    /// Returns how many spans of the event `info` ended with each outcome, and how many are open.
    /// Returns `None` if the event has no spans.
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

    /// Returns the summary of the event `info` over `scope`: a window, given by its index in
    /// [`DrainConfig::windows`](crate::DrainConfig::windows), or the time since the drain was
    /// created. Returns `None` if there are no samples in this time, or if there is no such window.
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
    /// Combines `status` with the name of its event, which is looked up in `events`. The name is
    /// empty if `events` does not contain the event.
    pub fn new(events: &'static [EventInfo], status: SlaStatus) -> Self {
        let name = events.iter().find(|info| info.id == status.event).map_or("", |info| info.name);
        Self { name, status }
    }
}

/// Displays a number, or `none` instead of `None`.
struct OrNone<N>(Option<N>);

impl<N: fmt::Display> fmt::Display for OrNone<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// Returns the duration in milliseconds, rounded down. The report does not use the `Debug` form of
/// `Duration`, because it would take a kilobyte of code.
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
            negative_differences,
            orphan_tags,
            ..
        } = counters;
        write!(
            f,
            "produced={produced} delivered={delivered} overwritten={overwritten} \
             pending={pending} late={late} clock_anomalies={clock_anomalies} \
             saturated={saturated} invalid={invalid} unknown_events={unknown_events} \
             full_counters={full_counters} negative_differences={negative_differences} \
             orphan_tags={orphan_tags} passes={passes} still_passes={still_passes} \
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
             mean={} stddev={} unit={unit} estimated_total={estimated_total} \
             error_ppm={} covered={} complete={}",
            OrNone(*mean),
            OrNone(*stddev),
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
                threshold.max,
                threshold.quantile,
                millis(threshold.window)
            )?,
            Limit::Errors(threshold) => write!(
                f,
                "max_error_ppm={} window_ms={}",
                threshold.max_error_ppm(),
                millis(threshold.window)
            )?,
            Limit::Silence(longest) => write!(f, "silence_ms={}", millis(longest))?,
        }
        write!(
            f,
            " state={} over={} failed={} count={} observed={} raised={} cleared={}",
            status.state,
            status.over,
            status.failed,
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
