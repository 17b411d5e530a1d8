//! The producer: the side of a ring that writes records. The docs of [`ring`](super) describe the
//! protocol and name its orderings.

use core::marker::PhantomData;

use super::{Ring, batch};
use crate::{
    record::Record,
    sync::{
        Cell,
        Ordering::{Acquire, Relaxed, Release},
        at, fence_at,
    },
};

/// Appends records to a [`Ring`].
///
/// A producer can move to another thread, but two threads cannot use it at once. It has no state of
/// its own: its position is in counters of the ring that nothing else writes.
#[derive(Debug)]
pub struct Producer<'r> {
    ring: &'r Ring,
    /// Makes the producer `!Sync`, because two threads must not push at once.
    not_sync: PhantomData<Cell<()>>,
}

impl<'r> Producer<'r> {
    /// Creates the producer of a ring: see [`Ring::attach_producer`].
    pub(super) fn attach(ring: &'r Ring) -> Self {
        // Acquire, paired with the previous producer's Release store of `head`. Usually the code
        // that hands the ring over already orders that store before this load. For a ring that
        // outlives its process in a mapped file, nothing else does.
        let head = ring.published.head.load(at("ring: head on attaching", Acquire));
        let reserved_ahead = ring.published.reserved.load(Relaxed).wrapping_sub(head);
        if reserved_ahead > batch(ring.capacity()) {
            // No producer leaves such a value, so something else has overwritten the memory, such
            // as the file that it is mapped from. Without any reservation left, the first push
            // makes a new one.
            ring.published.reserved.store(head, Relaxed);
        }
        // Release, paired with the consumer's Acquire fence before it loads `reserved`. The next
        // records may use up the reservation of the previous producer. That producer's fence orders
        // its own stores, not those of this producer. Without the fence here, the consumer could
        // see words of this producer, but an older `reserved`, and deliver a torn record.
        fence_at("ring: on attaching", Release);
        Self { ring, not_sync: PhantomData }
    }

    /// Appends a record. Once the ring is full, this overwrites the oldest record.
    ///
    /// Wait-free: 3 stores on 64-bit targets and 5 on 32-bit targets. One more store is needed once
    /// per [`batch`] records.
    #[inline(always)]
    pub fn push(&self, record: Record) {
        let seq = match self.next_reserved() {
            Some(seq) => seq,
            None => self.reserve(),
        };
        self.push_at(seq, record);
    }

    /// Returns the sequence number of the next record if it is already reserved, or `None` if a
    /// reservation has to be made first.
    #[inline(always)]
    pub(crate) fn next_reserved(&self) -> Option<usize> {
        let Ring { published, .. } = self.ring;
        let seq = published.head.load(Relaxed);
        (seq != published.reserved.load(Relaxed)).then_some(seq)
    }

    /// Appends a record under the sequence number `seq`, which must be the next one and reserved.
    // Not always inlined on 32-bit targets, so that firmware compiled for size has a single copy of
    // this function.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(crate) fn push_at(&self, seq: usize, record: Record) {
        let Ring { published, slots, .. } = self.ring;
        let index = seq & (slots.len() - 1);
        // SAFETY: every function that makes a ring checks by `is_valid_capacity` that its length is
        // a power of two, and therefore not 0. So the masked index is less than the length.
        let slot = unsafe { slots.get_unchecked(index) };
        slot.store(record);
        // Release, paired with the consumer's Acquire load of `head`: the words of the record
        // become visible no later than `head`. Without this ordering, the consumer could deliver
        // stale words as this record.
        published.head.store(seq.wrapping_add(1), at("ring: head is published", Release));
    }

    /// Reserves the next [`batch`] records and returns the sequence number of the first of them.
    ///
    /// Rarely called, so it is not inlined into the hot path.
    #[cold]
    #[inline(never)]
    fn reserve(&self) -> usize {
        let Ring { published, slots, .. } = self.ring;
        let seq = published.head.load(Relaxed);
        published.reserved.store(seq.wrapping_add(batch(slots.len())), Relaxed);
        // Release, paired with the consumer's Acquire fence before it loads `reserved`. Without the
        // fence here, words of the next records could become visible before the reservation, and
        // the consumer would take a torn record for an intact one.
        fence_at("ring: reserved is announced", Release);
        seq
    }

    /// Returns the number of records that this producer and its predecessors have published since
    /// the ring was created. The number wraps around on overflow.
    pub fn head(&self) -> usize {
        self.ring.published.head.load(Relaxed)
    }
}
