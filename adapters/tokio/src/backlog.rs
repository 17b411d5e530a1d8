//! Measures the backlog of a bounded channel: the number of messages that wait in it.

use core::time::Duration;

use tailwatch::{Event, EventId, record_value};
use tokio::{
    sync::mpsc::{Sender, error::SendError, error::TrySendError},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{SpawnError, runtime_handle};

/// A sender of a bounded channel that records the backlog before each message it sends.
///
/// Apart from the record, it behaves like [`Sender`]: a full channel makes it wait, in the order of
/// arrival. The backlog includes messages for which a place is reserved, until they are received.
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
    /// Wraps `sender` so that it records the backlog as values of `event`.
    ///
    /// The unit of `event` must be [`Unit::One`](tailwatch::Unit::One).
    pub fn new(sender: Sender<T>, event: impl Event) -> Self {
        Self { sender, event: event.id() }
    }

    /// Records the backlog, then waits for a free place and sends `message`.
    ///
    /// # Errors
    ///
    /// Returns an error with the message if the receiver has been dropped or closed.
    pub async fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.record();
        self.sender.send(message).await
    }

    /// Records the backlog, then sends `message` if there is a free place.
    ///
    /// # Errors
    ///
    /// Returns an error with the message if the channel is full, or if the receiver has been
    /// dropped or closed.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.record();
        self.sender.try_send(message)
    }

    /// Returns the number of messages that wait in the channel.
    pub fn backlog(&self) -> usize {
        backlog(&self.sender)
    }

    /// Returns the wrapped sender. Messages sent through it are not recorded.
    pub const fn inner(&self) -> &Sender<T> {
        &self.sender
    }

    /// Returns the wrapped sender and drops the wrapper.
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

/// Starts a task that records the backlog of a bounded channel once per `period`, until the channel
/// is closed or `token` is cancelled.
///
/// Use it instead of a [`MeasuredSender`] for a channel with too many messages to record each, or
/// for one whose senders belong to other code. The task does not keep the channel open, because it
/// holds only a weak sender.
///
/// A sample that is overdue is skipped ([`MissedTickBehavior::Skip`]), because several samples in a
/// row would record the same backlog.
///
/// # Errors
///
/// Returns an error outside of a runtime, on a runtime without timers, or if `period` is zero.
pub fn watch_backlog<T: Send + 'static>(
    sender: &Sender<T>,
    event: impl Event,
    period: Duration,
    token: CancellationToken,
) -> Result<JoinHandle<()>, SpawnError> {
    let handle = runtime_handle::current()?;
    if period.is_zero() {
        return Err(SpawnError::ZeroPeriod);
    }
    let (sender, event) = (sender.downgrade(), event.id());
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    Ok(handle.spawn(async move {
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            match sender.upgrade().filter(|sender| !sender.is_closed()) {
                Some(sender) => record_value(event, backlog(&sender) as u64),
                None => return,
            }
        }
    }))
}
