//! Checks summaries whose bucket counters, of 16 bits, become saturated.

use core::time::Duration;
use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Accuracy, Aggregator, EventId, EventInfo, Quantile, Record, Scope, Shape, Storage, TickRate,
    TimeUnit, Unit, WindowSpec, storage,
};

use crate::definitions::{Cut, Recount, SECOND, Time};

const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
const fn id(id: u16) -> EventId {
    let Some(id) = EventId::new(id) else { panic!("an event id is 1 to 2,047") };
    id
}
/// One event in plain numbers, and one in time with a corrected summary.
const EVENTS: [EventInfo; 2] = [
    EventInfo { unit: Unit::One, ..EventInfo::new(id(1), "numbers") },
    EventInfo {
        expected_interval: Some(Duration::from_nanos(INTERVAL)),
        ..EventInfo::new(id(2), "paced")
    },
];
const INTERVAL: u64 = SECOND / 64;
const SCALE: u8 = 3;
const SHAPE: Shape =
    Shape { samples: 4, scale: SCALE, slowest: 1, ..Shape::server(&EVENTS, &WINDOWS) };
const COMPACT: Shape = Shape { is_compact: true, ..SHAPE };
storage!(WideMemory: SHAPE, u16);
storage!(CompactMemory: COMPACT, u16);
/// One tick is one internal unit, and an interval is a whole number of them.
const HZ: u64 = 1 << 40;
const INTERVAL_TICKS: u64 = HZ / 64;

/// Returns the bucket of a value at scale s: the i with `2^(i/2^s) < value <= 2^((i+1)/2^s)`,
/// computed with a logarithm. No value in this test is so close to a bound of a bucket that the
/// rounding error of the logarithm matters. All values from 1 to `least`, below which the histogram
/// does not distinguish values, share the bucket −1. The value 0 has the bucket −2.
fn bucket(value: u64, least: u64) -> i64 {
    if value <= least {
        return if value == 0 { -2 } else { -1 };
    }
    ((value as f64).log2() * f64::from(1_u32 << SCALE)).ceil() as i64 - 1
}

/// A model of counters that saturate at 65,535.
#[derive(Default)]
struct SaturatingCounters {
    /// The counts. The keys are row, window, number of the slice, and bucket. Rows 0 and 1 are the
    /// events, row 2 is the corrected summary.
    counts: BTreeMap<(usize, usize, u64, i64), u64>,
    /// The weight that did not fit into the counters.
    did_not_fit: u64,
}

impl SaturatingCounters {
    fn add(&mut self, key: (usize, usize, u64, i64), weight: u64) {
        let count = self.counts.entry(key).or_default();
        let room = 65_535 - *count;
        *count += weight.min(room);
        self.did_not_fit += weight.saturating_sub(room);
    }
}

/// What is recorded in a pass: whether it is a number, its age, its value, and the binary logarithm
/// of its weight.
type Recorded = (bool, u64, u64, u8);

/// Records samples in passes that begin the given times after each other. After each pass, compares
/// the summaries with a recount, and the weight that did not fit into counters with the model.
fn check<S: Storage>(
    storage: S,
    passes: Vec<(u64, Vec<Recorded>)>,
    ppm: u32,
) -> Result<(), TestCaseError> {
    let rate = TickRate::from_hz(HZ).unwrap();
    let mut aggregator = Aggregator::new(&WINDOWS, &EVENTS, rate, 0, storage).unwrap();
    let time = Time::new(HZ, TimeUnit::Fine);
    let cuts = WINDOWS.map(|spec| Cut::new(spec.length, spec.slices, time));
    let mut samples: [Vec<(u64, u64, u64)>; 2] = Default::default();
    let mut counters = SaturatingCounters::default();
    let mut now = 0;
    for (step, records) in passes {
        now += time.ticks(step);
        aggregator.begin_pass(now);
        for (is_number, age, value, sampling) in records {
            let tick = now.saturating_sub(time.ticks(age));
            // Durations of up to a few intervals. All are whole numbers of nanoseconds: 2^31
            // units of 2^-40 s are 5^9 ns.
            let value = if is_number { value } else { (value % 100) << 31 };
            let (row, record, least) = if is_number {
                (0, Record::value(tick, EVENTS[0].id, sampling, value), 1)
            } else {
                (1, Record::duration(tick, EVENTS[1].id, sampling, value), 256)
            };
            prop_assert!(aggregator.record(0, record));
            let reported = if is_number { value } else { time.nanos(value) };
            samples[row].push((tick, reported, 1 << sampling));
            let holding = cuts.iter().enumerate().filter(|(_, cut)| cut.holds(tick, now));
            for (window, cut) in holding {
                let slice = tick / cut.slice_ticks;
                counters.add((row, window, slice, bucket(value, least)), 1 << sampling);
                if row == 1 {
                    let missing = (time.nanos(value) / INTERVAL).saturating_sub(1);
                    counters.add((2, window, slice, bucket(value, least)), 1 << sampling);
                    // The aggregator adds the missing samples of a bucket at once. Adding them
                    // one by one would give another `did_not_fit`, so sum their weights first.
                    let mut weights = BTreeMap::<i64, u64>::new();
                    for n in 1..=missing {
                        let bucket = bucket(value - n * INTERVAL_TICKS, least);
                        *weights.entry(bucket).or_default() += 1 << sampling;
                    }
                    for (bucket, weight) in weights {
                        counters.add((2, window, slice, bucket), weight);
                    }
                }
            }
        }
        prop_assert_eq!(aggregator.counters().full_counters, counters.did_not_fit);
        for (row, samples_of_row) in samples.iter().enumerate() {
            for window in 0..=WINDOWS.len() {
                let cut = cuts.get(window);
                let scope = if cut.is_some() { Scope::Window(window) } else { Scope::Total };
                let is_member = |tick| cut.is_none_or(|cut| cut.holds(tick, now));
                let members = samples_of_row.iter().filter(|(tick, ..)| is_member(*tick));
                let recount: Recount =
                    members.map(|(_, value, weight)| (*value, *weight)).collect();
                let Some(summary) = aggregator.summary(EVENTS[row].id, scope) else {
                    prop_assert!(recount.0.is_empty());
                    continue;
                };
                recount.check::<S::Repr>(&summary, (0, 0.0));
                if cut.is_none() {
                    let is_exact = summary.accuracy == Accuracy::Exact;
                    prop_assert_eq!(is_exact, samples_of_row.len() <= SHAPE.samples);
                }
                let quantile = Quantile::from_ppm(ppm).unwrap();
                let (value, accuracy) =
                    aggregator.quantile(EVENTS[row].id, scope, quantile).unwrap();
                recount.check_quantile(ppm, value, accuracy, (0, 0.0));
                if row == 1 {
                    let corrected = aggregator.corrected(EVENTS[1].id, scope).unwrap();
                    let expanded = samples_of_row
                        .iter()
                        .filter(|(tick, ..)| is_member(*tick))
                        .flat_map(|(_, value, weight)| {
                            let missing = (value / INTERVAL).saturating_sub(1);
                            (0..=missing).map(move |n| (value - n * INTERVAL, *weight))
                        });
                    expanded.collect::<Recount>().check::<S::Repr>(&corrected, (1, 0.0));
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn weight_that_does_not_fit_is_counted_and_quantiles_allow_for_it(
        passes in vec(
            (
                prop_oneof![2 => 0..SECOND / 5, 1 => 0..SECOND, 1 => 0..7 * SECOND],
                vec(
                    (
                        any::<bool>(),
                        prop_oneof![3 => 0..SECOND / 10, 1 => 0..7 * SECOND],
                        // Either one of few values, so that counters saturate, or any value.
                        prop_oneof![
                            4 => (0..4_u32).prop_map(|n| 1_000 * 7_u64.pow(n)),
                            1 => 0..1_u64 << 30,
                        ],
                        prop_oneof![3 => 14..16_u8, 1 => 0..16_u8],
                    ),
                    0..25,
                ),
            ),
            1..6,
        ),
        ppm in 0..=1_000_000_u32,
        is_compact in any::<bool>(),
    ) {
        if is_compact {
            check(&mut *Box::new(CompactMemory::new()), passes, ppm)?;
        } else {
            check(&mut *Box::new(WideMemory::new()), passes, ppm)?;
        }
    }
}
