//! An unbounded channel whose ends count the messages that wait in it.
//!
//! Tokio's unbounded channel shows its length only to the receiver. The sender and other tasks have
//! to know it as well: a receiver that hangs cannot record how much waits for it.

use core::{
    pin::Pin,
    sync::atomic::{AtomicIsize, Ordering::Relaxed},
    task::{Context, Poll},
};
use std::sync::Arc;

use futures_core::Stream;
use tokio::sync::mpsc::{
    UnboundedReceiver, UnboundedSender, WeakUnboundedSender,
    error::{SendError, TryRecvError},
    unbounded_channel,
};

use super::Backlog;

/// The number of messages that wait. It is below 0 once the receiver has been dropped.
///
/// A sender adds a message before it sends it, and the receiver subtracts it after it has received
/// it. Passing the message orders the two, so the number is never too small.
#[derive(Debug, Default)]
struct Waiting(AtomicIsize);

impl Waiting {
    /// Far more than the number of messages that fit into memory.
    const RECEIVER_DROPPED: isize = isize::MAX / 2;

    fn get(&self) -> usize {
        self.0.load(Relaxed).max(0).cast_unsigned()
    }
}

/// Creates an unbounded `mpsc` channel that counts the messages that wait in it.
///
/// The channel is that of [`tokio::sync::mpsc::unbounded_channel`]. In addition, its ends count
/// each message by one atomic operation, which is wait-free. They record nothing: wrap the sender
/// in a [`MeasuredSender`](crate::MeasuredSender) to record the number before each message, or pass
/// it to [`watch_backlog`](crate::watch_backlog) to record it at regular intervals.
///
/// ```
/// use tailwatch::Trading;
/// use tailwatch_tokio::{MeasuredSender, counted_unbounded_channel};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (sender, mut receiver) = counted_unbounded_channel();
/// let sender = MeasuredSender::new(sender, Trading::QueueBacklog);
/// sender.send("buy").unwrap(); // records 0
/// sender.send("sell").unwrap(); // records 1
/// assert_eq!(receiver.recv().await, Some("buy"));
/// assert_eq!(sender.backlog(), 1);
/// # }
/// ```
pub fn counted_unbounded_channel<T>() -> (CountedSender<T>, CountedReceiver<T>) {
    let (sender, receiver) = unbounded_channel();
    let waiting = Arc::new(Waiting::default());
    let sender = CountedSender { sender, waiting: Arc::clone(&waiting) };
    (sender, CountedReceiver { receiver, waiting })
}

/// A sender of an unbounded channel that counts the messages that wait in it; created by
/// [`counted_unbounded_channel`].
#[derive(Debug)]
pub struct CountedSender<T> {
    sender: UnboundedSender<T>,
    waiting: Arc<Waiting>,
}

impl<T> CountedSender<T> {
    /// Sends `message`. Does not wait.
    ///
    /// # Errors
    ///
    /// Returns an error that contains `message` if the receiver has been dropped or closed.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        // The receiver may have the message before `send` returns, so it is counted before.
        self.waiting.0.fetch_add(1, Relaxed);
        self.sender.send(message).inspect_err(|_| {
            self.waiting.0.fetch_sub(1, Relaxed);
        })
    }

    /// Returns whether the receiver has been dropped or closed.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until the receiver has been dropped or closed.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl<T> Clone for CountedSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waiting: Arc::clone(&self.waiting) }
    }
}

/// Reading the backlog is wait-free. A message that is being sent at that moment may already count.
/// Once the receiver has been dropped, the backlog is 0.
impl<T> Backlog for CountedSender<T> {
    type Weak = WeakCountedSender<T>;

    fn backlog(&self) -> usize {
        self.waiting.get()
    }

    fn downgrade(&self) -> Self::Weak {
        let (sender, waiting) = (self.sender.downgrade(), Arc::clone(&self.waiting));
        WeakCountedSender { sender, waiting }
    }

    /// Returns the backlog as it is now, or `None` if the receiver has been dropped or closed, or
    /// all senders have been dropped.
    fn backlog_of(weak: &Self::Weak) -> Option<usize> {
        weak.sender.upgrade().filter(|sender| !sender.is_closed()).map(|_| weak.waiting.get())
    }
}

/// A handle to a [`CountedSender`] that does not keep the channel open.
#[derive(Debug)]
pub struct WeakCountedSender<T> {
    sender: WeakUnboundedSender<T>,
    waiting: Arc<Waiting>,
}

/// The receiver of an unbounded channel that counts the messages that wait in it; created by
/// [`counted_unbounded_channel`].
///
/// The receiver is also a stream, which ends when [`recv`](Self::recv) returns `None`.
#[derive(Debug)]
pub struct CountedReceiver<T> {
    receiver: UnboundedReceiver<T>,
    waiting: Arc<Waiting>,
}

impl<T> CountedReceiver<T> {
    /// Waits for the next message. Returns `None` once the channel is closed and empty.
    ///
    /// This method is cancel safe: if the future is dropped before it completes, no message is lost
    /// and none is counted twice.
    pub async fn recv(&mut self) -> Option<T> {
        let message = self.receiver.recv().await;
        self.subtract(usize::from(message.is_some()));
        message
    }

    /// Waits until a message is there, and appends up to `limit` messages to `buffer`. Returns
    /// their number: 0 if `limit` is 0, or once the channel is closed and empty.
    ///
    /// This method is cancel safe like [`recv`](Self::recv).
    pub async fn recv_many(&mut self, buffer: &mut Vec<T>, limit: usize) -> usize {
        let received = self.receiver.recv_many(buffer, limit).await;
        self.subtract(received);
        received
    }

    /// Returns the next message if there is one. Does not wait for one to be sent.
    ///
    /// # Errors
    ///
    /// Returns an error if the channel is empty, or closed and empty.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let message = self.receiver.try_recv();
        self.subtract(usize::from(message.is_ok()));
        message
    }

    /// Blocks the thread until there is a message. Returns `None` once the channel is closed and
    /// empty.
    ///
    /// # Panics
    ///
    /// Panics if it is called in an asynchronous context, such as a task.
    pub fn blocking_recv(&mut self) -> Option<T> {
        let message = self.receiver.blocking_recv();
        self.subtract(usize::from(message.is_some()));
        message
    }

    /// Closes the channel without dropping the receiver. Senders get an error from then on.
    /// Messages that were sent before can still be received.
    pub fn close(&mut self) {
        self.receiver.close();
    }

    /// Returns the number of messages that wait. Records nothing.
    pub fn backlog(&self) -> usize {
        self.receiver.len()
    }

    fn subtract(&self, received: usize) {
        if received > 0 {
            self.waiting.0.fetch_sub(received.cast_signed(), Relaxed);
        }
    }
}

impl<T> Stream for CountedReceiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let next = self.receiver.poll_recv(context);
        self.subtract(usize::from(matches!(next, Poll::Ready(Some(_)))));
        next
    }
}

impl<T> Drop for CountedReceiver<T> {
    fn drop(&mut self) {
        // The messages that still wait are dropped with the channel. Senders that count a message
        // at this moment take it back, so the number itself cannot be set.
        self.waiting.0.fetch_sub(Waiting::RECEIVER_DROPPED, Relaxed);
    }
}
