extern crate std;

mod delays;
mod failed_spans;
mod lost_ends;
mod representations;
mod set_up;

use std::{boxed::Box, vec, vec::Vec};

use proptest::prelude::*;

use self::representations::{Empty, Tested, tests_on_both};
use super::*;
use crate::{
    clock::TimeUnit,
    declaration::presets::Trading,
    event::Event,
    record::{DiscardReason, Outcome},
    repr::{Compact, Wide},
    sla::{Limit, SlaState, SlaStatus, Threshold},
    statistics::{
        quantile::Quantile,
        summary::{Accuracy, Summary},
    },
    storage,
    storage::shape::Shape,
};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// A shape with a sample buffer so small that many quantiles are estimated.
const SHAPE: Shape = Shape { samples: 16, ..Shape::server(Trading::ALL, &WindowSpec::DEFAULT) };
const WITHOUT_SAMPLES: Shape = Shape { samples: 0, ..SHAPE };
/// A shape without a table of open spans.
const WITHOUT_TABLE: Shape = Shape { in_flight: 0, ..SHAPE };

/// The events of the preset [`Trading`], with an order placement expected every nanosecond and an
/// order fill every millisecond. Only the order fill has a limit on silence.
const PACED: [EventInfo; 8] = {
    let mut events = [Trading::ALL[0]; 8];
    let mut at = 0;
    while at < 8 {
        events[at] = Trading::ALL[at];
        at += 1;
    }
    events[2].expected_interval = Some(core::time::Duration::from_nanos(1));
    events[3].expected_interval = Some(core::time::Duration::from_millis(1));
    events[3].max_silence = Some(core::time::Duration::from_secs(1));
    events
};
const PACED_SHAPE: Shape = Shape { samples: 16, ..Shape::server(&PACED, &WindowSpec::DEFAULT) };

/// Returns an aggregator of [`PACED`], created at tick `now`.
fn paced<R: Tested>(now: u64) -> Aggregator<R::PacedNarrow> {
    let (rate, storage) = (TickRate::NANOSECONDS, Empty::empty());
    Aggregator::new(&WindowSpec::DEFAULT, &PACED, rate, now, storage).unwrap()
}

/// Returns an aggregator that is created at tick `now` of a clock with one tick per nanosecond.
fn aggregator<R: Tested>(now: u64) -> Aggregator<R::Memory> {
    let (rate, storage) = (TickRate::NANOSECONDS, Empty::empty());
    Aggregator::new(&WindowSpec::DEFAULT, Trading::ALL, rate, now, storage).unwrap()
}

/// Returns the END of a successful order placement.
fn end(tick: u64, duration: u64) -> Record {
    Record::end(tick, Trading::OrderPlacement.id(), 0, Outcome::Ok, duration)
}

/// Computes a quantile by nearest rank from its definition, by sorting.
fn nearest_rank(samples: &[u64], quantile: Quantile) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (samples.len() as u128 * u128::from(quantile.ppm())).div_ceil(1_000_000).max(1);
    sorted[usize::try_from(rank).unwrap() - 1]
}

/// Checks that a summary agrees with what is recomputed from the list of its samples. There must be
/// no summary if there are no samples.
fn check(summary: Option<Summary>, samples: &[u64]) {
    let Some(summary) = summary else {
        assert!(samples.is_empty(), "no summary, although there are the samples {samples:?}");
        return;
    };
    assert_eq!(summary.count, samples.len() as u64);
    assert_eq!(summary.estimated_total, summary.count);
    assert_eq!(summary.min, *samples.iter().min().unwrap());
    assert_eq!(summary.max, *samples.iter().max().unwrap());
    let n = samples.len() as f64;
    let mean = samples.iter().map(|x| *x as f64).sum::<f64>() / n;
    let spread = (samples.iter().map(|x| (*x as f64 - mean).powi(2)).sum::<f64>() / n).sqrt();
    assert!((summary.mean.unwrap().to_f64() - mean).abs() <= 1.0 + mean * 1e-9);
    assert!(
        (summary.stddev.unwrap().to_f64() - spread).abs() <= 1.0 + spread * 1e-6,
        "{} {spread}",
        summary.stddev.unwrap().to_f64()
    );
    let reported = [
        (Quantile::P50, summary.p50),
        (Quantile::P95, summary.p95),
        (Quantile::P99, summary.p99),
        (Quantile::P99_9, summary.p99_9),
    ];
    for (quantile, value) in reported {
        let exact = nearest_rank(samples, quantile);
        let allowed = u128::from(summary.accuracy.max_relative_error_ppm()) * u128::from(exact);
        assert!(
            u128::from(value.abs_diff(exact)) * 1_000_000 <= allowed,
            "{quantile} of {} samples is {value}, expected {exact}, {:?}",
            samples.len(),
            summary.accuracy
        );
    }
    if summary.accuracy != Accuracy::Exact && summary.min > 10_000 && summary.max < 200 * SECOND {
        assert!(summary.accuracy.max_relative_error_ppm() <= 11_100, "{:?}", summary.accuracy);
    }
}

/// Records samples, given by their ages and durations, in passes that begin the given times after
/// each other. Every summary must equal one that is recomputed from the list of samples.
fn check_summaries<R: Tested>(
    first: u64,
    passes: Vec<(u64, Vec<(u64, u64)>)>,
) -> Result<(), TestCaseError> {
    let event = Trading::OrderPlacement.id();
    let mut aggregator = aggregator::<R>(first);
    let mut now = first;
    let mut all: Vec<(u64, u64)> = vec![];
    let mut late = 0;
    for (step, samples) in passes {
        now += step;
        aggregator.begin_pass(now);
        for (age, duration) in samples {
            let tick = now.saturating_sub(age);
            aggregator.record(0, end(tick, duration));
            all.push((tick, duration));
            // The 1 s window is the shortest, so every late sample is late there. It has 10
            // slices of 100 ms: the current one and 9 before it.
            late += u64::from(tick / (SECOND / 10) + 9 < now / (SECOND / 10));
        }
        for (window, spec) in WindowSpec::DEFAULT.iter().enumerate() {
            let slice = u64::try_from(spec.length.as_nanos()).unwrap() / u64::from(spec.slices);
            let members: Vec<u64> = all
                .iter()
                .filter(|(tick, _)| tick / slice + u64::from(spec.slices) > now / slice)
                .map(|(_, duration)| *duration)
                .collect();
            let summary = aggregator.summary(event, Scope::Window(window));
            if let Some(summary) = summary {
                let start = (now / slice).saturating_sub(u64::from(spec.slices) - 1) * slice;
                let covered = now - start.max(first);
                prop_assert!(summary.covered.abs_diff(covered) <= 1 + (now >> 50));
                prop_assert!(summary.complete);
            }
            check(summary, &members);
        }
        let durations: Vec<u64> = all.iter().map(|(_, duration)| *duration).collect();
        check(aggregator.summary(event, Scope::Total), &durations);
    }
    prop_assert_eq!(aggregator.counters().late, late);
    prop_assert_eq!(aggregator.outcomes(event).ok, all.len() as u64);
    Ok(())
}

/// Processes records, given by their words, in passes at the given ticks. Nothing may panic, and
/// each record must be counted once.
fn check_counts<R: Tested>(steps: Vec<(u64, Vec<[u64; 2]>)>) -> Result<(), TestCaseError> {
    let mut aggregator = paced::<R>(5);
    let (mut given, mut ignored, mut tags) = (0, 0, 0);
    for (now, records) in steps {
        aggregator.begin_pass(now);
        for words in records {
            let record = Record::from_words(words);
            given += 1;
            let known = record.event().filter(|event| event.get() <= 8);
            let unit = known.map(|event| Trading::ALL[usize::from(event.get()) - 1].unit);
            // A START, and the FORGET of a discarded span, produce neither a sample nor a fault.
            ignored += u64::from(
                unit == Some(Unit::Time)
                    && match record.kind() {
                        Kind::Start => true,
                        Kind::Forget => record.payload() == DiscardReason::Discarded as u64,
                        _ => false,
                    },
            );
            tags += u64::from(known.is_some() && record.kind() == Kind::Tag);
            aggregator.record(0, record);
        }
        aggregator.expire_orphans(aggregator.pass());
        aggregator.evaluate_limits(now, |_| ());
        aggregator.limits(|_| ());
    }
    let counters = aggregator.counters();
    let mut samples = 0;
    for info in Trading::ALL {
        for scope in (0..4).map(Scope::Window).chain([Scope::Total]) {
            let _ = aggregator.summary(info.id, scope);
            let _ = aggregator.corrected(info.id, scope);
            let _ = aggregator.slowest(info.id, scope, &mut [crate::Exemplar::EMPTY; 5]);
        }
        let summaries =
            [aggregator.summary(info.id, Scope::Total), aggregator.failed(info.id, Scope::Total)];
        samples += summaries.into_iter().flatten().map(|summary| summary.count).sum::<u64>();
    }
    let faults = counters.saturated
        + counters.invalid
        + counters.unknown_events
        + counters.negative_differences
        + counters.orphan_tags;
    // A TAG that belongs to an open span is no fault.
    let belonging = tags.saturating_sub(counters.orphan_tags);
    // `clock_anomalies` counts records that produced no sample, but also samples from the future
    // and passes. It therefore gives an upper bound only.
    prop_assert!(samples + faults + ignored <= given);
    prop_assert!(given <= samples + faults + ignored + belonging + counters.clock_anomalies);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn summaries_equal_a_recount(
        is_compact in any::<bool>(),
        first in prop_oneof![Just(0), 0..100 * SECOND, Just(1 << 61)],
        passes in proptest::collection::vec(
            (
                prop_oneof![4 => 0..SECOND, 2 => 0..8 * SECOND, 1 => 0..200 * SECOND],
                proptest::collection::vec(
                    (
                        prop_oneof![6 => 0..SECOND / 10, 1 => 0..80 * SECOND],
                        prop_oneof![4 => 0..100_000_u64, 2 => 0..300 * SECOND, 1 => 0..20_u64],
                    ),
                    0..30,
                ),
            ),
            1..25,
        ),
    ) {
        if is_compact {
            check_summaries::<Compact>(first, passes)?;
        } else {
            check_summaries::<Wide>(first, passes)?;
        }
    }

    #[test]
    fn random_bits_are_counted_and_never_panic(
        is_compact in any::<bool>(),
        steps in proptest::collection::vec(
            (
                any::<u64>(),
                proptest::collection::vec(
                    proptest::array::uniform2(prop_oneof![any::<u64>(), Just(u64::MAX), Just(0)]),
                    0..20,
                ),
            ),
            1..20,
        ),
    ) {
        if is_compact { check_counts::<Compact>(steps)? } else { check_counts::<Wide>(steps)? }
    }
}

tests_on_both! {
    a_tick_from_the_future_does_not_empty_a_window,
    a_record_from_the_future_is_in_no_window_even_if_the_clock_is_young,
    without_room_for_samples_quantiles_are_estimated,
    windows_start_over_when_the_clock_restarts,
    a_small_step_back_of_the_clock_is_counted_and_keeps_the_windows,
    every_fault_is_counted_by_its_cause,
    sampled_records_are_weighted,
    a_summary_that_covers_a_loss_is_incomplete,
    plain_numbers_are_not_converted,
    a_start_from_the_future_or_before_the_creation_opens_no_span,
    the_observed_value_agrees_with_the_state_of_the_limit,
    an_event_that_is_switched_off_is_not_silent_but_a_violation_stays,
    a_span_that_became_uncertain_before_a_clock_restart_is_abandoned,
    records_that_were_never_written_make_no_span_uncertain,
    a_sample_too_late_for_the_window_of_a_limit_is_counted_as_late,
    room_that_an_event_gives_up_is_an_unrecorded_change,
    a_sample_of_thousands_of_intervals_is_corrected_without_drift,
}

fn a_tick_from_the_future_does_not_empty_a_window<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    aggregator.begin_pass(SECOND);
    aggregator.record(0, end(SECOND, 10));
    aggregator.record(0, end(u64::MAX, 20));
    // This tick is only as far ahead as that of an unsynchronised core may be.
    aggregator.record(0, end(SECOND + TOLERANCE_NANOS, 30));
    let event = Trading::OrderPlacement.id();
    assert_eq!(aggregator.summary(event, Scope::Window(0)).unwrap().count, 2);
    assert_eq!(aggregator.summary(event, Scope::Total).unwrap().count, 3);
    assert_eq!(aggregator.counters().clock_anomalies, 1);
}

fn a_record_from_the_future_is_in_no_window_even_if_the_clock_is_young<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    aggregator.begin_pass(1_000);
    for duration in [10, 20, 30] {
        aggregator.record(0, end(1_000, duration));
        aggregator.record(0, end(u64::MAX, 1_000_000));
    }
    let event = Trading::OrderPlacement.id();
    check(aggregator.summary(event, Scope::Window(2)), &[10, 20, 30]);
    check(aggregator.summary(event, Scope::Total), &[10, 20, 30, 1_000_000, 1_000_000, 1_000_000]);
}

fn without_room_for_samples_quantiles_are_estimated<R: Tested>() {
    let (rate, storage) = (TickRate::NANOSECONDS, R::WithoutSamples::empty());
    let mut aggregator =
        Aggregator::new(&WindowSpec::DEFAULT, Trading::ALL, rate, 0, storage).unwrap();
    let samples: Vec<u64> = (1..1_000).map(|n| n * 1_000).collect();
    for duration in &samples {
        assert!(aggregator.record(0, end(0, *duration)));
    }
    check(aggregator.summary(Trading::OrderPlacement.id(), Scope::Window(0)), &samples);
    assert_ne!(
        aggregator.summary(Trading::OrderPlacement.id(), Scope::Total).unwrap().accuracy,
        Accuracy::Exact
    );
}

fn windows_start_over_when_the_clock_restarts<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    aggregator.begin_pass(100 * SECOND);
    aggregator.record(0, end(100 * SECOND, 7));
    aggregator.begin_pass(SECOND);
    let event = Trading::OrderPlacement.id();
    assert!((0..3).all(|window| aggregator.summary(event, Scope::Window(window)).is_none()));
    aggregator.record(0, end(SECOND, 9));
    check(aggregator.summary(event, Scope::Total), &[7, 9]);
    let summary = aggregator.summary(event, Scope::Window(0)).unwrap();
    assert_eq!(
        (summary.count, summary.max, summary.accuracy, summary.complete),
        (1, 9, Accuracy::Exact, false)
    );
    aggregator.begin_pass(3 * SECOND);
    assert!(aggregator.summary(event, Scope::Window(0)).is_none());
    assert_eq!(aggregator.counters(), Counters { clock_anomalies: 1, ..Counters::default() });
}

fn a_small_step_back_of_the_clock_is_counted_and_keeps_the_windows<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    aggregator.begin_pass(SECOND);
    aggregator.record(0, end(SECOND, 10));
    aggregator.begin_pass(SECOND - TOLERANCE_NANOS);
    assert_eq!(aggregator.counters().clock_anomalies, 1);
    assert_eq!(
        aggregator.summary(Trading::OrderPlacement.id(), Scope::Window(0)).unwrap().count,
        1
    );
}

fn every_fault_is_counted_by_its_cause<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    let (span, number) = (Trading::OrderFill.id(), Trading::QueueBacklog.id());
    let unknown = EventId::new(2_047).unwrap();
    for record in [
        Record::EMPTY,
        Record::value(0, span, 0, 1),
        Record::end(0, number, 0, Outcome::Ok, 1),
        Record::start(0, unknown, 0, 0),
        Record::value(0, number, 0, u64::MAX),
        Record::duration(0, span, 0, u64::MAX),
        Record::forget(0, span, 0, DiscardReason::TooLong),
        Record::forget(0, span, 0, DiscardReason::ClockSteppedBack),
        Record::forget(0, span, 0, DiscardReason::Discarded),
        Record::negative_difference(0, span, 0, 1 << 50),
        Record::tag(0, span, 0, 7),
        Record::tag(0, number, 0, 7),
    ] {
        aggregator.record(0, record);
    }
    // The one that is left has closed no span.
    assert_eq!(aggregator.pairing(span).early, 3);
    let expected = Counters {
        late: 0,
        clock_anomalies: 1,
        saturated: 3,
        invalid: 4,
        unknown_events: 1,
        full_counters: 0,
        negative_differences: 1,
        orphan_tags: 1,
    };
    assert_eq!(aggregator.counters(), expected);
    assert!(Trading::ALL.iter().all(|info| aggregator.summary(info.id, Scope::Total).is_none()));
}

fn sampled_records_are_weighted<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    let event = Trading::OrderPlacement.id();
    for _ in 0..90 {
        aggregator.record(0, Record::end(0, event, 3, Outcome::Ok, 1_000));
    }
    for _ in 0..80 {
        aggregator.record(0, Record::end(0, event, 0, Outcome::Ok, 9_000));
    }
    let summary = aggregator.summary(event, Scope::Window(0)).unwrap();
    assert_eq!((summary.count, summary.estimated_total), (170, 800));
    assert!(!summary.complete);
    assert_eq!(summary.mean.unwrap().round(), (720 * 1_000 + 80 * 9_000) / 800);
    // By weight, 9 in 10 samples are 1,000 ns. By count, it would be about half of them.
    assert!(summary.p50 < 1_100 && summary.p95 > 8_800);
}

fn a_summary_that_covers_a_loss_is_incomplete<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    aggregator.begin_pass(10 * SECOND);
    aggregator.mark_lost();
    let event = Trading::OrderPlacement.id();
    aggregator.begin_pass(12 * SECOND);
    aggregator.record(0, end(12 * SECOND, 1));
    let complete =
        [0, 1, 2].map(|window| aggregator.summary(event, Scope::Window(window)).unwrap().complete);
    assert_eq!(complete, [true, false, false]);
    assert!(!aggregator.summary(event, Scope::Total).unwrap().complete);
}

fn plain_numbers_are_not_converted<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    let event = Trading::QueueBacklog.id();
    for n in 0..=1_000 {
        aggregator.record(0, Record::value(0, event, 0, n % 3));
    }
    let summary = aggregator.summary(event, Scope::Window(0)).unwrap();
    assert_eq!((summary.min, summary.p50, summary.p95, summary.max), (0, 1, 2, 2));
    // Each bucket holds a single whole number, so the estimates are exact.
    assert_eq!(summary.accuracy, Accuracy::WithinPpm(0));
    assert!((summary.mean.unwrap().to_f64() - 0.999).abs() < 0.001);
}

/// Returns the statuses of the limits of `event`.
fn status(aggregator: &mut Aggregator<impl Storage>, event: Trading) -> Vec<SlaStatus> {
    let mut found = vec![];
    aggregator.limits(|status| found.extend((status.event == event.id()).then_some(*status)));
    found
}

fn a_start_from_the_future_or_before_the_creation_opens_no_span<R: Tested>() {
    let mut aggregator = aggregator::<R>(1_000 * SECOND);
    aggregator.begin_pass(1_001 * SECOND);
    let event = Trading::OrderPlacement.id();
    for tick in [0, 900 * SECOND, 1_002 * SECOND, u64::MAX] {
        aggregator.record(0, Record::start(tick, event, 0, 7));
    }
    assert_eq!(aggregator.counters(), Counters { clock_anomalies: 4, ..Counters::default() });
    assert_eq!(aggregator.pairing(event).open, 0);
    aggregator.evaluate_limits(1_001 * SECOND, |_| panic!("no span is open"));
    // This START is only as far ahead as that of an unsynchronised core may be.
    aggregator.record(0, Record::start(1_001 * SECOND + MILLI, event, 0, 7));
    assert_eq!(aggregator.pairing(event).open, 1);
}

fn the_observed_value_agrees_with_the_state_of_the_limit<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    let event = Trading::OrderPlacement; // Its limits are a p95 of 20 ms and a p99 of 50 ms.
    aggregator.begin_pass(10 * SECOND);
    aggregator.record(0, Record::start(9 * SECOND, event.id(), 0, 0));
    for _ in 0..40 {
        aggregator.record(0, end(10 * SECOND, MILLI));
    }
    aggregator.evaluate_limits(10 * SECOND, |_| ());
    let [p95, p99] = status(&mut aggregator, event)[..] else { panic!("two limits") };
    // One in 41 spans hangs, which is less than 5 %, but more than 1 %.
    assert_eq!((p95.state, p95.over, p95.count, p95.observed), (SlaState::Ok, 1, 41, Some(MILLI)));
    assert_eq!(
        (p99.state, p99.over, p99.count, p99.observed),
        (SlaState::Violated, 1, 41, Some(SECOND))
    );
}

fn an_event_that_is_switched_off_is_not_silent_but_a_violation_stays<R: Tested>() {
    let event = Trading::OrderFill;
    for (off_from, expected) in [(1, SlaState::Ok), (4, SlaState::Violated)] {
        let mut aggregator = paced::<R>(0);
        aggregator.record(0, Record::duration(0, event.id(), 0, 5));
        for second in 1..=6 {
            aggregator.begin_pass(second * SECOND);
            if second >= off_from {
                aggregator.reset_silence(event.id());
            }
            aggregator.evaluate_limits(second * SECOND, |_| ());
        }
        let [silence] = status(&mut aggregator, event)[..] else { panic!("one limit") };
        assert_eq!((silence.state, silence.cleared), (expected, 0));
    }
}

fn a_span_that_became_uncertain_before_a_clock_restart_is_abandoned<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    let event = Trading::OrderFill.id();
    aggregator.begin_pass(100_000 * SECOND);
    aggregator.record(0, Record::start(99_999 * SECOND, event, 0, 0));
    aggregator.mark_lost();
    aggregator.begin_pass(5 * SECOND);
    assert_eq!((aggregator.pairing(event).open, aggregator.pairing(event).uncertain), (1, 1));
    aggregator.begin_pass(66 * SECOND);
    assert_eq!((aggregator.pairing(event).open, aggregator.pairing(event).abandoned), (0, 1));
}

fn records_that_were_never_written_make_no_span_uncertain<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    let event = Trading::OrderFill.id();
    aggregator.record(0, Record::start(0, event, 0, 0));
    aggregator.record(0, Record::duration(0, event, 0, 1));
    aggregator.mark_incomplete();
    assert_eq!(aggregator.pairing(event).uncertain, 0);
    assert!(!aggregator.summary(event, Scope::Total).unwrap().complete);
}

/// The event that gives up room has no record of its own that would show it.
fn room_that_an_event_gives_up_is_an_unrecorded_change<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    for tick in 0..1_000 {
        aggregator.record(0, Record::start(tick, Trading::OrderPlacement.id(), 0, 0));
    }
    assert_eq!(aggregator.unrecorded_changes(), 0);
    for tick in 1_000..1_020 {
        aggregator.record(0, Record::start(tick, Trading::OrderFill.id(), 0, 0));
    }
    assert!(aggregator.pairing(Trading::OrderPlacement.id()).open < 896);
    assert_eq!(aggregator.unrecorded_changes() > 0, !R::IS_COMPACT);
}

fn a_sample_too_late_for_the_window_of_a_limit_is_counted_as_late<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    let event = Trading::OrderFill.id();
    let short = Threshold::value(Quantile::MAX, 1).over(core::time::Duration::from_millis(20));
    aggregator.set_limits(event, &[Limit::Quantile(short)]).unwrap();
    aggregator.begin_pass(SECOND);
    aggregator.record(0, Record::duration(SECOND - 100 * MILLI, event, 0, 500));
    assert_eq!(aggregator.summary(event, Scope::Window(0)).unwrap().count, 1);
    assert_eq!(aggregator.counters().late, 1);
}

/// Compares a corrected summary with the samples that the loop of `HdrHistogram` would record, in
/// nanoseconds.
fn a_sample_of_thousands_of_intervals_is_corrected_without_drift<R: Tested>() {
    let event = Trading::OrderFill;
    for interval in [1_000, 3_333, 1_000_000_u64] {
        let info = EventInfo {
            expected_interval: Some(core::time::Duration::from_nanos(interval)),
            ..PACED[3]
        };
        let mut events = PACED;
        events[3] = info;
        for slow in [interval, 2 * interval - 1, 2 * interval, 5 * MILLI, SECOND, 6 * SECOND] {
            let (rate, storage) = (TickRate::NANOSECONDS, R::Paced::empty());
            let mut aggregator =
                Aggregator::new(&WindowSpec::DEFAULT, &events, rate, 0, storage).unwrap();
            aggregator.begin_pass(100 * SECOND);
            aggregator.record(0, Record::duration(100 * SECOND, event.id(), 0, slow));
            let (mut count, mut sum, mut least) = (1_u64, u128::from(slow), slow);
            let mut missing = slow.saturating_sub(interval);
            while missing >= interval {
                (count, sum, least) = (count + 1, sum + u128::from(missing), missing);
                missing -= interval;
            }
            let corrected = aggregator.corrected(event.id(), Scope::Window(2)).unwrap();
            assert_eq!((corrected.count, corrected.max), (count, slow), "{slow} at {interval}");
            assert!(corrected.min.abs_diff(least) <= 1, "{} {least}", corrected.min);
            let mean = u64::try_from(sum / u128::from(count)).unwrap();
            assert!(
                corrected.mean.unwrap().round().abs_diff(mean) <= 1,
                "{:?} {mean}",
                corrected.mean
            );
            // The samples are spaced evenly from `least` to `slow`, so the sample at each rank is
            // known.
            for (value, quantile) in
                [(corrected.p50, Quantile::P50), (corrected.p99_9, Quantile::P99_9)]
            {
                let exact = slow - (count - quantile.rank(count)) * interval;
                let allowed =
                    u128::from(corrected.accuracy.max_relative_error_ppm()) * u128::from(exact);
                assert!(
                    u128::from(value.abs_diff(exact)) * 1_000_000 <= allowed + 1_000_000,
                    "{value} {exact}"
                );
            }
        }
    }
}
