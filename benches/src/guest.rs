//! The cost of measuring to the measured program: a workload that needs the whole second-level
//! cache, with and without spans in it, for several ring sizes.

use core::{cell::RefCell, error::Error, hint::black_box};
use std::fs;

use tailwatch::{Collector, Trading, measure};

use crate::rounds::{self, Contestant, figure};

const RING_SIZES: [usize; 6] = [1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20];

/// The size of the second-level cache in bytes, if the machine does not report it.
const USUAL_L2: usize = 1 << 20;

/// The bytes of a workload that fits into any first-level cache, with room for a span.
const SMALL: usize = 16 << 10;

/// The lines visited between two spans: 100 to 200 ns of work.
const VISITS: u32 = 32;

/// The spans before each turn, which fill the cache: even in large caches they visit all lines
/// several times.
const WARM: u32 = 4_096;

/// A cache line: the index of the next line to visit.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(u32);

/// A workload: lines that lead from one to the next in random order, so that the processor cannot
/// predict the next one.
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

    /// Visits [`VISITS`] lines.
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

/// Returns the size of the second-level cache in bytes.
fn second_level() -> Option<usize> {
    let size = fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size").ok()?;
    Some(size.trim().strip_suffix('K')?.parse::<usize>().ok()? << 10)
}

/// Runs the bench and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    // Turns are long enough for the drain to visit even the largest ring, which it leaves alone
    // until a quarter of it is full.
    let (rounds, times) = if smoke { (3, 20_000) } else { (61, 200_000) };
    let bytes = second_level().unwrap_or(USUAL_L2);
    let start = |size: &usize| {
        Collector::builder().rings(2).ring_capacity(*size).max_ring_capacity(*size).start()
    };
    let collectors = RING_SIZES.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    // All contestants walk the same lines: other lines would lie in other places of the cache.
    let walks = [SMALL, bytes].map(|bytes| RefCell::new(Walk::new(bytes)));

    let mut contestants = Vec::new();
    for walk in &walks {
        let prepare = || walk.borrow_mut().plain(WARM);
        let work = |times| walk.borrow_mut().plain(times);
        contestants
            .push(Contestant { prepare: Box::new(prepare), ..Contestant::new("plain", work) });
        for collector in &collectors {
            let prepare = || {
                collector.register_thread("bench").expect("the only thread gets a ring");
                walk.borrow_mut().measured(WARM);
            };
            let work = |times| walk.borrow_mut().measured(times);
            contestants.push(Contestant {
                prepare: Box::new(prepare),
                ..Contestant::new("measured", work)
            });
        }
    }
    let turns = rounds::turns(&mut contestants, rounds, times);
    let (small, large) = turns.split_at(1 + RING_SIZES.len());

    println!(
        "{:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11}",
        "", "plain ns", "spans ns", "added ns", "added %", "itself ns", "rest %"
    );
    for (number, size) in RING_SIZES.iter().enumerate() {
        let plain = figure(large[0].clone()).median;
        let measured = figure(large[1 + number].clone()).median;
        let [itself, added] = [small, large].map(|turns| added(&turns[0], &turns[1 + number]));
        let [added_percent, rest_percent] = [added, added - itself].map(|ns| ns / plain * 100.0);
        println!(
            "ring 2^{:<5} {plain:>9.2} {measured:>9.2} {added:>9.2} {added_percent:>9.2} \
             {itself:>9.2} {rest_percent:>11.2}",
            size.ilog2()
        );
    }
    println!(
        "\n{rounds} interleaved rounds; one span per {VISITS} visits to random cache lines of \
         {bytes} bytes of memory"
    );
    println!(
        "itself: what a span adds to a workload of {SMALL} bytes; rest: the remainder, caused by \
         the cache that recording occupies"
    );
    Ok(())
}

/// Returns by how many nanoseconds `measured` exceeds `plain`: the median of the differences per
/// round.
fn added(plain: &[f64], measured: &[f64]) -> f64 {
    figure(plain.iter().zip(measured).map(|(plain, measured)| measured - plain).collect()).median
}
