//! The histogram of all samples since the start in JSON.

use serde::{Deserialize, Serialize};
use tailwatch_core::{Buckets, TimeUnit, Unit, UnitConverter};

use super::{error::HistogramProblem, read::shown};
use crate::report::{
    histogram::{Histogram, UNDERFLOW, ZERO, index_of, number},
    statistics::Statistics,
};

/// A histogram in JSON. A bucket with the number i counts the values in (2^(i/2^scale),
/// 2^((i+1)/2^scale)] units.
#[derive(Serialize, Deserialize)]
pub(super) struct HistogramJson {
    scale: u8,
    unit: String,
    /// The range begins above 2^lowest units.
    lowest: u8,
    /// The range ends at 2^(lowest + octaves) units, which it includes.
    octaves: u8,
    /// The weight of the samples that are 0.
    zero: u64,
    /// The weight of those above 0 that lie below the range.
    underflow: u64,
    /// The weight of those that lie above the range.
    overflow: u64,
    /// The number and the weight of each bucket that is not empty, in ascending order.
    buckets: Vec<(u64, u64)>,
}

impl HistogramJson {
    /// Returns the histogram of statistics, if they have one. Exact samples are counted.
    pub(super) fn of(statistics: &Statistics) -> Option<Self> {
        let histogram = statistics.histogram()?;
        let buckets = histogram.buckets();
        let mut json = Self {
            scale: buckets.scale(),
            unit: name(statistics.converter()).to_owned(),
            lowest: buckets.lowest(),
            octaves: buckets.octaves(),
            zero: 0,
            underflow: 0,
            overflow: 0,
            buckets: Vec::new(),
        };
        let last = buckets.len() - 1;
        for (index, count) in histogram.used() {
            match index {
                ZERO => json.zero = count,
                UNDERFLOW => json.underflow = count,
                _ if index == last => json.overflow = count,
                _ => json.buckets.push((number(buckets, index) as u64, count)),
            }
        }
        Some(json)
    }

    /// Checks the histogram of samples in `unit` of this total weight, from `min` to `max`. Returns
    /// it, and what converts its values.
    pub(super) fn check(
        &self,
        unit: Unit,
        weight: u64,
        [min, max]: [u64; 2],
    ) -> Result<(Histogram, UnitConverter), HistogramProblem> {
        let converter = [TimeUnit::Fine, TimeUnit::Coarse]
            .map(|time| UnitConverter { unit, time })
            .into_iter()
            .find(|converter| name(*converter) == self.unit)
            .ok_or_else(|| HistogramProblem::Unit { unit: shown(&self.unit), of_event: unit })?;
        let Self { scale, lowest, octaves, .. } = *self;
        let buckets = Buckets::new(scale, lowest, octaves).ok_or(HistogramProblem::Range {
            scale,
            lowest,
            octaves,
        })?;
        let mut used = vec![(ZERO, self.zero), (UNDERFLOW, self.underflow)];
        for (number, count) in &self.buckets {
            let index = usize::try_from(*number).ok().and_then(|at| index_of(buckets, at));
            let index = index.ok_or(HistogramProblem::OutOfRange { bucket: *number })?;
            if used.last().is_some_and(|(last, _)| index <= *last) {
                return Err(HistogramProblem::Order { bucket: *number });
            }
            if *count == 0 {
                return Err(HistogramProblem::EmptyBucket { bucket: *number });
            }
            used.push((index, *count));
        }
        used.push((buckets.len() - 1, self.overflow));
        let sum = used.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count));
        let sum = sum.ok_or(HistogramProblem::Overflow)?;
        if sum != weight {
            return Err(HistogramProblem::Weight { sum, estimated_total: weight });
        }
        used.retain(|(_, count)| *count > 0);
        let [first, last] = [used.first(), used.last()].map(|of| of.map_or(ZERO, |of| of.0));
        for (value, index, key) in [(min, first, "min"), (max, last, "max")] {
            let (above, up_to) = buckets.bounds(index);
            let from = if index == ZERO { 0 } else { above.saturating_add(1) };
            if !(converter.value(from)..=converter.value(up_to)).contains(&value) {
                return Err(HistogramProblem::Extreme { key, value });
            }
        }
        Ok((Histogram::of_used(buckets, &used), converter))
    }
}

/// Returns the name of the unit of the values.
fn name(converter: UnitConverter) -> &'static str {
    match (converter.unit, converter.time) {
        (Unit::Time, TimeUnit::Fine) => "2^-40 s",
        (Unit::Time, TimeUnit::Coarse) => "2^-30 s",
        _ => "1",
    }
}
