//! The mapping from values to buckets and back, in integer arithmetic.
//!
//! The position of a value's highest bit gives the power of two. The next few bits index a table
//! that gives the bucket, up to one comparison with the bucket's exact bound. This is the method of
//! OpenTelemetry's *lookup table mapping*. The logarithm it replaces takes ten times as long and is
//! off by one at some bounds.

use core::ops::Range;

use super::bounds::BOUNDS;
use crate::{
    Moments,
    counter_width::{CountWord, narrow},
    select::WeightedSample,
    wide_math,
};

/// The finest scale: 2^8 = 256 buckets for each power of two.
pub const MAX_SCALE: u8 = 8;

/// The exact bounds at one scale `s`, and a table of where to begin the search for a bound.
struct Table<const BOUND: usize, const GUESS: usize> {
    /// `floor(2^(63 + j/2^s))` for each `j`, followed by `u64::MAX`, which no mantissa exceeds.
    bounds: [u64; BOUND],
    /// For each value of the `s + 1` bits behind a mantissa's highest bit: the number of bounds
    /// that lie below the smallest mantissa with these bits. A bucket is wider than the range of
    /// such mantissas, so at most one more bound lies below any of them.
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
        let mut t = 0;
        let mut below = 0;
        while t < GUESS {
            let first = (1 << 63) + (t as u64) * ((1 << 63) / GUESS as u64);
            while below < per_octave && bounds[below] < first {
                below += 1;
            }
            guess[t] = below as u16;
            t += 1;
        }
        Self { bounds, guess }
    }

    /// Returns the number of bounds in an octave that lie below a mantissa. A mantissa is a value
    /// shifted left until its highest bit is set.
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

/// Returns the number of leading zeros of a value that is not 0.
///
/// On 32-bit targets, values below 2^32, which are the most frequent ones, need only one word.
#[inline(always)]
fn leading_zeros(value: u64) -> u32 {
    match u32::try_from(value) {
        Ok(word) if cfg!(not(target_pointer_width = "64")) => u32::BITS + word.leading_zeros(),
        _ => value.leading_zeros(),
    }
}

/// Shifts a value left by `by`, which must be its number of leading zeros.
#[inline(always)]
fn shifted(value: u64, by: u32) -> u64 {
    match u32::try_from(value) {
        Ok(word) if cfg!(not(target_pointer_width = "64")) => {
            u64::from(word << (by - u32::BITS)) << u32::BITS
        }
        _ => value << by,
    }
}

/// Returns the number of bounds in an octave that lie below a mantissa, at the given scale.
#[inline(always)]
pub(super) fn bounds_below<const FINEST: u8>(scale: u8, mantissa: u64) -> usize {
    // The tables of all scales take 6 KiB, which is too much for a microcontroller.
    if cfg!(not(target_pointer_width = "64")) {
        return bounds_below_by_search::<FINEST>(scale, mantissa);
    }
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

/// Computes [`bounds_below`] by binary search, which takes one step for each unit of the scale.
#[inline(always)]
pub(super) fn bounds_below_by_search<const FINEST: u8>(scale: u8, mantissa: u64) -> usize {
    const LOWEST: u64 = BOUNDS[0];
    if mantissa <= LOWEST {
        return 0;
    }
    // Invariant: the bound at index `found` lies below the mantissa.
    let mut found = 0;
    let steps = if FINEST == COARSE_SCALE { COARSE_SCALE } else { scale };
    for step in 1..=steps {
        let next = found + (1 << FINEST >> step);
        if mantissa_of_bound::<FINEST>(FINEST, next) < mantissa {
            found = next;
        }
    }
    (found >> (FINEST - scale)) + 1
}

/// The finest scale whose bounds are in the short table, [`COARSE_BOUNDS`].
///
/// Functions that look up bounds have a const parameter `FINEST`, the finest scale that they
/// support. If the compiler sees that the scale of a histogram is at most `COARSE_SCALE`, the long
/// table [`BOUNDS`] is unused and takes no flash.
pub(super) const COARSE_SCALE: u8 = 3;

static COARSE_BOUNDS: [u64; 1 << COARSE_SCALE] = {
    let mut bounds = [0; 1 << COARSE_SCALE];
    let mut j = 0;
    while j < bounds.len() {
        bounds[j] = BOUNDS[j << (MAX_SCALE - COARSE_SCALE)];
        j += 1;
    }
    bounds
};

/// Returns `floor(2^(index / 2^scale))`, saturating at 2^64 − 1.
#[cfg_attr(target_pointer_width = "64", inline)]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
const fn bound<const FINEST: u8>(scale: u8, index: usize) -> u64 {
    let octave = index >> scale;
    if octave >= 64 {
        return u64::MAX;
    }
    mantissa_of_bound::<FINEST>(scale, index & ((1 << scale) - 1)) >> (63 - octave)
}

/// Returns `floor(2^(63 + index / 2^scale))` for an index below 2^scale.
#[inline(always)]
const fn mantissa_of_bound<const FINEST: u8>(scale: u8, index: usize) -> u64 {
    // The index is always within the table. The `%` only removes the bounds check.
    if FINEST == COARSE_SCALE {
        COARSE_BOUNDS[(index << (COARSE_SCALE - scale)) % COARSE_BOUNDS.len()]
    } else {
        BOUNDS[(index << (MAX_SCALE - scale)) % BOUNDS.len()]
    }
}

/// The scale and the range of a histogram's buckets.
///
/// A histogram keeps its counts in an array with one *place* for each count: the place of the value
/// 0, the place of the values below the range, one place for each bucket, and the place of the
/// values above the range. [`places`](Buckets::places) is the length of this array.
///
/// ```
/// use tailwatch_core::histogram::Buckets;
///
/// let buckets = Buckets::new(5, 8, 40).unwrap(); // 2^8 to 2^48, 32 buckets per power of two
/// let place = buckets.place(1_000_000);
/// let (above, up_to) = buckets.bounds(place);
/// assert!(above < 1_000_000 && 1_000_000 <= up_to);
/// assert!((up_to - above) as f64 / (above as f64) < 0.0219);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Buckets {
    pub(crate) scale: u8,
    pub(crate) lowest: u8,
    pub(crate) octaves: u8,
}

/// The place of the value 0.
pub(super) const ZERO_PLACE: usize = 0;
/// The place of the values below the range.
pub(super) const BELOW_PLACE: usize = 1;
/// The place of the first bucket.
pub(super) const FIRST_PLACE: usize = 2;

impl Buckets {
    /// Creates buckets at `scale` from 2^`lowest` to 2^(`lowest` + `octaves`).
    ///
    /// Returns `None` if the scale exceeds [`MAX_SCALE`] or the range ends above 2^64.
    pub const fn new(scale: u8, lowest: u8, octaves: u8) -> Option<Self> {
        if scale > MAX_SCALE || lowest as u32 + octaves as u32 > 64 {
            return None;
        }
        Some(Self { scale, lowest, octaves })
    }

    /// Returns the scale: each power of two is cut into 2^scale buckets.
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// Returns the same range at the next lower scale, with half as many buckets. Returns `None` at
    /// scale 0.
    pub const fn coarser(self) -> Option<Self> {
        match self.scale {
            0 => None,
            scale => Some(Self { scale: scale - 1, ..self }),
        }
    }

    /// Returns the place where the [`coarser`](Self::coarser) buckets count the values that these
    /// buckets count at `place`. This halves the index of a bucket.
    pub const fn coarser_place(self, place: usize) -> usize {
        if place < FIRST_PLACE {
            place
        } else {
            // This also maps the last place, the one above the range, to the last place: the number
            // of buckets is even.
            FIRST_PLACE + ((place - FIRST_PLACE) >> 1)
        }
    }

    /// Returns the number of places, which is the number of buckets plus 3.
    pub const fn places(self) -> usize {
        FIRST_PLACE + ((self.octaves as usize) << self.scale) + 1
    }

    /// Adds the weight of each sample to the counter of its place. The caller guarantees that the
    /// counters do not overflow.
    #[inline]
    pub(crate) fn count_all(
        self,
        samples: impl Iterator<Item = WeightedSample>,
        counts: &mut [CountWord],
    ) {
        samples.for_each(|sample| counts[self.place(sample.value())] += narrow(sample.weight()));
    }

    /// Returns the place where `value` is counted. Takes constant time.
    #[inline(always)]
    pub fn place(self, value: u64) -> usize {
        if self.uses_coarse_bounds() {
            self.place_by::<COARSE_SCALE>(value)
        } else {
            self.place_by::<MAX_SCALE>(value)
        }
    }

    /// Returns whether the short table of bounds suffices. Always `false` on 64-bit targets, which
    /// have the long tables anyway.
    #[inline(always)]
    pub(super) const fn uses_coarse_bounds(self) -> bool {
        cfg!(not(target_pointer_width = "64")) && self.scale <= COARSE_SCALE
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn place_by<const FINEST: u8>(self, value: u64) -> usize {
        if value == 0 {
            return ZERO_PLACE;
        }
        // Without buckets, the binary search of 32-bit targets would be wasted time.
        if cfg!(not(target_pointer_width = "64")) && self.octaves == 0 {
            return self.place_without_buckets(value);
        }
        let shift = leading_zeros(value);
        let octave = (u64::BITS - 1 - shift) as usize;
        // `bounds_below` is 0 for a power of two, which therefore belongs to the last bucket of the
        // octave below, and at least 1 for every other value.
        let bucket =
            (octave << self.scale) + bounds_below::<FINEST>(self.scale, shifted(value, shift));
        let before = (self.lowest as usize) << self.scale;
        // `bucket` counts from 1, so it is at most `before` for values up to 2^lowest.
        if bucket <= before {
            BELOW_PLACE
        } else {
            (FIRST_PLACE - 1 + bucket - before).min(self.places() - 1)
        }
    }

    /// Returns the place of a value that is not 0, for `octaves == 0`: the place below 2^lowest or
    /// the place above.
    #[inline]
    pub(super) const fn place_without_buckets(self, value: u64) -> usize {
        let above = match (value - 1).checked_shr(self.lowest as u32) {
            Some(above) => above,
            None => 0,
        };
        if above == 0 { BELOW_PLACE } else { FIRST_PLACE }
    }

    /// Returns the places from the smallest to the largest of these values. `moments` must not be
    /// empty.
    #[inline]
    pub(crate) fn places_between(self, moments: &Moments) -> Range<usize> {
        self.place(moments.min())..self.place(moments.max()) + 1
    }

    /// Returns the exclusive lower and the inclusive upper bound of the values counted at `place`.
    ///
    /// The bounds are the real bounds rounded down, which separates integers in the same way. Both
    /// bounds of the place of 0 are 0.
    #[inline]
    pub const fn bounds(self, place: usize) -> (u64, u64) {
        if self.uses_coarse_bounds() {
            self.bounds_by::<COARSE_SCALE>(place)
        } else {
            self.bounds_by::<MAX_SCALE>(place)
        }
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    const fn bounds_by<const FINEST: u8>(self, place: usize) -> (u64, u64) {
        let before = (self.lowest as usize) << self.scale;
        if place == ZERO_PLACE {
            (0, 0)
        } else if place == BELOW_PLACE {
            (0, bound::<FINEST>(self.scale, before))
        } else if place >= self.places() - 1 {
            (bound::<FINEST>(self.scale, before + self.places() - 1 - FIRST_PLACE), u64::MAX)
        } else {
            (
                bound::<FINEST>(self.scale, before + place - FIRST_PLACE),
                bound::<FINEST>(self.scale, before + place - FIRST_PLACE + 1),
            )
        }
    }

    /// Estimates a value that is counted at `place` and lies between `min` and `max`.
    #[inline(always)]
    pub fn estimate(self, place: usize, min: u64, max: u64) -> Estimate {
        if self.uses_coarse_bounds() {
            self.estimate_by::<COARSE_SCALE>(place, min, max)
        } else {
            self.estimate_by::<MAX_SCALE>(place, min, max)
        }
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn estimate_by<const FINEST: u8>(
        self,
        place: usize,
        min: u64,
        max: u64,
    ) -> Estimate {
        let (above, up_to) = self.bounds_by::<FINEST>(place);
        let least = if place == ZERO_PLACE { 0 } else { min.max(above.saturating_add(1)) };
        let most = max.min(up_to).max(least);
        // The places below and above the range are open on one side. The smallest and the largest
        // value seen take the place of the missing bound.
        let (from, to) = if place == BELOW_PLACE || place == self.places() - 1 {
            (least, most)
        } else {
            (above, up_to)
        };
        Estimate { value: middle(from, to).clamp(least, most), least, most }
    }
}

/// Returns the geometric midpoint, rounded down.
fn middle(from: u64, to: u64) -> u64 {
    wide_math::isqrt(wide_math::product(from, to))
}

/// An estimate of a value of which only the bucket is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Estimate {
    /// The geometric midpoint of the bucket, limited to `least..=most`.
    pub value: u64,
    /// The smallest value possible.
    pub least: u64,
    /// The largest value possible.
    pub most: u64,
}

impl Estimate {
    /// Creates the estimate of a value of which only these bounds are known.
    pub(crate) fn between(least: u64, most: u64) -> Self {
        Self { value: middle(least, most), least, most }
    }
}
