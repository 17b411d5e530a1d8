//! Compares an aggregator that drains a ring with one that drains the same records one by one. The
//! results must be the same.
//!
//! Draining processes a START together with the END after it, and a DURATION together with its TAG.
//! Only some of the passes compute
//! results from the drained aggregator, so in the others its samples stay staged until the next
//! pass.

use core::fmt::Write as _;

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Aggregator, Compact, CoveredOutcomes, EventId, EventInfo, Exemplar, Outcome, Quantile, Record,
    Repr, Ring, Scope, Shape, Slot, Storage, Threshold, TickRate, Unit, Wide, WindowSpec,
};

use crate::memory::Memory;

const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const RING: usize = 64;

fn id(id: u16) -> EventId {
    EventId::new(id).unwrap()
}

/// Something that writes records to the ring or calls the aggregators.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A START immediately followed by its END: the event, how many milliseconds ago it began, and
    /// its length in milliseconds.
    WholeSpan(u16, u64, u64),
    /// A START alone: the event, and how many milliseconds ago it began.
    Start(u16, u64),
    /// An END alone, with the same fields as `WholeSpan`.
    End(u16, u64, u64),
    /// A FORGET, with the same fields as `Start`.
    Forget(u16, u64),
    /// A DURATION, with the same fields as `WholeSpan`, and a TAG directly behind it.
    Tagged(u16, u64, u64),
    /// A TAG alone, with the same fields as `Start`. It may belong to a span that began there, or
    /// to a DURATION if one is directly before it.
    Tag(u16, u64),
    /// A FORGET that closes no span, with the same fields as `Start`.
    Negative(u16, u64),
    /// A VALUE.
    Number(u64),
    /// Advances the clock by this many milliseconds and drains the ring. If the flag is set,
    /// compares the results after that.
    Pass(u64, bool),
    /// Steps the clock back by this many milliseconds and drains the ring.
    Back(u64),
    /// Reports a loss of records.
    Lost,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    // Few different ticks and lengths, so that many spans are interchangeable. Some ticks lie in
    // the future.
    let (event, ago, length) = (1..=4_u16, prop_oneof![0..30_u64, 0..3_000_u64], 0..3_u64);
    prop_oneof![
        12 => (event.clone(), ago.clone(), length.clone())
            .prop_map(|(event, ago, length)| Step::WholeSpan(event, ago, length)),
        4 => (event.clone(), ago.clone()).prop_map(|(event, ago)| Step::Start(event, ago)),
        4 => (event.clone(), ago.clone(), length)
            .prop_map(|(event, ago, length)| Step::End(event, ago, length)),
        1 => (event.clone(), ago.clone()).prop_map(|(event, ago)| Step::Forget(event, ago)),
        4 => (event.clone(), ago.clone(), 0..3_u64)
            .prop_map(|(event, ago, length)| Step::Tagged(event, ago, length)),
        2 => (event.clone(), ago.clone()).prop_map(|(event, ago)| Step::Tag(event, ago)),
        1 => (event, ago).prop_map(|(event, ago)| Step::Negative(event, ago)),
        1 => (0..5_u64).prop_map(Step::Number),
        4 => (prop_oneof![0..300_u64, Just(70_000)], any::<bool>())
            .prop_map(|(pause, queries)| Step::Pass(pause, queries)),
        1 => prop_oneof![0..30_u64, Just(2_000)].prop_map(Step::Back),
        1 => Just(Step::Lost),
    ]
}

impl Step {
    /// Returns the records that this step writes.
    pub(crate) fn records(&self, now: u64) -> Vec<Record> {
        let tick = |ago: u64| (now + 20 * MILLISECOND).saturating_sub(ago * MILLISECOND);
        // Some records have a weight of 2^3 = 8.
        let sampling = |ago: u64| if (tick(ago) / MILLISECOND).is_multiple_of(5) { 3 } else { 0 };
        // Most spans succeed.
        let outcome = |ago: u64| match tick(ago) / MILLISECOND % 9 {
            7 => Outcome::Error,
            8 => Outcome::Cancelled,
            _ => Outcome::Ok,
        };
        // Interchangeable spans have the same tag. Otherwise, the results would depend on which of
        // them counts as still open.
        let tag = |ago: u64| tick(ago) / MILLISECOND;
        match *self {
            Self::WholeSpan(event, ago, length) => {
                let (start, length) = (tick(ago), length * MILLISECOND);
                let end =
                    Record::end(start + length, id(event), sampling(ago), outcome(ago), length);
                vec![Record::start(start, id(event), sampling(ago), tag(ago)), end]
            }
            Self::Start(event, ago) => {
                vec![Record::start(tick(ago), id(event), sampling(ago), tag(ago))]
            }
            Self::End(event, ago, length) => {
                let length = length * MILLISECOND;
                vec![Record::end(
                    tick(ago) + length,
                    id(event),
                    sampling(ago),
                    outcome(ago),
                    length,
                )]
            }
            Self::Forget(event, ago) => {
                vec![Record::forget(
                    tick(ago),
                    id(event),
                    0,
                    tailwatch_core::DiscardReason::Discarded,
                )]
            }
            Self::Tagged(event, ago, length) => {
                let (tick, length) = (tick(ago), length * MILLISECOND);
                let duration = Record::duration(tick, id(event), sampling(ago), length);
                vec![duration, Record::tag(tick, id(event), sampling(ago), tag(ago))]
            }
            Self::Tag(event, ago) => {
                vec![Record::tag(tick(ago), id(event), sampling(ago), tag(ago))]
            }
            Self::Negative(event, ago) => {
                vec![Record::negative_difference(tick(ago), id(event), 0, 5)]
            }
            Self::Number(number) => vec![Record::value(now, id(3), 0, number)],
            Self::Lost | Self::Pass(..) | Self::Back(_) => vec![],
        }
    }
}

/// The two aggregators that are compared.
struct Both<R: Repr> {
    one_by_one: Aggregator<Memory<u32, R>>,
    drained: Aggregator<Memory<u32, R>>,
    infos: [EventInfo; 4],
}

impl<R: Repr> Both<R> {
    fn new(in_flight: usize, samples: usize, now: u64) -> Self {
        const LIMITS: &[Threshold] =
            &[Threshold::duration(Quantile::P95, core::time::Duration::from_millis(1))];
        const ERROR_RATE: Threshold = Threshold::error_rate(100_000);
        let infos = [
            EventInfo { limits: LIMITS, ..EventInfo::new(id(1), "one") },
            EventInfo {
                outcomes: CoveredOutcomes::Any,
                max_error_rate: Some(&ERROR_RATE),
                ..EventInfo::new(id(2), "two")
            },
            EventInfo { unit: Unit::One, ..EventInfo::new(id(3), "number") },
            EventInfo {
                expected_interval: Some(core::time::Duration::from_micros(300)),
                ..EventInfo::new(id(4), "four")
            },
        ];
        let shape =
            Shape { in_flight, samples, scale: 1, slowest: 2, ..Shape::server(&infos, &WINDOWS) };
        let new = || {
            Aggregator::new(&WINDOWS, &infos, TickRate::NANOSECONDS, now, Memory::new(&shape))
                .unwrap()
        };
        Self { one_by_one: new(), drained: new(), infos }
    }

    fn each(&mut self, mut work: impl FnMut(&mut Aggregator<Memory<u32, R>>)) {
        work(&mut self.one_by_one);
        work(&mut self.drained);
    }
}

/// Formats all results of an aggregator as text.
pub(crate) fn results<S: Storage>(aggregator: &mut Aggregator<S>, infos: &[EventInfo]) -> String {
    let mut text = format!("{:?}", aggregator.counters());
    for info in infos {
        let _ =
            write!(text, "\n{:?} {:?} ", aggregator.pairing(info.id), aggregator.outcomes(info.id));
        let _ = write!(text, "{:?} ", aggregator.oldest(info.id));
        for scope in [Scope::Window(0), Scope::Window(1), Scope::Total] {
            let (plain, corrected) =
                (aggregator.summary(info.id, scope), aggregator.corrected(info.id, scope));
            let _ =
                write!(text, "{plain:?} {corrected:?} {:?} ", aggregator.failed(info.id, scope));
            let mut exemplars = [Exemplar::default(); 2];
            let _ = write!(text, "{:?} ", aggregator.slowest(info.id, scope, &mut exemplars).0);
        }
    }
    aggregator.limits(|status| {
        let _ = write!(text, "\n{status:?}");
    });
    text
}

/// Runs the steps on both aggregators and compares their results. `in_flight` and `samples` are the
/// fields of the [`Shape`].
fn agree<R: Repr>(in_flight: usize, samples: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut now = 100_000 * MILLISECOND;
    let mut both = Both::<R>::new(in_flight, samples, now - 10_000 * MILLISECOND);
    let mut rings = [(); 2].map(|()| Box::new(Ring::<[Slot; RING]>::new()));
    let [(producer, mut consumer), (other_producer, mut one_by_one)] =
        rings.each_mut().map(|ring| ring.split());
    both.each(|aggregator| aggregator.begin_pass(now));
    let mut pending = vec![];
    for step in steps.into_iter().chain([Step::Pass(1, true)]) {
        for record in step.records(now) {
            producer.push(record);
            other_producer.push(record);
            pending.push(record);
        }
        if matches!(step, Step::Lost) {
            both.each(Aggregator::mark_lost);
        }
        // Drain before the ring can overwrite anything.
        if !matches!(step, Step::Pass(..) | Step::Back(_)) && pending.len() + 2 <= RING - RING / 8 {
            continue;
        }
        let mut queries = false;
        match step {
            Step::Pass(milliseconds, is_queried) => {
                now += milliseconds * MILLISECOND;
                queries = is_queried;
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
        let mut expected = vec![];
        one_by_one.refresh();
        for record in pending.drain(..) {
            both.one_by_one.drain_up_to(3, &mut one_by_one, 1, |drained, is_sample| {
                assert_eq!(drained, record);
                expected.push((drained, is_sample));
            });
        }
        prop_assert_eq!(
            samples,
            expected,
            "the drained records differ from the written ones, or in whether they are samples"
        );
        both.each(|aggregator| {
            aggregator.expire_orphans(aggregator.pass());
            aggregator.evaluate_limits(now, |_| ());
        });
        let expected = results(&mut both.one_by_one, &both.infos);
        if queries {
            prop_assert_eq!(results(&mut both.drained, &both.infos), expected);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn draining_has_the_same_results_as_recording_one_by_one(
        is_compact in any::<bool>(),
        in_flight in prop_oneof![Just(0_usize), Just(2), Just(4), Just(32)],
        samples in prop_oneof![Just(0_usize), Just(1), Just(8), Just(64), Just(100)],
        steps in vec(step(), 0..300),
    ) {
        if is_compact {
            agree::<Compact>(in_flight, samples, steps)?;
        } else {
            agree::<Wide>(in_flight, samples, steps)?;
        }
    }
}
