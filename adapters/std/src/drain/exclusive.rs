//! Passes on the current thread. The lock of the drain lets only one thread at a time make a pass.

use core::cell::Cell;
use std::sync::TryLockError;

use super::{Drain, pass::PassResult, pass_kind::PassKind};
use crate::{
    recording::pool::Pool,
    sync::{Mutex, lock},
};

thread_local! {
    /// Whether this thread is making a pass. Observers and hooks run inside a pass. If one of them
    /// began another pass, it would wait forever for the lock that its own thread holds.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether this thread is making a pass, which means that an observer or hook is the
/// caller.
pub(crate) fn is_inside_pass() -> bool {
    INSIDE.get()
}

/// Makes a pass. Blocks while another thread makes one.
///
/// Does nothing and returns `None` if this thread is already making a pass, or if the last pass is
/// over.
pub(crate) fn run(drain: &Mutex<Drain>, pool: &Pool, kind: PassKind) -> Option<PassResult> {
    if is_inside_pass() { None } else { run_locked(&mut lock(drain), pool, kind) }
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
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            INSIDE.set(self.0);
        }
    }
    let _restore = Restore(INSIDE.replace(true));
    // Checked with the lock held, because the last pass may have been made while this thread waited
    // for the lock. The pool counts records that entered the rings since then as unregistered, so
    // they must not be drained as well.
    if pool.is_finished() {
        return None;
    }
    let result = drain.pass(kind);
    if kind == PassKind::Last {
        pool.finish();
    }
    Some(result)
}
