//! From slices and samples to summaries.

use core::ops::Range;

use super::{Aggregator, Outcomes, row_number, row_of, sample::room};
use crate::{
    Accuracy, Bucket, Buckets, Estimate, EventId, Moments, Pairing, Quantile, Summary, Unit,
    counts::Counts,
    histogram,
    kept::{self, Samples, Since},
    select,
    slowest::{self, Slow},
    storage::{Parts, Shape, Storage},
    summary::{QUANTILES, Teller, Told},
    word::{Word, widen},
};

/// Over which time something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Period {
    /// The window of this number.
    Window(usize),
    /// Since the start.
    Total,
}

/// All values of a period, as far as they are known: what quantiles are found from. As they are counted inside, units of time or
/// numbers; the [`Teller`] tells them.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Values<'a> {
    /// How they are told.
    pub teller: Teller,
    /// What is known of them.
    pub known: Known<'a>,
}

/// What is known of the values of a period.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Known<'a> {
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
        counts: &'a [Word],
    },
}

impl<'a> Values<'a> {
    /// The value at a quantile, as it is told, and how far it may be off; `None` if there are none. Linear in the buckets, or in
    /// the samples times the digits of the largest.
    pub fn quantile(&self, quantile: Quantile) -> Option<(u64, Accuracy)> {
        match self.known {
            Known::Exact(samples) => {
                let value = select::rank_in(&samples.iter(), quantile)?;
                Some((self.teller.value(value), Accuracy::Exact))
            }
            Known::Counted { buckets, moments, counts, .. } => {
                let [estimate] = histogram::estimate(buckets, &moments, counts, [quantile]);
                (moments.count() > 0).then(|| self.teller.estimate(estimate))
            }
        }
    }

    /// Buckets that hold something, with their counts by weight: ascending those of the histogram, or one for each sample, in no
    /// order, that holds it alone. Where registers have 32 bits, a count is 2^32 − 1 at the most; nor is there any without a histogram.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + use<'a> {
        let (samples, counted) = match self.known {
            Known::Exact(samples) => (samples, None),
            Known::Counted { buckets, first, counts, .. } => (Samples::from(&[][..]), Some((buckets, first, counts))),
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
struct Chosen {
    row: usize,
    unit: Unit,
    /// Those of these slices, or all there ever were.
    slices: Option<Range<usize>>,
    /// The first tick that belongs to them.
    start: u64,
    /// Which of the samples that are kept these are, if not all.
    since: Option<Since>,
    moments: Moments,
}

impl<S: Storage> Aggregator<S> {
    /// The summary of `event` over this period; `None` if nothing happened in it (or there is no such event or window). Linear in
    /// the samples kept or the buckets between the smallest and the largest sample.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn summary(&mut self, event: EventId, period: Period) -> Option<Summary> {
        let (row, unit) = row_of(self.storage.parts().rows, event)?;
        self.pour(row);
        self.summary_of(row, unit, period)
    }

    /// The summary of what was poured. The frames of pouring and of summing up are not to lie on each other, where stacks are small.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn summary_of(&mut self, row: usize, unit: Unit, period: Period) -> Option<Summary> {
        self.choose(row, unit, period).as_ref().map(|chosen| self.summarize(chosen))
    }

    /// The summary, and the values that it sums up.
    pub fn describe(&mut self, event: EventId, period: Period) -> Option<(Summary, Values<'_>)> {
        let (row, unit) = row_of(self.storage.parts().rows, event)?;
        self.pour(row);
        let chosen = self.choose(row, unit, period)?;
        Some(self.describe_chosen(&chosen))
    }

    /// The summary of `event` that is corrected for coordinated omission; `None` as for [`summary`](Self::summary), and if the
    /// event has no expected interval. It counts the samples that were put in. Where none had to be, it is the summary itself.
    pub fn corrected(&mut self, event: EventId, period: Period) -> Option<Summary> {
        let Parts { rows, events, .. } = self.storage.parts();
        let (row, unit) = row_of(rows, event)?;
        let shadow = usize::from(events[row].corrected);
        if shadow == 0 {
            return None;
        }
        self.pour(row);
        let plain = self.choose(row, unit, period)?;
        let corrected = self.choose(shadow, unit, period)?;
        if plain.moments == corrected.moments {
            return Some(self.summarize(&plain));
        }
        let complete = self.is_complete(&plain);
        Some(Summary { complete, ..self.summarize(&corrected) })
    }

    /// The value of `event` at a quantile, in nanoseconds or its unit, and how far it may be off; `None` as for
    /// [`summary`](Self::summary).
    pub fn quantile(&mut self, event: EventId, period: Period, quantile: Quantile) -> Option<(u64, Accuracy)> {
        self.describe(event, period)?.1.quantile(quantile)
    }

    /// The slowest samples of `event` (of plain numbers, the largest), the slowest first: as many as there are, are kept
    /// ([`Shape::slowest`](crate::Shape::slowest)) and fit into `room`. Each with its value as it is told.
    pub fn slowest<'r>(&mut self, event: EventId, period: Period, room: &'r mut [Slow]) -> (&'r [Slow], Teller) {
        self.pour_event(event);
        let Shape { slices: of_event, slowest: k, unit: time, .. } = self.shape;
        let of_row = self.shape.lists();
        let Parts { rows, windows, slowest, .. } = self.storage.parts();
        room.fill(Slow::EMPTY);
        let Some((row, unit)) = row_of(rows, event) else { return (&[], Teller { unit: Unit::Time, time }) };
        let lists = match period {
            Period::Window(window) => windows.get(window).map_or(0..0, crate::Window::places),
            Period::Total => of_event..of_event + 1,
        };
        let first = row * of_row;
        for list in lists {
            slowest::merge(room, &slowest[(first + list) * k..][..k]);
        }
        let kept = room.len().min(k);
        (slowest::taken(&room[..kept]), Teller { unit, time })
    }

    /// Which sources are named by the slowest samples that are kept.
    pub fn sources(&mut self, mut tell: impl FnMut(u16)) {
        for slow in self.storage.parts().slowest.iter().filter(|slow| slow.is_taken()) {
            tell(slow.source());
        }
    }

    /// What the samples of `event` since the start add up to, as they are counted inside. Constant time.
    pub fn moments(&mut self, event: EventId) -> Moments {
        let row = row_of(self.storage.parts().rows, event);
        row.map_or(Moments::EMPTY, |(row, _)| self.sum_up(row))
    }

    /// How the spans of `event` ended since the start.
    pub fn outcomes(&mut self, event: EventId) -> Outcomes {
        let parts = self.storage.parts();
        let [ok, error, cancelled] =
            row_of(parts.rows, event).map_or([0; 3], |(row, _)| parts.events[row].outcomes).map(widen);
        Outcomes { ok, error, cancelled }
    }

    /// How the STARTs and ENDs of `event` met since the start.
    pub fn pairing(&mut self, event: EventId) -> Pairing {
        let parts = self.storage.parts();
        row_of(parts.rows, event).map_or_else(Pairing::default, |(row, _)| parts.events[row].pairing.told())
    }

    /// Of the oldest open span of `event`: how many nanoseconds it has lasted, and its tag. Linear in the size of the table.
    pub fn oldest(&mut self, event: EventId) -> Option<(u64, u64)> {
        let (row, _) = row_of(self.storage.parts().rows, event)?;
        let (start, tag) = self.in_flight().oldest(row_number(row))?;
        Some((self.time.nanos(self.now.saturating_sub(start)), tag))
    }

    /// Of what was [poured](Self::pour); `None` if there are none.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn choose(&mut self, row: usize, unit: Unit, period: Period) -> Option<Chosen> {
        let of_row = row * self.shape.slices;
        let Parts { windows, events, slices, .. } = self.storage.parts();
        let (slices, start, since, moments) = match period {
            Period::Total => (None, 0, None, events[row].total.moments()),
            Period::Window(window) => {
                let window = windows.get(window)?;
                let range = window.places();
                let mut moments = Moments::EMPTY;
                slices[of_row..][range.clone()].iter().for_each(|slice| slice.add_to(&mut moments));
                (Some(range), window.start(), Some(Since::of(window)), moments)
            }
        };
        (moments.count() > 0).then_some(Chosen { row, unit, slices, start, since, moments })
    }

    /// Whether nothing of the chosen time was lost or sampled away.
    fn is_complete(&mut self, chosen: &Chosen) -> bool {
        let since = chosen.start.max(self.started);
        let sampled = self.storage.parts().events[chosen.row].sampled;
        self.lost_until.is_none_or(|lost| lost < since)
            && sampled.checked_sub(1).is_none_or(|sampled| sampled < since)
            && chosen.moments.weight() == chosen.moments.count()
    }

    /// The summary alone, in a frame of its own where stacks are small.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn summarize(&mut self, chosen: &Chosen) -> Summary {
        let told = self.tell_exact(chosen).unwrap_or_else(|| self.tell_counted(chosen));
        let complete = self.is_complete(chosen);
        let covered = self.time.nanos(self.now.saturating_sub(chosen.start.max(self.started)));
        self.teller(chosen).summary(&chosen.moments, told, covered, complete)
    }

    const fn teller(&self, chosen: &Chosen) -> Teller {
        Teller { unit: chosen.unit, time: self.shape.unit }
    }

    /// The quantiles of a summary, if all of its samples are still kept.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn tell_exact(&mut self, chosen: &Chosen) -> Option<Told> {
        let mut told = [0; QUANTILES.len()];
        self.gather_samples(chosen, &mut told)?;
        self.teller(chosen).tell_all(&mut told);
        Some((told, Accuracy::Exact))
    }

    /// The quantiles of a summary, else.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn tell_counted(&mut self, chosen: &Chosen) -> Told {
        let teller = self.teller(chosen);
        if S::LACKS.histogram {
            let (value, accuracy) = teller.estimate(Estimate::between(chosen.moments.min(), chosen.moments.max()));
            return ([value; QUANTILES.len()], accuracy);
        }
        let buckets = self.buckets(chosen.unit);
        let (_, counts) = self.fold(chosen, buckets);
        if cfg!(target_pointer_width = "64") {
            return teller.estimated(&histogram::estimate(buckets, &chosen.moments, counts, QUANTILES));
        }
        // One after the other takes longer, but less of the stack.
        let (mut told, mut error) = ([0; QUANTILES.len()], 0);
        for (told, quantile) in told.iter_mut().zip(QUANTILES) {
            let [estimate] = histogram::estimate(buckets, &chosen.moments, counts, [quantile]);
            let (value, accuracy) = teller.estimate(estimate);
            *told = value;
            error = error.max(accuracy.max_relative_error_ppm());
        }
        (told, Accuracy::WithinPpm(error))
    }

    fn describe_chosen(&mut self, chosen: &Chosen) -> (Summary, Values<'_>) {
        let complete = self.is_complete(chosen);
        let covered = self.time.nanos(self.now.saturating_sub(chosen.start.max(self.started)));
        let teller = self.teller(chosen);
        let mut told = [0; QUANTILES.len()];
        let (known, told) = if let Some(count) = self.gather_samples(chosen, &mut told) {
            teller.tell_all(&mut told);
            let (kept, Parts { samples, scratch, .. }) = (self.shape.samples, self.storage.parts());
            let samples = samples.get(chosen.row * kept..).unwrap_or_default();
            (Known::Exact(Samples::chosen(samples, &scratch[..count])), (told, Accuracy::Exact))
        } else {
            let (buckets, moments) = (self.buckets(chosen.unit), chosen.moments);
            let (first, counts) = self.fold(chosen, buckets);
            let estimates = histogram::estimate(buckets, &moments, counts, QUANTILES);
            (Known::Counted { buckets, moments, first, counts }, teller.estimated(&estimates))
        };
        let summary = teller.summary(&chosen.moments, told, covered, complete);
        (summary, Values { teller, known })
    }

    /// Puts the samples together if all of them are still kept: how many there are, and in `told` their quantiles.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn gather_samples(&mut self, chosen: &Chosen, told: &mut [u64; QUANTILES.len()]) -> Option<usize> {
        let kept = self.shape.samples;
        let Parts { events, samples, scratch, .. } = self.storage.parts();
        // Of a corrected summary, those that were put in are not kept.
        if kept == 0 || chosen.row >= self.shape.events {
            return None;
        }
        let state = &events[chosen.row];
        let some_evicted = state.total.count() > kept as u64;
        if some_evicted && chosen.since.is_none_or(|since| state.evicted.is_in(since)) {
            return None;
        }
        let filled = usize::try_from(state.total.count()).map_or(kept, |count| count.min(kept));
        let samples = &samples[chosen.row * kept..][..filled];
        let (count, weight) = (chosen.moments.count(), chosen.moments.weight());
        kept::quantiles(samples, scratch, chosen.since, (count, weight != count), (&QUANTILES, told))
    }

    /// The bucket counts of the chosen samples, from the place of the smallest to that of the largest; and the former.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn fold(&mut self, chosen: &Chosen, buckets: Buckets) -> (usize, &[Word]) {
        let (shape, room) = (self.shape, room::<S>(&self.shape));
        if room == 0 {
            return (0, &[]);
        }
        let used = buckets.places_between(&chosen.moments);
        let Parts { slices: sums, counts, totals, folded, .. } = self.storage.parts();
        let totals = &totals[chosen.row * room..][..room];
        let Some(slices) = &chosen.slices else {
            return (used.start, &totals[used]);
        };
        let sums = &sums[chosen.row * shape.slices..][slices.clone()];
        let counts = Counts::of(counts, &shape, chosen.row);
        counts.sum((slices.start, sums, chosen.moments.weight()), &used, totals, folded);
        (used.start, &folded[used])
    }
}
