//! The spares: free lanes that have a ring, for threads that are about to record.

use std::{io, sync::Arc, time::Instant};

use tailwatch_core::sync::Ordering::Relaxed;

use super::Pool;
use crate::{
    recording::{
        free_lanes::MAX_RELEASED, ring_budget::Purpose, ring_memory::RingMemory,
        ring_settings::RingSettings,
    },
    sync::lock,
};

impl Pool {
    /// Returns the number of spares, free lanes with a ring, that the drain keeps.
    pub(crate) fn spares_to_keep(settings: &RingSettings) -> usize {
        /// Enough for the threads that usually begin together. The rings of more are allocated by
        /// the threads themselves, which takes some ten microseconds each.
        const SPARES: usize = if cfg!(tailwatch_loom) { 1 } else { 4 };
        let Some(bytes @ 1..) = RingMemory::bytes_of(settings.capacity) else { return 0 };
        SPARES.min(settings.lanes).min(settings.max_bytes / bytes)
    }

    /// Allocates rings until there are as many spares as the drain keeps, or as the budget and the
    /// free lanes allow. Allocates no more than that many in one call, even if threads take them
    /// meanwhile.
    ///
    /// # Errors
    /// Returns an error if the operating system does not provide the memory.
    pub(crate) fn keep_spares(&self) -> io::Result<()> {
        let keep = Self::spares_to_keep(&self.settings);
        for _ in 0..keep {
            // Relaxed: only the drain needs to know, and it looks again in each pass.
            if self.spares.load(Relaxed) >= keep || self.empty.load(Relaxed) == 0 {
                break;
            }
            // First the ring and then its lane, so that no thread misses the lane in the meantime.
            let ring = match self.new_ring(self.settings.capacity, Purpose::First, true) {
                Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => break,
                ring => ring?,
            };
            self.out_of_memory.store(0, Relaxed);
            // The lock is released before a ring that finds no lane is dropped.
            let ring = Arc::new(ring);
            let mut free = lock(&self.free);
            if let Some(lane_index) = free.pop_without_ring() {
                let former = self.lanes[lane_index].set_ring(Some(Arc::clone(&ring)));
                debug_assert!(former.is_none(), "the lane had no ring");
                free.push(lane_index, true);
            }
            self.note_free(&free);
        }
        Ok(())
    }

    /// Removes from the free lanes those that have had a ring for a second without being needed,
    /// except the spares to keep. The caller, the drain, then takes their rings from them and calls
    /// [`release_spare`](Self::release_spare).
    pub(crate) fn surplus_spares(&self, now: Instant) -> Vec<usize> {
        let keep = Self::spares_to_keep(&self.settings);
        if self.spares.load(Relaxed) <= keep {
            return Vec::new();
        }
        // Allocated before the lock is taken, because the program's allocator may record.
        let mut surplus = Vec::with_capacity(MAX_RELEASED);
        let mut free = lock(&self.free);
        free.take_surplus(keep, now, &mut surplus);
        self.note_free(&free);
        surplus
    }

    /// Drops the ring of a lane that [`surplus_spares`](Self::surplus_spares) returned, and makes
    /// the lane free.
    pub(crate) fn release_spare(&self, lane_index: usize) {
        let ring = self.lanes[lane_index].set_ring(None);
        self.give_back(lane_index);
        drop(ring);
    }
}
