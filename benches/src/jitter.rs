//! The variation of a single record's cost, compared with that of two bare readings of the counter.

use core::{error::Error, hint::black_box};

use tailwatch::{Clock, ClockMode, Collector, HostClock, Quantile, Trading, measure, record_value};

use crate::{floor, progress, verdict};

/// The number of timings in a turn: as many as the spans that fill a ring of the default size.
const TURN: usize = 8_192;

/// Bytes; more than any cache holds.
const LARGE: usize = 64 << 20;

/// The largest allowed ratio of the p99.9 to that of the bare readings.
const TARGET: f64 = 2.0;

const QUANTILES: [Quantile; 4] = [Quantile::P50, Quantile::P99, Quantile::P99_9, Quantile::MAX];

/// What is timed: nothing, which gives the cost of the timing itself; bare readings, which the
/// others are compared with; a record; a span.
const NAMES: [&str; 4] = ["nothing", "two bare readings", "a record", "a span"];

/// Times the work with this index in [`NAMES`] again and again, each time between two readings of
/// the counter that wait for it.
fn turn(work: usize, ticks: &mut [u32]) {
    match work {
        0 => each(|| (), ticks),
        1 => each(floor::ordered, ticks),
        2 => each(|| record_value(Trading::QueueBacklog, 1), ticks),
        _ => each(
            || {
                let _span = measure(Trading::OrderPlacement);
                black_box(());
            },
            ticks,
        ),
    }
}

#[inline(always)]
fn each(work: impl Fn(), ticks: &mut [u32]) {
    for ticks in ticks {
        let start = floor::counter::ordered();
        work();
        let elapsed = floor::counter::ordered().wrapping_sub(start);
        *ticks = u32::try_from(elapsed).unwrap_or(u32::MAX);
    }
}

/// The timings of one kind of work on a cold or a warm ring.
struct Row {
    work: usize,
    is_cold: bool,
    /// The ticks at [`QUANTILES`] of each turn.
    turns: Vec<[u32; QUANTILES.len()]>,
    /// The ticks of all turns.
    all: Vec<u32>,
}

impl Row {
    /// Adds the ticks of a turn, and sorts them.
    fn add(&mut self, ticks: &mut [u32]) {
        ticks.sort_unstable();
        self.turns.push(QUANTILES.map(|quantile| at(ticks, quantile)));
        self.all.extend_from_slice(ticks);
    }

    /// Returns the ticks at the quantile with this index in [`QUANTILES`]: the median over the
    /// turns, because interruptions of the machine are not part of a record's cost; for the last
    /// quantile, which is the maximum, the largest over the turns.
    fn at(&self, number: usize) -> f64 {
        let mut turns: Vec<u32> = self.turns.iter().map(|quantiles| quantiles[number]).collect();
        turns.sort_unstable();
        f64::from(
            turns[if number + 1 == QUANTILES.len() { turns.len() - 1 } else { turns.len() / 2 }],
        )
    }
}

/// Returns the value at `quantile` of sorted ticks.
fn at(ticks: &[u32], quantile: Quantile) -> u32 {
    let rank = quantile.rank(ticks.len() as u64);
    ticks[usize::try_from(rank).expect("a rank is at most the number of ticks") - 1]
}

/// Times all rows, turn by turn. Before a cold turn, other data fills the caches. Before a warm
/// turn, the ring has just been written all around.
fn rows(rounds: u32) -> Vec<Row> {
    let row = |(is_cold, work)| Row { work, is_cold, turns: Vec::new(), all: Vec::new() };
    let mut rows: Vec<_> = [false, true]
        .into_iter()
        .flat_map(|is_cold| [0, 1, 2, 3].map(|n| row((is_cold, n))))
        .collect();
    let mut large = vec![0_u8; LARGE];
    let mut ticks = vec![0; TURN];
    for round in progress::bar("rounds", u64::from(rounds) + 1).wrap_iter(0..=rounds) {
        for row in &mut rows {
            if row.is_cold {
                large.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
                black_box(&mut large);
                ticks.fill(0);
            } else {
                turn(row.work, &mut ticks);
                turn(row.work, &mut ticks);
            }
            turn(row.work, &mut ticks);
            if round > 0 {
                row.add(&mut ticks);
            }
        }
    }
    for row in &mut rows {
        row.all.sort_unstable();
    }
    rows
}

/// Runs the bench and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    let rounds = if smoke { 5 } else { 201 };
    let collector = Collector::builder().start()?;
    collector.install()?;
    collector.register_thread("bench")?;
    let rows = rows(rounds);
    let nanos_per_tick = nanos_per_tick()?;

    println!(
        "{:<28} {:>7} {:>8} {:>8} {:>10} {:>13}",
        "ns", "p50", "p99", "p99.9", "max", "p99.9 x bare"
    );
    let (mut most, mut most_in_all) = ([0.0_f64; NAMES.len()], [0.0_f64; NAMES.len()]);
    for of_kind in rows.chunks_exact(NAMES.len()) {
        let timing = of_kind[0].at(0);
        let net = |row: &Row, number| row.at(number) - timing;
        for row in of_kind {
            let [p50, p99, p99_9, max] =
                [0, 1, 2, 3].map(|number| net(row, number) * nanos_per_tick);
            let name = format!(
                "{}, {}",
                NAMES[row.work],
                if row.is_cold { "cold ring" } else { "warm ring" }
            );
            let ratio = net(row, 2) / net(&of_kind[1], 2);
            let verdict = if row.work > 1 { verdict::label(ratio <= TARGET) } else { "" };
            let line = format!(
                "{name:<28} {p50:>7.1} {p99:>8.1} {p99_9:>8.1} {max:>10.0} {ratio:>13.3} {verdict}"
            );
            println!("{}", line.trim_end());
            most[row.work] = most[row.work].max(ratio);
            let in_all = |row: &Row| f64::from(at(&row.all, Quantile::P99_9)) - timing;
            most_in_all[row.work] = most_in_all[row.work].max(in_all(row) / in_all(&of_kind[1]));
        }
    }
    println!(
        "\n{rounds} interleaved rounds of {TURN} timings each, with the drain running normally\n\
         quantiles are medians over the rounds; the maximum is over all rounds\n\
         the median cost of timing nothing is subtracted; a record reads the counter once; a span \
         is two records"
    );
    for (rounds, most) in [("over all rounds together", most_in_all), ("in the median round", most)]
    {
        for (name, most) in NAMES.iter().zip(most).skip(2) {
            verdict::print(
                format!(
                    "p99.9 of {name} {rounds}, cold or warm, at most {TARGET} x that of {}",
                    NAMES[1]
                ),
                format!("x {most:.3}"),
                most <= TARGET,
            );
        }
    }
    Ok(())
}

/// Returns the nanoseconds per tick of the clock that measures spans.
fn nanos_per_tick() -> Result<f64, Box<dyn Error>> {
    const TICKS: u32 = 1_000_000;
    let rate = HostClock::new(ClockMode::Ordered).rate();
    Ok(f64::from(u32::try_from(rate.nanos_in_ticks(u64::from(TICKS)))?) / f64::from(TICKS))
}
