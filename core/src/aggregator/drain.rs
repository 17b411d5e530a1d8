//! A pass over the rings: advances the windows, processes records and notes losses.

use super::{Aggregator, row_of, unit_of};
use crate::{
    Consumer, Drained, EventId, Kind, Record, SlaState,
    bucket_counts::BucketCounts,
    counter_width,
    exemplars::Exemplar,
    in_flight::SHORTCUTS,
    packed_moments::PackedMoments,
    sample_buffer::{self, Evicted, WindowFilter},
    sla::Tally,
    storage::{Storage, StorageParts},
};

impl<S: Storage> Aggregator<S> {
    /// Begins a pass: advances the windows to `now`.
    ///
    /// `now` must be read after every ring's [`refresh`](Consumer::refresh), so that no record of
    /// the pass is newer. If the clock has stepped back, a clock anomaly is counted. After a step
    /// of up to 10 ms the windows stay where they are. After a larger one, as on a machine that was
    /// suspended, all windows start over empty.
    ///
    /// Takes constant time while no slice ends. Otherwise the time is linear in the buckets of each
    /// slice that expires and, on 32-bit targets, in the buffered samples.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn begin_pass(&mut self, now: u64) {
        self.pass += 1;
        if now < self.now {
            counter_width::increment(&mut self.counters.clock_anomalies);
            if self.now - now <= self.tolerance {
                return;
            }
        }
        let has_restarted = now < self.now;
        if has_restarted || self.storage.parts().windows.iter().any(|window| window.ends_by(now)) {
            self.commit_all();
        }
        self.set_now(now);
        if has_restarted {
            self.restart_clock();
        }
        if let Some(before) = now.checked_sub(self.abandon_after) {
            self.remove_older(false, before);
        }
        let shape = self.shape();
        let room = shape.room();
        let (slices_per_row, k, lists) = (shape.slices, shape.slowest, shape.lists());
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
            let filter = WindowFilter::of(window);
            window.advance(now, has_restarted, |place| {
                sample_buffer::remove_slice(samples, filter, place);
                for row in 0..events.len() {
                    let slice = &mut slices[row * slices_per_row + place];
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
            rule.window.advance(now, has_restarted, |place| {
                tallies[number * limit_slices + place] = Tally::EMPTY;
            });
        }
    }

    /// Sets the time of the pass.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn set_now(&mut self, now: u64) {
        (self.now, self.latest) = (now, now.saturating_add(self.tolerance));
    }

    /// Discards what depends on ticks of the time before the clock restarted at `now`, except for
    /// the slices: such ticks cannot be compared with those of the restarted clock.
    #[cold]
    fn restart_clock(&mut self) {
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
            rule.watch.restart_clock();
        }
        for silence in silences {
            silence.watch.restart_clock();
        }
        sample_buffer::clear_membership(samples);
    }

    /// Processes the records that `consumer` had pending at its last
    /// [`refresh`](Consumer::refresh). Passes each to `observe`, together with whether it produced
    /// a sample.
    ///
    /// `source` is a number chosen by the caller, as in [`record`](Self::record).
    pub fn drain(
        &mut self,
        source: u16,
        consumer: &mut Consumer<'_>,
        observe: impl FnMut(Record, bool),
    ) -> Drained {
        self.drain_up_to(source, consumer, usize::MAX, observe)
    }

    /// Like [`drain`](Self::drain), but processes at most `max_records` records. This is for
    /// callers that must not be busy for long.
    ///
    /// The records that remain [`pending`](Consumer::pending) are left to another pass. Until they
    /// are drained, call [`expire_orphans`](Self::expire_orphans) and [`evaluate_limits`](Self::evaluate_limits) with
    /// the pass and the tick of the last [`refresh`](Consumer::refresh) up to which this ring has
    /// been drained.
    // Out of line because stacks are small on 32-bit targets: its frame holds a chunk of copied
    // records.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn drain_up_to(
        &mut self,
        source: u16,
        consumer: &mut Consumer<'_>,
        max_records: usize,
        mut observe: impl FnMut(Record, bool),
    ) -> Drained {
        let drained = consumer.drain_chunks(max_records, |chunk| {
            let mut rest = chunk;
            while let [record, others @ ..] = rest {
                // 64-bit targets have room for a fast path that processes runs of whole spans.
                let spans = if SHORTCUTS { self.record_whole_spans(source, rest) } else { 0 };
                if spans > 0 {
                    let (processed, left) = rest.split_at(2 * spans);
                    for record in processed {
                        observe(*record, record.kind() != Kind::Start);
                    }
                    rest = left;
                    continue;
                }
                let next = if SHORTCUTS { None } else { others.first() };
                let (processed, is_sample) = self.record_with_next(source, record, next);
                observe(*record, is_sample && processed == 1);
                rest = others;
                if let ([end, others @ ..], 2) = (others, processed) {
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

    /// Notes that some records were never written before now, so everything that covers the time
    /// until now is incomplete.
    pub fn mark_incomplete(&mut self) {
        self.lost_until = self.now.saturating_add(1);
    }

    /// Notes that records were lost before now, possibly ENDs among them. Everything that covers
    /// the time until now is incomplete, and open spans become uncertain.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn mark_lost(&mut self) {
        self.mark_incomplete();
        let now = self.now;
        if !S::ABSENT.in_flight {
            self.in_flight().mark_lost(now);
        }
    }

    /// Notes that sampling may have left out some records of `event` until now. Everything that
    /// covers this time is incomplete, even if no delivered record has a weight above 1.
    pub fn mark_sampled(&mut self, event: EventId) {
        let until = self.now.saturating_add(1);
        if let Some(state) = self.state_of(event) {
            state.sampled = until;
        }
    }

    /// Restarts the silence of `event` from now on. To be called while not everything of `event` is
    /// recorded, because then missing records are no evidence of silence. A limit on silence that
    /// is already violated stays violated: the event has not come back.
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

    /// Returns the number of the current pass.
    pub const fn pass(&self) -> u64 {
        self.pass
    }

    /// Removes ENDs from passes before `pass` that still have no START, and counts them as orphans.
    ///
    /// The caller asserts that since pass `pass` began, every ring has been drained at least as far
    /// as it was filled at that moment. An earlier END that has no START by then will never get
    /// one. A caller that drains all rings in each pass calls this at the end of each, with
    /// [`pass`](Self::pass).
    pub fn expire_orphans(&mut self, pass: u64) {
        self.remove_older(true, pass);
    }

    /// Removes early ENDs or uncertain spans from the table: see
    /// [`OpenSpanTable::remove_older`](crate::in_flight::OpenSpanTable::remove_older).
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn remove_older(&mut self, early: bool, before: u64) {
        if !S::ABSENT.in_flight {
            self.in_flight().remove_older(early, before);
        }
    }
}
