//! The registry: where each recording thread keeps its copies of a gate. Whoever changes a gate
//! changes the copies of all threads with it.

#![allow(
    unsafe_code,
    reason = "a thread's copies are in its thread-local, which other threads write"
)]

use core::ptr::NonNull;

use tailwatch_core::{Gate, ThreadCopies};

use super::pool::IDS;
use crate::sync::{Mutex, MutexGuard, lock};

/// The copies of one thread.
pub(crate) struct Registered {
    /// The address of the gate that the copies follow. It is only compared.
    gate: usize,
    copies: NonNull<ThreadCopies>,
}

// SAFETY: only `ThreadCopies::follow` is called through the pointer, which any thread may do, one
// at a time: the registry's lock is held.
unsafe impl Send for Registered {}

/// All threads whose recorders keep copies of a gate. Blocking: one lock guards it, which a thread
/// takes when it gets a ring and when it gives the ring back, and whoever changes a gate.
#[derive(Default)]
pub(crate) struct Registry {
    threads: Mutex<Vec<Registered>>,
}

#[cfg(not(tailwatch_loom))]
static OF_THIS_PROCESS: Registry = Registry { threads: Mutex::new(Vec::new()) };

impl Registry {
    /// Returns the registry of this process.
    #[cfg(not(tailwatch_loom))]
    pub(crate) fn of_this_process() -> &'static Self {
        &OF_THIS_PROCESS
    }

    /// Returns a new registry: each execution of a model has its own.
    #[cfg(tailwatch_loom)]
    pub(crate) fn of_this_process() -> &'static Self {
        Box::leak(Box::default())
    }

    /// Makes `copies` follow `gate` until the returned registration is dropped.
    ///
    /// # Safety
    ///
    /// `copies` must stay where they are, and be accessed only through shared references, until the
    /// registration is dropped.
    pub(crate) unsafe fn register(
        &'static self,
        gate: &Gate<IDS>,
        copies: &ThreadCopies,
    ) -> Registration {
        let copies = NonNull::from_ref(copies);
        let mut threads = self.lock();
        // SAFETY: the reference that the pointer was just made from is still valid. The gate may
        // have changed since the copies were made, but does not change while the lock is held.
        unsafe { copies.as_ref() }.follow(gate);
        threads.push(Registered { gate: address(gate), copies });
        Registration { registry: self, copies }
    }

    /// Calls `change` with the gate, then makes all of its copies follow it. Nothing else changes a
    /// gate at the same time.
    pub(crate) fn change(&self, gate: &Gate<IDS>, change: impl FnOnce(&Gate<IDS>)) {
        let threads = self.lock();
        change(gate);
        for thread in threads.iter().filter(|thread| thread.gate == address(gate)) {
            // SAFETY: the caller of `register` keeps the copies valid until the registration is
            // dropped, which takes the lock and removes them from the list.
            unsafe { thread.copies.as_ref() }.follow(gate);
        }
    }

    /// Locks the list of all threads.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Registered>> {
        lock(&self.threads)
    }
}

fn address(gate: &Gate<IDS>) -> usize {
    core::ptr::from_ref(gate).addr()
}

/// The membership of one thread in a registry. Dropping it ends the membership.
pub(crate) struct Registration {
    registry: &'static Registry,
    copies: NonNull<ThreadCopies>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.lock().retain(|thread| thread.copies != self.copies);
    }
}
