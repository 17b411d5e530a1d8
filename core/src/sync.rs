//! Atomics and fences, and names for their orderings.
//!
//! This crate and the adapters import atomics only from here. `--cfg tailwatch_loom` then replaces
//! those that the models use by the atomics of the model checker loom. The cfg is not called
//! `loom`, because a cfg applies to all crates of a build: `--cfg loom` would also change the
//! atomics of tokio, and a program that models its own code with `--cfg loom` would change ours.
//!
//! Every ordering other than `Relaxed`, except those of compiler fences, is written as
//! `at("name", ordering)` or `fence_at("name", ordering)`. [`at`] returns its second argument, and
//! [`fence_at`] is a fence with that ordering: the name only identifies the ordering. A table has a
//! row under each name, which gives the reason for the ordering and names a loom model that fails
//! without it, or `none` if no model needs it. The tables are in the docs of [`ring`](crate::ring),
//! of [`claim_once`](crate::ring::claim_once) and of the std adapter's pool.
//!
//! `.ci/check_orderings.py` checks the tables. In a loom build, the environment variable
//! `TAILWATCH_WEAKEN` names one ordering: `at` then returns `Relaxed`, and `fence_at` does nothing.
//! The check sets the variable to each name in turn, except those without a model, and requires
//! that the model in the row of the name fails. Other builds compile the names away.

#[cfg(not(tailwatch_loom))]
pub use core::{
    cell::Cell,
    sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering, compiler_fence, fence},
};
#[cfg(tailwatch_loom)]
pub use loom::{
    cell::Cell,
    sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering, fence},
};

/// Returns `ordering`. The name is that of its row in a table; see the [module](self). Only loom
/// builds use it.
#[cfg(not(tailwatch_loom))]
#[inline(always)]
pub const fn at(_name: &str, ordering: Ordering) -> Ordering {
    ordering
}

/// Executes a fence with this ordering. The name is that of its row in a table; see the
/// [module](self). Only loom builds use it.
#[cfg(not(tailwatch_loom))]
#[inline(always)]
pub fn fence_at(_name: &str, ordering: Ordering) {
    fence(ordering);
}

#[cfg(tailwatch_loom)]
pub use weakening::{at, fence_at};

#[cfg(tailwatch_loom)]
mod weakening {
    extern crate std;
    use std::{env, string::String, sync::OnceLock};

    use super::{Ordering, fence};

    /// Returns whether the environment variable `TAILWATCH_WEAKEN` names this ordering.
    ///
    /// The variable is read when the models run, not when they are built. The check can therefore
    /// weaken one ordering after the other with a single build.
    fn is_weakened(name: &str) -> bool {
        static WEAKENED: OnceLock<Option<String>> = OnceLock::new();
        WEAKENED.get_or_init(|| env::var("TAILWATCH_WEAKEN").ok()).as_deref() == Some(name)
    }

    /// Returns `ordering`, or `Relaxed` if the environment variable `TAILWATCH_WEAKEN` is `name`.
    pub fn at(name: &str, ordering: Ordering) -> Ordering {
        if is_weakened(name) { Ordering::Relaxed } else { ordering }
    }

    /// Executes a fence with this ordering, or does nothing if the environment variable
    /// `TAILWATCH_WEAKEN` is `name`.
    pub fn fence_at(name: &str, ordering: Ordering) {
        if !is_weakened(name) {
            fence(ordering);
        }
    }
}
