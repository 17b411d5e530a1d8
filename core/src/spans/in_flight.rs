//! The table of open spans: pairs STARTs with ENDs, counts the open spans of each event, and finds
//! the oldest open span.
//!
//! An END contains its tick and the duration, and so the tick at which its span began. A START and
//! an END are paired if they agree in event and start tick. Spans that agree in both are
//! interchangeable: they share one entry of the table, which counts them.
//!
//! Rings are drained one after the other. If a span begins on one thread and ends on another, its
//! END may therefore be drained before its START. Such an END is *early*. It waits in the table for
//! its START, until every ring has been drained at least up to the position that its producer had
//! reached when the END was drained. If the START has not arrived by then, it never will.
//!
//! The size of the table is fixed. In a full table, the event with the most open spans gives up its
//! youngest one to make room for a span of an event that has fewer: see
//! [`make_room`](OpenSpanTable::make_room). A START is *untracked* if it finds no room, gives up
//! its room, or finds the count of its entry saturated.
//!
//! An END that finds no START is counted when it has waited, or at once if the table has no room in
//! which it could wait. It is taken for the END of an untracked START of its event if there is one,
//! and is then paired with that START. Otherwise it is an *orphan*.
//!
//! When the drain notes that records were lost, all open spans become *uncertain*: their ENDs may
//! be among the lost records. An uncertain span is *abandoned* after a while, because it might
//! otherwise stay open for ever. So is a span at once if the caller knows that its END is lost.
//!
//! These equations hold for the drained records of each event that is measured in time, where ENDs
//! include FORGETs that close a span:
//!
//! | number of | equals |
//! |---|---|
//! | STARTs | paired + open + untracked + abandoned |
//! | ENDs | paired + early + orphans |
//!
//! There are two exceptions. A START with an impossible tick is ignored, and so is in no number: it
//! only counts as a [clock anomaly](crate::Counters::clock_anomalies). And in
//! [compact](crate::Compact) storage, the equations no longer hold once a number has saturated.
//!
//! Of the numbers on the right, all except `paired` are 0 at the end if every span ends, no record
//! is lost, the table never runs out of room, and no clock anomaly occurs.
//!
//! The table is a hash table with linear probing and deletion by backward shift (Knuth, TAOCP
//! volume 3, section 6.4, algorithm R): there are no tombstones, and an all-zero table is empty. In
//! compact storage, where flash may be scarce, a small table is searched from its first entry
//! instead.

use core::marker::PhantomData;

use super::pairing::{PackedPairing, count_without_start};
use crate::{repr::Repr, statistics::histogram::count::Count};

/// An entry of the table: the open spans, or the early ENDs, of one event and start tick. The entry
/// is empty if its `count` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct OpenSpan {
    /// The tick at which the spans began.
    pub(super) start: u64,
    /// For open spans: the tag of the START that arrived last. For early ENDs: 1 if the sample of
    /// any of them is an exemplar, which needs the tag of the START, and 0 otherwise.
    tag: u64,
    /// For open spans: one more than the tick at which they became uncertain, or 0 if they are not.
    /// For early ENDs: the number of the pass in which the last of them was drained.
    pub(super) mark: u64,
    /// The number of open spans or early ENDs; 0 if the entry is empty.
    pub(super) count: u32,
    /// The row of the event: its index in the arrays of the storage.
    pub(super) row: u16,
    /// Whether this entry is for early ENDs. Otherwise, it is for open spans.
    pub(super) early: bool,
    /// For open spans: each of them stands for 2^`sampling` occurrences of its event, as given by
    /// the START that arrived last.
    sampling: u8,
}

impl OpenSpan {
    /// An unused entry, as in an empty storage.
    pub const EMPTY: Self =
        Self { start: 0, tag: 0, mark: 0, count: 0, row: 0, early: false, sampling: 0 };

    /// Returns whether this is the entry of the given key, that is, of this row, start tick and
    /// kind (early ENDs or open spans).
    const fn matches(&self, row: u16, start: u64, early: bool) -> bool {
        self.count > 0 && self.row == row && self.start == start && self.early == early
    }
}

/// The state of the table, except for its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupancy {
    /// The number of used entries. `newest` counts as one of them, because there must be room for
    /// it in the table.
    pub(super) used: usize,
    /// The open span whose START was drained last, unless it is already in the table; otherwise
    /// empty. Most spans end before another one begins, and so never enter the table.
    newest: OpenSpan,
    /// The number of entries with early ENDs.
    early: usize,
    /// The number of entries with uncertain spans.
    uncertain: usize,
    /// No event that has several entries has more open spans in the table than this. Spans that
    /// enter the table increase this, but those that leave it do not decrease it. Compact storage
    /// does not use it.
    pub(super) most_open: u64,
    /// How often an event has given up room to another one.
    pub(super) given_up: usize,
}

impl Occupancy {
    /// Returns whether there are any open spans or early ENDs.
    pub(crate) const fn has_entries(&self) -> bool {
        self.used > 0
    }

    /// Returns how many entries wait to be removed when they are too old: those of early ENDs and
    /// of uncertain spans.
    pub(crate) const fn waiting_entries(&self) -> usize {
        self.early + self.uncertain
    }

    /// Returns how often an event has given up room to another one. Wraps around.
    pub(crate) const fn given_up(&self) -> usize {
        self.given_up
    }

    /// Notes that an event has this many open spans, including one that now enters the table.
    #[inline(always)]
    fn note_open(&mut self, open: u64) {
        self.most_open = self.most_open.max(open);
    }
}

/// The table of open spans, together with all state that its operations change.
#[derive(Debug)]
pub(crate) struct OpenSpanTable<'t, R, P> {
    /// The entries. Their number is a power of two or 0.
    pub(crate) table: &'t mut [OpenSpan],
    /// The state of the table, except for its entries.
    pub(crate) occupancy: &'t mut Occupancy,
    /// The states of all rows, which contain the [`PackedPairing`] of each event.
    pub(crate) rows: &'t mut [P],
    pub(crate) repr: PhantomData<R>,
}

/// The largest number of entries with which a table is searched linearly in compact storage.
const MAX_LINEAR_LEN: usize = 64;

impl<R: Repr, P: AsMut<PackedPairing<R::Counter>>> OpenSpanTable<'_, R, P> {
    /// Processes a START of the event in `row`, at tick `start`. The span stands for 2^`sampling`
    /// occurrences of the event. Returns whether the span's END arrived before and its exemplar
    /// [needs `tag`](Self::await_tag).
    ///
    /// Takes time linear in the number of entries that the search looks at: on average 2 or 3 in a
    /// table that is half full, about 32 in a full one. In compact storage, a small table may be
    /// searched completely.
    #[inline]
    pub(crate) fn start(&mut self, row: u16, start: u64, tag: u64, sampling: u8) -> bool {
        // The frequent case: there are no early ENDs that the START could be paired with, and no
        // uncertain spans with which the new span could share an entry.
        if !R::IS_COMPACT
            && self.occupancy.early == 0
            && self.occupancy.uncertain == 0
            && has_room(self.table, self.occupancy)
            && !self.is_count_full(row)
        {
            if self.occupancy.newest.count > 0 {
                self.spill_newest();
            }
            self.occupancy.newest =
                OpenSpan { start, tag, count: 1, row, sampling, ..OpenSpan::EMPTY };
            self.occupancy.used += 1;
            self.rows[usize::from(row)].as_mut().open.increment();
            return false;
        }
        self.pair(row, start, false, tag, sampling).is_some_and(|flag| flag > 0)
    }

    /// Returns whether the number of the event's open spans or early ENDs is saturated, which can
    /// only happen in compact storage.
    #[inline(always)]
    fn is_count_full(&mut self, row: u16) -> bool {
        let pairing = self.rows[usize::from(row)].as_mut();
        R::IS_COMPACT && pairing.open.max(pairing.early).get() == R::Counter::MAX
    }

    /// Moves the newest span into the table, if it is not there yet, so that it can be found there.
    pub(crate) fn spill_newest(&mut self) {
        let OpenSpan { start, tag, count, row, sampling, .. } = self.occupancy.newest;
        if R::IS_COMPACT || count == 0 {
            return;
        }
        self.occupancy.newest = OpenSpan::EMPTY;
        self.occupancy.used -= 1;
        let home = home_index(self.table.len(), row, start);
        if self.table[home].count == 0 {
            self.occupancy.used += 1;
            self.table[home] = OpenSpan { start, tag, count: 1, row, sampling, ..OpenSpan::EMPTY };
        } else if let Some(index) = insert::<R>(self.table, self.occupancy, row, start, false, true)
        {
            let entry = &mut self.table[index];
            entry.tag = tag;
            entry.sampling = sampling;
        } else {
            // The count of the entry is saturated. There is room, because `newest` had reserved it.
            let pairing = self.rows[usize::from(row)].as_mut();
            pairing.open.decrement();
            pairing.untracked.increment();
        }
        self.occupancy.note_open(self.rows[usize::from(row)].as_mut().open.get());
    }

    /// Returns whether a span whose END directly follows its START can be counted without accessing
    /// the table. This gives the same counts if no early END, which the START might be paired with,
    /// is in the table, and if the table has room for the START. Only the tag and the sampling
    /// exponent of another open span of the event that began at the same tick may differ.
    pub(crate) fn can_be_bypassed(&self) -> bool {
        self.occupancy.early == 0 && has_room(self.table, self.occupancy)
    }

    /// Processes an END or FORGET of the event in `row`, for a span that began at tick `start`.
    /// `pass` is the number of the current pass. Returns the span's tag; `None` if its START is not
    /// in the table.
    ///
    /// Takes as long as [`start`](Self::start).
    #[inline]
    pub(crate) fn end(&mut self, row: u16, start: u64, pass: u64) -> Option<u64> {
        if R::IS_COMPACT {
            return self.pair(row, start, true, pass, 0);
        }
        // The most frequent case: the span is the newest one.
        if self.occupancy.newest.matches(row, start, false) {
            let tag = self.occupancy.newest.tag;
            self.occupancy.newest = OpenSpan::EMPTY;
            self.count_closed(row);
            return Some(tag);
        }
        // The next most frequent case: the span is alone in the entry where the search for it
        // begins, and the next entry is empty, so no entry has to be shifted back.
        let index = home_index(self.table.len(), row, start);
        if let Some(entry) = self.table.get(index)
            && entry.matches(row, start, false)
            && entry.count == 1
            && entry.mark == 0
            && self.table[(index + 1) & (self.table.len() - 1)].count == 0
        {
            let tag = entry.tag;
            self.table[index] = OpenSpan::EMPTY;
            self.count_closed(row);
            return Some(tag);
        }
        self.pair(row, start, true, pass, 0)
    }

    /// Updates the counts for a span that has ended. Its entry is empty now.
    #[inline]
    fn count_closed(&mut self, row: u16) {
        self.occupancy.used -= 1;
        let pairing = self.rows[usize::from(row)].as_mut();
        pairing.open.decrement();
        pairing.paired.increment();
    }

    /// Pairs a START, or an END if `is_end`, with its counterpart, or stores it in the table. This
    /// is the general case of [`start`](Self::start) and [`end`](Self::end).
    ///
    /// `tag_or_pass` is the tag of a START, or the number of the current pass for an END.
    /// `sampling` is ignored for an END.
    ///
    /// Returns `None` if the counterpart is not in the table. Otherwise returns, for an END, the
    /// tag of its START, and for a START, 1 if an exemplar [needs its tag](Self::await_tag) or else
    /// 0.
    pub(crate) fn pair(
        &mut self,
        row: u16,
        start: u64,
        is_end: bool,
        tag_or_pass: u64,
        sampling: u8,
    ) -> Option<u64> {
        self.spill_newest();
        if let Some(index) = find::<R>(self.table, row, start, !is_end) {
            let tag = self.table[index].tag;
            take::<R, P>(self.table, self.occupancy, self.rows, index, 1).paired.increment();
            return Some(tag);
        }
        let is_full = self.is_count_full(row);
        // If the table has an entry of this key already, `insert` needs no room for another one.
        // An early END needs room as much as a START. If it were dropped, its START, which may find
        // room later, would stay open for ever.
        let mut has_room = has_room(self.table, self.occupancy);
        // The loop has a single call of `insert`, to save flash.
        let inserted = loop {
            let inserted = if is_full {
                None
            } else {
                insert::<R>(self.table, self.occupancy, row, start, is_end, has_room)
            };
            if inserted.is_some() || is_full || has_room || !self.make_room(row) {
                break inserted;
            }
            has_room = true;
        };
        let pairing = self.rows[usize::from(row)].as_mut();
        let Some(index) = inserted else {
            pairing.count_unpaired(is_end);
            return None;
        };
        let entry = &mut self.table[index];
        // The sums cannot overflow, because the number of open spans or early ENDs is not full.
        let one = R::Counter::from_u64(1);
        if is_end {
            entry.mark = tag_or_pass;
            pairing.early = pairing.early.wrapping_sum(one);
        } else {
            // The span is interchangeable with those that share its entry, so it is uncertain if
            // they are.
            if entry.mark > 0 {
                pairing.uncertain = pairing.uncertain.wrapping_sum(one);
            }
            pairing.open = pairing.open.wrapping_sum(one);
            (entry.tag, entry.sampling) = (tag_or_pass, sampling);
            if !R::IS_COMPACT {
                self.occupancy.note_open(pairing.open.get());
            }
        }
        None
    }

    /// Gives up a span of the event in `row` that began at tick `start`, because its END is known
    /// to be lost: counts it as abandoned. Returns whether the span was open or, if there is no
    /// such span in the table, whether the event has an untracked START, which is then counted in
    /// its place.
    pub(crate) fn abandon(&mut self, row: u16, start: u64) -> bool {
        self.spill_newest();
        let Some(index) = find::<R>(self.table, row, start, false) else {
            return self.rows[usize::from(row)].as_mut().abandon_untracked();
        };
        take::<R, P>(self.table, self.occupancy, self.rows, index, 1).abandoned.increment();
        true
    }

    /// Returns whether the table has an open span of the event in `row` that began at tick `start`.
    pub(crate) fn contains(&mut self, row: u16, start: u64) -> bool {
        self.spill_newest();
        find::<R>(self.table, row, start, false).is_some()
    }

    /// Notes that the sample of the early END of the event in `row`, for the span that began at
    /// tick `start`, is an exemplar: it needs the tag of the START when that arrives.
    pub(crate) fn await_tag(&mut self, row: u16, start: u64) {
        if let Some(index) = find::<R>(self.table, row, start, true) {
            self.table[index].tag = 1;
        }
    }

    /// Marks all open spans as uncertain as of the tick `now`, because their ENDs may be among
    /// records that were lost.
    #[inline(always)]
    pub(crate) fn mark_lost(&mut self, now: u64) {
        self.spill_newest();
        let mark = now.saturating_add(1);
        for entry in self.table.iter_mut().filter(|entry| entry.count > 0 && !entry.early) {
            if entry.mark == 0 {
                let pairing = self.rows[usize::from(entry.row)].as_mut();
                let count = R::Counter::from_u64(entry.count.into());
                // Cannot overflow, because no more spans are uncertain than open.
                pairing.uncertain = pairing.uncertain.wrapping_sum(count);
                self.occupancy.uncertain += 1;
            }
            // This applies to new marks, which are still 0 (minus 1 wraps around to the largest
            // number). It also applies to marks from before a restart of the clock, that is, a step
            // back of more than 10 ms (see `Aggregator::begin_pass`), because they lie in the
            // future. If they were not lowered, their spans would not be abandoned for a long time.
            if entry.mark.wrapping_sub(1) >= now {
                entry.mark = mark;
            }
        }
    }

    /// Returns the start tick and the tag of the oldest open span of the event in `row`; `None` if
    /// there is no open span. Takes time linear in the size of the table.
    pub(crate) fn oldest(&mut self, row: u16) -> Option<(u64, u64)> {
        self.spill_newest();
        self.table
            .iter()
            .filter(|entry| entry.count > 0 && entry.row == row && !entry.early)
            .map(|entry| (entry.start, entry.tag))
            .min_by_key(|(start, _)| *start)
    }

    /// Removes old entries of one kind.
    ///
    /// - If `early_ends`, these are the early ENDs that were drained in passes before the pass with
    ///   the number `before`. They count as orphans or as the ENDs of untracked STARTs.
    /// - Otherwise, these are the spans that became uncertain before the tick `before`. They count
    ///   as abandoned.
    // One function for both, to save flash.
    #[inline(always)]
    pub(crate) fn remove_older(&mut self, early_ends: bool, before: u64) {
        if (if early_ends { self.occupancy.early } else { self.occupancy.uncertain }) == 0 {
            return;
        }
        let mut index = 0;
        while let Some(entry) = self.table.get(index) {
            let mark = if early_ends { entry.mark } else { entry.mark.wrapping_sub(1) };
            if entry.count == 0 || entry.early != early_ends || mark >= before {
                index += 1;
                continue;
            }
            let count = entry.count;
            let pairing = take::<R, P>(self.table, self.occupancy, self.rows, index, count);
            let count = R::Counter::from_u64(count.into());
            if early_ends {
                count_without_start(pairing, count);
            } else {
                pairing.abandoned = pairing.abandoned.saturating_sum(count);
            }
            // `take` may have moved another entry to this index, so visit the index again.
        }
    }
}

/// Returns an iterator over the open spans in the table. An item is the row of the event, the start
/// tick, and the weight of the spans that share both: how many spans they stand for.
///
/// The newest span must have been moved into the table: see [`OpenSpanTable::spill_newest`].
pub(crate) fn open_spans(table: &[OpenSpan]) -> impl Iterator<Item = (u16, u64, u64)> {
    table
        .iter()
        .filter(|entry| entry.count > 0 && !entry.early)
        .map(|entry| (entry.row, entry.start, u64::from(entry.count) << entry.sampling))
}

/// Returns an iterator over the early ENDs that were drained before the pass with the number
/// `before`. An item is the row of the event, the start tick, and the number of ENDs that share
/// both.
pub(crate) fn early_ends(table: &[OpenSpan], before: u64) -> impl Iterator<Item = (u16, u64, u32)> {
    table
        .iter()
        .filter(move |entry| entry.count > 0 && entry.early && entry.mark < before)
        .map(|entry| (entry.row, entry.start, entry.count))
}

/// Returns whether the table is searched from its first entry on, instead of by hashing.
#[inline(always)]
const fn is_linear<R: Repr>(table: &[OpenSpan]) -> bool {
    R::IS_COMPACT && table.len() <= MAX_LINEAR_LEN
}

/// Returns the home of a key in a table of `len` entries: the index at which the search for the key
/// begins. Computed by Fibonacci hashing (Knuth, TAOCP volume 3, section 6.4). `len` must be a
/// power of two or 0.
#[inline]
fn home_index(len: usize, row: u16, start: u64) -> usize {
    let hash = (start ^ (u64::from(row) << 48)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // For a `len` of 0, the mask has all bits set, and the result is no valid index. Callers check
    // that the table has entries before they use it.
    (hash >> 32) as usize & len.wrapping_sub(1)
}

/// Returns the index of the entry of a key; `None` if the key is not in the table.
fn find<R: Repr>(table: &[OpenSpan], row: u16, start: u64, early: bool) -> Option<usize> {
    search::<R>(table, row, start, early).filter(|index| table[*index].count > 0)
}

/// Returns the index of the entry of a key or, if the key is not in the table, of the empty entry
/// in which it belongs. Returns `None` if the table has no entries, or if it is searched linearly
/// and has neither.
fn search<R: Repr>(table: &[OpenSpan], row: u16, start: u64, early: bool) -> Option<usize> {
    if table.is_empty() {
        return None;
    }
    if is_linear::<R>(table) {
        let existing = table.iter().position(|entry| entry.matches(row, start, early));
        return existing.or_else(|| table.iter().position(|entry| entry.count == 0));
    }
    let mask = table.len() - 1;
    let mut index = home_index(table.len(), row, start);
    // The loop ends because `has_room` keeps at least one entry empty.
    while table[index].count > 0 && !table[index].matches(row, start, early) {
        index = (index + 1) & mask;
    }
    Some(index)
}

/// Returns whether another entry may be used. An eighth of the entries, and at least one, stay
/// empty, so that searches are short and end.
#[inline]
const fn has_room(table: &[OpenSpan], occupancy: &Occupancy) -> bool {
    occupancy.used + reserve(table) < table.len()
}

/// Returns how many entries stay empty.
#[inline]
pub(super) const fn reserve(table: &[OpenSpan]) -> usize {
    if table.len() < 8 { 1 } else { table.len() / 8 }
}

/// Increments the count of a key's entry, which is created if necessary, but only if `has_room`.
/// Returns the index of the entry, or `None` if there is no room for it or its count is saturated.
fn insert<R: Repr>(
    table: &mut [OpenSpan],
    occupancy: &mut Occupancy,
    row: u16,
    start: u64,
    early: bool,
    has_room: bool,
) -> Option<usize> {
    let index = search::<R>(table, row, start, early)?;
    if table[index].count == 0 {
        if !has_room {
            return None;
        }
        occupancy.used += 1;
        occupancy.early += usize::from(early);
        table[index] = OpenSpan { start, row, early, ..OpenSpan::EMPTY };
    }
    table[index].count = table[index].count.checked_add(1)?;
    Some(index)
}

/// Takes `count` open spans or early ENDs out of the entry at `index`. If none are left, the entry
/// is removed, and another one may move to its index. Returns the counts of the event: the caller
/// adds what has become of the spans or ENDs.
// Not a method, because the compiler then knows the sizes of the arrays, and the code is smaller.
#[inline(never)]
pub(super) fn take<'r, R: Repr, P: AsMut<PackedPairing<R::Counter>>>(
    table: &mut [OpenSpan],
    occupancy: &mut Occupancy,
    rows: &'r mut [P],
    index: usize,
    count: u32,
) -> &'r mut PackedPairing<R::Counter> {
    let entry = &mut table[index];
    let pairing = rows[usize::from(entry.row)].as_mut();
    let (less, is_last) = (R::Counter::from_u64(count.into()), entry.count == count);
    entry.count -= count;
    occupancy.used -= usize::from(is_last);
    if entry.early {
        pairing.early.subtract(less);
        occupancy.early -= usize::from(is_last);
    } else {
        pairing.open.subtract(less);
        if entry.mark > 0 {
            pairing.uncertain.subtract(less);
            occupancy.uncertain -= usize::from(is_last);
        }
    }
    if is_last {
        close_hole::<R>(table, index);
    }
    pairing
}

/// Moves back those of the entries after `hole`, whose entry has become empty, that a search would
/// not find any more, because it stops at an empty entry.
#[inline(always)]
fn close_hole<R: Repr>(table: &mut [OpenSpan], mut hole: usize) {
    if is_linear::<R>(table) {
        return;
    }
    let mask = table.len() - 1;
    let mut index = hole;
    loop {
        index = (index + 1) & mask;
        let OpenSpan { row, start, count, .. } = table[index];
        if count == 0 {
            break;
        }
        let entry_home = home_index(table.len(), row, start);
        // The entry at `index` may move to `hole` unless its home lies between the two: its
        // distance from its home must be at least its distance from the hole.
        if (index.wrapping_sub(entry_home) & mask) >= (index.wrapping_sub(hole) & mask) {
            table[hole] = core::mem::take(&mut table[index]);
            hole = index;
        }
    }
    table[hole] = OpenSpan::EMPTY;
}

#[cfg(test)]
mod tests;
