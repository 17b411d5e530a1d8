//! Why a task was not started.

use core::fmt;
use std::error;

use tokio::runtime::TryCurrentError;

/// A task of this crate was not started.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// It was not called from within a runtime.
    NoRuntime(TryCurrentError),
    /// The runtime was built without timers. Beside this error, tokio's panic is told on stderr; with `panic = "abort"` it stays one.
    NoTimers,
    /// The collector has a drain of its own.
    NotManual,
    /// The collector has stopped.
    Stopped,
    /// A probe was to look all the time.
    NoPeriod,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuntime(error) => write!(f, "no tokio runtime to start the task on: {error}"),
            Self::NoTimers => {
                f.write_str("the tokio runtime has no timers: build it with `enable_time` or `enable_all`")
            }
            Self::NotManual => f.write_str(
                "the collector drains itself in a thread of its own: set it up by `Builder::manual_drain` (and without \
                 `manual_drain = false` in its file or environment)",
            ),
            Self::Stopped => f.write_str("the collector has stopped; start another one"),
            Self::NoPeriod => f.write_str("a period of 0 is none: a millisecond is the shortest that timers keep"),
        }
    }
}

impl error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::NoRuntime(error) => Some(error),
            _ => None,
        }
    }
}
