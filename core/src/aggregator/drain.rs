//! A pass, which is one round of the drain: advances the windows, processes the records of each
//! ring, and notes that records were lost or left out by sampling.

use super::{Aggregator, limits::event_of, row_number, tags::Neighbours};
use crate::{
    clock::OptionalTick,
    event::EventId,
    record::{Kind, Record},
    repr::{Repr, StoredMoments, StoredSample},
    ring::{
        position::Position,
        reader::{Drained, Reader},
    },
    sla::{SlaState, rule::Tally},
    spans::{exemplars::Exemplar, in_flight::early_ends},
    statistics::sample_buffer::WindowFilter,
    storage::{
        Storage, StorageParts,
        row::{Row, StorageExt},
    },
};

impl<S: Storage> Aggregator<S> {
    /// Begins a pass: advances the windows of the aggregator and of the limits to `now`.
    ///
    /// `now` is the time of the pass, a tick. It must be read after every ring's
    /// [`refresh`](Reader::refresh), so that no record of the pass is newer.
    ///
    /// If `now` is before the time of the previous pass, this counts as a [clock
    /// anomaly](super::Counters::clock_anomalies). After a step back of up to 10 ms, the time of
    /// the previous pass remains in force. After a larger step, as on a machine that was suspended,
    /// the clock is taken to have restarted: `now` becomes the time of the pass, and all windows
    /// start over empty.
    ///
    /// While no slice of a window ends, this takes time linear in the number of windows and limits.
    /// Otherwise the time is also linear in the number of events, in the buckets of their staged
    /// samples and of each slice that expires, and, in [compact](crate::Compact) storage or if the
    /// clock restarted, in the buffered samples. While spans are uncertain (see
    /// [`mark_lost`](Self::mark_lost)), or if the clock restarted, it is also linear in the size of
    /// the table of open spans.
    #[inline(never)]
    pub fn begin_pass(&mut self, now: u64) {
        self.pass += 1;
        if now < self.now {
            self.counters.clock_anomalies += 1;
            if self.now - now <= self.tolerance {
                return;
            }
        }
        let has_restarted = now < self.now;
        if has_restarted
            || !Self::COMMITS_LATE
                && self.storage.parts().windows.iter().any(|window| window.is_slice_over(now))
        {
            self.commit_all();
        }
        self.set_now(now);
        if has_restarted {
            if !S::Repr::IS_COMPACT {
                self.limits_settled_until = 0;
            }
            self.restart_clock();
        }
        if let Some(before) = now.checked_sub(self.abandon_after) {
            // Abandon the spans that have been uncertain for too long.
            self.remove_older(false, before);
        }
        let shape = self.shape();
        for index in 0..shape.windows {
            let window = &mut self.storage.parts().windows[index];
            let filter = WindowFilter::of(window);
            let expired = window.advance(now, has_restarted);
            for slice in window.newest_slices(expired) {
                self.clear_slice(filter, slice);
            }
        }
        if !S::Repr::IS_COMPACT && !has_restarted && now < self.limits_settled_until {
            return;
        }
        let used_rules = self.used_rules();
        let StorageParts { limits, tallies, .. } = self.storage.parts();
        let rules = limits.iter_mut().take(used_rules).enumerate();
        for (index, rule) in rules.filter(|(_, rule)| rule.owner != 0) {
            let expired = rule.window.advance(now, has_restarted);
            for slice in rule.window.newest_slices(expired) {
                tallies[index * shape.limit_slices + slice] = Tally::EMPTY;
            }
        }
    }

    /// Removes all samples of a slice, which has expired, from its window. `slice` is the index of
    /// the slice among those of all windows.
    fn clear_slice(&mut self, window: WindowFilter, slice: usize) {
        <S::Repr as Repr>::Sample::remove_slice(self.storage.parts().samples, window, slice);
        // Not along the chain of used rows: the processor could fetch no row from memory before it
        // has the previous one.
        for row in 0..self.shape().first_failed_row() {
            self.row(row).clear_slice(slice);
        }
        self.clear_failed(slice);
    }

    /// Sets the time of the pass, and with it the last tick that is not in the future.
    #[inline(never)]
    fn set_now(&mut self, now: u64) {
        (self.now, self.latest) = (now, now.saturating_add(self.tolerance));
    }

    /// Adapts stored ticks after the clock has restarted at `self.now`, because ticks from before
    /// cannot be compared with those of the restarted clock.
    ///
    /// - Lowers the tick of the aggregator's start (and so the first tick at which a span can
    ///   begin), the last tick at which sampling left out records of an event, and the ticks from
    ///   which silences are measured.
    /// - Calls [`mark_lost`](Self::mark_lost), which marks the summaries as incomplete and all open
    ///   spans as uncertain, and lowers the ticks since which spans have been so.
    /// - Discards which windows the buffered samples belong to, and since when the event of a
    ///   violated limit has been within the limit again.
    /// - Leaves unchanged the start ticks of open spans and early ENDs, the exemplars of the total,
    ///   and the ticks at which violations were raised or cleared.
    ///
    /// Does not empty the slices of the windows, which [`begin_pass`](Self::begin_pass) does.
    #[cold]
    fn restart_clock(&mut self) {
        let now = self.now;
        self.started = self.started.min(now);
        self.earliest = self.started.saturating_sub(self.tolerance);
        self.mark_lost();
        let StorageParts { rows, samples, limits, silences, .. } = self.storage.parts();
        for row in rows {
            if !S::ABSENT.silences {
                row.seen = row.seen.min(OptionalTick::some(now));
            }
            row.sampled_until = row.sampled_until.min(OptionalTick::some(now));
        }
        for rule in limits {
            rule.watch.restart_clock();
        }
        for silence in silences {
            silence.watch.restart_clock();
        }
        <S::Repr as Repr>::Sample::clear_membership(samples);
    }

    /// Processes the records that `reader`, such as a [`Consumer`](crate::Consumer), had pending at
    /// its last [`refresh`](Reader::refresh). Returns how many records were delivered, and how many
    /// had been overwritten. If any were overwritten, this calls [`mark_lost`](Self::mark_lost).
    ///
    /// `source` is a number chosen by the caller, as in [`record`](Self::record). `observe` is
    /// called with each delivered record and whether it produced a sample or, if it is a TAG,
    /// whether it belongs to the DURATION directly before it.
    pub fn drain<P: Position>(
        &mut self,
        source: u16,
        reader: &mut Reader<'_, P>,
        observe: impl FnMut(Record, bool),
    ) -> Drained {
        self.drain_up_to(source, reader, usize::MAX, observe)
    }

    /// Like [`drain`](Self::drain), but processes at most `max_records` records. This is for
    /// callers that must not be busy for long.
    ///
    /// The records that remain [`pending`](Reader::pending) are left to a later pass. As long as
    /// there are any, [`expire_orphans`](Self::expire_orphans) and
    /// [`evaluate_limits`](Self::evaluate_limits) must be called with older arguments. These belong
    /// to the last [`refresh`](Reader::refresh) of this ring whose records have all been drained:
    ///
    /// - for `expire_orphans`, the number of the pass that made this refresh, which is the number
    ///   that the following [`begin_pass`](Self::begin_pass) assigned
    /// - for `evaluate_limits`, the tick that was read before this refresh
    ///
    /// Before there is such a refresh, use 0 and the tick that was passed to [`new`](Self::new). If
    /// this concerns several rings, use the lowest pass and the lowest tick.
    // Out of line because the stacks of microcontrollers are small, and the stack frame of this
    // function holds a chunk of copied records.
    #[inline(never)]
    pub fn drain_up_to<P: Position>(
        &mut self,
        source: u16,
        reader: &mut Reader<'_, P>,
        max_records: usize,
        mut observe: impl FnMut(Record, bool),
    ) -> Drained {
        let drained = reader.drain_chunks(max_records, |last, seq, chunk| {
            let before = if self.takes_tags() { last.replace(seq, chunk) } else { Record::EMPTY };
            let neighbours = Neighbours { before, chunk };
            let mut rest = chunk;
            while let [record, others @ ..] = rest {
                let spans = self.record_whole_spans(source, rest);
                if spans > 0 {
                    let (processed, left) = rest.split_at(2 * spans);
                    for record in processed {
                        observe(*record, record.kind() != Kind::Start);
                    }
                    rest = left;
                    continue;
                }
                observe(*record, self.record_among(source, *record, &neighbours, rest.len()));
                rest = others;
            }
        });
        if drained.overwritten > 0 {
            self.mark_lost();
        }
        drained
    }

    /// Marks all summaries that cover any time up to the current pass as incomplete, because
    /// records were not written to any ring. Call this only if no END was among them, because a
    /// lost END would leave its span open. Otherwise, call [`mark_lost`](Self::mark_lost).
    pub fn mark_incomplete(&mut self) {
        self.lost_until = OptionalTick::some(self.now);
        self.count_unrecorded_change();
    }

    /// Increases [`unrecorded_changes`](Self::unrecorded_changes).
    #[inline(always)]
    fn count_unrecorded_change(&mut self) {
        if !S::Repr::IS_COMPACT {
            self.unrecorded_changes += 1;
        }
    }

    /// Notes that records were lost, possibly ENDs among them. Summaries that cover any time up to
    /// the current pass are incomplete. All open spans become *uncertain*, because their ENDs may
    /// be among the lost records. If its END does not arrive within a minute, an uncertain span is
    /// given up.
    ///
    /// [`drain`](Self::drain) calls this for the records that it finds overwritten. Call it for
    /// other losses, such as ENDs of threads that have no ring.
    #[inline(never)]
    pub fn mark_lost(&mut self) {
        self.mark_incomplete();
        let now = self.now;
        if !S::ABSENT.in_flight {
            self.in_flight().mark_lost(now);
        }
    }

    /// Notes that sampling may have left out records of `event` up to the current pass. Summaries
    /// of the event that cover any of this time are incomplete, even if every delivered record has
    /// a weight of 1.
    pub fn mark_sampled(&mut self, event: EventId) {
        let until = OptionalTick::some(self.now);
        if let Some(state) = self.state_of(event) {
            state.sampled_until = until;
        }
    }

    /// Restarts the silence of `event` at the time of the current pass (one round of the drain). A
    /// silence is the time without any record of the event, which a [limit](crate::Limit::Silence)
    /// can bound.
    ///
    /// Call this in each pass while the event is switched off, or only 1 in 2^k of its occurrences
    /// is recorded: then missing records do not mean that the event did not happen. Changes nothing
    /// if the event has no record yet, or if the limit is already violated: a record ends the
    /// violation, or a restart of the clock (see [`begin_pass`](Self::begin_pass)).
    pub fn reset_silence(&mut self, event: EventId) {
        let seen = OptionalTick::some(self.now);
        let StorageParts { row_of_id, rows, silences, .. } = self.storage.parts();
        let Some((row, _)) = S::row_of(row_of_id, event.get()) else { return };
        let is_silent =
            silences.get(row).is_some_and(|silence| silence.watch.state == SlaState::Violated);
        let state = &mut rows[row];
        if state.seen != OptionalTick::NONE && !is_silent {
            state.seen = seen;
        }
    }

    /// Returns the number of the current pass. The first is 1; before it, this is 0.
    pub const fn pass(&self) -> u64 {
        self.pass
    }

    /// Removes ENDs that were drained before the pass with the number `pass` and still have no
    /// START. Each of them is matched with an [untracked](crate::Pairing::untracked) START of its
    /// event while there is one. The others count as [orphans](crate::Pairing::orphans).
    ///
    /// The caller guarantees that every ring has been drained at least up to the position that its
    /// producer had reached before the first [`refresh`](Reader::refresh) of pass `pass`. The
    /// refreshes of a pass precede the [`begin_pass`](Self::begin_pass) that assigns its number.
    ///
    /// A START is written before its END. If the END was drained in an earlier pass, its START had
    /// therefore been written before that refresh. By now it has been drained or lost. A caller
    /// that drains all rings in each pass calls this at the end of each pass, with
    /// [`pass`](Self::pass).
    pub fn expire_orphans(&mut self, pass: u64) {
        self.remove_older(true, pass);
    }

    /// Calls `found` with the event and the start tick of each early END that was drained before
    /// `pass`: those that [`expire_orphans`](Self::expire_orphans) would count as orphans.
    ///
    /// An adapter with several aggregators uses it to find ENDs whose STARTs another one may have.
    pub fn early_ends(&mut self, pass: u64, mut found: impl FnMut(EventId, u64)) {
        if S::ABSENT.in_flight || self.occupancy.waiting_entries() == 0 {
            return;
        }
        let StorageParts { in_flight, rows, .. } = self.storage.parts();
        for (row, start, count) in early_ends(in_flight, pass) {
            (0..count).for_each(|_| found(event_of(&rows[usize::from(row)]), start));
        }
    }

    /// Gives up an open span of `event` that began at tick `start`, because its END is known to be
    /// lost: for example, the thread that ended it had no ring. The span counts as
    /// [abandoned](crate::Pairing::abandoned). From the next
    /// [`evaluate_limits`](Self::evaluate_limits) on, it no longer counts as hung. In wide storage,
    /// a violation that only such spans have caused is then cleared, even without a sample that is
    /// within the threshold: the state of the limit is unknown.
    ///
    /// If the table of open spans has no such span, counts an
    /// [untracked](crate::Pairing::untracked) START of the event as abandoned in its place, because
    /// the table cannot show whose it is. Otherwise the lost END would leave that START untracked
    /// for ever.
    ///
    /// Returns `false`, and changes nothing, if there is neither, or if the event is unknown: the
    /// START has not been drained, has been lost, or is paired or abandoned already. Call this only
    /// when the START has been drained or lost, as in the condition of
    /// [`expire_orphans`](Self::expire_orphans). If it is drained later, its span stays open.
    ///
    /// Takes the time of one [`record`](Self::record).
    ///
    /// ```
    /// use tailwatch_core::{
    ///     Aggregator, Event, Record, Shape, TickRate, Trading, WindowSpec, storage,
    /// };
    ///
    /// const SHAPE: Shape = Shape::server(Trading::ALL, &WindowSpec::DEFAULT);
    /// storage!(BotStorage: SHAPE);
    /// let mut storage = Box::new(BotStorage::new());
    /// let mut aggregator = Aggregator::new(
    ///     &WindowSpec::DEFAULT, Trading::ALL, TickRate::NANOSECONDS, 0, &mut *storage,
    /// ).unwrap();
    ///
    /// let event = Trading::OrderFill.id();
    /// aggregator.record(0, Record::start(1_000, event, 0, 4_711));
    /// assert_eq!(aggregator.pairing(event).open, 1);
    /// assert!(aggregator.abandon(event, 1_000));
    /// let pairing = aggregator.pairing(event);
    /// assert_eq!((pairing.open, pairing.abandoned), (0, 1));
    /// assert!(!aggregator.abandon(event, 1_000)); // no such span is left
    /// ```
    pub fn abandon(&mut self, event: EventId, start: u64) -> bool {
        let Some((row, _)) = self.row_of(event) else { return false };
        let is_abandoned = if S::ABSENT.in_flight {
            self.state(row).pairing.abandon_untracked()
        } else {
            self.in_flight().abandon(row_number(row), start)
        };
        if is_abandoned {
            self.count_unrecorded_change();
            let owner = row_number(row) + 1;
            let rules = self.storage.parts().limits.iter_mut();
            rules.filter(|rule| rule.owner == owner).for_each(|rule| rule.has_lost_end = true);
        }
        is_abandoned
    }

    /// Returns whether the table of open spans has a span of `event` that began at tick `start`.
    ///
    /// An adapter with several aggregators calls it before [`abandon`](Self::abandon), if it does
    /// not know which of them has the START. Takes the time of one [`record`](Self::record).
    pub fn has_open_span(&mut self, event: EventId, start: u64) -> bool {
        let Some((row, _)) = self.row_of(event) else { return false };
        !S::ABSENT.in_flight && self.in_flight().contains(row_number(row), start)
    }

    /// Removes early ENDs, or else uncertain spans, from the table of open spans: see
    /// [`OpenSpanTable::remove_older`](crate::spans::in_flight::OpenSpanTable::remove_older).
    #[inline(never)]
    fn remove_older(&mut self, early_ends: bool, before: u64) {
        if S::ABSENT.in_flight {
            return;
        }
        let entries = self.occupancy.waiting_entries();
        self.in_flight().remove_older(early_ends, before);
        if self.occupancy.waiting_entries() != entries {
            self.count_unrecorded_change();
        }
    }
}

impl<S: Storage> Row<'_, S> {
    /// Sets the bucket counts of the slice with this index to 0, if its window has counts.
    fn clear_counts(&mut self, slice: usize) {
        let mut windows = self.windows.iter().enumerate();
        let found = windows.find(|(_, window)| window.slice_indices().contains(&slice));
        if let Some((number, window)) = found
            && self.is_counted(number)
        {
            let used = self.buckets().index_range(&self.slices[slice].moments());
            let used_blocks = self.used_blocks();
            self.counts.of_window::<S::Repr>(window).clear::<S::Repr>(slice, &used, used_blocks);
        }
    }

    /// Removes all samples of the slice with this index from the row. Returns whether there were
    /// any.
    #[inline(always)]
    pub(super) fn clear_slice(&mut self, slice: usize) -> bool {
        let has_samples = self.slices[slice].count() > 0;
        if has_samples {
            if self.has_histograms() {
                // Compact storage clears all blocks, which takes less flash.
                if S::Repr::IS_COMPACT {
                    let (all, used_blocks) = (0..self.folded.len(), self.used_blocks());
                    self.counts.clear::<S::Repr>(slice, &all, used_blocks);
                } else {
                    self.clear_counts(slice);
                }
            }
            self.slices[slice] = <S::Repr as Repr>::Moments::EMPTY;
        }
        // The exemplars may be of failed spans, which `slices` does not count. With summaries of
        // failed spans, `clear_failed` clears those.
        if has_samples || self.shape.failed == 0 {
            self.exemplar_list(slice).fill(Exemplar::EMPTY);
        }
        has_samples
    }
}
