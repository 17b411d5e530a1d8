extern crate std;

use std::{boxed::Box, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    event::EventId,
    record::Record,
    ring::{Ring, consumer::Consumer, producer::Producer, slot::Slot},
};

/// The capacities of the rings, and their sum.
const CAPACITIES: [usize; RINGS] = [8, 64, 16];
const RINGS: usize = 3;

/// Everything that happens in one pass.
#[derive(Clone, Debug)]
struct Step {
    /// For each ring, how many records are written before the pass starts, between its start and
    /// its refreshes, and after its refreshes.
    pushes: [[u8; 3]; RINGS],
    max_records: Option<usize>,
    /// The rings that the pass leaves alone.
    skips: [bool; RINGS],
}

fn steps(skips: impl Strategy<Value = bool> + Clone) -> impl Strategy<Value = Vec<Step>> {
    let pushes = prop_oneof![3 => 0..4_u8, 2 => 0..30_u8, 1 => 0..200_u8];
    let pushes = [
        [pushes.clone(), pushes.clone(), pushes.clone()],
        [pushes.clone(), pushes.clone(), pushes.clone()],
        [pushes.clone(), pushes.clone(), pushes],
    ];
    let max_records = prop_oneof![
        1 => Just(None),
        6 => (0..40_usize).prop_map(Some),
    ];
    let step = (pushes, max_records, [skips.clone(), skips.clone(), skips])
        .prop_map(|(pushes, max_records, skips)| Step { pushes, max_records, skips });
    proptest::collection::vec(step, 1..60)
}

/// A ring with its drain's state, and the ticks of all records that were written into it.
struct Source<'r> {
    producer: Producer<'r>,
    consumer: Consumer<'r>,
    progress: RingProgress,
    written: Vec<u64>,
}

impl Source<'_> {
    /// Returns how many of the written records have been delivered or overwritten. They are the
    /// oldest.
    fn consumed(&self) -> usize {
        let total = self.consumer.total();
        usize::try_from(total.delivered + total.overwritten).unwrap()
    }
}

/// Rings, and a drain that makes passes over them.
struct Drain<'r> {
    sources: [Source<'r>; RINGS],
    first_ring: usize,
    /// The tick of the next record. No two records have the same.
    now: u64,
    /// For each pass and ring, how many records were written before the pass started.
    before: Vec<[usize; RINGS]>,
}

/// What a pass did.
struct Done {
    has_more: bool,
    drained: PassStart,
    /// The index of its ring and the tick of each delivered record.
    delivered: Vec<(usize, u64)>,
}

impl Drain<'_> {
    fn push(&mut self, pushes: &[[u8; 3]; RINGS], when: usize) {
        for (source, pushes) in self.sources.iter_mut().zip(pushes) {
            for _ in 0..pushes[when] {
                source.producer.push(Record::value(self.now, EventId::new(1).unwrap(), 0, 0));
                source.written.push(self.now);
                self.now += 1;
            }
        }
    }

    fn pass(&mut self, Step { pushes, max_records, skips }: &Step) -> Done {
        self.push(pushes, 0);
        self.before.push(self.sources.each_ref().map(|source| source.written.len()));
        let start = PassStart { pass: self.before.len() as u64 - 1, tick: self.now };
        let mut pass = RingPass::new(start, *max_records, self.first_ring);
        self.push(pushes, 1);
        for Source { consumer, progress, .. } in &mut self.sources {
            if pass.refreshes(progress) {
                consumer.refresh();
            }
        }
        self.push(pushes, 2);
        let mut delivered = vec![];
        let mut visited = [false; RINGS];
        for index in pass.order(RINGS) {
            assert!(!core::mem::replace(&mut visited[index], true), "ring {index} twice");
            let Source { consumer, progress, .. } = &mut self.sources[index];
            if skips[index] {
                pass.skip(progress, consumer);
            } else {
                pass.drain(index, progress, consumer, |consumer, max_records| {
                    consumer.drain_up_to(max_records, |record| {
                        delivered.push((index, record.ticks()));
                    })
                });
            }
        }
        assert_eq!(visited, [true; RINGS]);
        self.first_ring = pass.next_first_ring();
        Done { has_more: pass.has_more(), drained: pass.drained(), delivered }
    }
}

/// Calls `test` with a drain of empty rings.
fn with_drain(test: impl FnOnce(Drain<'_>)) {
    let rings = (
        Box::new(Ring::<[Slot; CAPACITIES[0]]>::new()),
        Box::new(Ring::<[Slot; CAPACITIES[1]]>::new()),
        Box::new(Ring::<[Slot; CAPACITIES[2]]>::new()),
    );
    let rings: [&Ring; RINGS] = [&*rings.0, &*rings.1, &*rings.2];
    let sources = rings.map(|ring| Source {
        producer: ring.attach_producer(),
        consumer: ring.attach_consumer(),
        progress: RingProgress::new(PassStart { pass: 0, tick: 0 }),
        written: vec![],
    });
    test(Drain { sources, first_ring: 0, now: 0, before: vec![[0; RINGS]] });
}

/// A pass that drains all rings, and during which nothing is written.
fn quiet(max_records: usize) -> Step {
    Step { pushes: [[0; 3]; RINGS], max_records: Some(max_records), skips: [false; RINGS] }
}

/// Returns the largest number of passes that draining `rings` takes, if a pass delivers at most
/// `max_records` records.
fn passes(max_records: usize, rings: impl Iterator<Item = usize>) -> usize {
    rings.map(|ring| CAPACITIES[ring].div_ceil(max_records)).sum()
}

proptest! {
    #[test]
    fn what_is_claimed_to_be_drained_is_drained(
        steps in steps(any::<bool>()),
        last in 1..40_usize,
    ) {
        with_drain(|mut drain| {
            for step in steps {
                let consumed = drain.sources.each_ref().map(Source::consumed);
                let done = drain.pass(&step);
                let max_records = step.max_records.map_or(usize::MAX, |records| records.max(1));
                assert!(done.delivered.len() <= max_records);
                assert!(!done.has_more || step.max_records.is_some());
                let claimed = usize::try_from(done.drained.pass).unwrap();
                for (ring, source) in drain.sources.iter().enumerate() {
                    let earlier =
                        source.written.iter().filter(|tick| **tick < done.drained.tick).count();
                    assert!(source.consumed() >= earlier.max(drain.before[claimed][ring]));
                    let drains_all = step.max_records.is_none() && !step.skips[ring];
                    let before = drain.before.last().unwrap()[ring];
                    assert!(!drains_all || source.consumed() >= before);
                    // The delivered records are among those that the pass consumed, in their order.
                    let mut rest = source.written[consumed[ring]..source.consumed()].iter();
                    let mut delivered = done.delivered.iter().filter(|(from, _)| *from == ring);
                    assert!(delivered.all(|(_, tick)| rest.any(|written| written == tick)));
                }
            }
            // Once nothing is written any more, everything is drained, and this is known.
            let mut has_more = true;
            for _ in 0..2 * passes(last, 0..RINGS) + 2 {
                has_more = drain.pass(&quiet(last)).has_more;
            }
            assert!(!has_more);
            assert_eq!(
                drain.pass(&quiet(last)).drained,
                PassStart { pass: drain.before.len() as u64 - 1, tick: drain.now }
            );
            for source in &drain.sources {
                assert_eq!(source.consumed(), source.written.len());
            }
        });
    }

    /// However fast the producers are, each ring is read again after at most as many passes as the
    /// other rings need, and what is known never falls behind by more than two such rounds.
    #[test]
    fn no_ring_starves_and_the_claim_advances(
        steps in steps(Just(false)),
        max_records in 1..40_usize,
    ) {
        with_drain(|mut drain| {
            // The number of passes since each ring was read or empty.
            let mut waits = [0; RINGS];
            for step in steps.into_iter().cycle().take(150) {
                let consumed = drain.sources.each_ref().map(Source::consumed);
                let done = drain.pass(&Step { max_records: Some(max_records), ..step });
                for (ring, source) in drain.sources.iter().enumerate() {
                    let is_waiting =
                        source.consumed() == consumed[ring] && source.consumer.pending() > 0;
                    waits[ring] = if is_waiting { waits[ring] + 1 } else { 0 };
                    let others = (0..RINGS).filter(|other| *other != ring);
                    assert!(waits[ring] <= passes(max_records, others), "ring {ring} waits");
                }
                let lag = drain.before.len() - 1 - usize::try_from(done.drained.pass).unwrap();
                assert!(lag <= 2 * passes(max_records, 0..RINGS), "{lag} passes behind");
            }
        });
    }
}

/// Returns how many records each ring delivered.
fn counts(done: &Done) -> [usize; RINGS] {
    core::array::from_fn(|ring| done.delivered.iter().filter(|(from, _)| *from == ring).count())
}

#[test]
fn a_bounded_pass_continues_where_the_previous_one_stopped() {
    with_drain(|mut drain| {
        let at_start = |pushes: [u8; RINGS]| pushes.map(|pushes| [pushes, 0, 0]);
        let done = drain.pass(&Step { pushes: at_start([5, 5, 5]), ..quiet(7) });
        assert_eq!((counts(&done), done.has_more, done.drained.pass), ([5, 2, 0], true, 0));
        // Ring 1 is unfinished, so its new record waits. Ring 2 was not read, so it is refreshed.
        let done = drain.pass(&Step { pushes: at_start([1, 1, 1]), ..quiet(8) });
        assert_eq!((counts(&done), done.has_more, done.drained.pass), ([0, 3, 5], true, 0));
        let done = drain.pass(&quiet(0));
        assert_eq!((counts(&done), done.has_more, done.drained.pass), ([0, 0, 1], true, 1));
        let done = drain.pass(&quiet(8));
        assert_eq!((counts(&done), done.has_more, done.drained.pass), ([1, 1, 0], false, 4));
        assert_eq!(drain.pass(&quiet(8)).drained, PassStart { pass: 5, tick: drain.now });
    });
}

#[test]
fn overwritten_records_do_not_count_towards_the_maximum() {
    with_drain(|mut drain| {
        // 100 records each, of which ring 0 holds 8, and then 100 more in ring 0 after its refresh.
        let done = drain.pass(&Step { pushes: [[100, 0, 100], [20, 0, 0], [0; 3]], ..quiet(10) });
        assert_eq!((counts(&done), done.has_more), ([0, 10, 0], true));
        assert_eq!(drain.sources[0].consumer.total().overwritten, 100);
    });
}

#[test]
fn a_ring_that_is_left_alone_is_refreshed_again() {
    with_drain(|mut drain| {
        let pushes = [[3, 0, 0], [0; 3], [0; 3]];
        let alone = Step { pushes, skips: [true, false, false], ..quiet(2) };
        assert_eq!((drain.pass(&alone).has_more, drain.pass(&alone).drained.pass), (false, 0));
        assert_eq!(drain.sources[0].consumer.pending(), 6);
        assert_eq!(counts(&drain.pass(&quiet(2))), [2, 0, 0]);
        // Now the ring is unfinished: bounded passes that leave it alone change nothing.
        drain.pass(&alone);
        drain.pass(&alone);
        assert_eq!(drain.sources[0].consumer.pending(), 4);
        // A pass without a maximum refreshes every ring.
        drain.pass(&Step { max_records: None, ..alone });
        assert_eq!(drain.sources[0].consumer.pending(), 13);
    });
}
