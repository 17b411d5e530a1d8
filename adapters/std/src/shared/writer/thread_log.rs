//! The log of threads in a shared file: which thread had which ring, from which record on.
//!
//! A row belongs to one thread in one ring. It is used again once its thread has left the ring. The
//! rows that were left longest ago come first, so that they rarely have records left.
//!
//! Leaving a ring, and moving to another one, are wait-free: a thread does so between two records.
//! Taking a row locks.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::collections::VecDeque;

use super::table::{Table, begin, complete};
use crate::{
    recording::identity::Identity,
    shared::layout::thread,
    sync::{Mutex, lock},
};

/// The words of a row.
type Row = [AtomicU64; thread::WORDS];

/// The log of threads.
#[derive(Debug)]
pub(super) struct ThreadLog {
    table: Table,
    /// For each row, when its thread left the ring, as a number that grows until it wraps. 0 while
    /// it has the ring or the row is reserved.
    left: Box<[AtomicU32]>,
    /// How many threads have left a ring.
    leavings: AtomicU32,
    free: Mutex<FreeRows>,
}

/// The rows that can be taken.
#[derive(Debug, Default)]
struct FreeRows {
    /// No row from this one on was ever used.
    used: usize,
    /// Rows that were reserved and not used.
    returned: Vec<usize>,
    /// Rows whose threads have left their rings, longest ago first.
    left: VecDeque<usize>,
}

/// A row that was reserved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    /// The index of the row.
    pub(super) row: usize,
    /// How many records of the thread that had the row before lose their thread.
    pub(super) unknown_records: u64,
}

impl ThreadLog {
    pub(super) fn new(table: Table) -> Self {
        Self {
            left: (0..table.capacity()).map(|_| AtomicU32::new(0)).collect(),
            leavings: AtomicU32::new(0),
            free: Mutex::default(),
            table,
        }
    }

    /// Reserves a row. Returns `None` if threads that have their rings need all of them.
    /// `whole_from` returns the sequence number of the oldest record in a ring that is not
    /// overwritten.
    pub(super) fn reserve(&self, whole_from: impl Fn(usize) -> u64) -> Option<Reserved> {
        let mut free = lock(&self.free);
        let mut unknown_records = 0;
        let index = if let Some(index) = free.returned.pop() {
            index
        } else if free.used < self.table.capacity() {
            free.used += 1;
            free.used - 1
        } else {
            if free.left.is_empty() {
                free.left = self.left_rows();
            }
            let index = free.left.pop_front()?;
            let row = self.table.row(index);
            #[expect(clippy::cast_possible_truncation, reason = "sharing needs 64 bits")]
            let whole = whole_from(row.load(thread::RING) as usize).max(row.load(thread::FIRST));
            let rest = row.load(thread::LAST).wrapping_sub(whole);
            // Negative if all its records are overwritten.
            unknown_records = if rest > u64::MAX / 2 { 0 } else { rest };
            index
        };
        self.left[index].store(0, Relaxed);
        begin(self.table.row(index).at(thread::GENERATION));
        self.table.publish(free.used);
        Some(Reserved { row: index, unknown_records })
    }

    /// Returns the rows whose threads have left their rings, longest ago first.
    fn left_rows(&self) -> VecDeque<usize> {
        let left = self.left.iter().map(|left| left.load(Relaxed)).enumerate();
        let mut rows: Vec<_> =
            left.filter(|(_, left)| *left > 0).map(|(index, left)| (left, index)).collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, index)| index).collect()
    }

    /// Gives back a reserved row that was not used.
    pub(super) fn give_back(&self, row: usize) {
        lock(&self.free).returned.push(row);
    }

    /// Fills a reserved row for a thread whose records in this ring begin with number `first`.
    pub(super) fn enter(&self, row: usize, ring: usize, thread: &Identity, first: u64) {
        let words = self.table.row(row);
        words.store(thread::TID, thread.tid.unwrap_or(0));
        words.store_text(thread::NAME, &thread.name);
        words.store(thread::PREDECESSOR, 0);
        words.store(thread::PREDECESSOR_GENERATION, 0);
        if let Some(row) = self.row(row) {
            fill(row, ring, first);
            complete(&row[thread::GENERATION]);
        }
    }

    /// Returns a row. There always is one, but recording must not be able to panic.
    fn row(&self, row: usize) -> Option<&'static Row> {
        self.table.find(row)?.first()
    }

    /// Notes that the thread of a row has left the ring, before the record with number `last`.
    /// Wait-free.
    pub(super) fn leave(&self, row: usize, last: u64) {
        if let (Some(words), Some(left)) = (self.row(row), self.left.get(row)) {
            words[thread::LAST].store(last, Relaxed);
            let number = self.leavings.fetch_add(1, Relaxed).wrapping_add(1).max(1);
            left.store(number, Relaxed);
        }
    }

    /// Moves the thread of the row `from` to a reserved row for another ring, in which its records
    /// begin with number `first`. Wait-free.
    pub(super) fn go_on(&self, from: usize, to: usize, ring: usize, last: u64, first: u64) {
        let (Some(old), Some(new)) = (self.row(from), self.row(to)) else { return };
        new[thread::TID].store(old[thread::TID].load(Relaxed), Relaxed);
        for (new, old) in new[thread::NAME.at..].iter().zip(&old[thread::NAME.at..]) {
            new.store(old.load(Relaxed), Relaxed);
        }
        new[thread::PREDECESSOR].store(from as u64 + 1, Relaxed);
        let generation = old[thread::GENERATION].load(Relaxed);
        new[thread::PREDECESSOR_GENERATION].store(generation, Relaxed);
        fill(new, ring, first);
        // Before the new row is complete: whoever sees it sees where the old one ends.
        self.leave(from, last);
        complete(&new[thread::GENERATION]);
    }
}

fn fill(row: &Row, ring: usize, first: u64) {
    row[thread::RING].store(ring as u64, Relaxed);
    row[thread::FIRST].store(first, Relaxed);
    row[thread::LAST].store(thread::STILL_HAS_IT, Relaxed);
}
