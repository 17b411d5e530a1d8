//! The representation for microcontrollers.

use core::mem;

use super::{Compact, Repr, StoredMoments, StoredSample};
use crate::{
    arithmetic::{self, product_of_words, saturating_u64},
    clock::TimeUnit,
    repr::samples::Samples,
    statistics::{
        fixed_point::{FRACTION_BITS, FixedPoint},
        histogram::count::Count,
        moments::{Moments, Sum, VARIANCE_FRACTION_BITS},
        quantile::Quantile,
        sample_buffer::{Membership, WindowFilter},
        select::{self, WeightedSample},
    },
};

impl Repr for Compact {
    const IS_COMPACT: bool = true;
    type Counter = u32;
    type Sum = u64;
    type Moments = CompactMoments;
    type Sample = CompactSample;
}

/// The moments of the samples in one slice of a window, or of an event's staged samples.
///
/// The count and the weight saturate at 2^32 − 1, the sum at 2^64 − 1 and the sum of
/// squares at 2^96 − 1. When the weight saturates, both sums are set to their maximum, too,
/// because they no longer belong to a known weight. The minimum and the maximum stay exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct CompactMoments {
    /// The number of samples.
    count: u32,
    /// The sum of the samples' weights.
    weight: u32,
    /// The sum of the values, each multiplied by its weight.
    sum: u64,
    /// The low 64 bits of the sum of squares.
    squares: u64,
    /// The high 32 bits of the sum of squares.
    squares_above: u32,
    /// The low 32 bits of the minimum.
    min: u32,
    /// The low 32 bits of the maximum.
    max: u32,
    /// The other bits of the minimum. 16 bits are enough, because the value of a
    /// [`CompactSample`] has at most 44 bits.
    min_above: u16,
    /// The other bits of the maximum.
    max_above: u16,
}

impl CompactMoments {
    const fn min(&self) -> u64 {
        (self.min_above as u64) << u32::BITS | self.min as u64
    }

    const fn max(&self) -> u64 {
        (self.max_above as u64) << u32::BITS | self.max as u64
    }

    /// Packs `moments`, saturating what does not fit.
    #[expect(clippy::cast_possible_truncation, reason = "numbers are split into words")]
    fn pack(moments: &Moments<u64>) -> Self {
        let (min, max) = (moments.min(), moments.max());
        let [count, weight] = [moments.count(), moments.weight()].map(u32::saturating_from);
        let (sum, squares) = (moments.sum(), moments.squares());
        // A mean cannot be computed without the weight. With saturated sums it is not known, as if
        // the sum itself had not fitted.
        let (sum, squares) =
            if weight == u32::MAX { (u64::MAX, u128::MAX) } else { (sum, squares) };
        let is_saturated = squares >> (u64::BITS + u32::BITS) != 0;
        Self {
            count,
            weight,
            sum,
            squares: if is_saturated { u64::MAX } else { squares as u64 },
            squares_above: if is_saturated { u32::MAX } else { (squares >> u64::BITS) as u32 },
            min: min as u32,
            max: max as u32,
            min_above: (min >> u32::BITS) as u16,
            max_above: (max >> u32::BITS) as u16,
        }
    }
}

impl StoredMoments<Compact> for CompactMoments {
    const EMPTY: Self = Self {
        count: 0,
        weight: 0,
        sum: 0,
        squares: 0,
        squares_above: 0,
        min: 0,
        max: 0,
        min_above: 0,
        max_above: 0,
    };

    #[inline(never)]
    fn moments(&self) -> Moments<u64> {
        let weight = if self.weight == u32::MAX { u64::MAX } else { self.weight.into() };
        let squares = u128::from(self.squares_above) << u64::BITS | u128::from(self.squares);
        let is_saturated = self.squares == u64::MAX && self.squares_above == u32::MAX;
        let squares = if is_saturated { u128::MAX } else { squares };
        Moments::from_parts(
            [self.count.into(), weight],
            [self.min(), self.max()],
            self.sum,
            squares,
        )
    }

    fn count(&self) -> u64 {
        self.count.into()
    }

    fn weight(&self) -> u64 {
        self.weight.into()
    }

    #[inline(never)]
    fn merge(&mut self, other: &Moments<u64>) -> u64 {
        let mut moments = self.moments();
        moments.merge(other);
        let before = mem::replace(self, Self::pack(&moments)).weight();
        other.weight() - (self.weight() - before)
    }

    #[inline(never)]
    fn add(&mut self, sample: CompactSample) {
        // Most samples have the weight 1 and are less than 2^32, which is 4 s in the coarse unit of
        // time. They take a path with less 64-bit and 128-bit arithmetic.
        let Some(value) = sample.unweighted_u32() else {
            self.merge(&Moments::of(sample.unpack()));
            return;
        };
        if self.count == 0 || self.min_above > 0 || value < self.min {
            (self.min, self.min_above) = (value, 0);
        }
        if self.max_above == 0 && value > self.max {
            self.max = value;
        }
        self.count += 1;
        self.weight += 1;
        self.sum = self.sum.saturating_add(value.into());
        let (low, carry) = self.squares.overflowing_add(product_of_words(value, value));
        let (above, is_saturated) = self.squares_above.overflowing_add(carry.into());
        self.squares = if is_saturated { u64::MAX } else { low };
        self.squares_above = if is_saturated { u32::MAX } else { above };
    }
}

/// A sample in 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct CompactSample {
    /// From the highest bit on: the 12 high bits of the value, 4 bits with the binary logarithm of
    /// the weight, and the 16 bits of a [`SliceSet`](crate::statistics::sample_buffer::SliceSet).
    high: u32,
    /// The 32 low bits of the value.
    low: u32,
}

/// The position in `high` of the lowest bit that belongs to the value.
const VALUE_SHIFT: u32 = u16::BITS + WeightedSample::SAMPLING_BITS;
const _: () = assert!(CompactSample::VALUE_BITS + VALUE_SHIFT == u64::BITS);

#[expect(clippy::cast_possible_truncation, reason = "the fields are extracted bit by bit")]
impl CompactSample {
    #[inline(always)]
    const fn value(self) -> u64 {
        ((self.high >> VALUE_SHIFT) as u64) << u32::BITS | self.low as u64
    }

    /// Returns the value and its weight.
    #[inline(always)]
    pub(crate) const fn unpack(self) -> WeightedSample {
        WeightedSample::from_checked_parts(self.value(), (self.high >> u16::BITS) as u8 & 0xF)
    }

    /// Returns the value if it fits into 32 bits and the weight is 1, which is so for most samples.
    #[inline(always)]
    const fn unweighted_u32(self) -> Option<u32> {
        if self.high >> u16::BITS == 0 { Some(self.low) } else { None }
    }
}

impl StoredSample for CompactSample {
    const EMPTY: Self = Self { high: 0, low: 0 };
    const VALUE_BITS: u32 = 44;
    const MAX_SAMPLES: usize = 1 << u16::BITS;
    const SLICE_BITS: u32 = u16::BITS;
    /// The index of a sample.
    type Scratch = u16;
    const EMPTY_SCRATCH: u16 = 0;

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the value is split into its words")]
    fn new(weighted: WeightedSample, membership: Membership) -> Self {
        let value = weighted.value();
        let rest =
            u32::from(weighted.sampling()) << u16::BITS | u32::from(membership.slices.bits());
        Self { high: ((value >> u32::BITS) as u32) << VALUE_SHIFT | rest, low: value as u32 }
    }

    #[inline(always)]
    fn weighted(self) -> WeightedSample {
        self.unpack()
    }

    #[inline(always)]
    fn tick(self) -> Option<u64> {
        None
    }

    #[inline(never)]
    #[expect(clippy::cast_possible_truncation, reason = "only the bits of the slices are wanted")]
    fn remove_slice(samples: &mut [Self], window: WindowFilter, slice: usize) {
        let (mask, bits) = (window.mask(), window.slice_bits(slice));
        for Self { high, .. } in samples {
            if *high as u16 & mask == bits {
                *high &= !u32::from(mask);
            }
        }
    }

    /// Does nothing: when the clock restarts, all slices expire, and
    /// [`remove_slice`](Self::remove_slice) removes their samples.
    #[inline(always)]
    fn clear_membership(_: &mut [Self]) {}

    fn quantiles<const K: usize>(
        samples: &[Self],
        scratch: &mut [u16],
        window: Option<WindowFilter>,
        (count, _): (u64, bool),
        (quantiles, found): (&[Quantile; K], &mut [u64; K]),
    ) -> Option<usize> {
        let (selected, weight) = select_indices(samples, scratch, window);
        if selected as u64 != count {
            return None;
        }
        let indices = &mut scratch[..selected];
        sort(samples, indices);
        // A rank is at least 1, so the loop sets `value` before it is used. `reached` fits into a
        // `u32`, because there are at most 2^16 samples of weight 2^15.
        let (mut value, mut reached) = (0, 0_u32);
        let mut rest = indices.iter();
        for (found, quantile) in found.iter_mut().zip(quantiles) {
            let rank = quantile.rank(weight.into());
            while u64::from(reached) < rank {
                let Some(index) = rest.next() else { break };
                let sample = samples[usize::from(*index)];
                reached += 1 << sample.unpack().sampling();
                value = sample.value();
            }
            *found = value;
        }
        Some(selected)
    }

    fn selected<'a>(samples: &'a [Self], scratch: &'a [u16]) -> Samples<'a> {
        Samples::indexed(samples, scratch)
    }
}

/// Writes the indices of the samples of a window, or of all samples if `window` is `None`, to
/// `scratch`. Returns the number and the total weight of these samples.
#[expect(clippy::cast_possible_truncation, reason = "an index is below MAX_SAMPLES")]
fn select_indices(
    samples: &[CompactSample],
    scratch: &mut [u16],
    window: Option<WindowFilter>,
) -> (usize, u32) {
    let (mut selected, mut weight) = (0, 0);
    for (index, sample) in samples.iter().enumerate() {
        if window.is_none_or(|window| sample.high as u16 & window.mask() != 0) {
            scratch[selected] = index as u16;
            selected += 1;
            weight += 1 << sample.unpack().sampling();
        }
    }
    (selected, weight)
}

/// Sorts the selected indices by the values of their samples.
// This is a function of its own so that its stack frame is released before the quantiles are
// computed.
fn sort(samples: &[CompactSample], selected: &mut [u16]) {
    select::shell_sort(selected, |index| {
        samples.get(usize::from(*index)).map_or(0, |sample| sample.value())
    });
}

impl Sum for u64 {
    const ZERO: Self = 0;
    const MAX: Self = Self::MAX;

    fn from_wide(sum: u128) -> Self {
        saturating_u64(sum)
    }

    fn saturating_add(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    fn since(self, earlier: Self) -> Option<Self> {
        self.checked_sub(earlier)
    }

    fn square(value: u64, sampling: u8) -> u128 {
        let square = arithmetic::product(value, value);
        if square.leading_zeros() >= u32::from(sampling) { square << sampling } else { u128::MAX }
    }

    fn add_squares(one: u128, other: u128) -> u128 {
        one.saturating_add(other)
    }

    fn squares_of_series(squares: u128, _: [u64; 3], sampling: u8) -> u128 {
        arithmetic::saturating_product(squares, 1 << sampling)
    }

    fn squares_since(squares: u128, earlier: u128) -> Option<u128> {
        if squares == u128::MAX { Some(u128::MAX) } else { squares.checked_sub(earlier) }
    }

    fn mean_and_deviation(self, squares: u128, n: u64) -> [Self; 2] {
        let (whole, rest) = arithmetic::div_rem(self, n);
        // From 2^47 on, the mean with its 16 fractional bits, or the dividend below (a remainder
        // less than n with 16 more bits, plus n / 2), might not fit into 64 bits.
        if (whole | n) >> (u64::BITS - FRACTION_BITS - 1) != 0 {
            return [Self::MAX; 2];
        }
        let mean =
            (whole << FRACTION_BITS) + arithmetic::div_rem((rest << FRACTION_BITS) + n / 2, n).0;
        if squares >> (u128::BITS - VARIANCE_FRACTION_BITS) != 0 {
            return [mean, Self::MAX];
        }
        // n·variance = Σx² − (Σx)²/n. With Σx = whole·n + rest:
        // (Σx)²/n = whole²·n + 2·whole·rest + rest²/n = whole·Σx + whole·rest + rest²/n.
        // No term is greater than Σx², and no intermediate result is negative, because the
        // variance is not negative: `add_series` rounds its sums so that it stays so. rest²/n is
        // computed with 32 fractional bits.
        let without_last_term = squares
            .wrapping_sub(arithmetic::product(whole, self))
            .wrapping_sub(arithmetic::product(whole, rest));
        let last_term =
            arithmetic::quotient(arithmetic::product(rest, rest) << VARIANCE_FRACTION_BITS, n);
        let n_variance = (without_last_term << VARIANCE_FRACTION_BITS).wrapping_sub(last_term);
        [mean, arithmetic::isqrt(arithmetic::quotient(n_variance, n))]
    }

    fn fixed_nanos(self, unit: TimeUnit) -> Option<FixedPoint> {
        // Values have at most 44 bits, so the largest number is never an actual mean.
        let is_unknown = self == Self::MAX;
        FixedPoint::from_bits(if is_unknown { self } else { unit.nanos_with_addend(self, 0) })
    }

    fn fixed_number(self) -> Option<FixedPoint> {
        FixedPoint::from_bits(self)
    }
}
