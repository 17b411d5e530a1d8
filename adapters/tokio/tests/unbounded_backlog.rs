//! Tests of the backlog of an unbounded channel, which its ends count.

mod support;

use core::{pin::Pin, time::Duration};

use support::{on_both, on_current_thread, on_workers, paused};
use tailwatch::Trading;
use tailwatch_tokio::{
    Backlog, CancellationToken, MeasuredSender, counted_unbounded_channel, watch_backlog,
};
use tokio::{
    sync::mpsc::error::TryRecvError,
    time::{sleep, timeout},
};
use tokio_stream::StreamExt;

const BACKLOG: Trading = Trading::QueueBacklog;

#[test]
fn a_measured_sender_records_the_backlog_before_each_message() {
    on_both(
        |builder| builder,
        |bench| {
            bench.runtime.block_on(async {
                let (sender, mut receiver) = counted_unbounded_channel();
                let sender = MeasuredSender::new(sender, BACKLOG);
                sender.send('a').unwrap();
                sender.clone().send('b').unwrap();
                sender.inner().send('c').unwrap(); // counts and records nothing
                assert_eq!(receiver.recv().await, Some('a'));
                sender.send('d').unwrap();
                assert_eq!((sender.backlog(), receiver.backlog()), (3, 3));
                receiver.close();
                assert_eq!(sender.send('e').unwrap_err().0, 'e');
                assert_eq!(sender.backlog(), 3, "a refused message does not wait");
                drop(sender.into_inner());
                for left in ['b', 'c', 'd'] {
                    assert_eq!(receiver.recv().await, Some(left));
                }
                assert_eq!(receiver.recv().await, None);
            });
            assert_eq!(bench.flushed().values(BACKLOG), [0, 1, 2, 3]);
        },
    );
}

#[test]
fn every_way_to_receive_counts_each_message_once() {
    let bench = on_current_thread(|builder| builder);
    let (sender, mut receiver) = counted_unbounded_channel();
    let send = |count| (0..count).for_each(|n| sender.send(n).unwrap());
    send(10);
    assert_eq!(receiver.blocking_recv(), Some(0));
    assert_eq!(sender.backlog(), 9);
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(sender.backlog(), 8);
    bench.runtime.block_on(async {
        let mut buffer = Vec::new();
        assert_eq!(receiver.recv_many(&mut buffer, 3).await, 3);
        assert_eq!((buffer, sender.backlog()), (vec![2, 3, 4], 5));
        assert_eq!(receiver.recv_many(&mut Vec::new(), 0).await, 0);
        assert_eq!(Pin::new(&mut receiver).next().await, Some(5));
        assert_eq!(receiver.recv().await, Some(6));
    });
    assert_eq!(sender.backlog(), 3);
    while receiver.try_recv().is_ok() {}
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(sender.backlog(), 0);

    send(2);
    receiver.close();
    assert!(sender.is_closed());
    assert_eq!((receiver.try_recv(), sender.backlog()), (Ok(0), 1));
    drop(receiver);
    assert_eq!(sender.backlog(), 0, "what waited was dropped with the receiver");
    assert!(sender.send(7).is_err());
    assert_eq!(sender.backlog(), 0);
}

#[test]
fn a_receiver_that_stops_waiting_counts_nothing() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let (sender, mut receiver) = counted_unbounded_channel();
        assert!(timeout(Duration::from_secs(1), receiver.recv()).await.is_err());
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        sender.send(1).unwrap();
        assert_eq!(sender.backlog(), 1);
        assert_eq!(receiver.recv().await, Some(1));
        assert_eq!(sender.backlog(), 0);
    });
}

#[test]
fn no_message_is_lost_from_the_count_if_many_tasks_send() {
    const TASKS: usize = 8;
    const MESSAGES: usize = 500;
    let bench = on_workers(|builder| builder);
    bench.runtime.block_on(async {
        let (sender, mut receiver) = counted_unbounded_channel();
        let measured = MeasuredSender::new(sender.clone(), BACKLOG);
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let measured = measured.clone();
                tokio::spawn(async move {
                    for n in 0..MESSAGES {
                        measured.send(n).unwrap();
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for _ in 1..TASKS * MESSAGES {
            receiver.recv().await.unwrap();
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(sender.backlog(), 1);
        assert!(receiver.try_recv().is_ok());
        assert_eq!(sender.backlog(), 0);
    });
    let values = bench.flushed().values(BACKLOG);
    assert_eq!(values.len(), TASKS * MESSAGES);
    assert!(values.iter().all(|waiting| *waiting < (TASKS * MESSAGES) as u64), "{values:?}");
}

#[test]
fn a_watcher_shows_the_backlog_of_a_receiver_that_hangs_until_the_receiver_is_gone() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let (sender, receiver) = counted_unbounded_channel();
        let (period, token) = (Duration::from_millis(10), CancellationToken::new());
        let watcher = watch_backlog(&sender, BACKLOG, period, token).unwrap();
        let half = Duration::from_millis(5);
        sleep(half).await;
        for n in 0..3 {
            sender.send(n).unwrap();
            sleep(2 * half).await;
        }
        drop(receiver);
        watcher.await.unwrap();
    });
    assert_eq!(bench.flushed().values(BACKLOG), [0, 1, 2, 3]);
}

#[test]
fn a_watcher_does_not_keep_the_channel_open() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let (sender, mut receiver) = counted_unbounded_channel::<()>();
        let (period, token) = (Duration::from_millis(10), CancellationToken::new());
        let watcher = watch_backlog(&sender, BACKLOG, period, token).unwrap();
        drop(sender);
        assert_eq!(receiver.recv().await, None);
        watcher.await.unwrap();
    });
    assert!(bench.flushed().values(BACKLOG).is_empty());
}
