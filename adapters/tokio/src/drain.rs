//! The drain as a task.

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

/// How many records the drain takes in at most before it yields: some 0.1 ms of work.
pub const MAX_RECORDS_PER_TURN: usize = 4_096;

/// Drains `collector`, which is a [manual](tailwatch::Builder::manual_drain) one, in a task of the current runtime, until `token` is
/// cancelled; then it drains what was recorded before, stops the collector and publishes the last report.
///
/// **It never holds a worker for long.** A turn takes in at most [`MAX_RECORDS_PER_TURN`] records, makes a report at most every 10 ms, and yields; so
/// that a turn is over in less than a millisecond, and a current-thread runtime is a good home for it. Observers and hooks of the
/// collector are called in it: one that takes long holds the worker. While another thread drains or flushes the collector, a turn waits
/// for it.
///
/// **What is late is not made up for.** Between turns it rests as long as [`Collector::drain`] says, from the end of a turn on, as an
/// interval with [`MissedTickBehavior::Delay`](tokio::time::MissedTickBehavior::Delay) would: a turn takes whatever there is, so that
/// `Burst` would only make it look again at once, at rings that it has just emptied; and `Skip` would keep it at a beat which means
/// nothing to it. What counts is how long the rings were left alone, at the most
/// [`Builder::max_period`](tailwatch::Builder::max_period); a runtime that is late adds to that, and the rings are to be sized for it:
/// [`Health::drain_lag_ns`](tailwatch::Health::drain_lag_ns) tells, and [`Health::overwritten`](tailwatch::Health::overwritten) what was
/// lost.
///
/// **It ends** as well when somebody else stops the collector. If the runtime is shut down without the token, it ends wherever it is:
/// whoever holds the collector may still [`stop`](Collector::stop) it, which drains the rest.
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
/// reports.changed().await?; // or whenever the program likes: the newest is there
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
/// Outside of a runtime, on one without timers, if the collector drains itself, or if it has stopped.
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
    let (reports, newest) = watch::channel(collector.published_report());
    let notices = sla::channel();
    let listening = notices.subscribe();
    let turns = Arc::new(Turns {
        collector: Arc::clone(&collector),
        reports,
        notices: Mutex::new(notices),
    });
    let weak = Arc::downgrade(&turns);
    let task = runtime.spawn(run(turns, token));
    Ok(DrainTask { collector, turns: weak, reports: newest, notices: listening, task })
}

async fn run(turns: Arc<Turns>, token: CancellationToken) {
    while !token.is_cancelled() && !turns.collector.is_stopped() {
        let rest = turns.take();
        if rest.is_zero() {
            yield_now().await;
        } else {
            token.run_until_cancelled(sleep(rest)).await;
        }
    }
    turns.take_all().await;
    turns.collector.stop();
    turns.publish();
}

/// A drain at work; made by [`spawn_drain`]. To drop it lets the task go on.
#[derive(Debug)]
#[must_use = "the last report comes from `join`"]
pub struct DrainTask {
    collector: Arc<Collector>,
    /// As long as the task lives: who listens is to know when it has ended.
    turns: Weak<Turns>,
    reports: watch::Receiver<Arc<Report>>,
    notices: broadcast::Receiver<SlaUpdate>,
    task: JoinHandle<()>,
}

impl DrainTask {
    /// The newest report, which is shared and not copied: at most one each 10 ms, and the last one. Whoever looks seldom misses those
    /// in between, and holds nobody up. What is borrowed from it does: as long as it is kept the drain waits, with its worker, to tell
    /// a new one. So clone the `Arc` before an `.await`. It closes when the task has ended.
    pub fn reports(&self) -> watch::Receiver<Arc<Report>> {
        self.reports.clone()
    }

    /// Limits that are raised or cleared from now on, until the task has ended. It takes them from [`Collector::sla_changes`], which
    /// has none left.
    pub fn sla_updates(&self) -> SlaUpdates {
        SlaUpdates::beside(&self.notices)
    }

    /// Drains, in the current task, everything recorded before this call, and publishes it: as [`Collector::flush`], but by turns of
    /// [`MAX_RECORDS_PER_TURN`] records, between which it yields. It may be dropped between turns.
    pub async fn flush(&self) {
        match self.turns.upgrade() {
            Some(turns) => turns.take_all().await,
            // The task has ended: there is no more than what it had no time for, should its runtime have dropped it.
            None => self.collector.flush(),
        }
    }

    /// The collector that is drained.
    pub fn collector(&self) -> &Arc<Collector> {
        &self.collector
    }

    /// Waits until the task has ended, which the cancelled token makes it do, and returns the last report.
    ///
    /// # Errors
    /// If the task was dropped by its runtime before it could end.
    pub async fn join(self) -> Result<Arc<Report>, JoinError> {
        self.task.await?;
        Ok(Arc::clone(&self.reports.borrow()))
    }
}

/// What a turn works with.
#[derive(Debug)]
struct Turns {
    collector: Arc<Collector>,
    reports: watch::Sender<Arc<Report>>,
    /// Locked while changes go from the collector to whoever listens, so that they stay in order.
    notices: Mutex<broadcast::Sender<SlaUpdate>>,
}

impl Turns {
    /// One turn; returns how long to rest until the next, which is nothing if records were left behind.
    fn take(&self) -> Duration {
        let rest = self.collector.drain_up_to(MAX_RECORDS_PER_TURN);
        self.publish();
        rest
    }

    /// As many turns as it takes to drain what is in the rings now, however much comes in meanwhile.
    async fn take_all(&self) {
        let settings = self.collector.settings();
        let most = settings.rings.value.saturating_mul(settings.ring_capacity.value)
            / MAX_RECORDS_PER_TURN
            + 1;
        for _ in 0..most {
            let has_more = self.collector.flush_up_to(MAX_RECORDS_PER_TURN);
            self.publish();
            if !has_more {
                break;
            }
            yield_now().await;
        }
        // What has come since.
        self.collector.flush();
        self.publish();
    }

    /// Tells what is new.
    fn publish(&self) {
        let notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        sla::tell(&notices, self.collector.sla_changes());
        drop(notices);
        self.reports.send_if_modified(|told| {
            // Asked for in here, where nobody else can tell a newer one meanwhile.
            let newest = self.collector.published_report();
            let is_new = !Arc::ptr_eq(told, &newest);
            *told = newest;
            is_new
        });
    }
}
