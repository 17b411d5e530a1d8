//! Time, windows, slices and quantiles, computed straight from their definitions.

use core::time::Duration;

use tailwatch_core::{Accuracy, Summary, TimeUnit};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MILLI: u64 = 1_000_000;

/// Converts between ticks, internal units and nanoseconds. Ticks are first rounded to internal
/// units, and these to nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) hz: u64,
    bits: u32,
}

impl Time {
    pub(crate) fn new(hz: u64, unit: TimeUnit) -> Self {
        let bits = if unit == TimeUnit::Fine { 40 } else { 30 };
        Self { hz, bits }
    }

    pub(crate) fn units(self, ticks: u64) -> u128 {
        ((u128::from(ticks) << self.bits) + u128::from(self.hz / 2)) / u128::from(self.hz)
    }

    pub(crate) fn nanos(self, ticks: u64) -> u64 {
        let half = 1 << (self.bits - 1);
        ((self.units(ticks) * u128::from(SECOND) + half) >> self.bits) as u64
    }

    pub(crate) fn ticks(self, nanos: u64) -> u64 {
        ((u128::from(nanos) * u128::from(self.hz) + 500_000_000) / u128::from(SECOND)) as u64
    }
}

/// How a window is cut into slices: slice(t) = t / slice length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// The length of a slice.
    pub(crate) ticks: u64,
    number: u64,
}

impl Cut {
    pub(crate) fn new(length: Duration, slices: u16, time: Time) -> Self {
        let nanos = length.as_nanos() as u64 / u64::from(slices);
        Self { ticks: time.ticks(nanos), number: slices.into() }
    }

    /// Returns whether the window holds `tick`. It consists of the current slice and the full ones
    /// before it.
    pub(crate) fn holds(&self, tick: u64, now: u64) -> bool {
        tick / self.ticks + self.number > now / self.ticks
    }

    /// Returns the first tick that the window holds.
    pub(crate) fn start(&self, now: u64) -> u64 {
        (now / self.ticks).saturating_sub(self.number - 1) * self.ticks
    }
}

/// Values and their weights, in ascending order.
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
    pub(crate) fn weight(&self) -> u64 {
        self.0.iter().map(|(_, weight)| weight).sum()
    }

    /// Returns the value at the rank `max(1, ceil(q·n))`. A value of weight w counts w times.
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

    /// Compares a summary with these values, except for `covered` and `complete`. `slack` is the
    /// additional error allowed for values and quantiles, in nanoseconds and as a share.
    pub(crate) fn check(&self, summary: &Summary, slack: (u64, f64)) {
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
        // Mean and standard deviation are fixed-point numbers, which saturate there.
        let saturated = 2_f64.powi(48);
        let (mean, spread) = (self.mean().min(saturated), self.spread().min(saturated));
        let allowed = 1.0 + slack.0 as f64 + slack.1 * *most as f64;
        let within =
            |actual: f64, exact: f64, share: f64| (actual - exact).abs() <= allowed + exact * share;
        // Whatever depends on a full sum is reported as the largest number. A nanosecond has up to
        // 1,100 internal units.
        let (sum_bits, square_bits) =
            if cfg!(target_pointer_width = "64") { (128, 128) } else { (64, 96) };
        let power_sum = |power| -> f64 {
            self.0
                .iter()
                .map(|(value, weight)| (*value as f64 * 1_100.0).powi(power) * *weight as f64)
                .sum()
        };
        let may_be_full = power_sum(1) >= 2_f64.powi(sum_bits);
        let is_full = may_be_full && summary.mean.to_bits() == u64::MAX;
        assert!(is_full || within(summary.mean.to_f64(), mean, 1e-9), "mean {mean}: {summary:?}");
        let may_be_full = may_be_full || power_sum(2) >= 2_f64.powi(square_bits);
        let is_full = may_be_full && summary.stddev.to_bits() == u64::MAX;
        assert!(
            is_full || within(summary.stddev.to_f64(), spread, 1e-6),
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
            // The largest error that can be reported is no bound.
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
