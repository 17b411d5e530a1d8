//! A table of a shared file, as its program writes it.

use core::sync::atomic::AtomicU64;

use tailwatch_core::sync::{
    Ordering::{Relaxed, Release},
    at, fence_at,
};

use crate::shared::{
    layout::{WORD_BYTES, header, table},
    words::Words,
};

/// What a table consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableSpec {
    pub(super) kind: u64,
    /// The words of a row.
    pub(super) words: usize,
    /// The largest number of rows.
    pub(super) capacity: usize,
}

impl TableSpec {
    /// Returns the size of the table in words.
    pub(super) const fn all_words(&self) -> usize {
        self.words * self.capacity
    }
}

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// Its description in the header.
    description: Words<'static>,
    rows: Words<'static>,
    spec: TableSpec,
}

impl Table {
    /// Describes the table with this index in the header of `file`. Its rows begin at the word
    /// `first`.
    ///
    /// # Panics
    /// Panics if the file is too small for the table.
    pub(super) fn describe(
        file: Words<'static>,
        index: usize,
        first: usize,
        spec: TableSpec,
    ) -> Self {
        let at = header::TABLES + index * table::WORDS;
        let description = file.part(at, table::WORDS).expect("the header has room for the table");
        description.store(table::TYPE, spec.kind);
        description.store(table::OFFSET, (first * WORD_BYTES) as u64);
        description.store(table::STRIDE, (spec.words * WORD_BYTES) as u64);
        description.store(table::CAPACITY, spec.capacity as u64);
        let rows = file.part(first, spec.all_words()).expect("the file has room for the table");
        Self { description, rows, spec }
    }

    pub(super) fn capacity(&self) -> usize {
        self.spec.capacity
    }

    /// Returns a row.
    ///
    /// # Panics
    /// Panics if the table has no such row.
    pub(super) fn row(&self, index: usize) -> Words<'static> {
        self.find(index).expect("the table has the row")
    }

    /// Returns a row, if the table has it.
    pub(super) fn find(&self, index: usize) -> Option<Words<'static>> {
        self.rows.part(index.checked_mul(self.spec.words)?, self.spec.words)
    }

    /// Makes the first `rows` rows visible to readers.
    pub(super) fn publish(&self, rows: usize) {
        // Release, paired with the Acquire load of readers: they see the rows.
        self.description
            .at(table::PUBLISHED)
            .store(rows as u64, at("shared: rows are published", Release));
    }
}

/// Begins to write a row that has this generation: readers do not take it until [`complete`] was
/// called.
pub(super) fn begin(generation: &AtomicU64) {
    // That of a row that was begun and not completed is odd already.
    generation.store(generation.load(Relaxed) | 1, Relaxed);
    // Release, paired with the Acquire fence of a reader behind its copy of the row: a reader that
    // has copied a word of what follows sees the odd generation.
    fence_at("shared: a row is begun", Release);
}

/// Completes a row that was begun and has this generation.
pub(super) fn complete(generation: &AtomicU64) {
    // Release, paired with the Acquire load with which a reader begins its copy: it sees the row.
    let next = generation.load(Relaxed).wrapping_add(1);
    generation.store(next, at("shared: a row is complete", Release));
}
