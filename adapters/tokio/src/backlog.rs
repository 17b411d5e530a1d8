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

/// A sender of a bounded channel that records the channel's backlog before each message it sends.
///
/// The *backlog* is the number of messages that wait in the channel. It includes messages that are
/// not sent yet but for which capacity has been [reserved](Sender::reserve).
///
/// Apart from the records, this sender behaves like the [`Sender`] that it wraps: if the channel is
/// full, [`send`](Self::send) waits until the receiver has made room, and waiting senders proceed
/// in the order in which they started to wait.
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
    /// Wraps `sender`. Each message that is sent through the wrapper records the backlog as a value
    /// of `event`.
    ///
    /// The unit of `event` must be [`Unit::One`](tailwatch::Unit::One). Values of any other event
    /// enter no statistics; [`Health::invalid`](tailwatch::Health::invalid) counts them.
    pub fn new(sender: Sender<T>, event: impl Event) -> Self {
        Self { sender, event: event.id() }
    }

    /// Records the backlog, then waits until the channel has capacity and sends `message`.
    ///
    /// If the returned future is dropped while it waits, the message is not sent, but the backlog
    /// stays recorded.
    ///
    /// # Errors
    ///
    /// Returns an error that contains `message` if the receiver has been dropped or closed.
    pub async fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.record_backlog();
        self.sender.send(message).await
    }

    /// Records the backlog, then sends `message` if the channel has capacity. Does not wait.
    ///
    /// # Errors
    ///
    /// Returns an error that contains `message` if the channel is full, or if the receiver has been
    /// dropped or closed. The backlog is recorded in these cases as well.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.record_backlog();
        self.sender.try_send(message)
    }

    /// Returns the number of messages that wait in the channel now, including reserved capacity.
    /// Records nothing.
    pub fn backlog(&self) -> usize {
        backlog(&self.sender)
    }

    /// Returns the wrapped sender. A message that is sent through it directly records nothing.
    pub const fn inner(&self) -> &Sender<T> {
        &self.sender
    }

    /// Returns the wrapped sender. Consumes the wrapper.
    pub fn into_inner(self) -> Sender<T> {
        self.sender
    }

    fn record_backlog(&self) {
        record_value(self.event, self.backlog() as u64);
    }
}

impl<T> Clone for MeasuredSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), event: self.event }
    }
}

/// Returns how much of the channel's capacity is occupied by messages or reserved for them.
fn backlog<T>(sender: &Sender<T>) -> usize {
    sender.max_capacity() - sender.capacity()
}

/// Starts a task that records the backlog of a bounded channel once per `period`, until the channel
/// is closed or `token` is cancelled.
///
/// `sender` is any sender of the channel. The task records the backlog, the number of messages that
/// wait in the channel, as a value of `event`, whose unit must be
/// [`Unit::One`](tailwatch::Unit::One). The first value is recorded at once. The task does not keep
/// the channel open, because it holds only a weak sender.
///
/// Use this function instead of a [`MeasuredSender`] if a channel carries too many messages to
/// record the backlog before each of them, or if other code owns the senders.
///
/// If the runtime delays the task for several periods, the task records the backlog once and not
/// once per missed period ([`MissedTickBehavior::Skip`]), because all these values would be equal.
///
/// # Errors
///
/// Returns an error if the function is called outside of a tokio runtime, if the runtime was built
/// without timers, or if `period` is zero.
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
