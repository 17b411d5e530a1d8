//! What happens to the recorders when the process forks.
//!
//! The child has only the thread that called `fork`. The stacks of the other threads, with their
//! thread-locals, are free memory there, and new threads get them. So the child must forget where
//! the other threads had their copies of a gate. It must also not begin with a registry that was
//! being changed: the fork waits for the lock of the registry.

#![allow(unsafe_code, reason = "`pthread_atfork` and a lock that is held across its handlers")]

use core::cell::UnsafeCell;
use std::{io, sync::MutexGuard};

use super::{
    registry::{Registered, Registry},
    thread_recorder,
};
use crate::sync::{Mutex, lock};

/// Makes the operating system call the handlers below whenever the process forks.
///
/// # Errors
/// Returns an error if there is not enough memory.
pub(crate) fn install_handlers() -> io::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = lock(&INSTALLED);
    if !*installed {
        // SAFETY: the handlers have the type that the function requires, and are never unloaded,
        // because a crate that is linked statically is not unloaded without its threads.
        let error = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        *installed = true;
    }
    Ok(())
}

/// The lock of the registry, from the beginning of a fork to its end.
struct Held(UnsafeCell<Option<MutexGuard<'static, Vec<Registered>>>>);

// SAFETY: only the thread that holds the lock of the registry accesses the content: `before` after
// it took the lock, the other handlers before they release it.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

extern "C" fn before() {
    let threads = Registry::of_this_process().lock();
    // SAFETY: this thread holds the lock; see `Held`.
    unsafe { *HELD.0.get() = Some(threads) };
}

extern "C" fn in_parent() {
    // SAFETY: `before` ran on this thread and took the lock; see `Held`.
    drop(unsafe { (*HELD.0.get()).take() });
}

extern "C" fn in_child() {
    // SAFETY: `before` ran on this thread, in the parent, and took the lock; see `Held`.
    if let Some(mut threads) = unsafe { (*HELD.0.get()).take() } {
        threads.clear();
    }
    thread_recorder::detach_in_child();
}
