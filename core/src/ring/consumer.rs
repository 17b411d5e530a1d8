//! The consumer's end of a ring.

use core::ops::Range;

use super::Ring;
use crate::{
    Record,
    sync::{
        Ordering::{Acquire, Relaxed},
        at, fence_at,
    },
};

/// How many records are copied to the stack before they are validated at once: 4 KiB on servers, 128 B on a
/// microcontroller.
const CHUNK: usize = if cfg!(tailwatch_loom) {
    2
} else if cfg!(target_pointer_width = "64") {
    256
} else {
    8
};

/// What one pass over a ring brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Drained {
    /// Records that were delivered.
    pub delivered: u64,
    /// Records that were overwritten before they could be read whole.
    pub overwritten: u64,
}

/// Reads records out of a ring. It can move to another thread, but not be used by two at once.
///
/// Since it was attached, always: `produced == delivered + overwritten + pending`.
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
        // Relaxed: whoever hands the consumer's end over orders it.
        let tail = ring.consumed.tail.load(Relaxed);
        Self { ring, head: tail, tail, produced: 0, total: Drained::default() }
    }

    /// Takes note of how far the producer is, which is how far the next [`drain`](Self::drain) goes; returns how many
    /// records are pending: wait-free.
    pub fn refresh(&mut self) -> usize {
        // Acquire, for the producer's Release store of `head`: the words of all records below it are visible.
        let head = self.ring.published.head.load(at("ring: a look at head", Acquire));
        // Wrapping, as all totals here: the counters of a damaged ring can leap by any amount.
        self.produced = self.produced.wrapping_add(head.wrapping_sub(self.head) as u64);
        self.head = head;
        self.pending()
    }

    /// Records published at the last [`refresh`](Self::look) and neither delivered nor counted as overwritten since.
    pub const fn pending(&self) -> usize {
        self.head.wrapping_sub(self.tail)
    }

    /// Records published between attaching and the last [`refresh`](Self::look).
    pub const fn produced(&self) -> u64 {
        self.produced
    }

    /// Records delivered and overwritten since attaching.
    pub const fn total(&self) -> Drained {
        self.total
    }

    /// Records that the ring holds.
    pub const fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Delivers, oldest first, the records that were pending at the last [`refresh`](Self::look) and are still whole; the others
    /// count as overwritten. It never chases a producer: lock-free, at most one ring full of work.
    ///
    /// If `deliver` panics, what was copied together with that record counts as delivered, though it is not: catch panics
    /// inside.
    pub fn drain(&mut self, deliver: impl FnMut(Record)) -> Drained {
        self.drain_up_to(usize::MAX, deliver)
    }

    /// As [`drain`](Self::drain), but it reads no more than `most` records: what is then still [`pending`](Self::pending) is left
    /// for the next time. What was lapped before is counted at once.
    pub fn drain_up_to(&mut self, most: usize, mut deliver: impl FnMut(Record)) -> Drained {
        self.drain_chunks(most, |chunk| chunk.iter().copied().for_each(&mut deliver))
    }

    /// As [`drain_up_to`](Self::drain_up_to), but it delivers at once what was copied at once.
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
            // No further than to the end of the array.
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

    /// Copies as many of the oldest records as there is room for, none of them behind the end of the array; those which are whole.
    // What it works with is not to lie on the stack beneath all that is delivered, where stacks are small.
    #[cfg_attr(target_pointer_width = "64", inline)]
    fn copy(&mut self, chunk: &mut [Record]) -> Range<usize> {
        let (first, len, capacity) = (self.tail, chunk.len(), self.ring.capacity());
        let place = first & (capacity - 1);
        for (record, slot) in chunk.iter_mut().zip(&self.ring.slots[place..]) {
            *record = slot.load();
        }
        // Acquire, for the producer's fence after it stored `reserved`: if one of the words above is of a newer record,
        // the load below sees the reservation of that record.
        fence_at("ring: before reserved is read", Acquire);
        let reserved = self.ring.published.reserved.load(Relaxed);
        self.advance(first.wrapping_add(len));
        // Those are whole whose number is no more than the ring's length below what is reserved; and none above it, as those of a
        // damaged ring may be.
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
        // Relaxed: only the next consumer reads it, and whoever hands the ring over orders that.
        self.ring.consumed.tail.store(tail, Relaxed);
    }
}
