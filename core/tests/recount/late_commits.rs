//! Checks events whose samples are committed late and whose bucket counts are completed only when
//! the sample buffer becomes too small.

use core::time::Duration;

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Aggregator, DistributionData, EventId, EventInfo, Exemplar, Outcome, Record, Ring, Scope,
    Shape, Slot, TickRate, WeightedSample, Wide, WindowSpec,
};

use crate::memory::Memory;

/// One tick is one internal unit.
const HZ: u64 = 1 << 40;
const MILLI: u64 = HZ / 1_000;
const TOLERANCE: u64 = 10 * MILLI;
const EVENT: EventId = EventId::new(7).unwrap();
const EVENTS: [EventInfo; 1] = [EventInfo::new(EVENT, "rare")];
const WINDOWS: [WindowSpec; 3] = [
    WindowSpec::SECOND,
    WindowSpec::new(Duration::from_secs(4), 4),
    WindowSpec::new(Duration::from_secs(20), 10),
];
/// A batch has at most 64 samples, so a buffer of this length may hold a whole window and more.
const SAMPLES: usize = 200;
const SLOWEST: usize = 3;

/// What happens before a pass.
#[derive(Clone, Debug)]
struct Step {
    /// The time since the last pass, or how far the clock steps back, in milliseconds.
    millis: u64,
    has_stepped_back: bool,
    /// The durations of spans, and how long before the pass they ended, in milliseconds.
    spans: Vec<(u64, i64)>,
    /// Whether the results are checked after the pass.
    is_checked: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let duration = (0..32_u32, 0..1_000_u64).prop_map(|(bits, rest)| (1 << bits) + rest);
    // Some are late, and some from the future.
    let age = prop_oneof![12 => 0..250_i64, 2 => 0..2_500_i64, 1 => -50..0_i64];
    let spans = prop_oneof![8 => 0..8_usize, 1 => 50..150_usize];
    let spans = spans.prop_flat_map(move |spans| vec((duration.clone(), age.clone()), spans));
    let millis = prop_oneof![8 => 1..300_u64, 1 => 300..6_000_u64];
    (millis, prop::bool::weighted(0.01), spans, prop::bool::weighted(0.15)).prop_map(
        |(millis, has_stepped_back, spans, is_checked)| Step {
            millis,
            has_stepped_back,
            spans,
            is_checked,
        },
    )
}

/// Returns whether a window of `spec` that ends at `now` contains a tick.
fn contains(spec: &WindowSpec, now: u64, tick: u64) -> bool {
    let slices = u64::from(spec.slices);
    let nanos = u64::try_from(spec.length.as_nanos()).unwrap() / slices;
    // As `TickRate::ticks_in_nanos`: to the nearest tick.
    let slice = (u128::from(nanos) * u128::from(HZ) + 500_000_000) / 1_000_000_000;
    let (now, tick) = (u128::from(now) / slice, u128::from(tick) / slice);
    now < tick + u128::from(slices)
}

/// Compares the results over a scope with those of the durations of its samples.
fn check(
    aggregator: &mut Aggregator<Memory<u32, Wide>>,
    scope: Scope,
    mut durations: Vec<u64>,
) -> Result<(), TestCaseError> {
    durations.sort_unstable();
    let Some((summary, values)) = aggregator.describe(EVENT, scope) else {
        prop_assert!(durations.is_empty(), "{scope:?} has {} samples", durations.len());
        return Ok(());
    };
    prop_assert_eq!(summary.count, durations.len() as u64, "{:?}", scope);
    match values.data {
        DistributionData::Exact(samples) => {
            let mut found: Vec<u64> = samples.iter().map(WeightedSample::value).collect();
            found.sort_unstable();
            prop_assert_eq!(&found, &durations);
        }
        DistributionData::Counted { .. } => {
            let mut counted = 0;
            for bucket in values.buckets() {
                let up_to = |bound| durations.partition_point(|duration| *duration <= bound) as u64;
                prop_assert_eq!(bucket.count, up_to(bucket.up_to) - up_to(bucket.above));
                counted += bucket.count;
            }
            prop_assert_eq!(counted, summary.count, "{:?}", scope);
        }
    }
    let mut room = [Exemplar::default(); SLOWEST];
    let (slowest, _) = aggregator.slowest(EVENT, scope, &mut room);
    let found: Vec<u64> = slowest.iter().map(Exemplar::value).collect();
    let expected: Vec<u64> = durations.iter().rev().take(SLOWEST).copied().collect();
    prop_assert_eq!(found, expected, "{:?}", scope);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn results_are_those_of_all_samples_however_late_they_are_committed(
        steps in vec(step(), 1..250),
    ) {
        let server = Shape::server(&EVENTS, &WINDOWS);
        let shape = Shape { samples: SAMPLES, slowest: SLOWEST, ..server };
        let (rate, mut now) = (TickRate::from_hz(HZ).unwrap(), 3_600 * HZ);
        let memory = Memory::<u32, Wide>::new(&shape);
        let mut aggregator = Aggregator::new(&WINDOWS, &EVENTS, rate, now, memory).unwrap();
        let mut ring = Ring::<[Slot; 512]>::new();
        let (producer, mut consumer) = ring.split();
        // The tick of each sample and its duration. The tick is `None` if it is in no window.
        let (mut samples, mut late) = (Vec::<(Option<u64>, u64)>::new(), 0);
        for Step { millis, has_stepped_back, spans, is_checked } in steps {
            if has_stepped_back {
                now -= TOLERANCE + millis * MILLI;
                for (tick, _) in &mut samples {
                    *tick = None;
                }
            } else {
                now += millis * MILLI;
            }
            let mut expected = vec![];
            for (duration, age) in spans {
                let tick = now.saturating_add_signed(-age * MILLI.cast_signed());
                producer.push(Record::start(tick - duration, EVENT, 0, 0));
                producer.push(Record::end(tick, EVENT, 0, Outcome::Ok, duration));
                let is_future = tick > now + TOLERANCE;
                let tick = tick.min(now);
                expected.push(((!is_future).then_some(tick), duration));
                let is_late = |spec: &WindowSpec| !contains(spec, now, tick);
                late += u64::from(!is_future && WINDOWS.iter().any(is_late));
            }
            consumer.refresh();
            aggregator.begin_pass(now);
            aggregator.drain(0, &mut consumer, |_, _| ());
            samples.append(&mut expected);
            if !is_checked {
                continue;
            }
            for (number, spec) in WINDOWS.iter().enumerate() {
                let in_window = samples
                    .iter()
                    .filter(|(tick, _)| tick.is_some_and(|tick| contains(spec, now, tick)));
                let durations = in_window.map(|(_, duration)| *duration).collect();
                check(&mut aggregator, Scope::Window(number), durations)?;
            }
            let all = samples.iter().map(|(_, duration)| *duration).collect();
            check(&mut aggregator, Scope::Total, all)?;
            prop_assert_eq!(aggregator.committed_counters().late, late);
        }
    }
}
