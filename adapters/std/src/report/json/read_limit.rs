//! The part on a limit in the JSON of a report.

use core::time::Duration;
use std::sync::Arc;

use serde::Deserialize;
use tailwatch_core::{MinSamples, Quantile, SlaState, Unit};

use super::{
    AUTO, MinSamplesJson,
    error::ReportProblem,
    read::{Schema, shown},
    read_event::{length, unit},
};
use crate::{
    clock::nanos,
    report::{
        EventReport,
        sla::{LimitKind, SlaReport},
    },
};

/// The part on a limit, as far as it is read.
#[derive(Deserialize)]
pub(super) struct LimitJson {
    event: String,
    quantile: String,
    window: String,
    limit: u64,
    unit: String,
    state: String,
    over: u64,
    failed: Option<u64>,
    count: u64,
    observed: Option<u64>,
    since_unix_ns: Option<u64>,
    raised: u64,
    cleared: u64,
    min_samples: Option<MinSamplesJson>,
    raise_after_ns: Option<u64>,
    clear_after_ns: Option<u64>,
    origin: Option<Arc<str>>,
}

/// All spans, in parts per million.
const MILLION: u64 = 1_000_000;

impl LimitJson {
    /// Returns the name of the event.
    pub(super) fn event(&self) -> &str {
        &self.event
    }

    /// Checks a limit of this event.
    pub(super) fn check(
        self,
        schema: Schema,
        of_event: &EventReport,
    ) -> Result<SlaReport, ReportProblem> {
        let (kind, quantile) = self.kind()?;
        let (unit, window) = (unit(&self.unit)?, length("window", &self.window)?);
        let expected = match kind {
            LimitKind::Quantile => of_event.unit,
            LimitKind::Errors => Unit::One,
            LimitKind::Silence => Unit::Time,
        };
        if unit != expected {
            return Err(ReportProblem::OtherUnit { unit, of_event: expected });
        }
        let longest = nanos(window);
        let failed = schema.require("failed", self.failed, 0)?;
        for (is_wrong, what, first, second) in [
            (self.over > self.count, "`over` exceeds `count`", self.over, self.count),
            (failed > self.over, "`failed` exceeds `over`", failed, self.over),
            (
                kind == LimitKind::Errors && self.limit >= MILLION,
                "`limit` must be below a million, the share of all spans",
                self.limit,
                MILLION,
            ),
            (self.cleared > self.raised, "`cleared` exceeds `raised`", self.cleared, self.raised),
            (
                kind == LimitKind::Silence && self.limit != longest,
                "`limit` must be `window` in nanoseconds",
                self.limit,
                longest,
            ),
        ] {
            if is_wrong {
                return Err(ReportProblem::Contradiction { what, first, second });
            }
        }
        let is_two = schema == Schema::Two;
        let min_samples = self.min_samples.as_ref().filter(|_| is_two);
        let min_samples = min_samples.map(MinSamplesJson::check).transpose()?;
        let raise_after = self.raise_after_ns.map(Duration::from_nanos);
        Ok(SlaReport {
            event: of_event.name.clone(),
            labels: of_event.labels.clone(),
            kind,
            quantile,
            window,
            limit: self.limit,
            unit,
            state: state(&self.state)?,
            over: self.over,
            failed,
            count: self.count,
            observed: self.observed,
            since_unix_ns: self.since_unix_ns,
            raised: self.raised,
            cleared: self.cleared,
            min_samples: schema.require("min_samples", min_samples, MinSamples::Count(1))?,
            raise_after: schema.require("raise_after_ns", raise_after, Duration::ZERO)?,
            clear_after: self.clear_after_ns.filter(|_| is_two).map(Duration::from_nanos),
            origin: self.origin.filter(|_| is_two),
        })
    }

    /// Returns what is limited, and the limited quantile.
    fn kind(&self) -> Result<(LimitKind, Option<Quantile>), ReportProblem> {
        let mut others = [LimitKind::Errors, LimitKind::Silence].into_iter();
        if let Some(kind) = others.find(|kind| kind.to_string() == self.quantile) {
            return Ok((kind, None));
        }
        let quantile = self.quantile.parse().ok();
        // Written in one way only, so that the same JSON is written again.
        let quantile = quantile.filter(|read: &Quantile| read.to_string() == self.quantile);
        let kind = quantile.map(|quantile| (LimitKind::Quantile, Some(quantile)));
        kind.ok_or_else(|| ReportProblem::Text {
            key: "quantile",
            text: shown(&self.quantile),
            expected: "\"errors\", \"silence\" or a quantile, such as \"p95\" or \"p99.9\"",
        })
    }
}

impl MinSamplesJson {
    fn check(&self) -> Result<MinSamples, ReportProblem> {
        match self {
            Self::Count(samples) => Ok(MinSamples::Count(*samples)),
            Self::Text(text) if text == AUTO => Ok(MinSamples::Auto),
            Self::Text(text) => Err(ReportProblem::Text {
                key: "min_samples",
                text: shown(text),
                expected: "\"auto\" or a number",
            }),
        }
    }
}

fn state(text: &str) -> Result<SlaState, ReportProblem> {
    let mut all = [SlaState::Unknown, SlaState::Ok, SlaState::Violated].into_iter();
    all.find(|state| state.to_string() == text).ok_or_else(|| ReportProblem::Text {
        key: "state",
        text: shown(text),
        expected: "\"unknown\", \"ok\" or \"violated\"",
    })
}
