//! A clock over the `SysTick` timer of Cortex-M processors, extended to 64 bits.

use core::{error, fmt};

use tailwatch_core::{
    Clock, TickRate,
    sync::{AtomicU32, Ordering::Relaxed},
};

use super::{CortexM, base::same_core_fence};

/// Access to a `SysTick` timer: the processor's timer ([`CortexM`]), or a simulated timer in tests.
pub trait SysTickRegisters {
    /// Returns the current value of the timer (register `SYST_CVR`). The timer counts down from its
    /// reload value to 0, and then starts over.
    fn current(&self) -> u32;

    /// Returns whether the exception of the timer is pending (bit `ICSR.PENDSTSET`): the timer has
    /// reached 0, and the exception handler has not been entered yet.
    fn is_wrap_pending(&self) -> bool;
}

/// A clock with 64-bit ticks over the `SysTick` timer of a Cortex-M processor.
///
/// The resolution is one tick of the timer, usually a cycle of the core. The timer wraps after its
/// period, which is at most 2^24 ticks, and the 64-bit tick count wraps after 2^64. A reading takes
/// about twenty instructions and is lock-free. It is correct even if the timer wraps during the
/// reading: a wrap whose exception is still pending is counted, and if the exception handler ran
/// during the reading, the reading is repeated.
///
/// # What the program must do
///
/// - Set up the timer: clock source, reload value `period - 1`, current value 0, exception and
///   counter enabled.
/// - Call [`on_wrap`](Self::on_wrap) at the very beginning of the exception handler.
/// - Prevent contexts that read the clock from interrupting this handler: no such context may have
///   a higher priority than `SysTick`. After a reset, all exceptions with a configurable priority
///   have the same one, which is sufficient. NMI and `HardFault` always have a higher priority, so
///   do not read the clock in their handlers. A reader that interrupts the handler before `on_wrap`
///   gets a tick that is one period too low.
/// - Do not hold the exception off for a whole period, for example in a critical section. Each time
///   this happens, the clock steps back by one period, which it loses. A span during which this
///   happens is certain to be counted in
///   [`clock_anomalies`](tailwatch_core::Counters::clock_anomalies) only if it is shorter than a
///   period, so that its END reads less than its START. The duration of a longer span is one period
///   too short, and usually nothing shows this. Likewise, a pass of the drain is counted only if it
///   reads less than the pass before.
///
/// ```
/// use tailwatch_bare_metal::clock::SysTick;
///
/// // 16 MHz, with an exception every millisecond.
/// static CLOCK: SysTick = SysTick::new(16_000_000, 16_000);
///
/// // #[exception]
/// # #[allow(non_snake_case)]
/// fn SysTick() {
///     CLOCK.on_wrap();
/// }
/// ```
#[derive(Debug)]
pub struct SysTick<R = CortexM> {
    /// The low 32 bits of the number of ticks in completed periods.
    ///
    /// Only the exception handler writes `low` and `high`, and no reader interrupts the handler
    /// between its two stores. The handler may interrupt a reader between the loads of the two
    /// words. The reader notices this, because every run of the handler changes `low`.
    low: AtomicU32,
    /// The high 32 bits of the number of ticks in completed periods.
    high: AtomicU32,
    /// The number of ticks from one wrap to the next.
    period: u32,
    rate: TickRate,
    registers: R,
}

/// The largest period in ticks: the reload value has 24 bits, and the period is one more.
const MAX_PERIOD: u32 = 1 << 24;

impl SysTick {
    /// Creates a clock over the timer of this core.
    ///
    /// `hz` is the number of ticks per second, and `period` the number of ticks from one exception
    /// to the next: the reload value plus one.
    ///
    /// # Panics
    ///
    /// Panics if `hz` is 0, or if `period` is not between 2 and 2^24. In a `static`, this is a
    /// compile error.
    pub const fn new(hz: u32, period: u32) -> Self {
        let rate = TickRate::from_hz(hz as u64).expect("`hz` must not be 0");
        match Self::with_registers(rate, period, CortexM) {
            Ok(clock) => clock,
            Err(_) => panic!("the period of a SysTick must be 2 to 2^24 ticks"),
        }
    }
}

impl<R> SysTick<R> {
    /// Creates a clock that reads its timer through `registers`, an implementation of
    /// [`SysTickRegisters`].
    ///
    /// `rate` is the number of ticks per second, and `period` the number of ticks from one
    /// exception to the next: the reload value plus one. Unlike [`new`](SysTick::new), this
    /// function does not panic, so it is suitable if rate and period are computed at run time.
    ///
    /// # Errors
    ///
    /// Returns an error if `period` is not between 2 and 2^24.
    pub const fn with_registers(
        rate: TickRate,
        period: u32,
        registers: R,
    ) -> Result<Self, PeriodError>
    where
        R: Copy,
    {
        if period < 2 || period > MAX_PERIOD {
            return Err(PeriodError { period });
        }
        Ok(Self { low: AtomicU32::new(0), high: AtomicU32::new(0), period, rate, registers })
    }

    /// Counts a wrap of the timer. Wait-free.
    ///
    /// Call this method exactly once in each run of the exception handler, and nowhere else.
    #[inline]
    pub fn on_wrap(&self) {
        let (low, carries) = self.low.load(Relaxed).overflowing_add(self.period);
        self.low.store(low, Relaxed);
        if carries {
            self.high.store(self.high.load(Relaxed).wrapping_add(1), Relaxed);
        }
        same_core_fence();
    }

    /// Returns the number of ticks from one wrap to the next.
    pub const fn period(&self) -> u32 {
        self.period
    }

    /// Returns the number of ticks since the timer last reached 0, if its value is now `current`.
    ///
    /// The exception becomes pending when the timer reaches 0, not when it reloads one tick later.
    /// A value of 0 is therefore the first tick of a period, not the last.
    #[inline(always)]
    fn elapsed(&self, current: u32) -> u32 {
        if current == 0 { 0 } else { self.period.wrapping_sub(current) }
    }
}

impl<R: SysTickRegisters> SysTick<R> {
    /// Returns the current tick.
    ///
    /// Lock-free: the reading is repeated only if the exception handler ran during it.
    #[inline]
    pub fn now(&self) -> u64 {
        let (ticks, low) = self.completed();
        let current = self.registers.current();
        // The order matters: if no wrap is pending after `current` was read and the handler has not
        // run, then no wrap was pending when `current` was read.
        if !self.registers.is_wrap_pending() && self.is_unchanged(low) {
            return ticks.wrapping_add(u64::from(self.elapsed(current)));
        }
        self.now_around_a_wrap()
    }

    /// Returns the current tick when a wrap is pending, or when the handler ran during the reading.
    #[cold]
    #[inline(never)]
    fn now_around_a_wrap(&self) -> u64 {
        loop {
            let (ticks, low) = self.completed();
            let current = self.registers.current();
            let elapsed = if self.registers.is_wrap_pending() {
                // `current` may have been read before the wrap or after it. The timer is therefore
                // read again, certainly after the wrap.
                self.period.wrapping_add(self.elapsed(self.registers.current()))
            } else {
                self.elapsed(current)
            };
            if self.is_unchanged(low) {
                return ticks.wrapping_add(u64::from(elapsed));
            }
        }
    }

    /// Returns the number of ticks in completed periods, and its low word to pass to
    /// [`is_unchanged`](Self::is_unchanged).
    #[inline(always)]
    fn completed(&self) -> (u64, u32) {
        let low = self.low.load(Relaxed);
        same_core_fence();
        let high = self.high.load(Relaxed);
        same_core_fence();
        (u64::from(high) << 32 | u64::from(low), low)
    }

    /// Returns whether the low word is still `low`, the word that [`completed`](Self::completed)
    /// returned. If so, the exception handler has not run in between.
    #[inline(always)]
    fn is_unchanged(&self, low: u32) -> bool {
        same_core_fence();
        self.low.load(Relaxed) == low
    }
}

impl<R: SysTickRegisters> Clock for SysTick<R> {
    #[inline(always)]
    fn start(&self) -> u64 {
        self.now()
    }

    fn rate(&self) -> TickRate {
        self.rate
    }
}

/// The error returned for a [`SysTick`] period outside 2 to 2^24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct PeriodError {
    /// The requested period in ticks.
    pub period: u32,
}

impl fmt::Display for PeriodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a SysTick period (the reload value plus one) must be 2 to {MAX_PERIOD} ticks, not {}",
            self.period
        )
    }
}

impl error::Error for PeriodError {}

#[cfg(test)]
mod tests;
