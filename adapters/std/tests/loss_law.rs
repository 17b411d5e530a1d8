//! The loss law: what was pushed, counted by who pushed it, is what an observer saw and what is told as lost.

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

/// Threads of the tests with many.
const THREADS: u64 = 64;
/// Rings of a collector, unless set.
const RINGS: u64 = 8;
/// What a thread pushes: so many values, and as many spans of two records.
const EACH: u64 = 300;
const PUSHED_EACH: u64 = EACH * 3;
/// Values and tags tell by whom they were recorded.
const NUMBERED: u64 = 1_000;

fn name(number: u64) -> String {
    format!("recorder-{number}")
}

/// Records as thread `number`.
fn record_as(number: u64) {
    for n in 0..EACH {
        let mark = number * NUMBERED + n;
        record_value(Trading::QueueBacklog, mark);
        let span = measure_tagged(Trading::OrderPlacement, mark);
        drop(span);
    }
}

/// How many records of each thread were seen; fails where a record stands under another thread's name.
fn by_thread(seen: &[Seen]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    let mut marks = BTreeMap::<_, Vec<u64>>::new();
    for record in seen {
        *counts.entry(record.thread.as_str()).or_default() += 1;
        let mark = match record.kind {
            Kind::Value => record.duration_ns_or_value,
            Kind::Start => record.tag,
            _ => continue,
        };
        let mark = mark.expect("a value or a tag");
        assert_eq!(record.thread, name(mark / NUMBERED), "{record:?} belongs to another thread");
        marks.entry((record.thread.as_str(), record.kind as u8)).or_default().push(mark % NUMBERED);
    }
    for (of, marks) in marks {
        assert_eq!(
            marks,
            (0..EACH).collect::<Vec<_>>(),
            "each record once and in order, of {of:?}"
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
    let (let_go, is_let_go) = mpsc::channel();
    let collector = Collector::builder()
        .ring_capacity(64)
        .observer(log.observer())
        .observer(move |delivery| {
            // Holds the drain with the first record, so that the ring overflows for certain.
            if delivery.duration_ns_or_value == Some(0) {
                entered.send(()).unwrap();
                is_let_go.recv().unwrap();
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
    let_go.send(()).unwrap();
    collector.stop();

    assert_accounted(&collector, PUSHED, log.count());
    assert!(collector.health().overwritten >= PUSHED - CAPACITY - 1);
    assert_eq!(collector.health().unregistered, 0);
    let values: Vec<_> = log.all().iter().filter_map(|seen| seen.duration_ns_or_value).collect();
    let newest = &values[1..];
    // All but the batch that the producer has announced: an eighth of the ring.
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
fn a_small_ring_that_is_drained_while_it_overflows_loses_nothing_silently() {
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
fn what_fits_is_delivered_whole() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread(&name(0)).unwrap();
    record_as(0);
    collector.flush();
    assert_eq!(log.count(), PUSHED_EACH, "flush drains everything recorded before it");
    record_duration(Trading::GcPause, Duration::from_nanos(5));
    measure(Trading::OrderFill).discard();
    record_end(record_start(Trading::OrderFill), Outcome::Error);
    collector.stop();
    assert_accounted(&collector, PUSHED_EACH + 5, log.count());
    assert_eq!(collector.health().overwritten, 0);
}

#[test]
fn short_lived_threads_share_the_rings_and_every_record_bears_its_threads_name() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let memory = collector.memory_bytes();
    // As many lanes as rings, in each of which one thread follows the other.
    thread::scope(|scope| {
        for lane in 0..RINGS {
            scope.spawn(move || {
                for number in (lane..THREADS).step_by(8) {
                    in_thread(&name(number), move || {
                        tailwatch::register_thread(&name(number))
                            .expect("the ring of the thread before");
                        record_as(number);
                    });
                }
            });
        }
    });
    assert_eq!(collector.memory_bytes(), memory);
    collector.stop();

    assert_accounted(&collector, THREADS * PUSHED_EACH, log.count());
    let health = collector.health();
    assert_eq!(
        (health.overwritten, health.unregistered),
        (0, 0),
        "there was a ring, and room, for each: {health:?}"
    );
    let seen = log.all();
    let counts = by_thread(&seen);
    assert_eq!(counts.len() as u64, THREADS);
    assert!(counts.values().all(|count| *count == PUSHED_EACH), "{counts:?}");
    assert_eq!(collector.memory_bytes(), memory);
}

#[test]
fn threads_that_take_their_ring_with_the_first_record_obey_the_law_too() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    thread::scope(|scope| {
        for lane in 0..RINGS {
            scope.spawn(move || {
                for number in (lane..THREADS).step_by(8) {
                    in_thread(&name(number), move || {
                        for n in 0..EACH {
                            record_value(Trading::QueueBacklog, number * NUMBERED + n);
                        }
                    });
                }
            });
        }
    });
    collector.stop();
    // A ring whose last records are not drained yet cannot be taken, so some may have gone unregistered.
    assert_accounted(&collector, THREADS * EACH, log.count());
    assert_eq!(collector.health().overwritten, 0);
    for seen in log.all() {
        let mark = seen.duration_ns_or_value.unwrap();
        assert_eq!(seen.thread, name(mark / NUMBERED), "{seen:?} belongs to another thread");
    }
}

#[test]
fn threads_without_a_ring_cost_no_memory_and_their_records_are_counted() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let memory = collector.memory_bytes();
    // Nobody ends before everybody has recorded: no ring comes back.
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
    assert_eq!(collector.memory_bytes(), memory);
    collector.stop();

    assert_accounted(&collector, THREADS * PUSHED_EACH, log.count());
    let health = collector.health();
    assert_eq!(health.unregistered, (THREADS - RINGS) * PUSHED_EACH);
    assert_eq!(health.overwritten, 0);
    let seen = log.all();
    let counts = by_thread(&seen);
    assert_eq!(counts.len() as u64, RINGS);
    assert!(counts.values().all(|count| *count == PUSHED_EACH), "{counts:?}");
    let total = collector.total(Trading::QueueBacklog).unwrap().unwrap();
    assert!(!total.complete, "what went into no ring is missing");
}

#[test]
fn what_is_recorded_while_the_collector_stops_is_delivered_or_counted() {
    const RECORDERS: u64 = 4;
    let _turn = in_turn();
    for round in 0..40_u64 {
        let tally = Tally::default();
        // Each other round with a ring that overflows meanwhile.
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
                    // And a while beyond, so that some is recorded after it for certain.
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
        // All were registered before; 100 turns of each came for certain after it.
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
                    // Its first record takes a ring: here as a value, there as a span.
                    if number % 2 == 0 {
                        record_value(Trading::QueueBacklog, 0);
                    }
                    drop(measure(Trading::OrderFill));
                    2 + u64::from(number % 2 == 0)
                })
            })
            .collect();
        ready.wait();
        // A little later each time, to come between.
        spin(Duration::from_micros(round % 100));
        collector.stop();
        let pushed = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_accounted(&collector, pushed, tally.count());
    }
}
