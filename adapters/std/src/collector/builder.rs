//! The builder, which combines all settings and starts a collector.

mod events;
mod share;

use core::{fmt, time::Duration};
use std::{ffi::OsString, path::PathBuf, sync::Arc};

use tailwatch_core::{CoveredOutcomes, Event, EventId, EventInfo, LimitError, Shape, WindowSpec};
use tailwatch_record::collecting::OFF;

use self::share::Sharing;
use super::{
    Collector,
    explain::InForce,
    ring_sizes::{self, StatisticsBytes},
};
use crate::{
    clock::{ClockMode, ClockSource, HostClock},
    drain::{
        Drain, Setup,
        poll_interval::MIN_PERIOD,
        reserved_bytes,
        sampling::{Sampler, Sampling, SamplingError},
    },
    events::listed::Listed,
    observer::{Callback, Delivery, Hook, Observers},
    own_thread::placement::DrainPriority,
    recording::{
        available_memory::available_bytes, fork, pool::Pool, process, ring_memory::RingMemory,
        ring_settings::RingSettings,
    },
    report::sla::SlaChange,
    settings::{
        ClockSetting, EXACT_SAMPLES_OF_MANY, MANY_EVENTS, MAX_EXACT_SAMPLES, MAX_PERIOD, Origin,
        Setting, Settings,
        build_error::BuildError,
        environment::Environment,
        limit_overrides::LimitOverrides,
        limits_in_force::without_limits,
        problem::{SettingsError, SettingsProblem},
        selection::{DeclaredFamily, Selectable},
    },
    shared::writer::ShareSizes,
    sync::Mutex,
    tag_names::TagNames,
    warning,
};

/// How many events the program can make while the collector runs, unless
/// [`Builder::max_events`] is set.
const MORE_EVENTS: usize = 16;

/// The largest number of limits on quantiles that an aggregator can have.
const MAX_LIMITS: usize = u16::MAX as usize;

/// Configures and starts a [`Collector`]; created by [`Collector::builder`].
///
/// A configuration file and environment variables can override the settings of the builder that
/// [`Settings`] lists.
#[must_use = "a builder does nothing until `start`"]
#[derive(Default)]
pub struct Builder {
    /// What was listed so far. If nothing was, the collector has the events of [`Trading`].
    listed: Vec<Listed>,
    /// The families that were declared.
    families: Vec<DeclaredFamily>,
    /// The samplings that were set. The events may have no numbers yet.
    sampling: Vec<(Box<dyn Fn() -> EventId + Send>, Sampling)>,
    /// The limits that were set, call by call.
    limits: Vec<LimitOverrides>,
    /// Whether the collector gets every set that is measured.
    every_set: bool,
    /// The largest number of events, if it was set.
    max_events: Option<usize>,
    /// What the methods of the builder set, without the configuration file and the environment.
    settings: Settings,
    /// The environment variables that `start` reads.
    environment: Environment,
    observers: Vec<Callback>,
    hooks: Vec<Hook>,
    tag_names: Option<TagNames>,
}

impl Builder {
    /// Sets the sliding windows that statistics cover. By default, they are 1 s, 5 s and 60 s long.
    pub fn windows(mut self, windows: &[WindowSpec]) -> Self {
        self.settings.windows.offer(windows.to_vec(), Origin::Builder);
        self
    }

    /// Sets how many records a thread's first ring holds: a power of two from 8, by default 16,384
    /// (256 KiB).
    ///
    /// A ring that turns out to be too small is replaced by one twice as large, up to
    /// [`max_ring_capacity`](Self::max_ring_capacity). With its first ring, a thread can write all
    /// but an eighth of `records`, or all but 64 if that is more, without a loss while the drain
    /// pauses; a span is two records. The drain's thread pauses for at most
    /// [`max_period`](Self::max_period), provided that it gets a core at once and that no observer
    /// or hook keeps it busy.
    pub fn ring_capacity(mut self, records: usize) -> Self {
        self.settings.ring_capacity.offer(records, Origin::Builder);
        self
    }

    /// Sets how many records the ring of a thread may grow to: a power of two, by default 262,144
    /// (4 MiB), or [`ring_capacity`](Self::ring_capacity) if that is larger.
    ///
    /// The drain offers a thread a ring twice as large if records were overwritten, or if a pass
    /// found the ring more than half full. The thread moves to it within its next 64 records.
    pub fn max_ring_capacity(mut self, records: usize) -> Self {
        self.settings.max_ring_capacity.offer(records, Origin::Builder);
        self
    }

    /// Sets the largest number of threads that can record at the same time: 1 to 4,096, by default
    /// 1,024. Each of them has a ring, which it gets when it needs it.
    ///
    /// The records of further threads are lost and counted in
    /// [`Health::unregistered`](crate::Health::unregistered).
    pub fn rings(mut self, rings: usize) -> Self {
        self.settings.rings.offer(rings, Origin::Builder);
        self
    }

    /// Sets how many bytes all rings together may take: by default 128 MiB, or what the machine
    /// has, if that is less.
    ///
    /// A ring grows only while all rings together take at most three quarters of it. The rest is
    /// for the first rings of further threads. A thread that gets no larger ring goes on with the
    /// one it has, which [`Health::rings_refused`](crate::Health::rings_refused) counts. A thread
    /// that gets no ring at all counts its records as [unregistered](crate::Health::unregistered).
    pub fn max_ring_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_ring_bytes.offer(bytes, Origin::Builder);
        self
    }

    /// Sets whether reading the clock at the end of a span waits until the measured work is done.
    /// By default it does: [`ClockMode::Ordered`].
    ///
    /// Has no effect together with [`monotonic_clock`](Self::monotonic_clock).
    pub fn clock_mode(mut self, mode: ClockMode) -> Self {
        // `monotonic_clock` has precedence, even if it was called first.
        if self.settings.clock.value != ClockSetting::Monotonic {
            self.settings.clock.offer(mode.into(), Origin::Builder);
        }
        self
    }

    /// Measures with the operating system's monotonic clock, even if the processor's counter is
    /// reliable.
    ///
    /// All collectors of a process must read the same clock, which the first one fixes. Their
    /// [modes](Self::clock_mode) may differ.
    pub fn monotonic_clock(mut self) -> Self {
        self.settings.clock.offer(ClockSetting::Monotonic, Origin::Builder);
        self
    }

    /// Sets how many of the newest samples of each event are kept for exact quantiles: 0 to 65,536.
    ///
    /// The default is 512, or 128 if there can be more than 512 events: with so many, the samples
    /// would take most of the memory. Quantiles of a window with more samples are estimated from a
    /// histogram. The time to compute a summary grows with `samples`.
    pub fn exact_samples(mut self, samples: usize) -> Self {
        self.settings.exact_samples.offer(samples, Origin::Builder);
        self
    }

    /// Pins the drain's thread to the core to which the operating system gives the number `core`.
    ///
    /// By default, the thread may run on all cores that the process may use, also if the thread
    /// that calls [`start`](Self::start) is pinned. [`Collector::explain`] names them. On Linux,
    /// these are the cores of the thread that may use the most. If that is a single core, or if
    /// another thread may use further ones, they are all cores that the operating system grants: a
    /// program that has pinned its threads cannot be distinguished from one that was confined from
    /// outside, as by `taskset`. Set the core in that case.
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

    /// Starts no drain thread: the program reads the rings itself.
    ///
    /// Call [`Collector::drain`] or [`drain_up_to`](Collector::drain_up_to) regularly. The rings
    /// are read only by these two, by [`flush`](Collector::flush) and
    /// [`flush_up_to`](Collector::flush_up_to), by [`set_limits`](Collector::set_limits) and by
    /// [`stop`](Collector::stop), each on the thread that calls it. Choose a
    /// [`ring_capacity`](Self::ring_capacity) that lasts from one call to the next. The ring of a
    /// thread that has ended becomes free with the next call that reads it to its end.
    pub fn manual_drain(mut self) -> Self {
        self.settings.manual_drain.offer(true, Origin::Builder);
        self
    }

    /// Sets whether the rings are locked in memory, so that the operating system never swaps them
    /// out. By default, they are not locked.
    ///
    /// The memory of all rings together counts against the process's limit of locked memory
    /// (`RLIMIT_MEMLOCK`, often 8 MiB or less). The start fails if the first rings cannot be
    /// locked. Later, a first ring that cannot be locked is used all the same, and a larger one is
    /// refused. Windows and histograms are never locked, because only the drain accesses them.
    pub fn mlock(mut self, lock: bool) -> Self {
        self.settings.mlock.offer(lock, Origin::Builder);
        self
    }

    /// Sets whether recording is on from the start. By default, it is. [`Collector::set_enabled`]
    /// switches it later.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.settings.enabled.offer(enabled, Origin::Builder);
        self
    }

    /// Reads settings from the file at this path, which override those of the builder: see
    /// [`Settings`].
    ///
    /// If the environment variable `TAILWATCH_CONFIG` contains a path, the file at that path is
    /// read instead.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.config_file.offer(Some(path.into()), Origin::Builder);
        self
    }

    /// Ignores the environment variables of the process.
    pub fn ignore_environment(self) -> Self {
        self.environment([] as [(OsString, OsString); 0])
    }

    /// Reads settings from these variables, pairs of name and value, instead of the process's
    /// environment.
    ///
    /// Use it in tests, and in programs that get their variables from elsewhere. Variables whose
    /// names do not begin with `TAILWATCH_` are ignored.
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.environment = Environment::Given(variables.collect());
        self
    }

    /// Sets the longest poll interval, the time for which the drain leaves a ring unread: 1 ms to 1
    /// hour, by default 4 ms. If a slice of a window is shorter than the default, it is the length
    /// of the shortest slice.
    ///
    /// The drain reads a ring earlier if it expects that a quarter of the ring will be full. See
    /// [Sizing](crate#sizing).
    pub fn max_period(mut self, period: Duration) -> Self {
        self.settings.max_period.offer(period, Origin::Builder);
        self
    }

    /// Adds an observer: a closure that is called with every record that the drain reads from a
    /// ring, on the thread that drains.
    ///
    /// A panic of an observer is caught and counted in
    /// [`Health::observer_panics`](crate::Health::observer_panics). The drain waits while an
    /// observer runs, so a slow observer can cause records to be overwritten.
    pub fn observer(mut self, observer: impl FnMut(&Delivery<'_>) + Send + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Sets limits that override those declared with the events: each replaces the same limit of
    /// its event, and [all others stay armed](LimitOverrides). A second call overrides the first
    /// one in the same way. They do not reach events that are added after the start.
    ///
    /// Takes a list of events and limits, what [`parse_limits`](crate::parse_limits) returns, or
    /// [`LimitOverrides`].
    pub fn limits(mut self, limits: impl Into<LimitOverrides>) -> Self {
        self.limits.push(limits.into());
        self
    }

    /// Adds a hook: a closure that is called whenever a limit becomes violated (*raised*) and
    /// whenever the violation ends (*cleared*), on the thread that drains. A limit that is removed
    /// is not cleared. With [`Threshold::raise_after`](crate::Threshold::raise_after), it is called
    /// only for violations that last that long.
    ///
    /// When the hook runs, [`Collector::report`] already includes the change. A panic of a hook is
    /// caught and counted in [`Health::observer_panics`](crate::Health::observer_panics). The drain
    /// waits while a hook runs, so a slow hook can cause records to be overwritten.
    pub fn on_sla_change(mut self, hook: impl FnMut(&SlaChange) + Send + 'static) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// Shows the texts from which tags were made beside the tags in reports: as
    /// [`SlowSample::tag_name`](crate::SlowSample::tag_name), in JSON and in the table.
    ///
    /// A report looks up each of the slowest samples that is new in it. It keeps a text that it has
    /// found even if the table does not have it any more. The memory of the table, and of up to 60
    /// bytes for each text in a report, is not included in
    /// [`Health::memory_bytes`](crate::Health::memory_bytes).
    pub fn tag_names(mut self, names: &TagNames) -> Self {
        self.tag_names = Some(names.clone());
        self
    }

    /// Sets how an event is sampled. By default, all of its spans and values are recorded.
    pub fn sampling(mut self, event: impl Event + Send + 'static, sampling: Sampling) -> Self {
        self.sampling.push((Box::new(move || event.id()), sampling));
        self
    }

    /// Allocates the [memory](crate#memory) of the rings and the statistics, touches the pages of
    /// the rings, starts the drain's thread and returns the collector.
    ///
    /// The first call in a process calibrates the clock, which takes up to 0.2 s. If the settings
    /// select the processor's counter but it is not reliable, the collector uses the operating
    /// system's clock and prints a warning to stderr, once per process. With the feature `off`, it
    /// prints that recording is compiled out.
    ///
    /// # Errors
    /// Returns an error if a setting is invalid, or if the operating system refuses the memory, the
    /// thread, its core, its priority, or to lock the rings. The error names the invalid value and,
    /// if the value came from the configuration file or the environment, the line or the variable.
    ///
    /// [`BuildError::Memory`] names neither a line nor a variable, because several settings
    /// together cause it.
    pub fn start(self) -> Result<Collector, BuildError> {
        let events = self.numbered_events().map_err(BuildError::Events)?;
        self.check_overridden(&events)?;
        let settings = self.settings_for(&events).map_err(BuildError::Settings)?;
        self.start_with(events, settings.clone()).map_err(|error| settings.add_origin(error))
    }

    /// Returns the settings that [`start`](Self::start) would use: those of the builder, overridden
    /// by the configuration file, overridden by the environment.
    ///
    /// Use it to check a configuration file before a program starts with it. It detects unknown
    /// keys and events, values that cannot be read, such as a duration without a unit, and settings
    /// that contradict each other. Most values that are out of range, such as a ring capacity that
    /// is not a power of two, are detected only by `start`. Only `start` finds out whether the
    /// operating system provides the memory, the thread and the core.
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
    /// Returns an error if a value in the configuration file or the environment cannot be read, or
    /// if two settings contradict each other. The error names where the value came from, such as
    /// the line or the variable, and what would be valid.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let events = self.numbered_events().map_err(|error| SettingsError {
            origin: Origin::Builder,
            problem: SettingsProblem::Rejected {
                key: "events",
                error: Box::new(BuildError::Events(error)),
            },
        })?;
        self.settings_for(&events)
    }

    fn settings_for(&self, events: &[EventInfo]) -> Result<Settings, SettingsError> {
        let mut settings = self.settings.clone();
        settings.declare_limits(events);
        for overrides in &self.limits {
            settings.override_limits_by_builder(overrides);
        }
        for (event, sampling) in &self.sampling {
            settings.offer_sampling(event(), *sampling, Origin::Builder);
        }
        settings.resolve(&self.environment, &Selectable::new(events, &self.families))?;
        if self.most_events(events) > MANY_EVENTS
            && settings.exact_samples.origin == Origin::Default
        {
            settings.exact_samples.value = EXACT_SAMPLES_OF_MANY;
        }
        Ok(settings)
    }

    /// Returns an error if the limits of an event are overridden that is not one of these.
    fn check_overridden(&self, events: &[EventInfo]) -> Result<(), BuildError> {
        let is_unknown = |event: &&EventId| !events.iter().any(|info| info.id == **event);
        match self.limits.iter().flat_map(LimitOverrides::events).find(is_unknown) {
            Some(&event) => {
                Err(BuildError::Limits { event, error: LimitError::UnknownEvent { id: event } })
            }
            None => Ok(()),
        }
    }

    /// Returns how many events the collector may have if it has these at the start.
    fn most_events(&self, events: &[EventInfo]) -> usize {
        self.max_events.unwrap_or(events.len() + MORE_EVENTS).min(EventId::MAX.into())
    }

    fn start_with(
        self,
        mut events: Vec<EventInfo>,
        mut settings: Settings,
    ) -> Result<Collector, BuildError> {
        if OFF {
            warning::COMPILED_OUT.print();
        }
        let rings = ring_sizes::ring_settings(&settings)?;
        let (exact, max_period) = (settings.exact_samples.value, settings.max_period.value);
        if !(MIN_PERIOD..=MAX_PERIOD).contains(&max_period) {
            return Err(BuildError::Period { period: max_period });
        }
        if exact > MAX_EXACT_SAMPLES {
            return Err(BuildError::TooManySamples { samples: exact });
        }
        let mut windows = settings.windows.value.clone();
        windows.sort_unstable_by_key(|window| window.length);
        let max_period = period_within_slices(max_period, &windows)?;
        settings.max_period.value = max_period;
        let with_overrides = settings.events_with_overrides();
        for info in events.iter_mut().filter(|info| with_overrides.contains(&info.id)) {
            *info = without_limits(info);
        }
        let covers_all_outcomes = settings.outcomes.value == CoveredOutcomes::Any;
        if covers_all_outcomes {
            for info in &mut events {
                info.outcomes = CoveredOutcomes::Any;
            }
        }
        let sampler = sampler(&events, &settings.sampling).map_err(BuildError::Sampling)?;

        fork::install_handlers().map_err(BuildError::ForkHandlers)?;
        let clock = clock(settings.clock.value);
        let source = clock.source();
        process::check_clock_source(source)
            .map_err(|in_use| BuildError::ClockSource { source, in_use })?;
        let shape = Shape::server(&events, &windows);
        let limits = settings.limits.iter().filter(|(event, _)| with_overrides.contains(event));
        let limits: Vec<_> = limits.cloned().collect();
        // Twice as many limits as there are now, so that `Collector::set_limits` can add some.
        let max_events = self.most_events(&events);
        let more_events = max_events - events.len();
        let later_limits = settings.later_events.most_limits() * more_events;
        let shape = Shape {
            samples: exact,
            limits: (shape.limits + 2 * (limits.len() + more_events) + later_limits)
                .min(MAX_LIMITS),
            ids: usize::from(EventId::MAX) + 1,
            events: max_events,
            silences: max_events,
            failed: max_events,
            ..shape
        };
        let bytes = shape.bytes::<u32>();
        let statistics = StatisticsBytes {
            at_start: shape.bytes_once(),
            at_most: reserved_bytes(&shape, rings.lanes),
        };
        let rings = ring_sizes::fit(rings, statistics, available_bytes())?;
        let spares = Pool::spares_to_keep(&rings);
        let memory =
            |source| BuildError::RingMemory { rings: spares, capacity: rings.capacity, source };
        // No thread uses a ring if recording is compiled out.
        let lanes = if OFF { 0 } else { rings.lanes };
        let sizes = ShareSizes {
            events: shape.events,
            limits: shape.limits + shape.silences,
            windows: windows.len(),
            rings,
        };
        let Sharing { share, not_shared } = Sharing::create(&settings, &sizes, clock)?;
        let pool = Pool::sharing(share, RingSettings { lanes, ..rings }, clock).map_err(memory)?;
        let pool = Arc::new(pool);
        if rings.locked {
            let bytes = spares * RingMemory::lockable_bytes(rings.capacity);
            pool.lock_memory().map_err(|source| BuildError::Lock { bytes, source })?;
        }
        for (id, k) in sampler.thinned() {
            pool.gate().set_sampling(id, k);
        }
        pool.gate().set_enabled(settings.enabled.value && !OFF);
        // Checked in advance, because a failed allocation in `Drain::new` aborts the process.
        if Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
            return Err(BuildError::Memory { bytes });
        }
        let in_force = InForce::new(settings, &shape);
        let observers = Observers::new(self.observers, self.hooks, &events);
        let sampler = Arc::new(Mutex::new(sampler));
        let setup = Setup {
            shape,
            windows,
            events,
            limits,
            observers,
            sampler: Arc::clone(&sampler),
            max_period,
            every_set: self.every_set,
            later_events: Arc::clone(&in_force.settings().later_events),
            covers_all_outcomes,
            not_shared,
            tag_names: self.tag_names,
        };
        let mut drain = Drain::new(Arc::clone(&pool), setup)?;
        in_force.settings().later_events.check(|unit, limit| drain.check_limits(unit, &[limit]))?;
        if let Some(share) = pool.share() {
            share.publish().map_err(BuildError::Share)?;
        }
        Collector::spawn(pool, drain, sampler, in_force)
    }
}

impl Collector {
    /// Returns a builder with the default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Creates the clock that `setting` selects. If the processor's counter is selected but not
/// reliable, returns the operating system's clock and prints a warning.
fn clock(setting: ClockSetting) -> HostClock {
    let mode = match setting {
        ClockSetting::Ordered => ClockMode::Ordered,
        ClockSetting::Relaxed => ClockMode::Relaxed,
        ClockSetting::Monotonic => return HostClock::monotonic(),
    };
    let clock = HostClock::new(mode);
    if clock.source() == ClockSource::Monotonic {
        warning::CLOCK_FALLBACK.print();
    }
    clock
}

/// Returns the longest poll interval of a drain for these windows: `period`, or the length of the
/// shortest slice if that is shorter. A longer interval would let samples come too late for the
/// window that the slice belongs to.
fn period_within_slices(
    mut period: Duration,
    windows: &[WindowSpec],
) -> Result<Duration, BuildError> {
    // Other parts of the start refuse a window without a length or slices.
    let is_valid = |spec: &&WindowSpec| spec.slices > 0 && !spec.length.is_zero();
    for &WindowSpec { length: window, slices } in windows.iter().filter(is_valid) {
        let slice = window / u32::from(slices);
        if slice < MIN_PERIOD {
            return Err(BuildError::SliceBelowPeriod { window, slice });
        }
        period = period.min(slice);
    }
    Ok(period)
}

/// Creates the sampler for `events`, with the samplings in `settings`. Events without one are
/// recorded in full.
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

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("listed", &self.listed)
            .field("settings", &self.settings)
            .field("limits", &self.limits)
            .field("observers", &self.observers.len())
            .field("hooks", &self.hooks.len())
            .finish_non_exhaustive()
    }
}
