//! An observer may do what it likes: the drain goes on.

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

/// A place where an observer finds the collector that calls it.
type Place = Arc<OnceLock<Weak<Collector>>>;

/// Starts a collector whose observer can find it in `place`.
fn start_in(place: &Place, builder: Builder) -> Arc<Collector> {
    let collector = Arc::new(builder.start().unwrap());
    place.set(Arc::downgrade(&collector)).unwrap();
    collector
}

fn found(place: &Place) -> Option<Arc<Collector>> {
    place.get().and_then(Weak::upgrade)
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
                // As `panic!`, without a message on stderr.
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
            // In this thread too, for that matter.
            collector.flush();
        }
    }
    collector.stop();
    assert_eq!(collector.health().observer_panics, PUSHED / 10);
    assert_eq!(calls.load(SeqCst), PUSHED, "the one that panics is called again");
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
        let (place, tally) = (Place::default(), Tally::default());
        let finding = Arc::clone(&place);
        let stopping = move |_: &tailwatch::Delivery<'_>| {
            if let Some(collector) = found(&finding) {
                collector.stop();
            }
        };
        let collector =
            start_in(&place, Collector::builder().observer(tally.observer()).observer(stopping));
        collector.register_thread("main").unwrap();
        // Until it has: what comes later went nowhere, and is counted.
        let mut pushed = 0;
        until(|| {
            record_value(Trading::QueueBacklog, pushed);
            pushed += 1;
            collector.health().unregistered > 0
        });
        collector.stop();
        // The second call of `stop` waits for nothing; so the last pass may still be under way.
        until(|| {
            let health = collector.health();
            tally.count() + health.overwritten + health.unregistered == pushed
                && health.delivered == tally.count()
        });
    });
}

#[test]
fn an_observer_that_is_shown_records_by_flush_may_stop_the_collector() {
    let _turn = in_turn();
    without_hanging(|| {
        for _ in 0..50 {
            let (place, tally) = (Place::default(), Tally::default());
            let finding = Arc::clone(&place);
            let stopping = move |_: &tailwatch::Delivery<'_>| {
                if let Some(collector) = found(&finding) {
                    collector.stop();
                }
            };
            let collector = start_in(
                &place,
                Collector::builder().observer(tally.observer()).observer(stopping),
            );
            collector.register_thread("main").unwrap();
            drop(measure(Trading::OrderFill));
            collector.flush();
            until(|| tally.count() == 2 && collector.health().delivered == 2);
        }
    });
}

#[test]
fn an_observer_may_stop_another_collector_that_has_no_thread() {
    let _turn = in_turn();
    without_hanging(|| {
        let (tally, place) = (Tally::default(), Place::default());
        let (others, finding) = (tally.observer(), Arc::clone(&place));
        let other = start_in(&place, Collector::builder().manual_drain().observer(others));
        other.register_thread("main").unwrap();
        record_value(Trading::QueueBacklog, 7);
        let stopping = move |_: &tailwatch::Delivery<'_>| {
            if let Some(other) = found(&finding) {
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
            "nobody else will make its last pass"
        );
        assert_eq!(collector.health().delivered, 1);
        record_value(Trading::QueueBacklog, 9);
        collector.flush();
        assert_eq!(collector.health().delivered, 2, "the one that calls goes on");
    });
}

#[test]
fn an_observer_may_ask_for_a_flush_and_for_all_else() {
    let _turn = in_turn();
    without_hanging(|| {
        let (place, tally, asked) =
            (Place::default(), Tally::default(), Arc::new(AtomicU64::new(0)));
        let (finding, counted) = (Arc::clone(&place), Arc::clone(&asked));
        let asking = move |_: &tailwatch::Delivery<'_>| {
            if let Some(collector) = found(&finding) {
                collector.flush();
                collector.set_enabled(true);
                // What they answer is as of the last pass; that they answer is the promise.
                let _ =
                    (collector.report().to_json(), collector.health(), collector.memory_bytes());
                let _ = collector.total(Trading::OrderFill).unwrap();
                counted.fetch_add(1, SeqCst);
            }
        };
        let collector =
            start_in(&place, Collector::builder().observer(tally.observer()).observer(asking));
        collector.register_thread("main").unwrap();
        for _ in 0..20 {
            drop(measure(Trading::OrderFill));
            collector.flush();
        }
        collector.stop();
        assert_accounted(&collector, 40, tally.count());
        assert_eq!(asked.load(SeqCst), 40);
    });
}

#[test]
fn an_observer_may_record_itself() {
    let _turn = in_turn();
    without_hanging(|| {
        let tally = Tally::default();
        let again = move |delivery: &tailwatch::Delivery<'_>| {
            if delivery.duration_ns_or_value.is_some_and(|value| value > 0 && value < 100) {
                record_value(Trading::QueueBacklog, 0);
            }
        };
        let collector =
            Collector::builder().observer(tally.observer()).observer(again).start().unwrap();
        collector.install().unwrap();
        for n in 1..100 {
            record_value(Trading::QueueBacklog, n);
        }
        // Each of them brings another one, and those no more.
        until(|| {
            collector.flush();
            tally.count() == 198
        });
        collector.stop();
        assert_accounted(&collector, 198, tally.count());
    });
}

#[test]
fn an_observer_may_own_the_last_handle() {
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
        let (let_go, is_let_go) = mpsc::channel::<()>();
        let collector = Collector::builder().observer(move |_| {
            // The drain is held up in the middle of a pass, for as long as the test likes.
            entered.send(()).unwrap();
            let _ = is_let_go.recv();
        });
        let collector = collector.start().unwrap();
        collector.register_thread("main").unwrap();
        drop(measure(Trading::OrderFill));
        has_entered.recv().unwrap();
        let window = Duration::from_secs(1);
        assert_eq!(
            collector.stats(Trading::OrderFill, window).unwrap(),
            None,
            "it is not published yet"
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
        // Nor does who records, or turns a switch.
        drop(measure(Trading::OrderFill));
        collector.set_enabled(false);
        collector.set_sampling_rate(Trading::OrderFill, 0.5).unwrap();
        drop(let_go);
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
        let mut kept = Vec::new();
        for n in 1..=20 {
            drop(measure(Trading::OrderFill));
            collector.flush();
            // However many answers are kept, the next pass publishes its own.
            kept.push(collector.report());
            assert_eq!(collector.total(Trading::OrderFill).unwrap().unwrap().count, n);
        }
        let told = |report: &Report| {
            report.event(Trading::OrderFill).unwrap().total.as_ref().unwrap().summary.count
        };
        assert!(kept.iter().map(told).eq(1..=20), "and none of them changes");
    });
}
