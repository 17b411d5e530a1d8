//! The drain, which reads all rings in passes. A pass drains records, moves the windows on, checks
//! limits and publishes a report.

pub(crate) mod exclusive;
mod pass;
mod publish;

use core::{fmt, time::Duration};
use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use tailwatch_core::{
    Aggregator, Clock, ConfigError, Consumer, EventId, EventInfo, Exemplar, Limit, LimitError,
    Shape, WindowSpec,
};

pub(crate) use self::pass::{PassKind, PassResult};
use crate::{
    Report, SlowSample,
    clock::Anchor,
    observer::Observers,
    overhead::{self, Overhead},
    poll_interval::PollInterval,
    pool::Pool,
    report::{EventReport, WindowReport},
    sampling::Sampler,
    sla::ChangeQueue,
    storage::Boxed,
    sync::Mutex,
    thread_names::ThreadNames,
};

/// The shortest time between two reports, unless a flush or a change of a limit publishes one
/// earlier. Computing all summaries costs as much as draining thousands of records.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// What the drain keeps for each ring.
#[derive(Debug)]
struct Reader {
    consumer: Consumer<'static>,
    /// `None` while no thread has the ring.
    poll_interval: Option<PollInterval>,
    /// The thread that has the ring, once a record of that thread was drained.
    thread: Option<Thread>,
    /// The latest refresh up to which all records have been delivered.
    drained: Refresh,
    /// The last refresh of the consumer.
    refreshed: Refresh,
    /// Whether a bounded pass has drained some, but not all, of the records of the last refresh.
    is_unfinished: bool,
}

/// A refresh of a ring's consumer, which finds all records that were written before it.
#[derive(Clone, Copy, Debug)]
struct Refresh {
    /// The number of the pass in which it happened.
    pass: u64,
    /// A tick from shortly before it.
    as_of: u64,
}

/// The thread that has a ring.
#[derive(Debug)]
struct Thread {
    name: Arc<str>,
    /// The number of the name in [`ThreadNames`].
    number: u16,
}

/// The configuration of a drain.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) shape: Shape,
    pub(crate) windows: Vec<WindowSpec>,
    pub(crate) events: Vec<EventInfo>,
    pub(crate) observers: Observers,
    pub(crate) sampler: Arc<Mutex<Sampler>>,
    /// The longest poll interval.
    pub(crate) max_period: Duration,
}

/// The state of the drain.
///
/// A collector keeps it behind a lock, because passes are made by the drain's thread as well as by
/// callers.
pub(crate) struct Drain {
    // Declared before `pool`, and so dropped first, because the consumers borrow from it.
    readers: Vec<Reader>,
    pool: Arc<Pool>,
    aggregator: Aggregator<Boxed>,
    events: Vec<EventInfo>,
    windows: Vec<WindowSpec>,
    observers: Observers,
    thread_names: ThreadNames,
    sampler: Arc<Mutex<Sampler>>,
    overhead: Overhead,
    changes: Arc<Mutex<ChangeQueue>>,
    /// A buffer for the slowest samples of one scope.
    slowest: Vec<Exemplar>,
    started: Anchor,
    /// The anchor of the current or last pass.
    anchor: Anchor,
    /// The anchor that converts ticks to wall-clock time. It is kept as long as it is exact enough,
    /// so that a tick converts to the same time in every pass.
    wall_anchor: Anchor,
    /// How often the clock and the operating system's clock diverged between two passes.
    clock_leaps: u64,
    /// The age of the oldest record of the last pass when it was drained.
    lag_ns: u64,
    /// The number of unregistered records at the last pass.
    unregistered: u64,
    /// The number of ENDs among the unregistered records at the last pass.
    lost_ends: usize,
    storage_bytes: usize,
    max_period: Duration,
    /// The ring that the next pass begins with.
    first_ring: usize,
    published_at: Option<Instant>,
    /// Whether records were drained that no report includes yet.
    has_unpublished: bool,
    /// Whether the last pass has begun, so that its report is the last one.
    is_last: bool,
    published: Arc<ArcSwap<Report>>,
    /// The previously published report.
    replaced: Option<Arc<Report>>,
}

impl Drain {
    /// Creates the drain of the rings of `pool`, and publishes an empty report.
    ///
    /// # Errors
    /// If the windows, the events and the shape do not fit each other.
    #[expect(unsafe_code, reason = "the consumers borrow from the pool in the same struct")]
    pub(crate) fn new(pool: Arc<Pool>, setup: Setup) -> Result<Self, ConfigError> {
        let Setup { shape, windows, events, observers, sampler, max_period } = setup;
        let clock = pool.clock();
        let record_ns = overhead::record_ns(clock);
        let started = Anchor::take(&clock);
        let storage = Boxed::new(&shape);
        let aggregator =
            Aggregator::new(shape, &windows, &events, clock.rate(), started.ticks, storage)?;
        let borrowed: *const Pool = Arc::as_ptr(&pool);
        // SAFETY: the `Arc` beside the readers keeps the pool alive. The readers are dropped before
        // it and never leave `self`.
        let borrowed: &'static Pool = unsafe { &*borrowed };
        let reader = |slot| Reader {
            consumer: borrowed.ring(slot).attach_consumer(),
            poll_interval: None,
            thread: None,
            drained: Refresh { pass: 0, as_of: started.ticks },
            refreshed: Refresh { pass: 0, as_of: started.ticks },
            is_unfinished: false,
        };
        let readers: Vec<_> = (0..borrowed.rings()).map(reader).collect();
        let thread_names = ThreadNames::new(shape.all_slowest(), readers.len());
        let published = Report::empty(
            started.unix_ns,
            publish::clock_report(&pool, 0.0),
            publish::event_reports(&events, &windows),
        );
        let mut drain = Self {
            readers,
            pool,
            aggregator,
            events,
            windows,
            observers,
            thread_names,
            sampler,
            overhead: Overhead::new(record_ns, started.monotonic),
            changes: Arc::default(),
            slowest: vec![Exemplar::default(); shape.slowest],
            started,
            anchor: started,
            wall_anchor: started,
            clock_leaps: 0,
            lag_ns: 0,
            unregistered: 0,
            lost_ends: 0,
            // Two reports: the published one, and the previous one, whose memory the next report
            // reuses.
            storage_bytes: shape.bytes::<u32>() + 2 * report_bytes(&shape) + ChangeQueue::BYTES,
            max_period,
            first_ring: 0,
            published_at: None,
            has_unpublished: false,
            is_last: false,
            published: Arc::new(ArcSwap::from_pointee(published)),
            replaced: None,
        };
        drain.publish();
        Ok(drain)
    }

    /// Returns the queue of changes of limits.
    pub(crate) fn changes(&self) -> Arc<Mutex<ChangeQueue>> {
        Arc::clone(&self.changes)
    }

    /// Replaces the limits of an event, and publishes a report.
    pub(crate) fn set_limits(
        &mut self,
        event: EventId,
        limits: &[Limit],
    ) -> Result<(), LimitError> {
        self.aggregator.set_limits(event, limits)?;
        self.pool.set_breached(event, self.aggregator.is_breached(event));
        self.publish();
        Ok(())
    }

    /// Returns the place where reports are published.
    pub(crate) fn published(&self) -> Arc<ArcSwap<Report>> {
        Arc::clone(&self.published)
    }
}

/// Returns the maximum size of a report in bytes: for every window of every event its summary, the
/// slowest samples, and either exact samples or histogram counts.
pub(crate) fn report_bytes(shape: &Shape) -> usize {
    let values = shape.samples.max(shape.places()) * size_of::<u64>();
    let of_window = size_of::<WindowReport>() + shape.slowest * size_of::<SlowSample>() + values;
    shape.events * (size_of::<EventReport>() + (shape.windows + 1) * of_window)
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("pool", &self.pool)
            .field("observers", &self.observers)
            .finish_non_exhaustive()
    }
}
