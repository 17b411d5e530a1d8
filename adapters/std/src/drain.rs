//! The drain, which reads all rings in passes.
//!
//! A *pass* first refreshes the consumer of every ring: it reads up to where the ring is filled. A
//! bounded pass, which drains a limited number of records, leaves out the rings that the bounded
//! pass before left unfinished. The pass then drains the rings that are due, which means that it
//! copies their records up to there and gives them to the aggregator. After that, it checks the
//! limits. It publishes a report if the last one is old enough. Either the drain's thread makes the
//! passes, or the program does with `Collector::drain`.

pub(crate) mod exclusive;
mod pass;
mod publish;

use core::{fmt, time::Duration};
use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use tailwatch_core::{
    Aggregator, Clock, ConfigError, Consumer, EventId, EventInfo, Exemplar, Limit, LimitError,
    PassStart, RingProgress, Shape, WindowSpec,
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

/// The shortest time between two reports. Computing all summaries costs as much as draining
/// thousands of records. A flush, or a violation that is raised or cleared, publishes a report
/// earlier.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// The drain's state of one ring.
#[derive(Debug)]
struct Reader {
    consumer: Consumer<'static>,
    /// When the ring is due to be drained. `None` while no thread has the ring.
    poll_interval: Option<PollInterval>,
    /// The thread that has the ring. `None` until a record of that thread is drained.
    thread: Option<Thread>,
    progress: RingProgress,
    /// Whether the ring's thread has ended, so that the last refresh found the thread's last record.
    is_ending: bool,
}

/// The thread that has a ring.
#[derive(Debug)]
struct Thread {
    name: Arc<str>,
    /// The number that [`ThreadNames`] gave to the name.
    number: u16,
}

/// What a [`Drain`] is created with, besides the pool of rings.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The capacities of the aggregator.
    pub(crate) shape: Shape,
    pub(crate) windows: Vec<WindowSpec>,
    pub(crate) events: Vec<EventInfo>,
    pub(crate) observers: Observers,
    pub(crate) sampler: Arc<Mutex<Sampler>>,
    /// The longest time for which a ring may be left unread.
    pub(crate) max_period: Duration,
}

/// The state of the drain.
///
/// A collector keeps it behind a lock, because the drain's thread makes passes, and so does any
/// thread that calls `Collector::flush` or a similar function.
pub(crate) struct Drain {
    // Declared before `pool`, and therefore dropped first, because the consumers borrow from the
    // pool.
    readers: Vec<Reader>,
    pool: Arc<Pool>,
    aggregator: Aggregator<Boxed>,
    events: Vec<EventInfo>,
    windows: Vec<WindowSpec>,
    observers: Observers,
    thread_names: ThreadNames,
    sampler: Arc<Mutex<Sampler>>,
    overhead: Overhead,
    /// The raised and cleared violations that the program has not yet taken.
    changes: Arc<Mutex<ChangeQueue>>,
    /// A buffer for the slowest samples of one event over one window or since the start.
    slowest: Vec<Exemplar>,
    /// The readings of all clocks when the drain was created.
    started: Anchor,
    /// The readings of all clocks at the current or last pass.
    anchor: Anchor,
    /// The anchor by which ticks are converted to wall-clock time. It is kept as long as it is
    /// exact enough, so a tick converts to the same time in every pass.
    wall_anchor: Anchor,
    /// How often the clock and the operating system's clock diverged between two passes, as after a
    /// suspension of the machine.
    clock_leaps: u64,
    /// The age of the oldest record of the last pass when it was drained, in nanoseconds.
    lag_ns: u64,
    /// The number of unregistered records as of the last pass.
    unregistered: u64,
    /// The number of ENDs among these unregistered records.
    lost_ends: usize,
    /// The memory of the aggregator, two reports and the queue of changes, in bytes.
    storage_bytes: usize,
    /// The longest time for which a ring may be left unread.
    max_period: Duration,
    /// The index of the ring with which the next pass begins.
    first_ring: usize,
    /// When the last report was published.
    published_at: Option<Instant>,
    /// Whether records were drained since the last report.
    has_unpublished: bool,
    /// Whether the collector's last pass has begun. The report of that pass is the last one.
    is_last: bool,
    /// The last report, which queries read.
    published: Arc<ArcSwap<Report>>,
    /// The report before the last one. The next report reuses its memory.
    replaced: Option<Arc<Report>>,
}

impl Drain {
    /// Creates the drain of the rings of `pool`, and publishes an empty report.
    ///
    /// # Errors
    /// Returns an error if the windows or events are invalid, or do not fit the shape.
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
        // SAFETY: the `Arc` in the field `pool` keeps the pool alive. The readers, which hold the
        // only copies of this reference, are dropped before that field and never leave `self`.
        let borrowed: &'static Pool = unsafe { &*borrowed };
        let reader = |ring_index| Reader {
            consumer: borrowed.ring(ring_index).attach_consumer(),
            poll_interval: None,
            thread: None,
            progress: RingProgress::new(PassStart { pass: 0, tick: started.ticks }),
            is_ending: false,
        };
        let readers: Vec<_> = (0..borrowed.ring_count()).map(reader).collect();
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
            // Two reports: the published one, and the one in `replaced`.
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

    /// Returns the queue of raised and cleared violations.
    pub(crate) fn changes(&self) -> Arc<Mutex<ChangeQueue>> {
        Arc::clone(&self.changes)
    }

    /// Replaces the limits of an event, and publishes a report with their new states.
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

    /// Returns where reports are published.
    pub(crate) fn published(&self) -> Arc<ArcSwap<Report>> {
        Arc::clone(&self.published)
    }
}

/// Returns the largest size of a report in bytes. For every window of every event, and for its
/// total, a report has a summary, the slowest samples, and either the exact samples or the counts
/// of a histogram.
pub(crate) fn report_bytes(shape: &Shape) -> usize {
    let values = shape.samples.max(shape.buckets_per_histogram()) * size_of::<u64>();
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
