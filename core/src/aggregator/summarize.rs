//! Computes summaries, quantiles and exemplars.
//!
//! The arrays of the storage are divided into *rows*, numbered from 0. Each event has a row. A
//! summary that is corrected for coordinated omission has a row of its own, but without sample
//! buffer and exemplars. These parts of a row are read here:
//!
//! - the moments (count, sums and extremes) and the bucket counts of each slice of each window, and
//!   those of the total since the start
//! - the *sample buffer*, which holds the event's newest samples; while it contains all samples of
//!   a window, their quantiles are exact
//! - the lists of exemplars (the slowest samples): one for each slice, and one for the total
//!
//! New samples are *staged*: they are collected for their event first. A query *commits* them, that
//! is, adds them to the slices and to the total, before it reads these.

use super::{
    Aggregator, Counter, MomentsOf,
    counters::Outcomes,
    distribution::{Distribution, DistributionData},
    row_number,
};
use crate::{
    clock::OptionalTick,
    event::{EventId, Unit},
    repr::{Repr, StoredMoments, StoredSample},
    spans::{
        exemplars::{self, Exemplar},
        pairing::Pairing,
    },
    statistics::{
        histogram::{self, buckets::Estimate, count::Count},
        moments::{Moments, Sum},
        quantile::Quantile,
        sample_buffer::WindowFilter,
        summary::{Accuracy, QUANTILES, QuantileValues, Quantiles, Summary, UnitConverter},
    },
    storage::{
        Storage,
        row::{Row, StorageExt},
    },
};

/// The time that a summary covers: a window, or the total since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Scope {
    /// The window with this index among the windows that were passed to [`Aggregator::new`].
    Window(usize),
    /// The time since the aggregator was created.
    Total,
}

/// The samples that a summary is computed from: those of one row over one scope.
struct Selection<M> {
    /// The number of the row, which is that of an event or of a further summary.
    row: usize,
    /// The unit of the row's values.
    unit: Unit,
    scope: Scope,
    /// The first tick of the window; 0 for the total. Set by
    /// [`sum_moments`](Aggregator::sum_moments).
    start: u64,
    /// The moments of the selected samples. Set by [`sum_moments`](Aggregator::sum_moments).
    moments: Moments<M>,
}

type SelectionOf<S> = Selection<<<S as Storage>::Repr as Repr>::Sum>;

impl<M: Sum> Selection<M> {
    const fn new(row: usize, unit: Unit, scope: Scope) -> Self {
        Self { row, unit, scope, start: 0, moments: Moments::EMPTY }
    }
}

impl<S: Storage> Aggregator<S> {
    /// Returns the summary of `event` over `scope`. It covers the spans that ended with
    /// [`Outcome::Ok`](crate::Outcome::Ok), or all that ended if the event [asks for
    /// it](crate::EventInfo::outcomes). Returns `None` if the scope contains no samples, or if
    /// there is no such event or window.
    ///
    /// Takes time linear in the slices of the window times the buckets between the smallest and the
    /// largest sample, or the time to find quantiles of the buffered samples: linear in their
    /// number, or that of sorting them if they are weighted or in [compact](crate::Compact)
    /// storage.
    #[inline(never)]
    pub fn summary(&mut self, event: EventId, scope: Scope) -> Option<Summary> {
        let (row, unit) = self.row_of(event)?;
        self.commit(row);
        let mut selection = Selection::new(row, unit, scope);
        if self.sum_moments(&mut selection) { Some(self.summarize(&selection)) } else { None }
    }

    /// Returns the summary of `event` over `scope` and the distribution of its samples. Returns
    /// `None` in the same cases as [`summary`](Self::summary).
    pub fn describe(
        &mut self,
        event: EventId,
        scope: Scope,
    ) -> Option<(Summary, Distribution<'_, S::Repr>)> {
        let (row, unit) = self.row_of(event)?;
        self.commit(row);
        let mut selection = Selection::new(row, unit, scope);
        if self.sum_moments(&mut selection) {
            Some(self.describe_selection(&selection))
        } else {
            None
        }
    }

    /// Returns the summary of `event` over `scope`, corrected for coordinated omission: see
    /// [`EventInfo::expected_interval`](crate::EventInfo::expected_interval). Its count includes
    /// the samples that the correction added. If none were added, this is the plain summary.
    ///
    /// Failed spans that the summary does not cover are not part of it either, but the samples that
    /// are missing because of them are. So there may be a corrected summary where there is no plain
    /// one.
    ///
    /// Returns `None` if the event has no expected interval, if the scope contains no samples even
    /// with those that were added, or if there is no such event or window.
    pub fn corrected(&mut self, event: EventId, scope: Scope) -> Option<Summary> {
        let (row, unit) = self.row_of(event)?;
        let corrected_row = usize::from(self.state(row).corrected);
        if corrected_row == 0 {
            return None;
        }
        self.commit(row);
        let (mut plain, mut corrected) =
            (Selection::new(row, unit, scope), Selection::new(corrected_row, unit, scope));
        // There may be no plain samples, but failed spans that held others up.
        self.sum_moments(&mut plain);
        if !self.sum_moments(&mut corrected) {
            return None;
        }
        // Equal counts mean that the correction added no samples. The plain summary is then better,
        // because its quantiles may be exact: the sample buffer does not contain added samples.
        if plain.moments.count() == corrected.moments.count() {
            return Some(self.summarize(&plain));
        }
        // Sampling is noted in the event's row only, not in that of the corrected summary.
        let (_, complete) = self.coverage(row, &plain);
        Some(Summary { complete, ..self.summarize(&corrected) })
    }

    /// Returns the summary of the failed spans of `event` over `scope`: those that ended with
    /// another [outcome](crate::Outcome) than `Ok`. Its quantiles are never exact.
    ///
    /// Returns `None` if the scope contains no failed spans, if there is no such event or window,
    /// or if the storage has [no room](crate::Shape::failed) for such summaries.
    pub fn failed(&mut self, event: EventId, scope: Scope) -> Option<Summary> {
        let (row, selection) = self.failed_selection(event, scope)?;
        let (_, complete) = self.coverage(row, &selection);
        Some(Summary { complete, ..self.summarize(&selection) })
    }

    /// Returns the summary of the failed spans of `event` over `scope`, and their distribution.
    /// Returns `None` in the same cases as [`failed`](Self::failed).
    pub fn describe_failed(
        &mut self,
        event: EventId,
        scope: Scope,
    ) -> Option<(Summary, Distribution<'_, S::Repr>)> {
        let (row, selection) = self.failed_selection(event, scope)?;
        let (_, complete) = self.coverage(row, &selection);
        let (summary, values) = self.describe_selection(&selection);
        Some((Summary { complete, ..summary }, values))
    }

    /// Returns the row of the event and the selection of its failed spans; `None` if there are
    /// none. The row is needed for [`coverage`](Self::coverage), because sampling is noted there
    /// only.
    fn failed_selection(
        &mut self,
        event: EventId,
        scope: Scope,
    ) -> Option<(usize, SelectionOf<S>)> {
        if S::ABSENT.failed {
            return None;
        }
        let (row, unit) = self.row_of(event)?;
        let failed_row = usize::from(self.state(row).failed);
        let mut selection = Selection::new(failed_row, unit, scope);
        let has_samples = failed_row > 0 && self.sum_moments(&mut selection);
        has_samples.then_some((row, selection))
    }

    /// Returns the value at a quantile of the samples of `event` over `scope`, in nanoseconds or as
    /// a plain number, and its accuracy. Returns `None` in the same cases as
    /// [`summary`](Self::summary).
    pub fn quantile(
        &mut self,
        event: EventId,
        scope: Scope,
        quantile: Quantile,
    ) -> Option<(u64, Accuracy)> {
        self.describe(event, scope)?.1.quantile(quantile)
    }

    /// Returns the exemplars of `event` over `scope`: its slowest samples, or the largest ones for
    /// plain numbers, in descending order. Failed spans are among them, even if the summaries do
    /// not cover these.
    ///
    /// The exemplars are written to `buffer`. There are at most as many as `buffer` has elements,
    /// and at most [`Shape::slowest`](crate::Shape::slowest). Their values are in internal units;
    /// the returned [`UnitConverter`] converts them.
    pub fn slowest<'r>(
        &mut self,
        event: EventId,
        scope: Scope,
        buffer: &'r mut [Exemplar],
    ) -> (&'r [Exemplar], UnitConverter) {
        self.commit_event(event);
        let (per_list, time) = (self.shape().slowest, self.shape().unit);
        buffer.fill(Exemplar::EMPTY);
        let Some((row, unit)) = self.row_of(event) else {
            return (&[], UnitConverter { unit: Unit::Time, time });
        };
        let has_no_failed = self.shape().failed > 0 && self.state(row).failed == 0;
        let mut row = self.row(row);
        let lists = match scope {
            Scope::Window(window) => row
                .windows
                .get(window)
                .map_or(0..0, crate::statistics::window::Window::slice_indices),
            Scope::Total => row.total_list()..row.total_list() + 1,
        };
        for list in lists {
            // The largest sample shows whether the list has to be fetched from memory, if there are
            // no failed spans, which are not among the samples.
            if !S::Repr::IS_COMPACT
                && has_no_failed
                && let Some(slice) = row.slices.get(list)
                && !(slice.count() > 0 && exemplars::is_slow(buffer, slice.moments().max()))
            {
                continue;
            }
            exemplars::merge(buffer, row.exemplar_list(list));
        }
        let len = buffer.len().min(per_list);
        (exemplars::in_use(&buffer[..len]), UnitConverter { unit, time })
    }

    /// Calls `visit` with the source of each stored exemplar of any event. A source that has
    /// several exemplars is visited several times.
    pub fn exemplar_sources(&mut self, mut visit: impl FnMut(u16)) {
        for exemplar in self.storage.parts().slowest.iter().filter(|slot| slot.is_in_use()) {
            visit(exemplar.source());
        }
    }

    /// Returns the moments of all samples of `event` since the aggregator was created, in internal
    /// units. They are empty for an unknown event. Takes constant time.
    pub fn moments(&mut self, event: EventId) -> MomentsOf<S> {
        let row = self.row_of(event);
        row.map_or(Moments::EMPTY, |(row, _)| self.total_moments(row))
    }

    /// Returns how many ENDs of `event` have been drained with each outcome since the aggregator
    /// was created. An END counts as 1, whatever its weight. A discarded span has no END, so it is
    /// not included. All counts are 0 for an unknown event.
    pub fn outcomes(&mut self, event: EventId) -> Outcomes {
        let counts = self.row_of(event).map(|(row, _)| self.state(row).outcomes);
        let [ok, error, cancelled] = counts.unwrap_or_default().map(Count::get);
        Outcomes { ok, error, cancelled }
    }

    /// Returns how many STARTs and ENDs of `event` have been paired since the aggregator was
    /// created, and what became of the others. All counts are 0 for an unknown event.
    pub fn pairing(&mut self, event: EventId) -> Pairing {
        self.row_of(event)
            .map_or_else(Pairing::default, |(row, _)| self.state(row).pairing.unpacked())
    }

    /// Returns the age of the oldest open span of `event`, in nanoseconds as of the current pass,
    /// and the span's tag. Returns `None` if no span is open. Takes time linear in the size of the
    /// table of open spans.
    pub fn oldest(&mut self, event: EventId) -> Option<(u64, u64)> {
        let (row, _) = self.row_of(event)?;
        let (start, tag) = self.in_flight().oldest(row_number(row))?;
        Some((self.nanos(self.now.saturating_sub(start)), tag))
    }

    /// Returns the first tick of the window with this index, which changes when a slice of it ends;
    /// `None` if there is no such window. While it stays the same, the summaries of an event over
    /// the window change only by records of the event, except for the time that they
    /// [cover](Summary::covered) and as [`unrecorded_changes`](Self::unrecorded_changes) describes.
    pub fn window_start(&mut self, window: usize) -> Option<u64> {
        self.storage.parts().windows.get(window).map(crate::statistics::window::Window::start)
    }

    /// Returns [`Summary::covered`] of all summaries over `scope` as of the current pass. Returns 0
    /// if there is no such window.
    pub fn covered(&mut self, scope: Scope) -> u64 {
        let start = match scope {
            Scope::Total => Some(0),
            Scope::Window(window) => self.window_start(window),
        };
        start.map_or(0, |start| self.nanos(self.now.saturating_sub(start.max(self.started))))
    }

    /// Sets the selection's `start` and `moments`: for a window, sums the moments of its slices.
    /// Returns whether the selection contains any samples. If this is `false`, as for a window that
    /// does not exist, the selection must not be used further.
    ///
    /// Staged samples are not included, so the caller [commits](Self::commit) them first.
    fn sum_moments(&mut self, selection: &mut SelectionOf<S>) -> bool {
        let row = self.row(selection.row);
        match selection.scope {
            Scope::Total => selection.moments = row.state.total,
            Scope::Window(window) => {
                let Some(window) = row.windows.get(window) else { return false };
                selection.start = window.start();
                for slice in row.slices.get(window.slice_indices()).unwrap_or_default() {
                    selection.moments.merge(&slice.moments());
                }
            }
        }
        selection.moments.count() > 0
    }

    /// Returns the summary of a selection, whose `moments` and `start` must be set.
    fn summarize(&mut self, selection: &SelectionOf<S>) -> Summary {
        let mut found = [0; QUANTILES.len()];
        let accuracy = self.find_quantiles(selection, &QUANTILES, &mut found);
        let coverage = self.coverage(selection.row, selection);
        self.converter(selection).summary(&selection.moments, &found, accuracy, coverage)
    }

    /// Returns the value at a quantile of the samples of the event in `row` over a window, in
    /// nanoseconds or as a plain number, and the weight of these samples. Returns `None` if there
    /// are no samples. `window` is the index of the window.
    pub(super) fn quantile_in(
        &mut self,
        row: usize,
        unit: Unit,
        window: usize,
        quantile: Quantile,
    ) -> Option<(u64, u64)> {
        self.commit(row);
        let mut selection = Selection::new(row, unit, Scope::Window(window));
        if !self.sum_moments(&mut selection) {
            return None;
        }
        // This searches for the same quantile four times. A search for a single quantile would be
        // another instance of the generic code, which takes flash.
        let mut found = [0; QUANTILES.len()];
        self.find_quantiles(&selection, &[quantile; QUANTILES.len()], &mut found);
        Some((self.converter(&selection).value(found[0]), selection.moments.weight()))
    }

    /// Writes the values at the given quantiles to `found`, in internal units. Returns their
    /// accuracy. The quantiles must be in ascending order.
    fn find_quantiles(
        &mut self,
        selection: &SelectionOf<S>,
        quantiles: &Quantiles,
        found: &mut QuantileValues,
    ) -> Accuracy {
        if self.exact_quantiles(selection, quantiles, found).is_some() {
            Accuracy::Exact
        } else {
            self.estimate_quantiles(selection, quantiles, found)
        }
    }

    /// Returns the converter of a selection's values from internal units to reported ones.
    fn converter(&self, selection: &SelectionOf<S>) -> UnitConverter {
        // If no storage of this type has an event that measures plain numbers, the unit is a
        // constant, and the compiler omits the code for plain numbers.
        let unit = if S::ABSENT.numbers { Unit::Time } else { selection.unit };
        UnitConverter { unit, time: self.shape().unit }
    }

    /// Returns how many nanoseconds the selection covers, and whether it is complete: no record of
    /// this time is known to be lost or was left out by sampling.
    /// `row` is that of the event.
    fn coverage(&mut self, row: usize, selection: &SelectionOf<S>) -> (u64, bool) {
        let since = selection.start.max(self.started);
        let sampled_until = self.state(row).sampled_until;
        let is_complete = self.lost_until.max(sampled_until) < OptionalTick::some(since)
            && selection.moments.weight() == selection.moments.count();
        (self.nanos(self.now.saturating_sub(since)), is_complete)
    }

    /// Estimates quantiles of a selection whose samples are not all in the sample buffer: from the
    /// histogram or, without histograms, from the smallest and the largest sample. Returns the
    /// accuracy of the estimates.
    fn estimate_quantiles(
        &mut self,
        selection: &SelectionOf<S>,
        quantiles: &Quantiles,
        found: &mut QuantileValues,
    ) -> Accuracy {
        let (converter, buckets, moments) =
            (self.converter(selection), self.shape().buckets(selection.unit), &selection.moments);
        if self.shape().octaves == 0 {
            let estimate = Estimate::between(moments.min(), moments.max());
            *found = [estimate.value; QUANTILES.len()];
            return Accuracy::WithinPpm(converter.error_ppm(&estimate));
        }
        let ranks = quantiles.map(|quantile| quantile.rank(moments.weight()));
        if !S::Repr::IS_COMPACT {
            let (_, counts) = self.sum_bucket_counts(selection);
            let estimates = histogram::estimate(buckets, moments, counts, ranks);
            *found = estimates.map(|estimate| estimate.value);
            return converter.accuracy(&estimates);
        }
        // The same, from one count at a time instead of from an array of sums. This takes less
        // flash and less stack.
        let mut error = 0;
        histogram::estimate_each(
            buckets,
            moments,
            ranks,
            |ranks| self.locate_ranks(selection, ranks),
            |number, estimate| {
                found[number] = estimate.value;
                error = error.max(converter.error_ppm(&estimate));
            },
        );
        Accuracy::WithinPpm(error)
    }

    /// Returns the index of the bucket that contains each of the given ranks, and the weight in all
    /// buckets. If all buckets together contain less weight than the rank, the index is that of the
    /// last used bucket.
    #[inline(never)]
    fn locate_ranks(
        &mut self,
        selection: &SelectionOf<S>,
        ranks: &[u64; QUANTILES.len()],
    ) -> ([usize; QUANTILES.len()], u64) {
        let used = self.shape().buckets(selection.unit).index_range(&selection.moments);
        let (mut indices, mut next, mut reached) = ([0; QUANTILES.len()], used.start, 0_u64);
        // The round after the last rank adds up the remaining buckets.
        for number in 0..=QUANTILES.len() {
            let rank = ranks.get(number).copied().unwrap_or(u64::MAX);
            while next < used.end && reached < rank {
                reached += self.count_at(selection, next).get();
                next += 1;
            }
            if let Some(found) = indices.get_mut(number) {
                // A rank is at least 1, so the loop has made a step.
                *found = next - 1;
            }
        }
        (indices, reached)
    }

    /// Returns the weight in the bucket with the given index, summed over the slices of the
    /// selection's window or taken from the total.
    // Out of line: looking up the arrays again for each bucket takes less flash than doing so once
    // before the loop.
    #[inline(never)]
    fn count_at(&mut self, selection: &SelectionOf<S>, bucket: usize) -> Counter<S> {
        let mut row = self.row(selection.row);
        match selection.scope {
            Scope::Total => row.total.sum_at(bucket, 0, 1),
            Scope::Window(window) => {
                let slices = row.windows[window].slice_indices();
                let window = &row.windows[window];
                let counts = row.counts.of_window::<S::Repr>(window);
                counts.sum_at(bucket, slices.start, slices.len())
            }
        }
    }

    /// Returns the summary and the distribution of a selection, whose `moments` and `start` must be
    /// set.
    fn describe_selection(
        &mut self,
        selection: &SelectionOf<S>,
    ) -> (Summary, Distribution<'_, S::Repr>) {
        let (converter, moments) = (self.converter(selection), selection.moments);
        let coverage = self.coverage(selection.row, selection);
        let mut found = [0; QUANTILES.len()];
        if let Some(count) = self.exact_quantiles(selection, &QUANTILES, &mut found) {
            let summary = converter.summary(&moments, &found, Accuracy::Exact, coverage);
            let Row { samples, scratch, .. } = self.row(selection.row);
            let samples = <S::Repr as Repr>::Sample::selected(samples, &scratch[..count]);
            return (summary, Distribution { converter, data: DistributionData::Exact(samples) });
        }
        let buckets = self.shape().buckets(selection.unit);
        let ranks = QUANTILES.map(|quantile| quantile.rank(moments.weight()));
        let (first, counts) = self.sum_bucket_counts(selection);
        let estimates = histogram::estimate(buckets, &moments, counts, ranks);
        let found = estimates.map(|estimate| estimate.value);
        let summary = converter.summary(&moments, &found, converter.accuracy(&estimates), coverage);
        let data = DistributionData::Counted { buckets, moments, first, counts };
        (summary, Distribution { converter, data })
    }

    /// If the sample buffer still contains all samples of the selection, writes the values at the
    /// given quantiles to `found`, in internal units, and returns the number of samples; the
    /// beginning of the storage's `scratch` then identifies these. Otherwise returns `None`.
    fn exact_quantiles(
        &mut self,
        selection: &SelectionOf<S>,
        quantiles: &Quantiles,
        found: &mut QuantileValues,
    ) -> Option<usize> {
        let Row { state, windows, samples, scratch, .. } = self.row(selection.row);
        // The row of a further summary has no samples. The buffer does not contain those
        // that a correction adds.
        let count = selection.moments.count();
        if samples.is_empty() || count > samples.len() as u64 {
            return None;
        }
        let filter = match selection.scope {
            Scope::Total => None,
            Scope::Window(window) => Some(WindowFilter::of(&windows[window])),
        };
        let filled = usize::try_from(state.total.count()).unwrap_or(usize::MAX);
        let samples = &samples[..filled.min(samples.len())];
        let of_window = (count, selection.moments.weight() != count);
        // Usually the samples of the window are the newest ones, and lie in one piece. To look at
        // these only saves fetching the whole buffer from memory.
        if !S::Repr::IS_COMPACT
            && let Ok(count) = usize::try_from(count)
            && let Some(first) = state.next_sample.checked_sub(count)
            && let Some(newest) = samples.get(first..state.next_sample)
        {
            let found = (quantiles, &mut *found);
            let selected = StoredSample::quantiles(newest, scratch, filter, of_window, found);
            if selected.is_some() {
                return selected;
            }
        }
        StoredSample::quantiles(samples, scratch, filter, of_window, (quantiles, found))
    }

    /// Sums the bucket counts of the selection's slices, or takes them from the total. Returns the
    /// index of the bucket that holds the smallest sample, and the counts from this bucket to the
    /// bucket that holds the largest. Without histograms, the counts are empty.
    #[inline(never)]
    fn sum_bucket_counts(&mut self, selection: &SelectionOf<S>) -> (usize, &[Counter<S>]) {
        let row = self.row(selection.row);
        if !row.has_histograms() {
            return (0, &[]);
        }
        let used = row.buckets().index_range(&selection.moments);
        let (weight, used_blocks) = (selection.moments.weight(), row.used_blocks());
        let Row { windows, slices, mut counts, total, folded, .. } = row;
        match selection.scope {
            Scope::Total => total.copy(0, &used, folded),
            Scope::Window(window) => {
                let (window, indices) = (&windows[window], windows[window].slice_indices());
                let counts = counts.of_window::<S::Repr>(window);
                let slices = (indices.start, &slices[indices], weight);
                counts.sum::<S::Repr>(slices, &used, used_blocks, folded);
            }
        }
        (used.start, &folded[used])
    }
}
