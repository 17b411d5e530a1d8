//! The part on an event in the JSON of a report.

use core::time::Duration;
use std::borrow::Cow;

use serde::Deserialize;
use tailwatch_core::{CoveredOutcomes, EventId, Outcome, Outcomes, Unit};

use super::{
    OutcomesJson,
    error::ReportProblem,
    read::{Pairs, Schema, shown},
    read_statistics::{Covers, ReadStatisticsJson},
};
use crate::{
    events::{
        error::EventError,
        labels::{Labels, check_name},
    },
    report::{EventReport, InFlight, WindowReport, text::window_name},
};

/// The statistics of windows. They are boxed, because a hostile text can have very many windows
/// that are `null`.
type WindowsJson = Pairs<Option<Box<ReadStatisticsJson>>>;

/// The part on an event, as far as it is read.
#[derive(Deserialize)]
pub(super) struct EventJson {
    id: Option<u64>,
    name: String,
    base_name: Option<String>,
    #[serde(default)]
    labels: Pairs<String>,
    unit: String,
    windows: WindowsJson,
    total: Option<ReadStatisticsJson>,
    of: Option<String>,
    failed: Option<ReadStatisticsJson>,
    failed_windows: Option<WindowsJson>,
    outcomes: OutcomesJson,
    in_flight: InFlight,
}

impl EventJson {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn check(
        self,
        schema: Schema,
        is_merged: bool,
    ) -> Result<EventReport, ReportProblem> {
        let bad_id = || ReportProblem::Id { id: self.id };
        let id = match self.id {
            None if is_merged => EventId::UNNUMBERED,
            None => return Err(bad_id()),
            Some(id) => u16::try_from(id).ok().and_then(EventId::new).ok_or_else(bad_id)?,
        };
        let labels = Labels::read(self.labels.0).map_err(bad_name)?;
        let suffix = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let without = self.name.strip_suffix(&suffix).unwrap_or(&self.name).to_owned();
        let base_name = schema.require("base_name", self.base_name, without)?;
        check_name(&base_name).map_err(bad_name)?;
        let expected = format!("{base_name}{suffix}");
        if self.name != expected {
            return Err(ReportProblem::OtherName { expected });
        }
        let unit = unit(&self.unit)?;
        let covers = self.of.filter(|_| schema == Schema::Two);
        let covered = covers.as_deref().map(covered).transpose()?;
        let covered = schema.require("of", covered, CoveredOutcomes::Any)?;
        let covers: Covers = match (schema, covered) {
            (Schema::Two, CoveredOutcomes::Any) => |_| true,
            (Schema::Two, CoveredOutcomes::Ok) | (Schema::One, _) => {
                |outcome| outcome.is_none_or(|outcome| outcome == Outcome::Ok)
            }
        };
        let total = self.total.map(|total| total.check_total(schema, unit, covers));
        let total = total.transpose().map_err(|problem| of("total", problem))?;
        let mut windows = windows(self.windows, unit, covers)?;
        let failed = self.failed.filter(|_| schema == Schema::Two);
        let failed = failed.map(|failed| failed.check_total(schema, unit, has_failed));
        let failed = failed.transpose().map_err(|problem| of("failed", problem))?;
        let failed_windows = self.failed_windows.map(Some);
        if let Some(of_failed) = schema.require("failed_windows", failed_windows, None)? {
            add_failed(&mut windows, of_failed, unit)?;
        }
        Ok(EventReport {
            id,
            name: Cow::Owned(self.name),
            base_name: Cow::Owned(base_name),
            labels,
            unit,
            windows,
            total,
            covered,
            failed: failed.map(Box::new),
            outcomes: {
                let OutcomesJson { ok, error, cancelled } = self.outcomes;
                Outcomes { ok, error, cancelled }
            },
            in_flight: self.in_flight,
        })
    }
}

fn windows(
    windows: WindowsJson,
    unit: Unit,
    covers: Covers,
) -> Result<Vec<WindowReport>, ReportProblem> {
    let mut read: Vec<WindowReport> = Vec::new();
    for (name, statistics) in windows.0 {
        let length = length("windows", &name)?;
        if read.last().is_some_and(|last| length <= last.length) {
            return Err(ReportProblem::WindowOrder { window: shown(&name) });
        }
        let statistics = statistics.map(|statistics| statistics.check(unit, covers)).transpose();
        let statistics = statistics.map_err(|problem| of(&name, problem))?;
        read.push(WindowReport { length, statistics, failed: None });
    }
    Ok(read)
}

/// Adds the statistics of failed spans to the windows, which must be the same.
fn add_failed(
    all: &mut [WindowReport],
    failed: WindowsJson,
    unit: Unit,
) -> Result<(), ReportProblem> {
    let failed = windows(failed, unit, has_failed)?;
    let lengths = |windows: &[WindowReport]| -> Vec<_> {
        windows.iter().map(|window| window.length).collect()
    };
    if lengths(all) != lengths(&failed) {
        return Err(ReportProblem::OtherWindows);
    }
    for (window, failed) in all.iter_mut().zip(failed) {
        window.failed = failed.statistics.map(Box::new);
    }
    Ok(())
}

/// Returns whether a span with this outcome has failed.
fn has_failed(outcome: Option<Outcome>) -> bool {
    outcome.is_some_and(|outcome| outcome != Outcome::Ok)
}

fn bad_name(error: EventError) -> ReportProblem {
    ReportProblem::Name(Box::new(error))
}

/// Reads which spans the summaries cover.
fn covered(text: &str) -> Result<CoveredOutcomes, ReportProblem> {
    let mut all = [CoveredOutcomes::Ok, CoveredOutcomes::Any].into_iter();
    all.find(|covered| covered.to_string() == text).ok_or_else(|| ReportProblem::Text {
        key: "of",
        text: shown(text),
        expected: "\"ok\" or \"any\"",
    })
}

/// Says which summary is wrong.
fn of(scope: &str, problem: ReportProblem) -> ReportProblem {
    ReportProblem::Summary { scope: scope.to_owned(), problem: Box::new(problem) }
}

/// Reads a unit.
pub(super) fn unit(text: &str) -> Result<Unit, ReportProblem> {
    let mut all = [Unit::Time, Unit::One].into_iter();
    all.find(|unit| unit.to_string() == text).ok_or_else(|| ReportProblem::Text {
        key: "unit",
        text: shown(text),
        expected: "\"ns\" or \"1\"",
    })
}

/// Reads the length of a window from its name, such as `60s`.
pub(super) fn length(key: &'static str, name: &str) -> Result<Duration, ReportProblem> {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = name.split_at(digits);
    let size = match unit {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => 0,
    };
    let nanos = number.parse::<u64>().ok().and_then(|number| number.checked_mul(size));
    let length = Duration::from_nanos(nanos.unwrap_or_default());
    if length.is_zero() || window_name(length) != name {
        let expected = "the length of a window, such as \"60s\" or \"1500ms\"";
        return Err(ReportProblem::Text { key, text: shown(name), expected });
    }
    Ok(length)
}
