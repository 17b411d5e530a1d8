//! The producer: the side of a ring that writes records. The docs of [`ring`](super) describe the
//! protocol and name its orderings.

use core::{cell::Cell, marker::PhantomData, ptr::NonNull};

use super::{Published, Ring, batch, slot::Slot};
use crate::{
    record::Record,
    sync::{
        Ordering::{Acquire, Relaxed, Release},
        at, fence_at,
    },
};

/// Appends records to a [`Ring`].
///
/// A producer can move to another thread, but two threads cannot use it at once. Apart from which
/// ring it has, it has no state of its own: its position is in counters of the ring that nothing
/// else writes.
#[derive(Debug)]
pub struct Producer<'r> {
    // Cells make the producer `!Sync`, because two threads must not push at once. They also let a
    // recorder that is in use move to another ring.
    //
    /// The ring without its slots, which follow it in memory. With a thin pointer and the mask
    /// beside it, a slot takes one instruction less to find than with the length of the slots.
    ring: Cell<NonNull<Ring<[Slot; 0]>>>,
    /// The capacity of the ring − 1. The capacity is a power of two.
    mask: Cell<usize>,
    marker: PhantomData<&'r Ring>,
}

// SAFETY: a producer is a reference to a ring, which is `Sync`.
unsafe impl Send for Producer<'_> {}

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
        Self::unattached(ring)
    }

    /// Creates a producer that is not attached to the ring. Nothing should be written by it: the
    /// records would be torn if something else writes into the ring.
    pub(crate) const fn unattached(ring: &'r Ring) -> Self {
        let mask = ring.slots.len() - 1;
        // Made from the reference to the whole ring, so that it may be used to reach the slots.
        let ring = NonNull::from_ref(ring).cast();
        Self { ring: Cell::new(ring), mask: Cell::new(mask), marker: PhantomData }
    }

    /// Takes the ring of `other`, which has to be attached to it.
    pub(crate) fn replace(&self, other: &Self) {
        self.ring.set(other.ring.get());
        self.mask.set(other.mask.get());
    }

    #[inline(always)]
    fn published(&self) -> &'r Published {
        // SAFETY: the pointer was made from a reference that is valid for `'r`, to a ring, which
        // begins with the fields of a ring without slots.
        unsafe { &self.ring.get().as_ref().published }
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
        let seq = self.head();
        (seq != self.reserved()).then_some(seq)
    }

    /// Appends a record under the sequence number `seq`, which must be the next one and reserved.
    // Not always inlined on 32-bit targets, so that firmware compiled for size has a single copy of
    // this function.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    pub(crate) fn push_at(&self, seq: usize, record: Record) {
        // Read before the words are stored, because the compiler would have to read it again.
        let published = self.published();
        // SAFETY: the pointer was made from a reference that is valid for `'r`, to a ring. Its
        // slots begin where a ring without slots ends: `Ring` is `repr(C)`, and its size without
        // slots is a multiple of the alignment of a slot. There are `mask + 1` of them.
        let slot: &Slot =
            unsafe { self.ring.get().add(1).cast().add(seq & self.mask.get()).as_ref() };
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
    pub(crate) fn reserve(&self) -> usize {
        let seq = self.head();
        let reserved = seq.wrapping_add(batch(self.mask.get() + 1));
        self.published().reserved.store(reserved, Relaxed);
        // Release, paired with the consumer's Acquire fence before it loads `reserved`. Without the
        // fence here, words of the next records could become visible before the reservation, and
        // the consumer would take a torn record for an intact one.
        fence_at("ring: reserved is announced", Release);
        seq
    }

    /// Returns the number of records that this producer and its predecessors have published since
    /// the ring was created. The number wraps around on overflow.
    #[inline]
    pub fn head(&self) -> usize {
        self.published().head.load(Relaxed)
    }

    /// Returns the capacity of the ring, in records.
    pub const fn capacity(&self) -> usize {
        self.mask.get() + 1
    }

    /// Returns the sequence number up to which records are reserved.
    #[inline]
    pub(crate) fn reserved(&self) -> usize {
        self.published().reserved.load(Relaxed)
    }
}
