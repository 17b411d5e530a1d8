//! The drain: one pass takes the records, counts them, moves the windows on and publishes a report.

use core::{fmt, time::Duration};
use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use tailwatch_core::{Aggregator, Clock, Consumer, EventInfo, Kind, Record, Shape, WindowSpec};

use crate::{
    ClockMode, Health, Report,
    clock::{Anchor, nanos},
    observer::Observers,
    pace::Pace,
    pool::Pool,
    report::{ClockReport, EventReport, InFlight},
    storage::Boxed,
};

/// A report is made no more often than this: to compute all summaries costs as much as to drain thousands of records.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// By how much wall-clock times may be off before they are told by another anchor.
const WALL_TOLERANCE: Duration = Duration::from_micros(100);

/// Which rings a pass takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Those that have enough or whose period is over.
    Due,
    /// All of them, and a report is published.
    All,
}

/// One ring, as the drain sees it.
#[derive(Debug)]
struct Reader {
    consumer: Consumer<'static>,
    /// Since a thread took the ring: its pace, and its name once a record was seen.
    pace: Option<Pace>,
    thread: Option<Arc<str>>,
    /// The last pass in which it was drained as far as it was.
    drained: u64,
}

/// What the drain works with; behind a lock, as it may run in its own thread or in a caller's.
pub(crate) struct Drain {
    // The order matters: the consumers go before the pool that they borrow from.
    readers: Vec<Reader>,
    pool: Arc<Pool>,
    aggregator: Aggregator<Boxed>,
    events: Vec<EventInfo>,
    windows: Vec<WindowSpec>,
    observers: Observers,
    started: Anchor,
    anchor: Anchor,
    /// What wall-clock times are told by: kept as long as it agrees, so that a moment is told alike whenever it is drained.
    wall: Anchor,
    leaps: u64,
    lag_ns: u64,
    unregistered: u64,
    storage_bytes: usize,
    longest_period: Duration,
    published_at: Option<Instant>,
    /// Whether records were drained that no report knows yet.
    unpublished: bool,
    published: Arc<ArcSwap<Report>>,
}

impl Drain {
    #[expect(unsafe_code, reason = "the consumers borrow from the pool that stands next to them")]
    pub(crate) fn new(
        pool: Arc<Pool>,
        shape: Shape,
        windows: Vec<WindowSpec>,
        events: Vec<EventInfo>,
        observers: Observers,
        longest_period: Duration,
    ) -> Result<Self, tailwatch_core::ConfigError> {
        let clock = pool.clock();
        let started = Anchor::take(&clock);
        let storage = Boxed::new(&shape);
        let aggregator = Aggregator::new(shape, &windows, &events, clock.rate(), started.ticks, storage)?;
        let kept: *const Pool = Arc::as_ptr(&pool);
        // SAFETY: the `Arc` next to the readers keeps the pool alive; the readers are dropped first and never leave `self`.
        let kept: &'static Pool = unsafe { &*kept };
        let reader =
            |slot| Reader { consumer: kept.ring(slot).attach_consumer(), pace: None, thread: None, drained: 0 };
        let published = Report::new(
            started.unix_ns,
            0,
            clock_report(&pool, 0.0),
            events.iter().map(EventReport::new).collect(),
            Health { enabled: true, ..Health::default() },
        );
        let mut drain = Self {
            readers: (0..kept.rings()).map(reader).collect(),
            pool,
            aggregator,
            events,
            windows,
            observers,
            started,
            anchor: started,
            wall: started,
            leaps: 0,
            lag_ns: 0,
            unregistered: 0,
            storage_bytes: shape.bytes(),
            longest_period,
            published_at: None,
            unpublished: false,
            published: Arc::new(ArcSwap::from_pointee(published)),
        };
        drain.publish();
        Ok(drain)
    }

    /// Where reports are published.
    pub(crate) fn published(&self) -> Arc<ArcSwap<Report>> {
        Arc::clone(&self.published)
    }

    /// One pass; returns how long to rest until the next.
    pub(crate) fn pass(&mut self, take: Take) -> Duration {
        // In this order: whether a thread is gone, then the heads, then the time. So what a head covers is all that its
        // ended thread wrote, and no record is newer than `now`.
        let ending: Vec<bool> = (0..self.readers.len()).map(|slot| self.pool.is_ending(slot)).collect();
        for reader in &mut self.readers {
            reader.consumer.look();
        }
        self.take_anchor();
        let now = self.anchor.monotonic;
        self.aggregator.begin_pass(self.anchor.ticks);
        let (mut oldest, mut took) = (self.anchor.ticks, false);
        for (slot, ending) in ending.into_iter().enumerate() {
            let reader = &mut self.readers[slot];
            let pending = reader.consumer.pending();
            if pending == 0 {
                reader.drained = self.aggregator.pass();
            }
            if !ending && pending == 0 && !self.pool.is_taken(slot) {
                reader.pace = None;
                continue;
            }
            let capacity = reader.consumer.capacity();
            let pace = reader.pace.get_or_insert_with(|| Pace::new(now));
            if !ending && take == Take::Due && !pace.takes(pending, capacity, now) {
                continue;
            }
            pace.learn(pending as u64, capacity, now, self.longest_period);
            if pending > 0 {
                took = true;
                oldest = oldest.min(self.take_in(slot));
            }
            if ending {
                let reader = &mut self.readers[slot];
                (reader.pace, reader.thread) = (None, None);
                self.pool.release(slot);
            }
        }
        if let Some(pass) = self.readers.iter().map(|reader| reader.drained).min() {
            self.aggregator.settle(pass);
        }
        let rate = self.pool.clock().rate();
        self.lag_ns = rate.nanos_in_ticks(self.anchor.ticks - oldest);
        self.note_unregistered();
        let since = self.published_at.map_or(PUBLISH_EVERY, |last| now.saturating_duration_since(last));
        if take == Take::All || since >= PUBLISH_EVERY {
            self.publish();
        } else {
            self.unpublished |= took;
        }
        let due = self.readers.iter().filter_map(|reader| reader.pace.as_ref()).map(Pace::due).min();
        let rest = due.map_or(self.longest_period, |due| due.saturating_duration_since(Instant::now()));
        if self.unpublished { rest.min(PUBLISH_EVERY.saturating_sub(since)) } else { rest }
    }

    /// Drains one ring; returns the tick of its first record.
    fn take_in(&mut self, slot: usize) -> u64 {
        let Self { readers, pool, aggregator, observers, wall, .. } = self;
        let reader = &mut readers[slot];
        reader.drained = aggregator.pass();
        let mut first = u64::MAX;
        if observers.is_empty() {
            aggregator.drain(&mut reader.consumer, |record, _| first = first.min(age_tick(record)));
        } else {
            let thread = reader.thread.get_or_insert_with(|| pool.thread(slot));
            let time = *aggregator.time();
            let rate = pool.clock().rate();
            aggregator.drain(&mut reader.consumer, |record, is_sample| {
                first = first.min(age_tick(record));
                observers.show(record, is_sample, thread, wall, rate, &time);
            });
        }
        first
    }

    fn take_anchor(&mut self) {
        let clock = self.pool.clock();
        let anchor = Anchor::take(&clock);
        self.leaps += u64::from(anchor.disagrees_with(&self.anchor, clock.rate()));
        self.anchor = anchor;
        if anchor.unix_ns.abs_diff(self.wall.unix_ns(clock.rate(), anchor.ticks)) > nanos(WALL_TOLERANCE) {
            self.wall = anchor;
        }
    }

    /// What went into no ring makes the time until now incomplete, like what was overwritten.
    fn note_unregistered(&mut self) {
        let unregistered = self.pool.unregistered();
        if unregistered != self.unregistered {
            self.unregistered = unregistered;
            self.aggregator.lost();
        }
    }

    fn publish(&mut self) {
        let mut reports: Vec<_> = self.events.iter().map(EventReport::new).collect();
        let (mut orphans, mut abandoned) = (0, 0);
        for report in &mut reports {
            report.total = self.aggregator.total(report.id);
            report.outcomes = self.aggregator.outcomes(report.id);
            let pairing = self.aggregator.pairing(report.id);
            let oldest = if pairing.open > 0 { self.aggregator.oldest(report.id) } else { None };
            report.in_flight = InFlight::new(&pairing, oldest);
            orphans += pairing.orphans;
            abandoned += pairing.abandoned;
            for (number, spec) in self.windows.iter().enumerate() {
                report.add_window(spec.length, self.aggregator.summary(report.id, number));
            }
        }
        let (drift, elapsed) = self.anchor.drift_since(&self.started, self.pool.clock().rate());
        #[expect(clippy::cast_precision_loss, reason = "a drift is told to a few digits")]
        let drift_ppm = if elapsed.is_zero() { 0.0 } else { drift as f64 * 1e6 / nanos(elapsed) as f64 };
        let clock = clock_report(&self.pool, drift_ppm);
        let report = Report::new(
            self.anchor.unix_ns,
            nanos(elapsed),
            clock,
            reports,
            Health { orphans, abandoned, ..self.health() },
        );
        self.published.store(Arc::new(report));
        self.published_at = Some(self.anchor.monotonic);
        self.unpublished = false;
    }

    fn health(&self) -> Health {
        let counters = self.aggregator.counters();
        let mut health = Health {
            late: counters.late,
            clock_anomalies: counters.clock_anomalies + self.leaps,
            saturated: counters.saturated,
            invalid: counters.invalid,
            unknown_events: counters.unknown_events,
            unregistered: self.pool.unregistered(),
            observer_panics: self.observers.panics(),
            drain_lag_ns: self.lag_ns,
            enabled: self.pool.gate().is_enabled(),
            memory_bytes: (self.pool.bytes() + self.storage_bytes) as u64,
            ..Health::default()
        };
        for Reader { consumer, .. } in &self.readers {
            health.produced += consumer.produced();
            health.delivered += consumer.total().delivered;
            health.overwritten += consumer.total().overwritten;
            health.pending += consumer.pending() as u64;
        }
        health
    }
}

/// When a record was written, as far as it says so itself: a FORGET tells when its span began.
fn age_tick(record: Record) -> u64 {
    match record.kind() {
        Kind::Forget | Kind::Invalid => u64::MAX,
        _ => record.ticks(),
    }
}

fn clock_report(pool: &Pool, drift_ppm: f64) -> ClockReport {
    let clock = pool.clock();
    ClockReport {
        source: clock.source(),
        ordered: clock.mode() == ClockMode::Ordered,
        hz: clock.rate().hz(),
        drift_ppm,
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("pool", &self.pool).field("observers", &self.observers).finish_non_exhaustive()
    }
}
