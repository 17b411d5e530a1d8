//! What changed since the last report, and so which parts of the next one are to be computed anew,
//! and when that report is due.
//!
//! A report is written over the one before the last. It therefore also lacks what changed before
//! the last report: see [`Changes::begin_report`].

use core::time::Duration;
use std::time::Instant;

use tailwatch_core::{Aggregator, EventId};

use super::{clocks::Clocks, event_ids::EventIds, storage::Boxed};

/// The shortest time between two reports while few events change.
const SHORT_PAUSE: Duration = Duration::from_millis(10);
/// The shortest time between two reports while many events change. Computing the summaries of an
/// event takes a few microseconds.
const LONG_PAUSE: Duration = Duration::from_millis(250);
/// From how many events on more events are many.
const FEW_EVENTS: usize = 64;
/// For how many events [`LONG_PAUSE`] is long enough. The pause grows with the number of events, so
/// that more of them do not take more of a core, up to a number that keeps it well below
/// [`REFRESH_EVERY`].
const EVENTS_PER_LONG_PAUSE: u32 = 512;
const MOST_LONG_PAUSES: u32 = 3;
/// How long after a read the drain assumes that somebody still reads reports.
const READ_FOR: Duration = Duration::from_secs(5);
/// The time between two reports that nobody reads, if more than [`EVENTS_PER_LONG_PAUSE`] events
/// change: reports on so many take much of the drain's time.
pub(super) const UNREAD_PAUSE: Duration = Duration::from_secs(5);
/// The age of the times in a report (such as its time and the ages of open spans) at which another
/// report replaces it, even if nothing else changed.
pub(super) const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// About what a report takes per event, if nothing of the event is in a cache.
const TIME_PER_EVENT: Duration = Duration::from_micros(20);

/// Returns the shortest time between two reports while this number of events change.
fn pause(events: usize) -> Duration {
    if events <= FEW_EVENTS {
        return SHORT_PAUSE;
    }
    let most = MOST_LONG_PAUSES * EVENTS_PER_LONG_PAUSE;
    let events = u32::try_from(events).unwrap_or(most).clamp(EVENTS_PER_LONG_PAUSE, most);
    LONG_PAUSE * events / EVENTS_PER_LONG_PAUSE
}

/// Which parts of a report are outdated.
#[derive(Clone, Debug)]
pub(super) struct Outdated {
    /// The events of which every part is.
    pub(super) events: EventIds,
    /// For each window, the events whose statistics over this window are.
    pub(super) windows: Vec<EventIds>,
    /// The events whose limits are, besides those in the other sets.
    pub(super) limits: EventIds,
    /// Whether the limits of all events are, and there may be others than before.
    pub(super) has_new_limits: bool,
}

impl Outdated {
    fn new(windows: usize) -> Self {
        Self {
            events: EventIds::EMPTY,
            windows: vec![EventIds::EMPTY; windows],
            limits: EventIds::EMPTY,
            has_new_limits: true,
        }
    }

    fn insert_all(&mut self, other: &Self) {
        self.events.insert_all(&other.events);
        for (window, other) in self.windows.iter_mut().zip(&other.windows) {
            window.insert_all(other);
        }
        self.limits.insert_all(&other.limits);
        self.has_new_limits |= other.has_new_limits;
    }

    fn clear(&mut self) {
        self.events.clear();
        self.windows.iter_mut().for_each(EventIds::clear);
        self.limits.clear();
        self.has_new_limits = false;
    }
}

/// Which events the last report has something of.
#[derive(Debug)]
pub(super) struct Contained {
    /// For each window, and then for the total, the events that have statistics there.
    pub(super) with_samples: Vec<EventIds>,
    /// The events that have open spans.
    pub(super) with_open: EventIds,
}

/// What changed since the last report.
#[derive(Debug)]
pub(super) struct Changes {
    /// What changed since the last report. Events are inserted with each of their records.
    pending: Outdated,
    /// What changed between the report before the last and the last one.
    older: Outdated,
    /// Whether records were drained since the last report, or what else is due as soon as they are.
    has_records: bool,
    /// Whether the statistics over a window or the counts of limits changed without records.
    has_moved: bool,
    /// Whether something changed that may concern every event, such as a loss of records.
    has_swept: bool,
    /// When such a change was last taken into account.
    swept_at: Option<Instant>,
    /// The events that had a record up to the last report.
    known: EventIds,
    /// When a report was last read, as far as the drain knows.
    read_at: Instant,
    contained: Contained,
    /// The start of each window in the last pass.
    window_starts: Vec<Option<u64>>,
    /// [`Aggregator::unrecorded_changes`] in the last pass.
    unrecorded: u64,
    /// The anchor of wall-clock times in the last pass: its tick and its wall-clock time.
    wall: (u64, u64),
}

impl Changes {
    /// Creates the changes of a collector with this number of windows that has recorded nothing,
    /// and whose reports count as read at first.
    pub(super) fn new(windows: usize, clocks: &Clocks) -> Self {
        Self {
            pending: Outdated::new(windows),
            older: Outdated::new(windows),
            has_records: false,
            has_moved: false,
            has_swept: false,
            swept_at: None,
            known: EventIds::EMPTY,
            read_at: clocks.now().monotonic,
            contained: Contained {
                with_samples: vec![EventIds::EMPTY; windows + 1],
                with_open: EventIds::EMPTY,
            },
            window_starts: vec![None; windows],
            unrecorded: 0,
            wall: (clocks.wall().ticks, clocks.wall().unix_ns),
        }
    }

    /// Returns the set into which the event of each drained record has to be inserted.
    pub(super) fn recorded(&mut self) -> &mut EventIds {
        &mut self.pending.events
    }

    /// Notes that records were drained, or that another part of a report changed that is to be
    /// published as soon.
    pub(super) fn note_records(&mut self) {
        self.has_records = true;
    }

    /// Returns whether records were drained since the last report.
    pub(super) fn has_records(&self) -> bool {
        self.has_records
    }

    /// Notes that an event changed as it does by a record.
    pub(super) fn note_event(&mut self, id: EventId) {
        self.pending.events.insert(id);
        self.has_records = true;
    }

    /// Notes that a violation of a limit of this event was raised or cleared.
    pub(super) fn note_limits(&mut self, id: EventId) {
        self.pending.limits.insert(id);
        self.has_moved = true;
    }

    /// Notes that limits were replaced.
    pub(super) fn note_new_limits(&mut self) {
        (self.pending.has_new_limits, self.has_moved) = (true, true);
    }

    /// Notes that a report was read up to `now`.
    pub(super) fn note_read(&mut self, now: Instant) {
        self.read_at = now;
    }

    /// Finds out what changed without records up to the end of a pass. Takes constant time unless a
    /// slice of a window has ended.
    pub(super) fn note_pass(&mut self, clocks: &Clocks, aggregator: &mut Aggregator<Boxed>) {
        for (window, last_start) in self.window_starts.iter_mut().enumerate() {
            let start = aggregator.window_start(window);
            let before = core::mem::replace(last_start, start);
            if start != before {
                let moved = &self.contained.with_samples[window];
                self.pending.windows[window].insert_all(moved);
                self.has_moved |= !moved.is_empty();
            }
        }
        aggregator.take_changed_limits(|id| {
            self.pending.limits.insert(id);
            self.has_moved = true;
        });
        let (unrecorded, wall) = (aggregator.unrecorded_changes(), clocks.wall());
        let wall = (wall.ticks, wall.unix_ns);
        // A new anchor converts the start of each slow sample to another wall-clock time.
        self.has_swept |= unrecorded != self.unrecorded || wall != self.wall;
        (self.unrecorded, self.wall) = (unrecorded, wall);
    }

    /// Returns about how long the next reports may take.
    pub(super) fn report_time(&self) -> Duration {
        let events = self.known.len().max(self.pending.events.len());
        u32::try_from(events).map_or(Duration::MAX, |events| TIME_PER_EVENT * events)
    }

    /// Returns when a report is due because of what changed since the last one, which was published
    /// at `last`; `None` if nothing changed.
    pub(super) fn due_at(&self, last: Instant) -> Option<Instant> {
        let after = |events| self.end_of_pause(last, pause(events), events);
        let records = self.has_records.then(|| after(self.pending.events.len()));
        let moved = || self.pending.windows.iter().map(EventIds::len).max().unwrap_or(0);
        let moved = self.has_moved.then(|| after(moved().max(self.pending.limits.len())));
        let swept = self.has_swept.then(|| self.sweep_at(last));
        [records, moved, swept].into_iter().flatten().min()
    }

    /// Returns when a report may compute every event anew because of a change that may concern all.
    /// If these are many, this is done at the intervals of reports on so many, so that a few active
    /// events can be published more often while records are lost.
    fn sweep_at(&self, last: Instant) -> Instant {
        let soon = last + SHORT_PAUSE;
        self.swept_at.map_or(soon, |before| {
            let events = self.known.len();
            soon.max(self.end_of_pause(before, pause(events), events))
        })
    }

    /// Returns when a pause that began at `start` is over: after `pause`, which is that between
    /// reports that are read, unless the next report is on very many events and nobody has read one
    /// for long by then. A read can only bring this time forward.
    fn end_of_pause(&self, start: Instant, pause: Duration, events: usize) -> Instant {
        let end = start + pause;
        let is_read = end < self.read_at + READ_FOR;
        let are_few = events <= EVENTS_PER_LONG_PAUSE as usize;
        if is_read || are_few { end } else { start + UNREAD_PAUSE }
    }

    /// Returns when the times of a report that were computed at `times_at` are too old.
    pub(super) fn times_are_old_at(&self, times_at: Instant) -> Instant {
        self.end_of_pause(times_at, REFRESH_EVERY, self.known.len())
    }

    /// Begins a report, which is written over the report before the last. `last` is when the last
    /// report was published. With `is_complete`, the report takes into account what may concern
    /// every event, however recently one did so.
    pub(super) fn begin_report(&mut self, last: Option<Instant>, now: Instant, is_complete: bool) {
        if self.has_swept && (is_complete || last.is_none_or(|last| now >= self.sweep_at(last))) {
            self.pending.events.insert_all(&self.known);
            (self.has_swept, self.swept_at) = (false, Some(now));
        }
        self.known.insert_all(&self.pending.events);
        self.older.insert_all(&self.pending);
    }

    /// Notes that the report which has begun is written into new memory, in which all parts have to
    /// be computed.
    pub(super) fn outdate_all(&mut self) {
        self.older.events.insert_all(&self.known);
        self.older.has_new_limits = true;
    }

    /// Returns which parts of the report that has begun are outdated, and what to keep up to date
    /// when they are computed.
    pub(super) fn outdated(&mut self) -> (&Outdated, &mut Contained) {
        (&self.older, &mut self.contained)
    }

    /// Ends a report: it lacks nothing, and the next one, written over the report before, lacks
    /// what changed since that.
    pub(super) fn end_report(&mut self) {
        core::mem::swap(&mut self.older, &mut self.pending);
        self.pending.clear();
        (self.has_records, self.has_moved) = (false, false);
    }

    /// Returns whether a report that is written at the time `now` has to renew its times, which are
    /// those of `times_at`: otherwise they would soon be too old.
    pub(super) fn must_renew_times(&self, times_at: Instant, now: Instant) -> bool {
        // The report stays until its times are too old. `LONG_PAUSE` keeps the next one from being
        // due too soon after this one.
        now + LONG_PAUSE >= self.times_are_old_at(times_at)
    }
}

#[cfg(test)]
mod tests {
    use tailwatch_core::{Event, Record, Trading};

    use super::*;
    use crate::{
        clock::{Anchor, HostClock, nanos},
        drain::test_aggregator,
    };

    const MS: Duration = Duration::from_millis(1);

    fn changes() -> (Changes, Clocks) {
        let mut clocks = Clocks::start(HostClock::monotonic());
        // An hour later, so that no window reaches back to tick 0, where it cannot move.
        let now = *clocks.now();
        clocks.advance(Anchor { ticks: now.ticks + 3_600_000_000_000, ..now });
        (Changes::new(1, &clocks), clocks)
    }

    /// Returns the time after `last` at which a report is due.
    fn due_after(changes: &Changes, last: Instant) -> Option<Duration> {
        changes.due_at(last).map(|due| due - last)
    }

    /// Makes a report.
    fn report(changes: &mut Changes, last: Instant, now: Instant) {
        changes.begin_report(Some(last), now, false);
        changes.end_report();
    }

    #[test]
    fn records_of_few_events_are_due_after_10_ms_and_of_many_after_250_ms() {
        let (mut changes, clocks) = changes();
        let now = clocks.now().monotonic;
        report(&mut changes, now, now);
        assert_eq!(due_after(&changes, now), None);
        for id in 1..=64 {
            changes.note_event(EventId::new(id).unwrap());
            assert_eq!(due_after(&changes, now), Some(10 * MS), "{id} events");
        }
        changes.note_event(EventId::new(65).unwrap());
        assert_eq!(due_after(&changes, now), Some(250 * MS));
        report(&mut changes, now, now);
        assert_eq!(due_after(&changes, now), None);
    }

    #[test]
    fn records_of_very_many_events_are_due_after_up_to_750_ms() {
        let (mut changes, clocks) = changes();
        let now = clocks.now().monotonic;
        report(&mut changes, now, now);
        for id in 1..=2_047 {
            changes.note_event(EventId::new(id).unwrap());
            if let Some(millis) = [(512, 250), (768, 375), (1_024, 500), (2_047, 750)]
                .iter()
                .find_map(|(events, millis)| (*events == id).then_some(*millis))
            {
                assert_eq!(due_after(&changes, now), Some(millis * MS), "{id} events");
            }
        }
    }

    #[test]
    fn a_loss_concerns_all_events_and_many_of_them_at_most_every_250_ms() {
        let (mut changes, clocks) = changes();
        let mut aggregator = test_aggregator(&clocks);
        let start = clocks.now().monotonic;
        for id in 1..=65 {
            changes.note_event(EventId::new(id).unwrap());
        }
        report(&mut changes, start, start);
        report(&mut changes, start, start);
        // The times of the last report and of the next one, and how many events it computes.
        for (last, now, outdated) in [(0, 10, 66), (10, 20, 1), (250, 260, 66), (260, 270, 1)] {
            aggregator.mark_lost();
            changes.note_pass(&clocks, &mut aggregator);
            changes.note_event(EventId::new(66).unwrap());
            let [last, now] = [last, now].map(|millis| start + millis * MS);
            assert_eq!(due_after(&changes, last), Some(10 * MS));
            changes.begin_report(Some(last), now, false);
            assert_eq!(changes.pending.events.len(), outdated, "at {now:?}");
            changes.end_report();
        }
    }

    #[test]
    fn the_end_of_a_slice_outdates_the_window_of_the_events_that_have_samples_in_it() {
        let (mut changes, mut clocks) = changes();
        let mut aggregator = test_aggregator(&clocks);
        let [event, other] = [Trading::OrderPlacement, Trading::OrderFill].map(Event::id);
        changes.note_pass(&clocks, &mut aggregator);
        changes.contained.with_samples[0].insert(event);
        let start = *clocks.now();
        report(&mut changes, start.monotonic, start.monotonic);
        let mut moves = 0;
        for pass in 1..=50_u32 {
            let time = 7 * MS * pass;
            let (ticks, monotonic) = (start.ticks + nanos(time), start.monotonic + time);
            clocks.advance(Anchor { ticks, monotonic, unix_ns: start.unix_ns + nanos(time) });
            aggregator.begin_pass(ticks);
            aggregator.record(0, Record::duration(ticks, other, 0, 1));
            changes.note_pass(&clocks, &mut aggregator);
            if let Some(due) = changes.due_at(monotonic) {
                assert_eq!(due, monotonic + 10 * MS);
                let Outdated { events, windows, .. } = &changes.pending;
                assert!(events.is_empty() && windows[0].contains(event) && windows[0].len() == 1);
                report(&mut changes, monotonic, monotonic);
                moves += 1;
            }
        }
        assert!((3..=4).contains(&moves), "{moves} slices of 100 ms end in 350 ms");
    }

    /// Notes records of the events up to this number.
    fn note_events(changes: &mut Changes, most: u16) {
        for id in 1..=most {
            changes.note_event(EventId::new(id).unwrap());
        }
    }

    #[test]
    fn over_512_events_are_due_after_5_s_if_nobody_has_read_a_report_for_5_s() {
        let (mut changes, clocks) = changes();
        let start = clocks.now().monotonic;
        let unread = start + 5_000 * MS;
        note_events(&mut changes, 512);
        assert_eq!(due_after(&changes, unread), Some(250 * MS));
        note_events(&mut changes, 1_024);
        // A new collector counts as read.
        assert_eq!(due_after(&changes, start), Some(500 * MS));
        assert_eq!(due_after(&changes, start + 4_499 * MS), Some(500 * MS));
        assert_eq!(due_after(&changes, start + 4_500 * MS), Some(5_000 * MS));
        assert_eq!(due_after(&changes, unread), Some(5_000 * MS));
        // A read makes a report due at once, and the next ones for 5 s.
        changes.note_read(unread + 3_000 * MS);
        assert_eq!(due_after(&changes, unread), Some(500 * MS));
        assert_eq!(due_after(&changes, unread + 7_499 * MS), Some(500 * MS));
        assert_eq!(due_after(&changes, unread + 7_500 * MS), Some(5_000 * MS));
    }

    #[test]
    fn the_end_of_a_slice_of_over_512_unread_events_is_due_after_5_s() {
        let (mut changes, clocks) = changes();
        let unread = clocks.now().monotonic + 5_000 * MS;
        changes.has_moved = true;
        for id in 1..=513 {
            changes.pending.windows[0].insert(EventId::new(id).unwrap());
            let due_after = due_after(&changes, unread);
            assert_eq!(due_after == Some(5_000 * MS), id == 513, "{id} events: {due_after:?}");
        }
        changes.note_read(unread);
        assert!(due_after(&changes, unread) < Some(251 * MS));
    }

    #[test]
    fn a_loss_concerns_over_512_unread_events_every_5_s_and_a_flush_at_once() {
        let (mut changes, clocks) = changes();
        let mut aggregator = test_aggregator(&clocks);
        let start = clocks.now().monotonic + 60_000 * MS;
        note_events(&mut changes, 600);
        report(&mut changes, start, start);
        report(&mut changes, start, start);
        // The time of the next report, whether it is a flush, and how many events it computes.
        for (now, is_flush, outdated) in
            [(10, false, 600), (5_009, false, 1), (5_010, false, 600), (5_020, true, 600)]
        {
            aggregator.mark_lost();
            changes.note_pass(&clocks, &mut aggregator);
            changes.note_event(EventId::new(1).unwrap());
            let [last, now] = [now - 10, now].map(|millis| start + millis * MS);
            changes.begin_report(Some(last), now, is_flush);
            assert_eq!(changes.pending.events.len(), outdated, "at {now:?}");
            changes.end_report();
        }
        aggregator.mark_lost();
        changes.note_pass(&clocks, &mut aggregator);
        let last = start + 6_000 * MS;
        assert_eq!(changes.due_at(last), Some(start + 10_020 * MS));
        changes.note_read(last);
        assert_eq!(due_after(&changes, last), Some(SHORT_PAUSE));
    }

    #[test]
    fn times_of_over_512_unread_events_are_renewed_before_they_are_5_s_old() {
        let (mut changes, clocks) = changes();
        let start = clocks.now().monotonic;
        let unread = start + 5_000 * MS;
        note_events(&mut changes, 512);
        report(&mut changes, unread, unread);
        assert_eq!(changes.times_are_old_at(unread), unread + 1_000 * MS);
        note_events(&mut changes, 513);
        report(&mut changes, unread, unread);
        assert_eq!(changes.times_are_old_at(start), start + 1_000 * MS);
        assert_eq!(changes.times_are_old_at(unread), unread + 5_000 * MS);
        assert!(!changes.must_renew_times(unread, unread + 4_749 * MS));
        assert!(changes.must_renew_times(unread, unread + 4_750 * MS));
        changes.note_read(unread + 2_000 * MS);
        assert_eq!(changes.times_are_old_at(unread), unread + 1_000 * MS);
    }

    #[test]
    fn times_are_renewed_before_they_are_a_second_old() {
        let (changes, clocks) = changes();
        let now = clocks.now().monotonic;
        assert!(!changes.must_renew_times(now, now + 749 * MS));
        assert!(changes.must_renew_times(now, now + 750 * MS));
    }
}
