//! Tests of the backlog of a bounded channel, and of the task that records a backlog.

mod support;

use core::time::Duration;

use support::{on_both, on_current_thread, paused};
use tailwatch::Trading;
use tailwatch_tokio::{CancellationToken, MeasuredSender, SpawnError, watch_backlog};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{sleep, timeout},
};

const BACKLOG: Trading = Trading::QueueBacklog;

#[test]
fn a_measured_sender_records_the_backlog_before_each_message() {
    on_both(
        |builder| builder,
        |bench| {
            bench.runtime.block_on(async {
                let (sender, mut receiver) = mpsc::channel(3);
                let sender = MeasuredSender::new(sender, BACKLOG);
                sender.send('a').await.unwrap();
                sender.clone().send('b').await.unwrap();
                sender.try_send('c').unwrap();
                assert!(matches!(sender.try_send('d'), Err(TrySendError::Full('d'))));
                assert_eq!(sender.backlog(), 3);
                assert_eq!(receiver.recv().await, Some('a'));
                sender.send('e').await.unwrap();
                drop(sender.into_inner());
                for left in ['b', 'c', 'e'] {
                    assert_eq!(receiver.recv().await, Some(left));
                }
                assert_eq!(receiver.recv().await, None);
            });
            assert_eq!(bench.flushed().values(BACKLOG), [0, 1, 2, 3, 2]);
        },
    );
}

#[test]
fn a_measured_sender_waits_while_the_channel_is_full_and_returns_the_message_once_it_is_closed() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let (sender, receiver) = mpsc::channel(1);
        let sender = MeasuredSender::new(sender, BACKLOG);
        sender.send(1).await.unwrap();
        assert!(
            timeout(Duration::from_secs(1), sender.send(2)).await.is_err(),
            "the channel is full"
        );
        drop(receiver);
        assert_eq!(sender.send(3).await.unwrap_err().0, 3);
    });
    assert_eq!(bench.flushed().values(BACKLOG).len(), 3);
}

#[test]
fn a_watcher_records_the_backlog_once_per_period_until_the_channel_is_closed() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let (sender, mut receiver) = mpsc::channel(8);
        let watcher =
            watch_backlog(&sender, BACKLOG, Duration::from_millis(10), CancellationToken::new())
                .unwrap();
        let half = Duration::from_millis(5);
        // The watcher records the backlog at 0, 10 and 20 ms, and finds the channel closed at 30
        // ms. The test changes the backlog halfway between these moments.
        sleep(half).await;
        for n in 0..5 {
            sender.send(n).await.unwrap();
        }
        sleep(2 * half).await;
        receiver.recv().await.unwrap();
        sleep(2 * half).await;
        drop(sender);
        while receiver.recv().await.is_some() {}
        sleep(2 * half).await;
        watcher.await.unwrap();
    });
    assert_eq!(bench.flushed().values(BACKLOG), [0, 5, 4]);
}

#[test]
fn a_watcher_ends_when_its_token_is_cancelled() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let (sender, _receiver) = mpsc::channel::<()>(1);
        let token = CancellationToken::new();
        let watcher =
            watch_backlog(&sender, BACKLOG, Duration::from_secs(1), token.clone()).unwrap();
        sleep(Duration::from_millis(2_500)).await;
        token.cancel();
        watcher.await.unwrap();
    });
    assert_eq!(bench.flushed().values(BACKLOG), [0; 3]);
}

#[test]
fn a_watcher_with_the_longest_period_that_starts_late_ends_when_its_token_is_cancelled() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let (sender, _receiver) = mpsc::channel::<()>(1);
        let token = CancellationToken::new();
        let watcher = watch_backlog(&sender, BACKLOG, Duration::MAX, token.clone()).unwrap();
        // The first tick is late, so the interval computes when the next one is due.
        tokio::time::advance(Duration::from_millis(50)).await;
        token.cancel();
        watcher.await.unwrap();
    });
    assert_eq!(bench.flushed().values(BACKLOG), [0]);
}

#[test]
fn a_watcher_without_a_runtime_or_a_period_is_refused() {
    let (sender, _receiver) = mpsc::channel::<()>(1);
    let watch = |period| watch_backlog(&sender, BACKLOG, period, CancellationToken::new());
    assert!(matches!(watch(Duration::from_secs(1)), Err(SpawnError::NoRuntime(_))));
    let bench = on_current_thread(|builder| builder);
    let _inside = bench.runtime.enter();
    assert!(matches!(watch(Duration::ZERO), Err(SpawnError::ZeroPeriod)));
}
