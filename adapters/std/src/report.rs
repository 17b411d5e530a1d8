//! The report: what every exporter starts from.

use core::{fmt, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap};
use tailwatch_core::{EventId, EventInfo, Outcomes, Pairing, Summary, Unit};

use crate::{Health, table};

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
    sla: [(); 0],
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
    #[serde(serialize_with = "text")]
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
    #[serde(serialize_with = "id")]
    pub id: EventId,
    /// Its name.
    pub name: &'static str,
    /// `ns`, or `1` for plain numbers.
    #[serde(serialize_with = "text")]
    pub unit: Unit,
    /// Each window, the shortest first.
    #[serde(serialize_with = "windows")]
    pub windows: Vec<WindowReport>,
    /// Since the start; `None` if nothing happened.
    #[serde(serialize_with = "summary")]
    pub total: Option<Summary>,
    /// How its spans ended since the start.
    #[serde(serialize_with = "outcomes")]
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

/// `null`: what is not measured yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct NotKnown;

/// What is known of one event over one window.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WindowReport {
    /// The window's length.
    pub length: Duration,
    /// `None` if nothing happened in it.
    pub summary: Option<Summary>,
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
    pub(crate) fn new(info: &EventInfo) -> Self {
        Self {
            id: info.id,
            name: info.name,
            unit: info.unit,
            windows: Vec::new(),
            total: None,
            outcomes: Outcomes::default(),
            in_flight: InFlight::default(),
        }
    }

    pub(crate) fn add_window(&mut self, length: Duration, summary: Option<Summary>) {
        self.windows.push(WindowReport { length, summary });
    }
}

impl Report {
    pub(crate) fn new(
        unix_ns: u64,
        uptime_ns: u64,
        clock: ClockReport,
        events: Vec<EventReport>,
        health: Health,
    ) -> Self {
        Self { schema: "tailwatch.report/1", unix_ns, uptime_ns, clock, events, sla: [], health, finished: false }
    }

    /// The report as JSON, in one line.
    ///
    /// # Panics
    /// Never: the report has only keys that are text and numbers that JSON knows.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report has only keys that are text")
    }

    /// The event of this number.
    pub fn event(&self, id: EventId) -> Option<&EventReport> {
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
    let (size, unit) = units.into_iter().find(|(size, _)| nanos.is_multiple_of(*size)).unwrap_or((1, "ns"));
    format!("{}{unit}", nanos / size)
}

/// A summary in the layout of the schema.
#[derive(Serialize)]
struct SummaryJson {
    count: u64,
    estimated_total: u64,
    min: u64,
    max: u64,
    mean: f64,
    stddev: f64,
    p50: u64,
    p95: u64,
    p99: u64,
    p99_9: u64,
    max_relative_error_ppm: u32,
    covered_ns: u64,
    complete: bool,
    corrected: NotKnown,
    slowest: [(); 0],
}

impl From<&Summary> for SummaryJson {
    fn from(summary: &Summary) -> Self {
        Self {
            count: summary.count,
            estimated_total: summary.estimated_total,
            min: summary.min,
            max: summary.max,
            mean: summary.mean.to_f64(),
            stddev: summary.stddev.to_f64(),
            p50: summary.p50,
            p95: summary.p95,
            p99: summary.p99,
            p99_9: summary.p99_9,
            max_relative_error_ppm: summary.accuracy.max_relative_error_ppm(),
            covered_ns: summary.covered,
            complete: summary.complete,
            corrected: NotKnown,
            slowest: [],
        }
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn summary<S: Serializer>(summary: &Option<Summary>, serializer: S) -> Result<S::Ok, S::Error> {
    summary.as_ref().map(SummaryJson::from).serialize(serializer)
}

fn windows<S: Serializer>(windows: &[WindowReport], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(windows.len()))?;
    for WindowReport { length, summary } in windows {
        map.serialize_entry(&window_name(*length), &summary.as_ref().map(SummaryJson::from))?;
    }
    map.end()
}

fn outcomes<S: Serializer>(outcomes: &Outcomes, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(3))?;
    map.serialize_entry("ok", &outcomes.ok)?;
    map.serialize_entry("error", &outcomes.error)?;
    map.serialize_entry("cancelled", &outcomes.cancelled)?;
    map.end()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn id<S: Serializer>(id: &EventId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(id.get())
}

fn text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_named_by_its_length() {
        let names =
            [1_000_000_000, 60_000_000_000, 1_500_000_000, 250_000, 7].map(Duration::from_nanos).map(window_name);
        assert_eq!(names, ["1s", "60s", "1500ms", "250us", "7ns"]);
    }
}
