//! The delays before a violation is raised, and before it ends.

use std::vec::Vec;

use super::*;

const EVENT: Trading = Trading::OrderPlacement;
/// How long a violation lasts before it is raised.
const LONG: core::time::Duration = core::time::Duration::from_mins(1);
/// For how long the quantile is within the limit before a violation ends.
const SHORT: core::time::Duration = core::time::Duration::from_millis(500);

/// Returns an aggregator in which the event has one limit, of 5 ns on p100 over 1 s.
fn limited<R: Tested>() -> Aggregator<R::Memory> {
    let mut aggregator = aggregator::<R>(0);
    let limit = Threshold::value(Quantile::MAX, 5).over(core::time::Duration::from_secs(1));
    let limit = Limit::Quantile(limit.raise_after(LONG).clear_after(SHORT));
    aggregator.set_limits(EVENT.id(), &[limit]).unwrap();
    aggregator
}

/// Processes a sample, if there is one, and evaluates the limit. Returns whether the event is
/// breached, and how many changes were reported.
fn pass<S: Storage>(
    aggregator: &mut Aggregator<S>,
    millis: u64,
    sample: Option<u64>,
) -> (bool, usize) {
    aggregator.begin_pass(millis * MILLI);
    if let Some(duration) = sample {
        aggregator.record(0, Record::duration(millis * MILLI, EVENT.id(), 0, duration));
    }
    let mut changes = 0;
    aggregator.evaluate_limits(millis * MILLI, |_| changes += 1);
    (aggregator.is_breached(EVENT.id()), changes)
}

fn a_violation_that_is_never_raised_breaches_and_ends<R: Tested>() {
    let mut aggregator = limited::<R>();
    assert_eq!(pass(&mut aggregator, 100, Some(6)), (true, 0));
    assert_eq!(pass(&mut aggregator, 1_200, Some(5)), (true, 0));
    assert_eq!(pass(&mut aggregator, 1_699, None), (true, 0));
    assert_eq!(pass(&mut aggregator, 1_700, None), (false, 0));
    let [status] = status(&mut aggregator, EVENT)[..] else { panic!("one limit") };
    assert_eq!((status.state, status.raised, status.cleared), (SlaState::Ok, 0, 0));
    assert_eq!(status.since, None);
}

tests_on_both! {
    a_violation_that_is_never_raised_breaches_and_ends,
}

#[test]
fn a_state_that_changes_without_a_report_is_a_change_of_the_limit() {
    let mut aggregator = limited::<Wide>();
    let mut changed = |millis, sample| {
        pass(&mut aggregator, millis, sample);
        let mut events = Vec::new();
        aggregator.take_changed_limits(|event| events.push(event));
        events.contains(&EVENT.id())
    };
    assert!(changed(100, Some(6)));
    assert!(changed(1_200, Some(5)));
    assert!(!changed(1_699, None));
    // The violation ends. The counts are as before.
    assert!(changed(1_700, None));
    assert!(!changed(1_701, None));
}

#[test]
fn a_violation_that_is_not_raised_yet_ends_silently_when_its_hung_span_is_given_up() {
    let mut aggregator = limited::<Wide>();
    aggregator.begin_pass(0);
    aggregator.record(0, Record::start(0, EVENT.id(), 0, 0));
    assert_eq!(pass(&mut aggregator, 100, None), (true, 0));
    assert!(aggregator.abandon(EVENT.id(), 0));
    assert_eq!(pass(&mut aggregator, 200, None), (false, 0));
    let [status] = status(&mut aggregator, EVENT)[..] else { panic!("one limit") };
    assert_eq!((status.state, status.raised, status.cleared), (SlaState::Unknown, 0, 0));
}
