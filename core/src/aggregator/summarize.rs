//! From slices and samples to summaries.

use core::ops::Range;

use super::{Aggregator, Outcomes, row_number, row_of};
use crate::{
    Buckets, Estimate, EventId, Moments, Pairing, Summary, Unit, select,
    storage::{Sample, Storage},
    summary::{QUANTILES, Teller},
};

impl<S: Storage> Aggregator<S> {
    /// The summary of `event` over the window numbered `window`; `None` if nothing happened there (or there is no such
    /// event or window). Linear in the samples kept or the buckets between the smallest and the largest sample.
    pub fn summary(&mut self, event: EventId, window: usize) -> Option<Summary> {
        let parts = self.storage.parts();
        let (row, unit) = row_of(parts.rows, event)?;
        let window = parts.windows.get(window)?;
        let start = window.start();
        let places = window.places();
        let of_event = row * self.shape.slices;
        let slices = of_event + places.start..of_event + places.end;
        let mut moments = Moments::EMPTY;
        parts.slices[slices.clone()].iter().for_each(|slice| moments.merge(slice));
        let since = start.max(self.started);
        let whole = self.lost_until.is_none_or(|lost| lost < since);
        self.summarize(row, unit, &moments, start, Some(&slices), since, whole)
    }

    /// The summary of `event` since the start; `None` if nothing happened (or there is no such event).
    pub fn total(&mut self, event: EventId) -> Option<Summary> {
        let parts = self.storage.parts();
        let (row, unit) = row_of(parts.rows, event)?;
        let moments = parts.events[row].total;
        self.summarize(row, unit, &moments, 0, None, self.started, self.lost_until.is_none())
    }

    /// How the spans of `event` ended since the start.
    pub fn outcomes(&mut self, event: EventId) -> Outcomes {
        let parts = self.storage.parts();
        let [ok, error, cancelled] = row_of(parts.rows, event).map_or([0; 3], |(row, _)| parts.events[row].outcomes);
        Outcomes { ok, error, cancelled }
    }

    /// How the STARTs and ENDs of `event` met since the start.
    pub fn pairing(&mut self, event: EventId) -> Pairing {
        let parts = self.storage.parts();
        row_of(parts.rows, event).map_or(Pairing::EMPTY, |(row, _)| parts.events[row].pairing)
    }

    /// Of the oldest open span of `event`: how many nanoseconds it has lasted, and its tag. Linear in the size of the table.
    pub fn oldest(&mut self, event: EventId) -> Option<(u64, u64)> {
        let (row, _) = row_of(self.storage.parts().rows, event)?;
        let (start, tag) = self.in_flight().oldest(row_number(row))?;
        Some((self.time.nanos(self.now.saturating_sub(start)), tag))
    }

    /// The summary of what happened from the tick `start` on: of these slices, or of all time.
    #[expect(clippy::too_many_arguments, reason = "what a window and a total differ in")]
    fn summarize(
        &mut self,
        row: usize,
        unit: Unit,
        moments: &Moments,
        start: u64,
        slices: Option<&Range<usize>>,
        since: u64,
        whole: bool,
    ) -> Option<Summary> {
        if moments.count() == 0 {
            return None;
        }
        let buckets = self.buckets(unit);
        let quantiles = match self.exact(row, moments, start, slices.is_none()) {
            Some(exact) => Ok(exact),
            None => Err(self.estimated(row, buckets, moments, slices)),
        };
        let teller = Teller { unit, time: self.shape.unit };
        Some(Summary {
            covered: self.time.nanos(self.now.saturating_sub(since)),
            complete: whole && moments.weight() == moments.count(),
            ..teller.summary(moments, quantiles)
        })
    }

    /// The exact quantiles, if every sample from `start` on is still kept and stands for itself alone.
    fn exact(&mut self, row: usize, moments: &Moments, start: u64, all: bool) -> Option<[u64; 4]> {
        let parts = self.storage.parts();
        let state = &parts.events[row];
        let kept = self.shape.samples;
        if kept == 0 {
            return None;
        }
        let some_evicted = state.total.count() > kept as u64;
        if (some_evicted && (all || state.evicted > start)) || moments.weight() != moments.count() {
            return None;
        }
        let filled = usize::try_from(state.total.count()).map_or(kept, |count| count.min(kept));
        let mut count = 0;
        for Sample { value, after } in &parts.samples[row * kept..][..filled] {
            // A total has them all, those of no window included.
            if all || *after > start {
                parts.scratch[count] = *value;
                count += 1;
            }
        }
        debug_assert_eq!(count as u64, moments.count(), "the samples kept are those of the slices");
        select::quantiles(&mut parts.scratch[..count], QUANTILES)
    }

    /// The quantiles by the counts of these slices, or of all time.
    fn estimated(
        &mut self,
        row: usize,
        buckets: Buckets,
        moments: &Moments,
        slices: Option<&Range<usize>>,
    ) -> [Estimate; 4] {
        let parts = self.storage.parts();
        let places = buckets.places();
        let (min, max) = (moments.min(), moments.max());
        let (first, last) = (buckets.place(min), buckets.place(max));
        let count = |place: usize| match slices {
            Some(slices) => slices.clone().map(|slice| u64::from(parts.counts[slice * places + place])).sum(),
            None => parts.totals[row * places + place],
        };
        let mut place = first;
        let mut reached = count(place);
        QUANTILES.map(|quantile| {
            let rank = quantile.rank(moments.weight());
            // Counters that saturated may come to less than the weight: then the largest sample is the answer.
            while reached < rank && place < last {
                place += 1;
                reached += count(place);
            }
            buckets.estimate(place, min, max)
        })
    }
}
