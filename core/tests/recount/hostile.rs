//! Processes random records with a clock that jumps anywhere and with random limits. Checks that
//! nothing panics and that results are consistent with each other.

use core::time::Duration;

use proptest::{collection::vec, option, prelude::*};
use tailwatch_core::{
    Aggregator, Compact, Count, EventId, EventInfo, Exemplar, Kind, Limit, MinSamples, Quantile,
    Record, Repr, Scope, Shape, Storage, Threshold, TickRate, TimeUnit, Unit, Wide, WindowSpec,
};

use crate::memory::Memory;

const WINDOWS: [WindowSpec; 2] =
    [WindowSpec::SECOND, WindowSpec::new(Duration::from_hours(1_000_000), 3)];

/// Returns four events, of which the second is expected at this interval.
fn events(interval: Duration) -> [EventInfo; 4] {
    let id = |id| EventId::new(id).unwrap();
    [
        EventInfo::new(id(1), "one"),
        EventInfo { expected_interval: Some(interval), ..EventInfo::new(id(2), "two") },
        EventInfo { unit: Unit::One, ..EventInfo::new(id(3), "three") },
        EventInfo { max_silence: Some(Duration::MAX), ..EventInfo::new(id(2_047), "last") },
    ]
}

#[derive(Clone, Debug)]
enum Step {
    /// Begins a pass at this tick.
    Pass(u64),
    /// Processes the record that consists of these two words.
    Record([u64; 2]),
    /// Reports a loss of records.
    Lost,
    /// Replaces the limits of the event with this id.
    Limits(u16, Vec<Limit>),
    /// Expires the early ENDs of passes before this one.
    ExpireOrphans(u64),
}

/// Returns random numbers: arbitrary ones, and numbers close to 0, to 2^64 or to a power of two.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..4_u64,
        (0..4_u64).prop_map(|n| u64::MAX - n),
        (0..64_u32, -1..=1_i64)
            .prop_map(|(shift, more)| (1_u64 << shift).saturating_add_signed(more)),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    let duration = || {
        (number(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
    };
    let window =
        prop_oneof![3 => Just(WINDOWS[0].length), 1 => Just(WINDOWS[1].length), 2 => duration()];
    let min_samples = prop_oneof![
        (0..4_u32).prop_map(MinSamples::Count),
        any::<u32>().prop_map(MinSamples::Count),
        Just(MinSamples::Auto)
    ];
    let delay = || prop_oneof![(0..=86_400_000_u64).prop_map(Duration::from_millis), duration()];
    let threshold = (0..=1_000_000_u32, number(), window, min_samples, option::of(delay()));
    prop_oneof![
        5 => (threshold, option::of(delay())).prop_map(|(threshold, raise_after)| {
            let (ppm, limit, window, min_samples, clear_after) = threshold;
            let quantile = Quantile::from_ppm(ppm).unwrap();
            let mut threshold = Threshold::value(quantile, limit).over(window);
            threshold.min_samples = min_samples;
            threshold.raise_after = raise_after.unwrap_or_default();
            threshold.clear_after = clear_after;
            if ppm % 4 == 0 { Limit::Errors(threshold) } else { Limit::Quantile(threshold) }
        }),
        1 => duration().prop_map(Limit::Silence),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Most of these records belong to a known event.
    let record = (
        number(),
        number(),
        proptest::sample::select(vec![1_u64, 2, 2, 3, 2_047, 0, 77]),
        0..8_u64,
        0..16_u64,
    );
    prop_oneof![
        4 => number().prop_map(Step::Pass),
        20 => record.prop_map(|(ticks, payload, event, kind, sampling)| {
            Step::Record([ticks, payload << 18 | sampling << 14 | kind << 11 | event])
        }),
        4 => [any::<u64>(), any::<u64>()].prop_map(Step::Record),
        1 => Just(Step::Lost),
        2 => (proptest::sample::select(vec![1_u16, 2, 3, 2_047, 5]), vec(limit(), 0..4))
            .prop_map(|(event, limits)| Step::Limits(event, limits)),
        2 => number().prop_map(Step::ExpireOrphans),
    ]
}

/// Calls every method of the aggregator that returns results, and checks that the results are
/// consistent with each other.
fn query_all(aggregator: &mut Aggregator<impl Storage>, quantile: Quantile) {
    let (mut visited, mut sources) = (0, 0);
    aggregator.evaluate_limits(u64::MAX, |change| visited += usize::from(change.is_raised()));
    aggregator.limits(|status| visited += usize::from(status.observed.is_some()));
    aggregator.exemplar_sources(|_| sources += 1);
    let mut room = [Exemplar::default(); 3];
    for event in [1, 2, 3, 2_047, 5].map(|id| EventId::new(id).unwrap()) {
        for scope in [Scope::Window(0), Scope::Window(1), Scope::Window(9), Scope::Total] {
            let summary = aggregator.summary(event, scope);
            if let Some((summary, values)) = aggregator.describe(event, scope) {
                assert!(summary.min <= summary.p50 && summary.p50 <= summary.p95, "{summary:?}");
                assert!(
                    summary.p95 <= summary.p99_9 && summary.p99_9 <= summary.max,
                    "{summary:?}"
                );
                assert!(values.quantile(quantile).is_some());
            }
            assert_eq!(aggregator.quantile(event, scope, quantile).is_some(), summary.is_some());
            if let Some(corrected) = aggregator.corrected(event, scope) {
                let plain = summary.unwrap();
                assert!(
                    corrected.count >= plain.count && corrected.max >= plain.max,
                    "{corrected:?} {plain:?}"
                );
            }
            let failed = aggregator.failed(event, scope);
            let (slowest, converter) = aggregator.slowest(event, scope, &mut room);
            assert_eq!(
                slowest.first().map(|slow| converter.value(slow.value())),
                summary.map(|summary| summary.max).max(failed.map(|failed| failed.max))
            );
        }
        let _ = (aggregator.oldest(event), aggregator.outcomes(event));
        let pairing = aggregator.pairing(event);
        assert!(pairing.uncertain <= pairing.open, "{pairing:?}");
        let _ = aggregator.is_breached(event);
    }
}

/// Runs the steps in the representation `R` with bucket counters of type `C`. The tuple consists of
/// the number of ticks per second, the internal unit of time, the expected interval of the second
/// event in nanoseconds, and the tick at which the aggregator is created. Returns the number of
/// samples.
fn run<R: Repr, C: Count>(
    (hz, unit, interval, first): (u64, TimeUnit, u64, u64),
    steps: &[Step],
    quantile: Quantile,
) -> Result<u64, TestCaseError> {
    let infos = events(Duration::from_nanos(interval.max(1)));
    let shape = Shape {
        samples: 5,
        scale: 1,
        unit,
        slowest: 2,
        in_flight: 8,
        limits: 6,
        ..Shape::server(&infos, &WINDOWS)
    };
    let Some(rate) = TickRate::from_hz(hz) else { return Ok(0) };
    // Creating the aggregator fails if the clock is too slow for the slices of the windows.
    let Ok(mut aggregator) =
        Aggregator::new(&WINDOWS, &infos, rate, first, Memory::<C, R>::new(&shape))
    else {
        return Ok(0);
    };
    let (mut records, mut samples) = (0, 0);
    for step in steps {
        match step {
            Step::Pass(now) => aggregator.begin_pass(*now),
            Step::Record(words) => {
                let record = Record::from_words(*words);
                let is_sample = aggregator.record(7, record);
                let may_be = matches!(record.kind(), Kind::Value | Kind::Duration)
                    || record.kind().outcome().is_some();
                prop_assert!(may_be || !is_sample);
                records += 1;
                samples += u64::from(is_sample);
            }
            Step::Lost => aggregator.mark_lost(),
            Step::Limits(event, limits) => {
                // Random limits may be refused. Other tests check which ones are, and that nothing
                // changes then.
                let _ = aggregator.set_limits(EventId::new(*event).unwrap(), limits);
            }
            Step::ExpireOrphans(pass) => aggregator.expire_orphans(*pass),
        }
        if matches!(step, Step::Pass(_) | Step::Limits(..)) {
            query_all(&mut aggregator, quantile);
        }
    }
    query_all(&mut aggregator, quantile);
    let counters = aggregator.counters();
    let counted: u64 = infos
        .iter()
        .flat_map(|info| {
            [aggregator.summary(info.id, Scope::Total), aggregator.failed(info.id, Scope::Total)]
        })
        .flatten()
        .map(|summary| summary.count)
        .sum();
    prop_assert_eq!(counted, samples);
    prop_assert!(
        samples + counters.invalid + counters.unknown_events + counters.saturated <= records
    );
    Ok(samples)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn random_records_and_clocks_never_panic(
        hz in prop_oneof![4 => Just(1_000_000_000_u64), 2 => Just(10), 1 => number()],
        unit in prop_oneof![Just(TimeUnit::Fine), Just(TimeUnit::Coarse)],
        interval in prop_oneof![Just(1_u64), Just(100_000_000), number()],
        first in number(),
        steps in vec(step(), 0..60),
        ppm in 0..=1_000_000_u32,
        is_compact in any::<bool>(),
        width in 0..3,
    ) {
        let quantile = Quantile::from_ppm(ppm).unwrap();
        let clock = (hz, unit, interval, first);
        match (is_compact, width) {
            (false, 0) => run::<Wide, u16>(clock, &steps, quantile)?,
            (false, 1) => run::<Wide, u32>(clock, &steps, quantile)?,
            (false, _) => run::<Wide, u64>(clock, &steps, quantile)?,
            (true, 0) => run::<Compact, u16>(clock, &steps, quantile)?,
            (true, 1) => run::<Compact, u32>(clock, &steps, quantile)?,
            (true, _) => run::<Compact, u64>(clock, &steps, quantile)?,
        };
    }
}

#[test]
fn sums_saturate_in_corrections_for_the_longest_durations() {
    fn check<R: Repr>(unit: TimeUnit, longest: u64, count: u64) {
        let record =
            |n: u64| Step::Record([n * 7_919 % 60_000, longest << 18 | 15 << 14 | 6 << 11 | 2]);
        let steps: Vec<_> =
            [Step::Pass(60_000)].into_iter().chain((0..count).map(record)).collect();
        let clock = (1 << 16, unit, 1, 3);
        assert_eq!(run::<R, u64>(clock, &steps, Quantile::P50).unwrap(), count);
        assert_eq!(run::<R, u16>(clock, &steps, Quantile::P50).unwrap(), count);
    }
    // These are the longest durations, in ticks, that are below 2^60 internal units at 2^16 ticks
    // per second, or below 2^44 in compact storage. In the coarse unit, 2^46 − 1 would be one tick
    // longer, but this payload means that the duration was too large for the record.
    check::<Wide>(TimeUnit::Fine, (1 << 36) - 1, 20_000);
    check::<Wide>(TimeUnit::Coarse, (1 << 46) - 2, 50);
    check::<Compact>(TimeUnit::Fine, (1 << 20) - 1, 20_000);
    check::<Compact>(TimeUnit::Coarse, (1 << 30) - 1, 50);
}
