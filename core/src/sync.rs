//! Atomics and fences, and names for their orderings.
//!
//! This crate and the adapters import atomics only from here, so that `--cfg tailwatch_loom`
//! replaces all of them by those of the model checker loom. The cfg has a name of its own, because
//! flags apply to all crates of a build: `--cfg loom` would change the atomics of tokio as well,
//! and a program that models its own code with `--cfg loom` would change ours.
//!
//! Every ordering other than `Relaxed` is written with [`at`] or [`fence_at`] and has a name. A
//! table row under that name gives the reason for the ordering. The tables are in the docs of
//! [`ring`](crate::ring), of [`claim_once`](crate::claim_once) and of the std adapter's pool. In a
//! loom build, the environment variable `TAILWATCH_WEAKEN` names one ordering to weaken, so that a
//! check can see the model in its row fail. Other builds compile the names away.

#[cfg(not(tailwatch_loom))]
pub use core::{
    cell::Cell,
    sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering, compiler_fence, fence},
};
#[cfg(tailwatch_loom)]
pub use loom::{
    cell::Cell,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering, fence},
};

/// Returns the ordering, which has this name in a table of the docs.
#[cfg(not(tailwatch_loom))]
#[inline(always)]
pub const fn at(_name: &str, ordering: Ordering) -> Ordering {
    ordering
}

/// Executes a fence, which has this name in a table of the docs.
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

    /// Returns whether the variable `TAILWATCH_WEAKEN` names this ordering.
    fn is_weakened(name: &str) -> bool {
        static WEAKENED: OnceLock<Option<String>> = OnceLock::new();
        WEAKENED.get_or_init(|| env::var("TAILWATCH_WEAKEN").ok()).as_deref() == Some(name)
    }

    /// Returns the ordering, or `Relaxed` if `name` is weakened.
    pub fn at(name: &str, ordering: Ordering) -> Ordering {
        if is_weakened(name) { Ordering::Relaxed } else { ordering }
    }

    /// Executes the fence, unless `name` is weakened.
    pub fn fence_at(name: &str, ordering: Ordering) {
        if !is_weakened(name) {
            fence(ordering);
        }
    }
}
