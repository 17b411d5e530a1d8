//! The collector, which a program starts once, records into and queries.

mod control;
mod error;
mod passes;
mod queries;

use core::fmt;
use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use arc_swap::ArcSwap;

pub use self::error::{InstallError, QueryError, RegisterError, SetLimitsError};
use crate::{
    BuildError, Builder, Report, Settings,
    drain::{Drain, PassKind, exclusive},
    drain_thread::DrainPlacement,
    explain::InForce,
    pool::Pool,
    sampling::Sampler,
    sla::ChangeQueue,
    sync::{Mutex, lock},
    thread_recorder,
};

/// Owns the rings, the statistics and the thread that drains the rings.
///
/// Queries read the last published report. A report is published at most 10 ms after a pass of the
/// drain. Queries never wait for the drain, nor does the drain wait for queries. Call
/// [`flush`](Self::flush) first to include everything recorded so far.
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
    pool: Arc<Pool>,
    drain: Arc<Mutex<Drain>>,
    published: Arc<ArcSwap<Report>>,
    sampler: Arc<Mutex<Sampler>>,
    changes: Arc<Mutex<ChangeQueue>>,
    /// `None` once the collector is stopped.
    driver: Mutex<Option<Driver>>,
    in_force: InForce,
}

/// What makes the passes of a collector.
#[derive(Debug)]
enum Driver {
    /// The drain's thread.
    Thread(JoinHandle<()>),
    /// Calls of [`Collector::drain`] and its variants.
    Caller,
}

impl Collector {
    /// Returns a builder with default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Creates the collector, and starts the drain's thread unless the settings exclude it.
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
        if let Some(placement) = placement.filter(|_| !thread_recorder::OFF) {
            collector.start_thread(placement)?;
        }
        Ok(collector)
    }

    /// Starts the drain's thread, and waits until it has the requested core and priority.
    fn start_thread(&mut self, placement: DrainPlacement) -> Result<(), BuildError> {
        let (sender, placed) = mpsc::channel();
        let thread = thread::Builder::new().name("tailwatch-drain".to_owned()).spawn({
            let (drain, pool) = (Arc::clone(&self.drain), Arc::clone(&self.pool));
            move || {
                // The result is ignored because the receiver waits for this message.
                let _ = sender.send(placement.apply());
                while !pool.is_stopping() {
                    let pause = exclusive::run(&drain, &pool, PassKind::Due)
                        .map(|result| result.pause)
                        .unwrap_or_default();
                    thread::park_timeout(pause);
                }
                exclusive::run(&drain, &pool, PassKind::Last);
            }
        });
        let thread = thread.map_err(BuildError::Thread)?;
        self.pool.set_drain_thread(thread.thread().clone());
        self.driver = Mutex::new(Some(Driver::Thread(thread)));
        // On an error, the caller drops the collector, which ends the thread.
        placed.recv().unwrap_or_else(|error| Err(BuildError::Thread(io::Error::other(error))))
    }

    /// Installs this collector: the free functions, such as [`measure`](crate::measure()), record
    /// into it on every thread that is not registered with another collector.
    ///
    /// # Errors
    /// If this collector has stopped, or another one is installed that has not stopped.
    pub fn install(&self) -> Result<(), InstallError> {
        if self.pool.is_stopped() {
            return Err(InstallError::Stopped);
        }
        if thread_recorder::install(&self.pool) { Ok(()) } else { Err(InstallError::Taken) }
    }

    /// Takes a ring for the current thread, under this name, until the thread ends or registers
    /// with another collector.
    ///
    /// A thread that already has a ring of this collector keeps the ring and its name. A thread
    /// that is not registered takes a ring of the installed collector with its first record, which
    /// then locks and allocates.
    ///
    /// If all rings are taken and threads have just ended, this waits up to half a second for one
    /// of their rings. It does not wait inside an observer or hook.
    ///
    /// # Errors
    /// If all rings are taken, or the collector has stopped.
    pub fn register_thread(&self, name: &str) -> Result<(), RegisterError> {
        register(&self.pool, name)
    }

    /// Whether the collector was stopped, so that nothing is recorded any more. The last pass may
    /// still be running.
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

    /// Returns a closure that registers the thread on which it is called, as
    /// [`register_thread`](Self::register_thread) does.
    pub(crate) fn registration(
        &self,
    ) -> impl FnOnce(&str) -> Result<(), RegisterError> + Send + use<> {
        let pool = Arc::clone(&self.pool);
        move |name| register(&pool, name)
    }

    /// Switches recording off for good, drains everything recorded before, publishes the last
    /// report and ends the drain's thread. Records that follow are counted as unregistered.
    ///
    /// Blocks until the thread has ended, as does a second call that is made meanwhile. A call by
    /// an observer or hook does not wait for the thread.
    ///
    /// Without a drain thread, the last pass runs on the current thread. If an observer or hook of
    /// this collector makes the call, the last pass runs once the current pass is over.
    pub fn stop(&self) {
        let in_pass = exclusive::is_inside_pass();
        let guard = if in_pass { self.driver.try_lock().ok() } else { Some(lock(&self.driver)) };
        // Another thread is stopping the collector, and may wait for the very pass in which this
        // observer runs.
        let Some(mut guard) = guard else { return };
        let Some(driver) = guard.take() else { return };
        self.pool.stop();
        if let Driver::Thread(thread) = &driver {
            thread.thread().unpark();
        }
        // Inside a pass, waiting for the drain's thread would never end: it is this thread, or it
        // waits for this pass.
        if in_pass {
            // Without a drain thread, this may be the last chance to make a pass.
            if matches!(driver, Driver::Caller) {
                exclusive::run_last_unless_busy(&self.drain, &self.pool);
            }
            return;
        }
        // If the drain's thread has panicked, which panics of observers do not cause, the last pass
        // is made here.
        let finished = match driver {
            Driver::Thread(thread) => thread.join().is_ok(),
            Driver::Caller => false,
        };
        if !finished {
            exclusive::run(&self.drain, &self.pool, PassKind::Last);
        }
    }

    /// Returns the settings that this collector was started with, and where each value came from.
    pub fn settings(&self) -> &Settings {
        self.in_force.settings()
    }

    /// Describes the collector for people, one fact per line: the settings and their origins, the
    /// limits, the sampling, the clock, the memory, the core and priority of the drain's thread,
    /// and the rate of spans that the rings are large enough for.
    ///
    /// The format is not stable.
    pub fn explain(&self) -> String {
        let sampler = lock(&self.sampler);
        self.in_force.explain(&self.pool, &self.report(), sampler.all())
    }
}

/// Takes a ring of the installed collector for the current thread, as
/// [`Collector::register_thread`] does.
///
/// # Errors
/// If no collector is installed, or it has stopped, or all its rings are taken.
pub fn register_thread(name: &str) -> Result<(), RegisterError> {
    register(&thread_recorder::installed().ok_or(RegisterError::NotInstalled)?, name)
}

fn register(pool: &Arc<Pool>, name: &str) -> Result<(), RegisterError> {
    if pool.is_stopped() {
        return Err(RegisterError::Stopped);
    }
    // An observer must not wait for a ring, because no ring becomes free until its pass is over.
    if thread_recorder::register(pool, name, !exclusive::is_inside_pass()) {
        Ok(())
    } else {
        Err(RegisterError::AllTaken { rings: pool.rings() })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
        thread_recorder::uninstall(&self.pool);
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("pool", &self.pool).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
