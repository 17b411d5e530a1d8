//! How many rings a collector may have, and how large they may become.

use super::ring_memory::RingMemory;

/// How many rings a pool has, how large they are, and what they may grow to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingSettings {
    /// The number of lanes, and so of threads that can record at the same time.
    pub(crate) lanes: usize,
    /// The capacity of a thread's first ring, in records.
    pub(crate) capacity: usize,
    /// The largest capacity of a ring, in records.
    pub(crate) max_capacity: usize,
    /// The bytes that all rings together may take.
    pub(crate) max_bytes: usize,
    /// Whether the rings are locked in memory.
    pub(crate) locked: bool,
}

impl RingSettings {
    /// Returns how many threads can have a first ring at the same time.
    pub(crate) fn max_first_rings(&self) -> usize {
        let bytes = RingMemory::bytes_of(self.capacity).unwrap_or(usize::MAX);
        self.lanes.min(self.max_bytes / bytes.max(1))
    }
}

#[cfg(test)]
impl RingSettings {
    /// The settings of a pool whose rings do not grow.
    pub(crate) fn fixed(lanes: usize, capacity: usize) -> Self {
        let max_bytes = usize::MAX;
        Self { lanes, capacity, max_capacity: capacity, max_bytes, locked: false }
    }
}
