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

use super::{Aggregator, Outcomes, row_number, row_of};
use crate::{
    Accuracy, Bucket, Buckets, Estimate, EventId, Moments, Pairing, Quantile, Summary, Unit,
    bucket_counts::BucketCounts,
    counter_width::{CountWord, widen},
    exemplars::{self, Exemplar},
    histogram,
    sample_buffer::{self, Samples, WindowFilter},
    select,
    storage::{Shape, Storage, StorageParts},
    summary::{QUANTILES, QuantileValues, Quantiles, UnitConverter},
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

/// The distribution of an event's samples over a [`Scope`]: all samples, or their histogram. From
/// it, any quantile can be computed.
///
/// Durations are in the aggregator's internal [unit of time](crate::TimeUnit), other values are
/// plain numbers. `converter` converts both to the units in which they are reported.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Distribution<'a> {
    /// Converts durations to nanoseconds and leaves plain numbers unchanged.
    pub converter: UnitConverter,
    /// The samples or their histogram.
    pub data: DistributionData<'a>,
}

/// What is known of the samples of a [`Distribution`]: every single sample, or their weight in each
/// bucket of a histogram.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DistributionData<'a> {
    /// Every sample with its weight, in no particular order. Available while the aggregator's
    /// buffer of the event's newest samples contains all samples of the scope.
    Exact(Samples<'a>),
    /// The weight of the samples in each bucket of a histogram.
    Counted {
        /// The buckets of the histogram.
        buckets: Buckets,
        /// The count, weight, sum, sum of squares and extremes of the samples.
        moments: Moments,
        /// The index of the bucket that holds the smallest sample.
        first: usize,
        /// The weights in the buckets, from the bucket with index `first` to the bucket that holds
        /// the largest sample. Empty if the storage has no histograms.
        counts: &'a [CountWord],
    },
}

impl<'a> Distribution<'a> {
    /// Returns the value at a quantile, in nanoseconds or as a plain number, and its accuracy.
    /// Returns `None` if there are no samples.
    ///
    /// Takes time linear in the number of buckets. With [`DistributionData::Exact`], the time is
    /// linear in the number of samples times the number of bits of the largest one.
    pub fn quantile(&self, quantile: Quantile) -> Option<(u64, Accuracy)> {
        match self.data {
            DistributionData::Exact(samples) => {
                let value = select::quantile_by_bisection(&samples.iter(), quantile)?;
                Some((self.converter.value(value), Accuracy::Exact))
            }
            DistributionData::Counted { buckets, moments, counts, .. } => {
                let [estimate] = histogram::estimate(buckets, &moments, counts, &[quantile]);
                (moments.count() > 0).then(|| self.converter.estimate(estimate))
            }
        }
    }

    /// Returns an iterator over the buckets that are not empty. The count of a bucket is the weight
    /// of its samples: a sample counts 2^k times if 1 in 2^k occurrences of its event is recorded.
    /// Bounds are in internal units; [`converter`](Self::converter) converts them to nanoseconds.
    ///
    /// The buckets of a histogram come in ascending order, and on 32-bit targets their counts
    /// saturate at 2^32 − 1. With [`DistributionData::Exact`], each sample forms a bucket of its
    /// own, and the order is arbitrary. If not all samples are kept and the storage has no
    /// histograms, there are no buckets.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + use<'a> {
        let (samples, counted) = match self.data {
            DistributionData::Exact(samples) => (samples, None),
            DistributionData::Counted { buckets, first, counts, .. } => {
                (Samples::from(&[][..]), Some((buckets, first, counts)))
            }
        };
        let exact = samples.iter().map(|sample| Bucket {
            above: sample.value().saturating_sub(1),
            up_to: sample.value(),
            count: sample.weight(),
        });
        let counted = counted.into_iter().flat_map(|(buckets, first, counts)| {
            let taken = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            taken.map(move |(offset, count)| {
                let (above, up_to) = buckets.bounds(first + offset);
                Bucket { above, up_to, count: widen(*count) }
            })
        });
        exact.chain(counted)
    }
}

/// The samples that a summary is computed from: those of one row over one scope.
struct Selection {
    /// The number of the row, which is that of an event or of a corrected summary.
    row: usize,
    /// The unit of the row's values.
    unit: Unit,
    scope: Scope,
    /// The first tick of the window; 0 for the total. Set by
    /// [`sum_moments`](Aggregator::sum_moments).
    start: u64,
    /// The moments of the selected samples. Set by [`sum_moments`](Aggregator::sum_moments).
    moments: Moments,
}

impl Selection {
    const fn new(row: usize, unit: Unit, scope: Scope) -> Self {
        Self { row, unit, scope, start: 0, moments: Moments::EMPTY }
    }
}

impl<S: Storage> Aggregator<S> {
    /// Returns the summary of `event` over `scope`. Returns `None` if the scope contains no
    /// samples, or if there is no such event or window.
    ///
    /// Takes time linear in the buckets between the smallest and the largest sample, or the time to
    /// find quantiles of the buffered samples: linear in their number, or that of sorting them if
    /// they are weighted or on 32-bit targets.
    #[inline(never)]
    pub fn summary(&mut self, event: EventId, scope: Scope) -> Option<Summary> {
        let (row, unit) = row_of::<S>(self.storage.parts().row_of_id, event)?;
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
    ) -> Option<(Summary, Distribution<'_>)> {
        let (row, unit) = row_of::<S>(self.storage.parts().row_of_id, event)?;
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
    /// Returns `None` if the event has no expected interval, and in the same cases as
    /// [`summary`](Self::summary).
    pub fn corrected(&mut self, event: EventId, scope: Scope) -> Option<Summary> {
        let StorageParts { row_of_id, rows, .. } = self.storage.parts();
        let (row, unit) = row_of::<S>(row_of_id, event)?;
        let corrected_row = usize::from(rows[row].corrected);
        if corrected_row == 0 {
            return None;
        }
        self.commit(row);
        let (mut plain, mut corrected) =
            (Selection::new(row, unit, scope), Selection::new(corrected_row, unit, scope));
        if !self.sum_moments(&mut plain) || !self.sum_moments(&mut corrected) {
            return None;
        }
        // Equal counts mean that the correction added no samples. The plain summary is then better,
        // because its quantiles may be exact: the sample buffer does not contain added samples.
        if plain.moments.count() == corrected.moments.count() {
            return Some(self.summarize(&plain));
        }
        // Sampling is noted in the event's row only, not in that of the corrected summary.
        let (_, complete) = self.coverage(&plain);
        Some(Summary { complete, ..self.summarize(&corrected) })
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
    /// plain numbers, in descending order.
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
        let Shape { slices: slices_per_row, slowest: per_list, unit: time, .. } = self.shape();
        let lists_per_row = self.shape().exemplar_lists();
        let StorageParts { row_of_id, windows, slowest, .. } = self.storage.parts();
        buffer.fill(Exemplar::EMPTY);
        let Some((row, unit)) = row_of::<S>(row_of_id, event) else {
            return (&[], UnitConverter { unit: Unit::Time, time });
        };
        let lists = match scope {
            Scope::Window(window) => windows.get(window).map_or(0..0, crate::Window::slice_indices),
            // The list of the total follows those of the slices.
            Scope::Total => slices_per_row..slices_per_row + 1,
        };
        let first = row * lists_per_row;
        for list in lists {
            exemplars::merge(buffer, &slowest[(first + list) * per_list..][..per_list]);
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
    pub fn moments(&mut self, event: EventId) -> Moments {
        let row = row_of::<S>(self.storage.parts().row_of_id, event);
        row.map_or(Moments::EMPTY, |(row, _)| self.total_moments(row))
    }

    /// Returns how many ENDs of `event` have been drained with each outcome since the aggregator
    /// was created. An END counts as 1, whatever its weight. A discarded span has no END, so it is
    /// not included. All counts are 0 for an unknown event.
    pub fn outcomes(&mut self, event: EventId) -> Outcomes {
        let parts = self.storage.parts();
        let [ok, error, cancelled] = row_of::<S>(parts.row_of_id, event)
            .map_or([0; 3], |(row, _)| parts.rows[row].outcomes)
            .map(widen);
        Outcomes { ok, error, cancelled }
    }

    /// Returns how many STARTs and ENDs of `event` have been paired since the aggregator was
    /// created, and what became of the others. All counts are 0 for an unknown event.
    pub fn pairing(&mut self, event: EventId) -> Pairing {
        let parts = self.storage.parts();
        row_of::<S>(parts.row_of_id, event)
            .map_or_else(Pairing::default, |(row, _)| parts.rows[row].pairing.unpacked())
    }

    /// Returns the age of the oldest open span of `event`, in nanoseconds as of the current pass,
    /// and the span's tag. Returns `None` if no span is open. Takes time linear in the size of the
    /// table of open spans.
    pub fn oldest(&mut self, event: EventId) -> Option<(u64, u64)> {
        let (row, _) = row_of::<S>(self.storage.parts().row_of_id, event)?;
        let (start, tag) = self.in_flight().oldest(row_number(row))?;
        Some((self.nanos(self.now.saturating_sub(start)), tag))
    }

    /// Sets the selection's `start` and `moments`: for a window, sums the moments of its slices.
    /// Returns whether the selection contains any samples. If this is `false`, as for a window that
    /// does not exist, the selection must not be used further.
    ///
    /// Staged samples are not included, so the caller [commits](Self::commit) them first.
    fn sum_moments(&mut self, selection: &mut Selection) -> bool {
        let row = self.bounded_row(selection.row);
        let first_slice = row * self.shape().slices;
        let StorageParts { windows, rows, slices, .. } = self.storage.parts();
        match selection.scope {
            Scope::Total => selection.moments = rows[row].total,
            Scope::Window(window) => {
                let Some(window) = windows.get(window) else { return false };
                selection.start = window.start();
                for slice in &slices[first_slice..][window.slice_indices()] {
                    slice.add_to(&mut selection.moments);
                }
            }
        }
        selection.moments.count() > 0
    }

    /// Returns the summary of a selection, whose `moments` and `start` must be set.
    fn summarize(&mut self, selection: &Selection) -> Summary {
        let mut found = [0; QUANTILES.len()];
        let accuracy = self.find_quantiles(selection, &QUANTILES, &mut found);
        let coverage = self.coverage(selection);
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
        selection: &Selection,
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
    fn converter(&self, selection: &Selection) -> UnitConverter {
        // If the storage's type declares that no event measures plain numbers, the unit is a
        // constant, and the compiler omits the code for plain numbers.
        let unit = if S::ABSENT.numbers { Unit::Time } else { selection.unit };
        UnitConverter { unit, time: self.shape().unit }
    }

    /// Returns how many nanoseconds the selection covers, and whether it is complete: no record of
    /// this time is known to be lost or was left out by sampling.
    fn coverage(&mut self, selection: &Selection) -> (u64, bool) {
        let since = selection.start.max(self.started);
        let row = self.bounded_row(selection.row);
        let sampled_until = self.storage.parts().rows[row].sampled_until;
        let is_complete = self.lost_until.max(sampled_until) <= since
            && selection.moments.weight() == selection.moments.count();
        (self.nanos(self.now.saturating_sub(since)), is_complete)
    }

    /// Estimates quantiles of a selection whose samples are not all in the sample buffer: from the
    /// histogram or, without histograms, from the smallest and the largest sample. Returns the
    /// accuracy of the estimates.
    fn estimate_quantiles(
        &mut self,
        selection: &Selection,
        quantiles: &Quantiles,
        found: &mut QuantileValues,
    ) -> Accuracy {
        let (converter, buckets, moments) =
            (self.converter(selection), self.buckets(selection.unit), &selection.moments);
        if self.shape().octaves == 0 {
            let estimate = Estimate::between(moments.min(), moments.max());
            *found = [estimate.value; QUANTILES.len()];
            return Accuracy::WithinPpm(converter.error_ppm(&estimate));
        }
        if cfg!(target_pointer_width = "64") {
            let (_, counts) = self.sum_bucket_counts(selection);
            let estimates = histogram::estimate(buckets, moments, counts, quantiles);
            *found = estimates.map(|estimate| estimate.value);
            return converter.accuracy(&estimates);
        }
        // On 32-bit targets, compute the same from one count at a time instead of from an array of
        // sums. This takes less flash and less stack.
        let mut error = 0;
        histogram::estimate_each(
            buckets,
            moments,
            |below| self.locate_ranks(selection, quantiles, below),
            |number, estimate| {
                found[number] = estimate.value;
                error = error.max(converter.error_ppm(&estimate));
            },
        );
        Accuracy::WithinPpm(error)
    }

    /// Returns, for each quantile, the index of the bucket that contains the quantile's rank, and
    /// the weight in all buckets. If all buckets together contain less weight than the rank, the
    /// index is that of the last used bucket.
    ///
    /// Saturated counters lack some weight. `below` is how much of the missing weight is assumed to
    /// lie below each rank: 0 gives upper bounds of the quantiles, all of the missing weight gives
    /// lower bounds.
    #[inline(never)]
    fn locate_ranks(
        &mut self,
        selection: &Selection,
        quantiles: &Quantiles,
        below: u64,
    ) -> ([usize; QUANTILES.len()], u64) {
        let used = self.buckets(selection.unit).index_range(&selection.moments);
        let (mut indices, mut next, mut reached) = ([0; QUANTILES.len()], used.start, 0_u64);
        // The round after the last quantile adds up the remaining buckets.
        for number in 0..=QUANTILES.len() {
            let rank = quantiles
                .get(number)
                .map_or(u64::MAX, |quantile| quantile.rank(selection.moments.weight()));
            // `rank − below` can be 0. Even then, go on to the first bucket that has any weight:
            // no quantile lies in an empty bucket before it, and `next - 1` below needs a step.
            while next < used.end && (reached < rank.saturating_sub(below) || reached == 0) {
                reached += widen(self.count_at(selection, next));
                next += 1;
            }
            if let Some(found) = indices.get_mut(number) {
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
    fn count_at(&mut self, selection: &Selection, bucket: usize) -> CountWord {
        let (row, shape) = (self.bounded_row(selection.row), self.shape());
        let StorageParts { windows, counts, totals, .. } = self.storage.parts();
        match selection.scope {
            Scope::Total => totals[row * shape.padded_buckets() + bucket],
            Scope::Window(window) => {
                let slices = windows[window].slice_indices();
                BucketCounts::of(counts, shape, row).sum_at(bucket, slices.start, slices.len())
            }
        }
    }

    /// Returns the summary and the distribution of a selection, whose `moments` and `start` must be
    /// set.
    fn describe_selection(&mut self, selection: &Selection) -> (Summary, Distribution<'_>) {
        let (converter, buckets, moments) =
            (self.converter(selection), self.buckets(selection.unit), selection.moments);
        let coverage = self.coverage(selection);
        let mut found = [0; QUANTILES.len()];
        if let Some(count) = self.exact_quantiles(selection, &QUANTILES, &mut found) {
            let summary = converter.summary(&moments, &found, Accuracy::Exact, coverage);
            let (buffered_samples, StorageParts { samples, scratch, .. }) =
                (self.shape().samples, self.storage.parts());
            let samples = samples.get(selection.row * buffered_samples..).unwrap_or_default();
            return (
                summary,
                Distribution {
                    converter,
                    data: DistributionData::Exact(Samples::selected(samples, &scratch[..count])),
                },
            );
        }
        let (first, counts) = self.sum_bucket_counts(selection);
        let estimates = histogram::estimate(buckets, &moments, counts, &QUANTILES);
        let found = estimates.map(|estimate| estimate.value);
        let summary = converter.summary(&moments, &found, converter.accuracy(&estimates), coverage);
        (
            summary,
            Distribution {
                converter,
                data: DistributionData::Counted { buckets, moments, first, counts },
            },
        )
    }

    /// If the sample buffer still contains all samples of the selection, writes the values at the
    /// given quantiles to `found`, in internal units, and returns the number of samples. Otherwise
    /// returns `None`.
    ///
    /// The beginning of the storage's `scratch` then holds copies of the samples on 64-bit targets,
    /// and their indices in the event's part of the sample buffer on 32-bit targets.
    fn exact_quantiles(
        &mut self,
        selection: &Selection,
        quantiles: &Quantiles,
        found: &mut QuantileValues,
    ) -> Option<usize> {
        let Shape { samples: buffered_samples, events: event_rows, .. } = self.shape();
        let row = self.bounded_row(selection.row);
        let StorageParts { windows, rows, samples, scratch, .. } = self.storage.parts();
        // Rows after the events are corrected summaries. The sample buffer does not contain the
        // samples that a correction adds.
        if buffered_samples == 0 || row >= event_rows {
            return None;
        }
        let filter = match selection.scope {
            Scope::Total => None,
            Scope::Window(window) => Some(WindowFilter::of(&windows[window])),
        };
        let count = selection.moments.count();
        if count > buffered_samples as u64 {
            return None;
        }
        let filled = usize::try_from(rows[row].total.count())
            .map_or(buffered_samples, |count| count.min(buffered_samples));
        let samples = &samples[row * buffered_samples..][..filled];
        let is_weighted = selection.moments.weight() != count;
        sample_buffer::quantiles(samples, scratch, filter, (count, is_weighted), (quantiles, found))
    }

    /// Sums the bucket counts of the selection's slices, or takes them from the total. Returns the
    /// index of the bucket that holds the smallest sample, and the counts from this bucket to the
    /// bucket that holds the largest. Without histograms, the counts are empty.
    #[inline(never)]
    fn sum_bucket_counts(&mut self, selection: &Selection) -> (usize, &[CountWord]) {
        let shape = self.shape();
        let padded_buckets = shape.padded_buckets();
        let row = self.bounded_row(selection.row);
        if padded_buckets == 0 {
            return (0, &[]);
        }
        let used = shape.buckets(selection.unit).index_range(&selection.moments);
        let StorageParts { windows, slices: moments, counts, totals, folded, .. } =
            self.storage.parts();
        let totals = &totals[row * padded_buckets..][..padded_buckets];
        let Scope::Window(window) = selection.scope else {
            return (used.start, &totals[used]);
        };
        let slices = windows[window].slice_indices();
        let (first_slice, moments) = (slices.start, &moments[row * shape.slices..][slices]);
        let window_weight = selection.moments.weight();
        // The totals show which buckets have never had a sample, so that `sum` can skip them.
        let counts = BucketCounts::of(counts, shape, row);
        counts.sum((first_slice, moments, window_weight), &used, totals, folded);
        (used.start, &folded[used])
    }
}
