//! A lane: the place of one recording thread in a pool, with the ring into which it writes.
//!
//! A thread may move from its ring to a larger one. The drain *offers* that ring to the lane. The
//! thread takes the offer before it reserves its next batch of records. The ring it had is the
//! *former* one, which the drain reads to its end before it reads the present one. The drain makes
//! no further offer until then, so a lane has at most two rings.
//!
//! A lane is *free*, *active* or *ending*. An active lane belongs to one thread. An ending lane
//! belonged to a thread that has ended, but its last records are not drained yet. The next thread
//! may take it all the same: [`Tenants`] lists whose records are where.
//!
//! Who may replace or drop which ring of a lane:
//!
//! | ring | of a free lane | of an active or ending lane |
//! |---|---|---|
//! | present | the drain, and the thread that takes the lane | its thread, when it moves |
//! | former | nobody: there is none | the drain |
//! | offered | nobody: there is none | the thread and the drain, each by a swap |
//!
//! A thread that ends leaves the offer to the next thread of the lane, or to the drain, which
//! withdraws it when it makes the lane free. Once the last pass is over, nobody drains. Then the
//! end of the thread takes all rings of its lane, under the lock of the pool.
//!
//! [`pool`](super::pool) has the table of the orderings.

#![allow(unsafe_code, reason = "an `Arc` in an atomic pointer")]

use core::{fmt, ptr};
use std::sync::Arc;

use tailwatch_core::{
    LargerRing, Producer, Ring,
    sync::{
        AtomicPtr, AtomicU8, Ordering,
        Ordering::{Acquire, Relaxed, Release},
        at,
    },
};

use tailwatch_record::collecting::LargerRingAt;

use super::{identity::Identity, log_entry::LogEntry, ring_memory::RingMemory, tenants::Tenants};
use crate::sync::{Mutex, lock};

/// The state of a lane that no thread has.
const FREE: u8 = 0;
/// The state of a lane that belongs to a thread.
const ACTIVE: u8 = 1;
/// The state of a lane whose thread has ended and whose last records are not drained yet.
const ENDING: u8 = 2;

/// The place of one recording thread in a pool.
pub(crate) struct Lane {
    /// [`FREE`], [`ACTIVE`] or [`ENDING`].
    state: AtomicU8,
    /// The threads that have or had the lane and whose records are not drained yet.
    tenants: Mutex<Tenants>,
    /// The ring into which the thread writes.
    ring: RingPointer,
    /// The ring from which the thread has moved.
    former: RingPointer,
    /// The ring to which the thread is to move.
    offer: RingPointer,
    /// The entry of the thread in the log of a shared file.
    entry: LogEntry,
}

impl Lane {
    /// Creates a free lane without a ring.
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU8::new(FREE),
            tenants: Mutex::default(),
            ring: RingPointer::new(),
            former: RingPointer::new(),
            offer: RingPointer::new(),
            entry: LogEntry::new(),
        }
    }

    /// Gives the lane, which must be free, its ring, or takes the ring away. Returns the ring
    /// that it had. Only its next thread may call this, or the drain.
    pub(crate) fn set_ring(&self, ring: Option<Arc<RingMemory>>) -> Option<Arc<RingMemory>> {
        // Release, paired with the Acquire load in `RingPointer::get`: the drain sees the memory of
        // the ring.
        let ordering = at("lane: it has a ring", Release);
        self.ring.swap(ring, ordering)
    }

    /// Returns whether the lane, which must be free, has a ring.
    pub(crate) fn has_ring(&self) -> bool {
        !self.ring.0.load(Relaxed).is_null()
    }

    /// Makes this the lane of `thread`, which must be the current thread, and active.
    ///
    /// # Panics
    /// Panics if the lane has no ring.
    pub(crate) fn activate(&self, thread: Identity) {
        let producer = self.producer().expect("a lane gets its ring before its thread");
        let ring = self.ring.0.load(Relaxed);
        // Before the thread writes a record: whoever reads that finds the entry.
        self.entry.enter(self.present(), &thread);
        lock(&self.tenants).push(thread, ring.addr(), producer.head(), producer.capacity());
        // Relaxed: the drain looks for the thread only after it has found a record of it, and the
        // lines above come before that record.
        self.state.store(ACTIVE, Relaxed);
    }

    /// Returns the thread that wrote record `seq` of a ring of this lane, and how many records
    /// follow until the first one of the next thread. Only the drain may call this.
    pub(crate) fn tenant(&self, ring: &RingMemory, seq: usize) -> (Identity, usize) {
        lock(&self.tenants).of(ptr::from_ref(ring).addr(), seq)
    }

    /// Returns the producer of the present ring, for the thread that has the lane. The ring lives
    /// until that thread has moved from it and the drain has read it, or until the thread has
    /// ended.
    pub(crate) fn producer(&self) -> Option<Producer<'static>> {
        // SAFETY: the caller has the lane, so only the caller replaces the ring.
        Some(unsafe { self.ring.ring() }?.attach_producer())
    }

    /// Moves the thread that has the lane to the ring that is offered. Returns its producer, or
    /// `None` if no ring is offered. Wait-free.
    #[cold]
    pub(crate) fn take_offer(&self) -> Option<Producer<'static>> {
        let offer = self.swap_offer(None)?;
        // No reader needs the former ring of an earlier move: the drain makes an offer only once it
        // has read and removed that.
        self.entry.go_on(self.present(), &offer);
        let present = self.ring.0.load(Relaxed);
        self.former.0.store(present, Relaxed);
        // Release, paired with the Acquire load in `RingPointer::get`: a drain that sees the new
        // ring also sees the last record in the former one.
        let ordering = at("lane: its thread has moved", Release);
        self.ring.0.store(Arc::into_raw(offer).cast_mut().cast(), ordering);
        self.producer()
    }

    /// Offers a ring to the thread, or withdraws the offer. Returns what was offered before and was
    /// not taken.
    pub(crate) fn swap_offer(&self, ring: Option<Arc<RingMemory>>) -> Option<Arc<RingMemory>> {
        // Release and Acquire, paired with each other: whoever takes the offer sees the memory of
        // the ring.
        let ordering = match ring {
            Some(_) => at("lane: a ring is offered", Release),
            None => at("lane: an offer is taken", Acquire),
        };
        self.offer.swap(ring, ordering)
    }

    /// Returns whether a ring is offered that nobody has taken yet.
    #[cfg(all(test, tailwatch_loom))]
    pub(crate) fn has_offer(&self) -> bool {
        !self.offer.0.load(Relaxed).is_null()
    }

    /// Returns where the thread that has the lane finds the offer.
    pub(crate) fn larger_ring(&'static self) -> LargerRingAt {
        LargerRingAt { offer: &self.offer.0, taker: self }
    }

    /// Returns whether the present ring is in a shared file. The caller is the drain, which alone
    /// drops rings, or the thread that takes the lane.
    pub(crate) fn is_shared(&self) -> bool {
        self.present().is_some_and(|ring| ring.as_shared().is_some())
    }

    /// Returns whether the thread has ended.
    pub(crate) fn is_ending(&self) -> bool {
        // Relaxed: this only makes the drain read the lane at once. Before it frees the lane, it
        // looks again for records, under the lock that the thread held when it ended.
        self.state.load(Relaxed) == ENDING
    }

    /// Returns whether the lane is active or ending.
    pub(crate) fn is_taken(&self) -> bool {
        self.state.load(Relaxed) != FREE
    }

    /// Returns whether the lane is free.
    pub(crate) fn is_free(&self) -> bool {
        !self.is_taken()
    }

    /// Returns the present ring, unless that is `known`, for the drain. All records in the former
    /// ring are visible to the caller.
    pub(crate) fn ring_other_than(&self, known: Option<&RingMemory>) -> Option<Arc<RingMemory>> {
        let ring = self.ring.get();
        if ring.is_null() || known.is_some_and(|known| ptr::eq(known, ring)) {
            return None;
        }
        // SAFETY: the pointer is that of an `Arc` in the lane. It is dropped only by the drain, or
        // by the end of a thread after the last pass, under the lock of the pool. The caller is the
        // drain, or starts the pool, or holds that lock.
        Some(unsafe {
            Arc::increment_strong_count(ring);
            Arc::from_raw(ring)
        })
    }

    /// Drops the former ring, which the drain has read to its end. The ring `present` follows it.
    pub(crate) fn drop_former(&self, former: &RingMemory, present: &RingMemory) {
        let [former, present] = [former, present].map(|ring| ptr::from_ref(ring).addr());
        lock(&self.tenants).go_on(former, present);
        // Relaxed: only the drain accesses it, and its thread before the present ring is stored.
        drop(self.former.swap(None, Relaxed));
    }

    /// Makes the lane ending, at the end of its thread.
    pub(crate) fn end(&self) {
        self.entry.leave(self.present());
        self.state.store(ENDING, Relaxed);
    }

    /// Returns the present ring. The caller is the thread that has the lane, or the drain.
    fn present(&self) -> Option<&RingMemory> {
        // SAFETY: the pointer is null or that of an `Arc` in the lane. If its thread moves to
        // another ring meanwhile, the lane keeps this one until the drain drops it.
        unsafe { self.ring.get().as_ref() }
    }

    /// Makes the lane free, once nobody needs its records. Returns what the lane does not need any
    /// more, which the caller drops without a lock: the program's allocator may record.
    #[must_use]
    pub(crate) fn free(&self) -> impl Sized + use<> {
        let offer = self.swap_offer(None);
        let tenants = core::mem::take(&mut *lock(&self.tenants));
        self.state.store(FREE, Relaxed);
        (offer, tenants)
    }

    /// Returns how many records of the lane were not drained.
    ///
    /// # Safety
    /// The caller is the drain. Or the last pass is over, and the caller holds the lock under which
    /// the end of a thread then drops its rings.
    pub(crate) unsafe fn pending(&self) -> usize {
        let (present, former) = (self.ring.get(), self.former.get());
        // While its thread moves, a ring is both for a moment.
        let former = if ptr::eq(former, present) { ptr::null_mut() } else { former };
        // SAFETY: the caller guarantees that no ring is dropped meanwhile.
        let rings = [present, former].map(|ring| unsafe { ring.as_ref() });
        rings.into_iter().flatten().map(|ring| ring.ring().pending()).sum()
    }

    /// Returns whether less than half of the present ring is pending. The caller holds the lock
    /// under which an ending lane, which this must be, is taken, freed or dropped.
    pub(crate) fn is_less_than_half_full(&self) -> bool {
        // SAFETY: the lane stays ending while the lock is held, so its ring is not dropped.
        let ring = unsafe { self.ring.ring() };
        ring.is_some_and(|ring| ring.pending() < ring.capacity() / 2)
    }

    /// Gives back the memory that the lane of a stopped collector does not need while its thread is
    /// alive, except that of a ring from or to which the thread is just moving. Returns the ring
    /// that was offered. Only the last pass may call this, under the lock of the pool.
    #[must_use]
    pub(crate) fn release_slots(&self) -> Option<Arc<RingMemory>> {
        let offer = self.swap_offer(None);
        if self.is_taken()
            && let Some(ring) = self.ring_other_than(None)
        {
            ring.release_slots();
        }
        offer
    }

    /// Takes all rings from a lane whose thread has ended, after the last pass, and makes it free.
    /// Returns what the lane does not need any more, as [`free`](Self::free) does.
    ///
    /// # Safety
    /// As for [`pending`](Self::pending).
    #[must_use]
    pub(crate) unsafe fn take_rings(&self) -> impl Sized + use<> {
        (self.free(), self.ring.swap(None, Relaxed), self.former.swap(None, Relaxed))
    }
}

impl LargerRing for Lane {
    fn take(&self) -> Option<Producer<'static>> {
        self.take_offer()
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("is_taken", &self.is_taken()).finish_non_exhaustive()
    }
}

/// An `Option<Arc<RingMemory>>` that threads exchange without a lock. The crate `tailwatch-record`
/// looks whether there is one, and does not know the type.
struct RingPointer(AtomicPtr<()>);

impl RingPointer {
    fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Replaces the `Arc`, and returns the one that was there.
    fn swap(&self, ring: Option<Arc<RingMemory>>, ordering: Ordering) -> Option<Arc<RingMemory>> {
        let ring = ring.map_or(ptr::null(), Arc::into_raw);
        let former: *const RingMemory = self.0.swap(ring.cast_mut().cast(), ordering).cast();
        // SAFETY: a pointer that is not null came from `Arc::into_raw`, and its `Arc` was not made
        // again since, because the swap removes the pointer.
        (!former.is_null()).then(|| unsafe { Arc::from_raw(former) })
    }

    /// Returns the pointer to the ring.
    fn get(&self) -> *mut RingMemory {
        // Acquire, paired with the Release stores in `set_ring` and `take_offer`: see there.
        self.0.load(at("lane: which ring it has", Acquire)).cast()
    }

    /// Returns the ring.
    ///
    /// # Safety
    /// Its `Arc` must not be dropped while the result is in use.
    unsafe fn ring(&self) -> Option<&'static Ring> {
        // SAFETY: the pointer is null or that of an `Arc`, which the caller keeps alive.
        Some(unsafe { self.get().as_ref() }?.ring())
    }
}

impl Drop for RingPointer {
    fn drop(&mut self) {
        // Relaxed: whoever drops the lane has waited for all others.
        drop(self.swap(None, Relaxed));
    }
}
