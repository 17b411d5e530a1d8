//! Locks. `--cfg tailwatch_loom` replaces them by those of the model checker, as it does the core's
//! atomics.

use std::sync::PoisonError;

#[cfg(tailwatch_loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(tailwatch_loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

/// Locks the mutex, and ignores poisoning: no code that holds one of our locks leaves the data
/// inconsistent if it panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
