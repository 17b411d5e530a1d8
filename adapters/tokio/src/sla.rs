//! Broadcasts the limits that are raised or cleared to any number of tasks.

use core::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tailwatch::{SlaChange, SlaChanges};
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError::Lagged};

/// The number of updates that are kept for the slowest receiver. The oldest are dropped first.
const CAPACITY: usize = 256;

/// An update about limits: a change, or the number of changes that were missed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlaUpdate {
    /// A limit was raised or cleared.
    Change(SlaChange),
    /// This many updates were dropped at this point, because this receiver was too slow, or because
    /// there were more than 256 changes between two turns of the drain. The next report contains
    /// the current state of every limit.
    Missed(u64),
}

/// A stream of the limits that are raised or cleared; created by
/// [`DrainTask::sla_updates`](crate::DrainTask::sla_updates).
///
/// It ends when the drain ends. Up to 256 updates are kept for a slow receiver; if more are
/// dropped, the stream yields [`SlaUpdate::Missed`].
#[derive(Debug)]
pub struct SlaUpdates(BroadcastStream<SlaUpdate>);

impl SlaUpdates {
    /// Subscribes to the channel of `receiver`, from now on.
    pub(crate) fn subscribe(receiver: &Receiver<SlaUpdate>) -> Self {
        Self(BroadcastStream::new(receiver.resubscribe()))
    }

    /// Waits for the next update; returns `None` once the drain has ended.
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

/// Creates the channel into which the drain sends updates.
pub(crate) fn channel() -> Sender<SlaUpdate> {
    Sender::new(CAPACITY)
}

/// Sends the changes that the collector has found since the last call.
pub(crate) fn send_changes(sender: &Sender<SlaUpdate>, found: SlaChanges) {
    let missed = (found.missed > 0).then_some(SlaUpdate::Missed(found.missed));
    for update in missed.into_iter().chain(found.changes.into_iter().map(SlaUpdate::Change)) {
        // Sending fails if there is no receiver. A later receiver finds the state in the report.
        let _ = sender.send(update);
    }
}
