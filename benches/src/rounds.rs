//! Interleaved rounds: every contestant runs once in each round, so that a slow moment of the machine hits all alike.

use core::time::Duration;
use std::time::Instant;

use crate::progress;

/// One thing that is timed.
pub(crate) struct Contestant<'c> {
    pub(crate) name: &'static str,
    /// Called before each of its turns, untimed.
    pub(crate) prepare: Box<dyn FnMut() + 'c>,
    /// Does its work so many times.
    pub(crate) work: Box<dyn FnMut(u32) + 'c>,
}

/// Nanoseconds for one time, over all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

/// Runs each contestant `times` times in each of `rounds` rounds, after one that does not count.
pub(crate) fn run(contestants: &mut [Contestant<'_>], rounds: usize, times: u32) -> Vec<Figure> {
    turns(contestants, rounds, times).into_iter().map(figure).collect()
}

/// The same, with what each contestant took in each round, in nanoseconds for one time.
pub(crate) fn turns(contestants: &mut [Contestant<'_>], rounds: usize, times: u32) -> Vec<Vec<f64>> {
    let mut turns = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in progress::bar("rounds", rounds as u64 + 1).wrap_iter(0..=rounds) {
        for (contestant, turns) in contestants.iter_mut().zip(&mut turns) {
            (contestant.prepare)();
            let start = Instant::now();
            (contestant.work)(times);
            let elapsed: Duration = start.elapsed();
            if round > 0 {
                turns.push(elapsed.as_secs_f64() * 1e9 / f64::from(times));
            }
        }
    }
    turns
}

/// The figure of these values, of which there is at least one.
pub(crate) fn figure(mut values: Vec<f64>) -> Figure {
    values.sort_by(f64::total_cmp);
    let [min, median, max] = [0, values.len() / 2, values.len() - 1].map(|index| values[index]);
    Figure { min, median, max }
}
