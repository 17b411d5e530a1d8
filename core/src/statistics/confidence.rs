//! Confidence intervals of quantiles, whose bounds are samples.
//!
//! Let p be the share of the quantile. Of n independent samples of a continuous distribution, the
//! number X that are at most the true quantile has the binomial distribution with n and p. So the
//! sample at the rank r lies above the true quantile with the probability P(X < r), and the ranks
//! of the bounds follow from n and p alone. If values repeat, a bound equals the true quantile more
//! often, so that it is on the wrong side less often.

use crate::{arithmetic, statistics::quantile::Quantile};

/// A distribution-free 95 % confidence interval of a quantile: what the samples say about the
/// quantile of the process that they come from.
///
/// A quantile of a summary is a fact about the samples. The *true* quantile is that of all samples
/// which the same process might have produced. With few samples, the two may be far apart. The
/// interval contains the true quantile with a probability of at least 95 %, whatever the
/// distribution of the samples is: each bound is on the wrong side with at most 2.5 %.
///
/// # Limits
///
/// The samples must be *independent*. Consecutive latencies are not: a slow span often comes with
/// other slow ones. Then the interval contains the true quantile less often than 95 % of the time.
/// Take its width as the least uncertainty that there is.
///
/// The confidence is that of one interval. That several quantiles all lie in theirs is less likely.
///
/// Records that were lost, or not drawn by sampling at random, do not make the interval wrong if
/// whether a record is missing does not depend on its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConfidenceInterval {
    /// The lower bound. `None` if there are too few samples for one: for a median, below 6.
    pub low: Option<u64>,
    /// The upper bound. `None` if there are too few samples for one: for p99, below 368. The true
    /// quantile may then exceed every sample.
    pub high: Option<u64>,
}

const MILLION: u32 = 1_000_000;

/// The largest probability with which a bound may be on the wrong side, and the number of standard
/// deviations by which a normal distribution exceeds its mean with this probability.
const MISS: f64 = 0.025;
const Z: f64 = 1.959_963_984_540_054;

/// Probabilities that differ by less than this share of them count as equal. The rounding errors of
/// a sum are below a tenth of it.
const TOLERANCE: f64 = 1e-10;

/// The weight, compared with that of the most likely number, from which on the weights of less
/// likely numbers are left out of a sum.
const NEGLIGIBLE: f64 = 1e-18;

/// The largest variance of a binomial distribution whose probabilities are added up one by one,
/// which takes 18 standard deviations of steps.
const MAX_SUMMED_VARIANCE: u64 = 1_024;

/// By how much an approximate rank is moved outward before it is rounded. The largest error of the
/// approximation that was found is less than a third of this.
const MARGIN: f64 = 1.0 / 4_096.0;

impl ConfidenceInterval {
    /// Returns the ranks, counted from 1, of the samples that are the bounds of the interval, if
    /// there are `n` samples in ascending order. Both ranks are as close to each other as they can
    /// be: a greater lower rank, or a smaller upper one, would miss the true quantile with more
    /// than 2.5 %.
    ///
    /// # Limits
    ///
    /// This holds while n·q·(1 − q) is at most 1,024, so for p99 up to 103,000 samples. Two
    /// probabilities count as equal if they agree to ten digits. With more samples, the ranks come
    /// from a series (that of Cornish and Fisher), and one in about 4,000 is one further out than
    /// necessary. The time is bounded, whatever `n` is: some microseconds on a processor with
    /// floating point.
    ///
    /// ```
    /// use tailwatch_core::{ConfidenceInterval, Quantile};
    ///
    /// let of = |n| ConfidenceInterval::of_ranks(Quantile::P99, n);
    /// assert_eq!(of(1_000), ConfidenceInterval { low: Some(983), high: Some(997) });
    /// assert_eq!(of(368).high, Some(368));
    /// assert_eq!(of(367).high, None, "the true quantile may exceed every sample");
    /// ```
    pub fn of_ranks(quantile: Quantile, n: u64) -> Self {
        let ppm = quantile.ppm();
        // Seen from the largest sample, the upper rank is the lower one of the quantile 1 − q.
        let from_the_top = lower_rank(MILLION - ppm, n);
        Self { low: lower_rank(ppm, n), high: from_the_top.map(|rank| n - (rank - 1)) }
    }

    /// Returns the interval of the values at these ranks. `at_low` and `at_high` return the value
    /// of the lower and of the upper bound.
    pub(crate) fn map(
        self,
        at_low: impl FnOnce(u64) -> Option<u64>,
        at_high: impl FnOnce(u64) -> Option<u64>,
    ) -> Self {
        Self { low: self.low.and_then(at_low), high: self.high.and_then(at_high) }
    }
}

/// Returns the largest rank from 1 to `n` that is above the true quantile with a probability of at
/// most [`MISS`]: the largest r with P(X ≤ r − 1) ≤ 0.025, where X has the binomial distribution.
/// `None` if there is none.
fn lower_rank(ppm: u32, n: u64) -> Option<u64> {
    // No sample is below the quantile 0, and none above the quantile 1.
    if n == 0 || ppm == 0 {
        return None;
    }
    if ppm == MILLION {
        return Some(n);
    }
    let variance = variance(ppm, n);
    if variance <= u128::from(MAX_SUMMED_VARIANCE) * u128::from(MILLION).pow(2) {
        summed_lower_rank(ppm, n)
    } else {
        Some(approximate_lower_rank(ppm, n, variance, MARGIN))
    }
}

/// Returns n·ppm·(10^6 − ppm): the variance of the binomial distribution, times 10^12.
fn variance(ppm: u32, n: u64) -> u128 {
    arithmetic::product(n, arithmetic::product_of_words(ppm, MILLION - ppm))
}

/// Finds a lower rank by adding up the probabilities of the binomial distribution.
///
/// All probabilities are computed as multiples of the one at the middle, each from its neighbour,
/// by additions, multiplications and divisions alone. Their sum shows what a multiple is worth.
fn summed_lower_rank(ppm: u32, n: u64) -> Option<u64> {
    let (share, rest) = (f64::from(ppm), f64::from(MILLION - ppm));
    let next = |k: u64, weight: f64| weight * (float(n - k) * share) / (float(k + 1) * rest);
    let previous = |k: u64, weight: f64| weight * (float(k) * rest) / (float(n - k + 1) * share);
    let middle = Quantile::from_ppm(ppm)?.rank(n);
    let (mut up_to, mut k, mut weight) = (0.0, middle, 1.0);
    while weight > NEGLIGIBLE {
        up_to += weight;
        // Becomes 0 below the number 0, and above the number n.
        weight = previous(k, weight);
        k = k.saturating_sub(1);
    }
    let (mut total, mut k, mut weight) = (up_to, middle, next(middle, 1.0));
    while weight > NEGLIGIBLE {
        total += weight;
        k += 1;
        weight = next(k, weight);
    }
    // `up_to` is the weight of the numbers up to k.
    let most = total * MISS * (1.0 + TOLERANCE);
    let (mut k, mut weight) = (middle, 1.0);
    while up_to > most {
        up_to -= weight;
        weight = previous(k, weight);
        k = k.checked_sub(1)?;
    }
    Some(k + 1)
}

/// Finds a lower rank by the series of Cornish and Fisher, which approximates a quantile of a
/// distribution by its cumulants. The rank is lowered by `margin` before it is rounded down.
/// `variance` is that of the distribution, times 10^12, and must be large.
///
/// Sheppard's correction for numbers that are integers lowers the variance by 1/12, and the
/// correction for continuity adds 1/2 to a number. The first term that is left out is of the order
/// of 1 / variance.
fn approximate_lower_rank(ppm: u32, n: u64, variance: u128, margin: f64) -> u64 {
    // The variance is less than 2^102, so that twice as many bits can be added.
    const ROOT_BITS: u32 = 12;
    let root = arithmetic::isqrt(variance << (2 * ROOT_BITS));
    let million = f64::from(MILLION);
    let deviation = float(root) / (million * f64::from(1_u32 << ROOT_BITS));
    let share = f64::from(ppm) / million;
    let (product, skew) = (share * (1.0 - share), 1.0 - 2.0 * share);
    let third = skew * (Z * Z - 1.0) / 6.0;
    let fourth = (1.0 - 6.0 * product) * Z * (Z * Z - 3.0) / 24.0;
    let third_squared = skew * skew * Z * (2.0 * Z * Z - 5.0) / 36.0;
    let below_mean = Z * deviation - third + (fourth - third_squared - Z / 24.0) / deviation;
    // The mean is n·p, an integer and a fraction.
    let scaled_mean = arithmetic::product(n, ppm.into());
    let mean = arithmetic::quotient(scaled_mean, MILLION.into());
    let fraction = float(arithmetic::saturating_u64(scaled_mean - mean * u128::from(MILLION)));
    let steps = below_mean - fraction / million - 0.5 + margin;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded up, from more than 60 to less than 2^33"
    )]
    let steps = steps as u64 + 1;
    arithmetic::saturating_u64(mean) - steps
}

/// Converts a number to floating point, rounded to 53 bits.
#[expect(clippy::cast_precision_loss, reason = "the error of the callers allows for it")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
