//! How many messages wait in a bounded channel.

use core::time::Duration;

use tailwatch::{Event, EventId, record_value};
use tokio::{
    sync::mpsc::{Sender, error::SendError, error::TrySendError},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{SpawnError, runtime_handle};

/// A bounded channel's sender that records, before each message, how many are waiting.
///
/// It adds a record and changes nothing: a full channel makes it wait, in turn, as it would without. Messages count from when their
/// place is reserved until they are received.
///
/// ```
/// use tailwatch::Trading;
/// use tailwatch_tokio::MeasuredSender;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (sender, mut receiver) = tokio::sync::mpsc::channel(16);
/// let sender = MeasuredSender::new(sender, Trading::QueueBacklog);
/// sender.send("buy").await.unwrap(); // records 0
/// sender.send("sell").await.unwrap(); // records 1
/// # assert_eq!(receiver.recv().await, Some("buy"));
/// # }
/// ```
#[derive(Debug)]
pub struct MeasuredSender<T> {
    sender: Sender<T>,
    event: EventId,
}

impl<T> MeasuredSender<T> {
    /// Records values of `event`, whose unit is to be [`Unit::One`](tailwatch::Unit::One).
    pub fn new(sender: Sender<T>, event: impl Event) -> Self {
        Self { sender, event: event.id() }
    }

    /// Records how many are waiting, then waits for a place and sends.
    ///
    /// # Errors
    /// If the receiver is gone; it hands the message back.
    pub async fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.record();
        self.sender.send(message).await
    }

    /// Records how many are waiting, then sends if there is a place.
    ///
    /// # Errors
    /// If there is none, or the receiver is gone; it hands the message back.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.record();
        self.sender.try_send(message)
    }

    /// How many are waiting.
    pub fn backlog(&self) -> usize {
        backlog(&self.sender)
    }

    /// The sender, to whose messages nothing is recorded.
    pub const fn inner(&self) -> &Sender<T> {
        &self.sender
    }

    /// The sender alone.
    pub fn into_inner(self) -> Sender<T> {
        self.sender
    }

    fn record(&self) {
        record_value(self.event, self.backlog() as u64);
    }
}

impl<T> Clone for MeasuredSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), event: self.event }
    }
}

fn backlog<T>(sender: &Sender<T>) -> usize {
    sender.max_capacity() - sender.capacity()
}

/// Records once a `period` how many messages wait in a bounded channel, until it is closed or `token` is cancelled: for channels that
/// carry too many messages, or whose senders are not ours, to record one each. It keeps no sender, so that the channel closes as it
/// would without.
///
/// A look that is late is left out ([`MissedTickBehavior::Skip`]): several at once would say the same thing several times.
///
/// # Errors
/// Outside of a runtime, on one without timers, or if the period is 0.
pub fn watch_backlog<T: Send + 'static>(
    sender: &Sender<T>,
    event: impl Event,
    period: Duration,
    token: CancellationToken,
) -> Result<JoinHandle<()>, SpawnError> {
    let handle = runtime_handle::current()?;
    if period.is_zero() {
        return Err(SpawnError::NoPeriod);
    }
    let (sender, event) = (sender.downgrade(), event.id());
    let mut looks = interval(period);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    Ok(handle.spawn(async move {
        while token.run_until_cancelled(looks.tick()).await.is_some() {
            match sender.upgrade().filter(|sender| !sender.is_closed()) {
                Some(sender) => record_value(event, backlog(&sender) as u64),
                None => return,
            }
        }
    }))
}
