//! The clock of a host: the processor's counter where it can be trusted, else the operating system's.

use core::{fmt, time::Duration};
use std::{
    sync::OnceLock,
    time::{Instant, SystemTime},
};

use tailwatch_core::{Clock, TickRate};

use crate::tsc;

/// When the end of a span is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockMode {
    /// Once the measured work is done.
    #[default]
    Ordered,
    /// Possibly before its last instructions are done: a few nanoseconds cheaper, and blind to a last load that misses the
    /// cache.
    Relaxed,
}

/// Where ticks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSource {
    /// The processor's counter: invariant, and calibrated once a process.
    Tsc,
    /// The operating system's monotonic clock, in nanoseconds: slower, and on some systems a system call.
    Monotonic,
}

impl fmt::Display for ClockSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tsc => "tsc",
            Self::Monotonic => "monotonic",
        })
    }
}

/// What the process's clock is: found out once, so that all that is told of one process agrees.
#[derive(Clone, Copy, Debug)]
struct Calibration {
    source: ClockSource,
    rate: TickRate,
    /// Where the monotonic clock counts from.
    base: Instant,
}

impl Calibration {
    fn of_this_process() -> &'static Self {
        static CALIBRATION: OnceLock<Calibration> = OnceLock::new();
        CALIBRATION.get_or_init(Self::find_out)
    }

    /// As many ticks as `quanta` converts without overflow, so that its own rounding does not show.
    const CONVERTED: u64 = 1 << 40;

    /// Takes up to 0.2 s, in which `quanta` compares the counter with the monotonic clock.
    fn find_out() -> Self {
        let base = Instant::now();
        let monotonic = Self { source: ClockSource::Monotonic, rate: TickRate::NANOSECONDS, base };
        if !tsc::AVAILABLE {
            return monotonic;
        }
        let quanta = quanta::Clock::new();
        // `quanta` does not say what it found, but its raw reading is that of the counter if it trusts the counter.
        // Tried again, for a thread that moves between two cores just then.
        let trusted = || {
            let before = tsc::ordered();
            let raw = quanta.raw();
            (before..=tsc::ordered()).contains(&raw)
        };
        if !(0..5).any(|_| trusted()) {
            return monotonic;
        }
        let nanos = u128::from(quanta.delta_as_nanos(0, Self::CONVERTED));
        let hz = (u128::from(Self::CONVERTED) * 1_000_000_000)
            .checked_div(nanos)
            .and_then(|hz| u64::try_from(hz).ok());
        match hz.and_then(TickRate::from_hz) {
            Some(rate) => Self { source: ClockSource::Tsc, rate, base },
            None => monotonic,
        }
    }
}

/// The clock that all threads of a collector read.
#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    reading: Reading,
    calibration: Calibration,
}

/// How it is read: source and mode in one, so that the hot path asks once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    TscOrdered,
    TscRelaxed,
    Monotonic,
}

impl HostClock {
    /// The process's clock, read in this mode. The first call of a process takes up to 0.2 s.
    pub fn new(mode: ClockMode) -> Self {
        let calibration = *Calibration::of_this_process();
        let reading = match (calibration.source, mode) {
            (ClockSource::Monotonic, _) => Reading::Monotonic,
            (ClockSource::Tsc, ClockMode::Ordered) => Reading::TscOrdered,
            (ClockSource::Tsc, ClockMode::Relaxed) => Reading::TscRelaxed,
        };
        Self { reading, calibration }
    }

    /// The operating system's clock, whatever the processor has.
    pub fn monotonic() -> Self {
        let calibration = *Calibration::of_this_process();
        let calibration = Calibration {
            source: ClockSource::Monotonic,
            rate: TickRate::NANOSECONDS,
            base: calibration.base,
        };
        Self { reading: Reading::Monotonic, calibration }
    }

    /// Where its ticks come from.
    pub const fn source(&self) -> ClockSource {
        self.calibration.source
    }

    /// When the end of a span is read.
    pub const fn mode(&self) -> ClockMode {
        match self.reading {
            Reading::TscRelaxed => ClockMode::Relaxed,
            // The system's clock is read by a call, which is not moved before the work in front of it.
            Reading::TscOrdered | Reading::Monotonic => ClockMode::Ordered,
        }
    }

    /// As [`Clock::end`], if that takes no more than an instruction.
    #[inline(always)]
    pub(crate) fn end_by_counter(&self) -> Option<u64> {
        match self.reading {
            Reading::TscOrdered => Some(tsc::ordered()),
            Reading::TscRelaxed => Some(tsc::relaxed()),
            Reading::Monotonic => None,
        }
    }

    #[cold]
    #[inline(never)]
    fn read_monotonic(&self) -> u64 {
        nanos(self.calibration.base.elapsed())
    }
}

impl Clock for HostClock {
    #[inline(always)]
    fn start(&self) -> u64 {
        match self.reading {
            Reading::TscOrdered | Reading::TscRelaxed => tsc::relaxed(),
            Reading::Monotonic => self.read_monotonic(),
        }
    }

    #[inline(always)]
    fn end(&self) -> u64 {
        match self.reading {
            Reading::TscOrdered => tsc::ordered(),
            Reading::TscRelaxed => tsc::relaxed(),
            Reading::Monotonic => self.read_monotonic(),
        }
    }

    fn rate(&self) -> TickRate {
        self.calibration.rate
    }
}

/// One moment by all clocks: turns ticks into wall-clock time, and shows whether the clocks run alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    pub(crate) ticks: u64,
    pub(crate) monotonic: Instant,
    pub(crate) unix_ns: u64,
}

impl Anchor {
    /// Now. Where the thread is interrupted between the readings it tries again, a few times.
    pub(crate) fn take(clock: &HostClock) -> Self {
        let attempt = || {
            let before = clock.start();
            let monotonic = Instant::now();
            // A wall clock before 1970 is as good as none.
            let unix_ns = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanos);
            let spread = clock.end().saturating_sub(before);
            (spread, Self { ticks: before + spread / 2, monotonic, unix_ns })
        };
        let tolerated = clock.rate().ticks_in_nanos(2_000);
        let mut best = attempt();
        for _ in 0..4 {
            if best.0 <= tolerated {
                break;
            }
            let next = attempt();
            if next.0 < best.0 {
                best = next;
            }
        }
        best.1
    }

    /// The wall-clock time of `ticks`, in nanoseconds since 1970.
    pub(crate) fn unix_ns(&self, rate: TickRate, ticks: u64) -> u64 {
        if ticks >= self.ticks {
            self.unix_ns.saturating_add(rate.nanos_in_ticks(ticks - self.ticks))
        } else {
            self.unix_ns.saturating_sub(rate.nanos_in_ticks(self.ticks - ticks))
        }
    }

    /// By how many nanoseconds more the ticks went on than the monotonic clock since `earlier`, and how long that is.
    pub(crate) fn drift_since(&self, earlier: &Self, rate: TickRate) -> (i64, Duration) {
        let elapsed = self.monotonic.saturating_duration_since(earlier.monotonic);
        let ticked = self.ticks.wrapping_sub(earlier.ticks).cast_signed();
        let ticked_ns =
            rate.nanos_in_ticks(ticked.unsigned_abs()).min(i64::MAX as u64).cast_signed();
        let ticked_ns = if ticked < 0 { -ticked_ns } else { ticked_ns };
        (ticked_ns.saturating_sub(nanos(elapsed).cast_signed()), elapsed)
    }

    /// Whether the clocks ran apart since `earlier` by more than their rates explain: the machine slept, or moved.
    pub(crate) fn disagrees_with(&self, earlier: &Self, rate: TickRate) -> bool {
        let (drift, elapsed) = self.drift_since(earlier, rate);
        drift.unsigned_abs() > 1_000_000 + nanos(elapsed) / 1_000
    }
}

/// A duration in nanoseconds; 2^63 − 1 if it is longer.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).map_or(i64::MAX as u64, |nanos| nanos.min(i64::MAX as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_run_alike_agree_and_a_leap_does_not() {
        let rate = TickRate::from_hz(2_000_000_000).unwrap();
        let start = Anchor { ticks: 1_000, monotonic: Instant::now(), unix_ns: 50 };
        let after = |ticks: u64, millis| Anchor {
            ticks: start.ticks.wrapping_add(ticks),
            monotonic: start.monotonic + Duration::from_millis(millis),
            unix_ns: 0,
        };
        // 10 ms are 20,000,000 ticks; 1,000 ppm and 1 ms are tolerated.
        assert!(!after(20_000_000, 10).disagrees_with(&start, rate));
        assert!(!after(21_900_000, 10).disagrees_with(&start, rate));
        assert!(after(22_100_000, 10).disagrees_with(&start, rate));
        assert!(after(0, 10).disagrees_with(&start, rate));
        assert!(after(0_u64.wrapping_sub(10_000_000), 0).disagrees_with(&start, rate));
        assert_eq!(after(20_000_100, 10).drift_since(&start, rate).0, 50);
        assert_eq!(start.unix_ns(rate, 1_100), 100);
        assert_eq!(start.unix_ns(rate, 960), 30);
        assert_eq!(start.unix_ns(rate, 0), 0);
    }

    #[test]
    fn the_clock_of_this_host_goes_forward_at_its_rate() {
        for clock in [
            HostClock::new(ClockMode::Ordered),
            HostClock::new(ClockMode::Relaxed),
            HostClock::monotonic(),
        ] {
            let first = Anchor::take(&clock);
            let mut last = clock.start();
            while first.monotonic.elapsed() < Duration::from_millis(5) {
                let now = clock.end();
                assert!(now >= last, "{clock:?}");
                last = now;
            }
            assert!(!Anchor::take(&clock).disagrees_with(&first, clock.rate()), "{clock:?}");
        }
    }
}
