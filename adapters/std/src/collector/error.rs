//! What a collector refuses.

use core::{fmt, time::Duration};
use std::error;

use tailwatch_core::{EventId, LimitError};

/// A collector could not be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstallError {
    /// Another one is installed.
    Taken,
    /// It has stopped.
    Stopped,
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "another collector is installed; stop it first",
            Self::Stopped => "the collector has stopped; start another one",
        })
    }
}

impl error::Error for InstallError {}

/// A thread got no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// No collector is installed.
    NotInstalled,
    /// The collector has stopped.
    Stopped,
    /// All rings are taken.
    AllTaken {
        /// How many there are.
        rings: usize,
    },
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => {
                f.write_str("no collector is installed; call `Collector::install` first")
            }
            Self::Stopped => f.write_str("the collector has stopped"),
            Self::AllTaken { rings } => {
                write!(
                    f,
                    "all {rings} rings are taken by other threads; `Builder::rings` sets how many there are"
                )
            }
        }
    }
}

impl error::Error for RegisterError {}

/// A question about what the collector does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryError {
    /// The event was not announced.
    UnknownEvent {
        /// Its number.
        id: EventId,
    },
    /// There is no window of this length.
    UnknownWindow {
        /// The length that was asked for.
        length: Duration,
        /// Those that there are.
        known: Vec<Duration>,
    },
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEvent { id } => {
                write!(f, "event {id} was not announced; `Builder::events` announces a set")
            }
            Self::UnknownWindow { length, known } => {
                write!(f, "no window of {length:?}: there are {known:?}")
            }
        }
    }
}

impl error::Error for QueryError {}

/// Limits were not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetLimitsError {
    /// They cannot be watched.
    Refused(LimitError),
    /// An observer or hook tried, inside the very pass that judges the limits.
    InsidePass,
}

impl fmt::Display for SetLimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::InsidePass => f.write_str(
                "limits are not changed from inside an observer or hook: do it on another thread",
            ),
        }
    }
}

impl error::Error for SetLimitsError {}
