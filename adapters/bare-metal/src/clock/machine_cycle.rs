//! A clock over the cycle counter of RISC-V processors, `mcycle`.

use core::{error, fmt};

use tailwatch_core::{Clock, TickRate};

use super::RiscV;

/// Access to a 64-bit cycle counter: the `mcycle` of the processor ([`RiscV`]), or a simulated
/// counter in tests.
pub trait MachineRegisters {
    /// Returns the low 32 bits of the counter.
    fn low(&self) -> u32;

    /// Returns the high 32 bits of the counter.
    fn high(&self) -> u32;

    /// Returns all 64 bits of the counter.
    ///
    /// The default implementation reads the high half, the low half, and the high half again. If
    /// the high half has changed, the low half wrapped in between, and the reading is repeated.
    #[inline(always)]
    fn cycles(&self) -> u64 {
        loop {
            let high = self.high();
            let low = self.low();
            if self.high() == high {
                return u64::from(high) << 32 | u64::from(low);
            }
        }
    }
}

/// A clock over the cycle counter of a RISC-V hart in machine mode.
///
/// The counter has 64 bits. So, unlike with [`SysTick`](super::SysTick) or
/// [`CycleCounter`](super::CycleCounter), the program need not call a method to count wraps. The
/// resolution is one cycle of the hart, and the tick count wraps after 2^64 cycles. A reading takes
/// one instruction on a 64-bit hart and about five on a 32-bit hart. It is lock-free: the reading
/// is repeated only if the low half wrapped during it.
///
/// # Limits
///
/// - The counter may stop while the hart sleeps.
/// - Each hart has its own counter, so a span must end on the hart on which it started.
/// - Outside of machine mode, reading `mcycle` traps. Implement [`Clock`] for a type that reads the
///   register `time` instead.
#[derive(Clone, Copy, Debug)]
pub struct MachineCycle<R = RiscV> {
    rate: TickRate,
    registers: R,
}

#[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
impl MachineCycle {
    /// Creates a clock over the counter of this hart, which counts at `rate`.
    ///
    /// # Errors
    ///
    /// Returns an error if the counter stands still, for example because bit 0 of the register
    /// `mcountinhibit` stops it.
    pub fn new(rate: TickRate) -> Result<Self, MachineCycleError> {
        Self::with_registers(rate, RiscV)
    }
}

/// How many more times, at most, a counter is read after a first reading, to find out whether it
/// counts. If all these readings equal the first, the counter is taken to stand still.
const READS: usize = 64;

impl<R: MachineRegisters> MachineCycle<R> {
    /// Creates a clock over the counter that `registers` access, which counts at `rate`.
    ///
    /// # Errors
    ///
    /// Returns an error if the counter stands still.
    pub fn with_registers(rate: TickRate, registers: R) -> Result<Self, MachineCycleError> {
        let cycles = registers.cycles();
        if (0..READS).all(|_| registers.cycles() == cycles) {
            return Err(MachineCycleError { cycles });
        }
        Ok(Self { rate, registers })
    }

    /// Returns the current tick: the number of cycles in the counter.
    #[inline(always)]
    pub fn now(&self) -> u64 {
        self.registers.cycles()
    }
}

impl<R: MachineRegisters> Clock for MachineCycle<R> {
    #[inline(always)]
    fn start(&self) -> u64 {
        self.now()
    }

    fn rate(&self) -> TickRate {
        self.rate
    }
}

/// The error returned when the counter of a [`MachineCycle`] stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct MachineCycleError {
    /// The number of cycles at which the counter stands still.
    pub cycles: u64,
}

impl fmt::Display for MachineCycleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mcycle stands still at {}; clear bit 0 of mcountinhibit, or use a timer",
            self.cycles
        )
    }
}

impl error::Error for MachineCycleError {}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// A counter that advances by `steps[n]` cycles after the n-th read, whichever half that reads.
    #[derive(Debug)]
    struct Scripted<'s> {
        cycles: Cell<u64>,
        steps: &'s [u64],
        reads: Cell<usize>,
    }

    impl Scripted<'_> {
        fn read(&self) -> u64 {
            let read = self.reads.replace(self.reads.get() + 1);
            let step = self.steps.get(read).copied().unwrap_or(0);
            self.cycles.replace(self.cycles.get() + step)
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of a 64-bit counter")]
    impl MachineRegisters for &Scripted<'_> {
        fn low(&self) -> u32 {
            self.read() as u32
        }
        fn high(&self) -> u32 {
            (self.read() >> 32) as u32
        }
    }

    #[test]
    fn a_wrap_of_the_low_half_during_a_reading_causes_no_step() {
        for first in 0..8_u64 {
            let first = 0x5_FFFF_FFFC + first;
            // Each of the first five reads is followed by a step of 0 to 4 cycles.
            for script in 0..5_usize.pow(5) {
                let steps: Vec<u64> =
                    (0..5_u32).map(|n| (script / 5_usize.pow(n) % 5) as u64).collect();
                let scripted =
                    Scripted { cycles: Cell::new(first), steps: &steps, reads: Cell::new(0) };
                let cycles = (&scripted).cycles();
                assert!(
                    (first..=scripted.cycles.get()).contains(&cycles),
                    "{first:x} {steps:?}: {cycles:x}"
                );
            }
        }
    }

    #[test]
    fn a_counter_that_stands_still_is_an_error_that_names_its_count() {
        let stopped = Scripted { cycles: Cell::new(99), steps: &[], reads: Cell::new(0) };
        let error = MachineCycle::with_registers(TickRate::NANOSECONDS, &stopped).unwrap_err();
        assert_eq!(error, MachineCycleError { cycles: 99 });
        assert!(error.to_string().contains("stands still at 99"), "{error}");
        let running = Scripted { cycles: Cell::new(99), steps: &[1; 8], reads: Cell::new(0) };
        assert!(MachineCycle::with_registers(TickRate::NANOSECONDS, &running).is_ok());
    }
}
