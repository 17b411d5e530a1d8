//! The entry of a lane's thread in the log of a shared file.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{identity::Identity, ring_memory::RingMemory};

/// Which row of the log of a shared file the thread of a lane has: [`NONE`] if its ring is in no
/// file, or if the log had no row for it.
///
/// Only the thread that has the lane uses it. What orders one holder of the lane before the next
/// also orders this.
#[derive(Debug)]
pub(super) struct LogEntry(AtomicUsize);

/// No row.
const NONE: usize = usize::MAX;

impl LogEntry {
    /// Creates the entry of a lane that no thread has.
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(NONE))
    }

    fn set(&self, row: Option<usize>) {
        self.0.store(row.unwrap_or(NONE), Relaxed);
    }

    fn row(&self) -> Option<usize> {
        Some(self.0.load(Relaxed)).filter(|row| *row != NONE)
    }

    /// Notes that `thread` has this ring from now on. May lock.
    pub(super) fn enter(&self, ring: Option<&RingMemory>, thread: &Identity) {
        self.set(ring.and_then(RingMemory::as_shared).and_then(|ring| ring.enter(thread)));
    }

    /// Notes that the thread moves from one ring to another. Wait-free.
    pub(super) fn go_on(&self, from: Option<&RingMemory>, to: &RingMemory) {
        let Some(from) = from.and_then(RingMemory::as_shared) else { return };
        if let Some(to) = to.as_shared() {
            self.set(from.go_on(self.row(), to));
        } else {
            from.hide(self.row());
            self.set(None);
        }
    }

    /// Notes that the thread ends. Wait-free.
    pub(super) fn leave(&self, ring: Option<&RingMemory>) {
        if let (Some(ring), Some(row)) = (ring.and_then(RingMemory::as_shared), self.row()) {
            ring.leave(row);
            self.set(None);
        }
    }
}
