//! Checks that measuring futures, streams and channels does not allocate.

mod support;

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll, Waker},
};
use std::alloc::System;

use support::on_current_thread;
use tailwatch::Trading;
use tailwatch_tokio::{
    CountedWatchSender, MeasureExt, MeasureStreamExt, MeasuredBroadcastReceiver, MeasuredSender,
    PollTimeEvents, PollTimesExt, counted_unbounded_channel,
};
use tokio_stream::Stream;

/// The system's allocator, with a counter of the calls that each thread makes.
struct CountingAllocator;

thread_local! {
    /// The number of allocations and deallocations that this thread has made.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on unchanged to the system's allocator. Counting uses a thread-local
// without a destructor, which neither allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller upholds the contract of this method, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller upholds the contract of this method, which is the same.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Returns how often `work` calls the allocator in this thread.
fn calls_in(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

/// A future that is pending twice before it completes.
fn yields_twice() -> impl Future<Output = Result<(), ()>> {
    let mut polls = 0;
    poll_fn(move |_| {
        polls += 1;
        if polls < 3 { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
}

#[test]
fn measuring_allocates_nothing() {
    let bench = on_current_thread(|builder| builder);
    let (sender, _receiver) = tokio::sync::mpsc::channel(8);
    let sender = MeasuredSender::new(sender, Trading::QueueBacklog);
    // The channel allocates a block of memory for the first message, so this must not be counted.
    sender.try_send(0).unwrap();
    let (unbounded, _unbounded) = counted_unbounded_channel();
    let unbounded = MeasuredSender::new(unbounded, Trading::QueueBacklog);
    unbounded.send(0).unwrap();
    let (broadcast, receiver) = tokio::sync::broadcast::channel(8);
    let broadcast = MeasuredSender::new(broadcast, Trading::QueueBacklog);
    let mut receiver = MeasuredBroadcastReceiver::new(receiver, Trading::QueueBacklog);
    let watch = CountedWatchSender::new(0);
    let mut newest = watch.subscribe(Trading::QueueBacklog);
    let context = &mut Context::from_waker(Waker::noop());
    let calls = calls_in(|| {
        let events = PollTimeEvents::NONE
            .polled(Trading::OrderFill)
            .waiting(Trading::OrderFill)
            .longest_poll(Trading::OrderFill);
        let nested = yields_twice()
            .measured(Trading::EventBusHandle)
            .try_measured_tagged(Trading::OrderPlacement, 7);
        let mut nested = pin!(nested.poll_times(events));
        while nested.as_mut().poll(context).is_pending() {}
        {
            let mut dropped = pin!(yields_twice().measured(Trading::OrderPlacement));
            assert!(dropped.as_mut().poll(context).is_pending());
        }
        let mut items = pin!(tokio_stream::iter([1, 2]).measured_items(Trading::OrderFill));
        while items.as_mut().poll_next(context) != Poll::Ready(None) {}
        sender.try_send(1).unwrap();
        unbounded.send(1).unwrap();
        broadcast.send(1).unwrap();
        receiver.try_recv().unwrap();
        watch.send(1).unwrap();
        drop(newest.borrow_and_update());
    });
    assert_eq!(calls, 0);
    // Everything was recorded: three spans of two records each, three poll times, three gaps of two
    // records each (the last gap is discarded), and seven backlogs: two of each `mpsc` channel, two
    // of the broadcast channel, and one of the watch channel.
    assert_eq!(bench.flushed().count(), 2 * 3 + 3 + 2 * 3 + 7);
    assert!(calls_in(|| drop(Box::new(1))) > 0, "the allocator does not count");
}
