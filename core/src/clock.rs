//! Time: raw ticks on the hot path, nanoseconds in reports, and the conversions between them.
//!
//! A *tick* is a reading of a [`Clock`], and the unit of differences between readings. "At tick t"
//! means at the moment when the clock reads t.

use core::{fmt, num::NonZeroU64, time::Duration};

use crate::arithmetic::{self, HAS_64_BIT_REGISTERS, product_of_words, saturating_u64};

/// A tick, or none, in 64 bits. None comes before every tick.
///
/// All bits are 0 if there is none, as in new storage; a tick is stored plus 1. The last of all
/// ticks, 2^64 − 1, becomes the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub(crate) struct OptionalTick(u64);

impl OptionalTick {
    pub(crate) const NONE: Self = Self(0);

    #[inline(always)]
    pub(crate) const fn some(tick: u64) -> Self {
        Self(tick.saturating_add(1))
    }

    #[inline(always)]
    pub(crate) const fn get(self) -> Option<u64> {
        self.0.checked_sub(1)
    }
}

/// A clock that recorders read at the start and at the end of a span. It counts time in *ticks*, a
/// raw unit of its own.
///
/// An implementation must ensure that:
///
/// - ticks that different threads read for the same [`Aggregator`](crate::Aggregator) can be
///   compared with each other,
/// - the clock runs at a fixed [`TickRate`],
/// - reading the clock neither blocks nor fails.
///
/// If the clock nevertheless steps back, so that the END of a span reads less than its START, the
/// span gets no latency and counts as a [clock anomaly](crate::Counters::clock_anomalies). A span
/// that lasts longer than the step gets a latency that is too short.
pub trait Clock {
    /// Reads the clock at the start of a span, and returns the current tick.
    fn start(&self) -> u64;

    /// Reads the clock at the end of a span, and returns the current tick. The default
    /// implementation calls [`start`](Self::start).
    ///
    /// A processor may execute the instruction that reads a tick before earlier instructions are
    /// done. An implementation can be *ordered*: it makes the processor finish the measured work
    /// first. Or it can be *relaxed*: it allows the earlier reading, which saves a few nanoseconds.
    #[inline(always)]
    fn end(&self) -> u64 {
        self.start()
    }

    /// Returns how many ticks the clock makes per second.
    fn rate(&self) -> TickRate;
}

/// A reference to a clock is a clock, so that several recorders can share one, for example in a
/// `static`.
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

/// The fixed number of ticks that a [`Clock`] makes per second. At least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TickRate(NonZeroU64);

impl TickRate {
    /// The rate of a clock that makes one tick per nanosecond.
    pub const NANOSECONDS: Self = Self(NonZeroU64::new(1_000_000_000).expect("not zero"));

    /// Creates a rate of `hz` ticks per second. Returns `None` if `hz` is 0.
    pub const fn from_hz(hz: u64) -> Option<Self> {
        match NonZeroU64::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Returns the number of ticks per second.
    pub const fn hz(self) -> u64 {
        self.0.get()
    }

    /// Converts a duration of `nanos` nanoseconds to ticks, rounded to the nearest tick. Saturates
    /// at 2^64 − 1.
    pub const fn ticks_in_nanos(self, nanos: u64) -> u64 {
        saturating_u64(arithmetic::quotient(
            arithmetic::product(nanos, self.hz()) + 500_000_000,
            1_000_000_000,
        ))
    }

    /// Converts a duration in ticks to nanoseconds, rounded to the nearest nanosecond. Saturates at
    /// 2^64 − 1.
    ///
    /// Use [`TimeScale::nanos`] instead if the result is compared with a duration in a report.
    /// Reports use that conversion. The two may differ by a nanosecond, and that one has a smaller
    /// range.
    pub const fn nanos_in_ticks(self, ticks: u64) -> u64 {
        let hz = self.hz();
        saturating_u64(arithmetic::quotient(
            arithmetic::product(ticks, 1_000_000_000) + (hz / 2) as u128,
            hz,
        ))
    }
}

/// The unit in which an [`Aggregator`](crate::Aggregator) counts durations: a second divided by a
/// power of two.
///
/// With such a unit, the buckets of its histograms are exactly the buckets of a base-2 exponential
/// histogram of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TimeUnit {
    /// 2^-40 s (0.9 ps), for servers.
    Fine,
    /// 2^-30 s (0.9 ns), for targets where 128-bit arithmetic is expensive. It is
    /// coarser than a histogram bucket of scale 5 below 43 ns, and of scale 3 below 10 ns.
    Coarse,
}

impl TimeUnit {
    /// Returns the b of a unit of 2^-b s: 40 for [`Fine`](Self::Fine), 30 for
    /// [`Coarse`](Self::Coarse).
    pub const fn bits(self) -> u32 {
        match self {
            Self::Fine => 40,
            Self::Coarse => 30,
        }
    }

    /// Converts a duration in this unit to nanoseconds, rounded to the nearest nanosecond. This
    /// cannot overflow, because both units are shorter than a nanosecond.
    pub const fn nanos(self, units: u64) -> u64 {
        self.nanos_with_addend(units, 1 << (self.bits() - 1))
    }

    /// Returns (`units` · 10^9 + `addend`) / 2^[`bits`](Self::bits), rounded down. Saturates at
    /// 2^64 − 1.
    ///
    /// This is `units` in nanoseconds: rounded down if `addend` is 0, and rounded to the nearest if
    /// it is 2^(bits − 1). Does without a 128-bit product.
    #[inline(never)]
    #[expect(clippy::cast_possible_truncation, reason = "split into 32-bit words")]
    pub(crate) const fn nanos_with_addend(self, units: u64, addend: u64) -> u64 {
        let high = product_of_words((units >> u32::BITS) as u32, 1_000_000_000);
        let low = product_of_words(units as u32, 1_000_000_000) + addend;
        // The dividend is high·2^32 + low. The divisor is 2^40 = 2^32·2^8 or 2^30.
        match self {
            Self::Fine => (high + (low >> u32::BITS)) >> 8,
            Self::Coarse => (high << 2).saturating_add(low >> 30),
        }
    }
}

impl TimeUnit {
    /// Converts a duration in nanoseconds to this unit, rounded to the nearest unit. Saturates at
    /// 2^64 − 1.
    pub(crate) const fn units_in_nanos(self, nanos: u64) -> u64 {
        saturating_u64(arithmetic::quotient(
            ((nanos as u128) << self.bits()) + 500_000_000,
            1_000_000_000,
        ))
    }

    /// Returns the longest duration, in this unit, that [`nanos`](Self::nanos) converts to at most
    /// `nanos` nanoseconds. Saturates at 2^64 − 1.
    pub(crate) const fn max_units_within_nanos(self, nanos: u64) -> u64 {
        // u units convert to (u·10^9 + 2^(bits − 1)) / 2^bits nanoseconds, rounded down. That
        // exceeds `nanos` if u·10^9 >= (nanos + 1)·2^bits − 2^(bits − 1) = too_long. So the
        // largest u that does not is (too_long − 1) / 10^9, rounded down.
        let too_long = ((nanos as u128 + 1) << self.bits()) - (1 << (self.bits() - 1));
        saturating_u64(arithmetic::quotient(too_long - 1, 1_000_000_000))
    }
}

/// Converts durations in ticks to a [`TimeUnit`], by one multiplication and one shift.
///
/// The method is that of the Linux kernel's `clocksource` (`mult` and `shift`). Here, the
/// multiplier is at least 2^61, so its rounding changes a duration by at most 2^-62 of it.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TimeScale {
    /// The number of units per tick, times 2^`shift`.
    multiplier: u64,
    shift: u32,
    unit: TimeUnit,
}

impl TimeScale {
    /// Creates the conversion from ticks of a clock that runs at `rate` to `unit`.
    #[inline(always)]
    pub const fn new(rate: TickRate, unit: TimeUnit) -> Self {
        // The multiplier is 2^(bits + shift) / hz, rounded to the nearest. This shift makes it lie
        // between 2^61 and 2^62: bits + shift = 62 + log_hz, and hz is in 2^log_hz..2^(log_hz + 1).
        let hz = rate.hz();
        let log_hz = hz.ilog2();
        let shift = 62 + log_hz - unit.bits();
        let numerator = 1_u128 << (unit.bits() + shift);
        Self {
            multiplier: saturating_u64(arithmetic::quotient(numerator + (hz / 2) as u128, hz)),
            shift,
            unit,
        }
    }

    /// Returns the unit to which this scale converts ticks.
    pub const fn unit(&self) -> TimeUnit {
        self.unit
    }

    /// Converts a duration in ticks to the [unit](Self::unit), rounded to the nearest. Returns
    /// `None` if the result does not fit into 64 bits.
    #[inline(always)]
    pub const fn units(&self, ticks: u64) -> Option<u64> {
        if HAS_64_BIT_REGISTERS { self.units_of_u64(ticks) } else { self.units_by_words(ticks) }
    }

    /// Computes [`units`](Self::units) on processors with 32-bit registers, which take a shorter
    /// way if the ticks fit into 32 bits.
    #[inline(never)]
    #[expect(clippy::cast_possible_truncation, reason = "checked by the condition")]
    const fn units_by_words(&self, ticks: u64) -> Option<u64> {
        if ticks <= u32::MAX as u64 && self.has_u32_path() {
            return Some(self.units_of_u32(ticks as u32));
        }
        self.units_of_u64(ticks)
    }

    /// Returns whether [`units_of_u32`](Self::units_of_u32) works for this scale. With the coarse
    /// unit, it works for clocks from 4 Hz to 8.5 GHz.
    ///
    /// The shift must be 34 to 64. `units_of_u32` drops the lowest 32 bits of the product, so bit
    /// `shift − 1`, which decides the rounding, must not be among them. After that, it shifts
    /// right by `shift − 33` bits, which must be 1 to 31.
    const fn has_u32_path(&self) -> bool {
        self.shift > u32::BITS + 1 && self.shift <= 2 * u32::BITS
    }

    /// Converts a duration in ticks that fits into 32 bits. Needs only two multiplications of
    /// words.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "split into 32-bit words")]
    const fn units_of_u32(&self, ticks: u32) -> u64 {
        let (low, high) = (self.multiplier as u32, (self.multiplier >> u32::BITS) as u32);
        // ticks · multiplier without the lowest 32 bits, which do not affect the rounding.
        let product = product_of_words(ticks, high) + (product_of_words(ticks, low) >> u32::BITS);
        // Rounds to the nearest: shifts all but one bit out, adds half a unit, and shifts the rest.
        (arithmetic::shift_right(product, self.shift - u32::BITS - 1) + 1) >> 1
    }

    /// Converts any duration in ticks. Returns `None` if the result does not fit into 64 bits.
    #[inline(always)]
    const fn units_of_u64(&self, ticks: u64) -> Option<u64> {
        let product = arithmetic::product(ticks, self.multiplier);
        let units = if HAS_64_BIT_REGISTERS {
            (product + (1 << (self.shift - 1))) >> self.shift
        } else {
            // The same value, with one 128-bit shift by a variable amount instead of two.
            ((product >> (self.shift - 1)) + 1) >> 1
        };
        if units > u64::MAX as u128 { None } else { Some(saturating_u64(units)) }
    }

    /// Converts a duration in ticks to the [unit](Self::unit) and the result to nanoseconds, each
    /// time rounded to the nearest. If the duration has 2^64 units or more, which is 194 days in
    /// the unit [`Fine`](TimeUnit::Fine), the result is 2^64 − 1.
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

/// Converts a [`Duration`] to nanoseconds. Returns `None` if it is 2^64 ns (584 years) or longer.
pub(crate) const fn nanos_from_duration(length: Duration) -> Option<u64> {
    let nanos =
        arithmetic::product(length.as_secs(), 1_000_000_000) + length.subsec_nanos() as u128;
    if nanos > u64::MAX as u128 { None } else { Some(saturating_u64(nanos)) }
}

/// Converts nanoseconds to a [`Duration`].
///
/// Does without [`Duration::from_nanos`], because that contains a division of its own. This
/// function shares the one in [`arithmetic`], which saves flash.
#[expect(clippy::cast_possible_truncation, reason = "less than a second")]
pub(crate) fn duration_from_nanos(nanos: u64) -> Duration {
    let (seconds, nanos) = arithmetic::div_rem(nanos, 1_000_000_000);
    // The division is a call, so the compiler does not know that the remainder is less than a
    // second. With `min`, it can remove the overflow check inside `Duration::new`, and its panic.
    Duration::new(seconds, (nanos as u32).min(999_999_999))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn converted_units_differ_from_the_exact_ratio_by_at_most_half_a_unit(
            hz in prop_oneof![
                1_u64..=1 << 20,
                1_000_000..5_000_000_000_u64,
                any::<u64>().prop_map(|hz| hz | 1), // not 0
            ],
            ticks in prop_oneof![0_u64..=1 << 46, any::<u64>()],
            unit in prop_oneof![Just(TimeUnit::Fine), Just(TimeUnit::Coarse)],
        ) {
            let scale = TimeScale::new(TickRate::from_hz(hz).unwrap(), unit);
            let exact = num_bigint::BigUint::from(ticks) << unit.bits();
            if let Some(units) = scale.units(ticks) {
                // |units − ticks·2^bits/hz| must be at most 1/2, plus the error from rounding
                // the multiplier. Here both sides are multiplied by hz.
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
                for addend in [0, 1 << (unit.bits() - 1)] {
                    let dividend = u128::from(units) * 1_000_000_000 + u128::from(addend);
                    prop_assert_eq!(
                        unit.nanos_with_addend(units, addend),
                        saturating_u64(dividend >> unit.bits())
                    );
                }
            }
        }

        #[test]
        fn the_longest_duration_within_a_number_of_nanoseconds_is_found(
            nanos in prop_oneof![0_u64..=1 << 40, any::<u64>()],
        ) {
            for unit in [TimeUnit::Fine, TimeUnit::Coarse] {
                let longest = unit.max_units_within_nanos(nanos);
                prop_assert!(unit.nanos(longest) <= nanos);
                prop_assert!(longest == u64::MAX || unit.nanos(longest + 1) > nanos);
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
    fn conversions_of_extreme_values_saturate() {
        let slow = TickRate::from_hz(1).unwrap();
        assert_eq!(TimeScale::new(slow, TimeUnit::Fine).units(u64::MAX), None);
        assert_eq!(TimeScale::new(slow, TimeUnit::Fine).nanos(u64::MAX), u64::MAX);
        assert_eq!(slow.nanos_in_ticks(u64::MAX), u64::MAX);
        assert_eq!(TickRate::from_hz(u64::MAX).unwrap().ticks_in_nanos(u64::MAX), u64::MAX);
        assert_eq!(TickRate::from_hz(0), None);
        assert_eq!(TimeUnit::Fine.nanos(1 << 40), 1_000_000_000);
    }
}
