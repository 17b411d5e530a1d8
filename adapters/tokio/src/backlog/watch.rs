//! The backlog of a receiver of a watch channel: the changes that it has not seen.
//!
//! A watch channel keeps only its newest value, so nothing waits in it. `has_changed` of tokio
//! shows whether there is a change, but a receiver that waits for one always finds one. The useful
//! measure is the number of changes: 1 if the receiver keeps up, more if it missed values.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use tailwatch::{AnyEvent, Event, record_value};
use tokio::sync::watch::{
    Receiver, Ref, Sender,
    error::{RecvError, SendError},
};

use super::Backlog;

/// A sender of a watch channel that counts the changes, so that its receivers can record how many
/// they have not seen.
///
/// Sending takes the lock of the channel, as tokio's [`Sender`] does, and counts under this lock.
#[derive(Debug)]
pub struct CountedWatchSender<T> {
    sender: Sender<T>,
    /// Changes only while the lock of the channel is held for writing. The receivers read it while
    /// they hold the lock for reading, so the number matches the value. It wraps around.
    changes: Arc<AtomicUsize>,
}

impl<T> CountedWatchSender<T> {
    /// Creates a watch channel that contains `initial`. [`subscribe`](Self::subscribe) creates its
    /// receivers.
    pub fn new(initial: T) -> Self {
        Self { sender: Sender::new(initial), changes: Arc::default() }
    }

    /// Replaces the value and wakes the receivers.
    ///
    /// # Errors
    ///
    /// Returns an error that contains `value` if there is no receiver. The value in the channel
    /// then stays as it was, and nothing is counted.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.sender.receiver_count() == 0 {
            return Err(SendError(value));
        }
        self.send_replace(value);
        Ok(())
    }

    /// Replaces the value, wakes the receivers and returns the old value, also if there is no
    /// receiver.
    pub fn send_replace(&self, mut value: T) -> T {
        self.send_modify(|current| core::mem::swap(current, &mut value));
        value
    }

    /// Changes the value by `modify` and wakes the receivers, also if there is no receiver.
    ///
    /// `modify` runs under the lock of the channel. If it panics, the panic is passed on, and
    /// nothing is counted.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Lets `modify` change the value. If `modify` returns `true`, the receivers are woken. Returns
    /// what `modify` returned.
    ///
    /// `modify` runs under the lock of the channel. If it panics, the panic is passed on, and
    /// nothing is counted.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        self.sender.send_if_modified(|value| {
            let modified = modify(value);
            if modified {
                self.changes.fetch_add(1, Relaxed);
            }
            modified
        })
    }

    /// Creates a receiver that has seen the current value. Whenever it sees changes, it records
    /// their number as a value of `event`.
    ///
    /// The unit of `event` must be [`Unit::One`](tailwatch::Unit::One). Values of any other event
    /// enter no statistics; [`Health::invalid`](tailwatch::Health::invalid) counts them.
    pub fn subscribe(&self, event: impl Event) -> MeasuredWatchReceiver<T> {
        let mut receiver = self.sender.subscribe();
        let current = receiver.borrow_and_update();
        let seen = self.changes.load(Relaxed);
        drop(current);
        let (changes, seen) = (Arc::clone(&self.changes), Arc::new(AtomicUsize::new(seen)));
        MeasuredWatchReceiver { receiver, changes: Changes { changes, seen }, event: event.any() }
    }

    /// Returns a view of the current value. The channel cannot change while the view exists.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.sender.borrow()
    }

    /// Returns the number of receivers.
    pub fn receiver_count(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Waits until there is no receiver.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl<T> Clone for CountedWatchSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), changes: Arc::clone(&self.changes) }
    }
}

/// A receiver of a watch channel that records how many changes it had not seen, whenever it sees
/// them; created by [`CountedWatchSender::subscribe`].
///
/// A recorded 1 means that the receiver has seen the change before the next one. A larger value n
/// means that n − 1 values were replaced before the receiver saw them. Each change counts in one
/// value, so the sum of the values is the number of all changes up to the last one seen. To measure
/// how old a value is when it is seen, put the time of sending into the value.
///
/// A receiver that hangs records nothing. Pass it to [`watch_backlog`](crate::watch_backlog) to
/// record the changes that wait for it at regular intervals.
///
/// Recording and reading the backlog are wait-free. Seeing a value takes the lock of the channel
/// for reading, as tokio's [`Receiver`] does.
///
/// ```
/// use tailwatch::Trading;
/// use tailwatch_tokio::CountedWatchSender;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let sender = CountedWatchSender::new(100);
/// let mut price = sender.subscribe(Trading::QueueBacklog);
/// sender.send(101).unwrap();
/// sender.send(102).unwrap();
/// assert_eq!(price.backlog(), 2);
/// price.changed().await.unwrap(); // records 2
/// assert_eq!(*price.borrow(), 102);
/// # }
/// ```
#[derive(Debug)]
pub struct MeasuredWatchReceiver<T> {
    receiver: Receiver<T>,
    changes: Changes<Arc<AtomicUsize>>,
    event: AnyEvent,
}

impl<T> MeasuredWatchReceiver<T> {
    /// Waits for a change, marks the newest value as seen, and records how many changes the
    /// receiver had not seen. Returns at once if there is one.
    ///
    /// This method is cancel safe: if the future is dropped before it completes, nothing is marked
    /// and nothing is recorded.
    ///
    /// # Errors
    ///
    /// Returns an error if all senders have been dropped and the last change has been seen.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        self.receiver.changed().await?;
        // Between the change and this moment, another one may come. It is seen as well: otherwise
        // the number would not match the value.
        drop(self.borrow_and_update());
        Ok(())
    }

    /// Returns a view of the newest value and marks it as seen. Records how many changes the
    /// receiver had not seen, unless there was none.
    ///
    /// The channel cannot change while the view exists, so drop it before the next `.await`.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let newest = self.receiver.borrow_and_update();
        let changes = self.changes.changes.load(Relaxed);
        let unseen = changes.wrapping_sub(self.changes.seen.load(Relaxed));
        if unseen > 0 {
            self.changes.seen.store(changes, Relaxed);
            record_value(self.event, unseen as u64);
        }
        newest
    }

    /// Returns a view of the newest value without marking it as seen. Records nothing.
    ///
    /// The channel cannot change while the view exists, so drop it before the next `.await`.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.receiver.borrow()
    }

    /// Returns the number of changes that this receiver has not seen. Records nothing.
    pub fn backlog(&self) -> usize {
        unseen(&self.changes.changes, &self.changes.seen)
    }
}

impl<T> Backlog for MeasuredWatchReceiver<T> {
    type Weak = Changes<Weak<AtomicUsize>>;

    fn backlog(&self) -> usize {
        self.backlog()
    }

    fn downgrade(&self) -> Self::Weak {
        let (changes, seen) =
            (Arc::clone(&self.changes.changes), Arc::downgrade(&self.changes.seen));
        Changes { changes, seen }
    }

    /// Returns the number of changes that the receiver has not seen, or `None` if it has been
    /// dropped.
    fn backlog_of(weak: &Self::Weak) -> Option<usize> {
        weak.seen.upgrade().map(|seen| unseen(&weak.changes, &seen))
    }
}

/// The number of all changes, and a pointer to the number of those that a receiver has seen.
#[derive(Debug)]
pub struct Changes<P> {
    changes: Arc<AtomicUsize>,
    seen: P,
}

fn unseen(changes: &AtomicUsize, seen: &AtomicUsize) -> usize {
    // Without the lock of the channel, `changes` may be older than `seen`.
    let seen = seen.load(Relaxed);
    changes.load(Relaxed).wrapping_sub(seen).cast_signed().max(0).cast_unsigned()
}
