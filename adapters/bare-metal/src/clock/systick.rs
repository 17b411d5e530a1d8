//! The `SysTick` timer of Cortex-M, extended to 64 bits.

use core::{error, fmt};

use tailwatch_core::{
    Clock, TickRate,
    sync::{AtomicU32, Ordering::Relaxed},
};

use super::{CortexM, base::same_core_fence};

/// What is read of a `SysTick` timer: the real one, or a scripted one in tests.
pub trait SysTickRegisters {
    /// The current value, `CVR`: counts down from the reload value to 0.
    fn current(&self) -> u32;

    /// Whether its exception is pending, `ICSR.PENDSTSET`: it reached 0, and the handler was not entered yet.
    fn is_wrap_pending(&self) -> bool;
}

/// The `SysTick` timer of a Cortex-M as a clock of 64-bit ticks.
///
/// *Resolution*: a tick of the timer, as a rule a cycle of the core. *Wrap period*: that of the timer, at most 2^24 ticks; the ticks
/// told wrap after 2^64. Reading costs some twenty instructions, is lock-free, and is right when the timer wraps in
/// the midst of it: a wrap whose exception is pending still is counted, and where the handler came in between, it is read again.
///
/// # What the caller has to do
///
/// - Set up the timer: clock source, reload value `period - 1`, current value 0, exception and counter enabled.
/// - Call [`on_wrap`](Self::on_wrap) first thing in the exception's handler.
/// - Let no context that reads the clock interrupt that handler: give `SysTick` the highest priority among them, which all have alike
///   unless they are set. A reader that interrupts it before `on_wrap` is a period behind.
/// - Keep the exception from being held off for a period. What is held off longer loses a period each time; the clock steps back,
///   which is counted as a clock anomaly where a span or a drain sees it.
///
/// ```
/// use tailwatch_bare_metal::clock::SysTick;
///
/// // 16 MHz, an exception each millisecond.
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
    /// The ticks of the periods that are over, in two words. The handler writes them, and no reader comes between its two stores;
    /// it comes between a reader's loads, who knows it by the low word, which each period changes.
    low: AtomicU32,
    high: AtomicU32,
    period: u32,
    rate: TickRate,
    registers: R,
}

/// The largest period: the reload value has 24 bits.
const MAX_PERIOD: u32 = 1 << 24;

impl SysTick {
    /// Of `hz` ticks a second, and `period` ticks from one exception to the next: the reload value and one.
    ///
    /// # Panics
    /// If `hz` is 0, or the period is none that the timer can have; in a `static`, an error of the compiler.
    pub const fn new(hz: u32, period: u32) -> Self {
        let rate = TickRate::from_hz(hz as u64).expect("a clock makes at least one tick a second");
        match Self::with_registers(rate, period, CortexM) {
            Ok(clock) => clock,
            Err(_) => panic!("the period of a SysTick is 2 to 2^24 ticks"),
        }
    }
}

impl<R> SysTick<R> {
    /// The same, for what is known only as the program runs, and for registers other than this core's.
    ///
    /// # Errors
    /// If the period is none that the timer can have; the error names it.
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

    /// The timer has wrapped: to be called once in each run of its exception's handler, and nowhere else. Wait-free.
    #[inline]
    pub fn on_wrap(&self) {
        let (low, carries) = self.low.load(Relaxed).overflowing_add(self.period);
        self.low.store(low, Relaxed);
        if carries {
            self.high.store(self.high.load(Relaxed).wrapping_add(1), Relaxed);
        }
        same_core_fence();
    }

    /// The ticks from one wrap to the next.
    pub const fn period(&self) -> u32 {
        self.period
    }

    /// The ticks since the timer read 0. The exception becomes pending as it reaches 0, not as it reloads, so 0 is the first tick
    /// of a period, not its last.
    #[inline(always)]
    fn elapsed(&self, current: u32) -> u32 {
        if current == 0 { 0 } else { self.period.wrapping_sub(current) }
    }
}

impl<R: SysTickRegisters> SysTick<R> {
    /// The tick now: lock-free, repeated only where the handler ran in the midst of it.
    #[inline]
    pub fn now(&self) -> u64 {
        let (ticks, low) = self.counted();
        let current = self.registers.current();
        // In this order: if no wrap is pending now, there was none when it was read.
        if !self.registers.is_wrap_pending() && self.is_still(low) {
            return ticks.wrapping_add(u64::from(self.elapsed(current)));
        }
        self.now_around_a_wrap()
    }

    /// The tick now, where a wrap is pending or the handler came in between.
    #[cold]
    #[inline(never)]
    fn now_around_a_wrap(&self) -> u64 {
        loop {
            let (ticks, low) = self.counted();
            let current = self.registers.current();
            let elapsed = if self.registers.is_wrap_pending() {
                // It may have been read before the wrap as well as behind it; now it is behind.
                self.period.wrapping_add(self.elapsed(self.registers.current()))
            } else {
                self.elapsed(current)
            };
            if self.is_still(low) {
                return ticks.wrapping_add(u64::from(elapsed));
            }
        }
    }

    /// The ticks of the periods that are over, and their low word.
    #[inline(always)]
    fn counted(&self) -> (u64, u32) {
        let low = self.low.load(Relaxed);
        same_core_fence();
        let high = self.high.load(Relaxed);
        same_core_fence();
        (u64::from(high) << 32 | u64::from(low), low)
    }

    /// Whether the handler has not run since the low word was this: a period later it is another.
    #[inline(always)]
    fn is_still(&self, low: u32) -> bool {
        same_core_fence();
        self.low.load(Relaxed) == low
    }
}

impl<R: SysTickRegisters> Clock for SysTick<R> {
    #[inline(always)]
    fn start(&self) -> u64 {
        self.now()
    }

    #[inline(always)]
    fn end(&self) -> u64 {
        self.now()
    }

    fn rate(&self) -> TickRate {
        self.rate
    }
}

/// A period that no `SysTick` can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PeriodError {
    /// The period that was asked for, in ticks.
    pub period: u32,
}

impl fmt::Display for PeriodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a SysTick with a period of {} ticks: it is 2 to {MAX_PERIOD}, one more than the reload value",
            self.period
        )
    }
}

impl error::Error for PeriodError {}

#[cfg(test)]
mod tests;
