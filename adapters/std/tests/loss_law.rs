//! Checks the loss law: the records pushed, counted by the threads that push them, are those that
//! an observer receives plus those that the collector reports as lost.

mod support;

use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    time::Duration,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Barrier, mpsc},
    thread,
};

use support::{Log, Seen, Tally, assert_accounted, in_thread, in_turn, spin};
use tailwatch::{
    Collector, Kind, Outcome, Trading, measure, measure_tagged, record_duration, record_end,
    record_start, record_value,
};

/// The number of threads in tests with many threads.
const THREADS: u64 = 64;
/// The number of rings of a collector with few rings.
const RINGS: u64 = 8;
/// The number of values, and of spans, that one thread records.
const ROUNDS_PER_THREAD: u64 = 300;
/// The number of records that one thread pushes: one per value, two per span.
const PUSHED_PER_THREAD: u64 = ROUNDS_PER_THREAD * 3;
/// By how much the samples in reports may differ, in bytes. A ring is larger.
const REPORTS_DIFFER: usize = 128 * 1_024;
/// Each value and tag is a mark: the number of its thread times this constant, plus a count from 0.
const MARKS_PER_THREAD: u64 = 1_000;

/// Starts a collector with [`RINGS`] rings that do not grow.
fn with_few_rings(log: &Log) -> Collector {
    let rings = usize::try_from(RINGS).unwrap();
    let builder = Collector::builder().rings(rings).max_ring_capacity(16_384);
    builder.observer(log.observer()).start().unwrap()
}

/// Returns the memory of a collector with few rings when all of them were in use at once, and
/// `threads` threads have recorded.
fn memory_with_all_rings(threads: u64) -> usize {
    let collector = with_few_rings(&Log::default());
    collector.install().unwrap();
    let all_have_recorded = Barrier::new(usize::try_from(RINGS).unwrap());
    thread::scope(|scope| {
        for number in 0..RINGS {
            let all_have_recorded = &all_have_recorded;
            let work = move || {
                record_as(number);
                all_have_recorded.wait();
            };
            thread::Builder::new().name(name(number)).spawn_scoped(scope, work).unwrap();
        }
    });
    (RINGS..threads).for_each(|number| in_thread(&name(number), move || record_as(number)));
    collector.stop();
    collector.memory_bytes()
}

fn name(number: u64) -> String {
    format!("recorder-{number}")
}

/// Records the values and spans of thread `number`.
fn record_as(number: u64) {
    for n in 0..ROUNDS_PER_THREAD {
        let mark = number * MARKS_PER_THREAD + n;
        record_value(Trading::QueueBacklog, mark);
        let span = measure_tagged(Trading::OrderPlacement, mark);
        drop(span);
    }
}

/// Counts the records of each thread. Fails if a record has the name of another thread, or if the
/// marks of a thread are not complete and in order.
fn count_by_thread(seen: &[Seen]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    let mut marks = BTreeMap::<_, Vec<u64>>::new();
    for record in seen {
        *counts.entry(record.thread.as_str()).or_default() += 1;
        let mark = match record.kind {
            Kind::Value => record.duration_ns_or_value,
            Kind::Start => record.tag,
            _ => continue,
        };
        let mark = mark.expect("every value and every START has a mark");
        assert_eq!(
            record.thread,
            name(mark / MARKS_PER_THREAD),
            "{record:?} belongs to another thread"
        );
        marks
            .entry((record.thread.as_str(), record.kind as u8))
            .or_default()
            .push(mark % MARKS_PER_THREAD);
    }
    for (source, marks) in marks {
        assert_eq!(
            marks,
            (0..ROUNDS_PER_THREAD).collect::<Vec<_>>(),
            "every record of {source:?} must come once and in order"
        );
    }
    counts
}

#[test]
fn a_ring_that_overflows_loses_its_oldest_records_and_counts_them() {
    const CAPACITY: u64 = 64;
    const PUSHED: u64 = 10_000;
    let _turn = in_turn();
    let log = Log::default();
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let collector = Collector::builder()
        .ring_capacity(64)
        .observer(log.observer())
        .observer(move |delivery| {
            // Holds the drain at the first record, so that the ring is certain to overflow.
            if delivery.duration_ns_or_value == Some(0) {
                entered.send(()).unwrap();
                released.recv().unwrap();
            }
        })
        .start()
        .unwrap();
    collector.register_thread("main").unwrap();
    record_value(Trading::QueueBacklog, 0);
    has_entered.recv().unwrap();
    for n in 1..PUSHED {
        record_value(Trading::QueueBacklog, n);
    }
    release.send(()).unwrap();
    collector.stop();

    assert_accounted(&collector, PUSHED, log.count());
    assert!(collector.health().overwritten >= PUSHED - CAPACITY - 1);
    assert_eq!(collector.health().unregistered, 0);
    let values: Vec<_> = log.all().iter().filter_map(|seen| seen.duration_ns_or_value).collect();
    let newest = &values[1..];
    // The whole ring except the batch that the producer has reserved, an eighth of the ring.
    assert!(newest.len() as u64 >= CAPACITY - CAPACITY / 8, "{newest:?}");
    assert_eq!(newest, ((PUSHED - newest.len() as u64)..PUSHED).collect::<Vec<_>>());
    let total = collector.total(Trading::QueueBacklog).unwrap().unwrap();
    assert_eq!((total.count, total.complete), (log.count(), false));
}

#[test]
fn an_end_whose_start_was_overwritten_is_an_orphan_after_the_last_pass() {
    let _turn = in_turn();
    let collector = Collector::builder().ring_capacity(64).manual_drain().start().unwrap();
    collector.register_thread("main").unwrap();
    let span = measure(Trading::OrderPlacement);
    (0..200).for_each(|n| record_value(Trading::QueueBacklog, n));
    drop(span);
    collector.stop();
    let health = collector.health();
    assert_eq!((health.orphans, health.pending), (1, 0), "{health:?}");
}

#[test]
fn a_small_ring_that_overflows_while_it_is_drained_loses_nothing_uncounted() {
    const SPANS: u64 = 200_000;
    let _turn = in_turn();
    let tally = Tally::default();
    let collector =
        Collector::builder().ring_capacity(64).observer(tally.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    for n in 0..SPANS {
        drop(measure(Trading::OrderFill));
        if n % 10_000 == 0 {
            collector.flush();
        }
    }
    collector.stop();
    assert_accounted(&collector, SPANS * 2, tally.count());
    assert_eq!(collector.health().unregistered, 0);
}

#[test]
fn records_that_fit_are_all_delivered() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread(&name(0)).unwrap();
    record_as(0);
    collector.flush();
    assert_eq!(log.count(), PUSHED_PER_THREAD, "flush must drain everything recorded before it");
    record_duration(Trading::GcPause, Duration::from_nanos(5));
    measure(Trading::OrderFill).discard();
    record_end(record_start(Trading::OrderFill), Outcome::Error);
    collector.stop();
    assert_accounted(&collector, PUSHED_PER_THREAD + 5, log.count());
    assert_eq!(collector.health().overwritten, 0);
}

#[test]
fn short_lived_threads_share_the_rings_and_every_record_has_its_threads_name() {
    let _turn = in_turn();
    let memory = memory_with_all_rings(THREADS);
    let log = Log::default();
    let collector = with_few_rings(&log);
    collector.install().unwrap();
    // One lane per ring; in a lane, one thread follows the other.
    thread::scope(|scope| {
        for lane in 0..RINGS {
            scope.spawn(move || {
                for number in (lane..THREADS).step_by(8) {
                    in_thread(&name(number), move || {
                        tailwatch::register_thread(&name(number))
                            .expect("the previous thread's ring is free");
                        record_as(number);
                    });
                }
            });
        }
    });
    collector.stop();

    assert_accounted(&collector, THREADS * PUSHED_PER_THREAD, log.count());
    let health = collector.health();
    assert_eq!(
        (health.overwritten, health.unregistered),
        (0, 0),
        "every thread had a ring, and room in it: {health:?}"
    );
    let seen = log.all();
    let counts = count_by_thread(&seen);
    assert_eq!(counts.len() as u64, THREADS);
    assert!(counts.values().all(|count| *count == PUSHED_PER_THREAD), "{counts:?}");
    assert!(collector.memory_bytes() <= memory + REPORTS_DIFFER, "{memory}, {health:?}");
}

#[test]
fn the_law_holds_for_threads_that_take_their_ring_with_the_first_record() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    thread::scope(|scope| {
        for lane in 0..RINGS {
            scope.spawn(move || {
                for number in (lane..THREADS).step_by(8) {
                    in_thread(&name(number), move || {
                        for n in 0..ROUNDS_PER_THREAD {
                            record_value(Trading::QueueBacklog, number * MARKS_PER_THREAD + n);
                        }
                    });
                }
            });
        }
    });
    collector.stop();
    // A ring cannot be taken before its last records are drained, so some records may have found no
    // ring and count as unregistered.
    assert_accounted(&collector, THREADS * ROUNDS_PER_THREAD, log.count());
    assert_eq!(collector.health().overwritten, 0);
    for seen in log.all() {
        let mark = seen.duration_ns_or_value.unwrap();
        assert_eq!(
            seen.thread,
            name(mark / MARKS_PER_THREAD),
            "{seen:?} belongs to another thread"
        );
    }
}

#[test]
fn threads_without_a_ring_cost_no_memory_and_their_records_are_counted() {
    let _turn = in_turn();
    let memory = memory_with_all_rings(RINGS);
    let log = Log::default();
    let collector = with_few_rings(&log);
    collector.install().unwrap();
    // No thread ends before all have recorded, so no ring becomes free.
    let all_have_recorded = Arc::new(Barrier::new(usize::try_from(THREADS).unwrap()));
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let all_have_recorded = Arc::clone(&all_have_recorded);
            let work = move || {
                record_as(number);
                all_have_recorded.wait();
            };
            thread::Builder::new().name(name(number)).spawn(work).unwrap()
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    collector.stop();

    assert_accounted(&collector, THREADS * PUSHED_PER_THREAD, log.count());
    let health = collector.health();
    assert_eq!(health.unregistered, (THREADS - RINGS) * PUSHED_PER_THREAD);
    assert!(collector.memory_bytes() <= memory + REPORTS_DIFFER, "{memory}, {health:?}");
    assert_eq!(health.overwritten, 0);
    let seen = log.all();
    let counts = count_by_thread(&seen);
    assert_eq!(counts.len() as u64, RINGS);
    assert!(counts.values().all(|count| *count == PUSHED_PER_THREAD), "{counts:?}");
    let total = collector.total(Trading::QueueBacklog).unwrap().unwrap();
    assert!(!total.complete, "records without a ring are missing from the total");
}

#[test]
fn records_made_while_the_collector_stops_are_delivered_or_counted() {
    const RECORDERS: u64 = 4;
    let _turn = in_turn();
    for round in 0..40_u64 {
        let tally = Tally::default();
        // In every other round the ring is small enough to overflow.
        let capacity = if round % 2 == 0 { 16_384 } else { 64 };
        let collector = Collector::builder()
            .ring_capacity(capacity)
            .observer(tally.observer())
            .start()
            .unwrap();
        collector.install().unwrap();
        let pushed = Arc::new(AtomicU64::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..RECORDERS)
            .map(|_| {
                let (pushed, stopped) = (Arc::clone(&pushed), Arc::clone(&stopped));
                thread::spawn(move || {
                    let mut after = 0;
                    let mut mine = 0;
                    // Goes on for 100 rounds after the stop, so that some records certainly come
                    // after it.
                    while after < 100 {
                        after += u64::from(stopped.load(SeqCst));
                        let span = measure(Trading::OrderFill);
                        record_value(Trading::QueueBacklog, mine);
                        drop(span);
                        mine += 3;
                        pushed.fetch_add(3, SeqCst);
                    }
                })
            })
            .collect();
        while pushed.load(SeqCst) < 1_000 * (round + 1) {
            thread::yield_now();
        }
        collector.stop();
        stopped.store(true, SeqCst);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_accounted(&collector, pushed.load(SeqCst), tally.count());
        // Each thread did at least 100 rounds after the collector had stopped.
        assert!(collector.health().unregistered >= RECORDERS * 100 * 3, "round {round}");
    }
}

#[test]
fn a_threads_first_record_while_the_collector_stops_is_delivered_or_counted() {
    const RECORDERS: usize = 4;
    let _turn = in_turn();
    for round in 0..400_u64 {
        let tally = Tally::default();
        let collector = Collector::builder()
            .rings(4)
            .ring_capacity(64)
            .observer(tally.observer())
            .start()
            .unwrap();
        collector.install().unwrap();
        let ready = Arc::new(Barrier::new(RECORDERS + 1));
        let threads: Vec<_> = (0..RECORDERS)
            .map(|number| {
                let ready = Arc::clone(&ready);
                thread::spawn(move || {
                    ready.wait();
                    // The first record takes a ring; it is a value in some threads and a START in
                    // others.
                    if number % 2 == 0 {
                        record_value(Trading::QueueBacklog, 0);
                    }
                    drop(measure(Trading::OrderFill));
                    2 + u64::from(number % 2 == 0)
                })
            })
            .collect();
        ready.wait();
        // Stops a little later in each round, to hit the moment of the first record.
        spin(Duration::from_micros(round % 100));
        collector.stop();
        let pushed = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_accounted(&collector, pushed, tally.count());
    }
}
