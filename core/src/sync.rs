//! The only place where atomics and fences are imported, and where an ordering gets the name of its place.
//!
//! This crate and the adapters take them from here, so that `--cfg tailwatch_loom` swaps all of them at once for those of
//! the model checker. The cfg has a name of our own because a dependency's `--cfg loom` must not change our atomics.
//!
//! Every ordering other than `Relaxed` is given by [`at`] or [`fence_at`], under a name that a row of a table tells the
//! reason of: in the docs of the ring, of [`once`](crate::once), and of the std adapter's pool. Under the model checker one place can be
//! weakened, to see that the model named in its row fails; other builds compile the name away.

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

/// The ordering at this place.
#[cfg(not(tailwatch_loom))]
#[inline(always)]
pub const fn at(_place: &str, ordering: Ordering) -> Ordering {
    ordering
}

/// The fence at this place.
#[cfg(not(tailwatch_loom))]
#[inline(always)]
pub fn fence_at(_place: &str, ordering: Ordering) {
    fence(ordering);
}

#[cfg(tailwatch_loom)]
pub use weakening::{at, fence_at};

#[cfg(tailwatch_loom)]
mod weakening {
    extern crate std;
    use std::{env, string::String, sync::OnceLock};

    use super::{Ordering, fence};

    /// Whether this is the place that the variable `TAILWATCH_WEAKEN` names.
    fn is_weak(place: &str) -> bool {
        static WEAK: OnceLock<Option<String>> = OnceLock::new();
        WEAK.get_or_init(|| env::var("TAILWATCH_WEAKEN").ok()).as_deref() == Some(place)
    }

    /// The ordering at this place; `Relaxed` if it is weakened.
    pub fn at(place: &str, ordering: Ordering) -> Ordering {
        if is_weak(place) { Ordering::Relaxed } else { ordering }
    }

    /// The fence at this place; none if it is weakened.
    pub fn fence_at(place: &str, ordering: Ordering) {
        if !is_weak(place) {
            fence(ordering);
        }
    }
}
