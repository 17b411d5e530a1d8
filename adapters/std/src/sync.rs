//! Locks; `--cfg tailwatch_loom` swaps them, as the core's atomics, for those of the model checker.

use std::sync::PoisonError;

#[cfg(tailwatch_loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(tailwatch_loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

/// Locks, whatever became of whoever held the lock before: what it guards is never left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
