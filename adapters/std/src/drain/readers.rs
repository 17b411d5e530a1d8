//! The readers of all lanes: whose rings a pass drains, how far, and on behalf of which threads.

use core::{fmt, time::Duration};
use std::{sync::Arc, time::Instant};

use tailwatch_core::{
    Aggregator, Clock, Consumer, Drained, EventId, EventInfo, Kind, PassStart, Pending, Record,
    RingPass, RingProgress,
};

use super::{
    clocks::Clocks,
    event_ids::EventIds,
    held_duration::HeldDuration,
    lane_rings::{LaneRings, Totals},
    pass_kind::PassKind,
    poll_interval::PollInterval,
    storage::Boxed,
    thread_names::{NO_NAME, ThreadNames},
    unlisted::Unlisted,
};
use crate::{
    observer::{Observers, Scales},
    recording::{identity::Identity, pool::Pool, process},
    report::health::Health,
};

/// The drain's state of one lane.
#[derive(Debug)]
struct Reader {
    rings: LaneRings,
    progress: RingProgress,
    /// Whether the lane's thread had ended at the last refresh.
    is_ending: bool,
    /// When the lane is due to be drained. `None` while no thread has the lane.
    poll_interval: Option<PollInterval>,
    /// What the observers have not got yet.
    held: HeldDuration,
}

impl Reader {
    /// Creates the reader of a lane that had no records before `start`.
    fn new(start: PassStart) -> Self {
        Self {
            rings: LaneRings::default(),
            progress: RingProgress::new(start),
            is_ending: false,
            poll_interval: None,
            held: HeldDuration::default(),
        }
    }
}

/// A thread that has or had a lane.
#[derive(Debug)]
struct Thread {
    identity: Identity,
    /// The number that [`ThreadNames`] gave to the thread.
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

/// The threads whose records the drain reads.
#[derive(Debug)]
struct Threads {
    /// For each lane with a reader, the thread that wrote the record that was read last.
    of_lanes: Vec<Option<Thread>>,
    names: ThreadNames,
}

impl Threads {
    /// Returns the thread with this identity, which wrote the records that are read next in the
    /// lane.
    fn of(
        &mut self,
        lane: usize,
        identity: &Identity,
        aggregator: &mut Aggregator<Boxed>,
    ) -> &Thread {
        let Self { of_lanes, names } = self;
        // Each thread that takes a lane has a name in memory of its own, which `of_lanes` keeps.
        let is_known = of_lanes[lane]
            .as_ref()
            .is_some_and(|thread| Arc::ptr_eq(&thread.identity.name, &identity.name));
        if !is_known {
            let number = names.number(identity, |mark| {
                aggregator.exemplar_sources(&mut *mark);
                of_lanes.iter().flatten().for_each(|thread| mark(thread.number));
            });
            of_lanes[lane] = None;
            return of_lanes[lane].insert(Thread { identity: identity.clone(), number });
        }
        let unknown = || Thread { identity: identity.clone(), number: NO_NAME };
        of_lanes[lane].get_or_insert_with(unknown)
    }
}

/// The readers of all lanes of a pool.
pub(super) struct Readers {
    /// The readers of the lanes that a thread has ever had.
    lanes: Vec<Reader>,
    pool: Arc<Pool>,
    threads: Threads,
    /// The start of the last pass. Lanes without a reader had no record before it.
    last_start: PassStart,
    /// The index of the lane with which the next pass begins.
    first_lane: usize,
    /// About how long a report takes, which a ring has to have room for.
    pub(super) report_time: Duration,
    /// The index of the lane that is the next to be offered a larger ring, if it needs one.
    first_offer: usize,
    /// The longest time for which a lane may be left unread.
    max_period: Duration,
    /// The events of the collector.
    known: EventIds,
    /// What was drained of other events.
    pub(super) unlisted: Unlisted,
}

impl Readers {
    /// Creates the readers of the lanes of `pool`, which have no records from before the tick
    /// `started`. The names of threads are kept for `slowest` samples.
    pub(super) fn new(
        pool: Arc<Pool>,
        events: &[EventInfo],
        started: u64,
        slowest: usize,
        max_period: Duration,
    ) -> Self {
        let mut known = EventIds::EMPTY;
        for info in events {
            known.insert(info.id);
        }
        let names = ThreadNames::new(slowest, pool.lane_count());
        let threads = Threads { of_lanes: Vec::new(), names };
        let last_start = PassStart { pass: 0, tick: started };
        Self {
            lanes: Vec::new(),
            pool,
            threads,
            last_start,
            first_lane: 0,
            report_time: Duration::ZERO,
            first_offer: 0,
            max_period,
            known,
            unlisted: Unlisted::new(),
        }
    }

    /// Adds an event to those of the collector.
    pub(super) fn add_event(&mut self, id: EventId) {
        self.known.insert(id);
    }

    /// Begins the pass with this number: finds out for each lane whether its thread has ended,
    /// which rings it has and up to where they are filled, unless an earlier bounded pass left the
    /// lane unfinished.
    ///
    /// The time of the pass must be read after this call, so that no record of the pass is newer.
    pub(super) fn refresh(&mut self, kind: PassKind, pass: u64) -> RingPass {
        // The tick is read first, so the refreshes find all records that were written before it.
        let start = PassStart { pass, tick: self.pool.clock().start() };
        let pass = RingPass::new(start, kind.max_records(), self.first_lane);
        let without_reader = self.lanes.len()..self.pool.used_lanes();
        self.lanes.extend(without_reader.map(|_| Reader::new(self.last_start)));
        self.threads.of_lanes.resize_with(self.lanes.len(), || None);
        self.last_start = start;
        for (index, reader) in self.lanes.iter_mut().enumerate() {
            if pass.refreshes(&reader.progress) {
                let lane = self.pool.lane(index);
                reader.is_ending = lane.is_ending();
                reader.rings.refresh(lane);
            }
        }
        pass
    }

    /// Drains the lanes that a pass of this kind has to drain. `clocks` were read after `pass` had
    /// [begun](Self::refresh). Inserts the events of all drained records into `recorded`. The lane
    /// of a thread that has ended becomes free once it is drained.
    pub(super) fn drain(
        &mut self,
        kind: PassKind,
        mut pass: RingPass,
        clocks: &Clocks,
        aggregator: &mut Aggregator<Boxed>,
        observers: &mut Observers,
        recorded: &mut EventIds,
    ) -> DrainedRings {
        let (mut oldest_tick, mut has_any) = (clocks.now().ticks, false);
        let scales =
            Scales { anchor: clocks.wall(), rate: clocks.rate(), time: *aggregator.time() };
        let notes_unknown = process::has_other() || self.unlisted.may_occur(&self.known);
        let mut overwritten = 0;
        for index in pass.order(self.lanes.len()) {
            // An observer has forked, and this is the child: locks may be held for ever.
            if self.pool.is_inherited() {
                break;
            }
            let is_due = self.is_due(index, kind, &pass, clocks.now().monotonic);
            let Reader { rings, progress, held, .. } = &mut self.lanes[index];
            if rings.pending() == 0 {
                held.release(observers, &scales);
            }
            if !is_due {
                pass.skip(progress, rings);
                continue;
            }
            has_any |= rings.pending() > 0 && pass.has_budget();
            let Reader { rings, progress, is_ending, poll_interval, held } = &mut self.lanes[index];
            pass.drain(index, progress, rings, |rings, max_records| {
                rings.drain(&self.pool, index, max_records, |identity, consumer, max_records| {
                    let thread = self.threads.of(index, identity, aggregator);
                    let unknown = notes_unknown.then_some((&self.known, &mut self.unlisted));
                    let (first, drained) = thread.deliver(
                        consumer,
                        max_records,
                        aggregator,
                        Noted { recorded: &mut *recorded, unknown },
                        Notified { observers: &mut *observers, held: &mut *held, scales },
                    );
                    oldest_tick = oldest_tick.min(first);
                    overwritten += drained.overwritten;
                    drained
                })
            });
            if rings.pending() == 0 && (*is_ending || !kind.skips_rings()) {
                held.release(observers, &scales);
            }
            if *is_ending && rings.pending() == 0 && self.pool.release(index) {
                *poll_interval = None;
                rings.become_free();
                self.threads.of_lanes[index] = None;
            }
        }
        if overwritten > 0 {
            process::note_lost_records(&self.pool);
        }
        self.first_lane = pass.next_first_ring();
        let (has_more, drained) = (pass.has_more(), pass.drained());
        DrainedRings { oldest_tick, has_any, has_more, drained }
    }

    /// Prepares the rings that threads will need: offers larger ones to threads whose ring turned
    /// out to be too small, allocates spares, and releases those that nobody needed for a while.
    pub(super) fn keep_rings_ready(&mut self, now: Instant) {
        /// So many rings are allocated in one pass. The next pass goes on.
        const MAX_OFFERS: usize = 4;
        let (lanes, mut offers) = (self.lanes.len(), 0);
        // Each pass begins behind the lane at which the one before stopped. Otherwise a few lanes
        // that are refused in each pass could keep all others from being asked.
        let mut next = self.first_offer;
        for _ in 0..lanes {
            if offers == MAX_OFFERS {
                break;
            }
            let index = if next < lanes { next } else { 0 };
            offers += usize::from(self.lanes[index].rings.offer_larger(&self.pool, index));
            next = index + 1;
        }
        self.first_offer = next;
        // If there is no memory for a spare, the next pass tries again.
        let _ = self.pool.keep_spares();
        for index in self.pool.surplus_spares(now) {
            if let Some(reader) = self.lanes.get_mut(index) {
                reader.rings.forget();
            }
            self.pool.release_spare(index);
        }
    }

    /// Forgets all rings after the last pass. The totals stay.
    pub(super) fn forget_rings(&mut self) {
        self.lanes.iter_mut().for_each(|reader| reader.rings.forget());
    }

    /// Returns whether the pass, which takes place at the time `now`, drains this lane. If so, the
    /// next poll interval of the lane begins.
    fn is_due(&mut self, index: usize, kind: PassKind, pass: &RingPass, now: Instant) -> bool {
        let Reader { rings, progress, is_ending, poll_interval, .. } = &mut self.lanes[index];
        let (pending, capacity) = (rings.pending(), rings.capacity());
        if !*is_ending && pending == 0 && self.pool.lane(index).is_free() {
            *poll_interval = None;
            return false;
        }
        // The interval of an unfinished lane began when a part of its records was drained.
        if pass.refreshes(progress) {
            let interval = poll_interval.get_or_insert_with(|| PollInterval::new(now));
            if kind.skips_rings() && !*is_ending && !interval.is_due(pending, capacity, now) {
                return false;
            }
            // While a report takes its time, the ring is not read.
            if interval.expected_in(self.report_time, pending, now) > capacity / 2 {
                rings.note_small();
            }
            // A lane that this pass has no budget left for has to be due in the next pass as well.
            if pass.has_budget() {
                interval.update(pending as u64, capacity, now, self.max_period);
            }
        }
        true
    }

    /// Returns the time until the next lane is due.
    pub(super) fn due_in(&self) -> Duration {
        self.lanes
            .iter()
            .filter_map(|reader| reader.poll_interval.as_ref())
            .map(PollInterval::due_at)
            .min()
            .map_or(self.max_period, |due| due.saturating_duration_since(Instant::now()))
    }

    /// Returns the numbers of records of all lanes, as of their last refreshes.
    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.lanes.iter().for_each(|reader| totals.add(&reader.rings.totals()));
        totals
    }

    /// Returns how many records were written into all rings, as of their last refreshes.
    pub(super) fn produced(&self) -> u64 {
        self.totals().produced
    }

    /// Returns how many records were written into rings that are in no shared file, as of the last
    /// refreshes.
    pub(super) fn hidden(&self) -> u64 {
        self.totals().hidden
    }

    /// Adds the numbers of records in all rings to `health`.
    pub(super) fn add_to(&self, health: &mut Health) {
        let Totals { produced, hidden, drained } = self.totals();
        health.produced += produced;
        health.delivered += drained.delivered;
        health.overwritten += drained.overwritten;
        let pending: usize = self.lanes.iter().map(|reader| reader.rings.pending()).sum();
        health.pending += pending as u64;
        if let Some(share) = self.pool.share() {
            health.hidden_threads = share.hidden_threads();
            health.hidden_records = hidden;
        }
    }

    /// Returns how many bytes the names of threads take.
    pub(super) fn name_bytes(&self) -> usize {
        self.threads.names.bytes()
    }

    /// Returns the threads that are the sources of exemplars.
    pub(super) fn names(&self) -> &ThreadNames {
        &self.threads.names
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
        aggregator: &mut Aggregator<Boxed>,
        noted: Noted<'_>,
        notified: Notified<'_>,
    ) -> (u64, Drained) {
        let Noted { recorded, mut unknown } = noted;
        let Notified { observers, held, scales } = notified;
        let Self { identity, number } = self;
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
        let drained = if observers.is_empty() && unknown.is_none() {
            aggregator.drain_up_to(*number, consumer, max_records, |record, _| note(record))
        } else {
            aggregator.drain_up_to(*number, consumer, max_records, |record, is_noted| {
                note(record);
                if let Some((known, unlisted)) = &mut unknown
                    && let Some(event) = record.event()
                    && !known.contains(event)
                {
                    unlisted.note(event, record);
                }
                if !observers.is_empty() {
                    held.pass_on(record, is_noted, identity, observers, &scales);
                }
            })
        };
        (first, drained)
    }
}

/// The observers of the records that the drain delivers.
struct Notified<'n> {
    observers: &'n mut Observers,
    held: &'n mut HeldDuration,
    scales: Scales<'n>,
}

/// What the drain notes of the records that it delivers.
struct Noted<'n> {
    /// Their events.
    recorded: &'n mut EventIds,
    /// The events of the collector, and what is noted of others. `None` if there can be none, or if
    /// they have no names and no other collector may have their STARTs.
    unknown: Option<(&'n EventIds, &'n mut Unlisted)>,
}

/// Returns the tick at which a record was written, or `u64::MAX` if the record does not contain it.
/// The tick of a FORGET, or of the second tag of a span, is that at which its span began.
fn written_at(record: Record) -> u64 {
    match record.kind() {
        Kind::Forget | Kind::Tag | Kind::Invalid => u64::MAX,
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
        recording::{pool::Claim, ring_settings::RingSettings},
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
            let readers = Readers::new(
                Arc::clone(pool),
                Trading::ALL,
                clocks.now().ticks,
                8,
                Duration::from_millis(100),
            );
            let aggregator = test_aggregator(&clocks);
            let observers = Observers::new(vec![], vec![], Trading::ALL);
            Self { readers, clocks, aggregator, observers }
        }

        fn pass(&mut self, kind: PassKind) -> DrainedRings {
            let Self { readers, clocks, aggregator, observers } = self;
            let pass = readers.refresh(kind, aggregator.pass() + 1);
            clocks.read();
            aggregator.begin_pass(clocks.now().ticks);
            readers.drain(kind, pass, clocks, aggregator, observers, &mut EventIds::EMPTY.clone())
        }

        /// Returns the numbers of produced, delivered, overwritten and pending records.
        fn counts(&self) -> [u64; 4] {
            let mut health = Health::default();
            self.readers.add_to(&mut health);
            [health.produced, health.delivered, health.overwritten, health.pending]
        }
    }

    fn pool(lanes: usize) -> Arc<Pool> {
        Arc::new(Pool::new(RingSettings::fixed(lanes, 64), HostClock::monotonic()).unwrap())
    }

    fn claim(pool: &Arc<Pool>, name: &str) -> Claim {
        pool.claim(|| name.into()).unwrap()
    }

    /// Writes this many records into a ring, and returns the tick of the first one.
    fn record(claim: &Claim, records: u32) -> u64 {
        let (pool, event) = (claim.pool(), Trading::OrderPlacement.id());
        let producer = pool.lane(claim.lane_index).producer().unwrap();
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
        for (number, name, tid) in [(1, "first", 7), (2, "second", 8), (3, "second", 9)] {
            let identity = Identity { name: name.into(), tid: Some(tid) };
            let thread = pool.claim(|| identity.clone()).unwrap();
            record(&thread, 10);
            drop(thread);
            for (pass, left) in [(1, true), (2, true), (3, false)] {
                assert!(pool.lane(0).is_taken(), "pass {pass}");
                assert_eq!(parts.pass(PassKind::DueUpTo(4)).has_more, left, "pass {pass}");
                assert_eq!(*parts.readers.names().identity(number), identity);
            }
            assert!(pool.lane(0).is_free());
        }
        assert_eq!(parts.counts(), [30, 30, 0, 0]);
        assert_eq!(parts.readers.produced(), 30);
    }
}
