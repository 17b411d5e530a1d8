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
//! no tombstones, and empty is all-zero.

use crate::{
    storage::EventState,
    word::{self, Word, widen},
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
    pub(crate) paired: Word,
    open: Word,
    uncertain: Word,
    untracked: Word,
    abandoned: Word,
    early: Word,
    orphans: Word,
}

impl Pairs {
    pub(crate) const EMPTY: Self =
        Self { paired: 0, open: 0, uncertain: 0, untracked: 0, abandoned: 0, early: 0, orphans: 0 };

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

/// A place of the table; all zero if it is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Flight {
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

impl Flight {
    pub(crate) const EMPTY: Self = Self { start: 0, tag: 0, mark: 0, count: 0, row: 0, early: false, sampling: 0 };

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
    newest: Flight,
    /// Early ENDs, of all events.
    early: u64,
    /// Uncertain spans, of all events.
    uncertain: u64,
}

impl Occupancy {
    /// Whether anything is in the table.
    pub(crate) const fn is_any_taken(&self) -> bool {
        self.taken > 0
    }
}

/// The table at work.
#[derive(Debug)]
pub(crate) struct InFlight<'t> {
    pub(crate) table: &'t mut [Flight],
    pub(crate) occupancy: &'t mut Occupancy,
    pub(crate) events: &'t mut [EventState],
}

impl InFlight<'_> {
    /// A span began. Constant time unless the table is crowded. Whether its END came before and is
    /// [among the slowest](Self::await_tag).
    #[inline]
    pub(crate) fn start(&mut self, row: u16, start: u64, tag: u64, sampling: u8) -> bool {
        // The usual case: no END waits for its START, and none of its kind is uncertain.
        if self.occupancy.early == 0
            && self.occupancy.uncertain == 0
            && has_room(self.table, self.occupancy)
            && !self.is_full(row)
        {
            if self.occupancy.newest.count > 0 {
                self.seat_newest();
            }
            self.occupancy.newest = Flight { start, tag, count: 1, row, sampling, ..Flight::EMPTY };
            self.occupancy.taken += 1;
            self.events[usize::from(row)].pairing.open += 1;
            return false;
        }
        self.start_anywhere(row, start, tag, sampling)
    }

    /// Whether no more spans of this event can be counted as open, or as early ENDs.
    #[inline(always)]
    fn is_full(&self, row: u16) -> bool {
        let pairing = &self.events[usize::from(row)].pairing;
        cfg!(not(target_pointer_width = "64")) && (pairing.open == Word::MAX || pairing.early == Word::MAX)
    }

    /// Puts the newest span into the table, for whoever looks there.
    pub(crate) fn seat_newest(&mut self) {
        let Flight { start, tag, count, row, sampling, .. } = self.occupancy.newest;
        if count == 0 {
            return;
        }
        self.occupancy.newest = Flight::EMPTY;
        self.occupancy.taken -= 1;
        let home = home(self.table.len(), row, start);
        if self.table[home].count == 0 {
            self.occupancy.taken += 1;
            self.table[home] = Flight { start, tag, count: 1, row, sampling, ..Flight::EMPTY };
        } else if let Some(flight) = insert(self.table, self.occupancy, row, start, false) {
            flight.tag = tag;
            flight.sampling = sampling;
        } else {
            // As many of one kind as can be counted.
            let pairing = &mut self.events[usize::from(row)].pairing;
            pairing.open -= 1;
            word::count(&mut pairing.untracked, 1);
        }
    }

    #[cold]
    fn start_anywhere(&mut self, row: u16, start: u64, tag: u64, sampling: u8) -> bool {
        self.seat_newest();
        let is_full = self.is_full(row);
        let pairing = &mut self.events[usize::from(row)].pairing;
        if let Some(place) = find(self.table, row, start, true) {
            let awaited = self.table[place].tag > 0;
            pairing.early -= 1;
            word::count(&mut pairing.paired, 1);
            self.occupancy.early -= 1;
            self.take_one(place);
            return awaited;
        }
        if is_full {
            word::count(&mut pairing.untracked, 1);
        } else if let Some(flight) = insert(self.table, self.occupancy, row, start, false) {
            if flight.mark > 0 {
                // One more of a kind that is uncertain: they cannot be told apart.
                pairing.uncertain += 1;
                self.occupancy.uncertain += 1;
            }
            flight.tag = tag;
            flight.sampling = sampling;
            pairing.open += 1;
        } else {
            word::count(&mut pairing.untracked, 1);
        }
        false
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
        // The usual case: it is the newest.
        if self.occupancy.newest.is(row, start, false) {
            let tag = self.occupancy.newest.tag;
            self.occupancy.newest = Flight::EMPTY;
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
            self.table[place] = Flight::EMPTY;
            self.closed_one(row);
            return Some(tag);
        }
        self.end_anywhere(row, start, pass)
    }

    /// A span was closed that was the only one of its kind, and is gone.
    #[inline]
    fn closed_one(&mut self, row: u16) {
        self.occupancy.taken -= 1;
        let pairing = &mut self.events[usize::from(row)].pairing;
        pairing.open -= 1;
        word::count(&mut pairing.paired, 1);
    }

    #[cold]
    fn end_anywhere(&mut self, row: u16, start: u64, pass: u64) -> Option<u64> {
        // It may be of a kind that is there already, and then takes no room.
        self.seat_newest();
        let is_full = self.is_full(row);
        let pairing = &mut self.events[usize::from(row)].pairing;
        if let Some(place) = find(self.table, row, start, false) {
            let Flight { tag, mark, .. } = self.table[place];
            pairing.open -= 1;
            word::count(&mut pairing.paired, 1);
            if mark > 0 {
                pairing.uncertain -= 1;
                self.occupancy.uncertain -= 1;
            }
            self.take_one(place);
            return Some(tag);
        }
        if is_full {
            without_start(pairing, 1);
        } else if let Some(flight) = insert(self.table, self.occupancy, row, start, true) {
            flight.mark = pass;
            pairing.early += 1;
            self.occupancy.early += 1;
        } else {
            without_start(pairing, 1);
        }
        None
    }

    /// The span that began at `start`, whose END has no START yet, is among the slowest: its tag is wanted once it comes.
    pub(crate) fn await_tag(&mut self, row: u16, start: u64) {
        if let Some(place) = find(self.table, row, start, true) {
            self.table[place].tag = 1;
        }
    }

    /// Every ring has been drained as far as it was after the pass before `pass`: ENDs of earlier passes wait in vain.
    pub(crate) fn settle(&mut self, pass: u64) {
        if self.occupancy.early == 0 {
            return;
        }
        self.remove_where(|flight, pairing, occupancy| {
            let settled = flight.early && flight.mark < pass;
            if settled {
                let count = Word::from(flight.count);
                pairing.early -= count;
                occupancy.early -= widen(count);
                without_start(pairing, count);
            }
            settled
        });
    }

    /// Records were overwritten: the END of every open span may be among them.
    pub(crate) fn lost(&mut self, now: u64) {
        self.seat_newest();
        // Those that were uncertain on a clock that has begun again since are so as of now, else they would be for ever.
        for flight in self.table.iter_mut().filter(|flight| flight.count > 0 && !flight.early) {
            flight.mark = flight.mark.min(now.saturating_add(1));
        }
        for flight in self.table.iter_mut().filter(|flight| flight.count > 0 && !flight.early && flight.mark == 0) {
            flight.mark = now.saturating_add(1);
            self.events[usize::from(flight.row)].pairing.uncertain += Word::from(flight.count);
            self.occupancy.uncertain += u64::from(flight.count);
        }
    }

    /// Gives up the spans that became uncertain before the tick `before`.
    pub(crate) fn abandon(&mut self, before: u64) {
        if self.occupancy.uncertain == 0 {
            return;
        }
        self.remove_where(|flight, pairing, occupancy| {
            let given_up = !flight.early && flight.mark > 0 && flight.mark - 1 < before;
            if given_up {
                let count = Word::from(flight.count);
                pairing.open -= count;
                pairing.uncertain -= count;
                occupancy.uncertain -= widen(count);
                word::count(&mut pairing.abandoned, count);
            }
            given_up
        });
    }

    /// Start tick and tag of the oldest open span of an event. Linear in the size of the table.
    pub(crate) fn oldest(&mut self, row: u16) -> Option<(u64, u64)> {
        self.seat_newest();
        self.table
            .iter()
            .filter(|flight| flight.count > 0 && flight.row == row && !flight.early)
            .map(|flight| (flight.start, flight.tag))
            .min_by_key(|(start, _)| *start)
    }

    fn take_one(&mut self, place: usize) {
        self.table[place].count -= 1;
        if self.table[place].count == 0 {
            remove(self.table, self.occupancy, place);
        }
    }

    fn remove_where(&mut self, mut gone: impl FnMut(&Flight, &mut Pairs, &mut Occupancy) -> bool) {
        let mut place = 0;
        while let Some(flight) = self.table.get(place) {
            if flight.count > 0 && gone(flight, &mut self.events[usize::from(flight.row)].pairing, self.occupancy) {
                // Another one may have moved here: look again.
                remove(self.table, self.occupancy, place);
            } else {
                place += 1;
            }
        }
    }
}

/// Row, start tick and weight of the spans that are open, once the newest one is seated.
pub(crate) fn open(table: &[Flight]) -> impl Iterator<Item = (u16, u64, u64)> {
    table
        .iter()
        .filter(|flight| flight.count > 0 && !flight.early)
        .map(|flight| (flight.row, flight.start, u64::from(flight.count) << flight.sampling))
}

/// ENDs whose START is not in the table: of a span that had no room there, or that was lost.
fn without_start(pairing: &mut Pairs, count: Word) {
    let untracked = pairing.untracked.min(count);
    pairing.untracked -= untracked;
    word::count(&mut pairing.paired, untracked);
    word::count(&mut pairing.orphans, count - untracked);
}

/// Where the search for a kind begins (Fibonacci hashing: Knuth, TAOCP 3, 6.4). The length is a power of two.
#[inline]
fn home(len: usize, row: u16, start: u64) -> usize {
    let hash = (start ^ (u64::from(row) << 48)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // A table of none has no place at all.
    (hash >> 32) as usize & len.wrapping_sub(1)
}

fn find(table: &[Flight], row: u16, start: u64, early: bool) -> Option<usize> {
    if table.is_empty() {
        return None;
    }
    let mask = table.len() - 1;
    let mut place = home(table.len(), row, start);
    // There is always an empty place: `insert` leaves one.
    while table[place].count > 0 {
        if table[place].is(row, start, early) {
            return Some(place);
        }
        place = (place + 1) & mask;
    }
    None
}

/// An eighth stays empty, and at least one place, so that searches are short and end.
#[inline]
const fn has_room(table: &[Flight], occupancy: &Occupancy) -> bool {
    let reserve = if table.len() < 8 { 1 } else { table.len() / 8 };
    occupancy.taken + reserve < table.len()
}

/// One more of this kind; `None` if there is no room.
fn insert<'t>(
    table: &'t mut [Flight],
    occupancy: &mut Occupancy,
    row: u16,
    start: u64,
    early: bool,
) -> Option<&'t mut Flight> {
    if let Some(place) = find(table, row, start, early) {
        let flight = &mut table[place];
        flight.count = flight.count.checked_add(1)?;
        return Some(flight);
    }
    if !has_room(table, occupancy) {
        return None;
    }
    let mask = table.len() - 1;
    let mut place = home(table.len(), row, start);
    while table[place].count > 0 {
        place = (place + 1) & mask;
    }
    occupancy.taken += 1;
    table[place] = Flight { start, count: 1, row, early, ..Flight::EMPTY };
    Some(&mut table[place])
}

/// Empties a place, and moves up what stands behind it only because it was taken.
fn remove(table: &mut [Flight], occupancy: &mut Occupancy, mut hole: usize) {
    let mask = table.len() - 1;
    occupancy.taken -= 1;
    let mut place = hole;
    loop {
        place = (place + 1) & mask;
        let Flight { row, start, count, .. } = table[place];
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
    table[hole] = Flight::EMPTY;
}

#[cfg(test)]
mod tests;
