//! Measures a stream: each gap between two items is a span.

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

/// Extends every stream with methods that measure the time from item to item.
///
/// The first span starts at the first poll, and each further span when an item is ready. A span
/// ends when the next item is ready. It therefore includes the time that the reader takes to
/// process an item: the spans show the pace at which items are taken.
///
/// The gap before the end of the stream is discarded, because no item ends it. If the stream is
/// dropped before its end, the open span ends as cancelled. While no item arrives, the age of the
/// span in flight is the time since the last item.
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
    /// Measures each gap as a span of `event` that ends as [`Outcome::Ok`](tailwatch::Outcome::Ok),
    /// whatever the item.
    fn measured_items(self, event: impl Event) -> MeasuredItems<Self> {
        MeasuredItems::new(self, event.id())
    }

    /// Measures each gap as a span of `event` that ends as
    /// [`Outcome::Error`](tailwatch::Outcome::Error) if the item is an `Err`.
    fn try_measured_items<T, E>(self, event: impl Event) -> MeasuredItems<Self, ByResult>
    where
        Self: Stream<Item = Result<T, E>>,
    {
        MeasuredItems::new(self, event.id())
    }
}

impl<S: Stream> MeasureStreamExt for S {}

pin_project! {
    /// A stream whose gaps are measured as spans; created by [`MeasureStreamExt`].
    ///
    /// If the inner stream yields further items after its end, the gaps after the first of them are
    /// measured again.
    #[derive(Debug)]
    #[must_use = "streams do nothing unless they are polled"]
    pub struct MeasuredItems<S, C = AlwaysOk> {
        // Fields are dropped in this order, so the span includes the drop of the stream, and the
        // spans inside the stream end before it.
        #[pin]
        stream: S,
        event: EventId,
        gap: Gap,
        classify: PhantomData<fn() -> C>,
    }
}

/// The state of the current gap.
#[derive(Debug)]
enum Gap {
    NotStarted,
    Running(CancelOnDrop),
    Ended,
}

impl<S, C> MeasuredItems<S, C> {
    fn new(stream: S, event: EventId) -> Self {
        Self { stream, event, gap: Gap::NotStarted, classify: PhantomData }
    }
}

impl<S: Stream, C: Classify<S::Item>> Stream for MeasuredItems<S, C> {
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if matches!(this.gap, Gap::NotStarted) {
            *this.gap = Gap::Running(measure_cancel_on_drop(*this.event));
        }
        let item = ready!(this.stream.poll_next(context));
        match (&item, mem::replace(this.gap, Gap::Ended)) {
            (Some(item), Gap::Running(gap)) => gap.end(C::outcome(item)),
            (None, Gap::Running(gap)) => gap.discard(),
            (_, Gap::NotStarted | Gap::Ended) => {}
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
