//! Adds samples to the windows and the total of their event.
//!
//! A sample belongs to the total since the start and, for each window, to one of its slices. Adding
//! each sample to all of these sums would be expensive. Instead, an event has one set of *staged*
//! sums, to which samples of the same slices are added. The staged sums are *committed*, that is,
//! added to the total and to the slices, as soon as a sample of other slices arrives, a slice ends,
//! or a summary is computed. Committing a few hundred samples together costs about as much as
//! committing a single one.
//!
//! On 64-bit targets, staging itself happens in batches. A sample is stored in the sample buffer
//! anyway, for exact quantiles. Once enough new samples are there, this *batch* is added to the
//! staged sums in one loop.

use core::marker::PhantomData;

use super::{Aggregator, SpanOrigin, row_number, row_of, unit_of};
use crate::{
    Buckets, EventId, Moments, Unit,
    bucket_counts::BucketCounts,
    counter_width::{self, CountWord, saturating_word, widen},
    exemplars::{self, Exemplar},
    histogram::Count,
    packed_moments::PackedMoments,
    sample_buffer::{Membership, Sample, SliceSet},
    select::WeightedSample,
    sla::{Rule, Tally},
    storage::{RowState, Shape, Storage, StorageParts},
};

/// Whether samples are added to the staged sums in batches. On 32-bit targets, each sample is added
/// on its own, which is slower but takes less flash.
const IN_BATCHES: bool = cfg!(target_pointer_width = "64");

/// The largest number of samples in a batch: few enough that all of them are still in the cache
/// when the batch is added up.
const MAX_BATCH: u32 = 64;

/// The sums of an event's staged samples, which are not yet part of the total and the slices. The
/// bucket counts and exemplars of these samples are not here: they are in the arrays that also hold
/// those of the total and the slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Staged {
    /// The moments of the staged samples, except for those of the current batch.
    sums: PackedMoments,
    /// The first of the ticks that belong to the same slices as the staged samples, in every
    /// window.
    from: u64,
    /// How many ticks from `from` on belong to these slices. 0 if the next sample must not be added
    /// to these sums: it commits them and looks up its own slices.
    ticks: u64,
    /// The slices that the ticks `from..from + ticks` belong to.
    pub(super) slices: SliceSet,
    /// Samples below this value do not become exemplars of the staged samples: enough slower ones
    /// are staged already.
    min_slow_value: CountWord,
    /// The number of samples in the current batch. These are the newest ones in the sample buffer,
    /// and are not yet part of `sums`.
    batch: u32,
}

impl Staged {
    pub(crate) const EMPTY: Self = Self {
        sums: PackedMoments::EMPTY,
        from: 0,
        ticks: 0,
        slices: SliceSet::NONE,
        min_slow_value: 0,
        batch: 0,
    };

    /// Adds a sample to the sums.
    #[inline(always)]
    fn add(&mut self, sample: Sample) {
        self.sums.add(sample);
        // Make the next sample commit these sums, so that the weight never reaches 2^32 − 1,
        // where it would saturate.
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

/// Begins to stage a sample: stores it in the sample buffer of its event, in place of the oldest
/// sample there, and adds it to the batch or, on 32-bit targets, to the staged sums. Returns
/// whether the caller must also call [`StagedRow::add`] with this sample.
///
/// `samples` is the sample buffer of all events, of which `row` is the part for this event. `state`
/// is the event's state. `membership` identifies the slices that the sample belongs to.
#[inline(always)]
pub(super) fn buffer_sample<S: Storage>(
    state: &mut RowState,
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
        || weighted.value() >= widen(state.staged.min_slow_value)
}

/// The position of an event's samples in the sample buffer of all events.
#[derive(Clone, Copy)]
pub(super) struct SampleRow {
    /// The index of the event's first sample.
    first: usize,
    /// The number of samples that the buffer holds for each event; may be 0.
    len: usize,
    /// The number of samples at which a batch is full: [`MAX_BATCH`], or `len` if that is smaller.
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

/// Stores a sample in the sample buffer of its event, in place of the oldest one. Returns `false`
/// if events have no sample buffer because its length is 0.
#[inline(always)]
fn store(state: &mut RowState, samples: &mut [Sample], row: SampleRow, sample: Sample) -> bool {
    if row.len == 0 {
        return false;
    }
    let Some(oldest) = samples.get_mut(row.first + state.next_sample) else { return false };
    *oldest = sample;
    state.next_sample = if state.next_sample + 1 == row.len { 0 } else { state.next_sample + 1 };
    true
}

/// Adds samples to bucket counts. Does nothing if the storage has no histograms; `counts` is then
/// empty.
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

/// Everything that is staged for one event, borrowed from the arrays of the storage.
pub(super) struct StagedRow<'a, S> {
    /// The type of the storage, which declares what is absent.
    storage: PhantomData<S>,
    state: &'a mut RowState,
    /// The sample buffer of all events.
    samples: &'a [Sample],
    /// The bucket counts of this event's staged samples.
    counts: &'a mut [CountWord],
    buckets: Buckets,
    /// The exemplars of this event's staged samples: the slowest of them, in descending order.
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
        let Shape { slowest: per_list, events: event_rows, corrected, .. } = shape;
        let (padded_buckets, lists) = (shape.padded_buckets(), shape.exemplar_lists());
        let StorageParts { rows, totals, samples, slowest, .. } = parts;
        Self {
            storage: PhantomData,
            state: &mut rows[row],
            samples,
            counts: &mut totals[(event_rows + corrected + row) * padded_buckets..]
                [..padded_buckets],
            buckets,
            slowest: &mut slowest[(row * lists + lists - 1) * per_list..][..per_list],
        }
    }

    /// Completes the staging of a sample that [`buffer_sample`] has begun. Returns whether the
    /// sample became an exemplar of the staged samples.
    ///
    /// If the batch is full, adds it to the staged sums and bucket counts. If the sample is in no
    /// batch, adds the sample alone. If the sample is slow enough, stores it as an exemplar with
    /// the data in `origin`.
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

    /// Inserts a sample into the exemplars if it is one of the slowest staged ones. Returns whether
    /// it is.
    fn add_slow(&mut self, value: u64, origin: &SpanOrigin) -> bool {
        if S::ABSENT.slowest {
            // There are no exemplars. Because of the largest `min_slow_value`, `buffer_sample` does
            // not request this call for later samples on account of their values.
            if IN_BATCHES {
                self.state.staged.min_slow_value = CountWord::MAX;
            }
            return false;
        }
        let is_slow = value >= widen(self.state.staged.min_slow_value)
            && exemplars::is_slow(self.slowest, value);
        if is_slow {
            exemplars::insert(self.slowest, new_exemplar(value, origin));
        }
        self.state.staged.min_slow_value = saturating_word(exemplars::min_slow_value(self.slowest));
        is_slow
    }

    /// Adds the current batch to the staged sums and bucket counts.
    #[inline(never)]
    pub(super) fn sum_batch(&mut self, row: SampleRow) {
        let RowState { staged, next_sample, .. } = &mut *self.state;
        let len = core::mem::take(&mut staged.batch) as usize;
        let samples = &self.samples[row.first..][..row.len];
        // The batch consists of the `len` samples before index `next_sample`. The buffer wraps
        // around, so the first `at_end` of them may lie at its end.
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

/// Counts a sample in the rules of its event. Returns whether the sample is too old for the window
/// of at least one of them.
///
/// `first` is the number of the event's first rule, counted from 1, or 0 if the event has none.
/// Each rule contains the number of the next one. `limits` and `tallies` hold the rules and tallies
/// of all events; each rule has `slices_per_rule` tallies. `tick` is that of the sample's record;
/// for a span, of its END.
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
    while let Some(index) = usize::from(next).checked_sub(1) {
        let rule = &limits[index];
        match rule.window.slice_index(tick) {
            Some(slice) => tallies[index * slices_per_rule + slice]
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

    /// Calls [`StagedRow::add`] for the event in `row`. Out of line, because most samples do not
    /// need this call.
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
        unit: Unit,
        weighted: WeightedSample,
        ticks: u64,
        origin: &SpanOrigin,
    ) {
        let row = self.bounded_row(row);
        let (is_future, tick) = (self.is_future(ticks), ticks.min(self.now));
        let is_covered = !is_future && self.storage.parts().rows[row].staged.covers(tick);
        let mut is_late = !is_covered && self.prepare_staging(row, tick, is_future);

        let buffered = SampleRow::new(self.shape(), row);
        let StorageParts { rows, samples, .. } = self.storage.parts();
        let state = &mut rows[row];
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

    /// Commits what is staged for the event in `row`, and prepares staging for samples of the
    /// slices that `tick` belongs to. Returns whether `tick` is older than at least one window.
    ///
    /// If `is_future`, the sample to stage belongs to no slice; the result is then `false`.
    #[cold]
    #[inline(never)]
    fn prepare_staging(&mut self, row: usize, tick: u64, is_future: bool) -> bool {
        let row = self.bounded_row(row);
        self.commit(row);
        let StorageParts { windows, rows, .. } = self.storage.parts();
        let staged = &mut rows[row].staged;
        (staged.ticks, staged.slices) = (0, SliceSet::NONE);
        if is_future {
            return false;
        }
        let (mut from, mut to, mut is_late) = (0, u64::MAX, false);
        for window in &*windows {
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

    /// Counts a sample in the limits of the event in `row`. Returns whether it is too old for the
    /// window of at least one of them.
    #[inline]
    fn tally(&mut self, row: usize, weighted: WeightedSample, tick: u64) -> bool {
        let slices_per_rule = self.shape().limit_slices;
        let StorageParts { rows, limits, tallies, .. } = self.storage.parts();
        !S::ABSENT.limits
            && tally(rows[row].first_rule, limits, tallies, slices_per_rule, weighted, tick)
    }

    /// Does what only few samples need: corrects for coordinated omission, and requests the tag of
    /// an exemplar whose START may be drained later.
    ///
    /// `tick` is the tick of the sample's record, or `None` if it is from the future. `is_slow` is
    /// whether the sample became an exemplar.
    #[inline(always)]
    fn handle_rare_cases(
        &mut self,
        row: usize,
        weighted: WeightedSample,
        tick: Option<u64>,
        origin: &SpanOrigin,
        is_slow: bool,
    ) {
        if !S::ABSENT.corrected && self.storage.parts().rows[row].corrected > 0 {
            self.correct(row, weighted, tick);
        }
        if is_slow && origin.awaits_tag {
            self.in_flight().await_tag(row_number(row), origin.start);
        }
    }

    /// Commits what is staged for the event in `row` to the total and to the slices that it belongs
    /// to. Takes time linear in the buckets between the smallest and the largest staged sample.
    #[inline(never)]
    pub(super) fn commit(&mut self, row: usize) {
        // The rows after the events are corrected summaries, for which nothing is ever staged.
        if row < self.shape().events {
            let from = self.storage.parts().rows[row].staged.from;
            self.commit_into(row, Some(from));
        }
    }

    /// Commits what is staged for the event in `row` to the total and to the slices that `tick`
    /// belongs to. With `None`, commits to the total only.
    #[inline(never)]
    fn commit_into(&mut self, row: usize, tick: Option<u64>) {
        let row = self.bounded_row(row);
        let unit = self.sum_batch(row);
        let shape = self.shape();
        let (buckets, padded_buckets, per_list) =
            (shape.buckets(unit), shape.padded_buckets(), shape.slowest);
        let Shape { slices: slices_per_row, events: event_rows, corrected, .. } = shape;
        let lists = shape.exemplar_lists();
        let StorageParts { windows, rows, slices, counts, totals, slowest, .. } =
            self.storage.parts();
        let state = &mut rows[row];
        if state.staged.sums.count() == 0 {
            return;
        }
        let moments = state.staged.sums.moments();
        (state.staged.sums, state.staged.min_slow_value) = (PackedMoments::EMPTY, 0);
        let used = if padded_buckets > 0 { buckets.index_range(&moments) } else { 0..0 };
        let (total, rest) = totals.split_at_mut((event_rows + corrected) * padded_buckets);
        let total = &mut total[row * padded_buckets..][..padded_buckets];
        let staged = &mut rest[row * padded_buckets..][..padded_buckets];
        let (lists, staged_list) = slowest[row * lists * per_list..][..lists * per_list]
            .split_at_mut((lists - 1) * per_list);

        let mut overflow = 0_u64;
        state.total.merge(&moments);
        for (total, staged) in total[used.clone()].iter_mut().zip(&staged[used.clone()]) {
            overflow += widen(total.add_word(*staged));
        }
        if !S::ABSENT.slowest {
            exemplars::merge(&mut lists[slices_per_row * per_list..][..per_list], staged_list);
        }
        for window in &*windows {
            let Some(slice) = tick.and_then(|tick| window.slice_index(tick)) else { continue };
            let sums = &mut slices[row * slices_per_row + slice];
            overflow += sums.merge(&moments);
            if padded_buckets > 0 {
                let mut counts = BucketCounts::of(counts, shape, row);
                overflow += counts.add_all(slice, staged, &used, sums.weight());
            }
            if !S::ABSENT.slowest {
                exemplars::merge(&mut lists[slice * per_list..][..per_list], staged_list);
            }
        }
        staged[used].fill(0);
        staged_list.fill(Exemplar::EMPTY);
        self.note_overflow(overflow);
    }

    /// Counts weight that did not fit into counters because they are saturated.
    #[inline(always)]
    pub(super) fn note_overflow(&mut self, weight: u64) {
        self.counters.full_counters = self.counters.full_counters.saturating_add(weight);
    }

    /// Adds the current batch of the event in `row` to its staged sums. Returns the event's unit.
    #[inline(never)]
    fn sum_batch(&mut self, row: usize) -> Unit {
        let StorageParts { row_of_id, rows, .. } = self.storage.parts();
        let unit = unit_of::<S>(row_of_id, &rows[row]);
        if IN_BATCHES && rows[row].staged.batch > 0 {
            let buffered = SampleRow::new(self.shape(), row);
            self.staged_row(row, unit).sum_batch(buffered);
        }
        unit
    }

    /// Returns the moments of all samples of the event in `row` since the start, including the
    /// staged ones.
    pub(super) fn total_moments(&mut self, row: usize) -> Moments {
        self.sum_batch(row);
        let RowState { total, staged, .. } = &self.storage.parts().rows[row];
        let mut moments = *total;
        moments.merge(&staged.sums.moments());
        moments
    }

    /// Commits what is staged for `event`. Does nothing for an unknown event.
    pub(super) fn commit_event(&mut self, event: EventId) {
        if let Some((row, _)) = row_of::<S>(self.storage.parts().row_of_id, event) {
            self.commit(row);
        }
    }

    /// Commits what is staged for all events. The next sample of each event looks up its slices
    /// anew, because the windows are about to advance.
    #[inline(never)]
    pub(super) fn commit_all(&mut self) {
        for row in 0..self.shape().events {
            self.commit(row);
            self.storage.parts().rows[row].staged = Staged::EMPTY;
        }
    }
}

/// Creates the exemplar of a sample. `value` is in internal units.
fn new_exemplar(value: u64, origin: &SpanOrigin) -> Exemplar {
    let exemplar = Exemplar::new(value, origin.start, origin.tag, origin.source);
    if origin.awaits_tag { exemplar.awaiting_tag() } else { exemplar }
}
