//! Measures a stream: the gap before each item is a span.

use core::{
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tailwatch::{AnyEvent, CancelOnDrop, Event, measure_cancel_on_drop};

use crate::classify::{AlwaysOk, ByResult, Classify};

/// Extends every stream with methods that measure the time from each item to the next as a span.
///
/// The first span starts at the first poll of the stream. Each span ends when the stream returns an
/// item, and the next span starts at that moment. A span therefore includes the time for which the
/// consumer processes the previous item: the spans show the pace at which the consumer takes items,
/// not the pace at which they arrive.
///
/// The gap between the last item and the end of the stream is discarded, which means that no
/// statistics include it, because no item ends it. If the stream returns items again after its end,
/// the pause before the first of them is not measured. If the stream is dropped before its end, the
/// open span ends as [cancelled](tailwatch::Outcome::Cancelled). While no item arrives, the open
/// span grows older: its age is the time since the last item.
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
    /// Measures the gap before each item as a span of `event`. The span ends as
    /// [`Outcome::Ok`](tailwatch::Outcome::Ok), whatever the item is.
    fn measured_items(self, event: impl Event) -> MeasuredItems<Self> {
        MeasuredItems::new(self, event.any())
    }

    /// Measures the gap before each item as a span of `event`. The span ends as
    /// [`Outcome::Ok`](tailwatch::Outcome::Ok) if the item is an `Ok`, and as
    /// [`Outcome::Error`](tailwatch::Outcome::Error) if it is an `Err`.
    fn try_measured_items<T, E>(self, event: impl Event) -> MeasuredItems<Self, ByResult>
    where
        Self: Stream<Item = Result<T, E>>,
    {
        MeasuredItems::new(self, event.any())
    }
}

impl<S: Stream> MeasureStreamExt for S {}

pin_project! {
    /// A stream that measures the gap before each of its items as a span; created by
    /// [`MeasureStreamExt`].
    ///
    /// The first gap begins at the first poll of the stream. Each later gap begins when the
    /// previous item is returned, so it includes the time for which the consumer processes that
    /// item. If the inner stream returns `None` and later returns items again, the pause before the
    /// first of these items is not measured; measuring resumes when that item is returned.
    ///
    /// `C` chooses the outcome of a span from the item that ends it: see [`Classify`].
    #[derive(Debug)]
    #[must_use = "streams do nothing unless they are polled"]
    pub struct MeasuredItems<S, C = AlwaysOk> {
        // `stream` must be declared before `gap`, because fields are dropped in this order. If the
        // stream is dropped early, spans inside it then end before the span of the gap.
        #[pin]
        stream: S,
        event: AnyEvent,
        gap: Gap,
        // A function pointer, because it is `Send` and `Sync` for every `C`.
        classify: PhantomData<fn() -> C>,
    }
}

/// The state of the gap before the next item.
#[derive(Debug)]
enum Gap {
    /// The stream has not been polled.
    NotStarted,
    /// A span is open for the gap.
    Running(CancelOnDrop),
    /// The stream has ended.
    Ended,
}

impl<S, C> MeasuredItems<S, C> {
    fn new(stream: S, event: AnyEvent) -> Self {
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
