//! Checks that recording on a registered thread never allocates, and that a collector's memory
//! is what its health says.

mod support;

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    future::Future,
    ops::Range,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Waker},
    time::Duration,
};
use std::alloc::System;

use support::{Tally, in_own_process, in_thread, in_turn};
use tailwatch::{
    Builder, ClockMode, Collector, Delivery, EventId, EventInfo, Limit, Outcome, Quantile, Stamp,
    TagNames, Threshold, Trading, WindowSpec, measure, measure_cancel_on_drop, measure_tagged,
    record_discard, record_duration, record_end, record_since, record_start, record_start_tagged,
    record_value,
    tailwatch_core::{Ring, Shape},
    time, try_time,
};

/// The system allocator, extended by counters for its calls and for the bytes in use.
struct Counting;

thread_local! {
    /// The allocations and deallocations made by this thread.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// The bytes that all threads have allocated and not freed.
static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded unchanged to `System`. The counters (a thread-local without a
// destructor and an atomic) neither allocate nor panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller upholds the contract of this method, which is the same for `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller upholds the contract of this method, which is the same for `System`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns how often `work` calls the allocator on this thread.
fn calls_in(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

#[measure(Trading::OrderPlacement, err)]
fn measured_by_attribute(succeeds: bool) -> Result<(), ()> {
    if succeeds { Ok(()) } else { Err(()) }
}

#[measure(Trading::OrderPlacement, tag = 5)]
async fn measured_async_by_attribute() {}

/// Calls every function that records, in every way of ending a span.
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
    assert!(measured_by_attribute(false).is_err());
    let mut done = pin!(measured_async_by_attribute());
    assert!(done.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    record_value(Trading::QueueBacklog, 5);
    record_value(Trading::QueueBacklog, u64::MAX);
    record_duration(Trading::GcPause, Duration::from_micros(5));
    record_duration(Trading::GcPause, Duration::MAX);
    record_since(Stamp::now(), Trading::OrderFill, 4_711);
    record_since(Stamp::now(), Trading::OrderFill, 0);
}

#[test]
fn the_counting_allocator_counts_calls() {
    assert!(calls_in(|| drop(core::hint::black_box(Box::new(5)))) >= 2);
}

#[test]
fn recording_on_a_registered_thread_allocates_nothing() {
    let _turn = in_turn();
    for mode in [ClockMode::Ordered, ClockMode::Relaxed] {
        check_registered_thread(Collector::builder().clock_mode(mode));
    }
}

#[test]
fn keeping_the_text_of_a_tag_allocates_nothing() {
    let names = TagNames::new(8);
    let texts: Vec<_> = (0..100).map(|number| format!("ORD-{number:06}").repeat(5)).collect();
    assert_eq!(calls_in(|| texts.iter().for_each(|text| _ = names.tag_of(text))), 0);
}

#[test]
fn recording_with_the_clock_of_the_operating_system_allocates_nothing() {
    in_own_process("recording_with_the_clock_of_the_operating_system_allocates_nothing", || {
        check_registered_thread(Collector::builder().monotonic_clock());
    });
}

/// Checks that recording on a registered thread allocates nothing, with a collector of `builder`.
fn check_registered_thread(builder: Builder) {
    // The ring is small enough to overflow, which must not allocate either.
    let builder = builder.ring_capacity(1_024);
    let tally = Tally::default();
    let collector = builder.observer(tally.observer()).start().unwrap();
    collector.install().unwrap();
    in_thread("recorder", || {
        tailwatch::register_thread("recorder").unwrap();
        // Even the first record must not allocate.
        assert_eq!(calls_in(record_everything), 0);
        assert_eq!(calls_in(|| (0..20_000).for_each(|_| record_everything())), 0);
    });
    collector.set_enabled(false);
    in_thread("recorder", || {
        tailwatch::register_thread("recorder").unwrap();
        assert_eq!(calls_in(record_everything), 0, "recording that is switched off allocates");
    });
    collector.stop();
    assert!(tally.count() > 0, "nothing was recorded");
}

#[test]
fn ending_a_span_begun_on_another_thread_allocates_nothing() {
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
fn only_the_first_record_of_a_thread_that_never_registered_may_allocate() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.install().unwrap();
    in_thread("recorder", || {
        let first = calls_in(|| record_value(Trading::QueueBacklog, 1));
        assert!(first > 0, "the first record must take a ring, which allocates");
        assert_eq!(calls_in(|| (0..1_000).for_each(|_| record_everything())), 0);
    });
    collector.stop();
    assert_eq!(collector.health().unregistered, 0);
}

/// Returns the bytes mapped for `rings` rings of `capacity` records; they are not on the heap.
fn mapped_bytes(rings: usize, capacity: usize) -> usize {
    rings * Ring::layout(capacity).unwrap().size()
}

#[test]
fn memory_is_bounded_and_reported() {
    let _turn = in_turn();
    let before = LIVE.load(Relaxed);
    let heap = || LIVE.load(Relaxed).saturating_sub(before);
    let collector = Collector::builder()
        .rings(3)
        .ring_capacity(1_024)
        .max_ring_capacity(1_024)
        .start()
        .unwrap();
    collector.install().unwrap();
    let reserved = usize::try_from(collector.health().reserved_bytes).unwrap();
    // Besides what is reserved, the heap has the pool of the rings and what a drain thread needs.
    let check_heap = || {
        let heap = heap();
        assert!(heap <= reserved + 4_096, "{heap} bytes on the heap, {reserved} reserved");
    };
    check_heap();
    // The difference is reserved for reports, which grow with the data that they hold.
    assert!(reserved < heap() * 2, "{} bytes on the heap, {reserved} reserved", heap());

    // Fills everything that can grow: each thread has a new name and its slow spans become
    // exemplars, all events are recorded into many buckets, and limits change.
    for n in 0..300_u64 {
        in_thread(&format!("a thread of its own name, {n}"), move || {
            tailwatch::register_thread(&format!("a thread of its own name, {n}")).unwrap();
            for info in Trading::ALL {
                drop(measure_tagged(info.id, n));
                record_duration(info.id, Duration::from_nanos(1 << (n % 40)));
                record_value(info.id, n << (n % 40));
            }
            (0..40).for_each(|_| record_everything());
        });
        let limit = Threshold::duration(Quantile::P95, Duration::from_nanos(1 + n % 2));
        collector.set_limits(Trading::OrderFill, &[Limit::Quantile(limit)]).unwrap();
        // What a query returns belongs to its caller and is dropped here.
        let _ = (collector.report(), collector.sla_changes(), collector.explain());
        check_heap();
    }
    collector.stop();
    check_heap();
    assert_eq!(collector.health().reserved_bytes, reserved as u64, "the reserved size is fixed");
    assert!(collector.health().delivered > 100_000, "{:?}", collector.health());
}

/// The bytes of a sample in a sample buffer.
const SAMPLE: usize = 16;

#[test]
fn memory_in_use_grows_with_the_first_sample_of_each_event_up_to_what_is_reserved() {
    let _turn = in_turn();
    let collector = Collector::builder()
        .rings(3)
        .ring_capacity(1_024)
        .max_ring_capacity(1_024)
        .max_events(Trading::ALL.len())
        .manual_drain()
        .start()
        .unwrap();
    collector.register_thread("recorder").unwrap();
    let in_use = || {
        // Two, because the next report but one is written over the present one.
        (0..2).for_each(|_| collector.flush());
        let health = collector.health();
        assert_eq!(health.memory_bytes, collector.memory_bytes() as u64);
        assert!(health.delivered > 0);
        (health.memory_bytes, health.reserved_bytes)
    };
    // The drain keeps the name of the thread from its first record on.
    record_discard(record_start(Trading::OrderFill));
    let (at_start, reserved) = in_use();
    let mut memory = vec![at_start];
    for info in Trading::ALL {
        // A START alone needs no memory of its event.
        let span = record_start(info.id);
        assert_eq!(in_use(), (memory[memory.len() - 1], reserved));
        record_end(span, Outcome::Ok);
        record_value(info.id, 1);
        memory.push(in_use().0);
    }
    let per_event: Vec<_> = memory.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(per_event[0] > 0 && per_event.iter().all(|bytes| *bytes == per_event[0]), "{memory:?}");
    for _ in 0..600 {
        record_everything();
        collector.drain();
    }
    let full = in_use();
    // All sample buffers are full now. They held two samples.
    let samples = 8 * (512 - 2) * SAMPLE as u64;
    assert!(full.0 > memory[8] + samples && full.1 == reserved, "{memory:?}, {full:?}");
    let slowest = Shape::server(Trading::ALL, &WindowSpec::DEFAULT).all_slowest() as u64;
    let (name, most_names) = (248, slowest + 3 + 1);
    let mapped = mapped_bytes(3, 1_024) as u64;
    // The names in use are that of the recorder and one for unknown threads. The pool is small.
    let most = reserved - (most_names - 2) * name + mapped + 4_096;
    assert!(full.0 <= most, "{full:?} in use, at most {most}");
    collector.stop();
    assert!(collector.memory_bytes() as u64 <= most);
}

#[test]
fn memory_in_use_includes_what_reports_allocate() {
    let _turn = in_turn();
    let info = |id: EventId| EventInfo::new(id, format!("event_{id}").leak());
    let events: Vec<_> = (1..=300).filter_map(EventId::new).map(info).collect();
    let names = TagNames::new(8);
    let tag = names.tag_of("a text that is shown beside the slowest samples");
    let builder = Collector::builder().events(&events).max_events(events.len());
    let builder = builder.rings(3).max_ring_capacity(16_384).tag_names(&names);
    let collector = builder.manual_drain().start().unwrap();
    collector.register_thread("recorder").unwrap();
    let record = |numbers: Range<u64>| {
        for event in &events {
            for number in numbers.clone() {
                record_since(Stamp::now(), event.id, tag);
                record_duration(event.id, Duration::from_nanos(number * number % 60_013));
            }
            collector.drain();
        }
        // Two, because the next report but one is written over the present one.
        (0..2).for_each(|_| collector.flush());
        [collector.memory_bytes(), LIVE.load(Relaxed)]
    };
    let first = record(0..1);
    // First all samples are in the reports, then their histograms.
    for numbers in [1..8, 8..200, 200..400, 400..2_000] {
        let buffered = usize::try_from(2 * numbers.end).unwrap().min(512) - 2;
        let now = record(numbers);
        let [reported, on_heap] = [0, 1].map(|which| now[which] - first[which]);
        // What else grows is in memory that was allocated before: samples and bucket counts.
        let samples = events.len() * buffered * SAMPLE;
        assert!(on_heap > 300_000, "{on_heap} bytes");
        assert!(reported > on_heap + samples, "{reported} of {on_heap} + {samples} bytes");
    }
    collector.stop();
    assert_eq!(collector.health().overwritten, 0);
}

#[test]
fn the_memory_of_a_report_that_nobody_holds_is_reused() {
    let _turn = in_turn();
    let collector = Collector::builder().manual_drain().start().unwrap();
    collector.register_thread("recorder").unwrap();
    let next = || {
        (0..100).for_each(|_| record_everything());
        calls_in(|| collector.flush())
    };
    // Records more samples than the collector keeps, so that reports contain histogram buckets.
    (0..20).for_each(|_| _ = next());
    // Each of the 8 events has 4 scopes (3 windows and the total), each with buckets and exemplars.
    let scopes: usize = collector.report().events.iter().map(|event| event.windows.len() + 1).sum();
    assert_eq!(scopes, 32);
    let (first, second) = (next(), next());
    assert!(first < 32 && second < 32, "{first} and {second} allocator calls for 32 scopes");
    // A report that somebody holds is not overwritten.
    let kept = collector.published_report();
    let before = kept.to_json();
    (0..3).for_each(|_| _ = next());
    assert_eq!(kept.to_json(), before);
    assert_ne!(collector.published_report().to_json(), before);
    collector.stop();
}

#[test]
fn panics_of_observers_leak_no_memory() {
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
    assert!(grown < 64 * 1_024, "1,000 panics left {grown} bytes behind");
    collector.stop();
    assert_eq!(collector.health().observer_panics, 2_000);
}

#[test]
fn threads_that_end_leak_no_memory() {
    let _turn = in_turn();
    // With few lanes, because a machine that delays the drain uses more of them than before.
    let collector = Collector::builder().rings(64).start().unwrap();
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
    // Durations and values of all sizes, so that the reports hold all buckets: a thread that the
    // machine delays makes them grow no further.
    for _ in 0..3 {
        for info in Trading::ALL {
            for n in 0..40 {
                record_duration(info.id, Duration::from_nanos(1 << n));
                record_value(info.id, 1 << n);
            }
        }
        collector.flush();
    }
    run(2_000);
    let before = LIVE.load(Relaxed);
    run(2_000);
    // The other tests of this process wait meanwhile, so only the collector can have grown. If each
    // thread left its recorder or its name behind, the growth would exceed this bound.
    let grown = LIVE.load(Relaxed).saturating_sub(before);
    assert!(grown < 64 * 1_024, "2,000 threads left {grown} bytes behind");
    collector.stop();
}
