//! The report as a table for people.

use core::{cmp::Ordering, fmt, time::Duration};
use std::{collections::HashSet, time::UNIX_EPOCH};

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use tailwatch_core::{Accuracy, FixedPoint, SlaState, Summary, Unit};

use super::{
    EventReport, Report,
    text::{value, window_name},
    thread_labels::ThreadLabels,
};

const HEADER: [&str; 11] =
    ["event", "window", "count", "min", "mean", "p50", "p95", "p99", "p99.9", "max", "quantiles"];

/// Horizontal lines around the header and at the end. There are none between the rows, because a
/// report has many rows.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// A report with at most this many events is shown in full, in the order of its events.
const SMALL: usize = 30;

/// How many events a table has unless [`ReportTable::top`] sets it. With three windows, these take
/// 80 lines. Also how many sampled events the line about sampling names.
const TOP: usize = 20;

/// The order of the events in a [`ReportTable`], by their samples since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SortBy {
    /// The order in which the events were passed to [`Builder::events`](crate::Builder::events).
    Declaration,
    /// The largest sum of all durations first, that is, what took the most time. A sample counts as
    /// often as its weight. Plain numbers follow in the order of their declaration.
    #[default]
    TotalTime,
    /// The most frequent event first. A sample counts as often as its weight.
    Count,
    /// The largest p99 first. Plain numbers follow in an order of their own.
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
        let Some(Summary { estimated_total, mean, p99, max, .. }) =
            event.total.as_ref().map(|total| total.summary)
        else {
            return (is_plain, -1.0);
        };
        match self {
            Self::Declaration => (false, 0.0),
            Self::TotalTime if is_plain => (true, 0.0),
            // A sum that is not known is larger than any other.
            Self::TotalTime => {
                let mean = mean.map_or(f64::INFINITY, FixedPoint::to_f64);
                (false, mean * estimated_total as f64)
            }
            Self::Count => (false, estimated_total as f64),
            Self::P99 => (is_plain, p99 as f64),
            Self::Max => (is_plain, max as f64),
        }
    }
}

/// A report as a table for people, which [`Report::table`] returns. Its
/// [`Display`](fmt::Display) writes it.
///
/// By default, a report of up to 30 events is shown in full, in the order of the events. A larger
/// report shows the 20 events that matter most: those with a violated limit, and then those that
/// took the most time since the start. Whenever the table is [sorted](Self::sorted_by) or
/// [cut](Self::top), and in a larger report:
///
/// - events with a violated limit are never cut, even if there are more than 20, and come first
///   unless the order is [`SortBy::Declaration`];
/// - idle events, which have had no sample since the start, have no row;
/// - a last line says how many events have no row, and how many of these are idle.
///
/// Below the table are a line about the collector's health, a line about the sampled events if
/// there are any, and a line for each violated limit, also those of events that the
/// [filter](Self::filter) leaves out.
///
/// ```
/// use tailwatch::{Collector, SortBy, Trading, time};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().start()?;
/// collector.register_thread("main")?;
/// time(Trading::OrderPlacement, || ());
/// time(Trading::OrderFill, || ());
/// collector.stop();
/// let report = collector.report();
/// println!("{report}"); // the same as `report.table()`
/// let orders = report.table().filter(|event| event.name.starts_with("order"));
/// println!("{}", orders.sorted_by(SortBy::P99).top(1).with_slowest());
/// # let all = report.table().top(1).to_string();
/// # assert!(all.contains("… and 7 more events (6 idle)"), "{all}");
/// # Ok(())
/// # }
/// ```
#[must_use = "a table is written by its `Display`"]
pub struct ReportTable<'r> {
    report: &'r Report,
    order: Option<SortBy>,
    top: Option<usize>,
    filter: Option<Filter<'r>>,
    has_slowest: bool,
}

/// Returns whether a table shows the event.
type Filter<'r> = Box<dyn Fn(&EventReport) -> bool + 'r>;

/// The events that a table shows.
struct Selection<'r> {
    shown: Vec<&'r EventReport>,
    /// The number of events that would be shown if the table were longer.
    cut: usize,
    /// The number of events that have no row because they are idle.
    idle: usize,
}

impl Report {
    /// Returns the report as a table, in which events can be sorted, cut and filtered. The report's
    /// own [`Display`](fmt::Display) writes the table with its defaults.
    pub fn table(&self) -> ReportTable<'_> {
        ReportTable { report: self, order: None, top: None, filter: None, has_slowest: false }
    }
}

impl<'r> ReportTable<'r> {
    /// Sets the order of the events, by default [`SortBy::TotalTime`]. Those with a violated limit
    /// come before all others, unless it is [`SortBy::Declaration`].
    pub fn sorted_by(mut self, order: SortBy) -> Self {
        self.order = Some(order);
        self
    }

    /// Sets how many events are shown, by default 20. Those with a violated limit are shown even if
    /// there are more. `usize::MAX` shows all that are not idle.
    pub fn top(mut self, events: usize) -> Self {
        self.top = Some(events);
        self
    }

    /// Leaves out the events for which `keep` returns `false`, for good: also those with a violated
    /// limit. A second filter replaces the first one.
    pub fn filter(mut self, keep: impl Fn(&EventReport) -> bool + 'r) -> Self {
        self.filter = Some(Box::new(keep));
        self
    }

    /// Adds a line below the table for each of the slowest samples since the start of each event
    /// that is shown: its duration, when it began, its tag and its thread. If several threads in
    /// the report have the same name, the thread is shown as `name#tid`, with the number that the
    /// operating system gave it.
    pub fn with_slowest(mut self) -> Self {
        self.has_slowest = true;
        self
    }

    /// Returns the events that the table shows.
    fn select(&self) -> Selection<'r> {
        let keeps = |event: &&EventReport| self.filter.as_ref().is_none_or(|keep| keep(event));
        let kept: Vec<&EventReport> = self.report.events.iter().filter(keeps).collect();
        if self.order.is_none() && self.top.is_none() && kept.len() <= SMALL {
            return Selection { shown: kept, cut: 0, idle: 0 };
        }
        let limits = self.report.sla.iter();
        let violated = limits.filter(|limit| limit.state == SlaState::Violated);
        let violated: HashSet<&str> = violated.map(|limit| limit.event).collect();
        let is_violated = |event: &EventReport| violated.contains(event.name);
        let (mut shown, idle): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|event| event.total.is_some() || is_violated(event));
        let order = self.order.unwrap_or_default();
        if order != SortBy::Declaration {
            // Events that compare as equal stay in the order of their declaration.
            shown.sort_by(|one, other| {
                is_violated(other).cmp(&is_violated(one)).then_with(|| order.compare(one, other))
            });
        }
        let all = shown.len();
        let must_show = shown.iter().filter(|event| is_violated(event)).count();
        let mut room = self.top.unwrap_or(TOP).saturating_sub(must_show);
        shown.retain(|event| {
            is_violated(event) || room.checked_sub(1).inspect(|left| room = *left).is_some()
        });
        Selection { cut: all - shown.len(), shown, idle: idle.len() }
    }
}

impl fmt::Display for Selection<'_> {
    /// Writes the table of the events, and how many others there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(STYLE).set_header(HEADER);
        for row in self.shown.iter().flat_map(|event| rows(event)) {
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        let Self { cut, idle, .. } = *self;
        let events = |count| if count == 1 { "event" } else { "events" };
        match (cut, idle) {
            (0, 0) => Ok(()),
            (0, _) => writeln!(f, "… and {idle} idle {}", events(idle)),
            _ => writeln!(
                f,
                "… and {} more {} ({idle} idle); Report::table().top(usize::MAX) shows all but the \
                 idle",
                cut + idle,
                events(cut + idle)
            ),
        }
    }
}

impl fmt::Display for Report {
    /// Writes the [table](Self::table) with its defaults.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)
    }
}

impl fmt::Display for ReportTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { sla, health, clock, finished, .. } = self.report;
        let selection = self.select();
        write!(f, "{selection}")?;
        write!(
            f,
            "{} records: {} delivered, {} overwritten, {} pending, {} unregistered; clock {} {} at \
             {} MHz",
            health.produced,
            health.delivered,
            health.overwritten,
            health.pending,
            health.unregistered,
            clock.source,
            if clock.ordered { "ordered" } else { "relaxed" },
            clock.hz / 1_000_000,
        )?;
        let faults = [
            ("late", health.late),
            ("clock anomalies", health.clock_anomalies),
            ("saturated", health.saturated),
            ("negative differences", health.negative_differences),
            ("tags without a record", health.orphan_tags),
            ("invalid", health.invalid),
            ("of unknown events", health.unknown_events),
            ("rings refused", health.rings_refused),
            ("observer panics", health.observer_panics),
        ];
        for (name, count) in faults.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "; {count} {name}")?;
        }
        f.write_str(match (finished, health.enabled) {
            (true, _) => "; stopped",
            (false, true) => "",
            (false, false) => "; recording is off",
        })?;
        if !health.sampling.is_empty() {
            f.write_str("\nsampled: ")?;
            for (number, (event, rate)) in health.sampling.iter().take(TOP).enumerate() {
                write!(
                    f,
                    "{}{event} 1 in {:.0}",
                    if number > 0 { ", " } else { "" },
                    rate.recip()
                )?;
            }
            let more = health.sampling.len().saturating_sub(TOP);
            if more > 0 {
                write!(f, " and {more} more")?;
            }
        }
        for limit in sla.iter().filter(|limit| limit.state == SlaState::Violated) {
            write!(f, "\nviolated: {limit}")?;
        }
        if self.has_slowest {
            write_slowest(f, self.report, &selection.shown)?;
        }
        Ok(())
    }
}

/// Writes a line for each of the slowest samples of these events since the start.
fn write_slowest(
    f: &mut fmt::Formatter<'_>,
    report: &Report,
    events: &[&EventReport],
) -> fmt::Result {
    let labels = ThreadLabels::of(report);
    for event in events {
        for slow in event.total.iter().flat_map(|total| &total.slowest) {
            let began = UNIX_EPOCH + Duration::from_nanos(slow.start_unix_ns);
            write!(
                f,
                "\nslowest {}: {} at {}",
                event.name,
                value(event.unit, slow.duration),
                humantime::format_rfc3339_nanos(began)
            )?;
            if let Some(tag) = slow.tag.filter(|tag| *tag != 0) {
                write!(f, ", tag {tag}")?;
                if let Some(name) = &slow.tag_name {
                    write!(f, " ({name})")?;
                }
            }
            write!(f, ", thread {}", labels.label(slow))?;
        }
    }
    Ok(())
}

impl fmt::Debug for ReportTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportTable")
            .field("order", &self.order)
            .field("top", &self.top)
            .field("has_slowest", &self.has_slowest)
            .finish_non_exhaustive()
    }
}

/// Returns a row for each window with a sample, and after them the row of the total. An event
/// without any sample has one row with the count 0.
fn rows(event: &EventReport) -> Vec<[String; 11]> {
    let windows =
        event.windows.iter().map(|window| (window_name(window.length), window.statistics.as_ref()));
    let scopes = windows.chain([("total".to_owned(), event.total.as_ref())]);
    let mut rows: Vec<_> = scopes
        .filter_map(|(window, known)| known.map(|known| row(event.unit, window, &known.summary)))
        .collect();
    if rows.is_empty() {
        let mut nothing = [const { String::new() }; 11];
        "0".clone_into(&mut nothing[2]);
        rows.push(nothing);
    }
    event.name.clone_into(&mut rows[0][0]);
    rows
}

/// Returns the row of a summary. Its first cell, the name of the event, is empty.
fn row(unit: Unit, window: String, summary: &Summary) -> [String; 11] {
    let show = |number: u64| value(unit, number);
    let mean = summary.mean.map_or("-".to_owned(), |mean| match unit {
        Unit::Time => value(unit, mean.round()),
        _ => format!("{:.1}", FixedPoint::to_f64(mean)),
    });
    let quantiles = match summary.accuracy {
        Accuracy::Exact => "exact".to_owned(),
        Accuracy::WithinPpm(ppm) => format!("±{:.2} %", f64::from(ppm) / 10_000.0),
    };
    let Summary { count, min, max, p50, p95, p99, p99_9, .. } = *summary;
    let count = if summary.complete { count.to_string() } else { format!("{count} (incomplete)") };
    let [min, p50, p95, p99, p99_9, max] = [min, p50, p95, p99, p99_9, max].map(show);
    [String::new(), window, count, min, mean, p50, p95, p99, p99_9, max, quantiles]
}
