//! The clock that recording threads read: the processor's counter, or the operating system's
//! monotonic clock. Which of them is reliable, and at which rate the counter runs, the crate
//! `tailwatch` finds out.

pub(crate) mod tsc;

use core::time::Duration;
use std::time::Instant;

use tailwatch_core::{Clock, TickRate};

/// How a clock is read: its source and its mode in one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMethod {
    /// The processor's counter. The end of a span waits until the measured work is done.
    TscOrdered,
    /// The processor's counter. The end of a span does not wait.
    TscRelaxed,
    /// The operating system's monotonic clock.
    Monotonic,
}

impl ReadMethod {
    /// Reads the clock as [`Clock::end`] does if its source is the processor's counter, which takes
    /// one or two instructions. Returns `None` for the operating system's clock.
    #[inline(always)]
    pub(crate) fn end_by_counter(self) -> Option<u64> {
        // Not a `match`, which the compiler turns into more instructions.
        if self == Self::TscRelaxed {
            Some(tsc::relaxed())
        } else if self == Self::TscOrdered {
            Some(tsc::ordered())
        } else {
            None
        }
    }
}

/// The clock that the recording threads and the drain of a collector read.
///
/// All collectors of a process read clocks of one source, rate and base, so that a span may end in
/// another collector than the one where it began.
#[derive(Clone, Copy, Debug)]
pub struct ThreadClock {
    /// How the clock is read.
    pub method: ReadMethod,
    /// The rate of its ticks.
    pub rate: TickRate,
    /// The time at which the operating system's monotonic clock reads tick 0. The processor's
    /// counter has a tick 0 of its own.
    pub base: Instant,
}

impl ThreadClock {
    /// Whether this architecture has a counter that can be read: x86-64 and 64-bit Arm.
    pub const HAS_COUNTER: bool = tsc::AVAILABLE;

    /// Reads the processor's counter after the instructions before it are done. Returns 0 where
    /// there is none.
    #[inline(always)]
    pub fn counter() -> u64 {
        tsc::ordered()
    }

    /// Returns the nanoseconds since `base`.
    #[cold]
    #[inline(never)]
    fn read_monotonic(&self) -> u64 {
        nanos(self.base.elapsed())
    }
}

impl Clock for ThreadClock {
    #[inline(always)]
    fn start(&self) -> u64 {
        match self.method {
            ReadMethod::TscOrdered | ReadMethod::TscRelaxed => tsc::relaxed(),
            ReadMethod::Monotonic => self.read_monotonic(),
        }
    }

    #[inline(always)]
    fn end(&self) -> u64 {
        match self.method {
            ReadMethod::TscOrdered => tsc::ordered(),
            ReadMethod::TscRelaxed => tsc::relaxed(),
            ReadMethod::Monotonic => self.read_monotonic(),
        }
    }

    fn rate(&self) -> TickRate {
        self.rate
    }
}

/// Returns a duration in nanoseconds, but at most 2^63 − 1.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).map_or(i64::MAX as u64, |nanos| nanos.min(i64::MAX as u64))
}
