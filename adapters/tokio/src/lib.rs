//! Latency percentiles for programs whose stages are [tokio] tasks.
//!
//! - [`measured`](MeasureExt::measured) measures a future as a *span*, an interval from the first
//!   poll of the future until the future completes. If the future is dropped before it completes,
//!   the span ends with the outcome [`Cancelled`](tailwatch::Outcome::Cancelled).
//! - [`measured_items`](MeasureStreamExt::measured_items) measures the time from each item of a
//!   stream to the next.
//! - [`poll_times`](PollTimesExt::poll_times) records for how long a future is polled, and for how
//!   long it waits between its polls.
//! - [`MeasuredSender`] and [`watch_backlog`] record how many messages wait in a channel: a bounded
//!   or [unbounded](counted_unbounded_channel) `mpsc` channel, or a `broadcast` channel.
//!   [`MeasuredBroadcastReceiver`] also records what a slow receiver lost, and
//!   [`MeasuredWatchReceiver`] how many changes of a `watch` channel a receiver had not seen.
//! - [`watch_runtime`] measures the runtime itself: scheduling delays, timer delays and the number
//!   of tasks.
//! - [`spawn_drain`] drains a collector, which means that it reads the recorded data and computes
//!   the statistics, in a task that never occupies a worker thread for long.
//!
//! Events, the collector and its reports come from the crate [`tailwatch`].
//!
//! ```
//! use tailwatch::{Collector, Trading};
//! use tailwatch_tokio::{CancellationToken, MeasureExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let collector = Collector::builder().manual_drain().start()?;
//! collector.install()?;
//! let shutdown = CancellationToken::new();
//! let drain = tailwatch_tokio::spawn_drain(collector, shutdown.clone())?;
//!
//! for order in 0..100 {
//!     place(order).try_measured_tagged(Trading::OrderPlacement, order).await?;
//! }
//!
//! shutdown.cancel();
//! let report = drain.join().await?;
//! let placed = report.event(Trading::OrderPlacement).expect("`Trading` is the default");
//! assert_eq!(placed.outcomes.ok, 100);
//! # Ok(())
//! # }
//! # async fn place(_order: u64) -> Result<(), std::io::Error> {
//! #     tokio::task::yield_now().await;
//! #     Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! - Every thread that records needs a *ring*, a buffer for its records. This includes the worker
//!   threads of the runtime and its threads for blocking work.
//!   [`Builder::rings`](tailwatch::Builder::rings) sets the number of rings, 1,024 by default. If
//!   all rings are taken, the records of further threads are lost and counted in
//!   [`Health::unregistered`](tailwatch::Health::unregistered).
//! - A thread takes its ring when it records for the first time, which locks a mutex and allocates.
//!   To take the ring in advance, call [`register_thread`](tailwatch::register_thread) in
//!   [`on_thread_start`](https://docs.rs/tokio/latest/tokio/runtime/struct.Builder.html#method.on_thread_start).
//! - A span starts at the first poll. It does not include the time for which a new task waits in
//!   the run queue before that poll. [`RuntimeEvent::SchedulingDelay`] measures typical waits of
//!   this kind.
//! - Durations are measured with the processor's counter, not with tokio's clock. If a test pauses
//!   tokio's clock, durations still show real time.
//! - When a runtime is shut down, it drops its tasks, and their spans end as cancelled. To include
//!   the records of these ends, [`flush`](tailwatch::Collector::flush) or
//!   [`stop`](tailwatch::Collector::stop) the collector after the shutdown. If the collector
//!   stopped before the shutdown, these records are lost and counted in `Health::unregistered`.
//!
//! # Cost
//!
//! A measured future that is ready at its first poll costs as much as a span of
//! [`measure`](tailwatch::measure()). Each further poll costs one comparison. Recording is
//! wait-free. On a thread that already has its ring, recording neither allocates nor makes a system
//! call.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
// The print macros panic if nobody reads the stream any more. No output may make a call fail.
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro)]

mod backlog;
mod classify;
mod drain;
mod error;
mod measured;
mod poll_times;
mod runtime;
mod runtime_handle;
mod sla;
mod stream;

/// A token that ends the tasks of this crate when it is cancelled; re-exported from `tokio-util`.
pub use tokio_util::sync::CancellationToken;

/// Has the examples of the README compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use self::{
    backlog::{
        Backlog, CountedReceiver, CountedSender, CountedWatchSender, MeasuredBroadcastReceiver,
        MeasuredSender, MeasuredWatchReceiver, counted_unbounded_channel, watch_backlog,
    },
    classify::{AlwaysOk, ByResult, Classify},
    drain::{DrainTask, MAX_RECORDS_PER_TURN, spawn_drain},
    error::SpawnError,
    measured::{MeasureExt, Measured},
    poll_times::{PollTimeEvents, PollTimes, PollTimesExt},
    runtime::{RuntimeEvent, watch_runtime},
    sla::{SlaUpdate, SlaUpdates},
    stream::{MeasureStreamExt, MeasuredItems},
};
