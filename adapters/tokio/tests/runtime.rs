//! Tests of the events that measure the runtime itself.

mod support;

use core::{future::pending, time::Duration};

use support::{Bench, on_both, on_current_thread, paused};
use tailwatch::{Builder, Trading};
use tailwatch_tokio::{CancellationToken, RuntimeEvent, SpawnError, watch_runtime};
use tokio::{
    task::yield_now,
    time::{advance, sleep},
};

const PERIOD: Duration = Duration::from_millis(10);

fn setup(builder: Builder) -> Builder {
    builder.events(Trading::ALL).events(RuntimeEvent::ALL)
}

/// Watches the runtime while `work` runs.
async fn watch(work: impl Future<Output = ()>) {
    let token = CancellationToken::new();
    let watcher = watch_runtime(PERIOD, token.clone()).unwrap();
    work.await;
    token.cancel();
    watcher.await.unwrap();
}

/// Returns the recorded durations of `event`, rounded to milliseconds.
fn millis(bench: &Bench, event: RuntimeEvent) -> Vec<u64> {
    bench.flushed().values(event).into_iter().map(|nanos| (nanos + 500) / 1_000_000).collect()
}

#[test]
fn a_stalled_runtime_shows_as_a_timer_delay() {
    let bench = paused(setup);
    bench.runtime.block_on(watch(async {
        // The watcher wakes at 10 and 20 ms, each time up to 1 ms late. At 25 ms the runtime stalls
        // for 50 ms, so the watcher wakes at 75 ms instead of 30 ms.
        sleep(Duration::from_millis(25)).await;
        advance(Duration::from_millis(50)).await;
        sleep(Duration::from_millis(5)).await;
    }));
    let delays = millis(&bench, RuntimeEvent::TimerDelay);
    assert!(matches!(delays[..], [0..=1, 0..=1, 42..=46]), "{delays:?}");
    assert_eq!(millis(&bench, RuntimeEvent::SchedulingDelay), [0, 0, 0]);
}

#[test]
fn the_tasks_that_are_alive_are_counted() {
    on_both(setup, |bench| {
        bench.runtime.block_on(async {
            let tasks: Vec<_> = (0..5).map(|_| tokio::spawn(pending::<()>())).collect();
            let token = CancellationToken::new();
            let watcher = watch_runtime(Duration::from_millis(1), token.clone()).unwrap();
            while bench.flushed().values(RuntimeEvent::GlobalQueueDepth).is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
            token.cancel();
            watcher.await.unwrap();
            tasks.iter().for_each(tokio::task::JoinHandle::abort);
        });
        let alive = bench.flushed().values(RuntimeEvent::AliveTasks);
        assert!(
            !alive.is_empty() && alive.iter().all(|alive| *alive == 6),
            "five tasks and the watcher: {alive:?}"
        );
        for event in [
            RuntimeEvent::TimerDelay,
            RuntimeEvent::SchedulingDelay,
            RuntimeEvent::GlobalQueueDepth,
        ] {
            assert_eq!(bench.log.values(event).len(), alive.len(), "{event:?}");
        }
    });
}

#[test]
fn a_watcher_without_a_runtime_or_a_period_is_refused() {
    assert!(matches!(
        watch_runtime(PERIOD, CancellationToken::new()),
        Err(SpawnError::NoRuntime(_))
    ));
    let bench = on_current_thread(setup);
    let _inside = bench.runtime.enter();
    assert!(matches!(
        watch_runtime(Duration::ZERO, CancellationToken::new()),
        Err(SpawnError::ZeroPeriod)
    ));
}

#[test]
fn a_watcher_with_the_longest_period_ends_when_its_token_is_cancelled() {
    let bench = on_current_thread(setup);
    bench.runtime.block_on(async {
        let token = CancellationToken::new();
        let watcher = watch_runtime(Duration::MAX, token.clone()).unwrap();
        // Lets the watcher start.
        yield_now().await;
        token.cancel();
        watcher.await.unwrap();
    });
}
