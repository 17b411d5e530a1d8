//! What is told of an event over a window.

use crate::{
    Estimate, Fixed, Quantile, TimeUnit, Unit,
    moments::{Moments, fixed_nanos},
    wide,
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
    pub mean: Fixed,
    /// The standard deviation of these samples. The largest number there is once the sum of the squares is full, at 2^128 square units:
    /// after 65,536 durations of 20 hours, say; where registers have 32 bits, at 2^96: after 4,096 durations of an hour.
    pub stddev: Fixed,
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

/// Quantiles as they are told, and how far they may be off.
pub(crate) type Told = ([u64; QUANTILES.len()], Accuracy);

/// The quantiles that a summary tells, ascending.
pub(crate) const QUANTILES: [Quantile; 4] = [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9];

/// Turns what is counted inside (units of time, or plain numbers) into what is told (nanoseconds, or the same numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Teller {
    /// In what the event is measured.
    pub unit: Unit,
    /// The unit of time inside.
    pub time: TimeUnit,
}

impl Teller {
    /// What a value inside is told as.
    pub fn value(self, inside: u64) -> u64 {
        match self.unit {
            Unit::Time => self.time.nanos(inside),
            Unit::One => inside,
        }
    }

    fn fixed(self, bits: u128) -> Fixed {
        match self.unit {
            Unit::Time => fixed_nanos(bits, self.time),
            Unit::One => Fixed::from_wide(bits),
        }
    }

    /// The summary of these samples, with these quantiles.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn summary(self, moments: &Moments, told: Told, covered: u64, complete: bool) -> Summary {
        let ([p50, p95, p99, p99_9], accuracy) = told;
        Summary {
            count: moments.count(),
            estimated_total: moments.weight(),
            min: self.value(moments.min()),
            max: self.value(moments.max()),
            mean: self.mean(moments),
            stddev: self.fixed(moments.stddev_bits()),
            p50,
            p95,
            p99,
            p99_9,
            accuracy,
            covered,
            complete,
        }
    }

    /// What values inside are told as.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn tell_all(self, values: &mut [u64]) {
        for value in values {
            *value = self.value(*value);
        }
    }

    /// Quantiles that are known by their buckets.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn estimated(self, estimates: &[Estimate; QUANTILES.len()]) -> Told {
        let (mut told, mut error) = ([0; QUANTILES.len()], 0);
        for (told, estimate) in told.iter_mut().zip(estimates) {
            *told = self.value(estimate.value);
            error = error.max(self.error_ppm(*estimate));
        }
        (told, Accuracy::WithinPpm(error))
    }

    /// The mean of samples inside, as it is told.
    pub fn mean(self, moments: &Moments) -> Fixed {
        self.fixed(moments.mean_bits())
    }

    /// What an estimate is told as, and how far that may be off.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn estimate(self, estimate: Estimate) -> (u64, Accuracy) {
        (self.value(estimate.value), Accuracy::WithinPpm(self.error_ppm(estimate)))
    }

    /// By how much the estimate, as told, can differ from the sample that it stands for, as told; in parts per million of
    /// that sample, rounded up.
    fn error_ppm(self, estimate: Estimate) -> u32 {
        let [told, least, most] = [estimate.value, estimate.least, estimate.most].map(|value| self.value(value));
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
            let below = wide::quotient(wide::product(difference, 1_000_000) - 1, of.into());
            u32::try_from(below).map_or(u32::MAX, |below| below.saturating_add(1))
        }
    }
}
