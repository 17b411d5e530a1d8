//! The only place where atomics and fences are imported.
//!
//! This crate and the adapters take them from here, so that `--cfg tailwatch_loom` swaps all of them at once for those of
//! the model checker. (Locks and thread-locals of the adapters are the standard library's; they are not modelled.) The cfg has a name of our own because a dependency's `--cfg loom`
//! must not change our atomics.

#[cfg(not(tailwatch_loom))]
pub use core::{
    cell::Cell,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering, fence},
};
#[cfg(tailwatch_loom)]
pub use loom::{
    cell::Cell,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering, fence},
};
