//! The report: an immutable snapshot of everything that a collector has measured up to one moment.

mod diff;
pub(crate) mod json;
mod statistics;
pub(crate) mod table;

use core::{fmt, time::Duration};
use std::sync::Arc;

use serde::Serialize;
use tailwatch_core::{Event, EventId, EventInfo, Outcomes, Pairing, Unit, WindowSpec};

pub use self::{
    diff::{EventDiff, ReportDiff, SamplesDiff},
    statistics::Statistics,
};
use crate::{Health, SlaReport};

/// A snapshot of everything that a collector has measured up to one moment. It never changes.
///
/// [`Display`](fmt::Display) formats it as a table for people. `serde` serializes it as JSON of the
/// schema `tailwatch.report/1`: durations are whole nanoseconds, a window or total without a sample
/// is `null`, and `max_relative_error_ppm` is 0 for exact quantiles.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The name of the JSON schema, `tailwatch.report/1`.
    pub schema: &'static str,
    /// The time of the report, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The time since the collector's start, in nanoseconds.
    pub uptime_ns: u64,
    /// The clock that measured everything in the report.
    pub clock: ClockReport,
    /// All events, in the order in which they were passed to
    /// [`Builder::events`](crate::Builder::events).
    pub events: Vec<EventReport>,
    /// The state of all limits, grouped by event.
    pub sla: Vec<SlaReport>,
    /// The numbers of delivered and lost records, and the cost of measuring.
    pub health: Health,
    /// Whether the collector's last pass has begun, so that this is its last report.
    #[serde(skip)]
    pub(crate) finished: bool,
}

/// The clock of a collector and how exact it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClockReport {
    /// `tsc` (the processor's counter) or `monotonic` (the operating system's clock).
    #[serde(serialize_with = "json::text")]
    pub source: crate::ClockSource,
    /// Whether reading the clock at the end of a span waits until the measured work is done
    /// ([`ClockMode::Ordered`](crate::ClockMode::Ordered)).
    pub ordered: bool,
    /// The ticks of the clock per second, which are measured once per process.
    pub hz: u64,
    /// By how much faster the clock ran than the operating system's clock since the start of the
    /// collector, in parts per million. Negative if it ran slower.
    pub drift_ppm: f64,
}

/// The part of a report about one event: its statistics over each window and since the start, the
/// outcomes of its spans, and its open spans. The limits of all events are in [`Report::sla`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EventReport {
    /// The event's id.
    #[serde(serialize_with = "json::id")]
    pub id: EventId,
    /// The event's name.
    pub name: &'static str,
    /// The unit of the event's samples: `ns` for nanoseconds, or `1` for plain numbers.
    #[serde(serialize_with = "json::text")]
    pub unit: Unit,
    /// The statistics over each window, the shortest window first.
    #[serde(serialize_with = "json::windows")]
    pub windows: Vec<WindowReport>,
    /// The statistics since the start, or `None` if there is no sample.
    pub total: Option<Statistics>,
    /// The number of the event's spans that ended since the start, by outcome: each END that was
    /// drained counts as 1, whatever its weight. Discarded spans are not included.
    #[serde(serialize_with = "json::outcomes")]
    pub outcomes: Outcomes,
    /// The event's open spans.
    pub in_flight: InFlight,
}

/// The open spans of one event: those whose start (START) was recorded and whose end (END) was not.
/// A table with room for 896 spans of all events tracks them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InFlight {
    /// The number of open spans in the table.
    pub open: u64,
    /// The number of these spans that were open when the drain found that records were lost. Their
    /// END may be among the lost records, so they may have ended.
    pub uncertain: u64,
    /// The number of further spans that began while the table was full and have not ended.
    pub untracked: u64,
    /// The age of the oldest open span, in nanoseconds. `None` if no span is open.
    pub oldest_ns: Option<u64>,
    /// The tag of the oldest open span. `None` if no span is open.
    pub oldest_tag: Option<u64>,
}

/// One of the slowest spans or durations of an event, or one of the largest values of an event with
/// plain numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlowSample {
    /// The time at which the span or duration began, or the value was recorded, in nanoseconds
    /// since 1970.
    pub start_unix_ns: u64,
    /// The duration in nanoseconds, or the plain number.
    pub duration: u64,
    /// The tag of the span, which is 0 for a span that began without one. `None` if its START was
    /// not found, usually because it was lost, or if the sample is not a span.
    /// [`Exemplar::tag`](tailwatch_core::Exemplar::tag) lists all cases.
    pub tag: Option<u64>,
    /// The name of the thread that ended the span, or recorded the duration or value.
    pub thread: Arc<str>,
}

/// The statistics of one event over one window.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WindowReport {
    /// The window's length.
    pub length: Duration,
    /// The statistics over the window, or `None` if the window has no sample.
    pub statistics: Option<Statistics>,
}

impl InFlight {
    /// Creates the report of an event's open spans. `oldest` is the age of the oldest one in
    /// nanoseconds, and its tag.
    pub(crate) fn new(pairing: &Pairing, oldest: Option<(u64, u64)>) -> Self {
        Self {
            open: pairing.open,
            uncertain: pairing.uncertain,
            untracked: pairing.untracked,
            oldest_ns: oldest.map(|(nanos, _)| nanos),
            oldest_tag: oldest.map(|(_, tag)| tag),
        }
    }
}

impl EventReport {
    /// Creates the report of an event without any samples.
    pub(crate) fn new(info: &EventInfo, windows: &[WindowSpec]) -> Self {
        Self {
            id: info.id,
            name: info.name,
            unit: info.unit,
            windows: windows
                .iter()
                .map(|window| WindowReport { length: window.length, statistics: None })
                .collect(),
            total: None,
            outcomes: Outcomes::default(),
            in_flight: InFlight::default(),
        }
    }
}

impl Report {
    /// Creates a report of these events without any samples.
    pub(crate) fn empty(unix_ns: u64, clock: ClockReport, events: Vec<EventReport>) -> Self {
        Self {
            schema: "tailwatch.report/1",
            unix_ns,
            uptime_ns: 0,
            clock,
            events,
            sla: Vec::new(),
            health: Health { enabled: true, ..Health::default() },
            finished: false,
        }
    }

    /// Returns the report as JSON, in one line.
    ///
    /// # Panics
    /// Never. Serialization to JSON fails only for map keys that are not text, and the report has
    /// none.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("all map keys of a report are text")
    }

    /// Returns the part of the report about `event`. An event without samples has one as well,
    /// without statistics. Returns `None` only if the collector does not have the event, because it
    /// was not passed to [`Builder::events`](crate::Builder::events).
    pub fn event(&self, event: impl Event) -> Option<&EventReport> {
        let id = event.id();
        self.events.iter().find(|event| event.id == id)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table::write(self, f)
    }
}

/// Formats the length of a window, such as `1s` or `500ms`, in the largest unit that divides it.
pub(crate) fn window_name(length: Duration) -> String {
    let nanos = length.as_nanos();
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
    let (size, unit) =
        units.into_iter().find(|(size, _)| nanos.is_multiple_of(*size)).unwrap_or((1, "ns"));
    format!("{}{unit}", nanos / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_length_is_formatted_in_the_largest_unit_that_divides_it() {
        let names = [1_000_000_000, 60_000_000_000, 1_500_000_000, 250_000, 7]
            .map(Duration::from_nanos)
            .map(window_name);
        assert_eq!(names, ["1s", "60s", "1500ms", "250us", "7ns"]);
    }
}
