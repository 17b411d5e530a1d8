//! The representation for servers.

use super::{Repr, StoredMoments, StoredSample, Wide};
use crate::{
    arithmetic,
    clock::OptionalTick,
    clock::TimeUnit,
    repr::samples::Samples,
    statistics::{
        fixed_point::{FRACTION_BITS, FixedPoint},
        moments::{Moments, Sum, VARIANCE_FRACTION_BITS},
        quantile::Quantile,
        sample_buffer::{Membership, WindowFilter},
        select::{self, WeightedSample},
        squares,
    },
};

impl Repr for Wide {
    const IS_COMPACT: bool = false;
    type Counter = u64;
    type Sum = u128;
    type Moments = Moments<u128>;
    type Sample = WideSample;
}

impl StoredMoments<Wide> for Moments<u128> {
    const EMPTY: Self = Self::EMPTY;

    #[inline(always)]
    fn moments(&self) -> Self {
        *self
    }

    #[inline(always)]
    fn count(&self) -> u64 {
        self.count()
    }

    #[inline(always)]
    fn weight(&self) -> u64 {
        self.weight()
    }

    #[inline(always)]
    fn merge(&mut self, other: &Self) -> u64 {
        self.merge(other);
        0
    }

    #[inline(always)]
    fn add(&mut self, sample: WideSample) {
        self.merge(&Self::of(sample.weighted));
    }

    #[inline(always)]
    fn add_all(&mut self, samples: &[WideSample]) {
        self.add_all(samples.iter().map(|sample| sample.weighted));
    }
}

/// A sample in 16 bytes. It belongs to a window if its tick does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct WideSample {
    weighted: WeightedSample,
    /// As in [`Membership`].
    tick: OptionalTick,
}

impl StoredSample for WideSample {
    const EMPTY: Self = Self { weighted: WeightedSample::ZERO, tick: OptionalTick::NONE };
    const VALUE_BITS: u32 = WeightedSample::VALUE_BITS;
    const MAX_SAMPLES: usize = usize::MAX;
    const SLICE_BITS: u32 = u32::MAX;
    type Scratch = WeightedSample;
    const EMPTY_SCRATCH: WeightedSample = WeightedSample::ZERO;

    #[inline(always)]
    fn new(weighted: WeightedSample, membership: Membership) -> Self {
        Self { weighted, tick: membership.tick }
    }

    #[inline(always)]
    fn weighted(self) -> WeightedSample {
        self.weighted
    }

    #[inline(always)]
    fn tick(self) -> Option<u64> {
        self.tick.get()
    }

    /// Does nothing: the samples of an expired slice have ticks before the window's first one, so
    /// they no longer belong to the window.
    #[inline(always)]
    fn remove_slice(_: &mut [Self], _: WindowFilter, _: usize) {}

    fn clear_membership(samples: &mut [Self]) {
        for sample in samples {
            // A sample that is in no window is not written to, because it may lie in a page that
            // the operating system has not assigned yet.
            if sample.tick != OptionalTick::NONE {
                sample.tick = OptionalTick::NONE;
            }
        }
    }

    #[inline(always)]
    fn quantiles<const K: usize>(
        samples: &[Self],
        scratch: &mut [WeightedSample],
        window: Option<WindowFilter>,
        (count, is_weighted): (u64, bool),
        (quantiles, found): (&[Quantile; K], &mut [u64; K]),
    ) -> Option<usize> {
        let mut selected = 0;
        for sample in samples {
            // Without a `window`, even the samples that belong to no window are selected.
            if window.is_none_or(|window| window.contains_tick(sample.tick)) {
                scratch[selected] = sample.weighted;
                selected += 1;
            }
        }
        if selected as u64 != count {
            return None;
        }
        let scratch = &mut scratch[..selected];
        *found = if is_weighted {
            select::weighted_quantiles(scratch, *quantiles)?
        } else {
            select::quantiles(scratch, *quantiles)?.map(WeightedSample::value)
        };
        Some(selected)
    }

    fn selected<'a>(_: &'a [Self], scratch: &'a [WeightedSample]) -> Samples<'a> {
        scratch.into()
    }
}

/// Returns the quotient and the remainder of `sum / n`.
#[expect(clippy::cast_possible_truncation, reason = "a remainder is less than the divisor")]
const fn div_rem(sum: u128, n: u64) -> (u128, u64) {
    (sum / n as u128, (sum % n as u128) as u64)
}

impl Sum for u128 {
    const ZERO: Self = 0;
    const MAX: Self = Self::MAX;

    #[inline(always)]
    fn from_wide(sum: u128) -> Self {
        sum
    }

    #[inline(always)]
    fn saturating_add(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    #[inline(always)]
    fn since(self, earlier: Self) -> Option<Self> {
        self.checked_sub(earlier)
    }

    #[inline(always)]
    fn square(value: u64, sampling: u8) -> u128 {
        squares::square(value, sampling)
    }

    #[inline(always)]
    fn add_squares(one: u128, other: u128) -> u128 {
        squares::add(one, other)
    }

    fn squares_of_series(squares: u128, [value, distance, n]: [u64; 3], sampling: u8) -> u128 {
        if squares == u128::MAX {
            squares::of_series(value, distance, n, sampling)
        } else {
            squares::shifted(squares, sampling)
        }
    }

    fn squares_since(squares: u128, earlier: u128) -> Option<u128> {
        squares::since(squares, earlier)
    }

    fn mean_and_deviation(self, squares: u128, n: u64) -> [Self; 2] {
        let (whole, rest) = div_rem(self, n);
        // Splitting off the integer part keeps the dividend small: `rest` is less than n, so it has
        // at most 64 bits, and 16 more always fit. Adding n / 2 rounds to nearest.
        let mean = (whole << FRACTION_BITS)
            + arithmetic::quotient((u128::from(rest) << FRACTION_BITS) + u128::from(n / 2), n);
        // A saturated weight may stand for any greater one.
        if n == u64::MAX {
            return [Self::MAX; 2];
        }
        if squares::is_coarse(squares) {
            let deviation = squares::deviation(squares, self, n);
            return [mean, deviation.map_or(Self::MAX, |root| u128::from(root) << FRACTION_BITS)];
        }
        // n·variance = Σx² − (Σx)²/n. With Σx = whole·n + rest:
        // (Σx)²/n = whole²·n + 2·whole·rest + rest²/n = whole·(Σx + rest) + rest²/n.
        // No term is greater than Σx², because the variance is not negative.
        let without_last_term =
            squares.saturating_sub(whole.saturating_mul(self.saturating_add(rest.into())));
        // If there is no room for 32 fractional bits, the root is computed as an integer.
        let fits = |number: u128| number >> (u128::BITS - VARIANCE_FRACTION_BITS) == 0;
        let square = arithmetic::product(rest, rest);
        let has_fraction = fits(without_last_term) && fits(square);
        let shift = if has_fraction { VARIANCE_FRACTION_BITS } else { 0 };
        let n_variance =
            (without_last_term << shift).saturating_sub(arithmetic::quotient(square << shift, n));
        let root = u128::from(arithmetic::isqrt(arithmetic::quotient(n_variance, n)));
        [mean, if has_fraction { root } else { root << FRACTION_BITS }]
    }

    fn fixed_nanos(self, unit: TimeUnit) -> Option<FixedPoint> {
        (self.checked_mul(1_000_000_000)? >> unit.bits()).fixed_number()
    }

    fn fixed_number(self) -> Option<FixedPoint> {
        FixedPoint::from_bits(arithmetic::saturating_u64(self))
    }
}
