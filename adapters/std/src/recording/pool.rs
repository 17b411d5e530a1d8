//! The rings of a collector, and which thread has which ring.
//!
//! A ring is *free*, *active* or *ending*. An active ring belongs to one thread. An ending ring
//! belonged to a thread that has ended, but its last records are not drained yet. A thread changes
//! its ring from free to active and from active to ending. Only the drain changes a ring from
//! ending to free, after it has delivered the last record. Therefore every record that the drain
//! finds in a ring was written by the thread whose name the ring has.
//!
//! The *gate* is the set of switches that decide which events are recorded; `stop` closes it. A
//! record is *unregistered* if it went into no ring, or into a ring but too late for the last pass.
//! The END (or FORGET) of a span that was open at `stop` is still written, because the gate decides
//! only when a span begins. If the last pass reads it, it is delivered; otherwise it is
//! unregistered.
//!
//! The locks order what one holder of a ring does before what the next holder does. Each other
//! ordering is written as `at("name", ordering)` or `fence_at("name", ordering)`. The name only
//! identifies its row in this table:
//!
//! | name | ordering | partner | what breaks without it | model |
//! |---|---|---|---|---|
//! | `pool: a ring is given back` | the thread, `state` store, Release | the drain, `state` load, Acquire | the drain sees that the thread has ended, but misses its last records, and attributes them to the ring's next thread | `a_ring_goes_from_thread_to_thread` |
//! | `pool: whether its thread is gone` | the drain, `state` load, Acquire | the thread, `state` store, Release | as in the row above | `a_ring_goes_from_thread_to_thread` |
//! | `pool: the gate closes for good` | `stop`, fence before the gate is closed, Release | `is_stopped`, fence, Acquire | a thread whose record the closed gate rejects does not see that the collector has stopped, and does not count the record as unregistered | `a_thread_that_finds_the_gate_closed_sees_the_stop` |
//! | `pool: the gate was found closed` | `is_stopped`, fence after the gate was read, Acquire | `stop`, fence, Release | as in the row above | `a_thread_that_finds_the_gate_closed_sees_the_stop` |
//! | `pool: stopping` | `stop`, `stopped` store, Release | the drain, `stopped` load, Acquire | the last pass misses a record from before `stop` | `the_last_pass_delivers_every_record_from_before_the_stop` |
//! | `pool: whether the next pass is the last` | the drain, `stopped` load, Acquire | `stop`, `stopped` store, Release | as in the row above | `the_last_pass_delivers_every_record_from_before_the_stop` |
//! | `pool: the last pass is over` | the drain, `finished` store, Release | `is_finished`, Acquire | records that the last pass delivered are also counted as unregistered | `records_after_the_last_pass_are_counted` |
//! | `pool: whether the last pass is over` | `is_finished`, Acquire | the drain, `finished` store, Release | as in the row above | `records_after_the_last_pass_are_counted` |
//!
//! `.ci/run loom` weakens one ordering after the other, and requires that the model in its row then
//! fails. The models are in `pool/models.rs`.

use core::fmt;
#[cfg(not(tailwatch_loom))]
use core::time::Duration;
use std::{
    io,
    sync::{Arc, OnceLock},
    thread::Thread,
};

use tailwatch_core::{
    Consumer, EventId, Gate, Ring,
    sync::{
        AtomicU8, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
        at, fence_at,
    },
};

use super::{followers::Followers, fork, ring_memory::RingMemory};
use crate::{
    clock::HostClock,
    sync::{Condvar, Mutex, lock},
};

/// The state of a ring that no thread has.
const FREE: u8 = 0;
/// The state of a ring that belongs to a thread.
const ACTIVE: u8 = 1;
/// The state of a ring whose thread has ended and whose last records are not drained yet.
const ENDING: u8 = 2;

/// The number of switches in the gate: one byte for every event id that a record can have, so that
/// the hot path needs no bounds check.
///
/// It is 2 under the model checker, which tracks every atomic as an object of its own, and whose
/// models need no more.
pub(crate) const IDS: usize = if cfg!(tailwatch_loom) { 2 } else { EventId::MAX as usize + 1 };

/// A ring, its state, and the name of the thread that has the ring or had it last.
#[derive(Debug)]
struct PooledRing {
    memory: RingMemory,
    /// [`FREE`], [`ACTIVE`] or [`ENDING`].
    state: AtomicU8,
    thread_name: Mutex<Arc<str>>,
}

/// What the recording threads and the drain of a collector share.
pub(crate) struct Pool {
    rings: Box<[PooledRing]>,
    /// The indices of the free rings.
    free: Mutex<Vec<usize>>,
    /// The length of `free`, which can be read without the lock.
    free_rings: AtomicUsize,
    /// How many claims there have been.
    claims: AtomicUsize,
    /// Notified when a ring becomes free.
    freed: Condvar,
    /// The switches that decide which events are recorded.
    gate: Gate<IDS>,
    /// How often the gate may have changed.
    gate_changes: AtomicUsize,
    /// The threads that keep copies of the gate. Its lock is held while the gate is changed.
    followers: &'static Followers,
    /// How many forks lead to the process that created the pool.
    forks: usize,
    /// For each event id: not 0 while a limit of the event is violated.
    breached: Box<[AtomicU8]>,
    /// Not 0 once the collector is stopped.
    stopped: AtomicU8,
    /// Not 0 once the last pass is over.
    finished: AtomicU8,
    /// The number of records that went into no ring.
    unregistered: AtomicUsize,
    /// The number of records in `unregistered` that would have ended a span.
    lost_ends: AtomicUsize,
    /// The clock that recording threads read.
    clock: HostClock,
    /// The drain's thread, unless the program drains.
    drain_thread: OnceLock<Thread>,
}

/// A thread's claim on a ring of the pool. Dropping it gives the ring back.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The index of the ring in the pool.
    pub(crate) ring_index: usize,
    /// The number of claims before this one.
    pub(crate) number: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// Creates a pool of `rings` rings with `capacity` records each, and touches the pages of the
    /// rings.
    pub(crate) fn new(rings: usize, capacity: usize, clock: HostClock) -> io::Result<Self> {
        let ring = |_| {
            let memory = RingMemory::new(capacity)?;
            Ok(PooledRing {
                memory,
                state: AtomicU8::new(FREE),
                thread_name: Mutex::new(Arc::from("")),
            })
        };
        Ok(Self {
            rings: (0..rings).map(ring).collect::<io::Result<_>>()?,
            free: Mutex::new((0..rings).rev().collect()),
            free_rings: AtomicUsize::new(rings),
            claims: AtomicUsize::new(0),
            freed: Condvar::new(),
            gate: Gate::new(),
            gate_changes: AtomicUsize::new(0),
            followers: Followers::of_this_process(),
            forks: fork::forks(),
            breached: (0..IDS).map(|_| AtomicU8::new(0)).collect(),
            stopped: AtomicU8::new(0),
            finished: AtomicU8::new(0),
            unregistered: AtomicUsize::new(0),
            lost_ends: AtomicUsize::new(0),
            clock,
            drain_thread: OnceLock::new(),
        })
    }

    /// Locks all rings in memory, so that the operating system cannot swap them out.
    pub(crate) fn lock_memory(&self) -> io::Result<()> {
        self.rings.iter().try_for_each(|ring| ring.memory.lock())
    }

    /// Returns an upper bound of the bytes that [`lock_memory`](Self::lock_memory) counts against
    /// the process's limit of locked memory.
    pub(crate) fn lockable_bytes(&self) -> usize {
        self.rings.iter().map(|ring| ring.memory.lockable_bytes()).sum()
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

    /// Returns whether a limit of this event is violated, as of the last pass or, if that came
    /// later, of the last change of the event's limits.
    #[inline]
    pub(crate) fn is_breached(&self, id: EventId) -> bool {
        // Relaxed: the flag guards no other memory.
        self.breached[usize::from(id.get())].load(Relaxed) != 0
    }

    /// Sets whether a limit of this event is violated.
    pub(crate) fn set_breached(&self, id: EventId, breached: bool) {
        self.breached[usize::from(id.get())].store(u8::from(breached), Relaxed);
    }

    pub(crate) fn clock(&self) -> HostClock {
        self.clock
    }

    pub(crate) fn ring_count(&self) -> usize {
        self.rings.len()
    }

    /// Returns the ring with this index.
    pub(crate) fn ring(&self, index: usize) -> &Ring {
        self.rings[index].memory.ring()
    }

    /// Returns the size of the pool with its rings, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let ring_bytes = |ring: &PooledRing| size_of::<PooledRing>() + ring.memory.bytes();
        size_of::<Self>() + self.rings.iter().map(ring_bytes).sum::<usize>()
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
    fn is_inherited(&self) -> bool {
        self.forks != fork::forks()
    }

    /// Takes a free ring for the current thread, whose name the closure `name` returns. Returns
    /// `None` if no ring is free, or if the rings belong to the process that this one was forked
    /// from.
    ///
    /// Does not wait for a ring to become free. Blocks only while another thread holds the lock of
    /// the list of free rings.
    pub(crate) fn claim(self: &Arc<Self>, name: impl FnOnce() -> Arc<str>) -> Option<Claim> {
        // Relaxed: this check only avoids taking the lock. A thread that reads an outdated 0 checks
        // again with its next record.
        if self.free_rings.load(Relaxed) == 0 || self.is_inherited() {
            return None;
        }
        let index = self.pop_free(&mut lock(&self.free))?;
        Some(self.activate(index, name))
    }

    /// Takes a ring as [`claim`](Self::claim) does. If none is free, but the threads of some rings
    /// have ended, waits up to 500 ms for the drain to free such a ring.
    #[cfg(not(tailwatch_loom))]
    pub(crate) fn claim_or_wait(
        self: &Arc<Self>,
        name: impl FnOnce() -> Arc<str>,
    ) -> Option<Claim> {
        const MAX_WAIT: Duration = Duration::from_millis(500);
        if self.is_inherited() {
            return None;
        }
        let has_ending = || self.rings.iter().any(|ring| ring.state.load(Relaxed) == ENDING);
        let free = lock(&self.free);
        let free =
            self.freed.wait_timeout_while(free, MAX_WAIT, |free| free.is_empty() && has_ending());
        let index =
            self.pop_free(&mut free.unwrap_or_else(std::sync::PoisonError::into_inner).0)?;
        Some(self.activate(index, name))
    }

    /// Takes a ring as [`claim`](Self::claim) does. Does not wait, because the model checker does
    /// not model time.
    #[cfg(tailwatch_loom)]
    pub(crate) fn claim_or_wait(
        self: &Arc<Self>,
        name: impl FnOnce() -> Arc<str>,
    ) -> Option<Claim> {
        self.claim(name)
    }

    /// Removes a ring from the list of free rings, whose lock the caller holds, and returns its
    /// index.
    fn pop_free(&self, free: &mut Vec<usize>) -> Option<usize> {
        let index = free.pop();
        self.free_rings.store(free.len(), Relaxed);
        index
    }

    /// Makes the ring with this index active, as that of the current thread.
    fn activate(self: &Arc<Self>, index: usize, name: impl FnOnce() -> Arc<str>) -> Claim {
        *lock(&self.rings[index].thread_name) = name();
        // Relaxed: the drain reads the name only after it has found a record in the ring, and the
        // name was set before that record was written.
        self.rings[index].state.store(ACTIVE, Relaxed);
        self.wake_drain();
        let number = self.claims.fetch_add(1, Relaxed);
        Claim { ring_index: index, number, pool: Arc::clone(self) }
    }

    /// Returns the name of the thread that has the ring or had it last.
    pub(crate) fn thread_name(&self, index: usize) -> Arc<str> {
        Arc::clone(&lock(&self.rings[index].thread_name))
    }

    /// Returns whether the ring is active or ending.
    pub(crate) fn is_taken(&self, index: usize) -> bool {
        self.rings[index].state.load(Relaxed) != FREE
    }

    /// Refreshes the ring's consumer, which then has all records that are now in the ring as
    /// pending. Returns whether the ring is ending, in which case these are the last records of its
    /// thread.
    pub(crate) fn refresh(&self, index: usize, consumer: &mut Consumer<'_>) -> bool {
        // Acquire, paired with the Release store in the drop of `Claim`: if the thread has given
        // the ring back, the refresh below sees the thread's last record. Therefore the refresh has
        // to come second.
        let state = self.rings[index].state.load(at("pool: whether its thread is gone", Acquire));
        consumer.refresh();
        state == ENDING
    }

    /// Makes an ending ring free, after the drain has delivered its last record.
    pub(crate) fn release(&self, index: usize) {
        // The lock orders what the drain did with the ring before what the ring's next thread does.
        // It also makes the change of the state and the push one step for `claim_or_wait`. Between
        // the two, a ring is neither ending nor in the list, so `claim_or_wait` would stop waiting.
        let mut free = lock(&self.free);
        self.rings[index].state.store(FREE, Relaxed);
        free.push(index);
        self.free_rings.store(free.len(), Relaxed);
        drop(free);
        self.freed.notify_one();
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

    /// Counts a record that would have ended a span and is never delivered.
    pub(crate) fn count_lost_end(&self) {
        self.lost_ends.fetch_add(1, Relaxed);
        self.count_unregistered(1);
    }

    /// Returns the number of records that would have ended a span and are never delivered.
    pub(crate) fn lost_ends(&self) -> usize {
        self.lost_ends.load(Relaxed)
    }

    /// Returns the number of records that are never delivered. After the last pass, this includes
    /// records that were still written into a ring, such as the END of a span that was open at the
    /// stop.
    pub(crate) fn unregistered(&self) -> u64 {
        let pushed_late = if self.is_finished() {
            self.rings.iter().map(|ring| ring.memory.ring().pending()).sum()
        } else {
            0
        };
        (self.unregistered.load(Relaxed) + pushed_late) as u64
    }

    /// Marks the last pass as over. Nothing is drained afterwards.
    pub(crate) fn finish(&self) {
        // Release, paired with the Acquire load in `is_finished`: a thread that sees the flag also
        // sees how far the last pass drained each ring, and so does not count delivered records as
        // unregistered.
        self.finished.store(1, at("pool: the last pass is over", Release));
    }

    /// Returns whether the last pass is over.
    pub(crate) fn is_finished(&self) -> bool {
        // Acquire, paired with the Release store in `finish`: see there.
        self.finished.load(at("pool: whether the last pass is over", Acquire)) != 0
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("rings", &self.rings.len())
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl Claim {
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Release, paired with the drain's Acquire load in `refresh`: a drain that sees the ring
        // ending also sees its last record.
        self.pool.rings[self.ring_index]
            .state
            .store(ENDING, at("pool: a ring is given back", Release));
        self.pool.wake_drain();
    }
}

#[cfg(all(test, tailwatch_loom))]
mod models;
