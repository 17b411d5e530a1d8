//! The error returned when a task of this crate cannot be started.

use core::fmt;
use std::error;

use tokio::runtime::TryCurrentError;

/// The error returned by [`spawn_drain`](crate::spawn_drain),
/// [`watch_runtime`](crate::watch_runtime) and [`watch_backlog`](crate::watch_backlog) when the
/// task cannot be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The function was called outside of a tokio runtime.
    NoRuntime(TryCurrentError),
    /// The runtime was built without timers.
    ///
    /// The check provokes a panic of tokio and catches it, so its message also appears on stderr.
    /// With `panic = "abort"`, the panic cannot be caught and ends the program.
    NoTimers,
    /// The collector already has a drain thread, because it was not set up by
    /// `Builder::manual_drain`.
    NotManual,
    /// The collector has stopped.
    Stopped,
    /// The period is zero.
    ZeroPeriod,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuntime(error) => write!(f, "no tokio runtime to start the task on: {error}"),
            Self::NoTimers => f.write_str(
                "the tokio runtime has no timers; build it with `enable_time` or `enable_all`",
            ),
            Self::NotManual => f.write_str(
                "the collector already has a drain thread: start it with `Builder::manual_drain` \
                 (and without `manual_drain = false` in its settings file or environment)",
            ),
            Self::Stopped => f.write_str("the collector has stopped; start another one"),
            Self::ZeroPeriod => f.write_str(
                "the period must not be zero; tokio's timers have a resolution of one millisecond",
            ),
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
