//! The functions and guards with which the measured program records.
//!
//! They record into the ring of the current thread. The ring belongs to the collector that the
//! thread is registered with. A thread that is not registered takes a ring of the installed
//! collector with its first record, which may lock and allocate. Apart from that, nothing here
//! panics, allocates, blocks or returns an error of its own. Nothing makes a system call, unless
//! reading the clock needs one.

use core::{mem, time::Duration};
use std::thread;

use tailwatch_core::{Event, Outcome, Token};

use crate::{clock::nanos, thread_recorder};

/// Begins a span that ends when the returned guard is dropped.
///
/// Guards may nest, overlap, be stored in a struct and be dropped on another thread. The span ends
/// as [`Outcome::Ok`]. If the guard is dropped because a panic unwinds the thread, the span ends as
/// [`Outcome::Cancelled`], unless the thread was already unwinding when the span began.
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

/// Begins a span with a tag, such as an order number, that ends when the returned guard is dropped.
///
/// The low 46 bits of the tag are kept. Reports show the tags of the slowest spans and of the
/// oldest open span. In all other respects, this is the same as [`measure`](measure()).
#[inline(always)]
pub fn measure_tagged(event: impl Event, tag: u64) -> SpanGuard {
    let token = thread_recorder::start(event, tag);
    // `panicking` reads a thread-local. A span that is not recorded does not need the result.
    let was_unwinding = token.is_recorded() && thread::panicking();
    SpanGuard { token, was_unwinding }
}

/// The guard of a span, which ends the span when it is dropped; created by [`measure`].
#[derive(Debug)]
#[must_use = "the span ends when its guard is dropped: bind it to a variable such as `_span`"]
pub struct SpanGuard {
    token: Token,
    /// Whether a panic was already unwinding the thread when the span began.
    was_unwinding: bool,
}

impl SpanGuard {
    /// Takes the token out of the guard, so that dropping the guard does nothing.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Token {
        mem::replace(&mut self.token, Token::unrecorded())
    }

    /// Ends the span now, with this outcome. The outcome holds even if a panic is unwinding the
    /// thread.
    #[inline(always)]
    pub fn end(mut self, outcome: Outcome) {
        let token = self.take();
        // `true`, because a panic must not replace the outcome that the caller chose.
        thread_recorder::end(token, outcome, true);
    }

    /// Ends the span without a sample, so no statistics include it.
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

/// Begins a span that ends as [`Outcome::Cancelled`] if the returned guard is dropped, unless its
/// [`end`](CancelOnDrop::end) or [`discard`](CancelOnDrop::discard) is called before.
///
/// Use it for work that can be abandoned half way, such as a future that is dropped.
///
/// ```
/// use tailwatch::{Outcome, Trading, measure_cancel_on_drop};
///
/// async fn place() -> bool {
///     let placing = measure_cancel_on_drop(Trading::OrderPlacement);
///     let placed = send().await; // if the future is dropped here, the span is cancelled
///     placing.end(if placed { Outcome::Ok } else { Outcome::Error });
///     placed
/// }
/// # async fn send() -> bool { true }
/// ```
#[inline(always)]
pub fn measure_cancel_on_drop(event: impl Event) -> CancelOnDrop {
    measure_cancel_on_drop_tagged(event, 0)
}

/// Begins a span with a tag. The span ends as [`Outcome::Cancelled`] if the returned guard is
/// dropped, unless its [`end`](CancelOnDrop::end) or [`discard`](CancelOnDrop::discard) is called
/// before.
///
/// The low 46 bits of the tag are kept.
#[inline(always)]
pub fn measure_cancel_on_drop_tagged(event: impl Event, tag: u64) -> CancelOnDrop {
    CancelOnDrop { token: thread_recorder::start(event, tag) }
}

/// The guard of a span, which ends the span as [`Outcome::Cancelled`] when it is dropped; created
/// by [`measure_cancel_on_drop`].
///
/// The span may end on another thread than the one on which it began.
#[derive(Debug)]
#[must_use = "the span is cancelled when its guard is dropped: bind it to a variable"]
pub struct CancelOnDrop {
    token: Token,
}

impl CancelOnDrop {
    /// Takes the token out of the guard, so that dropping the guard does nothing.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Token {
        mem::replace(&mut self.token, Token::unrecorded())
    }

    /// Ends the span now, with this outcome.
    #[inline(always)]
    pub fn end(mut self, outcome: Outcome) {
        thread_recorder::end(self.take(), outcome, true);
    }

    /// Ends the span without a sample, so no statistics include it.
    pub fn discard(mut self) {
        thread_recorder::discard(self.take());
    }
}

/// Makes a guard of a token, such as that of a span which another process has begun.
impl From<Token> for CancelOnDrop {
    #[inline(always)]
    fn from(token: Token) -> Self {
        Self { token }
    }
}

impl Drop for CancelOnDrop {
    #[inline(always)]
    fn drop(&mut self) {
        thread_recorder::end(self.take(), Outcome::Cancelled, true);
    }
}

/// Calls `work`, measures the call as a span, and returns the result of `work`.
///
/// If `work` panics, the span ends as [`Outcome::Cancelled`].
///
/// ```
/// let answer = tailwatch::time(tailwatch::Trading::SignalGeneration, || 6 * 7);
/// assert_eq!(answer, 42);
/// ```
#[inline(always)]
pub fn time<T>(event: impl Event, work: impl FnOnce() -> T) -> T {
    // If `work` returns, the span is ended here. So the drop of the span means that it panicked.
    let span = measure_cancel_on_drop(event);
    let result = work();
    span.end(Outcome::Ok);
    result
}

/// Calls `work`, which may fail, measures the call as a span, and returns the result of `work`.
///
/// An `Ok` ends the span as [`Outcome::Ok`], an `Err` as [`Outcome::Error`], and a panic as
/// [`Outcome::Cancelled`].
///
/// ```
/// let number = tailwatch::try_time(tailwatch::Trading::OrderPlacement, || "x".parse::<u32>());
/// assert!(number.is_err());
/// ```
///
/// # Errors
/// Returns the error of `work`.
#[inline(always)]
pub fn try_time<T, E>(event: impl Event, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let span = measure_cancel_on_drop(event);
    let result = work();
    span.end(if result.is_ok() { Outcome::Ok } else { Outcome::Error });
    result
}

/// Begins a span and returns its token. Pass the token to [`record_end`] or [`record_discard`], on
/// any thread, to end the span.
#[inline(always)]
pub fn record_start(event: impl Event) -> Token {
    thread_recorder::start(event, 0)
}

/// Begins a span with a tag and returns its token. Pass the token to [`record_end`] or
/// [`record_discard`], on any thread, to end the span.
///
/// The low 46 bits of the tag are kept.
#[inline(always)]
pub fn record_start_tagged(event: impl Event, tag: u64) -> Token {
    thread_recorder::start(event, tag)
}

/// Ends the span that this token stands for, with this outcome.
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

/// Ends the span that this token stands for, without a sample, so no statistics include it.
pub fn record_discard(token: Token) {
    thread_recorder::discard(token);
}

/// Records a value of an event with plain numbers, such as the length of a queue.
///
/// A value of 2^46 − 1 or more becomes no sample and is counted in `Health::saturated`.
#[inline(always)]
pub fn record_value(event: impl Event, value: u64) {
    thread_recorder::record(event, move |state, event, sampling, now| {
        state.recorder.value_at(event, sampling, value, now);
    });
}

/// Records a duration that was measured by other means and has just ended.
///
/// The duration is rounded to the nearest tick of the clock. A tick is less than 1 ns on most
/// x86-64 processors, and 42 ns on an Arm counter of 24 MHz. A duration of 2^46 − 1 ticks or more
/// (6.5 hours at 3 GHz) becomes no sample and is counted in `Health::saturated`.
#[inline]
pub fn record_duration(event: impl Event, duration: Duration) {
    thread_recorder::record(event, move |state, event, sampling, now| {
        let ticks = state.rate().ticks_in_nanos(nanos(duration));
        state.recorder.duration_at(event, sampling, ticks, now);
    });
}
