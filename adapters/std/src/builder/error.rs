//! The error of [`Builder::start`](crate::Builder::start).

use core::{fmt, time::Duration};
use std::{error, io};

use tailwatch_core::{CapacityError, ConfigError, EventId, LimitError};

use super::{MAX_EXACT_SAMPLES, MAX_PERIOD};
use crate::{DrainPriority, SamplingError, SettingsError, poll_interval::MIN_PERIOD};

/// The error returned when a collector cannot be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The capacity of the rings is not possible.
    RingCapacity(CapacityError),
    /// The number of rings is 0, so no thread could record.
    NoRings,
    /// The longest poll interval of the drain is shorter than 1 ms or longer than an hour.
    Period {
        /// The requested interval.
        period: Duration,
    },
    /// The number of exact samples per event exceeds 65,536.
    TooManySamples {
        /// The requested number.
        samples: usize,
    },
    /// There is not enough memory for windows and histograms.
    Memory {
        /// The number of bytes that they need.
        bytes: usize,
    },
    /// The windows or events are invalid, or do not fit each other.
    Config(ConfigError),
    /// The limits of an event cannot be watched.
    Limits {
        /// The event.
        event: EventId,
        /// The reason.
        error: LimitError,
    },
    /// The sampling of an event is invalid.
    Sampling(SamplingError),
    /// The core that the drain's thread was to be pinned to does not exist.
    NoSuchCore {
        /// The requested core.
        core: usize,
        /// The cores that are available.
        available: Vec<usize>,
    },
    /// The operating system refused to pin the drain's thread to its core.
    Pin {
        /// The requested core.
        core: usize,
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
    /// The operating system provided no memory for the rings.
    RingMemory {
        /// The number of rings.
        rings: usize,
        /// The capacity of each ring, in records.
        capacity: usize,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The drain's thread could not be started.
    Thread(io::Error),
    /// The configuration file or the environment is invalid, or settings contradict each other.
    Settings(SettingsError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RingCapacity(error) => error.fmt(f),
            Self::NoRings => {
                f.write_str("0 rings: each recording thread needs one, so set at least 1")
            }
            Self::Period { period } => write!(
                f,
                "{period:?} is out of range: the longest poll interval must be between \
                 {MIN_PERIOD:?} and {MAX_PERIOD:?}"
            ),
            Self::TooManySamples { samples } => write!(
                f,
                "{samples} exact samples per event are too many: at most {MAX_EXACT_SAMPLES} are \
                 possible"
            ),
            Self::Memory { bytes } => {
                write!(f, "could not allocate {bytes} bytes for windows and histograms")
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
                "the rings ({bytes} bytes) could not be locked in memory: {source}; raise \
                 RLIMIT_MEMLOCK to at least that size (`ulimit -l`, `LimitMEMLOCK=` for systemd, \
                 `--ulimit memlock=` for a container), or set fewer or smaller rings"
            ),
            Self::RingMemory { rings, capacity, source } => write!(
                f,
                "could not allocate {rings} rings of {capacity} records, 16 bytes each: {source}"
            ),
            Self::Thread(source) => write!(f, "could not start the drain's thread: {source}"),
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
            // The message above already contains the whole message of any other wrapped error.
            _ => None,
        }
    }
}
