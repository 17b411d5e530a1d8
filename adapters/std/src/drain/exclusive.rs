//! Passes on the current thread. The lock of the drain admits one pass at a time.

use core::cell::Cell;
use std::sync::TryLockError;

use crate::{
    drain::{Drain, PassKind, PassResult},
    pool::Pool,
    sync::{Mutex, lock},
};

thread_local! {
    /// Whether this thread is making a pass. Observers and hooks run inside a pass, so another pass
    /// that one of them began would wait for itself.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is making a pass, and so is running an observer or hook.
pub(crate) fn is_inside_pass() -> bool {
    INSIDE.get()
}

/// Makes a pass. Blocks while another thread makes one.
///
/// Does nothing and returns `None` inside another pass, and after the last pass.
pub(crate) fn run(drain: &Mutex<Drain>, pool: &Pool, kind: PassKind) -> Option<PassResult> {
    if is_inside_pass() { None } else { run_locked(&mut lock(drain), pool, kind) }
}

/// Makes the last pass, even inside a pass of another collector.
///
/// Does nothing if a pass of this drain is running, possibly that of the caller. Whoever makes that
/// pass then also makes the last one.
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

fn run_locked(drain: &mut Drain, pool: &Pool, kind: PassKind) -> Option<PassResult> {
    /// Restores `INSIDE` even if the pass panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            INSIDE.set(self.0);
        }
    }
    let _restore = Restore(INSIDE.replace(true));
    // Checked under the lock, because the last pass may have been made while this thread waited for
    // it. Records that entered the rings since then are counted as unregistered, and no report
    // would include them if they were drained.
    if pool.is_finished() {
        return None;
    }
    let result = drain.pass(kind);
    if kind == PassKind::Last {
        pool.finish();
    }
    Some(result)
}
