//! The error of [`Builder::start`](crate::Builder::start), and which setting causes it.

use core::{fmt, time::Duration};
use std::{error, io};

use tailwatch_core::{CapacityError, ConfigError, EventId, LimitError};

use super::{
    MAX_EXACT_SAMPLES, MAX_PERIOD, MAX_RINGS, Origin, Setting, Settings,
    problem::{SettingsError, SettingsProblem},
};
use crate::{
    clock::ClockSource,
    drain::{SetupError, poll_interval::MIN_PERIOD, sampling::SamplingError},
    events::error::EventError,
    own_thread::{
        SpawnError, cores,
        placement::{DrainPriority, PlacementError},
    },
    shared::share_error::ShareError,
};

/// The error returned when a collector cannot be started.
#[non_exhaustive]
pub enum BuildError {
    /// The rings cannot have this capacity: it is not a power of two, is below 8, or is too large.
    RingCapacity(CapacityError),
    /// Rings cannot grow to this capacity: it is not a power of two, is below 8, or is too large.
    MaxRingCapacity(CapacityError),
    /// A thread's first ring would be larger than rings may become.
    RingCapacityAboveMax {
        /// The capacity of a first ring, in records.
        capacity: usize,
        /// The largest capacity of a ring, in records.
        max: usize,
    },
    /// A single ring takes more bytes than all rings together may take.
    RingAboveMaxBytes {
        /// The capacity of a first ring, in records.
        capacity: usize,
        /// The size of such a ring in bytes.
        bytes: usize,
        /// The bytes that all rings together may take.
        max: usize,
    },
    /// The number of rings is 0, so no thread could record.
    NoRings,
    /// The number of rings is above 4,096.
    TooManyRings {
        /// The requested number of rings.
        rings: usize,
    },
    /// The start needs more memory than the machine, or the control group of the process, has left.
    NotEnoughMemory {
        /// The bytes that the start needs.
        needed: usize,
        /// The bytes that are available.
        available: usize,
    },
    /// The slices of a window are shorter than the drain's shortest poll interval, so the drain
    /// would often read a sample only after its slice has left the window.
    SliceBelowPeriod {
        /// The length of the window.
        window: Duration,
        /// The length of one of its slices.
        slice: Duration,
    },
    /// The longest poll interval ([`Builder::max_period`](crate::Builder::max_period)) is below 1
    /// ms or above 1 hour.
    Period {
        /// The requested interval.
        period: Duration,
    },
    /// The number of samples kept per event for exact quantiles is above 65,536.
    TooManySamples {
        /// The requested number of samples.
        samples: usize,
    },
    /// The collector would read another clock than the first collector of this process does. A span
    /// may end in another collector than the one where it began, so all of them must read the same
    /// one. Their modes may differ.
    ClockSource {
        /// What the collector would read.
        source: ClockSource,
        /// What the collectors of this process read.
        in_use: ClockSource,
    },
    /// There is not enough memory for the windows and histograms.
    Memory {
        /// The size of the windows and histograms in bytes.
        bytes: usize,
    },
    /// The events cannot be collected together, or there are too many of them.
    Events(EventError),
    /// The windows or the events are invalid.
    Config(ConfigError),
    /// The collector cannot watch the limits of an event.
    Limits {
        /// The id of the event.
        event: EventId,
        /// What is wrong with the limits.
        error: LimitError,
    },
    /// The sampling of an event is out of range, or the collector does not have the event.
    Sampling(SamplingError),
    /// The core that the drain's thread was to be pinned to does not exist, or the process may not
    /// use it.
    NoSuchCore {
        /// The requested core, by the operating system's number.
        core: usize,
        /// The cores that the process may use.
        available: Vec<usize>,
    },
    /// The operating system refused to pin the drain's thread to the core.
    Pin {
        /// The requested core, by the operating system's number.
        core: usize,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The operating system refused the priority of the drain's thread.
    Priority {
        /// The requested priority.
        priority: DrainPriority,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The operating system refused to lock the rings in memory.
    Lock {
        /// An upper bound of the bytes to lock, in whole pages.
        bytes: usize,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The operating system did not provide the memory for the rings.
    RingMemory {
        /// The number of rings.
        rings: usize,
        /// The capacity of each ring, in records.
        capacity: usize,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The rings cannot be shared.
    Share(ShareError),
    /// The operating system did not register the handlers that detach the threads of a child
    /// process when the program forks.
    ForkHandlers(io::Error),
    /// The drain's thread could not be started.
    Thread(io::Error),
    /// The configuration file or the environment is invalid, or two settings contradict each other.
    Settings(SettingsError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RingCapacity(error) => error.fmt(f),
            Self::MaxRingCapacity(error) => write!(f, "`max_ring_capacity`: {error}"),
            Self::RingCapacityAboveMax { capacity, max } => write!(
                f,
                "a thread's first ring holds {capacity} records (`ring_capacity`), but rings may \
                 grow only to {max} records (`max_ring_capacity`); raise the second or lower the \
                 first"
            ),
            Self::RingAboveMaxBytes { capacity, bytes, max } => write!(
                f,
                "a ring of {capacity} records (`ring_capacity`) takes {bytes} bytes, but all rings \
                 together may take only {max} bytes (`max_ring_bytes`); raise the second or lower \
                 the first"
            ),
            Self::TooManyRings { rings } => write!(
                f,
                "{rings} rings are too many; the maximum is {MAX_RINGS} (the size of a ring is \
                 `ring_capacity`)"
            ),
            Self::NotEnoughMemory { needed, available } => write!(
                f,
                "the start needs {needed} bytes of memory, but only {available} bytes are \
                 available to this process; lower `ring_capacity` or the number of events"
            ),
            Self::SliceBelowPeriod { window, slice } => f.write_str(&short_slices(*window, *slice)),
            Self::NoRings => f.write_str(
                "0 rings are not enough: each recording thread needs a ring, so set at least 1",
            ),
            Self::Period { period } => {
                write!(
                    f,
                    "the longest poll interval is {period:?}; `max_period` must be {MIN_PERIOD:?} \
                     to {MAX_PERIOD:?}"
                )
            }
            Self::TooManySamples { samples } => write!(
                f,
                "{samples} exact samples per event are too many; the maximum is {MAX_EXACT_SAMPLES}"
            ),
            Self::Memory { bytes } => {
                write!(
                    f,
                    "could not allocate {bytes} bytes for windows and histograms; set fewer \
                     events, windows or slices"
                )
            }
            Self::ClockSource { source, in_use } => f.write_str(&other_clock(*source, *in_use)),
            Self::Events(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Limits { event, error } => {
                write!(f, "the limits of the event with the id {event} cannot be watched: {error}")
            }
            Self::Sampling(error) => error.fmt(f),
            Self::NoSuchCore { core, available } => {
                write!(
                    f,
                    "no core {core} is available to pin the drain's thread to; the available cores \
                     are {available:?}; write one of them, or \"none\""
                )
            }
            Self::Pin { core, source } => {
                write!(
                    f,
                    "the operating system refused to pin the drain's thread to core {core}: \
                     {source}"
                )
            }
            Self::Priority { priority, source } => {
                write!(
                    f,
                    "the operating system refused the priority {priority} for the drain's thread: \
                     {source}"
                )
            }
            Self::Lock { bytes, source } => write!(
                f,
                "the rings ({bytes} bytes) could not be locked in memory: {source}; raise \
                 RLIMIT_MEMLOCK to at least that size (`ulimit -l`, `LimitMEMLOCK=` for systemd, \
                 `--ulimit memlock=` for a container), or set fewer or smaller rings"
            ),
            Self::RingMemory { rings, capacity, source } => write!(
                f,
                "could not allocate {rings} rings of {capacity} records of 16 bytes each: {source}"
            ),
            Self::Share(error) => error.fmt(f),
            Self::ForkHandlers(source) => {
                write!(
                    f,
                    "could not register handlers for the case that the program forks: {source}"
                )
            }
            Self::Thread(source) => write!(f, "could not start the drain's thread: {source}"),
            Self::Settings(error) => error.fmt(f),
        }
    }
}

fn short_slices(window: Duration, slice: Duration) -> String {
    let fix = match window.as_nanos() / MIN_PERIOD.as_nanos() {
        0 => format!("a window of at least {MIN_PERIOD:?}"),
        most => format!("at most {most} slices, such as {window:?}/{most}"),
    };
    format!(
        "the window of {window:?} has slices of {slice:?}, shorter than the shortest pause of the \
         drain, {MIN_PERIOD:?}; write {fix}"
    )
}

fn other_clock(source: ClockSource, in_use: ClockSource) -> String {
    let value = match in_use {
        ClockSource::Monotonic => "\"monotonic\"",
        ClockSource::Tsc => "\"ordered\" or \"relaxed\"",
    };
    format!(
        "the clock {source} is not the clock {in_use} that the first collector of this process \
         reads, and a span may end in another collector than the one where it began; set `clock` \
         to {value}, or let the first collector read {source}"
    )
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for BuildError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Pin { source, .. }
            | Self::Priority { source, .. }
            | Self::Lock { source, .. }
            | Self::RingMemory { source, .. }
            | Self::ForkHandlers(source)
            | Self::Thread(source) => Some(source),
            Self::Settings(error) => error.source(),
            Self::Share(error) => error.source(),
            // The message above already contains the whole message of any other wrapped error.
            _ => None,
        }
    }
}

impl From<SetupError> for BuildError {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Config(error) => Self::Config(error),
            SetupError::Limits { event, error } => Self::Limits { event, error },
        }
    }
}

impl From<SpawnError> for BuildError {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Thread(error) => Self::Thread(error),
            SpawnError::Placement(PlacementError::Pin { core, source }) => {
                let available = cores::of_process();
                if available.contains(&core) {
                    Self::Pin { core, source }
                } else {
                    Self::NoSuchCore { core, available }
                }
            }
            SpawnError::Placement(PlacementError::Priority { priority, source }) => {
                Self::Priority { priority, source }
            }
        }
    }
}

impl Settings {
    /// Adds to `error` the origin of the setting that caused it, if the operator of the machine set
    /// it.
    ///
    /// An error that the program's own value caused is returned unchanged.
    pub(crate) fn add_origin(&self, error: BuildError) -> BuildError {
        fn keyed<'s, T>(key: &'static str, setting: &'s Setting<T>) -> (&'static str, &'s Origin) {
            (key, &setting.origin)
        }
        let (key, origin) = match &error {
            BuildError::RingCapacity(_) => keyed("ring_capacity", &self.ring_capacity),
            BuildError::MaxRingCapacity(_) => keyed("max_ring_capacity", &self.max_ring_capacity),
            // Either setting may be wrong. The origin of higher precedence is the likely cause.
            BuildError::RingCapacityAboveMax { .. }
                if self.max_ring_capacity.origin.precedence()
                    > self.ring_capacity.origin.precedence() =>
            {
                keyed("max_ring_capacity", &self.max_ring_capacity)
            }
            BuildError::RingAboveMaxBytes { .. }
                if self.max_ring_bytes.origin.precedence()
                    > self.ring_capacity.origin.precedence() =>
            {
                keyed("max_ring_bytes", &self.max_ring_bytes)
            }
            BuildError::RingCapacityAboveMax { .. } | BuildError::RingAboveMaxBytes { .. } => {
                keyed("ring_capacity", &self.ring_capacity)
            }
            BuildError::RingMemory { .. }
                if self.ring_capacity.origin.precedence() > self.rings.origin.precedence() =>
            {
                keyed("ring_capacity", &self.ring_capacity)
            }
            BuildError::NoRings
            | BuildError::TooManyRings { .. }
            | BuildError::RingMemory { .. } => keyed("rings", &self.rings),
            BuildError::Period { .. } => keyed("max_period", &self.max_period),
            BuildError::TooManySamples { .. } => keyed("exact_samples", &self.exact_samples),
            BuildError::NoSuchCore { .. } | BuildError::Pin { .. } => {
                keyed("drain_core", &self.drain_core)
            }
            BuildError::ClockSource { .. } => keyed("clock", &self.clock),
            BuildError::Priority { .. } => keyed("drain_priority", &self.drain_priority),
            BuildError::Lock { .. } => keyed("mlock", &self.mlock),
            BuildError::Share(ShareError::TooSmall { .. } | ShareError::TooLarge { .. })
                if self.share_bytes.origin != Origin::Default =>
            {
                keyed("share_bytes", &self.share_bytes)
            }
            BuildError::Share(_) => keyed("share", &self.share),
            BuildError::Config(
                ConfigError::NoWindows
                | ConfigError::EmptyWindow
                | ConfigError::SlicesDoNotDivide { .. }
                | ConfigError::SliceTooShort { .. }
                | ConfigError::DuplicateWindow { .. },
            )
            | BuildError::SliceBelowPeriod { .. } => keyed("windows", &self.windows),
            BuildError::Limits { event, error: cause } => {
                let Some(origin) = self.origin_of_limit(*event, cause) else { return error };
                ("sla", origin)
            }
            BuildError::Events(EventError::Limits { event, .. }) => {
                let mut later = self.later_events.limits.iter();
                let begins = later.find(|later| later.selection.event() == event);
                let Some(later) = begins else { return error };
                ("sla", &later.origin)
            }
            _ => return error,
        };
        with_origin(origin, key, error)
    }
}

/// Adds to `error` the origin and key of the setting that caused it, if the operator of the machine
/// set the value. The author of the program finds a value of the program without this.
fn with_origin(origin: &Origin, key: &'static str, error: BuildError) -> BuildError {
    if !origin.is_operator() {
        return error;
    }
    let problem = SettingsProblem::Rejected { key, error: Box::new(error) };
    BuildError::Settings(SettingsError { origin: origin.clone(), problem })
}
