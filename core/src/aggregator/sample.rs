//! Where a sample goes.
//!
//! It belongs to a slice of each window and to the total, which differ only in when they are over. So it goes into one place,
//! the *fresh sums* of its event, which are poured into all of them once a slice is over, or somebody asks: what each sample
//! would cost in every window, a few hundred of them cost together. And it is added to these sums only with some others: until then
//! it *waits* among the samples that are kept anyway.

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
    word::{Word, narrow, widen},
};

/// So many samples wait, at the most, to be added to the fresh sums: they are still near then.
const WAITING: u32 = 64;

/// The fresh sums are of so many ticks at the most.
const MOST_TICKS: u64 = widen(Word::MAX) >> 1;

/// What samples of an event add up to that are in no slice yet, and not in the total. Their bucket counts and the slowest of them
/// lie with those of the slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Fresh {
    sums: Sums,
    /// The first tick of those that belong to the same slice of every window, and how many of them there are; none if it is to
    /// be found anew.
    from: u64,
    ticks: Word,
    /// Which slices these are.
    slices: Slices,
    /// No sample below it is among the slowest.
    slow_from: Word,
    /// So many of the newest samples that are kept are not in the sums yet.
    waiting: u32,
}

impl Fresh {
    pub(crate) const EMPTY: Self =
        Self { sums: Sums::EMPTY, from: 0, ticks: 0, slices: Slices::NONE, slow_from: 0, waiting: 0 };

    /// Adds what samples add up to.
    #[inline]
    fn add(&mut self, moments: &Moments) {
        self.sums.merge(moments);
        self.limit();
    }

    /// Adds samples, a few at a time.
    #[inline(always)]
    fn add_all(&mut self, samples: &[Sample]) {
        self.sums.add_all(samples);
        self.limit();
    }

    /// Before a sum of 32 bits, or a counter beside it, is full, there is nothing more for it.
    #[inline(always)]
    fn limit(&mut self) {
        if cfg!(not(target_pointer_width = "64")) && self.sums.weight() > 1 << 31 {
            self.ticks = 0;
        }
    }

    #[inline]
    pub(super) const fn covers(&self, tick: u64) -> bool {
        tick.wrapping_sub(self.from) < widen(self.ticks)
    }
}

/// Keeps a sample of this row, over the oldest one, to tell exact quantiles, and lets it wait; whether there is
/// [more to do](FreshRow::add) about it.
#[inline(always)]
pub(super) fn keep_fresh(
    state: &mut EventState,
    samples: &mut [Sample],
    row: Kept,
    weighed: Weighed,
    tick: u64,
) -> bool {
    let when = When::new(tick, state.fresh.slices);
    let is_kept = keep(state, samples, row, weighed, when);
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
    pub(super) const fn new(shape: &Shape, row: usize) -> Self {
        let len = shape.samples;
        Self { first: row * len, len, waiting: if len < WAITING as usize { len as u32 } else { WAITING } }
    }
}

/// Keeps a sample; `false` if none is kept.
#[inline(always)]
fn keep(state: &mut EventState, samples: &mut [Sample], row: Kept, weighed: Weighed, when: When) -> bool {
    if row.len == 0 {
        return false;
    }
    let Some(oldest) = samples.get_mut(row.first + state.next_sample) else { return false };
    state.evicted.note(oldest.when());
    *oldest = Sample::new(weighed, when);
    state.next_sample = if state.next_sample + 1 == row.len { 0 } else { state.next_sample + 1 };
    true
}

/// The places that a row has room for; none without a histogram.
#[inline(always)]
pub(super) const fn room<S: Storage>(shape: &Shape) -> usize {
    if S::LACKS.histogram { 0 } else { shape.room() }
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
    pub(super) fn new(shape: &Shape, parts: Parts<'a, S::Count>, row: usize, buckets: Buckets) -> Self {
        let Shape { slowest: k, events: rows, corrected, .. } = *shape;
        let (room, lists) = (room::<S>(shape), shape.lists());
        let Parts { events, totals, samples, slowest, .. } = parts;
        Self {
            storage: PhantomData,
            state: &mut events[row],
            samples,
            counts: &mut totals[(rows + corrected + row) * room..][..room],
            buckets,
            slowest: if S::LACKS.slowest { &mut [] } else { &mut slowest[(row * lists + lists - 1) * k..][..k] },
        }
    }

    /// What there is more to do about a sample than to [keep](keep_fresh) it; whether it is among the slowest.
    #[inline(never)]
    pub(super) fn add(&mut self, row: Kept, weighed: Weighed, origin: Origin) -> bool {
        let value = weighed.value();
        if row.len == 0 {
            self.add_alone(weighed);
        } else if self.state.fresh.waiting >= row.waiting {
            self.add_waiting(row);
        }
        if S::LACKS.slowest {
            self.state.fresh.slow_from = Word::MAX;
            return false;
        }
        let is_slow = value >= widen(self.state.fresh.slow_from) && slowest::is_slow(self.slowest, value);
        if is_slow {
            slowest::insert(self.slowest, slow(value, origin));
        }
        self.state.fresh.slow_from = narrow(slowest::slow_from(self.slowest));
        is_slow
    }

    /// Adds a sample where none waits, as none is kept.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn add_alone(&mut self, weighed: Weighed) {
        self.state.fresh.add(&Moments::of(weighed));
        count_all::<S>(self.buckets, core::iter::once(weighed), self.counts);
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
            fresh.add_all(samples);
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
        let (shape, buckets) = (self.shape, self.buckets(unit));
        FreshRow::new(&shape, self.storage.parts(), row, buckets)
    }

    /// What there is more to do about a sample than to [keep](keep_fresh) it, out of the way of those of which there is no more.
    #[inline(never)]
    pub(super) fn add_fresh(&mut self, row: usize, unit: Unit, weighed: Weighed, origin: Origin) -> bool {
        let kept = Kept::new(&self.shape, row);
        self.fresh_row(row, unit).add(kept, weighed, origin)
    }

    #[inline]
    pub(super) fn sample(&mut self, row: usize, unit: Unit, weighed: Weighed, ticks: u64, origin: Origin) {
        let tick = ticks.min(self.now);
        let is_future = ticks > self.now.saturating_add(self.tolerance);
        if is_future || !(self.storage.parts().events[row].fresh.covers(tick) || self.begin_fresh(row, tick)) {
            return self.sample_apart(row, unit, weighed, ticks, origin);
        }
        let kept = Kept::new(&self.shape, row);
        let Parts { events, samples, .. } = self.storage.parts();
        let is_slow =
            keep_fresh(&mut events[row], samples, kept, weighed, tick) && self.add_fresh(row, unit, weighed, origin);
        let late = self.tally(row, weighed, tick);
        self.counters.late += u64::from(late);
        self.sample_further(row, weighed, Some(tick), origin, is_slow);
    }

    /// Whether the fresh sums of this row can take a sample of this tick: what they have is poured out, if that is of another time.
    /// They cannot take what is older than a window.
    #[cold]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn begin_fresh(&mut self, row: usize, tick: u64) -> bool {
        self.pour(row);
        let Parts { windows, events, .. } = self.storage.parts();
        let (mut from, mut to) = (0, u64::MAX);
        for window in &*windows {
            let Some(bounds) = window.bounds(tick) else { return false };
            (from, to) = (from.max(bounds.start), to.min(bounds.end));
        }
        // No further than a word tells, or none would be covered behind that.
        let from = from.max(tick & !MOST_TICKS);
        let fresh = &mut events[row].fresh;
        (fresh.from, fresh.ticks, fresh.slices) =
            (from, narrow((to - from).min(MOST_TICKS)), Slices::of(windows, from));
        fresh.covers(tick)
    }

    /// A sample that not all windows have: one from the future, which is in the total alone, or one that is older than a window.
    #[cold]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn sample_apart(&mut self, row: usize, unit: Unit, weighed: Weighed, ticks: u64, origin: Origin) {
        // Those that wait are the newest ones that are kept, and this one is to be no more than kept; and of equals among the slowest,
        // the earlier one is to be there first.
        self.pour(row);
        self.sample_beside(row, unit, weighed, ticks, origin);
    }

    /// The same, beside sums that were poured.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn sample_beside(&mut self, row: usize, unit: Unit, weighed: Weighed, ticks: u64, origin: Origin) {
        let (shape, buckets, room) = (self.shape, self.buckets(unit), room::<S>(&self.shape));
        let (value, one) = (weighed.value(), Moments::of(weighed));
        let place = if room > 0 { buckets.place(value) } else { 0 };
        let is_future = ticks > self.now.saturating_add(self.tolerance);
        let tick = ticks.min(self.now);
        let Shape { slices: of_event, slowest: k, .. } = shape;
        let lists = shape.lists();
        let Parts { windows, events, slices, counts, totals, slowest, .. } = self.storage.parts();
        let mut counts = Counts::of(counts, &shape, row);
        let slowest = &mut slowest[row * lists * k..][..lists * k];
        let mut is_slow = false;
        let mut keep_slow = |list: usize| {
            if S::LACKS.slowest {
                return;
            }
            let list = &mut slowest[list * k..][..k];
            if slowest::is_slow(list, value) {
                slowest::insert(list, slow(value, origin));
                is_slow = true;
            }
        };
        let state = &mut events[row];
        let mut full = state.total.merge(&one);
        if room > 0 {
            full = full.saturating_add(totals[row * room + place].add(weighed.weight()));
        }
        keep_slow(of_event);
        let (mut late, mut when) = (false, When::NEVER);
        if !is_future {
            when = When::new(tick, Slices::of(windows, tick));
            for window in &*windows {
                match window.place(tick) {
                    Some(slice) => {
                        full = full.saturating_add(slices[row * of_event + slice].merge(&one));
                        if room > 0 {
                            full = full.saturating_add(counts.add(slice, place, weighed.weight()));
                        }
                        keep_slow(slice);
                    }
                    None => late = true,
                }
            }
            late |= self.tally(row, weighed, tick);
        }
        self.counters.clock_anomalies += u64::from(is_future);
        self.counters.late += u64::from(late);
        self.count_full(full);
        let Parts { events, samples, .. } = self.storage.parts();
        keep(&mut events[row], samples, Kept::new(&self.shape, row), weighed, when);
        self.sample_further(row, weighed, (!is_future).then_some(tick), origin, is_slow);
    }

    /// Counts a sample for the limits of its event; whether it is older than the window of one.
    #[inline]
    fn tally(&mut self, row: usize, weighed: Weighed, tick: u64) -> bool {
        let of_rule = self.shape.limit_slices;
        let Parts { events, limits, tallies, .. } = self.storage.parts();
        !S::LACKS.limits && tally(events[row].first_rule, limits, tallies, of_rule, weighed, tick)
    }

    /// What few samples lead to besides.
    #[inline(always)]
    fn sample_further(&mut self, row: usize, weighed: Weighed, tick: Option<u64>, origin: Origin, is_slow: bool) {
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
        if row >= self.shape.events {
            return;
        }
        let unit = self.add_up(row);
        self.pour_sums(row, unit);
    }

    /// The same, once what waits is added up.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn pour_sums(&mut self, row: usize, unit: Unit) {
        let (shape, buckets, room) = (self.shape, self.buckets(unit), room::<S>(&self.shape));
        let Shape { slices: of_event, slowest: k, events: rows, corrected, .. } = shape;
        let lists = shape.lists();
        let Parts { windows, events, slices, counts, totals, slowest, .. } = self.storage.parts();
        let state = &mut events[row];
        if state.fresh.sums.count() == 0 {
            return;
        }
        let (moments, from) = (state.fresh.sums.moments(), state.fresh.from);
        (state.fresh.sums, state.fresh.slow_from) = (Sums::EMPTY, 0);
        let used = if room > 0 { buckets.places_between(&moments) } else { 0..0 };
        let (total, rest) = totals.split_at_mut((rows + corrected) * room);
        let total = &mut total[row * room..][..room];
        let fresh = &mut rest[row * room..][..room];
        let mut counts = Counts::of(counts, &shape, row);
        let (lists, fresh_list) = slowest[row * lists * k..][..lists * k].split_at_mut((lists - 1) * k);

        let mut full = state.total.merge(&moments);
        for (total, fresh) in total[used.clone()].iter_mut().zip(&fresh[used.clone()]) {
            full = full.saturating_add(total.add(widen(*fresh)));
        }
        if !S::LACKS.slowest {
            slowest::merge(&mut lists[of_event * k..][..k], fresh_list);
        }
        for window in &*windows {
            let Some(slice) = window.place(from) else { continue };
            let sums = &mut slices[row * of_event + slice];
            full = full.saturating_add(sums.merge(&moments));
            if room > 0 {
                full = full.saturating_add(counts.add_all(slice, fresh, &used, sums.weight()));
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
        let unit = unit_of(rows, &events[row]);
        if events[row].fresh.waiting > 0 {
            let kept = Kept::new(&self.shape, row);
            self.fresh_row(row, unit).add_waiting(kept);
        }
        unit
    }

    /// What the samples of an event's row add up to since the start.
    pub(super) fn sum_up(&mut self, row: usize) -> Moments {
        self.add_up(row);
        let EventState { total, fresh, .. } = &self.storage.parts().events[row];
        let mut moments = total.moments();
        moments.merge(&fresh.sums.moments());
        moments
    }

    /// Pours the fresh sums of `event`.
    pub(super) fn pour_event(&mut self, event: EventId) {
        if let Some((row, _)) = row_of(self.storage.parts().rows, event) {
            self.pour(row);
        }
    }

    /// Pours the fresh sums of all events; which slices the next samples belong to is to be found anew.
    pub(super) fn pour_all(&mut self) {
        for row in 0..self.shape.events {
            self.pour(row);
            self.storage.parts().events[row].fresh = Fresh::EMPTY;
        }
    }
}

fn slow(value: u64, origin: Origin) -> Slow {
    let slow = Slow::new(value, origin.start, origin.tag, origin.source);
    if origin.awaits_tag { slow.awaiting_tag() } else { slow }
}
