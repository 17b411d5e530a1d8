//! Measures a future: a span from its first poll until it completes or is dropped.

use core::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tailwatch::{
    AnyEvent, CancelOnDrop, Event, EventId, EventNumber, Outcome, measure_cancel_on_drop_tagged,
};

use crate::classify::{AlwaysOk, ByResult, Classify};

/// Extends every future with methods that measure it as a span.
///
/// A *span* is one measured interval of an event. This span starts at the first poll and ends when
/// the future completes. If the future is dropped before it completes, the span ends as
/// [`Outcome::Cancelled`]. This happens to the branches of a `select!` that lose, to a future that
/// a `timeout` drops, to an aborted task, and to a task of a runtime that is shut down. If polling
/// the future panics, the span also ends as cancelled when the future is dropped. A future that is
/// never polled leaves no record.
///
/// A measured future may be polled and dropped on any thread. It is `Send`, `Sync` or `'static` if
/// the inner future is, and it is 24 bytes larger, plus padding. Measuring does not allocate,
/// except at the first record of a thread that is not registered.
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
/// // If `placing` takes longer than 20 ms, the timeout drops it, and its span ends as cancelled.
/// let placed = tokio::time::timeout(Duration::from_millis(20), placing).await;
/// # assert!(matches!(placed, Ok(Ok(()))));
/// # }
/// ```
pub trait MeasureExt: Future + Sized {
    /// Measures this future as a span of `event`. When the future completes, the span ends as
    /// [`Outcome::Ok`], whatever the output is.
    #[inline(always)]
    fn measured(self, event: impl Event) -> Measured<Self> {
        Measured::new(self, event.any(), 0)
    }

    /// Like [`measured`](Self::measured), and attaches `tag` to the span: a number that the program
    /// chooses, such as an order number. Only the low 46 bits of `tag` are kept.
    #[inline(always)]
    fn measured_tagged(self, event: impl Event, tag: u64) -> Measured<Self> {
        Measured::new(self, event.any(), tag)
    }

    /// Measures this future as a span of `event`. When the future completes, the span ends as
    /// [`Outcome::Ok`] if the output is an `Ok`, and as [`Outcome::Error`] if it is an `Err`.
    #[inline(always)]
    fn try_measured<T, E>(self, event: impl Event) -> Measured<Self, ByResult>
    where
        Self: Future<Output = Result<T, E>>,
    {
        Measured::new(self, event.any(), 0)
    }

    /// Like [`try_measured`](Self::try_measured), and attaches `tag` to the span: a number that the
    /// program chooses, such as an order number. Only the low 46 bits of `tag` are kept.
    #[inline(always)]
    fn try_measured_tagged<T, E>(self, event: impl Event, tag: u64) -> Measured<Self, ByResult>
    where
        Self: Future<Output = Result<T, E>>,
    {
        Measured::new(self, event.any(), tag)
    }
}

impl<F: Future> MeasureExt for F {}

pin_project! {
    /// A future that is measured as a span; created by [`MeasureExt`].
    ///
    /// `C` chooses the outcome of the span from the output of the future: see [`Classify`]. Polling
    /// a measured future after it has completed polls the inner future again and records nothing.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled, and record nothing"]
    pub struct Measured<F, C = AlwaysOk> {
        // `future` must be declared before `span`, because fields are dropped in this order. If the
        // future is cancelled, spans inside it then end before this span.
        #[pin]
        future: F,
        span: SpanState,
        // A function pointer, because it is `Send` and `Sync` for every `C`.
        classify: PhantomData<fn() -> C>,
    }
}

/// The state of the span of a [`Measured`] future.
#[derive(Debug)]
enum SpanState {
    /// The future has not been polled. Contains what the START record will need.
    NotStarted(Plan),
    /// The future has been polled and has not completed.
    Running(CancelOnDrop),
    /// The future has completed.
    Ended,
}

/// An event and a tag, in 16 bytes: a future is moved, and many of them may wait at a time.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Where the number of the event is, if it is assigned when the program runs.
    number: Option<&'static EventNumber>,
    /// The low 46 bits of the tag, and below them the id of the event, which has at most 12 bits.
    tag_and_id: u64,
}

/// The number of bits below the tag.
const TAG_SHIFT: u32 = 18;

impl Plan {
    #[inline]
    fn new(event: AnyEvent, tag: u64) -> Self {
        Self { number: event.number(), tag_and_id: tag << TAG_SHIFT | u64::from(event.id().get()) }
    }

    #[inline]
    fn event(self) -> AnyEvent {
        if let Some(number) = self.number {
            return AnyEvent::numbered(number);
        }
        let id = u16::try_from(self.tag_and_id & ((1 << TAG_SHIFT) - 1)).ok();
        id.and_then(EventId::new).unwrap_or(EventId::UNNUMBERED).any()
    }

    const fn tag(self) -> u64 {
        self.tag_and_id >> TAG_SHIFT
    }
}

impl<F, C> Measured<F, C> {
    #[inline(always)]
    fn new(future: F, event: AnyEvent, tag: u64) -> Self {
        Self { future, span: SpanState::NotStarted(Plan::new(event, tag)), classify: PhantomData }
    }
}

impl SpanState {
    /// Starts the span unless it was started before.
    #[inline(always)]
    fn start(&mut self) {
        if let Self::NotStarted(plan) = *self {
            *self = Self::Running(measure_cancel_on_drop_tagged(plan.event(), plan.tag()));
        }
    }

    /// Ends the span with `outcome` unless it has ended before.
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
