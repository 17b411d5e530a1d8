//! The mapping from values to buckets and back, in integer arithmetic.
//!
//! The position of a value's highest bit gives the octave: the range from one power of two to the
//! next. The bits of the value, shifted left until the highest one is set, are its *mantissa*. The
//! few bits behind the highest one index a table, which gives the bucket within the octave after
//! one comparison with an exact bound. This is the method of OpenTelemetry's *lookup table
//! mapping*. Computing the logarithm of each value instead would be off by one at some bounds.
//!
//! Each scale has tables of its own. The code looks them up such that a firmware whose histograms
//! all have the same scale contains only the tables of this scale.

use core::ops::Range;

use super::bounds::BOUNDS;
use crate::{
    arithmetic,
    statistics::{
        histogram::count::Count,
        moments::{Moments, Sum},
        select::WeightedSample,
    },
};

/// The finest scale of a histogram: 2^8 = 256 buckets in each octave, the range from one power of
/// two to the next.
pub const MAX_SCALE: u8 = 8;

/// The exact bounds of one octave at one scale `s`, and a table of where to begin the search for a
/// bound. `BOUND` is 2^s + 1, and `GUESS` is 2^(s + 1).
struct Table<const BOUND: usize, const GUESS: usize> {
    /// `floor(2^(63 + j/2^s))` for each `j`, followed by `u64::MAX`, which no mantissa exceeds.
    bounds: [u64; BOUND],
    /// For each value of the `s + 1` bits behind a mantissa's highest bit: the number of bounds
    /// that lie below the smallest mantissa with these bits. The mantissas with these bits are a
    /// range that is narrower than any bucket, so at most one more bound lies below any of them.
    guess: [u16; GUESS],
}

impl<const BOUND: usize, const GUESS: usize> Table<BOUND, GUESS> {
    #[expect(clippy::cast_possible_truncation, reason = "there are at most 256 bounds")]
    const fn new() -> Self {
        let per_octave = BOUND - 1;
        let mut bounds = [u64::MAX; BOUND];
        let mut j = 0;
        while j < per_octave {
            bounds[j] = BOUNDS[j * (BOUNDS.len() / per_octave)];
            j += 1;
        }
        let mut guess = [0; GUESS];
        let mut leading = 0;
        let mut below = 0;
        while leading < GUESS {
            let smallest = (1 << 63) + (leading as u64) * ((1 << 63) / GUESS as u64);
            while below < per_octave && bounds[below] < smallest {
                below += 1;
            }
            guess[leading] = below as u16;
            leading += 1;
        }
        Self { bounds, guess }
    }

    /// Returns the number of bounds in an octave that lie below a mantissa.
    #[inline]
    fn bounds_below(&self, mantissa: u64) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the leading bits are an index into `guess`"
        )]
        let leading = ((mantissa << 1) >> (u64::BITS - GUESS.ilog2())) as usize;
        let guess = usize::from(self.guess[leading]);
        guess + usize::from(self.bounds[guess] < mantissa)
    }

    /// Returns the bound with this index in the octave.
    const fn bound(&self, index: usize) -> u64 {
        // The index is always within the table. The `%` only removes the bounds check.
        self.bounds[index % (BOUND - 1)]
    }
}

static SCALE_0: Table<2, 2> = Table::new();
static SCALE_1: Table<3, 4> = Table::new();
static SCALE_2: Table<5, 8> = Table::new();
static SCALE_3: Table<9, 16> = Table::new();
static SCALE_4: Table<17, 32> = Table::new();
static SCALE_5: Table<33, 64> = Table::new();
static SCALE_6: Table<65, 128> = Table::new();
static SCALE_7: Table<129, 256> = Table::new();
static SCALE_8: Table<257, 512> = Table::new();

/// Returns the number of bounds in an octave that lie below a mantissa, at the given scale.
// The scale is an argument of its own here and in the functions below, not a part of `Buckets`. If
// all callers pass the same constant, the compiler keeps only the tables of that scale.
#[inline(always)]
pub(super) fn bounds_below(scale: u8, mantissa: u64) -> usize {
    match scale {
        0 => SCALE_0.bounds_below(mantissa),
        1 => SCALE_1.bounds_below(mantissa),
        2 => SCALE_2.bounds_below(mantissa),
        3 => SCALE_3.bounds_below(mantissa),
        4 => SCALE_4.bounds_below(mantissa),
        5 => SCALE_5.bounds_below(mantissa),
        6 => SCALE_6.bounds_below(mantissa),
        7 => SCALE_7.bounds_below(mantissa),
        _ => SCALE_8.bounds_below(mantissa),
    }
}

/// Returns `floor(2^(63 + index / 2^scale))` for an index below 2^scale.
#[inline(always)]
const fn mantissa_of_bound(scale: u8, index: usize) -> u64 {
    match scale {
        0 => SCALE_0.bound(index),
        1 => SCALE_1.bound(index),
        2 => SCALE_2.bound(index),
        3 => SCALE_3.bound(index),
        4 => SCALE_4.bound(index),
        5 => SCALE_5.bound(index),
        6 => SCALE_6.bound(index),
        7 => SCALE_7.bound(index),
        _ => SCALE_8.bound(index),
    }
}

/// Returns the number of the bucket of a value among those of all octaves from 2^0 on, counted from
/// 1; 0 for the value 1, which lies below all octaves. `value` must not be 0.
// Out of line, because this takes much flash where it is inlined.
#[inline(never)]
fn number_of(scale: u8, value: u64) -> usize {
    number_of_inline(scale, value)
}

/// As [`number_of`], for loops over many values.
#[inline(always)]
fn number_of_inline(scale: u8, value: u64) -> usize {
    let shift = value.leading_zeros();
    let octave = (u64::BITS - 1 - shift) as usize;
    // `bounds_below` is 0 for a power of two, which therefore belongs to the last bucket of the
    // octave below, and at least 1 for every other value.
    (octave << scale) + bounds_below(scale, value << shift)
}

/// Returns `floor(2^(index / 2^scale))`, saturating at 2^64 − 1.
#[inline(never)]
const fn bound(scale: u8, index: usize) -> u64 {
    let octave = index >> scale;
    if octave >= 64 {
        return u64::MAX;
    }
    mantissa_of_bound(scale, index & ((1 << scale) - 1)) >> (63 - octave)
}

/// The buckets of a histogram: their scale and the range that they cover.
///
/// The buckets are, by index:
///
/// | index | counts |
/// |---|---|
/// | 0 | the value 0 |
/// | 1 | the values above 0 that lie below the range: up to and including 2^lowest |
/// | 2 to [`len`](Self::len) − 2 | the values in the range, in 2^scale buckets for each octave |
/// | [`len`](Self::len) − 1 | the values above the range: above 2^(lowest + octaves) |
///
/// `lowest` and `octaves` are the arguments of [`new`](Self::new).
///
/// ```
/// use tailwatch_core::histogram::Buckets;
///
/// let buckets = Buckets::new(5, 8, 40).unwrap(); // 2^8 to 2^48, 32 buckets per power of two
/// let index = buckets.index(1_000_000);
/// let (above, up_to) = buckets.bounds(index);
/// assert!(above < 1_000_000 && 1_000_000 <= up_to);
/// assert!((up_to - above) as f64 / (above as f64) < 0.0219);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Buckets {
    /// Each octave of the range has 2^scale buckets.
    pub(crate) scale: u8,
    /// The range begins above 2^lowest.
    pub(crate) lowest: u8,
    /// The range ends at 2^(lowest + octaves), which it includes.
    pub(crate) octaves: u8,
}

/// The index of the bucket that counts the value 0.
pub(super) const ZERO_BUCKET: usize = 0;
/// The index of the bucket that counts the values below the range.
pub(super) const BELOW_RANGE: usize = 1;
/// The index of the first bucket in the range.
pub(super) const FIRST_IN_RANGE: usize = 2;

impl Buckets {
    /// Creates the buckets for the range from 2^`lowest` (exclusive) to 2^(`lowest` + `octaves`)
    /// (inclusive), in 2^`scale` buckets for each octave.
    ///
    /// Returns `None` if the scale is greater than [`MAX_SCALE`] or the range ends above 2^64.
    pub const fn new(scale: u8, lowest: u8, octaves: u8) -> Option<Self> {
        if scale > MAX_SCALE || lowest as u32 + octaves as u32 > 64 {
            return None;
        }
        Some(Self { scale, lowest, octaves })
    }

    /// Returns the scale: each octave of the range has 2^scale buckets.
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// Returns the binary logarithm of the lower bound of the range, which the range excludes.
    pub const fn lowest(self) -> u8 {
        self.lowest
    }

    /// Returns the number of octaves in the range.
    pub const fn octaves(self) -> u8 {
        self.octaves
    }

    /// Returns the buckets for the same range at the next lower scale, which has half as many
    /// buckets in the range. Returns `None` at scale 0.
    pub const fn coarser(self) -> Option<Self> {
        match self.scale {
            0 => None,
            scale => Some(Self { scale: scale - 1, ..self }),
        }
    }

    /// Returns the index, among the [`coarser`](Self::coarser) buckets, of the bucket that counts
    /// the values of the bucket with this index.
    pub const fn coarser_index(self, index: usize) -> usize {
        if index < FIRST_IN_RANGE {
            index
        } else {
            // Two neighbouring buckets of the range become one. The number of buckets in the range
            // is even, so the last bucket, the one above the range, is also mapped to the last.
            FIRST_IN_RANGE + ((index - FIRST_IN_RANGE) >> 1)
        }
    }

    /// Returns the number of buckets: `octaves` times 2^`scale` in the range, and 3 outside it.
    #[expect(clippy::len_without_is_empty, reason = "there are always at least 3 buckets")]
    pub const fn len(self) -> usize {
        FIRST_IN_RANGE + ((self.octaves as usize) << self.scale) + 1
    }

    /// Adds the weight of each sample to the counter of its bucket, one of the staged counters.
    /// These cannot overflow: the weight of [staged](crate::storage::row_state::Staged) samples is
    /// limited.
    #[inline]
    pub(crate) fn count_all<N: Count>(
        self,
        samples: impl Iterator<Item = WeightedSample>,
        counts: &mut [N],
    ) {
        for sample in samples {
            let index = self.index_by(number_of_inline, sample.value());
            counts[index] = counts[index].wrapping_sum(N::from_u64(sample.weight()));
        }
    }

    /// Like [`count_all`](Self::count_all), for a single sample.
    #[inline(always)]
    pub(crate) fn count<N: Count>(self, sample: WeightedSample, counts: &mut [N]) {
        let count = &mut counts[self.index(sample.value())];
        *count = count.wrapping_sum(N::from_u64(sample.weight()));
    }

    /// Returns the index of the bucket that counts `value`. Takes constant time.
    #[inline(always)]
    pub fn index(self, value: u64) -> usize {
        self.index_by(number_of, value)
    }

    /// Returns the index of the bucket that counts `value`. `number_of` is the function of this
    /// name, or its inline form.
    #[inline(always)]
    fn index_by(self, number_of: impl Fn(u8, u64) -> usize, value: u64) -> usize {
        if value == 0 {
            return ZERO_BUCKET;
        }
        let number = number_of(self.scale, value);
        let below_range = (self.lowest as usize) << self.scale;
        if number <= below_range {
            BELOW_RANGE
        } else {
            (FIRST_IN_RANGE + number - below_range - 1).min(self.len() - 1)
        }
    }

    /// Returns the range of indices from the bucket of the smallest value to the bucket of the
    /// largest. `moments`, those of the values, must not be empty.
    #[inline]
    pub(crate) fn index_range(self, moments: &Moments<impl Sum>) -> Range<usize> {
        self.index(moments.min())..self.index(moments.max()) + 1
    }

    /// Returns the exclusive lower and the inclusive upper bound of the values that the bucket with
    /// this index counts. Both bounds of the bucket that counts the value 0 are 0.
    ///
    /// The exact bounds, such as 2^(1/2), need not be integers. They are rounded down, which
    /// includes and excludes the same integers.
    #[inline]
    pub const fn bounds(self, index: usize) -> (u64, u64) {
        let below_range = (self.lowest as usize) << self.scale;
        if index == ZERO_BUCKET {
            (0, 0)
        } else if index == BELOW_RANGE {
            (0, bound(self.scale, below_range))
        } else if index >= self.len() - 1 {
            (bound(self.scale, below_range + self.len() - 1 - FIRST_IN_RANGE), u64::MAX)
        } else {
            (
                bound(self.scale, below_range + index - FIRST_IN_RANGE),
                bound(self.scale, below_range + index - FIRST_IN_RANGE + 1),
            )
        }
    }

    /// Estimates one of the values that the bucket with this index counts. `min` and `max`, the
    /// smallest and the largest value in the histogram, narrow the bounds of the estimate.
    #[inline(always)]
    pub fn estimate(self, index: usize, min: u64, max: u64) -> Estimate {
        let is_outside = index == BELOW_RANGE || index == self.len() - 1;
        Estimate::in_bucket(self.bounds(index), is_outside, min, max)
    }
}

/// Returns the geometric mean of two numbers, rounded down.
fn geometric_mean(a: u64, b: u64) -> u64 {
    arithmetic::isqrt(arithmetic::product(a, b))
}

/// An estimate of a value of which only the bucket, or only a range, is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Estimate {
    /// The geometric midpoint of the bucket's integer bounds, clamped to `least..=most`. If the
    /// bucket lies outside the range of the [`Buckets`], if counters are saturated, or without a
    /// histogram: the geometric midpoint of `least` and `most`.
    pub value: u64,
    /// The smallest number that the true value can be.
    pub least: u64,
    /// The largest number that the true value can be.
    pub most: u64,
}

impl Estimate {
    /// Estimates one of the values in a bucket with these bounds. `is_outside` is whether the
    /// bucket lies outside the range.
    #[inline(never)]
    fn in_bucket((above, up_to): (u64, u64), is_outside: bool, min: u64, max: u64) -> Self {
        // The bucket of the value 0 has the bounds 0 and 0.
        let least = if up_to == 0 { 0 } else { min.max(above.saturating_add(1)) };
        let most = max.min(up_to).max(least);
        // The buckets below and above the range extend to 0 and to 2^64 − 1, which may be far
        // from any value. The smallest and the largest possible value replace these bounds.
        let (from, to) = if is_outside { (least, most) } else { (above, up_to) };
        Self { value: geometric_mean(from, to).clamp(least, most), least, most }
    }

    /// Estimates a value that lies anywhere from `least` to `most`, by their geometric mean.
    pub fn between(least: u64, most: u64) -> Self {
        Self { value: geometric_mean(least, most), least, most }
    }
}
