//! Fixed-point numbers, for results with a fraction but without floating point.

use core::{fmt, num::NonZeroU64};

use crate::arithmetic;

/// An unsigned fixed-point number with 16 fractional bits: a 64-bit integer divided by 2^16.
///
/// The largest one is just below 2^48.
///
/// Means and standard deviations have this type, so that a microcontroller needs no floating point
/// to compute and print them. An `Option<FixedPoint>` takes 8 bytes, too.
///
/// ```
/// use tailwatch_core::FixedPoint;
///
/// let mean = FixedPoint::ratio(10, 4);
/// assert_eq!(mean.to_f64(), 2.5);
/// assert_eq!(format!("{mean:.1}"), "2.5");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
// The bits plus 1, so that `None` needs no memory of its own.
pub struct FixedPoint(NonZeroU64);

/// The number of fractional bits of a [`FixedPoint`].
pub(crate) const FRACTION_BITS: u32 = 16;

impl FixedPoint {
    /// The number 0.
    pub const ZERO: Self = Self(NonZeroU64::MIN);

    /// The largest number.
    const MAX: Self = Self(NonZeroU64::MAX);

    /// Creates the number `bits` / 2^16. Returns `None` if `bits` is 2^64 − 1, which stands for a
    /// number that is not known.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match NonZeroU64::new(bits.wrapping_add(1)) {
            Some(bits_plus_1) => Some(Self(bits_plus_1)),
            None => None,
        }
    }

    /// Returns the number times 2^16, which is always an integer, and less than 2^64 − 1.
    pub const fn to_bits(self) -> u64 {
        self.0.get() - 1
    }

    /// Returns `numerator / denominator`, rounded to the nearest multiple of 2^-16; zero if
    /// `denominator` is 0. A result that is too large becomes the largest number.
    pub const fn ratio(numerator: u64, denominator: u64) -> Self {
        if denominator == 0 {
            return Self::ZERO;
        }
        let half = (denominator / 2) as u128;
        let bits = arithmetic::quotient(((numerator as u128) << FRACTION_BITS) + half, denominator);
        match Self::from_bits(arithmetic::saturating_u64(bits)) {
            Some(ratio) => ratio,
            None => Self::MAX,
        }
    }

    /// Rounds to the nearest integer, halves up.
    pub const fn round(self) -> u64 {
        let bits = self.to_bits();
        (bits >> FRACTION_BITS) + ((bits >> (FRACTION_BITS - 1)) & 1)
    }

    /// Converts to a floating-point number. The result is exact up to 2^37, and rounded to 53
    /// significant bits above that.
    #[expect(clippy::cast_precision_loss, reason = "the docs state where it is exact")]
    pub const fn to_f64(self) -> f64 {
        self.to_bits() as f64 / 65_536.0
    }
}

impl Default for FixedPoint {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Debug for FixedPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FixedPoint").field(&self.to_f64()).finish()
    }
}

impl fmt::Display for FixedPoint {
    /// Prints as many digits behind the point as the format requests, at most 4. The default is 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1).min(4);
        let power = 10_u64.pow(u32::try_from(digits).unwrap_or(4));
        let bits = self.to_bits();
        let (whole, fraction) = (bits >> FRACTION_BITS, bits & ((1 << FRACTION_BITS) - 1));
        let scaled = (fraction * power + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
        // `scaled` is the rounded fraction in units of the last digit. If it rounds up to a whole,
        // `scaled / power` is 1 and carries into the integer part.
        write!(f, "{}", whole + scaled / power)?;
        if digits > 0 {
            write!(f, ".{:0digits$}", scaled % power)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;

    use super::*;

    #[test]
    fn a_fixed_point_number_prints_like_a_float() {
        for (numerator, denominator) in
            [(0, 1), (1, 3), (2, 3), (999, 1_000), (1_000_000, 7), (5, 2)]
        {
            let fixed = FixedPoint::ratio(numerator, denominator);
            let float = numerator as f64 / denominator as f64;
            assert_eq!(format!("{fixed:.2}"), format!("{float:.2}"));
            assert!((fixed.to_f64() - float).abs() <= 1.0 / 65_536.0);
            assert_eq!(fixed.round(), float.round() as u64);
        }
        assert_eq!(FixedPoint::ratio(1, 0), FixedPoint::ZERO);
        assert_eq!(FixedPoint::ratio(u64::MAX, 1).to_bits(), u64::MAX - 1);
    }

    #[test]
    fn all_bits_but_one_are_a_number_and_an_absent_one_takes_no_memory() {
        for bits in [0, 1, 1 << 16, u64::MAX - 1] {
            assert_eq!(FixedPoint::from_bits(bits).unwrap().to_bits(), bits);
        }
        assert_eq!(FixedPoint::from_bits(u64::MAX), None);
        assert_eq!(size_of::<Option<FixedPoint>>(), size_of::<u64>());
        assert!(FixedPoint::from_bits(1) > Some(FixedPoint::default()));
    }
}
