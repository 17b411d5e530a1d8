//! Exercises registration, the ring pool, observers and queries for `ThreadSanitizer`; run it with
//! `bash .ci/run tsan`.
//!
//! This program has no test harness, because the sanitizer reports races in libtest itself. Without
//! the sanitizer it is an ordinary test: each part asserts its results. The sanitizer adds the
//! check that plain memory is accessed without data races.
//!
//! The sanitizer covers the memory behind `unsafe` in the std adapter: recorders in thread-locals
//! that other threads write copies of a gate into, rings in mapped memory that pass from thread to
//! thread, and consumers that borrow from the pool next to them. State that the collector's
//! guarantees let a program share without a lock is shared so here, in `Unlocked`. The ring's own
//! protocol consists of atomic words and cannot race in this sense; the model checker explores it.

#![allow(
    unsafe_code,
    reason = "the tests share memory without a lock, by the collector's guarantees"
)]

use core::{
    cell::{RefCell, UnsafeCell},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};

use tailwatch::{
    Builder, Collector, HiccupProbe, Limit, Outcome, Quantile, Reporter, Sampling, SpanGuard,
    Threshold, Token, TraceWriter, Trading, measure, measure_tagged, record_duration, record_end,
    record_start, record_value, register_thread, time,
};

/// A value without a lock. Only the collector's guarantees order the accesses to it; if they fail,
/// the sanitizer reports a data race.
#[derive(Debug, Default)]
struct Unlocked<T>(UnsafeCell<T>);

// SAFETY: not sound in general. The collector's guarantees must order all accesses; whether they do
// is what this program tests.
unsafe impl<T: Send> Sync for Unlocked<T> {}

impl<T> Unlocked<T> {
    fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the accesses are ordered as stated above, and no reference to the content leaves
        // this function.
        work(unsafe { &mut *self.0.get() })
    }
}

fn builder() -> Builder {
    Collector::builder().ignore_environment().rings(4).ring_capacity(256)
}

/// Records spans, values and durations; returns the number of records.
fn record(rounds: u64) -> u64 {
    for n in 0..rounds {
        drop(measure_tagged(Trading::OrderPlacement, n));
        record_value(Trading::QueueBacklog, n);
        time(Trading::OrderFill, || ());
        record_end(record_start(Trading::EventBusHandle), Outcome::Error);
        record_duration(Trading::GcPause, Duration::from_nanos(n));
    }
    rounds * 8
}

fn assert_accounted(collector: &Collector, pushed: u64, delivered: u64) {
    let health = collector.health();
    assert_eq!(pushed, delivered + health.overwritten + health.unregistered, "{health:?}");
    assert_eq!((health.delivered, health.pending), (delivered, 0), "{health:?}");
}

/// More short-lived threads than rings: a ring passes from one thread to the next with its records,
/// and the observer's memory passes from one thread that drains to the next.
fn rings_go_from_thread_to_thread() {
    let seen = Arc::new(Unlocked::<Vec<u64>>::default());
    let collector = builder().observer({
        let seen = Arc::clone(&seen);
        move |delivery| seen.with(|seen| seen.push(delivery.record.ticks()))
    });
    let collector = collector.start().expect("the collector starts");
    collector.install().expect("no other collector is installed");
    let pushed = AtomicU64::new(0);
    thread::scope(|scope| {
        for slot in 0..6 {
            let (pushed, collector) = (&pushed, &collector);
            scope.spawn(move || {
                for round in 0..20 {
                    let worker = thread::Builder::new().name(format!("worker-{slot}-{round}"));
                    let worker = worker.spawn(move || {
                        if round % 3 == 0 {
                            // Fails if no ring is free, which does not matter here.
                            let _ = register_thread("registered");
                        }
                        record(20)
                    });
                    pushed.fetch_add(
                        worker.expect("the thread starts").join().expect("no panic"),
                        Relaxed,
                    );
                    if round % 5 == 0 {
                        collector.flush();
                    }
                }
            });
        }
    });
    collector.stop();
    let delivered = seen.with(|seen| seen.len()) as u64;
    assert_accounted(&collector, pushed.into_inner(), delivered);
}

/// Spans end on another thread, or in a thread-local that is dropped after the recorder.
fn spans_end_on_other_threads() {
    thread_local! {
        static HELD_SPAN: RefCell<Option<SpanGuard>> = const { RefCell::new(None) };
    }
    let collector = builder().start().expect("the collector starts");
    collector.install().expect("no other collector is installed");
    let (guards, ended) = mpsc::channel::<(SpanGuard, Token)>();
    let ending = thread::spawn(move || {
        let mut count = 0;
        for (guard, token) in ended {
            drop(guard);
            record_end(token, Outcome::Cancelled);
            count += 1;
        }
        count
    });
    let beginning: Vec<_> = (0..2)
        .map(|_| {
            let guards = guards.clone();
            thread::spawn(move || {
                HELD_SPAN.set(Some(measure(Trading::SignalGeneration)));
                for n in 0..200 {
                    let span = (
                        measure_tagged(Trading::CandleProcessing, n),
                        record_start(Trading::OrderFill),
                    );
                    guards.send(span).expect("the other thread ends them");
                }
            })
        })
        .collect();
    drop(guards);
    for thread in beginning {
        thread.join().expect("no panic");
    }
    assert_eq!(ending.join().expect("no panic"), 400);
    collector.stop();
    let health = collector.health();
    // Two records for each of 800 spans, and of the two spans held until their threads end.
    assert_eq!(health.delivered + health.overwritten + health.unregistered, 1_604, "{health:?}");
}

/// Queries and changes of all settings run while threads record and hooks and observers are called.
fn queries_and_setting_changes_during_recording() {
    let changes = Arc::new(Unlocked::<u64>::default());
    let limit = |nanos| {
        let threshold = Threshold::duration(Quantile::P50, Duration::from_nanos(nanos));
        [Limit::Quantile(threshold.over(Duration::from_secs(1)))]
    };
    let trace = TraceWriter::new(io::sink());
    let collector = builder()
        .observer(trace.observer())
        .observer(|delivery| assert!(delivery.tag != Some(13), "the observer panics on purpose"))
        .on_sla_change({
            let changes = Arc::clone(&changes);
            move |_| changes.with(|changes| *changes += 1)
        })
        .start()
        .expect("the collector starts");
    collector.install().expect("no other collector is installed");
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let reporter = Reporter::json_lines(&collector, Duration::from_millis(1), io::sink())
        .expect("the reporter starts");
    let probe = HiccupProbe::start(&collector, Trading::GcPause, Duration::from_millis(1))
        .expect("a ring is free");
    let is_over = AtomicBool::new(false);
    let mut seen_changes = 0;
    thread::scope(|scope| {
        let recording: Vec<_> = (0..2).map(|_| scope.spawn(|| record(400))).collect();
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    let report = collector.report();
                    assert!(report.to_json().contains("tailwatch.report/2"));
                    let window = Duration::from_secs(1);
                    let _ = (
                        collector.stats(Trading::OrderPlacement, window),
                        collector.total(Trading::OrderFill),
                    );
                    let _ = (
                        collector.slowest(Trading::OrderFill, window),
                        collector.sla_violations(window),
                    );
                    let _ = (
                        collector.breached(Trading::OrderPlacement),
                        collector.explain(),
                        collector.health(),
                    );
                    thread::yield_now();
                }
            });
        }
        for n in 0..40 {
            collector
                .set_limits(Trading::OrderPlacement, &limit(1 + n % 2 * 1_000_000_000))
                .expect("a valid limit");
            collector
                .set_sampling(Trading::EventBusHandle, Sampling::Rate(0.5))
                .expect("a valid rate");
            collector.set_event_enabled(Trading::QueueBacklog, n % 2 == 0);
            collector.set_enabled(n % 4 > 0);
            seen_changes += collector.sla_changes().changes.len();
            thread::sleep(Duration::from_millis(1));
        }
        collector.set_enabled(true);
        for thread in recording {
            thread.join().expect("no panic");
        }
        is_over.store(true, Relaxed);
    });
    probe.stop();
    collector.stop();
    std::panic::set_hook(hook);
    reporter.stop().expect("a sink accepts every write");
    trace.finish().expect("a sink accepts every write");
    seen_changes += collector.sla_changes().changes.len();
    assert_eq!(
        changes.with(|changes| *changes),
        seen_changes as u64,
        "the hook must be called once for each change"
    );
}

/// One collector follows another while threads record; two threads stop each collector at once.
fn a_collector_is_stopped_under_load() {
    let is_over = Arc::new(AtomicBool::new(false));
    let recording: Vec<_> = (0..3)
        .map(|_| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                while !is_over.load(Relaxed) {
                    record(10);
                    thread::yield_now();
                }
            })
        })
        .collect();
    for _ in 0..8 {
        let seen = Arc::new(Unlocked::<u64>::default());
        let collector = builder().observer({
            let seen = Arc::clone(&seen);
            move |_| seen.with(|seen| *seen += 1)
        });
        let collector = collector.start().expect("the collector starts");
        collector.install().expect("no other collector is installed");
        thread::sleep(Duration::from_millis(5));
        thread::scope(|scope| {
            scope.spawn(|| collector.stop());
            scope.spawn(|| collector.stop());
        });
        // No observer is called once `stop` has returned.
        let delivered = seen.with(|seen| *seen);
        assert_eq!(collector.health().delivered, delivered);
    }
    is_over.store(true, Relaxed);
    for thread in recording {
        thread.join().expect("no panic");
    }
}

/// Several threads drain a collector that has no drain thread.
fn several_threads_drain() {
    let seen = Arc::new(Unlocked::<u64>::default());
    let collector = builder().manual_drain().observer({
        let seen = Arc::clone(&seen);
        move |_| seen.with(|seen| *seen += 1)
    });
    let collector = collector.start().expect("the collector starts");
    let pushed = thread::scope(|scope| {
        let recording = scope.spawn(|| {
            collector.register_thread("recorder").expect("a ring is free");
            record(300)
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..100 {
                    collector.drain();
                    collector.flush();
                    thread::yield_now();
                }
            });
        }
        recording.join().expect("no panic")
    });
    collector.stop();
    assert_accounted(&collector, pushed, seen.with(|seen| *seen));
}

fn main() {
    let parts: [(&str, fn()); 5] = [
        ("rings go from thread to thread", rings_go_from_thread_to_thread),
        ("spans end on other threads", spans_end_on_other_threads),
        (
            "queries and setting changes during recording",
            queries_and_setting_changes_during_recording,
        ),
        ("a collector is stopped under load", a_collector_is_stopped_under_load),
        ("several threads drain", several_threads_drain),
    ];
    for (name, part) in parts {
        part();
        println!("{name}: ok");
    }
}
