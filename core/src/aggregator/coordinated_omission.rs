//! Corrects for coordinated omission: keeps a second summary of each event that has an expected
//! interval.
//!
//! While a program waits for a slow span, it does not begin the next spans on time. The whole delay
//! then shows as a single slow sample. The correction of `HdrHistogram`
//! (`recordValueWithExpectedInterval`) adds the samples that are missing: for a sample `v` and an
//! expected interval `i` also `v − i`, `v − 2i` and so on, as long as they are at least `i`.
//!
//! Here, the missing samples are not recorded one by one. A bucket of the histogram holds the
//! values above its lower bound, up to and including its upper bound. The number of missing samples
//! in it is therefore the number above the lower bound minus the number above the upper bound. The
//! upper bound of a bucket is the lower bound of the next, so each bucket takes one division. A
//! slow sample costs time linear in the buckets from that of the smallest missing sample up to its
//! own, however short the interval is.

use super::{Aggregator, MomentsOf};
use crate::{
    arithmetic,
    event::Unit,
    repr::{Repr, StoredMoments},
    statistics::{moments::Moments, select::WeightedSample, window::Window},
    storage::{Storage, row::Row},
};

impl<S: Storage> Aggregator<S> {
    /// Adds the samples that are missing because of a sample to the corrected summary of its event,
    /// and the sample itself unless it `is_failed`: that of a span that ended with an outcome that
    /// the summaries of the event do not cover.
    ///
    /// `event_row` is the row of the event, which must have an expected interval. The samples are
    /// added to the total and to the slices that `tick`, the tick of its record, belongs to. `tick`
    /// is `None` if the sample is from the future: its tick is not plausible, so the samples are
    /// added to the total only.
    pub(super) fn correct(
        &mut self,
        event_row: usize,
        weighted: WeightedSample,
        tick: Option<u64>,
        is_failed: bool,
    ) {
        // Each missing sample has the weight of the sample, which is 2^sampling.
        let (value, sampling, weight) = (weighted.value(), weighted.sampling(), weighted.weight());
        let (unit, buckets) = (self.shape().unit, self.shape().buckets(Unit::Time));
        let state = &*self.state(event_row);
        let (interval, row) = (state.interval_nanos, usize::from(state.corrected));

        // The number of missing samples: as many as `HdrHistogram` adds if value and interval are
        // whole nanoseconds. In internal units, a duration of exactly n intervals could be rounded
        // to less than n of them.
        let missing = arithmetic::div_rem(unit.nanos(value), interval).0.saturating_sub(1);
        // The missing samples are spaced evenly between `value` and `least`, the smallest of them:
        // they are value − j·distance/missing for j from 1 to `missing`. If the interval were
        // rounded to internal units first, its rounding error would add up from sample to sample.
        // If there are missing samples, `missing` intervals together are at least one interval
        // shorter than the sample; otherwise they are 0. So `min` has no effect. It is there
        // because it shows, whatever the rounding, that the subtraction `value - distance` cannot
        // overflow.
        let distance = unit.units_in_nanos(missing.saturating_mul(interval)).min(value);
        let least = value - distance;
        // Returns how many missing samples are greater than `bound`. These are the samples whose
        // number j satisfies value − j·distance/missing > bound, that is,
        // j·distance < excess·missing. In whole numbers: j <= (excess·missing − 1) / distance,
        // rounded down.
        let above = |bound: u64| {
            let excess = value.saturating_sub(bound);
            // A division of 128 bits takes several times as long as one of 64 bits, so it is only
            // used if the product excess·missing does not fit 64 bits.
            let largest_j = if let Some(product) = excess.checked_mul(missing) {
                arithmetic::div_rem(product.saturating_sub(1), distance.max(1)).0
            } else {
                arithmetic::saturating_u64(arithmetic::quotient(
                    arithmetic::product(excess, missing) - 1,
                    distance.max(1),
                ))
            };
            missing.min(largest_j)
        };
        let mut row = self.row(row);
        let mut moments = if is_failed { Moments::EMPTY } else { Moments::of(weighted) };
        moments.add_series(value, least, missing, sampling);
        // The weight that did not fit into counters, because they are saturated.
        let mut overflow = row.add_moments(&moments, tick);
        if row.has_histograms() {
            let value_bucket = buckets.index(value);
            if !is_failed {
                overflow = overflow.saturating_add(row.count(value_bucket, weight, tick));
            }
            // Without missing samples, the range of buckets is empty.
            let first = if missing > 0 { buckets.index(least) } else { value_bucket + 1 };
            let mut above_lower = above(buckets.bounds(first).0);
            for bucket in first..=value_bucket {
                let above_upper = above(buckets.bounds(bucket).1);
                let added = (above_lower - above_upper).saturating_mul(weight);
                above_lower = above_upper;
                if added > 0 {
                    overflow = overflow.saturating_add(row.count(bucket, added, tick));
                }
            }
        }
        self.note_overflow(overflow);
    }
}

/// Returns the slices of the windows that contain `tick`; none if that is `None`.
pub(super) fn slices_at(windows: &[Window], tick: Option<u64>) -> impl Iterator<Item = usize> {
    windows.iter().filter_map(move |window| window.slice_index(tick?))
}

impl<S: Storage> Row<'_, S> {
    /// Adds moments to the total and to the slices that contain `tick`. Returns the weight that did
    /// not fit.
    pub(super) fn add_moments(&mut self, moments: &MomentsOf<S>, tick: Option<u64>) -> u64 {
        self.state.total.merge(moments);
        let mut overflow = 0_u64;
        for slice in slices_at(self.windows, tick) {
            overflow = overflow.saturating_add(self.slices[slice].merge(moments));
        }
        overflow
    }

    /// Adds `weight` to a bucket, in the total and in the slices that contain `tick`. Returns the
    /// weight that did not fit.
    pub(super) fn count(&mut self, bucket: usize, weight: u64, tick: Option<u64>) -> u64 {
        if !S::Repr::IS_COMPACT {
            let mut used_blocks = self.used_blocks();
            used_blocks.insert(bucket);
            self.state.used_blocks = used_blocks.bits();
        }
        let mut overflow = self.total.add(0, bucket, weight);
        for window in self.windows {
            let Some(slice) = tick.and_then(|tick| window.slice_index(tick)) else { continue };
            let mut counts = self.counts.of_window::<S::Repr>(window);
            overflow = overflow.saturating_add(counts.add(slice, bucket, weight));
        }
        overflow
    }
}
