//! Quantiles of samples of which only a summary is known, and perhaps a histogram: those of a
//! report that was read.

use tailwatch_core::{
    Accuracy, ConfidenceInterval, Quantile, Summary, Unit, UnitConverter, histogram::Estimate,
};

use super::histogram::Histogram;

/// A quantile whose value is known, with its accuracy.
type Known = (Quantile, u64, Accuracy);

/// What bounds a quantile.
pub(super) struct Bounds<'a> {
    /// The quantiles whose values are known, in ascending order: at least those of the smallest and
    /// of the largest sample, which may be estimates.
    known: Vec<Known>,
    histogram: Option<&'a Histogram>,
    converter: UnitConverter,
    /// The total weight of the samples.
    weight: u64,
}

impl<'a> Bounds<'a> {
    /// Bounds by the smallest and the largest number that a sample can be, and by a histogram of
    /// the samples of this total weight.
    pub(super) fn new(
        [min, max]: [u64; 2],
        weight: u64,
        histogram: Option<&'a Histogram>,
        converter: UnitConverter,
    ) -> Self {
        let known =
            vec![(Quantile::MIN, min, Accuracy::Exact), (Quantile::MAX, max, Accuracy::Exact)];
        Self { known, histogram, converter, weight }
    }

    /// Bounds by all numbers of a summary as well.
    pub(super) fn of_summary(
        summary: &Summary,
        histogram: Option<&'a Histogram>,
        converter: UnitConverter,
    ) -> Self {
        let Summary { min, max, estimated_total, accuracy, .. } = *summary;
        let mut bounds = Self::new([min, max], estimated_total, histogram, converter);
        let quantiles = [
            (Quantile::P50, summary.p50),
            (Quantile::P95, summary.p95),
            (Quantile::P99, summary.p99),
            (Quantile::P99_9, summary.p99_9),
        ];
        let known = quantiles.map(|(quantile, value)| (quantile, value, accuracy));
        bounds.known.splice(1..1, known);
        bounds
    }

    /// Returns the value at a quantile and its accuracy: as it is known, or else the middle of the
    /// range in which the value lies.
    pub(super) fn quantile(&self, quantile: Quantile) -> (u64, Accuracy) {
        if let Some((_, value, accuracy)) = self.known.iter().find(|known| known.0 == quantile) {
            return (*value, *accuracy);
        }
        self.between(quantile)
    }

    /// Returns an estimate of the value at a quantile from its neighbours and its bucket.
    pub(super) fn between(&self, quantile: Quantile) -> (u64, Accuracy) {
        let mut least = self.known.iter().filter(|known| known.0 < quantile).map(least_of).max();
        let mut most = self.known.iter().filter(|known| known.0 > quantile).map(most_of).min();
        if let Some([first, last]) = self.bucket(quantile.rank(self.weight)) {
            least = least.max(Some(first));
            most = [most, Some(last)].into_iter().flatten().min();
        }
        // Numbers that contradict each other may leave nothing between them.
        let least = least.unwrap_or(0);
        let most = most.unwrap_or(u64::MAX).max(least);
        // The bounds are in the unit in which values are reported.
        let reported = UnitConverter { unit: Unit::One, time: self.converter.time };
        reported.estimate(Estimate::between(least, most))
    }
}

impl Bounds<'_> {
    /// Returns the confidence interval of a quantile from the histogram, if each of the `count`
    /// samples has the weight 1.
    pub(super) fn interval(&self, quantile: Quantile, count: u64) -> Option<ConfidenceInterval> {
        if self.histogram.is_none() || count != self.weight {
            return None;
        }
        let extremes = [self.known.first()?.1, self.known.last()?.1];
        let at = |rank: u64| {
            let [first, last] = self.bucket(rank)?;
            Some([first.max(extremes[0]), last.min(extremes[1])])
        };
        let ranks = ConfidenceInterval::of_ranks(quantile, count);
        let low = ranks.low.and_then(|rank| Some(at(rank)?[0]));
        let high = ranks.high.and_then(|rank| Some(at(rank)?[1]));
        Some(ConfidenceInterval { low, high })
    }

    /// Returns the smallest and the largest number that the sample with this rank can be by the
    /// histogram.
    fn bucket(&self, rank: u64) -> Option<[u64; 2]> {
        let histogram = self.histogram?;
        let (above, up_to) = histogram.buckets().bounds(histogram.bucket_of(rank)?);
        let first = if up_to == 0 { 0 } else { above.saturating_add(1) };
        Some([first, up_to].map(|value| self.converter.value(value)))
    }
}

const MILLION: u128 = 1_000_000;

/// Returns the smallest number that the true value can be: an estimate differs from it by the
/// stated share of the true value at most.
fn least_of((_, value, accuracy): &Known) -> u64 {
    let ppm = accuracy.max_relative_error_ppm();
    if ppm == u32::MAX {
        return 0;
    }
    saturated((u128::from(*value) * MILLION).div_ceil(MILLION + u128::from(ppm)))
}

/// Returns the largest number that the true value can be.
fn most_of((_, value, accuracy): &Known) -> u64 {
    let ppm = u128::from(accuracy.max_relative_error_ppm());
    match MILLION.checked_sub(ppm) {
        None | Some(0) => u64::MAX,
        Some(share) => saturated(u128::from(*value) * MILLION / share),
    }
}

fn saturated(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tailwatch_core::{Distribution, Moments, TimeUnit, WeightedSample, select};

    use super::*;
    use crate::report::{histogram::buckets_of, owned_data::OwnedData};

    proptest! {
        /// The true value is the one by sorting.
        #[test]
        fn the_true_value_is_within_the_stated_error(
            values in prop::collection::vec(
                (any::<u64>(), 8..64_u32).prop_map(|(value, shift)| value >> shift),
                1..200,
            ),
            ppm in 0..=1_000_000_u32,
            (is_time, has_histogram, is_exact) in any::<(bool, bool, bool)>(),
        ) {
            let unit = if is_time { Unit::Time } else { Unit::One };
            let converter = UnitConverter { unit, time: TimeUnit::Fine };
            let mut samples: Vec<_> =
                values.iter().map(|value| WeightedSample::new(*value, 0).unwrap()).collect();
            let histogram = Histogram::of_samples(buckets_of(unit), &samples);
            let data = if is_exact {
                OwnedData::Exact(samples.clone())
            } else {
                let mut moments = Moments::EMPTY;
                for sample in &samples {
                    moments.add(sample.value(), 0);
                }
                OwnedData::Counted { moments, histogram: histogram.clone() }
            };
            let summary = data.with(|data| Distribution { converter, data }.summary(0, true));
            let summary = summary.flatten().unwrap();
            let quantile = Quantile::from_ppm(ppm).unwrap();
            let [truth] = select::weighted_quantiles(&mut samples, [quantile]).unwrap();
            let is_in_range = truth < 1 << 48;
            let truth = converter.value(truth);
            let bounds =
                Bounds::of_summary(&summary, has_histogram.then_some(&histogram), converter);
            for (value, accuracy) in [bounds.quantile(quantile), bounds.between(quantile)] {
                let ppm = accuracy.max_relative_error_ppm();
                let error = u128::from(value.abs_diff(truth)) * MILLION;
                let allowed = u128::from(ppm) * u128::from(truth);
                prop_assert!(ppm == u32::MAX || error <= allowed, "{} {} {}", value, truth, ppm);
                if has_histogram && is_in_range && truth > 1_000 {
                    prop_assert!(ppm < 12_000, "{}", ppm);
                }
            }
        }
    }
}
