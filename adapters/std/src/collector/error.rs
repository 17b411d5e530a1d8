//! The errors that methods of a collector return.

use core::{fmt, time::Duration};
use std::error;

use tailwatch_core::{EventId, LimitError};

/// The error returned when a collector cannot be installed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstallError {
    /// Another collector is installed and has not stopped.
    AlreadyInstalled,
    /// This collector has stopped.
    Stopped,
    /// This collector belongs to the process from which this one was forked.
    Forked,
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyInstalled => "another collector is installed; stop it first",
            Self::Stopped => "the collector has stopped; start another one",
            Self::Forked => {
                "the collector belongs to the process from which this one was forked; start one in \
                 this process"
            }
        })
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for InstallError {}

/// The error returned when a thread does not get a ring.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// No collector is installed.
    NotInstalled,
    /// The collector has stopped.
    Stopped,
    /// The thread is ending: its destructors of thread-locals run, and that of its ring has run.
    ThreadEnding,
    /// The collector belongs to the process from which this one was forked.
    Forked,
    /// All rings are taken by other threads.
    AllTaken {
        /// The number of rings of the collector.
        rings: usize,
    },
    /// There is no memory for a further ring: all rings together take as much as they may, or the
    /// operating system provides none.
    NoMemory {
        /// The bytes that all rings together may take.
        max_ring_bytes: usize,
    },
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => {
                f.write_str("no collector is installed; call `Collector::install` first")
            }
            Self::Stopped => f.write_str("the collector has stopped; start another one"),
            Self::ThreadEnding => f.write_str(
                "the thread is ending and cannot take a ring any more; register it before its \
                 thread-locals are dropped",
            ),
            Self::Forked => f.write_str(
                "the collector belongs to the process from which this one was forked; start one in \
                 this process",
            ),
            Self::AllTaken { rings } => {
                write!(
                    f,
                    "all {rings} rings are taken by other threads; set a larger number with \
                     `Builder::rings`"
                )
            }
            Self::NoMemory { max_ring_bytes } => {
                write!(
                    f,
                    "there is no memory for a further ring; all rings together may take \
                     {max_ring_bytes} bytes, which `Builder::max_ring_bytes` sets"
                )
            }
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for RegisterError {}

/// The error returned by a query for an event or a window that the collector does not have.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryError {
    /// The collector has no such event.
    UnknownEvent {
        /// The id of the event.
        id: EventId,
    },
    /// The collector has no window of this length.
    UnknownWindow {
        /// The requested length.
        length: Duration,
        /// The lengths of the windows that the collector has.
        known: Vec<Duration>,
    },
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEvent { id } => {
                write!(
                    f,
                    "the collector has no event with the id {id}; add its set of events with \
                     `Builder::events`"
                )
            }
            Self::UnknownWindow { length, known } => {
                write!(f, "the collector has no window of {length:?}; its windows are {known:?}")
            }
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for QueryError {}

/// The error returned when the limits of an event cannot be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetLimitsError {
    /// The collector cannot watch the limits.
    Refused(LimitError),
    /// An observer or hook made the call. Both run while the drain makes a pass, and limits can
    /// only be replaced between two passes.
    InsidePass,
    /// The collector belongs to the process from which this one was forked, and nobody judges its
    /// limits here.
    Forked,
}

impl fmt::Display for SetLimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::InsidePass => f.write_str(
                "an observer or hook cannot replace limits; replace them on another thread",
            ),
            Self::Forked => f.write_str(
                "the collector belongs to the process from which this one was forked; replace the \
                 limits there, or start a collector in this process",
            ),
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for SetLimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for SetLimitsError {}
