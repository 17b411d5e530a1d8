//! A histogram whose buckets grow by a fixed factor, so that it covers a wide range of values
//! within a stated relative error.
//!
//! The buckets are *base-2 exponential*, as in the native histograms of Prometheus and the
//! exponential histograms of OpenTelemetry. At *scale* `s`, each octave (the values from one power
//! of two to the next) is cut into 2^s buckets. For each integer `i`, one bucket counts the values
//! in `(2^(i/2^s), 2^((i+1)/2^s)]`, so an exact power of two belongs to the bucket that ends at it.
//! [`Buckets`] describes which of these buckets a histogram has.
//!
//! A quantile is estimated by the geometric midpoint of the bucket it falls into. Within the range
//! of the buckets, and while no counter is saturated, the relative error of this estimate is at
//! most 2^(1/2^(s+1)) − 1, not counting that the bounds of the bucket and the estimate are rounded
//! down to integers. An [`Estimate`] states the
//! bounds that hold in any case.
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
//!
//! tailwatch cuts a window into *slices* (intervals of equal length, each with its own bucket
//! counts) and merges them for each query. This must be exact, because a report must equal a
//! recount of the records it was made from, and it must work on processors without floating point.
//! Buckets merge exactly, in any order, with integers alone.

mod bounds;
pub(crate) mod buckets;
pub(crate) mod count;

use core::marker::PhantomData;

pub use self::{
    buckets::{Buckets, Estimate, MAX_SCALE},
    count::Count,
};
use crate::statistics::{
    moments::{Moments, Sum},
    quantile::Quantile,
};

/// Counts values in buckets, and keeps their exact count, sum and extremes.
///
/// The counters have the type `C` (`u16`, `u32` or `u64`) and live in `A`, which is an array, a
/// boxed slice or a borrowed slice. [`merge`](Self::merge) adds the values of another histogram,
/// and [`downscale`](Self::downscale) halves the number of buckets in its range. As long as no
/// counter is saturated, the result of either is bit for bit the same as if every value had been
/// recorded in the resulting histogram. (Only a sum of squares from 2^127 on is rounded: see
/// [`Moments`].) The histogram uses integers only and does not allocate.
///
/// ```
/// use tailwatch_core::{Quantile, histogram::{Buckets, Histogram}};
///
/// const BUCKETS: Buckets = Buckets::new(5, 0, 40).unwrap();
/// let mut histogram = Histogram::new(BUCKETS, [0_u32; BUCKETS.len()]).unwrap();
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
    /// The moments of all recorded values, including those that saturated counters lack.
    moments: Moments,
    /// One counter for each bucket. After a [`downscale`](Self::downscale), it is longer than
    /// needed, and the surplus counters are 0.
    counts: A,
    counter: PhantomData<C>,
}

/// A bucket that is not empty. It counts the values in `(above, up_to]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Bucket {
    /// The exclusive lower bound. The bucket that counts the value 0 is the exception: both of its
    /// bounds are 0.
    pub above: u64,
    /// The inclusive upper bound: the largest value that the bucket counts.
    pub up_to: u64,
    /// The total weight of the values in the bucket: the number of occurrences that they stand for.
    /// If the bucket's counter is saturated, the largest number that it can hold.
    pub count: u64,
}

impl<C: Count, A: AsRef<[C]>> Histogram<C, A> {
    /// Creates an empty histogram.
    ///
    /// Returns `None` unless `counts` has exactly [`Buckets::len`] counters, all of them 0.
    pub fn new(buckets: Buckets, counts: A) -> Option<Self> {
        let empty = counts.as_ref().iter().all(|count| count.get() == 0);
        (empty && counts.as_ref().len() == buckets.len()).then_some(Self {
            buckets,
            moments: Moments::EMPTY,
            counts,
            counter: PhantomData,
        })
    }

    /// Returns the scale and the range of the buckets.
    pub const fn buckets(&self) -> Buckets {
        self.buckets
    }

    /// Returns the count, weight, sum, sum of squares and extremes of the recorded values, which
    /// are exact unless they saturate.
    pub const fn moments(&self) -> &Moments {
        &self.moments
    }

    /// Returns the counters of the buckets, which [`Buckets::index`] indexes. After a
    /// [`downscale`](Self::downscale), unused counters follow, which are 0.
    pub fn counts(&self) -> &[C] {
        self.counts.as_ref()
    }

    /// Estimates the value at a quantile. Returns `None` if the histogram is empty.
    ///
    /// Takes time linear in the number of buckets between the smallest and the largest value.
    pub fn quantile(&self, quantile: Quantile) -> Option<Estimate> {
        let [estimate] = self.quantiles([quantile])?;
        Some(estimate)
    }

    /// Estimates the values at several quantiles, which must be in ascending order. Returns `None`
    /// if the histogram is empty.
    ///
    /// A quantile that is smaller than the one before it gets the estimate of that one. Takes time
    /// linear in the number of buckets between the smallest and the largest value.
    pub fn quantiles<const K: usize>(&self, quantiles: [Quantile; K]) -> Option<[Estimate; K]> {
        let counts = self.counts();
        (self.moments.count() > 0).then(|| {
            let [first, last] =
                [self.moments.min(), self.moments.max()].map(|value| self.buckets.index(value));
            let ranks = quantiles.map(|quantile| quantile.rank(self.moments.weight()));
            estimate(self.buckets, &self.moments, &counts[first..=last], ranks)
        })
    }

    /// Returns an iterator over the buckets that are not empty, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Bucket> {
        self.counts().iter().enumerate().filter(|(_, count)| count.get() > 0).map(
            |(index, count)| {
                let (above, up_to) = self.buckets.bounds(index);
                Bucket { above, up_to, count: count.get() }
            },
        )
    }
}

impl<C: Count, A: AsRef<[C]> + AsMut<[C]>> Histogram<C, A> {
    /// Records a value of the weight 2^`sampling`: it stands for this many occurrences. Returns the
    /// weight that did not fit into the counter, which is 0 unless the counter is saturated.
    ///
    /// `sampling` must be less than 64. The [moments](Self::moments) include the whole weight in
    /// any case. If counters lack some weight, the bounds of quantiles allow for all the buckets
    /// that it may belong to. Takes constant time.
    pub fn record(&mut self, value: u64, sampling: u8) -> u64 {
        self.moments.add(value, sampling);
        self.counts.as_mut()[self.buckets.index(value)].add(1 << sampling)
    }

    /// Adds the values of another histogram. Returns the weight that did not fit into the counters,
    /// which is 0 unless a counter is saturated.
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

    /// Lowers the scale by 1: every two neighbouring buckets of the range become one. Returns the
    /// weight that did not fit into the counters, which is 0 unless a counter is saturated.
    ///
    /// The histogram then has [`Buckets::len`] counters of the new buckets. The remaining counters
    /// are 0 and no longer used. At scale 0 this returns `None` and changes nothing.
    pub fn downscale(&mut self) -> Option<u64> {
        let coarser = self.buckets.coarser()?;
        let counts = self.counts.as_mut();
        let mut excess = 0_u64;
        for from in 0..self.buckets.len() {
            let to = self.buckets.coarser_index(from);
            if to != from {
                let moved = core::mem::take(&mut counts[from]).get();
                excess = excess.saturating_add(counts[to].add(moved));
            }
        }
        self.buckets = coarser;
        Some(excess)
    }
}

/// Estimates the values at the given ranks, which must be in ascending order. A rank is a weight,
/// from 1 to that of all values.
///
/// `moments` are those of all values and must not be empty. `counts` holds the counts from the
/// bucket of the smallest value to the bucket of the largest; it is empty if there is no histogram.
pub(crate) fn estimate<C: Count, const K: usize>(
    buckets: Buckets,
    moments: &Moments<impl Sum>,
    counts: &[C],
    ranks: [u64; K],
) -> [Estimate; K] {
    let mut estimates = [Estimate::between(moments.min(), moments.max()); K];
    // Without a histogram, only the extremes are known.
    if !counts.is_empty() {
        let first = buckets.index(moments.min());
        estimate_each(
            buckets,
            moments,
            ranks,
            |ranks| find_buckets(counts, first, ranks),
            |number, estimate| estimates[number] = estimate,
        );
    }
    estimates
}

/// Estimates the values at the given ranks, which must be in ascending order. Calls `visit` with
/// the position of each rank and the estimate.
///
/// `locate` finds the buckets that contain the given ranks. It returns their indices, and the sum
/// of the counts of all buckets.
#[inline(always)]
pub(crate) fn estimate_each<const K: usize>(
    buckets: Buckets,
    moments: &Moments<impl Sum>,
    mut ranks: [u64; K],
    mut locate: impl FnMut(&[u64; K]) -> ([usize; K], u64),
    mut visit: impl FnMut(usize, Estimate),
) {
    let (min, max, weight) = (moments.min(), moments.max(), moments.weight());
    let (highest, counted) = locate(&ranks);
    // Some counters are saturated if weight is missing, and it may lie anywhere. The upper bounds
    // assume that all of it lies above the rank. The lower bounds assume that all of it lies below
    // the rank, so `rank − missing` of the counted weight reaches the rank.
    let missing = weight.saturating_sub(counted);
    let mut lowest = highest;
    if missing > 0 {
        ranks = ranks.map(|rank| rank.saturating_sub(missing).max(1));
        (lowest, _) = locate(&ranks);
    }
    for number in 0..K {
        let mut estimate = buckets.estimate(highest[number], min, max);
        if missing > 0 {
            let least = buckets.estimate(lowest[number], min, max).least;
            estimate = Estimate::between(least, estimate.most);
        }
        visit(number, estimate);
    }
}

/// The number of counts that [`find_buckets`] adds up at once. Most chunks of this size contain
/// none of the wanted ranks, so their counts need not be looked at one by one.
const CHUNK: usize = 16;

/// Finds the buckets that contain the given ranks, which must be in ascending order. Returns the
/// indices of these buckets and the sum of all counts.
///
/// `counts` must not be empty, and `first` is the index of the bucket of its first count. A rank
/// beyond the sum of all counts gets the last bucket.
#[inline(never)]
fn find_buckets<C: Count, const K: usize>(
    counts: &[C],
    first: usize,
    ranks: &[u64; K],
) -> ([usize; K], u64) {
    let (mut indices, mut index, mut found, mut reached) =
        ([first + counts.len() - 1; K], first, 0, 0_u64);
    for counts in counts.chunks(CHUNK) {
        let after = reached.saturating_add(sum(counts));
        if ranks.get(found).is_some_and(|rank| *rank <= after) {
            for (index, count) in (index..).zip(counts) {
                reached = reached.saturating_add(count.get());
                while ranks.get(found).is_some_and(|rank| *rank <= reached) {
                    indices[found] = index;
                    found += 1;
                }
            }
        }
        (reached, index) = (after, index + counts.len());
    }
    (indices, reached)
}

/// Returns the sum of at most [`CHUNK`] counts, saturating at `u64::MAX`.
fn sum<C: Count>(counts: &[C]) -> u64 {
    /// A sum of [`CHUNK`] counts needs at most this many bits more than the largest of them.
    const SPARE: u32 = CHUNK.ilog2();
    let counts = counts.iter().map(|count| count.get());
    // The usual counts are small enough that the sum cannot overflow. The bitwise OR of all counts
    // shows this in one check, which is cheaper than a saturating addition for each count.
    let (bits, sum) = counts
        .clone()
        .fold((0, 0_u64), |(bits, sum), count| (bits | count, sum.wrapping_add(count)));
    if bits.leading_zeros() >= SPARE { sum } else { counts.fold(0, u64::saturating_add) }
}

#[cfg(test)]
mod tests;
