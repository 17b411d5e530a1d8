//! The end of a ring that reads records.

use core::ops::Range;

use super::Ring;
use crate::{
    Record,
    sync::{
        Ordering::{Acquire, Relaxed},
        at, fence_at,
    },
};

/// The number of records that are copied to the stack and validated together: 4 KiB on 64-bit
/// targets, 128 bytes on 32-bit targets.
const CHUNK: usize = if cfg!(tailwatch_loom) {
    2
} else if cfg!(target_pointer_width = "64") {
    256
} else {
    8
};

/// The numbers of records that one pass over a ring delivered and found overwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Drained {
    /// Records that were delivered.
    pub delivered: u64,
    /// Records that were overwritten before they could be read as a whole.
    pub overwritten: u64,
}

/// Reads records from a ring.
///
/// A consumer can move to another thread, but two threads cannot use it at once. The counts since
/// it was attached always satisfy `produced == delivered + overwritten + pending`, in wrapping
/// arithmetic because the counters of a damaged ring can jump.
#[derive(Debug)]
pub struct Consumer<'r> {
    ring: &'r Ring,
    head: usize,
    tail: usize,
    produced: u64,
    total: Drained,
}

impl<'r> Consumer<'r> {
    pub(super) fn attach(ring: &'r Ring) -> Self {
        // Relaxed: the code that hands the ring from one consumer to the next orders their
        // accesses.
        let tail = ring.consumed.tail.load(Relaxed);
        Self { ring, head: tail, tail, produced: 0, total: Drained::default() }
    }

    /// Reads the producer's position, up to which the next [`drain`](Self::drain) delivers, and
    /// returns the number of pending records. Wait-free.
    pub fn refresh(&mut self) -> usize {
        // Acquire, paired with the producer's Release store of `head`: it makes the words of all
        // records below `head` visible. Without it, stale words would be delivered as new records.
        let head = self.ring.published.head.load(at("ring: a look at head", Acquire));
        // All totals wrap, because the counters of a damaged ring can jump by any amount.
        self.produced = self.produced.wrapping_add(head.wrapping_sub(self.head) as u64);
        self.head = head;
        self.pending()
    }

    /// Returns the number of records that were published at the last [`refresh`](Self::refresh) and
    /// have since been neither delivered nor counted as overwritten.
    pub const fn pending(&self) -> usize {
        self.head.wrapping_sub(self.tail)
    }

    /// Returns the number of records published between attaching and the last
    /// [`refresh`](Self::refresh).
    pub const fn produced(&self) -> u64 {
        self.produced
    }

    /// Returns the numbers of records delivered and overwritten since attaching.
    pub const fn total(&self) -> Drained {
        self.total
    }

    /// Returns the capacity of the ring, in records.
    pub const fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Delivers the records that were pending at the last [`refresh`](Self::refresh), oldest first,
    /// and counts those that were overwritten in the meantime.
    ///
    /// It reads at most one ring full of records and never retries, however fast the producer
    /// pushes. It is wait-free as far as `deliver` is.
    ///
    /// Records are copied in chunks, and the whole chunk counts as delivered before `deliver` sees
    /// its first record. If `deliver` panics, the rest of the chunk counts as delivered although it
    /// is lost. Catch panics inside `deliver` to avoid that.
    pub fn drain(&mut self, deliver: impl FnMut(Record)) -> Drained {
        self.drain_up_to(usize::MAX, deliver)
    }

    /// Like [`drain`](Self::drain), but reads at most `most` records and leaves the others
    /// [`pending`](Self::pending).
    ///
    /// Records that the producer had already lapped at the last [`refresh`](Self::refresh) are
    /// counted as overwritten at once and do not count towards `most`.
    pub fn drain_up_to(&mut self, most: usize, mut deliver: impl FnMut(Record)) -> Drained {
        self.drain_chunks(most, |chunk| chunk.iter().copied().for_each(&mut deliver))
    }

    /// Like [`drain_up_to`](Self::drain_up_to), but delivers the whole records of a chunk as one
    /// slice.
    #[inline]
    pub(crate) fn drain_chunks(
        &mut self,
        most: usize,
        mut deliver: impl FnMut(&[Record]),
    ) -> Drained {
        let surplus = self.pending().saturating_sub(self.ring.capacity());
        if surplus > 0 {
            self.count(0, surplus);
            self.advance(self.tail.wrapping_add(surplus));
        }
        let (mut delivered, mut overwritten) = (0, surplus);
        let mut chunk = [Record::EMPTY; CHUNK];
        let mut left = self.pending().min(most);
        while left > 0 {
            // A chunk does not extend beyond the end of the array.
            let to_the_end = self.ring.capacity() - (self.tail & (self.ring.capacity() - 1));
            let len = left.min(CHUNK).min(to_the_end);
            left -= len;
            let whole = self.copy(&mut chunk[..len]);
            delivered += whole.len();
            overwritten = overwritten.wrapping_add(len - whole.len());
            deliver(&chunk[whole]);
        }
        Drained { delivered: delivered as u64, overwritten: overwritten as u64 }
    }

    /// Copies the oldest records into `chunk` and returns the range of those that are whole.
    ///
    /// The records must not extend beyond the end of the array.
    // Not inlined where stacks are small, so that its locals are off the stack while records are
    // delivered.
    #[cfg_attr(target_pointer_width = "64", inline)]
    fn copy(&mut self, chunk: &mut [Record]) -> Range<usize> {
        let (first, len, capacity) = (self.tail, chunk.len(), self.ring.capacity());
        let place = first & (capacity - 1);
        for (record, slot) in chunk.iter_mut().zip(&self.ring.slots[place..]) {
            *record = slot.load();
        }
        // Acquire, paired with the producer's Release fences (after its `reserved` store, and on
        // attaching): if a word copied above belongs to a newer record, the load below sees the
        // reservation of that record. Without it, a torn record would pass for a whole one.
        fence_at("ring: before reserved is read", Acquire);
        let reserved = self.ring.published.reserved.load(Relaxed);
        self.advance(first.wrapping_add(len));
        // A record is whole if its number is at most the capacity below `reserved`. In a damaged
        // ring numbers can lie above `reserved`; those records are not whole either.
        let ahead = reserved.wrapping_sub(first);
        let whole = ahead.saturating_sub(capacity).min(len)..ahead.saturating_add(1).min(len);
        self.count(whole.len(), len - whole.len());
        whole
    }

    const fn count(&mut self, delivered: usize, overwritten: usize) {
        let Drained { delivered: all, overwritten: lost } = &mut self.total;
        (*all, *lost) = (all.wrapping_add(delivered as u64), lost.wrapping_add(overwritten as u64));
    }

    fn advance(&mut self, tail: usize) {
        self.tail = tail;
        // Relaxed: `pending` needs no order, and the code that hands the ring to the next consumer
        // orders that consumer's load.
        self.ring.consumed.tail.store(tail, Relaxed);
    }
}
