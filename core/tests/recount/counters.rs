//! Bucket counters of 16 bits that are full.

use core::time::Duration;
use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Accuracy, Aggregator, EventId, EventInfo, Quantile, Record, Scope, Shape, TickRate, TimeUnit,
    Unit, WindowSpec, storage,
};

use crate::numbers::{Cut, Recount, SECOND, Time};

const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
const fn id(id: u16) -> EventId {
    let Some(id) = EventId::new(id) else { panic!("an id") };
    id
}
/// One of numbers, and one of time that is corrected.
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
/// A tick is a unit, and an interval a whole number of them.
const HZ: u64 = 1 << 40;
const INTERVAL_TICKS: u64 = HZ / 64;

/// The bucket `i` with `2^(i/2^s) < value <= 2^((i+1)/2^s)`, found by a logarithm, in which no value drawn here is so close to
/// a bound that its error shows. What is no more than `least` is together.
fn bucket(value: u64, least: u64) -> i64 {
    if value <= least {
        return if value == 0 { -2 } else { -1 };
    }
    ((value as f64).log2() * f64::from(1_u32 << SCALE)).ceil() as i64 - 1
}

/// Counters that stop at 65,535: what did not fit.
#[derive(Default)]
struct Full {
    /// By row, window and number of the slice, and bucket.
    counts: BTreeMap<(usize, usize, u64, i64), u64>,
    left: u64,
}

impl Full {
    fn add(&mut self, key: (usize, usize, u64, i64), weight: u64) {
        let count = self.counts.entry(key).or_default();
        let room = 65_535 - *count;
        *count += weight.min(room);
        self.left += weight.saturating_sub(room);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_does_not_fit_into_a_counter_is_counted_and_quantiles_allow_for_it(
        passes in vec(
            (
                prop_oneof![2 => 0..SECOND / 5, 1 => 0..SECOND, 1 => 0..7 * SECOND],
                vec(
                    (
                        any::<bool>(),
                        prop_oneof![3 => 0..SECOND / 10, 1 => 0..7 * SECOND],
                        // Few values, so that counters fill up, or any.
                        prop_oneof![4 => (0..4_u32).prop_map(|n| 1_000 * 7_u64.pow(n)), 1 => 0..1_u64 << 30],
                        prop_oneof![3 => 14..16_u8, 1 => 0..16_u8],
                    ),
                    0..25,
                ),
            ),
            1..6,
        ),
        ppm in 0..=1_000_000_u32,
    ) {
        let mut storage = Box::new(<storage!(SHAPE, u16)>::new());
        let rate = TickRate::from_hz(HZ).unwrap();
        let mut aggregator = Aggregator::new(SHAPE, &WINDOWS, &EVENTS, rate, 0, &mut *storage).unwrap();
        let time = Time::new(HZ, TimeUnit::Fine);
        let cuts = WINDOWS.map(|spec| Cut::new(spec.length, spec.slices, time));
        let mut samples: [Vec<(u64, u64, u64)>; 2] = Default::default();
        let mut full = Full::default();
        let mut now = 0;
        for (step, records) in passes {
            now += time.ticks(step);
            aggregator.begin_pass(now);
            for (is_number, age, value, k) in records {
                let tick = now.saturating_sub(time.ticks(age));
                // Durations of up to some intervals, all of them whole numbers of nanoseconds: 5^9 ns are 2^31 units.
                let value = if is_number { value } else { (value % 100) << 31 };
                let (row, record, least) = if is_number {
                    (0, Record::value(tick, EVENTS[0].id, k, value), 1)
                } else {
                    (1, Record::duration(tick, EVENTS[1].id, k, value), 256)
                };
                prop_assert!(aggregator.record(0, record));
                samples[row].push((tick, if is_number { value } else { time.told(value) }, 1 << k));
                for (window, cut) in cuts.iter().enumerate().filter(|(_, cut)| cut.holds(tick, now)) {
                    let slice = tick / cut.ticks;
                    full.add((row, window, slice, bucket(value, least)), 1 << k);
                    if row == 1 {
                        let missing = (time.told(value) / INTERVAL).saturating_sub(1);
                        full.add((2, window, slice, bucket(value, least)), 1 << k);
                        // What is put in comes bucket by bucket.
                        let mut weights = BTreeMap::<i64, u64>::new();
                        for n in 1..=missing {
                            *weights.entry(bucket(value - n * INTERVAL_TICKS, least)).or_default() += 1 << k;
                        }
                        for (bucket, weight) in weights {
                            full.add((2, window, slice, bucket), weight);
                        }
                    }
                }
            }
            prop_assert_eq!(aggregator.counters().full_counters, full.left);
            for (row, of_row) in samples.iter().enumerate() {
                for window in 0..=WINDOWS.len() {
                    let cut = cuts.get(window);
                    let period = if cut.is_some() { Scope::Window(window) } else { Scope::Total };
                    let members = of_row.iter().filter(|(tick, ..)| cut.is_none_or(|cut| cut.holds(*tick, now)));
                    let recount: Recount = members.map(|(_, value, weight)| (*value, *weight)).collect();
                    let Some(summary) = aggregator.summary(EVENTS[row].id, period) else {
                        prop_assert!(recount.0.is_empty());
                        continue;
                    };
                    recount.check(&summary, (0, 0.0));
                    if cut.is_none() {
                        prop_assert_eq!(summary.accuracy == Accuracy::Exact, of_row.len() <= SHAPE.samples);
                    }
                    let one = aggregator.quantile(EVENTS[row].id, period, Quantile::from_ppm(ppm).unwrap()).unwrap();
                    recount.check_quantile(ppm, one.0, one.1, (0, 0.0));
                    if row == 1 {
                        let corrected = aggregator.corrected(EVENTS[1].id, period).unwrap();
                        let expanded = of_row
                            .iter()
                            .filter(|(tick, ..)| cut.is_none_or(|cut| cut.holds(*tick, now)))
                            .flat_map(|(_, value, weight)| {
                                let missing = (value / INTERVAL).saturating_sub(1);
                                (0..=missing).map(move |n| (value - n * INTERVAL, *weight))
                            });
                        expanded.collect::<Recount>().check(&corrected, (1, 0.0));
                    }
                }
            }
        }
    }
}
