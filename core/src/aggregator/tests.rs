extern crate std;

use std::{boxed::Box, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    Absent, Accuracy, DiscardReason, Event, Limit, Outcome, Quantile, Shape, SlaState, SlaStatus,
    Summary, Threshold, Trading, storage,
};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
const SHAPE: Shape = Shape { samples: 16, ..Shape::server(Trading::ALL, &WindowSpec::DEFAULT) };
type Memory = storage!(SHAPE);

/// The preset, with an order placement expected every nanosecond, and one fill a millisecond; neither may be silent for long.
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

/// With counters so small that they are full soon.
fn paced(now: u64) -> Aggregator<&'static mut storage!(PACED_SHAPE, u16)> {
    // SAFETY: as in `memory`.
    let storage =
        Box::leak(unsafe { Box::<storage!(PACED_SHAPE, u16)>::new_zeroed().assume_init() });
    let rate = TickRate::NANOSECONDS;
    Aggregator::new(PACED_SHAPE, &WindowSpec::DEFAULT, &PACED, rate, now, storage).unwrap()
}

/// Empty storage, made where it stays: without optimisation, `Box::new` would put its megabyte on the stack first.
fn memory() -> &'static mut Memory {
    // SAFETY: it consists of arrays of integers, for which zero is valid; that zero is empty is what storage promises.
    Box::leak(unsafe { Box::new_zeroed().assume_init() })
}

/// An aggregator whose clock makes a tick a nanosecond.
fn aggregator(now: u64) -> Aggregator<&'static mut Memory> {
    let storage = memory();
    Aggregator::new(SHAPE, &WindowSpec::DEFAULT, Trading::ALL, TickRate::NANOSECONDS, now, storage)
        .unwrap()
}

fn end(tick: u64, duration: u64) -> Record {
    Record::end(tick, Trading::OrderPlacement.id(), 0, Outcome::Ok, duration)
}

/// The nearest-rank quantile, by sorting.
fn nearest_rank(samples: &[u64], quantile: Quantile) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (samples.len() as u128 * u128::from(quantile.ppm())).div_ceil(1_000_000).max(1);
    sorted[usize::try_from(rank).unwrap() - 1]
}

/// Compares a summary with what the samples come to, recounted from the list.
fn check(summary: Option<Summary>, samples: &[u64]) {
    let Some(summary) = summary else {
        assert!(samples.is_empty(), "no summary of {samples:?}");
        return;
    };
    assert_eq!(summary.count, samples.len() as u64);
    assert_eq!(summary.estimated_total, summary.count);
    assert_eq!(summary.min, *samples.iter().min().unwrap());
    assert_eq!(summary.max, *samples.iter().max().unwrap());
    let n = samples.len() as f64;
    let mean = samples.iter().map(|x| *x as f64).sum::<f64>() / n;
    let spread = (samples.iter().map(|x| (*x as f64 - mean).powi(2)).sum::<f64>() / n).sqrt();
    assert!((summary.mean.to_f64() - mean).abs() <= 1.0 + mean * 1e-9);
    assert!(
        (summary.stddev.to_f64() - spread).abs() <= 1.0 + spread * 1e-6,
        "{} {spread}",
        summary.stddev.to_f64()
    );
    let told = [
        (Quantile::P50, summary.p50),
        (Quantile::P95, summary.p95),
        (Quantile::P99, summary.p99),
        (Quantile::P99_9, summary.p99_9),
    ];
    for (quantile, told) in told {
        let exact = nearest_rank(samples, quantile);
        let allowed = u128::from(summary.accuracy.max_relative_error_ppm()) * u128::from(exact);
        assert!(
            u128::from(told.abs_diff(exact)) * 1_000_000 <= allowed,
            "{quantile} of {} told as {told}, is {exact}, {:?}",
            samples.len(),
            summary.accuracy
        );
    }
    if summary.accuracy != Accuracy::Exact && summary.min > 10_000 && summary.max < 200 * SECOND {
        assert!(summary.accuracy.max_relative_error_ppm() <= 11_100, "{:?}", summary.accuracy);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Arbitrary samples, of any age, at arbitrary advances of the clock: every summary equals a recount from the list.
    #[test]
    fn summaries_equal_a_recount(
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
        let event = Trading::OrderPlacement.id();
        let mut aggregator = aggregator(first);
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
                    prop_assert!(summary.covered.abs_diff(now - start.max(first)) <= 1 + (now >> 50));
                    prop_assert!(summary.complete);
                }
                check(summary, &members);
            }
            check(aggregator.summary(event, Scope::Total), &all.iter().map(|(_, duration)| *duration).collect::<Vec<_>>());
        }
        // The 1 s window is the shortest, so what is late at all is late there.
        prop_assert_eq!(aggregator.counters().late, late);
        prop_assert_eq!(aggregator.outcomes(event).ok, all.len() as u64);
    }

    /// Whatever the bits of a record, and whatever the clock of the drain does: nothing panics, each is accounted for once.
    #[test]
    fn any_bits_are_survived_and_counted(
        steps in proptest::collection::vec(
            (any::<u64>(), proptest::collection::vec(proptest::array::uniform2(prop_oneof![any::<u64>(), Just(u64::MAX), Just(0)]), 0..20)),
            1..20,
        ),
    ) {
        let mut aggregator = paced(5);
        let (mut given, mut silent) = (0, 0);
        for (now, records) in steps {
            aggregator.begin_pass(now);
            for words in records {
                let record = Record::from_words(words);
                given += 1;
                let known = record.event().filter(|event| event.get() <= 8);
                let unit = known.map(|event| Trading::ALL[usize::from(event.get()) - 1].unit);
                // What is neither a sample nor a fault: a START, and a span that was discarded.
                silent += u64::from(unit == Some(Unit::Time) && match record.kind() {
                    Kind::Start => true,
                    Kind::Forget => record.payload() == DiscardReason::Discarded as u64,
                    _ => false,
                });
                aggregator.record(0, record);
            }
            aggregator.expire_orphans(aggregator.pass());
            aggregator.watch(now, |_| ());
            aggregator.limits(|_| ());
        }
        let counters = aggregator.counters();
        let mut samples = 0;
        for info in Trading::ALL {
            for period in (0..4).map(Scope::Window).chain([Scope::Total]) {
                let _ = aggregator.summary(info.id, period);
                let _ = aggregator.corrected(info.id, period);
                let _ = aggregator.slowest(info.id, period, &mut [crate::Exemplar::EMPTY; 5]);
            }
            samples += aggregator.summary(info.id, Scope::Total).map_or(0, |total| total.count);
        }
        let faults = counters.saturated + counters.invalid + counters.unknown_events;
        // A FORGET that says the clock stepped back is a fault too, counted among the anomalies.
        prop_assert!(samples + faults + silent <= given);
        prop_assert!(given <= samples + faults + silent + counters.clock_anomalies);
    }
}

#[test]
fn a_tick_from_the_future_wipes_no_window() {
    let mut aggregator = aggregator(0);
    aggregator.begin_pass(SECOND);
    aggregator.record(0, end(SECOND, 10));
    aggregator.record(0, end(u64::MAX, 20));
    aggregator.record(0, end(SECOND + TOLERANCE_NANOS, 30)); // an unsynchronised core
    let event = Trading::OrderPlacement.id();
    assert_eq!(aggregator.summary(event, Scope::Window(0)).unwrap().count, 2);
    assert_eq!(aggregator.summary(event, Scope::Total).unwrap().count, 3);
    assert_eq!(aggregator.counters().clock_anomalies, 1);
}

#[test]
fn a_record_from_the_future_is_in_no_window_however_young_the_clock() {
    let mut aggregator = aggregator(0);
    aggregator.begin_pass(1_000);
    for duration in [10, 20, 30] {
        aggregator.record(0, end(1_000, duration));
        aggregator.record(0, end(u64::MAX, 1_000_000));
    }
    let event = Trading::OrderPlacement.id();
    check(aggregator.summary(event, Scope::Window(2)), &[10, 20, 30]);
    check(aggregator.summary(event, Scope::Total), &[10, 20, 30, 1_000_000, 1_000_000, 1_000_000]);
}

#[test]
fn without_room_for_samples_quantiles_are_estimated() {
    const NONE: Shape = Shape { samples: 0, ..SHAPE };
    // SAFETY: as in `memory`.
    let memory = Box::leak(unsafe { Box::<storage!(NONE)>::new_zeroed().assume_init() });
    let mut aggregator =
        Aggregator::new(NONE, &WindowSpec::DEFAULT, Trading::ALL, TickRate::NANOSECONDS, 0, memory)
            .unwrap();
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

#[test]
fn after_a_clock_that_begins_again_windows_begin_anew() {
    let mut aggregator = aggregator(0);
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

#[test]
fn a_clock_that_steps_back_is_counted() {
    let mut aggregator = aggregator(0);
    aggregator.begin_pass(SECOND);
    aggregator.record(0, end(SECOND, 10));
    aggregator.begin_pass(SECOND - TOLERANCE_NANOS);
    assert_eq!(aggregator.counters().clock_anomalies, 1);
    assert_eq!(
        aggregator.summary(Trading::OrderPlacement.id(), Scope::Window(0)).unwrap().count,
        1
    );
}

#[test]
fn every_fault_is_counted_by_its_cause() {
    let mut aggregator = aggregator(0);
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
    ] {
        aggregator.record(0, record);
    }
    let expected = Counters {
        late: 0,
        clock_anomalies: 1,
        saturated: 3,
        invalid: 3,
        unknown_events: 1,
        full_counters: 0,
    };
    assert_eq!(aggregator.counters(), expected);
    assert!(Trading::ALL.iter().all(|info| aggregator.summary(info.id, Scope::Total).is_none()));
}

#[test]
fn what_was_sampled_is_weighted() {
    let mut aggregator = aggregator(0);
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
    assert_eq!(summary.mean.round(), (720 * 1_000 + 80 * 9_000) / 800);
    // 9 in 10 are of 1,000 ns once the weight is counted, not half.
    assert!(summary.p50 < 1_100 && summary.p95 > 8_800);
}

#[test]
fn a_loss_makes_incomplete_what_covers_it() {
    let mut aggregator = aggregator(0);
    aggregator.begin_pass(10 * SECOND);
    aggregator.mark_lost();
    let event = Trading::OrderPlacement.id();
    aggregator.begin_pass(12 * SECOND);
    aggregator.record(0, end(12 * SECOND, 1));
    let complete = |aggregator: &mut Aggregator<_>, window| {
        let summary: Summary =
            Aggregator::<&mut Memory>::summary(aggregator, event, Scope::Window(window)).unwrap();
        summary.complete
    };
    assert!(complete(&mut aggregator, 0));
    assert!(!complete(&mut aggregator, 1));
    assert!(!complete(&mut aggregator, 2));
    assert!(!aggregator.summary(event, Scope::Total).unwrap().complete);
}

#[test]
fn numbers_are_told_as_they_are() {
    let mut aggregator = aggregator(0);
    let event = Trading::QueueBacklog.id();
    for n in 0..=1_000 {
        aggregator.record(0, Record::value(0, event, 0, n % 3));
    }
    let summary = aggregator.summary(event, Scope::Window(0)).unwrap();
    assert_eq!((summary.min, summary.p50, summary.p95, summary.max), (0, 1, 2, 2));
    // A bucket that holds a single whole number tells it exactly.
    assert_eq!(summary.accuracy, Accuracy::WithinPpm(0));
    assert!((summary.mean.to_f64() - 0.999).abs() < 0.001);
}

#[test]
fn a_set_up_that_does_not_fit_names_what_is_wrong() {
    let one = [WindowSpec::SECOND];
    let try_with = |shape, windows: &[WindowSpec], events: &[EventInfo], hz| {
        let storage = memory();
        let rate = TickRate::from_hz(hz).unwrap();
        Aggregator::new(shape, windows, events, rate, 0, storage).map(|_| ()).unwrap_err()
    };
    let second = core::time::Duration::from_secs(1);
    let seven = WindowSpec::new(second, 7);
    assert_eq!(try_with(SHAPE, &[], Trading::ALL, 1), ConfigError::NoWindows);
    assert_eq!(try_with(SHAPE, &one, &[], 1), ConfigError::NoEvents);
    let refused = ConfigError::SlicesDoNotDivide { length: second, slices: 7 };
    assert_eq!(try_with(SHAPE, &[seven], Trading::ALL, 1), refused);
    let refused = ConfigError::DuplicateWindow { length: second };
    assert_eq!(try_with(SHAPE, &[one[0], one[0]], Trading::ALL, 1), refused);
    let refused = ConfigError::Shape { what: "windows", given: 3, needed: 1 };
    assert_eq!(try_with(SHAPE, &one, Trading::ALL, 1), refused);
    let fewer = Shape { windows: 1, slices: 10, ..SHAPE };
    let refused = ConfigError::Storage { what: "windows", given: 3, needed: 1 };
    assert_eq!(try_with(fewer, &one, Trading::ALL, 1_000_000_000), refused);
    let refused = ConfigError::Storage { what: "samples of an event", given: 16, needed: 17 };
    let wider = Shape { samples: 17, ..SHAPE };
    assert_eq!(try_with(wider, &WindowSpec::DEFAULT, Trading::ALL, 1_000_000_000), refused);
    let twice: Vec<_> =
        Trading::ALL.iter().map(|info| EventInfo { id: Trading::ALL[0].id, ..*info }).collect();
    let refused = ConfigError::DuplicateEvent { id: Trading::ALL[0].id };
    assert_eq!(try_with(SHAPE, &WindowSpec::DEFAULT, &twice, 1_000_000_000), refused);
    let refused = ConfigError::SliceTooShort { length: second, slices: 10, hz: 4 };
    assert_eq!(try_with(SHAPE, &WindowSpec::DEFAULT, Trading::ALL, 4), refused);
    let refused = ConfigError::Histogram { scale: 9, lowest: SHAPE.lowest, octaves: SHAPE.octaves };
    assert_eq!(
        try_with(Shape { scale: 9, ..SHAPE }, &WindowSpec::DEFAULT, Trading::ALL, 1),
        refused
    );
}

/// Storage whose type tells that it has no room for plain numbers, which it has.
struct Modest(&'static mut Memory);

impl Storage for Modest {
    type Count = <&'static mut Memory as Storage>::Count;

    const ABSENT: Absent = Absent { numbers: true, ..Absent::NOTHING };

    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn parts(&mut self) -> StorageParts<'_, Self::Count> {
        self.0.parts()
    }
}

#[test]
fn a_type_that_tells_to_lack_what_its_shape_has_is_refused() {
    let (windows, rate) = (&WindowSpec::DEFAULT, TickRate::NANOSECONDS);
    let refused = Aggregator::new(SHAPE, windows, Trading::ALL, rate, 0, Modest(memory()))
        .map(|_| ())
        .unwrap_err();
    assert_eq!(refused, ConfigError::Absent { told: Modest::ABSENT, shape: Absent::of(&SHAPE) });
}

#[test]
fn a_limit_on_silence_without_room_is_refused() {
    const SMALL: Shape = Shape { samples: 1, ..Shape::small(Trading::ALL, &WindowSpec::DEFAULT) };
    let mut storage = Box::new(<storage!(SMALL, u16)>::new());
    let (windows, rate) = (&WindowSpec::DEFAULT, TickRate::NANOSECONDS);
    let mut aggregator =
        Aggregator::new(SMALL, windows, Trading::ALL, rate, 0, &mut *storage).unwrap();
    let silence = Limit::Silence(core::time::Duration::from_secs(1));
    let told = aggregator.set_limits(Trading::OrderFill.id(), &[silence]);
    assert_eq!(told, Err(LimitError::NoRoomForSilence));
}

fn status(aggregator: &mut Aggregator<impl Storage>, event: Trading) -> Vec<SlaStatus> {
    let mut found = vec![];
    aggregator.limits(|status| found.extend((status.event == event.id()).then_some(*status)));
    found
}

#[test]
fn a_start_from_the_future_or_before_the_beginning_is_no_open_span() {
    let mut aggregator = aggregator(1_000 * SECOND);
    aggregator.begin_pass(1_001 * SECOND);
    let event = Trading::OrderPlacement.id();
    for tick in [0, 900 * SECOND, 1_002 * SECOND, u64::MAX] {
        aggregator.record(0, Record::start(tick, event, 0, 7));
    }
    assert_eq!(aggregator.counters(), Counters { clock_anomalies: 4, ..Counters::default() });
    assert_eq!(aggregator.pairing(event).open, 0);
    aggregator.watch(1_001 * SECOND, |_| panic!("nothing hangs"));
    aggregator.record(0, Record::start(1_001 * SECOND + MILLI, event, 0, 7)); // an unsynchronised core
    assert_eq!(aggregator.pairing(event).open, 1);
}

#[test]
fn what_is_observed_lies_on_the_side_of_the_limit_where_it_is() {
    let mut aggregator = aggregator(0);
    let event = Trading::OrderPlacement; // p95 20 ms, p99 50 ms
    aggregator.begin_pass(10 * SECOND);
    aggregator.record(0, Record::start(9 * SECOND, event.id(), 0, 0));
    for _ in 0..40 {
        aggregator.record(0, end(10 * SECOND, MILLI));
    }
    aggregator.watch(10 * SECOND, |_| ());
    let [p95, p99] = status(&mut aggregator, event)[..] else { panic!("two limits") };
    // One in 41 hangs: p95 tolerates it, p99 does not.
    assert_eq!((p95.state, p95.over, p95.count, p95.observed), (SlaState::Ok, 1, 41, Some(MILLI)));
    assert_eq!(
        (p99.state, p99.over, p99.count, p99.observed),
        (SlaState::Violated, 1, 41, Some(SECOND))
    );
}

#[test]
fn switching_an_event_off_is_no_silence_and_brings_nothing_back() {
    let event = Trading::OrderFill;
    for (excused_from, expected) in [(1, SlaState::Ok), (4, SlaState::Violated)] {
        let mut aggregator = paced(0);
        aggregator.record(0, Record::duration(0, event.id(), 0, 5));
        for second in 1..=6 {
            aggregator.begin_pass(second * SECOND);
            if second >= excused_from {
                aggregator.reset_silence(event.id());
            }
            aggregator.watch(second * SECOND, |_| ());
        }
        let [silence] = status(&mut aggregator, event)[..] else { panic!("one limit") };
        assert_eq!((silence.state, silence.cleared), (expected, 0));
    }
}

#[test]
fn an_open_span_that_was_uncertain_on_an_older_clock_is_given_up_on_the_new_one() {
    let mut aggregator = aggregator(0);
    let event = Trading::OrderFill.id();
    aggregator.begin_pass(100_000 * SECOND);
    aggregator.record(0, Record::start(99_999 * SECOND, event, 0, 0));
    aggregator.mark_lost();
    aggregator.begin_pass(5 * SECOND);
    assert_eq!((aggregator.pairing(event).open, aggregator.pairing(event).uncertain), (1, 1));
    aggregator.begin_pass(66 * SECOND);
    assert_eq!((aggregator.pairing(event).open, aggregator.pairing(event).abandoned), (0, 1));
}

#[test]
fn what_was_never_written_makes_nothing_uncertain() {
    let mut aggregator = aggregator(0);
    let event = Trading::OrderFill.id();
    aggregator.record(0, Record::start(0, event, 0, 0));
    aggregator.record(0, Record::duration(0, event, 0, 1));
    aggregator.mark_incomplete();
    assert_eq!(aggregator.pairing(event).uncertain, 0);
    assert!(!aggregator.summary(event, Scope::Total).unwrap().complete);
}

#[test]
fn a_sample_too_late_for_the_window_of_a_limit_is_counted() {
    let mut aggregator = aggregator(0);
    let event = Trading::OrderFill.id();
    let short = Threshold::value(Quantile::MAX, 1).over(core::time::Duration::from_millis(20));
    aggregator.set_limits(event, &[Limit::Quantile(short)]).unwrap();
    aggregator.begin_pass(SECOND);
    aggregator.record(0, Record::duration(SECOND - 100 * MILLI, event, 0, 500));
    assert_eq!(aggregator.summary(event, Scope::Window(0)).unwrap().count, 1);
    assert_eq!(aggregator.counters().late, 1);
}

/// The loop that `HdrHistogram` runs, in nanoseconds.
#[test]
fn a_pause_of_thousands_of_intervals_is_corrected_without_drifting_off() {
    let event = Trading::OrderFill;
    for interval in [1_000, 3_333, 1_000_000_u64] {
        let info = EventInfo {
            expected_interval: Some(core::time::Duration::from_nanos(interval)),
            ..PACED[3]
        };
        let mut events = PACED;
        events[3] = info;
        for pause in [interval, 2 * interval - 1, 2 * interval, 5 * MILLI, SECOND, 6 * SECOND] {
            // SAFETY: as in `memory`.
            let storage =
                Box::leak(unsafe { Box::<storage!(PACED_SHAPE)>::new_zeroed().assume_init() });
            let rate = TickRate::NANOSECONDS;
            let mut aggregator =
                Aggregator::new(PACED_SHAPE, &WindowSpec::DEFAULT, &events, rate, 0, storage)
                    .unwrap();
            aggregator.begin_pass(100 * SECOND);
            aggregator.record(0, Record::duration(100 * SECOND, event.id(), 0, pause));
            let (mut count, mut sum, mut least) = (1_u64, u128::from(pause), pause);
            let mut missing = pause.saturating_sub(interval);
            while missing >= interval {
                (count, sum, least) = (count + 1, sum + u128::from(missing), missing);
                missing -= interval;
            }
            let corrected = aggregator.corrected(event.id(), Scope::Window(2)).unwrap();
            assert_eq!((corrected.count, corrected.max), (count, pause), "{pause} at {interval}");
            assert!(corrected.min.abs_diff(least) <= 1, "{} {least}", corrected.min);
            let mean = u64::try_from(sum / u128::from(count)).unwrap();
            assert!(corrected.mean.round().abs_diff(mean) <= 1, "{} {mean}", corrected.mean);
            // Evenly spread from the least to the pause: the k-th smallest is known.
            for (told, quantile) in
                [(corrected.p50, Quantile::P50), (corrected.p99_9, Quantile::P99_9)]
            {
                let exact = pause - (count - quantile.rank(count)) * interval;
                let allowed =
                    u128::from(corrected.accuracy.max_relative_error_ppm()) * u128::from(exact);
                assert!(
                    u128::from(told.abs_diff(exact)) * 1_000_000 <= allowed + 1_000_000,
                    "{told} {exact}"
                );
            }
        }
    }
}

#[test]
fn storage_in_arrays_takes_what_its_shape_says() {
    assert!(size_of::<Memory>().abs_diff(SHAPE.bytes::<u32>()) < 128);
    assert!(size_of::<storage!(SHAPE, u16)>().abs_diff(SHAPE.bytes::<u16>()) < 128);
}
