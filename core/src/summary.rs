//! What is told of an event over a window.

use crate::{
    Estimate, FixedPoint, Quantile, TimeUnit, Unit,
    moments::{Bits, Moments, fixed_nanos, fixed_numbers},
    wide_math,
};

/// How far the quantiles of a [`Summary`] may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Accuracy {
    /// They are samples, at the exact rank.
    Exact,
    /// They come from a histogram and are off by at most so many parts per million of the sample at the exact rank.
    ///
    /// The bound is that of these very quantiles, the rounding to whole numbers included: usually that of the histogram's
    /// scale or less, more for durations of a few nanoseconds and for what lies outside the histogram's range.
    WithinPpm(u32),
}

impl Accuracy {
    /// The bound in parts per million; 0 if exact.
    pub const fn max_relative_error_ppm(self) -> u32 {
        match self {
            Self::Exact => 0,
            Self::WithinPpm(ppm) => ppm,
        }
    }
}

/// What an event's samples of a window, or since the start, come to.
///
/// There is always at least one sample: of none there is no summary. Durations are in nanoseconds, other values in the
/// unit of their event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Summary {
    /// Samples that were recorded.
    pub count: u64,
    /// How many there were, those included that sampling left out.
    pub estimated_total: u64,
    /// The smallest sample.
    pub min: u64,
    /// The largest sample.
    pub max: u64,
    /// The mean.
    pub mean: FixedPoint,
    /// The standard deviation of these samples. The largest number there is once the sum of the squares is full, at 2^128 square units:
    /// after 65,536 durations of 20 hours, say; where registers have 32 bits, at 2^96: after 4,096 durations of an hour.
    pub stddev: FixedPoint,
    /// The median.
    pub p50: u64,
    /// 95 % are no larger.
    pub p95: u64,
    /// 99 % are no larger.
    pub p99: u64,
    /// 99.9 % are no larger.
    pub p99_9: u64,
    /// How far the four quantiles may be off.
    pub accuracy: Accuracy,
    /// How much time is covered, in nanoseconds: between a window's length less one slice and its length, and never more
    /// than since the start.
    pub covered: u64,
    /// Whether it knows every sample of its time: `false` if records were lost or sampled away.
    pub complete: bool,
}

/// As many quantiles as a summary tells.
pub(crate) type Quantiles = [Quantile; 4];

/// What was found at them, as it is counted inside.
pub(crate) type Found = [u64; QUANTILES.len()];

/// The quantiles that a summary tells, ascending.
pub(crate) const QUANTILES: Quantiles =
    [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9];

/// Turns what is counted inside (units of time, or plain numbers) into what is told (nanoseconds, or the same numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnitConverter {
    /// In what the event is measured.
    pub unit: Unit,
    /// The unit of time inside.
    pub time: TimeUnit,
}

impl UnitConverter {
    /// What a value inside is told as.
    pub fn value(self, inside: u64) -> u64 {
        match self.unit {
            Unit::Time => self.time.nanos(inside),
            Unit::One => inside,
        }
    }

    fn fixed(self, bits: Bits) -> FixedPoint {
        match self.unit {
            Unit::Time => fixed_nanos(bits, self.time),
            Unit::One => fixed_numbers(bits),
        }
    }

    /// The summary of these samples, with these quantiles as they are counted inside.
    pub(crate) fn summary(
        self,
        moments: &Moments,
        quantiles: &Found,
        accuracy: Accuracy,
        (covered, complete): (u64, bool),
    ) -> Summary {
        let [mean, stddev] = moments.mean_and_deviation();
        let (mean, stddev) = (self.fixed(mean), self.fixed(stddev));
        let [p50, p95, p99, p99_9] = *quantiles;
        let mut told = [moments.min(), moments.max(), p50, p95, p99, p99_9];
        for value in &mut told {
            *value = self.value(*value);
        }
        let [min, max, p50, p95, p99, p99_9] = told;
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

    /// How far estimates may be off, as they are told.
    pub(crate) fn accuracy(self, estimates: &[Estimate]) -> Accuracy {
        Accuracy::WithinPpm(
            estimates.iter().map(|estimate| self.error_ppm(estimate)).max().unwrap_or(0),
        )
    }

    /// The mean of samples inside, as it is told.
    pub fn mean(self, moments: &Moments) -> FixedPoint {
        self.fixed(moments.mean_and_deviation()[0])
    }

    /// What an estimate is told as, and how far that may be off.
    pub fn estimate(self, estimate: Estimate) -> (u64, Accuracy) {
        (self.value(estimate.value), self.accuracy(&[estimate]))
    }

    /// By how much the estimate, as told, can differ from the sample that it stands for, as told; in parts per million of
    /// that sample, rounded up.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn error_ppm(self, estimate: &Estimate) -> u32 {
        let (told, least, most) =
            (self.value(estimate.value), self.value(estimate.least), self.value(estimate.most));
        share_ppm(told - least, least).max(share_ppm(most - told, most))
    }
}

/// In parts per million, rounded up.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
fn share_ppm(difference: u64, of: u64) -> u32 {
    match (difference, of) {
        (0, _) => 0,
        (_, 0) => u32::MAX,
        // Rounded down from one less, and one more.
        _ => {
            let below = wide_math::quotient(wide_math::product(difference, 1_000_000) - 1, of);
            u32::try_from(below).map_or(u32::MAX, |below| below.saturating_add(1))
        }
    }
}
