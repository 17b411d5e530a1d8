//! Broadcasts changes of violations to any number of tasks.
//!
//! A *limit* is a bound that an event must keep, such as a p99 below 5 ms over one minute. A
//! *violation* of a limit is raised when the limit becomes violated, or later if the limit has a
//! `raise_after`. On a quantile, it is cleared once the quantile has been within the limit for one
//! slice of the limit's window (a window is cut into equal parts, its slices), or for its
//! `clear_after`. On silence, the next record of the event clears it. The record of
//! a discarded span usually does not, because it counts at the time at which the span began.

use core::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tailwatch::{SlaChange, SlaChanges};
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError::Lagged};

/// The number of updates that the broadcast channel keeps for receivers that have not read them
/// yet. When the channel is full, each new update replaces the oldest one.
const CAPACITY: usize = 256;

/// An item of [`SlaUpdates`]: a violation of a limit was raised or cleared, or some such changes
/// were missed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "updates are rare, and a box would cost each of them an allocation"
)]
pub enum SlaUpdate {
    /// A violation of a limit was raised (the limit became violated) or cleared (the quantile has
    /// been within the limit for one slice of its window, or a silence has ended). A limit may have
    /// other delays.
    Change(SlaChange),
    /// At least this many updates are missing at this point of the stream. Either this receiver was
    /// more than 256 updates behind, or more than 256 violations were raised or cleared between two
    /// turns of the drain task. The next report contains the current state of every limit.
    Missed(u64),
}

/// A stream of the violations that are raised or cleared; created by
/// [`DrainTask::sla_updates`](crate::DrainTask::sla_updates).
///
/// The stream ends when the drain task ends. For a receiver that reads slowly, the stream keeps the
/// newest 256 updates and drops older ones. It then yields [`SlaUpdate::Missed`] in place of the
/// dropped updates.
#[derive(Debug)]
pub struct SlaUpdates(BroadcastStream<SlaUpdate>);

impl SlaUpdates {
    /// Creates a stream of the updates that are sent from now on into the channel of `receiver`.
    /// Updates that `receiver` has not read yet are not included.
    pub(crate) fn subscribe(receiver: &Receiver<SlaUpdate>) -> Self {
        Self(BroadcastStream::new(receiver.resubscribe()))
    }

    /// Waits for the next update. Returns `None` once the drain task has ended and all updates have
    /// been returned.
    ///
    /// This method is cancel safe: if the future is dropped before it completes, no update is lost.
    pub async fn next(&mut self) -> Option<SlaUpdate> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for SlaUpdates {
    type Item = SlaUpdate;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<SlaUpdate>> {
        let next = Pin::new(&mut self.0).poll_next(context);
        next.map(|next| {
            next.map(|next| next.unwrap_or_else(|Lagged(missed)| SlaUpdate::Missed(missed)))
        })
    }
}

/// Creates the channel into which the drain task sends updates.
pub(crate) fn channel() -> Sender<SlaUpdate> {
    Sender::new(CAPACITY)
}

/// Sends `changes`, which were taken from the queue of a collector, to all receivers.
pub(crate) fn send_changes(sender: &Sender<SlaUpdate>, changes: SlaChanges) {
    let SlaChanges { changes, mut missed, .. } = changes;
    // The collector drops the oldest changes first, so the missed ones come before the others.
    // Their number is an update too: if it did not fit into the channel together with the changes,
    // it would be the first to be replaced.
    let left_out = if missed > 0 { (changes.len() + 1).saturating_sub(CAPACITY) } else { 0 };
    missed += left_out as u64;
    let missed = (missed > 0).then_some(SlaUpdate::Missed(missed));
    let changes = changes.into_iter().skip(left_out).map(SlaUpdate::Change);
    for update in missed.into_iter().chain(changes) {
        // Sending fails if there is no receiver. A later receiver finds the current state of every
        // limit in the report.
        let _ = sender.send(update);
    }
}
