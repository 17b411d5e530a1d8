//! The report as a table for people.

mod columns;
mod notes;
mod rows;
pub(crate) mod selection;

use core::fmt;
use std::{env, io::IsTerminal};

use self::{
    columns::Columns,
    rows::Rows,
    selection::{Selection, SortBy},
};
use super::{EventReport, Report};

/// The width of a table unless [`ReportTable::width`] sets it.
const WIDTH: usize = 100;

/// The least width of a table.
const MIN_WIDTH: usize = 40;

/// A report as a table for people, which [`Report::table`] returns. Its
/// [`Display`](fmt::Display) writes it.
///
/// The table has a row for each window of each event, and for the total since the start. A window
/// with the same count, extremes and quantiles as the next longer one has no row.
/// [`all_windows`](Self::all_windows) shows each of them.
///
/// # Which events
///
/// An event has rows once it has a sample, an open span, or a violated limit. One line below the
/// table names the others. Up to 30 events are all shown, in the order in which they were
/// declared. Of more, the 20 are shown that matter most: those that took the most time since the
/// start. [`sorted_by`](Self::sorted_by) and [`top`](Self::top) change that.
///
/// Events with a violated limit are never cut, even if there are more than 20. They come first,
/// unless the table is sorted by [`SortBy::Declaration`].
///
/// # Which columns
///
/// | column | contents | left out |
/// |---|---|---|
/// | `window` | the window, or `total` | never |
/// | `rate/s` | occurrences per second of the time covered, by the samples' weight | fourth |
/// | `count` | recorded samples; `*` if records were lost or sampling left out some | seventh |
/// | `errors` | spans that ended with an error or were cancelled | sixth |
/// | `min` | the smallest sample | first |
/// | `mean` | the mean | second |
/// | `p50` | the median; any quantile may have one of the marks below | eighth |
/// | `p95` | the 95th percentile | third |
/// | `p99` | the 99th percentile | last |
/// | `p99.9` | the 99.9th percentile | fifth |
/// | `max` | the largest sample | ninth |
/// | `limit` | the state of the limits over the windows of the row | tenth |
///
/// The state is `VIOLATED` if any of the limits is violated, else `?` if any is not judged yet,
/// else `ok`, and empty if there is none. Limits on silence and over other windows are in the first
/// row.
///
/// All but `errors` are about the spans that succeeded, unless the event
/// [covers](EventReport::covered) those of any outcome. A line below the table has the failed spans
/// of an event by outcome, and how long they took.
///
/// Marks stand before a quantile:
///
/// - `^`: it is the largest sample, as p99 is below 100 samples. The next larger sample changes it.
/// - `>`: there are too few samples for an upper bound. With 95 % confidence, the true quantile is
///   [above a certain sample](crate::Statistics::interval), but it may exceed all of them. Below
///   368 samples, p99 has no upper bound. One that is the largest sample has none either.
/// - `~`: it is estimated from a histogram.
///
/// A column without contents is left out. If the others are wider than the table, they are left out
/// in the order of the last column until names have a fifth of the table, and at least 12 columns.
/// Names that are still too long are cut in the middle, with `…`. `min`, `mean` and `p95` are only
/// shown if no name is cut for them.
///
/// Durations have three significant digits. Counts are not rounded; other plain numbers are from a
/// million on also rounded to three digits. A count is that of the recorded samples: how many
/// others sampling left out is only estimated, and shows in the rate.
///
/// # Other lines
///
/// The line above the table has the time of the report and the time since the start. Those below
/// explain the marks, and are about the collector's health, the sampled events, and each violated
/// limit, also of events that the [filter](Self::filter) leaves out.
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
/// println!("{}", report.table().for_terminal(&std::io::stdout()));
/// let orders = report.table().filter(|event| event.name.starts_with("order"));
/// println!("{}", orders.sorted_by(SortBy::P99).top(1).with_slowest());
/// # let all = report.table().top(1).to_string();
/// # assert!(all.contains("… and 1 more event;"), "{all}");
/// # assert!(all.contains("\nnot seen: "), "{all}");
/// # Ok(())
/// # }
/// ```
#[must_use = "a table is written by its `Display`"]
pub struct ReportTable<'r> {
    report: &'r Report,
    order: Option<SortBy>,
    top: Option<usize>,
    filter: Option<Filter<'r>>,
    width: usize,
    all_windows: bool,
    colours: bool,
    has_slowest: bool,
}

/// Returns whether a table shows the event.
type Filter<'r> = Box<dyn Fn(&EventReport) -> bool + 'r>;

impl Report {
    /// Returns the report as a table, in which events can be sorted, cut and filtered. The report's
    /// own [`Display`](fmt::Display) writes the table with its defaults.
    pub fn table(&self) -> ReportTable<'_> {
        ReportTable {
            report: self,
            order: None,
            top: None,
            filter: None,
            width: WIDTH,
            all_windows: false,
            colours: false,
            has_slowest: false,
        }
    }
}

impl<'r> ReportTable<'r> {
    /// Sets the order of the events, by default [`SortBy::TotalTime`] if there are more than 30 or
    /// the table is [cut](Self::top). Those with a violated limit come before all others, unless it
    /// is [`SortBy::Declaration`].
    pub fn sorted_by(mut self, order: SortBy) -> Self {
        self.order = Some(order);
        self
    }

    /// Sets how many events are shown, by default 20 if there are more than 30. Those with a
    /// violated limit are shown even if there are more. `usize::MAX` shows all that were seen.
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

    /// Sets how many columns wide the table may be, by default 100. No line is wider. A width below
    /// 40 counts as 40; `usize::MAX` shows all columns and cuts no name.
    pub fn width(mut self, columns: usize) -> Self {
        self.width = columns.max(MIN_WIDTH);
        self
    }

    /// Adapts the table to the terminal if the stream that it will be written to is one: the table
    /// is as wide as the terminal, and has colours unless the environment variable `NO_COLOR` is
    /// set and not empty ([no-color.org](https://no-color.org)) or `TERM` is `dumb`. On any other
    /// stream, the table stays as it is.
    ///
    /// The width is that of the terminal of the process: of its standard output, standard error or
    /// standard input, whichever is a terminal. If it has no size, the width is 100.
    pub fn for_terminal(self, stream: &impl IsTerminal) -> Self {
        if !stream.is_terminal() {
            return self;
        }
        let colours = has_escapes(stream) && env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let columns = terminal_size().map_or(WIDTH, |(columns, _)| columns);
        self.width(columns).colours(colours)
    }

    /// Sets whether violations are red, by ANSI escape sequences. By default, they are not.
    pub fn colours(mut self, are_on: bool) -> Self {
        self.colours = are_on;
        self
    }

    /// Shows every window of each event in a row of its own, also those without a sample and those
    /// with the same samples as the next longer one.
    pub fn all_windows(mut self) -> Self {
        self.all_windows = true;
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

    /// Returns the lines of the table.
    fn lines(&self) -> Vec<String> {
        let Self { report, width, colours, .. } = *self;
        let selection = Selection::of(self);
        let rows = Rows::of(&selection, self.all_windows);
        let mut lines = Vec::new();
        notes::push_wrapped(&mut lines, &notes::title(report), width);
        if !rows.all.is_empty() {
            let columns = Columns::of(&rows.all, width);
            lines.extend([columns.titles(), columns.rule()]);
            lines.extend(rows.all.iter().map(|row| columns.row(row, colours)));
            lines.push(columns.rule());
        }
        let mut below = Vec::new();
        below.push(rows.legend());
        if selection.cut > 0 {
            below.push(notes::more(selection.cut));
        }
        below.extend(notes::failed(&selection));
        below.extend(notes::not_seen(&selection.not_seen, width));
        below.push(notes::records(report));
        below.extend(notes::sampled(report, width));
        for note in below.iter().filter(|note| !note.is_empty()) {
            notes::push_wrapped(&mut lines, note, width);
        }
        notes::push_violated(&mut lines, report, (width, colours));
        if self.has_slowest {
            for line in notes::slowest(report, &selection) {
                notes::push_wrapped(&mut lines, &line, width);
            }
        }
        lines
    }
}

/// Returns whether a stream is a terminal that understands ANSI escape sequences.
pub(crate) fn has_escapes(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Returns the columns and lines of the process's terminal, if it has one that has a size.
pub(crate) fn terminal_size() -> Option<(usize, usize)> {
    let (columns, lines) = terminal_size::terminal_size()?;
    Some((usize::from(columns.0), usize::from(lines.0)))
}

impl fmt::Display for Report {
    /// Writes the [table](Self::table) with its defaults.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)
    }
}

impl fmt::Display for ReportTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl fmt::Debug for ReportTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportTable")
            .field("order", &self.order)
            .field("top", &self.top)
            .field("width", &self.width)
            .field("all_windows", &self.all_windows)
            .field("colours", &self.colours)
            .field("has_slowest", &self.has_slowest)
            .finish_non_exhaustive()
    }
}
