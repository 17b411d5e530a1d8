//! The clock of a host: the processor's counter if it is reliable, or else the operating system's
//! monotonic clock. A *tick* is a reading of the clock in its own unit.

use core::{fmt, time::Duration};
use std::{
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use tailwatch_core::{Clock, TickRate};
use tailwatch_record::collecting::{ReadMethod, ThreadClock};

/// Whether reading the clock at the end of a span waits until the measured work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockMode {
    /// Reading the clock waits until the measured work is done.
    #[default]
    Ordered,
    /// The processor may read the clock before the last instructions of the work are done. This
    /// saves a few nanoseconds, but the span may lack, for example, the time of a last load from
    /// memory.
    Relaxed,
}

/// Where a clock reads its ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSource {
    /// The processor's counter: the time-stamp counter on x86-64, the virtual counter on 64-bit
    /// Arm. It runs at a constant rate, which is measured once per process.
    Tsc,
    /// The operating system's monotonic clock, in nanoseconds. Reading it takes longer, and needs a
    /// system call on some systems.
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

/// The source and rate of the process's clock. They are determined once, so that all collectors and
/// reports of a process agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calibration {
    source: ClockSource,
    rate: TickRate,
    /// The time at which the monotonic clock reads tick 0.
    base: Instant,
}

/// The calibration, once it has been determined.
static CALIBRATION: Mutex<Option<Calibration>> = Mutex::new(None);

/// The lock of the calibration.
pub(crate) type CalibrationLock = std::sync::MutexGuard<'static, Option<Calibration>>;

/// Waits until no other thread determines the calibration, and prevents that while the returned
/// lock is held.
pub(crate) fn lock_calibration() -> CalibrationLock {
    CALIBRATION.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Calibration {
    /// Returns the calibration, and determines it at the first call. Blocks while another thread
    /// does.
    fn of_this_process() -> Self {
        *lock_calibration().get_or_insert_with(Self::calibrate)
    }

    /// The number of ticks that `quanta` is asked to convert to nanoseconds, from which the rate
    /// follows. It is so large that the rounding of `quanta` is negligible, and small enough that
    /// `quanta` does not overflow.
    const CONVERTED_TICKS: u64 = 1 << 40;

    /// Determines source and rate. This takes up to 0.2 s, during which the crate `quanta` compares
    /// the counter with the monotonic clock.
    fn calibrate() -> Self {
        let base = monotonic_zero();
        let monotonic = Self { source: ClockSource::Monotonic, rate: TickRate::NANOSECONDS, base };
        if !ThreadClock::HAS_COUNTER {
            return monotonic;
        }
        let quanta = quanta::Clock::new();
        // `quanta` does not report whether it uses the counter. If it does, its raw reading lies
        // between two readings of the counter. The comparison is repeated, because the thread may
        // move to another core between the readings.
        let uses_counter = || {
            let before = ThreadClock::counter();
            let raw = quanta.raw();
            (before..=ThreadClock::counter()).contains(&raw)
        };
        if !(0..5).any(|_| uses_counter()) {
            return monotonic;
        }
        let nanos = u128::from(quanta.delta_as_nanos(0, Self::CONVERTED_TICKS));
        let hz = (u128::from(Self::CONVERTED_TICKS) * 1_000_000_000)
            .checked_div(nanos)
            .and_then(|hz| u64::try_from(hz).ok());
        match hz.and_then(TickRate::from_hz) {
            Some(rate) => Self { source: ClockSource::Tsc, rate, base },
            None => monotonic,
        }
    }
}

/// Returns the time at which the operating system's monotonic clock reads 0, as exactly as two
/// readings of it can be compared, which is to some ten nanoseconds. So the ticks of processes that
/// read this clock are comparable.
#[cfg(target_os = "linux")]
fn monotonic_zero() -> Instant {
    use rustix::time::{ClockId, clock_gettime};
    let read = || {
        let time = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    let attempt = || {
        let (before, now, after) = (read(), Instant::now(), read());
        let spread = after.saturating_sub(before);
        (spread, now.checked_sub(before + spread / 2))
    };
    let closest = (0..8).map(|_| attempt()).min_by_key(|(spread, _)| *spread);
    closest.and_then(|(_, zero)| zero).unwrap_or_else(Instant::now)
}

/// Returns the present time: elsewhere, ticks are of one process only.
#[cfg(not(target_os = "linux"))]
fn monotonic_zero() -> Instant {
    Instant::now()
}

/// The clock that the recording threads and the drain of a collector read.
#[derive(Clone, Copy, Debug)]
pub struct HostClock(ThreadClock);

impl HostClock {
    /// Creates a clock that reads the processor's counter in this mode, or the operating system's
    /// clock if the counter is not reliable.
    ///
    /// The first call in a process calibrates the counter, which takes up to 0.2 s.
    pub fn new(mode: ClockMode) -> Self {
        let Calibration { source, rate, base } = Calibration::of_this_process();
        Self(ThreadClock { method: method(source, mode), rate, base })
    }

    /// Creates a clock that reads the operating system's monotonic clock, even if the processor's
    /// counter is reliable.
    ///
    /// The first call in a process calibrates the counter all the same, which takes up to 0.2 s.
    pub fn monotonic() -> Self {
        let Calibration { base, .. } = Calibration::of_this_process();
        let (method, rate) = (ReadMethod::Monotonic, TickRate::NANOSECONDS);
        Self(ThreadClock { method, rate, base })
    }

    /// Creates the clock of another process of this machine, which has this rate. The base of the
    /// operating system's clock is the same in all of them.
    pub(crate) fn of_other_process(source: ClockSource, mode: ClockMode, rate: TickRate) -> Self {
        Self(ThreadClock { method: method(source, mode), rate, base: monotonic_zero() })
    }

    /// Returns where the clock reads its ticks.
    pub const fn source(&self) -> ClockSource {
        match self.0.method {
            ReadMethod::TscOrdered | ReadMethod::TscRelaxed => ClockSource::Tsc,
            ReadMethod::Monotonic => ClockSource::Monotonic,
        }
    }

    /// Returns whether reading the clock at the end of a span waits until the measured work is
    /// done. The operating system's clock always waits.
    pub const fn mode(&self) -> ClockMode {
        match self.0.method {
            ReadMethod::TscRelaxed => ClockMode::Relaxed,
            // The operating system's function puts a barrier before its read of the counter.
            ReadMethod::TscOrdered | ReadMethod::Monotonic => ClockMode::Ordered,
        }
    }

    /// Returns the clock without its calibration, as threads read it.
    pub(crate) const fn for_threads(&self) -> ThreadClock {
        self.0
    }
}

/// Returns how a clock of this source is read in this mode.
const fn method(source: ClockSource, mode: ClockMode) -> ReadMethod {
    match (source, mode) {
        (ClockSource::Monotonic, _) => ReadMethod::Monotonic,
        (ClockSource::Tsc, ClockMode::Ordered) => ReadMethod::TscOrdered,
        (ClockSource::Tsc, ClockMode::Relaxed) => ReadMethod::TscRelaxed,
    }
}

impl Clock for HostClock {
    #[inline(always)]
    fn start(&self) -> u64 {
        self.0.start()
    }

    #[inline(always)]
    fn end(&self) -> u64 {
        self.0.end()
    }

    fn rate(&self) -> TickRate {
        self.0.rate()
    }
}

/// The readings of all clocks at one moment. One anchor converts ticks to wall-clock time. Two
/// anchors show whether the clocks ran at the same rate in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    /// The reading of the collector's clock.
    pub(crate) ticks: u64,
    /// The reading of the operating system's monotonic clock.
    pub(crate) monotonic: Instant,
    /// The reading of the wall clock, in nanoseconds since 1970.
    pub(crate) unix_ns: u64,
}

impl Anchor {
    /// Reads all clocks. If the readings are more than 2 µs apart, because the thread was
    /// interrupted, reads them up to four more times and keeps the readings that are closest
    /// together.
    pub(crate) fn take(clock: &HostClock) -> Self {
        let attempt = || {
            let before = clock.start();
            let monotonic = Instant::now();
            // A wall clock that is set to before 1970 reads as 0.
            let unix_ns = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanos);
            let spread = clock.end().saturating_sub(before);
            (spread, Self { ticks: before + spread / 2, monotonic, unix_ns })
        };
        let max_spread = clock.rate().ticks_in_nanos(2_000);
        let mut best = attempt();
        for _ in 0..4 {
            if best.0 <= max_spread {
                break;
            }
            let next = attempt();
            if next.0 < best.0 {
                best = next;
            }
        }
        best.1
    }

    /// Converts a tick to wall-clock time, in nanoseconds since 1970.
    pub(crate) fn unix_ns(&self, rate: TickRate, ticks: u64) -> u64 {
        if ticks >= self.ticks {
            self.unix_ns.saturating_add(rate.nanos_in_ticks(ticks - self.ticks))
        } else {
            self.unix_ns.saturating_sub(rate.nanos_in_ticks(self.ticks - ticks))
        }
    }

    /// Compares the clock with the monotonic clock over the time since `earlier`. Returns by how
    /// many nanoseconds the clock advanced more than the monotonic clock, and the time since
    /// `earlier` by the monotonic clock.
    pub(crate) fn drift_since(&self, earlier: &Self, rate: TickRate) -> (i64, Duration) {
        let elapsed = self.monotonic.saturating_duration_since(earlier.monotonic);
        let ticked = self.ticks.wrapping_sub(earlier.ticks).cast_signed();
        let ticked_ns =
            rate.nanos_in_ticks(ticked.unsigned_abs()).min(i64::MAX as u64).cast_signed();
        let ticked_ns = if ticked < 0 { -ticked_ns } else { ticked_ns };
        (ticked_ns.saturating_sub(nanos(elapsed).cast_signed()), elapsed)
    }

    /// Returns whether the clock and the monotonic clock diverged since `earlier` by more than 1 ms
    /// plus 0.1 %, which is more than an inexact rate explains. They do so when the machine was
    /// suspended or a virtual machine was migrated.
    pub(crate) fn disagrees_with(&self, earlier: &Self, rate: TickRate) -> bool {
        let (drift, elapsed) = self.drift_since(earlier, rate);
        drift.unsigned_abs() > 1_000_000 + nanos(elapsed) / 1_000
    }
}

/// Returns a duration in nanoseconds, but at most 2^63 − 1.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).map_or(i64::MAX as u64, |nanos| nanos.min(i64::MAX as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_equal_rate_agree_and_a_leap_makes_them_disagree() {
        let rate = TickRate::from_hz(2_000_000_000).unwrap();
        let start = Anchor { ticks: 1_000, monotonic: Instant::now(), unix_ns: 50 };
        let after = |ticks: u64, millis| Anchor {
            ticks: start.ticks.wrapping_add(ticks),
            monotonic: start.monotonic + Duration::from_millis(millis),
            unix_ns: 0,
        };
        // 10 ms are 20,000,000 ticks. The tolerance is 1 ms and 1,000 ppm.
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
    fn the_clock_of_this_host_advances_at_its_rate() {
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
