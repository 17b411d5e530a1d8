//! Measures the runtime itself: scheduling and timer delays, alive tasks and queue depth.

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
    /// Pass them to the collector with `Builder::events(RuntimeEvent::ALL)`, in addition to the
    /// program's own events. Those must not use the ids 2,001 to 2,004.
    pub enum RuntimeEvent {
        /// How long a task that is ready to run waits for a worker: one trip through the run queue.
        SchedulingDelay = 2_001,
        /// How much too late a sleeping task is woken, because a task held the worker or the whole
        /// machine paused. Tokio's timers have a resolution of one millisecond, so 1 or 2 ms are
        /// normal.
        TimerDelay = 2_002,
        /// The number of tasks that have not ended.
        AliveTasks = 2_003 { unit: Unit::One },
        /// The number of tasks in the global queue of the runtime. Tasks in the workers' own queues
        /// are not included, because tokio has no stable way to count them.
        GlobalQueueDepth = 2_004 { unit: Unit::One },
    }
}

/// The longest period that is used, about 30 years. Adding it to an `Instant` does not overflow.
const MAX_PERIOD: Duration = Duration::from_hours(30 * 365 * 24);

/// Starts a task that measures the current runtime until `token` is cancelled.
///
/// Once per `period`, the task records each event of [`RuntimeEvent`] into the collector of the
/// thread on which it runs.
///
/// A stall that is longer than `period` is always noticed, because the task becomes due during it.
/// A shorter one may be missed. On a runtime with several workers, the task notices a stall of all
/// workers, or of the worker that drives the timers.
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
/// Returns an error outside of a runtime, on a runtime without timers, or if `period` is zero.
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
            // Counted from now, not from when it was due: otherwise one stall of several periods
            // would be recorded as several delays.
            due = Instant::now() + period;
            timer.as_mut().reset(due);
        }
    }))
}
