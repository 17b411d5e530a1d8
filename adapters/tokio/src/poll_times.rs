//! Splits the time of a future into the time it is polled, the time it waits, and its longest poll.

use core::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use std::time::Instant;

use pin_project_lite::pin_project;
use tailwatch::{Event, EventId, record_duration};

/// The events that [`PollTimesExt::poll_times`] records, one for each part of a future's time.
///
/// A part without an event is not recorded.
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
///         /// The part of this time in which the request was polled.
///         RequestPolled = 31,
///         /// The longest poll of the request, which held a worker for that time.
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
    polled: Option<EventId>,
    waiting: Option<EventId>,
    longest_poll: Option<EventId>,
}

impl PollTimeEvents {
    /// No event: nothing is recorded.
    pub const NONE: Self = Self { polled: None, waiting: None, longest_poll: None };

    /// Records the total time in which the future was polled, and so occupied a worker, as `event`.
    pub fn polled(self, event: impl Event) -> Self {
        Self { polled: Some(event.id()), ..self }
    }

    /// Records the total time between polls, in which the future waited to be woken and then for a
    /// worker, as `event`.
    pub fn waiting(self, event: impl Event) -> Self {
        Self { waiting: Some(event.id()), ..self }
    }

    /// Records the duration of the longest single poll as `event`.
    ///
    /// Nothing else runs on the worker during a poll. On a current-thread runtime, a poll of a
    /// millisecond delays all other tasks by a millisecond.
    pub fn longest_poll(self, event: impl Event) -> Self {
        Self { longest_poll: Some(event.id()), ..self }
    }
}

/// Extends every future, measured or not, with a method that records the parts of its time.
pub trait PollTimesExt: Future + Sized {
    /// Records the parts of this future's time as `events`, when it completes or is dropped.
    ///
    /// A future that is never polled records nothing. Each poll takes two additional readings of
    /// the operating system's clock.
    fn poll_times(self, events: PollTimeEvents) -> PollTimes<Self> {
        PollTimes { future: self, times: Times { events, ..Times::default() } }
    }
}

impl<F: Future> PollTimesExt for F {}

pin_project! {
    /// A future that records the parts of its time; created by [`PollTimesExt::poll_times`].
    ///
    /// The polled and the waiting time add up to the time from its first poll until it completes or
    /// is dropped.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled"]
    pub struct PollTimes<F> {
        // Fields are dropped in this order, so the times include the drop of the future.
        #[pin]
        future: F,
        times: Times,
    }
}

/// The times measured so far.
#[derive(Debug, Default)]
struct Times {
    events: PollTimeEvents,
    started: Option<Instant>,
    /// When the current poll started. It stays set if the poll panics.
    polling: Option<Instant>,
    polled: Duration,
    longest: Duration,
}

impl Times {
    fn begin_poll(&mut self) {
        let now = Instant::now();
        self.started.get_or_insert(now);
        self.polling = Some(now);
    }

    fn end_poll(&mut self, now: Instant) {
        if let Some(since) = self.polling.take() {
            let took = now - since;
            self.polled += took;
            self.longest = self.longest.max(took);
        }
    }

    fn record(&mut self, now: Instant) {
        self.end_poll(now);
        let Some(started) = self.started.take() else { return };
        let PollTimeEvents { polled, waiting, longest_poll } = mem::take(&mut self.events);
        let waited = (now - started).saturating_sub(self.polled);
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
        if self.started.is_some() {
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
