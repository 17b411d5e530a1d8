//! One pass over the rings.

use core::time::Duration;
use std::time::Instant;

use tailwatch_core::{Clock, Drained, EventInfo, Kind, PassStart, Record, RingPass};

use super::{Drain, PUBLISH_EVERY, Reader, Thread};
use crate::{
    SlaChange, SlaReport,
    clock::{Anchor, nanos},
    overhead::Stopwatch,
    poll_interval::PollInterval,
    sync::lock,
};

/// How far wall-clock times that are converted by an anchor may deviate from the wall clock before
/// a newer anchor replaces it.
const WALL_TOLERANCE: Duration = Duration::from_micros(100);

/// Which rings a pass drains, and how far. A pass with a maximum number of records is *bounded*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassKind {
    /// Drains the rings that are due: they hold enough records, or their poll interval is over.
    Due,
    /// Drains the rings that are due, but at most this many records, where 0 counts as 1. The next
    /// bounded pass continues where this one stopped.
    DueUpTo(usize),
    /// Drains all rings and publishes a report.
    All,
    /// Drains all rings, but at most this many records, where 0 counts as 1. Publishes a report if
    /// no records are left.
    AllUpTo(usize),
    /// Drains all rings and publishes a report, as the last pass of the collector. ENDs that still
    /// wait for their START become orphans.
    Last,
}

impl PassKind {
    /// Returns whether the pass skips rings that are not due.
    const fn skips_rings(self) -> bool {
        matches!(self, Self::Due | Self::DueUpTo(_))
    }

    /// Returns the maximum number of records that the pass drains, or `None` if it is not bounded.
    const fn max_records(self) -> Option<usize> {
        match self {
            Self::DueUpTo(records) | Self::AllUpTo(records) => Some(records),
            Self::Due | Self::All | Self::Last => None,
        }
    }
}

/// The result of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassResult {
    /// The time until the next pass is due.
    pub(crate) pause: Duration,
    /// Whether the pass left records in a ring that it was to drain, because the pass was bounded.
    pub(crate) has_more: bool,
}

/// What a pass drained from the rings.
struct DrainedRings {
    /// The tick of the oldest drained record. If none was drained, the tick of the pass.
    oldest_tick: u64,
    /// Whether any record was drained or found overwritten.
    has_any: bool,
}

impl Drain {
    /// Makes one pass, and adds its processor time to the cost of measuring.
    pub(crate) fn pass(&mut self, kind: PassKind) -> PassResult {
        let stopwatch = Stopwatch::start();
        let result = self.run_pass(kind);
        self.overhead.add_pass(stopwatch.elapsed());
        result
    }

    /// Makes one pass.
    fn run_pass(&mut self, kind: PassKind) -> PassResult {
        self.is_last |= kind == PassKind::Last;
        // The order of the next three steps matters. First a tick is read, then for each ring
        // whether its thread has ended and up to where it is filled, then the time of the pass.
        // Therefore the records up to there include all that were written before the tick, and all
        // of a thread that has ended, and none of them is newer than the time of the pass.
        let start = PassStart { pass: self.aggregator.pass() + 1, tick: self.pool.clock().start() };
        let mut rings = RingPass::new(start, kind.max_records(), self.first_ring);
        for (ring_index, reader) in self.readers.iter_mut().enumerate() {
            if rings.refreshes(&reader.progress) {
                reader.is_ending = self.pool.refresh(ring_index, &mut reader.consumer);
            }
        }
        self.take_anchor();
        let now = self.anchor.monotonic;
        self.aggregator.begin_pass(self.anchor.ticks);
        self.note_gate();
        let DrainedRings { oldest_tick, has_any } = self.drain_rings(kind, &mut rings);
        self.first_ring = rings.next_first_ring();
        let (has_more, drained) = (rings.has_more(), rings.drained());
        // No START arrives after the last pass, so ENDs of the last pass itself are orphans as well.
        let no_start_before = if kind == PassKind::Last { start.pass + 1 } else { drained.pass };
        self.aggregator.expire_orphans(no_start_before);
        let rate = self.pool.clock().rate();
        self.lag_ns = rate.nanos_in_ticks(self.anchor.ticks - oldest_tick);
        self.note_unregistered();
        let changes = self.watch_limits(drained.tick);
        let produced = self.readers.iter().map(|reader| reader.consumer.produced()).sum();
        let cost =
            if self.overhead.update(produced, now) { self.overhead.settled_ratio() } else { None };
        self.adapt_sampling(cost);
        let since_report =
            self.published_at.map_or(PUBLISH_EVERY, |last| now.saturating_duration_since(last));
        let is_flushed = !kind.skips_rings() && !has_more;
        if is_flushed || since_report >= PUBLISH_EVERY || !changes.is_empty() {
            self.publish();
        } else {
            self.has_unpublished |= has_any;
        }
        let panics = self.observers.panics();
        for change in changes {
            lock(&self.changes).push(change.clone());
            self.observers.notify_change(&change);
        }
        if self.observers.panics() > panics {
            // The report above does not include these panics of hooks, and this may be the last
            // pass.
            self.publish();
        }
        if has_more {
            return PassResult { pause: Duration::ZERO, has_more };
        }
        let due = self
            .readers
            .iter()
            .filter_map(|reader| reader.poll_interval.as_ref())
            .map(PollInterval::due_at)
            .min();
        let pause =
            due.map_or(self.max_period, |due| due.saturating_duration_since(Instant::now()));
        let pause = if self.has_unpublished {
            pause.min(PUBLISH_EVERY.saturating_sub(since_report))
        } else {
            pause
        };
        PassResult { pause, has_more }
    }

    /// Drains the rings that a pass of this kind has to drain.
    fn drain_rings(&mut self, kind: PassKind, rings: &mut RingPass) -> DrainedRings {
        let now = self.anchor.monotonic;
        let (mut oldest_tick, mut has_any) = (self.anchor.ticks, false);
        for ring_index in rings.order(self.readers.len()) {
            let Reader { consumer, poll_interval, progress, is_ending, .. } =
                &mut self.readers[ring_index];
            let (pending, capacity, ending) = (consumer.pending(), consumer.capacity(), *is_ending);
            if !ending && pending == 0 && !self.pool.is_taken(ring_index) {
                *poll_interval = None;
                rings.skip(progress, consumer);
                continue;
            }
            if rings.refreshes(progress) {
                let interval = poll_interval.get_or_insert_with(|| PollInterval::new(now));
                if !ending && kind.skips_rings() && !interval.is_due(pending, capacity, now) {
                    rings.skip(progress, consumer);
                    continue;
                }
                // A ring for which no budget is left has to be due in the next pass, too.
                if rings.has_budget() {
                    interval.update(pending as u64, capacity, now, self.max_period);
                }
            }
            if pending > 0 && rings.has_budget() {
                has_any = true;
                self.name_thread(ring_index);
            }
            let Self { readers, pool, aggregator, observers, wall_anchor, .. } = self;
            let Reader { consumer, thread, progress, .. } = &mut readers[ring_index];
            let thread = thread.as_ref();
            rings.drain(ring_index, progress, consumer, |consumer, max_records| {
                let Some(Thread { name, number }) = thread else { return Drained::default() };
                let mut first = u64::MAX;
                // The first record is the oldest, because a thread writes its records in the order
                // of its clock.
                let mut note_tick =
                    |record| first = if first == u64::MAX { written_at(record) } else { first };
                let drained = if observers.is_empty() {
                    aggregator
                        .drain_up_to(*number, consumer, max_records, |record, _| note_tick(record))
                } else {
                    let time = *aggregator.time();
                    let rate = pool.clock().rate();
                    aggregator.drain_up_to(*number, consumer, max_records, |record, is_sample| {
                        note_tick(record);
                        observers.notify_record(record, is_sample, name, wall_anchor, rate, &time);
                    })
                };
                oldest_tick = oldest_tick.min(first);
                drained
            });
            let reader = &mut self.readers[ring_index];
            if reader.is_ending && reader.consumer.pending() == 0 {
                (reader.poll_interval, reader.thread) = (None, None);
                self.pool.release(ring_index);
            }
        }
        DrainedRings { oldest_tick, has_any }
    }

    /// Finds out which thread has this ring, unless that is known.
    fn name_thread(&mut self, ring_index: usize) {
        if self.readers[ring_index].thread.is_none() {
            let name = self.pool.thread_name(ring_index);
            let (aggregator, readers) = (&mut self.aggregator, &self.readers);
            let number = self.thread_names.number(&name, |mark| {
                aggregator.exemplar_sources(&mut *mark);
                readers
                    .iter()
                    .filter_map(|reader| reader.thread.as_ref())
                    .for_each(|thread| mark(thread.number));
            });
            self.readers[ring_index].thread = Some(Thread { name, number });
        }
    }

    /// Reports to the aggregator which events were not recorded in full since the last pass. Such
    /// events are not silent even without records, and the summaries of sampled events are
    /// incomplete.
    fn note_gate(&mut self) {
        for id in lock(&self.sampler).take_thinned() {
            self.aggregator.mark_sampled(id);
            self.aggregator.reset_silence(id);
        }
        for EventInfo { id, .. } in &self.events {
            if !self.pool.gate().admits(*id) {
                self.aggregator.reset_silence(*id);
            }
        }
    }

    /// Checks all limits. Returns the violations that were raised or cleared. Every ring has been
    /// drained up to the tick `as_of`.
    fn watch_limits(&mut self, as_of: u64) -> Vec<SlaChange> {
        let (events, wall_anchor, rate) =
            (&self.events, &self.wall_anchor, self.pool.clock().rate());
        let (mut changes, mut touched) = (Vec::new(), Vec::new());
        self.aggregator.evaluate_limits(as_of, |change| {
            let status = &change.status;
            touched.push(status.event);
            if let Some(info) = events.iter().find(|info| info.id == status.event) {
                let since = status.since.map(|since| wall_anchor.unix_ns(rate, since));
                changes.push(SlaChange {
                    raised: change.is_raised(),
                    unix_ns: wall_anchor.unix_ns(rate, change.at),
                    limit: SlaReport::new(info, status, since),
                });
            }
        });
        for event in touched {
            self.pool.set_breached(event, self.aggregator.is_breached(event));
        }
        changes
    }

    /// Passes the present rates of the events to the sampler, and the cost of measuring if a period
    /// has ended. Sets in the gate what the sampler changes.
    fn adapt_sampling(&mut self, cost: Option<f64>) {
        let Self { pool, aggregator, sampler, anchor, started, .. } = self;
        let since_start = anchor.monotonic.saturating_duration_since(started.monotonic);
        lock(sampler).adjust(
            since_start,
            cost,
            |id| aggregator.moments(id).weight(),
            |id, k| {
                pool.update_gate(|gate| {
                    gate.set_sampling(id, k);
                });
            },
        );
    }

    /// Reads all clocks for this pass. Counts a leap if they diverged since the last pass, and
    /// replaces the anchor of wall-clock times if it has become inexact.
    fn take_anchor(&mut self) {
        let clock = self.pool.clock();
        let anchor = Anchor::take(&clock);
        self.clock_leaps += u64::from(anchor.disagrees_with(&self.anchor, clock.rate()));
        self.anchor = anchor;
        if anchor.unix_ns.abs_diff(self.wall_anchor.unix_ns(clock.rate(), anchor.ticks))
            > nanos(WALL_TOLERANCE)
        {
            self.wall_anchor = anchor;
        }
    }

    /// Reports to the aggregator that records went into no ring since the last pass. The statistics
    /// of the time until now are then incomplete. If ENDs were among the records, each open span
    /// may be one that has ended, so it becomes uncertain.
    fn note_unregistered(&mut self) {
        let (unregistered, lost_ends) = (self.pool.unregistered(), self.pool.lost_ends());
        if unregistered != self.unregistered {
            self.unregistered = unregistered;
            self.aggregator.mark_incomplete();
        }
        if lost_ends != self.lost_ends {
            self.lost_ends = lost_ends;
            self.aggregator.mark_lost();
        }
    }
}

/// Returns the tick at which a record was written, or `u64::MAX` if the record does not contain it.
/// The tick of a FORGET is that at which its span began.
fn written_at(record: Record) -> u64 {
    match record.kind() {
        Kind::Forget | Kind::Invalid => u64::MAX,
        _ => record.ticks(),
    }
}
