//! Records for how long a future is polled, how long it waits between polls, and how long its
//! longest poll takes.

use core::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use std::time::Instant;

use pin_project_lite::pin_project;
use tailwatch::{AnyEvent, Event, record_duration};

/// The events as which [`PollTimesExt::poll_times`] records the three times of a future: the time
/// in which it was polled, the time in which it waited, and its longest poll.
///
/// Start from [`NONE`](Self::NONE) and add an event for each time that is to be recorded.
///
/// ```
/// use tailwatch::events;
/// use tailwatch_tokio::{MeasureExt, PollTimeEvents, PollTimesExt};
///
/// events! {
///     /// The events of the gateway.
///     enum Gateway {
///         /// A request, from its first poll to its reply.
///         Request = 30,
///         /// The part of the request's time in which it was polled.
///         RequestPolled = 31,
///         /// The longest poll of the request, which occupied a worker thread for that time.
///         RequestLongestPoll = 32,
///     }
/// }
///
/// # async fn reply() {}
/// async fn handle() {
///     let events = PollTimeEvents::NONE
///         .polled(Gateway::RequestPolled)
///         .longest_poll(Gateway::RequestLongestPoll);
///     reply().measured(Gateway::Request).poll_times(events).await
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "nothing is recorded until the events are passed to `poll_times`"]
pub struct PollTimeEvents {
    polled: Option<AnyEvent>,
    waiting: Option<AnyEvent>,
    longest_poll: Option<AnyEvent>,
}

impl PollTimeEvents {
    /// No events: none of the three times is recorded.
    pub const NONE: Self = Self { polled: None, waiting: None, longest_poll: None };

    /// Records the sum of the durations of all polls as one duration of `event`, when the future
    /// completes or is dropped. For this long, the future occupied a worker thread.
    pub fn polled(self, event: impl Event) -> Self {
        Self { polled: Some(event.any()), ..self }
    }

    /// Records the total time between polls as one duration of `event`, when the future completes
    /// or is dropped. In this time, the future waited to be woken, and then for a worker thread to
    /// poll it.
    pub fn waiting(self, event: impl Event) -> Self {
        Self { waiting: Some(event.any()), ..self }
    }

    /// Records the duration of the longest single poll as one duration of `event`, when the future
    /// completes or is dropped.
    ///
    /// During a poll, nothing else runs on the same worker thread. On a current-thread runtime, a
    /// poll of a millisecond delays all other tasks by a millisecond.
    pub fn longest_poll(self, event: impl Event) -> Self {
        Self { longest_poll: Some(event.any()), ..self }
    }
}

/// Extends every future with a method that records how its time is divided between polling and
/// waiting. The future may also be [measured](crate::MeasureExt) as a span.
pub trait PollTimesExt: Future + Sized {
    /// Records the times of this future as `events`, when the future completes or is dropped.
    ///
    /// A future that is never polled records nothing. Each poll costs two readings of the operating
    /// system's clock.
    fn poll_times(self, events: PollTimeEvents) -> PollTimes<Self> {
        PollTimes { future: self, times: Times { events, ..Times::default() } }
    }
}

impl<F: Future> PollTimesExt for F {}

pin_project! {
    /// A future that records for how long it is polled and for how long it waits; created by
    /// [`PollTimesExt::poll_times`].
    ///
    /// The polled and the waiting time add up to the time from the first poll of the future until
    /// it completes or is dropped.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled"]
    pub struct PollTimes<F> {
        // `future` must be declared before `times`, because fields are dropped in this order. If
        // the future is cancelled, the waiting time then includes the drop of the future.
        #[pin]
        future: F,
        times: Times,
    }
}

/// The times of a future measured so far.
#[derive(Debug, Default)]
struct Times {
    /// Becomes [`PollTimeEvents::NONE`] when the times are recorded, so they are recorded only
    /// once.
    events: PollTimeEvents,
    /// When the first poll started; `None` before it.
    first_poll: Option<Instant>,
    /// When the current poll started; `None` between polls. It stays set if the poll panics.
    current_poll: Option<Instant>,
    /// The total duration of the polls that have ended.
    polled: Duration,
    /// The duration of the longest poll that has ended.
    longest: Duration,
}

impl Times {
    fn begin_poll(&mut self) {
        let now = Instant::now();
        self.first_poll.get_or_insert(now);
        self.current_poll = Some(now);
    }

    fn end_poll(&mut self, now: Instant) {
        if let Some(since) = self.current_poll.take() {
            let took = now - since;
            self.polled += took;
            self.longest = self.longest.max(took);
        }
    }

    /// Records the times of a future that completed or was dropped at `now`. Records nothing if the
    /// future was never polled.
    fn record(&mut self, now: Instant) {
        // Ends a poll that panicked.
        self.end_poll(now);
        let Some(first_poll) = self.first_poll.take() else { return };
        let PollTimeEvents { polled, waiting, longest_poll } = mem::take(&mut self.events);
        let waited = (now - first_poll).saturating_sub(self.polled);
        for (event, time) in
            [(polled, self.polled), (waiting, waited), (longest_poll, self.longest)]
        {
            if let Some(event) = event {
                record_duration(event, time);
            }
        }
    }
}

impl Drop for Times {
    fn drop(&mut self) {
        if self.first_poll.is_some() {
            self.record(Instant::now());
        }
    }
}

impl<F: Future> Future for PollTimes<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.times.begin_poll();
        let poll = this.future.poll(context);
        let now = Instant::now();
        this.times.end_poll(now);
        if poll.is_ready() {
            this.times.record(now);
        }
        poll
    }
}
