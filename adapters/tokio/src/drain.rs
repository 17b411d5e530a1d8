//! Runs the drain of a collector as a task.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tailwatch::{Collector, Report};
use tokio::{
    sync::{broadcast, watch},
    task::{JoinError, JoinHandle, yield_now},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    SpawnError, runtime_handle,
    sla::{self, SlaUpdate, SlaUpdates},
};

/// The largest number of records that the drain processes before it yields: about 0.1 ms of work.
pub const MAX_RECORDS_PER_TURN: usize = 4_096;

/// Starts a task on the current runtime that drains `collector` until `token` is cancelled.
///
/// `collector` must be set up by [`Builder::manual_drain`](tailwatch::Builder::manual_drain). When
/// `token` is cancelled, the task drains everything that was recorded before, stops the collector,
/// publishes the last report and ends.
///
/// # Scheduling
///
/// The task works in turns. A turn processes at most [`MAX_RECORDS_PER_TURN`] records, creates a
/// report at most every 10 ms, and then yields. A turn therefore takes less than a millisecond, and
/// the drain may share a current-thread runtime with other tasks. Two things can make a turn
/// longer: it calls the observers and hooks of the collector, and it blocks while another thread
/// drains or flushes the collector.
///
/// After each turn, the task sleeps for the time that [`Collector::drain_up_to`] returned. Turns
/// that were missed are not made up for, as with
/// [`MissedTickBehavior::Delay`](tokio::time::MissedTickBehavior::Delay), because the next turn
/// processes what has accumulated.
///
/// The rings must be large enough for the longest pause between two turns. The task itself pauses
/// for at most [`Builder::max_period`](tailwatch::Builder::max_period); a runtime that schedules it
/// late adds to this. [`Health::drain_lag_ns`](tailwatch::Health::drain_lag_ns) measures the delay,
/// and [`Health::overwritten`](tailwatch::Health::overwritten) counts the records that were lost.
///
/// # Termination
///
/// The task also ends if the collector is stopped elsewhere. If the runtime is shut down before
/// `token` is cancelled, the task is dropped without draining the rings. Whoever holds the
/// collector can still call [`stop`](Collector::stop), which drains the rest.
///
/// ```
/// use std::sync::Arc;
/// use tailwatch::{Collector, Trading, measure};
/// use tailwatch_tokio::CancellationToken;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Arc::new(Collector::builder().manual_drain().start()?);
/// collector.install()?;
/// let shutdown = CancellationToken::new();
/// let drain = tailwatch_tokio::spawn_drain(Arc::clone(&collector), shutdown.clone())?;
///
/// let mut reports = drain.reports();
/// drop(measure(Trading::OrderPlacement));
/// reports.changed().await?; // or read the newest report at any time, without waiting
/// println!("{}", *reports.borrow_and_update());
///
/// shutdown.cancel();
/// let report = drain.join().await?;
/// assert_eq!(report.health.pending, 0);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error outside of a runtime, on a runtime without timers, if the collector already has
/// a drain thread, or if it has stopped.
pub fn spawn_drain(
    collector: impl Into<Arc<Collector>>,
    token: CancellationToken,
) -> Result<DrainTask, SpawnError> {
    let runtime = runtime_handle::current()?;
    let collector = collector.into();
    if !collector.settings().manual_drain.value {
        return Err(SpawnError::NotManual);
    }
    if collector.is_stopped() {
        return Err(SpawnError::Stopped);
    }
    let (report_sender, reports) = watch::channel(collector.published_report());
    let update_sender = sla::channel();
    let sla_updates = update_sender.subscribe();
    let turns = Arc::new(Turns {
        collector: Arc::clone(&collector),
        reports: report_sender,
        sla_updates: Mutex::new(update_sender),
    });
    let weak = Arc::downgrade(&turns);
    let task = runtime.spawn(run(turns, token));
    Ok(DrainTask { collector, turns: weak, reports, sla_updates, task })
}

async fn run(turns: Arc<Turns>, token: CancellationToken) {
    while !token.is_cancelled() && !turns.collector.is_stopped() {
        let pause = turns.take_one();
        if pause.is_zero() {
            yield_now().await;
        } else {
            token.run_until_cancelled(sleep(pause)).await;
        }
    }
    turns.take_all().await;
    turns.collector.stop();
    turns.publish();
}

/// A handle to a drain that runs as a task; created by [`spawn_drain`].
///
/// Dropping the handle does not stop the task.
#[derive(Debug)]
#[must_use = "the last report comes from `join`"]
pub struct DrainTask {
    collector: Arc<Collector>,
    /// Weak, so that the senders inside are dropped when the task ends and receivers notice it.
    turns: Weak<Turns>,
    reports: watch::Receiver<Arc<Report>>,
    sla_updates: broadcast::Receiver<SlaUpdate>,
    task: JoinHandle<()>,
}

impl DrainTask {
    /// Returns a receiver of the newest report. It closes when the task has ended.
    ///
    /// The drain publishes a report at most every 10 ms, and a last one when it ends. A receiver
    /// that reads less often sees only the newest one. Reports are shared, not copied.
    ///
    /// Do not keep a value borrowed from the receiver for long, and not across an `.await`: it
    /// blocks the drain, and with it a worker, when the next report is published. Clone the `Arc`
    /// instead.
    pub fn reports(&self) -> watch::Receiver<Arc<Report>> {
        self.reports.clone()
    }

    /// Returns a stream of the limits that are raised or cleared from now on, until the task ends.
    ///
    /// The drain takes all changes from [`Collector::sla_changes`], so do not call that method as
    /// well.
    pub fn sla_updates(&self) -> SlaUpdates {
        SlaUpdates::subscribe(&self.sla_updates)
    }

    /// Drains everything recorded before this call, in the current task, and publishes a report.
    ///
    /// Like [`Collector::flush`], but it yields after every [`MAX_RECORDS_PER_TURN`] records. The
    /// future may be dropped at any time; records that are not drained yet are left to the drain.
    pub async fn flush(&self) {
        match self.turns.upgrade() {
            Some(turns) => turns.take_all().await,
            // The task has ended. Records are left only if its runtime dropped it before it could
            // drain them.
            None => self.collector.flush(),
        }
    }

    /// Returns the collector that the task drains.
    pub fn collector(&self) -> &Arc<Collector> {
        &self.collector
    }

    /// Waits until the task has ended, and returns the last report.
    ///
    /// Cancel the token that was passed to [`spawn_drain`] to end the task.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime dropped the task before it ended, or if the task panicked.
    pub async fn join(self) -> Result<Arc<Report>, JoinError> {
        self.task.await?;
        Ok(Arc::clone(&self.reports.borrow()))
    }
}

/// The state of the drain that its turns share: the collector, and the channels it publishes to.
#[derive(Debug)]
struct Turns {
    collector: Arc<Collector>,
    reports: watch::Sender<Arc<Report>>,
    /// Locked while changes are taken from the collector and sent, so that they stay in order.
    sla_updates: Mutex<broadcast::Sender<SlaUpdate>>,
}

impl Turns {
    /// Takes one turn. Returns how long to pause until the next one: zero if records are left.
    fn take_one(&self) -> Duration {
        let pause = self.collector.drain_up_to(MAX_RECORDS_PER_TURN);
        self.publish();
        pause
    }

    /// Takes as many turns as are needed to drain what is in the rings now.
    ///
    /// The number of turns is bounded by the size of all rings, however fast threads record
    /// meanwhile.
    async fn take_all(&self) {
        let settings = self.collector.settings();
        let max_turns = settings.rings.value.saturating_mul(settings.ring_capacity.value)
            / MAX_RECORDS_PER_TURN
            + 1;
        for _ in 0..max_turns {
            let has_more = self.collector.flush_up_to(MAX_RECORDS_PER_TURN);
            self.publish();
            if !has_more {
                break;
            }
            yield_now().await;
        }
        // `flush_up_to` drains a ring that an earlier turn left half drained only as far as it was
        // filled then. This flush drains the rest, which is little.
        self.collector.flush();
        self.publish();
    }

    /// Sends the changes of limits and the newest report to the receivers.
    fn publish(&self) {
        let sla_updates = self.sla_updates.lock().unwrap_or_else(PoisonError::into_inner);
        sla::send_changes(&sla_updates, self.collector.sla_changes());
        drop(sla_updates);
        self.reports.send_if_modified(|current| {
            // Read inside the closure, which runs under the channel's lock. Otherwise a concurrent
            // `flush` could send a newer report first, and this call would replace it by an older
            // one.
            let newest = self.collector.published_report();
            let is_new = !Arc::ptr_eq(current, &newest);
            *current = newest;
            is_new
        });
    }
}
