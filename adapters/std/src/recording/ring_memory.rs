//! The memory of a ring, mapped from the operating system.

#![allow(unsafe_code, reason = "a ring is placed in mapped memory")]

use core::ptr::NonNull;
use std::io;

use memmap2::{MmapMut, MmapOptions};
use tailwatch_core::{CapacityError, Ring};

/// The memory of one ring.
///
/// Its pages are mapped and touched in advance. Otherwise the first record in each page would cause
/// a page fault. The kernel must not use transparent huge pages for it, because it stalls the
/// program while it assembles one.
#[derive(Debug)]
pub(crate) struct RingMemory {
    map: MmapMut,
    /// The capacity of the ring, in records.
    capacity: usize,
}

impl RingMemory {
    /// Maps and touches memory for a ring of `capacity` records.
    ///
    /// # Errors
    /// Returns an error if [`Ring::layout`] rejects the capacity, or if the operating system
    /// provides no memory.
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        let layout =
            Ring::layout(capacity).map_err(|CapacityError { .. }| io::ErrorKind::InvalidInput)?;
        let mut map = MmapOptions::new().len(layout.size()).map_anon()?;
        // The result is ignored, because only a kernel without transparent huge pages rejects the
        // advice.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::NoHugePage);
        // 4 KiB is the smallest page size. Larger pages are touched more than once, which is
        // harmless.
        for byte in map.iter_mut().step_by(4096) {
            *byte = 0;
        }
        Ok(Self { map, capacity })
    }

    /// Returns the size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.map.len()
    }

    /// Locks the pages in memory, so that the operating system cannot swap them out. Only Unix
    /// systems support it.
    pub(crate) fn lock(&self) -> io::Result<()> {
        #[cfg(unix)]
        return self.map.lock();
        #[cfg(not(unix))]
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns an upper bound of the bytes that [`lock`](Self::lock) counts against the process's
    /// limit of locked memory. The operating system counts whole pages, of at most 64 KiB.
    pub(crate) fn lockable_bytes(&self) -> usize {
        self.map.len().next_multiple_of(1 << 16)
    }

    /// Returns the ring.
    pub(crate) fn ring(&self) -> &Ring {
        let memory =
            NonNull::new(self.map.as_ptr().cast_mut()).expect("a mapping is not at address 0");
        // SAFETY: the mapping has the size of this capacity's layout, is aligned to a page, was
        // zeroed when it was created, and lives as long as `self` is borrowed. After `new`, it is
        // accessed only through the rings that this function returns.
        unsafe { Ring::from_memory(memory, self.capacity) }.expect("`new` checked the capacity")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_in_mapped_memory_delivers_its_newest_records() {
        let memory = RingMemory::new(1_024).unwrap();
        let (producer, mut consumer) =
            (memory.ring().attach_producer(), memory.ring().attach_consumer());
        for n in 0..2_000 {
            producer.push(tailwatch_core::Record::from_words([n, n]));
        }
        assert_eq!(consumer.refresh(), 2_000);
        let mut last = None;
        let drained = consumer.drain(|record| last = Some(record.ticks()));
        assert_eq!(last, Some(1_999));
        assert_eq!(drained.delivered + drained.overwritten, 2_000);
        assert!(RingMemory::new(1_000).is_err());
    }
}
