//! Checks draining with a budget: `Collector::drain_up_to` and `Collector::flush_up_to`.

mod support;

use core::time::Duration;
use std::{
    sync::{Barrier, mpsc},
    thread,
};

use support::{Log, assert_accounted};
use tailwatch::{Collector, Kind, Limit, Quantile, SlaState, Threshold, Trading, measure};

/// The largest number of records that one call may take.
const BUDGET: usize = 1_000;

/// Starts the threads `one` and `other`, which record `spans` spans each and keep their rings until
/// `drain` returns.
fn with_two_filled_rings(collector: &Collector, spans: usize, drain: impl FnOnce()) {
    let recorded = Barrier::new(3);
    thread::scope(|scope| {
        // The threads end once these senders are dropped, which happens even if `drain` panics.
        let mut waiting = Vec::new();
        for name in ["one", "other"] {
            let recorded = &recorded;
            let (drained, wait) = mpsc::channel::<()>();
            waiting.push(drained);
            scope.spawn(move || {
                collector.register_thread(name).unwrap();
                for _ in 0..spans {
                    drop(measure(Trading::OrderPlacement));
                }
                recorded.wait();
                wait.recv().unwrap_err();
            });
        }
        recorded.wait();
        drain();
    });
}

#[test]
fn a_call_stays_within_its_budget_and_the_next_goes_on_where_it_stopped() {
    let log = Log::default();
    let collector = Collector::builder()
        .ignore_environment()
        .manual_drain()
        .observer(log.observer())
        .start()
        .unwrap();
    with_two_filled_rings(&collector, 3_000, || {
        let mut before = 0;
        loop {
            let rest = collector.drain_up_to(BUDGET);
            let now = log.all().len();
            assert!(now - before <= BUDGET, "one call took {} records", now - before);
            assert!(now > before || !rest.is_zero(), "a call that returns 0 must take records");
            before = now;
            if now == 12_000 {
                break;
            }
        }
    });
    for name in ["one", "other"] {
        let ends: Vec<_> = log
            .all()
            .into_iter()
            .filter(|seen| seen.kind == Kind::EndOk && seen.thread == name)
            .collect();
        assert_eq!(ends.len(), 3_000);
        assert!(
            ends.is_sorted_by_key(|seen| seen.record.ticks()),
            "records of a thread must stay in order"
        );
    }
    collector.stop();
    assert_accounted(&collector, 12_000, 12_000);
}

#[test]
fn a_budgeted_flush_takes_rings_that_are_not_due_and_publishes_once_all_are_empty() {
    let log = Log::default();
    let collector = Collector::builder()
        .ignore_environment()
        .manual_drain()
        .observer(log.observer())
        .start()
        .unwrap();
    with_two_filled_rings(&collector, 500, || {
        let mut before = 0;
        loop {
            let has_more = collector.flush_up_to(300);
            let now = log.all().len();
            assert!(now - before <= 300, "one call took {} records", now - before);
            assert_eq!(has_more, now < 2_000);
            before = now;
            if !has_more {
                break;
            }
        }
        assert_eq!(collector.health().delivered, 2_000);
    });
    collector.stop();
    assert!(!collector.flush_up_to(0));
}

#[test]
fn a_ring_that_keeps_filling_does_not_starve_the_others() {
    let log = Log::default();
    let collector = Collector::builder()
        .ignore_environment()
        .manual_drain()
        .observer(log.observer())
        .start()
        .unwrap();
    collector.register_thread("busy").unwrap();
    with_two_filled_rings(&collector, 1_000, || {
        let mut calls = 0;
        while log.all().iter().filter(|seen| seen.thread != "busy").count() < 4_000 {
            for _ in 0..BUDGET {
                drop(measure(Trading::OrderFill));
            }
            collector.drain_up_to(BUDGET);
            calls += 1;
            assert!(calls < 20, "the busy ring starves the other rings");
        }
    });
}

/// A span counts as open as of the moment when the drain looked at the heads of all rings, once
/// each ring has been drained up to that head. A ring whose producer is faster than the budget is
/// never empty, but it is drained up to such a head again and again.
#[test]
fn a_hanging_span_violates_its_limit_although_a_ring_is_never_empty() {
    let limit = Limit::Quantile(Threshold::duration(Quantile::P95, Duration::from_nanos(1)));
    let collector = Collector::builder().ignore_environment().manual_drain().start().unwrap();
    collector.set_limits(Trading::GcPause, &[limit]).unwrap();
    collector.register_thread("busy").unwrap();
    let _hangs = measure(Trading::GcPause);
    let mut calls = 0;
    while collector
        .report()
        .sla
        .iter()
        .all(|row| row.event != "gc_pause" || row.state != SlaState::Violated)
    {
        for _ in 0..BUDGET {
            drop(measure(Trading::OrderFill));
        }
        collector.drain_up_to(BUDGET);
        calls += 1;
        assert!(calls < 1_000, "the limit must be violated, as the open span is older than it");
    }
}

/// Without a drain thread, nothing frees a ring between two calls.
#[test]
fn the_call_that_takes_the_last_record_of_a_thread_frees_its_ring() {
    let collector =
        Collector::builder().ignore_environment().manual_drain().rings(1).start().unwrap();
    for name in ["first", "second", "third"] {
        thread::scope(|scope| {
            let recording = scope.spawn(|| {
                collector.register_thread(name).expect("the only ring is free");
                for _ in 0..500 {
                    drop(measure(Trading::OrderPlacement));
                }
            });
            // Unlike the end of the scope, this waits until the thread has given its ring back.
            recording.join().unwrap();
        });
        let calls = (1..100).find(|_| !collector.flush_up_to(300));
        assert_eq!(calls, Some(4), "1,000 records");
    }
}
