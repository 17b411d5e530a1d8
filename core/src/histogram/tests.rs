use num_bigint::BigUint;
use proptest::prelude::*;

use super::{
    bounds::BOUNDS,
    buckets::{BELOW, FIRST, ZERO},
    *,
};

/// Whether `value` exceeds 2^(index / 2^scale), by arithmetic with integers of any size.
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

/// Checks that `value` is counted where exact arithmetic says.
fn check(buckets: Buckets, value: u64) {
    let place = buckets.place(value);
    assert!(place < buckets.places());
    let (lowest, octaves) = (usize::from(buckets.lowest), usize::from(buckets.octaves));
    let first = lowest << buckets.scale;
    let last = (lowest + octaves) << buckets.scale;
    let expected = if value == 0 {
        ZERO
    } else if !exceeds(value, first, buckets.scale) {
        BELOW
    } else if exceeds(value, last, buckets.scale) {
        buckets.places() - 1
    } else {
        let bucket = place - FIRST + first;
        assert!(exceeds(value, bucket, buckets.scale), "{value} in {place}");
        assert!(!exceeds(value, bucket + 1, buckets.scale), "{value} in {place}");
        place
    };
    assert_eq!(place, expected, "{value} in {buckets:?}");
    let (above, up_to) = buckets.bounds(place);
    assert!(value <= up_to && (above < value || value == 0), "{value} in {place}: {above} to {up_to}");
}

#[test]
fn powers_of_two_and_their_neighbours_are_where_they_belong() {
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
fn bounds_join_without_gap_or_overlap() {
    for scale in 0..=MAX_SCALE {
        let buckets = Buckets::new(scale, 8, 40).unwrap();
        for place in FIRST..buckets.places() {
            assert_eq!(buckets.bounds(place - 1).1, buckets.bounds(place).0);
        }
    }
}

#[test]
fn impossible_ranges_are_refused() {
    assert_eq!(Buckets::new(9, 0, 10), None);
    assert_eq!(Buckets::new(5, 30, 35), None);
}

proptest! {
    #[test]
    fn every_value_is_counted_in_its_bucket(
        value in any::<u64>(),
        shift in 0..64_u32,
        scale in 0..=MAX_SCALE,
        lowest in 0..20_u8,
    ) {
        check(Buckets::new(scale, lowest, 40).unwrap(), value >> shift);
    }

    #[test]
    fn a_lower_scale_is_half_the_index(value in 1..u64::MAX, shift in 0..64_u32, scale in 1..=MAX_SCALE) {
        let value = value >> shift;
        let fine = Buckets::new(scale, 0, 64).unwrap().place(value);
        let coarse = Buckets::new(scale - 1, 0, 64).unwrap().place(value);
        if value > 1 {
            prop_assert_eq!((fine - FIRST) >> 1, coarse - FIRST);
        }
    }

    #[test]
    fn an_estimate_is_within_the_error_of_its_scale(value in 1_000_u64..1 << 48, scale in 0..=MAX_SCALE) {
        let buckets = Buckets::new(scale, 8, 40).unwrap();
        let estimate = buckets.estimate(buckets.place(value), 0, u64::MAX);
        prop_assert!(estimate.least <= value && value <= estimate.most);
        // sqrt(base) − 1, and one for the rounding to a whole number.
        let allowed = 2_f64.powf(0.5_f64.powi(i32::from(scale) + 1)) - 1.0;
        let error = estimate.value.abs_diff(value) as f64;
        prop_assert!(error <= allowed * value as f64 + 1.0, "{} told as {}", value, estimate.value);
    }

    #[test]
    fn an_estimate_stays_within_what_was_seen(values in proptest::array::uniform3(any::<u64>()), shift in 0..64_u32) {
        let mut values = values.map(|value| value >> shift);
        values.sort_unstable();
        let [min, value, max] = values;
        let buckets = Buckets::new(5, 8, 40).unwrap();
        let estimate = buckets.estimate(buckets.place(value), min, max);
        prop_assert!(estimate.least <= value && value <= estimate.most);
        prop_assert!(min <= estimate.least || value == 0);
        prop_assert!(estimate.least <= estimate.value && estimate.value <= estimate.most && estimate.most <= max);
    }
}
