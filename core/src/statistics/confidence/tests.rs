extern crate std;
use std::{vec, vec::Vec};

use num_bigint::BigUint;
use proptest::prelude::*;

use super::*;

/// The quantiles of a summary, others, and those close to 0 and 1.
const PPM: [u32; 14] = [
    0, 1, 1_000, 25_000, 123_457, 500_000, 777_777, 900_000, 950_000, 975_000, 990_000, 999_000,
    999_999, MILLION,
];

/// The bound on the probabilities is 1/40.
const BOUND: f64 = 1.0 / 40.0;

/// Two probabilities that are at least so far apart are in the right order in floating point.
const CERTAIN: f64 = 1e-11;

/// Returns whether P(X ≤ k) ≤ 1/40 (or, if `above`, P(X > k) ≤ 1/40), in integers.
fn is_rare_in_integers(ppm: u32, n: u64, k: u64, above: bool) -> bool {
    let [share, rest] = [ppm, MILLION - ppm].map(BigUint::from);
    let (mut sum, mut choose) = (BigUint::ZERO, BigUint::from(1_u8));
    for j in 0..=n {
        if (j > k) == above {
            sum += &choose * share.pow(j as u32) * rest.pow((n - j) as u32);
        }
        choose = choose * (n - j) / (j + 1);
    }
    sum * 40_u8 <= BigUint::from(MILLION).pow(n as u32)
}

/// Finds the narrowest interval by trying every rank. `probabilities` are those of the numbers 0 to
/// n.
fn by_search(ppm: u32, probabilities: &[f64]) -> ConfidenceInterval {
    let n = probabilities.len() as u64 - 1;
    let sums = |values: &mut dyn Iterator<Item = &f64>| -> Vec<f64> {
        values
            .scan(0.0, |sum, value| {
                *sum += value;
                Some(*sum)
            })
            .collect()
    };
    let up_to = sums(&mut probabilities.iter());
    let mut from = sums(&mut probabilities.iter().rev());
    from.reverse();
    let is_rare = |probability: f64, k, above| {
        if (probability - BOUND).abs() < CERTAIN {
            is_rare_in_integers(ppm, n, k, above)
        } else {
            probability < BOUND
        }
    };
    ConfidenceInterval {
        low: (1..=n).rfind(|rank| is_rare(up_to[*rank as usize - 1], rank - 1, false)),
        high: (1..=n).find(|rank| is_rare(from[*rank as usize], rank - 1, true)),
    }
}

#[test]
fn the_ranks_are_those_of_a_search_for_up_to_2_000_samples() {
    for ppm in PPM {
        let share = f64::from(ppm) / f64::from(MILLION);
        // The probabilities of the numbers of n samples follow from those of n − 1. All terms are
        // positive, so that the relative error is at most 3·n·2^-53, below 10^-12.
        let mut probabilities = vec![1.0];
        for n in 1..=2_000 {
            let mut next = vec![0.0; n + 1];
            for (k, probability) in probabilities.iter().enumerate() {
                next[k] += probability * (1.0 - share);
                next[k + 1] += probability * share;
            }
            probabilities = next;
            let found = ConfidenceInterval::of_ranks(Quantile::from_ppm(ppm).unwrap(), n as u64);
            assert_eq!(found, by_search(ppm, &probabilities), "{n} samples, {ppm} ppm");
        }
    }
}

#[test]
fn a_probability_that_is_exactly_the_bound_does_not_exceed_it() {
    // One sample is above p97.5 with the probability 1/40, and below p2.5.
    let of = |ppm| ConfidenceInterval::of_ranks(Quantile::from_ppm(ppm).unwrap(), 1);
    assert_eq!(of(975_000), ConfidenceInterval { low: Some(1), high: None });
    assert_eq!(of(25_000), ConfidenceInterval { low: None, high: Some(1) });
    assert_eq!((of(974_999).low, of(25_001).high), (None, None));
}

#[test]
fn a_quantile_has_an_upper_bound_from_the_stated_number_of_samples_on() {
    for (ppm, least) in
        [(500_000, 6), (900_000, 36), (950_000, 72), (990_000, 368), (999_000, 3_688)]
    {
        let quantile = Quantile::from_ppm(ppm).unwrap();
        let high = |n| ConfidenceInterval::of_ranks(quantile, n).high;
        assert!((0..least).all(|n| high(n).is_none()), "{quantile}");
        assert_eq!(high(least), Some(least), "{quantile}");
    }
}

/// Compares the approximation with the sum where its error is largest, at the least variance for
/// which it is used, and only for the numbers of samples where an error matters: where the rank
/// differs if it is moved outward or inward.
#[test]
fn an_approximate_rank_is_at_most_one_too_small_and_rarely_so() {
    let (mut all, mut compared, mut smaller) = (0, 0, 0);
    for ppm in [1, 10, 1_000, 25_000, 123_457, 500_000, 777_777, 950_000, 999_000, 999_999] {
        let least = (u128::from(MAX_SUMMED_VARIANCE) * 1_000_000_000_000 / variance(ppm, 1)) as u64;
        for n in (least + 1..).step_by(least as usize / 10_000 + 1).take(20_000) {
            all += 1;
            let found = |margin| approximate_lower_rank(ppm, n, variance(ppm, n), margin);
            let [outward, inward] = [MARGIN, -MARGIN].map(found);
            if outward < inward {
                let summed = summed_lower_rank(ppm, n).unwrap();
                assert!((outward..=inward).contains(&summed), "{n} {ppm}: {outward}, not {summed}");
                compared += 1;
                smaller += u32::from(outward < summed);
            }
        }
    }
    assert!(compared > 50, "{compared}");
    assert!(smaller * 2_000 < all, "{smaller} of {all}");
}

#[test]
fn the_sum_and_the_approximation_agree_with_each_other() {
    for ppm in PPM.into_iter().filter(|ppm| (1..MILLION).contains(ppm)) {
        let per_sample = variance(ppm, 1) as f64 / 1e12;
        for variances in 1..40_u32 {
            let n = (float(MAX_SUMMED_VARIANCE) * f64::from(variances) / per_sample) as u64;
            let summed = summed_lower_rank(ppm, n).unwrap();
            let found = approximate_lower_rank(ppm, n, variance(ppm, n), MARGIN);
            assert!((found..=found + 1).contains(&summed), "{n} {ppm}: {found}, not {summed}");
        }
    }
}

proptest! {
    #[test]
    fn ranks_of_any_number_of_samples_lie_around_that_of_the_quantile(
        bits in 0..64_u32,
        number in any::<u64>(),
        mut ppms in proptest::array::uniform2(prop_oneof![
            0..=MILLION, 0..20_u32, MILLION - 20..=MILLION,
        ]),
    ) {
        let n = number >> bits;
        ppms.sort_unstable();
        let quantiles = ppms.map(|ppm| Quantile::from_ppm(ppm).unwrap());
        let [one, other] = quantiles.map(|quantile| ConfidenceInterval::of_ranks(quantile, n));
        for (rank, bounds) in quantiles.map(|of| of.rank(n)).into_iter().zip([one, other]) {
            let ConfidenceInterval { low, high } = bounds;
            prop_assert!(low.is_none_or(|low| (1..=rank).contains(&low)), "{n}: {low:?} {rank}");
            let is_above = high.is_none_or(|high| (rank..=n).contains(&high));
            prop_assert!(is_above, "{n}: {high:?} {rank}");
        }
        // A greater quantile has no smaller bounds. An absent upper bound is the greatest.
        prop_assert!(one.low <= other.low, "{n} {ppms:?}: {one:?} {other:?}");
        let high = |interval: ConfidenceInterval| interval.high.unwrap_or(u64::MAX);
        prop_assert!(n == u64::MAX || high(one) <= high(other), "{n} {ppms:?}: {one:?} {other:?}");
    }
}
