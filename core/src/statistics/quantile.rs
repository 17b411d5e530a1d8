//! Quantiles and the ranks of samples, in integer arithmetic.

use core::{error, fmt, str::FromStr};

use crate::arithmetic::{self, product_of_words};

/// A quantile: the share of all samples that are at most a certain value, from 0 to 1,000,000 parts
/// per million (ppm). `p99.9` is 999,000 ppm.
///
/// The value at the quantile `q` of `n` samples in ascending order is the sample at the *nearest
/// rank*, `max(1, ceil(q·n))`, counted from 1. It is always one of the samples, never interpolated
/// between two: the value at `p99.9` of 1,000 samples is the 999th smallest. A sample of
/// [weight](crate::WeightedSample::weight) w counts as w samples of the same value.
///
/// As text, a quantile is written as `p` and a percentage with up to four decimals.
///
/// ```
/// use tailwatch_core::Quantile;
///
/// assert_eq!(Quantile::P99_9.rank(1_000), 999);
/// assert_eq!(Quantile::P99.rank(1), 1);
/// assert_eq!("p99.9".parse(), Ok(Quantile::P99_9));
/// assert!("p101".parse::<Quantile>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// In ppm, at most `MILLION`.
pub struct Quantile(u32);

const MILLION: u32 = 1_000_000;

impl Quantile {
    /// The quantile 0. Its value is the smallest sample.
    pub const MIN: Self = Self(0);
    /// The quantile 0.5. Its value is the median: the middle sample, or the lower of the two middle
    /// samples.
    pub const P50: Self = Self(500_000);
    /// The quantile 0.95. Its value is the smallest sample that at least 95 % of all samples do not
    /// exceed.
    pub const P95: Self = Self(950_000);
    /// The quantile 0.99. Its value is the smallest sample that at least 99 % of all samples do not
    /// exceed.
    pub const P99: Self = Self(990_000);
    /// The quantile 0.999. Its value is the smallest sample that at least 99.9 % of all samples do
    /// not exceed.
    pub const P99_9: Self = Self(999_000);
    /// The quantile 1. Its value is the largest sample.
    pub const MAX: Self = Self(MILLION);

    /// Creates the quantile of `ppm` parts per million, from 0 to 1,000,000: 950,000 is
    /// [`P95`](Self::P95). Returns `None` if `ppm` is greater.
    pub const fn from_ppm(ppm: u32) -> Option<Self> {
        if ppm <= MILLION { Some(Self(ppm)) } else { None }
    }

    /// Returns the quantile in parts per million, from 0 to 1,000,000.
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// Returns how many samples this quantile q needs so that a single one does not decide it,
    /// ⌈1 / (1 − q)⌉: of that many, at least one comes after the rank. Returns 1 for the quantile
    /// 1, which the largest sample decides in any case.
    pub(crate) const fn needed_samples(self) -> u32 {
        if self.0 == MILLION { 1 } else { MILLION.div_ceil(MILLION - self.0) }
    }

    /// Returns the nearest rank of this quantile among `n` samples, counted from 1, or 0 if `n` is
    /// 0.
    #[inline(never)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`rest` is less than 10^6, and millions·ppm is at most n"
    )]
    pub const fn rank(self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // ceil(n·ppm / 10^6), where n·ppm may need more than 64 bits. With n = millions·10^6 +
        // rest, this is millions·ppm + ceil(rest·ppm / 10^6). The first product is at most n, and
        // the second is less than 10^12.
        let (millions, rest) = arithmetic::div_rem(n, MILLION as u64);
        let rank_in_rest = arithmetic::div_rem(
            product_of_words(rest as u32, self.0) + (MILLION - 1) as u64,
            MILLION as u64,
        )
        .0;
        let rank = arithmetic::product(millions, self.0 as u64) as u64 + rank_in_rest;
        if rank == 0 { 1 } else { rank }
    }
}

impl fmt::Debug for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0 / 10_000)?;
        let mut rest = self.0 % 10_000;
        if rest > 0 {
            let mut digits = 4;
            while rest.is_multiple_of(10) {
                rest /= 10;
                digits -= 1;
            }
            write!(f, ".{rest:0digits$}")?;
        }
        Ok(())
    }
}

/// The error returned when a string cannot be parsed as a quantile, which is written like `p99.9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ParseQuantileError;

impl fmt::Display for ParseQuantileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantile is written p0 to p100, with up to four decimals, such as p99.9")
    }
}

impl error::Error for ParseQuantileError {}

impl FromStr for Quantile {
    type Err = ParseQuantileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix('p').ok_or(ParseQuantileError)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |text: &str, max_digits: usize| {
            (1..=max_digits).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
        };
        if !is_number(whole, 3) || !is_number(decimals, 4) {
            return Err(ParseQuantileError);
        }
        let whole: u32 = whole.parse().map_err(|_| ParseQuantileError)?;
        // One percent is 10,000 ppm, so the fourth decimal of a percentage counts single ppm. The
        // loop below pads shorter decimals with zeros to four.
        let mut ppm: u32 = decimals.parse().map_err(|_| ParseQuantileError)?;
        for _ in decimals.len()..4 {
            ppm *= 10;
        }
        Self::from_ppm(whole * 10_000 + ppm).ok_or(ParseQuantileError)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_rank_is_the_smallest_number_that_is_at_least_the_share_of_n() {
        for n in 1..=2_003_u64 {
            for ppm in
                [0, 1, 333_333, 500_000, 500_001, 950_000, 990_000, 999_000, 999_999, 1_000_000]
            {
                let rank = Quantile(ppm).rank(n);
                // Search for the definition of the rank: the smallest r >= 1 with r/n >= q.
                let searched = (1..=n).find(|r| r * 1_000_000 >= u64::from(ppm) * n).unwrap();
                assert_eq!(rank, searched, "n {n} ppm {ppm}");
            }
        }
        for n in [1, 3, 512, 1_000, 999_983] {
            for ppm in 0..=1_000_000 {
                let (rank, share) = (Quantile(ppm).rank(n), u64::from(ppm) * n);
                assert!(
                    rank * 1_000_000 >= share && (rank == 1 || (rank - 1) * 1_000_000 < share),
                    "n {n} ppm {ppm}"
                );
            }
        }
        assert_eq!(Quantile::P50.rank(0), 0);
        assert_eq!(Quantile::MAX.rank(u64::MAX), u64::MAX);
        assert_eq!(Quantile::P50.rank(u64::MAX), u64::MAX / 2 + 1);
    }

    #[test]
    fn a_quantile_survives_formatting_and_parsing_and_malformed_text_is_refused() {
        for ppm in (0..=1_000_000).step_by(37) {
            let quantile = Quantile(ppm);
            assert_eq!(quantile.to_string().parse(), Ok(quantile));
        }
        for wrong in [
            "",
            "p",
            "99",
            "p1000",
            "p100.0001",
            "p99.12345",
            "p-1",
            "p+9",
            "p9.",
            "p.9",
            "P99",
            "p９",
        ] {
            assert_eq!(wrong.parse::<Quantile>(), Err(ParseQuantileError), "{wrong}");
        }
    }
}
