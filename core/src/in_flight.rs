//! Spans that have begun and not ended: how many, and which is the oldest.
//!
//! START and END meet by event and start tick in a bounded table. Spans that agree in both cannot be told apart and need not
//! be: the table counts them. Rings are drained one after the other, so the END of a span that ended on another thread may
//! come before its START: it waits, *early*, until every ring has been drained as far as it was when that END was seen.
//!
//! | of an event | are always |
//! |---|---|
//! | STARTs | paired + open + untracked + abandoned |
//! | ENDs and FORGETs | paired + early + orphans |
//!
//! *Untracked* are STARTs that found no room. Overwritten records can leave a span open for ever: those open at that moment
//! become *uncertain* and are given up after a while. Without loss, with room and with every span closed, everything but
//! `paired` is 0 in the end.
//!
//! The table is a hash table with linear probing and deletion by shifting back (Knuth, TAOCP 3, 6.4, algorithm R): there are
//! no tombstones, and all zero is empty. Where registers have 32 bits, and so flash may be scarce, a small table is
//! searched from its beginning instead.

use crate::{
    counter_width::{self, CountWord, widen},
    storage::EventState,
};

/// How an event's STARTs and ENDs met. Where registers have 32 bits, each number is 2^32 − 1 at the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pairing {
    /// Spans whose START and END have met.
    pub paired: u64,
    /// Spans that have begun and not ended.
    pub open: u64,
    /// Of those, the ones whose END may have been overwritten.
    pub uncertain: u64,
    /// STARTs that found no room in the table, and no END since.
    pub untracked: u64,
    /// Uncertain spans that were given up.
    pub abandoned: u64,
    /// ENDs that wait for their START.
    pub early: u64,
    /// ENDs without a START.
    pub orphans: u64,
}

/// [`Pairing`] as it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Pairs {
    pub(crate) paired: CountWord,
    open: CountWord,
    uncertain: CountWord,
    untracked: CountWord,
    abandoned: CountWord,
    early: CountWord,
    orphans: CountWord,
}

impl Pairs {
    pub(crate) const EMPTY: Self =
        Self { paired: 0, open: 0, uncertain: 0, untracked: 0, abandoned: 0, early: 0, orphans: 0 };

    /// A START or an END that finds neither its kind nor room.
    pub(crate) fn pair_nothing(&mut self, is_end: bool) {
        if is_end {
            without_start(self, 1);
        } else {
            counter_width::count(&mut self.untracked, 1);
        }
    }

    /// As it is told.
    pub(crate) fn told(&self) -> Pairing {
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

/// A place of the table; its count is 0 if it is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OpenSpan {
    start: u64,
    /// Of open spans, the tag of the last START of this kind; of early ENDs, 1 if one of them is among the slowest, whose tag
    /// is still to come.
    tag: u64,
    /// Of open spans, one more than the tick at which they became uncertain, or 0; of early ENDs, the pass of the last one.
    mark: u64,
    /// How many of this kind there are; 0 in an empty place.
    count: u32,
    /// The event's row.
    row: u16,
    early: bool,
    /// Of the last START of this kind: it stands for 2^k of its like.
    sampling: u8,
}

impl OpenSpan {
    pub(crate) const EMPTY: Self =
        Self { start: 0, tag: 0, mark: 0, count: 0, row: 0, early: false, sampling: 0 };

    const fn is(&self, row: u16, start: u64, early: bool) -> bool {
        self.count > 0 && self.row == row && self.start == start && self.early == early
    }
}

/// What is known of the table besides its places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupancy {
    /// Places that are taken, that of the newest span included.
    taken: usize,
    /// The span that began last, if it is not in the table: most end before another one begins.
    newest: OpenSpan,
    /// Places of early ENDs.
    early: usize,
    /// Places of uncertain spans.
    uncertain: usize,
}

impl Occupancy {
    /// Whether anything is in the table.
    pub(crate) const fn is_any_taken(&self) -> bool {
        self.taken > 0
    }
}

/// The table at work.
#[derive(Debug)]
pub(crate) struct OpenSpanTable<'t> {
    pub(crate) table: &'t mut [OpenSpan],
    pub(crate) occupancy: &'t mut Occupancy,
    pub(crate) events: &'t mut [EventState],
}

/// A table of so many places is small.
const SMALL: usize = 64;

/// Whether the usual cases have ways of their own. Where flash may be scarce, all go through the table.
pub(crate) const SHORTCUTS: bool = cfg!(target_pointer_width = "64");

impl OpenSpanTable<'_> {
    /// A span began. Constant time unless the table is crowded. Whether its END came before and is
    /// [among the slowest](Self::await_tag).
    #[inline]
    pub(crate) fn start(&mut self, row: u16, start: u64, tag: u64, sampling: u8) -> bool {
        // The usual case: no END waits for its START, and none of its kind is uncertain.
        if SHORTCUTS
            && self.occupancy.early == 0
            && self.occupancy.uncertain == 0
            && has_room(self.table, self.occupancy)
            && !self.is_full(row)
        {
            if self.occupancy.newest.count > 0 {
                self.spill_newest();
            }
            self.occupancy.newest =
                OpenSpan { start, tag, count: 1, row, sampling, ..OpenSpan::EMPTY };
            self.occupancy.taken += 1;
            self.events[usize::from(row)].pairing.open += 1;
            return false;
        }
        self.pair(row, start, false, tag, sampling).is_some_and(|awaited| awaited > 0)
    }

    /// Whether no more spans of this event can be counted as open, or as early ENDs.
    #[inline(always)]
    fn is_full(&self, row: u16) -> bool {
        let pairing = &self.events[usize::from(row)].pairing;
        cfg!(not(target_pointer_width = "64"))
            && (pairing.open == CountWord::MAX || pairing.early == CountWord::MAX)
    }

    /// Puts the newest span into the table, for whoever looks there.
    pub(crate) fn spill_newest(&mut self) {
        let OpenSpan { start, tag, count, row, sampling, .. } = self.occupancy.newest;
        if !SHORTCUTS || count == 0 {
            return;
        }
        self.occupancy.newest = OpenSpan::EMPTY;
        self.occupancy.taken -= 1;
        let home = home(self.table.len(), row, start);
        if self.table[home].count == 0 {
            self.occupancy.taken += 1;
            self.table[home] = OpenSpan { start, tag, count: 1, row, sampling, ..OpenSpan::EMPTY };
        } else if let Some(flight) = insert(self.table, self.occupancy, row, start, false) {
            flight.tag = tag;
            flight.sampling = sampling;
        } else {
            // As many of one kind as can be counted.
            let pairing = &mut self.events[usize::from(row)].pairing;
            pairing.open -= 1;
            counter_width::count(&mut pairing.untracked, 1);
        }
    }

    /// Whether a span that begins and ends before anything else happens has nothing to do with the table: it would have room there,
    /// and no END waits for a START.
    pub(crate) fn passes_by(&self) -> bool {
        self.occupancy.early == 0 && has_room(self.table, self.occupancy)
    }

    /// A span that began at `start` ended, or was forgotten, in the pass numbered `pass`. Returns its tag, if its START was
    /// seen. Constant time unless the table is crowded.
    #[inline]
    pub(crate) fn end(&mut self, row: u16, start: u64, pass: u64) -> Option<u64> {
        if !SHORTCUTS {
            return self.pair(row, start, true, pass, 0);
        }
        // The usual case: it is the newest.
        if self.occupancy.newest.is(row, start, false) {
            let tag = self.occupancy.newest.tag;
            self.occupancy.newest = OpenSpan::EMPTY;
            self.closed_one(row);
            return Some(tag);
        }
        // And the next: it is where it belongs, the only one of its kind, and nothing was put behind it.
        let place = home(self.table.len(), row, start);
        if let Some(flight) = self.table.get(place)
            && flight.is(row, start, false)
            && flight.count == 1
            && flight.mark == 0
            && self.table[(place + 1) & (self.table.len() - 1)].count == 0
        {
            let tag = flight.tag;
            self.table[place] = OpenSpan::EMPTY;
            self.closed_one(row);
            return Some(tag);
        }
        self.pair(row, start, true, pass, 0)
    }

    /// A span was closed that was the only one of its kind, and is gone.
    #[inline]
    fn closed_one(&mut self, row: u16) {
        self.occupancy.taken -= 1;
        let pairing = &mut self.events[usize::from(row)].pairing;
        pairing.open -= 1;
        counter_width::count(&mut pairing.paired, 1);
    }

    /// A START, with its tag and its sampling, or an END, with the number of its pass; whatever is in the table. The tag of an END's START; of
    /// a START, if its END was there, more than 0 if that is among the slowest.
    #[cfg_attr(target_pointer_width = "64", cold, inline(never))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub(crate) fn pair(
        &mut self,
        row: u16,
        start: u64,
        is_end: bool,
        told: u64,
        sampling: u8,
    ) -> Option<u64> {
        self.spill_newest();
        let is_full = self.is_full(row);
        let pairing = &mut self.events[usize::from(row)].pairing;
        if let Some(place) = find(self.table, row, start, !is_end) {
            let OpenSpan { tag, mark, .. } = self.table[place];
            counter_width::count(&mut pairing.paired, 1);
            if is_end {
                pairing.open -= 1;
                pairing.uncertain -= CountWord::from(mark > 0);
            } else {
                pairing.early -= 1;
            }
            self.table[place].count -= 1;
            if self.table[place].count == 0 {
                remove(self.table, self.occupancy, place);
            }
            return Some(tag);
        }
        // One of a kind that is there already takes no room.
        let flight =
            if is_full { None } else { insert(self.table, self.occupancy, row, start, is_end) };
        let Some(flight) = flight else {
            pairing.pair_nothing(is_end);
            return None;
        };
        if is_end {
            flight.mark = told;
            pairing.early += 1;
        } else {
            // One more of a kind that is uncertain: they cannot be told apart.
            pairing.uncertain += CountWord::from(flight.mark > 0);
            pairing.open += 1;
            (flight.tag, flight.sampling) = (told, sampling);
        }
        None
    }

    /// The span that began at `start`, whose END has no START yet, is among the slowest: its tag is wanted once it comes.
    pub(crate) fn await_tag(&mut self, row: u16, start: u64) {
        if let Some(place) = find(self.table, row, start, true) {
            self.table[place].tag = 1;
        }
    }

    /// Records were overwritten: the END of every open span may be among them.
    #[inline(always)]
    pub(crate) fn mark_lost(&mut self, now: u64) {
        self.spill_newest();
        let mark = now.saturating_add(1);
        for flight in self.table.iter_mut().filter(|flight| flight.count > 0 && !flight.early) {
            if flight.mark == 0 {
                self.events[usize::from(flight.row)].pairing.uncertain +=
                    CountWord::from(flight.count);
                self.occupancy.uncertain += 1;
            }
            // Those that were uncertain on a clock that has begun again since are so as of now, else they would be for ever.
            if flight.mark.wrapping_sub(1) >= now {
                flight.mark = mark;
            }
        }
    }

    /// Start tick and tag of the oldest open span of an event. Linear in the size of the table.
    pub(crate) fn oldest(&mut self, row: u16) -> Option<(u64, u64)> {
        self.spill_newest();
        self.table
            .iter()
            .filter(|flight| flight.count > 0 && flight.row == row && !flight.early)
            .map(|flight| (flight.start, flight.tag))
            .min_by_key(|(start, _)| *start)
    }

    /// Removes the early ENDs of passes before this one: they wait in vain, as every ring has been drained since as far as it was after
    /// them. Or gives up the spans that became uncertain before this tick.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub(crate) fn remove_older(&mut self, early: bool, before: u64) {
        if (if early { self.occupancy.early } else { self.occupancy.uncertain }) == 0 {
            return;
        }
        let mut place = 0;
        while let Some(flight) = self.table.get(place) {
            let mark = if early { flight.mark } else { flight.mark.wrapping_sub(1) };
            if flight.count == 0 || flight.early != early || mark >= before {
                place += 1;
                continue;
            }
            let count = CountWord::from(flight.count);
            let pairing = &mut self.events[usize::from(flight.row)].pairing;
            if early {
                pairing.early -= count;
                without_start(pairing, count);
            } else {
                pairing.open -= count;
                pairing.uncertain -= count;
                counter_width::count(&mut pairing.abandoned, count);
            }
            // Another one may move here: it is looked at again.
            remove(self.table, self.occupancy, place);
        }
    }
}

/// Row, start tick and weight of the spans that are open, once the newest one is seated.
pub(crate) fn open(table: &[OpenSpan]) -> impl Iterator<Item = (u16, u64, u64)> {
    table
        .iter()
        .filter(|flight| flight.count > 0 && !flight.early)
        .map(|flight| (flight.row, flight.start, u64::from(flight.count) << flight.sampling))
}

/// ENDs whose START is not in the table: of a span that had no room there, or that was lost.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
fn without_start(pairing: &mut Pairs, count: CountWord) {
    let untracked = pairing.untracked.min(count);
    pairing.untracked -= untracked;
    counter_width::count(&mut pairing.paired, untracked);
    counter_width::count(&mut pairing.orphans, count - untracked);
}

/// Whether it is searched from its beginning: then nothing is at a home of its own.
#[inline(always)]
const fn is_small(table: &[OpenSpan]) -> bool {
    !SHORTCUTS && table.len() <= SMALL
}

/// Where the search for a kind begins (Fibonacci hashing: Knuth, TAOCP 3, 6.4). The length is a power of two.
#[inline]
fn home(len: usize, row: u16, start: u64) -> usize {
    let hash = (start ^ (u64::from(row) << 48)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // A table of none has no place at all.
    (hash >> 32) as usize & len.wrapping_sub(1)
}

fn find(table: &[OpenSpan], row: u16, start: u64, early: bool) -> Option<usize> {
    search(table, row, start, early).filter(|place| table[*place].count > 0)
}

/// Where this kind is, or else the empty place where it belongs; `None` in a table without places.
fn search(table: &[OpenSpan], row: u16, start: u64, early: bool) -> Option<usize> {
    if table.is_empty() {
        return None;
    }
    if is_small(table) {
        let there = table.iter().position(|flight| flight.is(row, start, early));
        return there.or_else(|| table.iter().position(|flight| flight.count == 0));
    }
    let mask = table.len() - 1;
    let mut place = home(table.len(), row, start);
    // There is always an empty place: `insert` leaves one.
    while table[place].count > 0 && !table[place].is(row, start, early) {
        place = (place + 1) & mask;
    }
    Some(place)
}

/// An eighth stays empty, and at least one place, so that searches are short and end.
#[inline]
const fn has_room(table: &[OpenSpan], occupancy: &Occupancy) -> bool {
    let reserve = if table.len() < 8 { 1 } else { table.len() / 8 };
    occupancy.taken + reserve < table.len()
}

/// One more of this kind; `None` if there is no room.
fn insert<'t>(
    table: &'t mut [OpenSpan],
    occupancy: &mut Occupancy,
    row: u16,
    start: u64,
    early: bool,
) -> Option<&'t mut OpenSpan> {
    let place = search(table, row, start, early)?;
    if table[place].count == 0 {
        if !has_room(table, occupancy) {
            return None;
        }
        occupancy.taken += 1;
        occupancy.early += usize::from(early);
        table[place] = OpenSpan { start, row, early, ..OpenSpan::EMPTY };
    }
    let flight = &mut table[place];
    flight.count = flight.count.checked_add(1)?;
    Some(flight)
}

/// Empties a place, and moves up what stands behind it only because it was taken.
#[cfg_attr(not(target_pointer_width = "64"), inline(always))]
fn remove(table: &mut [OpenSpan], occupancy: &mut Occupancy, mut hole: usize) {
    let OpenSpan { early, mark, .. } = table[hole];
    occupancy.taken -= 1;
    occupancy.early -= usize::from(early);
    occupancy.uncertain -= usize::from(!early && mark > 0);
    if is_small(table) {
        table[hole].count = 0;
        return;
    }
    let mask = table.len() - 1;
    let mut place = hole;
    loop {
        place = (place + 1) & mask;
        let OpenSpan { row, start, count, .. } = table[place];
        if count == 0 {
            break;
        }
        let wanted = home(table.len(), row, start);
        // It may move to the hole unless its home lies behind the hole, on the way from it to here.
        if (place.wrapping_sub(wanted) & mask) >= (place.wrapping_sub(hole) & mask) {
            table[hole] = core::mem::take(&mut table[place]);
            hole = place;
        }
    }
    table[hole] = OpenSpan::EMPTY;
}

#[cfg(test)]
mod tests;
