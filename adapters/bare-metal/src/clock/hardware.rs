//! Access to the registers of the hardware: the only `unsafe` code of this crate.

/// The registers of the Cortex-M core on which the program runs. They exist only on such a core.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CortexM;

/// The registers of the RISC-V hart on which the program runs, in machine mode. They exist only
/// there.
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
    /// The offset of the timer's current value: B3.3.5.
    const SYST_CVR: usize = 0x018;
    /// The offset of the interrupt control and state register: B3.2.4.
    const ICSR: usize = 0xD04;
    const PENDSTSET: u32 = 1 << 26;

    /// Reads the register at this offset.
    #[inline(always)]
    fn read(offset: usize) -> u32 {
        let mut base = SYSTEM_CONTROL;
        // SAFETY: the assembly is empty. It hides the constant from the compiler, which then
        // computes both registers from one base address instead of loading two constants. This
        // saves an instruction.
        unsafe {
            asm!("/* {0} */", inout(reg) base, options(pure, nomem, nostack, preserves_flags))
        };
        // SAFETY: only called with the registers above. Every Cortex-M decodes them (a timer that
        // is left out reads as zero), and reading them has no side effect.
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
    const TRCENA: u32 = 1 << 24;
    /// The control register of the data watchpoint and trace unit (DWT): C1.8.7.
    const DWT_CTRL: usize = 0xE000_1000;
    const CYCCNTENA: u32 = 1;
    const NOCYCCNT: u32 = 1 << 25;
    /// The cycle counter: C1.8.8.
    const DWT_CYCCNT: usize = 0xE000_1004;
    /// The CoreSight lock access register of the DWT, which a Cortex-M7 has; below it, its key.
    const DWT_LAR: usize = 0xE000_1FB0;
    const UNLOCK: u32 = 0xC5AC_CE55;

    fn read(address: usize) -> u32 {
        // SAFETY: only called with the registers above. Every processor of this profile decodes
        // them (those of a unit that is left out read as zero), and reading them has no side
        // effect.
        unsafe { ptr::with_exposed_provenance::<u32>(address).read_volatile() }
    }

    fn write(address: usize, value: u32) {
        // SAFETY: only called with the registers above. The values written switch the cycle counter
        // on and do not affect memory.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(value) }
    }

    impl CycleRegisters for CortexM {
        fn enable(&self) {
            write(DEMCR, read(DEMCR) | TRCENA);
            write(DWT_LAR, UNLOCK);
            write(DWT_CTRL, read(DWT_CTRL) | CYCCNTENA);
        }

        fn is_missing(&self) -> bool {
            // If the whole unit is left out, the register reads as zero and the counter stands
            // still, which the caller notices.
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

    /// Reads a control and status register.
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
