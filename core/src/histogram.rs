//! Buckets that grow by a fixed factor: counts over a wide range within a stated relative error.
//!
//! *Base-2 exponential*, as in Prometheus native and OpenTelemetry exponential histograms: at scale `s` each power of two is
//! cut into 2^s buckets, bucket `i` counts the values in `(2^(i/2^s), 2^((i+1)/2^s)]`. An exact power of two belongs to the
//! lower bucket. A value of any bucket is told as the bucket's geometric midpoint, which is wrong by at most:
//!
//! | scale | relative error | buckets a factor of 1,000 |
//! |---|---|---|
//! | 0 | 41.4 % | 10 |
//! | 3 | 4.43 % | 80 |
//! | 5 | 1.09 % | 319 |
//! | 8 | 0.135 % | 2,552 |
//!
//! # Why no t-digest
//!
//! A t-digest is smaller for the same error in the tails, but what it says depends on the order in which samples came, two of
//! them merge only approximately, and it computes in floating point. Slices of a window are merged all the time, on
//! processors without floating point too, and a report has to equal a recount of its trace: buckets add up exactly.

mod bounds;
mod buckets;
mod count;

use core::marker::PhantomData;

use self::buckets::COARSE;
pub use self::{
    buckets::{Buckets, Estimate, MAX_SCALE},
    count::Count,
};
use crate::{Moments, Quantile};

/// Counts of values by bucket, with their count, sum and extremes.
///
/// The counters are of type `C` (`u16`, `u32` or `u64`) and lie in `A`, an array, a boxed slice or a borrowed one. Merging is
/// addition, and lowering the scale halves the indices: either gives, bit for bit, what recording everything there would have.
/// Integers only, no allocation.
///
/// ```
/// use tailwatch_core::{Quantile, histogram::{Buckets, Histogram}};
///
/// const BUCKETS: Buckets = Buckets::new(5, 0, 40).unwrap();
/// let mut histogram = Histogram::new(BUCKETS, [0_u32; BUCKETS.places()]).unwrap();
/// for value in 1..=1_000 {
///     histogram.record(value, 0);
/// }
/// let p99 = histogram.quantile(Quantile::P99).unwrap();
/// assert!(p99.least <= 990 && 990 <= p99.most);
/// assert_eq!(histogram.iter().map(|bucket| bucket.count).sum::<u64>(), 1_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Histogram<C, A> {
    buckets: Buckets,
    moments: Moments,
    counts: A,
    width: PhantomData<C>,
}

/// A bucket that counted something: the values above `above`, up to and including `up_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bucket {
    /// No value in it is as small as this, but for the bucket of zero.
    pub above: u64,
    /// The largest value that belongs to it.
    pub up_to: u64,
    /// How many there are, by weight.
    pub count: u64,
}

impl<C: Count, A: AsRef<[C]>> Histogram<C, A> {
    /// An empty histogram; `None` unless there is a counter for each of [`Buckets::places`], all of them 0.
    pub fn new(buckets: Buckets, counts: A) -> Option<Self> {
        let empty = counts.as_ref().iter().all(|count| count.get() == 0);
        (empty && counts.as_ref().len() == buckets.places()).then_some(Self {
            buckets,
            moments: Moments::EMPTY,
            counts,
            width: PhantomData,
        })
    }

    /// Which values it tells apart.
    pub const fn buckets(&self) -> Buckets {
        self.buckets
    }

    /// Count, sum, extremes, mean and spread, all of them exact.
    pub const fn moments(&self) -> &Moments {
        &self.moments
    }

    /// The counters, by place.
    pub fn counts(&self) -> &[C] {
        self.counts.as_ref()
    }

    /// The value at a quantile; `None` if there are none. Linear in the places between the smallest and the largest.
    pub fn quantile(&self, quantile: Quantile) -> Option<Estimate> {
        let [estimate] = self.quantiles([quantile])?;
        Some(estimate)
    }

    /// The values at several quantiles, which ascend; `None` if there are no values.
    pub fn quantiles<const K: usize>(&self, quantiles: [Quantile; K]) -> Option<[Estimate; K]> {
        let counts = self.counts();
        (self.moments.count() > 0).then(|| {
            let [first, last] =
                [self.moments.min(), self.moments.max()].map(|value| self.buckets.place(value));
            estimate(self.buckets, &self.moments, &counts[first..=last], quantiles)
        })
    }

    /// The buckets that counted something, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Bucket> {
        self.counts().iter().enumerate().filter(|(_, count)| count.get() > 0).map(
            |(place, count)| {
                let (above, up_to) = self.buckets.bounds(place);
                Bucket { above, up_to, count: count.get() }
            },
        )
    }
}

impl<C: Count, A: AsRef<[C]> + AsMut<[C]>> Histogram<C, A> {
    /// Counts a value that stands for 2^`sampling` of its like. Returns how many of them did not fit into the counter;
    /// they are in the moments all the same, and quantiles allow for them.
    ///
    /// Constant time.
    pub fn record(&mut self, value: u64, sampling: u8) -> u64 {
        self.moments.add(value, sampling);
        self.counts.as_mut()[self.buckets.place(value)].add(1 << sampling)
    }

    /// Adds what another histogram counted; returns how many did not fit into the counters. `None`, and nothing is added, if
    /// it tells other values apart.
    pub fn merge<D: Count, B: AsRef<[D]>>(&mut self, other: &Histogram<D, B>) -> Option<u64> {
        if self.buckets != other.buckets {
            return None;
        }
        self.moments.merge(&other.moments);
        let counts = self.counts.as_mut().iter_mut().zip(other.counts());
        Some(counts.fold(0_u64, |left, (count, more)| left.saturating_add(count.add(more.get()))))
    }

    /// Makes one bucket of two: the scale is one lower, and the counters behind [`Buckets::places`] are 0 and unused.
    /// Returns how many did not fit into a counter; `None`, and nothing changes, at scale 0.
    pub fn downscale(&mut self) -> Option<u64> {
        let coarser = self.buckets.coarser()?;
        let counts = self.counts.as_mut();
        let mut left = 0_u64;
        for place in 0..self.buckets.places() {
            let to = self.buckets.coarser_place(place);
            if to != place {
                let moved = core::mem::take(&mut counts[place]).get();
                left = left.saturating_add(counts[to].add(moved));
            }
        }
        self.buckets = coarser;
        Some(left)
    }
}

/// The values at these quantiles, which ascend, of at least one value, of which `counts` tells how many lie at each place from that
/// of the smallest to that of the largest.
#[inline(always)]
pub(crate) fn estimate<C: Count, const K: usize>(
    buckets: Buckets,
    moments: &Moments,
    counts: &[C],
    quantiles: [Quantile; K],
) -> [Estimate; K] {
    if buckets.is_coarse() {
        estimate_by::<C, K, COARSE>(buckets, moments, counts, quantiles)
    } else {
        estimate_by::<C, K, MAX_SCALE>(buckets, moments, counts, quantiles)
    }
}

#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
fn estimate_by<C: Count, const K: usize, const FINEST: u8>(
    buckets: Buckets,
    moments: &Moments,
    counts: &[C],
    quantiles: [Quantile; K],
) -> [Estimate; K] {
    let (min, max) = (moments.min(), moments.max());
    // Without a histogram nothing was counted.
    if counts.is_empty() {
        return [Estimate::between(min, max); K];
    }
    let first = buckets.place_by::<FINEST>(min);
    let ranks = quantiles.map(|quantile| quantile.rank(moments.weight()));
    let (places, counted) = locate(counts, first, ranks);
    let missing = moments.weight().saturating_sub(counted);
    let mut estimates = places.map(|place| buckets.estimate_by::<FINEST>(place, min, max));
    if missing > 0 {
        // Counters were full. What they missed may lie anywhere: all of it below the rank, or all of it above.
        let (lowest, _) =
            locate(counts, first, ranks.map(|rank| rank.saturating_sub(missing).max(1)));
        for (estimate, lowest) in estimates.iter_mut().zip(lowest) {
            let least = buckets.estimate_by::<FINEST>(lowest, min, max).least;
            *estimate = Estimate::between(least, estimate.most);
        }
    }
    estimates
}

/// Most of so many counts hold no rank, and are added up at once.
const AT_ONCE: usize = 16;

/// The places that hold these ranks, which ascend, or the last one; and how many were counted. The first count is that of this place.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
fn locate<C: Count, const K: usize>(
    counts: &[C],
    first: usize,
    ranks: [u64; K],
) -> ([usize; K], u64) {
    let (mut places, mut place, mut found, mut reached) =
        ([first + counts.len() - 1; K], first, 0, 0_u64);
    for counts in counts.chunks(if cfg!(target_pointer_width = "64") { AT_ONCE } else { 1 }) {
        let after = reached.saturating_add(sum(counts));
        if ranks.get(found).is_some_and(|rank| *rank <= after) {
            for (place, count) in (place..).zip(counts) {
                reached = reached.saturating_add(count.get());
                while ranks.get(found).is_some_and(|rank| *rank <= reached) {
                    places[found] = place;
                    found += 1;
                }
            }
        }
        (reached, place) = (after, place + counts.len());
    }
    (places, reached)
}

/// The sum of a few counts, or the largest number.
fn sum<C: Count>(counts: &[C]) -> u64 {
    /// So many bits of a sum of [`AT_ONCE`] counts are those of how many they are.
    const SPARE: u32 = AT_ONCE.ilog2();
    let counts = counts.iter().map(|count| count.get());
    // Those that are not far too many need no look at each whether they still fit.
    let (all, sum) =
        counts.clone().fold((0, 0_u64), |(all, sum), count| (all | count, sum.wrapping_add(count)));
    if all.leading_zeros() >= SPARE { sum } else { counts.fold(0, u64::saturating_add) }
}

#[cfg(test)]
mod tests;
