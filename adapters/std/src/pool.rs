//! The rings of a collector, and which thread has which ring.
//!
//! A ring is *free*, *active* or *ending*. An active ring belongs to one thread. An ending ring
//! belonged to a thread that has ended, but its last records are not drained yet. A thread changes
//! its ring from free to active and from active to ending. Only the drain changes a ring from
//! ending to free, after it has delivered the last record. Every record that the drain finds in a
//! ring was therefore written by the thread whose name the ring has.
//!
//! The locks order what one holder of a ring does before what the next holder does. The table lists
//! all other orderings:
//!
//! | place | ordering | partner | what breaks without it | model |
//! |---|---|---|---|---|
//! | `pool: a ring is given back` | the thread, `state` store, Release | the drain, `state` load, Acquire | the drain sees that the thread has ended, but misses its last records, and attributes them to the ring's next thread | `a_ring_goes_from_thread_to_thread` |
//! | `pool: whether its thread is gone` | the drain, `state` load, Acquire | the thread, `state` store, Release | the same | `a_ring_goes_from_thread_to_thread` |
//! | `pool: the gate closes for good` | `stop`, fence before the gate is closed, Release | `is_stopped`, fence, Acquire | a record that the closed gate rejected is not counted | `a_thread_that_finds_the_gate_closed_sees_the_stop` |
//! | `pool: the gate was found closed` | `is_stopped`, fence after the gate was read, Acquire | `stop`, fence, Release | the same | `a_thread_that_finds_the_gate_closed_sees_the_stop` |
//! | `pool: stopping` | `stop`, `stopped` store, Release | the drain, `stopped` load, Acquire | the last pass misses a record from before `stop` | `the_last_pass_delivers_every_record_from_before_the_stop` |
//! | `pool: whether the next pass is the last` | the drain, `stopped` load, Acquire | `stop`, `stopped` store, Release | the same | `the_last_pass_delivers_every_record_from_before_the_stop` |
//! | `pool: the last pass is over` | the drain, `finished` store, Release | `is_finished`, Acquire | records that the last pass delivered are also counted as unregistered | `records_after_the_last_pass_are_counted` |
//! | `pool: whether the last pass is over` | `is_finished`, Acquire | the drain, `finished` store, Release | the same | `records_after_the_last_pass_are_counted` |
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

use crate::{
    HostClock,
    ring_memory::RingMemory,
    sync::{Condvar, Mutex, lock},
};

const FREE: u8 = 0;
const ACTIVE: u8 = 1;
const ENDING: u8 = 2;

/// The size of the gate: one word for every event id that a record can have, so that the hot path
/// needs no bounds check.
///
/// It is 2 under the model checker, which tracks every word as an object of its own and needs no
/// more.
pub(crate) const IDS: usize = if cfg!(tailwatch_loom) { 2 } else { EventId::MAX as usize + 1 };

/// A ring, its state, and the name of the thread that has or last had it.
#[derive(Debug)]
struct Slot {
    memory: RingMemory,
    /// [`FREE`], [`ACTIVE`] or [`ENDING`].
    state: AtomicU8,
    thread_name: Mutex<Arc<str>>,
}

/// What the recording threads and the drain of a collector share.
pub(crate) struct Pool {
    slots: Box<[Slot]>,
    /// The numbers of the free slots.
    free: Mutex<Vec<usize>>,
    /// The length of `free`, readable without the lock.
    free_rings: AtomicUsize,
    /// Notified when a ring becomes free.
    freed: Condvar,
    gate: Gate<IDS>,
    /// Held while the gate is changed.
    gate_lock: Mutex<()>,
    /// By event id: not 0 while one of the event's limits is violated.
    breached: Box<[AtomicU8]>,
    /// Not 0 once the collector is stopped.
    stopped: AtomicU8,
    /// Not 0 once the last pass is over.
    finished: AtomicU8,
    /// Records that went into no ring.
    unregistered: AtomicUsize,
    /// The records in `unregistered` that would have ended a span.
    lost_ends: AtomicUsize,
    clock: HostClock,
    drain_thread: OnceLock<Thread>,
}

/// A thread's claim on a ring of the pool. Dropping it gives the ring back.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) slot: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// Creates a pool of `rings` rings of `capacity` records each, and touches the pages of the
    /// rings.
    pub(crate) fn new(rings: usize, capacity: usize, clock: HostClock) -> io::Result<Self> {
        let slot = |_| {
            let memory = RingMemory::new(capacity)?;
            Ok(Slot { memory, state: AtomicU8::new(FREE), thread_name: Mutex::new(Arc::from("")) })
        };
        Ok(Self {
            slots: (0..rings).map(slot).collect::<io::Result<_>>()?,
            free: Mutex::new((0..rings).rev().collect()),
            free_rings: AtomicUsize::new(rings),
            freed: Condvar::new(),
            gate: Gate::new(),
            gate_lock: Mutex::new(()),
            breached: (0..IDS).map(|_| AtomicU8::new(0)).collect(),
            stopped: AtomicU8::new(0),
            finished: AtomicU8::new(0),
            unregistered: AtomicUsize::new(0),
            lost_ends: AtomicUsize::new(0),
            clock,
            drain_thread: OnceLock::new(),
        })
    }

    /// Locks all rings in memory.
    pub(crate) fn lock_memory(&self) -> io::Result<()> {
        self.slots.iter().try_for_each(|slot| slot.memory.lock())
    }

    /// Returns an upper bound of the bytes that [`lock_memory`](Self::lock_memory) counts against
    /// the limit of locked memory.
    pub(crate) fn lockable_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.memory.lockable_bytes()).sum()
    }

    pub(crate) fn gate(&self) -> &Gate<IDS> {
        &self.gate
    }

    /// Calls `update` with the gate, under a lock that admits one thread at a time. Does nothing
    /// once the collector is stopped, because a stopped collector stays off.
    pub(crate) fn update_gate(&self, update: impl FnOnce(&Gate<IDS>)) {
        let _updating = lock(&self.gate_lock);
        if !self.is_stopped() {
            update(&self.gate);
        }
    }

    /// Whether a limit of this event is violated, as of the last pass.
    #[inline]
    pub(crate) fn is_breached(&self, id: EventId) -> bool {
        // Relaxed: the flag guards no other memory.
        self.breached[usize::from(id.get())].load(Relaxed) != 0
    }

    pub(crate) fn set_breached(&self, id: EventId, breached: bool) {
        self.breached[usize::from(id.get())].store(u8::from(breached), Relaxed);
    }

    pub(crate) fn clock(&self) -> HostClock {
        self.clock
    }

    pub(crate) fn rings(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn ring(&self, slot: usize) -> &Ring {
        self.slots[slot].memory.ring()
    }

    /// The size of the pool with its rings, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.slots.iter().map(|slot| size_of::<Slot>() + slot.memory.bytes()).sum::<usize>()
    }

    /// Sets the drain's thread, which is woken when a thread takes a ring or gives it back.
    pub(crate) fn set_drain_thread(&self, thread: Thread) {
        // The result is ignored because a collector starts at most one such thread.
        let _ = self.drain_thread.set(thread);
    }

    fn wake_drain(&self) {
        if let Some(thread) = self.drain_thread.get() {
            thread.unpark();
        }
    }

    /// Takes a free ring for the current thread, whose name the closure `name` returns. Returns
    /// `None` if no ring is free.
    ///
    /// Does not wait for a ring. It only blocks while another thread holds the lock of the list of
    /// free rings.
    pub(crate) fn claim(self: &Arc<Self>, name: impl FnOnce() -> Arc<str>) -> Option<Claim> {
        // Relaxed: this check only avoids the lock. A thread that reads an outdated 0 checks again
        // with its next record.
        if self.free_rings.load(Relaxed) == 0 {
            return None;
        }
        let slot = self.pop_free(&mut lock(&self.free))?;
        Some(self.activate(slot, name))
    }

    /// Takes a ring as [`claim`](Self::claim) does, but waits up to 500 ms if the rings of threads
    /// that have ended are about to become free.
    #[cfg(not(tailwatch_loom))]
    pub(crate) fn claim_or_wait(
        self: &Arc<Self>,
        name: impl FnOnce() -> Arc<str>,
    ) -> Option<Claim> {
        const MAX_WAIT: Duration = Duration::from_millis(500);
        let ending =
            |_: &mut Vec<usize>| self.slots.iter().any(|slot| slot.state.load(Relaxed) == ENDING);
        let free = lock(&self.free);
        let free =
            self.freed.wait_timeout_while(free, MAX_WAIT, |free| free.is_empty() && ending(free));
        let slot = self.pop_free(&mut free.unwrap_or_else(std::sync::PoisonError::into_inner).0)?;
        Some(self.activate(slot, name))
    }

    /// Does not wait, because the model checker does not model time.
    #[cfg(tailwatch_loom)]
    pub(crate) fn claim_or_wait(
        self: &Arc<Self>,
        name: impl FnOnce() -> Arc<str>,
    ) -> Option<Claim> {
        self.claim(name)
    }

    fn pop_free(&self, free: &mut Vec<usize>) -> Option<usize> {
        let slot = free.pop();
        self.free_rings.store(free.len(), Relaxed);
        slot
    }

    fn activate(self: &Arc<Self>, slot: usize, name: impl FnOnce() -> Arc<str>) -> Claim {
        *lock(&self.slots[slot].thread_name) = name();
        // Relaxed: the drain reads the name only after it has found a record in the ring, and the
        // name was set before that record was written.
        self.slots[slot].state.store(ACTIVE, Relaxed);
        self.wake_drain();
        Claim { slot, pool: Arc::clone(self) }
    }

    /// Returns the name of the thread that has or last had the ring.
    pub(crate) fn thread_name(&self, slot: usize) -> Arc<str> {
        Arc::clone(&lock(&self.slots[slot].thread_name))
    }

    /// Whether the ring is active or ending.
    pub(crate) fn is_taken(&self, slot: usize) -> bool {
        self.slots[slot].state.load(Relaxed) != FREE
    }

    /// Refreshes the ring's consumer, so that its pending records are up to date. Returns whether
    /// the ring is ending, in which case these are the last records of its thread.
    pub(crate) fn refresh(&self, slot: usize, consumer: &mut Consumer<'_>) -> bool {
        // Acquire, paired with the Release store in the drop of `Claim`: if the thread has given
        // the ring back, the refresh below sees its last record. This is why the refresh comes
        // second.
        let state = self.slots[slot].state.load(at("pool: whether its thread is gone", Acquire));
        consumer.refresh();
        state == ENDING
    }

    /// Makes an ending ring free, after the drain has delivered its last record.
    pub(crate) fn release(&self, slot: usize) {
        // The lock orders what the drain did with the ring before what its next thread does. It
        // also makes the change of the state and the push one step for `claim_or_wait`, which would
        // otherwise miss a ring between the two and stop waiting.
        let mut free = lock(&self.free);
        self.slots[slot].state.store(FREE, Relaxed);
        free.push(slot);
        self.free_rings.store(free.len(), Relaxed);
        drop(free);
        self.freed.notify_one();
    }

    /// Closes the gate for good, and makes the drain's next pass its last.
    pub(crate) fn stop(&self) {
        let _updating = lock(&self.gate_lock);
        // Release, paired with the Acquire load in `is_stopping`: the last pass sees everything
        // recorded before this call.
        self.stopped.store(1, at("pool: stopping", Release));
        // Release, paired with the Acquire fence in `is_stopped`: a thread that finds the gate
        // closed by this call also sees `stopped`, and so counts its records.
        fence_at("pool: the gate closes for good", Release);
        self.gate().close();
    }

    /// Whether the collector has stopped. Called after the gate rejected an event, it returns
    /// whether the gate is closed for good.
    pub(crate) fn is_stopped(&self) -> bool {
        // Acquire, paired with the Release fence in `stop`: see there.
        fence_at("pool: the gate was found closed", Acquire);
        self.stopped.load(Relaxed) != 0
    }

    /// Whether the next pass is the last.
    pub(crate) fn is_stopping(&self) -> bool {
        // Acquire, paired with the Release store in `stop`: see there.
        self.stopped.load(at("pool: whether the next pass is the last", Acquire)) != 0
    }

    /// Counts records that are never delivered, because their thread has no ring or the collector
    /// has stopped.
    pub(crate) fn count_unregistered(&self, records: usize) {
        self.unregistered.fetch_add(records, Relaxed);
    }

    /// Counts an undelivered record that would have ended a span.
    pub(crate) fn count_lost_end(&self) {
        self.lost_ends.fetch_add(1, Relaxed);
        self.count_unregistered(1);
    }

    /// Returns the number of undelivered records that would have ended a span.
    pub(crate) fn lost_ends(&self) -> usize {
        self.lost_ends.load(Relaxed)
    }

    /// Returns the number of records that are never delivered. After the last pass this includes
    /// records that still went into a ring, such as the END of a span that was open at the stop.
    pub(crate) fn unregistered(&self) -> u64 {
        let pushed_late = if self.is_finished() {
            self.slots.iter().map(|slot| slot.memory.ring().pending()).sum()
        } else {
            0
        };
        (self.unregistered.load(Relaxed) + pushed_late) as u64
    }

    /// Marks the last pass as over. Nothing is drained afterwards.
    pub(crate) fn finish(&self) {
        // Release, paired with the Acquire load in `is_finished`: whoever sees the flag also sees
        // how far the last pass drained each ring, and so does not count delivered records as
        // pending.
        self.finished.store(1, at("pool: the last pass is over", Release));
    }

    /// Whether the last pass is over.
    pub(crate) fn is_finished(&self) -> bool {
        // Acquire, paired with the Release store in `finish`: see there.
        self.finished.load(at("pool: whether the last pass is over", Acquire)) != 0
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("rings", &self.slots.len())
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
        self.pool.slots[self.slot].state.store(ENDING, at("pool: a ring is given back", Release));
        self.pool.wake_drain();
    }
}

#[cfg(all(test, tailwatch_loom))]
mod models;
