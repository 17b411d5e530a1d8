//! The confidence intervals of the quantiles of a summary, in JSON.

use serde::Serialize;
use tailwatch_core::{ConfidenceInterval, Distribution, DistributionData, Quantile};

use super::{owned_data::OwnedData, statistics::Statistics};

/// The lower and the upper bound, each `null` if there is none.
type Bounds = [Option<u64>; 2];

/// The confidence intervals of the four quantiles of a summary.
#[derive(Serialize)]
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
            let bounds = |quantile| {
                let ConfidenceInterval { low, high } = values.interval(quantile)?;
                Some([low, high])
            };
            Some(Self {
                p50: bounds(Quantile::P50)?,
                p95: bounds(Quantile::P95)?,
                p99: bounds(Quantile::P99)?,
                p99_9: bounds(Quantile::P99_9)?,
            })
        };
        match statistics.data() {
            // Of sorted samples, any rank is found in one pass.
            OwnedData::Exact(samples) => {
                let mut sorted = samples.clone();
                sorted.sort_unstable();
                intervals(DistributionData::Exact(sorted[..].into()))
            }
            data @ OwnedData::Counted { .. } => data.with(intervals),
        }
    }
}
