//! Passes that the current thread makes: one at a time.

use core::cell::Cell;
use std::sync::TryLockError;

use crate::{
    drain::{Drain, Passed, Take},
    pool::Pool,
    sync::{Mutex, lock},
};

thread_local! {
    /// Set while this thread makes a pass, in which observers run: a pass from inside it would wait for itself.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread makes one, so that it is an observer that asks.
pub(crate) fn is_inside() -> bool {
    INSIDE.get()
}

/// Makes one; does nothing inside another, nor after the last one.
pub(crate) fn make(drain: &Mutex<Drain>, pool: &Pool, take: Take) -> Option<Passed> {
    if is_inside() { None } else { make_one(&mut lock(drain), pool, take) }
}

/// Makes the last one, from inside that of another collector as well. If somebody is at one, as who asks may be, it does nothing:
/// they make the last one then.
pub(crate) fn make_last_unless_busy(drain: &Mutex<Drain>, pool: &Pool) {
    let drain = match drain.try_lock() {
        Ok(drain) => Some(drain),
        // As `lock` has it.
        Err(TryLockError::Poisoned(drain)) => Some(drain.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    if let Some(mut drain) = drain {
        make_one(&mut drain, pool, Take::Last);
    }
}

fn make_one(drain: &mut Drain, pool: &Pool, take: Take) -> Option<Passed> {
    /// Resets the mark even if the pass panics.
    struct Mark(bool);
    impl Drop for Mark {
        fn drop(&mut self) {
            INSIDE.set(self.0);
        }
    }
    let _mark = Mark(INSIDE.replace(true));
    // Asked behind the lock: the last pass may have been made while this one waited. What has come into the rings since is counted as
    // unregistered, and would be in no report if it was taken out.
    if pool.is_finished() {
        return None;
    }
    let passed = drain.pass(take);
    if take == Take::Last {
        pool.finish();
    }
    Some(passed)
}
