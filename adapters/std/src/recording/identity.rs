//! The identity of a recording thread: its name, and the number that the operating system gave it.

use std::{sync::Arc, thread};

/// The name and the number of a thread. Many threads may have the same name, such as the workers of
/// a runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) name: Arc<str>,
    /// The number that the operating system gave the thread. `None` where it has none for us.
    pub(crate) tid: Option<u64>,
}

impl Identity {
    /// Returns the identity of the current thread, with its name, or with its `ThreadId` if the
    /// thread has no name.
    pub(crate) fn of_current() -> Self {
        let thread = thread::current();
        let name = thread.name().map_or_else(|| format!("{:?}", thread.id()).into(), Arc::from);
        Self::named(name)
    }

    /// Returns the identity of the current thread, with another name.
    pub(crate) fn named(name: Arc<str>) -> Self {
        Self { name, tid: current_tid() }
    }
}

/// Returns the number that Linux gave the current thread, as `gettid` and `/proc` show it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn current_tid() -> Option<u64> {
    u64::try_from(rustix::thread::gettid().as_raw_nonzero().get()).ok()
}

/// Returns `None`: neither std nor a dependency has a safe function for the thread's number.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn current_tid() -> Option<u64> {
    None
}

/// A thread of another test, without a number.
#[cfg(test)]
impl From<&str> for Identity {
    fn from(name: &str) -> Self {
        Self { name: name.into(), tid: None }
    }
}
