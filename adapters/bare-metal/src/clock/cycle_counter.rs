//! A clock over the cycle counter of Cortex-M processors, `DWT_CYCCNT`, extended to 64 bits.

use core::{error, fmt};

use tailwatch_core::{Clock, TickRate};

use super::{Base, CortexM, counter};

/// Access to a cycle counter: the processor's counter ([`CortexM`]), or a simulated counter in
/// tests.
pub trait CycleRegisters {
    /// Switches the counter on.
    fn enable(&self);

    /// Returns whether the processor reports that it has no counter (`DWT_CTRL.NOCYCCNT`).
    fn is_missing(&self) -> bool;

    /// Returns the current count, which wraps after 2^32 cycles.
    fn count(&self) -> u32;
}

/// A clock with 64-bit ticks over the cycle counter of a Cortex-M3, M4, M7, M33 or similar
/// processor.
///
/// A Cortex-M0 has no cycle counter. The resolution is one cycle of the core. The hardware wraps
/// after 2^32 cycles (43 s at 100 MHz), the 64-bit tick count after 2^63. The counter stops while
/// the core sleeps, and on some chips while no debugger is attached. A reading is lock-free and
/// takes about fifteen instructions.
///
/// The clock is a small value: give each recorder a copy. All copies read the same counter.
///
/// # What the program must do
///
/// Call [`tick`](Self::tick) at least once in 2^31 cycles (21 s at 100 MHz), for example in the
/// idle loop. If a call comes later than that:
///
/// - Up to 2^32 cycles after the previous call, the clock loses nothing. But a context that
///   interrupts this call may read a tick that is 2^32 too low.
/// - Each time that 2^32 cycles pass without a call, the clock steps back by 2^32 cycles, which it
///   loses. A span during which this happens is certain to be counted in
///   [`clock_anomalies`](tailwatch_core::Counters::clock_anomalies) only if it is shorter than 2^32
///   cycles, so that its END reads less than its START. The duration of a longer span is 2^32
///   cycles too short, and usually nothing shows this. Likewise, a pass of the drain is counted
///   only if it reads less than the pass before.
///
/// ```
/// use tailwatch_bare_metal::clock::{Base, CycleCounter, CycleCounterError, CycleRegisters};
/// use tailwatch_core::TickRate;
///
/// #[derive(Debug)]
/// struct Emulated; // stands for the counter of an emulator, which stands still
/// impl CycleRegisters for Emulated {
///     fn enable(&self) {}
///     fn is_missing(&self) -> bool { false }
///     fn count(&self) -> u32 { 0 }
/// }
///
/// // On a chip, use `CycleCounter::new(rate)`.
/// let rate = TickRate::from_hz(168_000_000).unwrap();
/// let error = CycleCounter::with_registers(rate, &Base::new(), Emulated).unwrap_err();
/// assert_eq!(error, CycleCounterError::Stopped { count: 0 });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CycleCounter<'b, R = CortexM> {
    /// The tick count at the last call of `tick`, shared by all clocks of one counter.
    base: &'b Base,
    rate: TickRate,
    registers: R,
}

/// How many more times, at most, a counter is read after a first reading, to find out whether it
/// counts. If all these readings equal the first, the counter is taken to stand still.
const READS: usize = 64;

#[cfg(cortex_m_main)]
impl CycleCounter<'static> {
    /// Switches the cycle counter of this core on, checks that it counts, and creates a clock over
    /// it. `rate` is the frequency of the core.
    ///
    /// This function changes bits in the registers `DEMCR` and `DWT_CTRL`, each by a read and a
    /// write, and writes the unlock key to `DWT_LAR`. Call it early, when no other context changes
    /// these registers.
    ///
    /// # Errors
    ///
    /// Returns an error if the processor has no cycle counter, or if the counter stands still, as
    /// in an emulator.
    pub fn new(rate: TickRate) -> Result<Self, CycleCounterError> {
        // There is only one counter, so all clocks share one base.
        static BASE: Base = Base::new();
        Self::with_registers(rate, &BASE, CortexM)
    }
}

impl<'b, R: CycleRegisters> CycleCounter<'b, R> {
    /// Switches on the counter that `registers` access, checks that it counts, and creates a clock
    /// over it. `rate` is the number of cycles per second.
    ///
    /// All clocks of one counter must share one `base`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no counter, or if the counter stands still.
    pub fn with_registers(
        rate: TickRate,
        base: &'b Base,
        registers: R,
    ) -> Result<Self, CycleCounterError> {
        registers.enable();
        if registers.is_missing() {
            return Err(CycleCounterError::Missing);
        }
        let count = registers.count();
        if (0..READS).all(|_| registers.count() == count) {
            return Err(CycleCounterError::Stopped { count });
        }
        let clock = Self { base, rate, registers };
        clock.tick();
        Ok(clock)
    }

    /// Returns the current tick: the number of cycles of the extended counter.
    ///
    /// Lock-free: the reading is repeated only if [`tick`](Self::tick) ran in the middle of it.
    #[inline]
    pub fn now(&self) -> u64 {
        counter::now(self.base, u32::MAX, || self.registers.count())
    }

    /// Stores the current tick count. The next call must follow within 2^31 cycles. Lock-free.
    ///
    /// Calls must not interrupt each other, so call this method from one context, or from contexts
    /// of the same priority. No call may be interrupted for 2^31 cycles.
    #[inline]
    pub fn tick(&self) {
        self.base.store(self.now());
    }
}

impl<R: CycleRegisters> Clock for CycleCounter<'_, R> {
    #[inline(always)]
    fn start(&self) -> u64 {
        self.now()
    }

    fn rate(&self) -> TickRate {
        self.rate
    }
}

/// The error returned when a [`CycleCounter`] cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CycleCounterError {
    /// The processor reports that it has no cycle counter.
    Missing,
    /// The counter stands still: the processor has none but does not report this, the counter is
    /// locked, or the processor is emulated.
    Stopped {
        /// The count at which the counter stands still.
        count: u32,
    },
}

impl fmt::Display for CycleCounterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "the processor has no cycle counter (DWT_CTRL.NOCYCCNT); use SysTick or a timer",
            ),
            Self::Stopped { count } => write!(
                f,
                "the cycle counter stands still at {count}, because it is absent, locked or \
                 emulated; use SysTick or a timer"
            ),
        }
    }
}

impl error::Error for CycleCounterError {}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// A counter that advances by `step` at each read.
    #[derive(Debug)]
    struct Scripted {
        missing: bool,
        count: Cell<u32>,
        step: u32,
        enabled: Cell<bool>,
    }

    impl CycleRegisters for &Scripted {
        fn enable(&self) {
            self.enabled.set(true);
        }
        fn is_missing(&self) -> bool {
            self.missing
        }
        fn count(&self) -> u32 {
            let step = if self.enabled.get() { self.step } else { 0 };
            self.count.replace(self.count.get().wrapping_add(step))
        }
    }

    const RATE: TickRate = TickRate::NANOSECONDS;

    fn scripted(missing: bool, count: u32, step: u32) -> Scripted {
        Scripted { missing, count: Cell::new(count), step, enabled: Cell::new(false) }
    }

    #[test]
    fn a_counter_that_is_missing_or_stands_still_is_an_error() {
        let base = Base::new();
        let missing = scripted(true, 0, 1);
        assert_eq!(
            CycleCounter::with_registers(RATE, &base, &missing).unwrap_err(),
            CycleCounterError::Missing
        );
        let stopped = scripted(false, 7, 0);
        let error = CycleCounter::with_registers(RATE, &base, &stopped).unwrap_err();
        assert_eq!(error, CycleCounterError::Stopped { count: 7 });
        assert!(error.to_string().contains("stands still at 7"), "{error}");
    }

    #[test]
    fn all_copies_of_the_clock_follow_the_counter_across_wraps() {
        let registers = scripted(false, 0, 1 << 29);
        let base = Base::new();
        let clock = CycleCounter::with_registers(RATE, &base, &registers).unwrap();
        assert!(registers.enabled.get());
        let copy = clock;
        let first = clock.now();
        for n in 1..100_u64 {
            // `tick` and `now` read the counter once each, which advances it by 2^29 cycles.
            copy.tick();
            assert_eq!(clock.now() - first, n << 30);
        }
    }
}
