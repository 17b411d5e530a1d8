//! What the tests of `#[measure]` share: the records of some work, and futures that are polled by
//! hand.

use core::{
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use std::panic::{catch_unwind, resume_unwind};

use tailwatch::{Collector, Kind};

use crate::support::{Log, Seen, in_turn};

pub(crate) const START: Kind = Kind::Start;
pub(crate) const OK: Kind = Kind::EndOk;
pub(crate) const ERROR: Kind = Kind::EndError;
pub(crate) const CANCELLED: Kind = Kind::EndCancelled;

/// Runs `work` with a collector of its own and returns the records.
pub(crate) fn seen_of(work: impl FnOnce()) -> Vec<Seen> {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    work();
    collector.stop();
    log.all()
}

/// Runs `work` and returns the kinds of its records.
pub(crate) fn kinds_of(work: impl FnOnce()) -> Vec<Kind> {
    seen_of(work).iter().map(|seen| seen.kind).collect()
}

/// Runs `work` and returns the kinds of the ENDs of its spans, which must not overlap.
#[track_caller]
pub(crate) fn ends_of(work: impl FnOnce()) -> Vec<Kind> {
    let kinds = kinds_of(work);
    assert!(
        kinds.chunks(2).all(|span| span.len() == 2 && span[0] == START && span[1] != START),
        "{kinds:?}"
    );
    kinds.into_iter().filter(|kind| *kind != START).collect()
}

/// Runs `work` and returns the tags of its spans.
pub(crate) fn tags_of(work: impl FnOnce()) -> Vec<u64> {
    seen_of(work).iter().filter_map(|seen| seen.tag).collect()
}

pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future until it is ready.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return output;
        }
    }
}

/// Is pending at the first poll and ready at the second.
pub(crate) async fn pause() {
    let mut is_ready = false;
    poll_fn(
        move |_| {
            if core::mem::replace(&mut is_ready, true) { Poll::Ready(()) } else { Poll::Pending }
        },
    )
    .await;
}

/// Runs `work`, which has to panic, and catches the panic.
#[track_caller]
pub(crate) fn catch(work: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(work)).is_err(), "no panic");
}

/// Panics without a message on stderr.
pub(crate) fn panic_quietly() -> ! {
    resume_unwind(Box::new("on purpose"))
}

/// An argument with a field for the tag and a field that is not `Copy`.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) name: String,
}

pub(crate) fn order(id: u64) -> Order {
    Order { id, name: format!("order {id}") }
}
