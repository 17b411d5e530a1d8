//! The drain, which reads all rings in passes.
//!
//! A *pass* first refreshes the consumer of every ring: it reads up to where the ring is filled. A
//! bounded pass, which drains a limited number of records, leaves out the rings that the bounded
//! pass before left unfinished. The pass then drains the rings that are due, which means that it
//! copies their records up to there and gives them to the aggregator. After that, it checks the
//! limits. It publishes a report if the last one is old enough. Either the drain's thread makes the
//! passes, or the program does with `Collector::drain`.

mod changes;
mod clocks;
mod coverage;
mod event_ids;
pub(crate) mod exclusive;
mod held_duration;
pub(crate) mod lane_rings;
mod limit_watch;
mod lost_ends;
pub(crate) mod more_events;
#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little",
    not(tailwatch_loom)
))]
pub(crate) mod outside;
mod overhead;
pub(crate) mod pass;
pub(crate) mod pass_kind;
pub(crate) mod poll_interval;
mod positions;
mod publisher;
mod readers;
mod record_cost;
pub(crate) mod sampling;
mod sharing;
mod storage;
mod thread_names;
mod unlisted;

use core::{fmt, time::Duration};
use std::sync::Arc;

use tailwatch_core::{
    Aggregator, Clock, ConfigError, EventId, EventInfo, Limit, LimitError, Shape, WindowSpec,
};

use self::{
    clocks::Clocks, coverage::Coverage, limit_watch::LimitWatch, lost_ends::LostEnds,
    more_events::EverySet, overhead::Overhead, publisher::Publisher, readers::Readers,
    sampling::Sampler, storage::Boxed, thread_names::ThreadNames,
};
use crate::{
    clock::nanos,
    observer::Observers,
    recording::pool::Pool,
    report::{Report, health::Health, memory, published::Published, sla::ChangeQueue},
    settings::{Setting, later_events::LaterEvents},
    sync::{Mutex, lock},
    tag_names::TagNames,
};

/// What a [`Drain`] is created with, besides the pool of rings.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The capacities of the aggregator.
    pub(crate) shape: Shape,
    pub(crate) windows: Vec<WindowSpec>,
    pub(crate) events: Vec<EventInfo>,
    /// The limits of events that have none in `events`.
    pub(crate) limits: Vec<(EventId, Setting<Limit>)>,
    pub(crate) observers: Observers,
    pub(crate) sampler: Arc<Mutex<Sampler>>,
    /// The longest time for which a ring may be left unread.
    pub(crate) max_period: Duration,
    /// Whether the collector gets every set that is measured.
    pub(crate) every_set: bool,
    /// What the configuration file sets for events that are added later.
    pub(crate) later_events: Arc<LaterEvents>,
    /// Whether the summaries of events that are added later cover spans of every outcome, whatever
    /// the events declare.
    pub(crate) covers_all_outcomes: bool,
    /// Why the rings are not shared, although a setting asks for it.
    pub(crate) not_shared: Option<Box<str>>,
    /// The texts to show beside tags.
    pub(crate) tag_names: Option<TagNames>,
}

/// Why a [`Drain`] cannot be created.
#[derive(Debug)]
pub(crate) enum SetupError {
    /// The windows or the events are invalid.
    Config(ConfigError),
    /// The limits of this event cannot be watched.
    Limits { event: EventId, error: LimitError },
}

/// The state of the drain.
///
/// A collector keeps it behind a lock, because the drain's thread makes passes, and so does any
/// thread that calls `Collector::flush` or a similar function.
pub(crate) struct Drain {
    pool: Arc<Pool>,
    readers: Readers,
    aggregator: Aggregator<Boxed>,
    events: Arc<[EventInfo]>,
    observers: Observers,
    clocks: Clocks,
    coverage: Coverage,
    limits: LimitWatch,
    lost_ends: LostEnds,
    publisher: Publisher,
    /// The age of the oldest record of the last pass when it was drained, in nanoseconds.
    lag_ns: u64,
    /// What the collector was offered, if it gets every set of the process.
    every_set: Option<EverySet>,
    /// What the configuration file sets for events that are added later.
    later_events: Arc<LaterEvents>,
    /// As in [`Setup`].
    covers_all_outcomes: bool,
    /// As in [`Setup`].
    not_shared: Option<Box<str>>,
    /// Whether the collector's last pass has begun. The report of that pass is the last one.
    is_last: bool,
}

impl Drain {
    /// Creates the drain of the rings of `pool`, and publishes a report without samples.
    ///
    /// # Errors
    /// Returns an error if the windows, events or limits are invalid, or do not fit the shape.
    pub(crate) fn new(pool: Arc<Pool>, setup: Setup) -> Result<Self, SetupError> {
        let Setup { shape, windows, events, limits, observers, sampler, .. } = setup;
        let (max_period, every_set, tag_names) =
            (setup.max_period, setup.every_set, setup.tag_names);
        let clock = pool.clock();
        let record_ns = record_cost::record_ns(clock);
        let clocks = Clocks::start(clock);
        let started = *clocks.now();
        let storage = Boxed::new(&shape);
        let aggregator = Aggregator::new(&windows, &events, clock.rate(), started.ticks, storage)
            .map_err(SetupError::Config)?;
        let events: Arc<[EventInfo]> = events.into();
        let shared_windows = windows.clone();
        let mut drain = Self {
            readers: Readers::new(
                Arc::clone(&pool),
                &events,
                started.ticks,
                shape.all_slowest(),
                max_period,
            ),
            aggregator,
            observers,
            coverage: Coverage::new(sampler, Overhead::new(record_ns, started.monotonic)),
            limits: LimitWatch::new(Arc::clone(&pool), Arc::clone(&events)),
            lost_ends: LostEnds::default(),
            publisher: Publisher::new(
                Arc::clone(&pool),
                Arc::clone(&events),
                windows,
                shape.slowest,
                &clocks,
                tag_names,
            ),
            pool,
            events,
            clocks,
            lag_ns: 0,
            every_set: every_set.then(EverySet::default),
            later_events: setup.later_events,
            covers_all_outcomes: setup.covers_all_outcomes,
            not_shared: setup.not_shared,
            is_last: false,
        };
        drain
            .limits
            .set_all(&limits, &mut drain.aggregator)
            .map_err(|(event, error)| SetupError::Limits { event, error })?;
        drain.share_all(&shared_windows, max_period);
        drain.publish(true);
        Ok(drain)
    }

    /// Returns the queue of raised and cleared violations.
    pub(crate) fn changes(&self) -> Arc<Mutex<ChangeQueue>> {
        Arc::clone(self.limits.changes())
    }

    /// Returns where reports are published.
    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(self.publisher.published())
    }

    /// Replaces the limits of an event, and publishes a report with their new states.
    pub(crate) fn set_limits(
        &mut self,
        event: EventId,
        limits: &[Limit],
    ) -> Result<(), LimitError> {
        self.limits.set(event, limits, &mut self.aggregator)?;
        self.share_limits(event);
        self.publisher.changes.note_new_limits();
        self.publish(true);
        // The next pass evaluates the new limits for the first time.
        self.publisher.changes.note_new_limits();
        Ok(())
    }

    /// Publishes a report. With `is_complete`, all times in it are as of now.
    fn publish(&mut self, is_complete: bool) {
        let Self { readers, aggregator, clocks, limits, publisher, .. } = self;
        let contents = publisher.fill(is_complete, clocks, readers.names(), aggregator, limits);
        let report = Report {
            started_unix_ns: self.clocks.started_unix_ns(),
            uptime_ns: nanos(self.clocks.uptime()),
            sla: contents.sla,
            health: self.health(),
            finished: self.is_last,
            // Converted by the same anchor as all other times in the report, so that they are
            // comparable.
            ..Report::empty(
                self.clocks.unix_ns(self.clocks.now().ticks),
                self.clocks.report(),
                contents.events,
            )
        };
        self.publisher.publish(report, contents.times_at, self.clocks.now().monotonic);
    }

    /// Returns the health, after the contents of a report were filled in, which commits the samples
    /// of all events that have any uncommitted ones.
    fn health(&mut self) -> Health {
        let memory_bytes = (self.pool.bytes() + self.used_bytes()) as u64;
        let counters = self.aggregator.committed_counters();
        let [orphans, abandoned] = self.publisher.unpaired();
        let name =
            |id| self.events.iter().find(|info| info.id == id).map_or("unknown", |info| info.name);
        let share_by_name = |(id, k)| (name(id).to_owned(), sampling::share(k));
        let mut health = Health {
            orphans,
            abandoned,
            late: counters.late,
            clock_anomalies: counters.clock_anomalies + self.clocks.leaps(),
            saturated: counters.saturated.saturating_add(counters.full_counters),
            negative_differences: counters.negative_differences,
            orphan_tags: counters.orphan_tags,
            invalid: counters.invalid,
            unknown_events: counters.unknown_events,
            unregistered: self.pool.unregistered(),
            rings_refused: self.pool.budget().refused() as u64,
            not_shared: self.not_shared.clone(),
            observer_panics: self.observers.panics(),
            drain_lag_ns: self.lag_ns,
            enabled: self.pool.gate().is_enabled(),
            unlisted: self.readers.unlisted.by_name(),
            sampling: lock(self.coverage.sampler()).thinned().map(share_by_name).collect(),
            overhead_ratio: self.coverage.overhead().ratio(),
            record_ns: self.coverage.overhead().record_ns(),
            drain_ns: self.coverage.overhead().drain_ns(),
            memory_bytes,
            reserved_bytes: reserved_bytes(&self.aggregator.shape(), self.pool.lane_count()) as u64,
            ..Health::default()
        };
        self.readers.add_to(&mut health);
        health
    }

    /// Returns the bytes in use of what [`reserved_bytes`] counts in full.
    fn used_bytes(&mut self) -> usize {
        self.aggregator.used_bytes()
            + self.publisher.report_bytes()
            + ChangeQueue::BYTES
            + self.readers.name_bytes()
    }
}

/// The reports that exist at any time: the published one, and the one that it replaced.
const REPORTS: usize = 2;

/// Returns how many bytes the aggregator, the reports, the queue of changes and the names of
/// threads take at most, when all events have happened. At most `lanes` threads record at the same
/// time.
pub(crate) fn reserved_bytes(shape: &Shape, lanes: usize) -> usize {
    shape.bytes::<u32>()
        + REPORTS * memory::max_bytes(shape)
        + ChangeQueue::BYTES
        + ThreadNames::max_bytes(shape.all_slowest(), lanes)
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("pool", &self.pool)
            .field("observers", &self.observers)
            .finish_non_exhaustive()
    }
}

/// Creates the aggregator of the events of `Trading`, for the tests of the parts of a drain.
#[cfg(test)]
fn test_aggregator(clocks: &Clocks) -> Aggregator<Boxed> {
    let events = tailwatch_core::Trading::ALL;
    let windows = [WindowSpec::SECOND];
    let shape = Shape { slowest: 2, limits: 8, ..Shape::server(events, &windows) };
    let (rate, now) = (clocks.rate(), clocks.now().ticks);
    Aggregator::new(&windows, events, rate, now, Boxed::new(&shape)).unwrap()
}
