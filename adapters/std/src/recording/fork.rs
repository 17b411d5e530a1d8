//! What happens to the recorders when the process forks.
//!
//! The child has only the thread that called `fork`. The stacks of the other threads, with their
//! thread-locals, are free memory there, and new threads get them. So the child must forget where
//! the other threads had their copies of a gate. The list of them must not be in the middle of a
//! change either, so the fork waits for its lock.
//!
//! The rings belong to the parent. The thread of the child is detached from its ring, and no thread
//! of the child gets a ring of a collector that the child inherited: its records are counted as
//! unregistered, which takes no lock that another thread of the parent may have held.

#![allow(unsafe_code, reason = "`pthread_atfork` and a lock that is held across its handlers")]

use core::cell::UnsafeCell;
use std::{io, sync::MutexGuard};

use tailwatch_core::sync::{AtomicUsize, Ordering::Relaxed};

use super::{
    followers::{Follower, Followers},
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
        // SAFETY: the handlers have the type that the function requires. They take no argument and
        // may run in any thread that forks.
        let error = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        *installed = true;
    }
    Ok(())
}

/// How many forks lead from the program's first process to this one.
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// Returns how many forks lead from the program's first process to this one. What has another
/// number was inherited.
pub(crate) fn forks() -> usize {
    // Relaxed: the handler sets it before the child has a second thread.
    FORKS.load(Relaxed)
}

/// The lock of the list of followers, from the beginning of a fork to its end.
struct Held(UnsafeCell<Option<MutexGuard<'static, Vec<Follower>>>>);

// SAFETY: only the thread that holds the lock of the list accesses the content: `before` after
// it took the lock, the other handlers before they release it.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

extern "C" fn before() {
    let list = Followers::of_this_process().lock();
    // SAFETY: this thread holds the lock; see `Held`.
    unsafe { *HELD.0.get() = Some(list) };
}

extern "C" fn in_parent() {
    // SAFETY: `before` ran on this thread and took the lock; see `Held`.
    drop(unsafe { (*HELD.0.get()).take() });
}

extern "C" fn in_child() {
    // SAFETY: `before` ran on this thread, in the parent, and took the lock; see `Held`.
    if let Some(mut list) = unsafe { (*HELD.0.get()).take() } {
        list.clear();
    }
    FORKS.fetch_add(1, Relaxed);
    thread_recorder::detach_in_child();
}
