//! Measures a future: a span from its first poll until it completes or is dropped.

use core::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tailwatch::{CancelOnDrop, Event, EventId, Outcome, measure_cancel_on_drop_tagged};

use crate::classify::{AlwaysOk, ByResult, Classify};

/// Extends every future with methods that measure it as a span.
///
/// The span starts at the first poll and ends when the future completes. If the future is dropped
/// before that, the span ends as [`Outcome::Cancelled`]: the branch of a `select!` that lost, a
/// `timeout`, an aborted task, a runtime that is shut down. A future that panics also ends as
/// cancelled, when it is dropped. A future that is never polled leaves no record.
///
/// A measured future may be polled and dropped on any thread. It is `Send`, `'static` and so on if
/// the inner future is, and 24 bytes larger. Polling it does not allocate.
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
/// // If it takes longer than 20 ms, the timeout drops it, and its span ends as cancelled.
/// let placed = tokio::time::timeout(Duration::from_millis(20), placing).await;
/// # assert!(matches!(placed, Ok(Ok(()))));
/// # }
/// ```
pub trait MeasureExt: Future + Sized {
    /// Measures this future as a span of `event` that ends as [`Outcome::Ok`], whatever the output.
    #[inline(always)]
    fn measured(self, event: impl Event) -> Measured<Self> {
        Measured::new(self, event.id(), 0)
    }

    /// Like [`measured`](Self::measured), with a tag such as an order number. The low 46 bits are
    /// kept.
    #[inline(always)]
    fn measured_tagged(self, event: impl Event, tag: u64) -> Measured<Self> {
        Measured::new(self, event.id(), tag)
    }

    /// Measures this future as a span of `event` that ends as [`Outcome::Error`] if the output is
    /// an `Err`.
    #[inline(always)]
    fn try_measured<T, E>(self, event: impl Event) -> Measured<Self, ByResult>
    where
        Self: Future<Output = Result<T, E>>,
    {
        Measured::new(self, event.id(), 0)
    }

    /// Like [`try_measured`](Self::try_measured), with a tag, of which the low 46 bits are kept.
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
    /// A future that is measured as a span; created by [`MeasureExt`].
    ///
    /// Polling it after completion polls the inner future again and records nothing.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled, and record nothing"]
    pub struct Measured<F, C = AlwaysOk> {
        // Fields are dropped in this order, so the span includes the drop of the future, and the
        // spans inside the future end before it.
        #[pin]
        future: F,
        span: SpanState,
        classify: PhantomData<fn() -> C>,
    }
}

/// The state of the span.
#[derive(Debug)]
enum SpanState {
    NotStarted { event: EventId, tag: u64 },
    Running(CancelOnDrop),
    Ended,
}

impl<F, C> Measured<F, C> {
    #[inline(always)]
    fn new(future: F, event: EventId, tag: u64) -> Self {
        Self { future, span: SpanState::NotStarted { event, tag }, classify: PhantomData }
    }
}

impl SpanState {
    #[inline(always)]
    fn start(&mut self) {
        if let Self::NotStarted { event, tag } = *self {
            *self = Self::Running(measure_cancel_on_drop_tagged(event, tag));
        }
    }

    #[inline(always)]
    fn end(&mut self, outcome: Outcome) {
        if let Self::Running(span) = core::mem::replace(self, Self::Ended) {
            span.end(outcome);
        }
    }
}

impl<F: Future, C: Classify<F::Output>> Future for Measured<F, C> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.span.start();
        let output = ready!(this.future.poll(context));
        this.span.end(C::outcome(&output));
        Poll::Ready(output)
    }
}
