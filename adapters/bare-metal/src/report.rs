//! The report: a series of items, each a line of text, a log message or a frame.

use core::{fmt, time::Duration};

use tailwatch_core::{
    Clock, Counters, EventId, EventInfo, Limit, Outcomes, Pairing, Scope, SlaStatus, Storage,
    Summary, Unit,
};

use crate::Drain;

/// What became of all records, by cause.
///
/// Always: `produced == delivered + overwritten + pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Health {
    /// Records that the rings were seen to have been given.
    pub produced: u64,
    /// Records that were taken in.
    pub delivered: u64,
    /// Records that were overwritten before: a storm, or a drain that did not run.
    pub overwritten: u64,
    /// Records that were seen in the rings and not taken yet.
    pub pending: u64,
    /// Records that were not what they should be.
    pub counters: Counters,
    /// Passes of the drain.
    pub passes: u64,
    /// Passes that delivered records, though the clock stood where it stood in the pass before. Some are usual where several passes fit
    /// into a tick; of a clock that has stopped it is every one.
    pub still_passes: u64,
    /// Changes of limits that found the queue full.
    pub transitions_lost: u64,
}

/// How often an event happened, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventCounts {
    /// Its number.
    pub event: EventId,
    /// Its name.
    pub name: &'static str,
    /// How its spans ended since the start.
    pub outcomes: Outcomes,
    /// How its STARTs and ENDs met.
    pub pairing: Pairing,
    /// How many nanoseconds its oldest open span has lasted.
    pub oldest: Option<u64>,
}

/// The samples of an event over a window, or since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventSummary {
    /// Its number.
    pub event: EventId,
    /// Its name.
    pub name: &'static str,
    /// In what it is measured.
    pub unit: Unit,
    /// The window's length; `None` for all since the start.
    pub window: Option<Duration>,
    /// What its samples come to.
    pub summary: Summary,
}

/// A limit of an event, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventLimit {
    /// The event's name.
    pub name: &'static str,
    /// How it stands.
    pub status: SlaStatus,
}

/// One thing that a report says. Printed, it is a line of `name=value`; times are in nanoseconds unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ReportItem {
    /// What became of all records.
    Health(Health),
    /// How often an event happened. Of one that did not there is none.
    Counts(EventCounts),
    /// What an event's samples of a window come to. Of a window without samples there is none.
    Summary(EventSummary),
    /// How a limit stands.
    Limit(EventLimit),
}

impl<S: Storage, C: Clock, const IDS: usize, const RINGS: usize> Drain<'_, S, C, IDS, RINGS> {
    /// Tells all there is to say: first the health, then each event's counts and summaries, then the limits.
    ///
    /// Each summary is linear in the samples kept, or the buckets: to stay within a budget, ask [`summary`](Self::summary) for one at
    /// a time.
    pub fn report(&mut self, mut tell: impl FnMut(&ReportItem)) {
        self.tell_health(&mut tell);
        let windows = self.windows().len();
        for info in self.events() {
            self.tell_counts(info, &mut tell);
            for period in (0..windows).map(Scope::Window).chain([Scope::Total]) {
                self.tell_summary(info, period, &mut tell);
            }
        }
        let events = self.events();
        self.aggregator()
            .limits(|status| tell(&ReportItem::Limit(EventLimit::new(events, *status))));
    }

    // Functions of their own, so that their items lie on the stack one after the other, not side by side; what makes the items is
    // inlined, so that it makes them in their place.
    #[inline(never)]
    fn tell_health(&mut self, tell: &mut impl FnMut(&ReportItem)) {
        tell(&ReportItem::Health(self.health()));
    }

    #[inline(never)]
    fn tell_counts(&mut self, info: &EventInfo, tell: &mut impl FnMut(&ReportItem)) {
        if let Some(counts) = self.counts(info) {
            tell(&ReportItem::Counts(counts));
        }
    }

    #[inline(never)]
    fn tell_summary(
        &mut self,
        info: &EventInfo,
        period: Scope,
        tell: &mut impl FnMut(&ReportItem),
    ) {
        if let Some(item) = self.summary(info, period).map(ReportItem::Summary) {
            tell(&item);
        }
    }

    /// How often this event happened; `None` if it did not.
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

    /// What the samples of this event come to; `None` if there are none.
    #[inline(always)]
    pub fn summary(&mut self, info: &EventInfo, period: Scope) -> Option<EventSummary> {
        let window = match period {
            Scope::Window(window) => Some(self.windows().get(window)?.length),
            Scope::Total => None,
        };
        let summary = self.aggregator().summary(info.id, period)?;
        Some(EventSummary { event: info.id, name: info.name, unit: info.unit, window, summary })
    }
}

impl EventLimit {
    /// The limit of one of these events.
    pub fn new(events: &'static [EventInfo], status: SlaStatus) -> Self {
        let name = events.iter().find(|info| info.id == status.event).map_or("", |info| info.name);
        Self { name, status }
    }
}

/// A number that may be missing.
struct OrNone(Option<u64>);

impl fmt::Display for OrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// The whole milliseconds of a length; `Duration` as it prints itself is a kilobyte of code.
fn millis(length: Duration) -> u64 {
    length.as_secs().saturating_mul(1_000).saturating_add(u64::from(length.subsec_millis()))
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
        let Counters { late, clock_anomalies, saturated, invalid, unknown_events, full_counters } =
            counters;
        write!(
            f,
            "produced={produced} delivered={delivered} overwritten={overwritten} pending={pending} late={late} \
             clock_anomalies={clock_anomalies} saturated={saturated} invalid={invalid} unknown_events={unknown_events} \
             full_counters={full_counters} passes={passes} still_passes={still_passes} transitions_lost={transitions_lost}"
        )
    }
}

impl fmt::Display for EventCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, outcomes, pairing, oldest, .. } = self;
        write!(
            f,
            "event={name} ok={} error={} cancelled={} paired={} open={} uncertain={} untracked={} abandoned={} early={} \
             orphans={} oldest={}",
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
            " count={count} min={min} p50={p50} p95={p95} p99={p99} p99.9={p99_9} max={max} mean={mean} stddev={stddev} \
             unit={unit} estimated_total={estimated_total} error_ppm={} covered={} complete={}",
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
