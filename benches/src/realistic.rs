//! The cost of measuring on top of candle processing: of 10 ms, as a trading bot may have, and of
//! 10 µs, where the cost is large enough to be resolved.

use core::{error::Error, hint::black_box, time::Duration};
use std::time::Instant;

use tailwatch::{Collector, Trading, measure};

use crate::{
    interval::Interval,
    rounds::{self, Contestant, figure},
    verdict,
};

/// The largest allowed addition to 10 ms, as a share.
const TARGET: f64 = 0.000_1;

/// The number of prices that the indicators are computed from.
const PRICES: u32 = 200;

/// The length of the work, and how many times it runs in a turn.
const CASES: [(Duration, u32); 2] =
    [(Duration::from_millis(10), 1), (Duration::from_micros(10), 100)];

/// Computes the usual indicators of `prices`, `passes` times: an exponential average, an
/// exponential variance, and the strength of gains relative to losses. Returns their sum.
#[inline(never)]
fn process(prices: &[f64], passes: u32) -> f64 {
    let mut sum = 0.0;
    for pass in 0..passes {
        let weight = 2.0 / (f64::from(pass % 50) + 2.0);
        let (mut mean, mut variance, mut gains, mut losses) = (prices[0], 0.0, 0.0, 0.0);
        for pair in prices.windows(2) {
            let (away, change) = (pair[1] - mean, pair[1] - pair[0]);
            mean += weight * away;
            variance = (1.0 - weight) * (variance + weight * away * away);
            gains += weight * (change.max(0.0) - gains);
            losses += weight * ((-change).max(0.0) - losses);
        }
        sum += mean + 2.0 * variance.sqrt() + gains / (gains + losses + 1e-9);
    }
    sum
}

/// Returns prices that follow a random walk.
fn prices() -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut price = 100.0;
    let mut step = || {
        price += random.f64() - 0.5;
        price
    };
    (0..PRICES).map(|_| step()).collect()
}

/// Returns the number of passes that take `length`.
fn passes(prices: &[f64], length: Duration) -> u32 {
    const TRIED: u32 = 2_000;
    let times = (0..21).map(|_| {
        let start = Instant::now();
        black_box(process(black_box(prices), TRIED));
        start.elapsed().as_secs_f64()
    });
    let one = figure(times.collect()).median / f64::from(TRIED);
    let passes = Duration::from_secs_f64(length.as_secs_f64() / one / 1e9).as_nanos();
    u32::try_from(passes).unwrap_or(u32::MAX).max(1)
}

/// The results for work of one length.
struct Comparison {
    plain_ns: f64,
    /// The addition by measuring, as a share of the work.
    share: Interval,
    /// The addition in nanoseconds per span.
    nanos: Interval,
}

/// Compares plain and measured work. Each round runs it plain, measured, measured and plain, so
/// that a machine that becomes faster or slower favours neither.
fn compare(prices: &[f64], length: Duration, times: u32, rounds: usize) -> Comparison {
    let passes = passes(prices, length);
    let plain = |times| {
        for _ in 0..times {
            black_box(process(black_box(prices), passes));
        }
    };
    let measured = |times| {
        for _ in 0..times {
            let _span = measure(Trading::CandleProcessing);
            black_box(process(black_box(prices), passes));
        }
    };
    let mut contestants = [
        Contestant::new("plain", plain),
        Contestant::new("measured", measured),
        Contestant::new("measured", measured),
        Contestant::new("plain", plain),
    ];
    let turns = rounds::turns(&mut contestants, rounds, times);
    let round = |round: usize| {
        let [plain, measured] =
            [[0, 3], [1, 2]].map(|of| of.map(|n: usize| turns[n][round]).iter().sum::<f64>() / 2.0);
        (plain, measured - plain)
    };
    let of_each = |of: fn((f64, f64)) -> f64| (0..rounds).map(round).map(of).collect::<Vec<_>>();
    Comparison {
        plain_ns: figure(of_each(|(plain, _)| plain)).median,
        share: Interval::of_median(&of_each(|(plain, more)| more / plain)),
        nanos: Interval::of_median(&of_each(|(_, more)| more)),
    }
}

/// Runs the bench and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    let rounds = if smoke { [15, 100] } else { [1_001, 4_001] };
    let collector = Collector::builder().start()?;
    collector.install()?;
    collector.register_thread("bench")?;
    let prices = prices();
    let found = [0, 1].map(|case| compare(&prices, CASES[case].0, CASES[case].1, rounds[case]));

    println!(
        "{:<9} {:>12} {:>9} {:>21} {:>10} {:>25}",
        "candle", "plain ns", "added ns", "95 %", "added %", "95 %"
    );
    for ((length, _), Comparison { plain_ns, share, nanos }) in CASES.iter().zip(&found) {
        let of_nanos = format!("{:.1} to {:.1}", nanos.low, nanos.high);
        let of_share = format!("{:.5} to {:.5}", share.low * 100.0, share.high * 100.0);
        println!(
            "{:<9} {plain_ns:>12.0} {:>9.1} {of_nanos:>21} {:>10.5} {of_share:>25}",
            format!("{length:?}"),
            nanos.median,
            share.median * 100.0
        );
    }
    println!(
        "\n{} and {} rounds, each in the order plain, measured, measured, plain; medians with \
         their 95 % confidence intervals (bootstrap), with the drain running normally",
        rounds[0], rounds[1]
    );
    judge(&found[0].share, found[1].nanos.median / found[0].plain_ns);
    Ok(())
}

/// Prints whether measuring adds less than the target to the long work. If the interval is too wide
/// to decide that, what a span adds to the short work, where it is resolved, is printed as a share
/// of the long one.
fn judge(share: &Interval, derived: f64) {
    let percent = |share: f64| format!("{:.5} %", share * 100.0);
    let measured =
        format!("{}, {} to {}", percent(share.median), percent(share.low), percent(share.high));
    let target =
        format!("less than {} of 10 ms, or less than the interval's width", percent(TARGET));
    if share.high < TARGET {
        verdict::print(target, measured, true);
    } else {
        let width = percent(share.width());
        let measured = format!("{measured} (width {width}; smaller additions are not resolved)");
        verdict::print(target, measured, share.median.abs() < share.width());
    }
    println!("computed from what a span adds to 10 µs: {} of 10 ms", percent(derived));
}
