//! The runtime's own health, as events.

use core::{pin::pin, time::Duration};

use tailwatch::{Unit, events, record_duration, record_value};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{SpawnError, runtime_handle};

events! {
    /// What [`watch_runtime`] records: announce it by `Builder::events(RuntimeEvent::ALL)`, beside the program's own events, whose numbers
    /// are to be others.
    pub enum RuntimeEvent {
        /// How long a task that could go on waited for a worker: through the queue once.
        SchedulingDelay = 2_001,
        /// By how much a sleeping task was woken too late: the executor's hiccup, a worker that was held or a machine that stood
        /// still. Timers keep milliseconds: one or two are no delay.
        TimerDelay = 2_002,
        /// Tasks that have not ended.
        AliveTasks = 2_003 { unit: Unit::One },
        /// Tasks that wait in the queue of the whole runtime; those in the queues of its workers cannot be asked for.
        GlobalQueueDepth = 2_004 { unit: Unit::One },
    }
}

/// No program lives to see the difference to a longer period, and a point in time plus this is one.
const LONGEST: Duration = Duration::from_hours(30 * 365 * 24);

/// Watches the current runtime until `token` is cancelled: a task which once a `period` records the events of [`RuntimeEvent`] into the
/// collector of the thread that it runs on.
///
/// A hold-up longer than a period is never overlooked, as the task is to wake up in the midst of it; a shorter one may be. On a
/// runtime of several workers it sees what holds all of them, or the one that drives the timers.
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
/// Outside of a runtime, on one without timers, or if the period is 0.
pub fn watch_runtime(
    period: Duration,
    token: CancellationToken,
) -> Result<JoinHandle<()>, SpawnError> {
    let handle = runtime_handle::current()?;
    if period.is_zero() {
        return Err(SpawnError::NoPeriod);
    }
    let period = period.min(LONGEST);
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
            // From now on, and not from when it was due: what is late once is one delay.
            due = Instant::now() + period;
            timer.as_mut().reset(due);
        }
    }))
}
