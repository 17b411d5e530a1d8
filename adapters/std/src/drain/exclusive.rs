//! Passes on the current thread. The lock of the drain lets only one thread at a time make a pass.

use core::cell::Cell;
use std::sync::TryLockError;

use super::{Drain, pass::PassResult, pass_kind::PassKind};
use crate::{
    recording::{fork, pool::Pool, process},
    sync::{Mutex, lock},
};

thread_local! {
    /// If this thread is making a pass, how many forks lead to the process in which it began.
    /// Observers and hooks run inside a pass. If one of them began another pass, it would wait
    /// forever for the lock that its own thread holds. If one of them forks, the child is in no
    /// pass of its own collectors.
    static INSIDE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Returns whether this thread is making a pass, which means that an observer or hook is the
/// caller.
pub(crate) fn is_inside_pass() -> bool {
    INSIDE.get() == Some(fork::forks())
}

/// Makes a pass. Blocks while another thread makes one.
///
/// Does nothing and returns `None` if this thread is already making a pass, if the last pass is
/// over, or if the drain is that of the process from which this one was forked.
pub(crate) fn run(drain: &Mutex<Drain>, pool: &Pool, kind: PassKind) -> Option<PassResult> {
    if is_inside_pass() || pool.is_inherited() {
        None
    } else {
        run_locked(&mut lock(drain), pool, kind)
    }
}

/// Makes the last pass, even if this thread is making a pass of another collector.
///
/// Does nothing if a pass of this drain is running, on this thread or another one. The code that
/// makes that pass then also makes the last one.
pub(crate) fn run_last_unless_busy(drain: &Mutex<Drain>, pool: &Pool) {
    let drain = match drain.try_lock() {
        Ok(drain) => Some(drain),
        // Poisoning is ignored, as in `lock`.
        Err(TryLockError::Poisoned(drain)) => Some(drain.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    if let Some(mut drain) = drain {
        run_locked(&mut drain, pool, PassKind::Last);
    }
}

/// Makes a pass with the lock held. Does nothing and returns `None` if the last pass is over.
fn run_locked(drain: &mut Drain, pool: &Pool, kind: PassKind) -> Option<PassResult> {
    /// Restores `INSIDE` even if the pass panics.
    struct Restore(Option<usize>);
    impl Drop for Restore {
        fn drop(&mut self) {
            INSIDE.set(self.0);
        }
    }
    let _restore = Restore(INSIDE.replace(Some(fork::forks())));
    // Checked with the lock held, because the last pass may have been made while this thread waited
    // for the lock. The pool counts records that entered the rings since then as unregistered, so
    // they must not be drained as well.
    if pool.is_finished() {
        return None;
    }
    let result = drain.pass(kind);
    // An observer or hook may have forked: then this is the child, and nobody drains any more.
    if pool.is_inherited() {
        return None;
    }
    if kind == PassKind::Last {
        pool.finish();
        process::close(pool);
    }
    Some(result)
}
