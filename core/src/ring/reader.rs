//! The reader: the side of a ring that reads records.
//!
//! The docs of [`ring`](super) describe the protocol. In this file, `fence_at(name, ordering)` is a
//! fence (models can leave it out); `name` is a row in the table of those docs. The memory of a
//! ring can be *damaged*, for example if the file that it is mapped from was corrupted. Its
//! counters then have arbitrary values.

use core::ops::Range;

use super::{
    Ring,
    position::{OwnPosition, Position, ReaderStart},
};
use crate::{
    arithmetic::HAS_64_BIT_REGISTERS,
    record::Record,
    sync::{
        Ordering::{Acquire, Relaxed},
        fence_at,
    },
};

/// The largest number of records that are copied to the stack and then checked together: 256 (4
/// KiB) on 64-bit targets, 8 (128 bytes) on 32-bit targets, where stacks are small.
const CHUNK: usize = if cfg!(tailwatch_loom) {
    2
} else if HAS_64_BIT_REGISTERS {
    256
} else {
    8
};

/// Numbers of records that were read from a ring and that were lost in it.
///
/// [`Reader::drain`] returns the numbers of one call, [`Reader::total`] the sums of all calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Drained {
    /// Records that were delivered.
    pub delivered: u64,
    /// Records that were lost: before they were read, newer records overwrote them or may have
    /// begun to. A record counts as lost once the producer has [reserved](super#the-protocol) its
    /// slot for a newer one, because a reader cannot find out whether it is still whole.
    pub overwritten: u64,
}

/// Reads records from a [`Ring`], oldest first.
///
/// A `Reader<'_>` keeps its position itself ([`OwnPosition`]). It writes nothing into the ring, so
/// any number of readers can read one ring at once, also from another process that has mapped the
/// ring's memory read-only. [`Ring::reader_from_oldest`], [`Ring::reader_from_now`] and
/// [`Ring::reader_from_first`] create it. Records from before its beginning are neither delivered
/// nor counted. The reader whose position is stored in the ring
/// ([`StoredPosition`](super::StoredPosition)) is called [`Consumer`]; a ring has only one.
///
/// A reader can move to another thread, but two threads cannot use it at once. Its counts always
/// satisfy `produced == delivered + overwritten + pending`, where `delivered` and `overwritten` are
/// the sums in [`total`](Self::total). All counts wrap, because the counters of a ring whose memory
/// was damaged can jump by any amount. After such a jump, the equation holds modulo 2^32 on 32-bit
/// targets.
///
/// ```
/// use tailwatch_core::{EventId, ReaderStart, Record, Ring, Slot};
///
/// let ring = Ring::<[Slot; 64]>::new();
/// let ring: &Ring = &ring;
/// let producer = ring.attach_producer();
/// let event = EventId::new(1).unwrap();
/// let push = |n| producer.push(Record::value(n, event, 0, n));
/// (0..100).for_each(push);
///
/// // Both readers can read the ring at once, as can a consumer.
/// let (mut early, mut late) = (ring.reader_from_oldest(), ring.reader_from_now());
/// assert_eq!((late.start(), late.first_seq()), (ReaderStart::Now, 100));
/// (100..103).for_each(push);
/// late.refresh();
/// let mut seen = vec![];
/// late.drain(|record| seen.push(record.payload()));
/// assert_eq!(seen, [100, 101, 102]); // earlier records do not count as lost
///
/// let pending = early.refresh();
/// assert_eq!(pending, 103 - early.first_seq());
/// let drained = early.drain_up_to(10, |_| ());
/// let (delivered, overwritten) = (drained.delivered, drained.overwritten);
/// assert_eq!(early.produced(), delivered + overwritten + early.pending() as u64);
/// ```
///
/// [`Consumer`]: super::Consumer
#[derive(Debug)]
pub struct Reader<'r, P = OwnPosition> {
    ring: &'r Ring,
    /// The ring's `head` at the last refresh.
    head: usize,
    /// The sequence number of the next record to read.
    tail: usize,
    /// The number of records that this reader has found published.
    produced: u64,
    /// The sums over all calls of [`drain`](Self::drain).
    total: Drained,
    last: LastRecord,
    pub(crate) position: P,
}

/// The record that a reader has delivered last, kept by whoever [drains its
/// chunks](Reader::drain_chunks).
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastRecord {
    record: Record,
    /// The sequence number of the record behind it.
    next_seq: usize,
}

impl LastRecord {
    /// Notes the records of a chunk, of which the first has the sequence number `seq`. Returns the
    /// record directly before the chunk. If that was lost or belongs to another reader, returns
    /// [`Record::EMPTY`].
    pub(crate) fn replace(&mut self, seq: usize, chunk: &[Record]) -> Record {
        let before = if self.next_seq == seq { self.record } else { Record::EMPTY };
        if let Some(record) = chunk.last() {
            *self = Self { record: *record, next_seq: seq.wrapping_add(chunk.len()) };
        }
        before
    }
}

impl<'r> Reader<'r> {
    /// Creates a reader: see [`Ring::reader_from_oldest`].
    pub(super) fn from_oldest(ring: &'r Ring) -> Self {
        let head = ring.published.look_at_head();
        // The look at `head` was an Acquire, so this is no older than the reservation of the record
        // before `head`. It is more than the capacity ahead if the producer has meanwhile gone
        // round the whole ring, or if the ring is damaged: the reader then begins with `head`.
        let ahead = ring.published.reserved.load(Relaxed).wrapping_sub(head);
        // In a new ring there are only `head` records.
        let whole = ring.capacity().saturating_sub(ahead).min(head);
        Self::begin_own(ring, ReaderStart::Oldest, head - whole)
    }

    /// Creates a reader: see [`Ring::reader_from_first`].
    pub(super) fn from_first(ring: &'r Ring) -> Self {
        Self::begin_own(ring, ReaderStart::First, 0)
    }

    /// Creates a reader: see [`Ring::reader_from_now`].
    pub(super) fn from_now(ring: &'r Ring) -> Self {
        Self::begin_own(ring, ReaderStart::Now, ring.published.look_at_head())
    }

    fn begin_own(ring: &'r Ring, start: ReaderStart, first_seq: usize) -> Self {
        Self::begin(ring, first_seq, OwnPosition { start, first_seq })
    }

    /// Returns with which record this reader began.
    pub const fn start(&self) -> ReaderStart {
        self.position.start
    }

    /// Returns the sequence number of the record with which this reader began. The numbers wrap, as
    /// [`Producer::head`](super::Producer::head) does.
    pub const fn first_seq(&self) -> usize {
        self.position.first_seq
    }
}

impl<'r, P> Reader<'r, P> {
    /// Creates a reader whose first record has the sequence number `tail`.
    pub(super) fn begin(ring: &'r Ring, tail: usize, position: P) -> Self {
        let last = LastRecord { record: Record::EMPTY, next_seq: tail };
        let total = Drained::default();
        Self { ring, head: tail, tail, produced: 0, total, last, position }
    }

    /// Notes that the records of this ring follow those of `former`: its thread has moved from that
    /// ring, which has been read to its end, to this one, of which nothing has been read.
    ///
    /// A [TAG](crate::Kind::Tag) at the beginning of this ring may then belong to a DURATION at the
    /// end of the former one.
    pub const fn follow(&mut self, former: &Reader<'_, P>) {
        if former.last.next_seq == former.tail {
            self.last = LastRecord { record: former.last.record, next_seq: self.tail };
        }
    }

    /// Makes the records that the producer has published so far available to
    /// [`drain`](Self::drain), and returns how many records are now [`pending`](Self::pending).
    /// Wait-free.
    ///
    /// [`drain`](Self::drain) does not look for newer records by itself. A caller that drains
    /// several rings can therefore refresh all of them first, and then drain them up to the same
    /// moment.
    pub fn refresh(&mut self) -> usize {
        let head = self.ring.published.look_at_head();
        self.produced = self.produced.wrapping_add(head.wrapping_sub(self.head) as u64);
        self.head = head;
        self.pending()
    }

    /// Returns the number of records that were published by the last [`refresh`](Self::refresh) and
    /// have been neither delivered nor counted as overwritten yet.
    pub const fn pending(&self) -> usize {
        self.head.wrapping_sub(self.tail)
    }

    /// Returns the sequence number of the next record that [`drain`](Self::drain) may read: the
    /// oldest [`pending`](Self::pending) one that had not been overwritten at the last
    /// [`refresh`](Self::refresh). The numbers wrap, as [`Producer::head`](super::Producer::head)
    /// does.
    pub fn next_seq(&self) -> usize {
        self.head.wrapping_sub(self.pending().min(self.ring.capacity()))
    }

    /// Returns the number of records that this reader has found published, up to its last
    /// [`refresh`](Self::refresh).
    ///
    /// The first refresh counts everything from the record with which the reader began. That of a
    /// [`Consumer`](super::Consumer) counts everything from where the previous consumer stopped:
    /// also the records that were published, but not consumed, before this consumer was attached.
    pub const fn produced(&self) -> u64 {
        self.produced
    }

    /// Returns how many records this reader has delivered and found overwritten so far.
    pub const fn total(&self) -> Drained {
        self.total
    }

    /// Returns the capacity of the ring, in records.
    pub const fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    const fn add_to_total(&mut self, delivered: usize, overwritten: usize) {
        let total = &mut self.total;
        total.delivered = total.delivered.wrapping_add(delivered as u64);
        total.overwritten = total.overwritten.wrapping_add(overwritten as u64);
    }
}

impl<P: Position> Reader<'_, P> {
    /// Passes the [`pending`](Self::pending) records to `deliver`, oldest first. Returns how many
    /// records were delivered, and how many were lost because newer records overwrote them or may
    /// have begun to.
    ///
    /// This method reads at most as many records as the ring holds. It never retries, however fast
    /// the producer pushes. It is wait-free if `deliver` is.
    ///
    /// Records are copied in chunks. All intact records of a chunk count as delivered before the
    /// first of them is passed to `deliver`. If `deliver` panics, the other records of the chunk
    /// are lost but count as delivered. Catch panics inside `deliver` to avoid this.
    pub fn drain(&mut self, deliver: impl FnMut(Record)) -> Drained {
        self.drain_up_to(usize::MAX, deliver)
    }

    /// Like [`drain`](Self::drain), but reads at most `max_records` records and leaves the others
    /// [`pending`](Self::pending).
    ///
    /// Records that had already been overwritten at the last [`refresh`](Self::refresh) cannot be
    /// read. The call counts all of them as overwritten, and they do not count towards
    /// `max_records`.
    pub fn drain_up_to(&mut self, max_records: usize, mut deliver: impl FnMut(Record)) -> Drained {
        self.drain_chunks(max_records, |_, _, chunk| chunk.iter().copied().for_each(&mut deliver))
    }

    /// Like [`drain_up_to`](Self::drain_up_to), but calls `deliver` once per chunk, with what
    /// it has last [noted](LastRecord::replace) of this ring, the sequence number of the first
    /// intact record of the chunk, and all intact records of the chunk.
    #[inline]
    pub(crate) fn drain_chunks(
        &mut self,
        max_records: usize,
        mut deliver: impl FnMut(&mut LastRecord, usize, &[Record]),
    ) -> Drained {
        let lapped = self.pending().saturating_sub(self.ring.capacity());
        if lapped > 0 {
            self.add_to_total(0, lapped);
            self.set_tail(self.tail.wrapping_add(lapped));
        }
        let (mut delivered, mut overwritten) = (0, lapped);
        let mut chunk = [Record::EMPTY; CHUNK];
        let mut remaining = self.pending().min(max_records);
        while remaining > 0 {
            let slots_before_end = self.ring.capacity() - (self.tail & (self.ring.capacity() - 1));
            let len = remaining.min(CHUNK).min(slots_before_end);
            remaining -= len;
            let intact = self.take_into(&mut chunk[..len]);
            delivered += intact.len();
            overwritten = overwritten.wrapping_add(len - intact.len());
            let seq = self.tail.wrapping_sub(len - intact.start);
            deliver(&mut self.last, seq, &chunk[intact]);
        }
        Drained { delivered: delivered as u64, overwritten: overwritten as u64 }
    }

    /// Takes the oldest records out of the ring: copies them into `chunk`, advances the tail past
    /// them and counts them. Returns the range of the records in `chunk` that are intact: it is
    /// certain that they are neither mixed with newer records nor replaced by them.
    ///
    /// `chunk` must not be longer than the rest of the slots before the end of the array.
    #[inline]
    fn take_into(&mut self, chunk: &mut [Record]) -> Range<usize> {
        let (first, len, capacity) = (self.tail, chunk.len(), self.ring.capacity());
        let first_slot = first & (capacity - 1);
        for (record, slot) in chunk.iter_mut().zip(&self.ring.slots[first_slot..]) {
            *record = slot.load();
        }
        // Acquire, paired with the producer's Release fences (after its `reserved` store, and on
        // attaching): if a word copied above belongs to a newer record, the load below sees the
        // reservation of that record. Without this fence, a torn record could pass for an intact
        // one.
        fence_at("ring: before reserved is read", Acquire);
        let reserved = self.ring.published.reserved.load(Relaxed);
        self.set_tail(first.wrapping_add(len));
        // Record q is intact if the wrapping difference reserved − q is at most the capacity. For
        // q = first + i, that is ahead − capacity <= i <= ahead. The second inequality only
        // matters in a damaged ring, where `reserved` can be below q. The end of a range is
        // exclusive, hence the + 1.
        let ahead = reserved.wrapping_sub(first);
        let intact = ahead.saturating_sub(capacity).min(len)..ahead.saturating_add(1).min(len);
        self.add_to_total(intact.len(), len - intact.len());
        intact
    }

    fn set_tail(&mut self, tail: usize) {
        self.tail = tail;
        P::store(&self.ring.consumed, tail);
    }
}

#[cfg(all(test, not(tailwatch_loom)))]
mod tests;
