//! The drain: from a full ring to summaries, at the ticks of a script, since how long spans take changes where they are counted.

use core::{error::Error, hint::black_box, time::Duration};

use tailwatch_core::{
    Aggregator, Consumer, Counters, EventId, EventInfo, Outcome, Producer, Quantile, Record, Ring,
    Scope, Shape, Slot, Threshold, TickRate, WindowSpec,
};

use crate::{count, memory::Memory};

/// Records in a ring at the beginning of a pass: all that it holds.
const RECORDS: u32 = 16_384;

/// Passes, and the ticks from one to the next: the last ones lie in another slice of the shortest window.
const PASSES: u32 = 16;
const BETWEEN_PASSES: u64 = 10_000_000;

/// As in the real drain, the last one is the total.
const PERIODS: [Scope; 4] = [Scope::Window(0), Scope::Window(1), Scope::Window(2), Scope::Total];

/// Of each sample it is counted whether it is longer, as some are.
const LIMITS: &[Threshold] = &[Threshold::duration(Quantile::P95, Duration::from_nanos(900))];

type FullRing = Ring<[Slot; RECORDS as usize]>;

/// How spans lie in the ring.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// A START, and the END behind it.
    OneByOne,
    /// Two STARTs, and the two ENDs behind them.
    Nested,
}

/// An aggregator, the ring that it drains, and the time.
struct World<'r> {
    events: Vec<EventInfo>,
    aggregator: Aggregator<Memory<u32>>,
    producer: Producer<'r>,
    consumer: Consumer<'r>,
    now: u64,
}

impl<'r> World<'r> {
    fn new(
        events: u16,
        limits: &'static [Threshold],
        ring: &'r mut FullRing,
    ) -> Result<Self, Box<dyn Error>> {
        let info = |id| EventInfo { limits, ..EventInfo::new(id, format!("event_{id}").leak()) };
        let events: Vec<_> = (1..=events).filter_map(EventId::new).map(info).collect();
        let shape = Shape::server(&events, &WindowSpec::DEFAULT);
        let aggregator = Aggregator::new(
            shape,
            &WindowSpec::DEFAULT,
            &events,
            TickRate::NANOSECONDS,
            0,
            Memory::new(&shape),
        )?;
        let (producer, consumer) = ring.split();
        Ok(Self { events, aggregator, producer, consumer, now: 0 })
    }

    /// Fills the ring with spans of all events in turn, of varying lengths below a microsecond.
    fn record(&self, records: u32, order: Order) {
        let spans = u64::from(records / 2);
        let ids = self.events.iter().map(|info| info.id).cycle();
        let span = |(n, id): (u64, EventId)| (self.now + n * 1_000, id, 100 + n * 7_919 % 900, n);
        let mut spans = (0..spans).zip(ids).map(span);
        let start = |at, id, tag| self.producer.push(Record::start(at, id, 0, tag));
        let end = |at, id, length| {
            self.producer.push(Record::end(at + length, id, 0, Outcome::Ok, length))
        };
        while let Some((at, id, length, tag)) = spans.next() {
            start(at, id, tag);
            // The outer one begins as if nothing were in it, and ends behind the other.
            let mut whole = length;
            if order == Order::Nested
                && let Some((at, id, length, tag)) = spans.next()
            {
                start(at, id, tag);
                end(at, id, length);
                whole = 2_000;
            }
            end(at, id, whole);
        }
    }

    /// A pass over the ring; how many records it took.
    fn pass(&mut self) -> u64 {
        let as_of = self.now;
        self.consumer.refresh();
        self.aggregator.begin_pass(as_of + 1);
        let drained = self.aggregator.drain(0, &mut self.consumer, |_, _| ());
        self.aggregator.expire_orphans(self.aggregator.pass());
        self.aggregator.watch(as_of, |_| ());
        drained.delivered
    }

    /// Has passes over the full ring counted.
    fn count_passes(&mut self, row: &str, order: Order) {
        for _ in 0..PASSES {
            self.record(RECORDS, order);
            self.now += BETWEEN_PASSES;
            let mut taken = 0;
            count(row, RECORDS, || taken = self.pass());
            assert_eq!(taken, u64::from(RECORDS), "{row}: the ring was full");
        }
        assert_eq!(
            self.aggregator.counters(),
            Counters::default(),
            "{row}: all of it was in order"
        );
    }

    /// Has the summaries of all that can be asked for counted.
    fn count_summaries(&mut self, row: &str) {
        let summaries = u32::try_from(self.events.len() * PERIODS.len()).expect("there are few");
        let mut told = 0;
        count(row, summaries, || {
            for info in &self.events {
                for period in PERIODS {
                    let summary = black_box(self.aggregator.describe(info.id, period));
                    told += u32::from(summary.is_some());
                }
            }
        });
        assert_eq!(told, summaries, "{row}: something happened in each");
    }
}

/// Has the drain counted.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    for (row, events, limits, order) in [
        ("drain/1_event", 1, &[] as &[_], Order::OneByOne),
        ("drain/8_events", 8, &[], Order::OneByOne),
        ("drain/64_events", 64, &[], Order::OneByOne),
        ("drain/8_events/nested", 8, &[], Order::Nested),
        ("drain/8_events/limits", 8, LIMITS, Order::OneByOne),
    ] {
        let mut ring = Box::new(Ring::new());
        World::new(events, limits, &mut ring)?.count_passes(row, order);
    }

    // Few enough samples of each event that all are kept, then too many.
    for (row, records) in [("summary/exact", 4_096), ("summary/counted", RECORDS)] {
        let mut ring = Box::new(Ring::new());
        let mut world = World::new(8, LIMITS, &mut ring)?;
        world.record(records, Order::OneByOne);
        world.now += BETWEEN_PASSES;
        world.pass();
        world.count_summaries(row);
    }
    Ok(())
}
