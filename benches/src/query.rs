//! The cost of queries: four quantiles of all events over all windows, after few spans and after
//! many.

use core::{error::Error, hint::black_box, time::Duration};
use std::path::Path;

use tailwatch::{
    Collector, EventInfo, Outcome, Quantile, Record, TickRate, Trading, Unit, WindowSpec,
    record_duration, record_value,
    tailwatch_core::{Aggregator, Scope, Shape, storage},
};

use crate::{
    progress,
    rounds::{self, Contestant, Figure, figure},
    series::{self, Series},
    verdict,
};

const SHAPE: Shape = Shape::server(Trading::ALL, &WindowSpec::DEFAULT);
const QUANTILES: [Quantile; 4] = [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9];

/// The number of spans before the queries. From the second entry on, every window has more samples
/// than the exact samples that are kept.
const SPANS: [(u32, &str); 5] = [
    (100, "10^2"),
    (10_000, "10^4"),
    (1_000_000, "10^6"),
    (10_000_000, "10^7"),
    (100_000_000, "10^8"),
];

/// The queries, each with the most nanoseconds that it may take.
const QUERIES: [(&str, Option<f64>); 4] = [
    ("published: 24 summaries, by stats", Some(5_000.0)),
    ("published: a copy of the report", None),
    ("ad hoc: 24 fresh summaries", Some(150_000.0)),
    ("ad hoc: 96 quantiles, by quantile", None),
];

/// The largest allowed factor between the costs after 10^4 and more spans.
const FLAT: f64 = 1.10;

storage!(Memory: SHAPE);
type Core = Aggregator<&'static mut Memory>;

/// Returns the duration of span `n`: 1 µs to 8 ms, the same number in each octave. The shortest
/// and the longest one come often, so that every slice covers the same range of buckets, even with
/// few spans.
fn nanos(n: u32) -> u64 {
    let mixed = u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    match n / 8 % 4 {
        0 => 1_000,
        1 => 2_023 << 12,
        _ => (1_000 + (mixed & 1_023)) << ((mixed >> 10) % 13),
    }
}

fn event(n: u32) -> &'static EventInfo {
    &Trading::ALL[n as usize % Trading::ALL.len()]
}

/// Returns an aggregator with a clock of its own. Half of its spans are spread evenly over the last
/// minute, the other half over its last second. So all slices of all windows are in use, in the
/// same proportion after few spans and after many.
fn aggregator(spans: u32) -> Result<Core, Box<dyn Error>> {
    const PASSES: u32 = 600;
    const PASS_NANOS: u64 = 100_000_000;
    const BEFORE: u64 = 60 * 10 * PASS_NANOS;
    let storage = Box::leak(Box::new(Memory::new()));
    let mut aggregator = Aggregator::new(
        &WindowSpec::DEFAULT,
        Trading::ALL,
        TickRate::NANOSECONDS,
        BEFORE,
        storage,
    )?;
    let mut n = 0;
    for pass in progress::bar("spans into an aggregator", u64::from(PASSES)).wrap_iter(1..=PASSES) {
        let half = u64::from(spans / 2);
        let until = match PASSES - pass {
            left @ 0..10 => u64::from(spans) - half * u64::from(left) / 10,
            _ => half * u64::from(pass) / u64::from(PASSES - 10),
        };
        let from = BEFORE + u64::from(pass - 1) * PASS_NANOS;
        aggregator.begin_pass(from + PASS_NANOS - 1);
        let (first, count) = (n, until - u64::from(n));
        while u64::from(n) < until {
            let (info, length) = (event(n), nanos(n));
            let at = from + u64::from(n - first) * PASS_NANOS / count;
            if info.unit == Unit::One {
                aggregator.record(0, Record::value(at, info.id, 0, length));
            } else {
                aggregator.record(0, Record::start(at - length, info.id, 0, 0));
                aggregator.record(0, Record::end(at, info.id, 0, Outcome::Ok, length));
            }
            n += 1;
        }
        aggregator.expire_orphans(aggregator.pass());
    }
    Ok(aggregator)
}

/// Returns a collector that has recorded `spans` durations and published its report.
fn collector(spans: u32) -> Result<Collector, Box<dyn Error>> {
    const BATCH: u32 = 8_192;
    let collector = Collector::builder().rings(1).manual_drain().start()?;
    collector.register_thread("bench")?;
    let batches = spans.div_ceil(BATCH);
    for batch in progress::bar("spans into a collector", u64::from(batches)).wrap_iter(0..batches) {
        for n in (batch * BATCH..spans).take(BATCH as usize) {
            let (info, length) = (event(n), nanos(n));
            if info.unit == Unit::One {
                record_value(info.id, length);
            } else {
                record_duration(info.id, Duration::from_nanos(length));
            }
        }
        collector.drain();
    }
    collector.flush();
    let health = collector.health();
    assert_eq!(
        (health.delivered, health.overwritten),
        (u64::from(spans), 0),
        "records were lost: {health:?}"
    );
    Ok(collector)
}

/// Returns all pairs of an event and a window.
fn everything() -> impl Iterator<Item = (&'static EventInfo, usize, Duration)> {
    let windows = WindowSpec::DEFAULT.iter().enumerate();
    Trading::ALL.iter().flat_map(move |info| {
        windows.clone().map(move |(number, spec)| (info, number, spec.length))
    })
}

/// Returns the queries in the order of [`QUERIES`].
fn queries<'c>(
    collector: &'c Collector,
    core: &'c mut Core,
) -> [Box<dyn FnMut() + 'c>; QUERIES.len()] {
    let stats = || {
        for (info, _, length) in everything() {
            black_box(collector.stats(info.id, length).expect("the event and the window exist"));
        }
    };
    let report = || {
        black_box(collector.report());
    };
    let summaries = || {
        for (info, number, _) in everything() {
            black_box(core.summary(info.id, Scope::Window(number)));
        }
    };
    let quantiles = || {
        for (info, _, length) in everything() {
            for quantile in QUANTILES {
                black_box(
                    collector
                        .quantile(info.id, length, quantile)
                        .expect("the event and the window exist"),
                );
            }
        }
    };
    [Box::new(stats), Box::new(report), Box::new(summaries), Box::new(quantiles)]
}

/// Runs the bench, prints the table and writes the data of the plot.
pub(crate) fn run(smoke: bool, json: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let (rounds, times) = if smoke { (5, 20) } else { (201, 100) };
    let spans = if smoke { &SPANS[..3] } else { &SPANS };
    let collectors =
        spans.iter().map(|(spans, _)| collector(*spans)).collect::<Result<Vec<_>, _>>()?;
    let mut cores =
        spans.iter().map(|(spans, _)| aggregator(*spans)).collect::<Result<Vec<_>, _>>()?;
    let mut contestants = Vec::new();
    for (collector, core) in collectors.iter().zip(&mut cores) {
        for (mut query, (name, _)) in queries(collector, core).into_iter().zip(QUERIES) {
            let work = move |times| (0..times).for_each(|_| query());
            contestants.push(Contestant::new(name, work));
        }
    }
    let turns = rounds::turns(&mut contestants, rounds, times);
    let figures: Vec<_> = turns.iter().cloned().map(figure).collect();

    println!(
        "{:<36} {:>6} {:>11} {:>11} {:>11}",
        "8 events x 3 windows x 4 quantiles", "spans", "median ns", "min", "max"
    );
    for (index, (name, _)) in QUERIES.iter().enumerate() {
        for ((_, spans), figures) in spans.iter().zip(figures.chunks_exact(QUERIES.len())) {
            let Figure { min, median, max } = figures[index];
            println!("{name:<36} {spans:>6} {median:>11.0} {min:>11.0} {max:>11.0}");
        }
    }
    println!(
        "\n{rounds} interleaved rounds, each query {times} times per round; the caches are warm"
    );
    for (index, (name, target)) in QUERIES.iter().enumerate() {
        let most = figures
            .iter()
            .skip(index)
            .step_by(QUERIES.len())
            .map(|figure| figure.median)
            .fold(0.0, f64::max);
        if let Some(target) = target {
            verdict::print(
                format!("{name}, at most {target} ns"),
                format!("{most:.0} ns"),
                most <= *target,
            );
        }
        let of_many: Vec<_> = turns.iter().skip(index).step_by(QUERIES.len()).skip(1).collect();
        let ratios = || of_many.iter().map(|turns| ratio(turns, of_many[0]));
        // The ratio of the most to the least expensive, whatever their numbers of spans.
        let spread = ratios().fold(0.0, f64::max) / ratios().fold(f64::INFINITY, f64::min);
        let (from, to) = (spans[1].1, spans[spans.len() - 1].1);
        verdict::print(
            format!("{name}, within 10 % from {from} to {to} spans"),
            format!("x {spread:.3}"),
            spread <= FLAT,
        );
    }
    if let Some(path) = json {
        let line = |(index, (name, _)): (usize, &(&str, _))| {
            let medians =
                figures.iter().skip(index).step_by(QUERIES.len()).map(|figure| figure.median);
            let points = spans.iter().map(|(spans, _)| f64::from(*spans)).zip(medians).collect();
            Series { name: (*name).to_owned(), points }
        };
        series::write(path, &QUERIES.iter().enumerate().map(line).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Returns the median over the rounds of the ratio of `turns` to `to`. What slows a round down
/// slows both, so the ratio per round is hardly affected.
fn ratio(turns: &[f64], to: &[f64]) -> f64 {
    figure(turns.iter().zip(to).map(|(turn, to)| turn / to).collect()).median
}
