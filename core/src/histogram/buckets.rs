//! Which values a histogram tells apart, in integer arithmetic.
//!
//! The position of the highest bit tells the power of two; the next bits tell the bucket but for one comparison with its exact
//! bound, from a table. (The method is that of OpenTelemetry's *lookup table mapping*; the logarithm it replaces costs ten times
//! as much and is off by one at the bounds.)

use core::ops::Range;

use super::bounds::BOUNDS;
use crate::{
    Moments,
    counter_width::{CountWord, narrow},
    select::WeightedSample,
    wide_math,
};

/// The finest scale there is.
pub const MAX_SCALE: u8 = 8;

/// The exact bounds at one scale, and where to begin the search.
struct Table<const BOUND: usize, const GUESS: usize> {
    /// `floor(2^(63 + j/2^s))`, and a last one that no mantissa exceeds.
    bounds: [u64; BOUND],
    /// How many bounds lie below the first mantissa with these s + 1 leading bits: as a bucket is wider than that, at most
    /// one more bound lies below a mantissa.
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

    /// How many bounds of an octave lie below a mantissa (a value shifted left until its highest bit is set).
    #[inline]
    fn below(&self, mantissa: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the leading bits number the guesses")]
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

/// The bits above the highest one of a value, which is not 0. Most values are of one word, which takes less where registers have no more.
#[inline(always)]
fn leading_zeros(value: u64) -> u32 {
    match u32::try_from(value) {
        Ok(word) if cfg!(not(target_pointer_width = "64")) => u32::BITS + word.leading_zeros(),
        _ => value.leading_zeros(),
    }
}

/// Shifted left by so many as stand above its highest bit.
#[inline(always)]
fn shifted(value: u64, by: u32) -> u64 {
    match u32::try_from(value) {
        Ok(word) if cfg!(not(target_pointer_width = "64")) => {
            u64::from(word << (by - u32::BITS)) << u32::BITS
        }
        _ => value << by,
    }
}

/// How many bounds of an octave lie below a mantissa, at this scale.
#[inline(always)]
pub(super) fn below<const FINEST: u8>(scale: u8, mantissa: u64) -> usize {
    // The tables take 6 KiB together, which a microcontroller has not.
    if cfg!(not(target_pointer_width = "64")) {
        return below_by_search::<FINEST>(scale, mantissa);
    }
    match scale {
        0 => SCALE_0.below(mantissa),
        1 => SCALE_1.below(mantissa),
        2 => SCALE_2.below(mantissa),
        3 => SCALE_3.below(mantissa),
        4 => SCALE_4.below(mantissa),
        5 => SCALE_5.below(mantissa),
        6 => SCALE_6.below(mantissa),
        7 => SCALE_7.below(mantissa),
        _ => SCALE_8.below(mantissa),
    }
}

/// The same by binary search, a step for each unit of the scale.
#[inline(always)]
pub(super) fn below_by_search<const FINEST: u8>(scale: u8, mantissa: u64) -> usize {
    const LOWEST: u64 = BOUNDS[0];
    if mantissa <= LOWEST {
        return 0;
    }
    // The bound found so far lies below the mantissa.
    let mut found = 0;
    let steps = if FINEST == COARSE { COARSE } else { scale };
    for step in 1..=steps {
        let next = found + (1 << FINEST >> step);
        if mantissa_of_bound::<FINEST>(FINEST, next) < mantissa {
            found = next;
        }
    }
    (found >> (FINEST - scale)) + 1
}

/// At this scale and coarser ones, a short table tells the bounds. What looks for bounds is generic in the finest scale that it knows, so
/// that the long table is not there where the compiler knows the scale, and it is a coarse one.
pub(super) const COARSE: u8 = 3;

static COARSE_BOUNDS: [u64; 1 << COARSE] = {
    let mut bounds = [0; 1 << COARSE];
    let mut j = 0;
    while j < bounds.len() {
        bounds[j] = BOUNDS[j << (MAX_SCALE - COARSE)];
        j += 1;
    }
    bounds
};

/// `floor(2^(index / 2^scale))`, or 2^64 − 1 where that is 2^64.
#[cfg_attr(target_pointer_width = "64", inline)]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
const fn bound<const FINEST: u8>(scale: u8, index: usize) -> u64 {
    let octave = index >> scale;
    if octave >= 64 {
        return u64::MAX;
    }
    mantissa_of_bound::<FINEST>(scale, index & ((1 << scale) - 1)) >> (63 - octave)
}

/// `floor(2^(63 + index / 2^scale))` for an index below 2^scale.
#[inline(always)]
const fn mantissa_of_bound<const FINEST: u8>(scale: u8, index: usize) -> u64 {
    // Within the tables, which the masks only say once more.
    if FINEST == COARSE {
        COARSE_BOUNDS[(index << (COARSE - scale)) % COARSE_BOUNDS.len()]
    } else {
        BOUNDS[(index << (MAX_SCALE - scale)) % BOUNDS.len()]
    }
}

/// Which values a histogram tells apart: its scale and range.
///
/// Counts lie in an array of [`places`](Buckets::places): one for zero, one for what lies below the range, the buckets, one
/// for what lies above it.
///
/// ```
/// use tailwatch_core::histogram::Buckets;
///
/// let buckets = Buckets::new(5, 8, 40).unwrap(); // 2^8 to 2^48, 32 buckets a power of two
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

pub(super) const ZERO: usize = 0;
pub(super) const BELOW: usize = 1;
pub(super) const FIRST: usize = 2;

impl Buckets {
    /// Buckets at `scale` from 2^`lowest` over `octaves` powers of two; `None` if the scale exceeds [`MAX_SCALE`] or the
    /// range 64 bits.
    pub const fn new(scale: u8, lowest: u8, octaves: u8) -> Option<Self> {
        if scale > MAX_SCALE || lowest as u32 + octaves as u32 > 64 {
            return None;
        }
        Some(Self { scale, lowest, octaves })
    }

    /// Each power of two is cut into 2^scale buckets.
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// The same range with half as many buckets: of two neighbours one. `None` at scale 0.
    pub const fn coarser(self) -> Option<Self> {
        match self.scale {
            0 => None,
            scale => Some(Self { scale: scale - 1, ..self }),
        }
    }

    /// Where [`coarser`](Self::coarser) buckets count what these count at `place`: the index of a bucket is halved, exactly.
    pub const fn coarser_place(self, place: usize) -> usize {
        if place < FIRST {
            place
        } else {
            // The last place, above the range, is an even number of buckets after the first.
            FIRST + ((place - FIRST) >> 1)
        }
    }

    /// The number of places.
    pub const fn places(self) -> usize {
        FIRST + ((self.octaves as usize) << self.scale) + 1
    }

    /// Counts samples at their places, each by its weight, in counters that have room for it.
    #[inline]
    pub(crate) fn count_all(
        self,
        samples: impl Iterator<Item = WeightedSample>,
        counts: &mut [CountWord],
    ) {
        samples.for_each(|sample| counts[self.place(sample.value())] += narrow(sample.weight()));
    }

    /// The place where `value` is counted: constant time.
    #[inline(always)]
    pub fn place(self, value: u64) -> usize {
        if self.is_coarse() {
            self.place_by::<COARSE>(value)
        } else {
            self.place_by::<MAX_SCALE>(value)
        }
    }

    /// Whether a short table of bounds does. Where tables are long anyway, nobody is to ask.
    #[inline(always)]
    pub(super) const fn is_coarse(self) -> bool {
        cfg!(not(target_pointer_width = "64")) && self.scale <= COARSE
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn place_by<const FINEST: u8>(self, value: u64) -> usize {
        if value == 0 {
            return ZERO;
        }
        // Without buckets there is nothing to search for, which costs where the search is no table.
        if cfg!(not(target_pointer_width = "64")) && self.octaves == 0 {
            return self.place_without_buckets(value);
        }
        let shift = leading_zeros(value);
        let octave = (u64::BITS - 1 - shift) as usize;
        // At least 1 for what is no power of two; a power of two belongs to the octave below.
        let bucket = (octave << self.scale) + below::<FINEST>(self.scale, shifted(value, shift));
        let before = (self.lowest as usize) << self.scale;
        // `bucket` counts from 1, so what is at most 2^lowest has at most `before`.
        if bucket <= before { BELOW } else { (FIRST - 1 + bucket - before).min(self.places() - 1) }
    }

    /// The place of a value that is not 0, in a range of no powers of two.
    #[inline]
    pub(super) const fn place_without_buckets(self, value: u64) -> usize {
        let above = match (value - 1).checked_shr(self.lowest as u32) {
            Some(above) => above,
            None => 0,
        };
        if above == 0 { BELOW } else { FIRST }
    }

    /// The places from that of the smallest of these values to that of the largest; not of no values.
    #[inline]
    pub(crate) fn places_between(self, moments: &Moments) -> Range<usize> {
        self.place(moments.min())..self.place(moments.max()) + 1
    }

    /// The values counted at `place`: all above the first bound, up to and including the second.
    ///
    /// Real bounds are rounded down, which tells whole numbers apart as the real ones do. The place of zero has both 0.
    #[inline]
    pub const fn bounds(self, place: usize) -> (u64, u64) {
        if self.is_coarse() {
            self.bounds_by::<COARSE>(place)
        } else {
            self.bounds_by::<MAX_SCALE>(place)
        }
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    const fn bounds_by<const FINEST: u8>(self, place: usize) -> (u64, u64) {
        let before = (self.lowest as usize) << self.scale;
        if place == ZERO {
            (0, 0)
        } else if place == BELOW {
            (0, bound::<FINEST>(self.scale, before))
        } else if place >= self.places() - 1 {
            (bound::<FINEST>(self.scale, before + self.places() - 1 - FIRST), u64::MAX)
        } else {
            (
                bound::<FINEST>(self.scale, before + place - FIRST),
                bound::<FINEST>(self.scale, before + place - FIRST + 1),
            )
        }
    }

    /// What to tell of a value counted at `place`, known to lie between `min` and `max`.
    #[inline(always)]
    pub fn estimate(self, place: usize, min: u64, max: u64) -> Estimate {
        if self.is_coarse() {
            self.estimate_by::<COARSE>(place, min, max)
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
        let least = if place == ZERO { 0 } else { min.max(above.saturating_add(1)) };
        let most = max.min(up_to).max(least);
        // Where a bound is no bound of a bucket, what was seen stands for it.
        let (from, to) = if place == BELOW || place == self.places() - 1 {
            (least, most)
        } else {
            (above, up_to)
        };
        Estimate { value: middle(from, to).clamp(least, most), least, most }
    }
}

/// The geometric midpoint.
fn middle(from: u64, to: u64) -> u64 {
    wide_math::root(wide_math::product(from, to))
}

/// A value that is known only by its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Estimate {
    /// The geometric midpoint of the bucket, within what was seen.
    pub value: u64,
    /// The least it can be.
    pub least: u64,
    /// The most it can be.
    pub most: u64,
}

impl Estimate {
    /// A value of which no more is known than this.
    pub(crate) fn between(least: u64, most: u64) -> Self {
        Self { value: middle(least, most), least, most }
    }
}
