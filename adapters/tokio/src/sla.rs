//! Changes of limits, told to any number of tasks.

use core::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tailwatch::{SlaChange, SlaChanges};
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError::Lagged};

/// Changes that wait for the slowest reader; of more, the newest.
const KEPT: usize = 256;

/// What there is to say of limits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlaUpdate {
    /// One was violated, or is kept again.
    Change(SlaChange),
    /// So many changes came here that nobody can tell any more, because they were too many to be kept: for this reader, or for the
    /// drain from one turn to the next. How the limits stand, the next report says.
    Missed(u64),
}

/// Changes of limits from now on, none of which is left out silently; made by [`DrainTask::sla_updates`](crate::DrainTask::sla_updates).
///
/// A stream, which ends with the drain; 256 are kept for a slow reader.
#[derive(Debug)]
pub struct SlaUpdates(BroadcastStream<SlaUpdate>);

impl SlaUpdates {
    /// Those that come from now on, to where this one listens.
    pub(crate) fn beside(receiver: &Receiver<SlaUpdate>) -> Self {
        Self(BroadcastStream::new(receiver.resubscribe()))
    }

    /// The next one; `None` once the drain has ended. It may be dropped at any time: what was not returned comes again.
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

/// Where the drain tells them.
pub(crate) fn channel() -> Sender<SlaUpdate> {
    Sender::new(KEPT)
}

/// Tells what the collector has found since the last time.
pub(crate) fn tell(sender: &Sender<SlaUpdate>, found: SlaChanges) {
    let missed = (found.missed > 0).then_some(SlaUpdate::Missed(found.missed));
    for notice in missed.into_iter().chain(found.changes.into_iter().map(SlaUpdate::Change)) {
        // With nobody listening it is told to nobody; who comes later reads the state in the report.
        let _ = sender.send(notice);
    }
}
