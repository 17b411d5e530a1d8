//! Tests of spans that are given up because their END is known to be lost.

use super::{representations::*, *};
use crate::spans::pairing::Pairing;

const EVENT: Trading = Trading::OrderPlacement; // Its limits are a p95 of 20 ms and a p99 of 50 ms.

fn start(aggregator: &mut Aggregator<impl Storage>, tick: u64) {
    aggregator.record(0, Record::start(tick, EVENT.id(), 0, 7));
}

fn a_span_whose_end_is_lost_is_abandoned_at_once<R: Tested>() {
    // The span is in the table, or is the newest one, which wide storage keeps outside of it.
    for is_newest in [false, true] {
        let mut aggregator = aggregator::<R>(0);
        let event = EVENT.id();
        aggregator.begin_pass(SECOND);
        start(&mut aggregator, 5);
        if !is_newest {
            start(&mut aggregator, 6);
        }
        let others = u64::from(!is_newest);
        let before = aggregator.unrecorded_changes();
        assert!(aggregator.has_open_span(event, 5) && !aggregator.has_open_span(event, 7));
        assert!(aggregator.abandon(event, 5));
        assert!(!aggregator.has_open_span(event, 5));
        assert_eq!(aggregator.unrecorded_changes() > before, !R::IS_COMPACT);
        let expected = Pairing { open: others, abandoned: 1, ..Pairing::default() };
        assert_eq!(aggregator.pairing(event), expected);
        assert!(!aggregator.abandon(event, 5), "no such span is left");
        assert!(!aggregator.abandon(event, 7), "there was no such span");
        assert!(!aggregator.abandon(Trading::OrderFill.id(), 6), "the other span is not of it");
        assert_eq!(aggregator.pairing(event), expected);
        assert_eq!(aggregator.oldest(event).is_some(), !is_newest);
    }
}

fn interchangeable_and_uncertain_spans_are_abandoned_one_by_one<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    let event = EVENT.id();
    start(&mut aggregator, 5);
    start(&mut aggregator, 5);
    aggregator.mark_lost();
    assert!(aggregator.abandon(event, 5));
    let expected = Pairing { open: 1, uncertain: 1, abandoned: 1, ..Pairing::default() };
    assert_eq!(aggregator.pairing(event), expected);
    assert!(aggregator.abandon(event, 5));
    assert_eq!(aggregator.pairing(event), Pairing { abandoned: 2, ..Pairing::default() });
    assert!(!aggregator.abandon(event, 5));
    assert!(!aggregator.occupancy.has_entries() && aggregator.occupancy.waiting_entries() == 0);
}

fn an_untracked_start_is_abandoned_in_place_of_a_span_that_is_not_in_the_table<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    let event = EVENT.id();
    (0..897).for_each(|tick| start(&mut aggregator, tick));
    let full = Pairing { open: 896, untracked: 1, ..Pairing::default() };
    assert_eq!(aggregator.pairing(event), full);
    assert!(aggregator.abandon(event, 896));
    let expected = Pairing { open: 896, abandoned: 1, ..Pairing::default() };
    assert_eq!(aggregator.pairing(event), expected);
    assert!(!aggregator.abandon(event, 896));
    // There is room for another span, and an END without a START is nobody else's.
    assert!(aggregator.abandon(event, 0));
    start(&mut aggregator, 1_000);
    aggregator.record(0, Record::end(2_000, event, 0, Outcome::Ok, 1));
    aggregator.begin_pass(SECOND);
    aggregator.expire_orphans(aggregator.pass());
    let expected = Pairing { open: 896, abandoned: 2, orphans: 1, ..Pairing::default() };
    assert_eq!(aggregator.pairing(event), expected);
}

fn an_early_end_is_not_abandoned<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    aggregator.record(0, end(10, 5));
    assert!(!aggregator.abandon(EVENT.id(), 5));
    assert_eq!(aggregator.pairing(EVENT.id()), Pairing { early: 1, ..Pairing::default() });
}

fn an_abandoned_span_no_longer_counts_as_hung<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    let states = |aggregator: &mut Aggregator<R::Memory>| {
        status(aggregator, EVENT).iter().map(|status| (status.state, status.over)).collect()
    };
    start(&mut aggregator, 0);
    aggregator.begin_pass(SECOND);
    aggregator.evaluate_limits(SECOND, |_| ());
    let found: Vec<_> = states(&mut aggregator);
    assert_eq!(found, [(SlaState::Violated, 1); 2]);
    assert!(aggregator.abandon(EVENT.id(), 0));
    aggregator.begin_pass(SECOND + 1);
    let mut cleared = 0;
    aggregator.evaluate_limits(SECOND + 1, |change| cleared += u32::from(!change.is_raised()));
    let found: Vec<_> = states(&mut aggregator);
    let (state, expected) =
        if R::IS_COMPACT { (SlaState::Violated, 0) } else { (SlaState::Unknown, 2) };
    assert_eq!((found, cleared), (vec![(state, 0); 2], expected));
    // A sample within the limits clears the violation, once these are kept for a slice.
    for second in 2..20 {
        aggregator.begin_pass(second * SECOND);
        aggregator.record(0, end(second * SECOND, MILLI));
        aggregator.evaluate_limits(second * SECOND, |_| ());
    }
    let found: Vec<_> = states(&mut aggregator);
    assert_eq!(found, [(SlaState::Ok, 0); 2]);
    assert_eq!(aggregator.pairing(EVENT.id()).abandoned, 1);
}

fn without_a_table_an_untracked_start_is_abandoned<R: Tested>() {
    let (rate, storage) = (TickRate::NANOSECONDS, R::WithoutTable::empty());
    let mut aggregator =
        Aggregator::new(&WindowSpec::DEFAULT, Trading::ALL, rate, 0, storage).unwrap();
    start(&mut aggregator, 5);
    assert!(!aggregator.has_open_span(EVENT.id(), 5));
    assert!(aggregator.abandon(EVENT.id(), 5));
    let expected = Pairing { abandoned: 1, ..Pairing::default() };
    assert_eq!(aggregator.pairing(EVENT.id()), expected);
    assert!(!aggregator.abandon(EVENT.id(), 5));
}

#[test]
fn no_span_of_an_unknown_event_is_abandoned() {
    let mut aggregator = aggregator::<Wide>(0);
    start(&mut aggregator, 5);
    assert!(!aggregator.abandon(crate::event_id(2_047), 5));
    assert!(!aggregator.has_open_span(crate::event_id(2_047), 5));
    assert_eq!(aggregator.pairing(EVENT.id()).open, 1);
}

/// Samples above the threshold have left the window, and no further ones have come.
#[test]
fn a_violation_that_rests_on_samples_outlives_a_hung_span_that_is_given_up() {
    let mut aggregator = aggregator::<Wide>(0);
    let evaluate = |aggregator: &mut Aggregator<_>, tick| {
        aggregator.begin_pass(tick);
        aggregator.evaluate_limits(tick, |_| ());
        status(aggregator, EVENT)[0].state
    };
    aggregator.begin_pass(SECOND);
    aggregator.record(0, end(SECOND, 100 * MILLI));
    assert_eq!(evaluate(&mut aggregator, SECOND), SlaState::Violated);
    assert_eq!(evaluate(&mut aggregator, 100 * SECOND), SlaState::Violated);
    aggregator.begin_pass(101 * SECOND);
    start(&mut aggregator, 101 * SECOND);
    assert_eq!(evaluate(&mut aggregator, 102 * SECOND), SlaState::Violated);
    assert!(aggregator.abandon(EVENT.id(), 101 * SECOND));
    assert_eq!(evaluate(&mut aggregator, 103 * SECOND), SlaState::Violated);
}

tests_on_both! {
    a_span_whose_end_is_lost_is_abandoned_at_once,
    interchangeable_and_uncertain_spans_are_abandoned_one_by_one,
    an_untracked_start_is_abandoned_in_place_of_a_span_that_is_not_in_the_table,
    an_early_end_is_not_abandoned,
    an_abandoned_span_no_longer_counts_as_hung,
    without_a_table_an_untracked_start_is_abandoned,
}
