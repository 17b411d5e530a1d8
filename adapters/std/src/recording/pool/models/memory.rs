//! The memory of one ring under the model checker, in place of `ring_memory.rs`. The atomics of the
//! model checker are objects that have to be constructed, so a ring of them cannot be placed in
//! zeroed memory.

use core::fmt;
use std::io;

use tailwatch_core::{Ring, Slot};

/// A ring of four records, as in every model.
pub(crate) struct RingMemory(Box<Ring<[Slot; 4]>>);

#[expect(
    clippy::unnecessary_wraps,
    clippy::unused_self,
    reason = "the same signatures as in `ring_memory.rs`"
)]
impl RingMemory {
    pub(crate) fn new(_capacity: usize) -> io::Result<Self> {
        Ok(Self(Box::new(Ring::starting_at(0))))
    }

    pub(crate) fn bytes(&self) -> usize {
        0
    }

    pub(crate) fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn lockable_bytes(&self) -> usize {
        0
    }

    pub(crate) fn ring(&self) -> &Ring {
        &*self.0
    }
}

impl fmt::Debug for RingMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring().fmt(f)
    }
}
