//! The rings of a collector, and which thread has which.
//!
//! Each recording thread has a [lane](super::lane) of the pool, and the lane has a ring. A lane is
//! *free*, *active* or *ending*. A thread takes a lane that is free or ending, which makes it
//! active, and changes it from active to ending when it ends. Only the drain changes a lane from
//! ending to free, after it has delivered the last record; once the last pass is over, the thread
//! that ends does.
//!
//! The number of lanes is fixed, but a lane gets its ring only when it is needed. The drain keeps a
//! few free lanes with a ring, the *spares*. If there is none, a thread takes the lane that has
//! been ending for the longest time, unless its ring is half full. Otherwise it allocates its own
//! ring.
//!
//! The *gate* is the set of switches that decide which events are recorded; `stop` closes it. A
//! record is *unregistered* if it went into no ring, or into a ring but too late for the last pass.
//! The END (or FORGET) of a span that was open at `stop` is still written, because the gate decides
//! only when a span begins. If the last pass reads it, it is delivered; otherwise it is
//! unregistered.
//!
//! The locks order what one holder of a lane does before what the next holder does. Each other
//! ordering is written as `at("name", ordering)` or `fence_at("name", ordering)`. The name only
//! identifies its row in this table:
//!
//! | name | ordering | partner | what breaks without it | model |
//! |---|---|---|---|---|
//! | `lane: it has a ring` | who gives the lane a ring, `ring` swap, Release | the drain, `ring` load, Acquire | the drain reads a ring whose memory is not there yet | `a_lane_gets_its_ring_from_its_thread` |
//! | `lane: a ring is offered` | the drain, `offer` swap, Release | the thread, `offer` swap, Acquire | the thread writes into a ring whose memory is not there yet | `a_thread_moves_to_a_larger_ring` |
//! | `lane: an offer is taken` | the thread, or the drain that withdraws it, `offer` swap, Acquire | the drain, `offer` swap, Release | as in the row above | `a_thread_moves_to_a_larger_ring` |
//! | `lane: its thread has moved` | the thread, `ring` store, Release | the drain, `ring` load, Acquire | the drain takes the former ring for read to its end, and misses its last records | `a_thread_moves_to_a_larger_ring` |
//! | `lane: which ring it has` | the drain, `ring` load, Acquire | both stores of `ring`, Release | as in the row above | `a_thread_moves_to_a_larger_ring` |
//! | `pool: the gate closes for good` | `stop`, fence before the gate is closed, Release | `is_stopped`, fence, Acquire | a thread whose record the closed gate rejects does not see that the collector has stopped, and does not count the record as unregistered | `a_thread_that_finds_the_gate_closed_sees_the_stop` |
//! | `pool: the gate was found closed` | `is_stopped`, fence after the gate was read, Acquire | `stop`, fence, Release | as in the row above | `a_thread_that_finds_the_gate_closed_sees_the_stop` |
//! | `pool: stopping` | `stop`, `stopped` store, Release | the drain, `stopped` load, Acquire | the last pass misses a record from before `stop` | `the_last_pass_delivers_every_record_from_before_the_stop` |
//! | `pool: whether the next pass is the last` | the drain, `stopped` load, Acquire | `stop`, `stopped` store, Release | as in the row above | `the_last_pass_delivers_every_record_from_before_the_stop` |
//!
//! `.ci/run loom` weakens one ordering after the other, and requires that the model in its row then
//! fails. The models are in `pool/models.rs`.

#![allow(unsafe_code, reason = "after the last pass, a lock guards the rings of the lanes")]

use core::fmt;
use std::{
    io,
    sync::{Arc, OnceLock},
    thread::Thread,
};

use tailwatch_core::{
    EventId, Gate,
    sync::{
        AtomicU8, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
        at, fence_at,
    },
};

use tailwatch_record::collecting::{IDS, OFF};

pub(crate) use self::claim::Claim;
use super::{
    breaches::Breaches,
    followers::Followers,
    fork,
    free_lanes::FreeLanes,
    lane::Lane,
    ring_budget::{Purpose, RingBudget},
    ring_memory::RingMemory,
    ring_settings::RingSettings,
};
use crate::{
    clock::HostClock,
    shared::writer::Share,
    sync::{Mutex, lock},
};

/// What the recording threads and the drain of a collector share.
pub(crate) struct Pool {
    lanes: Box<[Lane]>,
    settings: RingSettings,
    budget: Arc<RingBudget>,
    /// The file from which rings come first, if the collector shares them.
    share: Option<Arc<Share>>,
    /// The lanes that a thread may take. Its lock makes each change of a lane's state one step with
    /// that of these lists, except that a lane which is in no list becomes active. Once the last
    /// pass is over, it also guards the rings of lanes whose threads end.
    free: Mutex<FreeLanes>,
    /// The number of free lanes with a ring, which can be read without the lock.
    spares: AtomicUsize,
    /// The number of ending lanes, which can be read without the lock.
    ending: AtomicUsize,
    /// The number of free lanes without a ring, which can be read without the lock.
    empty: AtomicUsize,
    /// Not 0 if the operating system provided no memory for the ring of a thread. Until the drain
    /// finds that there is some, no thread asks for it: that would be a system call per record.
    out_of_memory: AtomicU8,
    /// The number of rings that could not be locked in memory after the start.
    unlocked: AtomicUsize,
    /// No thread has ever had the lanes from this index on.
    used_lanes: AtomicUsize,
    /// How many claims there have been.
    claims: AtomicUsize,
    /// The switches that decide which events are recorded.
    gate: Gate<IDS>,
    /// How often the gate may have changed.
    gate_changes: AtomicUsize,
    /// The threads that keep copies of the gate. Its lock is held while the gate is changed.
    followers: &'static Followers,
    /// How many forks lead to the process that created the pool.
    forks: usize,
    breaches: Breaches,
    /// Not 0 once the collector is stopped.
    stopped: AtomicU8,
    /// Not 0 once the last pass is over.
    finished: AtomicU8,
    /// The number of records that went into no ring.
    unregistered: AtomicUsize,
    /// The number of ENDs and FORGETs that did not reach their collector, and whose span is not
    /// known.
    lost_ends: AtomicUsize,
    /// Not 0 while [`process`](super::process) has lost ENDs for the drain.
    lost_ends_wait: AtomicU8,
    /// The clock that recording threads read.
    clock: HostClock,
    /// The drain's thread, unless the program drains.
    drain_thread: OnceLock<Thread>,
}

impl Pool {
    /// Creates a pool, with as many [spares](Self::keep_spares) as its settings allow.
    ///
    /// # Errors
    /// Returns an error if the operating system does not provide the memory for the spares.
    pub(crate) fn new(settings: RingSettings, clock: HostClock) -> io::Result<Self> {
        Self::sharing(None, settings, clock)
    }

    /// Creates a pool whose rings are in a shared file as long as that has room for them.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn sharing(
        share: Option<Arc<Share>>,
        settings: RingSettings,
        clock: HostClock,
    ) -> io::Result<Self> {
        let pool = Self::empty(share, settings, clock);
        pool.keep_spares()?;
        Ok(pool)
    }

    /// Creates a pool that has no ring yet.
    pub(crate) fn empty(
        share: Option<Arc<Share>>,
        settings: RingSettings,
        clock: HostClock,
    ) -> Self {
        let pool = Self {
            lanes: (0..settings.lanes).map(|_| Lane::new()).collect(),
            settings,
            budget: RingBudget::new(settings.max_bytes),
            share,
            free: Mutex::new(FreeLanes::new(settings.lanes)),
            spares: AtomicUsize::new(0),
            ending: AtomicUsize::new(0),
            empty: AtomicUsize::new(settings.lanes),
            out_of_memory: AtomicU8::new(0),
            unlocked: AtomicUsize::new(0),
            used_lanes: AtomicUsize::new(0),
            claims: AtomicUsize::new(0),
            gate: Gate::new(),
            gate_changes: AtomicUsize::new(0),
            followers: Followers::of_this_process(),
            forks: fork::forks(),
            breaches: Breaches::new(),
            stopped: AtomicU8::new(0),
            finished: AtomicU8::new(0),
            unregistered: AtomicUsize::new(0),
            lost_ends: AtomicUsize::new(0),
            lost_ends_wait: AtomicU8::new(0),
            clock,
            drain_thread: OnceLock::new(),
        };
        // Nothing of an event without a number can be recorded.
        pool.gate.close_event(EventId::UNNUMBERED);
        pool
    }

    /// Locks the rings in memory, so that the operating system cannot swap them out. Rings that
    /// come later are locked as well, if possible.
    pub(crate) fn lock_memory(&self) -> io::Result<()> {
        let spares = self.lanes.iter().filter_map(|lane| lane.ring_other_than(None));
        spares.into_iter().try_for_each(|ring| ring.lock())
    }

    /// Returns the gate. Change it only with [`update_gate`](Self::update_gate).
    pub(crate) fn gate(&self) -> &Gate<IDS> {
        &self.gate
    }

    /// Calls `update` with the gate, under a lock because only one thread at a time may change the
    /// gate, and makes the copies that threads have of the gate follow. Does nothing once the
    /// collector is stopped, because a stopped collector stays off.
    pub(crate) fn update_gate(&self, update: impl FnOnce(&Gate<IDS>)) {
        self.followers.change(&self.gate, |gate| {
            if !self.is_stopped() {
                update(gate);
                self.count_gate_change();
            }
        });
    }

    /// Counts a change of the gate, under the lock of the followers.
    fn count_gate_change(&self) {
        self.gate_changes.fetch_add(1, Relaxed);
    }

    /// Returns a number that increases with each change of the gate.
    ///
    /// It may be outdated. But once a thread reads the new number,
    /// [`settled_gate`](Self::settled_gate) shows it what changed.
    pub(crate) fn gate_changes(&self) -> usize {
        // Relaxed: the lock that `settled_gate` takes orders the gate after the number.
        self.gate_changes.load(Relaxed)
    }

    /// Calls `read` with the gate and the number of its changes, under the lock with which the gate
    /// is changed, so that the gate includes these changes.
    pub(crate) fn settled_gate<T>(&self, read: impl FnOnce(&Gate<IDS>, usize) -> T) -> T {
        let _unchanged = self.followers.lock();
        read(&self.gate, self.gate_changes())
    }

    /// Returns which events are breached.
    #[inline]
    pub(crate) fn breaches(&self) -> &Breaches {
        &self.breaches
    }

    pub(crate) fn clock(&self) -> HostClock {
        self.clock
    }

    /// Returns the largest number of threads that can record at the same time.
    pub(crate) fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    /// Returns the number of lanes that a thread has ever had. They come before all others.
    pub(crate) fn used_lanes(&self) -> usize {
        self.used_lanes.load(Relaxed)
    }

    /// Returns the lane with this index.
    pub(crate) fn lane(&self, index: usize) -> &Lane {
        &self.lanes[index]
    }

    pub(crate) fn settings(&self) -> &RingSettings {
        &self.settings
    }

    /// Returns the bytes that the rings take and may take.
    pub(crate) fn budget(&self) -> &RingBudget {
        &self.budget
    }

    /// Returns the file in which the rings are shared.
    pub(crate) fn share(&self) -> Option<&Arc<Share>> {
        self.share.as_ref()
    }

    /// Returns the number of rings that could not be locked in memory after the start.
    pub(crate) fn unlocked(&self) -> usize {
        self.unlocked.load(Relaxed)
    }

    /// Returns the size of the pool with its rings, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let shared = self.share.as_ref().map_or(0, |share| share.bytes_in_use());
        size_of::<Self>() + self.lanes.len() * size_of::<Lane>() + self.budget.in_use() + shared
    }

    /// Sets the drain's thread, which is woken when a thread takes a ring or gives one back.
    pub(crate) fn set_drain_thread(&self, thread: Thread) {
        // This cannot fail, because a collector starts at most one such thread.
        let _ = self.drain_thread.set(thread);
    }

    fn wake_drain(&self) {
        if let Some(thread) = self.drain_thread.get() {
            thread.unpark();
        }
    }

    /// Returns whether this process inherited the pool from the process that it was forked from.
    /// The locks of such a pool and of its drain may be held for ever, and the threads that serve
    /// it do not exist.
    pub(crate) fn is_inherited(&self) -> bool {
        self.forks != fork::forks()
    }

    /// Allocates a ring, in the shared file if there is one and `may_share`.
    fn new_ring(
        &self,
        capacity: usize,
        purpose: Purpose,
        may_share: bool,
    ) -> io::Result<RingMemory> {
        let share = self.share.as_ref().filter(|_| may_share);
        let ring = match share.and_then(|share| share.ring(capacity, purpose)) {
            Some(shared) => RingMemory::shared(shared),
            None => RingMemory::new(capacity, &self.budget, purpose)?,
        };
        if self.settings.locked
            && let Err(error) = ring.lock()
        {
            // A first ring is better than none, even if it can be swapped out.
            if purpose == Purpose::Growth {
                return Err(error);
            }
            self.unlocked.fetch_add(1, Relaxed);
        }
        Ok(ring)
    }

    /// Offers a ring of this capacity to the thread that has the lane, and returns whether it did:
    /// not if no thread has the lane. If there is no memory for the ring, counts a refusal. The
    /// caller, the drain, must know the present ring, and have made no offer that was not taken.
    pub(crate) fn offer(&self, lane_index: usize, capacity: usize) -> bool {
        // Only the drain makes a lane free, so this cannot change now. If the next thread of an
        // ending lane needs a larger ring, the drain will find that out.
        let lane = &self.lanes[lane_index];
        if lane.is_free() || lane.is_ending() {
            return false;
        }
        // The log of a shared file has no entry for a thread that came with a ring of its own.
        if let Ok(ring) = self.new_ring(capacity, Purpose::Growth, lane.is_shared()) {
            drop(lane.swap_offer(Some(Arc::new(ring))));
            true
        } else {
            self.budget.count_refused();
            false
        }
    }

    /// Makes an ending lane free, after the drain has read it to its end. Does nothing and returns
    /// `false` if another thread has taken the lane in the meantime.
    pub(crate) fn release(&self, lane_index: usize) -> bool {
        // The lock orders what the drain did with the lane before what the lane's next thread does.
        let mut free = lock(&self.free);
        let lane = &self.lanes[lane_index];
        // Other threads may have had the lane since the drain has read it, and may have ended, too.
        // SAFETY: the caller is the drain. Others drop rings only after the last pass.
        let is_read = unsafe { lane.pending() } == 0;
        if !is_read || !free.remove_ending(lane_index) {
            return false;
        }
        let unneeded = lane.free();
        free.push(lane_index, true);
        self.note_free(&free);
        drop(free);
        drop(unneeded);
        true
    }

    /// Closes the gate for good, and makes the next pass of the drain the last one.
    pub(crate) fn stop(&self) {
        self.followers.change(&self.gate, |gate| {
            // Release, paired with the Acquire load in `is_stopping`: the last pass sees everything
            // recorded before this call.
            self.stopped.store(1, at("pool: stopping", Release));
            // Release, paired with the Acquire fence in `is_stopped`: a thread that finds the gate
            // closed by this call also sees `stopped`, and so counts its records.
            fence_at("pool: the gate closes for good", Release);
            gate.close();
            self.count_gate_change();
        });
    }

    /// Returns whether the collector has stopped. After the gate has rejected an event, this is
    /// whether the gate is closed for good.
    pub(crate) fn is_stopped(&self) -> bool {
        // Acquire, paired with the Release fence in `stop`: see there.
        fence_at("pool: the gate was found closed", Acquire);
        self.stopped.load(Relaxed) != 0
    }

    /// Returns whether the next pass is the last one.
    pub(crate) fn is_stopping(&self) -> bool {
        // Acquire, paired with the Release store in `stop`: see there.
        self.stopped.load(at("pool: whether the next pass is the last", Acquire)) != 0
    }

    /// Counts records that are never delivered, because their thread has no ring or the collector
    /// has stopped.
    pub(crate) fn count_unregistered(&self, records: usize) {
        self.unregistered.fetch_add(records, Relaxed);
    }

    /// Notes that the END of an unknown span is never delivered, so each open span may be one that
    /// has ended.
    pub(crate) fn note_lost_end(&self) {
        self.lost_ends.fetch_add(1, Relaxed);
    }

    /// Returns how often [`note_lost_end`](Self::note_lost_end) was called.
    pub(crate) fn lost_ends(&self) -> usize {
        self.lost_ends.load(Relaxed)
    }

    /// Sets whether lost ENDs wait for the drain.
    pub(crate) fn set_lost_ends_wait(&self, wait: bool) {
        self.lost_ends_wait.store(wait.into(), Relaxed);
    }

    /// Returns whether lost ENDs wait for the drain.
    pub(crate) fn do_lost_ends_wait(&self) -> bool {
        // Relaxed: the lock of the process orders the ENDs. A pass that reads an outdated value
        // leaves them to the next one.
        self.lost_ends_wait.load(Relaxed) != 0
    }

    /// Returns the number of records that are never delivered. After the last pass, this includes
    /// records that were still written into a ring, such as the END of a span that was open at the
    /// stop.
    pub(crate) fn unregistered(&self) -> u64 {
        // An inherited lock may be held for ever.
        if !self.is_finished() || self.is_inherited() {
            return self.unregistered.load(Relaxed) as u64;
        }
        let _free = lock(&self.free);
        // SAFETY: the last pass is over, and the lock is held.
        let pushed_late: usize = self.lanes.iter().map(|lane| unsafe { lane.pending() }).sum();
        (self.unregistered.load(Relaxed) + pushed_late) as u64
    }

    /// Marks the last pass as over. Nothing is drained afterwards, so the rings of threads that
    /// have ended are dropped, and so is all other memory of rings that no record can need.
    pub(crate) fn finish(&self) {
        // Nothing is allocated or dropped under the lock, because the program's allocator may
        // record.
        let mut unneeded = Vec::with_capacity(self.lanes.len());
        let mut offers = Vec::with_capacity(self.lanes.len());
        let mut free = lock(&self.free);
        self.breaches.stop_judging();
        // Relaxed: the lock orders it. Whoever sees the flag takes the lock before it looks at the
        // rings, and so sees how far the last pass drained each of them.
        self.finished.store(1, Relaxed);
        let (spares, ending) = free.take_all_with_ring();
        for lane_index in &spares {
            unneeded.push((self.lanes[*lane_index].set_ring(None), None));
            free.push(*lane_index, false);
        }
        for lane_index in &ending {
            unneeded.push((None, Some(self.take_rings(&self.lanes[*lane_index]))));
            free.push(*lane_index, false);
        }
        self.note_free(&free);
        offers.extend(self.lanes.iter().map(Lane::release_slots));
        drop(free);
        drop((unneeded, offers, spares, ending));
        if let Some(share) = &self.share {
            share.finish();
        }
    }

    /// Counts the records of a lane whose thread has ended as unregistered, and takes its rings.
    /// The last pass must be over, and the lock of the free lanes be held. The caller drops what
    /// this returns without the lock.
    fn take_rings(&self, lane: &Lane) -> impl Sized + use<> {
        // SAFETY: the caller guarantees both.
        unsafe {
            self.count_unregistered(lane.pending());
            lane.take_rings()
        }
    }

    /// Returns whether anybody drains the rings.
    pub(crate) fn has_drain(&self) -> bool {
        !OFF && !self.is_finished() && !self.is_inherited()
    }

    /// Returns whether the last pass is over.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Relaxed) != 0
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("lanes", &self.lanes.len())
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

mod claim;
mod late_ends;
#[cfg(all(test, tailwatch_loom))]
mod models;
mod spares;
