//! The memory of one ring under the model checker, in place of `ring_memory.rs`. The atomics of the
//! model checker are objects that have to be constructed, so a ring of them cannot be placed in
//! zeroed memory.

#![allow(unsafe_code, reason = "a cell that the model checker watches")]

use core::fmt;
use std::{io, sync::Arc};

use loom::cell::UnsafeCell;
use tailwatch_core::{Ring, Slot};

use super::ring_budget::{Purpose, RingBudget, Taken};
use crate::shared::writer::SharedRing;

/// A ring of four records, as in every model.
pub(crate) struct RingMemory {
    ring: Box<Ring<[Slot; 4]>>,
    /// Stands for the memory that has to be there before a thread or the drain uses it: the model
    /// checker finds a use that the making does not happen before.
    made: UnsafeCell<bool>,
    _taken: Taken,
}

// SAFETY: the cell is written before any other thread can have the memory, and only read
// afterwards.
unsafe impl Send for RingMemory {}

// SAFETY: as above.
unsafe impl Sync for RingMemory {}

#[expect(clippy::unused_self, reason = "the same signatures as in `ring_memory.rs`")]
impl RingMemory {
    pub(crate) fn new(
        capacity: usize,
        budget: &Arc<RingBudget>,
        purpose: Purpose,
    ) -> io::Result<Self> {
        let taken = budget.take(capacity, purpose).ok_or(io::ErrorKind::QuotaExceeded)?;
        let made = UnsafeCell::new(false);
        // SAFETY: nobody else has the cell yet.
        made.with_mut(|made| unsafe { *made = true });
        Ok(Self { ring: Box::new(Ring::starting_at(0)), made, _taken: taken })
    }

    /// A budget counts records in the models.
    #[expect(clippy::unnecessary_wraps, reason = "as in `ring_memory.rs`")]
    pub(crate) fn bytes_of(capacity: usize) -> Option<usize> {
        Some(capacity)
    }

    /// Nothing is shared in the models.
    pub(crate) fn shared(ring: SharedRing) -> Self {
        match ring.0 {}
    }

    pub(crate) fn as_shared(&self) -> Option<&SharedRing> {
        None
    }

    pub(crate) fn capacity(&self) -> usize {
        4
    }

    #[expect(clippy::unnecessary_wraps, reason = "as in `ring_memory.rs`")]
    pub(crate) fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn lockable_bytes(_capacity: usize) -> usize {
        0
    }

    pub(crate) fn release_slots(&self) {}

    pub(crate) fn ring(&self) -> &Ring {
        // SAFETY: `new` has made it, which the model checker checks to be before this.
        assert!(self.made.with(|made| unsafe { *made }));
        &*self.ring
    }
}

impl fmt::Debug for RingMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingMemory").finish_non_exhaustive()
    }
}
