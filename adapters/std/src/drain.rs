//! The drain: one pass takes the records, counts them, moves the windows on and publishes a report.

pub(crate) mod exclusive;
mod publish;

use core::{fmt, time::Duration};
use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use tailwatch_core::{
    Aggregator, Clock, Consumer, EventId, EventInfo, Exemplar, Kind, Limit, LimitError, Record,
    Shape, WindowSpec,
};

use crate::{
    Report, SlaChange, SlaReport, SlowSample,
    clock::{Anchor, nanos},
    observer::Observers,
    overhead::{self, Overhead, Stopwatch},
    poll_interval::PollInterval,
    pool::Pool,
    report::{EventReport, WindowReport},
    sampling::Sampler,
    sla::ChangeQueue,
    storage::Boxed,
    sync::{Mutex, lock},
    thread_names::ThreadNames,
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
    /// As `Due`, but no more than so many records; where it stopped, the next such pass goes on.
    UpTo(usize),
    /// All of them, and a report is published.
    All,
    /// As `All`, but no more than so many records; a report is published once nothing is left.
    AllUpTo(usize),
    /// As `All`, and what waits for something that a later pass would bring waits no longer.
    Last,
}

impl Take {
    /// Whether it leaves alone what is not due.
    const fn is_hasty(self) -> bool {
        matches!(self, Self::Due | Self::UpTo(_))
    }

    /// How many records it takes at the most, if not all there are: one at least, as none at all would never come to an end.
    fn most(self) -> Option<usize> {
        match self {
            Self::UpTo(most) | Self::AllUpTo(most) => Some(most.max(1)),
            Self::Due | Self::All | Self::Last => None,
        }
    }
}

/// What follows from a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    /// How long to rest until the next.
    pub(crate) rest: Duration,
    /// Whether it left some of what it was to take.
    pub(crate) has_more: bool,
}

/// What a pass took out of the rings.
struct Taken {
    /// The tick of the oldest record.
    oldest: u64,
    took: bool,
    /// Whether it left some of what it was to take.
    has_more: bool,
}

/// One ring, as the drain sees it.
#[derive(Debug)]
struct Reader {
    consumer: Consumer<'static>,
    /// Since a thread took the ring: its pace, and its name once a record was seen.
    pace: Option<PollInterval>,
    thread: Option<Thread>,
    /// What was recorded by then is delivered.
    drained: Look,
    /// The last look at the ring: as of it, unless records are pending that a pass left.
    looked: Look,
    is_unfinished: bool,
}

/// When it was looked how far a ring is: in which pass, and a tick before that.
#[derive(Clone, Copy, Debug)]
struct Look {
    pass: u64,
    as_of: u64,
}

/// The thread whose ring it is.
#[derive(Debug)]
struct Thread {
    name: Arc<str>,
    /// How [`ThreadNames`] numbers the name.
    number: u16,
}

/// What a drain begins with, besides the rings.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) shape: Shape,
    pub(crate) windows: Vec<WindowSpec>,
    pub(crate) events: Vec<EventInfo>,
    pub(crate) observers: Observers,
    pub(crate) sampler: Arc<Mutex<Sampler>>,
    pub(crate) longest_period: Duration,
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
    threads: ThreadNames,
    sampler: Arc<Mutex<Sampler>>,
    overhead: Overhead,
    changes: Arc<Mutex<ChangeQueue>>,
    /// Room for the slowest samples of a window.
    slowest: Vec<Exemplar>,
    started: Anchor,
    anchor: Anchor,
    /// What wall-clock times are told by: kept as long as it agrees, so that a moment is told alike whenever it is drained.
    wall: Anchor,
    leaps: u64,
    lag_ns: u64,
    unregistered: u64,
    lost_ends: usize,
    storage_bytes: usize,
    longest_period: Duration,
    /// The ring that a pass begins with.
    first: usize,
    published_at: Option<Instant>,
    /// Whether records were drained that no report knows yet.
    unpublished: bool,
    /// Whether the last pass has begun: what is published from then on is the last.
    is_last: bool,
    published: Arc<ArcSwap<Report>>,
    /// The report that was published before.
    replaced: Option<Arc<Report>>,
}

impl Drain {
    #[expect(unsafe_code, reason = "the consumers borrow from the pool that stands next to them")]
    pub(crate) fn new(pool: Arc<Pool>, setup: Setup) -> Result<Self, tailwatch_core::ConfigError> {
        let Setup { shape, windows, events, observers, sampler, longest_period } = setup;
        let clock = pool.clock();
        let record_ns = overhead::record_ns(clock);
        let started = Anchor::take(&clock);
        let storage = Boxed::new(&shape);
        let aggregator =
            Aggregator::new(shape, &windows, &events, clock.rate(), started.ticks, storage)?;
        let kept: *const Pool = Arc::as_ptr(&pool);
        // SAFETY: the `Arc` next to the readers keeps the pool alive; the readers are dropped first and never leave `self`.
        let kept: &'static Pool = unsafe { &*kept };
        let reader = |slot| Reader {
            consumer: kept.ring(slot).attach_consumer(),
            pace: None,
            thread: None,
            drained: Look { pass: 0, as_of: started.ticks },
            looked: Look { pass: 0, as_of: started.ticks },
            is_unfinished: false,
        };
        let readers: Vec<_> = (0..kept.rings()).map(reader).collect();
        let threads = ThreadNames::new(shape.all_slowest(), readers.len());
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
            threads,
            sampler,
            overhead: Overhead::new(record_ns, started.monotonic),
            changes: Arc::default(),
            slowest: vec![Exemplar::default(); shape.slowest],
            started,
            anchor: started,
            wall: started,
            leaps: 0,
            lag_ns: 0,
            unregistered: 0,
            lost_ends: 0,
            // The report that is published, and the one before, over which the next is written.
            storage_bytes: shape.bytes::<u32>() + 2 * report_bytes(&shape) + ChangeQueue::BYTES,
            longest_period,
            first: 0,
            published_at: None,
            unpublished: false,
            is_last: false,
            published: Arc::new(ArcSwap::from_pointee(published)),
            replaced: None,
        };
        drain.publish();
        Ok(drain)
    }

    /// Where changes of limits are queued.
    pub(crate) fn changes(&self) -> Arc<Mutex<ChangeQueue>> {
        Arc::clone(&self.changes)
    }

    /// Has an event keep these limits from now on.
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

    /// Where reports are published.
    pub(crate) fn published(&self) -> Arc<ArcSwap<Report>> {
        Arc::clone(&self.published)
    }

    /// One pass.
    pub(crate) fn pass(&mut self, take: Take) -> Passed {
        let stopwatch = Stopwatch::start();
        let passed = self.run_pass(take);
        self.overhead.add_pass(stopwatch.elapsed());
        passed
    }

    fn run_pass(&mut self, take: Take) -> Passed {
        self.is_last |= take == Take::Last;
        // In this order: a tick, whether a thread is gone, then the heads, then the time. So what a head covers is all that was
        // recorded by that tick, and all that its ended thread wrote, and no record is newer than `now`.
        let as_of = self.pool.clock().start();
        let Self { readers, pool, .. } = self;
        for reader in readers.iter_mut() {
            // Else it would be chased by its producer, and never be known to be drained as far as it was at some time.
            reader.is_unfinished &= take.most().is_some();
        }
        let readers = readers.iter_mut().enumerate();
        let ending: Vec<bool> = readers
            .map(|(slot, reader)| !reader.is_unfinished && pool.refresh(slot, &mut reader.consumer))
            .collect();
        self.take_anchor();
        let now = self.anchor.monotonic;
        self.aggregator.begin_pass(self.anchor.ticks);
        self.note_gate();
        let Taken { oldest, took, has_more } = self.take_rings(take, as_of, &ending);
        if let Some(pass) = self.readers.iter().map(|reader| reader.drained.pass).min() {
            // After the last pass nothing comes any more: what waits for its START waits in vain.
            self.aggregator.expire_orphans(if take == Take::Last {
                self.aggregator.pass() + 1
            } else {
                pass
            });
        }
        let rate = self.pool.clock().rate();
        self.lag_ns = rate.nanos_in_ticks(self.anchor.ticks - oldest);
        self.note_unregistered();
        let changes = self.watch();
        let produced = self.readers.iter().map(|reader| reader.consumer.produced()).sum();
        let cost =
            if self.overhead.update(produced, now) { self.overhead.settled_ratio() } else { None };
        self.adapt_sampling(cost);
        let since =
            self.published_at.map_or(PUBLISH_EVERY, |last| now.saturating_duration_since(last));
        let is_flushed = !take.is_hasty() && !has_more;
        if is_flushed || since >= PUBLISH_EVERY || !changes.is_empty() {
            self.publish();
        } else {
            self.unpublished |= took;
        }
        let panics = self.observers.panics();
        for change in changes {
            lock(&self.changes).push(change.clone());
            self.observers.show_change(&change);
        }
        if self.observers.panics() > panics {
            // This may be the last pass, and the report above does not know of it.
            self.publish();
        }
        if has_more {
            return Passed { rest: Duration::ZERO, has_more };
        }
        let due = self
            .readers
            .iter()
            .filter_map(|reader| reader.pace.as_ref())
            .map(PollInterval::due)
            .min();
        let rest =
            due.map_or(self.longest_period, |due| due.saturating_duration_since(Instant::now()));
        let rest =
            if self.unpublished { rest.min(PUBLISH_EVERY.saturating_sub(since)) } else { rest };
        Passed { rest, has_more }
    }

    /// Takes the rings that this pass is to take, as of a tick before they were looked at. Those whose thread is `ending` are given
    /// back once all of them is delivered.
    fn take_rings(&mut self, take: Take, as_of: u64, ending: &[bool]) -> Taken {
        let most = take.most().unwrap_or(usize::MAX);
        let now = self.anchor.monotonic;
        let (mut oldest, mut left, mut next) = (self.anchor.ticks, most, None);
        for slot in (0..ending.len()).cycle().skip(self.first).take(ending.len()) {
            let ending = ending[slot];
            let reader = &mut self.readers[slot];
            let pending = reader.consumer.pending();
            if !reader.is_unfinished {
                reader.looked = Look { pass: self.aggregator.pass(), as_of };
            }
            if pending == 0 {
                reader.drained = reader.looked;
            }
            if !ending && pending == 0 && !self.pool.is_taken(slot) {
                reader.pace = None;
                continue;
            }
            if !reader.is_unfinished {
                let capacity = reader.consumer.capacity();
                let pace = reader.pace.get_or_insert_with(|| PollInterval::new(now));
                if !ending && take.is_hasty() && !pace.takes(pending, capacity, now) {
                    continue;
                }
                if left > 0 {
                    pace.learn(pending as u64, capacity, now, self.longest_period);
                }
            }
            if pending > 0 && left > 0 {
                oldest = oldest.min(self.take_in(slot, left));
            }
            let reader = &mut self.readers[slot];
            let pending_still = reader.consumer.pending();
            left = left.saturating_sub(pending - pending_still);
            if pending_still > 0 {
                reader.is_unfinished = pending_still < pending;
                next = next.or(Some(slot));
                continue;
            }
            (reader.drained, reader.is_unfinished) = (reader.looked, false);
            if ending {
                (reader.pace, reader.thread) = (None, None);
                self.pool.release(slot);
            }
        }
        self.first = next.unwrap_or(0);
        Taken { oldest, took: left < most, has_more: next.is_some() }
    }

    /// Drains one ring, of no more than so many records; returns the tick of the first one.
    fn take_in(&mut self, slot: usize, most: usize) -> u64 {
        if self.readers[slot].thread.is_none() {
            let name = self.pool.thread(slot);
            let (aggregator, readers) = (&mut self.aggregator, &self.readers);
            let number = self.threads.number(&name, |mark| {
                aggregator.sources(&mut *mark);
                readers
                    .iter()
                    .filter_map(|reader| reader.thread.as_ref())
                    .for_each(|thread| mark(thread.number));
            });
            self.readers[slot].thread = Some(Thread { name, number });
        }
        let Self { readers, pool, aggregator, observers, wall, .. } = self;
        let Reader { consumer, thread: Some(Thread { name, number }), .. } = &mut readers[slot]
        else {
            return u64::MAX;
        };
        let mut first = u64::MAX;
        // A thread writes in the order of its clock.
        let mut note = |record| first = if first == u64::MAX { age_tick(record) } else { first };
        if observers.is_empty() {
            aggregator.drain_up_to(*number, consumer, most, |record, _| note(record));
        } else {
            let time = *aggregator.time();
            let rate = pool.clock().rate();
            aggregator.drain_up_to(*number, consumer, most, |record, is_sample| {
                note(record);
                observers.show(record, is_sample, name, wall, rate, &time);
            });
        }
        first
    }

    /// What the gate turned away since the last pass is no silence; what it sampled away makes summaries incomplete.
    fn note_gate(&mut self) {
        for id in lock(&self.sampler).take_thinned() {
            self.aggregator.sampled_away(id);
            self.aggregator.reset_silence(id);
        }
        for EventInfo { id, .. } in &self.events {
            if !self.pool.gate().admits(*id) {
                self.aggregator.reset_silence(*id);
            }
        }
    }

    /// Judges the limits; returns what changed.
    fn watch(&mut self) -> Vec<SlaChange> {
        let as_of = self
            .readers
            .iter()
            .map(|reader| reader.drained.as_of)
            .min()
            .unwrap_or(self.started.ticks);
        let (events, wall, rate) = (&self.events, &self.wall, self.pool.clock().rate());
        let (mut changes, mut touched) = (Vec::new(), Vec::new());
        self.aggregator.watch(as_of, |change| {
            let status = &change.status;
            touched.push(status.event);
            if let Some(info) = events.iter().find(|info| info.id == status.event) {
                let since = status.since.map(|since| wall.unix_ns(rate, since));
                changes.push(SlaChange {
                    raised: change.is_raised(),
                    unix_ns: wall.unix_ns(rate, change.at),
                    limit: SlaReport::new(info, status, since),
                });
            }
        });
        for event in touched {
            self.pool.set_breached(event, self.aggregator.is_breached(event));
        }
        changes
    }

    /// Has the sampler look at the rates, and turns the gate where it decides so.
    fn adapt_sampling(&mut self, cost: Option<f64>) {
        let Self { pool, aggregator, sampler, anchor, started, .. } = self;
        let since_start = anchor.monotonic.saturating_duration_since(started.monotonic);
        lock(sampler).adjust(
            since_start,
            cost,
            |id| aggregator.moments(id).weight(),
            |id, k| {
                pool.turn(|gate| {
                    gate.set_sampling(id, k);
                });
            },
        );
    }

    fn take_anchor(&mut self) {
        let clock = self.pool.clock();
        let anchor = Anchor::take(&clock);
        self.leaps += u64::from(anchor.disagrees_with(&self.anchor, clock.rate()));
        self.anchor = anchor;
        if anchor.unix_ns.abs_diff(self.wall.unix_ns(clock.rate(), anchor.ticks))
            > nanos(WALL_TOLERANCE)
        {
            self.wall = anchor;
        }
    }

    /// What went into no ring makes the time until now incomplete; an END among it leaves its span open.
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

/// How many bytes a report takes at the most: of each window, what is told of it, the slowest, and the samples or the counts.
pub(crate) fn report_bytes(shape: &Shape) -> usize {
    let values = shape.samples.max(shape.places()) * size_of::<u64>();
    let of_window = size_of::<WindowReport>() + shape.slowest * size_of::<SlowSample>() + values;
    shape.events * (size_of::<EventReport>() + (shape.windows + 1) * of_window)
}

/// When a record was written, as far as it says so itself: a FORGET tells when its span began.
fn age_tick(record: Record) -> u64 {
    match record.kind() {
        Kind::Forget | Kind::Invalid => u64::MAX,
        _ => record.ticks(),
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("pool", &self.pool)
            .field("observers", &self.observers)
            .finish_non_exhaustive()
    }
}
