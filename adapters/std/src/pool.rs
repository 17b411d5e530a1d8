//! The rings of a collector: which thread has which, and how they come back.
//!
//! A ring is *free*, or *active* for one thread, or *ending*: its thread is gone, but its last records are not drained.
//! The thread turns free into active and active into ending; only the drain turns ending into free, after it has delivered
//! the last record. So the name of a ring's thread is the right one for all that the drain finds in it.
//!
//! Its locks order what one holder of a ring did before what the next one does. The other orderings:
//!
//! | place | ordering | partner | what breaks without it | model |
//! |---|---|---|---|---|
//! | `pool: a ring is given back` | the thread, `state` store, Release | the drain, `state` load, Acquire | the drain finds the thread gone, but not its last records: the ring's next thread is blamed for them | `a_ring_goes_from_thread_to_thread` |
//! | `pool: whether its thread is gone` | the drain, `state` load, Acquire | the thread, `state` store, Release | the same | `a_ring_goes_from_thread_to_thread` |
//! | `pool: the gate closes for good` | `stop`, fence before the gate is turned, Release | `is_stopped`, fence, Acquire | a record that the closed gate turned away is not counted | `who_finds_the_gate_closed_knows_whether_it_is_for_good` |
//! | `pool: the gate was found closed` | `is_stopped`, fence after the gate was read, Acquire | `stop`, fence, Release | the same | `who_finds_the_gate_closed_knows_whether_it_is_for_good` |
//! | `pool: stopping` | `stop`, `stopped` store, Release | the drain, `stopped` load, Acquire | the last pass misses a record from before `stop` | `the_last_pass_finds_what_was_recorded_before_the_stop` |
//! | `pool: whether the next pass is the last` | the drain, `stopped` load, Acquire | `stop`, `stopped` store, Release | the same | `the_last_pass_finds_what_was_recorded_before_the_stop` |
//! | `pool: the last pass is over` | the drain, `finished` store, Release | `is_finished`, Acquire | what that pass delivered is counted as unregistered | `what_is_recorded_after_the_last_pass_is_counted` |
//! | `pool: whether the last pass is over` | `is_finished`, Acquire | the drain, `finished` store, Release | the same | `what_is_recorded_after_the_last_pass_is_counted` |
//!
//! `.ci/run loom` weakens one place after the other and requires that the model in its row fails. The models are in
//! `pool/models.rs`.

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
    sync::{Condvar, Mutex, MutexGuard, lock},
};

const FREE: u8 = 0;
const ACTIVE: u8 = 1;
const ENDING: u8 = 2;

/// A word for every id that a record can carry, so that the hot path needs no bound.
///
/// Two are enough for the model checker, to which each is an object.
pub(crate) const IDS: usize = if cfg!(tailwatch_loom) { 2 } else { EventId::MAX as usize + 1 };

#[derive(Debug)]
struct Slot {
    memory: RingMemory,
    state: AtomicU8,
    thread: Mutex<Arc<str>>,
}

/// What the threads that record and the drain share.
pub(crate) struct Pool {
    slots: Box<[Slot]>,
    free: Mutex<Vec<usize>>,
    /// As many as `free` has, to be looked at without the lock.
    free_rings: AtomicUsize,
    freed: Condvar,
    gate: Gate<IDS>,
    /// Held while a switch of the gate is turned.
    switches: Mutex<()>,
    /// Of each event, not 0 while one of its limits is violated.
    breached: Box<[AtomicU8]>,
    /// Not 0 once the collector is stopped.
    stopped: AtomicU8,
    /// Not 0 once the last pass is over.
    finished: AtomicU8,
    unregistered: AtomicUsize,
    /// Of those, the ones that would have closed a span.
    lost_ends: AtomicUsize,
    clock: HostClock,
    drain: OnceLock<Thread>,
}

/// A ring of the pool that belongs to one thread; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) slot: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// A pool of `rings` rings of `capacity` records, their pages touched.
    pub(crate) fn new(rings: usize, capacity: usize, clock: HostClock) -> io::Result<Self> {
        let slot = |_| {
            let memory = RingMemory::new(capacity)?;
            Ok(Slot { memory, state: AtomicU8::new(FREE), thread: Mutex::new(Arc::from("")) })
        };
        Ok(Self {
            slots: (0..rings).map(slot).collect::<io::Result<_>>()?,
            free: Mutex::new((0..rings).rev().collect()),
            free_rings: AtomicUsize::new(rings),
            freed: Condvar::new(),
            gate: Gate::new(),
            switches: Mutex::new(()),
            breached: (0..IDS).map(|_| AtomicU8::new(0)).collect(),
            stopped: AtomicU8::new(0),
            finished: AtomicU8::new(0),
            unregistered: AtomicUsize::new(0),
            lost_ends: AtomicUsize::new(0),
            clock,
            drain: OnceLock::new(),
        })
    }

    /// Locks the rings in memory.
    pub(crate) fn lock_memory(&self) -> io::Result<()> {
        self.slots.iter().try_for_each(|slot| slot.memory.lock())
    }

    /// How many bytes of what may be locked that takes.
    pub(crate) fn lockable_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.memory.lockable_bytes()).sum()
    }

    pub(crate) fn gate(&self) -> &Gate<IDS> {
        &self.gate
    }

    /// Turns switches of the gate, one thread after the other; not once the collector is stopped, which is for good.
    pub(crate) fn turn(&self, turn: impl FnOnce(&Gate<IDS>)) {
        let _turning = lock(&self.switches);
        if !self.is_stopped() {
            turn(&self.gate);
        }
    }

    /// Whether a limit of this event is violated.
    #[inline]
    pub(crate) fn is_breached(&self, id: EventId) -> bool {
        // Relaxed: it says nothing about other memory, and is obeyed as soon as it is seen.
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

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.slots.iter().map(|slot| size_of::<Slot>() + slot.memory.bytes()).sum::<usize>()
    }

    /// Whom to wake when a ring comes or goes.
    pub(crate) fn set_drain(&self, thread: Thread) {
        // There is one drain, so it is set once.
        let _ = self.drain.set(thread);
    }

    pub(crate) fn wake_drain(&self) {
        if let Some(thread) = self.drain.get() {
            thread.unpark();
        }
    }

    /// Takes a free ring for the current thread, without waiting; `None` if there is none. Blocks no longer than it takes
    /// another thread to take or give back a ring.
    pub(crate) fn claim(self: &Arc<Self>, thread: impl FnOnce() -> Arc<str>) -> Option<Claim> {
        // Relaxed: a glance that saves the lock; who sees an old 0 asks again with its next record.
        if self.free_rings.load(Relaxed) == 0 {
            return None;
        }
        let slot = self.take(&mut self.lock_free())?;
        Some(self.activate(slot, thread))
    }

    /// As [`claim`](Self::claim), but waits a while if rings of threads that ended are about to become free.
    #[cfg(not(tailwatch_loom))]
    pub(crate) fn claim_soon(self: &Arc<Self>, thread: impl FnOnce() -> Arc<str>) -> Option<Claim> {
        const PATIENCE: Duration = Duration::from_millis(500);
        let ending =
            |_: &mut Vec<usize>| self.slots.iter().any(|slot| slot.state.load(Relaxed) == ENDING);
        let free = self.lock_free();
        let free =
            self.freed.wait_timeout_while(free, PATIENCE, |free| free.is_empty() && ending(free));
        let slot = self.take(&mut free.unwrap_or_else(std::sync::PoisonError::into_inner).0)?;
        Some(self.activate(slot, thread))
    }

    /// The model checker knows no time.
    #[cfg(tailwatch_loom)]
    pub(crate) fn claim_soon(self: &Arc<Self>, thread: impl FnOnce() -> Arc<str>) -> Option<Claim> {
        self.claim(thread)
    }

    fn take(&self, free: &mut Vec<usize>) -> Option<usize> {
        let slot = free.pop();
        self.free_rings.store(free.len(), Relaxed);
        slot
    }

    fn activate(self: &Arc<Self>, slot: usize, thread: impl FnOnce() -> Arc<str>) -> Claim {
        *lock(&self.slots[slot].thread) = thread();
        // Relaxed: who finds a record in the ring sees the name, which was set before it.
        self.slots[slot].state.store(ACTIVE, Relaxed);
        self.wake_drain();
        Claim { slot, pool: Arc::clone(self) }
    }

    /// The name of the thread that has, or had, the ring.
    pub(crate) fn thread(&self, slot: usize) -> Arc<str> {
        Arc::clone(&lock(&self.slots[slot].thread))
    }

    /// Whether a thread has the ring, or had it and has left records.
    pub(crate) fn is_taken(&self, slot: usize) -> bool {
        self.slots[slot].state.load(Relaxed) != FREE
    }

    /// Has the ring's consumer look how far it is; whether the ring's thread is gone, so that this is the last of it.
    pub(crate) fn refresh(&self, slot: usize, consumer: &mut Consumer<'_>) -> bool {
        // Acquire, for the Release store of the thread that gave the ring back: the look sees its last record. So it comes
        // second.
        let state = self.slots[slot].state.load(at("pool: whether its thread is gone", Acquire));
        consumer.refresh();
        state == ENDING
    }

    /// The drain is done with a ring whose thread is gone.
    pub(crate) fn release(&self, slot: usize) {
        // The lock orders what the drain did with the ring before what its next thread does; and who holds it finds a ring that
        // is about to be free either on the list or still ending.
        let mut free = self.lock_free();
        self.slots[slot].state.store(FREE, Relaxed);
        free.push(slot);
        self.free_rings.store(free.len(), Relaxed);
        drop(free);
        self.freed.notify_one();
    }

    fn lock_free(&self) -> MutexGuard<'_, Vec<usize>> {
        lock(&self.free)
    }

    /// Closes the gate for good, and has the drain make its last pass.
    pub(crate) fn stop(&self) {
        let _turning = lock(&self.switches);
        // Release, for the Acquire load in `is_stopping`: the last pass sees what was recorded before.
        self.stopped.store(1, at("pool: stopping", Release));
        // Release, for the Acquire fence in `is_stopped`: who found the gate closed by this sees that it is for good.
        fence_at("pool: the gate closes for good", Release);
        self.gate().close();
    }

    /// Whether the gate, found closed, is closed for good.
    pub(crate) fn is_stopped(&self) -> bool {
        // Acquire, for the Release fence in `stop`.
        fence_at("pool: the gate was found closed", Acquire);
        self.stopped.load(Relaxed) != 0
    }

    /// Whether the next pass is the last.
    pub(crate) fn is_stopping(&self) -> bool {
        // Acquire, for the Release store in `stop`.
        self.stopped.load(at("pool: whether the next pass is the last", Acquire)) != 0
    }

    /// Records that nobody will see, because their thread has no ring or the collector has stopped.
    pub(crate) fn count_unregistered(&self, records: usize) {
        self.unregistered.fetch_add(records, Relaxed);
    }

    /// A record that nobody will see would have closed a span.
    pub(crate) fn count_lost_end(&self) {
        self.lost_ends.fetch_add(1, Relaxed);
        self.count_unregistered(1);
    }

    /// How many such records there were.
    pub(crate) fn lost_ends(&self) -> usize {
        self.lost_ends.load(Relaxed)
    }

    /// Their number. Once the last pass is over, what still went into a ring, as the end of a span that was open, is among
    /// them.
    pub(crate) fn unregistered(&self) -> u64 {
        let pushed_late = if self.is_finished() {
            self.slots.iter().map(|slot| slot.memory.ring().pending()).sum()
        } else {
            0
        };
        (self.unregistered.load(Relaxed) + pushed_late) as u64
    }

    /// The last pass is over: nothing is drained any more.
    pub(crate) fn finish(&self) {
        // Release, for the Acquire load below: who sees it sees how far that pass drained.
        self.finished.store(1, at("pool: the last pass is over", Release));
    }

    pub(crate) fn is_finished(&self) -> bool {
        // Acquire, for the Release store in `finish`.
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
        // Release, for the drain's Acquire load in `look`.
        self.pool.slots[self.slot].state.store(ENDING, at("pool: a ring is given back", Release));
        self.pool.wake_drain();
    }
}

#[cfg(all(test, tailwatch_loom))]
mod models;
