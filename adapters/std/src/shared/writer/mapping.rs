//! The mapping of a shared file in the program that shares it.

#![allow(unsafe_code, reason = "the file is mapped and given to others as words and rings")]

use core::ptr::NonNull;
use std::{fs::File, io};

use memmap2::{Advice, MmapMut, MmapOptions};
use tailwatch_core::Ring;

use crate::shared::words::Words;

/// The mapping of a whole file.
#[derive(Debug)]
pub(super) struct Mapping {
    map: MmapMut,
    start: NonNull<u8>,
}

// SAFETY: the memory is accessed only as atomic words and through rings, which are `Sync`.
unsafe impl Send for Mapping {}

// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` bytes of the file.
    pub(super) fn new(file: &File, bytes: usize) -> io::Result<Self> {
        // SAFETY: only atomic words are accessed through the mapping, so a change by another
        // process is no undefined behaviour. That the file must not be truncated, the docs of
        // `Builder::share` state.
        let mut map = unsafe { MmapOptions::new().len(bytes).map_mut(file)? };
        // The result is ignored, because only a kernel that does not know the advice rejects it.
        let _ = map.advise(Advice::NoHugePage);
        let start = NonNull::new(map.as_mut_ptr()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { map, start })
    }

    /// Returns the words of the file.
    ///
    /// # Safety
    /// The mapping must outlive the result and its copies.
    pub(super) unsafe fn words(&self) -> Words<'static> {
        // SAFETY: the mapping begins at a page, has this size, and is accessed only as atomics.
        unsafe { Words::of_mapping(self.start, self.map.len()) }
    }

    /// Returns the ring at this offset.
    ///
    /// # Safety
    /// The mapping must outlive the result. The file has the ring at this offset, which is a
    /// multiple of the alignment of a ring.
    ///
    /// # Panics
    /// Panics if no ring can have this capacity.
    pub(super) unsafe fn ring(&self, offset: usize, capacity: usize) -> &'static Ring {
        let bytes = Ring::layout(capacity).map_or(usize::MAX, |layout| layout.size());
        assert!(
            offset.checked_add(bytes).is_some_and(|end| end <= self.map.len()),
            "a ring lies in its file"
        );
        // SAFETY: the ring lies in the mapping, as checked above. The caller guarantees the rest.
        let ring = unsafe { Ring::from_memory(self.start.add(offset), capacity) };
        ring.expect("the ring was made with this capacity")
    }

    /// Touches pages that the file system has allocated, so that recording causes no page fault.
    pub(super) fn prefault(&self, offset: usize, bytes: usize) {
        // It fails on Linux before 5.14. Then the pages are touched below.
        let _ = self.map.advise_range(Advice::PopulateWrite, offset, bytes);
        // SAFETY: the result does not leave this function.
        let words = unsafe { self.words() };
        let page = rustix::param::page_size();
        for at in (offset..offset + bytes).step_by(page) {
            // The memory of a new ring is zero.
            words.store(at / size_of::<u64>(), 0);
        }
    }

    /// Locks a part in memory.
    pub(super) fn lock(&self, offset: usize, bytes: usize) -> io::Result<()> {
        assert!(offset + bytes <= self.map.len(), "a ring lies in its file");
        // SAFETY: the range lies in the mapping. Locking does not change what it contains.
        Ok(unsafe { rustix::mm::mlock(self.start.add(offset).as_ptr().cast(), bytes) }?)
    }
}
