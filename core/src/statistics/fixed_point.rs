//! Fixed-point numbers, for results with a fraction but without floating point.

use core::fmt;

use crate::arithmetic;

/// An unsigned fixed-point number with 16 fractional bits: a 64-bit integer divided by 2^16.
///
/// The largest one is just below 2^48. Results that would be larger saturate to it.
///
/// Means and standard deviations have this type, so that a microcontroller needs no floating point
/// to compute and print them.
///
/// ```
/// use tailwatch_core::FixedPoint;
///
/// let mean = FixedPoint::ratio(10, 4);
/// assert_eq!(mean.to_f64(), 2.5);
/// assert_eq!(format!("{mean:.1}"), "2.5");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FixedPoint(u64);

/// The number of fractional bits of a [`FixedPoint`].
pub(crate) const FRACTION_BITS: u32 = 16;

impl FixedPoint {
    /// The number 0.
    pub const ZERO: Self = Self(0);

    /// Creates the number `bits` / 2^16.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the number times 2^16, which is always an integer.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Creates the number `bits` / 2^16, or the largest one if `bits` has more than 64 bits.
    pub(crate) const fn from_wide(bits: u128) -> Self {
        Self(arithmetic::saturating_u64(bits))
    }

    /// Returns `numerator / denominator`, rounded to the nearest multiple of 2^-16; zero if
    /// `denominator` is 0.
    pub const fn ratio(numerator: u64, denominator: u64) -> Self {
        if denominator == 0 {
            return Self::ZERO;
        }
        let half = (denominator / 2) as u128;
        Self::from_wide(arithmetic::quotient(
            ((numerator as u128) << FRACTION_BITS) + half,
            denominator,
        ))
    }

    /// Rounds to the nearest integer, halves up.
    pub const fn round(self) -> u64 {
        (self.0 >> FRACTION_BITS) + ((self.0 >> (FRACTION_BITS - 1)) & 1)
    }

    /// Converts to a floating-point number. The result is exact up to 2^37, and rounded to 53
    /// significant bits above that.
    #[expect(clippy::cast_precision_loss, reason = "the docs state where it is exact")]
    pub const fn to_f64(self) -> f64 {
        self.0 as f64 / 65_536.0
    }
}

impl fmt::Display for FixedPoint {
    /// Prints as many digits behind the point as the format requests, at most 4. The default is 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1).min(4);
        let power = 10_u64.pow(u32::try_from(digits).unwrap_or(4));
        let (whole, fraction) = (self.0 >> FRACTION_BITS, self.0 & ((1 << FRACTION_BITS) - 1));
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
        assert_eq!(FixedPoint::ratio(u64::MAX, 1).to_bits(), u64::MAX);
    }
}
