//! Measures the tokio runtime itself: its scheduling and timer delays, the number of its tasks and
//! the depth of its global queue.

use core::{pin::pin, time::Duration};

use tailwatch::{Unit, events, record_duration, record_value};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{SpawnError, runtime_handle};

events! {
    /// The events that [`watch_runtime`] records.
    ///
    /// Add them to the collector with `Builder::events(RuntimeEvent::ALL)`. The program's own
    /// events must then not use the ids 2,001 to 2,004.
    pub enum RuntimeEvent {
        /// How long a task that is ready to run waits until a worker thread polls it. The task of
        /// [`watch_runtime`] measures how long one `yield_now` of its own takes.
        SchedulingDelay = 2_001,
        /// How long after its deadline a sleeping task is polled. A delay of 1 or 2 ms is normal,
        /// because tokio's timers have a resolution of one millisecond. A longer delay means that
        /// another task occupied the worker thread, or that the whole machine paused.
        TimerDelay = 2_002,
        /// The number of tasks of the runtime that have not ended, including the task of
        /// [`watch_runtime`].
        AliveTasks = 2_003 { unit: Unit::One },
        /// The number of tasks in the global queue of the runtime. Tasks in the local queues of the
        /// worker threads are not included, because tokio has no stable way to count them.
        GlobalQueueDepth = 2_004 { unit: Unit::One },
    }
}

/// The longest period that is used, 30 years; longer periods are shortened to it. Adding it to an
/// `Instant` does not overflow.
const MAX_PERIOD: Duration = Duration::from_hours(30 * 365 * 24);

/// Starts a task that measures the current runtime until `token` is cancelled.
///
/// In a loop, the task sleeps for `period` and then records one sample of each event of
/// [`RuntimeEvent`]. The samples go to the [installed](tailwatch::Collector::install) collector,
/// unless the worker thread that runs the task is registered with another one.
///
/// A stall of the runtime, in which no worker thread polls tasks, shows as a long
/// [`TimerDelay`](RuntimeEvent::TimerDelay). The task notices a stall only if its sleep ends during
/// the stall: always if the stall is longer than `period`, and sometimes if it is shorter. On a
/// runtime with several worker threads, it does not notice that one of them is blocked, unless that
/// is the thread that currently drives the timers.
///
/// ```
/// use std::time::Duration;
/// use tailwatch::{Collector, Trading};
/// use tailwatch_tokio::{CancellationToken, RuntimeEvent, watch_runtime};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().events(Trading::ALL).events(RuntimeEvent::ALL).start()?;
/// collector.install()?;
/// let shutdown = CancellationToken::new();
/// let watcher = watch_runtime(Duration::from_millis(10), shutdown.clone())?;
/// # tokio::time::sleep(Duration::from_millis(15)).await;
/// shutdown.cancel();
/// watcher.await?;
/// collector.stop();
/// assert!(collector.total(RuntimeEvent::TimerDelay)?.is_some());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error if the function is called outside of a tokio runtime, if the runtime was built
/// without timers, or if `period` is zero.
pub fn watch_runtime(
    period: Duration,
    token: CancellationToken,
) -> Result<JoinHandle<()>, SpawnError> {
    let handle = runtime_handle::current()?;
    if period.is_zero() {
        return Err(SpawnError::ZeroPeriod);
    }
    let period = period.min(MAX_PERIOD);
    let metrics = handle.metrics();
    Ok(handle.spawn(async move {
        let mut due = Instant::now() + period;
        let mut timer = pin!(sleep_until(due));
        while token.run_until_cancelled(timer.as_mut()).await.is_some() {
            let ready = Instant::now();
            record_duration(RuntimeEvent::TimerDelay, ready - due);
            yield_now().await;
            record_duration(RuntimeEvent::SchedulingDelay, ready.elapsed());
            record_value(RuntimeEvent::AliveTasks, metrics.num_alive_tasks() as u64);
            record_value(RuntimeEvent::GlobalQueueDepth, metrics.global_queue_depth() as u64);
            // The next period starts now, not at the missed deadline. Otherwise one stall of
            // several periods would be recorded as several delays.
            due = Instant::now() + period;
            timer.as_mut().reset(due);
        }
    }))
}
