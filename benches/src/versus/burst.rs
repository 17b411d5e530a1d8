//! A burst of spans after an idle period, while a reader is at work: what a market that wakes up
//! does to a bot.

use core::time::Duration;
use std::{thread, time::Instant};

use crate::{progress, rounds::Contestant};

/// The spans in a burst.
pub(super) const BURST: u32 = 100;

/// How long the thread sleeps before each burst.
const IDLE: Duration = Duration::from_millis(1);

/// Times one burst of each contestant in each of `rounds` rounds; in nanoseconds per span.
pub(super) fn run(contestants: &mut [Contestant<'_>], rounds: usize) -> Vec<Vec<f64>> {
    let mut nanos = vec![Vec::with_capacity(rounds); contestants.len()];
    for _ in progress::bar("rounds of bursts", rounds as u64).wrap_iter(0..rounds) {
        for (contestant, nanos) in contestants.iter_mut().zip(&mut nanos) {
            (contestant.prepare)();
            thread::sleep(IDLE);
            let start = Instant::now();
            (contestant.work)(BURST);
            nanos.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(BURST));
            (contestant.after)(BURST);
        }
    }
    nanos
}
