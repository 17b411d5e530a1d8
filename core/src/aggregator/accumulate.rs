//! Adds samples to the windows and the total of their event.
//!
//! A sample belongs to the total and to one slice of each window. Adding it to each of them at once
//! would be expensive. Instead, samples are first *staged* in one place per event, and committed
//! together to the total and to all slices as soon as a sample of another slice arrives, a slice
//! ends, or a query needs them. A few hundred samples then cost about as much as one would
//! otherwise.
//!
//! On 64-bit targets, even staging happens in batches: a sample first goes to the sample buffer,
//! which stores it anyway for exact quantiles, and a batch of the newest samples is added to the
//! staged sums at once.

use core::marker::PhantomData;

use super::{Aggregator, SpanOrigin, row_number, row_of, unit_of};
use crate::{
    Buckets, EventId, Moments, Unit,
    bucket_counts::BucketCounts,
    counter_width::{self, CountWord, narrow, widen},
    exemplars::{self, Exemplar},
    histogram::Count,
    packed_moments::PackedMoments,
    sample_buffer::{Membership, Sample, SliceSet},
    select::WeightedSample,
    sla::{Rule, Tally},
    storage::{EventState, Shape, Storage, StorageParts},
};

/// Whether samples are staged in batches. On 32-bit targets, each sample is staged at once, which
/// is slower but takes less flash.
const IN_BATCHES: bool = cfg!(target_pointer_width = "64");

/// The largest number of samples in a batch. They are still in the cache when the batch is added
/// up.
const MAX_BATCH: u32 = 64;

/// The sums of an event's staged samples: those that are not yet committed to the total and to the
/// slices. Their bucket counts and exemplars are stored next to those of the slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Staged {
    sums: PackedMoments,
    /// The ticks `from..from + ticks` belong to the same slice of every window as the staged
    /// samples. `ticks` is 0 if the next sample has to determine the slices anew.
    from: u64,
    ticks: u64,
    /// The slices of these ticks.
    pub(super) slices: SliceSet,
    /// Samples below this value are not among the slowest staged ones.
    slow_from: CountWord,
    /// How many of the newest samples in the buffer form the current batch: they are not yet part
    /// of the sums.
    batch: u32,
}

impl Staged {
    pub(crate) const EMPTY: Self = Self {
        sums: PackedMoments::EMPTY,
        from: 0,
        ticks: 0,
        slices: SliceSet::NONE,
        slow_from: 0,
        batch: 0,
    };

    /// Adds a sample to the sums.
    #[inline(always)]
    fn add(&mut self, sample: Sample) {
        self.sums.add(sample);
        // Makes the next sample commit these sums before a sum or counter of 32 bits overflows.
        if cfg!(not(target_pointer_width = "64")) && self.sums.weight() > 1 << 31 {
            self.ticks = 0;
        }
    }

    /// Returns whether `tick` belongs to the same slices as the staged samples.
    #[inline]
    pub(super) const fn covers(&self, tick: u64) -> bool {
        tick.wrapping_sub(self.from) < self.ticks
    }
}

/// Stores a sample in the buffer of its row, in place of the oldest one, and adds it to the batch
/// (on 32-bit targets, to the staged sums). Returns whether [`StagedRow::add`] has to be called for
/// it.
#[inline(always)]
pub(super) fn buffer_sample<S: Storage>(
    state: &mut EventState,
    samples: &mut [Sample],
    row: SampleRow,
    weighted: WeightedSample,
    membership: Membership,
) -> bool {
    let sample = Sample::new(weighted, membership);
    let is_buffered = store(state, samples, row, sample);
    if !IN_BATCHES {
        state.staged.add(sample);
        return !(S::ABSENT.histogram && S::ABSENT.slowest);
    }
    state.staged.batch += u32::from(is_buffered);
    !is_buffered
        || state.staged.batch >= row.max_batch
        || weighted.value() >= widen(state.staged.slow_from)
}

/// The position of a row's samples in the buffer.
#[derive(Clone, Copy)]
pub(super) struct SampleRow {
    first: usize,
    len: usize,
    /// The largest number of samples in a batch.
    max_batch: u32,
}

impl SampleRow {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "at most MAX_BATCH")]
    pub(super) const fn new(shape: Shape, row: usize) -> Self {
        let len = shape.samples;
        Self {
            first: row * len,
            len,
            max_batch: if len < MAX_BATCH as usize { len as u32 } else { MAX_BATCH },
        }
    }
}

/// Stores a sample in the buffer. Returns `false` if the buffer has no room for any sample.
#[inline(always)]
fn store(state: &mut EventState, samples: &mut [Sample], row: SampleRow, sample: Sample) -> bool {
    if row.len == 0 {
        return false;
    }
    let Some(oldest) = samples.get_mut(row.first + state.next_sample) else { return false };
    state.evicted.note(oldest.membership());
    *oldest = sample;
    state.next_sample = if state.next_sample + 1 == row.len { 0 } else { state.next_sample + 1 };
    true
}

/// Adds samples to the bucket counts, if there is a histogram.
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

/// Everything that is staged for one event.
pub(super) struct StagedRow<'a, S> {
    storage: PhantomData<S>,
    state: &'a mut EventState,
    /// The sample buffer of all rows.
    samples: &'a [Sample],
    /// The staged bucket counts of this row.
    counts: &'a mut [CountWord],
    buckets: Buckets,
    /// The slowest staged samples, the slowest first.
    slowest: &'a mut [Exemplar],
}

impl<'a, S: Storage> StagedRow<'a, S> {
    /// Borrows what is staged for the event in `row`.
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

    /// Completes what [`buffer_sample`] has begun: adds up a full batch, counts the sample in its
    /// bucket if it is in no batch, and inserts it among the slowest if it is one of them. Returns
    /// whether it is one of them.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub(super) fn add(
        &mut self,
        row: SampleRow,
        weighted: WeightedSample,
        origin: &SpanOrigin,
    ) -> bool {
        let is_buffered = row.len > 0;
        if IN_BATCHES && is_buffered && self.state.staged.batch >= row.max_batch {
            self.sum_batch(row);
        }
        if !is_buffered && IN_BATCHES {
            self.state.staged.add(Sample::new(weighted, Membership::NONE));
        }
        if !is_buffered || !IN_BATCHES {
            count_all::<S>(self.buckets, core::iter::once(weighted), self.counts);
        }
        self.add_slow(weighted.value(), origin)
    }

    /// Inserts a sample among the slowest if it is one of them. Returns whether it is.
    fn add_slow(&mut self, value: u64, origin: &SpanOrigin) -> bool {
        if S::ABSENT.slowest {
            // No later sample is among the slowest either.
            if IN_BATCHES {
                self.state.staged.slow_from = CountWord::MAX;
            }
            return false;
        }
        let is_slow =
            value >= widen(self.state.staged.slow_from) && exemplars::is_slow(self.slowest, value);
        if is_slow {
            exemplars::insert(self.slowest, new_exemplar(value, origin));
        }
        self.state.staged.slow_from = narrow(exemplars::slow_from(self.slowest));
        is_slow
    }

    /// Adds the current batch to the staged sums and bucket counts.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn sum_batch(&mut self, row: SampleRow) {
        let EventState { staged, next_sample, .. } = &mut *self.state;
        let len = core::mem::take(&mut staged.batch) as usize;
        let samples = &self.samples[row.first..][..row.len];
        // The batch lies before `next_sample`; if the buffer has wrapped around since, also at its
        // end.
        let at_end = len.saturating_sub(*next_sample);
        for samples in
            [&samples[row.len - at_end..], &samples[*next_sample + at_end - len..*next_sample]]
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

/// Counts a sample in the rules of an event, which are linked from `first` on. Returns whether the
/// sample is older than the window of one of them.
#[inline(always)]
pub(super) fn tally(
    first: u16,
    limits: &[Rule],
    tallies: &mut [Tally],
    slices_per_rule: usize,
    weighted: WeightedSample,
    tick: u64,
) -> bool {
    let (mut next, mut late) = (first, false);
    while let Some(number) = usize::from(next).checked_sub(1) {
        let rule = &limits[number];
        match rule.window.place(tick) {
            Some(slice) => tallies[number * slices_per_rule + slice]
                .add(weighted.value() > rule.max_value, weighted.sampling()),
            None => late = true,
        }
        next = rule.next;
    }
    late
}

impl<S: Storage> Aggregator<S> {
    /// Borrows what is staged for the event in `row`, which must not be the row of a corrected
    /// summary.
    fn staged_row(&mut self, row: usize, unit: Unit) -> StagedRow<'_, S> {
        let (shape, buckets) = (self.shape(), self.buckets(unit));
        StagedRow::new(shape, self.storage.parts(), row, buckets)
    }

    /// Calls [`StagedRow::add`], out of line: most samples do not need it.
    #[inline(never)]
    pub(super) fn add_staged(
        &mut self,
        row: usize,
        unit: Unit,
        weighted: WeightedSample,
        origin: &SpanOrigin,
    ) -> bool {
        let row = self.bounded_row(row);
        let buffered = SampleRow::new(self.shape(), row);
        self.staged_row(row, unit).add(buffered, weighted, origin)
    }

    /// Adds a sample to the windows, the total and the limits of its event.
    ///
    /// A sample that does not belong to every window is staged on its own. This applies to a late
    /// one, which is older than a window, and to one from the future, which counts in the total
    /// only.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub(super) fn add_sample(
        &mut self,
        row: usize,
        unit: Unit,
        weighted: WeightedSample,
        ticks: u64,
        origin: &SpanOrigin,
    ) {
        let row = self.bounded_row(row);
        let (is_future, tick) = (self.is_future(ticks), ticks.min(self.now));
        let is_covered = !is_future && self.storage.parts().events[row].staged.covers(tick);
        let mut is_late = !is_covered && self.prepare_staging(row, tick, is_future);

        let buffered = SampleRow::new(self.shape(), row);
        let StorageParts { events, samples, .. } = self.storage.parts();
        let state = &mut events[row];
        let membership =
            if is_future { Membership::NONE } else { Membership::new(tick, state.staged.slices) };
        let is_slow = buffer_sample::<S>(state, samples, buffered, weighted, membership)
            && self.add_staged(row, unit, weighted, origin);
        if is_future {
            counter_width::increment(&mut self.counters.clock_anomalies);
            self.commit_into(row, None);
        } else {
            is_late |= self.tally(row, weighted, tick);
        }
        if is_late {
            counter_width::increment(&mut self.counters.late);
        }
        self.handle_rare_cases(row, weighted, (!is_future).then_some(tick), origin, is_slow);
    }

    /// Commits what is staged for this row and prepares staging for the slices that `tick` belongs
    /// to, or for none if `is_future`. Returns whether `tick` is older than a window.
    #[cold]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn prepare_staging(&mut self, row: usize, tick: u64, is_future: bool) -> bool {
        let row = self.bounded_row(row);
        self.commit(row);
        let StorageParts { windows, events, .. } = self.storage.parts();
        let staged = &mut events[row].staged;
        (staged.ticks, staged.slices) = (0, SliceSet::NONE);
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
        // A late sample is missing in some window, so no other may be staged together with it.
        (staged.from, staged.ticks) = (from, if is_late { 0 } else { to - from });
        is_late
    }

    /// Counts a sample in the limits of its event. Returns whether it is older than the window of
    /// one of them.
    #[inline]
    fn tally(&mut self, row: usize, weighted: WeightedSample, tick: u64) -> bool {
        let slices_per_rule = self.shape().limit_slices;
        let StorageParts { events, limits, tallies, .. } = self.storage.parts();
        !S::ABSENT.limits
            && tally(events[row].first_rule, limits, tallies, slices_per_rule, weighted, tick)
    }

    /// Does what few samples need: corrects for coordinated omission, and requests the tag of an
    /// exemplar whose START has not been seen.
    #[inline(always)]
    fn handle_rare_cases(
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

    /// Commits what is staged for a row to the total and to the slices it belongs to. Takes time
    /// linear in the buckets between the smallest and the largest staged sample.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn commit(&mut self, row: usize) {
        // Nothing is ever staged for a corrected summary.
        if row < self.shape().events {
            let from = self.storage.parts().events[row].staged.from;
            self.commit_into(row, Some(from));
        }
    }

    /// Commits what is staged for a row to the total and to the slices of `tick`, or to the total
    /// only if that is `None`.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn commit_into(&mut self, row: usize, tick: Option<u64>) {
        let row = self.bounded_row(row);
        let unit = self.sum_batch(row);
        let shape = self.shape();
        let (buckets, room, k) = (shape.buckets(unit), shape.room(), shape.slowest);
        let Shape { slices: slices_per_row, events: rows, corrected, .. } = shape;
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

        let mut overflow = 0_u64;
        state.total.merge(&moments);
        for (total, staged) in total[used.clone()].iter_mut().zip(&staged[used.clone()]) {
            overflow += widen(total.add_word(*staged));
        }
        if !S::ABSENT.slowest {
            exemplars::merge(&mut lists[slices_per_row * k..][..k], staged_list);
        }
        for window in &*windows {
            let Some(slice) = tick.and_then(|tick| window.place(tick)) else { continue };
            let sums = &mut slices[row * slices_per_row + slice];
            overflow += sums.merge(&moments);
            if room > 0 {
                let mut counts = BucketCounts::of(counts, shape, row);
                overflow += counts.add_all(slice, staged, &used, sums.weight());
            }
            if !S::ABSENT.slowest {
                exemplars::merge(&mut lists[slice * k..][..k], staged_list);
            }
        }
        staged[used].fill(0);
        staged_list.fill(Exemplar::EMPTY);
        self.note_overflow(overflow);
    }

    /// Counts weight that did not fit into a counter.
    #[inline(always)]
    pub(super) fn note_overflow(&mut self, weight: u64) {
        self.counters.full_counters = self.counters.full_counters.saturating_add(weight);
    }

    /// Adds an event's current batch to its staged sums. Returns the event's unit.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn sum_batch(&mut self, row: usize) -> Unit {
        let StorageParts { rows, events, .. } = self.storage.parts();
        let unit = unit_of::<S>(rows, &events[row]);
        if IN_BATCHES && events[row].staged.batch > 0 {
            let buffered = SampleRow::new(self.shape(), row);
            self.staged_row(row, unit).sum_batch(buffered);
        }
        unit
    }

    /// Returns the sums of an event's samples since the start, including the staged ones.
    pub(super) fn total_moments(&mut self, row: usize) -> Moments {
        self.sum_batch(row);
        let EventState { total, staged, .. } = &self.storage.parts().events[row];
        let mut moments = *total;
        moments.merge(&staged.sums.moments());
        moments
    }

    /// Commits what is staged for `event`.
    pub(super) fn commit_event(&mut self, event: EventId) {
        if let Some((row, _)) = row_of::<S>(self.storage.parts().rows, event) {
            self.commit(row);
        }
    }

    /// Commits what is staged for all events. The next sample of each determines its slices anew.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn commit_all(&mut self) {
        for row in 0..self.shape().events {
            self.commit(row);
            self.storage.parts().events[row].staged = Staged::EMPTY;
        }
    }
}

/// Creates the exemplar of a sample, in internal units.
fn new_exemplar(value: u64, origin: &SpanOrigin) -> Exemplar {
    let exemplar = Exemplar::new(value, origin.start, origin.tag, origin.source);
    if origin.awaits_tag { exemplar.awaiting_tag() } else { exemplar }
}
