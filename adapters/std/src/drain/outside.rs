//! The statistics of a reader outside the program: what the drain has of the rings, without the
//! rings.

use std::sync::Arc;

use tailwatch_core::{
    Aggregator, Clock, Drained, EventId, EventInfo, Kind, Limit, LimitError, Position, Reader,
    Shape, WindowSpec,
};

use super::{
    SetupError, clocks::Clocks, limit_watch::LimitWatch, publisher::Publisher, storage::Boxed,
    thread_names::ThreadNames,
};
use crate::{
    clock::{Anchor, HostClock},
    events::numbers::NamedEvent,
    recording::{identity::Identity, pool::Pool, ring_settings::RingSettings},
    report::{Report, health::Health},
};

/// What the statistics of an outside reader begin with.
pub(crate) struct OutsideSetup {
    /// The capacities of the aggregator.
    pub(crate) shape: Shape,
    pub(crate) windows: Vec<WindowSpec>,
    /// The events, of which there is at least one, with different numbers and names.
    pub(crate) events: Vec<NamedEvent>,
    /// The clock of the program.
    pub(crate) clock: HostClock,
    /// When the collector of the program started.
    pub(crate) started: Anchor,
    pub(crate) now: Anchor,
    /// The largest number of threads that record at the same time.
    pub(crate) threads: usize,
}

/// The statistics of a reader outside the program.
pub(crate) struct OutsideDrain {
    aggregator: Aggregator<Boxed>,
    clocks: Clocks,
    limits: LimitWatch,
    publisher: Publisher,
    threads: ThreadNames,
    events: Arc<[EventInfo]>,
    /// The events with the parts of their names.
    named: Vec<NamedEvent>,
    /// The number of late samples of the first pass: they are from before the reader began.
    late_at_start: Option<u64>,
}

impl OutsideDrain {
    /// Creates the statistics.
    pub(crate) fn new(setup: OutsideSetup) -> Result<Self, SetupError> {
        let OutsideSetup { shape, windows, events: named, clock, started, now, threads } = setup;
        let infos: Vec<_> = named.iter().map(|event| event.info).collect();
        let storage = Boxed::new(&shape);
        let aggregator = Aggregator::new(&windows, &infos, clock.rate(), started.ticks, storage)
            .map_err(SetupError::Config)?;
        // Nothing in this process records into it.
        let rings =
            RingSettings { lanes: 0, capacity: 8, max_capacity: 8, max_bytes: 0, locked: false };
        let pool = Arc::new(Pool::empty(None, rings, clock));
        let events: Arc<[EventInfo]> = Arc::new([]);
        let clocks = Clocks::of_other_process(clock, started, now);
        let publisher = Publisher::new(
            Arc::clone(&pool),
            Arc::clone(&events),
            windows,
            shape.slowest,
            &clocks,
            None,
        );
        let mut drain = Self {
            aggregator,
            limits: LimitWatch::new(pool, Arc::clone(&events)),
            publisher,
            clocks,
            threads: ThreadNames::new(shape.all_slowest(), threads),
            events,
            named: Vec::new(),
            late_at_start: None,
        };
        for event in named {
            drain.note_event(event);
        }
        Ok(drain)
    }

    /// Adds an event. Returns `false` if there is no room for it, or if its number or name is that
    /// of another.
    pub(crate) fn add_event(&mut self, event: NamedEvent) -> bool {
        let is_taken =
            |known: &EventInfo| known.id == event.info.id || known.name == event.info.name;
        if self.events.iter().any(is_taken) || self.aggregator.add_event(&event.info).is_err() {
            return false;
        }
        self.note_event(event);
        true
    }

    /// Notes an event of the aggregator.
    fn note_event(&mut self, event: NamedEvent) {
        self.events = self.events.iter().copied().chain([event.info]).collect();
        self.publisher.add_event(Arc::clone(&self.events));
        self.limits.add_event(Arc::clone(&self.events), event.labels.clone());
        self.named.push(event);
    }

    /// Replaces the limits of an event.
    pub(crate) fn set_limits(
        &mut self,
        event: EventId,
        limits: Vec<(Limit, Arc<str>)>,
    ) -> Result<(), LimitError> {
        let values: Vec<_> = limits.iter().map(|(limit, _)| *limit).collect();
        self.publisher.changes.note_new_limits();
        self.limits.replace(event, &values, limits, &mut self.aggregator)
    }

    /// Marks all statistics up to now as incomplete: records from before the reader began are gone.
    pub(crate) fn mark_incomplete(&mut self) {
        self.aggregator.mark_incomplete();
    }

    /// Begins a pass at this moment, after the rings were refreshed.
    pub(crate) fn begin_pass(&mut self, now: Anchor) {
        self.clocks.advance(now);
        self.aggregator.begin_pass(now.ticks);
    }

    /// Reads at most `max_records` records of a ring, which this thread wrote.
    pub(crate) fn drain<P: Position>(
        &mut self,
        thread: &Identity,
        reader: &mut Reader<'_, P>,
        max_records: usize,
    ) -> Drained {
        let Self { threads, aggregator, publisher, .. } = self;
        let number = threads.number(thread, |mark| aggregator.exemplar_sources(mark));
        let recorded = publisher.changes.recorded();
        let drained = aggregator.drain_up_to(number, reader, max_records, |record, _| {
            if record.kind() != Kind::Invalid
                && let Some(event) = record.event()
            {
                recorded.insert(event);
            }
        });
        publisher.changes.note_records();
        drained
    }

    /// Ends a pass in which every ring was read up to the tick `as_of`.
    pub(crate) fn end_pass(&mut self, as_of: u64) {
        let Self { aggregator, clocks, limits, publisher, .. } = self;
        let changes = &mut publisher.changes;
        aggregator.expire_orphans(aggregator.pass());
        limits.evaluate(as_of, clocks, aggregator, |id| changes.note_limits(id));
        changes.note_pass(clocks, aggregator);
        let late = aggregator.committed_counters().late;
        self.late_at_start.get_or_insert(late);
    }

    /// Returns the report as of the last pass. `health` has what the rings show.
    pub(crate) fn report(&mut self, health: Health) -> Report {
        let Self { aggregator, clocks, limits, publisher, threads, .. } = self;
        let contents = publisher.fill(true, clocks, threads, aggregator, limits);
        let counters = aggregator.committed_counters();
        let [orphans, abandoned] = publisher.unpaired();
        let health = Health {
            orphans,
            abandoned,
            late: counters.late - self.late_at_start.unwrap_or(0),
            clock_anomalies: counters.clock_anomalies + clocks.leaps(),
            saturated: counters.saturated.saturating_add(counters.full_counters),
            negative_differences: counters.negative_differences,
            orphan_tags: counters.orphan_tags,
            invalid: counters.invalid,
            unknown_events: counters.unknown_events,
            ..health
        };
        let mut report = Report {
            started_unix_ns: clocks.started_unix_ns(),
            uptime_ns: crate::clock::nanos(clocks.uptime()),
            sla: contents.sla,
            finished: !health.has_drain,
            health,
            ..Report::empty(clocks.unix_ns(clocks.now().ticks), clocks.report(), contents.events)
        };
        // The numbers of this process, by which a report finds the parts of a name, do not apply.
        for (event, named) in report.events.iter_mut().zip(&self.named) {
            event.base_name = named.base.into();
            event.labels = named.labels.clone();
        }
        let now = clocks.now().monotonic;
        publisher.publish(report.clone(), contents.times_at, now);
        report
    }
}

impl core::fmt::Debug for OutsideDrain {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OutsideDrain").field("named", &self.named).finish_non_exhaustive()
    }
}
