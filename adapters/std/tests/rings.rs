//! Rings on demand: every thread gets one, a ring that is too small is replaced by a larger one,
//! and what is not needed is given back. The records of every thread arrive complete and in order,
//! or are counted.

mod support;

use core::{cell::RefCell, time::Duration};
use std::{
    sync::{Arc, Barrier, mpsc},
    thread,
};

use support::{Log, Tally, assert_accounted, in_thread, in_turn, without_hanging};
use tailwatch::{
    BuildError, Collector, Kind, RegisterError, Trading, WindowSpec, measure, measure_tagged,
    record_value,
};

/// Records the values `values`, each of which is a mark.
fn record(values: core::ops::Range<u64>) {
    values.for_each(|value| record_value(Trading::QueueBacklog, value));
}

/// Returns the recorded values in the order in which they were delivered.
fn values(log: &Log) -> Vec<u64> {
    log.all().iter().filter_map(|seen| seen.duration_ns_or_value).collect()
}

/// Starts a collector whose rings begin with 64 records, and which the program drains.
fn with_small_rings(log: &Log, max_capacity: usize) -> Collector {
    let collector = Collector::builder()
        .ignore_environment()
        .ring_capacity(64)
        .max_ring_capacity(max_capacity)
        .manual_drain()
        .observer(log.observer())
        .start()
        .unwrap();
    collector.register_thread("recorder").unwrap();
    collector
}

/// Calls `work` while a collector with default settings is installed, and asserts that each of the
/// `records` records that this pushes is delivered.
fn assert_lossless(records: u64, work: impl FnOnce()) {
    let _turn = in_turn();
    let tally = Tally::default();
    let builder = Collector::builder().ignore_environment().observer(tally.observer());
    let collector = builder.start().unwrap();
    collector.install().unwrap();
    work();
    collector.stop();
    assert_accounted(&collector, records, tally.count());
    let health = collector.health();
    assert_eq!((health.unregistered, health.overwritten), (0, 0), "{health:?}");
}

#[test]
fn every_one_of_many_threads_has_a_ring_by_default() {
    const THREADS: u64 = 256;
    let all_have_recorded = Barrier::new(usize::try_from(THREADS).unwrap());
    assert_lossless(THREADS * 2_000, || {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    (0..1_000).for_each(|_| drop(measure(Trading::OrderFill)));
                    all_have_recorded.wait();
                });
            }
        });
    });
}

#[test]
fn a_hundred_thousand_threads_one_after_the_other_lose_nothing() {
    const THREADS: u64 = 100_000;
    assert_lossless(THREADS, || {
        (0..THREADS).for_each(|n| in_thread("recorder", move || record(n..n + 1)));
    });
}

#[test]
fn a_hundred_thousand_threads_in_scopes_of_three_lose_nothing() {
    const SCOPES: u64 = 33_334;
    assert_lossless(3 * SCOPES, || {
        for n in 0..SCOPES {
            thread::scope(|scope| {
                (0..3).for_each(|_| _ = scope.spawn(move || record(n..n + 1)));
            });
        }
    });
}

#[test]
fn a_ring_that_was_more_than_half_full_is_replaced_by_one_twice_as_large() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = with_small_rings(&log, 1_024);
    // 32 of 64 is half, which is not too much. The third round fits only into a larger ring.
    let mut next = 0;
    for (records, ring_bytes) in [(32, 64), (33, 128), (100, 256), (10, 256)] {
        record(next..next + records);
        next += records;
        collector.flush();
        let health = collector.health();
        assert_eq!((health.overwritten, health.delivered), (0, next), "{ring_bytes}: {health:?}");
    }
    collector.stop();
    assert_eq!(values(&log), (0..next).collect::<Vec<_>>());
}

#[test]
fn a_ring_that_overwrote_is_replaced_until_it_is_large_enough() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = with_small_rings(&log, 1_024);
    let (mut overwritten, mut lossy) = (0, vec![]);
    for round in 0..8_u64 {
        record(round * 900..(round + 1) * 900);
        collector.flush();
        let now = collector.health().overwritten;
        lossy.push(now > overwritten);
        overwritten = now;
    }
    // 64, 128, 256, 512 and 1,024 records.
    assert_eq!(lossy, [true, true, true, true, false, false, false, false]);
    assert!(values(&log).is_sorted_by(|a, b| a < b));
    collector.stop();
    assert_accounted(&collector, 8 * 900, log.count());
}

#[test]
fn a_ring_grows_no_further_than_it_may_and_then_counts_what_it_loses() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = with_small_rings(&log, 128);
    for round in 0..6_u64 {
        record(round * 900..(round + 1) * 900);
        collector.flush();
    }
    let health = collector.health();
    // 60 of the first 900 records are certain to be whole, because a batch of 8 ends with record
    // 904. The next four fill that batch, and 896 go into the ring of 128 records, which then has
    // nothing reserved. After each further round, it ends 12, 8, 4 and 0 records before a batch.
    let whole = 60 + (4 + 128) + 116 + 120 + 124 + 128;
    assert_eq!(health.delivered, whole, "{health:?}");
    assert_eq!(health.rings_refused, 0, "the largest capacity is not a refusal");
    collector.stop();
    assert_accounted(&collector, 6 * 900, log.count());
}

#[test]
fn growth_beyond_the_bytes_that_rings_may_take_is_refused_and_counted() {
    let _turn = in_turn();
    let log = Log::default();
    // Four spares of 64 records take more than 5,000 bytes, and growth may take three quarters.
    let collector = Collector::builder()
        .ignore_environment()
        .ring_capacity(64)
        .max_ring_bytes(7_000)
        .manual_drain()
        .observer(log.observer())
        .start()
        .unwrap();
    collector.register_thread("recorder").unwrap();
    for round in 0..3_u64 {
        record(round * 100..(round + 1) * 100);
        collector.flush();
    }
    // The last pass has offered in vain, too, and its report comes before that.
    collector.flush();
    let health = collector.health();
    assert_eq!(health.rings_refused, 3, "{health:?}");
    // The rounds end 4, 0 and 4 records before the end of a batch of 8.
    let whole = 60 + 64 + 60;
    assert_eq!(health.delivered, whole, "recording goes on with the ring that is there");
    assert!(collector.explain().contains("3 larger rings were refused"), "{}", collector.explain());
    collector.stop();
    assert_accounted(&collector, 300, log.count());
}

#[test]
fn a_thread_for_whose_ring_there_are_no_bytes_is_refused_and_its_records_are_counted() {
    let _turn = in_turn();
    let collector = Collector::builder()
        .ignore_environment()
        .ring_capacity(64)
        .max_ring_bytes(2_700)
        .manual_drain()
        .start()
        .unwrap();
    collector.install().unwrap();
    let both_have_a_ring = Arc::new(Barrier::new(3));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let both_have_a_ring = Arc::clone(&both_have_a_ring);
            thread::spawn(move || {
                record(0..1);
                both_have_a_ring.wait();
                both_have_a_ring.wait();
            })
        })
        .collect();
    both_have_a_ring.wait();
    let refused = in_thread("third", || {
        record(0..5);
        tailwatch::register_thread("third").unwrap_err()
    });
    assert!(matches!(refused, RegisterError::NoMemory { max_ring_bytes: 2_700 }), "{refused:?}");
    both_have_a_ring.wait();
    for thread in threads {
        thread.join().unwrap();
    }
    collector.stop();
    let health = collector.health();
    assert_eq!((health.delivered, health.unregistered), (2, 5), "{health:?}");
}

#[test]
fn threads_that_move_end_panic_and_record_from_destructors_lose_nothing_uncounted() {
    const THREADS: u64 = 400;
    const EACH: u64 = 1_000;
    /// Records when its thread ends.
    struct Last(u64);
    impl Drop for Last {
        fn drop(&mut self) {
            record(self.0..self.0 + 40);
        }
    }
    thread_local!(static LAST: RefCell<Option<Last>> = const { RefCell::new(None) });

    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder()
        .ignore_environment()
        .ring_capacity(64)
        .observer(log.observer())
        .start()
        .unwrap();
    collector.install().unwrap();
    for batch in 0..THREADS / 4 {
        let threads = [0, 1, 2, 3].map(|lane| {
            let first = (batch * 4 + lane) * EACH;
            let work = move || {
                let records = 40 * (1 + (batch + lane) % 24);
                LAST.set(Some(Last(first + records)));
                record(first..first + records);
                assert!(lane != 3, "the thread panics while its ring is about to be replaced");
            };
            thread::Builder::new().name(format!("{}", batch * 4 + lane)).spawn(work).unwrap()
        });
        for thread in threads {
            let _ = thread.join();
        }
    }
    collector.stop();
    let pushed = (0..THREADS).map(|n| 40 * (1 + (n / 4 + n % 4) % 24) + 40).sum();
    assert_accounted(&collector, pushed, log.count());
    let mut last = vec![None; usize::try_from(THREADS).unwrap()];
    for seen in log.all() {
        let value = seen.duration_ns_or_value.unwrap();
        let thread = usize::try_from(value / EACH).unwrap();
        // A destructor may run after the thread has given its ring back. Then it takes another one.
        assert_eq!(seen.thread.parse(), Ok(thread), "{seen:?} belongs to another thread");
        assert!(last[thread] < Some(value), "{seen:?} comes after {:?}", last[thread]);
        last[thread] = Some(value);
    }
}

#[test]
fn a_span_that_is_open_across_the_stop_still_ends_and_counts_as_unregistered() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = with_small_rings(&log, 1_024);
    let (stopped, has_stopped) = mpsc::channel();
    let (open, is_open) = mpsc::channel();
    collector.install().unwrap();
    let thread = thread::spawn(move || {
        let span = measure_tagged(Trading::OrderPlacement, 7);
        open.send(()).unwrap();
        has_stopped.recv().unwrap();
        drop(span);
    });
    is_open.recv().unwrap();
    collector.stop();
    assert_eq!(collector.health().unregistered, 0);
    stopped.send(()).unwrap();
    thread.join().unwrap();
    assert_eq!(log.kinds(), [Kind::Start]);
    assert_eq!(collector.health().unregistered, 1, "the END came after the last pass");
    assert_eq!(collector.health().unregistered, 1, "and is counted once");
}

/// Returns the resident memory of this process, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux has /proc");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).expect("a line `Rss:`");
    line.trim().trim_end_matches("kB").trim_end().parse::<u64>().expect("a number") * 1_024
}

#[cfg(target_os = "linux")]
#[test]
fn collectors_that_come_and_go_leave_little_memory_to_their_idle_threads() {
    const COLLECTORS: u64 = 60;
    let _turn = in_turn();
    let mut threads = vec![];
    let run = |threads: &mut Vec<_>| {
        let collector = Collector::builder().ignore_environment().start().unwrap();
        collector.install().unwrap();
        let (recorded, has_recorded) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            record(0..1);
            recorded.send(()).unwrap();
            let _ = ended.recv();
        });
        has_recorded.recv().unwrap();
        threads.push((thread, end));
        collector.stop();
        assert_eq!(collector.health().delivered, 1);
    };
    // The first ones make the allocator's memory grow.
    (0..10).for_each(|_| run(&mut threads));
    let mut left_after = || {
        let before = resident();
        (0..COLLECTORS).for_each(|_| run(&mut threads));
        resident().saturating_sub(before)
    };
    // 60 rings alone take 15 MiB, if they are kept. A page of counters, the gate, the lanes and the
    // stack of the thread are left. What is kept is kept each time. The allocator, which may keep
    // what it got back, does so only sometimes.
    let left = (0..5).map(|_| left_after()).min().unwrap();
    assert!(left < COLLECTORS * 160_000, "{left} bytes are left");
    for (thread, end) in threads {
        drop(end);
        thread.join().unwrap();
    }
}

#[test]
fn rings_of_threads_that_are_gone_are_given_back_after_a_while() {
    const THREADS: usize = 40;
    let _turn = in_turn();
    let collector = Collector::builder().ignore_environment().manual_drain().start().unwrap();
    collector.install().unwrap();
    // The memory of the event, which it takes with its first sample.
    in_thread("recorder", || record(0..1));
    collector.flush();
    let at_start = collector.memory_bytes();
    let all_have_recorded = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let work = || {
                record(0..1);
                all_have_recorded.wait();
            };
            thread::Builder::new().name("recorder".to_owned()).spawn_scoped(scope, work).unwrap();
        }
    });
    collector.flush();
    let with_rings = collector.memory_bytes();
    assert!(with_rings - at_start > (THREADS - 5) * 16 * 16_384, "{at_start}, {with_rings}");
    // The drain keeps the names and numbers of a few threads that are gone, and reports have their
    // samples. No ring is as small.
    let with_names = at_start + THREADS * 512;
    // The clock that decides is that of the operating system.
    without_hanging(move || {
        while collector.memory_bytes() > with_names {
            thread::sleep(Duration::from_millis(100));
            collector.flush();
        }
        assert_eq!(collector.health().delivered, 1 + THREADS as u64);
    });
}

#[test]
fn settings_that_contradict_each_other_or_exceed_the_memory_are_refused() {
    let refused = |builder: tailwatch::Builder| builder.ignore_environment().start().unwrap_err();
    for rings in [100_000, 131_072, usize::MAX] {
        let error = refused(Collector::builder().rings(rings));
        assert!(matches!(error, BuildError::TooManyRings { .. }), "{error:?}");
        assert!(
            error.to_string().contains(&rings.to_string()) && error.to_string().contains("4096")
        );
    }
    let error = refused(Collector::builder().ring_capacity(1 << 20).max_ring_capacity(1 << 19));
    assert!(matches!(error, BuildError::RingCapacityAboveMax { .. }), "{error:?}");
    for number in ["1048576", "524288"] {
        assert!(error.to_string().contains(number), "{error}");
    }
    let error = refused(Collector::builder().ring_capacity(1 << 30));
    assert!(matches!(error, BuildError::RingAboveMaxBytes { .. }), "{error:?}");
    let window = WindowSpec::new(Duration::from_millis(1), 10);
    let error = refused(Collector::builder().windows(&[window]));
    assert!(matches!(error, BuildError::SliceBelowPeriod { .. }), "{error:?}");
    for number in ["100µs", "1ms"] {
        assert!(error.to_string().contains(number), "{error}");
    }
}

#[test]
fn the_polling_pause_adapts_to_the_shortest_slice() {
    let pause = |length, slices, period| {
        let windows = [WindowSpec::new(Duration::from_millis(length), slices)];
        let builder = Collector::builder().ignore_environment().windows(&windows).manual_drain();
        let builder =
            if period > 0 { builder.max_period(Duration::from_millis(period)) } else { builder };
        builder.start().unwrap().settings().max_period.value.as_millis()
    };
    assert_eq!(pause(1_000, 10, 0), 4);
    assert_eq!(pause(1_000, 10, 50), 50);
    assert_eq!(pause(1_000, 10, 5_000), 100);
    assert_eq!(pause(10, 5, 0), 2);
    assert_eq!(pause(1, 1, 100), 1);
}
