//! Sums and counters that are full (saturated at their maximum), which occur in compact storage,
//! make a summary less accurate but never wrong: it stays within the accuracy that it reports, and
//! a mean or deviation that is not known is absent. In wide storage, the same samples give the
//! right ones.

use core::time::Duration;

use tailwatch_core::{
    Accuracy, Aggregator, EventId, EventInfo, Record, Repr, Scope, Shape, Storage, Summary,
    TickRate, WindowSpec, storage,
};

const EVENT: EventInfo = EventInfo::new(EventId::new(1).unwrap(), "event");
const PLAIN: [EventInfo; 1] = [EVENT];
const PACED: [EventInfo; 1] =
    [EventInfo { expected_interval: Some(Duration::from_micros(100)), ..EVENT }];
const ONE_SLICE: [WindowSpec; 1] = [WindowSpec::new(Duration::from_secs(100_000), 1)];
const MANY_SLICES: [WindowSpec; 5] = [
    WindowSpec::new(Duration::from_secs(1), 10),
    WindowSpec::new(Duration::from_secs(5), 10),
    WindowSpec::new(Duration::from_mins(1), 12),
    WindowSpec::new(Duration::from_mins(10), 10),
    WindowSpec::new(Duration::from_hours(1), 10),
];

const SECOND: u64 = 1_000_000_000;

/// Asserts that `estimate`, a quantile of `summary`, differs from the exact value by no more than
/// the accuracy of `summary`. Both are in nanoseconds.
fn assert_within_accuracy(summary: &Summary, estimate: u64, exact: u64) {
    let Accuracy::WithinPpm(ppm) = summary.accuracy else {
        panic!("the buffer cannot hold all samples, but the quantiles are exact: {summary:?}")
    };
    let error = u128::from(estimate.abs_diff(exact)) * 1_000_000;
    // Allows 2 ns more (2,000,000 ppm of 1 ns) for the rounding of durations to internal units.
    assert!(
        error <= u128::from(ppm) * u128::from(exact) + 2_000_000,
        "{estimate} is not within {ppm} ppm of {exact}: {summary:?}"
    );
}

/// Returns this shape for wide storage.
const fn wide(shape: Shape) -> Shape {
    Shape { is_compact: false, ..shape }
}

/// Asserts that `summary` reports this total weight, and this mean and this standard deviation in
/// nanoseconds; if the weight `is_saturated`, that it reports the largest weight, and neither mean
/// nor deviation.
fn assert_moments(summary: &Summary, is_saturated: bool, weight: u64, [mean, stddev]: [f64; 2]) {
    if is_saturated {
        let reported = (summary.estimated_total, summary.mean, summary.stddev);
        assert_eq!(reported, (u64::MAX, None, None), "{summary:?}");
    } else {
        assert_eq!(summary.estimated_total, weight, "{summary:?}");
        assert!((summary.mean.unwrap().to_f64() / mean - 1.0).abs() < 1e-6, "{summary:?}");
        assert!((summary.stddev.unwrap().to_f64() / stddev - 1.0).abs() < 1e-6, "{summary:?}");
    }
}

fn check_saturated_slice<S: Storage>(storage: S) {
    const HALF: u64 = 65_600;
    const WEIGHT: u64 = (2 * HALF) << 15;
    let mut aggregator =
        Aggregator::new(&ONE_SLICE, &PLAIN, TickRate::NANOSECONDS, 0, storage).unwrap();
    aggregator.begin_pass(50 * SECOND);
    // Each record has the weight 2^15. Their total weight is greater than 2^32.
    for n in 0..2 * HALF {
        let length = if n < HALF { 10_000 } else { SECOND };
        aggregator.record(0, Record::duration(2 * SECOND + n, EVENT.id, 15, length));
    }
    for scope in [Scope::Window(0), Scope::Total] {
        let summary = aggregator.summary(EVENT.id, scope).unwrap();
        assert_eq!((summary.count, summary.complete), (2 * HALF, false));
        assert_within_accuracy(&summary, summary.p95, SECOND);
        assert_within_accuracy(&summary, summary.p99_9, SECOND);
        // Only the weight of a slice has 32 bits.
        let is_saturated = S::Repr::IS_COMPACT && scope != Scope::Total;
        assert_moments(&summary, is_saturated, WEIGHT, [500_005_000.0, 499_995_000.0]);
    }
    let missing = if S::Repr::IS_COMPACT { WEIGHT - u64::from(u32::MAX) } else { 0 };
    assert_eq!(aggregator.counters().full_counters, missing);
}

#[test]
fn quantiles_of_a_saturated_slice_stay_within_their_accuracy() {
    const SHAPE: Shape = Shape { samples: 8, ..Shape::small(&PLAIN, &ONE_SLICE) };
    storage!(CompactMemory: SHAPE);
    storage!(WideMemory: wide(SHAPE));
    check_saturated_slice(&mut *Box::new(CompactMemory::new()));
    check_saturated_slice(&mut *Box::new(WideMemory::new()));
}

fn check_saturated_correction<S: Storage>(storage: S) {
    let mut aggregator =
        Aggregator::new(&ONE_SLICE, &PACED, TickRate::NANOSECONDS, 0, storage).unwrap();
    aggregator.begin_pass(5_000 * SECOND);
    // During these 600 s, 6 million spans of 100 µs could have begun, so the correction adds as
    // many samples (less the recorded one). Each has the weight 2^10.
    aggregator.record(0, Record::duration(4_000 * SECOND, EVENT.id, 10, 600 * SECOND));
    let summary = aggregator.corrected(EVENT.id, Scope::Window(0)).unwrap();
    assert_eq!((summary.count, summary.complete), (6_000_000, false));
    assert_within_accuracy(&summary, summary.p50, 300 * SECOND);
    // The samples are 100 µs, 200 µs, …, 600 s.
    let moments = [300_000_050_000.0, 600e9 / 12_f64.sqrt()];
    assert_moments(&summary, S::Repr::IS_COMPACT, 6_000_000 << 10, moments);
}

#[test]
fn a_corrected_summary_shows_a_slow_sample_that_saturates_its_sums() {
    const SHAPE: Shape = Shape { samples: 8, ..Shape::small(&PACED, &ONE_SLICE) };
    storage!(CompactMemory: SHAPE);
    storage!(WideMemory: wide(SHAPE));
    check_saturated_correction(&mut *Box::new(CompactMemory::new()));
    check_saturated_correction(&mut *Box::new(WideMemory::new()));
}

/// Records 3 million spans of 3 hours 54 minutes, and as many of 4 hours 6 minutes, at 1 in 2^15.
fn check_hours<S: Storage>(storage: S) {
    let mut aggregator =
        Aggregator::new(&ONE_SLICE, &PLAIN, TickRate::NANOSECONDS, 0, storage).unwrap();
    aggregator.begin_pass(5_000 * SECOND);
    let (minutes, pairs) = (60 * SECOND, 3_000_000_u64.div_ceil(1 << 15));
    for n in 0..pairs {
        for length in [234 * minutes, 246 * minutes] {
            assert!(aggregator.record(0, Record::duration(n, EVENT.id, 15, length)));
        }
    }
    for scope in [Scope::Window(0), Scope::Total] {
        let summary = aggregator.summary(EVENT.id, scope).unwrap();
        assert_eq!(summary.estimated_total, (2 * pairs) << 15);
        if S::Repr::IS_COMPACT {
            assert_eq!((summary.mean, summary.stddev), (None, None));
        } else {
            let [mean, stddev] = [summary.mean, summary.stddev].map(|found| found.unwrap());
            assert_eq!(mean.round(), 240 * minutes);
            assert!(stddev.round().abs_diff(6 * minutes) <= 1_000, "{stddev:?}");
        }
    }
}

#[test]
fn the_deviation_of_many_hours_is_right_or_absent() {
    const SHAPE: Shape = Shape { samples: 8, ..Shape::small(&PLAIN, &ONE_SLICE) };
    storage!(CompactMemory: SHAPE);
    storage!(WideMemory: Shape { samples: 8, ..Shape::server(&PLAIN, &ONE_SLICE) });
    check_hours(&mut *Box::new(CompactMemory::new()));
    check_hours(&mut *Box::new(WideMemory::new()));
}

fn check_many_slices(storage: impl Storage) {
    let mut aggregator =
        Aggregator::new(&MANY_SLICES, &PLAIN, TickRate::NANOSECONDS, 0, storage).unwrap();
    for second in 1..5_000 {
        aggregator.begin_pass(second * SECOND);
        assert!(aggregator.record(0, Record::duration(second * SECOND - 1, EVENT.id, 0, 10_000)));
    }
    // There was one record per second. The current slice of the longer windows is not over yet, so
    // they cover less than their length.
    let counts = [0, 1, 2, 3, 4]
        .map(|window| aggregator.summary(EVENT.id, Scope::Window(window)).unwrap().count);
    assert_eq!(counts, [1, 5, 59, 559, 3_559]);
}

#[test]
fn without_a_sample_buffer_the_number_of_slices_is_not_limited() {
    const SHAPE: Shape = Shape { samples: 0, ..Shape::small(&PLAIN, &MANY_SLICES) };
    storage!(CompactMemory: SHAPE);
    storage!(WideMemory: wide(SHAPE));
    check_many_slices(&mut *Box::new(CompactMemory::new()));
    check_many_slices(&mut *Box::new(WideMemory::new()));
}
