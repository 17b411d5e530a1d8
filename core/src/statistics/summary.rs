//! The summary of an event over a window or since the start, and the conversion of its numbers from
//! internal units.

use crate::{
    arithmetic,
    clock::TimeUnit,
    event::Unit,
    statistics::{
        fixed_point::{FRACTION_BITS, FixedPoint},
        histogram::buckets::Estimate,
        moments::{Moments, Sum},
        quantile::Quantile,
    },
};

/// How accurate quantiles are, such as those of a [`Summary`].
///
/// A sample of [weight](crate::WeightedSample::weight) w counts as w samples of the same
/// value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Accuracy {
    /// The quantiles are exact: each is the sample at the [nearest rank](Quantile) among the
    /// recorded samples, by their weight. If the event was sampled, those of all its occurrences
    /// may differ.
    Exact,
    /// The quantiles are estimated from a [histogram](crate::histogram). Each differs from the
    /// sample at the nearest rank by at most this many parts per million of that sample.
    ///
    /// The bound holds for these particular quantiles and includes the rounding to integers.
    /// Usually it is no greater than the error of the histogram's scale. It is greater for short
    /// durations, where the rounding matters (up to a few hundred nanoseconds at scale 5), for
    /// samples outside the histogram's range, if counters are saturated, and without histograms.
    /// `u32::MAX` means that there is no bound.
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
///
/// All numbers are about the recorded samples. [`Distribution::interval`] says how far a quantile
/// may be from that of the process that the samples come from.
///
/// [`Distribution::interval`]: crate::Distribution::interval
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Summary {
    /// The number of recorded samples. In a summary that is corrected for coordinated omission,
    /// this includes the samples that the correction added.
    pub count: u64,
    /// The total weight of the samples: an estimate of how many samples there would be if sampling
    /// had left out none.
    pub estimated_total: u64,
    /// The smallest sample.
    pub min: u64,
    /// The largest sample.
    pub max: u64,
    /// The mean of the samples, each counted with its weight. It is `None` if it is not known: if
    /// the sum of the samples is [saturated](Moments), or if the mean is 2^48 or more, which is 78
    /// hours.
    pub mean: Option<FixedPoint>,
    /// The population standard deviation of the samples, each counted with its weight.
    ///
    /// It is `None` if it is not known: if the sum of squares is [saturated](Moments), or if the
    /// deviation is 2^48 or more. In [wide](crate::Wide) storage, no sum saturates in practice. In
    /// [compact](crate::Compact) storage, the sum of squares does so at 2^96 square units: in the
    /// unit [`TimeUnit::Coarse`], after about 5,300 durations of an hour.
    pub stddev: Option<FixedPoint>,
    /// The median: the smallest sample such that samples with at least 50 % of the total weight are
    /// no larger.
    pub p50: u64,
    /// The smallest sample such that samples with at least 95 % of the total weight are no larger.
    pub p95: u64,
    /// The smallest sample such that samples with at least 99 % of the total weight are no larger.
    pub p99: u64,
    /// The smallest sample such that samples with at least 99.9 % of the total weight are no
    /// larger.
    pub p99_9: u64,
    /// The accuracy of the four quantiles.
    pub accuracy: Accuracy,
    /// The time that the summary covers, in nanoseconds. For a window, this is at least its length
    /// minus one slice and at most its length, up to the rounding of a slice to the nearest tick.
    /// It is less while the aggregator has not run that long.
    pub covered: u64,
    /// Whether no record of the covered time is known to be lost, and the event was not sampled in
    /// it. A time in which sampling happened to skip nothing is incomplete, too.
    ///
    /// Records that are still pending, and times in which the event was switched off, do not make
    /// it `false`.
    ///
    /// A loss counts for every event and for all of the time up to the pass that found it, because
    /// the aggregator does not know the events and ticks of lost records.
    pub complete: bool,
}

impl Summary {
    /// Returns the exact summary of a single sample of the weight 1. Its fields can then be set to
    /// those of other samples.
    ///
    /// ```
    /// use tailwatch_core::Summary;
    ///
    /// let mut summary = Summary::of_value(7);
    /// (summary.count, summary.estimated_total, summary.max) = (2, 2, 9);
    /// assert_eq!((summary.min, summary.p50, summary.max), (7, 7, 9));
    /// ```
    pub const fn of_value(value: u64) -> Self {
        // A mean of 2^48 or more is not known.
        let mean = match value.checked_mul(1 << FRACTION_BITS) {
            Some(bits) => FixedPoint::from_bits(bits),
            None => None,
        };
        Self {
            count: 1,
            estimated_total: 1,
            min: value,
            max: value,
            mean,
            stddev: Some(FixedPoint::ZERO),
            p50: value,
            p95: value,
            p99: value,
            p99_9: value,
            accuracy: Accuracy::Exact,
            covered: 0,
            complete: true,
        }
    }
}

/// Four quantiles, the number that a summary has.
pub(crate) type Quantiles = [Quantile; 4];

/// The values at four quantiles, in internal units.
pub(crate) type QuantileValues = [u64; QUANTILES.len()];

/// The quantiles of a summary, in ascending order.
pub(crate) const QUANTILES: Quantiles =
    [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9];

/// Converts values from the internal unit, in which the aggregator stores them, to the unit in
/// which they are reported.
///
/// Durations are stored in a [`TimeUnit`], a binary fraction of a second, and reported in
/// nanoseconds. Plain numbers are stored and reported unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnitConverter {
    /// Whether the values are durations or plain numbers.
    pub unit: Unit,
    /// The internal unit of durations. Not used for plain numbers.
    pub time: TimeUnit,
}

impl UnitConverter {
    /// Converts a single value.
    pub fn value(self, internal: u64) -> u64 {
        match self.unit {
            Unit::Time => self.time.nanos(internal),
            Unit::One => internal,
        }
    }

    /// Converts a mean or standard deviation.
    fn fixed_point(self, raw: impl Sum) -> Option<FixedPoint> {
        match self.unit {
            Unit::Time => raw.fixed_nanos(self.time),
            Unit::One => raw.fixed_number(),
        }
    }

    /// Creates a summary from moments and the values at its quantiles, which are in internal units.
    /// `accuracy`, `covered` and `complete` become fields of the [`Summary`] as they are.
    pub(crate) fn summary(
        self,
        moments: &Moments<impl Sum>,
        quantiles: &QuantileValues,
        accuracy: Accuracy,
        (covered, complete): (u64, bool),
    ) -> Summary {
        let [mean, stddev] = moments.mean_and_deviation();
        let (mean, stddev) = (self.fixed_point(mean), self.fixed_point(stddev));
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

    /// Returns the accuracy of the converted values of these estimates, which is that of the least
    /// accurate one.
    pub(crate) fn accuracy(self, estimates: &[Estimate]) -> Accuracy {
        Accuracy::WithinPpm(
            estimates.iter().map(|estimate| self.error_ppm(estimate)).max().unwrap_or(0),
        )
    }

    /// Returns the mean of samples whose moments are in internal units; `None` if it is not known:
    /// see [`Summary::mean`].
    pub fn mean(self, moments: &Moments<impl Sum>) -> Option<FixedPoint> {
        self.fixed_point(moments.mean_and_deviation()[0])
    }

    /// Converts an estimate from internal units to nanoseconds (plain numbers stay as they are),
    /// and returns it with its accuracy.
    pub fn estimate(self, estimate: Estimate) -> (u64, Accuracy) {
        (self.value(estimate.value), self.accuracy(&[estimate]))
    }

    /// Returns the largest possible difference between the converted estimate and the converted
    /// sample that it estimates, in parts per million of this sample, rounded up.
    #[inline(never)]
    pub(crate) fn error_ppm(self, estimate: &Estimate) -> u32 {
        let (value, least, most) =
            (self.value(estimate.value), self.value(estimate.least), self.value(estimate.most));
        // The relative error is greatest if the sample is at either end.
        ratio_ppm(value - least, least).max(ratio_ppm(most - value, most))
    }
}

/// Returns `part / whole` in parts per million, rounded up. Returns 0 if `part` is 0. If only
/// `whole` is 0, or if the result does not fit, returns `u32::MAX`.
#[inline(never)]
fn ratio_ppm(part: u64, whole: u64) -> u32 {
    match (part, whole) {
        (0, _) => 0,
        (_, 0) => u32::MAX,
        // ceil(a / b) = floor((a − 1) / b) + 1
        _ => {
            let floor = arithmetic::quotient(arithmetic::product(part, 1_000_000) - 1, whole);
            u32::try_from(floor).map_or(u32::MAX, |floor| floor.saturating_add(1))
        }
    }
}
