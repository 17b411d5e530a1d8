//! Where a sample goes.
//!
//! It belongs to a slice of each window and to the total, which differ only in when they are over. So it goes into one place,
//! the *fresh sums* of its event, which are poured into all of them once a slice is over, or somebody asks: what each sample
//! would cost in every window, a few hundred of them cost together. Where registers have 64 bits, it is added to these sums only with
//! some others: until then it *waits* among the samples that are kept anyway.

use core::marker::PhantomData;

use super::{Aggregator, Origin, row_number, row_of, unit_of};
use crate::{
    Buckets, EventId, Moments, Unit,
    counts::Counts,
    histogram::Count,
    kept::{Sample, Slices, When},
    select::Weighed,
    sla::{Rule, Tally},
    slowest::{self, Slow},
    storage::{EventState, Parts, Shape, Storage},
    sums::Sums,
    word::{self, Word, narrow, widen},
};

/// Whether samples wait: where registers have 32 bits, each is added at once, which takes longer, but less flash.
const WAITS: bool = cfg!(target_pointer_width = "64");

/// So many samples wait, at the most, to be added to the fresh sums: they are still near then.
const WAITING: u32 = 64;

/// What samples of an event add up to that are in no slice yet, and not in the total. Their bucket counts and the slowest of them
/// lie with those of the slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Fresh {
    sums: Sums,
    /// The first tick of those that belong to the same slice of every window, and how many of them there are; none if it is to
    /// be found anew.
    from: u64,
    ticks: u64,
    /// Which slices these are.
    pub(super) slices: Slices,
    /// No sample below it is among the slowest.
    slow_from: Word,
    /// So many of the newest samples that are kept are not in the sums yet.
    waiting: u32,
}

impl Fresh {
    pub(crate) const EMPTY: Self =
        Self { sums: Sums::EMPTY, from: 0, ticks: 0, slices: Slices::NONE, slow_from: 0, waiting: 0 };

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
/// [more to do](FreshRow::add) about it.
#[inline(always)]
pub(super) fn keep_fresh<S: Storage>(
    state: &mut EventState,
    samples: &mut [Sample],
    row: Kept,
    weighed: Weighed,
    when: When,
) -> bool {
    let sample = Sample::new(weighed, when);
    let is_kept = keep(state, samples, row, sample);
    if !WAITS {
        state.fresh.add(sample);
        return !(S::LACKS.histogram && S::LACKS.slowest);
    }
    state.fresh.waiting += u32::from(is_kept);
    !is_kept || state.fresh.waiting >= row.waiting || weighed.value() >= widen(state.fresh.slow_from)
}

/// Where the samples of a row lie.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    first: usize,
    len: usize,
    /// So many of them may wait.
    waiting: u32,
}

impl Kept {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "no more than may wait")]
    pub(super) const fn new(shape: Shape, row: usize) -> Self {
        let len = shape.samples;
        Self { first: row * len, len, waiting: if len < WAITING as usize { len as u32 } else { WAITING } }
    }
}

/// Keeps a sample; `false` if none is kept.
#[inline(always)]
fn keep(state: &mut EventState, samples: &mut [Sample], row: Kept, sample: Sample) -> bool {
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
fn count_all<S: Storage>(buckets: Buckets, samples: impl Iterator<Item = Weighed>, counts: &mut [Word]) {
    if !S::LACKS.histogram && !counts.is_empty() {
        buckets.count_all(samples, counts);
    }
}

/// What belongs to the fresh sums of a row.
pub(super) struct FreshRow<'a, S> {
    storage: PhantomData<S>,
    state: &'a mut EventState,
    /// The samples that are kept.
    samples: &'a [Sample],
    /// Its bucket counts.
    counts: &'a mut [Word],
    buckets: Buckets,
    /// The slowest ones.
    slowest: &'a mut [Slow],
}

impl<'a, S: Storage> FreshRow<'a, S> {
    /// Of a row of this storage.
    #[inline(always)]
    pub(super) fn new(shape: Shape, parts: Parts<'a, S::Count>, row: usize, buckets: Buckets) -> Self {
        let Shape { slowest: k, events: rows, corrected, .. } = shape;
        let (room, lists) = (shape.room(), shape.lists());
        let Parts { events, totals, samples, slowest, .. } = parts;
        Self {
            storage: PhantomData,
            state: &mut events[row],
            samples,
            counts: &mut totals[(rows + corrected + row) * room..][..room],
            buckets,
            slowest: &mut slowest[(row * lists + lists - 1) * k..][..k],
        }
    }

    /// What there is more to do about a sample than to [keep](keep_fresh) it; whether it is among the slowest.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(always))]
    pub(super) fn add(&mut self, row: Kept, weighed: Weighed, origin: &Origin) -> bool {
        let is_kept = row.len > 0;
        if WAITS && is_kept && self.state.fresh.waiting >= row.waiting {
            self.add_waiting(row);
        }
        if !is_kept && WAITS {
            self.state.fresh.add(Sample::new(weighed, When::NEVER));
        }
        if !is_kept || !WAITS {
            count_all::<S>(self.buckets, core::iter::once(weighed), self.counts);
        }
        self.add_slow(weighed.value(), origin)
    }

    /// Takes a sample among the slowest, if it is one of them.
    fn add_slow(&mut self, value: u64, origin: &Origin) -> bool {
        if S::LACKS.slowest {
            // Nor will any be.
            if WAITS {
                self.state.fresh.slow_from = Word::MAX;
            }
            return false;
        }
        let is_slow = value >= widen(self.state.fresh.slow_from) && slowest::is_slow(self.slowest, value);
        if is_slow {
            slowest::insert(self.slowest, slow(value, origin));
        }
        self.state.fresh.slow_from = narrow(slowest::slow_from(self.slowest));
        is_slow
    }

    /// Adds up the samples that wait.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn add_waiting(&mut self, row: Kept) {
        let EventState { fresh, next_sample, .. } = &mut *self.state;
        let waiting = core::mem::take(&mut fresh.waiting) as usize;
        let samples = &self.samples[row.first..][..row.len];
        // The newest ones lie before the place of the next one, and before the end.
        let behind = waiting.saturating_sub(*next_sample);
        for samples in [&samples[row.len - behind..], &samples[*next_sample + behind - waiting..*next_sample]] {
            fresh.sums.add_all(samples);
            count_all::<S>(self.buckets, samples.iter().map(|sample| sample.weighed()), self.counts);
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
    weighed: Weighed,
    tick: u64,
) -> bool {
    let (mut next, mut late) = (first, false);
    while let Some(number) = usize::from(next).checked_sub(1) {
        let rule = &limits[number];
        match rule.window.place(tick) {
            Some(slice) => tallies[number * of_rule + slice].add(weighed.value() > rule.most, weighed.sampling()),
            None => late = true,
        }
        next = rule.next;
    }
    late
}

impl<S: Storage> Aggregator<S> {
    /// The fresh sums of a row that is an event's, not that of a corrected summary.
    fn fresh_row(&mut self, row: usize, unit: Unit) -> FreshRow<'_, S> {
        let (shape, buckets) = (self.shape(), self.buckets(unit));
        FreshRow::new(shape, self.storage.parts(), row, buckets)
    }

    /// What there is more to do about a sample than to [keep](keep_fresh) it, out of the way of those of which there is no more.
    #[inline(never)]
    pub(super) fn add_fresh(&mut self, row: usize, unit: Unit, weighed: Weighed, origin: &Origin) -> bool {
        let row = self.known_row(row);
        let kept = Kept::new(self.shape(), row);
        self.fresh_row(row, unit).add(kept, weighed, origin)
    }

    /// Where a sample goes. One that not all windows have is poured out before another one comes: a late one, which is older than a
    /// window, and one from the future, which is in the total alone.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub(super) fn sample(&mut self, row: usize, unit: Unit, weighed: Weighed, ticks: u64, origin: &Origin) {
        let row = self.known_row(row);
        let (is_future, tick) = (self.is_future(ticks), ticks.min(self.now));
        let is_covered = !is_future && self.storage.parts().events[row].fresh.covers(tick);
        let mut is_late = !is_covered && self.begin_fresh(row, tick, is_future);

        let kept = Kept::new(self.shape(), row);
        let Parts { events, samples, .. } = self.storage.parts();
        let state = &mut events[row];
        let when = if is_future { When::NEVER } else { When::new(tick, state.fresh.slices) };
        let is_slow =
            keep_fresh::<S>(state, samples, kept, weighed, when) && self.add_fresh(row, unit, weighed, origin);
        if is_future {
            word::note(&mut self.counters.clock_anomalies);
            self.pour_into(row, None);
        } else {
            is_late |= self.tally(row, weighed, tick);
        }
        if is_late {
            word::note(&mut self.counters.late);
        }
        self.sample_further(row, weighed, (!is_future).then_some(tick), origin, is_slow);
    }

    /// Pours out what the fresh sums of this row have, and begins with those of the slices that `tick` belongs to; of none if it is of the
    /// future. Whether it is older than a window.
    #[cold]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn begin_fresh(&mut self, row: usize, tick: u64, is_future: bool) -> bool {
        let row = self.known_row(row);
        self.pour(row);
        let Parts { windows, events, .. } = self.storage.parts();
        let fresh = &mut events[row].fresh;
        (fresh.ticks, fresh.slices) = (0, Slices::NONE);
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
            fresh.slices.add(window, place);
        }
        // None are covered where windows lack some.
        (fresh.from, fresh.ticks) = (from, if is_late { 0 } else { to - from });
        is_late
    }

    /// Counts a sample for the limits of its event; whether it is older than the window of one.
    #[inline]
    fn tally(&mut self, row: usize, weighed: Weighed, tick: u64) -> bool {
        let of_rule = self.shape().limit_slices;
        let Parts { events, limits, tallies, .. } = self.storage.parts();
        !S::LACKS.limits && tally(events[row].first_rule, limits, tallies, of_rule, weighed, tick)
    }

    /// What few samples lead to besides.
    #[inline(always)]
    fn sample_further(&mut self, row: usize, weighed: Weighed, tick: Option<u64>, origin: &Origin, is_slow: bool) {
        if !S::LACKS.corrected && self.storage.parts().events[row].corrected > 0 {
            self.correct(row, weighed, tick);
        }
        if is_slow && origin.awaits_tag {
            self.in_flight().await_tag(row_number(row), origin.start);
        }
    }

    /// Pours the fresh sums of a row into the total and the slices that they belong to. Linear in the places between the smallest
    /// and the largest of them.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn pour(&mut self, row: usize) {
        // A corrected summary has none.
        if row < self.shape().events {
            let from = self.storage.parts().events[row].fresh.from;
            self.pour_into(row, Some(from));
        }
    }

    /// The same, into the total and the slices of this tick, or into the total alone.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn pour_into(&mut self, row: usize, tick: Option<u64>) {
        let row = self.known_row(row);
        let unit = self.add_up(row);
        let shape = self.shape();
        let (buckets, room, k) = (shape.buckets(unit), shape.room(), shape.slowest);
        let Shape { slices: of_event, events: rows, corrected, .. } = shape;
        let lists = shape.lists();
        let Parts { windows, events, slices, counts, totals, slowest, .. } = self.storage.parts();
        let state = &mut events[row];
        if state.fresh.sums.count() == 0 {
            return;
        }
        let moments = state.fresh.sums.moments();
        (state.fresh.sums, state.fresh.slow_from) = (Sums::EMPTY, 0);
        let used = if room > 0 { buckets.places_between(&moments) } else { 0..0 };
        let (total, rest) = totals.split_at_mut((rows + corrected) * room);
        let total = &mut total[row * room..][..room];
        let fresh = &mut rest[row * room..][..room];
        let (lists, fresh_list) = slowest[row * lists * k..][..lists * k].split_at_mut((lists - 1) * k);

        let mut full = 0_u64;
        state.total.merge(&moments);
        for (total, fresh) in total[used.clone()].iter_mut().zip(&fresh[used.clone()]) {
            full += widen(total.add_word(*fresh));
        }
        if !S::LACKS.slowest {
            slowest::merge(&mut lists[of_event * k..][..k], fresh_list);
        }
        for window in &*windows {
            let Some(slice) = tick.and_then(|tick| window.place(tick)) else { continue };
            let sums = &mut slices[row * of_event + slice];
            full += sums.merge(&moments);
            if room > 0 {
                let mut counts = Counts::of(counts, shape, row);
                full += counts.add_all(slice, fresh, &used, sums.weight());
            }
            if !S::LACKS.slowest {
                slowest::merge(&mut lists[slice * k..][..k], fresh_list);
            }
        }
        fresh[used].fill(0);
        fresh_list.fill(Slow::EMPTY);
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
        let Parts { rows, events, .. } = self.storage.parts();
        let unit = unit_of::<S>(rows, &events[row]);
        if WAITS && events[row].fresh.waiting > 0 {
            let kept = Kept::new(self.shape(), row);
            self.fresh_row(row, unit).add_waiting(kept);
        }
        unit
    }

    /// What the samples of an event's row add up to since the start.
    pub(super) fn sum_up(&mut self, row: usize) -> Moments {
        self.add_up(row);
        let EventState { total, fresh, .. } = &self.storage.parts().events[row];
        let mut moments = *total;
        moments.merge(&fresh.sums.moments());
        moments
    }

    /// Pours the fresh sums of `event`.
    pub(super) fn pour_event(&mut self, event: EventId) {
        if let Some((row, _)) = row_of::<S>(self.storage.parts().rows, event) {
            self.pour(row);
        }
    }

    /// Pours the fresh sums of all events; which slices the next samples belong to is to be found anew.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn pour_all(&mut self) {
        for row in 0..self.shape().events {
            self.pour(row);
            self.storage.parts().events[row].fresh = Fresh::EMPTY;
        }
    }
}

fn slow(value: u64, origin: &Origin) -> Slow {
    let slow = Slow::new(value, origin.start, origin.tag, origin.source);
    if origin.awaits_tag { slow.awaiting_tag() } else { slow }
}
