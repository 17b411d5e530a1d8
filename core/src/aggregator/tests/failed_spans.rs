//! Failed spans: what is shown of them, and what they do to limits.

use super::*;

const EVENT: Trading = Trading::OrderPlacement;

/// Records `count` spans that end with this outcome after this time, in nanoseconds.
fn record<S: Storage>(aggregator: &mut Aggregator<S>, count: u64, outcome: Outcome, nanos: u64) {
    for _ in 0..count {
        assert!(aggregator.record(0, Record::end(9 * SECOND, EVENT.id(), 0, outcome, nanos)));
    }
}

/// Returns an aggregator whose event has this limit.
fn limited<R: Tested>(limit: Limit) -> Aggregator<R::Memory> {
    let mut aggregator = aggregator::<R>(0);
    aggregator.set_limits(EVENT.id(), &[limit]).unwrap();
    aggregator.begin_pass(10 * SECOND);
    aggregator
}

/// Evaluates the limit and returns its status.
fn judged<S: Storage>(aggregator: &mut Aggregator<S>) -> SlaStatus {
    aggregator.evaluate_limits(10 * SECOND, |_| ());
    let [status] = status(aggregator, EVENT)[..] else { panic!("one limit") };
    assert_eq!(aggregator.is_breached(EVENT.id()), status.state == SlaState::Violated);
    status
}

fn p95_within_50_ms() -> Limit {
    Limit::Quantile(Threshold::duration(Quantile::P95, core::time::Duration::from_millis(50)))
}

fn rejections_do_not_make_orders_look_fast<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    aggregator.begin_pass(10 * SECOND);
    record(&mut aggregator, 60, Outcome::Error, 60);
    record(&mut aggregator, 40, Outcome::Ok, 5 * MILLI);
    record(&mut aggregator, 1, Outcome::Cancelled, 7 * MILLI);
    let near = |value: u64, nanos: u64| value.abs_diff(nanos) * 50 <= nanos;
    for scope in [Scope::Window(1), Scope::Window(2), Scope::Total] {
        let summary = aggregator.summary(EVENT.id(), scope).unwrap();
        assert_eq!(summary.count, 40);
        assert!(near(summary.min, 5 * MILLI) && near(summary.p50, 5 * MILLI), "{summary:?}");
        let failed = aggregator.failed(EVENT.id(), scope).unwrap();
        assert_eq!(failed.count, 61);
        assert!(near(failed.p50, 60) && near(failed.max, 7 * MILLI), "{failed:?}");
        let mut room = [crate::Exemplar::EMPTY; 2];
        let (slowest, _) = aggregator.slowest(EVENT.id(), scope, &mut room);
        let outcomes: Vec<_> = slowest.iter().map(crate::Exemplar::outcome).collect();
        assert_eq!(outcomes, [Some(Outcome::Cancelled), Some(Outcome::Ok)]);
    }
    let outcomes = aggregator.outcomes(EVENT.id());
    assert_eq!((outcomes.ok, outcomes.error, outcomes.cancelled), (40, 60, 1));
}

fn a_tenth_of_timeouts_violates_a_p95<R: Tested>() {
    let mut aggregator = limited::<R>(p95_within_50_ms());
    record(&mut aggregator, 90, Outcome::Ok, 10 * MILLI);
    record(&mut aggregator, 10, Outcome::Error, 5 * SECOND);
    let status = judged(&mut aggregator);
    assert_eq!(status.state, SlaState::Violated);
    assert_eq!((status.over, status.failed, status.count), (10, 10, 100));
    // The p95 of the spans that succeeded, 10 ms, would contradict the state.
    assert_eq!(status.observed, None);
}

fn quick_failures_do_not_hide_slow_spans<R: Tested>() {
    let mut aggregator = limited::<R>(p95_within_50_ms());
    record(&mut aggregator, 93, Outcome::Ok, 10 * MILLI);
    record(&mut aggregator, 7, Outcome::Ok, 60 * MILLI);
    record(&mut aggregator, 900, Outcome::Error, 60);
    let status = judged(&mut aggregator);
    assert_eq!(status.state, SlaState::Violated);
    assert_eq!((status.over, status.failed, status.count), (7, 0, 100));
    assert!(status.observed.unwrap() > 50 * MILLI, "{status:?}");
}

fn only_quick_failures_say_nothing_about_a_quantile<R: Tested>() {
    let mut aggregator = limited::<R>(p95_within_50_ms());
    record(&mut aggregator, 100, Outcome::Error, 60);
    let status = judged(&mut aggregator);
    assert_eq!((status.state, status.count, status.observed), (SlaState::Unknown, 0, None));
    assert!(aggregator.summary(EVENT.id(), Scope::Total).is_none());
    assert_eq!(aggregator.failed(EVENT.id(), Scope::Total).unwrap().count, 100);
}

fn an_error_rate_above_its_limit_violates_it<R: Tested>() {
    let mut aggregator = limited::<R>(Limit::Errors(Threshold::error_rate(50_000)));
    record(&mut aggregator, 95, Outcome::Ok, MILLI);
    record(&mut aggregator, 5, Outcome::Error, 60);
    let status = judged(&mut aggregator);
    assert_eq!((status.state, status.observed), (SlaState::Ok, Some(50_000)));
    record(&mut aggregator, 1, Outcome::Cancelled, 60);
    let status = judged(&mut aggregator);
    assert_eq!((status.over, status.count), (6, 101));
    // 6 of 101, rounded up.
    assert_eq!((status.state, status.observed), (SlaState::Violated, Some(59_406)));
}

fn the_exemplars_of_failed_spans_leave_a_window_with_it<R: Tested>() {
    let mut aggregator = aggregator::<R>(0);
    aggregator.begin_pass(10 * SECOND);
    record(&mut aggregator, 1, Outcome::Error, MILLI);
    let in_minute = |aggregator: &mut Aggregator<R::Memory>| {
        let mut room = [crate::Exemplar::EMPTY; 2];
        let (slowest, _) = aggregator.slowest(EVENT.id(), Scope::Window(2), &mut room);
        (slowest.len(), aggregator.failed(EVENT.id(), Scope::Window(2)).is_some())
    };
    assert_eq!(in_minute(&mut aggregator), (1, true));
    aggregator.begin_pass(80 * SECOND);
    assert_eq!(in_minute(&mut aggregator), (0, false));
}

tests_on_both! {
    rejections_do_not_make_orders_look_fast,
    a_tenth_of_timeouts_violates_a_p95,
    quick_failures_do_not_hide_slow_spans,
    only_quick_failures_say_nothing_about_a_quantile,
    an_error_rate_above_its_limit_violates_it,
    the_exemplars_of_failed_spans_leave_a_window_with_it,
}
