//! Time, windows, slices and quantiles, computed straight from their definitions.

use core::time::Duration;

use tailwatch_core::{Accuracy, FixedPoint, Repr, Summary, TimeUnit};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MILLI: u64 = 1_000_000;

/// The numbers of bits in which a representation stores numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths {
    /// The value of a sample. Larger ones produce no sample.
    pub(crate) value: u32,
    /// A sum of values. It saturates.
    sum: i32,
    /// A sum of squares. It saturates.
    squares: i32,
}

impl Widths {
    pub(crate) fn of<R: Repr>() -> Self {
        if R::IS_COMPACT {
            Self { value: 44, sum: 64, squares: 96 }
        } else {
            Self { value: 60, sum: 128, squares: 175 }
        }
    }
}

/// Converts between ticks, internal units and nanoseconds. As in the aggregator, ticks are rounded
/// to internal units first, and then these to nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    /// The number of ticks per second.
    pub(crate) hz: u64,
    /// An internal unit is 2^-`bits` seconds.
    bits: u32,
}

impl Time {
    pub(crate) fn new(hz: u64, unit: TimeUnit) -> Self {
        let bits = if unit == TimeUnit::Fine { 40 } else { 30 };
        Self { hz, bits }
    }

    /// Converts ticks to internal units.
    pub(crate) fn units(self, ticks: u64) -> u128 {
        ((u128::from(ticks) << self.bits) + u128::from(self.hz / 2)) / u128::from(self.hz)
    }

    /// Converts ticks to nanoseconds.
    pub(crate) fn nanos(self, ticks: u64) -> u64 {
        let half = 1 << (self.bits - 1);
        ((self.units(ticks) * u128::from(SECOND) + half) >> self.bits) as u64
    }

    /// Converts nanoseconds to ticks.
    pub(crate) fn ticks(self, nanos: u64) -> u64 {
        ((u128::from(nanos) * u128::from(self.hz) + 500_000_000) / u128::from(SECOND)) as u64
    }
}

/// How a window is cut into slices: tick t belongs to the slice with the number t / `slice_ticks`,
/// rounded down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// The length of a slice.
    pub(crate) slice_ticks: u64,
    /// The number of slices.
    slices: u64,
}

impl Cut {
    pub(crate) fn new(length: Duration, slices: u16, time: Time) -> Self {
        let nanos = length.as_nanos() as u64 / u64::from(slices);
        Self { slice_ticks: time.ticks(nanos), slices: slices.into() }
    }

    /// Returns whether the window contains `tick` at the time `now`. The window consists of the
    /// current slice and the complete ones before it.
    pub(crate) fn holds(&self, tick: u64, now: u64) -> bool {
        tick / self.slice_ticks + self.slices > now / self.slice_ticks
    }

    /// Returns the first tick of the window at the time `now`.
    pub(crate) fn start(&self, now: u64) -> u64 {
        (now / self.slice_ticks).saturating_sub(self.slices - 1) * self.slice_ticks
    }
}

/// The samples that a summary is made of: their values and weights, in ascending order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recount(pub(crate) Vec<(u64, u64)>);

impl FromIterator<(u64, u64)> for Recount {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(values: I) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable();
        Self(values)
    }
}

impl Recount {
    /// Returns the total weight of the samples.
    pub(crate) fn weight(&self) -> u64 {
        self.0.iter().map(|(_, weight)| weight).sum()
    }

    /// Returns the value at the rank `max(1, ceil(q·n))`, where n is the total weight. A value of
    /// weight w counts w times.
    pub(crate) fn quantile(&self, ppm: u32) -> u64 {
        let rank = (u128::from(ppm) * u128::from(self.weight())).div_ceil(1_000_000).max(1);
        let mut reached = 0;
        for (value, weight) in &self.0 {
            reached += u128::from(*weight);
            if reached >= rank {
                return *value;
            }
        }
        panic!("there are no values, so there is no quantile");
    }

    fn mean(&self) -> f64 {
        let sum: f64 = self.0.iter().map(|(value, weight)| *value as f64 * *weight as f64).sum();
        sum / self.weight() as f64
    }

    fn spread(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self
            .0
            .iter()
            .map(|(value, weight)| (*value as f64 - mean).powi(2) * *weight as f64)
            .sum();
        (squares / self.weight() as f64).sqrt()
    }

    /// Checks that `summary`, of storage in the representation `R`, agrees with these samples. Does
    /// not check `covered` and `complete`.
    ///
    /// `slack` is the error that is allowed for values and quantiles in addition to what the
    /// summary reports: a number of nanoseconds, and a share of the exact value.
    pub(crate) fn check<R: Repr>(&self, summary: &Summary, slack: (u64, f64)) {
        let near = |actual: u64, exact: u64| {
            actual.abs_diff(exact) as f64 <= slack.0 as f64 + slack.1 * exact as f64
        };
        let Some(((least, _), (most, _))) = self.0.first().zip(self.0.last()) else {
            panic!("there are no values, but a summary: {summary:?}");
        };
        assert_eq!(summary.count, self.0.len() as u64);
        assert_eq!(summary.estimated_total, self.weight());
        assert!(near(summary.min, *least), "min of {:?}: {summary:?}", self.0);
        assert!(near(summary.max, *most), "max of {:?}: {summary:?}", self.0);
        let (mean, spread) = (self.mean(), self.spread());
        let allowed = 1.0 + slack.0 as f64 + slack.1 * *most as f64;
        // A fixed-point number is less than 2^48, and a larger result is absent.
        let within = |actual: Option<FixedPoint>, exact: f64, (nanos, share): (f64, f64)| {
            let allowed = allowed + nanos + exact * share;
            let is_too_large = exact + allowed >= 2_f64.powi(48);
            actual.map_or(is_too_large, |actual| (actual.to_f64() - exact).abs() <= allowed)
        };
        // If a sum in internal units is saturated, the results that depend on it are absent. A
        // nanosecond has up to 1,100 internal units, so this recount can only decide whether a sum
        // may be saturated.
        let widths = Widths::of::<R>();
        let power_sum = |power| -> f64 {
            self.0
                .iter()
                .map(|(value, weight)| (*value as f64 * 1_100.0).powi(power) * *weight as f64)
                .sum()
        };
        let may_be_saturated = power_sum(1) >= 2_f64.powi(widths.sum);
        let is_saturated = may_be_saturated && summary.mean.is_none();
        assert!(
            is_saturated || within(summary.mean, mean, (0.0, 1e-9)),
            "mean {mean}: {summary:?}"
        );
        let may_be_saturated = may_be_saturated || power_sum(2) >= 2_f64.powi(widths.squares);
        let is_saturated = may_be_saturated && summary.stddev.is_none();
        // A sum of squares of 2^127 units or more is rounded, with each sample and once more when
        // the parts are added up.
        let rounding = if power_sum(2) >= 2_f64.powi(127) { 2.0 * 11_000.0 } else { 0.0 };
        assert!(
            is_saturated || within(summary.stddev, spread, (rounding, 1e-6)),
            "stddev {spread}: {summary:?}"
        );
        for (ppm, actual) in [
            (500_000, summary.p50),
            (950_000, summary.p95),
            (990_000, summary.p99),
            (999_000, summary.p99_9),
        ] {
            self.check_quantile(ppm, actual, summary.accuracy, slack);
        }
    }

    /// Checks that `actual` is the value at this quantile, within the error that `accuracy` reports
    /// plus `slack`.
    pub(crate) fn check_quantile(
        &self,
        ppm: u32,
        actual: u64,
        accuracy: Accuracy,
        slack: (u64, f64),
    ) {
        let exact = self.quantile(ppm);
        let error = accuracy.max_relative_error_ppm();
        let allowed =
            f64::from(error) / 1e6 * exact as f64 + slack.0 as f64 + slack.1 * exact as f64;
        let is_within = if error == 0 && slack == (0, 0.0) {
            actual == exact
        } else {
            // `u32::MAX` means that the error is at least this large, so any error is allowed.
            error == u32::MAX || actual.abs_diff(exact) as f64 <= allowed * (1.0 + 1e-12)
        };
        assert!(
            is_within,
            "p{} is {actual}, expected {exact}, {accuracy:?}, of {:?}",
            f64::from(ppm) / 1e4,
            self.0
        );
        assert!(
            self.0[0].0 <= actual.saturating_add(slack.0)
                && actual <= self.0.last().unwrap().0 + slack.0
        );
    }
}
