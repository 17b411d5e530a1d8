//! The second summary of an event with an expected interval, corrected for coordinated omission.
//!
//! A program that waits for a slow span does not begin the next ones on time, so that the whole
//! delay shows as a single slow sample. The correction of `HdrHistogram`
//! (`recordValueWithExpectedInterval`) adds the samples that are missing: for a sample `v` and the
//! interval `i` also `v − i`, `v − 2i`, … down to `i`.
//!
//! Here, the missing samples are not recorded one by one. The number of them in a bucket is a
//! difference of two divisions. A pause therefore costs time linear in the buckets below it,
//! however short the interval is.

use super::Aggregator;
use crate::{
    Moments, Unit,
    bucket_counts::BucketCounts,
    histogram::Count,
    select::WeightedSample,
    storage::{Storage, StorageParts},
    wide_math,
};

impl<S: Storage> Aggregator<S> {
    /// Adds a sample to the corrected summary of its event: to the total, and to the windows that
    /// `tick` belongs to.
    pub(super) fn correct(
        &mut self,
        event_row: usize,
        weighted: WeightedSample,
        tick: Option<u64>,
    ) {
        let (value, sampling) = (weighted.value(), weighted.sampling());
        let shape = self.shape();
        let (buckets, room) = (shape.buckets(Unit::Time), shape.room());
        let place = if room > 0 { buckets.place(value) } else { 0 };
        let (slices_per_row, unit) = (shape.slices, shape.unit);
        let StorageParts { windows, events, slices, counts, totals, .. } = self.storage.parts();
        let interval = events[event_row].interval_nanos;
        let row = usize::from(events[event_row].corrected);

        // In nanoseconds, like `HdrHistogram`: in internal units, a duration of exactly n intervals
        // could be rounded to less than n of them.
        let missing = wide_math::div_rem(unit.nanos(value), interval).0.saturating_sub(1);
        // The missing samples are spaced evenly down to the smallest, so that rounding errors of
        // the interval do not add up.
        let distance = unit.units_in_nanos(missing.saturating_mul(interval)).min(value);
        let least = value - distance;
        // Returns how many missing samples exceed `bound`: j of them, where j is the largest number
        // with value − j·distance/missing > bound.
        let above = |bound: u64| {
            let excess = value.saturating_sub(bound);
            // Divides 64 bits if the product fits: a division of 128 bits takes several times as
            // long.
            let steps = if let Some(steps) = excess.checked_mul(missing) {
                wide_math::div_rem(steps.saturating_sub(1), distance.max(1)).0
            } else {
                wide_math::clamp(wide_math::quotient(
                    wide_math::product(excess, missing) - 1,
                    distance.max(1),
                ))
            };
            missing.min(steps)
        };
        let slice_of = |slice: usize| row * slices_per_row + slice;
        let mut counts = BucketCounts::of(counts, shape, row);
        let window_slices = || windows.iter().filter_map(|window| window.place(tick?));

        let mut moments = Moments::of(weighted);
        moments.add_series(value, least, missing, sampling);
        events[row].total.merge(&moments);
        let mut overflow = 0_u64;
        for slice in window_slices() {
            overflow = overflow.saturating_add(slices[slice_of(slice)].merge(&moments));
        }
        if room > 0 {
            overflow = overflow.saturating_add(totals[row * room + place].add(weighted.weight()));
            for slice in window_slices() {
                overflow = overflow.saturating_add(counts.add(slice, place, weighted.weight()));
            }
        }
        if missing > 0 && room > 0 {
            let first = buckets.place(least);
            let mut above_lower = above(buckets.bounds(first).0);
            for place in first..=place {
                let above_upper = above(buckets.bounds(place).1);
                let weight = (above_lower - above_upper).saturating_mul(weighted.weight());
                above_lower = above_upper;
                if weight > 0 {
                    overflow = overflow.saturating_add(totals[row * room + place].add(weight));
                    for slice in window_slices() {
                        overflow = overflow.saturating_add(counts.add(slice, place, weight));
                    }
                }
            }
        }
        self.note_overflow(overflow);
    }
}
