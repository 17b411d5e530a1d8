//! Interleaved rounds: every contestant runs once in each round, so that a slow moment of the
//! machine affects all of them alike.

use core::time::Duration;
use std::time::Instant;

use crate::progress;

/// A piece of work that is timed.
pub(crate) struct Contestant<'c> {
    pub(crate) name: &'static str,
    /// Called before each turn, untimed.
    pub(crate) prepare: Box<dyn FnMut() + 'c>,
    /// Does the work the given number of times.
    pub(crate) work: Box<dyn FnMut(u32) + 'c>,
    /// Called after each turn, untimed, with the number of times.
    pub(crate) after: Box<dyn FnMut(u32) + 'c>,
}

impl<'c> Contestant<'c> {
    /// Creates a contestant with nothing to do before and after a turn.
    pub(crate) fn new(name: &'static str, work: impl FnMut(u32) + 'c) -> Self {
        Self { name, prepare: Box::new(|| ()), work: Box::new(work), after: Box::new(|_| ()) }
    }
}

/// Nanoseconds per repetition, over all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

/// Runs each contestant `times` times in each of `rounds` rounds, after one round that does not
/// count. Returns what each contestant took in each round, in nanoseconds per repetition.
pub(crate) fn turns(
    contestants: &mut [Contestant<'_>],
    rounds: usize,
    times: u32,
) -> Vec<Vec<f64>> {
    interleave(contestants, rounds, |contestant| turn(contestant, times))
}

/// Runs each contestant as many times per turn as `times` returns for its name. Before each timed
/// turn runs one that is not timed, which brings code and memory into the caches.
pub(crate) fn run_each(
    contestants: &mut [Contestant<'_>],
    rounds: usize,
    times: impl Fn(&str) -> u32,
) -> Vec<Figure> {
    let turns = interleave(contestants, rounds, |contestant| {
        let times = times(contestant.name);
        turn(contestant, times);
        turn(contestant, times)
    });
    turns.into_iter().map(figure).collect()
}

/// Runs one turn and returns nanoseconds per repetition.
fn turn(contestant: &mut Contestant<'_>, times: u32) -> f64 {
    (contestant.prepare)();
    let start = Instant::now();
    (contestant.work)(times);
    let elapsed: Duration = start.elapsed();
    (contestant.after)(times);
    elapsed.as_secs_f64() * 1e9 / f64::from(times)
}

fn interleave(
    contestants: &mut [Contestant<'_>],
    rounds: usize,
    mut turn: impl FnMut(&mut Contestant<'_>) -> f64,
) -> Vec<Vec<f64>> {
    let mut turns = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in progress::bar("rounds", rounds as u64 + 1).wrap_iter(0..=rounds) {
        for (contestant, turns) in contestants.iter_mut().zip(&mut turns) {
            let took = turn(contestant);
            if round > 0 {
                turns.push(took);
            }
        }
    }
    turns
}

/// Returns minimum, median and maximum of `values`, which must not be empty.
pub(crate) fn figure(mut values: Vec<f64>) -> Figure {
    values.sort_by(f64::total_cmp);
    let [min, median, max] = [0, values.len() / 2, values.len() - 1].map(|index| values[index]);
    Figure { min, median, max }
}

/// The mean of the middle 80 % of some values, and between which values these lie. It resolves less
/// than a step of the clock, which a median does not, and outliers do not move it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Middle {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Returns the middle of `values`, which must not be empty.
pub(crate) fn middle(values: &[f64]) -> Middle {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let left_out = values.len() / 10;
    let kept = &values[left_out..values.len() - left_out];
    #[allow(clippy::cast_precision_loss, reason = "there are a few thousand values")]
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    Middle { mean, low: kept[0], high: kept[kept.len() - 1] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "the values are small")]
    fn the_middle_leaves_out_a_tenth_at_either_end() {
        let values = [9.0, 1.0, 2.0, 5.0, 6.0, 4.0, 3.0, 7.0, 8.0, 1_000.0];
        // Half a thousandth is far more than the rounding of these sums.
        let thousandths = |values: &[f64]| {
            let Middle { mean, low, high } = middle(values);
            [mean, low, high].map(|value| (value * 1e3).round() as i64)
        };
        assert_eq!(thousandths(&values), [5_500, 2_000, 9_000]);
        assert_eq!(thousandths(&[3.0]), [3_000; 3]);
    }
}
