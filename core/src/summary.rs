//! The summary of an event over a window or since the start.

use crate::{
    Estimate, FixedPoint, Quantile, TimeUnit, Unit,
    moments::{Bits, Moments, fixed_nanos, fixed_numbers},
    wide_math,
};

/// The accuracy of quantiles, such as those of a [`Summary`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Accuracy {
    /// The quantiles are exact: each is the sample at the nearest rank.
    Exact,
    /// The quantiles are estimated from a histogram. Each is off by at most this many parts per
    /// million of the sample at the nearest rank.
    ///
    /// The bound holds for these particular quantiles and includes the rounding to integers. It is
    /// usually at most the error of the histogram's scale. It is larger for durations of a few
    /// nanoseconds and for samples outside the histogram's range.
    WithinPpm(u32),
}

impl Accuracy {
    /// Returns the bound on the relative error in parts per million, which is 0 if the quantiles
    /// are exact.
    pub const fn max_relative_error_ppm(self) -> u32 {
        match self {
            Self::Exact => 0,
            Self::WithinPpm(ppm) => ppm,
        }
    }
}

/// The count, extremes, mean, standard deviation and quantiles of an event's samples over a window
/// or since the start.
///
/// A summary always covers at least one sample. Durations are in nanoseconds, other values in the
/// unit of their event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Summary {
    /// The number of recorded samples.
    pub count: u64,
    /// The weight of the samples: an estimate of their number if sampling had left out none.
    pub estimated_total: u64,
    /// The smallest sample.
    pub min: u64,
    /// The largest sample.
    pub max: u64,
    /// The mean.
    pub mean: FixedPoint,
    /// The population standard deviation.
    ///
    /// This is the largest number of its type once the sum of squares is full. On 64-bit targets
    /// this happens at 2^128 square units: in the fine unit, after about 54,000 durations of 20
    /// hours. On 32-bit targets it happens at 2^96 square units: in the coarse unit, after about
    /// 5,300 durations of an hour.
    pub stddev: FixedPoint,
    /// The median.
    pub p50: u64,
    /// The smallest sample such that at least 95 % of all samples are no larger.
    pub p95: u64,
    /// The smallest sample such that at least 99 % of all samples are no larger.
    pub p99: u64,
    /// The smallest sample such that at least 99.9 % of all samples are no larger.
    pub p99_9: u64,
    /// The accuracy of the four quantiles.
    pub accuracy: Accuracy,
    /// The time that the summary covers, in nanoseconds. For a window, this lies between its length
    /// minus one slice and its length, but is never longer than the time since the start.
    pub covered: u64,
    /// Whether the summary includes every sample of this time: `false` if records were lost or left
    /// out by sampling.
    pub complete: bool,
}

/// As many quantiles as a summary has.
pub(crate) type Quantiles = [Quantile; 4];

/// The values at these quantiles, in internal units.
pub(crate) type QuantileValues = [u64; QUANTILES.len()];

/// The quantiles of a summary, in ascending order.
pub(crate) const QUANTILES: Quantiles =
    [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9];

/// Converts values from the internal unit of the statistics to the unit in which they are reported.
///
/// Durations are counted in a [`TimeUnit`] and reported in nanoseconds. Plain numbers are not
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnitConverter {
    /// The unit of the event.
    pub unit: Unit,
    /// The internal unit of time.
    pub time: TimeUnit,
}

impl UnitConverter {
    /// Converts a value.
    pub fn value(self, internal: u64) -> u64 {
        match self.unit {
            Unit::Time => self.time.nanos(internal),
            Unit::One => internal,
        }
    }

    fn fixed(self, bits: Bits) -> FixedPoint {
        match self.unit {
            Unit::Time => fixed_nanos(bits, self.time),
            Unit::One => fixed_numbers(bits),
        }
    }

    /// Creates a summary from moments and quantiles in internal units.
    pub(crate) fn summary(
        self,
        moments: &Moments,
        quantiles: &QuantileValues,
        accuracy: Accuracy,
        (covered, complete): (u64, bool),
    ) -> Summary {
        let [mean, stddev] = moments.mean_and_deviation();
        let (mean, stddev) = (self.fixed(mean), self.fixed(stddev));
        let [p50, p95, p99, p99_9] = *quantiles;
        let mut values = [moments.min(), moments.max(), p50, p95, p99, p99_9];
        for value in &mut values {
            *value = self.value(*value);
        }
        let [min, max, p50, p95, p99, p99_9] = values;
        Summary {
            count: moments.count(),
            estimated_total: moments.weight(),
            min,
            max,
            mean,
            stddev,
            p50,
            p95,
            p99,
            p99_9,
            accuracy,
            covered,
            complete,
        }
    }

    /// Returns the accuracy that holds for all of these estimates once they are converted.
    pub(crate) fn accuracy(self, estimates: &[Estimate]) -> Accuracy {
        Accuracy::WithinPpm(
            estimates.iter().map(|estimate| self.error_ppm(estimate)).max().unwrap_or(0),
        )
    }

    /// Converts the mean.
    pub fn mean(self, moments: &Moments) -> FixedPoint {
        self.fixed(moments.mean_and_deviation()[0])
    }

    /// Converts an estimate. Returns the converted value and its accuracy.
    pub fn estimate(self, estimate: Estimate) -> (u64, Accuracy) {
        (self.value(estimate.value), self.accuracy(&[estimate]))
    }

    /// Returns how far a converted estimate can be from the converted sample that it estimates, in
    /// parts per million of that sample, rounded up.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn error_ppm(self, estimate: &Estimate) -> u32 {
        let (value, least, most) =
            (self.value(estimate.value), self.value(estimate.least), self.value(estimate.most));
        ratio_ppm(value - least, least).max(ratio_ppm(most - value, most))
    }
}

/// Returns `difference / of` in parts per million, rounded up. Returns `u32::MAX` if this is too
/// large or `of` is 0, and 0 if `difference` is 0.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
fn ratio_ppm(difference: u64, of: u64) -> u32 {
    match (difference, of) {
        (0, _) => 0,
        (_, 0) => u32::MAX,
        // ceil(a / b) = floor((a − 1) / b) + 1
        _ => {
            let below = wide_math::quotient(wide_math::product(difference, 1_000_000) - 1, of);
            u32::try_from(below).map_or(u32::MAX, |below| below.saturating_add(1))
        }
    }
}
