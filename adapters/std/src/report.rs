//! The report: an immutable snapshot of everything that a collector has measured.

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

/// A consistent snapshot of everything that a collector has measured up to one moment.
///
/// [`Display`](fmt::Display) formats it as a table for people. `serde` serializes it as JSON of the
/// schema `tailwatch.report/1`: durations are whole nanoseconds, a window or total without a sample
/// is `null`, and `max_relative_error_ppm` is 0 for exact quantiles.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The JSON schema, `tailwatch.report/1`.
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
    /// All limits, grouped by event.
    pub sla: Vec<SlaReport>,
    /// The counts of delivered and lost records, and the cost of measuring.
    pub health: Health,
    /// Whether the last pass has begun, so that this is the collector's last report.
    #[serde(skip)]
    pub(crate) finished: bool,
}

/// The clock of a collector.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClockReport {
    /// `tsc` (the processor's counter) or `monotonic` (the operating system's clock).
    #[serde(serialize_with = "json::text")]
    pub source: crate::ClockSource,
    /// Whether the clock read at END waits for the measured work
    /// ([`ClockMode::Ordered`](crate::ClockMode::Ordered)).
    pub ordered: bool,
    /// Ticks per second, fixed for the lifetime of the process.
    pub hz: u64,
    /// How much faster the clock ran than the operating system's clock since the start, in parts
    /// per million.
    pub drift_ppm: f64,
}

/// The statistics of one event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EventReport {
    /// The event's number.
    #[serde(serialize_with = "json::id")]
    pub id: EventId,
    /// The event's name.
    pub name: &'static str,
    /// The unit of the event's samples: `ns`, or `1` for plain numbers.
    #[serde(serialize_with = "json::text")]
    pub unit: Unit,
    /// The statistics of each window, shortest window first.
    #[serde(serialize_with = "json::windows")]
    pub windows: Vec<WindowReport>,
    /// The statistics since the start, or `None` if there is no sample.
    pub total: Option<Statistics>,
    /// The outcomes of the event's spans since the start.
    #[serde(serialize_with = "json::outcomes")]
    pub outcomes: Outcomes,
    /// The event's open spans.
    pub in_flight: InFlight,
}

/// The open spans of one event: their START was seen, their END was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InFlight {
    /// The number of open spans.
    pub open: u64,
    /// The number of these spans that were open when records were lost. Their END may be among the
    /// lost records.
    pub uncertain: u64,
    /// The number of further spans that found no room in the table of open spans.
    pub untracked: u64,
    /// The age of the oldest open span, in nanoseconds.
    pub oldest_ns: Option<u64>,
    /// The tag of the oldest open span.
    pub oldest_tag: Option<u64>,
}

/// One of the slowest spans or durations of an event, or one of the largest values of an event with
/// plain numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlowSample {
    /// The time at which the span or duration began, or the value was measured, in nanoseconds
    /// since 1970.
    pub start_unix_ns: u64,
    /// The duration in nanoseconds, or the plain number.
    pub duration: u64,
    /// The tag of the span, or `None` if its START was not seen or the sample is not a span.
    pub tag: Option<u64>,
    /// The name of the thread that recorded the END, duration or value.
    pub thread: Arc<str>,
}

/// The statistics of one event over one window.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WindowReport {
    /// The window's length.
    pub length: Duration,
    /// The statistics, or `None` if the window has no sample.
    pub statistics: Option<Statistics>,
}

impl InFlight {
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

    /// Returns the statistics of an event, or `None` if the collector has no such event.
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
