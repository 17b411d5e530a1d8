//! What happens to the recorders when the process forks.
//!
//! The child has only the thread that called `fork`. The stacks of the other threads, with their
//! thread-locals, are free memory there, and new threads get them. So the child must forget where
//! the other threads had their copies of a gate. The list of them must not be in the middle of a
//! change either, nor what the collectors of the process share, nor the calibration of the clock.
//! So the fork waits for their locks.
//!
//! The rings belong to the parent. The thread of the child is detached from its ring, and no thread
//! of the child gets a ring of a collector that the child inherited: its records are counted as
//! unregistered, which takes no lock that another thread of the parent may have held. Nobody drains
//! such a collector, and nobody judges its limits, so all events that have one are breached. A
//! shared file is the parent's as well: the child closes its copy of the descriptor that shows that
//! the parent is alive, and writes nothing into the file.

#![allow(unsafe_code, reason = "`pthread_atfork` and a lock that is held across its handlers")]

use core::cell::UnsafeCell;
use std::io;

use tailwatch_core::sync::{AtomicUsize, Ordering::Relaxed};

use super::{
    attachment,
    followers::{Follower, Followers},
    process::{self, Process},
};
use crate::{clock, sync::MutexGuard};

/// Makes the operating system call the handlers below whenever the process forks.
///
/// # Errors
/// Returns an error if there is not enough memory.
pub(crate) fn install_handlers() -> io::Result<()> {
    let mut process = process::lock();
    if !process.has_fork_handlers {
        // SAFETY: the handlers have the type that the function requires. They take no argument and
        // may run in any thread that forks.
        let error = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        process.has_fork_handlers = true;
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

/// The locks that the fork holds from its beginning to its end, in the order in which it takes
/// them.
struct Locks {
    process: std::sync::MutexGuard<'static, Process>,
    followers: MutexGuard<'static, Vec<Follower>>,
    _calibration: clock::CalibrationLock,
}

/// The locks, while a thread forks.
struct Held(UnsafeCell<Option<Locks>>);

// SAFETY: only the thread that holds the locks accesses the content: `before` after it took them,
// the other handlers before they release them.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

extern "C" fn before() {
    let locks = Locks {
        _calibration: clock::lock_calibration(),
        process: process::lock(),
        followers: Followers::of_this_process().lock(),
    };
    // SAFETY: this thread holds the locks; see `Held`.
    unsafe { *HELD.0.get() = Some(locks) };
}

extern "C" fn in_parent() {
    // SAFETY: `before` ran on this thread and took the locks; see `Held`.
    drop(unsafe { (*HELD.0.get()).take() });
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Relaxed);
    // SAFETY: `before` ran on this thread, in the parent, and took the locks; see `Held`.
    if let Some(mut locks) = unsafe { (*HELD.0.get()).take() } {
        locks.followers.clear();
        process::leave_to_parent(&mut locks.process);
        #[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
        crate::shared::writer::lock::close_in_child(&mut locks.process.file_locks);
    }
    attachment::detach_in_child();
}
