//! A single span after work that took all of the core's own cache. No code or data of the hot path
//! is in the cache, and the stores have to leave the core before the clock is stopped.

use core::{
    hint::black_box,
    sync::atomic::{Ordering, fence},
};
use std::time::Instant;

use crate::{
    floor::counter,
    progress,
    rounds::{Contestant, Figure, figure},
};

/// Several times the second-level cache of today's cores.
const WALKED_BYTES: usize = 8 << 20;

/// The length of a cache line in words of 8 bytes.
const LINE: usize = 8;

/// Times each contestant once in each of `rounds` rounds, and subtracts what the timing itself
/// takes.
pub(super) fn run(contestants: &mut [Contestant<'_>], rounds: usize) -> Vec<Figure> {
    let walked = vec![1_u64; WALKED_BYTES / size_of::<u64>()];
    let mut nothing = |_: u32| black_box(());
    let mut empty = Vec::with_capacity(rounds);
    let mut ticks = vec![Vec::with_capacity(rounds); contestants.len()];
    let (begun, first) = (Instant::now(), counter::ordered());
    for _ in progress::bar("rounds after cold work", rounds as u64).wrap_iter(0..rounds) {
        empty.push(once(&walked, &mut nothing));
        for (contestant, ticks) in contestants.iter_mut().zip(&mut ticks) {
            (contestant.prepare)();
            ticks.push(once(&walked, &mut *contestant.work));
        }
    }
    let nanos_per_tick =
        begun.elapsed().as_secs_f64() * 1e9 / float(counter::ordered().wrapping_sub(first));
    let empty = figure(empty).median;
    let nanos = |ticks: Vec<f64>| {
        figure(ticks.into_iter().map(|ticks| (ticks - empty) * nanos_per_tick).collect())
    };
    ticks.into_iter().map(nanos).collect()
}

/// Returns the ticks of one repetition after the walk. The same work runs just before the walk, so
/// that every contestant has run equally recently, however long a round takes.
fn once(walked: &[u64], work: &mut dyn FnMut(u32)) -> f64 {
    work(1);
    black_box(walked.iter().step_by(LINE).sum::<u64>());
    let start = counter::ordered();
    hold();
    work(1);
    // Not for ordering between threads, so it has no partner: the fence waits until the stores
    // before it have left the core.
    fence(Ordering::SeqCst);
    let end = counter::ordered();
    float(end.wrapping_sub(start))
}

/// Keeps the following instructions from starting before the clock has been read.
#[inline(always)]
fn hold() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: LFENCE exists on every x86-64 processor and touches no memory.
    unsafe {
        core::arch::asm!("lfence", options(nostack, preserves_flags));
    }
}

#[allow(clippy::cast_precision_loss, reason = "the ticks of a short time are few")]
fn float(ticks: u64) -> f64 {
    ticks as f64
}
