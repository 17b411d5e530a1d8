//! What the measured backlog of a channel promises.

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
fn a_sender_records_how_many_messages_wait_before_each_of_its_own() {
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
fn a_full_channel_makes_a_measured_sender_wait_and_hands_back_what_nobody_takes() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let (sender, receiver) = mpsc::channel(1);
        let sender = MeasuredSender::new(sender, BACKLOG);
        sender.send(1).await.unwrap();
        assert!(timeout(Duration::from_secs(1), sender.send(2)).await.is_err(), "no place");
        drop(receiver);
        assert_eq!(sender.send(3).await.unwrap_err().0, 3);
    });
    assert_eq!(bench.flushed().values(BACKLOG).len(), 3);
}

#[test]
fn a_watched_channel_is_looked_at_once_a_period_until_it_is_closed() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let (sender, mut receiver) = mpsc::channel(8);
        let watcher =
            watch_backlog(&sender, BACKLOG, Duration::from_millis(10), CancellationToken::new())
                .unwrap();
        let later = Duration::from_millis(5);
        // Looks at 0, 10, 20, 30 ms; each change in between.
        sleep(later).await;
        for n in 0..5 {
            sender.send(n).await.unwrap();
        }
        sleep(2 * later).await;
        receiver.recv().await.unwrap();
        sleep(2 * later).await;
        drop(sender);
        while receiver.recv().await.is_some() {}
        sleep(2 * later).await;
        watcher.await.unwrap();
    });
    assert_eq!(bench.flushed().values(BACKLOG), [0, 5, 4]);
}

#[test]
fn a_watcher_ends_with_its_token() {
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
fn a_watcher_without_a_runtime_or_a_period_is_refused() {
    let (sender, _receiver) = mpsc::channel::<()>(1);
    let watch = |period| watch_backlog(&sender, BACKLOG, period, CancellationToken::new());
    assert!(matches!(watch(Duration::from_secs(1)), Err(SpawnError::NoRuntime(_))));
    let bench = on_current_thread(|builder| builder);
    let _inside = bench.runtime.enter();
    assert!(matches!(watch(Duration::ZERO), Err(SpawnError::NoPeriod)));
}
