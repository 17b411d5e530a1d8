//! Compares quantiles over the whole range of durations and plain numbers, of more samples than are
//! kept, with a sorted list: a histogram of a server has a bucket of the stated width for each of
//! them.

use core::time::Duration;

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Accuracy, Aggregator, EventId, EventInfo, MAX_PAYLOAD, Record, Scope, Shape, Summary, TickRate,
    TimeUnit, Unit, WindowSpec,
};

use crate::{
    definitions::{MILLI, Recount, SECOND, Time},
    memory::Memory,
};

const WINDOWS: [WindowSpec; 1] = [WindowSpec::FIVE_SECONDS];
const HOUR: u64 = 3_600 * SECOND;

/// Returns the value, and the samples that the correction for coordinated omission adds for this
/// expected interval.
fn expanded(value: u64, interval: u64) -> impl Iterator<Item = u64> {
    (0..(value / interval).max(1)).map(move |n| value - n * interval)
}

/// Checks the quantiles of a summary, whose samples are not all kept, and that they state an error
/// of at most 1.2 % and 1 ns (or 1, for plain numbers).
fn check_quantiles(summary: &Summary, values: impl Iterator<Item = u64>, slack: (u64, f64)) {
    let recount: Recount = values.map(|value| (value, 1)).collect();
    assert_eq!(summary.count, recount.0.len() as u64);
    for (ppm, quantile) in [
        (500_000, summary.p50),
        (950_000, summary.p95),
        (990_000, summary.p99),
        (999_000, summary.p99_9),
    ] {
        recount.check_quantile(ppm, quantile, summary.accuracy, slack);
    }
    let Accuracy::WithinPpm(stated) = summary.accuracy else {
        panic!("the quantiles are exact, but not all samples are kept: {summary:?}")
    };
    // Of the four quantiles, 1 ns is the largest part of the smallest, whose sample may be 1 ns
    // less.
    let allowed = 12_000 + 1_000_001 / summary.p50.saturating_sub(1).max(1);
    assert!(u64::from(stated) <= allowed, "{stated} ppm of {:?}", summary.p50);
}

/// Records these durations, in nanoseconds, and checks the plain and the corrected summary.
fn check_durations(hz: u64, durations: &[u64], interval: u64) {
    let event = EventId::new(1).unwrap();
    let expected_interval = Some(Duration::from_nanos(interval));
    let infos = [EventInfo { expected_interval, ..EventInfo::new(event, "event") }];
    let shape = Shape::server(&infos, &WINDOWS);
    let (rate, memory) = (TickRate::from_hz(hz).unwrap(), Memory::<u32>::new(&shape));
    let mut aggregator = Aggregator::new(&WINDOWS, &infos, rate, 0, memory).unwrap();
    let time = Time::new(hz, TimeUnit::Fine);
    let mut recorded = vec![];
    for nanos in durations {
        let ticks = time.ticks(*nanos).min(MAX_PAYLOAD - 1);
        assert!(aggregator.record(0, Record::duration(0, event, 0, ticks)));
        recorded.push(time.nanos(ticks));
    }
    let units_per_second = 2_f64.powi(40);
    let slack = (2, SECOND as f64 / (interval as f64 * units_per_second));
    for scope in [Scope::Total, Scope::Window(0)] {
        if durations.len() > shape.samples {
            let summary = aggregator.summary(event, scope).unwrap();
            check_quantiles(&summary, recorded.iter().copied(), (0, 0.0));
        }
        let corrected = aggregator.corrected(event, scope).unwrap();
        let values = recorded.iter().flat_map(|value| expanded(*value, interval));
        check_quantiles(&corrected, values, slack);
    }
}

/// Returns numbers from 1 to `most`, of which each power of two has as many.
fn spread(most: u64) -> impl Strategy<Value = u64> {
    (0..=most.ilog2(), any::<u64>())
        .prop_map(move |(bits, rest)| (1 << bits | rest & ((1 << bits) - 1)).min(most))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn quantiles_of_durations_up_to_ten_hours_are_within_the_stated_error(
        hz in proptest::sample::select(vec![1_000_000_000, 2_600_000_000, 24_000_000]),
        most in spread(10 * HOUR),
        shares in vec((0..1_000_u64, 0..46_u32), 513..700),
        intervals in 1..300_u64,
    ) {
        // About half of the durations are near the longest.
        let durations: Vec<u64> = shares
            .into_iter()
            .map(|(share, bits)| ((most >> bits.saturating_sub(23)) * share / 1_000).max(1))
            .collect();
        check_durations(hz, &durations, (most / intervals).max(1));
    }

    #[test]
    fn quantiles_of_plain_numbers_up_to_2_46_are_within_the_stated_error(
        numbers in vec(spread(MAX_PAYLOAD - 1), 513..700),
    ) {
        let event = EventId::new(1).unwrap();
        let infos = [EventInfo { unit: Unit::One, ..EventInfo::new(event, "number") }];
        let memory = Memory::<u32>::new(&Shape::server(&infos, &WINDOWS));
        let rate = TickRate::NANOSECONDS;
        let mut aggregator = Aggregator::new(&WINDOWS, &infos, rate, 0, memory).unwrap();
        for number in &numbers {
            prop_assert!(aggregator.record(0, Record::value(0, event, 0, *number)));
        }
        for scope in [Scope::Total, Scope::Window(0)] {
            let summary = aggregator.summary(event, scope).unwrap();
            check_quantiles(&summary, numbers.iter().copied(), (0, 0.0));
        }
    }
}

#[test]
fn minutes_are_told_apart_and_a_hang_of_minutes_is_corrected() {
    let minutes: Vec<u64> = (0..600).map(|n| 300 * SECOND + n * SECOND / 2).collect();
    check_durations(1_000_000_000, &minutes, 600 * SECOND);
    check_durations(1_000_000_000, &[600 * SECOND], 10 * MILLI);
    // The second is cut to the longest duration that a record can carry at 3 GHz.
    check_durations(3_000_000_000, &[HOUR * 13 / 2, HOUR * 8], SECOND);
}
