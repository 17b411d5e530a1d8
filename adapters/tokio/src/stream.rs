//! A measured stream: each gap between two of its items is a span.

use core::{
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tailwatch::{CancelOnDrop, Event, EventId, measure_cancel_on_drop};

use crate::classify::{AlwaysOk, ByResult, Classify};

/// Measures how long a stream takes from item to item.
///
/// A span begins at the first poll, and then wherever an item was ready; it ends where the next one is. So what the reader does
/// in between is part of it: it is the pace at which items are taken. The last gap, which the stream's end or no item at all
/// ends, is discarded. A stream that is dropped before its end leaves a cancelled span, that of the item which nobody waits for any
/// more. How long it has been silent is seen as the age of the span in flight.
///
/// ```
/// use tailwatch::Trading;
/// use tailwatch_tokio::MeasureStreamExt;
/// use tokio_stream::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut fills = tokio_stream::iter(1..=3).measured_items(Trading::OrderFill);
/// while let Some(_fill) = fills.next().await {}
/// # }
/// ```
pub trait MeasureStreamExt: Stream + Sized {
    /// A span of `event` for each gap, which ends as [`Outcome::Ok`](tailwatch::Outcome::Ok) whatever the item.
    fn measured_items(self, event: impl Event) -> MeasuredItems<Self> {
        MeasuredItems::new(self, event.id())
    }

    /// A span of `event` for each gap, which an `Err` ends as [`Outcome::Error`](tailwatch::Outcome::Error).
    fn try_measured_items<T, E>(self, event: impl Event) -> MeasuredItems<Self, ByResult>
    where
        Self: Stream<Item = Result<T, E>>,
    {
        MeasuredItems::new(self, event.id())
    }
}

impl<S: Stream> MeasureStreamExt for S {}

pin_project! {
    /// A stream whose gaps are spans; made by [`MeasureStreamExt`].
    ///
    /// One that goes on after its end is measured again from its next item on.
    #[derive(Debug)]
    #[must_use = "streams do nothing unless they are polled"]
    pub struct MeasuredItems<S, J = AlwaysOk> {
        // The order matters: what the stream does in its drop belongs to the span, and spans inside end first.
        #[pin]
        stream: S,
        event: EventId,
        gap: Gap,
        judge: PhantomData<fn() -> J>,
    }
}

/// How far the stream is.
#[derive(Debug)]
enum Gap {
    Before,
    Running(CancelOnDrop),
    Over,
}

impl<S, J> MeasuredItems<S, J> {
    fn new(stream: S, event: EventId) -> Self {
        Self { stream, event, gap: Gap::Before, judge: PhantomData }
    }
}

impl<S: Stream, J: Classify<S::Item>> Stream for MeasuredItems<S, J> {
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if matches!(this.gap, Gap::Before) {
            *this.gap = Gap::Running(measure_cancel_on_drop(*this.event));
        }
        let item = ready!(this.stream.poll_next(context));
        match (&item, mem::replace(this.gap, Gap::Over)) {
            (Some(item), Gap::Running(gap)) => gap.end(J::outcome(item)),
            (None, Gap::Running(gap)) => gap.discard(),
            (_, Gap::Before | Gap::Over) => {}
        }
        if item.is_some() {
            *this.gap = Gap::Running(measure_cancel_on_drop(*this.event));
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}
