//! The attribute `#[measure]` in a library that does not depend on `tailwatch`.

#![cfg(feature = "macros")]

use core::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use tailwatch_record::{events, measure};

events! {
    enum Library { Call, Poll }
}

#[measure(Library::Call, err, tag = number)]
fn half(number: u64) -> Result<u64, String> {
    if number.is_multiple_of(2) { Ok(number / 2) } else { Err(format!("{number} is odd")) }
}

#[measure(Library::Poll)]
async fn next(number: u64) -> u64 {
    number + 1
}

#[test]
fn a_library_measures_functions_for_the_collector_of_its_program() {
    let collector = tailwatch::Collector::builder().events(Library::ALL).start().unwrap();
    collector.install().unwrap();
    assert_eq!(half(8), Ok(4));
    assert!(half(7).is_err());
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(pin!(next(1)).poll(&mut context), Poll::Ready(2));
    drop(measure(Library::Call)); // the function of this name
    collector.stop();
    let report = collector.report();
    let [call, poll] = [Library::Call, Library::Poll].map(|event| report.event(event).unwrap());
    assert_eq!((call.outcomes.ok, call.outcomes.error, poll.outcomes.ok), (2, 1, 1));
    let tags: Vec<_> = call.total.as_ref().unwrap().slowest.iter().map(|slow| slow.tag).collect();
    assert!(tags.contains(&Some(7)) && tags.contains(&Some(8)), "{tags:?}");
}
