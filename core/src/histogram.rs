//! A histogram whose buckets grow by a fixed factor, so that it covers a wide range of values
//! within a stated relative error.
//!
//! The buckets are *base-2 exponential*, as in the native histograms of Prometheus and the
//! exponential histograms of OpenTelemetry. At scale `s`, each power of two is cut into 2^s
//! buckets. Bucket `i` counts the values in `(2^(i/2^s), 2^((i+1)/2^s)]`, so an exact power of two
//! belongs to the lower bucket. A quantile is estimated by the geometric midpoint of the bucket it
//! falls into. The error of this estimate is at most:
//!
//! | scale | relative error | buckets for a factor of 1,000 |
//! |---|---|---|
//! | 0 | 41.4 % | 10 |
//! | 3 | 4.43 % | 80 |
//! | 5 | 1.09 % | 319 |
//! | 8 | 0.135 % | 2,552 |
//!
//! # Why no t-digest
//!
//! A t-digest is smaller for the same error in the tails. But its result depends on the order in
//! which the samples arrive, two digests merge only approximately, and it needs floating point.
//! tailwatch merges the slices of a window all the time, also on processors without floating
//! point, and a report must equal a recount of its trace. Buckets merge exactly, in any order, with
//! integers alone.

mod bounds;
mod buckets;
mod count;

use core::marker::PhantomData;

use self::buckets::COARSE_SCALE;
pub use self::{
    buckets::{Buckets, Estimate, MAX_SCALE},
    count::Count,
};
use crate::{Moments, Quantile};

/// A histogram: counts of values by bucket, with their exact count, sum and extremes.
///
/// The counters have the type `C` (`u16`, `u32` or `u64`) and live in `A`, which is an array, a
/// boxed slice or a borrowed slice. [`merge`](Self::merge) adds counters, and
/// [`downscale`](Self::downscale) halves bucket indices. As long as no counter is full, the result
/// of either is bit for bit the same as if every value had been recorded there in the first place.
/// The histogram uses integers only and does not allocate.
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

/// A bucket that is not empty. It counts the values in `(above, up_to]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Bucket {
    /// The exclusive lower bound. The bucket of the value 0 is the exception: both of its bounds
    /// are 0.
    pub above: u64,
    /// The inclusive upper bound: the largest value that the bucket counts.
    pub up_to: u64,
    /// The weight of the values in the bucket.
    pub count: u64,
}

impl<C: Count, A: AsRef<[C]>> Histogram<C, A> {
    /// Creates an empty histogram.
    ///
    /// Returns `None` unless `counts` has exactly [`Buckets::places`] counters, all of them 0.
    pub fn new(buckets: Buckets, counts: A) -> Option<Self> {
        let empty = counts.as_ref().iter().all(|count| count.get() == 0);
        (empty && counts.as_ref().len() == buckets.places()).then_some(Self {
            buckets,
            moments: Moments::EMPTY,
            counts,
            width: PhantomData,
        })
    }

    /// Returns the scale and the range of the buckets.
    pub const fn buckets(&self) -> Buckets {
        self.buckets
    }

    /// Returns the exact count, sum and extremes of the recorded values.
    pub const fn moments(&self) -> &Moments {
        &self.moments
    }

    /// Returns the counters, indexed by [place](Buckets::place).
    pub fn counts(&self) -> &[C] {
        self.counts.as_ref()
    }

    /// Estimates the value at a quantile. Returns `None` if the histogram is empty.
    ///
    /// Takes time linear in the number of places between the smallest and the largest value.
    pub fn quantile(&self, quantile: Quantile) -> Option<Estimate> {
        let [estimate] = self.quantiles([quantile])?;
        Some(estimate)
    }

    /// Estimates the values at several quantiles, which must be in ascending order. Returns `None`
    /// if the histogram is empty.
    ///
    /// Takes time linear in the number of places between the smallest and the largest value.
    pub fn quantiles<const K: usize>(&self, quantiles: [Quantile; K]) -> Option<[Estimate; K]> {
        let counts = self.counts();
        (self.moments.count() > 0).then(|| {
            let [first, last] =
                [self.moments.min(), self.moments.max()].map(|value| self.buckets.place(value));
            estimate(self.buckets, &self.moments, &counts[first..=last], quantiles)
        })
    }

    /// Returns the buckets that are not empty, in ascending order.
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
    /// Records a value of weight 2^`sampling`. Returns the weight that did not fit into the
    /// counter, which is 0 unless the counter is full.
    ///
    /// The [moments](Self::moments) include the full weight in any case, and the bounds of a
    /// quantile are widened by the weight that the counters lack. Takes constant time.
    pub fn record(&mut self, value: u64, sampling: u8) -> u64 {
        self.moments.add(value, sampling);
        self.counts.as_mut()[self.buckets.place(value)].add(1 << sampling)
    }

    /// Adds the counts of another histogram. Returns the weight that did not fit into the
    /// counters.
    ///
    /// Returns `None` and adds nothing if the other histogram has a different scale or range.
    pub fn merge<D: Count, B: AsRef<[D]>>(&mut self, other: &Histogram<D, B>) -> Option<u64> {
        if self.buckets != other.buckets {
            return None;
        }
        self.moments.merge(&other.moments);
        let counts = self.counts.as_mut().iter_mut().zip(other.counts());
        Some(
            counts
                .fold(0_u64, |excess, (count, more)| excess.saturating_add(count.add(more.get()))),
        )
    }

    /// Lowers the scale by one: every two neighbouring buckets become one. Returns the weight that
    /// did not fit into the counters.
    ///
    /// The counters behind the new number of [`Buckets::places`] are 0 and no longer used. At scale
    /// 0 this returns `None` and changes nothing.
    pub fn downscale(&mut self) -> Option<u64> {
        let coarser = self.buckets.coarser()?;
        let counts = self.counts.as_mut();
        let mut excess = 0_u64;
        for place in 0..self.buckets.places() {
            let to = self.buckets.coarser_place(place);
            if to != place {
                let moved = core::mem::take(&mut counts[place]).get();
                excess = excess.saturating_add(counts[to].add(moved));
            }
        }
        self.buckets = coarser;
        Some(excess)
    }
}

/// Estimates the values at the given quantiles, which must be in ascending order.
///
/// `counts` holds the counts from the place of the smallest value to the place of the largest.
/// `moments` must not be empty.
#[inline(always)]
pub(crate) fn estimate<C: Count, const K: usize>(
    buckets: Buckets,
    moments: &Moments,
    counts: &[C],
    quantiles: [Quantile; K],
) -> [Estimate; K] {
    if buckets.uses_coarse_bounds() {
        estimate_by::<C, K, COARSE_SCALE>(buckets, moments, counts, quantiles)
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
    // The storage has no histogram, so only the extremes are known.
    if counts.is_empty() {
        return [Estimate::between(min, max); K];
    }
    let first = buckets.place_by::<FINEST>(min);
    let ranks = quantiles.map(|quantile| quantile.rank(moments.weight()));
    let (places, counted) = locate(counts, first, ranks);
    let missing = moments.weight().saturating_sub(counted);
    let mut estimates = places.map(|place| buckets.estimate_by::<FINEST>(place, min, max));
    if missing > 0 {
        // Some counters are full. The missing weight may lie anywhere. The upper bounds assume that
        // all of it lies above the rank, the lower bounds that all of it lies below.
        let (lowest, _) =
            locate(counts, first, ranks.map(|rank| rank.saturating_sub(missing).max(1)));
        for (estimate, lowest) in estimates.iter_mut().zip(lowest) {
            let least = buckets.estimate_by::<FINEST>(lowest, min, max).least;
            *estimate = Estimate::between(least, estimate.most);
        }
    }
    estimates
}

/// The number of counts that [`locate`] adds up at once. Most chunks of this size contain none of
/// the wanted ranks, so their counts need not be looked at one by one.
const CHUNK: usize = 16;

/// Finds the places that contain the given ranks, which must be in ascending order. Returns them
/// with the sum of all counts.
///
/// `first` is the place of the first count. A rank beyond the sum of all counts gets the last
/// place.
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
fn locate<C: Count, const K: usize>(
    counts: &[C],
    first: usize,
    ranks: [u64; K],
) -> ([usize; K], u64) {
    let (mut places, mut place, mut found, mut reached) =
        ([first + counts.len() - 1; K], first, 0, 0_u64);
    for counts in counts.chunks(if cfg!(target_pointer_width = "64") { CHUNK } else { 1 }) {
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

/// Returns the sum of at most [`CHUNK`] counts, saturating at `u64::MAX`.
fn sum<C: Count>(counts: &[C]) -> u64 {
    /// A sum of [`CHUNK`] counts needs at most this many bits more than the largest of them.
    const SPARE: u32 = CHUNK.ilog2();
    let counts = counts.iter().map(|count| count.get());
    // The usual counts are small enough that the sum cannot overflow. Checking this once for all of
    // them is cheaper than a saturating addition for each.
    let (all, sum) =
        counts.clone().fold((0, 0_u64), |(all, sum), count| (all | count, sum.wrapping_add(count)));
    if all.leading_zeros() >= SPARE { sum } else { counts.fold(0, u64::saturating_add) }
}

#[cfg(test)]
mod tests;
