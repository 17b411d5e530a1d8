//! The memory of a ring, mapped from the operating system or from a shared file.

#![allow(unsafe_code, reason = "a ring is placed in mapped memory, whose pages are given back")]

use core::ptr::NonNull;
use std::{io, sync::Arc};

use memmap2::{MmapMut, MmapOptions};
use tailwatch_core::{CapacityError, Ring};

use super::ring_budget::{Purpose, RingBudget, Taken};
use crate::shared::writer::SharedRing;

/// The memory of one ring.
///
/// Its pages are mapped and touched in advance. Otherwise the first record in each page would cause
/// a page fault. The kernel must not use transparent huge pages for it, because it stalls the
/// program while it assembles one.
#[derive(Debug)]
pub(crate) struct RingMemory {
    /// The ring in `place`.
    ring: NonNull<Ring>,
    place: Place,
}

/// Where the memory of a ring is.
#[derive(Debug)]
enum Place {
    /// In a mapping of its own, which only this process has.
    Private {
        map: MmapMut,
        /// Dropped after the mapping, because its bytes are in use until then.
        _taken: Taken,
    },
    Shared(SharedRing),
}

// SAFETY: `ring` is a reference to a ring, which is `Sync`, in the mapping.
unsafe impl Send for RingMemory {}

// SAFETY: as above.
unsafe impl Sync for RingMemory {}

impl RingMemory {
    /// Maps and touches memory for a ring of `capacity` records.
    ///
    /// # Errors
    /// Returns an error if [`Ring::layout`] rejects the capacity, if the budget does not allow it,
    /// or if the operating system provides no memory.
    pub(crate) fn new(
        capacity: usize,
        budget: &Arc<RingBudget>,
        purpose: Purpose,
    ) -> io::Result<Self> {
        let bytes = Self::bytes_of(capacity).ok_or(io::ErrorKind::InvalidInput)?;
        let taken = budget.take(bytes, purpose).ok_or(io::ErrorKind::QuotaExceeded)?;
        let mut map = MmapOptions::new().len(bytes).map_anon()?;
        // The results are ignored, because only a kernel that does not know the advice rejects it:
        // one without transparent huge pages, or Linux before 5.14. The second call touches all
        // pages at once, which is faster than the loop below.
        #[cfg(target_os = "linux")]
        let _ =
            (map.advise(memmap2::Advice::NoHugePage), map.advise(memmap2::Advice::PopulateWrite));
        // 4 KiB is the smallest page size. Larger pages are touched more than once, which is
        // harmless.
        for byte in map.iter_mut().step_by(4096) {
            *byte = 0;
        }
        let memory = NonNull::new(map.as_mut_ptr()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        // SAFETY: the mapping has the size of this capacity's layout, is aligned to a page and is
        // zeroed. It lives as long as `Self`, of which the ring is only borrowed, and is accessed
        // only through that ring from now on.
        let ring = unsafe { Ring::from_memory(memory, capacity) };
        let ring = ring.map_err(|CapacityError { .. }| io::ErrorKind::InvalidInput)?;
        Ok(Self { ring: NonNull::from_ref(ring), place: Place::Private { map, _taken: taken } })
    }

    /// Returns the memory of a ring in a shared file.
    pub(crate) fn shared(ring: SharedRing) -> Self {
        Self { ring: NonNull::from_ref(ring.ring()), place: Place::Shared(ring) }
    }

    /// Returns the ring as that of a shared file, if it is in one.
    pub(crate) fn as_shared(&self) -> Option<&SharedRing> {
        match &self.place {
            Place::Private { .. } => None,
            Place::Shared(ring) => Some(ring),
        }
    }

    /// Returns the size of a ring of `capacity` records in bytes, or `None` if no ring can have
    /// that capacity.
    pub(crate) fn bytes_of(capacity: usize) -> Option<usize> {
        Ring::layout(capacity)
            .map_or_else(|CapacityError { .. }| None, |layout| Some(layout.size()))
    }

    /// Returns the capacity in records.
    pub(crate) fn capacity(&self) -> usize {
        self.ring().capacity()
    }

    /// Locks the pages in memory, so that the operating system cannot swap them out. Only Unix
    /// systems support it.
    pub(crate) fn lock(&self) -> io::Result<()> {
        match &self.place {
            #[cfg(unix)]
            Place::Private { map, .. } => map.lock(),
            #[cfg(not(unix))]
            Place::Private { .. } => Err(io::ErrorKind::Unsupported.into()),
            Place::Shared(ring) => ring.lock(),
        }
    }

    /// Returns an upper bound of the bytes that [`lock`](Self::lock) counts against the process's
    /// limit of locked memory, for a ring of `capacity` records. The operating system counts whole
    /// pages, of at most 64 KiB.
    pub(crate) fn lockable_bytes(capacity: usize) -> usize {
        Self::bytes_of(capacity).unwrap_or(0).next_multiple_of(1 << 16)
    }

    /// Gives the pages back to the operating system, except those of the counters. What the slots
    /// held is lost. A record that is still written gets its page again, by a page fault. Does
    /// nothing with a ring in a shared file, which others may still read.
    pub(crate) fn release_slots(&self) {
        #[cfg(unix)]
        if let Place::Private { map, .. } = &self.place {
            // Locked pages cannot be given back. If they cannot be unlocked, they stay.
            let _ = map.unlock();
            let first_page = rustix::param::page_size();
            if let Some(rest @ 1..) = map.len().checked_sub(first_page) {
                // SAFETY: the pages hold slots, which are atomic integers. They read as 0 from now
                // on, which is a valid value, and nobody takes a record from them any more.
                let _ = unsafe {
                    map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, first_page, rest)
                };
            }
        }
    }

    /// Returns the ring.
    pub(crate) fn ring(&self) -> &Ring {
        // SAFETY: the pointer was made from a ring in the mapping, which lives as long as `self`.
        unsafe { self.ring.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(capacity: usize) -> io::Result<RingMemory> {
        RingMemory::new(capacity, &RingBudget::new(1 << 20), Purpose::First)
    }

    fn push(memory: &RingMemory, records: u64) {
        let producer = memory.ring().attach_producer();
        for n in 0..records {
            producer.push(tailwatch_core::Record::from_words([n, n]));
        }
    }

    #[test]
    fn a_ring_in_mapped_memory_delivers_its_newest_records() {
        let memory = memory(1_024).unwrap();
        let mut consumer = memory.ring().attach_consumer();
        push(&memory, 2_000);
        assert_eq!(consumer.refresh(), 2_000);
        let mut last = None;
        let drained = consumer.drain(|record| last = Some(record.ticks()));
        assert_eq!(last, Some(1_999));
        assert_eq!(drained.delivered + drained.overwritten, 2_000);
    }

    #[test]
    fn memory_beyond_the_budget_and_impossible_capacities_are_refused() {
        for capacity in [1_000, 1 << 16, usize::MAX / 2 + 1] {
            assert!(memory(capacity).is_err(), "{capacity}");
        }
        let budget = RingBudget::new(1 << 20);
        let ring = RingMemory::new(1 << 15, &budget, Purpose::First).unwrap();
        assert_eq!(Some(budget.in_use()), RingMemory::bytes_of(1 << 15));
        assert!(RingMemory::new(1 << 15, &budget, Purpose::First).is_err());
        drop(ring);
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn a_ring_keeps_its_counters_without_its_slots() {
        let memory = memory(4_096).unwrap();
        push(&memory, 3_000);
        memory.release_slots();
        push(&memory, 10);
        assert_eq!(memory.ring().pending(), 3_010);
    }
}
