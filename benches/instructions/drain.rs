//! The drain, from a full ring to summaries, with the ticks of a script: under callgrind, measured
//! durations would vary.

use core::{error::Error, hint::black_box, time::Duration};

use tailwatch_core::{
    Aggregator, Consumer, Counters, EventId, EventInfo, Outcome, Producer, Quantile, Record, Ring,
    Scope, Shape, Slot, Threshold, TickRate, WindowSpec,
};

use crate::{count, memory::Memory};

/// The records in the ring at the beginning of a pass: the ring is full.
const RECORDS: u32 = 16_384;

/// The number of passes, and the ticks from one to the next. The last passes lie in another slice
/// of the shortest window than the first.
const PASSES: u32 = 16;
const BETWEEN_PASSES: u64 = 10_000_000;

/// All scopes of a summary.
const SCOPES: [Scope; 4] = [Scope::Window(0), Scope::Window(1), Scope::Window(2), Scope::Total];

/// The limit that samples are compared with. Some samples exceed it.
const LIMITS: &[Threshold] = &[Threshold::duration(Quantile::P95, Duration::from_nanos(900))];

type FullRing = Ring<[Slot; RECORDS as usize]>;

/// How the records of spans follow each other in the ring.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// Each START is followed by its END.
    OneByOne,
    /// Two STARTs are followed by the two ENDs.
    Nested,
}

/// An aggregator, the ring that it drains, and the current tick.
struct Fixture<'r> {
    events: Vec<EventInfo>,
    aggregator: Aggregator<Memory<u32>>,
    producer: Producer<'r>,
    consumer: Consumer<'r>,
    now: u64,
}

impl<'r> Fixture<'r> {
    fn new(
        events: u16,
        limits: &'static [Threshold],
        ring: &'r mut FullRing,
    ) -> Result<Self, Box<dyn Error>> {
        let info = |id| EventInfo { limits, ..EventInfo::new(id, format!("event_{id}").leak()) };
        let events: Vec<_> = (1..=events).filter_map(EventId::new).map(info).collect();
        let shape = Shape::server(&events, &WindowSpec::DEFAULT);
        let aggregator = Aggregator::new(
            &WindowSpec::DEFAULT,
            &events,
            TickRate::NANOSECONDS,
            0,
            Memory::new(&shape),
        )?;
        let (producer, consumer) = ring.split();
        Ok(Self { events, aggregator, producer, consumer, now: 0 })
    }

    /// Records `records` records: spans of all events in turn, with varying durations of up to 2
    /// µs.
    fn record(&self, records: u32, order: Order) {
        let spans = u64::from(records / 2);
        let ids = self.events.iter().map(|info| info.id).cycle();
        let span = |(n, id): (u64, EventId)| (self.now + n * 1_000, id, 100 + n * 7_919 % 900, n);
        let mut spans = (0..spans).zip(ids).map(span);
        let start = |at, id, tag| self.producer.push(Record::start(at, id, 0, tag));
        let end = |at, id, length| {
            self.producer.push(Record::end(at + length, id, 0, Outcome::Ok, length));
        };
        while let Some((at, id, length, tag)) = spans.next() {
            start(at, id, tag);
            // The outer span ends after the inner one.
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

    /// Drains the ring in one pass and returns the number of records.
    fn pass(&mut self) -> u64 {
        let as_of = self.now;
        self.consumer.refresh();
        self.aggregator.begin_pass(as_of + 1);
        let drained = self.aggregator.drain(0, &mut self.consumer, |_, _| ());
        self.aggregator.expire_orphans(self.aggregator.pass());
        self.aggregator.evaluate_limits(as_of, |_| ());
        drained.delivered
    }

    /// Counts the instructions of passes over the full ring.
    fn count_passes(&mut self, row: &str, order: Order) {
        for _ in 0..PASSES {
            self.record(RECORDS, order);
            self.now += BETWEEN_PASSES;
            let mut taken = 0;
            count(row, RECORDS, || taken = self.pass());
            assert_eq!(taken, u64::from(RECORDS), "{row}: the pass drains a full ring");
        }
        assert_eq!(
            self.aggregator.counters(),
            Counters::default(),
            "{row}: no record is invalid, late or an orphan"
        );
    }

    /// Counts the instructions of the summaries of all events over all scopes.
    fn count_summaries(&mut self, row: &str) {
        let summaries =
            u32::try_from(self.events.len() * SCOPES.len()).expect("the summaries are few");
        let mut found = 0;
        count(row, summaries, || {
            for info in &self.events {
                for scope in SCOPES {
                    let summary = black_box(self.aggregator.describe(info.id, scope));
                    found += u32::from(summary.is_some());
                }
            }
        });
        assert_eq!(found, summaries, "{row}: every event has samples in every scope");
    }
}

/// Counts the instructions of the drain and of summaries.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    for (row, events, limits, order) in [
        ("drain/1_event", 1, &[] as &[_], Order::OneByOne),
        ("drain/8_events", 8, &[], Order::OneByOne),
        ("drain/64_events", 64, &[], Order::OneByOne),
        ("drain/8_events/nested", 8, &[], Order::Nested),
        ("drain/8_events/limits", 8, LIMITS, Order::OneByOne),
    ] {
        let mut ring = Box::new(Ring::new());
        Fixture::new(events, limits, &mut ring)?.count_passes(row, order);
    }

    // With 4,096 records all samples are kept; with a full ring there are too many of each event.
    for (row, records) in [("summary/exact", 4_096), ("summary/counted", RECORDS)] {
        let mut ring = Box::new(Ring::new());
        let mut world = Fixture::new(8, LIMITS, &mut ring)?;
        world.record(records, Order::OneByOne);
        world.now += BETWEEN_PASSES;
        world.pass();
        world.count_summaries(row);
    }
    Ok(())
}
