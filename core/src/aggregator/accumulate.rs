//! Where a sample goes.
//!
//! It belongs to a slice of each window and to the total, which differ only in when they are over. So it goes into one place,
//! the *fresh sums* of its event, which are poured into all of them once a slice is over, or somebody asks: what each sample
//! would cost in every window, a few hundred of them cost together. Where registers have 64 bits, it is added to these sums only with
//! some others: until then it *waits* among the samples that are kept anyway.

use core::marker::PhantomData;

use super::{Aggregator, SpanOrigin, row_number, row_of, unit_of};
use crate::{
    Buckets, EventId, Moments, Unit,
    bucket_counts::BucketCounts,
    counter_width::{self, CountWord, narrow, widen},
    exemplars::{self, Exemplar},
    histogram::Count,
    packed_moments::PackedMoments,
    sample_buffer::{Sample, Slices, When},
    select::WeightedSample,
    sla::{Rule, Tally},
    storage::{EventState, Shape, Storage, StorageParts},
};

/// Whether samples wait: where registers have 32 bits, each is added at once, which takes longer, but less flash.
const WAITS: bool = cfg!(target_pointer_width = "64");

/// So many samples wait, at the most, to be added to the fresh sums: they are still near then.
const WAITING: u32 = 64;

/// What samples of an event add up to that are in no slice yet, and not in the total. Their bucket counts and the slowest of them
/// lie with those of the slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Staged {
    sums: PackedMoments,
    /// The first tick of those that belong to the same slice of every window, and how many of them there are; none if it is to
    /// be found anew.
    from: u64,
    ticks: u64,
    /// Which slices these are.
    pub(super) slices: Slices,
    /// No sample below it is among the slowest.
    slow_from: CountWord,
    /// So many of the newest samples that are kept are not in the sums yet.
    waiting: u32,
}

impl Staged {
    pub(crate) const EMPTY: Self = Self {
        sums: PackedMoments::EMPTY,
        from: 0,
        ticks: 0,
        slices: Slices::NONE,
        slow_from: 0,
        waiting: 0,
    };

    /// Adds a sample.
    #[inline(always)]
    fn add(&mut self, sample: Sample) {
        self.sums.add(sample);
        // Before a sum of 32 bits, or a counter beside it, is full, there is nothing more for it.
        if cfg!(not(target_pointer_width = "64")) && self.sums.weight() > 1 << 31 {
            self.ticks = 0;
        }
    }

    #[inline]
    pub(super) const fn covers(&self, tick: u64) -> bool {
        tick.wrapping_sub(self.from) < self.ticks
    }
}

/// Keeps a sample of this row, over the oldest one, to tell exact quantiles, and lets it wait; whether there is
/// [more to do](StagedRow::add) about it.
#[inline(always)]
pub(super) fn keep_staged<S: Storage>(
    state: &mut EventState,
    samples: &mut [Sample],
    row: SampleRow,
    weighted: WeightedSample,
    when: When,
) -> bool {
    let sample = Sample::new(weighted, when);
    let is_kept = keep(state, samples, row, sample);
    if !WAITS {
        state.staged.add(sample);
        return !(S::ABSENT.histogram && S::ABSENT.slowest);
    }
    state.staged.waiting += u32::from(is_kept);
    !is_kept
        || state.staged.waiting >= row.waiting
        || weighted.value() >= widen(state.staged.slow_from)
}

/// Where the samples of a row lie.
#[derive(Clone, Copy)]
pub(super) struct SampleRow {
    first: usize,
    len: usize,
    /// So many of them may wait.
    waiting: u32,
}

impl SampleRow {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "no more than may wait")]
    pub(super) const fn new(shape: Shape, row: usize) -> Self {
        let len = shape.samples;
        Self {
            first: row * len,
            len,
            waiting: if len < WAITING as usize { len as u32 } else { WAITING },
        }
    }
}

/// Keeps a sample; `false` if none is kept.
#[inline(always)]
fn keep(state: &mut EventState, samples: &mut [Sample], row: SampleRow, sample: Sample) -> bool {
    if row.len == 0 {
        return false;
    }
    let Some(oldest) = samples.get_mut(row.first + state.next_sample) else { return false };
    state.evicted.note(oldest.when());
    *oldest = sample;
    state.next_sample = if state.next_sample + 1 == row.len { 0 } else { state.next_sample + 1 };
    true
}

/// Counts samples at their places, if there are any.
#[inline(always)]
fn count_all<S: Storage>(
    buckets: Buckets,
    samples: impl Iterator<Item = WeightedSample>,
    counts: &mut [CountWord],
) {
    if !S::ABSENT.histogram && !counts.is_empty() {
        buckets.count_all(samples, counts);
    }
}

/// What belongs to the fresh sums of a row.
pub(super) struct StagedRow<'a, S> {
    storage: PhantomData<S>,
    state: &'a mut EventState,
    /// The samples that are kept.
    samples: &'a [Sample],
    /// Its bucket counts.
    counts: &'a mut [CountWord],
    buckets: Buckets,
    /// The slowest ones.
    slowest: &'a mut [Exemplar],
}

impl<'a, S: Storage> StagedRow<'a, S> {
    /// Of a row of this storage.
    #[inline(always)]
    pub(super) fn new(
        shape: Shape,
        parts: StorageParts<'a, S::Count>,
        row: usize,
        buckets: Buckets,
    ) -> Self {
        let Shape { slowest: k, events: rows, corrected, .. } = shape;
        let (room, lists) = (shape.room(), shape.lists());
        let StorageParts { events, totals, samples, slowest, .. } = parts;
        Self {
            storage: PhantomData,
            state: &mut events[row],
            samples,
            counts: &mut totals[(rows + corrected + row) * room..][..room],
            buckets,
            slowest: &mut slowest[(row * lists + lists - 1) * k..][..k],
        }
    }

    /// What there is more to do about a sample than to [keep](keep_staged) it; whether it is among the slowest.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub(super) fn add(
        &mut self,
        row: SampleRow,
        weighted: WeightedSample,
        origin: &SpanOrigin,
    ) -> bool {
        let is_kept = row.len > 0;
        if WAITS && is_kept && self.state.staged.waiting >= row.waiting {
            self.add_waiting(row);
        }
        if !is_kept && WAITS {
            self.state.staged.add(Sample::new(weighted, When::NEVER));
        }
        if !is_kept || !WAITS {
            count_all::<S>(self.buckets, core::iter::once(weighted), self.counts);
        }
        self.add_slow(weighted.value(), origin)
    }

    /// Takes a sample among the slowest, if it is one of them.
    fn add_slow(&mut self, value: u64, origin: &SpanOrigin) -> bool {
        if S::ABSENT.slowest {
            // Nor will any be.
            if WAITS {
                self.state.staged.slow_from = CountWord::MAX;
            }
            return false;
        }
        let is_slow =
            value >= widen(self.state.staged.slow_from) && exemplars::is_slow(self.slowest, value);
        if is_slow {
            exemplars::insert(self.slowest, slow(value, origin));
        }
        self.state.staged.slow_from = narrow(exemplars::slow_from(self.slowest));
        is_slow
    }

    /// Adds up the samples that wait.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn add_waiting(&mut self, row: SampleRow) {
        let EventState { staged, next_sample, .. } = &mut *self.state;
        let waiting = core::mem::take(&mut staged.waiting) as usize;
        let samples = &self.samples[row.first..][..row.len];
        // The newest ones lie before the place of the next one, and before the end.
        let behind = waiting.saturating_sub(*next_sample);
        for samples in
            [&samples[row.len - behind..], &samples[*next_sample + behind - waiting..*next_sample]]
        {
            staged.sums.add_all(samples);
            count_all::<S>(
                self.buckets,
                samples.iter().map(|sample| sample.weighted()),
                self.counts,
            );
        }
    }
}

/// Counts a sample for these limits, from the `first` on; whether it is older than the window of one.
#[inline(always)]
pub(super) fn tally(
    first: u16,
    limits: &[Rule],
    tallies: &mut [Tally],
    of_rule: usize,
    weighted: WeightedSample,
    tick: u64,
) -> bool {
    let (mut next, mut late) = (first, false);
    while let Some(number) = usize::from(next).checked_sub(1) {
        let rule = &limits[number];
        match rule.window.place(tick) {
            Some(slice) => tallies[number * of_rule + slice]
                .add(weighted.value() > rule.most, weighted.sampling()),
            None => late = true,
        }
        next = rule.next;
    }
    late
}

impl<S: Storage> Aggregator<S> {
    /// The fresh sums of a row that is an event's, not that of a corrected summary.
    fn staged_row(&mut self, row: usize, unit: Unit) -> StagedRow<'_, S> {
        let (shape, buckets) = (self.shape(), self.buckets(unit));
        StagedRow::new(shape, self.storage.parts(), row, buckets)
    }

    /// What there is more to do about a sample than to [keep](keep_staged) it, out of the way of those of which there is no more.
    #[inline(never)]
    pub(super) fn add_staged(
        &mut self,
        row: usize,
        unit: Unit,
        weighted: WeightedSample,
        origin: &SpanOrigin,
    ) -> bool {
        let row = self.known_row(row);
        let kept = SampleRow::new(self.shape(), row);
        self.staged_row(row, unit).add(kept, weighted, origin)
    }

    /// Where a sample goes. One that not all windows have is poured out before another one comes: a late one, which is older than a
    /// window, and one from the future, which is in the total alone.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub(super) fn sample(
        &mut self,
        row: usize,
        unit: Unit,
        weighted: WeightedSample,
        ticks: u64,
        origin: &SpanOrigin,
    ) {
        let row = self.known_row(row);
        let (is_future, tick) = (self.is_future(ticks), ticks.min(self.now));
        let is_covered = !is_future && self.storage.parts().events[row].staged.covers(tick);
        let mut is_late = !is_covered && self.begin_staged(row, tick, is_future);

        let kept = SampleRow::new(self.shape(), row);
        let StorageParts { events, samples, .. } = self.storage.parts();
        let state = &mut events[row];
        let when = if is_future { When::NEVER } else { When::new(tick, state.staged.slices) };
        let is_slow = keep_staged::<S>(state, samples, kept, weighted, when)
            && self.add_staged(row, unit, weighted, origin);
        if is_future {
            counter_width::note(&mut self.counters.clock_anomalies);
            self.commit_into(row, None);
        } else {
            is_late |= self.tally(row, weighted, tick);
        }
        if is_late {
            counter_width::note(&mut self.counters.late);
        }
        self.sample_further(row, weighted, (!is_future).then_some(tick), origin, is_slow);
    }

    /// Pours out what the fresh sums of this row have, and begins with those of the slices that `tick` belongs to; of none if it is of the
    /// future. Whether it is older than a window.
    #[cold]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn begin_staged(&mut self, row: usize, tick: u64, is_future: bool) -> bool {
        let row = self.known_row(row);
        self.commit(row);
        let StorageParts { windows, events, .. } = self.storage.parts();
        let staged = &mut events[row].staged;
        (staged.ticks, staged.slices) = (0, Slices::NONE);
        if is_future {
            return false;
        }
        let (mut from, mut to, mut is_late) = (0, u64::MAX, false);
        for window in &*windows {
            let Some((place, begins)) = window.slice(tick) else {
                is_late = true;
                continue;
            };
            (from, to) = (from.max(begins), to.min(begins.saturating_add(window.slice_ticks())));
            staged.slices.add(window, place);
        }
        // None are covered where windows lack some.
        (staged.from, staged.ticks) = (from, if is_late { 0 } else { to - from });
        is_late
    }

    /// Counts a sample for the limits of its event; whether it is older than the window of one.
    #[inline]
    fn tally(&mut self, row: usize, weighted: WeightedSample, tick: u64) -> bool {
        let of_rule = self.shape().limit_slices;
        let StorageParts { events, limits, tallies, .. } = self.storage.parts();
        !S::ABSENT.limits && tally(events[row].first_rule, limits, tallies, of_rule, weighted, tick)
    }

    /// What few samples lead to besides.
    #[inline(always)]
    fn sample_further(
        &mut self,
        row: usize,
        weighted: WeightedSample,
        tick: Option<u64>,
        origin: &SpanOrigin,
        is_slow: bool,
    ) {
        if !S::ABSENT.corrected && self.storage.parts().events[row].corrected > 0 {
            self.correct(row, weighted, tick);
        }
        if is_slow && origin.awaits_tag {
            self.in_flight().await_tag(row_number(row), origin.start);
        }
    }

    /// Pours the fresh sums of a row into the total and the slices that they belong to. Linear in the places between the smallest
    /// and the largest of them.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn commit(&mut self, row: usize) {
        // A corrected summary has none.
        if row < self.shape().events {
            let from = self.storage.parts().events[row].staged.from;
            self.commit_into(row, Some(from));
        }
    }

    /// The same, into the total and the slices of this tick, or into the total alone.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn commit_into(&mut self, row: usize, tick: Option<u64>) {
        let row = self.known_row(row);
        let unit = self.add_up(row);
        let shape = self.shape();
        let (buckets, room, k) = (shape.buckets(unit), shape.room(), shape.slowest);
        let Shape { slices: of_event, events: rows, corrected, .. } = shape;
        let lists = shape.lists();
        let StorageParts { windows, events, slices, counts, totals, slowest, .. } =
            self.storage.parts();
        let state = &mut events[row];
        if state.staged.sums.count() == 0 {
            return;
        }
        let moments = state.staged.sums.moments();
        (state.staged.sums, state.staged.slow_from) = (PackedMoments::EMPTY, 0);
        let used = if room > 0 { buckets.places_between(&moments) } else { 0..0 };
        let (total, rest) = totals.split_at_mut((rows + corrected) * room);
        let total = &mut total[row * room..][..room];
        let staged = &mut rest[row * room..][..room];
        let (lists, staged_list) =
            slowest[row * lists * k..][..lists * k].split_at_mut((lists - 1) * k);

        let mut full = 0_u64;
        state.total.merge(&moments);
        for (total, staged) in total[used.clone()].iter_mut().zip(&staged[used.clone()]) {
            full += widen(total.add_word(*staged));
        }
        if !S::ABSENT.slowest {
            exemplars::merge(&mut lists[of_event * k..][..k], staged_list);
        }
        for window in &*windows {
            let Some(slice) = tick.and_then(|tick| window.place(tick)) else { continue };
            let sums = &mut slices[row * of_event + slice];
            full += sums.merge(&moments);
            if room > 0 {
                let mut counts = BucketCounts::of(counts, shape, row);
                full += counts.add_all(slice, staged, &used, sums.weight());
            }
            if !S::ABSENT.slowest {
                exemplars::merge(&mut lists[slice * k..][..k], staged_list);
            }
        }
        staged[used].fill(0);
        staged_list.fill(Exemplar::EMPTY);
        self.count_full(full);
    }

    /// So many did not fit into a counter, by weight.
    #[inline(always)]
    pub(super) fn count_full(&mut self, full: u64) {
        self.counters.full_counters = self.counters.full_counters.saturating_add(full);
    }

    /// Adds up the samples of an event that wait; the event's unit.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn add_up(&mut self, row: usize) -> Unit {
        let StorageParts { rows, events, .. } = self.storage.parts();
        let unit = unit_of::<S>(rows, &events[row]);
        if WAITS && events[row].staged.waiting > 0 {
            let kept = SampleRow::new(self.shape(), row);
            self.staged_row(row, unit).add_waiting(kept);
        }
        unit
    }

    /// What the samples of an event's row add up to since the start.
    pub(super) fn sum_up(&mut self, row: usize) -> Moments {
        self.add_up(row);
        let EventState { total, staged, .. } = &self.storage.parts().events[row];
        let mut moments = *total;
        moments.merge(&staged.sums.moments());
        moments
    }

    /// Pours the fresh sums of `event`.
    pub(super) fn commit_event(&mut self, event: EventId) {
        if let Some((row, _)) = row_of::<S>(self.storage.parts().rows, event) {
            self.commit(row);
        }
    }

    /// Pours the fresh sums of all events; which slices the next samples belong to is to be found anew.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn commit_all(&mut self) {
        for row in 0..self.shape().events {
            self.commit(row);
            self.storage.parts().events[row].staged = Staged::EMPTY;
        }
    }
}

fn slow(value: u64, origin: &SpanOrigin) -> Exemplar {
    let slow = Exemplar::new(value, origin.start, origin.tag, origin.source);
    if origin.awaits_tag { slow.awaiting_tag() } else { slow }
}
