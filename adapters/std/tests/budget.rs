//! A drain that is not to be busy for long.

mod support;

use core::time::Duration;
use std::{
    sync::{Barrier, mpsc},
    thread,
};

use support::{Log, assert_accounted};
use tailwatch::{Collector, Kind, Limit, Quantile, SlaState, Threshold, Trading, measure};

/// Of one call, at the most.
const MOST: usize = 1_000;

/// Two threads of these names record so many spans each, and wait until `drain` is done.
fn with_full_rings(collector: &Collector, spans: usize, drain: impl FnOnce()) {
    let recorded = Barrier::new(3);
    thread::scope(|scope| {
        // They go on once it is dropped, which it is by a panic too.
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
fn a_call_takes_no_more_than_it_may_and_the_next_goes_on_where_it_stopped() {
    let log = Log::default();
    let collector = Collector::builder()
        .ignore_environment()
        .manual_drain()
        .observer(log.observer())
        .start()
        .unwrap();
    with_full_rings(&collector, 3_000, || {
        let mut before = 0;
        loop {
            let rest = collector.drain_up_to(MOST);
            let now = log.all().len();
            assert!(now - before <= MOST, "{} at once", now - before);
            assert!(now > before || !rest.is_zero(), "what is told to be there is taken");
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
        assert!(ends.is_sorted_by_key(|seen| seen.record.ticks()), "in the order of its thread");
    }
    collector.stop();
    assert_accounted(&collector, 12_000, 12_000);
}

#[test]
fn a_flush_of_so_many_a_call_takes_rings_that_are_not_due_and_publishes_once_they_are_empty() {
    let log = Log::default();
    let collector = Collector::builder()
        .ignore_environment()
        .manual_drain()
        .observer(log.observer())
        .start()
        .unwrap();
    with_full_rings(&collector, 500, || {
        let mut before = 0;
        loop {
            let has_more = collector.flush_up_to(300);
            let now = log.all().len();
            assert!(now - before <= 300, "{} at once", now - before);
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
fn a_ring_that_is_filled_again_and_again_keeps_nobody_waiting() {
    let log = Log::default();
    let collector = Collector::builder()
        .ignore_environment()
        .manual_drain()
        .observer(log.observer())
        .start()
        .unwrap();
    collector.register_thread("busy").unwrap();
    with_full_rings(&collector, 1_000, || {
        let mut calls = 0;
        while log.all().iter().filter(|seen| seen.thread != "busy").count() < 4_000 {
            for _ in 0..MOST {
                drop(measure(Trading::OrderFill));
            }
            collector.drain_up_to(MOST);
            calls += 1;
            assert!(calls < 20, "the rings of the others are due");
        }
    });
}

/// An open span is known to be open as of a look at every ring, after which each was drained as far as it was then. A ring whose
/// producer is faster than the budget is never empty, but as far as it was it is drained time and again.
#[test]
fn a_span_that_hangs_is_noticed_though_a_ring_is_never_empty() {
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
        for _ in 0..MOST {
            drop(measure(Trading::OrderFill));
        }
        collector.drain_up_to(MOST);
        calls += 1;
        assert!(calls < 1_000, "the span is older than its limit");
    }
}
