//! The error returned when a task of this crate cannot be started.

use core::fmt;
use std::error;

use tokio::runtime::TryCurrentError;

/// The error returned by [`spawn_drain`](crate::spawn_drain),
/// [`watch_runtime`](crate::watch_runtime) and [`watch_backlog`](crate::watch_backlog) when they
/// cannot start their task.
#[non_exhaustive]
pub enum SpawnError {
    /// The function was called outside of a tokio runtime. Contains the error of tokio.
    NoRuntime(TryCurrentError),
    /// The runtime was built without timers.
    ///
    /// The function checks this by creating a timer, which panics on such a runtime. It catches the
    /// panic, but the panic's message still appears on stderr. In a program that is compiled with
    /// `panic = "abort"`, the panic ends the program.
    NoTimers,
    /// The collector already has a thread that drains it, because the setting
    /// [`manual_drain`](tailwatch::Builder::manual_drain) was not in force when it was started.
    /// Only [`spawn_drain`](crate::spawn_drain) returns this.
    NotManual,
    /// The collector has stopped, and a stopped collector cannot be started again. Only
    /// [`spawn_drain`](crate::spawn_drain) returns this.
    Stopped,
    /// The period is zero. Only [`watch_runtime`](crate::watch_runtime) and
    /// [`watch_backlog`](crate::watch_backlog) return this.
    ZeroPeriod,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuntime(error) => {
                write!(f, "there is no tokio runtime to start the task on: {error}")
            }
            Self::NoTimers => f.write_str(
                "the tokio runtime has no timers; build it with `enable_time` or `enable_all`",
            ),
            Self::NotManual => f.write_str(
                "the collector already has a drain thread; build the collector with \
                 `Builder::manual_drain`, and remove `manual_drain = false` from its settings file \
                 and `TAILWATCH_MANUAL_DRAIN=false` from the environment",
            ),
            Self::Stopped => {
                f.write_str("the collector has stopped and cannot be restarted; start a new one")
            }
            Self::ZeroPeriod => f.write_str(
                "the period must not be zero; tokio's timers have a resolution of one millisecond",
            ),
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
