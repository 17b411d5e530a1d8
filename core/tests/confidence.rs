//! Confidence intervals of quantiles contain the true quantile as often as they promise, and their
//! bounds are the samples at their ranks, or the outer bounds of these samples' buckets.
//!
//! `TAILWATCH_ROUNDS=4000 cargo test --profile release-test -p tailwatch-core --test confidence
//! -- --nocapture` simulates as many rounds for each number of samples, and prints the shares.

use std::env;

use proptest::prelude::*;
use tailwatch_core::{
    Buckets, ConfidenceInterval, Distribution, DistributionData, Histogram, Moments, Quantile,
    TimeUnit, Unit, UnitConverter, WeightedSample, Wide,
};

const PLAIN: UnitConverter = UnitConverter { unit: Unit::One, time: TimeUnit::Fine };
const NANOS: UnitConverter = UnitConverter { unit: Unit::Time, time: TimeUnit::Fine };

/// The buckets of plain numbers on a server.
const BUCKETS: Buckets = Buckets::new(5, 0, 46).unwrap();

const QUANTILES: [Quantile; 4] = [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9];

fn exact(samples: &[WeightedSample], converter: UnitConverter) -> Distribution<'_> {
    Distribution { converter, data: DistributionData::Exact(samples.into()) }
}

/// Returns the distribution of values in these counts, from the bucket of the smallest value to
/// that of the largest.
fn counted(
    moments: Moments,
    counts: &[u64],
    buckets: Buckets,
    converter: UnitConverter,
) -> Distribution<'_, Wide> {
    let (first, last) = (buckets.index(moments.min()), buckets.index(moments.max()));
    let counts = &counts[first..=last];
    let data = DistributionData::Counted { buckets, moments, first, counts };
    Distribution { converter, data }
}

/// Returns random numbers (`SplitMix64`).
fn random_numbers(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// The value of a distribution at a share.
type Inverse = fn(f64) -> f64;

const DISTRIBUTIONS: [(&str, Inverse); 4] = [
    ("uniform", |share| share),
    ("exponential", |share| -(-share).ln_1p()),
    // Without a variance.
    ("Pareto", |share| (1.0 - share).powf(-1.0 / 1.2)),
    // Most are around 1, and 3 in 100 around 50.
    ("bimodal", |share| {
        if share < 0.97 { 0.8 + 0.4 * share / 0.97 } else { 45.0 + 10.0 * (share - 0.97) / 0.03 }
    }),
];

/// Returns the value at a share as an integer.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and below 2^46"
)]
fn value(inverse: Inverse, share: f64) -> u64 {
    (inverse(share) * 1e6).min(7e13) as u64
}

fn contains(interval: ConfidenceInterval, value: u64) -> bool {
    interval.low.is_none_or(|low| low <= value) && interval.high.is_none_or(|high| value <= high)
}

/// In how many rounds the interval of each quantile contained the true one.
type Hits = [u32; QUANTILES.len()];

/// Draws `n` samples of each distribution in each round. Returns the hits of the intervals from the
/// samples and from a histogram, for each distribution.
fn simulate(n: u32, rounds: u32) -> [[Hits; 2]; DISTRIBUTIONS.len()] {
    let mut hits = [[[0; QUANTILES.len()]; 2]; DISTRIBUTIONS.len()];
    let mut random = random_numbers(n.into());
    for _ in 0..rounds {
        // Sorted shares give sorted values.
        let mut drawn: Vec<u64> = (0..n).map(|_| random() >> 11).collect();
        drawn.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let shares = drawn.iter().map(|bits| (*bits as f64 + 0.5) / (1_u64 << 53) as f64);
        for ((_, inverse), hits) in DISTRIBUTIONS.into_iter().zip(&mut hits) {
            let mut histogram = Histogram::new(BUCKETS, vec![0_u64; BUCKETS.len()]).unwrap();
            let values = shares.clone().map(|share| value(inverse, share));
            let samples: Vec<_> =
                values.map(|value| WeightedSample::new(value, 0).unwrap()).collect();
            for sample in &samples {
                histogram.record(sample.value(), 0);
            }
            let counted = counted(*histogram.moments(), histogram.counts(), BUCKETS, PLAIN);
            for (distribution, hits) in [exact(&samples, PLAIN), counted].iter().zip(hits) {
                for (quantile, hits) in QUANTILES.into_iter().zip(hits) {
                    let truth = value(inverse, f64::from(quantile.ppm()) / 1e6);
                    let interval = distribution.interval(quantile).unwrap();
                    *hits += u32::from(contains(interval, truth));
                }
            }
        }
    }
    hits
}

/// The targets are asserted from 4,000 rounds on. A share that is found in fewer is rarely off by
/// more than four of its standard deviations.
#[test]
fn intervals_contain_the_true_quantile_in_94_percent_and_those_of_a_median_in_no_more_than_97() {
    let wanted = env::var("TAILWATCH_ROUNDS").ok().map(|rounds| rounds.parse::<u32>().unwrap());
    let sizes = [10, 100, 368, 1_000, 10_000, 100_000];
    for (n, rounds) in sizes.into_iter().zip([8_000, 4_000, 1_000, 1_000, 100, 10]) {
        let rounds = wanted.unwrap_or(rounds);
        let share = |hits: u32| f64::from(hits) / f64::from(rounds);
        let deviation = |share: f64| (share * (1.0 - share) / f64::from(rounds)).sqrt();
        let (least, most) = match rounds {
            4_000.. => (0.94, 0.97),
            _ => (0.95 - 4.0 * deviation(0.95), 0.97 + 4.0 * deviation(0.97)),
        };
        for ((name, _), hits) in DISTRIBUTIONS.into_iter().zip(simulate(n, rounds)) {
            let [exact, counted] = hits.map(|hits| hits.map(share));
            println!("{n:6} {name:11} {rounds} rounds: {exact:.4?} exact, {counted:.4?} histogram");
            for (number, quantile) in QUANTILES.into_iter().enumerate() {
                let (exact, counted) = (exact[number], counted[number]);
                assert!(exact >= least, "{n} {name} {quantile}: {exact}");
                assert!(counted >= exact, "{n} {name} {quantile}: {counted} {exact}");
                let must_be_tight = quantile == Quantile::P50 && n >= 1_000;
                assert!(!must_be_tight || exact <= most, "{n} {name} {quantile}: {exact}");
            }
        }
    }
}

/// A quantile of a summary, or any other.
fn quantile() -> impl Strategy<Value = Quantile> {
    prop_oneof![
        prop::sample::select(&QUANTILES[..]),
        (0..=1_000_000_u32).prop_map(|ppm| Quantile::from_ppm(ppm).unwrap()),
    ]
}

/// Values of all sizes up to 40 bits, of which some are equal.
fn values() -> impl Strategy<Value = Vec<u64>> {
    let value = (any::<u64>(), 24..64_u32).prop_map(|(number, shift)| number >> shift);
    prop::collection::vec(value, 1..800)
}

proptest! {
    #[test]
    fn the_bounds_of_exact_samples_are_the_samples_at_the_ranks_whatever_their_common_weight(
        mut values in values(),
        sampling in 0..16_u8,
        quantile in quantile(),
        is_time in any::<bool>(),
    ) {
        let converter = if is_time { NANOS } else { PLAIN };
        let samples: Vec<_> =
            values.iter().map(|value| WeightedSample::new(*value, sampling).unwrap()).collect();
        let found = exact(&samples, converter).interval(quantile).unwrap();
        values.sort_unstable();
        let sorted: Vec<_> =
            values.iter().map(|value| WeightedSample::new(*value, sampling).unwrap()).collect();
        prop_assert_eq!(exact(&sorted, converter).interval(quantile), Some(found));
        let ranks = ConfidenceInterval::of_ranks(quantile, values.len() as u64);
        let at = |rank: u64| converter.value(values[usize::try_from(rank).unwrap() - 1]);
        prop_assert_eq!(found.low, ranks.low.map(at));
        prop_assert_eq!(found.high, ranks.high.map(at));
    }

    #[test]
    fn the_bounds_of_a_histogram_are_the_outer_bounds_of_the_buckets_within_the_extremes(
        mut values in values(),
        quantile in quantile(),
        scale in 0..=8_u8,
        full in prop_oneof![Just(u64::MAX), 1..20_u64],
    ) {
        let buckets = Buckets::new(scale, 4, 30).unwrap();
        let mut histogram = Histogram::new(buckets, vec![0_u64; buckets.len()]).unwrap();
        for value in &values {
            histogram.record(*value, 0);
        }
        // As if the counters could hold no more.
        let counts: Vec<_> = histogram.counts().iter().map(|count| *count.min(&full)).collect();
        let distribution = counted(*histogram.moments(), &counts, buckets, PLAIN);
        let found = distribution.interval(quantile).unwrap();
        values.sort_unstable();
        let (min, max) = (values[0], values[values.len() - 1]);
        let ranks = ConfidenceInterval::of_ranks(quantile, values.len() as u64);
        let at = |rank: u64| values[usize::try_from(rank).unwrap() - 1];
        let (low, high) = (ranks.low.map(at), ranks.high.map(at));
        prop_assert_eq!(low.is_some(), found.low.is_some());
        prop_assert_eq!(high.is_some(), found.high.is_some());
        if full == u64::MAX {
            let bounds = |value| buckets.bounds(buckets.index(value));
            let least = |value| if value == 0 { 0 } else { min.max(bounds(value).0 + 1) };
            prop_assert_eq!(found.low, low.map(least));
            prop_assert_eq!(found.high, high.map(|value| max.min(bounds(value).1)));
        } else {
            prop_assert!(found.low <= low && found.high >= high, "{found:?} {low:?} {high:?}");
            prop_assert!(found.low.is_none_or(|low| low >= min));
            prop_assert!(found.high.is_none_or(|high| high <= max));
        }
    }

    #[test]
    fn samples_of_different_weights_have_no_interval(
        mut samples in prop::collection::vec((1..1_000_u64, 0..4_u8), 1..200),
        quantile in quantile(),
    ) {
        samples.extend([(5, 0), (6, 1)]);
        let mut histogram = Histogram::new(BUCKETS, vec![0_u64; BUCKETS.len()]).unwrap();
        for (value, sampling) in &samples {
            histogram.record(*value, *sampling);
        }
        let samples: Vec<_> = samples
            .into_iter()
            .map(|(value, sampling)| WeightedSample::new(value, sampling).unwrap())
            .collect();
        prop_assert_eq!(exact(&samples, PLAIN).interval(quantile), None);
        let counted = counted(*histogram.moments(), histogram.counts(), BUCKETS, PLAIN);
        prop_assert_eq!(counted.interval(quantile), None);
    }
}

#[test]
fn without_a_histogram_the_bounds_are_the_extremes_and_without_a_sample_there_is_no_interval() {
    let mut moments = Moments::EMPTY;
    let of = |moments| {
        let data = DistributionData::Counted { buckets: BUCKETS, moments, first: 0, counts: &[] };
        Distribution::<Wide> { converter: PLAIN, data }.interval(Quantile::P50)
    };
    assert_eq!(of(moments), None);
    assert_eq!(exact(&[], PLAIN).interval(Quantile::P50), None);
    for value in 1..=9 {
        moments.add(value, 0);
    }
    assert_eq!(of(moments), Some(ConfidenceInterval { low: Some(1), high: Some(9) }));
}
