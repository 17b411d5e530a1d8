//! Processes failed spans: those that ended with another outcome than `Ok`.
//!
//! How long a failed span took says little about how long the work takes: an order may be rejected
//! at once, or time out. The summaries of an event therefore do not cover its failed spans, unless
//! the event [asks for it](crate::CoveredOutcomes::Any). What is kept of a failed span
//! nevertheless:
//!
//! - It is counted, by outcome.
//! - It is part of a summary of the event's failed spans, if the storage has room for such
//!   summaries. The first failed span of an event takes a row for it.
//! - It is among the exemplars of the event, if it is slow enough.
//! - A limit on a quantile counts it if it exceeds the threshold. A limit on the share of failed
//!   spans counts it in any case.
//! - The summary that is corrected for coordinated omission has the samples that are missing
//!   because of it.

use super::{
    Aggregator, MomentsOf, SpanOrigin, accumulate::new_exemplar, coordinated_omission::slices_at,
    row_number,
};
use crate::{
    spans::exemplars::{self, Exemplar},
    statistics::select::WeightedSample,
    storage::{Storage, row::StorageExt},
};

impl<S: Storage> Aggregator<S> {
    /// Adds a failed span of the event in `row` to the summary of its failed spans: to the total,
    /// and to the slices that contain `tick`.
    #[cold]
    #[inline(never)]
    pub(super) fn add_to_failed(
        &mut self,
        row: usize,
        weighted: WeightedSample,
        tick: Option<u64>,
    ) {
        let mut failed = usize::from(self.state(row).failed);
        if failed == 0 {
            failed = self.shape().first_failed_row() + self.failed_rows;
            self.failed_rows += 1;
            self.state(row).failed = row_number(failed);
            self.state(failed).failed = row_number(row);
        }
        let mut failed = self.row(failed);
        let mut overflow = failed.add_moments(&MomentsOf::<S>::of(weighted), tick);
        if failed.has_histograms() {
            let bucket = failed.buckets().index(weighted.value());
            overflow = overflow.saturating_add(failed.count(bucket, weighted.weight(), tick));
        }
        self.note_overflow(overflow);
    }

    /// Inserts a failed span of the event in `row` into the lists of exemplars in which it belongs:
    /// that of the total, and those of the slices that contain `tick`. Returns whether there may be
    /// such a list.
    #[cold]
    #[inline(never)]
    pub(super) fn add_exemplar(
        &mut self,
        row: usize,
        value: u64,
        tick: Option<u64>,
        origin: &SpanOrigin,
    ) -> bool {
        let mut of_event = self.row(row);
        let (total, windows) = (of_event.total_list(), of_event.windows);
        let is_slow = core::iter::once(total)
            .chain(slices_at(windows, tick))
            .any(|list| exemplars::is_slow(of_event.exemplar_list(list), value));
        if is_slow {
            // Among exemplars of the same value, those that came first are in front.
            self.commit(row);
            let exemplar = [new_exemplar(value, origin)];
            let mut of_event = self.row(row);
            let windows = of_event.windows;
            for list in core::iter::once(total).chain(slices_at(windows, tick)) {
                exemplars::merge(of_event.exemplar_list(list), &exemplar);
            }
        }
        is_slow
    }

    /// Removes the failed spans of a slice, which has expired. `slice` is the index of the slice
    /// among those of all windows.
    pub(super) fn clear_failed(&mut self, slice: usize) {
        if S::ABSENT.failed {
            return;
        }
        let first = self.shape().first_failed_row();
        for failed in first..first + self.failed_rows {
            let mut row = self.row(failed);
            if row.clear_slice(slice) {
                let event = usize::from(row.state.failed);
                self.row(event).exemplar_list(slice).fill(Exemplar::EMPTY);
            }
        }
    }
}
