//! Claims: how a thread gets a lane of the pool, and gives it back.

use std::{io, sync::Arc};

use tailwatch_core::sync::Ordering::Relaxed;

use super::Pool;
use crate::{
    recording::{
        free_lanes::FreeLanes, identity::Identity, process, ring_budget::Purpose,
        ring_memory::RingMemory,
    },
    sync::lock,
};

/// A thread's claim on a lane of the pool. Dropping it gives the lane back.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The index of the lane in the pool.
    pub(crate) lane_index: usize,
    /// The number of claims before this one.
    pub(crate) number: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// Takes a lane for the current thread, which the closure `who` returns. Allocates a ring
    /// if the lane has none. Returns `None` if all lanes are active, if there is no memory for a
    /// ring, or if the pool belongs to the process that this one was forked from.
    ///
    /// Blocks only while another thread holds the lock of the free lanes, or that of the lane's
    /// tenants.
    pub(crate) fn claim(self: &Arc<Self>, who: impl FnOnce() -> Identity) -> Option<Claim> {
        // This check only avoids taking the lock. A thread that reads outdated numbers checks again
        // with its next record.
        if self.is_inherited() || !self.may_have_lane() {
            return None;
        }
        let lane_index = self.pop_free(self.can_allocate())?;
        if self.ensure_ring(lane_index) {
            return Some(self.activate(lane_index, who));
        }
        // Other threads have taken the last bytes, but a thread may have ended in the meantime.
        let lane_index = self.pop_free(false)?;
        Some(self.activate(lane_index, who))
    }

    /// Returns whether a ring for a thread without one could be allocated.
    fn can_allocate(&self) -> bool {
        if self.share.as_ref().is_some_and(|share| share.has_room()) {
            return true;
        }
        let bytes = RingMemory::bytes_of(self.settings.capacity).unwrap_or(usize::MAX);
        self.out_of_memory.load(Relaxed) == 0 && self.budget.fits(bytes, Purpose::First)
    }

    /// Returns whether a thread would get a lane if there were memory for its ring.
    pub(crate) fn lacks_memory(&self) -> bool {
        !self.is_inherited() && self.empty.load(Relaxed) > 0 && !self.can_allocate()
    }

    /// Returns whether a thread that asks for a lane may get one.
    fn may_have_lane(&self) -> bool {
        self.spares.load(Relaxed) > 0
            || self.ending.load(Relaxed) > 0
            || (self.empty.load(Relaxed) > 0 && self.can_allocate())
    }

    /// Removes a lane from those that a thread may take, and returns its index. Unless
    /// `may_allocate`, it has a ring.
    fn pop_free(&self, may_allocate: bool) -> Option<usize> {
        let mut free = lock(&self.free);
        let lane = free.pop(may_allocate, |lane| self.lanes[lane].is_less_than_half_full());
        self.note_free(&free);
        lane
    }

    /// Publishes how many lanes there are for threads to take.
    pub(super) fn note_free(&self, free: &FreeLanes) {
        self.spares.store(free.spares(), Relaxed);
        self.ending.store(free.ending(), Relaxed);
        self.empty.store(free.empty(), Relaxed);
    }

    /// Gives the lane with this index, which is in no list, a ring if it has none. If there is no
    /// memory for it, makes the lane free again and returns `false`.
    fn ensure_ring(&self, lane_index: usize) -> bool {
        let lane = &self.lanes[lane_index];
        if lane.has_ring() {
            return true;
        }
        match self.new_ring(self.settings.capacity, Purpose::First, true) {
            Ok(ring) => {
                drop(lane.set_ring(Some(Arc::new(ring))));
                true
            }
            Err(error) => {
                // Another thread may have taken the last bytes of the budget in the meantime.
                let is_over_budget = error.kind() == io::ErrorKind::QuotaExceeded;
                self.out_of_memory.fetch_or(u8::from(!is_over_budget), Relaxed);
                self.give_back(lane_index);
                false
            }
        }
    }

    /// Gives the lane with this index, which is in no list and has a ring, to the current thread.
    fn activate(self: &Arc<Self>, lane_index: usize, who: impl FnOnce() -> Identity) -> Claim {
        let lane = &self.lanes[lane_index];
        lane.activate(who());
        if let Some(share) = self.share.as_ref().filter(|_| !lane.is_shared()) {
            share.count_hidden_thread();
        }
        self.used_lanes.fetch_max(lane_index + 1, Relaxed);
        self.wake_drain();
        let number = self.claims.fetch_add(1, Relaxed);
        Claim { lane_index, number, pool: Arc::clone(self) }
    }

    /// Adds the lane with this index to the free ones.
    pub(super) fn give_back(&self, lane_index: usize) {
        let mut free = lock(&self.free);
        free.push(lane_index, self.lanes[lane_index].has_ring());
        self.note_free(&free);
    }
}

impl Claim {
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Self { lane_index, pool, .. } = self;
        let lane = &pool.lanes[*lane_index];
        // The lock makes this and `finish` exclude each other: either the last pass finds the lane
        // ending, or this takes its rings.
        let mut free = lock(&pool.free);
        lane.end();
        let mut late_ends = Vec::new();
        let unneeded = if pool.is_finished() {
            // The models have no other collector.
            if !cfg!(tailwatch_loom) {
                late_ends = pool.take_late_ends_of(lane);
            }
            free.push(*lane_index, false);
            Some(pool.take_rings(lane))
        } else {
            free.push_ending(*lane_index);
            None
        };
        pool.note_free(&free);
        drop(free);
        drop(unneeded);
        for (event, start) in late_ends {
            process::announce_lost_end(event, start, Some(pool));
        }
        pool.wake_drain();
    }
}
