//! A measured future: a span from its first poll to its completion or drop.

use core::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tailwatch::{CancelOnDrop, Event, EventId, Outcome, measure_cancel_on_drop_tagged};

use crate::classify::{AlwaysOk, ByResult, Classify};

/// Measures any future.
///
/// The span begins at the first poll and ends where the future is ready. One that is dropped unfinished (the branch of a `select!`
/// that lost, a `timeout`, an aborted task, a runtime that is shut down) ends as [`Outcome::Cancelled`], as does one that panics, once
/// it is dropped. One that is dropped before its first poll leaves no record. It may be polled and dropped on any thread.
///
/// A measured future is `Send`, `'static` and so on where the future is, and is larger by 24 bytes. Polling it allocates nothing.
///
/// ```
/// use std::time::Duration;
/// use tailwatch::Trading;
/// use tailwatch_tokio::MeasureExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # async fn send(_: u64) -> Result<(), std::io::Error> { Ok(()) }
/// let order = 17;
/// let placing = send(order).try_measured_tagged(Trading::OrderPlacement, order);
/// // One that takes too long is a cancelled span of 20 ms.
/// let placed = tokio::time::timeout(Duration::from_millis(20), placing).await;
/// # assert!(matches!(placed, Ok(Ok(()))));
/// # }
/// ```
pub trait MeasureExt: Future + Sized {
    /// A span of `event`, which ends as [`Outcome::Ok`] whatever comes out.
    #[inline(always)]
    fn measured(self, event: impl Event) -> Measured<Self> {
        Measured::new(self, event.id(), 0)
    }

    /// The same with a tag, such as an order's number; its low 46 bits are kept.
    #[inline(always)]
    fn measured_tagged(self, event: impl Event, tag: u64) -> Measured<Self> {
        Measured::new(self, event.id(), tag)
    }

    /// A span of `event`, which an `Err` ends as [`Outcome::Error`].
    #[inline(always)]
    fn try_measured<T, E>(self, event: impl Event) -> Measured<Self, ByResult>
    where
        Self: Future<Output = Result<T, E>>,
    {
        Measured::new(self, event.id(), 0)
    }

    /// The same with a tag, of which the low 46 bits are kept.
    #[inline(always)]
    fn try_measured_tagged<T, E>(self, event: impl Event, tag: u64) -> Measured<Self, ByResult>
    where
        Self: Future<Output = Result<T, E>>,
    {
        Measured::new(self, event.id(), tag)
    }
}

impl<F: Future> MeasureExt for F {}

pin_project! {
    /// A future that is a span; made by [`MeasureExt`].
    ///
    /// What it does when it is polled again after it was ready is up to the future in it; the span is over.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled, and neither does the span"]
    pub struct Measured<F, J = AlwaysOk> {
        // The order matters: what the future does in its drop belongs to the span, and spans inside end first.
        #[pin]
        future: F,
        span: Stage,
        judge: PhantomData<fn() -> J>,
    }
}

/// How far the span is.
#[derive(Debug)]
enum Stage {
    Before { event: EventId, tag: u64 },
    Running(CancelOnDrop),
    Over,
}

impl<F, J> Measured<F, J> {
    #[inline(always)]
    fn new(future: F, event: EventId, tag: u64) -> Self {
        Self { future, span: Stage::Before { event, tag }, judge: PhantomData }
    }
}

impl Stage {
    #[inline(always)]
    fn begin(&mut self) {
        if let Self::Before { event, tag } = *self {
            *self = Self::Running(measure_cancel_on_drop_tagged(event, tag));
        }
    }

    #[inline(always)]
    fn end(&mut self, outcome: Outcome) {
        if let Self::Running(span) = core::mem::replace(self, Self::Over) {
            span.end(outcome);
        }
    }
}

impl<F: Future, J: Classify<F::Output>> Future for Measured<F, J> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.span.begin();
        let output = ready!(this.future.poll(context));
        this.span.end(J::outcome(&output));
        Poll::Ready(output)
    }
}
