//! What recording needs from the collectors of the process, which the crate `tailwatch` implements.

use std::sync::OnceLock;

use tailwatch_core::{EventId, Gate};

use crate::{clock::ThreadClock, thread_recorder::IDS};

/// The collector that a thread records into, as that thread sees it.
pub trait AttachedCollector: Sync {
    /// Returns the switches that decide which events are recorded.
    fn gate(&self) -> &Gate<IDS>;

    /// Returns the clock that the thread reads.
    fn clock(&self) -> ThreadClock;

    /// Returns whether the collector has stopped. After the gate has rejected an event, this is
    /// whether the gate is closed for good.
    fn is_stopped(&self) -> bool;

    /// Returns whether the collector will read nothing any more.
    fn is_finished(&self) -> bool;

    /// Counts records that the collector does not get.
    fn count_unregistered(&self, records: usize);
}

/// What became of records of a thread that has no ring, or one of a stopped collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The thread has a ring now, and can write them.
    Attached,
    /// They are not to be recorded, or were counted as unregistered.
    Settled,
    /// The stopped collector of the thread, if it has one, is to count them.
    NotCounted,
}

/// The collectors of the process, as a thread sees them that has no ring.
pub trait Collectors: Sync {
    /// Gives a ring of the installed collector to the current thread, which is about to write
    /// `records`, of which the first one begins a span of `event` or stands alone. The thread has
    /// no ring or, if `has_ring`, one of a stopped collector.
    ///
    /// This may run for every record: in an instrumented library whose program has no collector,
    /// and on a thread for which there is no ring.
    fn attach_for_record(&self, event: EventId, records: usize, has_ring: bool) -> Attempt;

    /// Gives a ring of the installed collector to the current thread, which is about to end a span.
    /// Returns whether the thread got one.
    fn attach_for_end(&self) -> bool;

    /// Returns whether the installed collector would record events that it has.
    fn is_recording(&self) -> bool;

    /// Returns the clock of the installed collector.
    fn installed_clock(&self) -> Option<ThreadClock>;

    /// Returns the hashes by which another process recognises an event and this machine. `None` if
    /// no collector of this process has the event, or if the machine cannot be recognised.
    fn wire_hashes(&self, event: EventId) -> Option<WireHashes>;

    /// Counts the END of a span that began at the tick `start`, on a thread without a ring. The END
    /// is lost.
    fn lose_end(&self, event: EventId, start: u64);
}

/// The FNV-1a hashes of 64 bits that a span carries to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireHashes {
    /// Of the UTF-8 bytes of the event's name with its labels.
    pub event: u64,
    /// Of the 16 bytes that identify the present boot of the machine.
    pub boot: u64,
}

/// The collectors of a process that has none yet.
struct NoCollectors;

impl Collectors for NoCollectors {
    fn attach_for_record(&self, _: EventId, _: usize, _: bool) -> Attempt {
        Attempt::NotCounted
    }

    fn attach_for_end(&self) -> bool {
        false
    }

    fn is_recording(&self) -> bool {
        false
    }

    fn installed_clock(&self) -> Option<ThreadClock> {
        None
    }

    fn wire_hashes(&self, _: EventId) -> Option<WireHashes> {
        None
    }

    fn lose_end(&self, _: EventId, _: u64) {}
}

static COLLECTORS: OnceLock<&'static dyn Collectors> = OnceLock::new();

/// Returns the collectors of the process.
#[inline]
pub(crate) fn collectors() -> &'static dyn Collectors {
    COLLECTORS.get().copied().unwrap_or(&NoCollectors)
}

/// Makes `collectors` those of the process. The first call decides, and later ones do nothing.
pub fn set_collectors(collectors: &'static dyn Collectors) {
    // A program with two versions of `tailwatch` has two of this crate as well.
    let _ = COLLECTORS.set(collectors);
}
