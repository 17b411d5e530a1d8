//! The report as a table for people.

use core::fmt;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use tailwatch_core::{Accuracy, FixedPoint, SlaState, Summary, Unit};

use super::{
    EventReport, Report,
    text::{value, window_name},
};

const HEADER: [&str; 11] =
    ["event", "window", "count", "min", "mean", "p50", "p95", "p99", "p99.9", "max", "quantiles"];

/// Horizontal lines around the header and at the end. There are none between the rows, because a
/// report has many rows.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

impl fmt::Display for Report {
    /// Writes the table, followed by a line about the collector's health, a line about the sampled
    /// events if there are any, and a line for each violated limit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(STYLE).set_header(HEADER);
        for event in &self.events {
            for row in rows(event) {
                table.add_row(row);
            }
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        let health = &self.health;
        write!(
            f,
            "{} records: {} delivered, {} overwritten, {} pending, {} unregistered; clock {} {} at \
             {} MHz",
            health.produced,
            health.delivered,
            health.overwritten,
            health.pending,
            health.unregistered,
            self.clock.source,
            if self.clock.ordered { "ordered" } else { "relaxed" },
            self.clock.hz / 1_000_000,
        )?;
        let faults = [
            ("late", health.late),
            ("clock anomalies", health.clock_anomalies),
            ("saturated", health.saturated),
            ("invalid", health.invalid),
            ("of unknown events", health.unknown_events),
            ("rings refused", health.rings_refused),
            ("observer panics", health.observer_panics),
        ];
        for (name, count) in faults.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "; {count} {name}")?;
        }
        f.write_str(match (self.finished, health.enabled) {
            (true, _) => "; stopped",
            (false, true) => "",
            (false, false) => "; recording is off",
        })?;
        if !health.sampling.is_empty() {
            f.write_str("\nsampled: ")?;
            for (number, (event, rate)) in health.sampling.iter().enumerate() {
                write!(
                    f,
                    "{}{event} 1 in {:.0}",
                    if number > 0 { ", " } else { "" },
                    rate.recip()
                )?;
            }
        }
        for limit in self.sla.iter().filter(|limit| limit.state == SlaState::Violated) {
            write!(f, "\nviolated: {limit}")?;
        }
        Ok(())
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
    let mean = match unit {
        Unit::Time => value(unit, summary.mean.round()),
        _ => format!("{:.1}", FixedPoint::to_f64(summary.mean)),
    };
    let quantiles = match summary.accuracy {
        Accuracy::Exact => "exact".to_owned(),
        Accuracy::WithinPpm(ppm) => format!("±{:.2} %", f64::from(ppm) / 10_000.0),
    };
    let Summary { count, min, max, p50, p95, p99, p99_9, .. } = *summary;
    let count = if summary.complete { count.to_string() } else { format!("{count} (incomplete)") };
    let [min, p50, p95, p99, p99_9, max] = [min, p50, p95, p99, p99_9, max].map(show);
    [String::new(), window, count, min, mean, p50, p95, p99, p99_9, max, quantiles]
}
