//! The summary of several sets of samples together, from their summaries and a histogram of all.

use tailwatch_core::{Accuracy, FixedPoint, Quantile, Summary, UnitConverter};

use super::{
    histogram::{Histogram, SumProblem},
    stated_quantile::Bounds,
};

/// Returns the summary of all samples together. There must be at least one summary, and `histogram`
/// has the samples of all.
///
/// Counts and extremes are exact. Mean and standard deviation are rounded twice: in the parts, and
/// here. The covered time is the longest.
pub(super) fn sum(
    parts: &[&Summary],
    histogram: &Histogram,
    converter: UnitConverter,
) -> Result<Summary, SumProblem> {
    let add = |number: fn(&Summary) -> u64| {
        let mut numbers = parts.iter().map(|part| number(part));
        numbers.try_fold(0, u64::checked_add).ok_or(SumProblem::Overflow)
    };
    let first = **parts.first().ok_or(SumProblem::NoHistogram)?;
    let estimated_total = add(|part| part.estimated_total)?;
    let min = parts.iter().map(|part| part.min).min().unwrap_or(first.min);
    let max = parts.iter().map(|part| part.max).max().unwrap_or(first.max);
    let [mean, stddev] = mean_and_deviation(parts);
    let bounds = Bounds::new([min, max], estimated_total, Some(histogram), converter);
    let quantiles = [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9];
    let quantiles = quantiles.map(|quantile| bounds.quantile(quantile));
    let error = quantiles.iter().map(|(_, accuracy)| accuracy.max_relative_error_ppm()).max();
    let [p50, p95, p99, p99_9] = quantiles.map(|(value, _)| value);
    let mut summary = first;
    summary.count = add(|part| part.count)?;
    summary.estimated_total = estimated_total;
    (summary.min, summary.max) = (min, max);
    (summary.mean, summary.stddev) = (mean, stddev);
    (summary.p50, summary.p95, summary.p99, summary.p99_9) = (p50, p95, p99, p99_9);
    summary.accuracy = Accuracy::WithinPpm(error.unwrap_or(u32::MAX));
    summary.covered = parts.iter().map(|part| part.covered).max().unwrap_or(first.covered);
    summary.complete = parts.iter().all(|part| part.complete);
    Ok(summary)
}

/// Returns the mean and the standard deviation of all samples together. One that is not known of a
/// part is not known.
fn mean_and_deviation(parts: &[&Summary]) -> [Option<FixedPoint>; 2] {
    #[expect(clippy::cast_precision_loss, reason = "the result is documented as rounded")]
    let weight = |part: &Summary| part.estimated_total as f64;
    let all: f64 = parts.iter().map(|part| weight(part)).sum();
    let mean: Option<f64> =
        parts.iter().map(|part| Some(part.mean?.to_f64() * (weight(part) / all))).sum();
    let Some(mean) = mean else { return [None; 2] };
    // Each part contributes its own variance, and the square of the distance of its mean.
    let variance: Option<f64> = parts
        .iter()
        .map(|part| {
            let (deviation, distance) = (part.stddev?.to_f64(), part.mean?.to_f64() - mean);
            Some((deviation * deviation + distance * distance) * (weight(part) / all))
        })
        .sum();
    [fixed_point(mean), variance.and_then(|variance| fixed_point(variance.sqrt()))]
}

/// Returns the nearest fixed-point number. `None` if the number is negative, not finite or too
/// large.
pub(super) fn fixed_point(number: f64) -> Option<FixedPoint> {
    let bits = (number * 65_536.0).round();
    // 2^64, from which on the bits do not fit.
    if !(0.0..18_446_744_073_709_551_616.0).contains(&bits) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be in the range"
    )]
    FixedPoint::from_bits(bits as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A number that JSON has rounded is rounded to the same number again.
        #[test]
        fn a_fixed_point_number_survives_its_conversion(bits in any::<u64>(), shift in 0..64_u32) {
            if let Some(number) = FixedPoint::from_bits(bits >> shift) {
                let float = number.to_f64();
                let back = fixed_point(float);
                if let Some(back) = back {
                    prop_assert_eq!(back.to_f64().to_bits(), float.to_bits());
                    prop_assert!(back == number || float >= 2_f64.powi(37));
                } else {
                    prop_assert!(float >= 2_f64.powi(48));
                }
            }
        }
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        for number in [-1.0, f64::NAN, f64::INFINITY, 2_f64.powi(48)] {
            assert_eq!(fixed_point(number), None, "{number}");
        }
    }
}
