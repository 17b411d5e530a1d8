//! The parts of the JSON schema `tailwatch.report/1` that are laid out differently from the
//! structs.

use core::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};
use tailwatch_core::{EventId, FixedPoint, Outcomes, Summary};

use super::interval::Intervals;

/// The fields of a summary in JSON.
#[derive(Serialize)]
pub(super) struct Numbers {
    count: u64,
    estimated_total: u64,
    min: u64,
    max: u64,
    /// `null` if it is not known.
    mean: Option<f64>,
    /// As `mean`.
    stddev: Option<f64>,
    p50: u64,
    p95: u64,
    p99: u64,
    p99_9: u64,
    /// `null` if a summary is corrected, or if the weights of its samples may differ.
    interval: Option<Intervals>,
    max_relative_error_ppm: u32,
    covered_ns: u64,
    complete: bool,
}

impl From<&Summary> for Numbers {
    /// Takes the numbers of a summary, without intervals.
    fn from(summary: &Summary) -> Self {
        Self {
            count: summary.count,
            estimated_total: summary.estimated_total,
            min: summary.min,
            max: summary.max,
            mean: summary.mean.map(FixedPoint::to_f64),
            stddev: summary.stddev.map(FixedPoint::to_f64),
            p50: summary.p50,
            p95: summary.p95,
            p99: summary.p99,
            p99_9: summary.p99_9,
            interval: None,
            max_relative_error_ppm: summary.accuracy.max_relative_error_ppm(),
            covered_ns: summary.covered,
            complete: summary.complete,
        }
    }
}

impl Numbers {
    /// Returns the same numbers with the confidence intervals of the quantiles.
    pub(super) fn with_intervals(self, interval: Option<Intervals>) -> Self {
        Self { interval, ..self }
    }
}

/// Writes outcomes as a map, because the core's type does not implement `Serialize`.
pub(super) fn outcomes<S: Serializer>(
    outcomes: &Outcomes,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(3))?;
    map.serialize_entry("ok", &outcomes.ok)?;
    map.serialize_entry("error", &outcomes.error)?;
    map.serialize_entry("cancelled", &outcomes.cancelled)?;
    map.end()
}

/// Writes an event's id as a number.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde requires")]
pub(super) fn id<S: Serializer>(id: &EventId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(id.get())
}

/// Writes a value as [`text`] does, or `null` if there is none.
#[expect(clippy::ref_option, reason = "the signature that serde requires")]
pub(super) fn optional_text<T: fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Writes a value as the text that its `Display` produces.
pub(crate) fn text<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
