//! How far a median can be trusted.

use crate::rounds::figure;

/// As many times it is drawn anew.
const DRAWS: usize = 2_000;

/// A median, and where the median of everything that might have been measured lies, with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Interval {
    /// Of these values, of which there is at least one: by the bootstrap, which asks nothing of how they are spread. As many are
    /// drawn from them at random, over and over; the medians of the draws vary as those of further runs would.
    pub(crate) fn of_median(values: &[f64]) -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let mut draw = vec![0.0; values.len()];
        let mut medians = Vec::with_capacity(DRAWS);
        for _ in 0..DRAWS {
            draw.fill_with(|| values[random.usize(..values.len())]);
            let middle = draw.len() / 2;
            medians.push(*draw.select_nth_unstable_by(middle, f64::total_cmp).1);
        }
        medians.sort_by(f64::total_cmp);
        let [low, high] = [DRAWS / 40, DRAWS - 1 - DRAWS / 40].map(|index| medians[index]);
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
    fn an_interval_holds_the_true_median_as_often_as_it_says() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut held = 0;
        for _ in 0..100 {
            // Skewed, as times are: its median is 1/4.
            let values: Vec<f64> = (0..51).map(|_| random.f64().powi(2)).collect();
            let Interval { low, high, .. } = Interval::of_median(&values);
            held += i32::from((low..=high).contains(&0.25));
        }
        assert!((90..100).contains(&held), "of 100, {held}");
    }

    #[test]
    fn an_interval_lies_around_the_median_of_the_values() {
        let values: Vec<f64> = (0..99).map(f64::from).collect();
        let interval = Interval::of_median(&values);
        assert_eq!(interval, Interval { median: 49.0, ..interval });
        assert!(interval.low < 49.0 && interval.high > 49.0, "{interval:?}");
    }

    #[test]
    fn values_that_do_not_vary_leave_nothing_open() {
        assert_eq!(Interval::of_median(&[3.0; 9]), Interval { low: 3.0, median: 3.0, high: 3.0 });
    }
}
