//! The builder of a collector.

mod error;

use core::{fmt, time::Duration};
use std::{ffi::OsString, path::PathBuf, sync::Arc};

use tailwatch_core::{Event, EventId, EventInfo, Limit, Ring, Shape, Trading, WindowSpec};

pub use self::error::BuildError;
use crate::{
    ClockMode, ClockSetting, ClockSource, Collector, Delivery, DrainPriority, HostClock, Origin,
    Sampling, SamplingError, Setting, Settings, SettingsError, SlaChange,
    drain::{Drain, Setup},
    drain_thread,
    explain::InForce,
    observer::{Callback, Hook, Observers},
    poll_interval::MIN_PERIOD,
    pool::Pool,
    sampling::Sampler,
    settings::Environment,
    sync::Mutex,
    thread_recorder::OFF,
};

/// The upper bound of [`Builder::max_period`].
const MAX_PERIOD: Duration = Duration::from_hours(1);

/// The upper bound of [`Builder::exact_samples`]. With more samples, selecting quantiles would take
/// too much of a pass.
const MAX_EXACT_SAMPLES: usize = 65_536;

/// Configures and starts a [`Collector`]; created by [`Collector::builder`].
///
/// A configuration file and environment variables can override every setting of the builder that is
/// listed in [`Settings`].
#[must_use = "a builder does nothing until `start`"]
#[derive(Default)]
pub struct Builder {
    events: Vec<EventInfo>,
    settings: Settings,
    environment: Environment,
    observers: Vec<Callback>,
    hooks: Vec<Hook>,
}

impl Builder {
    /// Adds a set of events to collect, such as `MyEvents::ALL`.
    ///
    /// It may be called several times. Without a call, the collector has the events of [`Trading`].
    pub fn events(mut self, events: &[EventInfo]) -> Self {
        self.events.extend_from_slice(events);
        self
    }

    /// Sets the windows. By default, they are 1 s, 5 s and 60 s long.
    pub fn windows(mut self, windows: &[WindowSpec]) -> Self {
        self.settings.windows.offer(windows.to_vec(), Origin::Builder);
        self
    }

    /// Sets how many records each ring holds: a power of two, by default 16,384 (256 KiB).
    ///
    /// While the drain pauses, a thread may write `records` − 64 records without a loss, two per
    /// span. The drain pauses for [`max_period`](Self::max_period) at most, if it gets a core. On a
    /// busy machine, leave a factor of four.
    pub fn ring_capacity(mut self, records: usize) -> Self {
        self.settings.ring_capacity.offer(records, Origin::Builder);
        self
    }

    /// Sets the number of rings, and thus how many threads can record at the same time: 8 by
    /// default.
    ///
    /// The records of further threads are counted as unregistered.
    pub fn rings(mut self, rings: usize) -> Self {
        self.settings.rings.offer(rings, Origin::Builder);
        self
    }

    /// Sets whether the clock read at the end of a span waits for the measured work: by default
    /// [`ClockMode::Ordered`], which waits.
    pub fn clock_mode(mut self, mode: ClockMode) -> Self {
        // `monotonic_clock` has precedence, even if it was called first.
        if self.settings.clock.value != ClockSetting::Monotonic {
            self.settings.clock.offer(mode.into(), Origin::Builder);
        }
        self
    }

    /// Selects the operating system's monotonic clock, even if the processor's counter is reliable.
    pub fn monotonic_clock(mut self) -> Self {
        self.settings.clock.offer(ClockSetting::Monotonic, Origin::Builder);
        self
    }

    /// Sets how many of the newest samples of each event are kept for exact quantiles: 0 to 65,536,
    /// by default 512.
    ///
    /// The time to compute a summary grows with this number.
    pub fn exact_samples(mut self, samples: usize) -> Self {
        self.settings.exact_samples.offer(samples, Origin::Builder);
        self
    }

    /// Pins the drain's thread to this core, by the operating system's number. By default, it is
    /// not pinned.
    pub fn drain_core(mut self, core: usize) -> Self {
        self.settings.drain_core.offer(Some(core), Origin::Builder);
        self
    }

    /// Sets the priority of the drain's thread. By default, the thread inherits the priority of the
    /// thread that calls [`start`](Self::start).
    pub fn drain_priority(mut self, priority: DrainPriority) -> Self {
        self.settings.drain_priority.offer(priority, Origin::Builder);
        self
    }

    /// Starts no drain thread, so that the program has to drain.
    ///
    /// The rings are drained only when a thread calls [`Collector::drain`],
    /// [`flush`](Collector::flush) or [`stop`](Collector::stop), or one of their variants, and on
    /// that thread. Size the rings for the time between two calls. The ring of a thread that has
    /// ended becomes free with the next call.
    pub fn manual_drain(mut self) -> Self {
        self.settings.manual_drain.offer(true, Origin::Builder);
        self
    }

    /// Sets whether the rings are locked in memory, so that the operating system cannot swap them
    /// out: by default they are not.
    ///
    /// The size of all rings counts against the process's limit of locked memory (`RLIMIT_MEMLOCK`,
    /// often 8 MiB or less). Windows and histograms are never locked, because only the drain
    /// accesses them.
    pub fn mlock(mut self, lock: bool) -> Self {
        self.settings.mlock.offer(lock, Origin::Builder);
        self
    }

    /// Sets whether recording is on from the start: by default it is. [`Collector::set_enabled`]
    /// switches it later.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.settings.enabled.offer(enabled, Origin::Builder);
        self
    }

    /// Reads settings from this file, whose values override those of the builder: see [`Settings`].
    ///
    /// If the environment variable `TAILWATCH_CONFIG` names a file, that file is read instead.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.config_file.offer(Some(path.into()), Origin::Builder);
        self
    }

    /// Ignores the process's environment variables.
    pub fn ignore_environment(self) -> Self {
        self.environment([] as [(OsString, OsString); 0])
    }

    /// Reads settings from these variables instead of the process's environment.
    ///
    /// This is for tests, and for programs that get their variables from elsewhere. Variables whose
    /// names do not begin with `TAILWATCH_` are ignored.
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let given = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.environment = Environment::Given(given.collect());
        self
    }

    /// Sets the longest poll interval, after which the drain reads a ring however few records it
    /// holds: 1 ms to 1 hour, by default 100 ms.
    pub fn max_period(mut self, period: Duration) -> Self {
        self.settings.max_period.offer(period, Origin::Builder);
        self
    }

    /// Adds an observer, which is called with every delivered record, on the thread that drains.
    ///
    /// A panic of an observer is caught and counted. Nothing is drained while an observer runs, so
    /// a slow observer can cause records to be overwritten.
    pub fn observer(mut self, observer: impl FnMut(&Delivery<'_>) + Send + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Sets the limits of all events, in place of the limits that are declared with the events.
    ///
    /// [`parse_limits`](crate::parse_limits) reads such limits from a file.
    pub fn limits(mut self, limits: &[(EventId, Limit)]) -> Self {
        self.settings.limits.offer(Some(limits.to_vec()), Origin::Builder);
        self
    }

    /// Adds a hook, which is called for each limit that is raised or cleared, on the thread that
    /// drains.
    ///
    /// When the hook runs, [`Collector::report`] already includes the change. A panic of a hook is
    /// caught and counted. Nothing is drained while a hook runs, so a slow hook can cause records
    /// to be overwritten.
    pub fn on_sla_change(mut self, hook: impl FnMut(&SlaChange) + Send + 'static) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// Sets how an event is sampled. By default, all of its spans and values are recorded.
    pub fn sampling(mut self, event: impl Event, sampling: Sampling) -> Self {
        self.settings.offer_sampling(event.id(), sampling, Origin::Builder);
        self
    }

    /// Allocates all memory, touches the pages of the rings, starts the drain's thread and returns
    /// the collector.
    ///
    /// The first call in a process calibrates the clock, which takes up to 0.2 s. If the
    /// processor's counter is selected but not reliable, the collector uses the operating system's
    /// clock, and a warning is printed on stderr once per process.
    ///
    /// # Errors
    /// If a setting is invalid, or the operating system refuses memory, the thread, its core or
    /// priority, or to lock the rings. The error names the invalid value, and the line of the
    /// configuration file or the environment variable that it came from, if any.
    pub fn start(self) -> Result<Collector, BuildError> {
        let settings = self.settings().map_err(BuildError::Settings)?;
        self.start_with(settings.clone()).map_err(|error| settings.add_origin(error))
    }

    /// Returns the settings that [`start`](Self::start) would use: those of the builder, the
    /// configuration file and the environment combined.
    ///
    /// This serves to check a configuration file before a program starts with it. Whether the
    /// operating system provides the memory, the thread and the core is not checked.
    ///
    /// ```
    /// use tailwatch::Collector;
    ///
    /// let with_rings =
    ///     |value| Collector::builder().environment([("TAILWATCH_RINGS", value)]).settings();
    /// assert_eq!(with_rings("12")?.rings.value, 12);
    /// let error = with_rings("a dozen").unwrap_err();
    /// assert!(error.to_string().starts_with("TAILWATCH_RINGS: "));
    /// # Ok::<(), tailwatch::SettingsError>(())
    /// ```
    ///
    /// # Errors
    /// If a value of the configuration file or the environment is invalid. The error names the
    /// origin of the value, and the valid values.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let mut settings = self.settings.clone();
        settings.resolve(&self.environment, self.events_to_collect())?;
        Ok(settings)
    }

    /// Returns the events to collect: the added ones, or those of [`Trading`] if none were added.
    fn events_to_collect(&self) -> &[EventInfo] {
        if self.events.is_empty() { Trading::ALL } else { &self.events }
    }

    fn start_with(self, settings: Settings) -> Result<Collector, BuildError> {
        let mut events = self.events_to_collect().to_vec();
        let (ring_capacity, rings) = (settings.ring_capacity.value, settings.rings.value);
        let (exact, max_period) = (settings.exact_samples.value, settings.max_period.value);
        Ring::layout(ring_capacity).map_err(BuildError::RingCapacity)?;
        if rings == 0 {
            return Err(BuildError::NoRings);
        }
        if !(MIN_PERIOD..=MAX_PERIOD).contains(&max_period) {
            return Err(BuildError::Period { period: max_period });
        }
        if exact > MAX_EXACT_SAMPLES {
            return Err(BuildError::TooManySamples { samples: exact });
        }
        let cores = drain_thread::cores();
        if let Some(core) = settings.drain_core.value
            && !cores.contains(&core)
        {
            return Err(BuildError::NoSuchCore { core, available: cores });
        }
        let mut windows = settings.windows.value.clone();
        windows.sort_unstable_by_key(|window| window.length);
        if settings.limits.value.is_some() {
            for info in &mut events {
                *info = EventInfo { limits: &[], max_silence: None, ..*info };
            }
        }
        let sampler = sampler(&events, &settings.sampling).map_err(BuildError::Sampling)?;

        let clock = clock(settings.clock.value);
        let memory = |source| BuildError::RingMemory { rings, capacity: ring_capacity, source };
        // With recording compiled out, no thread would use a ring.
        let pool =
            Arc::new(Pool::new(if OFF { 0 } else { rings }, ring_capacity, clock).map_err(memory)?);
        if settings.mlock.value {
            pool.lock_memory()
                .map_err(|source| BuildError::Lock { bytes: pool.lockable_bytes(), source })?;
        }
        for (id, k) in sampler.thinned() {
            pool.gate().set_sampling(id, k);
        }
        pool.gate().set_enabled(settings.enabled.value && !OFF);
        let limits = settings.limits.value.clone().unwrap_or_default();
        let shape = Shape::server(&events, &windows);
        let shape = Shape { samples: exact, limits: shape.limits + 2 * limits.len(), ..shape };
        let bytes = shape.bytes::<u32>();
        if Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
            return Err(BuildError::Memory { bytes });
        }
        let in_force = InForce::new(settings, cores, &shape);
        let observers = Observers::new(self.observers, self.hooks, &events);
        let sampler = Arc::new(Mutex::new(sampler));
        let setup =
            Setup { shape, windows, events, observers, sampler: Arc::clone(&sampler), max_period };
        let mut drain = Drain::new(Arc::clone(&pool), setup).map_err(BuildError::Config)?;
        set_limits(&mut drain, &limits)?;
        Collector::spawn(pool, drain, sampler, in_force)
    }
}

/// Creates the clock of this setting. If the processor's counter is not reliable, uses the
/// operating system's clock instead and prints a warning.
fn clock(setting: ClockSetting) -> HostClock {
    let mode = match setting {
        ClockSetting::Ordered => ClockMode::Ordered,
        ClockSetting::Relaxed => ClockMode::Relaxed,
        ClockSetting::Monotonic => return HostClock::monotonic(),
    };
    let clock = HostClock::new(mode);
    if clock.source() == ClockSource::Monotonic {
        warn_of_fallback();
    }
    clock
}

/// Creates the sampler of the events, with these settings.
fn sampler(
    events: &[EventInfo],
    settings: &[(EventId, Setting<Sampling>)],
) -> Result<Sampler, SamplingError> {
    let mut sampler = Sampler::new(events.iter().map(|info| info.id));
    for (id, sampling) in settings {
        sampler.set(*id, sampling.value.check()?).ok_or(SamplingError::UnknownEvent { id: *id })?;
    }
    Ok(sampler)
}

/// Sets the limits of every event that has some in `limits`.
fn set_limits(drain: &mut Drain, limits: &[(EventId, Limit)]) -> Result<(), BuildError> {
    let mut events: Vec<EventId> = limits.iter().map(|(id, _)| *id).collect();
    events.sort_unstable();
    events.dedup();
    for event in events {
        let of_event: Vec<_> =
            limits.iter().filter(|(id, _)| *id == event).map(|(_, limit)| *limit).collect();
        drain.set_limits(event, &of_event).map_err(|error| BuildError::Limits { event, error })?;
    }
    Ok(())
}

/// Prints a warning, once per process, that spans are measured with the operating system's clock.
fn warn_of_fallback() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        eprintln!(
            "tailwatch: the processor's time-stamp counter is missing or not invariant; spans are \
             measured with the operating system's clock, which is slower and may need a system call"
        );
    });
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("events", &self.events.len())
            .field("settings", &self.settings)
            .field("observers", &self.observers.len())
            .field("hooks", &self.hooks.len())
            .finish_non_exhaustive()
    }
}
