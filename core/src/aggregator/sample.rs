//! Where a sample goes.
//!
//! It belongs to a slice of each window and to the total, which differ only in when they are over. So it goes into one place,
//! the *fresh sums* of its event, which are poured into all of them once a slice is over, or somebody asks: what each sample
//! would cost in every window, a few hundred of them cost together.

use super::{Aggregator, Origin, UNIT_ONE, row_number, row_of};
use crate::{
    EventId, Moments, Unit,
    histogram::Count,
    select::Weighed,
    slowest::{self, Slow},
    storage::{Parts, Sample, Shape, Storage},
};

/// What samples of an event add up to that are in no slice yet, and not in the total. Their bucket counts and the slowest of them
/// lie with those of the slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Fresh {
    pub(crate) moments: Moments,
    /// The first tick of those that belong to the same slice of every window, and how many of them there are; none if it is to
    /// be found anew.
    from: u64,
    ticks: u64,
}

impl Fresh {
    pub(crate) const EMPTY: Self = Self { moments: Moments::EMPTY, from: 0, ticks: 0 };

    #[inline]
    const fn covers(&self, tick: u64) -> bool {
        tick.wrapping_sub(self.from) < self.ticks
    }
}

impl<S: Storage> Aggregator<S> {
    #[inline]
    pub(super) fn sample(&mut self, row: usize, unit: Unit, weighed: Weighed, ticks: u64, origin: Origin) {
        let (value, sampling) = (weighed.value(), weighed.sampling());
        let place = self.buckets(unit).place(value);
        let tick = ticks.min(self.now);
        let is_future = ticks > self.now.saturating_add(self.tolerance);
        if is_future || !(self.storage.parts().events[row].fresh.covers(tick) || self.begin_fresh(row, tick)) {
            return self.sample_apart(row, place, weighed, ticks, origin);
        }

        let Shape { slowest: k, events: rows, corrected, .. } = self.shape;
        let (places, lists) = (self.durations.places(), self.shape.lists());
        let Parts { events, totals, slowest, .. } = self.storage.parts();
        let state = &mut events[row];
        state.fresh.moments.add(value, sampling);
        // One of 64 bits never is full.
        totals[(rows + corrected + row) * places + place] += 1 << sampling;

        let mut is_slow = false;
        if !S::LACKS.slowest {
            let list = &mut slowest[(row * lists + lists - 1) * k..][..k];
            is_slow = slowest::is_slow(list, value);
            if is_slow {
                slowest::insert(list, slow(value, origin));
            }
        }

        let late = self.tally(row, weighed, tick);
        self.counters.late += u64::from(late);
        self.keep(row, weighed, tick.saturating_add(1));
        self.sample_further(row, place, weighed, Some(tick), origin, is_slow);
    }

    /// Whether the fresh sums of this row can take a sample of this tick: what they have is poured out, if that is of another time.
    /// They cannot take what is older than a window.
    #[cold]
    fn begin_fresh(&mut self, row: usize, tick: u64) -> bool {
        self.pour(row);
        let Parts { windows, events, .. } = self.storage.parts();
        let (mut from, mut to) = (0, u64::MAX);
        for window in &*windows {
            let Some(bounds) = window.bounds(tick) else { return false };
            (from, to) = (from.max(bounds.start), to.min(bounds.end));
        }
        let fresh = &mut events[row].fresh;
        (fresh.from, fresh.ticks) = (from, to - from);
        fresh.covers(tick)
    }

    /// A sample that not all windows have: one from the future, which is in the total alone, or one that is older than a window.
    #[cold]
    fn sample_apart(&mut self, row: usize, place: usize, weighed: Weighed, ticks: u64, origin: Origin) {
        let (value, sampling) = (weighed.value(), weighed.sampling());
        let is_future = ticks > self.now.saturating_add(self.tolerance);
        let tick = ticks.min(self.now);
        let Shape { slices: of_event, slowest: k, .. } = self.shape;
        let (places, lists) = (self.durations.places(), self.shape.lists());
        let Parts { windows, events, slices, counts, totals, slowest, .. } = self.storage.parts();
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
        state.total.add(value, sampling);
        let mut full = totals[row * places + place].add(weighed.weight());
        keep_slow(of_event);
        let mut late = false;
        if !is_future {
            for window in &*windows {
                match window.place(tick) {
                    Some(slice) => {
                        slices[row * of_event + slice].add(value, sampling);
                        full += counts[(row * of_event + slice) * places + place].add(weighed.weight());
                        keep_slow(slice);
                    }
                    None => late = true,
                }
            }
            late |= self.tally(row, weighed, tick);
        }
        self.counters.clock_anomalies += u64::from(is_future);
        self.counters.late += u64::from(late);
        self.counters.full_counters = self.counters.full_counters.saturating_add(full);
        self.keep(row, weighed, if is_future { 0 } else { tick.saturating_add(1) });
        self.sample_further(row, place, weighed, (!is_future).then_some(tick), origin, is_slow);
    }

    /// Counts a sample for the limits of its event; whether it is older than the window of one.
    #[inline(always)]
    fn tally(&mut self, row: usize, weighed: Weighed, tick: u64) -> bool {
        if S::LACKS.limits {
            return false;
        }
        let slices = self.shape.limit_slices;
        let Parts { events, limits, tallies, .. } = self.storage.parts();
        let (mut next, mut late) = (events[row].first_rule, false);
        while let Some(number) = usize::from(next).checked_sub(1) {
            let rule = &limits[number];
            match rule.window.place(tick) {
                Some(slice) => tallies[number * slices + slice].add(weighed.value() > rule.most, weighed.sampling()),
                None => late = true,
            }
            next = rule.next;
        }
        late
    }

    /// Keeps a sample, to tell exact quantiles, over the oldest one.
    #[inline(always)]
    fn keep(&mut self, row: usize, weighed: Weighed, after: u64) {
        let kept = self.shape.samples;
        let Parts { events, samples, .. } = self.storage.parts();
        let state = &mut events[row];
        if let Some(oldest) = samples[row * kept..][..kept].get_mut(state.next_sample) {
            // Of a place that was empty it is 0.
            state.evicted = state.evicted.max(oldest.after);
            *oldest = Sample { weighed, after };
            state.next_sample = if state.next_sample + 1 == kept { 0 } else { state.next_sample + 1 };
        }
    }

    /// What few samples lead to besides.
    #[inline(always)]
    fn sample_further(
        &mut self,
        row: usize,
        place: usize,
        weighed: Weighed,
        tick: Option<u64>,
        origin: Origin,
        is_slow: bool,
    ) {
        if !S::LACKS.corrected && self.storage.parts().events[row].corrected > 0 {
            self.correct(row, place, weighed, weighed.sampling(), tick);
        }
        if is_slow && origin.awaits_tag {
            self.in_flight().await_tag(row_number(row), origin.start);
        }
    }

    /// Pours the fresh sums of a row into the total and the slices that they belong to. Linear in the places between the smallest
    /// and the largest of them.
    pub(super) fn pour(&mut self, row: usize) {
        // A corrected summary has none.
        if row >= self.shape.events || self.storage.parts().events[row].fresh.moments.count() == 0 {
            return;
        }
        let Shape { slices: of_event, slowest: k, events: rows, corrected, .. } = self.shape;
        let lists = self.shape.lists();
        let (durations, numbers, places) = (self.durations, self.numbers, self.durations.places());
        let Parts { rows: names, windows, events, slices, counts, totals, slowest, .. } = self.storage.parts();
        let state = &mut events[row];
        let Fresh { moments, from, .. } = state.fresh;
        state.fresh.moments = Moments::EMPTY;
        let buckets = if names[usize::from(state.id)] & UNIT_ONE == 0 { durations } else { numbers };
        let used = buckets.place(moments.min())..buckets.place(moments.max()) + 1;
        let (total, rest) = totals.split_at_mut((rows + corrected) * places);
        let total = &mut total[row * places..][..places][used.clone()];
        let fresh = &mut rest[row * places..][..places][used.clone()];
        let (lists, fresh_list) = slowest[row * lists * k..][..lists * k].split_at_mut((lists - 1) * k);
        let mut full = 0_u64;

        state.total.merge(&moments);
        for (total, fresh) in total.iter_mut().zip(&*fresh) {
            full = full.saturating_add(total.add(*fresh));
        }
        if !S::LACKS.slowest {
            pour_slowest(&mut lists[of_event * k..][..k], fresh_list);
        }
        for window in &*windows {
            let Some(slice) = window.place(from) else { continue };
            slices[row * of_event + slice].merge(&moments);
            let counts = &mut counts[(row * of_event + slice) * places..][..places][used.clone()];
            for (count, fresh) in counts.iter_mut().zip(&*fresh) {
                full = full.saturating_add(count.add(*fresh));
            }
            if !S::LACKS.slowest {
                pour_slowest(&mut lists[slice * k..][..k], fresh_list);
            }
        }
        fresh.fill(0);
        fresh_list.fill(Slow::EMPTY);
        self.counters.full_counters = self.counters.full_counters.saturating_add(full);
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

fn pour_slowest(list: &mut [Slow], fresh: &[Slow]) {
    for slow in slowest::taken(fresh) {
        if slowest::is_slow(list, slow.value()) {
            slowest::insert(list, *slow);
        }
    }
}
