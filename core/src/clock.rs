//! Time: raw ticks on the hot path, nanoseconds in reports, and the conversions between them.

use core::{fmt, num::NonZeroU64, time::Duration};

use crate::wide_math::{self, clamp, product_of_words};

/// A source of ticks.
///
/// An implementation must ensure that:
///
/// - all threads that record for the same aggregator can compare their ticks,
/// - the clock runs at a fixed [`TickRate`],
/// - reading the clock neither blocks nor fails.
///
/// If the clock nevertheless steps back during a span, the span gets no latency and is counted as a
/// clock anomaly.
pub trait Clock {
    /// Returns the tick at the start of a span.
    fn start(&self) -> u64;

    /// Returns the tick at the end of a span.
    ///
    /// An *ordered* clock waits until the measured work is done. A *relaxed* clock lets the
    /// processor read the tick earlier, which saves a few nanoseconds.
    fn end(&self) -> u64;

    /// Returns the fixed ratio of ticks to time.
    fn rate(&self) -> TickRate;
}

/// Lets recorders share a clock, such as one in a `static`.
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

/// The number of ticks per second of a clock: the fixed ratio of ticks to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TickRate(NonZeroU64);

impl TickRate {
    /// One tick per nanosecond.
    pub const NANOSECONDS: Self = Self(NonZeroU64::new(1_000_000_000).expect("not zero"));

    /// Creates a rate of `hz` ticks per second; `None` for 0.
    pub const fn from_hz(hz: u64) -> Option<Self> {
        match NonZeroU64::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Returns the ticks per second.
    pub const fn hz(self) -> u64 {
        self.0.get()
    }

    /// Converts nanoseconds to ticks, rounded to the nearest. Saturates at 2^64 − 1.
    pub const fn ticks_in_nanos(self, nanos: u64) -> u64 {
        clamp(wide_math::quotient(
            wide_math::product(nanos, self.hz()) + 500_000_000,
            1_000_000_000,
        ))
    }

    /// Converts ticks to nanoseconds, rounded to the nearest. Saturates at 2^64 − 1.
    ///
    /// Use [`TimeScale`] instead for a duration that also appears in a report: reports use it, and
    /// the two conversions may differ by a nanosecond.
    pub const fn nanos_in_ticks(self, ticks: u64) -> u64 {
        let hz = self.hz();
        clamp(wide_math::quotient(wide_math::product(ticks, 1_000_000_000) + (hz / 2) as u128, hz))
    }
}

/// The unit of time inside histograms: a second divided by a power of two.
///
/// With such a unit, the buckets of our histograms are exactly the buckets of a base-2 exponential
/// histogram in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TimeUnit {
    /// 2^-40 s (0.9 ps), for servers.
    Fine,
    /// 2^-30 s (0.9 ns), for targets where wide arithmetic is expensive. For durations below 200 ns
    /// the rounding to this unit is coarser than the buckets of the histogram.
    Coarse,
}

impl TimeUnit {
    /// Returns the exponent of the unit, which is 2^-`bits` s: 40 or 30.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Fine => 40,
            Self::Coarse => 30,
        }
    }

    /// Converts units to nanoseconds, rounded to the nearest. Saturates at 2^64 − 1.
    pub const fn nanos(self, units: u64) -> u64 {
        let half = 1_u64 << (self.bits() - 1);
        if cfg!(target_pointer_width = "64") {
            clamp((wide_math::product(units, 1_000_000_000) + half as u128) >> self.bits())
        } else {
            self.nanos_by_words(units, half)
        }
    }

    /// Converts units to nanoseconds after adding `more` times 2^-`bits` ns, rounded down.
    /// Saturates at 2^64 − 1. Does without a 128-bit product.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    #[expect(clippy::cast_possible_truncation, reason = "split into 32-bit words")]
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
    /// Converts nanoseconds to units, rounded to the nearest. Saturates at 2^64 − 1.
    pub(crate) const fn units_in_nanos(self, nanos: u64) -> u64 {
        clamp(wide_math::quotient(((nanos as u128) << self.bits()) + 500_000_000, 1_000_000_000))
    }

    /// Returns the largest number of units that [`nanos`](Self::nanos) converts to at most `nanos`
    /// nanoseconds. Saturates at 2^64 − 1.
    pub(crate) const fn max_units_within_nanos(self, nanos: u64) -> u64 {
        // u·10^9 + 2^(bits-1) >= (nanos + 1)·2^bits holds from the first u that converts to `nanos + 1`.
        // The result is the u before it.
        let reached = ((nanos as u128 + 1) << self.bits()) - (1 << (self.bits() - 1));
        clamp(wide_math::quotient(reached - 1, 1_000_000_000))
    }
}

/// Converts ticks to a [`TimeUnit`] by one multiplication and one shift.
///
/// The method is that of the Linux kernel's `clocksource` (`mult` and `shift`). The multiplier has
/// 62 bits here, so its rounding changes a duration by less than 2^-61 of it.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TimeScale {
    multiplier: u64,
    shift: u32,
    unit: TimeUnit,
}

impl TimeScale {
    /// Creates a conversion from ticks at `rate` to `unit`.
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

    /// Returns the unit that ticks are converted to.
    pub const fn unit(&self) -> TimeUnit {
        self.unit
    }

    /// Converts ticks to units, rounded to the nearest; `None` if the result exceeds 64 bits.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    #[expect(clippy::cast_possible_truncation, reason = "checked by the condition")]
    pub const fn units(&self, ticks: u64) -> Option<u64> {
        if cfg!(not(target_pointer_width = "64")) && ticks <= u32::MAX as u64 && self.has_u32_path()
        {
            return Some(self.units_of_u32(ticks as u32));
        }
        self.units_of_u64(ticks)
    }

    /// Returns whether this scale may use [`units_of_u32`](Self::units_of_u32). In the coarse unit
    /// it may for clocks from 4 Hz to 8.5 GHz.
    ///
    /// The shift must be in 34…64: the bit that decides the rounding is then above the lowest 32
    /// bits of the product, and what remains to be shifted is less than a word.
    const fn has_u32_path(&self) -> bool {
        self.shift > u32::BITS + 1 && self.shift <= 2 * u32::BITS
    }

    /// Converts ticks that fit 32 bits, with only two multiplications on targets with 32-bit
    /// registers.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "split into 32-bit words")]
    const fn units_of_u32(&self, ticks: u32) -> u64 {
        let (low, high) = (self.multiplier as u32, (self.multiplier >> u32::BITS) as u32);
        // The product without its lowest 32 bits, which are below the bit that decides the
        // rounding.
        let product = product_of_words(ticks, high) + (product_of_words(ticks, low) >> u32::BITS);
        (wide_math::shift_right(product, self.shift - u32::BITS - 1) + 1) >> 1
    }

    /// Converts any number of ticks; `None` if the result exceeds 64 bits.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    const fn units_of_u64(&self, ticks: u64) -> Option<u64> {
        let product = wide_math::product(ticks, self.multiplier);
        let units = if cfg!(target_pointer_width = "64") {
            (product + (1 << (self.shift - 1))) >> self.shift
        } else {
            // The same value, with one 128-bit shift by a variable amount instead of two.
            ((product >> (self.shift - 1)) + 1) >> 1
        };
        if units > u64::MAX as u128 { None } else { Some(clamp(units)) }
    }

    /// Converts ticks to units and these to nanoseconds, rounding to the nearest each time.
    /// Saturates at 2^64 − 1.
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

/// Returns the nanoseconds of a duration; `None` if there are more than 2^64 − 1.
pub(crate) const fn nanos_of(length: Duration) -> Option<u64> {
    let nanos = wide_math::product(length.as_secs(), 1_000_000_000) + length.subsec_nanos() as u128;
    if nanos > u64::MAX as u128 { None } else { Some(clamp(nanos)) }
}

/// Converts nanoseconds to a [`Duration`].
///
/// Does without [`Duration::from_nanos`], whose division would be a second copy of the one in
/// [`wide_math`].
#[expect(clippy::cast_possible_truncation, reason = "less than a second")]
pub(crate) fn duration_of(nanos: u64) -> Duration {
    let (seconds, nanos) = wide_math::div_rem(nanos, 1_000_000_000);
    // The compiler cannot see through the call that the remainder is less than a second. `min`
    // spares the overflow check, with its panic, inside `Duration::new`.
    Duration::new(seconds, (nanos as u32).min(999_999_999))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn units_differ_from_the_exact_ratio_by_at_most_half_a_unit(
            hz in prop_oneof![1_u64..=1 << 20, 1_000_000..5_000_000_000_u64, any::<u64>().prop_map(|hz| hz | 1)],
            ticks in prop_oneof![0_u64..=1 << 46, any::<u64>()],
            unit in prop_oneof![Just(TimeUnit::Fine), Just(TimeUnit::Coarse)],
        ) {
            let scale = TimeScale::new(TickRate::from_hz(hz).unwrap(), unit);
            let exact = num_bigint::BigUint::from(ticks) << unit.bits();
            if let Some(units) = scale.units(ticks) {
                // |units·hz − ticks·2^bits| <= hz/2, plus the error from rounding the multiplier.
                let converted = num_bigint::BigUint::from(units) * hz;
                let difference =
                    if converted > exact { converted - &exact } else { &exact - converted };
                let allowed = num_bigint::BigUint::from(hz) / 2_u32 + 1_u32 + (exact >> 61);
                prop_assert!(difference <= allowed, "hz {} ticks {} units {}", hz, ticks, units);
            } else {
                prop_assert!(exact / hz >= num_bigint::BigUint::from(u64::MAX - 4));
            }
        }

        #[test]
        fn the_conversion_of_32_bit_ticks_agrees_with_the_general_one(
            hz in 1..6_000_000_000_u64,
            ticks in prop_oneof![any::<u32>(), Just(0), Just(u32::MAX)],
            unit in prop_oneof![Just(TimeUnit::Fine), Just(TimeUnit::Coarse)],
        ) {
            let scale = TimeScale::new(TickRate::from_hz(hz).unwrap(), unit);
            prop_assume!(scale.has_u32_path());
            prop_assert_eq!(Some(scale.units_of_u32(ticks)), scale.units_of_u64(u64::from(ticks)));
        }

        #[test]
        fn nanoseconds_survive_a_round_trip_through_ticks(
            nanos in 0_u64..1 << 45,
            hz in 1_000_000_000..6_000_000_000_u64,
        ) {
            let rate = TickRate::from_hz(hz).unwrap();
            let ticks = rate.ticks_in_nanos(nanos);
            prop_assert_eq!(rate.nanos_in_ticks(ticks), nanos);
            prop_assert!(TimeScale::new(rate, TimeUnit::Fine).nanos(ticks).abs_diff(nanos) <= 1);
        }
    }

    proptest! {
        #[test]
        fn nanoseconds_by_words_agree_with_the_128_bit_product(units: u64, shift in 0..64_u32) {
            let units = units >> shift;
            for unit in [TimeUnit::Fine, TimeUnit::Coarse] {
                for more in [0, 1 << (unit.bits() - 1)] {
                    let whole = u128::from(units) * 1_000_000_000 + u128::from(more);
                    prop_assert_eq!(unit.nanos_by_words(units, more), clamp(whole >> unit.bits()));
                }
            }
        }

        #[test]
        fn the_largest_number_of_units_within_a_limit_is_found(
            nanos in prop_oneof![0_u64..=1 << 40, any::<u64>()],
        ) {
            for unit in [TimeUnit::Fine, TimeUnit::Coarse] {
                let most = unit.max_units_within_nanos(nanos);
                prop_assert!(unit.nanos(most) <= nanos);
                prop_assert!(most == u64::MAX || unit.nanos(most + 1) > nanos);
            }
        }
    }

    #[test]
    fn conversion_to_nanoseconds_is_monotonic() {
        let scale = TimeScale::new(TickRate::from_hz(2_600_000_000).unwrap(), TimeUnit::Fine);
        let mut last = 0;
        for ticks in (0..100_000).chain((1 << 45)..(1 << 45) + 10_000) {
            let nanos = scale.nanos(ticks);
            assert!(nanos >= last);
            last = nanos;
        }
    }

    #[test]
    fn extreme_values_saturate() {
        let slow = TickRate::from_hz(1).unwrap();
        assert_eq!(TimeScale::new(slow, TimeUnit::Fine).units(u64::MAX), None);
        assert_eq!(TimeScale::new(slow, TimeUnit::Fine).nanos(u64::MAX), u64::MAX);
        assert_eq!(slow.nanos_in_ticks(u64::MAX), u64::MAX);
        assert_eq!(TickRate::from_hz(u64::MAX).unwrap().ticks_in_nanos(u64::MAX), u64::MAX);
        assert_eq!(TickRate::from_hz(0), None);
        assert_eq!(TimeUnit::Fine.nanos(1 << 40), 1_000_000_000);
    }
}
