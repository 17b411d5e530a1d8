//! Runs the drain of a collector as a tokio task.
//!
//! The *drain* reads the rings into which threads record, and computes the statistics. The task
//! works in *turns*: in each turn it reads a bounded number of records, and then it yields.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tailwatch::{Collector, Record, Report};
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

/// The largest number of records that one turn of the drain task ([`spawn_drain`]) reads before the
/// task yields: at most about 0.1 ms of work, at 6 to 17 ns per record.
pub const MAX_RECORDS_PER_TURN: usize = 4_096;

/// Starts a task on the current runtime that drains `collector` until `token` is cancelled.
///
/// To drain means to read the records from the rings into which threads write them, and to compute
/// the statistics. A collector does this in a thread of its own unless it is built with
/// [`Builder::manual_drain`](tailwatch::Builder::manual_drain), which this function requires.
///
/// When `token` is cancelled, the task drains everything that was recorded before, stops the
/// collector, publishes the last report and ends.
///
/// # Scheduling
///
/// The task works in turns. A turn reads at most [`MAX_RECORDS_PER_TURN`] records, creates a report
/// if one is due, at most every 10 ms, and then yields. A turn usually takes less than a
/// millisecond, so the task may share a current-thread runtime with other tasks. Two things can
/// make a turn longer: the callbacks of the collector
/// ([`Builder::observer`](tailwatch::Builder::observer) and
/// [`Builder::on_sla_change`](tailwatch::Builder::on_sla_change)) run during the turn, and a turn
/// blocks while another thread drains or flushes the collector.
///
/// If records are left after a turn, the task only yields. Otherwise it sleeps for the time that
/// [`Collector::drain_up_to`] returned. After a delay, the task does not make up for missed turns,
/// because the next turn reads what has accumulated.
///
/// The rings must be large enough for the longest pause between two turns. The task itself pauses
/// for at most [`Builder::max_period`](tailwatch::Builder::max_period), and a runtime that
/// schedules the task late makes the pause longer.
/// [`Health::drain_lag_ns`](tailwatch::Health::drain_lag_ns) shows how old the oldest record was
/// that the last turn read, and [`Health::overwritten`](tailwatch::Health::overwritten) counts the
/// records that were lost because a ring was too small.
///
/// # Paused clocks
///
/// Do not run the task while the clock of the runtime is paused, as in a test with
/// `start_paused = true`. Tokio then advances its clock to the next timer whenever all tasks wait.
/// As this task always waits for one, the virtual time runs away. Call [`Collector::drain_up_to`]
/// or [`Collector::flush`] by hand in such a test.
///
/// # Termination
///
/// The task also ends if other code stops the collector. If the runtime is shut down before `token`
/// is cancelled, the runtime drops the task, and records stay in the rings. To drain them, call
/// [`Collector::stop`] after the shutdown.
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
/// Returns an error if the function is called outside of a tokio runtime, if the runtime was built
/// without timers, if the collector already has a drain thread, or if it has stopped.
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
    let state = Arc::new(DrainState {
        collector: Arc::clone(&collector),
        reports: report_sender,
        sla_updates: Mutex::new(update_sender),
    });
    let weak_state = Arc::downgrade(&state);
    let task = runtime.spawn(run(state, token));
    Ok(DrainTask { collector, state: weak_state, reports, sla_updates, task })
}

/// The body of the drain task: takes turns until `token` is cancelled or the collector has stopped,
/// and then drains the rest.
async fn run(state: Arc<DrainState>, token: CancellationToken) {
    while !token.is_cancelled() && !state.collector.is_stopped() {
        let pause = state.take_turn();
        if pause.is_zero() {
            yield_now().await;
        } else {
            token.run_until_cancelled(sleep(pause)).await;
        }
    }
    state.drain_all().await;
    state.collector.stop();
    state.publish();
}

/// A handle to the task that drains a collector; created by [`spawn_drain`].
///
/// Dropping the handle does not stop the task. Only cancelling the token or stopping the collector
/// does.
#[derive(Debug)]
#[must_use = "the last report comes from `join`"]
pub struct DrainTask {
    collector: Arc<Collector>,
    /// The state of the task. Weak, so that the senders inside are dropped when the task ends and
    /// the receivers notice the end.
    state: Weak<DrainState>,
    /// Cloned for each caller of [`reports`](Self::reports).
    reports: watch::Receiver<Arc<Report>>,
    /// Never read, only used to subscribe further receivers.
    sla_updates: broadcast::Receiver<SlaUpdate>,
    task: JoinHandle<()>,
}

impl DrainTask {
    /// Returns a receiver that holds the newest report. The channel is closed when the task has
    /// ended.
    ///
    /// The task publishes a report when something changed, at most every 10 ms, and at once after a
    /// [`flush`](Self::flush), when a violation is raised or cleared, when limits are replaced, and
    /// when it ends. A receiver that reads less often sees only the newest report. All receivers
    /// share one copy of a report.
    ///
    /// Do not hold the guard that `borrow` returns for long, and never across an `.await`. While
    /// the guard exists, publishing the next report blocks the task, and with it a worker thread of
    /// the runtime. Clone the `Arc` inside the guard instead.
    pub fn reports(&self) -> watch::Receiver<Arc<Report>> {
        self.reports.clone()
    }

    /// Returns a stream of the violations that are raised or cleared from now on, until the task
    /// ends.
    ///
    /// A violation is raised when a limit becomes violated. For a limit on a quantile, it is
    /// cleared once the quantile has been within the limit for as long as one slice of the limit's
    /// window lasts (a window is cut into equal parts, its slices). For a limit on silence, the
    /// next record of the event clears it. The record of a discarded span usually does not, because
    /// it counts at the time at which the span began.
    ///
    /// Each stream gets the updates independently of the others. A stream that is more than 256
    /// updates behind loses the oldest ones. All streams lose the oldest ones if more than 256
    /// violations are raised or cleared between two turns of the task. [`SlaUpdate::Missed`] takes
    /// the place of lost updates.
    ///
    /// Do not also call [`Collector::sla_changes`]: the method removes the changes that it returns
    /// from a queue, and the task gets its updates from the same queue.
    pub fn sla_updates(&self) -> SlaUpdates {
        SlaUpdates::subscribe(&self.sla_updates)
    }

    /// Drains everything that was recorded before this call, and publishes a report.
    ///
    /// The work is done in the calling task. The method is like [`Collector::flush`], but it yields
    /// after every [`MAX_RECORDS_PER_TURN`] records. The future may be dropped at any time: the
    /// drain task then reads the remaining records in its next turns.
    ///
    /// Does nothing after the last pass, and in a process that was forked from that of the task.
    pub async fn flush(&self) {
        if !self.collector.health().has_drain {
            return;
        }
        match self.state.upgrade() {
            Some(state) => state.drain_all().await,
            // The task has ended. Records are left only if the runtime dropped the task before the
            // task could drain them.
            None => self.collector.flush(),
        }
    }

    /// Returns the collector that the task drains.
    pub fn collector(&self) -> &Arc<Collector> {
        &self.collector
    }

    /// Waits until the task has ended, and returns the last report.
    ///
    /// This method does not end the task. To end it, cancel the token that was passed to
    /// [`spawn_drain`].
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime was shut down before the task ended, or if the task
    /// panicked.
    pub async fn join(self) -> Result<Arc<Report>, JoinError> {
        self.task.await?;
        Ok(Arc::clone(&self.reports.borrow()))
    }
}

/// What the drain task and callers of [`DrainTask::flush`] share: the collector, and the channels
/// through which reports and updates are published.
#[derive(Debug)]
struct DrainState {
    collector: Arc<Collector>,
    reports: watch::Sender<Arc<Report>>,
    /// Locked while changes are taken from the collector and sent. Otherwise the task and a
    /// concurrent flush could send them out of order.
    sla_updates: Mutex<broadcast::Sender<SlaUpdate>>,
}

impl DrainState {
    /// Drains at most [`MAX_RECORDS_PER_TURN`] records. Returns how long to pause until the next
    /// turn, which is zero if records are left.
    fn take_turn(&self) -> Duration {
        let pause = self.collector.drain_up_to(MAX_RECORDS_PER_TURN);
        self.publish();
        pause
    }

    /// Drains everything that is in the rings now, in as many turns as this takes.
    ///
    /// The number of turns is at most what all rings together hold, divided by the records per
    /// turn, plus one. It does not depend on how fast threads record in the meantime.
    async fn drain_all(&self) {
        // Rings grow, so only their memory bounds what they hold.
        let max_records = self.collector.settings().max_ring_bytes.value / size_of::<Record>();
        let max_turns = max_records / MAX_RECORDS_PER_TURN + 1;
        for _ in 0..max_turns {
            let has_more = self.collector.flush_up_to(MAX_RECORDS_PER_TURN);
            self.publish();
            if !has_more {
                break;
            }
            yield_now().await;
        }
        // If an earlier turn stopped in the middle of a ring, `flush_up_to` drains that ring only
        // up to the newest record of that moment. This flush drains the few records written since.
        self.collector.flush();
        self.publish();
    }

    /// Sends the violations that were raised or cleared, and the newest report, to the receivers.
    fn publish(&self) {
        let sla_updates = self.sla_updates.lock().unwrap_or_else(PoisonError::into_inner);
        sla::send_changes(&sla_updates, self.collector.sla_changes());
        drop(sla_updates);
        self.reports.send_if_modified(|current| {
            // The report is read inside the closure, which runs under the channel's lock. Otherwise
            // a concurrent `flush` could send a newer report first, and this call would replace it
            // with an older one.
            let newest = self.collector.published_report();
            let is_new = !Arc::ptr_eq(current, &newest);
            *current = newest;
            is_new
        });
    }
}
