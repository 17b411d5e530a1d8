//! Open spans: pairs STARTs with ENDs, counts the spans in between, and finds the oldest one.
//!
//! STARTs and ENDs are paired by event and start tick in a table of bounded size. Spans that agree
//! in both are interchangeable, so the table only counts them. Rings are drained one after the
//! other. The END of a span that ended on another thread may therefore arrive before its START.
//! Such an END is *early*: it waits until every ring has been drained as far as it was filled when
//! that END arrived.
//!
//! These equations always hold for each event:
//!
//! | records | equal |
//! |---|---|
//! | STARTs | paired + open + untracked + abandoned |
//! | ENDs and FORGETs | paired + early + orphans |
//!
//! A START is *untracked* if it finds no room in the table. Since overwritten records can leave a
//! span open for ever, the spans that are open at the time of a loss become *uncertain* and are
//! abandoned after a while. If nothing is lost, the table has room and every span is closed, all
//! counts but `paired` are 0 in the end.
//!
//! The table is a hash table with linear probing and deletion by backward shift (Knuth, TAOCP
//! volume 3, section 6.4, algorithm R): there are no tombstones, and an all-zero table is empty. On
//! 32-bit targets, where flash may be scarce, a small table is searched linearly instead.

use crate::{
    counter_width::{self, CountWord, widen},
    storage::EventState,
};

/// How an event's STARTs and ENDs have been paired. On 32-bit targets, each count saturates at
/// 2^32 − 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Pairing {
    /// Spans whose START and END have been paired.
    pub paired: u64,
    /// Spans that have begun and not ended.
    pub open: u64,
    /// The open spans whose END may have been overwritten.
    pub uncertain: u64,
    /// STARTs that found no room in the table and whose END has not arrived yet.
    pub untracked: u64,
    /// Uncertain spans that are no longer waited for.
    pub abandoned: u64,
    /// ENDs that wait for their START.
    pub early: u64,
    /// ENDs whose START never arrived.
    pub orphans: u64,
}

/// [`Pairing`] as it is stored: with counts of register width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct PackedPairing {
    pub(crate) paired: CountWord,
    open: CountWord,
    uncertain: CountWord,
    untracked: CountWord,
    abandoned: CountWord,
    early: CountWord,
    orphans: CountWord,
}

impl PackedPairing {
    pub(crate) const EMPTY: Self =
        Self { paired: 0, open: 0, uncertain: 0, untracked: 0, abandoned: 0, early: 0, orphans: 0 };

    /// Counts a START or END that finds neither a counterpart nor room in the table.
    pub(crate) fn count_unpaired(&mut self, is_end: bool) {
        if is_end {
            count_without_start(self, 1);
        } else {
            counter_width::add(&mut self.untracked, 1);
        }
    }

    /// Converts the counts to 64 bits.
    pub(crate) fn unpacked(&self) -> Pairing {
        Pairing {
            paired: widen(self.paired),
            open: widen(self.open),
            uncertain: widen(self.uncertain),
            untracked: widen(self.untracked),
            abandoned: widen(self.abandoned),
            early: widen(self.early),
            orphans: widen(self.orphans),
        }
    }
}

/// A slot of the table: the open spans, or the early ENDs, of one event and start tick. It is empty
/// if its count is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OpenSpan {
    start: u64,
    /// For open spans, the tag of the last START. For early ENDs, 1 if the sample of one of them is
    /// an exemplar that needs the tag of its START, else 0.
    tag: u64,
    /// For open spans, one more than the tick at which they became uncertain, or 0. For early ENDs,
    /// the pass of the last one.
    mark: u64,
    /// How many spans or ENDs there are; 0 in an empty slot.
    count: u32,
    /// The row of the event.
    row: u16,
    early: bool,
    /// The k of the last START, whose span stands for 2^k spans.
    sampling: u8,
}

impl OpenSpan {
    pub(crate) const EMPTY: Self =
        Self { start: 0, tag: 0, mark: 0, count: 0, row: 0, early: false, sampling: 0 };

    /// Returns whether this is the entry of the given key.
    const fn matches(&self, row: u16, start: u64, early: bool) -> bool {
        self.count > 0 && self.row == row && self.start == start && self.early == early
    }
}

/// The state of the table besides its slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupancy {
    /// The number of used slots, including one for `newest`.
    used: usize,
    /// The span that began last, unless it is in the table. Most spans end before another one
    /// begins, and so never enter the table.
    newest: OpenSpan,
    /// The number of slots with early ENDs.
    early: usize,
    /// The number of slots with uncertain spans.
    uncertain: usize,
}

impl Occupancy {
    /// Returns whether there are any open spans or early ENDs.
    pub(crate) const fn has_entries(&self) -> bool {
        self.used > 0
    }
}

/// The table of open spans with everything that its operations need.
#[derive(Debug)]
pub(crate) struct OpenSpanTable<'t> {
    pub(crate) table: &'t mut [OpenSpan],
    pub(crate) occupancy: &'t mut Occupancy,
    pub(crate) events: &'t mut [EventState],
}

/// The largest table that is searched linearly on 32-bit targets.
const MAX_LINEAR_LEN: usize = 64;

/// Whether frequent cases have fast paths. On 32-bit targets, all cases go through the table, which
/// takes less flash.
pub(crate) const SHORTCUTS: bool = cfg!(target_pointer_width = "64");

impl OpenSpanTable<'_> {
    /// Processes the START of a span. Returns whether its END came before and [needs its
    /// tag](Self::await_tag).
    ///
    /// Takes constant time unless the table is crowded.
    #[inline]
    pub(crate) fn start(&mut self, row: u16, start: u64, tag: u64, sampling: u8) -> bool {
        // The frequent case: there are no early ENDs that the START could be paired with, and no
        // uncertain spans that it could be interchangeable with.
        if SHORTCUTS
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
            self.events[usize::from(row)].pairing.open += 1;
            return false;
        }
        self.pair(row, start, false, tag, sampling).is_some_and(|flag| flag > 0)
    }

    /// Returns whether a counter of the event's open spans or early ENDs is full.
    #[inline(always)]
    fn is_count_full(&self, row: u16) -> bool {
        let pairing = &self.events[usize::from(row)].pairing;
        cfg!(not(target_pointer_width = "64"))
            && (pairing.open == CountWord::MAX || pairing.early == CountWord::MAX)
    }

    /// Moves the newest span into the table, so that it can be found there.
    pub(crate) fn spill_newest(&mut self) {
        let OpenSpan { start, tag, count, row, sampling, .. } = self.occupancy.newest;
        if !SHORTCUTS || count == 0 {
            return;
        }
        self.occupancy.newest = OpenSpan::EMPTY;
        self.occupancy.used -= 1;
        let home = home(self.table.len(), row, start);
        if self.table[home].count == 0 {
            self.occupancy.used += 1;
            self.table[home] = OpenSpan { start, tag, count: 1, row, sampling, ..OpenSpan::EMPTY };
        } else if let Some(entry) = insert(self.table, self.occupancy, row, start, false) {
            entry.tag = tag;
            entry.sampling = sampling;
        } else {
            // The slot cannot count any more spans.
            let pairing = &mut self.events[usize::from(row)].pairing;
            pairing.open -= 1;
            counter_width::add(&mut pairing.untracked, 1);
        }
    }

    /// Returns whether a span that begins and ends before anything else happens can be counted
    /// without accessing the table: there is room for it, and no END waits for a START.
    pub(crate) fn can_be_bypassed(&self) -> bool {
        self.occupancy.early == 0 && has_room(self.table, self.occupancy)
    }

    /// Processes the END or FORGET, in the pass numbered `pass`, of a span that began at `start`.
    /// Returns the span's tag if its START has been seen.
    ///
    /// Takes constant time unless the table is crowded.
    #[inline]
    pub(crate) fn end(&mut self, row: u16, start: u64, pass: u64) -> Option<u64> {
        if !SHORTCUTS {
            return self.pair(row, start, true, pass, 0);
        }
        // The most frequent case: it is the newest span.
        if self.occupancy.newest.matches(row, start, false) {
            let tag = self.occupancy.newest.tag;
            self.occupancy.newest = OpenSpan::EMPTY;
            self.count_closed(row);
            return Some(tag);
        }
        // The next most frequent case: it is alone in its home slot, and the next slot is empty, so
        // that no entry has to be shifted back.
        let slot = home(self.table.len(), row, start);
        if let Some(entry) = self.table.get(slot)
            && entry.matches(row, start, false)
            && entry.count == 1
            && entry.mark == 0
            && self.table[(slot + 1) & (self.table.len() - 1)].count == 0
        {
            let tag = entry.tag;
            self.table[slot] = OpenSpan::EMPTY;
            self.count_closed(row);
            return Some(tag);
        }
        self.pair(row, start, true, pass, 0)
    }

    /// Updates the counts for a span that was closed and whose slot is empty now.
    #[inline]
    fn count_closed(&mut self, row: u16) {
        self.occupancy.used -= 1;
        let pairing = &mut self.events[usize::from(row)].pairing;
        pairing.open -= 1;
        counter_width::add(&mut pairing.paired, 1);
    }

    /// Pairs a START or END with its counterpart. This is the general case, for any state of the
    /// table.
    ///
    /// `tag_or_pass` is the tag of a START, or the pass of an END; an END ignores `sampling`. A
    /// paired END returns its START's tag. A paired START returns 1 if an exemplar [needs its
    /// tag](Self::await_tag), else 0.
    #[cfg_attr(target_pointer_width = "64", cold, inline(never))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub(crate) fn pair(
        &mut self,
        row: u16,
        start: u64,
        is_end: bool,
        tag_or_pass: u64,
        sampling: u8,
    ) -> Option<u64> {
        self.spill_newest();
        let is_full = self.is_count_full(row);
        let pairing = &mut self.events[usize::from(row)].pairing;
        if let Some(slot) = find(self.table, row, start, !is_end) {
            let OpenSpan { tag, mark, .. } = self.table[slot];
            counter_width::add(&mut pairing.paired, 1);
            if is_end {
                pairing.open -= 1;
                pairing.uncertain -= CountWord::from(mark > 0);
            } else {
                pairing.early -= 1;
            }
            self.table[slot].count -= 1;
            if self.table[slot].count == 0 {
                remove(self.table, self.occupancy, slot);
            }
            return Some(tag);
        }
        // An entry with the same key may be in the table already. Then one more takes no room.
        let entry =
            if is_full { None } else { insert(self.table, self.occupancy, row, start, is_end) };
        let Some(entry) = entry else {
            pairing.count_unpaired(is_end);
            return None;
        };
        if is_end {
            entry.mark = tag_or_pass;
            pairing.early += 1;
        } else {
            // It is interchangeable with the spans in its slot, so it is as uncertain as they are.
            pairing.uncertain += CountWord::from(entry.mark > 0);
            pairing.open += 1;
            (entry.tag, entry.sampling) = (tag_or_pass, sampling);
        }
        None
    }

    /// Notes that the sample of the early END with this `start` is an exemplar, which needs the tag
    /// of its START.
    pub(crate) fn await_tag(&mut self, row: u16, start: u64) {
        if let Some(slot) = find(self.table, row, start, true) {
            self.table[slot].tag = 1;
        }
    }

    /// Marks all open spans as uncertain: their ENDs may be among the records that were lost.
    #[inline(always)]
    pub(crate) fn mark_lost(&mut self, now: u64) {
        self.spill_newest();
        let mark = now.saturating_add(1);
        for entry in self.table.iter_mut().filter(|entry| entry.count > 0 && !entry.early) {
            if entry.mark == 0 {
                self.events[usize::from(entry.row)].pairing.uncertain +=
                    CountWord::from(entry.count);
                self.occupancy.uncertain += 1;
            }
            // A mark from before the clock restarted lies in the future. Lower it, or the span
            // would never be abandoned.
            if entry.mark.wrapping_sub(1) >= now {
                entry.mark = mark;
            }
        }
    }

    /// Returns the start tick and the tag of an event's oldest open span. Takes time linear in the
    /// size of the table.
    pub(crate) fn oldest(&mut self, row: u16) -> Option<(u64, u64)> {
        self.spill_newest();
        self.table
            .iter()
            .filter(|entry| entry.count > 0 && entry.row == row && !entry.early)
            .map(|entry| (entry.start, entry.tag))
            .min_by_key(|(start, _)| *start)
    }

    /// If `early`, removes the early ENDs of passes before the pass `before`; they are orphans,
    /// since every ring has been drained up to them. Otherwise, abandons the spans that became
    /// uncertain before the tick `before`.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub(crate) fn remove_older(&mut self, early: bool, before: u64) {
        if (if early { self.occupancy.early } else { self.occupancy.uncertain }) == 0 {
            return;
        }
        let mut slot = 0;
        while let Some(entry) = self.table.get(slot) {
            let mark = if early { entry.mark } else { entry.mark.wrapping_sub(1) };
            if entry.count == 0 || entry.early != early || mark >= before {
                slot += 1;
                continue;
            }
            let count = CountWord::from(entry.count);
            let pairing = &mut self.events[usize::from(entry.row)].pairing;
            if early {
                pairing.early -= count;
                count_without_start(pairing, count);
            } else {
                pairing.open -= count;
                pairing.uncertain -= count;
                counter_width::add(&mut pairing.abandoned, count);
            }
            // Removal may move another entry into this slot, so visit it again.
            remove(self.table, self.occupancy, slot);
        }
    }
}

/// Iterates over the row, start tick and weight of the open spans. The newest span must be in the
/// table: see [`OpenSpanTable::spill_newest`].
pub(crate) fn open_spans(table: &[OpenSpan]) -> impl Iterator<Item = (u16, u64, u64)> {
    table
        .iter()
        .filter(|entry| entry.count > 0 && !entry.early)
        .map(|entry| (entry.row, entry.start, u64::from(entry.count) << entry.sampling))
}

/// Counts ENDs without a START in the table. Their STARTs are untracked, as far as there are any,
/// or else were lost.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
fn count_without_start(pairing: &mut PackedPairing, count: CountWord) {
    let untracked = pairing.untracked.min(count);
    pairing.untracked -= untracked;
    counter_width::add(&mut pairing.paired, untracked);
    counter_width::add(&mut pairing.orphans, count - untracked);
}

/// Returns whether the table is searched linearly. Its entries then have no home slots.
#[inline(always)]
const fn is_linear(table: &[OpenSpan]) -> bool {
    !SHORTCUTS && table.len() <= MAX_LINEAR_LEN
}

/// Returns the home slot of a key, where the search for it begins (Fibonacci hashing: Knuth, TAOCP
/// volume 3, section 6.4). `len` must be a power of two or 0.
#[inline]
fn home(len: usize, row: u16, start: u64) -> usize {
    let hash = (start ^ (u64::from(row) << 48)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // For a `len` of 0, the mask has all bits set. Callers do not use the slot as an index then.
    (hash >> 32) as usize & len.wrapping_sub(1)
}

/// Returns the slot of a key; `None` if it is not in the table.
fn find(table: &[OpenSpan], row: u16, start: u64, early: bool) -> Option<usize> {
    search(table, row, start, early).filter(|slot| table[*slot].count > 0)
}

/// Returns the slot of a key, or the empty slot where it belongs. Returns `None` if a table is full
/// or has no slots.
fn search(table: &[OpenSpan], row: u16, start: u64, early: bool) -> Option<usize> {
    if table.is_empty() {
        return None;
    }
    if is_linear(table) {
        let existing = table.iter().position(|entry| entry.matches(row, start, early));
        return existing.or_else(|| table.iter().position(|entry| entry.count == 0));
    }
    let mask = table.len() - 1;
    let mut slot = home(table.len(), row, start);
    // This ends: `has_room` keeps at least one slot empty.
    while table[slot].count > 0 && !table[slot].matches(row, start, early) {
        slot = (slot + 1) & mask;
    }
    Some(slot)
}

/// Returns whether another slot may be used. An eighth of the slots, and at least one, stay empty,
/// so that searches are short and end.
#[inline]
const fn has_room(table: &[OpenSpan], occupancy: &Occupancy) -> bool {
    let reserve = if table.len() < 8 { 1 } else { table.len() / 8 };
    occupancy.used + reserve < table.len()
}

/// Adds one to the count of a key, in a new slot if necessary. Returns `None` if there is no room.
fn insert<'t>(
    table: &'t mut [OpenSpan],
    occupancy: &mut Occupancy,
    row: u16,
    start: u64,
    early: bool,
) -> Option<&'t mut OpenSpan> {
    let slot = search(table, row, start, early)?;
    if table[slot].count == 0 {
        if !has_room(table, occupancy) {
            return None;
        }
        occupancy.used += 1;
        occupancy.early += usize::from(early);
        table[slot] = OpenSpan { start, row, early, ..OpenSpan::EMPTY };
    }
    let entry = &mut table[slot];
    entry.count = entry.count.checked_add(1)?;
    Some(entry)
}

/// Empties a slot and shifts back the entries behind it that a search could not reach otherwise.
#[cfg_attr(not(target_pointer_width = "64"), inline(always))]
fn remove(table: &mut [OpenSpan], occupancy: &mut Occupancy, mut hole: usize) {
    let OpenSpan { early, mark, .. } = table[hole];
    occupancy.used -= 1;
    occupancy.early -= usize::from(early);
    occupancy.uncertain -= usize::from(!early && mark > 0);
    if is_linear(table) {
        table[hole].count = 0;
        return;
    }
    let mask = table.len() - 1;
    let mut slot = hole;
    loop {
        slot = (slot + 1) & mask;
        let OpenSpan { row, start, count, .. } = table[slot];
        if count == 0 {
            break;
        }
        let home_slot = home(table.len(), row, start);
        // The entry may fill the hole unless its home slot lies behind the hole.
        if (slot.wrapping_sub(home_slot) & mask) >= (slot.wrapping_sub(hole) & mask) {
            table[hole] = core::mem::take(&mut table[slot]);
            hole = slot;
        }
    }
    table[hole] = OpenSpan::EMPTY;
}

#[cfg(test)]
mod tests;
