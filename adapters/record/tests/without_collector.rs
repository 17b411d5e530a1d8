//! A library in a program that has no collector: recording does nothing, and allocates nothing.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    time::Duration,
};
use std::alloc::System;

use tailwatch_record::{
    Event, EventId, Outcome, measure, measure_cancel_on_drop, measure_tagged, record_discard,
    record_duration, record_end, record_start, record_start_tagged, record_value, time, try_time,
};

/// The system allocator, extended by a counter for its calls.
struct Counting;

thread_local! {
    /// The allocations and deallocations made by this thread.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is forwarded unchanged to `System`. The counter, a thread-local without a
// destructor, neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller upholds the contract of this method, which is the same for `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller upholds the contract of this method, which is the same for `System`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

tailwatch_record::events! {
    /// Events without numbers.
    enum Library {
        Work,
        Length { unit: tailwatch_record::Unit::One },
    }
}

tailwatch_record::events! {
    /// Events that state their numbers.
    enum Stated {
        Work = 1,
    }
}

fn record_everything(event: impl Event) {
    drop(measure(event));
    measure(event).end(Outcome::Error);
    measure(event).discard();
    drop(measure_tagged(event, 4_711));
    drop(measure_cancel_on_drop(event));
    assert_eq!(time(event, || 7), 7);
    assert_eq!(try_time(event, || Err::<(), _>(8)), Err(8));
    let token = record_start(event);
    assert!(!token.is_recorded());
    record_end(token, Outcome::Ok);
    record_discard(record_start_tagged(event, 1));
    record_value(event, 9);
    record_duration(event, Duration::from_secs(1));
}

#[test]
fn recording_without_a_collector_does_nothing_and_allocates_nothing() {
    // On a new thread, so that its thread-locals are new, too.
    let calls = std::thread::spawn(|| {
        let before = CALLS.get();
        record_everything(Library::Work);
        record_everything(Library::Length);
        record_everything(Stated::Work);
        CALLS.get() - before
    });
    assert_eq!(calls.join().unwrap(), 0);
    assert_eq!(Library::Work.id(), EventId::UNNUMBERED);
    assert_eq!(Library::ALL.missed(), 0, "nobody would have them");
}

#[test]
fn a_span_outlives_the_thread_locals_of_its_thread() {
    struct Last;
    impl Drop for Last {
        fn drop(&mut self) {
            record_everything(Library::Work);
        }
    }
    thread_local!(static LAST: Last = const { Last });
    std::thread::spawn(|| LAST.with(|_| ())).join().unwrap();
}
