//! Confidence intervals of medians.

use crate::rounds::figure;

/// The number of resamples.
const RESAMPLES: usize = 2_000;

/// The median of a sample, and the bounds of a 95 % confidence interval of the population's median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Interval {
    /// Computes the interval of `values` by the bootstrap, which makes no assumption about their
    /// distribution. It draws as many values from `values` with replacement, over and over; the
    /// medians of the draws vary as those of further runs would.
    ///
    /// # Panics
    ///
    /// If `values` is empty.
    pub(crate) fn of_median(values: &[f64]) -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let mut draw = vec![0.0; values.len()];
        let mut medians = Vec::with_capacity(RESAMPLES);
        for _ in 0..RESAMPLES {
            draw.fill_with(|| values[random.usize(..values.len())]);
            let middle = draw.len() / 2;
            medians.push(*draw.select_nth_unstable_by(middle, f64::total_cmp).1);
        }
        medians.sort_by(f64::total_cmp);
        let [low, high] =
            [RESAMPLES / 40, RESAMPLES - 1 - RESAMPLES / 40].map(|index| medians[index]);
        Self { low, median: figure(values.to_vec()).median, high }
    }

    pub(crate) fn width(&self) -> f64 {
        self.high - self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_95_of_100_intervals_hold_the_true_median() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut held = 0;
        for _ in 0..100 {
            // Skewed, as times are. The median of this distribution is 1/4.
            let values: Vec<f64> = (0..51).map(|_| random.f64().powi(2)).collect();
            let Interval { low, high, .. } = Interval::of_median(&values);
            held += i32::from((low..=high).contains(&0.25));
        }
        assert!((90..100).contains(&held), "{held} of 100 intervals hold the true median");
    }

    #[test]
    fn an_interval_contains_the_median_of_its_values() {
        let values: Vec<f64> = (0..99).map(f64::from).collect();
        let interval = Interval::of_median(&values);
        assert_eq!(interval, Interval { median: 49.0, ..interval });
        assert!(interval.low < 49.0 && interval.high > 49.0, "{interval:?}");
    }

    #[test]
    fn equal_values_give_an_interval_of_width_zero() {
        assert_eq!(Interval::of_median(&[3.0; 9]), Interval { low: 3.0, median: 3.0, high: 3.0 });
    }
}
