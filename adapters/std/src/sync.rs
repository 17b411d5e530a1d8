//! Locks. Under `--cfg tailwatch_loom` these are the locks of the model checker, as the core's
//! atomics are.

use std::sync::PoisonError;

#[cfg(tailwatch_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(tailwatch_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Locks the mutex, and ignores poisoning: a panic never leaves the data behind one of this crate's
/// locks inconsistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
