//! A single span after work that took all of the core's own cache. The data of the hot path are not
//! in that cache, and neither is its code, unless it is fetched again. The stores have to leave the
//! core before the clock is stopped.

use core::{
    hint::black_box,
    sync::atomic::{Ordering, fence},
    time::Duration,
};
use std::time::Instant;

use super::Work;
use crate::{
    floor::counter,
    progress,
    rounds::{Contestant, middle},
};

/// Several times the second-level cache of today's cores.
const WALKED_BYTES: usize = 8 << 20;

/// The length of a cache line in words of 8 bytes.
const LINE: usize = 8;

/// How much of a form's code is fetched after the walk: more than the path of a span takes.
const CODE_BYTES: usize = 640;

/// How long fetching the code may take.
const FETCHED_AFTER: Duration = Duration::from_micros(1);

/// A contestant, and the function whose code is fetched before its span is timed.
pub(crate) struct Single<'c> {
    pub(crate) contestant: Contestant<'c>,
    pub(crate) code: Option<Work>,
}

/// The results of each round, in nanoseconds: for each contestant, without what the timing takes on
/// average, and for the timing itself.
pub(crate) struct Singles {
    pub(crate) contestants: Vec<Vec<f64>>,
    pub(crate) timing: Vec<f64>,
}

/// Times each contestant once in each of `rounds` rounds.
pub(crate) fn run(singles: &mut [Single<'_>], rounds: usize) -> Singles {
    let walked = vec![1_u64; WALKED_BYTES / size_of::<u64>()];
    let mut nothing =
        Single { contestant: Contestant::new("nothing", |_| black_box(())), code: None };
    let mut empty = Vec::with_capacity(rounds);
    let mut ticks = vec![Vec::with_capacity(rounds); singles.len()];
    let mut random = fastrand::Rng::with_seed(1);
    let mut order: Vec<_> = (0..singles.len()).collect();
    let (begun, first) = (Instant::now(), counter::ordered());
    for _ in progress::bar("rounds after cold work", rounds as u64).wrap_iter(0..rounds) {
        empty.push(once(&walked, &mut nothing));
        // In another order each time: what a contestant leaves in the shared cache matters to the
        // next one.
        random.shuffle(&mut order);
        for &number in &order {
            ticks[number].push(once(&walked, &mut singles[number]));
        }
    }
    let nanos_per_tick =
        begun.elapsed().as_secs_f64() * 1e9 / float(counter::ordered().wrapping_sub(first));
    let nanos = |ticks: Vec<f64>| -> Vec<f64> {
        ticks.into_iter().map(|ticks| ticks * nanos_per_tick).collect()
    };
    let timing = nanos(empty);
    let overhead = middle(&timing).mean;
    let alone = |ticks| nanos(ticks).into_iter().map(|nanos| nanos - overhead).collect();
    Singles { contestants: ticks.into_iter().map(alone).collect(), timing }
}

/// Returns the ticks of one repetition after the walk. The same work runs just before the walk, so
/// that every contestant has run equally recently, however long a round takes.
fn once(walked: &[u64], Single { contestant, code }: &mut Single<'_>) -> f64 {
    (contestant.prepare)();
    let work = &mut contestant.work;
    work(1);
    black_box(walked.iter().step_by(LINE).sum::<u64>());
    if let Some(code) = code {
        fetch(*code);
    }
    let start = counter::ordered();
    hold();
    work(1);
    // Not for ordering between threads, so it has no partner: the fence waits until the stores
    // before it have left the core.
    fence(Ordering::SeqCst);
    let end = counter::ordered();
    (contestant.after)(2);
    float(end.wrapping_sub(start))
}

/// Brings the code of `work` into the second-level cache, from which the core fetches instructions;
/// only on x86-64.
fn fetch(work: Work) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

        let code = (work as *const ()).cast::<i8>();
        for offset in (0..CODE_BYTES).step_by(64) {
            // SAFETY: a prefetch has no effect but on the cache, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(code.wrapping_add(offset)) };
        }
    }
    // Nothing waits for a prefetch, so this takes longer than they do.
    let begun = Instant::now();
    while begun.elapsed() < FETCHED_AFTER {}
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
