//! Checks that observers may panic, record, and call the collector that calls them, and that
//! queries and the drain do not wait for each other.

mod support;

use core::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};
use std::{
    panic::resume_unwind,
    sync::{Arc, Mutex, OnceLock, Weak, mpsc},
};

use support::{Log, Tally, assert_accounted, in_turn, until, without_hanging};
use tailwatch::{Builder, Collector, Quantile, Report, Trading, measure, record_value};

/// A slot in which an observer finds a collector, such as the one that calls it.
type Slot = Arc<OnceLock<Weak<Collector>>>;

/// Starts a collector and puts it into `slot` for an observer to find.
fn start_in(slot: &Slot, builder: Builder) -> Arc<Collector> {
    let collector = Arc::new(builder.start().unwrap());
    slot.set(Arc::downgrade(&collector)).unwrap();
    collector
}

fn collector_in(slot: &Slot) -> Option<Arc<Collector>> {
    slot.get().and_then(Weak::upgrade)
}

#[test]
fn a_panic_in_an_observer_is_caught_and_counted_and_every_other_record_delivered() {
    const PUSHED: u64 = 1_000;
    let _turn = in_turn();
    let (before, after, calls) = (Log::default(), Log::default(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    let collector = Collector::builder()
        .observer(before.observer())
        .observer(move |delivery| {
            counted.fetch_add(1, SeqCst);
            if delivery.duration_ns_or_value.is_some_and(|value| value % 10 == 0) {
                // Panics without printing a message to stderr.
                resume_unwind(Box::new("on purpose"));
            }
        })
        .observer(after.observer())
        .start()
        .unwrap();
    collector.register_thread("main").unwrap();
    for n in 0..PUSHED {
        record_value(Trading::QueueBacklog, n);
        if n == PUSHED / 2 {
            // A flush calls the observers on this thread.
            collector.flush();
        }
    }
    collector.stop();
    assert_eq!(collector.health().observer_panics, PUSHED / 10);
    assert_eq!(calls.load(SeqCst), PUSHED, "an observer that has panicked must be called again");
    for log in [before, after] {
        assert_accounted(&collector, PUSHED, log.count());
    }
    assert_eq!(collector.health().overwritten, 0);
    assert_eq!(collector.total(Trading::QueueBacklog).unwrap().unwrap().count, PUSHED);
}

#[test]
fn an_observer_may_stop_the_collector() {
    let _turn = in_turn();
    without_hanging(|| {
        let (slot, tally) = (Slot::default(), Tally::default());
        let observer_slot = Arc::clone(&slot);
        let stopping = move |_: &tailwatch::Delivery<'_>| {
            if let Some(collector) = collector_in(&observer_slot) {
                collector.stop();
            }
        };
        let collector =
            start_in(&slot, Collector::builder().observer(tally.observer()).observer(stopping));
        collector.register_thread("main").unwrap();
        // Records until the collector has stopped, as the first unregistered record shows.
        let mut pushed = 0;
        until(|| {
            record_value(Trading::QueueBacklog, pushed);
            pushed += 1;
            collector.health().unregistered > 0
        });
        collector.stop();
        // The second call of `stop` waits for nothing, so the last pass may still be running.
        until(|| {
            let health = collector.health();
            tally.count() + health.overwritten + health.unregistered == pushed
                && health.delivered == tally.count()
        });
    });
}

#[test]
fn an_observer_called_by_flush_may_stop_the_collector() {
    let _turn = in_turn();
    without_hanging(|| {
        for _ in 0..50 {
            let (slot, tally) = (Slot::default(), Tally::default());
            let observer_slot = Arc::clone(&slot);
            let stopping = move |_: &tailwatch::Delivery<'_>| {
                if let Some(collector) = collector_in(&observer_slot) {
                    collector.stop();
                }
            };
            let collector =
                start_in(&slot, Collector::builder().observer(tally.observer()).observer(stopping));
            collector.register_thread("main").unwrap();
            drop(measure(Trading::OrderFill));
            collector.flush();
            until(|| tally.count() == 2 && collector.health().delivered == 2);
        }
    });
}

#[test]
fn an_observer_may_stop_another_collector_without_a_drain_thread() {
    let _turn = in_turn();
    without_hanging(|| {
        let (tally, slot) = (Tally::default(), Slot::default());
        let (counting, observer_slot) = (tally.observer(), Arc::clone(&slot));
        let other = start_in(&slot, Collector::builder().manual_drain().observer(counting));
        other.register_thread("main").unwrap();
        record_value(Trading::QueueBacklog, 7);
        let stopping = move |_: &tailwatch::Delivery<'_>| {
            if let Some(other) = collector_in(&observer_slot) {
                other.stop();
            }
        };
        let collector = Collector::builder().manual_drain().observer(stopping).start().unwrap();
        collector.register_thread("main").unwrap();
        record_value(Trading::QueueBacklog, 8);
        collector.flush();
        assert_eq!(
            (tally.count(), other.health().delivered),
            (1, 1),
            "`stop` must make the last pass of a collector without a drain thread"
        );
        assert_eq!(collector.health().delivered, 1);
        record_value(Trading::QueueBacklog, 9);
        collector.flush();
        assert_eq!(
            collector.health().delivered,
            2,
            "the collector that calls the observer must go on"
        );
    });
}

#[test]
fn an_observer_may_flush_and_query_the_collector() {
    let _turn = in_turn();
    without_hanging(|| {
        let (slot, tally, queries) =
            (Slot::default(), Tally::default(), Arc::new(AtomicU64::new(0)));
        let (observer_slot, counted) = (Arc::clone(&slot), Arc::clone(&queries));
        let querying = move |_: &tailwatch::Delivery<'_>| {
            if let Some(collector) = collector_in(&observer_slot) {
                collector.flush();
                collector.set_enabled(true);
                // The results are those of the last pass; this test only checks that the calls
                // return.
                let _ =
                    (collector.report().to_json(), collector.health(), collector.memory_bytes());
                let _ = collector.total(Trading::OrderFill).unwrap();
                counted.fetch_add(1, SeqCst);
            }
        };
        let collector =
            start_in(&slot, Collector::builder().observer(tally.observer()).observer(querying));
        collector.register_thread("main").unwrap();
        for _ in 0..20 {
            drop(measure(Trading::OrderFill));
            collector.flush();
        }
        collector.stop();
        assert_accounted(&collector, 40, tally.count());
        assert_eq!(queries.load(SeqCst), 40);
    });
}

#[test]
fn an_observer_may_record() {
    let _turn = in_turn();
    without_hanging(|| {
        let tally = Tally::default();
        let recording = move |delivery: &tailwatch::Delivery<'_>| {
            if delivery.duration_ns_or_value.is_some_and(|value| value > 0 && value < 100) {
                record_value(Trading::QueueBacklog, 0);
            }
        };
        let collector =
            Collector::builder().observer(tally.observer()).observer(recording).start().unwrap();
        collector.install().unwrap();
        for n in 1..100 {
            record_value(Trading::QueueBacklog, n);
        }
        // For each of the 99 values the observer records one more, for which it records nothing.
        until(|| {
            collector.flush();
            tally.count() == 198
        });
        collector.stop();
        assert_accounted(&collector, 198, tally.count());
    });
}

#[test]
fn an_observer_may_drop_the_last_handle() {
    let _turn = in_turn();
    without_hanging(|| {
        let (handle, tally) = (Arc::new(Mutex::new(None::<Collector>)), Tally::default());
        let owner = Arc::clone(&handle);
        let dropping = move |delivery: &tailwatch::Delivery<'_>| {
            if delivery.duration_ns_or_value == Some(2) {
                drop(owner.lock().unwrap().take().expect("the only handle"));
            }
        };
        let collector =
            Collector::builder().observer(tally.observer()).observer(dropping).start().unwrap();
        collector.register_thread("main").unwrap();
        record_value(Trading::QueueBacklog, 1);
        *handle.lock().unwrap() = Some(collector);
        record_value(Trading::QueueBacklog, 2);
        until(|| tally.count() == 2);
        until(|| handle.lock().unwrap().is_none());
    });
}

#[test]
fn queries_never_wait_for_the_drain() {
    let _turn = in_turn();
    without_hanging(|| {
        let (entered, has_entered) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let collector = Collector::builder().observer(move |_| {
            // Holds the drain in the middle of a pass until `release` is dropped.
            entered.send(()).unwrap();
            let _ = released.recv();
        });
        let collector = collector.start().unwrap();
        collector.register_thread("main").unwrap();
        drop(measure(Trading::OrderFill));
        has_entered.recv().unwrap();
        let window = Duration::from_secs(1);
        assert_eq!(
            collector.stats(Trading::OrderFill, window).unwrap(),
            None,
            "the pass has not published anything yet"
        );
        assert_eq!(collector.total(Trading::OrderFill).unwrap(), None);
        assert_eq!(collector.all_stats(window).unwrap().len(), Trading::ALL.len());
        assert_eq!(collector.quantile(Trading::OrderFill, window, Quantile::P99).unwrap(), None);
        assert!(collector.slowest(Trading::OrderFill, window).unwrap().is_empty());
        assert!(
            !collector.breached(Trading::OrderFill)
                && collector.sla_violations(window).unwrap().is_empty()
        );
        assert!(collector.sla_changes().changes.is_empty());
        assert_eq!(collector.report().health.delivered, 0);
        assert_eq!((collector.health().delivered, collector.memory_bytes() > 0), (0, true));
        assert!(collector.explain().contains("ring_capacity"));
        // Recording and changing settings do not wait for the drain either.
        drop(measure(Trading::OrderFill));
        collector.set_enabled(false);
        collector.set_sampling_rate(Trading::OrderFill, 0.5).unwrap();
        drop(release);
        collector.stop();
        assert_eq!(collector.total(Trading::OrderFill).unwrap().unwrap().count, 2);
    });
}

#[test]
fn the_drain_never_waits_for_a_query() {
    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().start().unwrap();
        collector.register_thread("main").unwrap();
        let mut held = Vec::new();
        for n in 1..=20 {
            drop(measure(Trading::OrderFill));
            collector.flush();
            // However many reports are held, the next pass publishes a new one.
            held.push(collector.report());
            assert_eq!(collector.total(Trading::OrderFill).unwrap().unwrap().count, n);
        }
        let count = |report: &Report| {
            report.event(Trading::OrderFill).unwrap().total.as_ref().unwrap().summary.count
        };
        assert!(held.iter().map(count).eq(1..=20), "a report that is held must not change");
    });
}
