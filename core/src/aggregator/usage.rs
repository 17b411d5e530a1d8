//! How much of the storage is in use, and whether anything changed without a record: what a drain
//! needs to publish only what changed.

use super::{Aggregator, Counter, MomentsOf, counters::Counters};
use crate::{
    repr::{Repr, Wide},
    spans::exemplars::Exemplar,
    statistics::window::Window,
    storage::{Storage, row::Row, shape::Shape},
};

impl<S: Storage> Aggregator<S> {
    /// Returns the [`counters`](Self::counters) without committing staged samples. If some did not
    /// fit into [`full_counters`](Counters::full_counters), a later call shows this: summaries
    /// commit the samples of their event. Takes constant time.
    pub const fn committed_counters(&self) -> Counters {
        self.counters
    }

    /// Returns a number that increases whenever the summaries or the open spans of several events
    /// change without a record of theirs: because records were lost, because early ENDs or
    /// open spans were given up, or because the clock restarted. In [compact](crate::Compact)
    /// storage, it is always 0.
    ///
    /// Summaries also change without a record when the [start](Self::window_start) of a window
    /// moves and when an event is [marked as sampled](Self::mark_sampled), which do not increase
    /// this number.
    pub const fn unrecorded_changes(&self) -> u64 {
        self.unrecorded_changes + self.occupancy.given_up() as u64
    }
}

impl<S: Storage<Repr = Wide>> Aggregator<S> {
    /// Returns how many bytes of the storage have come into use: those that are
    /// [always](crate::Shape::bytes_once) in use, and those of each event that has had a sample.
    /// The rest of the storage still consists of the zeros that it was created with.
    ///
    /// Of an event's bucket counts, those count that lie near a bucket which has had a sample, in
    /// all windows that need counts; of its buffered samples, as many as there are; of the rest,
    /// everything. An event of which every span has failed has no sample; its exemplars are not
    /// included. Takes time linear in the number of events that have had a sample or a failed span.
    pub fn used_bytes(&mut self) -> usize {
        let shape = self.storage.shape();
        let (mut next, mut bytes) = (self.first_used, shape.bytes_once());
        while let Some(row) = usize::from(next).checked_sub(1).filter(|row| *row < shape.events) {
            bytes += self.row(row).used_bytes(&shape);
            let state = self.state(row);
            next = state.next_used;
            let corrected = usize::from(state.corrected);
            if corrected > 0 {
                bytes += self.row(corrected).used_bytes(&shape);
            }
        }
        let first = shape.first_failed_row();
        for failed in first..first + self.failed_rows {
            bytes += self.row(failed).used_bytes(&shape);
        }
        bytes
    }
}

impl<S: Storage<Repr = Wide>> Row<'_, S> {
    /// Returns how many bytes of the row's sections have come into use.
    fn used_bytes(&self, shape: &Shape) -> usize {
        let samples = self.state.total.count() + self.state.staged.sums.count();
        let samples = samples.saturating_add(self.state.staged.batch.into());
        if samples == 0 {
            return 0;
        }
        let total = size_of::<Counter<S>>();
        let counted = |(number, window): (usize, &Window)| {
            if self.is_counted(number) { window.slice_indices().len() } else { 0 }
        };
        let slices = self.windows.iter().enumerate().map(counted).sum::<usize>();
        let staged = if self.staged.is_empty() { 0 } else { total };
        let per_bucket = slices * size_of::<S::Count>() + total + staged;
        let buffered = usize::try_from(samples).unwrap_or(usize::MAX).min(self.samples.len());
        shape.slices * size_of::<MomentsOf<S>>()
            + self.used_blocks().buckets().min(shape.padded_buckets()) * per_bucket
            + buffered * size_of::<<S::Repr as Repr>::Sample>()
            + self.exemplars() * size_of::<Exemplar>()
    }
}
