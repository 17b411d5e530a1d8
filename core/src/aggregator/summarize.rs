//! From slices and samples to summaries.

use super::{Aggregator, Outcomes, row_number, row_of};
use crate::{
    Accuracy, Bucket, Buckets, Estimate, EventId, Moments, Pairing, Quantile, Summary, Unit,
    bucket_counts::BucketCounts,
    counter_width::{CountWord, widen},
    exemplars::{self, Exemplar},
    histogram,
    sample_buffer::{self, Samples, Since},
    select,
    storage::{Shape, Storage, StorageParts},
    summary::{Found, QUANTILES, Quantiles, UnitConverter},
};

/// Over which time something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Scope {
    /// The window of this number.
    Window(usize),
    /// Since the start.
    Total,
}

/// All values of a period, as far as they are known: what quantiles are found from. As they are counted inside, units of time or
/// numbers; the [`UnitConverter`] tells them.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Distribution<'a> {
    /// How they are told.
    pub converter: UnitConverter,
    /// What is known of them.
    pub known: DistributionData<'a>,
}

/// What is known of the values of a period.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DistributionData<'a> {
    /// Every sample, in no order.
    Exact(Samples<'a>),
    /// How many there are at each place of a histogram.
    Counted {
        /// The histogram's buckets.
        buckets: Buckets,
        /// Count, sum and extremes.
        moments: Moments,
        /// The place of the smallest value.
        first: usize,
        /// The counts from that place to the place of the largest; none without a histogram.
        counts: &'a [CountWord],
    },
}

impl<'a> Distribution<'a> {
    /// The value at a quantile, as it is told, and how far it may be off; `None` if there are none. Linear in the buckets, or in
    /// the samples times the digits of the largest.
    pub fn quantile(&self, quantile: Quantile) -> Option<(u64, Accuracy)> {
        match self.known {
            DistributionData::Exact(samples) => {
                let value = select::rank_in(&samples.iter(), quantile)?;
                Some((self.converter.value(value), Accuracy::Exact))
            }
            DistributionData::Counted { buckets, moments, counts, .. } => {
                let [estimate] = histogram::estimate(buckets, &moments, counts, [quantile]);
                (moments.count() > 0).then(|| self.converter.estimate(estimate))
            }
        }
    }

    /// Buckets that hold something, with their counts by weight: ascending those of the histogram, or one for each sample, in no
    /// order, that holds it alone. Where registers have 32 bits, a count is 2^32 − 1 at the most; nor is there any without a histogram.
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

/// Which samples are meant.
struct Selection {
    row: usize,
    unit: Unit,
    period: Scope,
    /// The first tick that belongs to them.
    start: u64,
    moments: Moments,
}

impl Selection {
    const fn new(row: usize, unit: Unit, period: Scope) -> Self {
        Self { row, unit, period, start: 0, moments: Moments::EMPTY }
    }
}

impl<S: Storage> Aggregator<S> {
    /// The summary of `event` over this period; `None` if nothing happened in it (or there is no such event or window). Linear in
    /// the samples kept or the buckets between the smallest and the largest sample.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn summary(&mut self, event: EventId, period: Scope) -> Option<Summary> {
        let (row, unit) = row_of::<S>(self.storage.parts().rows, event)?;
        self.commit(row);
        let mut selection = Selection::new(row, unit, period);
        if self.choose(&mut selection) { Some(self.summarize(&selection)) } else { None }
    }

    /// The summary, and the values that it sums up.
    pub fn describe(
        &mut self,
        event: EventId,
        period: Scope,
    ) -> Option<(Summary, Distribution<'_>)> {
        let (row, unit) = row_of::<S>(self.storage.parts().rows, event)?;
        self.commit(row);
        let mut selection = Selection::new(row, unit, period);
        if self.choose(&mut selection) { Some(self.describe_chosen(&selection)) } else { None }
    }

    /// The summary of `event` that is corrected for coordinated omission; `None` as for [`summary`](Self::summary), and if the
    /// event has no expected interval. It counts the samples that were put in. Where none had to be, it is the summary itself.
    pub fn corrected(&mut self, event: EventId, period: Scope) -> Option<Summary> {
        let StorageParts { rows, events, .. } = self.storage.parts();
        let (row, unit) = row_of::<S>(rows, event)?;
        let shadow = usize::from(events[row].corrected);
        if shadow == 0 {
            return None;
        }
        self.commit(row);
        let (mut plain, mut corrected) =
            (Selection::new(row, unit, period), Selection::new(shadow, unit, period));
        if !self.choose(&mut plain) || !self.choose(&mut corrected) {
            return None;
        }
        // What is put in counts.
        if plain.moments.count() == corrected.moments.count() {
            return Some(self.summarize(&plain));
        }
        let (_, complete) = self.covered(&plain);
        Some(Summary { complete, ..self.summarize(&corrected) })
    }

    /// The value of `event` at a quantile, in nanoseconds or its unit, and how far it may be off; `None` as for
    /// [`summary`](Self::summary).
    pub fn quantile(
        &mut self,
        event: EventId,
        period: Scope,
        quantile: Quantile,
    ) -> Option<(u64, Accuracy)> {
        self.describe(event, period)?.1.quantile(quantile)
    }

    /// The slowest samples of `event` (of plain numbers, the largest), the slowest first: as many as there are, are kept
    /// ([`Shape::slowest`](crate::Shape::slowest)) and fit into `room`. Each with its value as it is told.
    pub fn slowest<'r>(
        &mut self,
        event: EventId,
        period: Scope,
        room: &'r mut [Exemplar],
    ) -> (&'r [Exemplar], UnitConverter) {
        self.commit_event(event);
        let Shape { slices: of_event, slowest: k, unit: time, .. } = self.shape();
        let of_row = self.shape().lists();
        let StorageParts { rows, windows, slowest, .. } = self.storage.parts();
        room.fill(Exemplar::EMPTY);
        let Some((row, unit)) = row_of::<S>(rows, event) else {
            return (&[], UnitConverter { unit: Unit::Time, time });
        };
        let lists = match period {
            Scope::Window(window) => windows.get(window).map_or(0..0, crate::Window::places),
            Scope::Total => of_event..of_event + 1,
        };
        let first = row * of_row;
        for list in lists {
            exemplars::merge(room, &slowest[(first + list) * k..][..k]);
        }
        let kept = room.len().min(k);
        (exemplars::taken(&room[..kept]), UnitConverter { unit, time })
    }

    /// Which sources are named by the slowest samples that are kept.
    pub fn sources(&mut self, mut tell: impl FnMut(u16)) {
        for slow in self.storage.parts().slowest.iter().filter(|slow| slow.is_taken()) {
            tell(slow.source());
        }
    }

    /// What the samples of `event` since the start add up to, as they are counted inside. Constant time.
    pub fn moments(&mut self, event: EventId) -> Moments {
        let row = row_of::<S>(self.storage.parts().rows, event);
        row.map_or(Moments::EMPTY, |(row, _)| self.sum_up(row))
    }

    /// How the spans of `event` ended since the start.
    pub fn outcomes(&mut self, event: EventId) -> Outcomes {
        let parts = self.storage.parts();
        let [ok, error, cancelled] = row_of::<S>(parts.rows, event)
            .map_or([0; 3], |(row, _)| parts.events[row].outcomes)
            .map(widen);
        Outcomes { ok, error, cancelled }
    }

    /// How the STARTs and ENDs of `event` met since the start.
    pub fn pairing(&mut self, event: EventId) -> Pairing {
        let parts = self.storage.parts();
        row_of::<S>(parts.rows, event)
            .map_or_else(Pairing::default, |(row, _)| parts.events[row].pairing.told())
    }

    /// Of the oldest open span of `event`: how many nanoseconds it has lasted, and its tag. Linear in the size of the table.
    pub fn oldest(&mut self, event: EventId) -> Option<(u64, u64)> {
        let (row, _) = row_of::<S>(self.storage.parts().rows, event)?;
        let (start, tag) = self.in_flight().oldest(row_number(row))?;
        Some((self.nanos(self.now.saturating_sub(start)), tag))
    }

    /// Adds up what was [poured](Self::commit); whether there is anything.
    fn choose(&mut self, selection: &mut Selection) -> bool {
        let row = self.known_row(selection.row);
        let of_row = row * self.shape().slices;
        let StorageParts { windows, events, slices, .. } = self.storage.parts();
        match selection.period {
            Scope::Total => selection.moments = events[row].total,
            Scope::Window(window) => {
                let Some(window) = windows.get(window) else { return false };
                selection.start = window.start();
                for slice in &slices[of_row..][window.places()] {
                    slice.add_to(&mut selection.moments);
                }
            }
        }
        selection.moments.count() > 0
    }

    /// The summary alone.
    fn summarize(&mut self, selection: &Selection) -> Summary {
        let mut found = [0; QUANTILES.len()];
        let accuracy = self.find(selection, &QUANTILES, &mut found);
        let covered = self.covered(selection);
        self.converter(selection).summary(&selection.moments, &found, accuracy, covered)
    }

    /// The value at a quantile over a window, as it is told, and what the window's samples weigh; `None` if there are none.
    pub(super) fn quantile_in(
        &mut self,
        row: usize,
        unit: Unit,
        window: usize,
        quantile: Quantile,
    ) -> Option<(u64, u64)> {
        self.commit(row);
        let mut selection = Selection::new(row, unit, Scope::Window(window));
        if !self.choose(&mut selection) {
            return None;
        }
        // By what finds those of a summary, so that there is no more code.
        let mut found = [0; QUANTILES.len()];
        self.find(&selection, &[quantile; QUANTILES.len()], &mut found);
        Some((self.converter(&selection).value(found[0]), selection.moments.weight()))
    }

    /// These quantiles, which ascend, as they are counted inside; and how far they may be off.
    fn find(
        &mut self,
        selection: &Selection,
        quantiles: &Quantiles,
        found: &mut Found,
    ) -> Accuracy {
        if self.gather_samples(selection, quantiles, found).is_some() {
            Accuracy::Exact
        } else {
            self.estimate(selection, quantiles, found)
        }
    }

    fn converter(&self, selection: &Selection) -> UnitConverter {
        let unit = if S::ABSENT.numbers { Unit::Time } else { selection.unit };
        UnitConverter { unit, time: self.shape().unit }
    }

    /// How many nanoseconds are covered, and whether nothing of them was lost or sampled away.
    fn covered(&mut self, selection: &Selection) -> (u64, bool) {
        let since = selection.start.max(self.started);
        let row = self.known_row(selection.row);
        let sampled = self.storage.parts().events[row].sampled;
        let is_complete = self.lost_until.max(sampled) <= since
            && selection.moments.weight() == selection.moments.count();
        (self.nanos(self.now.saturating_sub(since)), is_complete)
    }

    /// Quantiles of which not all samples are kept, and how far they may be off.
    fn estimate(
        &mut self,
        selection: &Selection,
        quantiles: &Quantiles,
        found: &mut Found,
    ) -> Accuracy {
        let (converter, buckets, moments) =
            (self.converter(selection), self.buckets(selection.unit), &selection.moments);
        if self.shape().octaves == 0 {
            let estimate = Estimate::between(moments.min(), moments.max());
            *found = [estimate.value; QUANTILES.len()];
            return Accuracy::WithinPpm(converter.error_ppm(&estimate));
        }
        if cfg!(target_pointer_width = "64") {
            let (_, counts) = self.fold(selection);
            let estimates = histogram::estimate(buckets, moments, counts, *quantiles);
            *found = estimates.map(|estimate| estimate.value);
            return converter.accuracy(&estimates);
        }
        // The same, without adding up what is between: for less flash, and less of the stack.
        let (places, counted) = self.locate(selection, quantiles, 0);
        let missing = moments.weight().saturating_sub(counted);
        let (lowest, _) =
            if missing > 0 { self.locate(selection, quantiles, missing) } else { (places, 0) };
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

    /// The places of the histogram that hold the ranks of the quantiles if so many `below` them are missing, or the last one in use; and
    /// how many were counted.
    #[inline(never)]
    fn locate(
        &mut self,
        selection: &Selection,
        quantiles: &Quantiles,
        below: u64,
    ) -> ([usize; QUANTILES.len()], u64) {
        let used = self.buckets(selection.unit).places_between(&selection.moments);
        let (mut places, mut next, mut reached) = ([0; QUANTILES.len()], used.start, 0_u64);
        // Behind the last quantile, all are counted.
        for number in 0..=QUANTILES.len() {
            let rank = quantiles
                .get(number)
                .map_or(u64::MAX, |quantile| quantile.rank(selection.moments.weight()));
            while next < used.end && (reached < rank.saturating_sub(below) || reached == 0) {
                reached += widen(self.counted_at(selection, next));
                next += 1;
            }
            if let Some(found) = places.get_mut(number) {
                *found = next - 1;
            }
        }
        (places, reached)
    }

    /// What is counted at a place of the histogram.
    // A call, as it takes less flash than what is known of all places beforehand.
    #[inline(never)]
    fn counted_at(&mut self, selection: &Selection, place: usize) -> CountWord {
        let (row, shape) = (self.known_row(selection.row), self.shape());
        let StorageParts { windows, counts, totals, .. } = self.storage.parts();
        match selection.period {
            Scope::Total => totals[row * shape.room() + place],
            Scope::Window(window) => {
                let slices = windows[window].places();
                BucketCounts::of(counts, shape, row).at(place, slices.start, slices.len())
            }
        }
    }

    fn describe_chosen(&mut self, selection: &Selection) -> (Summary, Distribution<'_>) {
        let (converter, buckets, moments) =
            (self.converter(selection), self.buckets(selection.unit), selection.moments);
        let covered = self.covered(selection);
        let mut found = [0; QUANTILES.len()];
        if let Some(count) = self.gather_samples(selection, &QUANTILES, &mut found) {
            let summary = converter.summary(&moments, &found, Accuracy::Exact, covered);
            let (kept, StorageParts { samples, scratch, .. }) =
                (self.shape().samples, self.storage.parts());
            let samples = samples.get(selection.row * kept..).unwrap_or_default();
            return (
                summary,
                Distribution {
                    converter,
                    known: DistributionData::Exact(Samples::chosen(samples, &scratch[..count])),
                },
            );
        }
        let (first, counts) = self.fold(selection);
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

    /// Puts the samples together if all of them are still kept: how many there are, and their quantiles.
    fn gather_samples(
        &mut self,
        selection: &Selection,
        quantiles: &Quantiles,
        found: &mut Found,
    ) -> Option<usize> {
        let Shape { samples: kept, events: rows, .. } = self.shape();
        let row = self.known_row(selection.row);
        let StorageParts { windows, events, samples, scratch, .. } = self.storage.parts();
        // Of a corrected summary, those that were put in are not kept.
        if kept == 0 || row >= rows {
            return None;
        }
        let since = match selection.period {
            Scope::Total => None,
            Scope::Window(window) => Some(Since::of(&windows[window])),
        };
        let state = &events[row];
        let all = state.total.count();
        if state.evicted.is_in(since, (all, kept)) {
            return None;
        }
        let filled = usize::try_from(all).map_or(kept, |all| all.min(kept));
        let samples = &samples[row * kept..][..filled];
        let (count, weight) = (selection.moments.count(), selection.moments.weight());
        sample_buffer::quantiles(
            samples,
            scratch,
            since,
            (count, weight != count),
            (quantiles, found),
        )
    }

    /// The bucket counts of the chosen samples, from the place of the smallest to that of the largest; and the former.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn fold(&mut self, selection: &Selection) -> (usize, &[CountWord]) {
        let shape = self.shape();
        let room = shape.room();
        let row = self.known_row(selection.row);
        if room == 0 {
            return (0, &[]);
        }
        let used = shape.buckets(selection.unit).places_between(&selection.moments);
        let StorageParts { windows, slices: sums, counts, totals, folded, .. } =
            self.storage.parts();
        let totals = &totals[row * room..][..room];
        let Scope::Window(window) = selection.period else {
            return (used.start, &totals[used]);
        };
        let slices = windows[window].places();
        let sums = &sums[row * shape.slices..][slices.clone()];
        let counts = BucketCounts::of(counts, shape, row);
        counts.sum((slices.start, sums, selection.moments.weight()), &used, totals, folded);
        (used.start, &folded[used])
    }
}
