//! A thread of the library, which leaves the host program in peace.
//!
//! The drain, reporters, probes and the writers of traces run on such threads. Their threads block
//! signals, so that a signal of the process goes to a thread of the program. They do not inherit
//! the core of the thread that starts them, which may be the hot one. Nothing waits for a thread
//! where that would never end: on the thread itself, and in a forked child, which does not have it.

pub(crate) mod cores;
pub(crate) mod placement;
#[cfg_attr(not(unix), path = "own_thread/signals/none.rs")]
mod signals;

use core::{fmt, mem};
use std::{
    error, io,
    sync::mpsc,
    thread::{self, JoinHandle, Thread},
};

use self::placement::{Placement, PlacementError};
use crate::recording::fork;

/// A thread of the library. Dropping this does not end the thread.
#[derive(Debug)]
pub(crate) struct OwnThread<T> {
    /// `None` once the thread was joined or is left alone. The thread returns `None` if it did not
    /// get its placement.
    handle: Option<JoinHandle<Option<T>>>,
    /// Why the thread runs on the cores of the thread that started it. `None` if it has its own.
    not_moved: Option<io::Error>,
    /// How many forks lead to the process that has the thread.
    forks: usize,
}

/// Why a thread was not started.
#[derive(Debug)]
pub(crate) enum SpawnError {
    /// The operating system did not start it.
    Thread(io::Error),
    /// The operating system refused its placement.
    Placement(PlacementError),
}

impl<T: Send + 'static> OwnThread<T> {
    /// Starts a thread with this name, which calls `run`. Blocks until the thread has its
    /// placement.
    ///
    /// # Errors
    /// Returns an error if the operating system refuses the thread or its placement. `run` is not
    /// called then.
    pub(crate) fn spawn(
        name: &str,
        placement: Placement,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Self, SpawnError> {
        let (sender, outcome) = mpsc::channel();
        let body = move || {
            let placed = placement.apply();
            let is_placed = placed.is_ok();
            // Sending cannot fail, because `spawn` waits for this message.
            let _ = sender.send(placed);
            drop(sender);
            is_placed.then(run)
        };
        let named = thread::Builder::new().name(name.to_owned());
        let handle = signals::while_blocked(|| named.spawn(body)).map_err(SpawnError::Thread)?;
        let not_moved = outcome
            .recv()
            .map_err(|error| SpawnError::Thread(io::Error::other(error)))?
            .map_err(SpawnError::Placement)?;
        Ok(Self { handle: Some(handle), not_moved, forks: fork::forks() })
    }
}

impl<T> OwnThread<T> {
    /// Returns why the thread runs on the cores of the thread that started it, or `None` if it has
    /// its own.
    pub(crate) fn not_moved(&self) -> Option<&io::Error> {
        self.not_moved.as_ref()
    }

    /// Returns the handle by which the thread is woken, or `None` if it was joined.
    pub(crate) fn thread(&self) -> Option<&Thread> {
        self.handle.as_ref().map(JoinHandle::thread)
    }

    /// Returns whether the thread belongs to the process that this one was forked from.
    pub(crate) fn is_inherited(&self) -> bool {
        self.forks != fork::forks()
    }

    /// Blocks until the thread has ended, and returns its result, or an error if it has panicked.
    ///
    /// Returns `None` at once where waiting would never end: on the thread itself, in a forked
    /// child, and if the thread was joined before.
    pub(crate) fn join(&mut self) -> Option<thread::Result<T>> {
        if self.is_inherited() || self.is_current() {
            return None;
        }
        match self.handle.take()?.join() {
            Ok(result) => result.map(Ok),
            Err(panic) => Some(Err(panic)),
        }
    }

    /// Returns whether this is the current thread.
    pub(crate) fn is_current(&self) -> bool {
        self.thread().is_some_and(|thread| thread.id() == thread::current().id())
    }
}

impl<T> Drop for OwnThread<T> {
    fn drop(&mut self) {
        if self.is_inherited() {
            // Forgotten and not dropped: the child would detach a thread that it does not have, or
            // one of its own that has got the same memory.
            mem::forget(self.handle.take());
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(error) => error.fmt(f),
            Self::Placement(error) => error.fmt(f),
        }
    }
}

impl error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Thread(error) => error.source(),
            Self::Placement(error) => error.source(),
        }
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Thread(error) => error,
            placement @ SpawnError::Placement(_) => Self::other(placement),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> OwnThread<T> {
        OwnThread::spawn("own", Placement::default(), run).unwrap()
    }

    #[test]
    fn a_thread_returns_its_result_or_its_panic() {
        assert_eq!(spawn(|| 5).join().unwrap().unwrap(), 5);
        let mut panicking = spawn(|| panic!("as the test wants"));
        let panic = panicking.join().unwrap().unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"as the test wants"));
        assert!(panicking.join().is_none());
    }

    #[test]
    fn a_thread_does_not_wait_for_itself() {
        let (sender, receiver) = mpsc::channel::<OwnThread<()>>();
        let (joined, outcome) = mpsc::channel();
        let own = spawn(move || {
            let mut own = receiver.recv().unwrap();
            joined.send(own.join().is_none()).unwrap();
        });
        sender.send(own).unwrap();
        assert!(outcome.recv().unwrap());
    }

    #[test]
    fn a_thread_that_does_not_get_its_core_does_not_run() {
        let placement = Placement { core: Some(usize::MAX), ..Placement::default() };
        let spawned = OwnThread::spawn("own", placement, || unreachable!("it has no core"));
        let error = spawned.err().unwrap();
        assert!(error.to_string().contains(&usize::MAX.to_string()), "{error}");
    }
}
