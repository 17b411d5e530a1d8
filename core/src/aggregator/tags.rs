//! Matches TAGs with the records that they belong to.
//!
//! A TAG directly behind a DURATION is known when the DURATION is processed, unless a pass, or a
//! chunk of copied records, ends between the two. The tag is then added to the exemplars of the
//! DURATION. Every other TAG belongs to an open span, if there is one with its event and tick.

use super::{Aggregator, row_number};
use crate::{
    record::Record,
    repr::Repr,
    spans::exemplars::{self, Exemplar},
    storage::{Storage, row::StorageExt},
};

/// The records of a ring among which the aggregator finds the TAG of a DURATION and the DURATION of
/// a TAG: a chunk that is being processed, and the record directly before it.
pub(super) struct Neighbours<'c> {
    pub(super) before: Record,
    pub(super) chunk: &'c [Record],
}

impl Neighbours<'_> {
    /// The neighbours of a record of which none are known.
    pub(super) const NONE: Self = Self { before: Record::EMPTY, chunk: &[] };

    /// Returns the tag of a DURATION, the first of the last `left` records, if its TAG is behind
    /// it in the chunk.
    #[inline]
    pub(super) fn tag_behind(&self, duration: Record, left: usize) -> Option<u64> {
        let next = *self.chunk.get(self.chunk.len().wrapping_sub(left).wrapping_add(1))?;
        next.is_tag_of(duration).then(|| next.payload())
    }
}

impl<S: Storage> Aggregator<S> {
    /// Returns whether TAGs are matched with their records. Compact storage without exemplars
    /// ignores them, which saves flash: it has no use for a tag.
    #[inline(always)]
    pub(super) fn takes_tags(&self) -> bool {
        !S::Repr::IS_COMPACT || self.shape().slowest > 0
    }

    /// Processes a TAG, the first of the last `left` records of a chunk. Returns whether it belongs
    /// to the DURATION directly before it. Otherwise, it belongs to an open span, or is counted if
    /// there is none.
    #[cold]
    #[inline(never)]
    pub(super) fn tag(
        &mut self,
        row: usize,
        tag: Record,
        source: u16,
        Neighbours { before, chunk }: &Neighbours<'_>,
        left: usize,
    ) -> bool {
        let before_in_chunk = chunk.len().checked_sub(left + 1).and_then(|index| chunk.get(index));
        let belongs = tag.is_tag_of(*before_in_chunk.unwrap_or(before));
        // Otherwise, the DURATION has been processed with its tag.
        if belongs && (S::Repr::IS_COMPACT || before_in_chunk.is_none()) {
            self.tag_exemplars(row, *before_in_chunk.unwrap_or(before), tag.payload(), source);
        }
        let is_orphan = !belongs
            && (S::ABSENT.in_flight || !self.in_flight().contains(row_number(row), tag.ticks()));
        self.counters.orphan_tags += u64::from(is_orphan);
        belongs
    }

    /// Stores `tag` in the exemplars of a DURATION that was processed before its TAG. `source` is
    /// the one that was passed with it.
    fn tag_exemplars(&mut self, row: usize, duration: Record, tag: u64, source: u16) {
        // If the value is too large, there is no sample.
        let value = self.time.units(duration.payload());
        let Some(weighted) = value.and_then(|value| Self::weigh(value, 0)) else { return };
        let start = duration.ticks().wrapping_sub(duration.payload());
        let untagged = Exemplar::new(weighted.value(), start, None, source);
        let mut row = self.row(row);
        for list in 0..row.exemplar_lists() {
            exemplars::set_tag_of(row.exemplar_list(list), untagged, tag);
        }
        exemplars::set_tag_of(row.staged_exemplars(), untagged, tag);
    }
}
