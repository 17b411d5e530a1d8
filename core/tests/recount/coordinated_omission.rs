//! Compares summaries that are corrected for coordinated omission with a recount, to which the
//! missing samples are added one by one by the rule of `HdrHistogram`, and with `HdrHistogram`
//! itself.

use core::time::Duration;

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Accuracy, Aggregator, EventId, EventInfo, Outcome, Quantile, Record, Scope, Shape, TickRate,
    TimeUnit, WeightedSample, WindowSpec,
};

use crate::{
    definitions::{Cut, MILLI, Recount, SECOND, Time},
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_corrected_summary_equals_a_recount_of_the_expanded_samples(
        hz in proptest::sample::select(vec![1_000_000_000, 2_600_000_000, 24_000_000, 999_999_937]),
        unit in prop_oneof![Just(TimeUnit::Fine), Just(TimeUnit::Coarse)],
        buffered in prop_oneof![Just(0_usize), Just(10), Just(100)],
        scale in 0..6_u8,
        interval in prop_oneof![1_000..SECOND, 1_000..MILLI, Just(100 * MILLI), Just(MILLI)],
        passes in vec(
            (
                prop_oneof![2 => 0..SECOND / 5, 1 => 0..7 * SECOND],
                vec(
                    (
                        prop_oneof![3 => 0..SECOND / 10, 1 => 0..7 * SECOND],
                        // The length consists of this many millionths of an interval …
                        prop_oneof![
                            3 => 0..1_000_000_u64,
                            3 => 0..5_000_000_u64,
                            1 => 0..100_000_000_u64,
                        ],
                        // … which may be rounded down to whole intervals, and of extra ticks.
                        (prop_oneof![2 => Just(true), 1 => Just(false)], -1..=1_i64),
                        prop_oneof![3 => Just(0_u8), 1 => 0..16_u8],
                        any::<bool>(),
                    ),
                    0..12,
                ),
            ),
            1..8,
        ),
        ppm in 0..=1_000_000_u32,
    ) {
        let infos = paced(interval);
        let shape = Shape {
            samples: buffered,
            scale,
            lowest: 8,
            octaves: 40,
            unit,
            ..Shape::server(&infos, &WINDOWS)
        };
        let rate = TickRate::from_hz(hz).unwrap();
        let mut aggregator =
            Aggregator::new(shape, &WINDOWS, &infos, rate, 0, Memory::<u32>::new(&shape)).unwrap();
        let time = Time::new(hz, unit);
        let event = infos[1].id;
        // The aggregator computes missing samples in whole internal units. For each interval, the
        // error is less than one unit.
        let units_per_second = (1_u64 << if unit == TimeUnit::Fine { 40 } else { 30 }) as f64;
        let slack = (2, SECOND as f64 / (interval as f64 * units_per_second));
        let mut samples: Vec<(u64, u64, u8)> = vec![];
        let mut now = 0;
        for (step, records) in passes {
            now += time.ticks(step);
            aggregator.begin_pass(now);
            for (age, millionths, (is_whole, more), sampling, is_span) in records {
                let tick = now.saturating_sub(time.ticks(age));
                let millionths =
                    if is_whole { millionths / 1_000_000 * 1_000_000 } else { millionths };
                let nanos = (u128::from(interval) * u128::from(millionths) / 1_000_000) as u64;
                let length = time.ticks(nanos).saturating_add_signed(more);
                let record = if is_span {
                    Record::end(tick, event, sampling, Outcome::Ok, length)
                } else {
                    Record::duration(tick, event, sampling, length)
                };
                // On 32-bit targets, a duration may be too large for a sample.
                let is_sample = time.units(length) >> WeightedSample::VALUE_BITS == 0;
                prop_assert_eq!(aggregator.record(0, record), is_sample);
                if is_sample {
                    samples.push((tick, time.nanos(length), sampling));
                }
            }
            for window in 0..=WINDOWS.len() {
                let cut = WINDOWS.get(window).map(|spec| Cut::new(spec.length, spec.slices, time));
                let scope = if cut.is_some() { Scope::Window(window) } else { Scope::Total };
                let is_member = |tick| cut.is_none_or(|cut| cut.holds(tick, now));
                let members = || samples.iter().filter(|(tick, ..)| is_member(*tick));
                let recount: Recount = members()
                    .flat_map(|(_, value, sampling)| {
                        expanded(*value, interval).map(|value| (value, 1 << *sampling))
                    })
                    .collect();
                let plain = aggregator.summary(event, scope);
                let corrected = aggregator.corrected(event, scope);
                prop_assert_eq!(plain.is_some(), corrected.is_some());
                let Some((plain, corrected)) = plain.zip(corrected) else { continue };
                if recount.0.len() == members().count() {
                    prop_assert_eq!(corrected, plain);
                    continue;
                }
                recount.check(&corrected, slack);
                prop_assert_eq!(corrected.complete, plain.complete);
                prop_assert_eq!(corrected.covered, plain.covered);
                prop_assert_ne!(corrected.accuracy, Accuracy::Exact);
                prop_assert_eq!(corrected.max, plain.max);
            }
            prop_assert_eq!(aggregator.corrected(infos[0].id, Scope::Total), None);
        }
        let quantile = Quantile::from_ppm(ppm).unwrap();
        let has_quantile = aggregator.quantile(event, Scope::Total, quantile).is_some();
        prop_assert_eq!(has_quantile, !samples.is_empty());
        prop_assert_eq!(aggregator.counters().full_counters, 0);
    }

    #[test]
    fn a_corrected_summary_agrees_with_hdrhistogram(
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
        let infos = paced(interval);
        let shape = Shape { samples: 4, ..Shape::server(&infos, &WINDOWS) };
        let (rate, memory) = (TickRate::NANOSECONDS, Memory::<u32>::new(&shape));
        let mut aggregator = Aggregator::new(shape, &WINDOWS, &infos, rate, 0, memory).unwrap();
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
        prop_assert!((summary.mean.to_f64() / peer.mean() - 1.0).abs() < 0.001);
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
                let mut near =
                    recount.0.iter().enumerate().filter(|(index, _)| near.contains(index));
                prop_assert!(near.any(|(_, (value, _))| peer.equivalent(theirs, *value)));
            } else {
                prop_assert!(peer.equivalent(theirs, exact), "{} is not {}", theirs, exact);
                let our_error =
                    f64::from(summary.accuracy.max_relative_error_ppm()) / 1e6 * exact as f64;
                let their_error = peer.equivalent_range(exact) as f64;
                prop_assert!(ours.abs_diff(theirs) as f64 <= our_error + their_error + 1.0);
            }
        }
    }
}
