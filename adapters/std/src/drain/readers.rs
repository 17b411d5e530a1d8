//! The readers of all rings: which rings a pass drains, how far, and on behalf of which threads.

use core::{fmt, time::Duration};
use std::{sync::Arc, time::Instant};

use tailwatch_core::{
    Aggregator, Clock, Consumer, Drained, Kind, PassStart, Record, RingPass, RingProgress,
};

use super::{
    clocks::Clocks, event_set::EventSet, pass_kind::PassKind, poll_interval::PollInterval,
    storage::Boxed, thread_names::ThreadNames,
};
use crate::{observer::Observers, recording::pool::Pool, report::health::Health};

/// The drain's state of one ring.
#[derive(Debug)]
struct Reader {
    consumer: Consumer<'static>,
    progress: RingProgress,
    /// Whether the ring's thread has ended, so that the last refresh found its last record.
    is_ending: bool,
    /// When the ring is due to be drained. `None` while no thread has the ring.
    poll_interval: Option<PollInterval>,
    /// The thread that has the ring. `None` until a record of that thread is drained.
    thread: Option<Thread>,
}

/// The thread that has a ring.
#[derive(Debug)]
struct Thread {
    name: Arc<str>,
    /// The number that [`ThreadNames`] gave to the name.
    number: u16,
}

/// What a pass drained from the rings.
#[derive(Debug)]
pub(super) struct DrainedRings {
    /// The tick of the oldest drained record. If none was drained, the tick of the pass.
    pub(super) oldest_tick: u64,
    /// Whether any record was drained or found overwritten.
    pub(super) has_any: bool,
    /// Whether the pass left records in a ring that it was to drain, because the pass was bounded.
    pub(super) has_more: bool,
    /// As of when all rings have been drained.
    pub(super) drained: PassStart,
}

/// The readers of all rings of a pool.
pub(super) struct Readers {
    // Declared before `pool`, and therefore dropped first, because the consumers borrow from the
    // pool.
    rings: Vec<Reader>,
    pool: Arc<Pool>,
    thread_names: ThreadNames,
    /// The index of the ring with which the next pass begins.
    first_ring: usize,
    /// The longest time for which a ring may be left unread.
    max_period: Duration,
}

impl Readers {
    /// Creates the readers of the rings of `pool`, which have no records from before the tick
    /// `started`. The names of threads are kept for `slowest` samples.
    #[expect(unsafe_code, reason = "the consumers borrow from the pool in the same struct")]
    pub(super) fn new(pool: Arc<Pool>, started: u64, slowest: usize, max_period: Duration) -> Self {
        let borrowed: *const Pool = Arc::as_ptr(&pool);
        // SAFETY: the `Arc` in the field `pool` keeps the pool alive and in its place. It is never
        // replaced. The consumers in the field `rings` hold the only copies of this reference.
        // They are dropped before the field `pool`, and no function of this module lets them leave
        // `self`. If this function panics, `pool` is dropped last, because it is a parameter.
        let borrowed: &'static Pool = unsafe { &*borrowed };
        let reader = |ring_index| Reader {
            consumer: borrowed.ring(ring_index).attach_consumer(),
            progress: RingProgress::new(PassStart { pass: 0, tick: started }),
            is_ending: false,
            poll_interval: None,
            thread: None,
        };
        let rings: Vec<_> = (0..borrowed.ring_count()).map(reader).collect();
        let thread_names = ThreadNames::new(slowest, rings.len());
        Self { rings, pool, thread_names, first_ring: 0, max_period }
    }

    /// Begins the pass with this number: finds out for each ring whether its thread has ended and
    /// up to where it is filled, unless an earlier bounded pass left the ring unfinished.
    ///
    /// The time of the pass must be read after this call, so that no record of the pass is newer.
    pub(super) fn refresh(&mut self, kind: PassKind, pass: u64) -> RingPass {
        // The tick is read first, so the refreshes find all records that were written before it.
        let start = PassStart { pass, tick: self.pool.clock().start() };
        let pass = RingPass::new(start, kind.max_records(), self.first_ring);
        for (ring_index, reader) in self.rings.iter_mut().enumerate() {
            if pass.refreshes(&reader.progress) {
                reader.is_ending = self.pool.refresh(ring_index, &mut reader.consumer);
            }
        }
        pass
    }

    /// Drains the rings that a pass of this kind has to drain. `clocks` were read after `pass` had
    /// [begun](Self::refresh). Inserts the events of all drained records into `recorded`. The ring of a thread that has ended becomes free once it is drained.
    pub(super) fn drain(
        &mut self,
        kind: PassKind,
        mut pass: RingPass,
        clocks: &Clocks,
        aggregator: &mut Aggregator<Boxed>,
        observers: &mut Observers,
        recorded: &mut EventSet,
    ) -> DrainedRings {
        let (mut oldest_tick, mut has_any) = (clocks.now().ticks, false);
        for ring_index in pass.order(self.rings.len()) {
            let is_due = self.is_due(ring_index, kind, &pass, clocks.now().monotonic);
            let Reader { consumer, progress, .. } = &mut self.rings[ring_index];
            if !is_due {
                pass.skip(progress, consumer);
                continue;
            }
            if consumer.pending() > 0 && pass.has_budget() {
                has_any = true;
                self.name_thread(ring_index, aggregator);
            }
            let Reader { consumer, progress, is_ending, poll_interval, thread } =
                &mut self.rings[ring_index];
            pass.drain(ring_index, progress, consumer, |consumer, max_records| {
                let Some(thread) = thread else { return Drained::default() };
                let (first, drained) =
                    thread.deliver(consumer, max_records, clocks, aggregator, observers, recorded);
                oldest_tick = oldest_tick.min(first);
                drained
            });
            if *is_ending && consumer.pending() == 0 {
                (*poll_interval, *thread) = (None, None);
                self.pool.release(ring_index);
            }
        }
        self.first_ring = pass.next_first_ring();
        let (has_more, drained) = (pass.has_more(), pass.drained());
        DrainedRings { oldest_tick, has_any, has_more, drained }
    }

    /// Returns whether the pass, which takes place at the time `now`, drains this ring. If so, the
    /// next poll interval of the ring begins.
    fn is_due(&mut self, ring_index: usize, kind: PassKind, pass: &RingPass, now: Instant) -> bool {
        let Reader { consumer, progress, is_ending, poll_interval, .. } =
            &mut self.rings[ring_index];
        let (pending, capacity) = (consumer.pending(), consumer.capacity());
        if !*is_ending && pending == 0 && !self.pool.is_taken(ring_index) {
            *poll_interval = None;
            return false;
        }
        // The interval of an unfinished ring began when a part of its records was drained.
        if pass.refreshes(progress) {
            let interval = poll_interval.get_or_insert_with(|| PollInterval::new(now));
            if kind.skips_rings() && !*is_ending && !interval.is_due(pending, capacity, now) {
                return false;
            }
            // A ring that this pass has no budget left for has to be due in the next pass as well.
            if pass.has_budget() {
                interval.update(pending as u64, capacity, now, self.max_period);
            }
        }
        true
    }

    /// Finds out which thread has this ring, unless that is known.
    fn name_thread(&mut self, ring_index: usize, aggregator: &mut Aggregator<Boxed>) {
        if self.rings[ring_index].thread.is_none() {
            let name = self.pool.thread_name(ring_index);
            let rings = &self.rings;
            let number = self.thread_names.number(&name, |mark| {
                aggregator.exemplar_sources(&mut *mark);
                rings
                    .iter()
                    .filter_map(|reader| reader.thread.as_ref())
                    .for_each(|thread| mark(thread.number));
            });
            self.rings[ring_index].thread = Some(Thread { name, number });
        }
    }

    /// Returns the time until the next ring is due.
    pub(super) fn due_in(&self) -> Duration {
        self.rings
            .iter()
            .filter_map(|reader| reader.poll_interval.as_ref())
            .map(PollInterval::due_at)
            .min()
            .map_or(self.max_period, |due| due.saturating_duration_since(Instant::now()))
    }

    /// Returns how many records were written into all rings, as of their last refreshes.
    pub(super) fn produced(&self) -> u64 {
        self.rings.iter().map(|reader| reader.consumer.produced()).sum()
    }

    /// Adds the numbers of records in all rings to `health`.
    pub(super) fn add_to(&self, health: &mut Health) {
        for Reader { consumer, .. } in &self.rings {
            health.produced += consumer.produced();
            health.delivered += consumer.total().delivered;
            health.overwritten += consumer.total().overwritten;
            health.pending += consumer.pending() as u64;
        }
    }

    /// Returns the name of the thread that is the source of an exemplar.
    pub(super) fn thread_name(&self, source: u16) -> &Arc<str> {
        self.thread_names.name(source)
    }
}

impl Thread {
    /// Drains at most `max_records` records of this thread, and inserts their events into
    /// `recorded`. Returns the tick of the first one, or
    /// `u64::MAX` if no record was delivered.
    fn deliver(
        &self,
        consumer: &mut Consumer<'_>,
        max_records: usize,
        clocks: &Clocks,
        aggregator: &mut Aggregator<Boxed>,
        observers: &mut Observers,
        recorded: &mut EventSet,
    ) -> (u64, Drained) {
        let Self { name, number } = self;
        let mut first = u64::MAX;
        // The first record is the oldest, because a thread writes its records in the order of its
        // clock.
        let mut last = None;
        let mut note = |record: Record| {
            let event = record.event();
            // Most records are of the same event as the one before.
            if event == last {
                return;
            }
            if let Some(event) = event {
                recorded.insert(event);
            }
            first = if first == u64::MAX { written_at(record) } else { first };
            last = event.filter(|_| first != u64::MAX);
        };
        let drained = if observers.is_empty() {
            aggregator.drain_up_to(*number, consumer, max_records, |record, _| note(record))
        } else {
            let (wall, rate, time) = (clocks.wall(), clocks.rate(), *aggregator.time());
            aggregator.drain_up_to(*number, consumer, max_records, |record, is_sample| {
                note(record);
                observers.notify_record(record, is_sample, name, wall, rate, &time);
            })
        };
        (first, drained)
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

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("pool", &self.pool).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tailwatch_core::{Event, Trading};

    use super::*;
    use crate::{
        clock::HostClock,
        drain::{poll_interval::MIN_PERIOD, test_aggregator},
        recording::pool::Claim,
    };

    /// The parts of a drain that its readers need.
    struct Parts {
        readers: Readers,
        clocks: Clocks,
        aggregator: Aggregator<Boxed>,
        observers: Observers,
    }

    impl Parts {
        fn new(pool: &Arc<Pool>) -> Self {
            let clocks = Clocks::start(pool.clock());
            let readers =
                Readers::new(Arc::clone(pool), clocks.now().ticks, 8, Duration::from_millis(100));
            let aggregator = test_aggregator(&clocks);
            let observers = Observers::new(vec![], vec![], Trading::ALL);
            Self { readers, clocks, aggregator, observers }
        }

        fn pass(&mut self, kind: PassKind) -> DrainedRings {
            let Self { readers, clocks, aggregator, observers } = self;
            let pass = readers.refresh(kind, aggregator.pass() + 1);
            clocks.read();
            aggregator.begin_pass(clocks.now().ticks);
            readers.drain(kind, pass, clocks, aggregator, observers, &mut EventSet::EMPTY.clone())
        }

        /// Returns the numbers of produced, delivered, overwritten and pending records.
        fn counts(&self) -> [u64; 4] {
            let mut health = Health::default();
            self.readers.add_to(&mut health);
            [health.produced, health.delivered, health.overwritten, health.pending]
        }
    }

    fn pool(rings: usize) -> Arc<Pool> {
        Arc::new(Pool::new(rings, 64, HostClock::monotonic()).unwrap())
    }

    fn claim(pool: &Arc<Pool>, name: &str) -> Claim {
        pool.claim(|| name.into()).unwrap()
    }

    /// Writes this many records into a ring, and returns the tick of the first one.
    fn record(claim: &Claim, records: u32) -> u64 {
        let (pool, event) = (claim.pool(), Trading::OrderPlacement.id());
        let producer = pool.ring(claim.ring_index).attach_producer();
        let first = pool.clock().end();
        for _ in 0..records {
            producer.push(Record::duration(first, event, 0, 1));
        }
        first
    }

    #[test]
    fn a_pass_leaves_a_ring_alone_that_is_not_due() {
        let pool = pool(2);
        let mut parts = Parts::new(&pool);
        assert_eq!(parts.readers.due_in(), Duration::from_millis(100), "no thread has a ring");
        let thread = claim(&pool, "thread");
        // At a quarter of the capacity, a ring is due.
        let first = record(&thread, 15);
        let done = parts.pass(PassKind::Due);
        assert!(!done.has_any && !done.has_more && done.drained.pass == 0);
        assert_eq!(done.oldest_tick, parts.clocks.now().ticks);
        assert!(parts.readers.due_in() <= MIN_PERIOD);
        assert_eq!(parts.counts(), [15, 0, 0, 15]);
        record(&thread, 1);
        let done = parts.pass(PassKind::Due);
        assert!(done.has_any && !done.has_more && done.drained.pass == 2);
        assert_eq!(done.oldest_tick, first);
        // A flush drains the ring whether it is due or not.
        record(&thread, 1);
        assert!(parts.pass(PassKind::All).has_any);
        assert_eq!(parts.counts(), [17, 17, 0, 0]);
    }

    #[test]
    fn a_ring_that_a_pass_has_no_budget_for_is_drained_by_the_next() {
        let pool = pool(2);
        let mut parts = Parts::new(&pool);
        let threads = ["one", "other"].map(|name| claim(&pool, name));
        for thread in &threads {
            record(thread, 5);
        }
        assert!(!parts.pass(PassKind::DueUpTo(5)).has_any, "the poll intervals have just begun");
        std::thread::sleep(parts.readers.due_in());
        assert!(parts.pass(PassKind::DueUpTo(5)).has_more);
        assert_eq!(parts.counts(), [10, 5, 0, 5]);
        assert!(!parts.pass(PassKind::DueUpTo(5)).has_more);
        assert_eq!(parts.counts(), [10, 10, 0, 0]);
    }

    #[test]
    fn a_ring_becomes_free_with_the_last_record_of_its_thread() {
        let pool = pool(1);
        let mut parts = Parts::new(&pool);
        for (number, name) in [(1, "first"), (2, "second")] {
            let thread = claim(&pool, name);
            record(&thread, 10);
            drop(thread);
            for (pass, left) in [(1, true), (2, true), (3, false)] {
                assert!(pool.is_taken(0), "pass {pass}");
                assert_eq!(parts.pass(PassKind::DueUpTo(4)).has_more, left, "pass {pass}");
                assert_eq!(&**parts.readers.thread_name(number), name);
            }
            assert!(!pool.is_taken(0));
        }
        assert_eq!(parts.counts(), [20, 20, 0, 0]);
        assert_eq!(parts.readers.produced(), 20);
    }
}
