//! Checks the arithmetic of the core on a 32-bit processor, where much of the code differs from
//! that on a server.
//!
//! The layout of records, the selection of quantiles, the bounds of buckets, histograms, the
//! conversion of time and windows are each compared with the simplest possible computation of the
//! same result.

#![no_std]
#![no_main]

use semihosting::{println, process};
use tailwatch_core::{
    Aggregator, EventId, EventInfo, Kind, MAX_PAYLOAD, MAX_SCALE, Outcome, Quantile, Record, Ring,
    Scope, Shape, Slot, TickRate, TimeScale, TimeUnit, WindowSpec,
    histogram::{Buckets, Histogram},
    select::{self, WeightedSample},
    storage,
};
use tailwatch_firmware::board::entry;

#[entry]
fn main() -> ! {
    let mut random = Random(1);
    records(&mut random);
    selection(&mut random);
    bounds();
    histograms(&mut random);
    time(&mut random);
    windows(&mut random);
    println!("numbers: all checks passed");
    process::exit(0)
}

/// A random number generator: xorshift (Marsaglia, *Xorshift RNGs*, 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns a number whose length in bits is evenly distributed, so small numbers are as likely
    /// as large numbers.
    fn any_size(&mut self) -> u64 {
        let shift = self.below(64);
        self.next() >> shift
    }
}

/// Panics, which fails the run, if `actual` is not `expected`.
#[track_caller]
fn check<T: PartialEq + core::fmt::Debug>(what: &str, actual: T, expected: T) {
    assert!(actual == expected, "{what}: {actual:?} instead of {expected:?}");
}

const QUANTILES: [Quantile; 4] = [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::MAX];

/// Checks that the bits of a record have the documented layout.
fn records(random: &mut Random) {
    for _ in 0..1_000 {
        let (ticks, length, number) =
            (random.next(), random.next() & MAX_PAYLOAD, 1 + random.below(2_047));
        let (event, sampling) = (event(number), random.below(16));
        let exponent = u8::try_from(sampling).unwrap_or(0);
        let end = Record::end(ticks, event, exponent, Outcome::Error, length);
        // 3 is the kind of an END with an error.
        check("record", end.words(), [ticks, length << 18 | sampling << 14 | 3 << 11 | number]);
        let ring = &mut Ring::<[Slot; 8]>::new();
        let (producer, mut consumer) = ring.split();
        producer.push(end);
        consumer.refresh();
        consumer.drain(|record| {
            check("record through a ring", record.words(), end.words());
            check("the kind of a record", record.kind(), Kind::EndError);
        });
    }
}

/// Returns the event id with this number.
fn event(number: u64) -> EventId {
    u16::try_from(number).ok().and_then(EventId::new).expect("between 1 and 2,047")
}

/// Returns a quantile of `values`, which are pairs of a value and its weight. It is computed by the
/// definition: the smallest value such that at least the quantile's share of the total weight
/// belongs to values that are no larger.
fn quantile_by_counting(
    values: impl Iterator<Item = (u64, u64)> + Clone,
    quantile: Quantile,
) -> u64 {
    let total: u64 = values.clone().map(|(_, weight)| weight).sum();
    let weight_up_to = |bound: u64| {
        values.clone().filter(|(value, _)| *value <= bound).map(|(_, weight)| weight).sum::<u64>()
    };
    let is_enough =
        |value: &u64| weight_up_to(*value) * 1_000_000 >= u64::from(quantile.ppm()) * total;
    values.clone().map(|(value, _)| value).filter(is_enough).min().unwrap_or(0)
}

/// Checks the selection of quantiles from unsorted samples.
fn selection(random: &mut Random) {
    for len in 1..=40 {
        let mut values = [0; 40];
        values[..len].fill_with(|| random.any_size() >> (u64::BITS - WeightedSample::VALUE_BITS));
        let values = &mut values[..len];
        let expected = QUANTILES
            .map(|quantile| quantile_by_counting(values.iter().map(|value| (*value, 1)), quantile));
        check("selection", select::quantiles(values, QUANTILES), Some(expected));

        let mut weighted = [WeightedSample::default(); 40];
        for (sample, value) in weighted.iter_mut().zip(&*values) {
            // The sample stands for 2^exponent events.
            let exponent = u8::try_from(random.below(6)).unwrap_or(0);
            *sample = WeightedSample::new(*value, exponent).expect("small enough");
        }
        let weighted = &mut weighted[..len];
        let pairs = weighted.iter().map(|sample| (sample.value(), sample.weight()));
        let expected = QUANTILES.map(|quantile| quantile_by_counting(pairs.clone(), quantile));
        check(
            "weighted selection",
            select::weighted_quantiles(weighted, QUANTILES),
            Some(expected),
        );
    }
}

/// Checks that the buckets of every scale follow each other without a gap. Also checks that the
/// upper bound of the bucket with index i is `floor(2^((i − 1) / 2^scale))`, where this can be
/// computed in 128 bits.
fn bounds() {
    for scale in 0..=MAX_SCALE {
        let buckets = Buckets::new(scale, 0, 60).expect("a range of 60 bits");
        let mut last = buckets.bounds(1).1;
        for index in 2..buckets.len() - 1 {
            let (above, up_to) = buckets.bounds(index);
            check("bounds without a gap", above, last);
            last = up_to;
            if up_to > above {
                check("the first value of a bucket", buckets.index(above + 1), index);
                check("the last value of a bucket", buckets.index(up_to), index);
            }
            // The bucket with index 2 is the first of the range: its upper bound is 2^(1 /
            // 2^scale). A number b is at most 2^(exponent / 2^scale) exactly if b^(2^scale) is at
            // most 2^exponent.
            let (exponent, power) = (index - 1, 1_u32 << scale);
            if scale <= 2 && exponent < 124 {
                let exceeds = |bound: u64| u128::from(bound).pow(power) > 1 << exponent;
                check("a bound", (exceeds(up_to), exceeds(up_to + 1)), (false, true));
            }
        }
    }
}

/// Checks that the exact quantile lies within the bounds of a histogram's estimate.
fn histograms(random: &mut Random) {
    const BUCKETS: Buckets = Buckets::new(3, 4, 30).expect("a range of 34 bits");
    for len in 1..=60 {
        let mut histogram = Histogram::new(BUCKETS, [0_u32; BUCKETS.len()]).expect("empty");
        let mut values = [0; 60];
        values[..len].fill_with(|| random.any_size() >> 30);
        for value in &values[..len] {
            check("the weight that found no room", histogram.record(*value, 0), 0);
        }
        for quantile in QUANTILES {
            let exact =
                quantile_by_counting(values[..len].iter().map(|value| (*value, 1)), quantile);
            let estimate = histogram.quantile(quantile).expect("there are values");
            let is_within = estimate.least <= exact && exact <= estimate.most;
            check("a quantile within its bucket", is_within, true);
            check(
                "an estimate within its bucket",
                estimate.least <= estimate.value && estimate.value <= estimate.most,
                true,
            );
        }
    }
}

/// Checks that a duration in units equals the exact ratio, except that it may be off by half a unit
/// and by the rounding of the multiplier. Checks that a duration in nanoseconds is rounded exactly.
fn time(random: &mut Random) {
    for _ in 0..1_000 {
        let hz = 1 + random.below(1 << 33);
        let (ticks, unit) = (
            random.any_size() >> 18,
            if random.below(2) == 0 { TimeUnit::Fine } else { TimeUnit::Coarse },
        );
        let rate = TickRate::from_hz(hz).expect("not 0");
        let exact = u128::from(ticks) << unit.bits();
        if let Some(units) = TimeScale::new(rate, unit).units(ticks) {
            let error = (u128::from(units) * u128::from(hz)).abs_diff(exact);
            check("a duration in units", 2 * error <= u128::from(hz) + 2 + (exact >> 60), true);
        }
        let nanos = (u128::from(ticks) * 1_000_000_000 + u128::from(hz) / 2) / u128::from(hz);
        check(
            "a duration in nanoseconds",
            u128::from(rate.nanos_in_ticks(ticks)),
            nanos.min(u64::MAX.into()),
        );
    }
}

/// Checks the summary of a sliding window against a list of all samples.
fn windows(random: &mut Random) {
    const EVENTS: &[EventInfo] = &[EventInfo::new(FIRST, "first")];
    const FIRST: EventId = EventId::new(1).expect("an id");
    // A window of 1 s in slices of 200 ms, with a clock of 1 kHz.
    const WINDOWS: [WindowSpec; 1] = [WindowSpec::new(WindowSpec::SECOND.length, 5)];
    const SHAPE: Shape =
        Shape { octaves: 10, in_flight: 0, slowest: 0, ..Shape::small(EVENTS, &WINDOWS) };
    storage!(Memory: SHAPE, u16);
    const SLICE: u64 = 200;
    let rate = TickRate::from_hz(1_000).expect("not 0");
    let mut storage = Memory::new();
    let mut aggregator =
        Aggregator::new(&WINDOWS, EVENTS, rate, 0, &mut storage).expect("they fit");
    // The last 64 samples, as pairs of the tick after the END (0 if unused) and the duration.
    let (mut list, mut next, mut now) = ([(0, 0); 64], 0, 0_u64);
    for _ in 0..400 {
        now += random.below(90);
        aggregator.begin_pass(now);
        let length = random.below(1_000);
        let end = now - random.below(40).min(now);
        aggregator.record(0, Record::end(end, FIRST, 0, Outcome::Ok, length));
        list[next % list.len()] = (end + 1, length);
        next += 1;

        // The window consists of the current slice and the four slices before it.
        let start = (now / SLICE).saturating_sub(4) * SLICE;
        let inside =
            list.iter().filter(|(after, _)| *after > start).map(|(_, length)| *length * 1_000_000);
        let count = inside.clone().count() as u64;
        let summary = aggregator.summary(FIRST, Scope::Window(0));
        check(
            "the number of samples in the window",
            summary.map_or(0, |summary| summary.count),
            count,
        );
        let Some(summary) = summary else { continue };
        let is_near = |actual: u64, exact: u64| actual.abs_diff(exact) <= 1;
        for (quantile, actual) in [(Quantile::P50, summary.p50), (Quantile::MAX, summary.max)] {
            let exact = quantile_by_counting(inside.clone().map(|length| (length, 1)), quantile);
            check("a quantile of the window", is_near(actual, exact), true);
        }
        let sum: u64 = inside.clone().sum();
        check(
            "the mean of the window",
            summary.mean.is_some_and(|mean| is_near(mean.round(), sum / count)),
            true,
        );
        let squares: u128 = inside.map(|length| u128::from(length).pow(2)).sum();
        let variance =
            (squares * u128::from(count) - u128::from(sum).pow(2)) / u128::from(count).pow(2);
        let stddev = u64::try_from(variance.isqrt()).unwrap_or(u64::MAX);
        check(
            "the standard deviation of the window",
            summary.stddev.is_some_and(|found| is_near(found.round(), stddev)),
            true,
        );
    }
}
