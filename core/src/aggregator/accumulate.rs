//! Adds samples to the windows and the total of their event.
//!
//! A sample belongs to the total since the start and, for each window, to one of its slices. Adding
//! each sample to all of these sums would be expensive. Instead, an event has one set of *staged*
//! sums, to which samples of the same slices are added. The staged sums are *committed*, that is,
//! added to the total and to the slices, as soon as a sample of other slices arrives or a summary
//! is computed. Compact storage, and storage with counters of 16 bits, also commits them when a
//! slice ends. Committing a few hundred samples together costs about as much as committing a single
//! one.
//!
//! In wide storage, staging itself happens in batches. A sample is stored in the sample buffer
//! anyway, for exact quantiles. Once enough new samples are there, this *batch* is added to the
//! staged sums in one loop.
//!
//! Of an event that happens rarely, hardly any two samples belong to the same slices. Its batch
//! therefore may be *mixed*: samples of several slices, each of which is committed to the slices of
//! its own tick. From then on, an exemplar of each sample is staged.

use core::ops::Range;

use super::{Aggregator, Counter, MomentsOf, SpanOrigin, row_number};
use crate::{
    event::EventId,
    repr::{Repr, StoredMoments, StoredSample},
    spans::exemplars::{self, Exemplar},
    statistics::{
        histogram::count::Count,
        sample_buffer::{Membership, SliceSet},
        select::WeightedSample,
    },
    storage::{
        Storage, StorageParts,
        row::{Row, StorageExt},
        row_state::{RowState, Staged, link},
        shape::{MAX_BATCH, max_batch},
    },
};

/// The largest number of samples that are committed one by one: for so few, this takes less time
/// than to sum their bucket counts first.
const FEW_SAMPLES: u32 = 16;

/// Stages a sample: stores it in the sample buffer of its event, in place of the oldest sample
/// there, and adds it to the batch or, in compact storage, to the staged sums. Returns whether this
/// is all. If not, the caller must also call [`Row::finish_staging`].
///
/// `samples` contains the event's buffer, which begins at index `first` and has the length `len`,
/// which may be 0. `membership` identifies the slices that the sample belongs to.
#[inline(always)]
pub(super) fn stage<S: Storage>(
    state: &mut RowState<S::Repr>,
    samples: &mut [<S::Repr as Repr>::Sample],
    (first, len): (usize, usize),
    weighted: WeightedSample,
    membership: Membership,
) -> bool {
    let sample = <S::Repr as Repr>::Sample::new(weighted, membership);
    let oldest = if len > 0 { samples.get_mut(first + state.next_sample) } else { None };
    let is_buffered = oldest.is_some();
    if let Some(oldest) = oldest {
        *oldest = sample;
        state.next_sample = if state.next_sample + 1 == len { 0 } else { state.next_sample + 1 };
    }
    if S::Repr::IS_COMPACT {
        state.staged.add(sample);
        return S::ABSENT.histogram && S::ABSENT.slowest;
    }
    state.staged.batch += u32::from(is_buffered);
    is_buffered
        && state.staged.batch < max_batch(len)
        && weighted.value() < state.staged.min_slow_value.get()
}

impl<S: Storage> Row<'_, S> {
    /// Completes the staging of a sample that [`stage`] has begun. Returns whether the sample
    /// became an exemplar of the staged samples. If the batch is full, the caller must also call
    /// [`end_batch`](Self::end_batch).
    ///
    /// If the sample is in no batch, adds the sample alone; in compact storage, `stage` has already
    /// added it to the sums. If the sample is slow enough, stores it as an exemplar with the data
    /// in `origin`.
    fn finish_staging(&mut self, weighted: WeightedSample, origin: &SpanOrigin) -> bool {
        let is_buffered = !self.samples.is_empty();
        if S::Repr::IS_COMPACT || !is_buffered {
            if !S::Repr::IS_COMPACT {
                let sample = <S::Repr as Repr>::Sample::new(weighted, Membership::NONE);
                self.state.staged.add(sample);
            }
            if self.has_histograms() {
                self.buckets().count(weighted, self.staged);
            }
        }
        let (value, batch) = (weighted.value(), self.state.staged.batch as usize);
        let is_mixed = !S::Repr::IS_COMPACT && self.state.staged.is_mixed;
        let list = self.staged_exemplars();
        if is_mixed {
            let exemplar = batch.checked_sub(1).and_then(|sample| list.get_mut(sample));
            return exemplar.map(|staged| *staged = new_exemplar(value, origin)).is_some();
        }
        let is_slow = !S::ABSENT.slowest && exemplars::is_slow(list, value);
        if is_slow {
            exemplars::insert(list, new_exemplar(value, origin));
        }
        if !S::Repr::IS_COMPACT {
            let min_slow_value = exemplars::min_slow_value(list);
            self.state.staged.min_slow_value = Counter::<S>::saturating_from(min_slow_value);
        }
        is_slow
    }

    /// Adds the current batch to the staged sums and bucket counts. If it is mixed, or if the
    /// counts of a window have to be completed, commits all that is staged instead, which must not
    /// be from the future. Returns the weight that did not fit into counters.
    pub(super) fn end_batch(&mut self) -> u64 {
        if S::Repr::IS_COMPACT {
            return 0;
        }
        if self.state.staged.is_mixed {
            self.commit_exemplars();
            self.state.staged.is_mixed = false;
            return self.commit_batch(None);
        }
        self.sum_batch();
        if self.first_uncounted(self.newest_to_overwrite()).is_some() {
            return self.commit_sums(true);
        }
        0
    }

    /// Adds the current batch, which must not be mixed, to the staged sums and bucket counts.
    fn sum_batch(&mut self) {
        let buckets = self.buckets();
        for samples in self.take_batch() {
            let samples = &self.samples[samples];
            self.state.staged.sums.add_all(samples);
            if !self.staged.is_empty() {
                buckets.count_all(samples.iter().map(|sample| sample.weighted()), self.staged);
            }
        }
    }

    /// Ends the current batch. Returns the ranges of its samples in the buffer.
    fn take_batch(&mut self) -> [Range<usize>; 2] {
        let len = core::mem::take(&mut self.state.staged.batch) as usize;
        self.newest(len)
    }

    /// Returns the ranges of the newest `len` samples in the buffer, oldest first.
    fn newest(&self, len: usize) -> [Range<usize>; 2] {
        // These are the `len` samples before index `next`. The buffer wraps around, so the first
        // `at_end` of them may lie at its end.
        let next = self.state.next_sample;
        let at_end = len.saturating_sub(next);
        [self.samples.len() - at_end..self.samples.len(), next + at_end - len..next]
    }

    /// Adds each sample of the current batch to the total and to the slices that contain `tick`, or
    /// its own tick if that is `None`. Returns the weight that did not fit into counters.
    fn commit_batch(&mut self, tick: Option<u64>) -> u64 {
        let (buckets, has_histograms) = (self.buckets(), self.has_histograms());
        let (mut overflow, mut indices) = (0_u64, [0; MAX_BATCH as usize]);
        let mut used_blocks = self.used_blocks();
        for samples in self.take_batch() {
            let mut rest = &self.samples[samples];
            while let [first, ..] = rest {
                let (tick, len) = match (tick, first.tick()) {
                    (Some(_), _) => (tick, rest.len()),
                    (None, Some(own)) => (Some(own), self.len_in_same_slices(own, rest)),
                    (None, None) => (None, 1),
                };
                let (run, others) = rest.split_at(len);
                rest = others;
                let mut sums = <S::Repr as Repr>::Moments::EMPTY;
                sums.add_all(run);
                let (moments, counted) = (sums.moments(), if has_histograms { run } else { &[] });
                self.state.total.merge(&moments);
                for (index, sample) in indices.iter_mut().zip(counted) {
                    let weighted = sample.weighted();
                    *index = buckets.index(weighted.value());
                    used_blocks.insert(*index);
                    overflow += self.total.add(0, *index, weighted.weight());
                }
                let Some(tick) = tick else { continue };
                for (number, window) in self.windows.iter().enumerate() {
                    let Some(slice) = window.slice_index(tick) else { continue };
                    overflow += self.slices[slice].merge(&moments);
                    if self.is_counted(number) {
                        let mut counts = self.counts.of_window::<S::Repr>(window);
                        for (index, sample) in indices.iter().zip(counted) {
                            overflow += counts.add(slice, *index, sample.weighted().weight());
                        }
                    }
                }
            }
        }
        self.state.used_blocks = used_blocks.bits();
        overflow + self.count_windows()
    }

    /// Returns how many samples at the beginning of `samples`, at least one, belong to the same
    /// slices as the first one, whose tick is `tick`.
    fn len_in_same_slices(&self, tick: u64, samples: &[<S::Repr as Repr>::Sample]) -> usize {
        let (mut from, mut to) = (0, u64::MAX);
        for window in self.windows {
            if let Some((_, start)) = window.slice_index_and_start(tick) {
                (from, to) = (from.max(start), to.min(start.saturating_add(window.slice_ticks())));
            } else {
                to = to.min(window.start());
            }
        }
        let is_same = |sample: &&_| {
            let tick = <S::Repr as Repr>::Sample::tick(**sample);
            tick.is_some_and(|tick| from <= tick && tick < to)
        };
        samples.iter().take_while(is_same).count().max(1)
    }

    /// Completes the bucket counts of the windows that contain a sample which the next batch may
    /// overwrite in the buffer, while the buffer still holds all of their samples. Nothing may be
    /// staged. Returns the weight that did not fit into counters.
    fn count_windows(&mut self) -> u64 {
        let (newest, before) = (self.newest_to_overwrite(), self.state.counted);
        while let Some(number) = self.first_uncounted(newest) {
            self.state.counted |= 1 << number;
        }
        let (added, mut overflow) = (self.state.counted & !before, 0);
        if added == 0 || !self.has_histograms() {
            return 0;
        }
        let (buckets, mut rest) = (self.buckets(), &*self.samples);
        while let [first, others @ ..] = rest {
            let Some(tick) = first.tick() else {
                rest = others;
                continue;
            };
            let (run, others) = rest.split_at(self.len_in_same_slices(tick, rest));
            rest = others;
            // Only the first 8 windows have a bit.
            for (number, window) in self.windows.iter().enumerate().take(8) {
                if added >> number & 1 == 0 {
                    continue;
                }
                let Some(slice) = window.slice_index(tick) else { continue };
                let mut counts = self.counts.of_window::<S::Repr>(window);
                for sample in run {
                    let weighted = sample.weighted();
                    let bucket = buckets.index(weighted.value());
                    overflow += counts.add(slice, bucket, weighted.weight());
                }
            }
        }
        overflow
    }

    /// Returns the number of the first window that contains this tick and whose bucket counts are
    /// not complete.
    fn first_uncounted(&self, tick: Option<u64>) -> Option<usize> {
        let tick = tick?;
        let mut windows = self.windows.iter().enumerate();
        let found =
            windows.find(|(number, window)| window.start() <= tick && !self.is_counted(*number));
        found.map(|(number, _)| number)
    }

    /// Returns the tick of the newest sample that the next batch may overwrite in the buffer.
    /// Returns `None` if there is none, or if the counts of all windows are complete.
    fn newest_to_overwrite(&self) -> Option<u64> {
        let numbers = 0..self.windows.len();
        if numbers.into_iter().all(|number| self.is_counted(number)) {
            return None;
        }
        let (next, batch) = (self.state.next_sample, max_batch(self.samples.len()) as usize);
        let samples = self.state.total.count().saturating_add(self.state.staged.sums.count());
        if samples.saturating_add(batch as u64) <= self.samples.len() as u64 {
            // The buffer is not full yet.
            return None;
        }
        let (first, last) = self.samples.split_at(next);
        let at_end = batch.min(last.len());
        let samples = last[..at_end].iter().chain(&first[..batch - at_end]);
        samples.map(|sample| sample.tick()).max().flatten()
    }

    /// Prepares staging for samples of the slices that `tick` belongs to. The staged samples must
    /// have been committed. Returns whether `tick` is older than at least one window.
    fn stage_slices_of(&mut self, tick: u64) -> bool {
        let (mut from, mut to, mut is_late) = (0, u64::MAX, false);
        let staged = &mut self.state.staged;
        for window in self.windows {
            let Some((slice, slice_start)) = window.slice_index_and_start(tick) else {
                is_late = true;
                continue;
            };
            (from, to) =
                (from.max(slice_start), to.min(slice_start.saturating_add(window.slice_ticks())));
            staged.slices.add(window, slice);
        }
        // If the sample is late, it is missing in some window. No other sample may be staged
        // together with it, because that one would be missing there, too.
        (staged.from, staged.ticks) = (from, if is_late { 0 } else { to - from });
        is_late
    }

    /// Commits the exemplars of the staged samples, which must not be from the future.
    fn commit_exemplars(&mut self) {
        self.state.staged.min_slow_value = Counter::<S>::ZERO;
        if !self.state.staged.is_mixed {
            self.merge_staged_exemplars(self.total_list());
            for window in self.windows {
                let Some(slice) = window.slice_index(self.state.staged.from) else { continue };
                self.merge_staged_exemplars(slice);
            }
            self.staged_exemplars().fill(Exemplar::EMPTY);
            return;
        }
        let batch = self.newest(self.state.staged.batch as usize);
        for (index, sample) in batch.into_iter().flatten().enumerate() {
            let Some(staged) = self.staged_exemplars().get_mut(index) else { return };
            let exemplar = core::mem::take(staged);
            exemplars::merge(self.exemplar_list(self.total_list()), &[exemplar]);
            let Some(tick) = self.samples[sample].tick() else { continue };
            for window in self.windows {
                let Some(slice) = window.slice_index(tick) else { continue };
                exemplars::merge(self.exemplar_list(slice), &[exemplar]);
            }
        }
    }

    /// Commits the staged samples to the total and, if `in_windows`, for which there must be some,
    /// to their slices. Returns the weight that did not fit into counters.
    fn commit(&mut self, in_windows: bool) -> u64 {
        if !S::Repr::IS_COMPACT {
            let staged = &self.state.staged;
            let are_few = staged.sums.count() == 0 && staged.batch <= FEW_SAMPLES;
            if in_windows && are_few && !staged.is_mixed {
                self.commit_exemplars();
                return self.commit_batch(Some(self.state.staged.from));
            }
            if staged.is_mixed {
                return self.end_batch();
            }
            self.sum_batch();
        }
        self.commit_sums(in_windows)
    }

    /// Commits the staged sums, bucket counts and exemplars; the batch must be empty. Parameter and
    /// result are as for [`commit`](Self::commit).
    #[inline(always)]
    fn commit_sums(&mut self, in_windows: bool) -> u64 {
        let mut overflow = 0_u64;
        let moments = self.state.staged.sums.moments();
        self.state.staged.sums = <S::Repr as Repr>::Moments::EMPTY;
        if !S::Repr::IS_COMPACT {
            self.state.staged.min_slow_value = Counter::<S>::ZERO;
        }
        let used = if self.has_histograms() { self.buckets().index_range(&moments) } else { 0..0 };

        self.state.total.merge(&moments);
        if self.has_histograms() {
            if !S::Repr::IS_COMPACT {
                let mut used_blocks = self.used_blocks();
                used_blocks.insert_all(self.staged, &used);
                self.state.used_blocks = used_blocks.bits();
            }
            let weight = self.state.total.weight();
            overflow += self.total.add_all::<S::Repr>(0, self.staged, &used, weight);
        }
        self.merge_staged_exemplars(self.total_list());
        for (number, window) in if in_windows { self.windows } else { &[] }.iter().enumerate() {
            let Some(slice) = window.slice_index(self.state.staged.from) else { continue };
            let sums = &mut self.slices[slice];
            overflow += sums.merge(&moments);
            if self.has_histograms() && self.is_counted(number) {
                let weight = self.slices[slice].weight();
                let mut counts = self.counts.of_window::<S::Repr>(window);
                overflow += counts.add_all::<S::Repr>(slice, self.staged, &used, weight);
            }
            self.merge_staged_exemplars(slice);
        }
        self.staged[used].fill(Counter::<S>::ZERO);
        self.staged_exemplars().fill(Exemplar::EMPTY);
        if S::Repr::IS_COMPACT { overflow } else { overflow + self.count_windows() }
    }
}

impl<S: Storage> Aggregator<S> {
    /// Calls [`Row::finish_staging`], and ends a full batch. It is a function of its own so that
    /// the compiler keeps this rare call, with the view of the row that it needs, out of the paths
    /// of the usual records.
    pub(super) fn finish_staging(
        &mut self,
        row: usize,
        weighted: WeightedSample,
        origin: &SpanOrigin,
    ) -> bool {
        let mut row = self.row(row);
        let is_slow = row.finish_staging(weighted, origin);
        if !S::Repr::IS_COMPACT && row.state.staged.batch >= max_batch(row.samples.len()) {
            let overflow = row.end_batch();
            self.note_overflow(overflow);
        }
        is_slow
    }

    /// Whether staged samples may stay staged after their slices have ended, until a query commits
    /// them or the batch is full.
    ///
    /// This must not make a difference. Bucket counters of 16 bits may saturate, and then each
    /// sample has to reach them before its slice has left the window:
    /// [`full_counters`](super::Counters::full_counters) would otherwise miss it.
    pub(super) const COMMITS_LATE: bool =
        !S::Repr::IS_COMPACT && <S::Count as Count>::MAX >= u32::MAX as u64;

    /// Returns the first tick that lies in all windows.
    #[inline(always)]
    pub(super) fn first_in_all_windows(&mut self) -> u64 {
        let windows = self.storage.parts().windows.iter();
        windows.map(crate::statistics::window::Window::start).max().unwrap_or(0)
    }

    /// Adds a sample to the windows, the total and the limits of the event in `row`. `ticks` is the
    /// tick at which the sample was recorded.
    ///
    /// A sample is staged on its own if it does not belong to every window: because it is late,
    /// that is, older than a window, or because it is from the future. The latter counts in the
    /// total only.
    #[inline]
    pub(super) fn add_sample(
        &mut self,
        row: usize,
        weighted: WeightedSample,
        ticks: u64,
        origin: &SpanOrigin,
    ) {
        let (is_future, tick) = (self.is_future(ticks), ticks.min(self.now));
        let has_failed = origin.has_failed();
        let is_summarized = !has_failed || self.state(row).covers_failed;
        // A tick that has left a window is late for it, even if staged samples are as old.
        let is_covered = !is_future
            && self.state(row).staged.covers(tick)
            && (!Self::COMMITS_LATE || tick >= self.first_in_all_windows());
        let mut is_late = !is_covered && self.prepare_staging(row, tick, is_future);
        let is_slow = if is_summarized {
            let shape = self.shape();
            let StorageParts { rows, samples, .. } = self.storage.parts();
            let state = &mut rows[row];
            let membership = if is_future {
                Membership::NONE
            } else {
                Membership::new(tick, state.staged.slices)
            };
            let buffer = (row * shape.samples, shape.samples);
            let is_staged = stage::<S>(state, samples, buffer, weighted, membership);
            !is_staged && self.finish_staging(row, weighted, origin)
        } else {
            !S::ABSENT.slowest
                && self.add_exemplar(row, weighted.value(), (!is_future).then_some(tick), origin)
        };
        is_late |= !is_future && self.tally(row, weighted, tick, has_failed);
        if is_future {
            self.counters.clock_anomalies += 1;
            // Nothing is staged of a failed span. To ask for it would take more flash.
            self.commit_staged(row, false);
        }
        self.counters.late += u64::from(is_late);
        // What only few samples need follows.
        if has_failed && self.shape().failed > 0 {
            self.add_to_failed(row, weighted, (!is_future).then_some(tick));
        }
        if !S::ABSENT.corrected && self.state(row).corrected > 0 {
            self.correct(row, weighted, (!is_future).then_some(tick), !is_summarized);
        }
        if is_slow && origin.awaits_tag {
            self.in_flight().await_tag(row_number(row), origin.start);
        }
    }

    /// Commits what is staged for the event in `row`, except for a batch that may become mixed, and
    /// prepares staging for samples of the slices that `tick` belongs to. Returns whether `tick` is
    /// older than at least one window.
    ///
    /// If `is_future`, the sample to stage belongs to no slice; the result is then `false`.
    #[cold]
    #[inline(never)]
    pub(super) fn prepare_staging(&mut self, row: usize, tick: u64, is_future: bool) -> bool {
        // A sample does not distinguish the last two ticks, which may belong to different slices.
        let are_ticks_exact = self.now < u64::MAX - 1;
        let staged = &mut self.state(row).staged;
        // Many samples of the same slices are faster committed together.
        let are_many = staged.sums.count() > 0 || staged.batch > FEW_SAMPLES && !staged.is_mixed;
        if !Self::COMMITS_LATE || is_future || are_many || !are_ticks_exact {
            self.commit(row);
        } else if staged.batch > 0 {
            // The exemplars so far are of other samples than those with the same position in the
            // batch, but all of these samples belong to the same slices.
            (staged.is_mixed, staged.min_slow_value) = (true, Counter::<S>::ZERO);
        }
        if !S::Repr::IS_COMPACT && self.state(row).next_used == 0 {
            self.state(row).next_used = self.first_used;
            self.first_used = link(row_number(row));
        }
        let mut row = self.row(row);
        (row.state.staged.ticks, row.state.staged.slices) = (0, SliceSet::NONE);
        !is_future && row.stage_slices_of(tick)
    }

    /// Commits what is staged for the event in `row` to the total and to the slices that it belongs
    /// to. Takes time linear in the buckets between the smallest and the largest staged sample.
    #[inline(never)]
    pub(super) fn commit(&mut self, row: usize) {
        // The rows after the events are further summaries, for which nothing is ever staged.
        if row < self.shape().events && !self.state(row).staged.is_empty() {
            self.commit_staged(row, true);
        }
    }

    /// Commits what is staged for the event in `row`, which may be nothing, to the total and, if
    /// `in_windows`, to the slices that it belongs to.
    #[inline(never)]
    fn commit_staged(&mut self, row: usize, in_windows: bool) {
        let overflow = self.row(row).commit(in_windows);
        self.note_overflow(overflow);
    }

    /// Counts weight that did not fit into counters because they are saturated.
    #[inline(always)]
    pub(super) fn note_overflow(&mut self, weight: u64) {
        self.counters.full_counters = self.counters.full_counters.saturating_add(weight);
    }

    /// Returns the moments of all samples of the event in `row` since the start, including the
    /// staged ones.
    pub(super) fn total_moments(&mut self, row: usize) -> MomentsOf<S> {
        let mut row = self.row(row);
        let overflow = if S::Repr::IS_COMPACT { 0 } else { row.end_batch() };
        let mut moments = row.state.total;
        moments.merge(&row.state.staged.sums.moments());
        if !S::Repr::IS_COMPACT {
            self.note_overflow(overflow);
        }
        moments
    }

    /// Commits what is staged for `event`. Does nothing for an unknown event.
    pub(super) fn commit_event(&mut self, event: EventId) {
        if let Some((row, _)) = self.row_of(event) {
            self.commit(row);
        }
    }

    /// Commits what is staged for all events. The next sample of each event looks up its slices
    /// anew, because the windows may be about to advance.
    #[inline(never)]
    pub(super) fn commit_all(&mut self) {
        let events = self.shape().events;
        let mut next = if S::Repr::IS_COMPACT { link(0) } else { self.first_used };
        while let Some(row) = usize::from(next).checked_sub(1).filter(|row| *row < events) {
            self.commit(row);
            let state = self.state(row);
            state.staged = Staged::EMPTY;
            next = if S::Repr::IS_COMPACT { next + 1 } else { state.next_used };
        }
    }
}

/// Creates the exemplar of a sample. `value` is in internal units.
pub(super) fn new_exemplar(value: u64, origin: &SpanOrigin) -> Exemplar {
    let exemplar = Exemplar::new(value, origin.start, origin.tag, origin.source);
    let outcome = origin.kind.outcome();
    let exemplar = outcome.map_or(exemplar, |outcome| exemplar.with_outcome(outcome));
    if origin.awaits_tag { exemplar.awaiting_tag() } else { exemplar }
}
