//! The core and the priority of a thread of the library.

use core::fmt;
use std::{error, io};

use thread_priority::Error;

use super::cores;

/// The scheduling priority of the drain's thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainPriority {
    /// The priority of the thread that calls [`Builder::start`](crate::Builder::start), even if
    /// that is a real-time priority.
    #[default]
    Inherited,
    /// The normal priority, whatever the priority of the thread that calls
    /// [`Builder::start`](crate::Builder::start). Only available on Linux, Android and Windows. In
    /// a process that was started with a lower priority (by `nice`), it requires a privilege.
    Normal,
    /// The lowest priority of the operating system. On Linux and Android this is `SCHED_IDLE`: the
    /// drain runs only when no other thread needs its core.
    ///
    /// Use it only if the drain has a core on which no recording thread runs. On a shared core, a
    /// busy recording thread would keep the drain from running until records are overwritten.
    Idle,
}

impl DrainPriority {
    /// All priorities.
    pub(crate) const ALL: [Self; 3] = [Self::Inherited, Self::Normal, Self::Idle];

    /// Returns the word for the priority in settings.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inherited => "inherited",
            Self::Normal => "normal",
            Self::Idle => "idle",
        }
    }

    /// Gives the current thread this priority.
    fn apply(self) -> io::Result<()> {
        let done = match self {
            Self::Inherited => Ok(()),
            Self::Normal => normal(),
            Self::Idle => idle(),
        };
        done.map_err(|error| match error {
            Error::OS(code) => io::Error::from_raw_os_error(code),
            other => io::Error::new(io::ErrorKind::Unsupported, other),
        })
    }
}

impl fmt::Display for DrainPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use thread_priority::{
        Error, NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityOsValue,
        ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
        thread_schedule_policy,
    };

    /// Sets the policy `SCHED_OTHER` and a niceness of 0.
    pub(super) fn normal() -> Result<(), Error> {
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        set_thread_priority_and_policy(
            thread_native_id(),
            ThreadPriority::Os(ThreadPriorityOsValue::default()),
            policy,
        )
    }

    /// Sets the policy `SCHED_IDLE`.
    pub(super) fn idle() -> Result<(), Error> {
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let done = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
        // `thread_priority` sets a niceness of 0 as well. An idle thread does not need this, and a
        // process of higher niceness needs a privilege for it. Therefore an error counts only if
        // the policy was not set.
        if thread_schedule_policy() == Ok(policy) { Ok(()) } else { done }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use thread_priority::{Error, ThreadPriority, set_current_thread_priority};

    #[cfg(windows)]
    pub(super) fn normal() -> Result<(), Error> {
        set_current_thread_priority(ThreadPriority::Os(
            thread_priority::WinAPIThreadPriority::Normal.into(),
        ))
    }

    #[cfg(not(windows))]
    pub(super) fn normal() -> Result<(), Error> {
        Err(Error::Priority("the normal priority of this operating system is unknown"))
    }

    pub(super) fn idle() -> Result<(), Error> {
        set_current_thread_priority(ThreadPriority::Min)
    }
}

use system::{idle, normal};

/// The core and priority that a thread is to get.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Placement {
    /// The core to pin the thread to, by the operating system's number. `None` for all cores that
    /// the process may use.
    pub(crate) core: Option<usize>,
    pub(crate) priority: DrainPriority,
}

/// What the operating system refused to a thread.
#[derive(Debug)]
pub(crate) enum PlacementError {
    /// To pin it to this core.
    Pin { core: usize, source: io::Error },
    /// To give it this priority.
    Priority { priority: DrainPriority, source: io::Error },
}

impl Placement {
    /// Returns the placement on this core.
    pub(crate) fn on_core(core: usize) -> Self {
        Self { core: Some(core), ..Self::default() }
    }

    /// Gives the current thread its cores and its priority. If the operating system does not let it
    /// run on all cores that the process may use, the thread stays on those of the thread that
    /// started it, and this returns why.
    pub(super) fn apply(self) -> Result<Option<io::Error>, PlacementError> {
        let not_moved = match self.core {
            Some(core) => {
                let pin = |source| PlacementError::Pin { core, source };
                cores::restrict_to(&[core]).map_err(pin)?;
                None
            }
            None => cores::restrict_to(&cores::of_process()).err(),
        };
        let priority = self.priority;
        priority.apply().map_err(|source| PlacementError::Priority { priority, source })?;
        Ok(not_moved)
    }
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin { core, source } => {
                write!(f, "the operating system does not let a thread run on core {core}: {source}")
            }
            Self::Priority { priority, source } => {
                write!(f, "the operating system does not allow the priority {priority}: {source}")
            }
        }
    }
}

impl error::Error for PlacementError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        let (Self::Pin { source, .. } | Self::Priority { source, .. }) = self;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_is_applied_or_its_priority_is_refused() {
        for priority in DrainPriority::ALL {
            let placement = Placement { core: cores::of_process().first().copied(), priority };
            let applied = std::thread::spawn(move || placement.apply()).join().unwrap();
            match applied {
                Ok(_) => (),
                Err(PlacementError::Priority { priority: refused, .. }) => {
                    assert_eq!(refused, priority);
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_idle_priority_is_the_policy_sched_idle() {
        use thread_priority::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy,
        };

        let policy = std::thread::spawn(|| {
            DrainPriority::Idle.apply()?;
            thread_schedule_policy().map_err(io::Error::other)
        });
        match policy.join().unwrap() {
            Ok(policy) => {
                assert_eq!(policy, ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle));
            }
            // A sandbox may forbid a change of the policy.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
        }
    }
}
