//! The parts of the JSON schema `tailwatch.report/1` that are laid out differently from the
//! structs.

use core::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};
use tailwatch_core::{EventId, Outcomes, Summary};

use super::{SlowSample, Statistics, WindowReport, window_name};

/// The fields of a summary in JSON.
#[derive(Serialize)]
struct Numbers {
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
}

impl From<&Summary> for Numbers {
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
        }
    }
}

impl Serialize for Statistics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Layout<'a> {
            #[serde(flatten)]
            summary: Numbers,
            corrected: Option<Numbers>,
            slowest: &'a [SlowSample],
        }
        Layout {
            summary: (&self.summary).into(),
            corrected: self.corrected.as_ref().map(Numbers::from),
            slowest: &self.slowest,
        }
        .serialize(serializer)
    }
}

/// Writes windows as a map from the name of the window, such as `60s`, to its statistics.
pub(super) fn windows<S: Serializer>(
    windows: &[WindowReport],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(windows.len()))?;
    for WindowReport { length, statistics } in windows {
        map.serialize_entry(&window_name(*length), statistics)?;
    }
    map.end()
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

/// Writes a value as the text that its `Display` produces.
pub(crate) fn text<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
