//! Tests of the task that drains a collector.

mod support;

use core::{
    future::poll_fn,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};
use std::sync::Arc;

use support::{Bench, on_both, on_current_thread, on_workers, paused};
use tailwatch::{
    Builder, Collector, Limit, LimitOverrides, Quantile, Threshold, Trading, WindowSpec, measure,
    record_duration, record_value,
};
use tailwatch_tokio::{
    CancellationToken, MAX_RECORDS_PER_TURN, MeasureExt, SlaUpdate, SlaUpdates, SpawnError,
};
use tokio::{task::yield_now, time::sleep};
use tokio_stream::StreamExt;

const ORDER: Trading = Trading::OrderPlacement;

fn unchanged(builder: Builder) -> Builder {
    builder
}

/// Starts the drain task of `bench`. Returns its handle and the token that ends it.
fn spawn(bench: &Bench) -> (tailwatch_tokio::DrainTask, CancellationToken) {
    let token = CancellationToken::new();
    (tailwatch_tokio::spawn_drain(Arc::clone(&bench.collector), token.clone()).unwrap(), token)
}

/// Records `spans` spans, which are two records each.
fn record(spans: usize) {
    for _ in 0..spans {
        drop(measure(ORDER));
    }
}

/// Returns how many spans of [`ORDER`] have ended without an error.
fn orders(report: &tailwatch::Report) -> u64 {
    report.event(ORDER).unwrap().outcomes.ok
}

#[test]
fn records_are_reported_while_the_program_runs() {
    on_both(unchanged, |bench| {
        bench.runtime.block_on(async {
            let (drain, token) = spawn(&bench);
            let mut reports = drain.reports();
            async { yield_now().await }.measured(ORDER).await;
            let seen = reports.wait_for(|report| orders(report) == 1).await.unwrap();
            assert_eq!(seen.health.delivered, 2);
            drop(seen);
            token.cancel();
            drain.join().await.unwrap();
        });
    });
}

#[test]
fn a_cancelled_drain_processes_earlier_records_and_stops_the_collector() {
    on_both(
        |builder| builder.ring_capacity(65_536),
        |bench| {
            bench.runtime.block_on(async {
                let (drain, token) = spawn(&bench);
                // 30,000 records, which take more than seven turns.
                record(15_000);
                token.cancel();
                let report = drain.join().await.unwrap();
                assert_eq!(orders(&report), 15_000);
                assert_eq!(
                    (report.health.delivered, report.health.pending, report.health.overwritten),
                    (30_000, 0, 0)
                );
                assert!(
                    report.to_string().contains(", collector stopped"),
                    "the last report must be marked: {report}"
                );
            });
            assert!(bench.collector.is_stopped());
            record(1);
            assert_eq!(bench.collector.health().unregistered, 2);
        },
    );
}

#[test]
fn a_test_with_a_paused_clock_drains_by_hand_and_the_clock_stands_still() {
    let bench = paused(unchanged);
    bench.runtime.block_on(async {
        let begun = tokio::time::Instant::now();
        async { yield_now().await }.measured(ORDER).await;
        // While this waits, the clock of a runtime with a drain task would run away.
        tokio::task::spawn_blocking(|| drop(measure(ORDER))).await.unwrap();
        while bench.collector.flush_up_to(1) {}
        assert_eq!(orders(&bench.collector.report()), 2);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    });
}

#[test]
fn the_drain_works_on_a_runtime_whose_clock_is_paused() {
    let bench = paused(unchanged);
    bench.runtime.block_on(async {
        let (drain, token) = spawn(&bench);
        let mut reports = drain.reports();
        record(3);
        sleep(Duration::from_hours(1)).await;
        reports.wait_for(|report| orders(report) == 3).await.unwrap();
        token.cancel();
        drain.join().await.unwrap();
    });
}

#[test]
fn a_turn_drains_a_bounded_number_of_records_and_then_yields() {
    const RECORDS: usize = 20 * MAX_RECORDS_PER_TURN;
    let bench = on_current_thread(|builder| builder.ring_capacity(262_144));
    bench.runtime.block_on(async {
        let (drain, token) = spawn(&bench);
        record(RECORDS / 2);
        let log = bench.log.clone();
        // This task watches how many records the observer has seen. Tasks that yield may be polled
        // in any order, so the drain can take up to two turns between two polls of this task.
        let other = tokio::spawn(async move {
            let (mut delivered, mut turns) = (0, 0);
            while delivered < RECORDS {
                let now = log.count();
                assert!(
                    now - delivered <= 2 * MAX_RECORDS_PER_TURN,
                    "{} records between two polls",
                    now - delivered
                );
                turns += usize::from(now > delivered);
                delivered = now;
                yield_now().await;
            }
            turns
        });
        assert!(other.await.unwrap() >= RECORDS / MAX_RECORDS_PER_TURN / 2);
        token.cancel();
        assert_eq!(orders(&drain.join().await.unwrap()), RECORDS as u64 / 2);
    });
}

#[test]
fn a_flush_yields_between_its_turns() {
    let bench = on_current_thread(|builder| builder.ring_capacity(262_144));
    bench.runtime.block_on(async {
        let (drain, token) = spawn(&bench);
        record(20 * MAX_RECORDS_PER_TURN / 2);
        let polls = Arc::new(AtomicU64::new(0));
        let polls_of_other = Arc::clone(&polls);
        let other = tokio::spawn(async move {
            loop {
                polls_of_other.fetch_add(1, SeqCst);
                yield_now().await;
            }
        });
        drain.flush().await;
        assert_eq!(bench.log.count(), 20 * MAX_RECORDS_PER_TURN);
        // The flush and the drain task share the 20 turns, so the flush yields about 10 times.
        assert!(polls.load(SeqCst) >= 5, "{polls:?}");
        other.abort();
        token.cancel();
        drain.join().await.unwrap();
    });
}

#[test]
fn a_flush_yields_between_its_turns_although_the_ring_has_grown() {
    const RECORDS: usize = 10 * MAX_RECORDS_PER_TURN;
    let first = 1_024;
    let bench = on_current_thread(|builder| builder.rings(1).ring_capacity(first));
    let mut capacity = first;
    while capacity < 2 * RECORDS {
        // Three quarters of the ring. The pass offers a larger one, and the thread moves to it
        // within its next 64 records.
        record(capacity * 3 / 8);
        bench.collector.flush();
        record(64);
        bench.collector.flush();
        capacity *= 2;
    }
    bench.runtime.block_on(async {
        let (drain, token) = spawn(&bench);
        record(RECORDS / 2);
        let mut flush = Box::pin(drain.flush());
        let mut largest_turn = 0;
        poll_fn(|context| {
            let before = bench.log.count();
            let poll = flush.as_mut().poll(context);
            largest_turn = largest_turn.max(bench.log.count() - before);
            poll
        })
        .await;
        drop(flush);
        assert_eq!(largest_turn, MAX_RECORDS_PER_TURN);
        token.cancel();
        let health = &drain.join().await.unwrap().health;
        assert_eq!((health.overwritten, health.pending), (0, 0));
    });
}

#[test]
fn records_before_a_flush_are_in_the_next_report() {
    on_both(unchanged, |bench| {
        bench.runtime.block_on(async {
            let (drain, token) = spawn(&bench);
            let reports = drain.reports();
            for n in 1..=20 {
                record(1);
                drain.flush().await;
                assert_eq!(orders(&reports.borrow()), n);
            }
            token.cancel();
            drain.join().await.unwrap();
        });
    });
}

#[test]
fn a_shutdown_under_load_counts_every_record() {
    on_both(
        |builder| builder.ring_capacity(4_096),
        |bench| {
            let pushed = bench.runtime.block_on(async {
                let (drain, token) = spawn(&bench);
                let mut reports = drain.reports();
                let end = CancellationToken::new();
                let pushed = Arc::new(AtomicU64::new(0));
                let load = |end: CancellationToken, pushed: Arc<AtomicU64>| async move {
                    while !end.is_cancelled() {
                        async { yield_now().await }.measured(ORDER).await;
                        record_value(Trading::QueueBacklog, 1);
                        pushed.fetch_add(3, SeqCst);
                    }
                };
                let loads: Vec<_> =
                    (0..4).map(|_| tokio::spawn(load(end.clone(), Arc::clone(&pushed)))).collect();
                reports.wait_for(|report| report.health.produced > 10_000).await.unwrap();
                token.cancel();
                drain.join().await.unwrap();
                // The load continues after the shutdown: these records are counted as unregistered.
                let at_shutdown = pushed.load(SeqCst);
                while pushed.load(SeqCst) < at_shutdown + 1_000 {
                    yield_now().await;
                }
                end.cancel();
                for load in loads {
                    load.await.unwrap();
                }
                pushed.load(SeqCst)
            });
            let delivered = bench.log.count() as u64;
            let health = bench.collector.health();
            assert_eq!(delivered, health.delivered);
            assert_eq!(delivered + health.overwritten + health.unregistered, pushed, "{health:?}");
            assert!(health.unregistered > 0);
        },
    );
}

#[test]
fn stopping_the_collector_ends_the_drain() {
    on_both(unchanged, |bench| {
        bench.runtime.block_on(async {
            let (drain, _token) = spawn(&bench);
            record(1);
            bench.collector.stop();
            assert_eq!(orders(&drain.join().await.unwrap()), 1);
        });
    });
}

#[test]
fn after_a_runtime_shutdown_the_collectors_owner_can_drain_the_rest() {
    on_both(unchanged, |bench| {
        let Bench { collector, runtime, .. } = bench;
        let drain = runtime.block_on(async {
            let drain =
                tailwatch_tokio::spawn_drain(Arc::clone(&collector), CancellationToken::new())
                    .unwrap();
            yield_now().await;
            drain
        });
        record(5);
        drop(runtime);
        assert!(!collector.is_stopped());
        collector.stop();
        assert_eq!(orders(&collector.report()), 5);
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(other.block_on(drain.join()).unwrap_err().is_cancelled());
    });
}

#[test]
fn each_reason_why_a_drain_cannot_start_is_an_error() {
    let spawn = |collector| tailwatch_tokio::spawn_drain(collector, CancellationToken::new());
    let started = |builder: Builder| builder.ignore_environment().start().unwrap();
    let error = spawn(started(Collector::builder().manual_drain())).unwrap_err();
    assert!(matches!(error, SpawnError::NoRuntime(_)), "{error}");

    let without_timers = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let inside = without_timers.enter();
    let error = spawn(started(Collector::builder().manual_drain())).unwrap_err();
    assert!(
        matches!(error, SpawnError::NoTimers) && error.to_string().contains("enable_time"),
        "{error}"
    );
    drop(inside);

    let bench = on_current_thread(unchanged);
    let _inside = bench.runtime.enter();
    let error = spawn(started(Collector::builder())).unwrap_err();
    assert!(
        matches!(error, SpawnError::NotManual) && error.to_string().contains("manual_drain"),
        "{error}"
    );
    let stopped = started(Collector::builder().manual_drain());
    stopped.stop();
    let error = spawn(stopped).unwrap_err();
    assert!(matches!(error, SpawnError::Stopped), "{error}");
}

/// Sets a single limit: no order of the last minute may take longer than 1 ms. The window is so
/// long that the violation is not cleared during a test.
fn with_a_limit(builder: Builder) -> Builder {
    let limit =
        Threshold::duration(Quantile::MAX, Duration::from_millis(1)).over(Duration::from_mins(1));
    builder
        .windows(&[WindowSpec::new(Duration::from_mins(1), 12)])
        .limits(LimitOverrides::new().with(ORDER, Limit::Quantile(limit)).dropping_others(ORDER))
}

#[test]
fn every_receiver_gets_each_limit_that_is_raised() {
    on_both(with_a_limit, |bench| {
        bench.runtime.block_on(async {
            let (drain, token) = spawn(&bench);
            let mut receivers = [drain.sla_updates(), drain.sla_updates()];
            record_duration(ORDER, Duration::from_secs(1));
            for receiver in &mut receivers {
                let Some(SlaUpdate::Change(change)) = StreamExt::next(receiver).await else {
                    panic!("no change")
                };
                assert!(change.raised);
                assert_eq!(
                    (&*change.limit.event, change.limit.observed),
                    ("order_placement", Some(1_000_000_000))
                );
            }
            token.cancel();
            for receiver in &mut receivers {
                assert_eq!(
                    receiver.next().await,
                    None,
                    "the stream must end with the task, although the handle still exists"
                );
            }
            drain.join().await.unwrap();
        });
    });
}

/// Raises this many violations of one event. After each, calls `drain`, which drains it.
async fn raise(collector: &Collector, violations: u64, drain: impl AsyncFn()) {
    for n in 0..violations {
        // The limits alternate. A new limit replaces the old one and starts in the state "unknown",
        // so the next sample raises a violation again.
        let quantile = if n % 2 == 0 { Quantile::P95 } else { Quantile::P99 };
        let threshold =
            Threshold::duration(quantile, Duration::from_millis(1)).over(Duration::from_mins(1));
        collector.set_limits(ORDER, &[Limit::Quantile(threshold)]).unwrap();
        record_duration(ORDER, Duration::from_secs(1));
        drain().await;
    }
}

/// Returns how many raised violations the stream yields until it ends, and how many it misses.
async fn received_and_missed(mut updates: SlaUpdates) -> (u64, u64) {
    let (mut received, mut missed) = (0, 0);
    while let Some(update) = updates.next().await {
        match update {
            SlaUpdate::Change(change) => received += u64::from(change.raised),
            SlaUpdate::Missed(count) => missed += count,
            _ => unreachable!(),
        }
    }
    (received, missed)
}

#[test]
fn a_slow_receiver_gets_the_number_of_missed_changes() {
    let bench = on_workers(with_a_limit);
    bench.runtime.block_on(async {
        let (drain, token) = spawn(&bench);
        let updates = drain.sla_updates();
        raise(&bench.collector, 300, async || drain.flush().await).await;
        token.cancel();
        drain.join().await.unwrap();
        assert_eq!(received_and_missed(updates).await, (256, 300 - 256));
    });
}

/// The task has no turn between the changes, so the queue of the collector overflows.
#[test]
fn changes_that_were_missed_between_two_turns_are_counted() {
    let bench = on_current_thread(with_a_limit);
    bench.runtime.block_on(async {
        let (drain, token) = spawn(&bench);
        let updates = drain.sla_updates();
        raise(&bench.collector, 300, async || bench.collector.flush()).await;
        token.cancel();
        drain.join().await.unwrap();
        // The number of missed changes takes the place of one change.
        assert_eq!(received_and_missed(updates).await, (255, 300 - 255));
    });
}

#[test]
fn a_drain_continues_after_its_handle_is_dropped() {
    let bench = on_workers(unchanged);
    let (reports, token) = bench.runtime.block_on(async {
        let (drain, token) = spawn(&bench);
        (drain.reports(), token)
    });
    record(1);
    token.cancel();
    let mut reports = reports;
    bench.runtime.block_on(async { while reports.changed().await.is_ok() {} });
    assert_eq!(orders(&reports.borrow()), 1);
    assert!(bench.collector.is_stopped());
}
