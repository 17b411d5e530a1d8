//! Latency percentiles for programs whose stages are [tokio] tasks.
//!
//! [`measured`](MeasureExt::measured) on a future is a span from its first poll to its completion, or to its drop: then it is
//! cancelled. [`measured_items`](MeasureStreamExt::measured_items) does the same for the gaps of a stream, [`spawn_drain`] makes the drain a
//! task that never holds a worker for long, [`watch_runtime`] measures the runtime itself. What is recorded, and how it is asked
//! for, is the crate [`tailwatch`]'s.
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
//! let placed = report.event(Trading::OrderPlacement).expect("it was announced");
//! assert_eq!(placed.outcomes.ok, 100);
//! # Ok(())
//! # }
//! # async fn place(_order: u64) -> Result<(), std::io::Error> { tokio::task::yield_now().await; Ok(()) }
//! ```
//!
//! # Limits
//!
//! - A thread needs a ring to record, be it a worker or of the pool for blocking work: [`Builder::rings`](tailwatch::Builder::rings)
//!   says how many there are, 8 unless set. What further threads record is counted as unregistered. A thread takes its ring with its
//!   first record, which costs that record a lock and an allocation;
//!   [`on_thread_start`](https://docs.rs/tokio/latest/tokio/runtime/struct.Builder.html#method.on_thread_start) with
//!   [`register_thread`](tailwatch::register_thread) does it in advance.
//! - A span lasts from the first poll: a future that waits in the queue of its runtime before that is not measured yet. How long that
//!   takes, [`RuntimeEvent::SchedulingDelay`] tells.
//! - Durations are those of the processor's clock. That of a runtime that is paused for a test stands still without them.
//! - Tasks that a runtime drops as it is shut down record their cancellations then. So shut it down before the drain's last turn, or
//!   [`flush`](tailwatch::Collector::flush) the collector after it.
//!
//! # What it costs
//!
//! A measured future that is ready at once takes what a span takes; one that is polled further times, a comparison each. Recording is
//! wait-free, and neither allocates nor makes a system call, as long as the thread has its ring.

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

/// What ends the tasks of this crate; the one of `tokio-util`.
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
