//! A future's time, split: being polled, waiting, and the longest poll.

use core::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use std::time::Instant;

use pin_project_lite::pin_project;
use tailwatch::{Event, EventId, record_duration};

/// Which parts of a future's time are recorded, each as a duration of an event of its own.
///
/// ```
/// use tailwatch::events;
/// use tailwatch_tokio::{MeasureExt, PollTimeEvents, PollTimesExt};
///
/// events! {
///     /// What the gateway does.
///     enum Gateway {
///         /// A request, from its first poll to its reply.
///         Request = 30,
///         /// Of that, the time in which it was polled.
///         RequestPolled = 31,
///         /// Its longest poll: for so long it held a worker.
///         RequestLongestPoll = 32,
///     }
/// }
///
/// # async fn reply() {}
/// async fn handle() {
///     let parts = PollTimeEvents::NONE.polled(Gateway::RequestPolled).longest_poll(Gateway::RequestLongestPoll);
///     reply().measured(Gateway::Request).poll_times(parts).await
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "parts are recorded of a future that is split by them"]
pub struct PollTimeEvents {
    polled: Option<EventId>,
    waiting: Option<EventId>,
    longest_poll: Option<EventId>,
}

impl PollTimeEvents {
    /// Nothing.
    pub const NONE: Self = Self { polled: None, waiting: None, longest_poll: None };

    /// Records the time in which the future was polled: what it took of a worker.
    pub fn polled(self, event: impl Event) -> Self {
        Self { polled: Some(event.id()), ..self }
    }

    /// Records the time between polls: for something to happen, and then for a worker.
    pub fn waiting(self, event: impl Event) -> Self {
        Self { waiting: Some(event.id()), ..self }
    }

    /// Records the longest single poll. While it lasts nothing else runs on its worker: one of a millisecond keeps all tasks of
    /// a current-thread runtime waiting for as long.
    pub fn longest_poll(self, event: impl Event) -> Self {
        Self { longest_poll: Some(event.id()), ..self }
    }
}

/// Splits the time of any future, measured or not.
pub trait PollTimesExt: Future + Sized {
    /// Records these parts of its time once it is ready or dropped; nothing if it was never polled. Each poll costs two readings of
    /// the operating system's clock besides.
    fn poll_times(self, parts: PollTimeEvents) -> PollTimes<Self> {
        PollTimes { future: self, times: Times { parts, ..Times::default() } }
    }
}

impl<F: Future> PollTimesExt for F {}

pin_project! {
    /// A future whose time is split; made by [`PollTimesExt::split`].
    ///
    /// The times polled and waiting add up to that from its first poll until it is ready or dropped.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled"]
    pub struct PollTimes<F> {
        // The order matters: the times end when the future is gone.
        #[pin]
        future: F,
        times: Times,
    }
}

/// The times so far.
#[derive(Debug, Default)]
struct Times {
    parts: PollTimeEvents,
    began: Option<Instant>,
    /// Since when it is being polled; still there after a poll that panicked.
    polling: Option<Instant>,
    polled: Duration,
    longest: Duration,
}

impl Times {
    fn begin_poll(&mut self) {
        let now = Instant::now();
        self.began.get_or_insert(now);
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
        let Some(began) = self.began.take() else { return };
        let PollTimeEvents { polled, waiting, longest_poll } = mem::take(&mut self.parts);
        let waited = (now - began).saturating_sub(self.polled);
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
        if self.began.is_some() {
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
