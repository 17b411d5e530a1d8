extern crate std;

use core::marker::PhantomData;
use std::{vec, vec::Vec};

use crate::{
    repr::{Compact, Repr, Wide},
    spans::{
        in_flight::{Occupancy, OpenSpan, OpenSpanTable},
        pairing::Pairing,
    },
    storage::row_state::RowState,
};

/// A table of open spans with the states of its events.
struct Table<R: Repr> {
    entries: Vec<OpenSpan>,
    occupancy: Occupancy,
    rows: Vec<RowState<R>>,
}

impl<R: Repr> Table<R> {
    fn new(len: usize, events: usize) -> Self {
        let (entries, rows) = (vec![OpenSpan::EMPTY; len], vec![RowState::default(); events]);
        Self { entries, occupancy: Occupancy::default(), rows }
    }

    fn parts(&mut self) -> OpenSpanTable<'_, R, RowState<R>> {
        OpenSpanTable {
            table: &mut self.entries,
            occupancy: &mut self.occupancy,
            rows: &mut self.rows,
            repr: PhantomData,
        }
    }

    /// Begins a span with its row and tick as its tag.
    fn start(&mut self, row: u16, start: u64) {
        self.parts().start(row, start, tag(row, start), 0);
    }

    fn end(&mut self, row: u16, start: u64) -> Option<u64> {
        self.parts().end(row, start, 1)
    }

    fn oldest(&mut self, row: u16) -> Option<u64> {
        let (start, found) = self.parts().oldest(row)?;
        assert_eq!(found, tag(row, start));
        Some(start)
    }

    fn pairing(&self, row: u16) -> Pairing {
        self.rows[usize::from(row)].pairing.unpacked()
    }

    fn open_and_untracked(&self, row: u16) -> (u64, u64) {
        let Pairing { open, untracked, .. } = self.pairing(row);
        (open, untracked)
    }
}

fn tag(row: u16, start: u64) -> u64 {
    start * 100 + u64::from(row)
}

/// Runs a check in both representations, with small and large tables. The second argument is how
/// many of the entries every event may use, and the third is how many more are left to events that
/// have fewer open spans than others.
macro_rules! in_all_tables {
    ($check:ident) => {
        $check::<Wide>(8, 7, 0);
        $check::<Wide>(1_024, 896, 8);
        $check::<Compact>(8, 7, 0);
        $check::<Compact>(64, 56, 0);
        $check::<Compact>(256, 224, 0);
    };
}

#[test]
fn leaked_spans_of_one_event_do_not_hide_another_event() {
    fn check<R: Repr>(len: usize, room: u64, left: u64) {
        let mut table = Table::<R>::new(len, 2);
        (1..=10_000).for_each(|start| table.start(0, start));
        assert_eq!(table.open_and_untracked(0), (room, 10_000 - room));
        (0..=left).for_each(|n| table.start(1, 20_000 + n));
        assert_eq!(table.oldest(1), Some(20_000));
        assert_eq!(table.open_and_untracked(1), (left + 1, 0));
        // The other event has given up its youngest span, and has kept the oldest.
        assert_eq!(table.oldest(0), Some(1));
        assert_eq!(table.open_and_untracked(0), (room - 1, 10_001 - room));
        for start in 20_000..=20_000 + left {
            assert_eq!(table.end(1, start), Some(tag(1, start)));
        }
        assert_eq!(table.pairing(1), Pairing { paired: left + 1, ..Pairing::default() });
        // The END of the span that was given up is taken for that of an untracked START.
        assert_eq!(table.end(0, room), None);
        table.parts().remove_older(true, 2);
        let left =
            Pairing { open: room - 1, untracked: 10_000 - room, paired: 1, ..Pairing::default() };
        assert_eq!(table.pairing(0), left);
        for start in 1..room {
            assert_eq!(table.end(0, start), Some(tag(0, start)));
        }
        assert!(!table.occupancy.has_entries());
    }
    in_all_tables!(check);
}

#[test]
fn whole_spans_in_a_full_table_keep_their_tags() {
    fn check<R: Repr>(len: usize, room: u64, left: u64) {
        let mut table = Table::<R>::new(len, 2);
        (1..=room).for_each(|start| table.start(0, start));
        for start in 1_000..2_000 {
            table.start(1, start);
            assert_eq!(table.end(1, start), Some(tag(1, start)));
        }
        // At most the first of them needed room of the other event.
        let given_up = u64::from(left == 0);
        assert_eq!(table.open_and_untracked(0), (room - given_up, given_up));
        assert_eq!(table.pairing(1), Pairing { paired: 1_000, ..Pairing::default() });
    }
    in_all_tables!(check);
}

#[test]
fn every_event_that_hangs_is_found_while_there_are_fewer_events_than_entries() {
    fn check<R: Repr>(len: usize, room: u64, _left: u64) {
        #[expect(clippy::cast_possible_truncation, reason = "at most 1,024")]
        let events = room as u16;
        let mut table = Table::<R>::new(len, usize::from(events));
        for row in 0..events {
            (0..room).for_each(|n| table.start(row, u64::from(row) * room + n));
        }
        for row in 0..events {
            assert_eq!(table.oldest(row), Some(u64::from(row) * room), "{row}");
            let (open, untracked) = table.open_and_untracked(row);
            assert_eq!(open + untracked, room);
        }
    }
    in_all_tables!(check);
}

/// Otherwise each START would take the room of the one before it.
#[test]
fn an_event_takes_no_room_from_one_with_about_as_many_open_spans() {
    let mut table = Table::<Wide>::new(1_024, 2);
    (0..448).for_each(|start| table.start(0, start));
    (0..448).for_each(|start| table.start(1, 1_000 + start));
    assert_eq!((table.end(1, 1_000), table.end(1, 1_001)), (Some(100_001), Some(100_101)));
    table.start(0, 448);
    table.start(0, 449);
    table.start(1, 2_000);
    assert_eq!(table.open_and_untracked(0), (450, 0));
    assert_eq!(table.open_and_untracked(1), (446, 1));
}

/// The busiest event cannot fill the room that is left to the others. If it could, each of their
/// spans would again have to be made room for.
#[test]
fn an_event_with_few_open_spans_finds_room_again_without_taking_any() {
    let mut table = Table::<Wide>::new(1_024, 2);
    (0..1_000).for_each(|start| table.start(0, start));
    for round in 1..100_u64 {
        let at = 10_000 * round;
        (0..20).for_each(|n| table.start(1, at + n));
        (0..20).for_each(|n| assert_eq!(table.end(1, at + n), Some(tag(1, at + n))));
        (100..120).for_each(|n| table.start(0, at + n));
    }
    // Each round takes back the room for 12 spans, beside the 8 entries that are left to it.
    assert_eq!(table.occupancy.given_up(), 99 * 12);
    let mut table = Table::<Wide>::new(1_024, 2);
    (0..1_000).for_each(|start| table.start(0, start));
    for at in (10_000..20_000).step_by(10) {
        (0..8).for_each(|n| table.start(1, at + n));
        (0..8).for_each(|n| assert_eq!(table.end(1, at + n), Some(tag(1, at + n))));
        table.start(0, at);
    }
    assert_eq!(table.occupancy.given_up(), 0);
}

/// The spans of an entry cannot be given up one by one, and an event keeps its oldest entry.
#[test]
fn spans_that_share_an_entry_are_given_up_together_or_not_at_all() {
    fn check<R: Repr>() {
        let mut table = Table::<R>::new(8, 3);
        (0..9).for_each(|_| table.start(0, 5));
        (0..3).for_each(|_| table.start(1, 6));
        (10..15).for_each(|start| table.start(1, start));
        assert_eq!((table.pairing(0).open, table.pairing(1).open), (9, 8));
        // The event with the most open spans has one entry only.
        table.start(2, 20);
        assert_eq!(table.open_and_untracked(2), (1, 0));
        assert_eq!(table.open_and_untracked(0), (9, 0));
        assert_eq!(table.open_and_untracked(1), (7, 1));
        for start in 10..14 {
            assert!(table.end(1, start).is_some());
        }
        (0..2).for_each(|_| table.start(1, 30));
        (31..34).for_each(|start| table.start(2, start));
        assert_eq!((table.pairing(1).open, table.pairing(2).open), (5, 4));
        // The youngest entry of the event with the most spans in several entries has two spans. The
        // event would be left with fewer than the other has.
        table.start(2, 40);
        assert_eq!(table.open_and_untracked(2), (4, 1));
        assert_eq!(table.open_and_untracked(1), (5, 1));
    }
    check::<Wide>();
    check::<Compact>();
}

#[test]
fn uncertain_spans_are_given_up_without_remaining_uncertain() {
    fn check<R: Repr>() {
        let mut table = Table::<R>::new(8, 2);
        (0..7).for_each(|start| table.start(0, start));
        table.parts().mark_lost(50);
        table.start(1, 60);
        let pairing = Pairing { open: 6, uncertain: 6, untracked: 1, ..Pairing::default() };
        assert_eq!(table.pairing(0), pairing);
        assert_eq!(table.pairing(1), Pairing { open: 1, ..Pairing::default() });
        table.parts().remove_older(false, 51);
        let pairing = Pairing { abandoned: 6, untracked: 1, ..Pairing::default() };
        assert_eq!(table.pairing(0), pairing);
        assert_eq!(table.occupancy.waiting_entries(), 0);
    }
    check::<Wide>();
    check::<Compact>();
}

/// If the END were dropped, its START would stay open for ever.
#[test]
fn an_early_end_in_a_full_table_gets_room_to_wait() {
    fn check<R: Repr>(len: usize, room: u64, _left: u64) {
        let mut table = Table::<R>::new(len, 2);
        (1..=room).for_each(|start| table.start(0, start));
        assert_eq!(table.end(1, 2_000), None);
        assert_eq!(table.pairing(1), Pairing { early: 1, ..Pairing::default() });
        assert_eq!(table.end(0, 1), Some(tag(0, 1)));
        table.start(1, 2_000);
        assert_eq!(table.pairing(1), Pairing { paired: 1, ..Pairing::default() });
    }
    in_all_tables!(check);
}
