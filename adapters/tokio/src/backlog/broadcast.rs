//! The backlog of a broadcast channel, and what a receiver lost because it was too slow.

use tailwatch::{AnyEvent, Event, record_value};
use tokio::sync::broadcast::{
    Receiver, Sender, WeakSender,
    error::{RecvError, TryRecvError},
};

use super::Backlog;

/// Reading the backlog takes locks, as sending does. Each is held for a moment, and their number
/// grows with the logarithm of the capacity.
impl<T> Backlog for Sender<T> {
    type Weak = WeakSender<T>;

    /// Returns the number of messages that the slowest receiver has not received and not lost.
    /// Without a receiver it is 0. Once it is the capacity, each further message is lost for that
    /// receiver. The capacity is that of the channel, rounded up to a power of two.
    fn backlog(&self) -> usize {
        self.len()
    }

    fn downgrade(&self) -> Self::Weak {
        Self::downgrade(self)
    }

    /// Returns the backlog as it is now, or `None` if all senders have been dropped. A channel
    /// without receivers is open, because new ones may subscribe.
    fn backlog_of(weak: &Self::Weak) -> Option<usize> {
        weak.upgrade().map(|sender| sender.backlog())
    }
}

/// A receiver of a broadcast channel that records its own backlog after each message, and how many
/// messages it lost.
///
/// After each message that this receiver receives, it records how many further ones wait for it.
/// The backlog of the channel, which [`MeasuredSender`](crate::MeasuredSender) records, is that of
/// the slowest receiver; this shows which receiver it is.
///
/// A receiver that is behind by more than the capacity has lost the oldest messages. Its next
/// `recv` returns their number ([`RecvError::Lagged`]). With [`record_lost`](Self::record_lost),
/// this number is recorded as well: each value is the number of messages lost at once, so the sum
/// of the values (their count times their mean) is the number of all lost messages.
///
/// Recording is wait-free. Reading the backlog takes a lock for a moment, as receiving does.
///
/// ```
/// use tailwatch::{Unit, events};
/// use tailwatch_tokio::MeasuredBroadcastReceiver;
/// use tokio::sync::broadcast::{self, error::RecvError};
///
/// events! {
///     /// What a receiver of quotes records.
///     enum Quotes {
///         /// The quotes that wait for the receiver.
///         Waiting = 40 { unit: Unit::One },
///         /// The quotes that it lost at once.
///         Lost = 41 { unit: Unit::One },
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (sender, receiver) = broadcast::channel(2);
/// let mut quotes =
///     MeasuredBroadcastReceiver::new(receiver, Quotes::Waiting).record_lost(Quotes::Lost);
/// for quote in 0..5 {
///     sender.send(quote).unwrap();
/// }
/// assert_eq!(quotes.recv().await, Err(RecvError::Lagged(3))); // records 3 lost
/// assert_eq!(quotes.recv().await, Ok(3)); // records 1 that waits
/// # }
/// ```
#[derive(Debug)]
pub struct MeasuredBroadcastReceiver<T> {
    receiver: Receiver<T>,
    waiting: AnyEvent,
    lost: Option<AnyEvent>,
}

impl<T> MeasuredBroadcastReceiver<T> {
    /// Wraps `receiver`. After each message that is received through the wrapper, it records the
    /// number of those that still wait as a value of `event`.
    ///
    /// The unit of `event` must be [`Unit::One`](tailwatch::Unit::One). Values of any other event
    /// enter no statistics; [`Health::invalid`](tailwatch::Health::invalid) counts them.
    pub fn new(receiver: Receiver<T>, event: impl Event) -> Self {
        Self { receiver, waiting: event.any(), lost: None }
    }

    /// Also records the number of messages that the receiver finds lost as a value of `event`,
    /// whose unit must be [`Unit::One`](tailwatch::Unit::One) as well.
    #[must_use]
    pub fn record_lost(self, event: impl Event) -> Self {
        Self { lost: Some(event.any()), ..self }
    }

    /// Returns the number of messages that were sent and not received. Records nothing.
    ///
    /// If it exceeds the channel's capacity, rounded up to a power of two, the messages beyond it
    /// are lost.
    pub fn backlog(&self) -> usize {
        self.receiver.len()
    }

    /// Returns the wrapped receiver, for example to subscribe another one.
    pub const fn inner(&self) -> &Receiver<T> {
        &self.receiver
    }

    /// Returns the wrapped receiver. Consumes the wrapper.
    pub fn into_inner(self) -> Receiver<T> {
        self.receiver
    }

    fn record(&self, lost: Option<u64>, received: bool) {
        if let (Some(event), Some(lost)) = (self.lost, lost) {
            record_value(event, lost);
        }
        if received {
            record_value(self.waiting, self.backlog() as u64);
        }
    }
}

impl<T: Clone> MeasuredBroadcastReceiver<T> {
    /// Waits for the next message, and records how many further ones wait.
    ///
    /// This method is cancel safe: if the future is dropped before it completes, no message is lost
    /// and nothing is recorded.
    ///
    /// # Errors
    ///
    /// Returns an error if messages were lost, or once all senders have been dropped and all
    /// messages received. Lost messages are recorded, see [`record_lost`](Self::record_lost).
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        let result = self.receiver.recv().await;
        let lost = if let Err(RecvError::Lagged(lost)) = result { Some(lost) } else { None };
        self.record(lost, result.is_ok());
        result
    }

    /// Returns the next message if there is one, and records how many further ones wait. Does not
    /// wait for one to be sent.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no message, if messages were lost, or once all senders have
    /// been dropped and all messages received. Lost messages are recorded, see
    /// [`record_lost`](Self::record_lost).
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let result = self.receiver.try_recv();
        let lost = if let Err(TryRecvError::Lagged(lost)) = result { Some(lost) } else { None };
        self.record(lost, result.is_ok());
        result
    }
}
