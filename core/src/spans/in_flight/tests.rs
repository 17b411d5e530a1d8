extern crate std;

use std::{collections::BTreeMap, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    repr::{Compact, Wide},
    spans::pairing::Pairing,
    storage::row_state::RowState,
};

/// A random operation on the table and the model.
#[derive(Clone, Debug)]
enum Step {
    /// A span begins at tick `start`.
    Start { row: u16, start: u64 },
    /// A span that began at tick `start` ends.
    End { row: u16, start: u64 },
    /// The early ENDs of previous steps expire.
    ExpireOrphans,
    /// Records are lost.
    Lost,
    /// The spans that became uncertain more than 5 steps ago are abandoned.
    Abandon,
    /// The END of a span that began at tick `start` is known to be lost.
    EndIsLost { row: u16, start: u64 },
}

/// The number of events.
const ROWS: usize = 3;

/// Returns random steps. Most are for the event in row 0, and many of the start ticks are equal.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = prop_oneof![4 => Just(0_u16), 1 => Just(1), 1 => Just(2)];
    let key = (row, prop_oneof![0..6_u64, 0..1_000_u64]);
    let one = prop_oneof![
        12 => key.clone().prop_map(|(row, start)| Step::Start { row, start }),
        1 => key.clone().prop_map(|(row, start)| Step::EndIsLost { row, start }),
        8 => key.prop_map(|(row, start)| Step::End { row, start }),
        2 => Just(Step::ExpireOrphans),
        1 => Just(Step::Lost),
        1 => Just(Step::Abandon),
    ];
    proptest::collection::vec(one, 0..120)
}

/// A model of the table: the same rules, applied to maps instead of a hash table. The keys of the
/// maps are rows and start ticks.
#[derive(Default)]
struct Model {
    /// The number of open spans, and the step in which they became uncertain.
    open: BTreeMap<(u16, u64), (u64, Option<u64>)>,
    /// The number of early ENDs, and the step in which the last of them came.
    early: BTreeMap<(u16, u64), (u64, u64)>,
    /// How many keys fit into the table.
    capacity: usize,
    /// The counts of each event, except for `open`, `uncertain` and `early`.
    pairings: [Pairing; ROWS],
}

impl Model {
    fn has_room(&self) -> bool {
        self.open.len() + self.early.len() < self.capacity
    }

    /// Returns the number of open spans of an event, and the number of their start ticks.
    fn open_in(&self, row: u16) -> (u64, usize) {
        let of_row = || self.open.iter().filter(|(key, _)| key.0 == row);
        (of_row().map(|(_, (count, _))| count).sum(), of_row().count())
    }

    /// Makes room for the event in `row` if the table is full: of the events with several start
    /// ticks, the one with the most open spans gives up the youngest.
    fn make_room(&mut self, row: u16) {
        if self.has_room() {
            return;
        }
        let youngest = |row| self.open.keys().filter(|key| key.0 == row).max().copied();
        let Some((_, (_, start), giver)) = (0..ROWS as u16)
            .filter(|giver| self.open_in(*giver).1 > 1)
            .map(|giver| (self.open_in(giver).0, youngest(giver), giver))
            .filter_map(|(open, youngest, giver)| Some((open, youngest?, giver)))
            .max_by_key(|(open, _, giver)| (*open, *giver))
        else {
            return;
        };
        let count = self.open[&(giver, start)].0;
        let kept = self.open_in(giver).0 - count;
        if kept - kept / 16 > self.open_in(row).0 {
            self.open.remove(&(giver, start));
            self.pairings[usize::from(giver)].untracked += count;
        }
    }

    fn start(&mut self, row: u16, start: u64) {
        let key = (row, start);
        if !self.early.contains_key(&key) && !self.open.contains_key(&key) {
            self.make_room(row);
        }
        let has_room = self.has_room();
        let pairing = &mut self.pairings[usize::from(row)];
        if let Some((count, _)) = self.early.get_mut(&key) {
            *count -= 1;
            pairing.paired += 1;
        } else if self.open.contains_key(&key) || has_room {
            self.open.entry(key).or_insert((0, None)).0 += 1;
        } else {
            pairing.untracked += 1;
        }
        self.early.retain(|_, (count, _)| *count > 0);
    }

    fn end(&mut self, row: u16, start: u64, pass: u64) {
        let key = (row, start);
        if !self.early.contains_key(&key) && !self.open.contains_key(&key) {
            self.make_room(row);
        }
        if let Some((count, _)) = self.open.get_mut(&key) {
            *count -= 1;
            self.pairings[usize::from(row)].paired += 1;
        } else if self.early.contains_key(&key) || self.has_room() {
            let early = self.early.entry(key).or_insert((0, 0));
            *early = (early.0 + 1, pass);
        } else {
            self.count_without_start(row, 1);
        }
        self.open.retain(|_, (count, _)| *count > 0);
    }

    fn count_without_start(&mut self, row: u16, count: u64) {
        let pairing = &mut self.pairings[usize::from(row)];
        for _ in 0..count {
            if pairing.untracked > 0 {
                pairing.untracked -= 1;
                pairing.paired += 1;
            } else {
                pairing.orphans += 1;
            }
        }
    }

    fn expire_orphans(&mut self, pass: u64) {
        let expired: Vec<_> = self
            .early
            .iter()
            .filter(|(_, (_, seen))| *seen < pass)
            .map(|(key, (count, _))| (*key, *count))
            .collect();
        for (key, count) in expired {
            self.early.remove(&key);
            self.count_without_start(key.0, count);
        }
    }

    fn mark_lost(&mut self, now: u64) {
        for (_, since) in self.open.values_mut() {
            since.get_or_insert(now);
        }
    }

    fn abandon(&mut self, before: u64) {
        let abandoned: Vec<_> = self
            .open
            .iter()
            .filter(|(_, (_, since))| since.is_some_and(|since| since < before))
            .map(|(key, (count, _))| (*key, *count))
            .collect();
        for (key, count) in abandoned {
            self.open.remove(&key);
            self.pairings[usize::from(key.0)].abandoned += count;
        }
    }

    fn end_is_lost(&mut self, row: u16, start: u64) -> bool {
        let pairing = &mut self.pairings[usize::from(row)];
        if let Some((count, _)) = self.open.get_mut(&(row, start)) {
            *count -= 1;
        } else if pairing.untracked > 0 {
            pairing.untracked -= 1;
        } else {
            return false;
        }
        pairing.abandoned += 1;
        self.open.retain(|_, (count, _)| *count > 0);
        true
    }

    fn pairing(&self, row: u16) -> Pairing {
        let of_row = |key: &(u16, u64)| key.0 == row;
        let open = || self.open.iter().filter(|(key, _)| of_row(key)).map(|(_, value)| value);
        Pairing {
            open: open().map(|(count, _)| count).sum(),
            uncertain: open().filter(|(_, since)| since.is_some()).map(|(count, _)| count).sum(),
            early: self
                .early
                .iter()
                .filter(|(key, _)| of_row(key))
                .map(|(_, (count, _))| count)
                .sum(),
            ..self.pairings[usize::from(row)]
        }
    }

    fn oldest(&self, row: u16) -> Option<u64> {
        self.open.keys().filter(|key| key.0 == row).map(|(_, start)| *start).min()
    }
}

/// Takes the steps on a table with `len` entries and on the model, and compares them after each.
fn check<R: Repr>(len: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut table = vec![OpenSpan::EMPTY; len];
    let mut occupancy = Occupancy::default();
    let mut rows = [RowState::<R>::default(); ROWS];
    let capacity = len.saturating_sub((len / 8).max(1));
    let mut model = Model { capacity, ..Model::default() };
    let (mut starts, mut ends) = ([0_u64; ROWS], [0_u64; ROWS]);
    for (number, step) in (1_u64..).zip(steps) {
        let mut in_flight = OpenSpanTable {
            table: &mut table,
            occupancy: &mut occupancy,
            rows: &mut rows,
            repr: PhantomData::<R>,
        };
        let oldest_before = [0, 1, 2].map(|row| in_flight.oldest(row).map(|(start, _)| start));
        let mut changed = None;
        match step {
            Step::Start { row, start } => {
                starts[usize::from(row)] += 1;
                prop_assert!(!in_flight.start(row, start, start + 7, 0));
                model.start(row, start);
                changed = Some(row);
            }
            Step::EndIsLost { row, start } => {
                let is_counted = in_flight.abandon(row, start);
                prop_assert_eq!(is_counted, model.end_is_lost(row, start));
            }
            Step::End { row, start } => {
                ends[usize::from(row)] += 1;
                let tag = in_flight.end(row, start, number);
                prop_assert!(tag.is_none_or(|tag| tag == start + 7));
                model.end(row, start, number);
                changed = Some(row);
            }
            Step::ExpireOrphans => {
                in_flight.remove_older(true, number);
                model.expire_orphans(number);
            }
            Step::Lost => {
                in_flight.mark_lost(number);
                model.mark_lost(number);
            }
            Step::Abandon => {
                in_flight.remove_older(false, number.saturating_sub(5));
                model.abandon(number.saturating_sub(5));
            }
        }
        if let Some(changed) = changed {
            for row in (0..ROWS as u16).filter(|row| *row != changed) {
                let oldest = in_flight.oldest(row).map(|(start, _)| start);
                prop_assert_eq!(oldest, oldest_before[usize::from(row)]);
            }
        }
        for row in 0..ROWS as u16 {
            prop_assert_eq!(in_flight.oldest(row).map(|(start, _)| start), model.oldest(row));
            let pairing = in_flight.rows[usize::from(row)].pairing.unpacked();
            prop_assert_eq!(pairing, model.pairing(row));
            let Pairing { paired, open, untracked, abandoned, early, orphans, .. } = pairing;
            prop_assert_eq!(starts[usize::from(row)], paired + open + untracked + abandoned);
            prop_assert_eq!(ends[usize::from(row)], paired + early + orphans);
        }
    }
    prop_assert_eq!(occupancy.used, table.iter().filter(|entry| entry.count > 0).count());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// In compact storage, the tables of 8 and 16 entries are searched linearly.
    #[test]
    fn the_table_agrees_with_the_model_and_its_counts_add_up(
        is_compact in any::<bool>(),
        steps in steps(),
        len in prop_oneof![Just(0_usize), Just(8), Just(16), Just(256)],
    ) {
        if is_compact { check::<Compact>(len, steps)? } else { check::<Wide>(len, steps)? }
    }
}

/// An entry stores one more than the tick at which its spans became uncertain. For the largest
/// tick, this number does not fit 64 bits. Even so, the span must not count as uncertain twice.
#[test]
fn a_span_becomes_uncertain_only_once_at_the_last_tick() {
    fn check<R: Repr>() {
        let mut table = [OpenSpan::EMPTY; 8];
        let mut occupancy = Occupancy::default();
        let mut rows = [RowState::<R>::default(); 1];
        let mut in_flight = OpenSpanTable {
            table: &mut table,
            occupancy: &mut occupancy,
            rows: &mut rows,
            repr: PhantomData::<R>,
        };
        in_flight.start(0, u64::MAX - 5, 7, 0);
        in_flight.mark_lost(u64::MAX);
        in_flight.mark_lost(u64::MAX);
        assert_eq!(
            in_flight.rows[0].pairing.unpacked(),
            Pairing { open: 1, uncertain: 1, ..Pairing::default() }
        );
        assert_eq!(in_flight.end(0, u64::MAX - 5, 1), Some(7));
        assert_eq!(
            in_flight.rows[0].pairing.unpacked(),
            Pairing { paired: 1, ..Pairing::default() }
        );
        assert!(!occupancy.has_entries() && occupancy.waiting_entries() == 0);
    }
    check::<Wide>();
    check::<Compact>();
}

/// The counts of a pairing have 32 bits in compact storage. Once there can be no more open spans, a
/// START counts as untracked, so that the counts still add up.
#[test]
fn a_start_that_does_not_fit_its_counter_is_untracked() {
    let mut table = [OpenSpan::EMPTY; 8];
    let mut occupancy = Occupancy::default();
    let mut rows = [RowState::<Compact>::default(); 1];
    rows[0].pairing.open = u32::MAX - 1;
    let mut in_flight = OpenSpanTable {
        table: &mut table,
        occupancy: &mut occupancy,
        rows: &mut rows,
        repr: PhantomData::<Compact>,
    };
    in_flight.start(0, 5, 7, 0);
    in_flight.start(0, 6, 7, 0);
    let full = Pairing { open: u32::MAX.into(), untracked: 1, ..Pairing::default() };
    assert_eq!(in_flight.rows[0].pairing.unpacked(), full);
    assert_eq!(in_flight.end(0, 5, 1), Some(7));
    in_flight.start(0, 6, 7, 0);
    let paired = Pairing { open: u32::MAX.into(), untracked: 1, paired: 1, ..Pairing::default() };
    assert_eq!(in_flight.rows[0].pairing.unpacked(), paired);
}
