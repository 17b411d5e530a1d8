//! The confidence intervals of the quantiles of a summary.

use serde::{Deserialize, Serialize};
use tailwatch_core::{ConfidenceInterval, Distribution, DistributionData, Quantile};

use super::{owned_data::OwnedData, statistics::Statistics};

/// The lower and the upper bound, each `null` in JSON if there is none.
type Bounds = [Option<u64>; 2];

/// The confidence intervals of the four quantiles of a summary.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Intervals {
    p50: Bounds,
    p95: Bounds,
    p99: Bounds,
    p99_9: Bounds,
}

impl Intervals {
    /// Returns the intervals of statistics; `None` if some samples may have another weight than
    /// others.
    pub(super) fn of(statistics: &Statistics) -> Option<Self> {
        let intervals = |data: DistributionData<'_>| {
            let values = Distribution { converter: statistics.converter(), data };
            Self::by(|quantile| values.interval(quantile))
        };
        match statistics.data() {
            // Of sorted samples, any rank is found in one pass.
            OwnedData::Exact(samples) => {
                let mut sorted = samples.clone();
                sorted.sort_unstable();
                intervals(DistributionData::Exact(sorted[..].into()))
            }
            data @ OwnedData::Counted { .. } => data.with(intervals)?,
            OwnedData::Summarized { .. } => Self::by(|quantile| statistics.interval(quantile)),
        }
    }

    fn by(interval: impl Fn(Quantile) -> Option<ConfidenceInterval>) -> Option<Self> {
        let bounds = |quantile| {
            let ConfidenceInterval { low, high } = interval(quantile)?;
            Some([low, high])
        };
        Some(Self {
            p50: bounds(Quantile::P50)?,
            p95: bounds(Quantile::P95)?,
            p99: bounds(Quantile::P99)?,
            p99_9: bounds(Quantile::P99_9)?,
        })
    }

    /// Returns the interval of one of the four quantiles.
    pub(super) fn interval(&self, quantile: Quantile) -> Option<ConfidenceInterval> {
        let mut all = self.all().into_iter();
        let [low, high] = all.find(|(of, _)| *of == quantile)?.1;
        Some(ConfidenceInterval { low, high })
    }

    /// Returns the four quantiles with the bounds of their intervals.
    pub(super) fn all(&self) -> [(Quantile, Bounds); 4] {
        [
            (Quantile::P50, self.p50),
            (Quantile::P95, self.p95),
            (Quantile::P99, self.p99),
            (Quantile::P99_9, self.p99_9),
        ]
    }
}
