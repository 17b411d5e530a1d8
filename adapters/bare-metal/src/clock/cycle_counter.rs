//! The cycle counter of Cortex-M, `DWT.CYCCNT`, extended to 64 bits.

use core::{error, fmt};

use tailwatch_core::{Clock, TickRate};

use super::{Base, CortexM, counter};

/// What is read and written of a cycle counter: the real one, or a scripted one in tests.
pub trait CycleRegisters {
    /// Switches it on.
    fn enable(&self);

    /// Whether the processor says that it has none, `DWT_CTRL.NOCYCCNT`.
    fn is_missing(&self) -> bool;

    /// What it stands at.
    fn count(&self) -> u32;
}

/// The cycle counter of a Cortex-M3, M4, M7, M33 and the like as a clock of 64-bit ticks; an M0 has none.
///
/// *Resolution*: a cycle of the core. *Wrap period*: 2^32 cycles, 43 s at 100 MHz; the ticks told wrap after 2^63. It stops while the
/// core sleeps, and on some chips while no debugger is attached. Reading is lock-free and costs some fifteen instructions.
///
/// It is a small value that is copied into each recorder; all of them read the one counter.
///
/// # What the caller has to do
///
/// Call [`tick`](Self::tick) at least once in 2^31 cycles (21 s at 100 MHz), for example in the idle loop. If it comes too late the clock loses
/// 2^32 cycles, and steps back: what a span or a drain sees of that is counted as a clock anomaly.
///
/// ```
/// use tailwatch_bare_metal::clock::{Base, CycleCounter, CycleCounterError, CycleRegisters};
/// use tailwatch_core::TickRate;
///
/// #[derive(Debug)]
/// struct Emulated; // an emulator's, which stands still; on a chip: CycleCounter::new(rate)
/// impl CycleRegisters for Emulated {
///     fn enable(&self) {}
///     fn is_missing(&self) -> bool { false }
///     fn count(&self) -> u32 { 0 }
/// }
///
/// let rate = TickRate::from_hz(168_000_000).unwrap();
/// let error = CycleCounter::with_registers(rate, &Base::new(), Emulated).unwrap_err();
/// assert_eq!(error, CycleCounterError::Stopped { count: 0 });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CycleCounter<'b, R = CortexM> {
    base: &'b Base,
    rate: TickRate,
    registers: R,
}

/// How often a counter is read until it is said to stand still.
const READS: usize = 64;

#[cfg(cortex_m_main)]
impl CycleCounter<'static> {
    /// Switches the counter of this core on, and makes sure that it counts.
    ///
    /// It changes `DEMCR` and `DWT_CTRL`, which nobody else should at the same moment: call it early.
    ///
    /// # Errors
    /// If the processor has none, or it stands still, as in an emulator.
    pub fn new(rate: TickRate) -> Result<Self, CycleCounterError> {
        // One of the kind: there is one counter.
        static BASE: Base = Base::new();
        Self::with_registers(rate, &BASE, CortexM)
    }
}

impl<'b, R: CycleRegisters> CycleCounter<'b, R> {
    /// The same, for registers other than this core's. All clocks of one counter share one base.
    ///
    /// # Errors
    /// If there is no counter, or it stands still.
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

    /// The cycle now: lock-free, repeated only where [`tick`](Self::tick) ran in the midst of it.
    #[inline]
    pub fn now(&self) -> u64 {
        counter::now(self.base, u32::MAX, || self.registers.count())
    }

    /// Takes note of where the counter is, so that it may wrap once more: lock-free. It may be called in several contexts, if none of them
    /// is interrupted in the midst of it for 2^31 cycles.
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

    #[inline(always)]
    fn end(&self) -> u64 {
        self.now()
    }

    fn rate(&self) -> TickRate {
        self.rate
    }
}

/// Why there is no cycle counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CycleCounterError {
    /// The processor says that it has none.
    Missing,
    /// It is there, or reads as if it were, but does not count.
    Stopped {
        /// What it stands at.
        count: u32,
    },
}

impl fmt::Display for CycleCounterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "this processor has no cycle counter (DWT_CTRL.NOCYCCNT): use SysTick or a timer",
            ),
            Self::Stopped { count } => write!(
                f,
                "the cycle counter stands still at {count}, as where the unit is left out, locked or emulated: use SysTick or a timer"
            ),
        }
    }
}

impl error::Error for CycleCounterError {}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// A counter that moves on by `step` at each look.
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
    fn a_counter_that_is_missing_or_stands_still_is_refused_and_the_error_says_so() {
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
    fn a_counter_is_switched_on_and_followed_across_its_wraps_by_all_its_copies() {
        let registers = scripted(false, 0, 1 << 29);
        let base = Base::new();
        let clock = CycleCounter::with_registers(RATE, &base, &registers).unwrap();
        assert!(registers.enabled.get());
        let copy = clock;
        let first = clock.now();
        for n in 1..100_u64 {
            // A look, or the look that `tick` takes: 2^29 cycles each.
            copy.tick();
            assert_eq!(clock.now() - first, n << 30);
        }
    }
}
