//! Time: raw ticks on the hot path, nanoseconds in reports.

use core::{fmt, num::NonZeroU64, time::Duration};

use crate::wide_math::{self, clamp, product_of_words};

/// A source of ticks.
///
/// What an implementor promises: ticks of one clock are comparable between all threads that record into one collector;
/// they run at the fixed [`TickRate`]; reading them neither blocks nor fails. A clock that steps back is survived: the span
/// is counted as a clock anomaly and has no latency.
pub trait Clock {
    /// The tick at the beginning of a span.
    fn start(&self) -> u64;

    /// The tick at the end of a span. An *ordered* clock reads it only once the measured work is done; a *relaxed* one lets
    /// the processor read it early, for a few nanoseconds less.
    fn end(&self) -> u64;

    /// The fixed ratio of ticks to time.
    fn rate(&self) -> TickRate;
}

/// A clock that is shared, as one in a `static` is.
impl<C: Clock + ?Sized> Clock for &C {
    #[inline(always)]
    fn start(&self) -> u64 {
        (**self).start()
    }

    #[inline(always)]
    fn end(&self) -> u64 {
        (**self).end()
    }

    #[inline(always)]
    fn rate(&self) -> TickRate {
        (**self).rate()
    }
}

/// How many ticks a clock makes in a second: the fixed ratio between ticks and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TickRate(NonZeroU64);

impl TickRate {
    /// One tick a nanosecond.
    pub const NANOSECONDS: Self = Self(NonZeroU64::new(1_000_000_000).expect("not zero"));

    /// `hz` ticks a second; `None` for 0.
    pub const fn from_hz(hz: u64) -> Option<Self> {
        match NonZeroU64::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Ticks a second.
    pub const fn hz(self) -> u64 {
        self.0.get()
    }

    /// The ticks in `nanos` nanoseconds, rounded to the nearest; 2^64 − 1 if there are more.
    pub const fn ticks_in_nanos(self, nanos: u64) -> u64 {
        clamp(wide_math::quotient(
            wide_math::product(nanos, self.hz()) + 500_000_000,
            1_000_000_000,
        ))
    }

    /// How long `ticks` ticks are, in nanoseconds, rounded to the nearest; 2^64 − 1 if there are more.
    ///
    /// A length that a report tells as well is converted by [`TimeScale`], so that both agree to the nanosecond.
    pub const fn nanos_in_ticks(self, ticks: u64) -> u64 {
        let hz = self.hz();
        clamp(wide_math::quotient(wide_math::product(ticks, 1_000_000_000) + (hz / 2) as u128, hz))
    }
}

/// The unit of time inside histograms: a negative power of two of a second, so that a bucket of ours *is* a bucket of a
/// base-2 exponential histogram in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TimeUnit {
    /// 2^-40 s, 0.9 ps: on servers.
    Fine,
    /// 2^-30 s, 0.9 ns: where 64-bit arithmetic hurts. Below 200 ns the rounding is coarser than the histogram.
    Coarse,
}

impl TimeUnit {
    /// The unit is 2^-`bits` s.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Fine => 40,
            Self::Coarse => 30,
        }
    }

    /// The nanoseconds in `units` units, rounded to the nearest; 2^64 − 1 if there are more.
    pub const fn nanos(self, units: u64) -> u64 {
        let half = 1_u64 << (self.bits() - 1);
        if cfg!(target_pointer_width = "64") {
            clamp((wide_math::product(units, 1_000_000_000) + half as u128) >> self.bits())
        } else {
            self.nanos_by_words(units, half)
        }
    }

    /// `units` units in nanoseconds, and `more` of 2^-`bits` ns, rounded down; 2^64 − 1 if there are more. Without a product of 128 bits.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    #[expect(clippy::cast_possible_truncation, reason = "taken apart")]
    pub(crate) const fn nanos_by_words(self, units: u64, more: u64) -> u64 {
        let high = product_of_words((units >> u32::BITS) as u32, 1_000_000_000);
        let low = product_of_words(units as u32, 1_000_000_000) + more;
        match self {
            Self::Fine => (high + (low >> u32::BITS)) >> 8,
            Self::Coarse => (high << 2).saturating_add(low >> 30),
        }
    }
}

impl TimeUnit {
    /// The units in `nanos` nanoseconds, rounded to the nearest; 2^64 − 1 if there are more.
    pub(crate) const fn units_of(self, nanos: u64) -> u64 {
        clamp(wide_math::quotient(((nanos as u128) << self.bits()) + 500_000_000, 1_000_000_000))
    }

    /// The largest number of units that is told as at most `nanos` nanoseconds; 2^64 − 1 if there is no end to them.
    pub(crate) const fn units_told_as(self, nanos: u64) -> u64 {
        // The least number of units told as `nanos + 1` is the least u for which u·10^9 + 2^(bits-1) reaches (nanos + 1)·2^bits.
        let reached = ((nanos as u128 + 1) << self.bits()) - (1 << (self.bits() - 1));
        clamp(wide_math::quotient(reached - 1, 1_000_000_000))
    }
}

/// Turns ticks into units of time by one multiplication.
///
/// Source of the method: the kernel's `clocksource` (`mult` and `shift`), here with a 62-bit multiplier, so that its
/// rounding stays below 2^-61 of the length.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TimeScale {
    multiplier: u64,
    shift: u32,
    unit: TimeUnit,
}

impl TimeScale {
    /// From ticks at `rate` to `unit`.
    #[inline(always)]
    pub const fn new(rate: TickRate, unit: TimeUnit) -> Self {
        // The multiplier is 2^(bits + shift) / hz with 62 significant bits.
        let hz = rate.hz();
        let log_hz = hz.ilog2();
        let shift = 62 + log_hz - unit.bits();
        let numerator = 1_u128 << (unit.bits() + shift);
        Self {
            multiplier: clamp(wide_math::quotient(numerator + (hz / 2) as u128, hz)),
            shift,
            unit,
        }
    }

    /// The unit it turns ticks into.
    pub const fn unit(&self) -> TimeUnit {
        self.unit
    }

    /// How long `ticks` ticks are, in units, rounded to the nearest; `None` if that exceeds 64 bits.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    #[expect(clippy::cast_possible_truncation, reason = "those that fit")]
    pub const fn units(&self, ticks: u64) -> Option<u64> {
        if cfg!(not(target_pointer_width = "64")) && ticks <= u32::MAX as u64 && self.is_of_few() {
            return Some(self.units_of_few(ticks as u32));
        }
        self.units_of_any(ticks)
    }

    /// Whether the shift leaves a bit that decides on rounding above the lowest 32, and less than a word beside it: of clocks from 4 Hz
    /// to 8.5 GHz, in the coarse unit.
    const fn is_of_few(&self) -> bool {
        self.shift > u32::BITS + 1 && self.shift <= 2 * u32::BITS
    }

    /// How long this is, of ticks that fit 32 bits: two multiplications where registers have 32 bits.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "taken apart")]
    const fn units_of_few(&self, ticks: u32) -> u64 {
        let (low, high) = (self.multiplier as u32, (self.multiplier >> u32::BITS) as u32);
        // The product without its lowest 32 bits, which lie below the bit that decides on rounding.
        let product = product_of_words(ticks, high) + (product_of_words(ticks, low) >> u32::BITS);
        (wide_math::shifted(product, self.shift - u32::BITS - 1) + 1) >> 1
    }

    #[cfg_attr(target_pointer_width = "64", inline(always))]
    const fn units_of_any(&self, ticks: u64) -> Option<u64> {
        let product = wide_math::product(ticks, self.multiplier);
        let units = if cfg!(target_pointer_width = "64") {
            (product + (1 << (self.shift - 1))) >> self.shift
        } else {
            // The same, by one shift of several words.
            ((product >> (self.shift - 1)) + 1) >> 1
        };
        if units > u64::MAX as u128 { None } else { Some(clamp(units)) }
    }

    /// How long `ticks` ticks are, in nanoseconds, by way of the unit; 2^64 − 1 if there are more.
    pub const fn nanos(&self, ticks: u64) -> u64 {
        match self.units(ticks) {
            Some(units) => self.unit.nanos(units),
            None => u64::MAX,
        }
    }
}

impl fmt::Debug for TimeScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TimeScale(ticks * {} >> {} = 2^-{} s)",
            self.multiplier,
            self.shift,
            self.unit.bits()
        )
    }
}

/// How many nanoseconds these are; `None` if more than 2^64 − 1.
pub(crate) const fn nanos_of(length: Duration) -> Option<u64> {
    let nanos = wide_math::product(length.as_secs(), 1_000_000_000) + length.subsec_nanos() as u128;
    if nanos > u64::MAX as u128 { None } else { Some(clamp(nanos)) }
}

/// So many nanoseconds, by the division that is there anyway.
#[expect(clippy::cast_possible_truncation, reason = "less than a second")]
pub(crate) fn duration_of(nanos: u64) -> Duration {
    let (seconds, nanos) = wide_math::divided(nanos, 1_000_000_000);
    // That it is less than a second is not seen through the call, and would be checked.
    Duration::new(seconds, (nanos as u32).min(999_999_999))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn units_are_the_exact_ratio_to_half_a_unit(
            hz in prop_oneof![1_u64..=1 << 20, 1_000_000..5_000_000_000_u64, any::<u64>().prop_map(|hz| hz | 1)],
            ticks in prop_oneof![0_u64..=1 << 46, any::<u64>()],
            unit in prop_oneof![Just(TimeUnit::Fine), Just(TimeUnit::Coarse)],
        ) {
            let scale = TimeScale::new(TickRate::from_hz(hz).unwrap(), unit);
            let exact = num_bigint::BigUint::from(ticks) << unit.bits();
            if let Some(units) = scale.units(ticks) {
                // |units·hz − ticks·2^bits| <= hz/2, and the multiplier's own rounding.
                let told = num_bigint::BigUint::from(units) * hz;
                let difference = if told > exact { told - &exact } else { &exact - told };
                let allowed = num_bigint::BigUint::from(hz) / 2_u32 + 1_u32 + (exact >> 61);
                prop_assert!(difference <= allowed, "hz {} ticks {} units {}", hz, ticks, units);
            } else {
                prop_assert!(exact / hz >= num_bigint::BigUint::from(u64::MAX - 4));
            }
        }

        #[test]
        fn few_ticks_are_as_long_as_any(
            hz in 1..6_000_000_000_u64,
            ticks in prop_oneof![any::<u32>(), Just(0), Just(u32::MAX)],
            unit in prop_oneof![Just(TimeUnit::Fine), Just(TimeUnit::Coarse)],
        ) {
            let scale = TimeScale::new(TickRate::from_hz(hz).unwrap(), unit);
            prop_assume!(scale.is_of_few());
            prop_assert_eq!(Some(scale.units_of_few(ticks)), scale.units_of_any(u64::from(ticks)));
        }

        #[test]
        fn nanoseconds_survive_a_detour_over_ticks(nanos in 0_u64..1 << 45, hz in 1_000_000_000..6_000_000_000_u64) {
            let rate = TickRate::from_hz(hz).unwrap();
            let ticks = rate.ticks_in_nanos(nanos);
            prop_assert_eq!(rate.nanos_in_ticks(ticks), nanos);
            prop_assert!(TimeScale::new(rate, TimeUnit::Fine).nanos(ticks).abs_diff(nanos) <= 1);
        }
    }

    proptest! {
        #[test]
        fn nanoseconds_by_words_are_those_of_the_whole_product(units: u64, shift in 0..64_u32) {
            let units = units >> shift;
            for unit in [TimeUnit::Fine, TimeUnit::Coarse] {
                for more in [0, 1 << (unit.bits() - 1)] {
                    let whole = u128::from(units) * 1_000_000_000 + u128::from(more);
                    prop_assert_eq!(unit.nanos_by_words(units, more), clamp(whole >> unit.bits()));
                }
            }
        }

        #[test]
        fn what_is_told_as_a_limit_is_found(nanos in prop_oneof![0_u64..=1 << 40, any::<u64>()]) {
            for unit in [TimeUnit::Fine, TimeUnit::Coarse] {
                let most = unit.units_told_as(nanos);
                prop_assert!(unit.nanos(most) <= nanos);
                prop_assert!(most == u64::MAX || unit.nanos(most + 1) > nanos);
            }
        }
    }

    #[test]
    fn longer_is_never_told_shorter() {
        let scale = TimeScale::new(TickRate::from_hz(2_600_000_000).unwrap(), TimeUnit::Fine);
        let mut last = 0;
        for ticks in (0..100_000).chain((1 << 45)..(1 << 45) + 10_000) {
            let nanos = scale.nanos(ticks);
            assert!(nanos >= last);
            last = nanos;
        }
    }

    #[test]
    fn extremes_saturate() {
        let slow = TickRate::from_hz(1).unwrap();
        assert_eq!(TimeScale::new(slow, TimeUnit::Fine).units(u64::MAX), None);
        assert_eq!(TimeScale::new(slow, TimeUnit::Fine).nanos(u64::MAX), u64::MAX);
        assert_eq!(slow.nanos_in_ticks(u64::MAX), u64::MAX);
        assert_eq!(TickRate::from_hz(u64::MAX).unwrap().ticks_in_nanos(u64::MAX), u64::MAX);
        assert_eq!(TickRate::from_hz(0), None);
        assert_eq!(TimeUnit::Fine.nanos(1 << 40), 1_000_000_000);
    }
}
