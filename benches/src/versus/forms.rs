//! The forms of a span, each around an empty body.

use core::{
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Waker},
};

use tailwatch::{
    Outcome, SpanGuard, Stamp, Trading, measure, measure_tagged, record_end, record_since,
    record_start, record_value, time,
};

use crate::floor;

/// The event of all spans.
pub(super) const SPAN: Trading = Trading::OrderPlacement;

pub(super) fn guard(times: u32) {
    for _ in 0..times {
        let _span = measure(SPAN);
        black_box(());
    }
}

pub(super) fn guard_tagged(times: u32) {
    for order in 0..times {
        let _span = measure_tagged(Trading::OrderPlacement, u64::from(order));
        black_box(());
    }
}

/// An interval from a stamp, with a tag, which takes two records like a guard.
pub(super) fn stamp(times: u32) {
    for order in 1..=times {
        let stamp = Stamp::now();
        black_box(());
        record_since(stamp, Trading::OrderPlacement, u64::from(order));
    }
}

/// A value that holds a guard while it moves from thread to thread. In this bench it stays in one
/// thread, so that the move is not timed, but `black_box` makes the compiler assume that it was
/// changed.
struct Order<T: Send> {
    span: Option<T>,
}

pub(super) fn guard_send(times: u32) {
    let mut order = Order::<SpanGuard> { span: None };
    for _ in 0..times {
        order.span = Some(measure(SPAN));
        black_box(&mut order);
        order.span = None;
    }
}

pub(super) fn closure(times: u32) {
    for _ in 0..times {
        time(Trading::OrderPlacement, || black_box(()));
    }
}

pub(super) fn explicit(times: u32) {
    for _ in 0..times {
        let token = record_start(SPAN);
        black_box(());
        record_end(token, Outcome::Ok);
    }
}

pub(super) fn measure_sync(times: u32) {
    #[measure(SPAN)]
    fn work() {
        black_box(());
    }

    for _ in 0..times {
        work();
    }
}

/// A future that is ready at its first poll, polled in place.
pub(super) fn measure_async(times: u32) {
    #[measure(SPAN)]
    async fn work() {
        black_box(());
    }

    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..times {
        let ready = pin!(work()).poll(&mut context).is_ready();
        black_box(ready);
    }
}

pub(super) fn value(times: u32) {
    for n in 0..times {
        record_value(Trading::QueueBacklog, u64::from(n));
    }
}

pub(super) fn floor_relaxed(times: u32) {
    for _ in 0..times {
        floor::relaxed();
    }
}

pub(super) fn floor_ordered(times: u32) {
    for _ in 0..times {
        floor::ordered();
    }
}
