//! The core and the priority of the drain's thread.

use core::fmt;
use std::io;

use core_affinity::CoreId;
use thread_priority::Error;

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

/// The core and priority that the drain's thread is to get.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DrainPlacement {
    /// The core to pin the thread to, by the operating system's number. `None` for any core.
    pub(crate) core: Option<usize>,
    pub(crate) priority: DrainPriority,
}

/// What the operating system refused to the drain's thread.
#[derive(Debug)]
pub(crate) enum PlacementError {
    /// To pin it to this core.
    Pin { core: usize },
    /// To give it this priority.
    Priority { priority: DrainPriority, source: io::Error },
}

impl DrainPlacement {
    /// Pins the current thread to the core and gives it the priority.
    pub(crate) fn apply(self) -> Result<(), PlacementError> {
        if let Some(core) = self.core
            && !core_affinity::set_for_current(CoreId { id: core })
        {
            return Err(PlacementError::Pin { core });
        }
        let priority = self.priority;
        priority.apply().map_err(|source| PlacementError::Priority { priority, source })
    }
}

/// Returns the cores that the current thread may run on, by the operating system's numbers. The
/// list is empty if the operating system does not provide them.
pub(crate) fn cores() -> Vec<usize> {
    core_affinity::get_core_ids().into_iter().flatten().map(|CoreId { id }| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_is_applied_or_its_priority_is_refused() {
        for priority in DrainPriority::ALL {
            let placement = DrainPlacement { core: cores().first().copied(), priority };
            let applied = std::thread::spawn(move || placement.apply()).join().unwrap();
            match applied {
                Ok(()) => (),
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
