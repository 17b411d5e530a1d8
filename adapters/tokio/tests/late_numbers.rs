//! Wrappers that are made before a set of events has its numbers.

use core::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tailwatch::{Collector, record_duration};
use tailwatch_tokio::{MeasureExt, MeasuredSender, PollTimeEvents, PollTimesExt};
use tokio::sync::mpsc;

tailwatch::events! {
    /// The events of a library that does not state numbers.
    enum Library {
        Work,
        Poll,
        Backlog { unit: tailwatch::Unit::One },
    }
}

#[test]
fn a_wrapper_measures_with_the_numbers_that_its_events_get_later() {
    let future = async {}.measured(Library::Work);
    let times = PollTimeEvents::default().polled(Library::Poll);
    let (sender, _receiver) = mpsc::channel(4);
    let sender = MeasuredSender::new(sender, Library::Backlog);

    let collector = Collector::builder()
        .ignore_environment()
        .manual_drain()
        .events(Library::ALL)
        .start()
        .unwrap();
    collector.register_thread("main").unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let polled =
        async { record_duration(Library::Work, Duration::from_nanos(1)) }.poll_times(times);
    assert_eq!(pin!(future).poll(&mut context), Poll::Ready(()));
    assert_eq!(pin!(polled).poll(&mut context), Poll::Ready(()));
    assert!(sender.try_send(7).is_ok());
    collector.stop();
    let report = collector.report();
    let count = |event| report.event(event).unwrap().total.as_ref().map(|all| all.summary.count);
    assert_eq!(
        [Library::Work, Library::Poll, Library::Backlog].map(count),
        [Some(2), Some(1), Some(1)]
    );
}
