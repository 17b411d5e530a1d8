//! A sum of squares in 128 bits that reaches 2^175, for wide storage.
//!
//! Below 2^127, the sum is exact. From there on, its highest bit is set, and the other 127 bits
//! count units of 2^48: the sum is *coarse*. Each addition to a coarse sum rounds to whole units.
//! Every sample that is added changes the sum of squares by half a unit at most, so the variance by
//! at most 2^47, and the standard deviation by at most 2^23.5: in the unit
//! [`TimeUnit::Fine`](crate::TimeUnit::Fine), by 11 µs. The sum of the squares of 2^35 durations of
//! a minute is coarse, and that of 30,000 durations of 18 hours.
//!
//! A sum of 192 bits would be exact, but the moments of a slice would no longer fit into a cache
//! line.

use crate::arithmetic;

/// The sum that stands for any sum which is too large.
pub(crate) const UNKNOWN: u128 = u128::MAX;

/// The bit that marks a coarse sum.
const COARSE: u128 = 1 << (u128::BITS - 1);

/// A unit of a coarse sum is 2^48.
const UNIT_BITS: u32 = 48;

/// Adds two sums.
#[inline(always)]
pub(crate) const fn add(one: u128, other: u128) -> u128 {
    // Only the sum of a coarse one can overflow.
    let sum = one.wrapping_add(other);
    if is_coarse(one | other | sum) { add_coarse(one, other) } else { sum }
}

/// Adds two sums whose sum is coarse.
#[cold]
#[inline(never)]
const fn add_coarse(one: u128, other: u128) -> u128 {
    if !is_coarse(one | other) {
        return from_units(rounded(one + other, UNIT_BITS));
    }
    from_units(units(one).saturating_add(units(other)))
}

/// Returns `value`² times 2^`sampling`. `sampling` must be less than 64.
pub(crate) const fn square(value: u64, sampling: u8) -> u128 {
    shifted(arithmetic::product(value, value), sampling)
}

/// Returns a number times 2^`sampling`. `number` is not a coarse sum: its highest bit is part of
/// it. `sampling` must be less than 64.
pub(crate) const fn shifted(number: u128, sampling: u8) -> u128 {
    let sampling = sampling as u32;
    if number.leading_zeros() > sampling {
        number << sampling
    } else if sampling < UNIT_BITS {
        from_units(rounded(number, UNIT_BITS - sampling))
    } else {
        from_units(shifted_units(number, sampling - UNIT_BITS))
    }
}

/// Returns the sum of the squares of a series of samples of weight 2^`sampling`, which is too large
/// for an exact sum. The samples are v − j·d/n for j = 1…n, where v is `value`, d is `distance` and
/// n is `count`.
pub(crate) fn of_series(value: u64, distance: u64, count: u64, sampling: u8) -> u128 {
    // As in `Moments::add_series`, in units.
    let terms = || {
        let first = units_of_product(arithmetic::product(value, value), count)?;
        let second = units_of_product(arithmetic::product(value, distance), count.checked_add(1)?)?;
        let square = arithmetic::product(distance, distance);
        let third_times_6 = units_of_product(square, count.checked_mul(2)?.checked_add(3)?)?
            .checked_add(arithmetic::quotient(square, count) >> UNIT_BITS)?;
        first.checked_add(third_times_6 / 6)?.checked_sub(second)
    };
    terms().map_or(UNKNOWN, |units| from_units(shifted_units(units, sampling.into())))
}

/// Returns by how much a sum is greater than an earlier one; `None` if it is less.
pub(crate) fn since(now: u128, earlier: u128) -> Option<u128> {
    if now == UNKNOWN {
        return Some(UNKNOWN);
    }
    if !is_coarse(now | earlier) {
        return now.checked_sub(earlier);
    }
    units(now).checked_sub(units(earlier)).map(from_units)
}

/// Returns whether a sum is coarse, or not known.
pub(crate) const fn is_coarse(squares: u128) -> bool {
    squares & COARSE != 0
}

/// Returns the standard deviation, rounded down, of values with this coarse sum of squares, this
/// sum and this total weight, which must not be 0. Returns `None` if the sum of squares is not
/// known.
pub(crate) fn deviation(squares: u128, sum: u128, weight: u64) -> Option<u64> {
    if squares == UNKNOWN {
        return None;
    }
    // n·variance = Σx² − (Σx)²/n. With Σx = whole·n + rest, (Σx)²/n = whole·(Σx + rest) + rest²/n.
    let [whole, rest] = [sum / u128::from(weight), sum % u128::from(weight)];
    let whole = u64::try_from(whole).ok()?;
    let last_term = (rest * rest / u128::from(weight)) >> UNIT_BITS;
    let n_variance = units(squares)
        .saturating_sub(units_of_product(sum.checked_add(rest)?, whole)?)
        .saturating_sub(last_term);
    let [quotient, rest] = [n_variance / u128::from(weight), n_variance % u128::from(weight)];
    let variance =
        shifted_units(quotient, UNIT_BITS).checked_add((rest << UNIT_BITS) / u128::from(weight))?;
    Some(arithmetic::isqrt(variance))
}

/// Returns a sum in units: rounded if it is not coarse.
pub(crate) const fn units(squares: u128) -> u128 {
    if is_coarse(squares) { squares & !COARSE } else { rounded(squares, UNIT_BITS) }
}

/// Returns the sum of so many units. It is coarse, unless it is less than 2^127.
const fn from_units(units: u128) -> u128 {
    if units.leading_zeros() > UNIT_BITS {
        units << UNIT_BITS
    } else if units < COARSE {
        units | COARSE
    } else {
        UNKNOWN
    }
}

/// Returns `number` / 2^`bits`, rounded to the nearest. `bits` must be 1 to 127.
const fn rounded(number: u128, bits: u32) -> u128 {
    (number >> bits) + (number >> (bits - 1) & 1)
}

/// Returns `units` times 2^`bits`; the largest number if that does not fit.
const fn shifted_units(units: u128, bits: u32) -> u128 {
    if units.leading_zeros() >= bits { units << bits } else { u128::MAX }
}

/// Returns a·b in units, rounded down; `None` if that does not fit.
#[expect(clippy::cast_possible_truncation, reason = "split into its halves")]
fn units_of_product(a: u128, b: u64) -> Option<u128> {
    let [low, high] = [a as u64, (a >> u64::BITS) as u64].map(|half| arithmetic::product(half, b));
    high.checked_mul(1 << (u64::BITS - UNIT_BITS))?.checked_add(low >> UNIT_BITS)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;
    use crate::statistics::{fixed_point::FRACTION_BITS, moments::Moments};

    fn exact(squares: u128) -> BigUint {
        if is_coarse(squares) {
            BigUint::from(squares - COARSE) << UNIT_BITS
        } else {
            BigUint::from(squares)
        }
    }

    fn difference(one: &BigUint, other: &BigUint) -> BigUint {
        if one > other { one - other } else { other - one }
    }

    /// Returns so many units.
    fn in_units(units: u32) -> BigUint {
        BigUint::from(units) << UNIT_BITS
    }

    /// Generates values of all lengths up to 60 bits.
    fn value() -> impl Strategy<Value = u64> {
        (any::<u64>(), 4..60_u32).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #[test]
        fn a_sum_is_exact_below_2_127_and_then_rounded_to_units(
            values in proptest::collection::vec((value(), 0..46_u8), 1..20),
        ) {
            let (mut sum, mut whole) = (0, BigUint::ZERO);
            for (number, (value, sampling)) in (1..).zip(values) {
                let (before, square) = (sum, square(value, sampling));
                sum = add(before, square);
                whole += BigUint::from(value).pow(2) << sampling;
                let error = difference(&exact(sum), &whole);
                if whole < BigUint::from(COARSE) {
                    prop_assert_eq!(error, BigUint::ZERO);
                } else {
                    prop_assert!(error <= in_units(2 * number), "{}", error);
                }
                let added = since(sum, before).unwrap();
                prop_assert!(difference(&exact(added), &exact(square)) <= in_units(2));
            }
        }

        /// Adding moments to themselves k times has 2^k times as many samples, so that the sum of
        /// the squares becomes coarse.
        #[test]
        fn a_mean_and_a_deviation_agree_with_big_integers_however_large_the_sum_is(
            values in proptest::collection::vec((value(), 0..16_u8), 1..20),
            is_near in any::<bool>(),
            doublings in 0..40_u32,
        ) {
            // Values that are nearly equal have a small deviation.
            let near = |value: u64| if is_near { (1 << 59) + (value >> 35) } else { value };
            let values: Vec<_> = values.into_iter().map(|(value, k)| (near(value), k)).collect();
            let mut moments = Moments::<u128>::EMPTY;
            for (value, sampling) in &values {
                moments.add(*value, *sampling);
            }
            (0..doublings).for_each(|_| {
                let same = moments;
                moments.merge(&same);
            });
            let power_sum = |power: u32| -> BigUint {
                values.iter().map(|(value, k)| BigUint::from(*value).pow(power) << *k).sum()
            };
            let n: BigUint = power_sum(0);
            let mean = (power_sum(1) << FRACTION_BITS) / &n;
            let variance = (power_sum(2) * &n - power_sum(1).pow(2)) / n.pow(2);
            let [found_mean, found] = moments.mean_and_deviation().map(BigUint::from);
            prop_assert!(difference(&found_mean, &mean) <= BigUint::from(1_u8));
            // The variance is off by at most 2^47 for each of its samples, and by 1.
            let found = found >> FRACTION_BITS;
            let error = (BigUint::from(1_u8) << (UNIT_BITS - 1)) + BigUint::from(2_u8);
            let is_within = if is_coarse(moments.squares()) {
                let least = if variance > error { &variance - &error } else { BigUint::ZERO };
                least.sqrt() <= &found + 1_u8 && found <= (variance + error).sqrt()
            } else {
                difference(&found, &variance.sqrt()) <= BigUint::from(1_u8)
            };
            prop_assert!(is_within, "{}", found);
        }

        #[test]
        fn a_series_that_is_too_large_for_an_exact_sum_agrees_with_big_integers(
            value in 1_u64 << 40..1 << 60,
            share in any::<u64>(),
            count in 1_u64 << 10..1 << 46,
            sampling in 0..8_u8,
        ) {
            let distance = share % value;
            let [v, d, n] = [value, distance, count].map(BigUint::from);
            // As in `Moments::add_series`.
            let exact_sum = (&n * v.pow(2) + d.pow(2) * (2_u8 * &n + 3_u8) / 6_u8
                + d.pow(2) / (6_u8 * &n)
                - &v * &d * (&n + 1_u8)) << sampling;
            let found = of_series(value, distance, count, sampling);
            let allowed = in_units(3) << sampling;
            prop_assert!(difference(&exact(found), &exact_sum) <= allowed, "{}", exact(found));
        }
    }

    #[test]
    fn a_sum_that_is_too_large_is_unknown_and_stays_so() {
        assert_eq!(square(u64::MAX, 63), UNKNOWN);
        assert_eq!(of_series(u64::MAX, u64::MAX, u64::MAX, 15), UNKNOWN);
        assert_eq!(add(UNKNOWN, 0), UNKNOWN);
        assert_eq!(add(1, UNKNOWN), UNKNOWN);
        let large = square(1 << 60, 50);
        assert!(is_coarse(large) && large != UNKNOWN);
        assert_eq!((0..100).fold(large, |sum, _| add(sum, large)), UNKNOWN);
        assert_eq!(since(UNKNOWN, large), Some(UNKNOWN));
        assert_eq!(since(large, add(large, large)), None);
        assert_eq!(deviation(UNKNOWN, 1, 1), None);
    }
}
