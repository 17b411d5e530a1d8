//! Queries: computes summaries, quantiles and exemplars from the slices and the sample buffer.

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

/// The time that a query covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Scope {
    /// The window with this index, in the order passed to [`Aggregator::new`].
    Window(usize),
    /// The total since the start.
    Total,
}

/// The distribution of an event's values over a scope, for example to compute quantiles.
///
/// Values are in internal units: units of time, or plain numbers. The [`UnitConverter`] converts
/// them for display.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Distribution<'a> {
    /// Converts the values to nanoseconds or plain numbers.
    pub converter: UnitConverter,
    /// The values.
    pub known: DistributionData<'a>,
}

/// The values of a [`Distribution`], in full or as histogram counts.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DistributionData<'a> {
    /// Every sample, in no particular order.
    Exact(Samples<'a>),
    /// The weight of the values in each bucket of a histogram.
    Counted {
        /// The histogram's buckets.
        buckets: Buckets,
        /// Count, weight, sum, sum of squares and extremes of the values.
        moments: Moments,
        /// The index of the bucket that holds the smallest value.
        first: usize,
        /// The counts from that bucket to the one that holds the largest value; empty without a
        /// histogram.
        counts: &'a [CountWord],
    },
}

impl<'a> Distribution<'a> {
    /// Returns the value at a quantile, in nanoseconds or plain numbers, and its accuracy. Returns
    /// `None` if there are no values.
    ///
    /// Takes time linear in the number of buckets or, for exact samples, in the number of samples
    /// times the bits of the largest one.
    pub fn quantile(&self, quantile: Quantile) -> Option<(u64, Accuracy)> {
        match self.known {
            DistributionData::Exact(samples) => {
                let value = select::quantile_by_bisection(&samples.iter(), quantile)?;
                Some((self.converter.value(value), Accuracy::Exact))
            }
            DistributionData::Counted { buckets, moments, counts, .. } => {
                let [estimate] = histogram::estimate(buckets, &moments, counts, [quantile]);
                (moments.count() > 0).then(|| self.converter.estimate(estimate))
            }
        }
    }

    /// Returns the non-empty buckets with their counts by weight.
    ///
    /// The buckets of a histogram come in ascending order. Exact samples come in no particular
    /// order, each in a bucket of its own. Without a histogram, there are no buckets unless the
    /// samples are exact. On 32-bit targets, a count saturates at 2^32 − 1.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + use<'a> {
        let (samples, counted) = match self.known {
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

/// A row and scope that a query selects, and the sums of the samples in it.
struct Selection {
    row: usize,
    unit: Unit,
    scope: Scope,
    /// The first tick of the scope; 0 for the total.
    start: u64,
    moments: Moments,
}

impl Selection {
    const fn new(row: usize, unit: Unit, scope: Scope) -> Self {
        Self { row, unit, scope, start: 0, moments: Moments::EMPTY }
    }
}

impl<S: Storage> Aggregator<S> {
    /// Returns the summary of `event` over `scope`. Returns `None` if there are no samples in it,
    /// or no such event or window.
    ///
    /// Takes time linear in the buffered samples or in the buckets between the smallest and the
    /// largest sample.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn summary(&mut self, event: EventId, scope: Scope) -> Option<Summary> {
        let (row, unit) = row_of::<S>(self.storage.parts().rows, event)?;
        self.commit(row);
        let mut selection = Selection::new(row, unit, scope);
        if self.add_up_slices(&mut selection) { Some(self.summarize(&selection)) } else { None }
    }

    /// Returns the summary of `event` over `scope` like [`summary`](Self::summary), together with
    /// the distribution that it summarises.
    pub fn describe(
        &mut self,
        event: EventId,
        scope: Scope,
    ) -> Option<(Summary, Distribution<'_>)> {
        let (row, unit) = row_of::<S>(self.storage.parts().rows, event)?;
        self.commit(row);
        let mut selection = Selection::new(row, unit, scope);
        if self.add_up_slices(&mut selection) {
            Some(self.describe_selection(&selection))
        } else {
            None
        }
    }

    /// Returns the summary of `event` over `scope`, corrected for coordinated omission. Its count
    /// includes the samples that the correction added; if it added none, this is the plain summary.
    ///
    /// Returns `None` if the event has no expected interval, and in the same cases as
    /// [`summary`](Self::summary).
    pub fn corrected(&mut self, event: EventId, scope: Scope) -> Option<Summary> {
        let StorageParts { rows, events, .. } = self.storage.parts();
        let (row, unit) = row_of::<S>(rows, event)?;
        let corrected_row = usize::from(events[row].corrected);
        if corrected_row == 0 {
            return None;
        }
        self.commit(row);
        let (mut plain, mut corrected) =
            (Selection::new(row, unit, scope), Selection::new(corrected_row, unit, scope));
        if !self.add_up_slices(&mut plain) || !self.add_up_slices(&mut corrected) {
            return None;
        }
        // The correction adds to the count, so equal counts mean that it added no samples.
        if plain.moments.count() == corrected.moments.count() {
            return Some(self.summarize(&plain));
        }
        let (_, complete) = self.coverage(&plain);
        Some(Summary { complete, ..self.summarize(&corrected) })
    }

    /// Returns the value of `event` at a quantile, in nanoseconds or plain numbers, and its
    /// accuracy. Returns `None` in the same cases as [`summary`](Self::summary).
    pub fn quantile(
        &mut self,
        event: EventId,
        scope: Scope,
        quantile: Quantile,
    ) -> Option<(u64, Accuracy)> {
        self.describe(event, scope)?.1.quantile(quantile)
    }

    /// Returns the slowest samples of `event` over `scope` (the largest ones for plain numbers),
    /// the slowest first.
    ///
    /// It returns at most [`Shape::slowest`](crate::Shape::slowest) samples, and no more than fit
    /// into `room`. Their values are in internal units; the returned [`UnitConverter`] converts
    /// them.
    pub fn slowest<'r>(
        &mut self,
        event: EventId,
        scope: Scope,
        room: &'r mut [Exemplar],
    ) -> (&'r [Exemplar], UnitConverter) {
        self.commit_event(event);
        let Shape { slices: slices_per_row, slowest: k, unit: time, .. } = self.shape();
        let lists_per_row = self.shape().lists();
        let StorageParts { rows, windows, slowest, .. } = self.storage.parts();
        room.fill(Exemplar::EMPTY);
        let Some((row, unit)) = row_of::<S>(rows, event) else {
            return (&[], UnitConverter { unit: Unit::Time, time });
        };
        let lists = match scope {
            Scope::Window(window) => windows.get(window).map_or(0..0, crate::Window::places),
            Scope::Total => slices_per_row..slices_per_row + 1,
        };
        let first = row * lists_per_row;
        for list in lists {
            exemplars::merge(room, &slowest[(first + list) * k..][..k]);
        }
        let kept = room.len().min(k);
        (exemplars::in_use(&room[..kept]), UnitConverter { unit, time })
    }

    /// Calls `visit` with the source of each stored exemplar. The same source may be visited
    /// several times.
    pub fn exemplar_sources(&mut self, mut visit: impl FnMut(u16)) {
        for exemplar in self.storage.parts().slowest.iter().filter(|slot| slot.is_in_use()) {
            visit(exemplar.source());
        }
    }

    /// Returns the sums of `event`'s samples since the start, in internal units. Takes constant
    /// time.
    pub fn moments(&mut self, event: EventId) -> Moments {
        let row = row_of::<S>(self.storage.parts().rows, event);
        row.map_or(Moments::EMPTY, |(row, _)| self.total_moments(row))
    }

    /// Returns how the spans of `event` have ended since the start.
    pub fn outcomes(&mut self, event: EventId) -> Outcomes {
        let parts = self.storage.parts();
        let [ok, error, cancelled] = row_of::<S>(parts.rows, event)
            .map_or([0; 3], |(row, _)| parts.events[row].outcomes)
            .map(widen);
        Outcomes { ok, error, cancelled }
    }

    /// Returns how the STARTs and ENDs of `event` have been paired since the start.
    pub fn pairing(&mut self, event: EventId) -> Pairing {
        let parts = self.storage.parts();
        row_of::<S>(parts.rows, event)
            .map_or_else(Pairing::default, |(row, _)| parts.events[row].pairing.unpacked())
    }

    /// Returns the age of the oldest open span of `event`, in nanoseconds, and its tag. Takes time
    /// linear in the size of the table of open spans.
    pub fn oldest(&mut self, event: EventId) -> Option<(u64, u64)> {
        let (row, _) = row_of::<S>(self.storage.parts().rows, event)?;
        let (start, tag) = self.in_flight().oldest(row_number(row))?;
        Some((self.nanos(self.now.saturating_sub(start)), tag))
    }

    /// Adds up the [committed](Self::commit) samples of the selection and fills in its `moments`
    /// and `start`. Returns whether there are any samples.
    fn add_up_slices(&mut self, selection: &mut Selection) -> bool {
        let row = self.bounded_row(selection.row);
        let first_slice = row * self.shape().slices;
        let StorageParts { windows, events, slices, .. } = self.storage.parts();
        match selection.scope {
            Scope::Total => selection.moments = events[row].total,
            Scope::Window(window) => {
                let Some(window) = windows.get(window) else { return false };
                selection.start = window.start();
                for slice in &slices[first_slice..][window.places()] {
                    slice.add_to(&mut selection.moments);
                }
            }
        }
        selection.moments.count() > 0
    }

    /// Returns the summary of a selection.
    fn summarize(&mut self, selection: &Selection) -> Summary {
        let mut found = [0; QUANTILES.len()];
        let accuracy = self.find_quantiles(selection, &QUANTILES, &mut found);
        let covered = self.coverage(selection);
        self.converter(selection).summary(&selection.moments, &found, accuracy, covered)
    }

    /// Returns the value at a quantile over a window, in nanoseconds or plain numbers, and the
    /// weight of the window's samples. Returns `None` if there are no samples.
    pub(super) fn quantile_in(
        &mut self,
        row: usize,
        unit: Unit,
        window: usize,
        quantile: Quantile,
    ) -> Option<(u64, u64)> {
        self.commit(row);
        let mut selection = Selection::new(row, unit, Scope::Window(window));
        if !self.add_up_slices(&mut selection) {
            return None;
        }
        // Uses the search for a summary's four quantiles, which saves the code of another one.
        let mut found = [0; QUANTILES.len()];
        self.find_quantiles(&selection, &[quantile; QUANTILES.len()], &mut found);
        Some((self.converter(&selection).value(found[0]), selection.moments.weight()))
    }

    /// Finds the values at these quantiles, which must ascend, in internal units. Returns their
    /// accuracy.
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

    /// Returns the converter from internal units for a selection's values.
    fn converter(&self, selection: &Selection) -> UnitConverter {
        let unit = if S::ABSENT.numbers { Unit::Time } else { selection.unit };
        UnitConverter { unit, time: self.shape().unit }
    }

    /// Returns how many nanoseconds the selection covers, and whether no record of this time was
    /// lost or sampled away.
    fn coverage(&mut self, selection: &Selection) -> (u64, bool) {
        let since = selection.start.max(self.started);
        let row = self.bounded_row(selection.row);
        let sampled = self.storage.parts().events[row].sampled;
        let is_complete = self.lost_until.max(sampled) <= since
            && selection.moments.weight() == selection.moments.count();
        (self.nanos(self.now.saturating_sub(since)), is_complete)
    }

    /// Estimates quantiles because the buffer no longer holds all samples: from the histogram or,
    /// without one, from the extremes. Returns their accuracy.
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
            let (_, counts) = self.fold_slices(selection);
            let estimates = histogram::estimate(buckets, moments, counts, *quantiles);
            *found = estimates.map(|estimate| estimate.value);
            return converter.accuracy(&estimates);
        }
        // Computes the same from single counts instead of folded slices, which takes less flash and
        // less stack.
        let (places, counted) = self.locate_ranks(selection, quantiles, 0);
        let missing = moments.weight().saturating_sub(counted);
        let (lowest, _) = if missing > 0 {
            self.locate_ranks(selection, quantiles, missing)
        } else {
            (places, 0)
        };
        let mut error = 0;
        for number in 0..QUANTILES.len() {
            let mut estimate = buckets.estimate(places[number], moments.min(), moments.max());
            if missing > 0 {
                let least = buckets.estimate(lowest[number], moments.min(), moments.max()).least;
                estimate = Estimate::between(least, estimate.most);
            }
            found[number] = estimate.value;
            error = error.max(converter.error_ppm(&estimate));
        }
        Accuracy::WithinPpm(error)
    }

    /// Returns the bucket that holds the rank of each quantile, or the last used bucket if the rank
    /// lies behind it. Full counters lack some weight; `below` assumes that this much of it is
    /// missing below each rank. Also returns the weight of all buckets.
    #[inline(never)]
    fn locate_ranks(
        &mut self,
        selection: &Selection,
        quantiles: &Quantiles,
        below: u64,
    ) -> ([usize; QUANTILES.len()], u64) {
        let used = self.buckets(selection.unit).places_between(&selection.moments);
        let (mut places, mut next, mut reached) = ([0; QUANTILES.len()], used.start, 0_u64);
        // The round after the last quantile counts the remaining buckets.
        for number in 0..=QUANTILES.len() {
            let rank = quantiles
                .get(number)
                .map_or(u64::MAX, |quantile| quantile.rank(selection.moments.weight()));
            while next < used.end && (reached < rank.saturating_sub(below) || reached == 0) {
                reached += widen(self.count_at(selection, next));
                next += 1;
            }
            if let Some(found) = places.get_mut(number) {
                *found = next - 1;
            }
        }
        (places, reached)
    }

    /// Returns the count of a bucket, summed over the slices of the selection.
    // Out of line: repeating the lookup for each bucket takes less flash than hoisting it.
    #[inline(never)]
    fn count_at(&mut self, selection: &Selection, place: usize) -> CountWord {
        let (row, shape) = (self.bounded_row(selection.row), self.shape());
        let StorageParts { windows, counts, totals, .. } = self.storage.parts();
        match selection.scope {
            Scope::Total => totals[row * shape.room() + place],
            Scope::Window(window) => {
                let slices = windows[window].places();
                BucketCounts::of(counts, shape, row).sum_at(place, slices.start, slices.len())
            }
        }
    }

    /// Returns the summary and the distribution of a selection.
    fn describe_selection(&mut self, selection: &Selection) -> (Summary, Distribution<'_>) {
        let (converter, buckets, moments) =
            (self.converter(selection), self.buckets(selection.unit), selection.moments);
        let covered = self.coverage(selection);
        let mut found = [0; QUANTILES.len()];
        if let Some(count) = self.exact_quantiles(selection, &QUANTILES, &mut found) {
            let summary = converter.summary(&moments, &found, Accuracy::Exact, covered);
            let (kept, StorageParts { samples, scratch, .. }) =
                (self.shape().samples, self.storage.parts());
            let samples = samples.get(selection.row * kept..).unwrap_or_default();
            return (
                summary,
                Distribution {
                    converter,
                    known: DistributionData::Exact(Samples::selected(samples, &scratch[..count])),
                },
            );
        }
        let (first, counts) = self.fold_slices(selection);
        let estimates = histogram::estimate(buckets, &moments, counts, QUANTILES);
        let found = estimates.map(|estimate| estimate.value);
        let summary = converter.summary(&moments, &found, converter.accuracy(&estimates), covered);
        (
            summary,
            Distribution {
                converter,
                known: DistributionData::Counted { buckets, moments, first, counts },
            },
        )
    }

    /// Collects the selection's samples and their quantiles if the buffer still holds all of them.
    /// Returns how many there are.
    fn exact_quantiles(
        &mut self,
        selection: &Selection,
        quantiles: &Quantiles,
        found: &mut QuantileValues,
    ) -> Option<usize> {
        let Shape { samples: kept, events: rows, .. } = self.shape();
        let row = self.bounded_row(selection.row);
        let StorageParts { windows, events, samples, scratch, .. } = self.storage.parts();
        // The buffer does not contain the samples that a correction adds.
        if kept == 0 || row >= rows {
            return None;
        }
        let filter = match selection.scope {
            Scope::Total => None,
            Scope::Window(window) => Some(WindowFilter::of(&windows[window])),
        };
        let state = &events[row];
        let all = state.total.count();
        if state.evicted.is_in(filter, (all, kept)) {
            return None;
        }
        let filled = usize::try_from(all).map_or(kept, |all| all.min(kept));
        let samples = &samples[row * kept..][..filled];
        let (count, weight) = (selection.moments.count(), selection.moments.weight());
        sample_buffer::quantiles(
            samples,
            scratch,
            filter,
            (count, weight != count),
            (quantiles, found),
        )
    }

    /// Adds up the bucket counts of the selection. Returns the index of the bucket that holds the
    /// smallest sample, and the counts from there to the bucket of the largest.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn fold_slices(&mut self, selection: &Selection) -> (usize, &[CountWord]) {
        let shape = self.shape();
        let room = shape.room();
        let row = self.bounded_row(selection.row);
        if room == 0 {
            return (0, &[]);
        }
        let used = shape.buckets(selection.unit).places_between(&selection.moments);
        let StorageParts { windows, slices: sums, counts, totals, folded, .. } =
            self.storage.parts();
        let totals = &totals[row * room..][..room];
        let Scope::Window(window) = selection.scope else {
            return (used.start, &totals[used]);
        };
        let slices = windows[window].places();
        let sums = &sums[row * shape.slices..][slices.clone()];
        let counts = BucketCounts::of(counts, shape, row);
        counts.sum((slices.start, sums, selection.moments.weight()), &used, totals, folded);
        (used.start, &folded[used])
    }
}
