//! What measuring takes from the *measured* program: a workload that needs all of the second-level cache, with and without
//! spans in it, with rings of each size.

use core::{cell::RefCell, error::Error, hint::black_box};
use std::fs;

use tailwatch::{Collector, Trading, measure};

use crate::rounds::{self, Contestant, figure};

const RING_SIZES: [usize; 6] = [1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20];

/// Of the second-level cache, where the machine does not tell.
const USUAL_L2: usize = 1 << 20;

/// What fits into any first-level cache, beside a span.
const SMALL: usize = 16 << 10;

/// Lines that are visited between two spans: some 100 to 200 ns of work.
const VISITS: u32 = 32;

/// Spans before each turn, so that the cache holds what it can: of large caches all lines are visited several times.
const WARM: u32 = 4_096;

/// One line of the cache: the number of the next one to visit.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(u32);

/// A workload: lines that lead from one to the next, at random, so that no processor guesses the next.
struct Walk {
    lines: Vec<Line>,
    at: u32,
}

impl Walk {
    fn new(bytes: usize) -> Self {
        let count = bytes / size_of::<Line>();
        let mut order: Vec<u32> = (0..).take(count).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut order);
        let mut lines = vec![Line(0); count];
        for (from, to) in order.iter().zip(order.iter().cycle().skip(1)) {
            lines[*from as usize] = Line(*to);
        }
        Self { lines, at: 0 }
    }

    /// Visits some lines.
    #[inline(never)]
    fn visit(&mut self) {
        for _ in 0..VISITS {
            self.at = self.lines[self.at as usize].0;
        }
    }

    fn plain(&mut self, times: u32) {
        for _ in 0..times {
            self.visit();
            black_box(());
        }
    }

    fn measured(&mut self, times: u32) {
        for _ in 0..times {
            let _span = measure(Trading::CandleProcessing);
            self.visit();
        }
    }
}

/// Bytes of the second-level cache.
fn second_level() -> Option<usize> {
    let told = fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size").ok()?;
    Some(told.trim().strip_suffix('K')?.parse::<usize>().ok()? << 10)
}

/// Times everything and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    // A turn is so long that the drain comes by in it, even to the largest ring, which it leaves alone until a quarter is full.
    let (rounds, times) = if smoke { (3, 20_000) } else { (61, 200_000) };
    let bytes = second_level().unwrap_or(USUAL_L2);
    let start = |size: &usize| Collector::builder().rings(2).ring_capacity(*size).start();
    let collectors = RING_SIZES.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    // All contestants walk the same lines: others would fall on other places of the cache.
    let walks = [SMALL, bytes].map(|bytes| RefCell::new(Walk::new(bytes)));

    let mut contestants = Vec::new();
    for walk in &walks {
        let prepare = || walk.borrow_mut().plain(WARM);
        let work = |times| walk.borrow_mut().plain(times);
        contestants.push(Contestant {
            name: "plain",
            prepare: Box::new(prepare),
            work: Box::new(work),
        });
        for collector in &collectors {
            let prepare = || {
                collector.register_thread("bench").expect("a ring for the only thread");
                walk.borrow_mut().measured(WARM);
            };
            let work = |times| walk.borrow_mut().measured(times);
            contestants.push(Contestant {
                name: "measured",
                prepare: Box::new(prepare),
                work: Box::new(work),
            });
        }
    }
    let turns = rounds::turns(&mut contestants, rounds, times);
    let (small, large) = turns.split_at(1 + RING_SIZES.len());

    println!(
        "{:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11}",
        "", "plain ns", "spans ns", "more ns", "more %", "itself ns", "the rest %"
    );
    for (number, size) in RING_SIZES.iter().enumerate() {
        let plain = figure(large[0].clone()).median;
        let measured = figure(large[1 + number].clone()).median;
        let [itself, more] = [small, large].map(|turns| more(&turns[0], &turns[1 + number]));
        let [more_percent, rest_percent] = [more, more - itself].map(|ns| ns / plain * 100.0);
        println!(
            "ring 2^{:<5} {plain:>9.2} {measured:>9.2} {more:>9.2} {more_percent:>9.2} {itself:>9.2} {rest_percent:>11.2}",
            size.ilog2()
        );
    }
    println!(
        "\n{rounds} interleaved rounds; a span around each {VISITS} visits of {bytes} bytes of memory, line by line at random"
    );
    println!(
        "itself: what a span adds where the workload takes {SMALL} bytes; the rest is what it takes from the cache"
    );
    Ok(())
}

/// By how many nanoseconds these turns are longer than those of the same rounds.
fn more(plain: &[f64], measured: &[f64]) -> f64 {
    figure(plain.iter().zip(measured).map(|(plain, measured)| measured - plain).collect()).median
}
