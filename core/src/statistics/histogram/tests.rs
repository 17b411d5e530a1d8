extern crate std;
use std::{boxed::Box, vec, vec::Vec};

use num_bigint::BigUint;
use proptest::prelude::*;

use super::{
    bounds::BOUNDS,
    buckets::{BELOW_RANGE, FIRST_IN_RANGE, ZERO_BUCKET, bounds_below},
    *,
};

/// Returns whether `value` exceeds 2^(index / 2^scale), computed with big integers.
fn exceeds(value: u64, index: usize, scale: u8) -> bool {
    BigUint::from(value).pow(1 << scale) > BigUint::from(1_u8) << index
}

#[test]
fn the_table_is_the_exact_floor() {
    for (j, bound) in BOUNDS.into_iter().enumerate() {
        let index = 63 * 256 + j;
        assert!(!exceeds(bound, index, 8) && exceeds(bound + 1, index, 8), "entry {j}");
    }
}

/// Compares the lookup with counting, at every bound and at its two neighbours.
#[test]
fn the_tables_of_all_scales_count_the_bounds_below_a_mantissa() {
    for mantissa in
        BOUNDS.into_iter().flat_map(|bound| [bound - 1, bound, bound + 1]).chain([u64::MAX])
    {
        let mantissa = mantissa | 1 << 63;
        for scale in 0..=MAX_SCALE {
            let bounds = BOUNDS.iter().step_by(256 >> scale);
            assert_eq!(
                bounds_below(scale, mantissa),
                bounds.filter(|bound| **bound < mantissa).count(),
                "mantissa {mantissa} at scale {scale}"
            );
        }
    }
}

/// Checks the bucket of `value` against exact arithmetic.
fn check(buckets: Buckets, value: u64) {
    let index = buckets.index(value);
    assert!(index < buckets.len());
    let (lowest, octaves) = (usize::from(buckets.lowest), usize::from(buckets.octaves));
    let first = lowest << buckets.scale;
    let last = (lowest + octaves) << buckets.scale;
    let expected = if value == 0 {
        ZERO_BUCKET
    } else if !exceeds(value, first, buckets.scale) {
        BELOW_RANGE
    } else if exceeds(value, last, buckets.scale) {
        buckets.len() - 1
    } else {
        let bucket = index - FIRST_IN_RANGE + first;
        assert!(exceeds(value, bucket, buckets.scale), "{value} is too small for bucket {index}");
        assert!(
            !exceeds(value, bucket + 1, buckets.scale),
            "{value} is too large for bucket {index}"
        );
        index
    };
    assert_eq!(index, expected, "the bucket of {value} in {buckets:?}");
    let (above, up_to) = buckets.bounds(index);
    assert!(
        value <= up_to && (above < value || value == 0),
        "{value} is outside the bounds of bucket {index}: {above} to {up_to}"
    );
}

#[test]
fn powers_of_two_and_their_neighbours_are_counted_in_the_right_bucket() {
    for scale in 0..=MAX_SCALE {
        for (lowest, octaves) in [(0, 64), (8, 40), (10, 20), (0, 0), (64, 0)] {
            let buckets = Buckets::new(scale, lowest, octaves).unwrap();
            check(buckets, 0);
            check(buckets, u64::MAX);
            for power in 0..64 {
                let value = 1_u64 << power;
                for value in [value - 1, value, value + 1] {
                    check(buckets, value);
                }
            }
        }
    }
}

#[test]
fn bounds_have_no_gap_and_no_overlap() {
    for scale in 0..=MAX_SCALE {
        let buckets = Buckets::new(scale, 8, 40).unwrap();
        for index in FIRST_IN_RANGE..buckets.len() {
            assert_eq!(buckets.bounds(index - 1).1, buckets.bounds(index).0);
        }
    }
}

#[test]
fn an_impossible_scale_or_range_is_refused() {
    assert_eq!(Buckets::new(9, 0, 10), None);
    assert_eq!(Buckets::new(5, 30, 35), None);
}

proptest! {
    #[test]
    fn every_value_is_counted_in_the_right_bucket(
        value in any::<u64>(),
        shift in 0..64_u32,
        scale in 0..=MAX_SCALE,
        lowest in 0..20_u8,
    ) {
        check(Buckets::new(scale, lowest, 40).unwrap(), value >> shift);
    }

    #[test]
    fn a_lower_scale_halves_the_index(
        value in 1..u64::MAX,
        shift in 0..64_u32,
        scale in 1..=MAX_SCALE,
    ) {
        let value = value >> shift;
        let fine = Buckets::new(scale, 0, 64).unwrap().index(value);
        let coarse = Buckets::new(scale - 1, 0, 64).unwrap().index(value);
        if value > 1 {
            prop_assert_eq!((fine - FIRST_IN_RANGE) >> 1, coarse - FIRST_IN_RANGE);
        }
    }

    #[test]
    fn an_estimate_is_within_the_error_of_its_scale(
        value in 1_000_u64..1 << 48,
        scale in 0..=MAX_SCALE,
    ) {
        let buckets = Buckets::new(scale, 8, 40).unwrap();
        let estimate = buckets.estimate(buckets.index(value), 0, u64::MAX);
        prop_assert!(estimate.least <= value && value <= estimate.most);
        // The bounds of a bucket have the ratio 2^(1/2^scale). Its midpoint differs from either
        // bound by the square root of this ratio. The bounds of the bucket and the estimate are
        // rounded down to integers, which adds an error of less than 2.
        let allowed = 2_f64.powf(0.5_f64.powi(i32::from(scale) + 1)) - 1.0;
        let error = estimate.value.abs_diff(value) as f64;
        prop_assert!(
            error <= allowed * value as f64 + 2.0,
            "{} is estimated as {}", value, estimate.value
        );
    }

    #[test]
    fn an_estimate_lies_between_the_extremes(
        values in proptest::array::uniform3(any::<u64>()),
        shift in 0..64_u32,
    ) {
        let mut values = values.map(|value| value >> shift);
        values.sort_unstable();
        let [min, value, max] = values;
        let buckets = Buckets::new(5, 8, 40).unwrap();
        let estimate = buckets.estimate(buckets.index(value), min, max);
        prop_assert!(estimate.least <= value && value <= estimate.most);
        prop_assert!(min <= estimate.least || value == 0);
        prop_assert!(estimate.least <= estimate.value && estimate.value <= estimate.most);
        prop_assert!(estimate.most <= max);
    }
}

type Boxed<C> = Histogram<C, Box<[C]>>;

fn empty_histogram<C: Count>(buckets: Buckets) -> Boxed<C> {
    Histogram::new(buckets, vec![C::ZERO; buckets.len()].into_boxed_slice()).unwrap()
}

/// Records samples `(value, sampling)`, each of which has the weight 2^sampling.
fn histogram_of<C: Count>(buckets: Buckets, values: &[(u64, u8)]) -> Boxed<C> {
    let mut histogram = empty_histogram(buckets);
    for (value, sampling) in values {
        assert_eq!(histogram.record(*value, *sampling), 0);
    }
    histogram
}

/// Generates fewer than `max_len` samples `(value, sampling)`, with values of all magnitudes.
fn samples(max_len: usize) -> impl Strategy<Value = Vec<(u64, u8)>> {
    proptest::collection::vec(
        // Short enough that the sum of the squares is exact.
        ((any::<u64>(), 7..64_u32).prop_map(|(value, shift)| value >> shift), 0..4_u8),
        0..max_len,
    )
}

/// Returns the value at a quantile of samples `(value, sampling)` by nearest rank.
fn value_at_nearest_rank(values: &[(u64, u8)], quantile: Quantile) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let total: u128 = values.iter().map(|(_, sampling)| 1_u128 << sampling).sum();
    let rank = (total * u128::from(quantile.ppm())).div_ceil(1_000_000).max(1);
    let mut reached = 0;
    let reaches_rank = |(_, sampling): &&(u64, u8)| {
        reached += 1_u128 << sampling;
        reached >= rank
    };
    sorted.iter().find(reaches_rank).unwrap().0
}

proptest! {
    #[test]
    fn merging_in_any_order_equals_recording_everything_in_one_histogram(
        left in samples(40),
        right in samples(40),
        third in samples(40),
        scale in 0..=MAX_SCALE,
    ) {
        let buckets = Buckets::new(scale, 3, 40).unwrap();
        let all =
            histogram_of::<u64>(buckets, &[left.clone(), right.clone(), third.clone()].concat());
        let left = histogram_of::<u16>(buckets, &left);
        let right = histogram_of::<u32>(buckets, &right);
        let third = histogram_of::<u64>(buckets, &third);
        let mut one_way = empty_histogram::<u64>(buckets);
        prop_assert_eq!(one_way.merge(&left), Some(0));
        prop_assert_eq!(one_way.merge(&right), Some(0));
        prop_assert_eq!(one_way.merge(&third), Some(0));
        prop_assert_eq!(&one_way, &all);
        let mut other_way = empty_histogram::<u64>(buckets);
        prop_assert_eq!(other_way.merge(&third), Some(0));
        prop_assert_eq!(other_way.merge(&left), Some(0));
        prop_assert_eq!(other_way.merge(&right), Some(0));
        prop_assert_eq!(&other_way, &all);
        // Merging is associative: merge two histograms, then merge the result into the third.
        let mut two = empty_histogram::<u64>(buckets);
        let mut grouped = empty_histogram::<u64>(buckets);
        prop_assert_eq!([two.merge(&right), two.merge(&third)], [Some(0); 2]);
        prop_assert_eq!([grouped.merge(&left), grouped.merge(&two)], [Some(0); 2]);
        prop_assert_eq!(&grouped, &all);
    }

    #[test]
    fn downscaling_equals_recording_at_the_lower_scale(
        values in samples(60),
        scale in 0..=MAX_SCALE,
        lowest in 0..20_u8,
    ) {
        let mut histogram = histogram_of::<u32>(Buckets::new(scale, lowest, 44).unwrap(), &values);
        for lower in (0..scale).rev() {
            prop_assert_eq!(histogram.downscale(), Some(0));
            let expected = histogram_of::<u32>(Buckets::new(lower, lowest, 44).unwrap(), &values);
            prop_assert_eq!(histogram.buckets(), expected.buckets());
            prop_assert_eq!(histogram.moments(), expected.moments());
            let (used, unused) = histogram.counts().split_at(expected.counts().len());
            prop_assert_eq!(used, expected.counts());
            prop_assert!(unused.iter().all(|count| *count == 0));
            prop_assert!(histogram.iter().eq(expected.iter()));
        }
        prop_assert_eq!(histogram.downscale(), None);
    }

    #[test]
    fn every_quantile_lies_within_its_bounds(
        values in samples(60),
        ppm in 0..=1_000_000_u32,
        scale in 0..=MAX_SCALE,
    ) {
        let histogram = histogram_of::<u32>(Buckets::new(scale, 0, 64).unwrap(), &values);
        let quantile = Quantile::from_ppm(ppm).unwrap();
        let Some(Estimate { value, least, most }) = histogram.quantile(quantile) else {
            prop_assert!(values.is_empty());
            return Ok(());
        };
        let exact = value_at_nearest_rank(&values, quantile);
        prop_assert!(least <= exact && exact <= most, "{} is not in {}..={}", exact, least, most);
        prop_assert!(least <= value && value <= most);
    }

    /// Uses few buckets and small counters, so that the counters saturate.
    #[test]
    fn every_quantile_lies_within_its_bounds_when_counters_are_saturated(
        values in proptest::collection::vec((0..40_u64, prop_oneof![Just(0_u8), Just(15)]), 1..60),
        ppm in 0..=1_000_000_u32,
    ) {
        let buckets = Buckets::new(1, 0, 6).unwrap();
        let mut histogram = empty_histogram::<u16>(buckets);
        let missing: u64 =
            values.iter().map(|(value, sampling)| histogram.record(*value, *sampling)).sum();
        let counted: u64 = histogram.iter().map(|bucket| bucket.count).sum();
        prop_assert_eq!(counted + missing, histogram.moments().weight());
        let quantile = Quantile::from_ppm(ppm).unwrap();
        let exact = value_at_nearest_rank(&values, quantile);
        let Estimate { value, least, most } = histogram.quantile(quantile).unwrap();
        prop_assert!(
            least <= exact && exact <= most,
            "{} is not in {}..={}, {} missing", exact, least, most, missing
        );
        prop_assert!(least <= value && value <= most);
    }
}

#[test]
fn a_new_histogram_needs_a_zero_counter_for_each_bucket() {
    let buckets = Buckets::new(2, 0, 4).unwrap();
    assert_eq!(Histogram::new(buckets, vec![0_u32; buckets.len() - 1]), None);
    assert_eq!(Histogram::new(buckets, vec![1_u32; buckets.len()]), None);
    let mut histogram = Histogram::<u32, _>::new(buckets, vec![0_u32; buckets.len()]).unwrap();
    assert_eq!(histogram.quantile(Quantile::P50), None);
    assert_eq!(histogram.iter().count(), 0);
    let other = Buckets::new(3, 0, 4).unwrap();
    assert_eq!(histogram.merge(&empty_histogram::<u32>(other)), None, "the scales differ");
}
