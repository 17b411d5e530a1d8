//! Checks that every span is recorded with the outcome it had.

mod support;

use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};

use support::{Log, in_turn};
use tailwatch::{
    Collector, Event, Kind, Outcome, SpanGuard, Trading, measure, measure_cancel_on_drop,
    measure_cancel_on_drop_tagged, record_discard, record_end, record_start, time, try_time,
};

const EVENT: Trading = Trading::OrderPlacement;

/// Runs `work` with a new collector and returns the kinds of the delivered records. Asserts that
/// the report counts the same outcomes.
#[track_caller]
fn kinds_of(work: impl FnOnce()) -> Vec<Kind> {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    work();
    collector.stop();
    let kinds = log.kinds();
    let count = |kind| kinds.iter().filter(|seen| **seen == kind).count() as u64;
    let outcomes = collector.report().event(EVENT.id()).unwrap().outcomes;
    assert_eq!(outcomes.ok, count(Kind::EndOk));
    assert_eq!(outcomes.error, count(Kind::EndError));
    assert_eq!(outcomes.cancelled, count(Kind::EndCancelled));
    // A failed span has a latency, too, but apart from those that succeeded.
    assert_eq!(collector.total(EVENT).unwrap().map_or(0, |total| total.count), outcomes.ok);
    let report = collector.report();
    let failed = report.event(EVENT.id()).unwrap().failed.as_ref();
    let count = failed.map_or(0, |failed| failed.summary.count);
    assert_eq!(count, outcomes.error + outcomes.cancelled);
    kinds
}

/// Panics without printing a message to stderr.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("on purpose"))
}

/// Runs `work`, which must panic, and catches the panic.
fn assert_panics(work: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(work)).is_err(), "the work must panic");
}

/// Calls a function when it is dropped.
struct AtDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_dropped_guard_ends_ok() {
    let kinds = kinds_of(|| {
        drop(measure(EVENT));
        time(EVENT, || ());
    });
    assert_eq!(kinds, [Kind::Start, Kind::EndOk, Kind::Start, Kind::EndOk]);
}

#[test]
fn a_span_ends_with_the_given_outcome() {
    let kinds = kinds_of(|| {
        for outcome in [Outcome::Ok, Outcome::Error, Outcome::Cancelled] {
            measure(EVENT).end(outcome);
            record_end(record_start(EVENT), outcome);
        }
    });
    let ends: Vec<_> = kinds.into_iter().filter(|kind| *kind != Kind::Start).collect();
    let [ok, error, cancelled] = [Kind::EndOk, Kind::EndError, Kind::EndCancelled];
    assert_eq!(ends, [ok, ok, error, error, cancelled, cancelled]);
}

#[test]
fn a_panic_that_unwinds_cancels_the_spans_it_drops() {
    let kinds = kinds_of(|| {
        assert_panics(|| {
            let _outer = measure(EVENT);
            let _inner = measure(EVENT);
            panic_quietly();
        });
        assert_panics(|| time(EVENT, || panic_quietly()));
        assert_panics(|| {
            let _: Result<(), ()> = try_time(EVENT, || panic_quietly());
        });
        drop(measure(EVENT)); // a panic that is over has no effect
    });
    let [start, ok, cancelled] = [Kind::Start, Kind::EndOk, Kind::EndCancelled];
    assert_eq!(
        kinds,
        [start, start, cancelled, cancelled, start, cancelled, start, cancelled, start, ok]
    );
}

#[test]
fn a_span_begun_and_dropped_while_the_thread_unwinds_ends_ok() {
    let kinds = kinds_of(|| {
        assert_panics(|| {
            let _cleanup = AtDrop(|| {
                assert!(std::thread::panicking());
                drop(measure(EVENT));
                time(EVENT, || ());
            });
            panic_quietly();
        });
    });
    assert_eq!(kinds, [Kind::Start, Kind::EndOk, Kind::Start, Kind::EndOk]);
}

#[test]
fn a_span_ended_explicitly_while_the_thread_unwinds_keeps_its_outcome() {
    let kinds = kinds_of(|| {
        assert_panics(|| {
            let mut span: Option<SpanGuard> = Some(measure(EVENT));
            let mut token = Some(record_start(EVENT));
            let _cleanup = AtDrop(move || {
                span.take().unwrap().end(Outcome::Error);
                record_end(token.take().unwrap(), Outcome::Ok);
            });
            panic_quietly();
        });
    });
    assert_eq!(kinds, [Kind::Start, Kind::Start, Kind::EndError, Kind::EndOk]);
}

#[test]
fn an_err_ends_the_span_as_error_and_is_returned() {
    let kinds = kinds_of(|| {
        assert_eq!(try_time(EVENT, || Ok::<_, ()>(1)), Ok(1));
        assert_eq!(try_time(EVENT, || Err::<(), _>(2)), Err(2));
        // `time` does not look at the result.
        assert_eq!(time(EVENT, || Err::<(), _>(3)), Err(3));
    });
    let ends: Vec<_> = kinds.into_iter().filter(|kind| *kind != Kind::Start).collect();
    assert_eq!(ends, [Kind::EndOk, Kind::EndError, Kind::EndOk]);
}

#[test]
fn a_cancel_on_drop_span_is_cancelled_unless_it_is_ended_explicitly() {
    const fn assert_send<T: Send + 'static>(_: &T) {}
    let kinds = kinds_of(|| {
        let span = measure_cancel_on_drop(EVENT);
        assert_send(&span);
        drop(span);
        for outcome in [Outcome::Ok, Outcome::Error, Outcome::Cancelled] {
            measure_cancel_on_drop(EVENT).end(outcome);
            measure_cancel_on_drop_tagged(EVENT, 5).end(outcome);
        }
        assert_panics(|| {
            let _span = measure_cancel_on_drop(EVENT);
            panic_quietly();
        });
        // A span begun while the thread unwinds is treated alike.
        assert_panics(|| {
            let _cleanup = AtDrop(|| {
                drop(measure_cancel_on_drop(EVENT));
                measure_cancel_on_drop(EVENT).end(Outcome::Ok);
            });
            panic_quietly();
        });
    });
    let ends: Vec<_> = kinds.into_iter().filter(|kind| *kind != Kind::Start).collect();
    let [ok, error, cancelled] = [Kind::EndOk, Kind::EndError, Kind::EndCancelled];
    assert_eq!(
        ends,
        [cancelled, ok, ok, error, error, cancelled, cancelled, cancelled, cancelled, ok]
    );
}

#[test]
fn a_discarded_span_is_closed_without_a_sample() {
    let kinds = kinds_of(|| {
        measure(EVENT).discard();
        record_discard(record_start(EVENT));
        measure_cancel_on_drop(EVENT).discard();
    });
    assert_eq!(
        kinds,
        [Kind::Start, Kind::Forget, Kind::Start, Kind::Forget, Kind::Start, Kind::Forget]
    );
}
