//! The rings in a shared file: which there are, and which of them nobody has.
//!
//! A ring keeps its place for ever. One that nobody has any more goes to the next thread that needs
//! a ring of its capacity, which continues it.

use std::{collections::HashMap, fs::File};

use rustix::fs::{FallocateFlags, fallocate};
use tailwatch_core::Ring;

use super::{mapping::Mapping, table::Table};
use crate::{
    recording::ring_budget::Purpose,
    shared::layout::{MAX_RINGS, ring},
};

/// The part of the file that is for rings.
#[derive(Debug)]
pub(super) struct RingArea {
    table: Table,
    /// The offset in bytes at which the next ring begins.
    next: usize,
    /// The offset at which the area began, and that at which it ends.
    first: usize,
    end: usize,
    /// The rings that nobody has, by their capacity.
    unused: HashMap<usize, Vec<usize>>,
    /// Where each ring is, and its capacity.
    rings: Vec<(usize, usize)>,
}

impl RingArea {
    /// Creates the area from `first` to `end`, which are multiples of the size of a page.
    pub(super) fn new(table: Table, first: usize, end: usize) -> Self {
        Self { table, next: first, first, end, unused: HashMap::new(), rings: Vec::new() }
    }

    /// Returns the size of a ring in the file in bytes, in whole pages.
    fn bytes(capacity: usize) -> Option<usize> {
        let bytes = Ring::layout(capacity).ok()?.size();
        bytes.checked_next_multiple_of(rustix::param::page_size())
    }

    /// Returns whether there is a ring of this capacity, or room for one. Growth may take three
    /// quarters of the area, as it may of the rings outside the file.
    pub(super) fn fits(&self, capacity: usize, purpose: Purpose) -> bool {
        if self.unused.get(&capacity).is_some_and(|unused| !unused.is_empty()) {
            return true;
        }
        let area = self.end - self.first;
        let limit = match purpose {
            Purpose::First => self.end,
            Purpose::Growth => self.first + area / 4 * 3,
        };
        let end = Self::bytes(capacity).and_then(|bytes| self.next.checked_add(bytes));
        self.rings.len() < self.table.capacity().min(MAX_RINGS)
            && end.is_some_and(|end| end <= limit)
    }

    /// Returns the index of a ring of this capacity, and whether it is new. `None` if there is no
    /// room in the file or in the file system.
    pub(super) fn take(
        &mut self,
        capacity: usize,
        purpose: Purpose,
        file: &File,
        mapping: &Mapping,
    ) -> Option<usize> {
        if let Some(index) = self.unused.get_mut(&capacity).and_then(Vec::pop) {
            return Some(index);
        }
        if !self.fits(capacity, purpose) {
            return None;
        }
        let (offset, bytes) = (self.next, Self::bytes(capacity)?);
        // Without the memory, the first write into a page would kill the program.
        fallocate(file, FallocateFlags::empty(), offset as u64, bytes as u64).ok()?;
        mapping.prefault(offset, bytes);
        self.next += bytes;
        let row = self.table.row(self.rings.len());
        row.store(ring::OFFSET, offset as u64);
        row.store(ring::CAPACITY, capacity as u64);
        row.store(ring::BYTES, Ring::layout(capacity).ok()?.size() as u64);
        self.rings.push((offset, capacity));
        self.table.publish(self.rings.len());
        Some(self.rings.len() - 1)
    }

    /// Returns the offset of a ring in bytes.
    pub(super) fn offset(&self, index: usize) -> usize {
        self.rings[index].0
    }

    /// Returns the capacity of a ring, in records.
    pub(super) fn ring_capacity(&self, index: usize) -> usize {
        self.rings[index].1
    }

    /// Takes back a ring that nobody has any more.
    pub(super) fn give_back(&mut self, index: usize) {
        let (_, capacity) = self.rings[index];
        self.unused.entry(capacity).or_default().push(index);
    }

    /// Returns how many bytes of the file are in use: those before the next ring.
    pub(super) fn bytes_in_use(&self) -> usize {
        self.next
    }
}
