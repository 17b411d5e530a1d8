//! Tests of the backlog of a broadcast channel and of its receivers, and of what they lose.

mod support;

use core::time::Duration;

use support::{on_both, on_current_thread, paused};
use tailwatch::{Builder, Trading, Unit, events};
use tailwatch_tokio::{
    CancellationToken, MeasuredBroadcastReceiver, MeasuredSender, watch_backlog,
};
use tokio::{
    sync::broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    time::{sleep, timeout},
};

events! {
    /// What the receivers record.
    enum Receiver {
        Waiting = 40 { unit: Unit::One },
        Lost = 41 { unit: Unit::One },
    }
}

const BACKLOG: Trading = Trading::QueueBacklog;

fn setup(builder: Builder) -> Builder {
    builder.events(Trading::ALL).events(Receiver::ALL)
}

#[test]
fn a_measured_sender_records_the_backlog_of_the_slowest_receiver() {
    on_both(setup, |bench| {
        bench.runtime.block_on(async {
            let (sender, mut fast) = broadcast::channel(4);
            let mut slow = sender.subscribe();
            let sender = MeasuredSender::new(sender, BACKLOG);
            for n in 0..6 {
                assert_eq!(sender.send(n).unwrap(), 2);
                assert_eq!(fast.recv().await, Ok(n));
            }
            assert_eq!(sender.backlog(), 4, "the slow receiver has lost the other two");
            assert_eq!(slow.recv().await, Err(RecvError::Lagged(2)));
            assert_eq!(slow.recv().await, Ok(2));
            assert_eq!(sender.send(6).unwrap(), 2);
            drop((fast, slow));
            assert_eq!(sender.send(7).unwrap_err().0, 7);
            assert_eq!(sender.backlog(), 0, "nobody waits for anything");
        });
        assert_eq!(bench.flushed().values(BACKLOG), [0, 1, 2, 3, 4, 4, 3, 0]);
    });
}

#[test]
fn a_measured_receiver_records_its_own_backlog_and_what_it_lost() {
    on_both(setup, |bench| {
        bench.runtime.block_on(async {
            let (sender, receiver) = broadcast::channel(4);
            let mut receiver = MeasuredBroadcastReceiver::new(receiver, Receiver::Waiting)
                .record_lost(Receiver::Lost);
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            for n in 0..7 {
                sender.send(n).unwrap();
            }
            assert_eq!(receiver.backlog(), 7);
            assert_eq!(receiver.recv().await, Err(RecvError::Lagged(3)));
            assert_eq!(receiver.recv().await, Ok(3));
            assert_eq!(receiver.try_recv(), Ok(4));
            for n in 7..12 {
                sender.send(n).unwrap();
            }
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Lagged(3)));
            drop(sender);
            for n in 8..12 {
                assert_eq!(receiver.recv().await, Ok(n));
            }
            assert_eq!(receiver.recv().await, Err(RecvError::Closed));
        });
        assert_eq!(bench.flushed().values(Receiver::Waiting), [3, 2, 3, 2, 1, 0]);
        assert_eq!(bench.log.values(Receiver::Lost), [3, 3]);
        assert_eq!(bench.collector.health().invalid, 0);
    });
}

#[test]
fn lost_messages_are_recorded_only_if_that_is_asked_for() {
    let bench = on_current_thread(setup);
    bench.runtime.block_on(async {
        let (sender, receiver) = broadcast::channel(1);
        let mut receiver = MeasuredBroadcastReceiver::new(receiver, Receiver::Waiting);
        sender.send(0).unwrap();
        sender.send(1).unwrap();
        assert_eq!(receiver.recv().await, Err(RecvError::Lagged(1)));
        assert_eq!(receiver.recv().await, Ok(1));
        assert_eq!(receiver.into_inner().len(), 0);
    });
    assert_eq!(bench.flushed().values(Receiver::Waiting), [0]);
    assert_eq!(bench.flushed().count(), 1);
}

#[test]
fn a_receiver_that_stops_waiting_records_nothing() {
    let bench = paused(setup);
    bench.runtime.block_on(async {
        let (sender, receiver) = broadcast::channel(4);
        let mut receiver = MeasuredBroadcastReceiver::new(receiver, Receiver::Waiting);
        assert!(timeout(Duration::from_secs(1), receiver.recv()).await.is_err());
        sender.send(1).unwrap();
        assert_eq!(receiver.recv().await, Ok(1));
    });
    assert_eq!(bench.flushed().values(Receiver::Waiting), [0]);
}

#[test]
fn a_watcher_goes_on_without_receivers_and_ends_once_all_senders_are_gone() {
    let bench = paused(setup);
    bench.runtime.block_on(async {
        let (sender, receiver) = broadcast::channel(4);
        let (period, token) = (Duration::from_millis(10), CancellationToken::new());
        let watcher = watch_backlog(&sender, BACKLOG, period, token).unwrap();
        let half = Duration::from_millis(5);
        // The watcher records at 0, 10, 20 and 30 ms, and ends at 40 ms.
        sleep(half).await;
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        sleep(2 * half).await;
        drop(receiver);
        sleep(2 * half).await;
        let _late = sender.subscribe();
        sender.send(3).unwrap();
        sleep(2 * half).await;
        drop(sender);
        watcher.await.unwrap();
    });
    assert_eq!(bench.flushed().values(BACKLOG), [0, 2, 0, 1]);
}
