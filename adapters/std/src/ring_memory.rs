//! A ring in pages of its own, touched before anything is recorded.

#![allow(unsafe_code, reason = "a ring is laid over mapped memory")]

use core::ptr::NonNull;
use std::io;

use memmap2::{MmapMut, MmapOptions};
use tailwatch_core::{CapacityError, Ring};

/// The memory of one ring.
///
/// Its pages are mapped and touched in advance: the first record in a fresh page would pay for a page fault. They are kept
/// off transparent huge pages, which cost one long stall when the kernel puts them together.
#[derive(Debug)]
pub(crate) struct RingMemory {
    map: MmapMut,
    capacity: usize,
}

impl RingMemory {
    /// Memory for `capacity` records, which [`Ring::layout`] accepts.
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        let layout =
            Ring::layout(capacity).map_err(|CapacityError { .. }| io::ErrorKind::InvalidInput)?;
        let mut map = MmapOptions::new().len(layout.size()).map_anon()?;
        // A kernel without transparent huge pages refuses the advice, and does not need it.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::NoHugePage);
        // The smallest page there is; where pages are larger, some are touched twice.
        for byte in map.iter_mut().step_by(4096) {
            *byte = 0;
        }
        Ok(Self { map, capacity })
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.map.len()
    }

    /// Keeps its pages in memory: the operating system takes none of them away for something else.
    pub(crate) fn lock(&self) -> io::Result<()> {
        #[cfg(unix)]
        return self.map.lock();
        #[cfg(not(unix))]
        Err(io::ErrorKind::Unsupported.into())
    }

    /// How many bytes of what may be locked it takes at the most: whole pages, the largest of which are 64 KiB.
    pub(crate) fn lockable_bytes(&self) -> usize {
        self.map.len().next_multiple_of(1 << 16)
    }

    pub(crate) fn ring(&self) -> &Ring {
        let memory =
            NonNull::new(self.map.as_ptr().cast_mut()).expect("a mapping is not at address 0");
        // SAFETY: the mapping has the size of this capacity's layout, is page-aligned, came zeroed, lives as long as `self`
        // is borrowed, and after `new` is accessed only by rings made here.
        unsafe { Ring::from_memory(memory, self.capacity) }.expect("`new` checked the capacity")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_in_pages_works() {
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
