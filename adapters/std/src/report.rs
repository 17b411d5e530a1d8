//! The report: what every exporter starts from.

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

/// All that is known at one moment: one consistent snapshot, which nothing changes any more.
///
/// As [`Display`](fmt::Display) it is a table for people; by `serde` it is the JSON of schema `tailwatch.report/1`:
/// durations in whole nanoseconds, `null` for what had no sample, `max_relative_error_ppm` 0 for exact quantiles.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// `tailwatch.report/1`.
    pub schema: &'static str,
    /// When it was made, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// How long after the start, in nanoseconds.
    pub uptime_ns: u64,
    /// The clock that everything is measured with.
    pub clock: ClockReport,
    /// Every event, in the order in which they were announced.
    pub events: Vec<EventReport>,
    /// Every limit that is watched, event after event.
    pub sla: Vec<SlaReport>,
    /// What was produced, delivered and lost.
    pub health: Health,
    /// Whether nothing more will come.
    #[serde(skip)]
    pub(crate) finished: bool,
}

/// The clock that everything is measured with.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClockReport {
    /// `tsc` or `monotonic`.
    #[serde(serialize_with = "json::text")]
    pub source: crate::ClockSource,
    /// Whether END waits for the work it measures.
    pub ordered: bool,
    /// Ticks a second, fixed for the process.
    pub hz: u64,
    /// By how much ticks ran faster than the operating system's clock since the start, in parts per million.
    pub drift_ppm: f64,
}

/// What is known of one event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EventReport {
    /// Its number.
    #[serde(serialize_with = "json::id")]
    pub id: EventId,
    /// Its name.
    pub name: &'static str,
    /// `ns`, or `1` for plain numbers.
    #[serde(serialize_with = "json::text")]
    pub unit: Unit,
    /// Each window, the shortest first.
    #[serde(serialize_with = "json::windows")]
    pub windows: Vec<WindowReport>,
    /// Since the start; `None` if nothing happened.
    pub total: Option<Statistics>,
    /// How its spans ended since the start.
    #[serde(serialize_with = "json::outcomes")]
    pub outcomes: Outcomes,
    /// Spans that have begun and not ended.
    pub in_flight: InFlight,
}

/// Spans of one event that have begun and not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InFlight {
    /// How many.
    pub open: u64,
    /// Of those, the ones that were open when records were overwritten: their END may be lost.
    pub uncertain: u64,
    /// Further ones that found no room in the table of open spans.
    pub untracked: u64,
    /// How long the oldest has lasted, in nanoseconds.
    pub oldest_ns: Option<u64>,
    /// Its tag.
    pub oldest_tag: Option<u64>,
}

/// One of the slowest spans or durations, or of plain numbers one of the largest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlowSample {
    /// When it began, in nanoseconds since 1970; of a number, when it was measured.
    pub start_unix_ns: u64,
    /// How long it lasted, in nanoseconds, or the number.
    pub duration: u64,
    /// The tag of its START; `None` if that was not seen, or the sample is no span.
    pub tag: Option<u64>,
    /// The thread that recorded its end.
    pub thread: Arc<str>,
}

/// What is known of one event over one window.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WindowReport {
    /// The window's length.
    pub length: Duration,
    /// `None` if nothing happened in it.
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
    /// A report of these events in which nothing has happened yet.
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

    /// The report as JSON, in one line.
    ///
    /// # Panics
    /// Never: the report has only keys that are text and numbers that JSON knows.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report has only keys that are text")
    }

    /// What is known of an event; `None` if it was not announced.
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

/// A window's length as reports tell it: `1s`, `500ms`.
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
    fn a_window_is_named_by_its_length() {
        let names = [1_000_000_000, 60_000_000_000, 1_500_000_000, 250_000, 7]
            .map(Duration::from_nanos)
            .map(window_name);
        assert_eq!(names, ["1s", "60s", "1500ms", "250us", "7ns"]);
    }
}
