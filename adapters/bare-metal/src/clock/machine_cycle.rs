//! The cycle counter of RISC-V, `mcycle`.

use core::{error, fmt};

use tailwatch_core::{Clock, TickRate};

use super::RiscV;

/// What is read of `mcycle`: the real one, or a scripted one in tests.
pub trait MachineRegisters {
    /// Its low 32 bits.
    fn low(&self) -> u32;

    /// Its high 32 bits.
    fn high(&self) -> u32;

    /// All of it; read as two halves it is read again where the low one wrapped in between.
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

/// The cycle counter of a RISC-V hart in machine mode: 64 bits by itself, nothing to call.
///
/// *Resolution*: a cycle of the hart. *Wrap period*: 2^64 cycles. It may stop while the hart sleeps; each hart has its own, so that what
/// one hart began no other can end. Reading costs one instruction where registers have 64 bits, five or so where they have 32; it is
/// lock-free, repeated only where the low half wrapped in the midst of it.
///
/// In a mode other than machine mode to read it traps: there, wrap `time` by a [`Clock`] of your own.
#[derive(Clone, Copy, Debug)]
pub struct MachineCycle<R = RiscV> {
    rate: TickRate,
    registers: R,
}

#[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
impl MachineCycle {
    /// The counter of this hart, which runs at this rate.
    ///
    /// # Errors
    /// If it stands still, as where `mcountinhibit` stops it.
    pub fn new(rate: TickRate) -> Result<Self, MachineCycleError> {
        Self::with_registers(rate, RiscV)
    }
}

/// How often the counter is read until it is said to stand still.
const READS: usize = 64;

impl<R: MachineRegisters> MachineCycle<R> {
    /// The same, for registers other than this hart's.
    ///
    /// # Errors
    /// If the counter stands still.
    pub fn with_registers(rate: TickRate, registers: R) -> Result<Self, MachineCycleError> {
        let cycles = registers.cycles();
        if (0..READS).all(|_| registers.cycles() == cycles) {
            return Err(MachineCycleError { cycles });
        }
        Ok(Self { rate, registers })
    }

    /// The cycle now.
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

    #[inline(always)]
    fn end(&self) -> u64 {
        self.now()
    }

    fn rate(&self) -> TickRate {
        self.rate
    }
}

/// The cycle counter does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MachineCycleError {
    /// What it stands at.
    pub cycles: u64,
}

impl fmt::Display for MachineCycleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mcycle stands still at {}: clear bit 0 of mcountinhibit, or use a timer",
            self.cycles
        )
    }
}

impl error::Error for MachineCycleError {}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// Moves on by `steps[n]` after its n-th look, of either half.
    #[derive(Debug)]
    struct Scripted<'s> {
        cycles: Cell<u64>,
        steps: &'s [u64],
        looks: Cell<usize>,
    }

    impl Scripted<'_> {
        fn look(&self) -> u64 {
            let look = self.looks.replace(self.looks.get() + 1);
            let step = self.steps.get(look).copied().unwrap_or(0);
            self.cycles.replace(self.cycles.get() + step)
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of a 64-bit counter")]
    impl MachineRegisters for &Scripted<'_> {
        fn low(&self) -> u32 {
            self.look() as u32
        }
        fn high(&self) -> u32 {
            (self.look() >> 32) as u32
        }
    }

    #[test]
    fn a_wrap_of_the_low_half_anywhere_in_a_read_is_no_step_of_the_clock() {
        for first in 0..8_u64 {
            let first = 0x5_FFFF_FFFC + first;
            // Each of the first looks is followed by a wait of 0 to 4 cycles.
            for script in 0..5_usize.pow(5) {
                let steps: Vec<u64> =
                    (0..5_u32).map(|n| (script / 5_usize.pow(n) % 5) as u64).collect();
                let scripted =
                    Scripted { cycles: Cell::new(first), steps: &steps, looks: Cell::new(0) };
                let told = (&scripted).cycles();
                assert!(
                    (first..=scripted.cycles.get()).contains(&told),
                    "{first:x} {steps:?}: {told:x}"
                );
            }
        }
    }

    #[test]
    fn a_counter_that_stands_still_is_refused_and_the_error_says_where() {
        let stopped = Scripted { cycles: Cell::new(99), steps: &[], looks: Cell::new(0) };
        let error = MachineCycle::with_registers(TickRate::NANOSECONDS, &stopped).unwrap_err();
        assert_eq!(error, MachineCycleError { cycles: 99 });
        assert!(error.to_string().contains("stands still at 99"), "{error}");
        let running = Scripted { cycles: Cell::new(99), steps: &[1; 8], looks: Cell::new(0) };
        assert!(MachineCycle::with_registers(TickRate::NANOSECONDS, &running).is_ok());
    }
}
