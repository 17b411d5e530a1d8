//! What the drain has of one lane: the consumer of its ring and, after its thread has moved to a
//! larger ring, also that of the former one.
//!
//! The records of the former ring come before those of the present one. So the present ring is read
//! only once the former one has been read to its end.

#![allow(unsafe_code, reason = "a consumer borrows from the ring in the same struct")]

use std::sync::Arc;

use tailwatch_core::{Consumer, Drained, Pending, Ring};

use crate::recording::{identity::Identity, lane::Lane, pool::Pool, ring_memory::RingMemory};

/// A ring that the drain reads.
#[derive(Debug)]
struct ReadRing {
    // Declared before `memory`, and therefore dropped first, because it borrows from it.
    consumer: Consumer<'static>,
    memory: Arc<RingMemory>,
}

impl ReadRing {
    fn new(memory: Arc<RingMemory>) -> Self {
        let ring: *const Ring = memory.ring();
        // SAFETY: the `Arc` in the field `memory` keeps the ring alive and in its place. The
        // consumer has the only copy of this reference. It is dropped before the field `memory`,
        // and no function of this module lets it leave `self`.
        let ring: &'static Ring = unsafe { &*ring };
        Self { consumer: ring.attach_consumer(), memory }
    }

    fn totals(&self) -> Totals {
        let produced = self.consumer.produced();
        let hidden = if self.memory.as_shared().is_some() { 0 } else { produced };
        Totals { produced, hidden, drained: self.consumer.total() }
    }
}

/// The numbers of records that went through the rings of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) produced: u64,
    /// Those of `produced` that are in no shared file.
    pub(crate) hidden: u64,
    pub(crate) drained: Drained,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.produced += other.produced;
        self.hidden += other.hidden;
        self.drained.delivered += other.drained.delivered;
        self.drained.overwritten += other.drained.overwritten;
    }
}

/// The rings of a lane, as the drain reads them.
#[derive(Debug, Default)]
pub(crate) struct LaneRings {
    /// The ring to read first. `None` until the lane has one.
    first: Option<ReadRing>,
    /// The ring to which the thread has moved from `first`.
    next: Option<ReadRing>,
    /// The totals of the rings that were read to their end and are gone.
    gone: Totals,
    /// Whether the ring turned out to be too small since the last offer of a larger one.
    is_small: bool,
    /// Whether a larger ring was offered to which the thread has not been seen to move. Only this
    /// shows that no move is under way: the thread takes the offer before it has moved.
    has_offered: bool,
}

impl LaneRings {
    /// Finds out which rings the lane has, and up to where they are filled.
    pub(crate) fn refresh(&mut self, lane: &Lane) {
        // The drain offers no ring until it has seen the last move and read `first` to its end, so
        // the thread cannot have moved on from `next`.
        if self.next.is_none() {
            // Before `first` is refreshed: if its thread has moved, that finds the last record.
            let known = self.first.as_ref().map(|ring| &*ring.memory);
            if let Some(other) = lane.ring_other_than(known).map(ReadRing::new) {
                if self.first.is_none() {
                    self.first = Some(other);
                } else {
                    self.next = Some(other);
                    // Whether the former ring was too small again does not matter any more.
                    (self.has_offered, self.is_small) = (false, false);
                }
            }
        }
        for ring in [&mut self.first, &mut self.next].into_iter().flatten() {
            ring.consumer.refresh();
        }
        self.advance(lane);
        let last = self.next.as_ref().or(self.first.as_ref());
        self.is_small |=
            last.is_some_and(|ring| ring.consumer.pending() > ring.memory.capacity() / 2);
    }

    /// Reads the pending records of the lane with this index, but at most `max_records` of them.
    /// Calls `drain` with each thread that wrote some of them, the consumer and the
    /// number of records that are to be read on behalf of this thread.
    pub(crate) fn drain(
        &mut self,
        pool: &Pool,
        lane_index: usize,
        max_records: usize,
        mut drain: impl FnMut(&Identity, &mut Consumer<'static>, usize) -> Drained,
    ) -> Drained {
        let (mut all, lane) = (Drained::default(), pool.lane(lane_index));
        // In a child that an observer has forked, locks of the lane may be held for ever.
        while !pool.is_inherited() {
            #[expect(clippy::cast_possible_truncation, reason = "at most `max_records`")]
            let left = max_records.saturating_sub(all.delivered as usize);
            let Some(ring) = &mut self.first else { return all };
            if ring.consumer.pending() > 0 {
                if left == 0 {
                    return all;
                }
                let (thread, records) = lane.tenant(&ring.memory, ring.consumer.next_seq());
                let drained = drain(&thread, &mut ring.consumer, left.min(records));
                all.delivered += drained.delivered;
                all.overwritten += drained.overwritten;
                self.is_small |= drained.overwritten > 0 && self.next.is_none();
            } else if !self.advance(lane) {
                return all;
            }
        }
        all
    }

    /// Goes on to the next ring if there is one and the first one has been read to its end. Returns
    /// whether it did.
    fn advance(&mut self, lane: &Lane) -> bool {
        let is_read = self.first.as_ref().is_some_and(|ring| ring.consumer.pending() == 0);
        if !is_read || self.next.is_none() {
            return false;
        }
        if let (Some(first), Some(next)) = (&self.first, &mut self.next) {
            // A DURATION may be the last record of one ring, and its TAG the first of the other.
            next.consumer.follow(&first.consumer);
            lane.drop_former(&first.memory, &next.memory);
        }
        self.forget_first();
        self.first = self.next.take();
        true
    }

    /// Offers a ring twice as large to the lane with this index if its ring turned out to be too
    /// small, unless a move is under way or the ring is as large as it may be. Returns whether it
    /// tried to.
    pub(crate) fn offer_larger(&mut self, pool: &Pool, lane_index: usize) -> bool {
        let larger = self.capacity().saturating_mul(2);
        if !self.is_small
            || self.has_offered
            || self.next.is_some()
            || larger > pool.settings().max_capacity
        {
            return false;
        }
        self.is_small = false;
        self.has_offered = pool.offer(lane_index, larger);
        true
    }

    /// Notes that the ring is too small for the rate at which it is written.
    pub(crate) fn note_small(&mut self) {
        self.is_small = true;
    }

    /// Notes that the lane has become free, which withdraws an offer.
    pub(crate) fn become_free(&mut self) {
        (self.is_small, self.has_offered) = (false, false);
    }

    /// Forgets the ring of a lane that no thread has, which has no pending records.
    pub(crate) fn forget(&mut self) {
        self.forget_first();
        self.become_free();
    }

    fn forget_first(&mut self) {
        if let Some(ring) = self.first.take() {
            self.gone.add(&ring.totals());
        }
    }

    /// Returns the capacity of the present ring, as of the last refresh, or 0 if there is none.
    pub(crate) fn capacity(&self) -> usize {
        self.next.as_ref().or(self.first.as_ref()).map_or(0, |ring| ring.memory.capacity())
    }

    /// Returns the totals of all rings that the lane has had.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.gone;
        [&self.first, &self.next].into_iter().flatten().for_each(|ring| totals.add(&ring.totals()));
        totals
    }
}

impl Pending for LaneRings {
    fn pending(&self) -> usize {
        let pending = |ring: &Option<ReadRing>| ring.as_ref().map_or(0, |r| r.consumer.pending());
        pending(&self.first) + pending(&self.next)
    }
}
