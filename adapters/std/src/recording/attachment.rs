//! The attachment of a thread to its ring: which thread has which claim, and how a thread without
//! one gets it.
//!
//! The crate `tailwatch-record` has the recorder of each thread, in a thread-local without a
//! destructor, which can be used until the end of the thread. A second thread-local, here, owns the
//! claim on the ring, and gives the ring back when the thread ends.
//!
//! A span refers to neither. The end of a span looks up the recorder again. Therefore a span may
//! outlive the thread's claim, for example in another thread-local that is dropped later, and may
//! end on another thread.

#![allow(unsafe_code, reason = "references from a thread-local that an `Arc` keeps valid")]

use core::cell::RefCell;
use std::sync::{Arc, OnceLock};

use tailwatch_core::{EventId, Gate, fnv_1a};
use tailwatch_record::collecting::{
    self, AttachedCollector, Attempt, Collectors, IDS, OFF, ThreadClock, ThreadRing, WireHashes,
    set_collectors,
};

use super::{
    followers::{Followers, Following},
    identity::Identity,
    pool::{Claim, Pool},
    process,
};
use crate::{events::numbers, shared::machine};

/// A thread's claim on its ring. While it exists, the recorder of the thread writes into that ring.
struct Attachment {
    /// `None` if the recorder does not decide by copies of the pool's gate.
    following: Option<Following>,
    /// Gives the ring back when it is dropped, and keeps the pool alive until then.
    #[cfg_attr(any(not(unix), tailwatch_loom), allow(dead_code, reason = "nothing forks"))]
    claim: Claim,
}

impl Attachment {
    /// Attaches the current thread to the ring of `claim`. The thread must not have another
    /// attachment.
    ///
    /// # Panics
    /// Panics if the lane of the claim has no ring, which it always has.
    fn new(claim: Claim) -> Self {
        let pool: *const Pool = Arc::as_ptr(claim.pool());
        // SAFETY: the recorder refers to the pool only as long as the `Attachment` of the claim,
        // which keeps the pool alive, is not dropped: its drop detaches the recorder first.
        let pool: &'static Pool = unsafe { &*pool };
        let lane = pool.lane(claim.lane_index);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the number will do")]
        let seed = claim.number as u32;
        let ring = ThreadRing {
            producer: lane.producer().expect("a claimed lane has a ring"),
            larger_ring: lane.larger_ring(),
            collector: pool,
            seed,
        };
        // SAFETY: the pool and the ring of its lane live until the attachment is dropped, which
        // detaches the recorder. No other thread refers to the copies: a former attachment was
        // dropped, and its `following` with it.
        unsafe { collecting::attach(ring) };
        let following = collecting::copies().map(|copies| {
            // SAFETY: the copies stay where they are until the thread ends, after the attachment
            // was dropped. They are replaced only here, in the drop, where `following` is dropped
            // first, and in the child of a fork, which has no followers.
            unsafe { Followers::of_this_process().follow(pool.gate(), copies) }
        });
        Self { following, claim }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.following = None;
        // The claim is dropped after this function, because the recorder refers to its pool and
        // ring.
        //
        // SAFETY: nothing follows the copies any more.
        unsafe { collecting::detach() };
    }
}

thread_local! {
    /// The attachment of this thread to a ring, which is dropped when the thread ends.
    static ATTACHMENT: RefCell<Option<Attachment>> = const { RefCell::new(None) };
}

/// Makes this thread record into the ring of `claim`. Gives back the ring that the thread had
/// before, if any.
///
/// Does nothing and returns `false` if the thread is ending and can no longer own a claim.
fn adopt(claim: Claim) -> bool {
    ATTACHMENT
        .try_with(|attachment| {
            // The former attachment is dropped before the new one is made. Dropping may free the
            // pool. If the program's allocator records that, the thread has another attachment
            // then, which must be dropped too.
            while let Some(former) = attachment.take() {
                drop(former);
            }
            attachment.replace(Some(Attachment::new(claim)));
        })
        .is_ok()
}

/// Returns whether this thread can still own a claim. A thread that is ending cannot once its
/// `ATTACHMENT` has been dropped.
fn can_adopt() -> bool {
    ATTACHMENT.try_with(|_| ()).is_ok()
}

/// Returns whether this thread is ending and can no longer have a ring.
pub(crate) fn is_ending() -> bool {
    !can_adopt()
}

/// Detaches this thread, the only one of a child process, from its ring, which the parent has.
#[cfg(all(unix, not(tailwatch_loom)))]
pub(crate) fn detach_in_child() {
    // A thread without a ring may not have an `ATTACHMENT` yet, which would need memory.
    if collecting::attached_to().is_none() {
        return;
    }
    // Forgotten and not dropped: the drop could free the pool, in a process of which another thread
    // may have held the allocator's locks.
    let attachment =
        core::mem::ManuallyDrop::new(ATTACHMENT.try_with(RefCell::take).ok().flatten());
    // SAFETY: the child has no other thread.
    unsafe { collecting::detach() };
    if let Some(attachment) = &*attachment {
        process::count_on(attachment.claim.pool());
    }
}

/// Gives the current thread a ring of `pool` under this name, in place of the ring that it has. A
/// thread that already has a ring of `pool` keeps that ring and its name.
///
/// Returns `false` if the thread got no ring.
pub(crate) fn register(pool: &Arc<Pool>, name: &str) -> bool {
    if OFF || collecting::attached_to() == Some(Arc::as_ptr(pool).cast()) {
        return true;
    }
    if !can_adopt() {
        return false;
    }
    pool.claim(|| Identity::named(name.into())).is_some_and(adopt)
}

/// Gives this thread a ring of `pool`, and returns whether there was one.
fn take_ring(pool: &Arc<Pool>) -> bool {
    can_adopt() && pool.claim(Identity::of_current).is_some_and(adopt)
}

impl AttachedCollector for Pool {
    fn gate(&self) -> &Gate<IDS> {
        self.gate()
    }

    fn clock(&self) -> ThreadClock {
        self.clock().for_threads()
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped()
    }

    fn is_finished(&self) -> bool {
        self.is_finished()
    }

    fn count_unregistered(&self, records: usize) {
        self.count_unregistered(records);
    }
}

/// Makes threads that have no ring look for one in the installed collector of this process.
pub(crate) fn serve_threads() {
    set_collectors(&Installed);
}

/// Returns the hash of what identifies the present boot of this machine, which is read once.
fn machine_hash() -> Option<u64> {
    static HASH: OnceLock<Option<u64>> = OnceLock::new();
    *HASH.get_or_init(|| machine::boot_id().map(|id| fnv_1a(&id)))
}

/// The collector that is installed, if any.
struct Installed;

impl Collectors for Installed {
    /// Takes no lock unless the thread may get a ring.
    #[cold]
    fn attach_for_record(&self, event: EventId, records: usize, has_ring: bool) -> Attempt {
        let installed = process::installed();
        match &*installed {
            Some(pool) if !pool.is_stopped() => {
                if !pool.gate().admits(event) {
                    // Records are not counted while recording is switched off. But the collector
                    // may have stopped since the check above.
                    if pool.is_stopped() {
                        pool.count_unregistered(records);
                    }
                } else if take_ring(pool) {
                    return Attempt::Attached;
                } else {
                    pool.count_unregistered(records);
                }
                Attempt::Settled
            }
            // Either the stopped collector of this thread counts the records, or the installed one
            // does. If there is neither, the program has no collector.
            Some(pool) if !has_ring => {
                pool.count_unregistered(records);
                Attempt::Settled
            }
            _ => Attempt::NotCounted,
        }
    }

    #[cold]
    fn attach_for_end(&self) -> bool {
        process::installed().as_ref().is_some_and(|pool| !pool.is_stopped() && take_ring(pool))
    }

    fn is_recording(&self) -> bool {
        let installed = process::installed();
        installed.as_ref().is_some_and(|pool| pool.gate().is_enabled() && !pool.is_inherited())
    }

    fn installed_clock(&self) -> Option<ThreadClock> {
        process::installed().as_ref().map(|pool| pool.clock().for_threads())
    }

    #[cold]
    fn wire_hashes(&self, event: EventId) -> Option<WireHashes> {
        let boot = machine_hash()?;
        Some(WireHashes { event: numbers::name_hash(event)?, boot })
    }

    #[cold]
    fn lose_end(&self, event: EventId, start: u64) {
        process::announce_lost_end(event, start, None);
    }
}
