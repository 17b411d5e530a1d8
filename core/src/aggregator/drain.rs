//! A pass over the rings: time moves on, records come in, what was lost is noted.

use super::{Aggregator, row_of, unit_of};
use crate::{
    Consumer, Drained, EventId, Kind, Record, SlaState,
    bucket_counts::BucketCounts,
    counter_width,
    exemplars::Exemplar,
    in_flight::SHORTCUTS,
    packed_moments::PackedMoments,
    sample_buffer::{self, Evicted, Since},
    sla::Tally,
    storage::{Storage, StorageParts},
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
            counter_width::note(&mut self.counters.clock_anomalies);
            if self.now - now <= self.tolerance {
                return;
            }
        }
        let is_anew = now < self.now;
        if is_anew || self.storage.parts().windows.iter().any(|window| window.ends_by(now)) {
            self.commit_all();
        }
        self.stand_at(now);
        if is_anew {
            self.begin_anew();
        }
        if let Some(before) = now.checked_sub(self.abandon_after) {
            self.remove_older(false, before);
        }
        let shape = self.shape();
        let room = shape.room();
        let (of_row, k, lists) = (shape.slices, shape.slowest, shape.lists());
        let (events_only, limit_slices) = (shape.events, shape.limit_slices);
        let StorageParts {
            rows,
            windows,
            events,
            slices,
            counts,
            totals,
            samples,
            slowest,
            limits,
            tallies,
            ..
        } = self.storage.parts();
        for window in windows {
            let since = Since::of(window);
            window.advance(now, is_anew, |place| {
                sample_buffer::leave(samples, since, place);
                for row in 0..events.len() {
                    let slice = &mut slices[row * of_row + place];
                    if slice.count() > 0 {
                        if room > 0 {
                            let buckets = shape.buckets(unit_of::<S>(rows, &events[row]));
                            let used = buckets.places_between(&slice.moments());
                            BucketCounts::of(counts, shape, row).clear(
                                place,
                                &used,
                                &totals[row * room..][..room],
                            );
                        }
                        *slice = PackedMoments::EMPTY;
                        if row < events_only {
                            slowest[(row * lists + place) * k..][..k].fill(Exemplar::EMPTY);
                        }
                    }
                }
            });
        }
        for (number, rule) in limits.iter_mut().enumerate().filter(|(_, rule)| rule.row != 0) {
            rule.window.advance(now, is_anew, |place| {
                tallies[number * limit_slices + place] = Tally::EMPTY
            });
        }
    }

    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn stand_at(&mut self, now: u64) {
        (self.now, self.latest) = (now, now.saturating_add(self.tolerance));
    }

    /// Leaves behind what is known of the time before, but for the slices: its ticks mean nothing on a clock that begins again now.
    #[cold]
    fn begin_anew(&mut self) {
        let now = self.now;
        self.started = self.started.min(now);
        self.earliest = self.started.saturating_sub(self.tolerance);
        self.mark_lost();
        let StorageParts { events, samples, limits, silences, .. } = self.storage.parts();
        for event in events {
            event.evicted = Evicted::NONE;
            if !S::ABSENT.silences {
                event.seen = event.seen.min(now.saturating_add(1));
            }
            event.sampled = event.sampled.min(now.saturating_add(1));
        }
        for rule in limits {
            rule.watch.begin_anew();
        }
        for silence in silences {
            silence.watch.begin_anew();
        }
        sample_buffer::forget_ticks(samples);
    }

    /// Takes in what `consumer` has pending since its last [`refresh`](Consumer::refresh), as from the source of this number, and
    /// shows each record to `observe`, with what [`record`](Self::record) said of it.
    pub fn drain(
        &mut self,
        source: u16,
        consumer: &mut Consumer<'_>,
        observe: impl FnMut(Record, bool),
    ) -> Drained {
        self.drain_up_to(source, consumer, usize::MAX, observe)
    }

    /// As [`drain`](Self::drain), but it takes in no more than `most` records: for who must not be busy for long. What is still
    /// [`pending`](Consumer::pending) is left for another pass; until it is drained, this ring is not as far as it was at its
    /// last [`refresh`](Consumer::refresh), which is what [`expire_orphans`](Self::expire_orphans) and [`watch`](Self::watch) are to be told.
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
                // Where there is room for the code, many at a time.
                let spans = if SHORTCUTS { self.spans(source, rest) } else { 0 };
                if spans > 0 {
                    let (taken, left) = rest.split_at(2 * spans);
                    for record in taken {
                        observe(*record, record.kind() != Kind::Start);
                    }
                    rest = left;
                    continue;
                }
                let next = if SHORTCUTS { None } else { others.first() };
                let (taken, is_sample) = self.take(source, record, next);
                observe(*record, is_sample && taken == 1);
                rest = others;
                if let ([end, others @ ..], 2) = (others, taken) {
                    observe(*end, is_sample);
                    rest = others;
                }
            }
        });
        if drained.overwritten > 0 {
            self.mark_lost();
        }
        drained
    }

    /// Records were never written before now: what covers the time until now is incomplete.
    pub fn mark_incomplete(&mut self) {
        self.lost_until = self.now.saturating_add(1);
    }

    /// Records were lost before now, ENDs maybe among them: what covers the time until now is incomplete, and open spans are
    /// uncertain.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn mark_lost(&mut self) {
        self.mark_incomplete();
        let now = self.now;
        if !S::ABSENT.in_flight {
            self.in_flight().mark_lost(now);
        }
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
    pub fn reset_silence(&mut self, event: EventId) {
        let now = self.now.saturating_add(1);
        let StorageParts { rows, events, silences, .. } = self.storage.parts();
        let Some((row, _)) = row_of::<S>(rows, event) else { return };
        let is_silent =
            silences.get(row).is_some_and(|silence| silence.watch.state == SlaState::Violated);
        let state = &mut events[row];
        if state.seen > 0 && !is_silent {
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
    pub fn expire_orphans(&mut self, pass: u64) {
        self.remove_older(true, pass);
    }

    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn remove_older(&mut self, early: bool, before: u64) {
        if !S::ABSENT.in_flight {
            self.in_flight().remove_older(early, before);
        }
    }
}
