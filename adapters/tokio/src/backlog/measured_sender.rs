//! A sender that records the backlog of its channel before each message.

use tailwatch::{AnyEvent, Event, record_value};
use tokio::sync::{
    broadcast,
    mpsc::{
        self,
        error::{SendError, TrySendError},
    },
};

use super::{Backlog, CountedSender};

/// A sender that records the backlog of its channel before each message it sends.
///
/// `S` is the sender of tokio that is wrapped: that of a bounded `mpsc` channel or of a `broadcast`
/// channel, or the [`CountedSender`] of an unbounded `mpsc` channel. [`Backlog`] explains what the
/// backlog of each is.
///
/// Apart from the records, this sender behaves like the sender that it wraps. For example, if a
/// bounded channel is full, [`send`](Self::send) waits until the receiver has made room, and
/// waiting senders proceed in the order in which they started to wait.
///
/// Recording adds no waiting of its own: it is wait-free, and so is reading the backlog of an
/// `mpsc` channel. Reading that of a `broadcast` channel takes locks, as sending into it does. Each
/// is held for a moment, and their number grows with the logarithm of the capacity.
///
/// ```
/// use tailwatch::Trading;
/// use tailwatch_tokio::{MeasuredSender, counted_unbounded_channel};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (sender, mut receiver) = tokio::sync::mpsc::channel(16);
/// let sender = MeasuredSender::new(sender, Trading::QueueBacklog);
/// sender.send("buy").await.unwrap(); // records 0
/// sender.send("sell").await.unwrap(); // records 1
/// # assert_eq!(receiver.recv().await, Some("buy"));
///
/// let (sender, mut unbounded) = counted_unbounded_channel();
/// let sender = MeasuredSender::new(sender, Trading::QueueBacklog);
/// sender.send("buy").unwrap(); // records 0
/// # assert_eq!(unbounded.recv().await, Some("buy"));
///
/// let (sender, mut broadcast) = tokio::sync::broadcast::channel(16);
/// let sender = MeasuredSender::new(sender, Trading::QueueBacklog);
/// sender.send("buy").unwrap(); // records 0
/// # assert_eq!(broadcast.recv().await, Ok("buy"));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MeasuredSender<S> {
    sender: S,
    event: AnyEvent,
}

impl<S> MeasuredSender<S> {
    /// Returns the wrapped sender. A message that is sent through it directly records nothing.
    pub const fn inner(&self) -> &S {
        &self.sender
    }

    /// Returns the wrapped sender. Consumes the wrapper.
    pub fn into_inner(self) -> S {
        self.sender
    }
}

impl<S: Backlog> MeasuredSender<S> {
    /// Wraps `sender`. Each message that is sent through the wrapper records the backlog as a value
    /// of `event`.
    ///
    /// The unit of `event` must be [`Unit::One`](tailwatch::Unit::One). Values of any other event
    /// enter no statistics; [`Health::invalid`](tailwatch::Health::invalid) counts them.
    pub fn new(sender: S, event: impl Event) -> Self {
        Self { sender, event: event.any() }
    }

    /// Returns the [backlog](Backlog) as it is now. Records nothing.
    pub fn backlog(&self) -> usize {
        self.sender.backlog()
    }

    fn record_backlog(&self) {
        record_value(self.event, self.backlog() as u64);
    }
}

impl<T> MeasuredSender<mpsc::Sender<T>> {
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
}

impl<T> MeasuredSender<CountedSender<T>> {
    /// Records the backlog, then sends `message`. Does not wait.
    ///
    /// # Errors
    ///
    /// Returns an error that contains `message` if the receiver has been dropped or closed. The
    /// backlog is recorded in this case as well.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.record_backlog();
        self.sender.send(message)
    }
}

impl<T> MeasuredSender<broadcast::Sender<T>> {
    /// Records the backlog of the slowest receiver, then sends `message` to all receivers. Returns
    /// the number of receivers.
    ///
    /// The channel is never full: if a receiver is behind by the whole capacity, the message takes
    /// the place of the oldest one, which that receiver then loses. A [`MeasuredBroadcastReceiver`]
    /// records how many it lost.
    ///
    /// [`MeasuredBroadcastReceiver`]: crate::MeasuredBroadcastReceiver
    ///
    /// # Errors
    ///
    /// Returns an error that contains `message` if there is no receiver. The backlog is recorded in
    /// this case as well.
    pub fn send(&self, message: T) -> Result<usize, broadcast::error::SendError<T>> {
        self.record_backlog();
        self.sender.send(message)
    }
}
