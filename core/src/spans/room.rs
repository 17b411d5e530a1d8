//! Who gives up room in a full table of open spans.
//!
//! All events share the table. If a span finds no room in it, the event with the most open spans
//! gives up its youngest one, so that an event whose spans never end cannot keep the table from the
//! others. The youngest is the one least likely to hang, and the oldest is the one that shows how
//! long an event has been hanging. An event never gives up its oldest span.
//!
//! Finding the span takes a look at every entry. Wide storage therefore avoids it in two ways: see
//! [`make_room`](OpenSpanTable::make_room).

use super::{
    in_flight::{OpenSpan, OpenSpanTable, reserve, take},
    pairing::PackedPairing,
};
use crate::{repr::Repr, statistics::histogram::count::Count};

/// Returns whether an event that keeps `kept` open spans should give room to an event that has
/// `others` of them.
///
/// It should if it then still has more, by at least a sixteenth. If a smaller difference were
/// enough, events with many open spans would keep taking each other's room. An event without open
/// spans gets room from any event that keeps at least one.
#[inline(always)]
fn should_give_room<N: Count>(mut kept: N, others: N) -> bool {
    kept.subtract(N::from_u64(kept.get() / 16));
    kept > others
}

impl<R: Repr, P: AsMut<PackedPairing<R::Counter>>> OpenSpanTable<'_, R, P> {
    /// Removes an entry of the table, which is full, to make room for a span of the event in `row`.
    /// Its spans are untracked from now on. Returns whether there is room now.
    ///
    /// The entry is the youngest of the event that has the most open spans, among the events that
    /// have several entries. Nothing is removed if this event would not [keep
    /// enough](should_give_room).
    ///
    /// Takes time linear in the size of the table. Wide storage avoids this for tables that stay
    /// full of the spans of busy events:
    ///
    /// - If [`most_open`](super::in_flight::Occupancy::most_open) shows that no event has enough
    ///   open spans, nothing is removed.
    /// - In a table of 128 entries or more, 1 in 128 is left to the events that have less than half
    ///   as many open spans as `most_open`. While one of these entries is free, nothing is removed.
    ///   Without them, the busiest event would fill the entry of each span that ends, and the next
    ///   span of another event would again find no room.
    #[inline(always)]
    pub(super) fn make_room(&mut self, row: u16) -> bool {
        let open_in = |rows: &mut [P], row: u16| rows[usize::from(row)].as_mut().open;
        let own = open_in(self.rows, row);
        if !R::IS_COMPACT
            && !should_give_room(self.occupancy.most_open.saturating_sub(1), own.get())
        {
            return false;
        }
        let left = self.table.len() / 128;
        if !R::IS_COMPACT
            && own.get() < self.occupancy.most_open.div_ceil(2)
            && self.occupancy.used + reserve(self.table) < self.table.len() + left
        {
            return true;
        }
        let (mut chosen, mut chosen_key) = (usize::MAX, (R::Counter::ZERO, 0, 0));
        for (index, entry) in self.table.iter().enumerate() {
            let open = open_in(self.rows, entry.row);
            let has_other_entries = open.get() > u64::from(entry.count);
            // Of two events with as many open spans, the one in the higher row gives up room.
            let key = (open, entry.row, entry.start);
            if entry.count > 0 && !entry.early && has_other_entries && key > chosen_key {
                (chosen, chosen_key) = (index, key);
            }
        }
        if !R::IS_COMPACT {
            self.occupancy.most_open = own.max(chosen_key.0).get();
        }
        let Some(&OpenSpan { count, .. }) = self.table.get(chosen) else { return false };
        let less = R::Counter::from_u64(count.into());
        let mut kept = chosen_key.0;
        kept.subtract(less);
        if !should_give_room(kept, own) {
            return false;
        }
        let pairing = take::<R, P>(self.table, self.occupancy, self.rows, chosen, count);
        pairing.untracked = pairing.untracked.saturating_sum(less);
        if !R::IS_COMPACT {
            self.occupancy.given_up = self.occupancy.given_up.wrapping_add(1);
        }
        true
    }
}

#[cfg(test)]
mod tests;
