//! The end of a ring that writes records.

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

/// Writes records into a ring.
///
/// A producer can move to another thread, but two threads cannot use it at once. It has no state of
/// its own: its position is in the ring's `head` and `reserved`, which nothing else writes.
#[derive(Debug)]
pub struct Producer<'r> {
    ring: &'r Ring,
    // Makes the producer `!Sync`, because a ring has one producer at a time.
    not_sync: PhantomData<Cell<()>>,
}

impl<'r> Producer<'r> {
    pub(super) fn attach(ring: &'r Ring) -> Self {
        // Acquire, paired with the previous producer's Release store of `head`. Usually the
        // hand-over orders the two already. For a ring that outlives its process in a file, nothing
        // else does.
        let head = ring.published.head.load(at("ring: head on attaching", Acquire));
        let ahead = ring.published.reserved.load(Relaxed).wrapping_sub(head);
        if ahead > batch(ring.capacity()) {
            // No producer leaves such a value, so the memory is damaged. Starting a new reservation
            // repairs it.
            ring.published.reserved.store(head, Relaxed);
        }
        // Release, paired with the consumer's Acquire fence before it loads `reserved`. The next
        // records may use up the reservation of the previous producer, whose fence does not order
        // *our* stores. Without this one, the consumer could see our words without that
        // reservation, and deliver a torn record.
        fence_at("ring: on attaching", Release);
        Self { ring, not_sync: PhantomData }
    }

    /// Appends a record, overwriting the oldest one if the ring is full.
    ///
    /// Wait-free: 3 stores on 64-bit targets, 5 on 32-bit targets, and one more once per [`batch`]
    /// records.
    #[inline(always)]
    pub fn push(&self, record: Record) {
        let seq = match self.next_reserved() {
            Some(seq) => seq,
            None => self.reserve(),
        };
        self.push_at(seq, record);
    }

    /// Returns the sequence number of the next record if it is reserved already.
    #[inline(always)]
    pub(crate) fn next_reserved(&self) -> Option<usize> {
        let Ring { published, .. } = self.ring;
        let seq = published.head.load(Relaxed);
        (seq != published.reserved.load(Relaxed)).then_some(seq)
    }

    /// Appends a record under the sequence number that [`next_reserved`](Self::next_reserved) just
    /// returned.
    // Not always inlined on 32-bit targets, so that firmware compiled for size has one copy of it.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(crate) fn push_at(&self, seq: usize, record: Record) {
        let Ring { published, slots, .. } = self.ring;
        let index = seq & (slots.len() - 1);
        // SAFETY: every function that makes a ring checks by `is_capacity` that its length is a
        // power of two and not 0, so the masked index is less than the length.
        let slot = unsafe { slots.get_unchecked(index) };
        slot.store(record);
        // Release, paired with the consumer's Acquire load of `head`: the words of the record
        // become visible no later than `head`. Without it, stale words would be delivered as this
        // record.
        published.head.store(seq.wrapping_add(1), at("ring: head is published", Release));
    }

    /// Reserves the next [`batch`] records and returns the sequence number of the first.
    ///
    /// It is rarely needed, so it is not inlined into the hot path.
    #[cold]
    #[inline(never)]
    fn reserve(&self) -> usize {
        let Ring { published, slots, .. } = self.ring;
        let seq = published.head.load(Relaxed);
        published.reserved.store(seq.wrapping_add(batch(slots.len())), Relaxed);
        // Release, paired with the consumer's Acquire fence before it loads `reserved`. Without it,
        // the words of the next records could become visible before the reservation, and a torn
        // record would pass for a whole one.
        fence_at("ring: reserved is announced", Release);
        seq
    }

    /// Returns the number of records published so far. It wraps at the range of `usize`.
    pub fn head(&self) -> usize {
        self.ring.published.head.load(Relaxed)
    }
}
