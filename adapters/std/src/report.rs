//! The report: an immutable snapshot of everything that a collector has measured up to one moment.

pub(crate) mod diff;
mod family;
pub(crate) mod health;
mod histogram;
mod interval;
pub(crate) mod json;
pub(crate) mod memory;
pub(crate) mod merge;
mod owned_data;
mod packed_counts;
pub(crate) mod published;
pub(crate) mod sla;
mod stated_quantile;
pub(crate) mod statistics;
mod summary_sum;
#[cfg(feature = "table")]
pub(crate) mod table;
pub(crate) mod text;
#[cfg(feature = "table")]
mod thread_labels;

use core::time::Duration;
use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tailwatch_core::{
    CoveredOutcomes, Event, EventId, EventInfo, Outcomes, Pairing, Unit, WindowSpec,
};

use self::{
    health::Health,
    merge::MergedCollector,
    sla::SlaReport,
    statistics::{SlowSample, Statistics},
};
use crate::{
    clock::ClockSource,
    events::{labels::Labels, numbers},
};

/// A snapshot of everything that a collector has measured up to one moment. It never changes.
///
/// The statistics include every record that the drain had read at that moment, and windows end
/// there. While somebody reads reports, the drain replaces the last report at most 10 ms after a
/// change, or after 250 ms if more than 64 events changed, and up to 750 ms if more than 512 did.
/// What does not follow from records may then be up to 1 s old: the time of the report and the
/// uptime, the [time that summaries cover](tailwatch_core::Summary::covered), the ages of open
/// spans and silences, and those parts of the health that change without records. If records are
/// lost and more than 64 events have been recorded, it may take 250 ms, or up to 750 ms with more
/// than 512 events, until the summaries of all of them are marked as incomplete.
///
/// With more than 512 events, all of this may be up to 5 s old if nobody has read a report for 5 s.
/// The read then brings the next report: see [`Collector::report`](crate::Collector::report). After
/// a [`flush`](crate::Collector::flush), everything is as of the flush.
///
/// [`Display`](core::fmt::Display) formats it as a table for people: see
/// [`ReportTable`](crate::ReportTable). [`to_json`](Self::to_json) returns it as JSON, from which
/// [`from_json`](Self::from_json) reads it. [`merge`](Self::merge) combines reports of several
/// processes.
///
/// Two reports are equal if their JSON is. So a report equals what is read from its JSON, although
/// that lacks the samples of windows, and has a histogram in place of the samples since the start.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The name of the JSON schema, `tailwatch.report/2`, or `tailwatch.report/1` if the report was
    /// read from that, which lacks some of what is here.
    pub schema: &'static str,
    /// The time of the report, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The time of the collector's start, in nanoseconds since 1970. Reports with the same time are
    /// of the same collector. 0 in a report that was read from the schema `tailwatch.report/1`.
    pub started_unix_ns: u64,
    /// The time since the collector's start, in nanoseconds.
    pub uptime_ns: u64,
    /// The collectors whose reports were [merged](Self::merge), by the time of their start. Empty
    /// in a report of one collector.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub collectors: Vec<MergedCollector>,
    /// The clock that measured everything in the report. `None` in a merged report of collectors
    /// whose clocks differ.
    pub clock: Option<ClockReport>,
    /// All events, in the order in which they were passed to
    /// [`Builder::events`](crate::Builder::events) or made.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClockReport {
    /// `tsc` (the processor's counter) or `monotonic` (the operating system's clock).
    #[serde(serialize_with = "json::text", deserialize_with = "json::read::clock_source")]
    pub source: ClockSource,
    /// Whether reading the clock at the end of a span waits until the measured work is done
    /// ([`ClockMode::Ordered`](crate::ClockMode::Ordered)).
    pub ordered: bool,
    /// The ticks of the clock per second. Those of the processor's counter are measured once per
    /// process; the operating system's clock has 10^9.
    pub hz: u64,
    /// By how much faster the clock ran than the operating system's clock since the start of the
    /// collector, in parts per million. Negative if it ran slower.
    pub drift_ppm: f64,
}

/// The part of a report about one event: its statistics over each window and since the start, the
/// outcomes of its spans, and its open spans. The limits of all events are in [`Report::sla`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventReport {
    /// The event's id. [`EventId::UNNUMBERED`] in a [merged](Report::merge) report, if the event
    /// had different ids, or if its id is also that of another event; JSON then has `null`.
    pub id: EventId,
    /// The event's name. That of an event with labels contains them, as in
    /// `order_placement{symbol="BTCUSDT"}`.
    pub name: Cow<'static, str>,
    /// The event's name without the labels, which the events of a [`Family`](crate::Family) share.
    pub base_name: Cow<'static, str>,
    /// The labels with which the program has made the event.
    pub labels: Labels,
    /// The unit of the event's samples: `ns` for nanoseconds, or `1` for plain numbers.
    pub unit: Unit,
    /// The statistics over each window, the shortest window first. Empty in a
    /// [merged](Report::merge) report.
    pub windows: Vec<WindowReport>,
    /// The statistics since the start, or `None` if there is no sample.
    pub total: Option<Statistics>,
    /// Which spans `windows` and `total` cover, by outcome. JSON calls it `of`. In a report that
    /// was read from the schema `tailwatch.report/1`, all.
    pub covered: CoveredOutcomes,
    /// The statistics of the event's failed spans since the start: those that ended with another
    /// outcome than `Ok`. `None` if there are none, and in a report that was read from the schema
    /// `tailwatch.report/1`. Their slowest are the failed ones among the slowest spans of any
    /// outcome, so there may be none.
    pub failed: Option<Box<Statistics>>,
    /// The number of the event's spans that ended since the start, by outcome: each END that was
    /// drained counts as 1, whatever its weight. Discarded spans are not included.
    pub outcomes: Outcomes,
    /// The event's open spans.
    pub in_flight: InFlight,
}

/// The open spans of one event: the drain has read their START, and neither their END nor a FORGET.
/// A table with 896 entries for all events tracks them. In a full table, the event with the most
/// open spans gives up its youngest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InFlight {
    /// The number of open spans in the table.
    pub open: u64,
    /// The number of these spans that were open when the drain found that records were lost, or
    /// that the clock restarted. Their END may be among the lost records, so they may have ended.
    pub uncertain: u64,
    /// The number of further spans that have not ended, but found no room in the table or gave it
    /// up.
    pub untracked: u64,
    /// The age of the oldest open span, in nanoseconds. `None` if no span is open.
    pub oldest_ns: Option<u64>,
    /// The tag of the oldest open span. `None` if no span is open.
    pub oldest_tag: Option<u64>,
}

/// The statistics of one event over one window.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WindowReport {
    /// The window's length.
    pub length: Duration,
    /// The statistics over the window, or `None` if the window has no sample.
    pub statistics: Option<Statistics>,
    /// The statistics of the failed spans in the window, or `None` if there are none: see
    /// [`EventReport::failed`]. The event's [`covered`](EventReport::covered) shows whether
    /// `statistics` covers them, too.
    pub failed: Option<Box<Statistics>>,
}

impl WindowReport {
    /// Returns the slowest spans and samples of the window, at most 4, the slowest first: those of
    /// the statistics or, if every span has failed, of the failed spans.
    pub fn slowest(&self) -> &[SlowSample] {
        slowest_of(self.statistics.as_ref(), self.failed.as_deref())
    }
}

/// Returns the slowest samples of a window or of the total.
fn slowest_of<'r>(
    statistics: Option<&'r Statistics>,
    failed: Option<&'r Statistics>,
) -> &'r [SlowSample] {
    statistics.or(failed).map_or(&[], |statistics| &statistics.slowest)
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
        let made = numbers::made_event(info.id);
        let (base_name, labels) = made.unwrap_or((info.name, Labels::default()));
        Self {
            id: info.id,
            name: info.name.into(),
            base_name: base_name.into(),
            labels,
            unit: info.unit,
            windows: windows
                .iter()
                .map(|spec| WindowReport { length: spec.length, statistics: None, failed: None })
                .collect(),
            total: None,
            covered: info.outcomes,
            failed: None,
            outcomes: Outcomes::default(),
            in_flight: InFlight::default(),
        }
    }
}

impl EventReport {
    /// Returns a declaration of the event with its id, name and unit, and without limits, such as
    /// for `parse_limits`. `None` in a report that was
    /// [read](Report::from_json), whose event need not be one of this process, and if the event has
    /// no id.
    pub fn info(&self) -> Option<EventInfo> {
        // Only a report that was read owns its names.
        let Cow::Borrowed(name) = self.name else { return None };
        let outcomes = self.covered;
        let info = EventInfo { unit: self.unit, outcomes, ..EventInfo::new(self.id, name) };
        (self.id != EventId::UNNUMBERED).then_some(info)
    }

    /// Returns the name of an event of this process, or `unknown` in a report that was read.
    pub(crate) fn static_name(&self) -> &'static str {
        self.info().map_or("unknown", |info| info.name)
    }
}

impl EventReport {
    /// Returns the slowest spans and samples since the start, at most 4, the slowest first: those
    /// of the statistics or, if every span has failed, of the failed spans.
    pub fn slowest(&self) -> &[SlowSample] {
        slowest_of(self.total.as_ref(), self.failed.as_deref())
    }
}

impl Report {
    /// Creates a report of these events without any samples.
    pub(crate) fn empty(unix_ns: u64, clock: ClockReport, events: Vec<EventReport>) -> Self {
        Self {
            schema: json::SCHEMA_2,
            unix_ns,
            started_unix_ns: 0,
            uptime_ns: 0,
            collectors: Vec::new(),
            clock: Some(clock),
            events,
            sla: Vec::new(),
            health: Health { enabled: true, ..Health::default() },
            finished: false,
        }
    }

    /// Returns the report as JSON of the schema `tailwatch.report/2`, in one line: durations are
    /// whole nanoseconds, a window or total without a sample is `null`, and
    /// `max_relative_error_ppm` is 0 for exact quantiles. One that was [read](Self::from_json) from
    /// the schema `tailwatch.report/1` keeps the name of its schema; what that lacks is written as
    /// [`from_json`](Self::from_json) describes.
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
        let of_id = |event: &&EventReport| event.id == id && id != EventId::UNNUMBERED;
        self.events.iter().find(of_id)
    }
}

impl PartialEq for Report {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}
