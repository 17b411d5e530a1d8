//! The collector: a program starts it once, records into it and queries it.

pub(crate) mod builder;
mod control;
pub(crate) mod error;
mod explain;
pub(crate) mod more_events;
mod passes;
mod queries;
mod ring_sizes;
pub(crate) mod self_test;

use core::{fmt, mem};
use std::{sync::Arc, thread};

use arc_swap::Guard;
use tailwatch_record::collecting::OFF;

use self::{
    error::{InstallError, RegisterError},
    explain::{InForce, limits::LimitLines},
};
use crate::{
    drain::{Drain, exclusive, pass_kind::PassKind, sampling::Sampler},
    own_thread::{OwnThread, placement::Placement},
    recording::{attachment, pool::Pool, process},
    report::{published::Published, sla::ChangeQueue},
    settings::{Settings, build_error::BuildError},
    sync::{Mutex, lock},
};

/// Owns the rings, the statistics and the *drain*, the thread that reads the rings.
///
/// Queries read the last published report. The drain reads each record at most
/// [`Builder::max_period`](crate::Builder::max_period) after it was written, provided that the
/// drain gets a core, and publishes a report at most 10 ms later. If more than 64 events have had
/// records since the report before, this takes 250 ms, or up to 750 ms with more than 512 events:
/// the time grows with their number, so that the cost of reports does not. While nobody has read a
/// report for 5 s, a report on more than 512 events follows only after 5 s: see
/// [`report`](Self::report). Call [`flush`](Self::flush) before a query to include everything
/// recorded so far. Queries never wait for the drain, and the drain never waits for queries.
/// [`Report`](crate::Report) describes how old the other parts of a report may be.
///
/// Each pass of the drain checks all limits, so [`breached`](Self::breached) does not wait for a
/// report, and a violation that is raised or cleared publishes one at once.
///
/// Dropping a collector [stops](Self::stop) it.
///
/// ```
/// use std::time::Duration;
/// use tailwatch::{Collector, Trading, measure};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().start()?;
/// collector.install()?; // from now on, `measure` records into it on every thread
/// for order in 0..100 {
///     let _span = measure(Trading::OrderPlacement);
/// }
/// collector.flush();
/// if let Some(summary) = collector.stats(Trading::OrderPlacement, Duration::from_secs(60))? {
///     println!("{} orders, p99 {} ns", summary.count, summary.p99);
/// }
/// println!("{}", collector.report());
/// # Ok(())
/// # }
/// ```
pub struct Collector {
    /// The rings.
    pool: Arc<Pool>,
    drain: Arc<Mutex<Drain>>,
    /// The last report that the drain published.
    published: Arc<Published>,
    sampler: Arc<Mutex<Sampler>>,
    /// The raised and cleared violations that [`sla_changes`](Self::sla_changes) has not yet
    /// returned.
    changes: Arc<Mutex<ChangeQueue>>,
    /// `None` once the collector is stopped.
    driver: Mutex<Option<Driver>>,
    /// The settings that the collector was started with.
    in_force: InForce,
}

/// Whether the drain's thread or the program makes the passes of the drain.
#[derive(Debug)]
enum Driver {
    /// The drain's thread makes them.
    Thread(OwnThread<()>),
    /// The program makes them by calling [`Collector::drain`] or one of its variants.
    Caller,
}

impl Collector {
    /// Creates the collector, and starts the drain's thread unless the settings turn it off.
    pub(crate) fn spawn(
        pool: Arc<Pool>,
        drain: Drain,
        sampler: Arc<Mutex<Sampler>>,
        in_force: InForce,
    ) -> Result<Self, BuildError> {
        let placement = in_force.drain_placement();
        let mut collector = Self {
            pool,
            published: drain.published(),
            changes: drain.changes(),
            drain: Arc::new(Mutex::new(drain)),
            sampler,
            driver: Mutex::new(Some(Driver::Caller)),
            in_force,
        };
        if let Some(placement) = placement.filter(|_| !OFF) {
            collector.start_thread(placement)?;
        }
        process::add(&collector.pool).map_err(|in_use| BuildError::ClockSource {
            source: collector.pool.clock().source(),
            in_use,
        })?;
        Ok(collector)
    }

    /// Starts the drain's thread, and waits until it has the requested core and priority.
    fn start_thread(&mut self, placement: Placement) -> Result<(), BuildError> {
        let (drain, pool) = (Arc::clone(&self.drain), Arc::clone(&self.pool));
        let thread = OwnThread::spawn("tailwatch-drain", placement, move || {
            lock(&drain).set_own_thread();
            // A hook may have forked: then this is a thread of the child, which has no drain.
            while !pool.is_stopping() && !pool.is_inherited() {
                let pause = exclusive::run(&drain, &pool, PassKind::Due)
                    .map(|result| result.pause)
                    .unwrap_or_default();
                thread::park_timeout(pause);
            }
            exclusive::run(&drain, &pool, PassKind::Last);
        })?;
        if let Some(thread) = thread.thread() {
            self.pool.set_drain_thread(thread.clone());
        }
        self.in_force.note_not_moved(thread.not_moved());
        self.driver = Mutex::new(Some(Driver::Thread(thread)));
        Ok(())
    }

    /// Installs this collector as the one that the free functions, such as
    /// [`measure`](crate::measure()), record into. This holds on every thread except those that are
    /// registered with another collector that has not stopped.
    ///
    /// # Errors
    /// Returns an error if this collector has stopped, if another collector is installed and has
    /// not stopped, or in a process that was forked from that of this collector. A collector that
    /// such a process starts itself can be installed.
    pub fn install(&self) -> Result<(), InstallError> {
        if self.pool.is_inherited() {
            return Err(InstallError::Forked);
        }
        if self.pool.is_stopped() {
            return Err(InstallError::Stopped);
        }
        if process::install(&self.pool) { Ok(()) } else { Err(InstallError::AlreadyInstalled) }
    }

    /// Gives the current thread a ring of this collector. The thread keeps the ring until it ends
    /// or registers with another collector, or until this collector has stopped and another one is
    /// installed. Reports show the thread under this name.
    ///
    /// A thread that already has a ring of this collector keeps the ring and its previous name. A
    /// thread that is not registered takes a ring of the installed collector with its first record,
    /// which then locks and allocates.
    ///
    /// The ring of a thread that has ended goes on to the next thread that needs one. If there is
    /// none, this allocates a ring.
    ///
    /// # Errors
    /// Returns an error if all rings are taken, if there is no memory for a further one, if the
    /// collector has stopped, if the thread is ending, or in a process that was forked from that of
    /// the collector.
    pub fn register_thread(&self, name: &str) -> Result<(), RegisterError> {
        register(&self.pool, name)
    }

    /// Returns whether [`stop`](Self::stop) was called. The collector then accepts no new records,
    /// but the drain may still be making its last pass, so the last report may not be published
    /// yet.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = tailwatch::Collector::builder().start()?;
    /// assert!(!collector.is_stopped());
    /// collector.stop();
    /// assert!(collector.is_stopped());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_stopped(&self) -> bool {
        self.pool.is_stopped()
    }

    /// Returns a closure that does what [`register_thread`](Self::register_thread) does, for the
    /// thread on which it is called.
    pub(crate) fn registration(
        &self,
    ) -> impl FnOnce(&str) -> Result<(), RegisterError> + Send + use<> {
        let pool = Arc::clone(&self.pool);
        move |name| register(&pool, name)
    }

    /// Switches recording off for good, drains everything recorded before, publishes the last
    /// report and ends the drain's thread.
    ///
    /// Spans that begin later, and values and durations that are recorded later, count as
    /// [unregistered](crate::Health::unregistered): [`health`](Self::health) and
    /// [`report`](Self::report) still update that number after the stop. A span that is open when
    /// the collector stops can still end: if the last pass reads its END, the END is delivered.
    /// Otherwise the span remains open in the last report, and its END counts as unregistered.
    ///
    /// Blocks until the drain's thread has ended. A second call blocks as well if the first has not
    /// returned yet. Without a drain thread
    /// ([`Builder::manual_drain`](crate::Builder::manual_drain)), the last pass runs on the current
    /// thread, and the call blocks until it is over.
    ///
    /// An observer or hook ([`Builder::observer`](crate::Builder::observer),
    /// [`Builder::on_sla_change`](crate::Builder::on_sla_change)) that calls this does not wait: it
    /// runs inside a pass, which could otherwise never end. If that is a pass of this collector,
    /// the call returns at once, and the last pass is made after the current one.
    ///
    /// In a process that was forked from that of the collector, this only switches recording off:
    /// there is no drain, and the collector of the parent process goes on.
    pub fn stop(&self) {
        if self.pool.is_inherited() {
            self.pool.stop();
            return;
        }
        let in_pass = exclusive::is_inside_pass();
        // Inside a pass, the lock is only tried: another thread that is stopping the collector
        // holds it while it waits for this pass.
        let guard = if in_pass { self.driver.try_lock().ok() } else { Some(lock(&self.driver)) };
        let Some(mut guard) = guard else { return };
        let Some(driver) = guard.take() else { return };
        self.pool.stop();
        if let Driver::Thread(thread) = &driver
            && let Some(thread) = thread.thread()
        {
            thread.unpark();
        }
        // Inside a pass, waiting for the drain's thread would never end: it is this thread, or it
        // waits for this pass.
        if in_pass {
            // Without a drain thread, the program may never make another pass.
            if matches!(driver, Driver::Caller) {
                exclusive::run_last_unless_busy(&self.drain, &self.pool);
            }
            return;
        }
        // If the drain's thread has panicked, the last pass is made here. Panics of observers are
        // caught, so only a bug can cause this.
        let finished = match driver {
            Driver::Thread(mut thread) => thread.join().is_some_and(|result| result.is_ok()),
            Driver::Caller => false,
        };
        if !finished {
            exclusive::run(&self.drain, &self.pool, PassKind::Last);
        }
    }

    /// Returns the settings that this collector was started with, each with its origin.
    pub fn settings(&self) -> &Settings {
        self.in_force.settings()
    }

    /// Returns the part of [`explain`](Self::explain) that lists, line by line, the limits in force
    /// and those that were replaced at the start, each with its origin. Print it when the program
    /// starts: a wrong line of a file may disarm a kill switch.
    ///
    /// ```
    /// let collector = tailwatch::Collector::builder().start()?;
    /// let limits = collector.explain_limits();
    /// assert!(limits.starts_with("limits: 8 in force\n"));
    /// let line = "  order_placement p95 over 60 s: at most 20.0 ms (declared)\n";
    /// assert!(limits.contains(line));
    /// # Ok::<(), tailwatch::BuildError>(())
    /// ```
    pub fn explain_limits(&self) -> String {
        LimitLines { settings: self.settings(), report: &self.report() }.to_string()
    }

    /// Returns a description for people, one fact per line: the settings and where each came from,
    /// the limits, the sampling, the clock, what a span costs its thread
    /// ([`Health::record_ns`](crate::Health::record_ns)) and the drain, the memory, the core and
    /// priority of the drain's thread, and how many spans per second each thread can record without
    /// a loss while the drain pauses for [`Builder::max_period`](crate::Builder::max_period). The
    /// memory that is in use and what it may grow to are listed separately.
    ///
    /// The format may change in any release.
    pub fn explain(&self) -> String {
        // An inherited lock may be held for ever.
        let sampler = (!self.pool.is_inherited()).then(|| lock(&self.sampler));
        let sampling = sampler.iter().flat_map(|sampler| sampler.all());
        self.in_force.explain(&self.pool, &self.report(), sampling)
    }
}

/// Gives the current thread a ring of the installed collector, as [`Collector::register_thread`]
/// does.
///
/// # Errors
/// Returns an error if no collector is installed, and if [`Collector::register_thread`] does.
pub fn register_thread(name: &str) -> Result<(), RegisterError> {
    let installed = Guard::into_inner(process::installed());
    register(&installed.ok_or(RegisterError::NotInstalled)?, name)
}

fn register(pool: &Arc<Pool>, name: &str) -> Result<(), RegisterError> {
    if pool.is_inherited() {
        return Err(RegisterError::Forked);
    }
    if pool.is_stopped() {
        return Err(RegisterError::Stopped);
    }
    if attachment::register(pool, name) {
        Ok(())
    } else if attachment::is_ending() {
        Err(RegisterError::ThreadEnding)
    } else if pool.lacks_memory() {
        Err(RegisterError::NoMemory { max_ring_bytes: pool.settings().max_bytes })
    } else {
        Err(RegisterError::AllTaken { rings: pool.lane_count() })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if self.pool.is_inherited() {
            // Leaked: an observer or hook may write into a file of the parent when it is dropped.
            mem::forget(Arc::clone(&self.drain));
        }
        self.stop();
        process::uninstall(&self.pool);
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("pool", &self.pool).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
