//! Recording on a registered thread allocates nothing.

mod support;

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    future::Future,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Waker},
    time::Duration,
};
use std::alloc::System;

use support::{Tally, in_thread, in_turn};
use tailwatch::{
    Builder, ClockMode, Collector, Delivery, Limit, Outcome, Quantile, Threshold, Trading, measure,
    measure_cancel_on_drop, measure_tagged, record_discard, record_duration, record_end,
    record_start, record_start_tagged, record_value, time, try_time,
};

/// The system's allocator, which counts.
struct Counting;

thread_local! {
    /// Allocations and deallocations of this thread.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// Bytes allocated by all threads and not given back.
static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it passes every call on as it is, and what it does besides (a thread-local without a destructor, an atomic)
// neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` calls the allocator in this thread.
fn calls_in(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

#[measure(Trading::OrderPlacement, err)]
fn by_attribute(succeeds: bool) -> Result<(), ()> {
    if succeeds { Ok(()) } else { Err(()) }
}

#[measure(Trading::OrderPlacement, tag = 5)]
async fn by_attribute_later() {}

/// Everything that records.
fn record_everything() {
    drop(measure(Trading::OrderFill));
    measure(Trading::OrderFill).end(Outcome::Error);
    measure(Trading::OrderFill).discard();
    drop(measure_tagged(Trading::OrderFill, 4_711));
    {
        let _outer = measure(Trading::EventBusHandle);
        let _inner = measure(Trading::CandleProcessing);
    }
    time(Trading::SignalGeneration, || ());
    let failed: Result<(), u8> = try_time(Trading::OrderPlacement, || Err(1));
    assert!(failed.is_err());
    record_end(record_start(Trading::OrderFill), Outcome::Cancelled);
    record_end(record_start_tagged(Trading::OrderFill, 1), Outcome::Ok);
    record_discard(record_start(Trading::OrderFill));
    drop(measure_cancel_on_drop(Trading::OrderFill));
    measure_cancel_on_drop(Trading::OrderFill).end(Outcome::Ok);
    assert!(by_attribute(false).is_err());
    let mut done = pin!(by_attribute_later());
    assert!(done.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    record_value(Trading::QueueBacklog, 5);
    record_value(Trading::QueueBacklog, u64::MAX);
    record_duration(Trading::GcPause, Duration::from_micros(5));
    record_duration(Trading::GcPause, Duration::MAX);
}

#[test]
fn the_allocator_counts() {
    assert!(calls_in(|| drop(core::hint::black_box(Box::new(5)))) >= 2);
}

#[test]
fn recording_on_a_registered_thread_allocates_nothing() {
    let _turn = in_turn();
    let clocks: [fn(Builder) -> Builder; 3] = [
        |builder| builder.clock_mode(ClockMode::Ordered),
        |builder| builder.clock_mode(ClockMode::Relaxed),
        Builder::monotonic_clock,
    ];
    for clock in clocks {
        // A ring that overflows: that costs nothing either.
        let builder = clock(Collector::builder().ring_capacity(1_024));
        let tally = Tally::default();
        let collector = builder.observer(tally.observer()).start().unwrap();
        collector.install().unwrap();
        in_thread("recorder", || {
            tailwatch::register_thread("recorder").unwrap();
            // From the very first record on.
            assert_eq!(calls_in(record_everything), 0);
            assert_eq!(calls_in(|| (0..20_000).for_each(|_| record_everything())), 0);
        });
        collector.set_enabled(false);
        in_thread("recorder", || {
            tailwatch::register_thread("recorder").unwrap();
            assert_eq!(calls_in(record_everything), 0, "switched off");
        });
        collector.stop();
        assert!(tally.count() > 0, "it was recorded");
    }
}

#[test]
fn a_span_that_another_thread_began_ends_without_an_allocation() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.install().unwrap();
    tailwatch::register_thread("begins").unwrap();
    let (guard, token) = (measure(Trading::OrderFill), record_start(Trading::OrderFill));
    in_thread("ends", move || {
        tailwatch::register_thread("ends").unwrap();
        let calls = calls_in(|| {
            drop(guard);
            record_end(token, Outcome::Ok);
        });
        assert_eq!(calls, 0);
    });
    collector.stop();
    assert_eq!(collector.total(Trading::OrderFill).unwrap().unwrap().count, 2);
}

#[test]
fn only_the_first_record_of_a_thread_that_is_not_registered_may_allocate() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.install().unwrap();
    in_thread("recorder", || {
        let first = calls_in(|| record_value(Trading::QueueBacklog, 1));
        assert!(first > 0, "it takes a ring");
        assert_eq!(calls_in(|| (0..1_000).for_each(|_| record_everything())), 0);
    });
    collector.stop();
    assert_eq!(collector.health().unregistered, 0);
}

/// What is mapped for the rings, besides the heap.
fn mapped(rings: usize, capacity: usize) -> usize {
    rings * tailwatch::tailwatch_core::Ring::layout(capacity).unwrap().size()
}

#[test]
fn memory_is_bounded_and_told() {
    let _turn = in_turn();
    let before = LIVE.load(Relaxed);
    let taken = || LIVE.load(Relaxed).saturating_sub(before) + mapped(3, 1_024);
    let collector = Collector::builder().rings(3).ring_capacity(1_024).start().unwrap();
    collector.install().unwrap();
    let told = collector.memory_bytes();
    let at_first = taken();
    assert!(told >= at_first, "{at_first} bytes are taken, {told} told");
    // The rest is room for reports, which grow with what there is to tell.
    assert!(told < at_first * 2, "{at_first} bytes are taken, {told} told");

    // Threads with ever new names, whose slow spans are remembered; all events, in all buckets; limits that change.
    for n in 0..300_u64 {
        in_thread(&format!("a thread of its own name, {n}"), move || {
            // There may be none.
            let _ = tailwatch::register_thread(&format!("a thread of its own name, {n}"));
            for info in Trading::ALL {
                drop(measure_tagged(info.id, n));
                record_duration(info.id, Duration::from_nanos(1 << (n % 40)));
                record_value(info.id, n << (n % 40));
            }
            (0..40).for_each(|_| record_everything());
        });
        let limit = Threshold::duration(Quantile::P95, Duration::from_nanos(1 + n % 2));
        collector.set_limits(Trading::OrderFill, &[Limit::Quantile(limit)]).unwrap();
        // What a query was given is the caller's.
        let _ = (collector.report(), collector.sla_changes(), collector.explain());
        assert!(taken() <= told, "{} bytes are taken, {told} told", taken());
    }
    collector.stop();
    assert_eq!(collector.memory_bytes(), told, "it is what it was");
    assert!(collector.health().delivered > 100_000, "{:?}", collector.health());
}

#[test]
fn a_report_that_nobody_keeps_is_written_over() {
    let _turn = in_turn();
    let collector = Collector::builder().manual_drain().start().unwrap();
    collector.register_thread("recorder").unwrap();
    let next = || {
        (0..100).for_each(|_| record_everything());
        calls_in(|| collector.flush())
    };
    // More samples than are kept, so that there are buckets to tell.
    (0..20).for_each(|_| _ = next());
    // Of each event several periods are told, each with its buckets and its slowest.
    let told: usize = collector.report().events.iter().map(|event| event.windows.len() + 1).sum();
    assert_eq!(told, 32);
    let (first, second) = (next(), next());
    assert!(first < 32 && second < 32, "{first}, {second}");
    // One that is kept is not.
    let kept = collector.published_report();
    let before = kept.to_json();
    (0..3).for_each(|_| _ = next());
    assert_eq!(kept.to_json(), before);
    assert_ne!(collector.published_report().to_json(), before);
    collector.stop();
}

#[test]
fn panics_of_observers_leave_no_memory_behind() {
    let _turn = in_turn();
    let panicking = |_: &Delivery<'_>| std::panic::resume_unwind(Box::new([0_u8; 1_000]));
    let collector = Collector::builder().manual_drain().observer(panicking).start().unwrap();
    collector.register_thread("recorder").unwrap();
    let panic = |times| {
        (0..times).for_each(|n| record_value(Trading::QueueBacklog, n));
        collector.flush();
    };
    panic(1_000);
    let before = LIVE.load(Relaxed);
    panic(1_000);
    let grown = LIVE.load(Relaxed).saturating_sub(before);
    assert!(grown < 64 * 1_024, "{grown} bytes more, of 1,000 panics");
    collector.stop();
    assert_eq!(collector.health().observer_panics, 2_000);
}

#[test]
fn threads_that_come_and_go_leave_no_memory_behind() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.install().unwrap();
    let run = |threads| {
        for _ in 0..threads {
            in_thread("recorder", || {
                tailwatch::register_thread("recorder").unwrap();
                (0..40).for_each(|_| record_everything());
            });
        }
        collector.flush();
    };
    run(2_000);
    let before = LIVE.load(Relaxed);
    run(2_000);
    // Of the collector, that is: other tests of this process wait for their turn. The reports there are tell a few more buckets than
    // before; a thread that kept its recorder, or its name, would take more than this.
    let grown = LIVE.load(Relaxed).saturating_sub(before);
    assert!(grown < 64 * 1_024, "{grown} bytes more");
    collector.stop();
}
