//! The collector: what a program starts once and asks about itself.

mod error;

use core::{fmt, time::Duration};
use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use arc_swap::ArcSwap;
use tailwatch_core::{Accuracy, Event, EventId, Limit, Quantile, SlaState, Summary};

pub use self::error::{InstallError, QueryError, RegisterError, SetLimitsError};
use crate::{
    BuildError, Builder, Health, Report, Sampling, SamplingError, Settings, SlaChanges, SlaReport,
    SlowSample, Statistics,
    drain::exclusive,
    drain::{Drain, Passed, Take},
    drain_thread::DrainPlacement,
    explain::InForce,
    pool::Pool,
    report::EventReport,
    sampling::{self, Sampler},
    sla::ChangeQueue,
    sync::{Mutex, lock},
    thread_recorder,
};

/// Owns the rings, the drain's thread and what they found out.
///
/// Queries read the report that the drain published last, at most 10 ms after its last pass: they never wait for the
/// drain, nor does it wait for them. [`flush`](Self::flush) makes them see everything recorded so far.
///
/// Dropping it is [`stop`](Self::stop).
///
/// ```
/// use std::time::Duration;
/// use tailwatch::{Collector, Trading, measure};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().start()?;
/// collector.install()?; // from now on `measure` records into it, on every thread
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
    /// Until it is stopped.
    driver: Mutex<Option<Driver>>,
    in_force: InForce,
}

/// Who makes the passes.
#[derive(Debug)]
enum Driver {
    /// The drain's thread.
    Thread(JoinHandle<()>),
    /// Who calls [`Collector::drain`].
    Owner,
}

/// Where reports are published.
#[derive(Debug)]
pub(crate) struct Published {
    pool: Arc<Pool>,
    report: Arc<ArcSwap<Report>>,
}

impl Published {
    /// The last one, with what is known better now.
    pub(crate) fn report(&self) -> Report {
        let mut report = Report::clone(&self.report.load());
        report.health.enabled = self.pool.gate().is_enabled();
        report.health.unregistered = self.pool.unregistered();
        report.finished = self.pool.is_finished();
        report
    }
}

impl Collector {
    /// Begins to set up a collector.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts the drain's thread, unless `in_force` has it that there is none.
    pub(crate) fn spawn(
        pool: Arc<Pool>,
        drain: Drain,
        sampler: Arc<Mutex<Sampler>>,
        in_force: InForce,
    ) -> Result<Self, BuildError> {
        let seat = in_force.seat();
        let mut collector = Self {
            pool,
            published: drain.published(),
            changes: drain.changes(),
            drain: Arc::new(Mutex::new(drain)),
            sampler,
            driver: Mutex::new(Some(Driver::Owner)),
            in_force,
        };
        if let Some(seat) = seat.filter(|_| !thread_recorder::OFF) {
            collector.start_thread(seat)?;
        }
        Ok(collector)
    }

    fn start_thread(&mut self, seat: DrainPlacement) -> Result<(), BuildError> {
        let (seated, is_seated) = mpsc::channel();
        let thread = thread::Builder::new().name("tailwatch-drain".to_owned()).spawn({
            let (drain, pool) = (Arc::clone(&self.drain), Arc::clone(&self.pool));
            move || {
                // Somebody listens, unless the other side panicked.
                let _ = seated.send(seat.take());
                while !pool.is_stopping() {
                    let rest = exclusive::make(&drain, &pool, Take::Due)
                        .map(|passed| passed.rest)
                        .unwrap_or_default();
                    thread::park_timeout(rest);
                }
                exclusive::make(&drain, &pool, Take::Last);
            }
        });
        let thread = thread.map_err(BuildError::Thread)?;
        self.pool.set_drain(thread.thread().clone());
        self.driver = Mutex::new(Some(Driver::Thread(thread)));
        // If it was refused its place, dropping the collector ends it.
        is_seated.recv().unwrap_or_else(|error| Err(BuildError::Thread(io::Error::other(error))))
    }

    /// Makes this the collector of all threads that are not registered with another.
    ///
    /// # Errors
    /// If another one is installed that has not stopped, or this one has.
    pub fn install(&self) -> Result<(), InstallError> {
        if self.pool.is_stopped() {
            return Err(InstallError::Stopped);
        }
        if thread_recorder::install(&self.pool) { Ok(()) } else { Err(InstallError::Taken) }
    }

    /// Takes a ring for the current thread under this name, until the thread ends or registers with another collector. A
    /// thread that has one of this collector keeps it and its name.
    ///
    /// A thread that is not registered takes a ring with its first record, which costs that record a lock and an allocation.
    /// This may wait, half a second at the most, for the ring of a thread that has just ended.
    ///
    /// # Errors
    /// If all rings are taken, or the collector has stopped.
    pub fn register_thread(&self, name: &str) -> Result<(), RegisterError> {
        register(&self.pool, name)
    }

    /// What is known of `event` over the window of this length; `None` if nothing happened in it.
    ///
    /// # Errors
    /// If the collector has no such event or window.
    pub fn stats(
        &self,
        event: impl Event,
        window: Duration,
    ) -> Result<Option<Summary>, QueryError> {
        self.query(event, window, |known| known.summary)
    }

    /// What is known of `event` since the start; `None` if nothing happened.
    ///
    /// # Errors
    /// If the collector has no such event.
    pub fn total(&self, event: impl Event) -> Result<Option<Summary>, QueryError> {
        Ok(find_event(&self.published.load(), event.id())?
            .total
            .as_ref()
            .map(|known| known.summary))
    }

    /// What is known of each event over the window of this length, as (name, summary), all of one moment.
    ///
    /// # Errors
    /// If the collector has no such window.
    pub fn all_stats(
        &self,
        window: Duration,
    ) -> Result<Vec<(&'static str, Option<Summary>)>, QueryError> {
        let report = self.published.load();
        let summary = |known: Option<&Statistics>| known.map(|known| known.summary);
        report
            .events
            .iter()
            .map(|event| Ok((event.name, summary(find_window(event, window)?))))
            .collect()
    }

    /// Any quantile of `event` over the window of this length, in nanoseconds or the event's unit, and how far it may be off;
    /// `None` if nothing happened in it. Computed here, from what was published.
    ///
    /// # Errors
    /// If the collector has no such event or window.
    pub fn quantile(
        &self,
        event: impl Event,
        window: Duration,
        quantile: Quantile,
    ) -> Result<Option<(u64, Accuracy)>, QueryError> {
        self.query(event, window, |known| known.quantile(quantile))
    }

    /// The slowest of `event` in the window of this length, the slowest first.
    ///
    /// # Errors
    /// If the collector has no such event or window.
    pub fn slowest(
        &self,
        event: impl Event,
        window: Duration,
    ) -> Result<Vec<SlowSample>, QueryError> {
        Ok(self.query(event, window, |known| known.slowest.clone())?.unwrap_or_default())
    }

    fn query<T>(
        &self,
        event: impl Event,
        window: Duration,
        ask: impl FnOnce(&Statistics) -> T,
    ) -> Result<Option<T>, QueryError> {
        let report = self.published.load();
        Ok(find_window(find_event(&report, event.id())?, window)?.map(ask))
    }

    /// Whether one of the limits of `event` is violated, as of the drain's last pass: one relaxed load, wait-free. A bot's kill
    /// switch may ask before each order. Of an event that was not announced, `false`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tailwatch::{Collector, Limit, Quantile, Threshold, Trading, record_duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().start()?; // p95 of order placements: 20 ms over the last minute
    /// collector.register_thread("main")?;
    /// record_duration(Trading::OrderPlacement, Duration::from_millis(80));
    /// collector.flush();
    /// assert!(collector.breached(Trading::OrderPlacement));
    ///
    /// let patient = Threshold::duration(Quantile::P99, Duration::from_millis(200));
    /// collector.set_limits(Trading::OrderPlacement, &[Limit::Quantile(patient)])?;
    /// assert!(!collector.breached(Trading::OrderPlacement));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn breached(&self, event: impl Event) -> bool {
        self.pool.is_breached(event.id())
    }

    /// The limits over the window of this length that are violated, as of the last report.
    ///
    /// # Errors
    /// If the collector has neither such a window nor a limit over one.
    pub fn sla_violations(&self, window: Duration) -> Result<Vec<SlaReport>, QueryError> {
        let report = self.published.load();
        let over =
            || report.sla.iter().filter(|limit| limit.quantile.is_some() && limit.window == window);
        if let (None, Some(event)) = (over().next(), report.events.first()) {
            find_window(event, window)?;
        }
        Ok(over().filter(|limit| limit.state == SlaState::Violated).cloned().collect())
    }

    /// Takes the changes of limits, raised and cleared, that have come since the last call; of more than 256, the newest.
    /// Blocks no longer than it takes to copy them.
    pub fn sla_changes(&self) -> SlaChanges {
        lock(&self.changes).take()
    }

    /// Has `event` keep these limits from now on, instead of those it had. One that stays as it was keeps its state; a new or
    /// changed one begins as unknown, and counts what comes from now on. Of one that goes nothing more is told: if it was violated, it
    /// is not cleared. Makes a pass, and blocks while another one runs.
    ///
    /// # Errors
    /// If one of them cannot be watched, or there are too many; then all stays as it was. From inside an observer or hook.
    pub fn set_limits(&self, event: impl Event, limits: &[Limit]) -> Result<(), SetLimitsError> {
        if exclusive::is_inside() {
            return Err(SetLimitsError::InsidePass);
        }
        // What was recorded before is not counted by the new limits: it is drained first.
        self.flush();
        let set = lock(&self.drain).set_limits(event.id(), limits).map_err(SetLimitsError::Refused);
        self.finish_if_stopped();
        set
    }

    /// Has a share of the spans of `event` recorded: 1 for all of them, else the nearest power of two, which is returned. It takes
    /// the place of a rate limit or budget.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = tailwatch::Collector::builder().start()?;
    /// assert_eq!(collector.set_sampling_rate(tailwatch::Trading::EventBusPublish, 0.1)?, 0.125);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the rate is not above 0 and at most 1, or the event was not announced.
    pub fn set_sampling_rate(&self, event: impl Event, rate: f64) -> Result<f64, SamplingError> {
        self.set_sampling(event, Sampling::Rate(rate))
    }

    /// Sets how `event` is sampled, and returns the share that is recorded from now on.
    ///
    /// # Errors
    /// If a number in it makes no sense, or the event was not announced.
    pub fn set_sampling(
        &self,
        event: impl Event,
        sampling: Sampling,
    ) -> Result<f64, SamplingError> {
        let (id, sampling) = (event.id(), sampling.check()?);
        let mut sampler = lock(&self.sampler);
        let k = sampler.set(id, sampling).ok_or(SamplingError::UnknownEvent { id })?;
        self.pool.turn(|gate| {
            gate.set_sampling(id, k);
        });
        Ok(sampling::share(k))
    }

    /// Turns recording of one event on or off. Its spans that are open are still ended.
    pub fn set_event_enabled(&self, event: impl Event, enabled: bool) {
        self.pool.turn(|gate| gate.set_event_enabled(event.id(), enabled));
    }

    /// The report that was published last, with the switch and the count of unregistered records as they are now.
    pub fn report(&self) -> Report {
        self.published().report()
    }

    /// The report that was published last, as it was published then: it is shared, not copied, so that to look often whether there is a
    /// new one costs next to nothing.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = tailwatch::Collector::builder().manual_drain().start()?;
    /// let seen = collector.published_report();
    /// assert!(Arc::ptr_eq(&seen, &collector.published_report()));
    /// collector.flush();
    /// assert!(!Arc::ptr_eq(&seen, &collector.published_report()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn published_report(&self) -> Arc<Report> {
        self.published.load_full()
    }

    /// Whether it was stopped, so that nothing is recorded any more; the last pass may still be under way.
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

    /// Where its reports are published, for who outlives this borrow.
    pub(crate) fn published(&self) -> Published {
        Published { pool: Arc::clone(&self.pool), report: Arc::clone(&self.published) }
    }

    /// Registers the thread that calls it, as [`register_thread`](Self::register_thread) does.
    pub(crate) fn registration(
        &self,
    ) -> impl FnOnce(&str) -> Result<(), RegisterError> + Send + use<> {
        let pool = Arc::clone(&self.pool);
        move |name| register(&pool, name)
    }

    /// What was produced, delivered and lost, as of the last report; the switch and the count of unregistered records as
    /// they are now.
    pub fn health(&self) -> Health {
        let health = self.published.load().health.clone();
        Health {
            enabled: self.pool.gate().is_enabled(),
            unregistered: self.pool.unregistered(),
            ..health
        }
    }

    /// Bytes taken by rings, windows and histograms; they do not grow.
    pub fn memory_bytes(&self) -> usize {
        usize::try_from(self.published.load().health.memory_bytes).unwrap_or(usize::MAX)
    }

    /// Turns recording on or off, for all events and threads at once. Spans that are open are still ended.
    ///
    /// A collector that has stopped stays off.
    pub fn set_enabled(&self, enabled: bool) {
        self.pool.turn(|gate| gate.set_enabled(enabled));
    }

    /// One pass of the drain, in the current thread; returns how long it may rest until the next, which is at most
    /// [`Builder::max_period`]. Of a collector that was set up by [`Builder::manual_drain`], this is what makes records arrive.
    ///
    /// It takes a ring once there is enough in it or its period is over; [`flush`](Self::flush) takes all at once. Blocks while
    /// another pass runs. From inside an observer it does nothing and returns 0; once the collector has stopped, nothing and the
    /// longest rest.
    ///
    /// ```
    /// use tailwatch::{Collector, Trading, measure};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().manual_drain().start()?;
    /// collector.install()?;
    /// for order in 0..3 {
    ///     drop(measure(Trading::OrderPlacement));
    ///     let rest = collector.drain(); // the loop may do other things for so long
    ///     assert!(rest <= std::time::Duration::from_millis(100));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain(&self) -> Duration {
        let none = || {
            if exclusive::is_inside() { Duration::ZERO } else { self.settings().max_period.value }
        };
        self.pass(Take::Due).map_or_else(none, |passed| passed.rest)
    }

    /// As [`drain`](Self::drain), but no more than `most` records are taken (0 counts as 1), so that the call is soon over: for a
    /// loop that has others to serve. If it returns 0, the next call is due at once, as a rule because there is more to take. It goes on where this one
    /// stopped, so that no ring is left behind. From inside an observer it does nothing and returns the longest rest.
    ///
    /// A record takes some tens of nanoseconds, what observers take besides; a report, at most every 10 ms, some microseconds an
    /// event.
    ///
    /// ```
    /// use tailwatch::{Collector, Trading, measure};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().manual_drain().start()?;
    /// collector.install()?;
    /// for order in 0..5_000 {
    ///     drop(measure(Trading::OrderPlacement));
    /// }
    /// let mut turns = 1;
    /// while collector.drain_up_to(4_096).is_zero() {
    ///     turns += 1; // and others may have a turn
    /// }
    /// assert!(turns >= 3); // 10,000 records
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain_up_to(&self, most: usize) -> Duration {
        self.pass(Take::UpTo(most)).map_or(self.settings().max_period.value, |passed| passed.rest)
    }

    /// Drains, in the current thread, everything recorded before this call, and publishes it. Blocks while another pass
    /// runs. From inside an observer it does nothing.
    pub fn flush(&self) {
        self.pass(Take::All);
    }

    /// As [`flush`](Self::flush), but no more than `most` records are taken (0 counts as 1); returns whether some are left, and
    /// publishes once none are. It takes rings as [`drain_up_to`](Self::drain_up_to) does, where that would leave them alone for now.
    ///
    /// One that `drain_up_to` left half taken is taken as far as it was then: a last `flush`, which has little left to do, makes sure
    /// of the rest. From inside an observer, and once the collector has stopped, it does nothing and returns `false`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = tailwatch::Collector::builder().manual_drain().start()?;
    /// while collector.flush_up_to(4_096) {
    ///     // others may have a turn
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush_up_to(&self, most: usize) -> bool {
        self.pass(Take::AllUpTo(most)).is_some_and(|passed| passed.has_more)
    }

    fn pass(&self, take: Take) -> Option<Passed> {
        let passed = exclusive::make(&self.drain, &self.pool, take)?;
        self.finish_if_stopped();
        Some(passed)
    }

    /// An observer may have stopped the collector while somebody was at its drain, and no thread will make the last pass.
    fn finish_if_stopped(&self) {
        if self.in_force.is_manual() && self.pool.is_stopped() {
            exclusive::make(&self.drain, &self.pool, Take::Last);
        }
    }

    /// Turns recording off for good, drains what was recorded before, publishes the last report and ends the drain's thread.
    /// What is recorded later counts as unregistered. Blocks until the thread has ended, unless an observer calls it; so does
    /// a second call meanwhile. Without such a thread it drains in the current one; called by an observer of its own, after the
    /// pass that shows it records.
    pub fn stop(&self) {
        let in_pass = exclusive::is_inside();
        let driver = if in_pass { self.driver.try_lock().ok() } else { Some(lock(&self.driver)) };
        // Somebody else is stopping it, and waits for the pass that this observer is called in.
        let Some(mut driver) = driver else { return };
        let Some(taken) = driver.take() else { return };
        self.pool.stop();
        if let Driver::Thread(thread) = &taken {
            thread.thread().unpark();
        }
        // From inside a pass, the drain's thread cannot be waited for: it is this one, or waits for this pass to end.
        if in_pass {
            // Nobody may ever make another pass of one without a thread.
            if matches!(taken, Driver::Owner) {
                exclusive::make_last_unless_busy(&self.drain, &self.pool);
            }
            return;
        }
        // Observers' panics are caught inside; should the thread have died all the same, this pass is the last.
        let finished = match taken {
            Driver::Thread(thread) => thread.join().is_ok(),
            Driver::Owner => false,
        };
        if !finished {
            exclusive::make(&self.drain, &self.pool, Take::Last);
        }
    }

    /// The settings that this collector was started with, and where each came from.
    pub fn settings(&self) -> &Settings {
        self.in_force.settings()
    }

    /// What is in force and why, for people, a line each: the settings and where they came from, limits, sampling, the clock,
    /// memory, the drain's place, and which rate of spans the rings are large enough for. Its format is not fixed.
    pub fn explain(&self) -> String {
        let sampler = lock(&self.sampler);
        self.in_force.explain(&self.pool, &self.report(), sampler.all())
    }
}

fn find_event(report: &Report, id: EventId) -> Result<&EventReport, QueryError> {
    report.event(id).ok_or(QueryError::UnknownEvent { id })
}

fn find_window(event: &EventReport, length: Duration) -> Result<Option<&Statistics>, QueryError> {
    let found = event.windows.iter().find(|window| window.length == length);
    found.map(|window| window.statistics.as_ref()).ok_or_else(|| QueryError::UnknownWindow {
        length,
        known: event.windows.iter().map(|window| window.length).collect(),
    })
}

/// Takes a ring of the installed collector for the current thread; see [`Collector::register_thread`].
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
    // An observer must not wait for a ring: the pass it runs in is what gives rings back.
    if thread_recorder::register(pool, name, !exclusive::is_inside()) {
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
