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
