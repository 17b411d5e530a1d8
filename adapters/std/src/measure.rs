//! What the measured program calls.
//!
//! All of it records into the ring of the current thread: of the collector that the thread was registered with, else of
//! the installed one. The first record of a thread that is not registered takes a ring. Nothing here panics, allocates,
//! blocks, makes a system call (on a registered thread) or fails.

use core::{mem, time::Duration};
use std::thread;

use tailwatch_core::{Clock, Event, Outcome, Token};

use crate::{clock::nanos, thread_recorder};

/// Begins a span that ends when the guard is dropped.
///
/// Guards nest, overlap, may be kept in a structure and may end on another thread. A guard that is dropped by a panic's
/// unwinding ends as [`Outcome::Cancelled`], unless the thread was unwinding already when it began.
///
/// ```
/// use tailwatch::{Collector, Trading, measure};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().start()?;
/// collector.install()?;
/// {
///     let _span = measure(Trading::CandleProcessing);
///     // … the work …
/// }
/// collector.stop();
/// let total = collector.total(Trading::CandleProcessing)?.expect("one span");
/// assert_eq!(total.count, 1);
/// # Ok(())
/// # }
/// ```
#[inline(always)]
pub fn measure(event: impl Event) -> SpanGuard {
    measure_tagged(event, 0)
}

/// Begins a span with a tag, such as an order's number; its low 46 bits are kept.
#[inline(always)]
pub fn measure_tagged(event: impl Event, tag: u64) -> SpanGuard {
    let token = thread_recorder::start(event.id(), tag);
    // Of no interest where nothing is recorded.
    let was_unwinding = token.is_recorded() && thread::panicking();
    SpanGuard { token, was_unwinding }
}

/// A span that ends when it is dropped; made by [`measure`].
#[derive(Debug)]
#[must_use = "a span ends when its guard is dropped, which is at once if it is not kept in a variable"]
pub struct SpanGuard {
    token: Token,
    was_unwinding: bool,
}

impl SpanGuard {
    #[inline(always)]
    fn take(&mut self) -> Token {
        mem::replace(&mut self.token, Token::unrecorded())
    }

    /// Ends the span now, with this outcome.
    #[inline(always)]
    pub fn end(mut self, outcome: Outcome) {
        let token = self.take();
        // Told its outcome, it is not cancelled by a panic that has nothing to do with it.
        thread_recorder::end(token, outcome, true);
    }

    /// Closes the span without a latency: as if it had not been measured.
    pub fn discard(mut self) {
        thread_recorder::discard(self.take());
    }
}

impl Drop for SpanGuard {
    #[inline(always)]
    fn drop(&mut self) {
        thread_recorder::end(self.take(), Outcome::Ok, self.was_unwinding);
    }
}

/// Begins a span that ends as [`Outcome::Cancelled`] unless it is told how it ended: for work that may be given up half way,
/// such as a future that is dropped.
///
/// ```
/// use tailwatch::{Outcome, Trading, measure_cancel_on_drop};
///
/// async fn place() -> bool {
///     let placing = measure_cancel_on_drop(Trading::OrderPlacement);
///     let placed = send().await; // dropped here, the span is a cancelled one
///     placing.end(if placed { Outcome::Ok } else { Outcome::Error });
///     placed
/// }
/// # async fn send() -> bool { true }
/// ```
#[inline(always)]
pub fn measure_cancel_on_drop(event: impl Event) -> CancelOnDrop {
    measure_cancel_on_drop_tagged(event, 0)
}

/// Begins a span with a tag, of which the low 46 bits are kept, that ends as [`Outcome::Cancelled`] unless it is told how it
/// ended.
#[inline(always)]
pub fn measure_cancel_on_drop_tagged(event: impl Event, tag: u64) -> CancelOnDrop {
    CancelOnDrop { token: thread_recorder::start(event.id(), tag) }
}

/// A span that ends as [`Outcome::Cancelled`] when it is dropped; made by [`measure_cancel_on_drop`].
///
/// It may end on another thread than it began on.
#[derive(Debug)]
#[must_use = "a span is cancelled when it is dropped, which is at once if it is not kept in a variable"]
pub struct CancelOnDrop {
    token: Token,
}

impl CancelOnDrop {
    #[inline(always)]
    fn take(&mut self) -> Token {
        mem::replace(&mut self.token, Token::unrecorded())
    }

    /// Ends the span now, with this outcome.
    #[inline(always)]
    pub fn end(mut self, outcome: Outcome) {
        thread_recorder::end(self.take(), outcome, true);
    }

    /// Closes the span without a latency: as if it had not been measured.
    pub fn discard(mut self) {
        thread_recorder::discard(self.take());
    }
}

impl Drop for CancelOnDrop {
    #[inline(always)]
    fn drop(&mut self) {
        thread_recorder::end(self.take(), Outcome::Cancelled, true);
    }
}

/// Measures how long `work` takes.
///
/// ```
/// let answer = tailwatch::time(tailwatch::Trading::SignalGeneration, || 6 * 7);
/// assert_eq!(answer, 42);
/// ```
#[inline(always)]
pub fn time<T>(event: impl Event, work: impl FnOnce() -> T) -> T {
    let _span = measure(event);
    work()
}

/// Measures how long `work` takes; an `Err` ends the span as [`Outcome::Error`].
///
/// ```
/// let number = tailwatch::try_time(tailwatch::Trading::OrderPlacement, || "x".parse::<u32>());
/// assert!(number.is_err());
/// ```
///
/// # Errors
/// What `work` returns.
#[inline(always)]
pub fn try_time<T, E>(event: impl Event, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let span = measure(event);
    let result = work();
    span.end(if result.is_ok() { Outcome::Ok } else { Outcome::Error });
    result
}

/// Begins a span that [`record_end`] closes, on whichever thread.
#[inline(always)]
pub fn record_start(event: impl Event) -> Token {
    thread_recorder::start(event.id(), 0)
}

/// Begins a span with a tag, of which the low 46 bits are kept, that [`record_end`] closes, on whichever thread.
#[inline(always)]
pub fn record_start_tagged(event: impl Event, tag: u64) -> Token {
    thread_recorder::start(event.id(), tag)
}

/// Ends a span.
///
/// ```
/// use tailwatch::{Outcome, Trading, record_end, record_start_tagged};
///
/// let sent = record_start_tagged(Trading::OrderFill, 4711);
/// let fills = std::thread::spawn(move || record_end(sent, Outcome::Ok));
/// # fills.join().unwrap();
/// ```
#[inline(always)]
pub fn record_end(token: Token, outcome: Outcome) {
    thread_recorder::end(token, outcome, true);
}

/// Closes a span without a latency: as if it had not been measured.
pub fn record_discard(token: Token) {
    thread_recorder::discard(token);
}

/// Records a number, such as the length of a queue. One of 2^46 − 1 or more is counted as saturated, without a sample.
#[inline(always)]
pub fn record_value(event: impl Event, value: u64) {
    let event = event.id();
    thread_recorder::record(event, move |recorder| recorder.value(event, value));
}

/// Records a duration that was measured elsewhere and ended just now. It is told to the nearest tick of the clock: on x86-64
/// to the nanosecond, on an Arm counter of 24 MHz to 42 ns. One of 2^46 − 1 ticks or more (6 hours, at 3 GHz) is
/// counted as saturated, without a sample.
#[inline]
pub fn record_duration(event: impl Event, duration: Duration) {
    let event = event.id();
    thread_recorder::record(event, move |recorder| {
        let ticks = recorder.clock().rate().ticks_in_nanos(nanos(duration));
        recorder.duration(event, ticks)
    });
}
