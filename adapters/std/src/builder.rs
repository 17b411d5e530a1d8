//! How a collector is set up.

use core::{fmt, time::Duration};
use std::{error, ffi::OsString, io, path::PathBuf, sync::Arc};

use tailwatch_core::{
    CapacityError, ConfigError, Event, EventId, EventInfo, Limit, LimitError, Ring, Shape, Trading,
    WindowSpec,
};

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

/// The longest that the drain can be told to rest.
const LONGEST_PERIOD: Duration = Duration::from_hours(1);

/// As many exact samples an event can be kept: to select among more takes longer than a pass should.
const MOST_SAMPLES: usize = 65_536;

/// Sets up a [`Collector`]; made by [`Collector::builder`].
///
/// An operator of the machine can overrule every setting that is data, by a file or variables of the environment: see
/// [`Settings`].
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
    /// Announces a set of events, such as `MyEvents::ALL`; may be called for several sets. Without it, those of [`Trading`].
    pub fn events(mut self, events: &[EventInfo]) -> Self {
        self.events.extend_from_slice(events);
        self
    }

    /// The windows, instead of 1 s, 5 s and 60 s.
    pub fn windows(mut self, windows: &[WindowSpec]) -> Self {
        self.settings.windows.offer(windows.to_vec(), Origin::Builder);
        self
    }

    /// How many records a thread's ring holds: a power of two, 16,384 (256 KiB) unless set.
    ///
    /// The sizing: a thread may burst `capacity` − 64 records, two a span, while the drain rests, which is at most
    /// [`max_period`](Self::max_period) if it gets to run; on a busy machine leave a factor of four.
    pub fn ring_capacity(mut self, records: usize) -> Self {
        self.settings.ring_capacity.offer(records, Origin::Builder);
        self
    }

    /// How many threads can record at once, 8 unless set. What further threads record is counted as unregistered.
    pub fn rings(mut self, rings: usize) -> Self {
        self.settings.rings.offer(rings, Origin::Builder);
        self
    }

    /// Whether the end of a span waits for the work it measures; it does unless set.
    pub fn clock_mode(mut self, mode: ClockMode) -> Self {
        // `monotonic_clock` holds, whichever is called first.
        if self.settings.clock.value != ClockSetting::Monotonic {
            self.settings.clock.offer(mode.into(), Origin::Builder);
        }
        self
    }

    /// Uses the operating system's monotonic clock, even where the processor's counter can be trusted.
    pub fn monotonic_clock(mut self) -> Self {
        self.settings.clock.offer(ClockSetting::Monotonic, Origin::Builder);
        self
    }

    /// How many of an event's newest samples are kept to tell exact quantiles, 512 unless set. The time to compute a summary
    /// grows with it.
    pub fn exact_samples(mut self, samples: usize) -> Self {
        self.settings.exact_samples.offer(samples, Origin::Builder);
        self
    }

    /// Pins the drain's thread to this core, as the operating system numbers them.
    pub fn drain_core(mut self, core: usize) -> Self {
        self.settings.drain_core.offer(Some(core), Origin::Builder);
        self
    }

    /// How urgent the drain's thread is; unless set, as the thread that calls [`start`](Self::start).
    pub fn drain_priority(mut self, priority: DrainPriority) -> Self {
        self.settings.drain_priority.offer(priority, Origin::Builder);
        self
    }

    /// Starts no thread: nothing is drained but by calls of [`Collector::drain`], [`flush`](Collector::flush) and
    /// [`stop`](Collector::stop), in the thread that makes them.
    ///
    /// Nobody is woken when a thread takes a ring or ends: until the next call a new thread's burst has to fit into its ring, and
    /// the ring of a thread that ended does not come back. The time between calls is what the rings have to last for.
    pub fn manual_drain(mut self) -> Self {
        self.settings.manual_drain.offer(true, Origin::Builder);
        self
    }

    /// Locks the rings in memory, so that the operating system cannot take their pages away; unless set, it can. Windows and
    /// histograms, which only the drain touches, are not locked.
    ///
    /// It takes as many bytes as the rings have of what the process may lock (`RLIMIT_MEMLOCK`, often 8 MiB or less).
    pub fn mlock(mut self, lock: bool) -> Self {
        self.settings.mlock.offer(lock, Origin::Builder);
        self
    }

    /// Whether recording is on from the start, as it is unless set; later, [`Collector::set_enabled`] turns it.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.settings.enabled.offer(enabled, Origin::Builder);
        self
    }

    /// Takes settings from this file, whose values count for more than those of this builder: see [`Settings`]. A file that the
    /// variable `TAILWATCH_CONFIG` names is read instead.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.config_file.offer(Some(path.into()), Origin::Builder);
        self
    }

    /// Takes settings from none of the process's variables.
    pub fn ignore_environment(self) -> Self {
        self.environment([] as [(OsString, OsString); 0])
    }

    /// Takes settings from these variables, instead of the process's: for tests, and programs that have their variables from
    /// elsewhere. Those whose names do not begin with `TAILWATCH_` are left alone.
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let given = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.environment = Environment::Given(given.collect());
        self
    }

    /// The longest time for which the drain leaves a ring alone: 100 ms unless set, 1 ms to an hour.
    pub fn max_period(mut self, period: Duration) -> Self {
        self.settings.max_period.offer(period, Origin::Builder);
        self
    }

    /// Shows every delivered record to `observer`, in the thread that drains. May be called several times.
    ///
    /// A panic in it is caught and counted. While it runs nothing is drained, so that a slow observer costs records.
    pub fn observer(mut self, observer: impl FnMut(&Delivery<'_>) + Send + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// The limits to watch, of all events, instead of those that are declared with them; such as those of a file, read by
    /// [`parse_limits`](crate::parse_limits).
    pub fn limits(mut self, limits: &[(EventId, Limit)]) -> Self {
        self.settings.limits.offer(Some(limits.to_vec()), Origin::Builder);
        self
    }

    /// Tells `hook` of each limit that is raised or cleared, in the thread that drains. May be called several times.
    ///
    /// The report that it can ask for knows of the change. A panic in it is caught and counted. While it runs nothing is
    /// drained, so that a slow hook costs records.
    pub fn on_sla_change(mut self, hook: impl FnMut(&SlaChange) + Send + 'static) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// How an event is sampled; unless set, everything is recorded.
    pub fn sampling(mut self, event: impl Event, sampling: Sampling) -> Self {
        self.settings.offer_sampling(event.id(), sampling, Origin::Builder);
        self
    }

    /// Allocates everything, touches the rings' memory and starts the drain's thread.
    ///
    /// The first collector of a process calibrates the clock, which takes up to 0.2 s. Where the clock is not the
    /// processor's counter although the default asked for it, that is said once on stderr.
    ///
    /// # Errors
    /// If a setting is impossible, or the operating system refuses memory, the thread, its core or priority, or to lock memory.
    /// The error names the value, and who said it if that was not the program: the line of the file, or the variable.
    pub fn start(self) -> Result<Collector, BuildError> {
        let settings = self.settings().map_err(BuildError::Settings)?;
        self.start_with(settings.clone()).map_err(|error| settings.blame(error))
    }

    /// The settings that it would start with: what the program, the configuration file and the environment say together. To check
    /// a file before a program is started with it; whether memory, a thread and a core can be had shows only then.
    ///
    /// ```
    /// use tailwatch::Collector;
    ///
    /// let of = |value| Collector::builder().environment([("TAILWATCH_RINGS", value)]).settings();
    /// assert_eq!(of("12")?.rings.value, 12);
    /// assert!(of("a dozen").unwrap_err().to_string().starts_with("TAILWATCH_RINGS: "));
    /// # Ok::<(), tailwatch::SettingsError>(())
    /// ```
    ///
    /// # Errors
    /// If something that was said is wrong; the error names who said it and what would be right.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let mut settings = self.settings.clone();
        settings.resolve(&self.environment, self.announced())?;
        Ok(settings)
    }

    /// The events to collect: the preset ones, unless the program said which.
    fn announced(&self) -> &[EventInfo] {
        if self.events.is_empty() { Trading::ALL } else { &self.events }
    }

    fn start_with(self, settings: Settings) -> Result<Collector, BuildError> {
        let mut events = self.announced().to_vec();
        let (ring_capacity, rings) = (settings.ring_capacity.value, settings.rings.value);
        let (exact, max_period) = (settings.exact_samples.value, settings.max_period.value);
        Ring::layout(ring_capacity).map_err(BuildError::RingCapacity)?;
        if rings == 0 {
            return Err(BuildError::NoRings);
        }
        if !(MIN_PERIOD..=LONGEST_PERIOD).contains(&max_period) {
            return Err(BuildError::Period { period: max_period });
        }
        if exact > MOST_SAMPLES {
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
        // With recording compiled out nobody writes into them.
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
        let setup = Setup {
            shape,
            windows,
            events,
            observers,
            sampler: Arc::clone(&sampler),
            longest_period: max_period,
        };
        let mut drain = Drain::new(Arc::clone(&pool), setup).map_err(BuildError::Config)?;
        set_limits(&mut drain, &limits)?;
        Collector::spawn(pool, drain, sampler, in_force)
    }
}

/// The clock that is asked for, or what there is instead.
fn clock(setting: ClockSetting) -> HostClock {
    let mode = match setting {
        ClockSetting::Ordered => ClockMode::Ordered,
        ClockSetting::Relaxed => ClockMode::Relaxed,
        ClockSetting::Monotonic => return HostClock::monotonic(),
    };
    let clock = HostClock::new(mode);
    if clock.source() == ClockSource::Monotonic {
        say_fallback();
    }
    clock
}

/// What decides how the events are sampled, as it is asked for.
fn sampler(
    events: &[EventInfo],
    asked: &[(EventId, Setting<Sampling>)],
) -> Result<Sampler, SamplingError> {
    let mut sampler = Sampler::new(events.iter().map(|info| info.id));
    for (id, sampling) in asked {
        sampler.set(*id, sampling.value.check()?).ok_or(SamplingError::UnknownEvent { id: *id })?;
    }
    Ok(sampler)
}

/// Has each event keep those of these limits that are its own.
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

fn say_fallback() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        eprintln!(
            "tailwatch: the processor's time-stamp counter is missing or not invariant; spans are measured with the \
             operating system's clock, which is slower and may be a system call"
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

/// A collector could not be set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The capacity of the rings is impossible.
    RingCapacity(CapacityError),
    /// No rings: nobody could record.
    NoRings,
    /// The drain would rest for less than 1 ms or more than an hour.
    Period {
        /// The period that was asked for.
        period: Duration,
    },
    /// More exact samples than are kept.
    TooManySamples {
        /// How many were asked for.
        samples: usize,
    },
    /// There is no memory for windows and histograms.
    Memory {
        /// How many bytes they take.
        bytes: usize,
    },
    /// Windows and events do not fit.
    Config(ConfigError),
    /// Limits that cannot be watched.
    Limits {
        /// Of which event.
        event: EventId,
        /// What is wrong with them.
        error: LimitError,
    },
    /// A sampling that cannot be.
    Sampling(SamplingError),
    /// There is no such core to pin the drain to.
    NoSuchCore {
        /// The core that was asked for.
        core: usize,
        /// Those that there are.
        available: Vec<usize>,
    },
    /// The drain could not be pinned to its core.
    Pin {
        /// The core that was asked for.
        core: usize,
    },
    /// The operating system did not make the drain's thread as urgent as asked for.
    Priority {
        /// The priority that was asked for.
        priority: DrainPriority,
        /// What it said.
        source: io::Error,
    },
    /// The operating system did not lock the rings in memory.
    Lock {
        /// How many bytes they take, in whole pages.
        bytes: usize,
        /// What it said.
        source: io::Error,
    },
    /// The operating system gave no memory for the rings.
    RingMemory {
        /// How many rings.
        rings: usize,
        /// Of how many records each.
        capacity: usize,
        /// What it said.
        source: io::Error,
    },
    /// The operating system gave no thread for the drain.
    Thread(io::Error),
    /// Something is wrong with what the configuration file or the environment says, or with settings together.
    Settings(SettingsError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RingCapacity(error) => error.fmt(f),
            Self::NoRings => {
                f.write_str("0 rings: each thread that records needs one, so at least 1")
            }
            Self::Period { period } => {
                write!(
                    f,
                    "a longest period of {period:?}: the drain rests between {MIN_PERIOD:?} and {LONGEST_PERIOD:?}"
                )
            }
            Self::TooManySamples { samples } => {
                write!(f, "{samples} exact samples an event: at most {MOST_SAMPLES} are kept")
            }
            Self::Memory { bytes } => {
                write!(f, "no memory for windows and histograms: {bytes} bytes")
            }
            Self::Config(error) => error.fmt(f),
            Self::Limits { event, error } => write!(f, "the limits of event {event}: {error}"),
            Self::Sampling(error) => error.fmt(f),
            Self::NoSuchCore { core, available } => {
                write!(f, "no core {core} to pin the drain to: there are {available:?}")
            }
            Self::Pin { core } => write!(f, "the drain could not be pinned to core {core}"),
            Self::Priority { priority, source } => {
                write!(f, "the drain's thread could not be given the priority {priority}: {source}")
            }
            Self::Lock { bytes, source } => write!(
                f,
                "the rings, {bytes} bytes, could not be locked in memory: {source}; raise RLIMIT_MEMLOCK to at least that \
                 (`ulimit -l`, LimitMEMLOCK= of systemd, --ulimit memlock= of a container), or have fewer or smaller rings"
            ),
            Self::RingMemory { rings, capacity, source } => {
                write!(
                    f,
                    "no memory for {rings} rings of {capacity} records, 16 bytes each: {source}"
                )
            }
            Self::Thread(source) => write!(f, "no thread for the drain: {source}"),
            Self::Settings(error) => error.fmt(f),
        }
    }
}

impl error::Error for BuildError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Priority { source, .. }
            | Self::Lock { source, .. }
            | Self::RingMemory { source, .. }
            | Self::Thread(source) => Some(source),
            Self::Settings(error) => error.source(),
            // What these wrap is told in full already.
            _ => None,
        }
    }
}
