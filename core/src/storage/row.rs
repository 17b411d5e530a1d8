//! A view of one row of a storage.

use super::{
    Absent, Storage, StorageParts,
    bucket_counts::{BucketCounts, InGroup, padded},
    row_state::RowState,
    shape::Shape,
    used_blocks::UsedBlocks,
};
use crate::{
    event::Unit,
    repr::{Repr, StoredSample},
    spans::exemplars::{self, Exemplar},
    statistics::{histogram::buckets::Buckets, window::Window},
};

/// The bit that is set in an entry of [`StorageParts::row_of_id`] if the event's unit is
/// [`Unit::One`].
pub(crate) const UNIT_ONE: u16 = 0x8000;

/// What follows from the shape of a type of storage.
pub(crate) trait StorageExt: Storage {
    /// The features that no storage of this type has room for.
    const ABSENT: Absent = match &Self::SHAPE {
        Some(shape) => Absent::of(shape),
        None => Absent::NOTHING,
    };

    /// Returns the row of an event, given its id, and the unit of its values; `None` for an unknown
    /// event. `row_of_id` is [`StorageParts::row_of_id`].
    #[inline]
    fn row_of(row_of_id: &[u16], id: u16) -> Option<(usize, Unit)> {
        let entry = *row_of_id.get(usize::from(id))?;
        let is_number = !Self::ABSENT.numbers && entry & UNIT_ONE != 0;
        let unit = if is_number { Unit::One } else { Unit::Time };
        usize::from(entry & !UNIT_ONE).checked_sub(1).map(|row| (row, unit))
    }
}

impl<S: Storage> StorageExt for S {}

/// The statistics that a storage holds of one row, without its limits, and what the operations on a
/// row share.
///
/// The row of a further summary (corrected, or of failed spans) has no staged counts, samples or
/// exemplars: these are empty.
pub(crate) struct Row<'a, S: Storage> {
    pub(crate) shape: Shape,
    /// [`StorageParts::row_of_id`], which holds the unit of each event.
    units: &'a [u16],
    pub(crate) windows: &'a [Window],
    pub(crate) state: &'a mut RowState<S::Repr>,
    /// The moments of each slice.
    pub(crate) slices: &'a mut [<S::Repr as Repr>::Moments],
    /// The bucket counts of the slices.
    pub(crate) counts: BucketCounts<'a, S::Count>,
    /// The bucket counts since the start, in slice 0.
    pub(crate) total: BucketCounts<'a, <S::Repr as Repr>::Counter>,
    /// The bucket counts of the staged samples.
    pub(crate) staged: &'a mut [<S::Repr as Repr>::Counter],
    /// The sample buffer.
    pub(crate) samples: &'a mut [<S::Repr as Repr>::Sample],
    /// The lists of exemplars: one for each slice, one for the total, one for the staged samples.
    exemplars: &'a mut [Exemplar],
    /// Temporary memory.
    pub(crate) scratch: &'a mut [<<S::Repr as Repr>::Sample as StoredSample>::Scratch],
    pub(crate) folded: &'a mut [<S::Repr as Repr>::Counter],
}

/// Returns the section with this index of an array of sections that have `len` elements each. It is
/// empty if the array has no such section.
#[inline(always)]
fn section<T>(all: &mut [T], index: usize, len: usize) -> &mut [T] {
    all.get_mut(index * len..).and_then(|rest| rest.get_mut(..len)).unwrap_or_default()
}

impl<'a, S: Storage> Row<'a, S> {
    /// Borrows a row, which must exist.
    #[inline(always)]
    pub(crate) fn new(
        shape: Shape,
        parts: StorageParts<'a, S::Repr, S::Count>,
        row: usize,
    ) -> Self {
        debug_assert!(row < shape.rows(), "the row exists");
        // The `min` proves to the compiler that the row is valid, so that it can omit bounds
        // checks. This saves flash.
        let row = if S::Repr::IS_COMPACT { row.min(shape.rows() - 1) } else { row };
        // Not by `Shape::padded_buckets`, which checks the shape again.
        let has_histograms = shape.octaves > 0;
        let buckets = if has_histograms { padded(shape.buckets(Unit::Time).len()) } else { 0 };
        let exemplars = shape.exemplars_per_event();
        let (samples, exemplars) =
            if row < shape.events { (shape.samples, exemplars) } else { (0, 0) };
        let StorageParts { row_of_id: units, windows, rows, scratch, folded, .. } = parts;
        // The staged counts of the events follow the totals of all rows.
        let (totals, staged) =
            parts.totals.split_at_mut_checked(shape.rows() * buckets).unwrap_or_default();
        let place = InGroup::new::<S::Repr>(row, shape.rows());
        Self {
            shape,
            units,
            windows,
            state: &mut rows[row],
            slices: section(parts.slices, row, shape.slices),
            counts: BucketCounts::new(parts.counts, place, (shape.slices, buckets)),
            total: BucketCounts::new(totals, place, (1, buckets)),
            staged: section(staged, row, buckets),
            samples: section(parts.samples, row, samples),
            exemplars: section(parts.slowest, row, exemplars),
            scratch,
            folded,
        }
    }

    /// Returns the unit of the row's values. A further summary always holds durations: it has the
    /// id 0, whose entry in `row_of_id` is 0.
    #[inline(always)]
    pub(crate) fn unit(&self) -> Unit {
        let is_number = !S::ABSENT.numbers
            && self.units.get(usize::from(self.state.id)).is_some_and(|e| e & UNIT_ONE != 0);
        if is_number { Unit::One } else { Unit::Time }
    }

    /// Returns the buckets of the row's histograms.
    #[inline(always)]
    pub(crate) fn buckets(&self) -> Buckets {
        self.shape.buckets(self.unit())
    }

    /// Returns which blocks of the row's histograms have ever had a sample. In compact storage,
    /// nothing keeps track of it.
    #[inline(always)]
    pub(crate) fn used_blocks(&self) -> UsedBlocks {
        let buckets = if S::Repr::IS_COMPACT { 0 } else { self.folded.len() };
        UsedBlocks::new(self.state.used_blocks, buckets)
    }

    /// Returns whether the row has histograms.
    #[inline(always)]
    pub(crate) const fn has_histograms(&self) -> bool {
        self.shape.octaves > 0
    }

    /// Returns whether the bucket counts of the window with this number are complete: see
    /// [`RowState::counted`].
    #[inline(always)]
    pub(crate) fn is_counted(&self, window: usize) -> bool {
        let bit = u32::try_from(window).ok().and_then(|window| 1_u8.checked_shl(window));
        S::Repr::IS_COMPACT
            || self.samples.is_empty()
            || bit.is_none_or(|bit| self.state.counted & bit != 0)
    }

    /// Returns a list of exemplars: that of the slice with this index, or of the total, which
    /// follows the slices.
    #[inline(always)]
    pub(crate) fn exemplar_list(&mut self, list: usize) -> &mut [Exemplar] {
        section(self.exemplars, list, self.shape.slowest)
    }

    /// Returns the number of exemplars in all lists.
    pub(crate) const fn exemplars(&self) -> usize {
        self.exemplars.len()
    }

    /// Returns the index of the list of exemplars since the start.
    #[inline(always)]
    pub(crate) const fn total_list(&self) -> usize {
        self.shape.slices
    }

    /// Returns the exemplars of the staged samples. If the batch is not mixed, this is a list like
    /// the others. Otherwise, each entry that is in use belongs to the slices of the sample that
    /// has the same position in the batch.
    #[inline(always)]
    pub(crate) fn staged_exemplars(&mut self) -> &mut [Exemplar] {
        let list = self.shape.exemplar_lists();
        if S::Repr::IS_COMPACT || !self.state.staged.is_mixed {
            return self.exemplar_list(list);
        }
        self.exemplars.get_mut(list * self.shape.slowest..).unwrap_or_default()
    }

    /// Returns the number of lists of exemplars, besides that of the staged samples.
    #[inline(always)]
    pub(crate) const fn exemplar_lists(&self) -> usize {
        self.shape.exemplar_lists()
    }

    /// Merges the exemplars of the staged samples, which must not be mixed, into the list with this
    /// index: that of a slice, or of the total, which has the index
    /// [`total_list`](Self::total_list).
    pub(crate) fn merge_staged_exemplars(&mut self, list: usize) {
        if S::ABSENT.slowest {
            return;
        }
        let per_list = self.shape.slowest;
        let at = self.shape.exemplar_lists() * per_list;
        if let Some((lists, staged)) = self.exemplars.split_at_mut_checked(at) {
            let staged = staged.get(..per_list).unwrap_or_default();
            exemplars::merge(section(lists, list, per_list), staged);
        }
    }
}
