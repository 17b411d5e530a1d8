//! Compares the tags of the slowest DURATIONs, and the number of TAGs whose record is gone, with
//! what the test knows: which records it wrote, and which of them were delivered.

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Aggregator, Compact, EventId, EventInfo, Exemplar, Kind, MAX_PAYLOAD, Outcome, Position,
    Reader, Record, Repr, Ring, Scope, Shape, Slot, TickRate, Wide, WindowSpec,
};

use crate::memory::Memory;

const WINDOWS: [WindowSpec; 1] = [WindowSpec::SECOND];
const SLOWEST: usize = 6;
const RINGS: usize = 2;
const RING: usize = 16;
/// The tick of the first pass.
const FIRST: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
enum Step {
    /// Writes a DURATION into a ring. Its tick is so many ticks after that of the pass.
    Duration { ring: usize, event: u16, ahead: u64 },
    /// Writes a TAG with the event and the tick of the last record of a ring, plus `ahead` ticks.
    Tag { ring: usize, ahead: u64, tag: u64 },
    /// Writes a TAG with another event than the last record of a ring.
    TagOfOther { ring: usize },
    /// Writes a whole span.
    Span { ring: usize },
    /// Begins a pass so many ticks later, in which the consumer or another reader drains at most
    /// this many records of a ring.
    Pass { by_consumer: bool, ring: usize, later: u64, max_records: usize },
    /// Begins a pass in which each ring is drained to its end, and computes a summary.
    DrainAll,
}

fn step() -> impl Strategy<Value = Step> {
    let tag = prop_oneof![3 => 0..100_u64, 1 => Just(MAX_PAYLOAD), 1 => any::<u64>()];
    // Few ticks, so that records of an event share them.
    let ahead = prop_oneof![8 => 0..2_u64, 1 => Just(30_000_000)];
    let max_records = prop_oneof![3 => 1..4_usize, 1 => Just(usize::MAX)];
    let later = prop_oneof![Just(0), Just(1), Just(300_000_000)];
    prop_oneof![
        8 => (0..RINGS, 1..=2_u16, ahead)
            .prop_map(|(ring, event, ahead)| Step::Duration { ring, event, ahead }),
        8 => (0..RINGS, prop_oneof![9 => Just(0), 1 => Just(1)], tag)
            .prop_map(|(ring, ahead, tag)| Step::Tag { ring, ahead, tag }),
        1 => (0..RINGS).prop_map(|ring| Step::TagOfOther { ring }),
        1 => (0..RINGS).prop_map(|ring| Step::Span { ring }),
        8 => (any::<bool>(), 0..RINGS, later, max_records)
            .prop_map(|(by_consumer, ring, later, max_records)| {
                Step::Pass { by_consumer, ring, later, max_records }
            }),
        1 => Just(Step::DrainAll),
    ]
}

fn id(id: u16) -> EventId {
    EventId::new(id).unwrap()
}

/// What was written into a ring, and what of it was delivered.
#[derive(Default)]
struct Written {
    records: Vec<Record>,
    /// Indices in `records`, with whether the record was a sample or a TAG of a DURATION.
    delivered: Vec<(usize, bool)>,
    /// How many records were delivered or overwritten.
    read: usize,
}

impl Written {
    /// Returns the tag of the DURATION with this index, if it was delivered with its TAG.
    fn tag_of(&self, index: usize) -> Option<u64> {
        let is_delivered = |index| self.delivered.iter().any(|(other, _)| *other == index);
        let (duration, tag) = (self.records[index], *self.records.get(index + 1)?);
        let belongs = (duration.kind(), tag.kind()) == (Kind::Duration, Kind::Tag)
            && (duration.event(), duration.ticks()) == (tag.event(), tag.ticks());
        (belongs && is_delivered(index) && is_delivered(index + 1)).then(|| tag.payload())
    }
}

/// The readers of all rings that one aggregator reads by, and what each has read.
struct Side<'r, R: Repr, P> {
    aggregator: Aggregator<Memory<u32, R>>,
    readers: [Reader<'r, P>; RINGS],
    written: [Written; RINGS],
}

impl<'r, R: Repr, P: Position> Side<'r, R, P> {
    fn new(readers: [Reader<'r, P>; RINGS]) -> Self {
        let infos =
            [(1, "one"), (2, "two"), (3, "span")].map(|(n, name)| EventInfo::new(id(n), name));
        let shape = Shape { slowest: SLOWEST, in_flight: 8, ..Shape::server(&infos, &WINDOWS) };
        let storage = Memory::<u32, R>::new(&shape);
        let mut aggregator =
            Aggregator::new(&WINDOWS, &infos, TickRate::NANOSECONDS, 0, storage).unwrap();
        aggregator.begin_pass(FIRST);
        Self { aggregator, readers, written: Default::default() }
    }

    fn pass(&mut self, now: u64, ring: usize, max_records: usize) {
        self.aggregator.begin_pass(now);
        self.drain(ring, max_records);
    }

    fn drain_all(&mut self, now: u64) -> Result<(), TestCaseError> {
        self.aggregator.begin_pass(now);
        (0..RINGS).for_each(|ring| self.drain(ring, usize::MAX));
        check(&mut self.aggregator, &self.written)
    }

    /// Drains records of a ring, and notes which of them were delivered.
    fn drain(&mut self, ring: usize, max_records: usize) {
        let (reader, written) = (&mut self.readers[ring], &mut self.written[ring]);
        reader.refresh();
        let mut delivered = vec![];
        let observe = |record, is_noted| delivered.push((record, is_noted));
        let drained = self.aggregator.drain_up_to(ring as u16, reader, max_records, observe);
        // Only the oldest records are overwritten.
        let first = written.read + drained.overwritten as usize;
        for (index, (record, is_noted)) in (first..).zip(&delivered) {
            assert_eq!(*record, written.records[index]);
            written.delivered.push((index, *is_noted));
        }
        written.read = first + delivered.len();
    }
}

fn run<R: Repr>(steps: &[Step]) -> Result<(), TestCaseError> {
    let rings = [(); RINGS].map(|()| Box::new(Ring::<[Slot; RING]>::new()));
    let rings = rings.each_ref().map(|ring| -> &Ring { &**ring });
    let producers = rings.map(Ring::attach_producer);
    let mut inside = Side::<R, _>::new(rings.map(Ring::attach_consumer));
    let mut outside = Side::<R, _>::new(rings.map(Ring::reader_from_oldest));
    let (mut now, mut length, mut last) = (FIRST, 0, [None::<Record>; RINGS]);
    for step in steps.iter().chain([&Step::DrainAll]) {
        let newest = last;
        let mut push = |ring: usize, record: Record| {
            producers[ring].push(record);
            last[ring] = Some(record);
            inside.written[ring].records.push(record);
            outside.written[ring].records.push(record);
        };
        match *step {
            Step::Duration { ring, event, ahead } => {
                // Each length is different, so that the sample can be recognised.
                length += 1_000;
                push(ring, Record::duration(now + ahead, id(event), 0, length));
            }
            Step::Tag { ring, ahead, tag } => {
                if let Some(newest) = newest[ring] {
                    let event = newest.event().unwrap();
                    push(ring, Record::tag(newest.ticks() + ahead, event, 0, tag));
                }
            }
            Step::TagOfOther { ring } => {
                if let Some(newest) = newest[ring] {
                    let other = id(newest.event().unwrap().get() % 2 + 1);
                    push(ring, Record::tag(newest.ticks(), other, 0, 5));
                }
            }
            Step::Span { ring } => {
                // No TAG has the tick of this START.
                push(ring, Record::start(now - 500, id(3), 0, 3));
                push(ring, Record::end(now, id(3), 0, Outcome::Ok, 500));
            }
            Step::Pass { by_consumer, ring, later, max_records } => {
                now += later;
                if by_consumer {
                    inside.pass(now, ring, max_records);
                } else {
                    outside.pass(now, ring, max_records);
                }
            }
            Step::DrainAll => {
                inside.drain_all(now)?;
                outside.drain_all(now)?;
            }
        }
    }
    Ok(())
}

/// Compares the slowest samples and the counts with what was delivered.
fn check<R: Repr>(
    aggregator: &mut Aggregator<Memory<u32, R>>,
    written: &[Written; RINGS],
) -> Result<(), TestCaseError> {
    let mut orphans = 0;
    for written in written {
        for (index, is_noted) in &written.delivered {
            if written.records[*index].kind() == Kind::Tag {
                let has_duration = *index > 0 && written.tag_of(*index - 1).is_some();
                prop_assert_eq!(*is_noted, has_duration);
                orphans += u64::from(!has_duration);
            }
        }
    }
    prop_assert_eq!(aggregator.counters().orphan_tags, orphans);
    for event in [1, 2].map(id) {
        let mut expected: Vec<_> = written
            .iter()
            .zip(0..)
            .flat_map(|(written, source)| {
                written.delivered.iter().map(move |(index, _)| (written, *index, source))
            })
            .filter(|(written, index, _)| {
                let record = written.records[*index];
                record.kind() == Kind::Duration && record.event() == Some(event)
            })
            .map(|(written, index, source)| {
                let record = written.records[index];
                let start = record.ticks() - record.payload();
                (record.payload(), start, written.tag_of(index), source)
            })
            .collect();
        expected.sort_unstable_by_key(|(length, ..)| core::cmp::Reverse(*length));
        expected.truncate(SLOWEST);
        let mut room = [Exemplar::default(); SLOWEST];
        let (slowest, converter) = aggregator.slowest(event, Scope::Total, &mut room);
        let slowest: Vec<_> = slowest
            .iter()
            .map(|slow| (converter.value(slow.value()), slow.start(), slow.tag(), slow.source()))
            .collect();
        prop_assert_eq!(slowest, expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_tag_directly_behind_a_duration_belongs_to_it(
        is_compact in any::<bool>(),
        steps in vec(step(), 0..200),
    ) {
        if is_compact { run::<Compact>(&steps)?; } else { run::<Wide>(&steps)?; }
    }
}
