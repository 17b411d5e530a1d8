//! Where the drain's thread runs, and how urgent it is.

use core::fmt;
use std::io;

use core_affinity::CoreId;
use thread_priority::Error;

use crate::BuildError;

/// How urgent the drain's thread is to the operating system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainPriority {
    /// As urgent as the thread that calls [`Builder::start`](crate::Builder::start), also where that one is of real time.
    #[default]
    Inherited,
    /// As urgent as usual, whatever the thread that starts it is. Linux and Windows only; a process that was started as less
    /// urgent (by `nice`) needs a privilege for it.
    Normal,
    /// Runs when nothing else wants its core (Linux: `SCHED_IDLE`), or as rarely as the system knows.
    ///
    /// It only makes sense on another core than those of the threads that record: there, a busy thread keeps the drain from its
    /// ring until records are overwritten.
    Idle,
}

impl DrainPriority {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Inherited, Self::Normal, Self::Idle];

    /// As settings tell it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inherited => "inherited",
            Self::Normal => "normal",
            Self::Idle => "idle",
        }
    }

    /// Makes the current thread so.
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

    /// Of the usual policy, and neither more nor less nice than others.
    pub(super) fn normal() -> Result<(), Error> {
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        set_thread_priority_and_policy(
            thread_native_id(),
            ThreadPriority::Os(ThreadPriorityOsValue::default()),
            policy,
        )
    }

    pub(super) fn idle() -> Result<(), Error> {
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let done = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
        // It goes on to set a niceness of 0, which an idle thread does not need, and for which one that was nicer needs a privilege.
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
        Err(Error::Priority("what is normal is not known on this system"))
    }

    pub(super) fn idle() -> Result<(), Error> {
        set_current_thread_priority(ThreadPriority::Min)
    }
}

use system::{idle, normal};

/// The place of the drain's thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DrainPlacement {
    pub(crate) core: Option<usize>,
    pub(crate) priority: DrainPriority,
}

impl DrainPlacement {
    /// Puts the current thread there.
    pub(crate) fn take(self) -> Result<(), BuildError> {
        if let Some(core) = self.core
            && !core_affinity::set_for_current(CoreId { id: core })
        {
            return Err(BuildError::Pin { core });
        }
        self.priority
            .apply()
            .map_err(|source| BuildError::Priority { priority: self.priority, source })
    }
}

/// The cores that the current thread may run on, as the operating system numbers them; none where it does not tell.
pub(crate) fn cores() -> Vec<usize> {
    core_affinity::get_core_ids().into_iter().flatten().map(|CoreId { id }| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_taken_or_refused_by_its_name() {
        for priority in DrainPriority::ALL {
            let seat = DrainPlacement { core: cores().first().copied(), priority };
            let taken = std::thread::spawn(move || seat.take()).join().unwrap();
            match taken {
                Ok(()) => (),
                Err(BuildError::Priority { priority: refused, .. }) => {
                    assert_eq!(refused, priority)
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn idle_is_the_policy_of_that_name() {
        use thread_priority::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy,
        };

        let policy = std::thread::spawn(|| {
            DrainPriority::Idle.apply()?;
            thread_schedule_policy().map_err(io::Error::other)
        });
        match policy.join().unwrap() {
            Ok(policy) => {
                assert_eq!(policy, ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle))
            }
            // A sandbox may forbid it.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
        }
    }
}
