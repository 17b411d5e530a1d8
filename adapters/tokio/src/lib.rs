//! Latency percentiles for programs whose stages are [tokio] tasks.
//!
//! - [`measured`](MeasureExt::measured) measures a future as a span, from its first poll until it
//!   completes. If it is dropped before that, the span ends as cancelled.
//! - [`measured_items`](MeasureStreamExt::measured_items) measures the gaps between the items of a
//!   stream.
//! - [`poll_times`](PollTimesExt::poll_times) splits the time of a future into polling and waiting.
//! - [`MeasuredSender`] and [`watch_backlog`] record how many messages wait in a channel.
//! - [`watch_runtime`] measures the runtime itself.
//! - [`spawn_drain`] runs the drain as a task that never holds a worker for long.
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
//! - Every thread that records needs a ring, the workers of the runtime as well as the threads for
//!   blocking work. [`Builder::rings`](tailwatch::Builder::rings) sets the number of rings, 8 by
//!   default. The records of further threads are counted as unregistered.
//! - A thread takes its ring at its first record, which locks and allocates. To do so in advance,
//!   call [`register_thread`](tailwatch::register_thread) in
//!   [`on_thread_start`](https://docs.rs/tokio/latest/tokio/runtime/struct.Builder.html#method.on_thread_start).
//! - A span starts at the first poll. It does not include the time that a new task waits in the run
//!   queue before. [`RuntimeEvent::SchedulingDelay`] measures this time.
//! - Durations are measured with the processor's clock. Pausing the clock of the runtime in a test
//!   does not stop it.
//! - When a runtime is shut down, it drops its tasks, and their spans end as cancelled. To include
//!   these records, [`flush`](tailwatch::Collector::flush) or [`stop`](tailwatch::Collector::stop)
//!   the collector after the shutdown. A collector that has stopped already counts them as
//!   unregistered.
//!
//! # Cost
//!
//! A measured future that is ready at its first poll costs as much as a span. Each further poll
//! costs one comparison. Recording is wait-free. On a thread that has its ring, it neither
//! allocates nor makes a system call.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

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

/// Ends the tasks of this crate; re-exported from `tokio-util`.
pub use tokio_util::sync::CancellationToken;

pub use self::{
    backlog::{MeasuredSender, watch_backlog},
    classify::{AlwaysOk, ByResult, Classify},
    drain::{DrainTask, MAX_RECORDS_PER_TURN, spawn_drain},
    error::SpawnError,
    measured::{MeasureExt, Measured},
    poll_times::{PollTimeEvents, PollTimes, PollTimesExt},
    runtime::{RuntimeEvent, watch_runtime},
    sla::{SlaUpdate, SlaUpdates},
    stream::{MeasureStreamExt, MeasuredItems},
};
