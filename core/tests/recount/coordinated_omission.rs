//! Compares summaries that are corrected for coordinated omission with a recount, to which the
//! missing samples are added one by one by the rule of `HdrHistogram`, and with `HdrHistogram`
//! itself.

use core::time::Duration;

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Accuracy, Aggregator, Compact, EventId, EventInfo, Outcome, Quantile, Record, Repr, Scope,
    Shape, TickRate, TimeUnit, Wide, WindowSpec,
};

use crate::{
    definitions::{Cut, MILLI, Recount, SECOND, Time, Widths},
    memory::Memory,
};

const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];

/// Returns two events, of which the second is expected at this interval.
fn paced(interval: u64) -> [EventInfo; 2] {
    let id = |id| EventId::new(id).unwrap();
    let interval = Some(Duration::from_nanos(interval));
    [
        EventInfo::new(id(2), "plain"),
        EventInfo { expected_interval: interval, ..EventInfo::new(id(1), "paced") },
    ]
}

/// Returns a sample v and those that the correction adds for the interval i: v − i, v − 2i and
/// so on, as long as they are at least i.
fn expanded(value: u64, interval: u64) -> impl Iterator<Item = u64> {
    let missing = (1..)
        .map_while(move |n| value.checked_sub(n * interval))
        .take_while(move |rest| *rest >= interval);
    [value].into_iter().chain(missing)
}

/// How an aggregator is set up. The fields without docs are those of [`Shape`].
#[derive(Clone, Copy, Debug)]
struct Setup {
    /// The number of ticks per second.
    hz: u64,
    /// The expected interval in nanoseconds.
    interval: u64,
    unit: TimeUnit,
    samples: usize,
    scale: u8,
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        proptest::sample::select(vec![1_000_000_000, 2_600_000_000, 24_000_000, 999_999_937]),
        prop_oneof![1_000..SECOND, 1_000..MILLI, Just(100 * MILLI), Just(MILLI)],
        prop_oneof![Just(TimeUnit::Fine), Just(TimeUnit::Coarse)],
        prop_oneof![Just(0_usize), Just(10), Just(100)],
        0..6_u8,
    )
        .prop_map(|(hz, interval, unit, samples, scale)| Setup {
            hz,
            interval,
            unit,
            samples,
            scale,
        })
}

/// A duration that is recorded.
#[derive(Clone, Debug)]
struct Recorded {
    /// How many nanoseconds ago it ended.
    age: u64,
    /// The length in millionths of an interval.
    millionths: u64,
    /// Whether the length is rounded down to whole intervals.
    is_whole: bool,
    /// How many ticks are added to the length.
    more: i64,
    /// The sample has the weight 2^`sampling`.
    sampling: u8,
    /// How the span ended; `None` if it is recorded without a span.
    outcome: Option<Outcome>,
}

fn recorded() -> impl Strategy<Value = Recorded> {
    (
        prop_oneof![3 => 0..SECOND / 10, 1 => 0..7 * SECOND],
        prop_oneof![3 => 0..1_000_000_u64, 3 => 0..5_000_000_u64, 1 => 0..100_000_000_u64],
        (prop_oneof![2 => Just(true), 1 => Just(false)], -1..=1_i64),
        prop_oneof![3 => Just(0_u8), 1 => 0..16_u8],
        proptest::sample::select(vec![
            None,
            Some(Outcome::Ok),
            Some(Outcome::Ok),
            Some(Outcome::Error),
            Some(Outcome::Cancelled),
        ]),
    )
        .prop_map(|(age, millionths, (is_whole, more), sampling, outcome)| Recorded {
            age,
            millionths,
            is_whole,
            more,
            sampling,
            outcome,
        })
}

/// Records the durations of each pass, which begins the given time after the previous one. Compares
/// all summaries with a recount after each pass.
fn check_recount<R: Repr>(
    setup: Setup,
    passes: Vec<(u64, Vec<Recorded>)>,
    quantile: Quantile,
) -> Result<(), TestCaseError> {
    let Setup { hz, interval, unit, samples, scale } = setup;
    let infos = paced(interval);
    let shape = Shape { samples, scale, unit, ..Shape::server(&infos, &WINDOWS) };
    let rate = TickRate::from_hz(hz).unwrap();
    let mut aggregator =
        Aggregator::new(&WINDOWS, &infos, rate, 0, Memory::<u32, R>::new(&shape)).unwrap();
    let time = Time::new(hz, unit);
    let event = infos[1].id;
    // The aggregator computes missing samples in whole internal units. For each interval, the error
    // is less than one unit.
    let units_per_second = (1_u64 << if unit == TimeUnit::Fine { 40 } else { 30 }) as f64;
    let slack = (2, SECOND as f64 / (interval as f64 * units_per_second));
    let mut samples: Vec<(u64, u64, u8, bool)> = vec![];
    let mut now = 0;
    for (step, records) in passes {
        now += time.ticks(step);
        aggregator.begin_pass(now);
        for Recorded { age, millionths, is_whole, more, sampling, outcome } in records {
            let tick = now.saturating_sub(time.ticks(age));
            let millionths = if is_whole { millionths / 1_000_000 * 1_000_000 } else { millionths };
            let nanos = (u128::from(interval) * u128::from(millionths) / 1_000_000) as u64;
            let length = time.ticks(nanos).saturating_add_signed(more);
            let record = match outcome {
                Some(outcome) => Record::end(tick, event, sampling, outcome, length),
                None => Record::duration(tick, event, sampling, length),
            };
            // In compact storage, a duration may be too large for a sample.
            let is_sample = time.units(length) >> Widths::of::<R>().value == 0;
            prop_assert_eq!(aggregator.record(0, record), is_sample);
            if is_sample {
                let has_failed = outcome.is_some_and(|outcome| outcome != Outcome::Ok);
                samples.push((tick, time.nanos(length), sampling, has_failed));
            }
        }
        for window in 0..=WINDOWS.len() {
            let cut = WINDOWS.get(window).map(|spec| Cut::new(spec.length, spec.slices, time));
            let scope = if cut.is_some() { Scope::Window(window) } else { Scope::Total };
            let is_member = |tick| cut.is_none_or(|cut| cut.holds(tick, now));
            let members = || samples.iter().filter(|(tick, ..)| is_member(*tick));
            let recount: Recount = members()
                .flat_map(|(_, value, sampling, has_failed)| {
                    // A failed span itself is not covered. What it held up is.
                    let expanded = expanded(*value, interval).skip((*has_failed).into());
                    expanded.map(|value| (value, 1 << *sampling))
                })
                .collect();
            let ok = members().filter(|(.., has_failed)| !has_failed).count();
            let plain = aggregator.summary(event, scope);
            let corrected = aggregator.corrected(event, scope);
            prop_assert_eq!(plain.is_some(), corrected.is_some());
            let Some((plain, corrected)) = plain.zip(corrected) else { continue };
            if recount.0.len() == ok {
                prop_assert_eq!(corrected, plain);
                continue;
            }
            recount.check::<R>(&corrected, slack);
            prop_assert_eq!(corrected.complete, plain.complete);
            prop_assert_eq!(corrected.covered, plain.covered);
            prop_assert_ne!(corrected.accuracy, Accuracy::Exact);
            prop_assert!(corrected.max >= plain.max);
        }
        prop_assert_eq!(aggregator.corrected(infos[0].id, Scope::Total), None);
    }
    let has_quantile = aggregator.quantile(event, Scope::Total, quantile).is_some();
    prop_assert_eq!(has_quantile, samples.iter().any(|(.., has_failed)| !has_failed));
    prop_assert_eq!(aggregator.counters().full_counters, 0);
    Ok(())
}

/// Records durations, given in thousandths of the interval, in an aggregator and in a histogram of
/// `HdrHistogram`, and compares the corrected results of both.
fn check_against_hdrhistogram<R: Repr>(
    interval: u64,
    samples: Vec<u64>,
) -> Result<(), TestCaseError> {
    let infos = paced(interval);
    // Some of the durations are longer than 16 s, which are 2^44 fine units.
    let (unit, lowest) = if R::IS_COMPACT { (TimeUnit::Coarse, 0) } else { (TimeUnit::Fine, 8) };
    let shape = Shape { samples: 4, unit, lowest, ..Shape::server(&infos, &WINDOWS) };
    let (rate, memory) = (TickRate::NANOSECONDS, Memory::<u32, R>::new(&shape));
    let mut aggregator = Aggregator::new(&WINDOWS, &infos, rate, 0, memory).unwrap();
    let mut peer = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 40, 3).unwrap();
    let mut recount = vec![];
    for thousandths in samples {
        let value = (interval * thousandths / 1_000).max(1);
        prop_assert!(aggregator.record(0, Record::duration(0, infos[1].id, 0, value)));
        peer.record_correct(value, interval).unwrap();
        recount.extend(expanded(value, interval).map(|value| (value, 1)));
    }
    let recount: Recount = recount.into_iter().collect();
    let summary = aggregator.corrected(infos[1].id, Scope::Total).unwrap();
    prop_assert_eq!(summary.count, peer.len());
    prop_assert!((summary.mean.unwrap().to_f64() / peer.mean() - 1.0).abs() < 0.001);
    let ours = [
        (500_000, summary.p50),
        (950_000, summary.p95),
        (990_000, summary.p99),
        (999_000, summary.p99_9),
    ];
    for (ppm, ours) in ours {
        recount.check_quantile(ppm, ours, summary.accuracy, (1, 1e-6));
        // `HdrHistogram` uses the same definition of a rank, but computes it in floating point.
        // If q·n is a whole number, its result may be off by one.
        let theirs = peer.value_at_quantile(f64::from(ppm) / 1e6);
        let exact = recount.quantile(ppm);
        if (summary.count * u64::from(ppm)).is_multiple_of(1_000_000) {
            let rank = summary.count * u64::from(ppm) / 1_000_000;
            let near = rank.saturating_sub(2) as usize..=rank as usize;
            let mut near = recount.0.iter().enumerate().filter(|(index, _)| near.contains(index));
            prop_assert!(near.any(|(_, (value, _))| peer.equivalent(theirs, *value)));
        } else {
            prop_assert!(peer.equivalent(theirs, exact), "{} is not {}", theirs, exact);
            let our_error =
                f64::from(summary.accuracy.max_relative_error_ppm()) / 1e6 * exact as f64;
            let their_error = peer.equivalent_range(exact) as f64;
            prop_assert!(ours.abs_diff(theirs) as f64 <= our_error + their_error + 1.0);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_corrected_summary_equals_a_recount_of_the_expanded_samples(
        is_compact in any::<bool>(),
        setup in setup(),
        passes in vec(
            (prop_oneof![2 => 0..SECOND / 5, 1 => 0..7 * SECOND], vec(recorded(), 0..12)),
            1..8,
        ),
        ppm in 0..=1_000_000_u32,
    ) {
        let quantile = Quantile::from_ppm(ppm).unwrap();
        if is_compact {
            check_recount::<Compact>(setup, passes, quantile)?;
        } else {
            check_recount::<Wide>(setup, passes, quantile)?;
        }
    }

    #[test]
    fn a_corrected_summary_agrees_with_hdrhistogram(
        is_compact in any::<bool>(),
        interval in prop_oneof![1_000..SECOND, Just(100 * MILLI)],
        samples in vec(
            // The lengths, in thousandths of an interval.
            prop_oneof![
                4 => 1..1_000_u64,
                2 => 1..10_000_u64,
                1 => 1..100_000_u64,
                1 => (1..50_u64).prop_map(|n| n * 1_000),
            ],
            1..60,
        ),
    ) {
        if is_compact {
            check_against_hdrhistogram::<Compact>(interval, samples)?;
        } else {
            check_against_hdrhistogram::<Wide>(interval, samples)?;
        }
    }
}
