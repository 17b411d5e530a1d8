//! The producer's end of a ring.

use core::marker::PhantomData;

use super::{Ring, batch};
use crate::{
    Record,
    sync::{
        Cell,
        Ordering::{Acquire, Relaxed, Release},
        at, fence_at,
    },
};

/// Writes records into a ring. It can move to another thread, but not be used by two at once.
///
/// It has no state of its own: `head` and `reserved`, which nobody else writes, tell where it stands.
#[derive(Debug)]
pub struct Producer<'r> {
    ring: &'r Ring,
    // One producer at a time: not `Sync`.
    alone: PhantomData<Cell<()>>,
}

impl<'r> Producer<'r> {
    pub(super) fn attach(ring: &'r Ring) -> Self {
        // Acquire: the hand-over orders this already; where a ring outlived its process in a file, nothing else does.
        let head = ring.published.head.load(at("ring: head on attaching", Acquire));
        let ahead = ring.published.reserved.load(Relaxed).wrapping_sub(head);
        if ahead > batch(ring.capacity()) {
            // Not left there by a producer: begin a reservation of our own.
            ring.published.reserved.store(head, Relaxed);
        }
        // Release, for the consumer's fence before it loads `reserved`: the next records may go where the former producer's
        // reservation allows it, and that producer's fence does not order *our* stores.
        fence_at("ring: on attaching", Release);
        Self { ring, alone: PhantomData }
    }

    /// Appends a record, over the oldest one if the ring is full: wait-free, 3 stores, a fourth once in
    /// [`batch`] records.
    #[inline(always)]
    pub fn push(&self, record: Record) {
        let seq = match self.announced() {
            Some(seq) => seq,
            None => self.reserve(),
        };
        self.push_at(seq, record);
    }

    /// The sequence number of the next record, if it lies below `reserved`.
    #[inline(always)]
    pub(crate) fn announced(&self) -> Option<usize> {
        let Ring { published, .. } = self.ring;
        let seq = published.head.load(Relaxed);
        (seq != published.reserved.load(Relaxed)).then_some(seq)
    }

    /// Appends the record of this number, which [`announced`](Self::announced) just told.
    // On a microcontroller, who compiles for size gets one of it for all sites.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(crate) fn push_at(&self, seq: usize, record: Record) {
        let Ring { published, slots, .. } = self.ring;
        let index = seq & (slots.len() - 1);
        // SAFETY: a ring's length is a power of two and not 0 (`is_capacity`, checked wherever a ring is made), so the
        // masked index is below it.
        let slot = unsafe { slots.get_unchecked(index) };
        slot.store(record);
        // Release, for the consumer's Acquire load of `head`: the words of the record come before it.
        published.head.store(seq.wrapping_add(1), at("ring: head is published", Release));
    }

    /// Announces the next records; a function of its own, so that the one call in many does not swell the others.
    #[cold]
    #[inline(never)]
    fn reserve(&self) -> usize {
        let Ring { published, slots, .. } = self.ring;
        let seq = published.head.load(Relaxed);
        published.reserved.store(seq.wrapping_add(batch(slots.len())), Relaxed);
        // Release, for the consumer's fence before it loads `reserved`: without it the words of the next records could be
        // seen before the reservation, and a torn record would pass for a whole one.
        fence_at("ring: reserved is announced", Release);
        seq
    }

    /// Records published so far, modulo the range of `usize`.
    pub fn head(&self) -> usize {
        self.ring.published.head.load(Relaxed)
    }
}
