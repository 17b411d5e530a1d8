//! The second summary of an event with an expected interval: corrected for coordinated omission.
//!
//! A program that waits for a slow span does not begin the next ones on time, so that the slow time shows as a single sample.
//! The rule of `HdrHistogram` (`recordValueWithExpectedInterval`) puts in those that are missing: for a sample `v` at the interval
//! `i`, also `v − i`, `v − 2i`, … as long as they are no less than `i`. Here they are not recorded one by one: how many fall
//! into a bucket is a difference of two divisions, so that a pause costs as much as there are buckets below it, however short
//! the interval.

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
    /// Takes a sample into the corrected summary of its event: into the total, and into the windows that `tick` belongs to.
    pub(super) fn correct(&mut self, of: usize, weighted: WeightedSample, tick: Option<u64>) {
        let (value, sampling) = (weighted.value(), weighted.sampling());
        let shape = self.shape();
        let (buckets, room) = (shape.buckets(Unit::Time), shape.room());
        let place = if room > 0 { buckets.place(value) } else { 0 };
        let (of_row, unit) = (shape.slices, shape.unit);
        let StorageParts { windows, events, slices, counts, totals, .. } = self.storage.parts();
        let interval = events[of].interval_nanos;
        let row = usize::from(events[of].corrected);

        // In nanoseconds, as `HdrHistogram` would be told: in units a multiple of the interval might be rounded below itself.
        let missing = wide_math::divided(unit.nanos(value), interval).0.saturating_sub(1);
        // They are spaced evenly down to the least, so that no rounding of the interval adds up.
        let distance = unit.units_of(missing.saturating_mul(interval)).min(value);
        let least = value - distance;
        // Of the missing ones, how many are greater: j of them, if value − j·distance/missing > bound.
        let above = |bound: u64| {
            let room = value.saturating_sub(bound);
            // Of 64 bits where they are enough: a division of 128 costs several times as much.
            let steps = if let Some(steps) = room.checked_mul(missing) {
                wide_math::divided(steps.saturating_sub(1), distance.max(1)).0
            } else {
                wide_math::clamp(wide_math::quotient(
                    wide_math::product(room, missing) - 1,
                    distance.max(1),
                ))
            };
            missing.min(steps)
        };
        let slice_of = |slice: usize| row * of_row + slice;
        let mut counts = BucketCounts::of(counts, shape, row);
        let window_slices = || windows.iter().filter_map(|window| window.place(tick?));

        let mut moments = Moments::of(weighted);
        moments.add_series(value, least, missing, sampling);
        events[row].total.merge(&moments);
        let mut full = 0_u64;
        for slice in window_slices() {
            full = full.saturating_add(slices[slice_of(slice)].merge(&moments));
        }
        if room > 0 {
            full = full.saturating_add(totals[row * room + place].add(weighted.weight()));
            for slice in window_slices() {
                full = full.saturating_add(counts.add(slice, place, weighted.weight()));
            }
        }
        if missing > 0 && room > 0 {
            let first = buckets.place(least);
            let mut more = above(buckets.bounds(first).0);
            for place in first..=place {
                let rest = above(buckets.bounds(place).1);
                let weight = (more - rest).saturating_mul(weighted.weight());
                more = rest;
                if weight > 0 {
                    full = full.saturating_add(totals[row * room + place].add(weight));
                    for slice in window_slices() {
                        full = full.saturating_add(counts.add(slice, place, weight));
                    }
                }
            }
        }
        self.count_full(full);
    }
}
