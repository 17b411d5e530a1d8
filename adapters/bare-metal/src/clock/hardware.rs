//! Access to the registers of the hardware: the only `unsafe` code of this crate.

/// Access to the timer registers of the Cortex-M core on which the program runs. On other targets,
/// this type implements none of the traits for registers.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CortexM;

/// Access to the cycle counter of the RISC-V hart on which the program runs, in machine mode. On
/// other targets, this type does not implement [`MachineRegisters`](super::MachineRegisters).
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RiscV;

#[cfg(cortex_m)]
mod cortex_m {
    use core::{arch::asm, ptr};

    use super::CortexM;
    use crate::clock::SysTickRegisters;

    /// The system control space: Armv7-M Architecture Reference Manual, B3.2. The address is the
    /// same in Armv6-M and Armv8-M.
    const SYSTEM_CONTROL: usize = 0xE000_E000;
    /// The offset of the timer's current value in the system control space: B3.3.5.
    const SYST_CVR: usize = 0x018;
    /// The offset of the interrupt control and state register in the system control space: B3.2.4.
    const ICSR: usize = 0xD04;
    /// The bit of `ICSR` that is set while the exception of the timer is pending.
    const PENDSTSET: u32 = 1 << 26;

    /// Reads the register at `offset`, which must be `SYST_CVR` or `ICSR`.
    #[inline(always)]
    fn read(offset: usize) -> u32 {
        // The assembly hides the constant from the compiler. The compiler then computes the
        // addresses of both registers from one base address instead of loading two constants, which
        // saves an instruction.
        let mut base = SYSTEM_CONTROL;
        // SAFETY: the assembly is empty.
        unsafe {
            asm!("/* {0} */", inout(reg) base, options(pure, nomem, nostack, preserves_flags))
        };
        // SAFETY: `offset` is one of the registers above. Every Cortex-M decodes their addresses
        // (the registers of a timer that the chip lacks read as zero), and reading them has no side
        // effect.
        unsafe { ptr::with_exposed_provenance::<u32>(base + offset).read_volatile() }
    }

    impl SysTickRegisters for CortexM {
        #[inline(always)]
        fn current(&self) -> u32 {
            read(SYST_CVR)
        }

        #[inline(always)]
        fn is_wrap_pending(&self) -> bool {
            read(ICSR) & PENDSTSET != 0
        }
    }
}

#[cfg(cortex_m_main)]
mod cortex_m_main {
    use core::ptr;

    use super::CortexM;
    use crate::clock::CycleRegisters;

    /// The debug exception and monitor control register: Armv7-M Architecture Reference Manual,
    /// C1.6.5.
    const DEMCR: usize = 0xE000_EDFC;
    /// The bit of `DEMCR` that enables the data watchpoint and trace unit (DWT).
    const TRCENA: u32 = 1 << 24;
    /// The control register of the DWT: C1.8.7.
    const DWT_CTRL: usize = 0xE000_1000;
    /// The bit of `DWT_CTRL` that switches the cycle counter on.
    const CYCCNTENA: u32 = 1;
    /// The bit of `DWT_CTRL` that is set if the processor has no cycle counter.
    const NOCYCCNT: u32 = 1 << 25;
    /// The cycle counter: C1.8.8.
    const DWT_CYCCNT: usize = 0xE000_1004;
    /// The lock register of the DWT, which a Cortex-M7 has: the DWT ignores writes until the
    /// program writes `UNLOCK` here.
    const DWT_LAR: usize = 0xE000_1FB0;
    const UNLOCK: u32 = 0xC5AC_CE55;

    fn read(address: usize) -> u32 {
        // SAFETY: `address` is one of the registers above. Every processor of this profile decodes
        // their addresses (the registers of a unit that the chip lacks read as zero), and reading
        // them has no side effect.
        unsafe { ptr::with_exposed_provenance::<u32>(address).read_volatile() }
    }

    fn write(address: usize, value: u32) {
        // SAFETY: `address` is one of the registers above. The values that are written switch the
        // cycle counter on and do not affect memory.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(value) }
    }

    impl CycleRegisters for CortexM {
        fn enable(&self) {
            write(DEMCR, read(DEMCR) | TRCENA);
            write(DWT_LAR, UNLOCK);
            write(DWT_CTRL, read(DWT_CTRL) | CYCCNTENA);
        }

        fn is_missing(&self) -> bool {
            // If the chip has no DWT at all, the register reads as zero, so this returns `false`.
            // The counter then stands still, which the caller checks as well.
            read(DWT_CTRL) & NOCYCCNT != 0
        }

        #[inline(always)]
        fn count(&self) -> u32 {
            read(DWT_CYCCNT)
        }
    }
}

#[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
mod riscv {
    use core::arch::asm;

    use super::RiscV;
    use crate::clock::MachineRegisters;

    /// Reads the control and status register with this name.
    macro_rules! csr {
        ($name:literal) => {{
            let value: usize;
            // SAFETY: the register is part of the privileged architecture in machine mode, and
            // reading it has no side effect. In another mode, the read traps, which does not affect
            // memory.
            unsafe {
                asm!(
                    concat!("csrr {}, ", $name),
                    out(reg) value,
                    options(nomem, nostack, preserves_flags)
                );
            }
            value
        }};
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of a 64-bit counter")]
    impl MachineRegisters for RiscV {
        #[inline(always)]
        fn low(&self) -> u32 {
            csr!("mcycle") as u32
        }

        #[cfg(target_arch = "riscv32")]
        #[inline(always)]
        fn high(&self) -> u32 {
            csr!("mcycleh") as u32
        }

        #[cfg(target_arch = "riscv64")]
        #[inline(always)]
        fn high(&self) -> u32 {
            (csr!("mcycle") >> 32) as u32
        }

        #[cfg(target_arch = "riscv64")]
        #[inline(always)]
        fn cycles(&self) -> u64 {
            csr!("mcycle") as u64
        }
    }
}
