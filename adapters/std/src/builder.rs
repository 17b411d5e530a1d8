//! How a collector is set up.

use core::{fmt, time::Duration};
use std::{
    error, io,
    sync::{Arc, Mutex},
};

use core_affinity::CoreId;
use tailwatch_core::{
    CapacityError, ConfigError, Event, EventId, EventInfo, Limit, LimitError, Ring, Shape, Trading, WindowSpec,
};

use crate::{
    ClockMode, ClockSource, Collector, Delivery, HostClock, Sampling, SamplingError, SlaChange,
    drain::{Drain, Setup},
    observer::{Callback, Hook, Observers},
    pace::{MAX_PERIOD, MIN_PERIOD},
    pool::Pool,
    sampling::Sampler,
};

/// The longest that the drain can be told to rest.
const LONGEST_PERIOD: Duration = Duration::from_hours(1);

/// As many exact samples an event can be kept: to select among more takes longer than a pass should.
const MOST_SAMPLES: usize = 65_536;

/// Sets up a [`Collector`]; made by [`Collector::builder`].
#[must_use = "a builder does nothing until `start`"]
pub struct Builder {
    events: Vec<EventInfo>,
    windows: Vec<WindowSpec>,
    ring_capacity: usize,
    rings: usize,
    clock_mode: ClockMode,
    monotonic: bool,
    samples: usize,
    drain_core: Option<usize>,
    max_period: Duration,
    observers: Vec<Callback>,
    hooks: Vec<Hook>,
    limits: Option<Vec<(EventId, Limit)>>,
    sampling: Vec<(EventId, Sampling)>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            windows: WindowSpec::DEFAULT.to_vec(),
            ring_capacity: 16_384,
            rings: 8,
            clock_mode: ClockMode::default(),
            monotonic: false,
            samples: 512,
            drain_core: None,
            max_period: MAX_PERIOD,
            observers: Vec::new(),
            hooks: Vec::new(),
            limits: None,
            sampling: Vec::new(),
        }
    }
}

impl Builder {
    /// Announces a set of events, such as `MyEvents::ALL`; may be called for several sets. Without it, those of [`Trading`].
    pub fn events(mut self, events: &[EventInfo]) -> Self {
        self.events.extend_from_slice(events);
        self
    }

    /// The windows, instead of 1 s, 5 s and 60 s.
    pub fn windows(mut self, windows: &[WindowSpec]) -> Self {
        self.windows = windows.to_vec();
        self
    }

    /// How many records a thread's ring holds: a power of two, 16,384 (256 KiB) unless set.
    ///
    /// The sizing: a thread may burst `capacity` − 64 records, two a span, while the drain rests, which is at most
    /// [`max_period`](Self::max_period) if it gets to run; on a busy machine leave a factor of four.
    pub fn ring_capacity(mut self, records: usize) -> Self {
        self.ring_capacity = records;
        self
    }

    /// How many threads can record at once, 8 unless set. What further threads record is counted as unregistered.
    pub fn rings(mut self, rings: usize) -> Self {
        self.rings = rings;
        self
    }

    /// Whether the end of a span waits for the work it measures; it does unless set.
    pub fn clock_mode(mut self, mode: ClockMode) -> Self {
        self.clock_mode = mode;
        self
    }

    /// Uses the operating system's monotonic clock, even where the processor's counter can be trusted.
    pub fn monotonic_clock(mut self) -> Self {
        self.monotonic = true;
        self
    }

    /// How many of an event's newest samples are kept to tell exact quantiles, 512 unless set. The time to compute a summary
    /// grows with it.
    pub fn exact_samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// Pins the drain's thread to this core, as the operating system numbers them.
    pub fn drain_core(mut self, core: usize) -> Self {
        self.drain_core = Some(core);
        self
    }

    /// The longest time for which the drain leaves a ring alone: 100 ms unless set, 1 ms to an hour.
    pub fn max_period(mut self, period: Duration) -> Self {
        self.max_period = period;
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
        self.limits = Some(limits.to_vec());
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
        self.sampling.push((event.id(), sampling));
        self
    }

    /// Allocates everything, touches the rings' memory and starts the drain's thread.
    ///
    /// The first collector of a process calibrates the clock, which takes up to 0.2 s. Where the clock is not the
    /// processor's counter although the default asked for it, that is said once on stderr.
    ///
    /// # Errors
    /// If a setting is impossible, or the operating system refuses memory, the thread or the core; the error names it.
    pub fn start(self) -> Result<Collector, BuildError> {
        let Self { mut events, mut windows, ring_capacity, rings, .. } = self;
        Ring::layout(ring_capacity).map_err(BuildError::RingCapacity)?;
        if rings == 0 {
            return Err(BuildError::NoRings);
        }
        if !(MIN_PERIOD..=LONGEST_PERIOD).contains(&self.max_period) {
            return Err(BuildError::Period { period: self.max_period });
        }
        if self.samples > MOST_SAMPLES {
            return Err(BuildError::TooManySamples { samples: self.samples });
        }
        if let Some(core) = self.drain_core {
            check_core(core)?;
        }
        if events.is_empty() {
            events.extend_from_slice(Trading::ALL);
        }
        windows.sort_unstable_by_key(|window| window.length);
        if self.limits.is_some() {
            for info in &mut events {
                *info = EventInfo { limits: &[], max_silence: None, ..*info };
            }
        }
        let sampler = sampler(&events, &self.sampling).map_err(BuildError::Sampling)?;

        let clock = if self.monotonic { HostClock::monotonic() } else { HostClock::new(self.clock_mode) };
        if !self.monotonic && clock.source() == ClockSource::Monotonic {
            say_fallback();
        }
        let memory = |source| BuildError::RingMemory { rings, capacity: ring_capacity, source };
        let pool = Arc::new(Pool::new(rings, ring_capacity, clock).map_err(memory)?);
        for (id, k) in sampler.thinned() {
            pool.gate().set_sampling(id, k);
        }
        let limits = self.limits.unwrap_or_default();
        let shape = Shape::server(&events, &windows);
        let shape = Shape { samples: self.samples, limits: shape.limits + 2 * limits.len(), ..shape };
        let bytes = shape.bytes::<u32>();
        if Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
            return Err(BuildError::Memory { bytes });
        }
        let observers = Observers::new(self.observers, self.hooks, &events);
        let sampler = Arc::new(Mutex::new(sampler));
        let setup =
            Setup { shape, windows, events, observers, sampler: Arc::clone(&sampler), longest_period: self.max_period };
        let mut drain = Drain::new(Arc::clone(&pool), setup).map_err(BuildError::Config)?;
        set_limits(&mut drain, &limits)?;
        Collector::spawn(pool, drain, sampler, self.drain_core)
    }
}

/// What decides how the events are sampled, as it is asked for.
fn sampler(events: &[EventInfo], asked: &[(EventId, Sampling)]) -> Result<Sampler, SamplingError> {
    let mut sampler = Sampler::new(events.iter().map(|info| info.id));
    for (id, sampling) in asked {
        sampler.set(*id, sampling.check()?).ok_or(SamplingError::UnknownEvent { id: *id })?;
    }
    Ok(sampler)
}

/// Has each event keep those of these limits that are its own.
fn set_limits(drain: &mut Drain, limits: &[(EventId, Limit)]) -> Result<(), BuildError> {
    let mut events: Vec<EventId> = limits.iter().map(|(id, _)| *id).collect();
    events.sort_unstable();
    events.dedup();
    for event in events {
        let of_event: Vec<_> = limits.iter().filter(|(id, _)| *id == event).map(|(_, limit)| *limit).collect();
        drain.set_limits(event, &of_event).map_err(|error| BuildError::Limits { event, error })?;
    }
    Ok(())
}

fn check_core(core: usize) -> Result<(), BuildError> {
    let available: Vec<usize> = core_affinity::get_core_ids().into_iter().flatten().map(|CoreId { id }| id).collect();
    if available.contains(&core) { Ok(()) } else { Err(BuildError::NoSuchCore { core, available }) }
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
            .field("windows", &self.windows)
            .field("ring_capacity", &self.ring_capacity)
            .field("rings", &self.rings)
            .field("clock_mode", &self.clock_mode)
            .field("drain_core", &self.drain_core)
            .field("max_period", &self.max_period)
            .field("observers", &self.observers.len())
            .field("hooks", &self.hooks.len())
            .field("limits", &self.limits)
            .field("sampling", &self.sampling)
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
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RingCapacity(error) => error.fmt(f),
            Self::NoRings => f.write_str("0 rings: each thread that records needs one, so at least 1"),
            Self::Period { period } => {
                write!(
                    f,
                    "a longest period of {period:?}: the drain rests between {MIN_PERIOD:?} and {LONGEST_PERIOD:?}"
                )
            }
            Self::TooManySamples { samples } => {
                write!(f, "{samples} exact samples an event: at most {MOST_SAMPLES} are kept")
            }
            Self::Memory { bytes } => write!(f, "no memory for windows and histograms: {bytes} bytes"),
            Self::Config(error) => error.fmt(f),
            Self::Limits { event, error } => write!(f, "the limits of event {event}: {error}"),
            Self::Sampling(error) => error.fmt(f),
            Self::NoSuchCore { core, available } => {
                write!(f, "no core {core} to pin the drain to: there are {available:?}")
            }
            Self::Pin { core } => write!(f, "the drain could not be pinned to core {core}"),
            Self::RingMemory { rings, capacity, source } => {
                write!(f, "no memory for {rings} rings of {capacity} records, 16 bytes each: {source}")
            }
            Self::Thread(source) => write!(f, "no thread for the drain: {source}"),
        }
    }
}

impl error::Error for BuildError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::RingMemory { source, .. } | Self::Thread(source) => Some(source),
            // What these wrap is told in full already.
            _ => None,
        }
    }
}
