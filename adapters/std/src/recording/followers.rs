//! The followers of gates: where each recording thread has its copies of a gate. Whoever changes a
//! gate changes the copies of all threads with it.

#![allow(
    unsafe_code,
    reason = "a thread's copies are in its thread-local, which other threads write"
)]

use core::ptr::NonNull;

use tailwatch_core::{CopiedBytes, Gate};
use tailwatch_record::collecting::{IDS, RecorderCopies};

use crate::sync::{Mutex, MutexGuard, lock};

/// The copies of one thread, which follow a gate.
pub(crate) struct Follower {
    /// The address of the gate. It is only compared.
    gate: usize,
    copies: NonNull<RecorderCopies>,
}

// SAFETY: only `follow` is called through the pointer, which any thread may do, one
// at a time: the lock of the list is held.
unsafe impl Send for Follower {}

/// All threads whose recorders keep copies of a gate that they follow. Blocking: one lock guards
/// the list. A thread takes it when it gets copies that follow a gate and before they go, and so do
/// whoever changes a gate and a fork.
#[derive(Default)]
pub(crate) struct Followers {
    list: Mutex<Vec<Follower>>,
}

#[cfg(not(tailwatch_loom))]
static OF_THIS_PROCESS: Followers = Followers { list: Mutex::new(Vec::new()) };

impl Followers {
    /// Returns the followers in this process.
    #[cfg(not(tailwatch_loom))]
    pub(crate) fn of_this_process() -> &'static Self {
        &OF_THIS_PROCESS
    }

    /// Returns a new list: each execution of a model has its own.
    #[cfg(tailwatch_loom)]
    pub(crate) fn of_this_process() -> &'static Self {
        Box::leak(Box::default())
    }

    /// Makes `copies` follow `gate` until the returned value is dropped.
    ///
    /// # Safety
    ///
    /// `copies` must stay where they are, and be accessed only through shared references, until the
    /// returned value is dropped.
    pub(crate) unsafe fn follow(
        &'static self,
        gate: &Gate<IDS>,
        copies: NonNull<RecorderCopies>,
    ) -> Following {
        let mut list = self.lock();
        // The gate may have changed since it was copied, but does not while the lock is held.
        //
        // SAFETY: the caller keeps the copies valid.
        unsafe { copies.as_ref() }.follow(gate, None);
        list.push(Follower { gate: address(gate), copies });
        Following { followers: self, copies }
    }

    /// Calls `change` with the gate, then makes all of its copies follow it. Nothing else changes a
    /// gate at the same time.
    pub(crate) fn change(&self, gate: &Gate<IDS>, change: impl FnOnce(&Gate<IDS>)) {
        let list = self.lock();
        let before = CopiedBytes::of(gate);
        change(gate);
        for follower in list.iter().filter(|follower| follower.gate == address(gate)) {
            // SAFETY: the caller of `follow` keeps the copies valid until its `Following` is
            // dropped, which takes the lock and removes them from the list.
            unsafe { follower.copies.as_ref() }.follow(gate, Some(&before));
        }
    }

    /// Locks the list.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Follower>> {
        lock(&self.list)
    }
}

fn address(gate: &Gate<IDS>) -> usize {
    core::ptr::from_ref(gate).addr()
}

/// Keeps the copies of one thread in the list. Dropping it removes them.
pub(crate) struct Following {
    followers: &'static Followers,
    copies: NonNull<RecorderCopies>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.followers.lock().retain(|follower| follower.copies != self.copies);
    }
}
