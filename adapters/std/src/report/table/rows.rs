//! The rows of a table: what it shows of each scope of an event.

use core::time::Duration;
use std::collections::BTreeSet;

use tailwatch_core::{ConfidenceInterval, Outcomes, Quantile, SlaState, Summary, Unit};

use super::{columns::COLUMNS, selection::Selection};
use crate::report::{
    EventReport,
    sla::{LimitKind, SlaReport, severity},
    statistics::Statistics,
    text::{grouped, per_second, value, window_name},
};

/// How the table shows a violated limit.
pub(super) const VIOLATED: &str = "VIOLATED";

/// Stands before a quantile that is estimated.
const ESTIMATED: char = '~';

/// Stands before a quantile that is the largest sample.
const MAXIMUM: &str = "^";

/// Stands before any other quantile whose confidence interval has no upper bound.
const UNBOUNDED: &str = ">";

/// Stands before a count that is incomplete.
const INCOMPLETE: char = '*';

/// Stands for the state of a limit that is not known.
const UNKNOWN: &str = "?";

/// The rows of a table, and what its legend has to explain.
#[derive(Default)]
pub(super) struct Rows<'r> {
    pub(super) all: Vec<Row<'r>>,
    /// The largest error of the quantiles in parts per million. `None` if all of them are exact.
    max_error_ppm: Option<u32>,
    /// The marks of quantiles that rest on few samples.
    few_samples: BTreeSet<&'static str>,
    has_incomplete: bool,
    has_unknown: bool,
    /// Whether a window has no row, because the row of a longer one stands for it.
    leaves_out: bool,
}

/// What one row shows of an event.
struct Scope<'r> {
    /// The window of the row, and the shorter ones for which it stands; `None` is the total.
    windows: Vec<Option<Duration>>,
    summary: Option<&'r Summary>,
    /// That of the failed spans.
    failed: Option<&'r Summary>,
}

/// A row of a table: a scope of an event.
pub(super) struct Row<'r> {
    /// The name of the event, in the first of its rows.
    pub(super) name: &'r str,
    /// The contents of all columns, also of those that the table has no room for.
    pub(super) cells: [String; COLUMNS.len()],
}

impl<'r> Rows<'r> {
    /// Makes the rows of these events, of all windows or only of those that differ.
    pub(super) fn of(selection: &Selection<'r>, all_windows: bool) -> Self {
        let mut rows = Self::default();
        for event in &selection.shown {
            let limits = selection.limits.get(&*event.name).map_or(&[][..], Vec::as_slice);
            rows.add(event, limits, all_windows);
        }
        rows
    }

    /// Adds the rows of an event. Each has the state of the limits over the windows that it shows.
    fn add(&mut self, event: &'r EventReport, limits: &[&SlaReport], all_windows: bool) {
        let windows = event.windows.iter();
        let windows = windows
            .map(|of| (Some(of.length), of.statistics.as_ref(), of.failed.as_deref()))
            .chain([(None, event.total.as_ref(), event.failed.as_deref())]);
        let scope = |(window, statistics, failed): (_, Option<&'r Statistics>, Option<&'r _>)| {
            let failed = failed.map(|failed: &Statistics| &failed.summary);
            let summary = statistics.map(|statistics| &statistics.summary);
            Scope { windows: vec![window], summary, failed }
        };
        let mut scopes: Vec<Scope<'_>> = windows.map(scope).collect();
        let all = scopes.len();
        if !all_windows {
            scopes.reverse();
            scopes.dedup_by(|shorter, longer| {
                let is_same = have_same_samples(shorter.summary, longer.summary)
                    && have_same_samples(shorter.failed, longer.failed);
                if is_same {
                    longer.windows.append(&mut shorter.windows);
                }
                is_same
            });
            scopes.reverse();
        }
        self.leaves_out |= scopes.len() < all;
        let last = scopes.len() - 1;
        let is_of_window = |limit: &SlaReport| {
            limit.kind != LimitKind::Silence
                && event.windows.iter().any(|of| of.length == limit.window)
        };
        let Outcomes { ok, error, cancelled } = event.outcomes;
        let has_ended = ok.max(error).max(cancelled) > 0;
        for (number, scope) in scopes.into_iter().enumerate() {
            let errors = if number == last {
                error.saturating_add(cancelled)
            } else {
                scope.failed.map_or(0, |failed| failed.count)
            };
            let errors = if has_ended { grouped(errors) } else { String::new() };
            let name = if number == 0 { &*event.name } else { "" };
            // A limit that is over none of the windows is in the first row.
            let states = limits.iter().filter(|limit| {
                if is_of_window(limit) {
                    scope.windows.contains(&Some(limit.window))
                } else {
                    number == 0
                }
            });
            let limit = self.limit(states.map(|limit| limit.state));
            self.note(scope.summary);
            let window = scope.windows[0].map_or_else(|| "total".to_owned(), window_name);
            let cells = cells(event.unit, window, scope.summary, errors, limit);
            self.all.push(Row { name, cells });
        }
    }

    /// Returns the cell with the state of limits: violated if one of them is, and otherwise unknown
    /// if that of one is.
    fn limit(&mut self, states: impl Iterator<Item = SlaState>) -> String {
        let text = match states.max_by_key(|state| severity(*state)) {
            None => "",
            Some(SlaState::Ok) => "ok",
            Some(SlaState::Violated) => VIOLATED,
            Some(SlaState::Unknown) => UNKNOWN,
        };
        self.has_unknown |= text == UNKNOWN;
        text.to_owned()
    }

    /// Notes what the legend has to explain of a row.
    fn note(&mut self, summary: Option<&Summary>) {
        let Some(summary) = summary else { return };
        let error = Some(summary.accuracy.max_relative_error_ppm()).filter(|error| *error > 0);
        self.max_error_ppm = self.max_error_ppm.max(error);
        self.has_incomplete |= !summary.complete;
        self.few_samples.extend(few_samples(summary));
    }

    /// Returns the explanation of the marks that the rows have.
    pub(super) fn legend(&self) -> String {
        let error = self.max_error_ppm.map(|ppm| {
            if ppm == u32::MAX {
                return format!("{ESTIMATED} estimated with unknown error, others exact");
            }
            // Rounded up: a bound must not become smaller.
            let percent = f64::from(ppm.div_ceil(100)) / 100.0;
            format!("{ESTIMATED} estimated within {percent:.2} %, others exact")
        });
        let marks = [
            (self.few_samples.contains(MAXIMUM), format!("{MAXIMUM} the maximum")),
            (
                self.few_samples.contains(UNBOUNDED),
                format!("{UNBOUNDED} too few samples for an upper bound"),
            ),
            (self.has_incomplete, format!("{INCOMPLETE} incomplete (lost or sampled)")),
            (self.has_unknown, format!("{UNKNOWN} not judged yet")),
            (self.leaves_out, "a missing row is the same as the row below it".to_owned()),
        ];
        let marks = marks.into_iter().filter_map(|(is_used, text)| is_used.then_some(text));
        error.into_iter().chain(marks).collect::<Vec<_>>().join("; ")
    }
}

/// Returns whether two scopes have the same count, extremes and quantiles, so that their rows would
/// differ in their rates alone. So do two scopes without a sample.
fn have_same_samples(one: Option<&Summary>, other: Option<&Summary>) -> bool {
    let numbers = |summary: &Summary| {
        let Summary { count, min, max, p50, p95, p99, p99_9, .. } = *summary;
        [count, min, max, p50, p95, p99, p99_9]
    };
    one.map(numbers) == other.map(numbers)
}

/// Returns the mark of each quantile of a summary that rests on few samples, or "".
///
/// The count decides, not the values: if most samples are equal, a quantile that equals the largest
/// one can still rest on many. Only if samples may have different weights, the count does not show
/// which of them is at a rank.
fn few_samples(summary: &Summary) -> [&'static str; 4] {
    let Summary { count, estimated_total, max, p50, p95, p99, p99_9, .. } = *summary;
    let quantiles = [
        (Quantile::P50, p50),
        (Quantile::P95, p95),
        (Quantile::P99, p99),
        (Quantile::P99_9, p99_9),
    ];
    quantiles.map(|(quantile, value)| {
        // The weights of sampled spans may differ, and only the value then shows whether it is the
        // maximum.
        let is_maximum =
            if count == estimated_total { quantile.rank(count) == count } else { value == max };
        if is_maximum {
            MAXIMUM
        } else if ConfidenceInterval::of_ranks(quantile, count).high.is_none() {
            UNBOUNDED
        } else {
            ""
        }
    })
}

/// Returns the contents of all columns, in their order.
fn cells(
    unit: Unit,
    scope: String,
    summary: Option<&Summary>,
    errors: String,
    limit: String,
) -> [String; COLUMNS.len()] {
    let Some(summary) = summary else {
        let zero = || "0".to_owned();
        let mut cells = [const { String::new() }; COLUMNS.len()];
        (cells[0], cells[1], cells[2], cells[3]) = (scope, zero(), zero(), errors);
        cells[COLUMNS.len() - 1] = limit;
        return cells;
    };
    let estimated = summary.accuracy.max_relative_error_ppm() > 0;
    let mark = |is_marked: bool, mark: char, text: String| {
        if is_marked { format!("{mark}{text}") } else { text }
    };
    let show = |number: u64| aligned(value(unit, number));
    let quantile =
        |number: u64, few: &str| few.to_owned() + &mark(estimated, ESTIMATED, show(number));
    let few = few_samples(summary);
    let mean = match (unit, summary.mean) {
        (_, None) => "-".to_owned(),
        (Unit::One, Some(mean)) if mean.round() < 1_000 => format!("{:.1}", mean.to_f64()),
        (_, Some(mean)) => show(mean.round()),
    };
    [
        scope,
        per_second(summary.estimated_total, summary.covered),
        mark(!summary.complete, INCOMPLETE, grouped(summary.count)),
        errors,
        show(summary.min),
        mean,
        quantile(summary.p50, few[0]),
        quantile(summary.p95, few[1]),
        quantile(summary.p99, few[2]),
        quantile(summary.p99_9, few[3]),
        show(summary.max),
        limit,
    ]
}

/// Appends a space to a number of seconds, whose unit is one letter shorter than all others.
fn aligned(text: String) -> String {
    if text.ends_with(" s") { text + " " } else { text }
}
