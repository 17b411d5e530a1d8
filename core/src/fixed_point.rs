//! Numbers with a fraction, without floating point.

use core::fmt;

use crate::wide_math;

/// A number that is not negative, with 16 binary digits after the point; it saturates at 2^48.
///
/// Means and standard deviations are told in it, so that a microcontroller needs no floating point for them.
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

pub(crate) const FRACTION_BITS: u32 = 16;

impl FixedPoint {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The number that `bits` / 2^16 is.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The number times 2^16.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_wide(bits: u128) -> Self {
        Self(wide_math::clamp(bits))
    }

    /// `numerator / denominator`, rounded to the nearest; zero if `denominator` is 0.
    pub const fn ratio(numerator: u64, denominator: u64) -> Self {
        if denominator == 0 {
            return Self::ZERO;
        }
        let half = (denominator / 2) as u128;
        Self::from_wide(wide_math::quotient(
            ((numerator as u128) << FRACTION_BITS) + half,
            denominator,
        ))
    }

    /// Rounded to the nearest whole number.
    pub const fn round(self) -> u64 {
        (self.0 >> FRACTION_BITS) + ((self.0 >> (FRACTION_BITS - 1)) & 1)
    }

    /// As a floating-point number; exact up to 2^37.
    #[expect(clippy::cast_precision_loss, reason = "documented")]
    pub const fn to_f64(self) -> f64 {
        self.0 as f64 / 65_536.0
    }
}

impl fmt::Display for FixedPoint {
    /// Rounds to the precision asked for, at most 4 digits; without one, tells a single digit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1).min(4);
        let power = 10_u64.pow(u32::try_from(digits).unwrap_or(4));
        let (whole, fraction) = (self.0 >> FRACTION_BITS, self.0 & ((1 << FRACTION_BITS) - 1));
        let scaled = (fraction * power + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
        // Rounded up, the fraction may be a whole.
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
    fn it_prints_like_the_number_it_is() {
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
