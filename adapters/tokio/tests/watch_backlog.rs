//! Tests of the backlog of a receiver of a watch channel: the changes that it has not seen.

mod support;

use core::{panic::AssertUnwindSafe, time::Duration};
use std::panic::catch_unwind;

use support::{on_both, on_workers, paused};
use tailwatch::Trading;
use tailwatch_tokio::{CancellationToken, CountedWatchSender, watch_backlog};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

const BACKLOG: Trading = Trading::QueueBacklog;

#[test]
fn a_receiver_records_how_many_changes_it_had_not_seen() {
    on_both(
        |builder| builder,
        |bench| {
            bench.runtime.block_on(async {
                let sender = CountedWatchSender::new(0);
                sender.send_replace(1); // before anybody subscribes
                let mut receiver = sender.subscribe(BACKLOG);
                assert_eq!((receiver.backlog(), *receiver.borrow_and_update()), (0, 1));
                sender.send(2).unwrap();
                receiver.changed().await.unwrap(); // records 1
                assert_eq!(*receiver.borrow_and_update(), 2);
                sender.send(3).unwrap();
                assert_eq!(sender.clone().send_replace(4), 3);
                sender.send_modify(|value| *value += 1);
                assert!(!sender.send_if_modified(|_| false));
                assert!(sender.send_if_modified(|value| {
                    *value += 1;
                    true
                }));
                assert_eq!((receiver.backlog(), *receiver.borrow()), (4, 6));
                assert_eq!(*receiver.borrow_and_update(), 6); // records 4
                assert_eq!(receiver.backlog(), 0);
                sender.send(7).unwrap();
                drop(sender);
                receiver.changed().await.unwrap(); // records 1
                assert!(receiver.changed().await.is_err());
                assert_eq!(*receiver.borrow(), 7);
            });
            assert_eq!(bench.flushed().values(BACKLOG), [1, 4, 1]);
        },
    );
}

#[test]
fn a_change_that_does_not_happen_is_not_counted() {
    let sender = CountedWatchSender::new(1);
    assert_eq!(sender.send(2).unwrap_err().0, 2);
    assert_eq!(*sender.borrow(), 1, "there was no receiver");
    let receiver = sender.subscribe(BACKLOG);
    let panicked = catch_unwind(AssertUnwindSafe(|| sender.send_modify(|_| panic!("on purpose"))));
    assert!(panicked.is_err());
    assert_eq!(receiver.backlog(), 0);
    sender.send(3).unwrap();
    assert_eq!(receiver.backlog(), 1);
    assert_eq!(sender.receiver_count(), 1);
}

#[test]
fn a_receiver_that_stops_waiting_records_nothing() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let sender = CountedWatchSender::new(0);
        let mut receiver = sender.subscribe(BACKLOG);
        assert!(timeout(Duration::from_secs(1), receiver.changed()).await.is_err());
        sender.send(1).unwrap();
        receiver.changed().await.unwrap();
    });
    assert_eq!(bench.flushed().values(BACKLOG), [1]);
}

#[test]
fn every_change_counts_in_one_value_of_each_receiver_if_many_tasks_send() {
    const TASKS: u64 = 4;
    const CHANGES: u64 = 500;
    let bench = on_workers(|builder| builder);
    bench.runtime.block_on(async {
        let sender = CountedWatchSender::new(0);
        let readers: Vec<_> = [BACKLOG, BACKLOG]
            .into_iter()
            .map(|event| {
                let mut receiver = sender.subscribe(event);
                tokio::spawn(async move { while receiver.changed().await.is_ok() {} })
            })
            .collect();
        let senders: Vec<_> = (0..TASKS)
            .map(|_| {
                let sender = sender.clone();
                tokio::spawn(async move {
                    for _ in 0..CHANGES {
                        sender.send_modify(|value| *value += 1);
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in senders {
            task.await.unwrap();
        }
        assert_eq!(*sender.borrow(), TASKS * CHANGES);
        drop(sender);
        for task in readers {
            task.await.unwrap();
        }
    });
    let values = bench.flushed().values(BACKLOG);
    assert_eq!(values.iter().sum::<u64>(), 2 * TASKS * CHANGES);
    assert!(!values.contains(&0), "a receiver that is woken has something to see");
}

#[test]
fn a_watcher_shows_what_a_receiver_that_hangs_has_not_seen_until_the_receiver_is_gone() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let sender = CountedWatchSender::new(0);
        let mut receiver = sender.subscribe(BACKLOG);
        let (period, token) = (Duration::from_millis(10), CancellationToken::new());
        let watcher = watch_backlog(&receiver, BACKLOG, period, token).unwrap();
        let half = Duration::from_millis(5);
        sleep(half).await;
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        sleep(2 * half).await;
        sender.send(3).unwrap();
        sleep(2 * half).await;
        drop(sender); // what was not seen can still be seen
        receiver.changed().await.unwrap();
        sleep(2 * half).await;
        drop(receiver);
        watcher.await.unwrap();
    });
    // The watcher records at 0, 10, 20 and 30 ms, the receiver at 25 ms.
    assert_eq!(bench.flushed().values(BACKLOG), [0, 2, 3, 3, 0]);
}
