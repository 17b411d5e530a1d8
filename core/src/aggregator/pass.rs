//! A pass over the rings: time moves on, records come in, what was lost is noted.

use super::{Aggregator, sample::room, unit_of};
use crate::{
    Consumer, Drained, EventId, Kind, Record, SlaState, Unit,
    counts::Counts,
    kept::{self, Evicted, Sample, Since},
    sla::Tally,
    slowest::Slow,
    storage::{Parts, Storage},
    sums::Sums,
};

impl<S: Storage> Aggregator<S> {
    /// Moves the windows on to `now`, which is read after the heads of the rings, so that no record of the pass is newer. A
    /// clock that stepped back is counted; a small step leaves them where they are, and after a large one, as that of a
    /// machine that slept, they begin anew.
    ///
    /// Constant time as long as no slice is over; then linear in the buckets of each slice that expires, and where registers have 32 bits, in
    /// the samples that are kept.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn begin_pass(&mut self, now: u64) {
        self.pass += 1;
        if now < self.now {
            self.counters.clock_anomalies += 1;
            if self.now - now <= self.tolerance {
                return;
            }
            self.begin_anew(now);
        }
        if self.storage.parts().windows.iter().any(|window| window.ends_by(now)) {
            self.pour_all();
        }
        self.now = now;
        if let Some(before) = now.checked_sub(self.abandon_after) {
            self.in_flight().abandon(before);
        }
        let (shape, durations, numbers, room) = (self.shape, self.durations, self.numbers, room::<S>(&self.shape));
        let (of_row, k, lists) = (self.shape.slices, self.shape.slowest, self.shape.lists());
        let (events_only, limit_slices) = (self.shape.events, self.shape.limit_slices);
        let Parts { rows, windows, events, slices, counts, totals, samples, slowest, limits, tallies, .. } =
            self.storage.parts();
        for window in windows {
            let since = Since::of(window);
            window.advance(now, |place| {
                kept::leave(samples, since, place);
                for row in 0..events.len() {
                    let slice = &mut slices[row * of_row + place];
                    if slice.count() > 0 {
                        let buckets = if unit_of(rows, &events[row]) == Unit::One { numbers } else { durations };
                        if room > 0 {
                            let used = buckets.places_between(&slice.moments());
                            Counts::of(counts, &shape, row).clear(place, &used, &totals[row * room..][..room]);
                        }
                        *slice = Sums::EMPTY;
                        if row < events_only {
                            slowest[(row * lists + place) * k..][..k].fill(Slow::EMPTY);
                        }
                    }
                }
            });
        }
        for (number, rule) in limits.iter_mut().enumerate().filter(|(_, rule)| rule.row != 0) {
            rule.window.advance(now, |place| tallies[number * limit_slices + place] = Tally::EMPTY);
        }
    }

    /// Leaves the time before behind: its ticks mean nothing on a clock that begins again at `now`.
    #[cold]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn begin_anew(&mut self, now: u64) {
        self.pour_all();
        self.now = now;
        self.started = self.started.min(now);
        self.lost();
        let of_event = self.shape.lists() * self.shape.slowest;
        let of_slices = self.shape.slices * self.shape.slowest;
        let Parts { windows, events, slices, counts, samples, slowest, limits, tallies, .. } = self.storage.parts();
        for window in windows {
            window.begin_anew(now);
        }
        for event in events {
            event.evicted = Evicted::NONE;
            event.seen = event.seen.min(now.saturating_add(1));
            event.sampled = event.sampled.min(now.saturating_add(1));
            event.silence.watch.begin_anew();
        }
        for rule in limits {
            rule.window.begin_anew(now);
            rule.watch.begin_anew();
        }
        slices.fill(Sums::EMPTY);
        counts.fill(S::Count::default());
        tallies.fill(Tally::EMPTY);
        if of_event > 0 {
            slowest.chunks_exact_mut(of_event).for_each(|lists| lists[..of_slices].fill(Slow::EMPTY));
        }
        samples.iter_mut().for_each(Sample::leave_windows);
    }

    /// Takes in what `consumer` has pending since its last [`look`](Consumer::look), as from the source of this number, and
    /// shows each record to `observe`, with what [`record`](Self::record) said of it.
    pub fn drain(&mut self, source: u16, consumer: &mut Consumer<'_>, observe: impl FnMut(Record, bool)) -> Drained {
        self.drain_up_to(source, consumer, usize::MAX, observe)
    }

    /// As [`drain`](Self::drain), but it takes in no more than `most` records: for who must not be busy for long. What is still
    /// [`pending`](Consumer::pending) is left for another pass; until it is drained, this ring is not as far as it was at its
    /// last [`look`](Consumer::look), which is what [`settle`](Self::settle) and [`watch`](Self::watch) are to be told.
    // A frame of its own, where stacks are small: it holds what was copied at once.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn drain_up_to(
        &mut self,
        source: u16,
        consumer: &mut Consumer<'_>,
        most: usize,
        mut observe: impl FnMut(Record, bool),
    ) -> Drained {
        let drained = consumer.drain_chunks(most, |chunk| {
            let mut rest = chunk;
            while let [record, others @ ..] = rest {
                let spans = self.spans(source, rest);
                if spans > 0 {
                    let (taken, left) = rest.split_at(2 * spans);
                    for record in taken {
                        observe(*record, record.kind() != Kind::Start);
                    }
                    rest = left;
                } else {
                    observe(*record, self.record(source, *record));
                    rest = others;
                }
            }
        });
        if drained.overwritten > 0 {
            self.lost();
        }
        drained
    }

    /// Records were never written before now: what covers the time until now is incomplete.
    pub fn incomplete(&mut self) {
        self.lost_until = Some(self.now);
    }

    /// Records were lost before now, ENDs maybe among them: what covers the time until now is incomplete, and open spans are
    /// uncertain.
    pub fn lost(&mut self) {
        self.incomplete();
        let now = self.now;
        self.in_flight().lost(now);
    }

    /// Some of what happened to `event` until now may have been left out by sampling, so that what covers this time is
    /// incomplete, even if none of the records that did come says so.
    pub fn sampled_away(&mut self, event: EventId) {
        let until = self.now.saturating_add(1);
        if let Some(state) = self.state_of(event) {
            state.sampled = until;
        }
    }

    /// Not all of `event` is recorded for now: that nothing comes is no silence. One that was found before stays: what stopped
    /// has not come back.
    pub fn excuse_silence(&mut self, event: EventId) {
        let now = self.now.saturating_add(1);
        if let Some(state) = self.state_of(event)
            && state.seen > 0
            && state.silence.watch.state != SlaState::Violated
        {
            state.seen = now;
        }
    }

    /// The number of the pass that was begun last.
    pub const fn pass(&self) -> u64 {
        self.pass
    }

    /// Every ring was drained, in the pass numbered `pass` or later, as far as it was when that pass began: an END that came
    /// in an earlier pass and has no START by now will have none.
    ///
    /// Whoever drains all rings in each pass calls it at the end of each, with [`pass`](Self::pass).
    pub fn settle(&mut self, pass: u64) {
        self.in_flight().settle(pass);
    }
}
