//! What is drained from a ring, where a START and its END go together, counts as what is recorded one by one; and what nobody asks for,
//! so that samples wait from one pass to the next, as what is asked for after every pass.

use core::fmt::Write as _;

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Aggregator, EventId, EventInfo, Exemplar, Outcome, Quantile, Record, Ring, Scope, Shape, Slot,
    Storage, Threshold, TickRate, Unit, WindowSpec,
};

use crate::memory::Memory;

const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const RING: usize = 64;

fn id(id: u16) -> EventId {
    EventId::new(id).unwrap()
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A span without others in it: of an event, so many milliseconds ago, this long.
    SpanGuard(u16, u64, u64),
    Start(u16, u64),
    End(u16, u64, u64),
    Forget(u16, u64),
    Number(u64),
    /// So many milliseconds pass, and what is in the ring is drained; whether it is asked for then.
    Pass(u64, bool),
    /// The clock begins again, so many milliseconds before.
    Back(u64),
    Lost,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    // Few ticks and lengths, so that spans are interchangeable; and some of the future.
    let (event, ago, length) = (1..=4_u16, prop_oneof![0..30_u64, 0..3_000_u64], 0..3_u64);
    prop_oneof![
        12 => (event.clone(), ago.clone(), length.clone()).prop_map(|(event, ago, length)| Step::SpanGuard(event, ago, length)),
        4 => (event.clone(), ago.clone()).prop_map(|(event, ago)| Step::Start(event, ago)),
        4 => (event.clone(), ago.clone(), length).prop_map(|(event, ago, length)| Step::End(event, ago, length)),
        1 => (event, ago).prop_map(|(event, ago)| Step::Forget(event, ago)),
        1 => (0..5_u64).prop_map(Step::Number),
        4 => (prop_oneof![0..300_u64, Just(70_000)], any::<bool>()).prop_map(|(pause, asks)| Step::Pass(pause, asks)),
        1 => prop_oneof![0..30_u64, Just(2_000)].prop_map(Step::Back),
        1 => Just(Step::Lost),
    ]
}

impl Step {
    /// What is recorded then.
    pub(crate) fn records(&self, now: u64) -> Vec<Record> {
        let tick = |ago: u64| (now + 20 * MILLISECOND).saturating_sub(ago * MILLISECOND);
        // Some stand for 8 of their like.
        let k = |ago: u64| if (tick(ago) / MILLISECOND).is_multiple_of(5) { 3 } else { 0 };
        // Spans that agree in event and start have the same tag, as nobody knows which of them is open.
        let tag = |ago: u64| tick(ago) / MILLISECOND;
        match *self {
            Self::SpanGuard(event, ago, length) => {
                let (start, length) = (tick(ago), length * MILLISECOND);
                let end = Record::end(start + length, id(event), k(ago), Outcome::Error, length);
                vec![Record::start(start, id(event), k(ago), tag(ago)), end]
            }
            Self::Start(event, ago) => vec![Record::start(tick(ago), id(event), k(ago), tag(ago))],
            Self::End(event, ago, length) => {
                let length = length * MILLISECOND;
                vec![Record::end(tick(ago) + length, id(event), k(ago), Outcome::Ok, length)]
            }
            Self::Forget(event, ago) => {
                vec![Record::forget(
                    tick(ago),
                    id(event),
                    0,
                    tailwatch_core::DiscardReason::Discarded,
                )]
            }
            Self::Number(number) => vec![Record::value(now, id(3), 0, number)],
            Self::Lost | Self::Pass(..) | Self::Back(_) => vec![],
        }
    }
}

struct Both {
    one_by_one: Aggregator<Memory<u32>>,
    drained: Aggregator<Memory<u32>>,
    infos: [EventInfo; 4],
}

impl Both {
    fn new(in_flight: usize, samples: usize, now: u64) -> Self {
        const LIMITS: &[Threshold] =
            &[Threshold::duration(Quantile::P95, core::time::Duration::from_millis(1))];
        let infos = [
            EventInfo { limits: LIMITS, ..EventInfo::new(id(1), "one") },
            EventInfo::new(id(2), "two"),
            EventInfo { unit: Unit::One, ..EventInfo::new(id(3), "number") },
            EventInfo {
                expected_interval: Some(core::time::Duration::from_micros(300)),
                ..EventInfo::new(id(4), "four")
            },
        ];
        let shape =
            Shape { in_flight, samples, scale: 1, slowest: 2, ..Shape::server(&infos, &WINDOWS) };
        let new = || {
            Aggregator::new(
                shape,
                &WINDOWS,
                &infos,
                TickRate::NANOSECONDS,
                now,
                Memory::new(&shape),
            )
            .unwrap()
        };
        Self { one_by_one: new(), drained: new(), infos }
    }

    fn each(&mut self, mut work: impl FnMut(&mut Aggregator<Memory<u32>>)) {
        work(&mut self.one_by_one);
        work(&mut self.drained);
    }
}

/// All that can be asked for.
pub(crate) fn told<S: Storage>(aggregator: &mut Aggregator<S>, infos: &[EventInfo]) -> String {
    let mut told = format!("{:?}", aggregator.counters());
    for info in infos {
        let _ =
            write!(told, "\n{:?} {:?} ", aggregator.pairing(info.id), aggregator.outcomes(info.id));
        let _ = write!(told, "{:?} ", aggregator.oldest(info.id));
        for period in [Scope::Window(0), Scope::Window(1), Scope::Total] {
            let (plain, corrected) =
                (aggregator.summary(info.id, period), aggregator.corrected(info.id, period));
            let _ = write!(told, "{plain:?} {corrected:?} ");
            let mut room = [Exemplar::default(); 2];
            let _ = write!(told, "{:?} ", aggregator.slowest(info.id, period, &mut room).0);
        }
    }
    aggregator.limits(|status| {
        let _ = write!(told, "\n{status:?}");
    });
    told
}

fn agree(in_flight: usize, samples: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut now = 100_000 * MILLISECOND;
    let mut both = Both::new(in_flight, samples, now - 10_000 * MILLISECOND);
    let mut ring = Box::new(Ring::<[Slot; RING]>::new());
    let (producer, mut consumer) = ring.split();
    both.each(|aggregator| aggregator.begin_pass(now));
    let mut pending = vec![];
    for step in steps.into_iter().chain([Step::Pass(1, true)]) {
        for record in step.records(now) {
            producer.push(record);
            pending.push(record);
        }
        if matches!(step, Step::Lost) {
            both.each(Aggregator::mark_lost);
        }
        // No more than the ring surely holds.
        if !matches!(step, Step::Pass(..) | Step::Back(_)) && pending.len() + 2 <= RING - RING / 8 {
            continue;
        }
        let mut asks = false;
        match step {
            Step::Pass(milliseconds, is_asked) => {
                now += milliseconds * MILLISECOND;
                asks = is_asked;
            }
            Step::Back(milliseconds) => now -= milliseconds * MILLISECOND,
            _ => (),
        }
        both.each(|aggregator| aggregator.begin_pass(now));
        consumer.refresh();
        let mut samples = vec![];
        let drained = both
            .drained
            .drain(3, &mut consumer, |record, is_sample| samples.push((record, is_sample)));
        prop_assert_eq!(drained.overwritten, 0);
        let expected: Vec<_> =
            pending.drain(..).map(|record| (record, both.one_by_one.record(3, record))).collect();
        prop_assert_eq!(samples, expected, "the same records, in order, and samples the same");
        both.each(|aggregator| {
            aggregator.expire_orphans(aggregator.pass());
            aggregator.watch(now, |_| ());
        });
        let expected = told(&mut both.one_by_one, &both.infos);
        if asks {
            prop_assert_eq!(told(&mut both.drained, &both.infos), expected);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_drained_counts_as_what_is_recorded_one_by_one(
        in_flight in prop_oneof![Just(0_usize), Just(2), Just(4), Just(32)],
        samples in prop_oneof![Just(0_usize), Just(1), Just(8), Just(64), Just(100)],
        steps in vec(step(), 0..300),
    ) {
        agree(in_flight, samples, steps)?;
    }
}
