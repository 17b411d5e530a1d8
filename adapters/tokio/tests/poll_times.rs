//! Tests of the recorded times of a future: the time in which it is polled, the time in which it
//! waits, and its longest poll.

mod support;

use core::{
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{
    panic::{catch_unwind, resume_unwind},
    time::Instant,
};

use support::{OK, START, on_current_thread};
use tailwatch::{Builder, Kind, events};
use tailwatch_tokio::{MeasureExt, PollTimeEvents, PollTimesExt};

events! {
    enum Request {
        Whole = 1,
        Polled = 2,
        Waiting = 3,
        Longest = 4,
    }
}

/// Returns the events for all three times.
fn all() -> PollTimeEvents {
    PollTimeEvents::NONE
        .polled(Request::Polled)
        .waiting(Request::Waiting)
        .longest_poll(Request::Longest)
}

/// How far a recorded duration may be off, because it is rounded to whole ticks of the clock.
const ROUNDING: Duration = Duration::from_nanos(100);

fn setup(builder: Builder) -> Builder {
    builder.events(Request::ALL)
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Keeps the thread busy for `duration`, as real work does.
fn work(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {}
}

/// Returns a future that must be polled once per element of `micros`. Each poll keeps the thread
/// busy for the time of its element, in microseconds.
fn working(micros: &'static [u64]) -> impl Future<Output = ()> {
    let mut left = micros.iter();
    poll_fn(move |_| {
        work(Duration::from_micros(*left.next().expect("not polled again")));
        if left.len() == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
}

#[test]
fn the_parts_of_a_futures_time_match_its_polls_and_pauses() {
    let bench = on_current_thread(setup);
    let mut future = pin!(working(&[300, 2_000, 100]).poll_times(all()));
    // The start and end of each poll as measured here, which is a little longer than what the
    // future measures itself.
    let (mut polls, mut ends) = (Vec::new(), Vec::new());
    let began = Instant::now();
    loop {
        let start = Instant::now();
        let poll = poll_once(future.as_mut());
        let end = Instant::now();
        polls.push(end - start);
        ends.push((start, end));
        if poll.is_ready() {
            break;
        }
        work(Duration::from_micros(1_500));
    }
    let whole = began.elapsed();
    let log = bench.flushed();
    let parts = [Request::Polled, Request::Waiting, Request::Longest].map(|event| {
        let values = log.values(event);
        assert_eq!(values.len(), 1, "{event:?}");
        Duration::from_nanos(values[0])
    });
    let [polled, waiting, longest] = parts;
    let pauses: Duration = ends.windows(2).map(|two| two[1].0 - two[0].1).sum();
    assert!(
        polled + ROUNDING >= Duration::from_micros(2_400)
            && polled <= polls.iter().sum::<Duration>() + ROUNDING
    );
    assert!(
        longest + ROUNDING >= Duration::from_millis(2)
            && longest <= *polls.iter().max().unwrap() + ROUNDING
    );
    assert!(waiting + ROUNDING >= pauses, "{waiting:?} {pauses:?}");
    assert!(polled + waiting <= whole + 2 * ROUNDING, "{parts:?} {whole:?}");
}

#[test]
fn only_parts_with_an_event_are_recorded() {
    let bench = on_current_thread(setup);
    bench
        .runtime
        .block_on(working(&[0]).poll_times(PollTimeEvents::NONE.waiting(Request::Waiting)));
    bench.runtime.block_on(working(&[0]).poll_times(PollTimeEvents::NONE));
    let seen: Vec<_> =
        bench.flushed().all().into_iter().map(|seen| (seen.event, seen.kind)).collect();
    assert_eq!(seen, [(tailwatch::Event::id(Request::Waiting), Kind::Duration)]);
}

#[test]
fn a_measured_future_can_record_its_poll_times() {
    let bench = on_current_thread(setup);
    bench.runtime.block_on(working(&[0]).measured(Request::Whole).poll_times(all()));
    assert_eq!(bench.flushed().kinds(Request::Whole), [START, OK]);
    assert_eq!(bench.log.values(Request::Polled).len(), 1);
}

#[test]
fn a_future_that_is_dropped_half_way_records_its_parts_so_far() {
    let bench = on_current_thread(setup);
    let mut future = Box::pin(working(&[200, 0]).poll_times(all()));
    assert!(poll_once(future.as_mut()).is_pending());
    work(Duration::from_micros(300));
    assert!(bench.flushed().all().is_empty());
    drop(future);
    let log = bench.flushed();
    assert!(log.values(Request::Polled)[0] >= 199_900);
    assert!(log.values(Request::Waiting)[0] >= 299_900);
}

#[test]
fn a_poll_that_panics_is_included() {
    let bench = on_current_thread(setup);
    let mut future = Box::pin(
        poll_fn(|_| -> Poll<()> {
            work(Duration::from_micros(200));
            resume_unwind(Box::new("on purpose"))
        })
        .poll_times(all()),
    );
    assert!(catch_unwind(AssertUnwindSafe(|| poll_once(future.as_mut()))).is_err());
    drop(future);
    let log = bench.flushed();
    assert!(log.values(Request::Longest)[0] >= 199_900);
    assert_eq!(log.values(Request::Longest), log.values(Request::Polled));
}

#[test]
fn a_future_that_is_never_polled_records_nothing() {
    let bench = on_current_thread(setup);
    drop(working(&[0]).poll_times(all()));
    assert!(bench.flushed().all().is_empty());
}
