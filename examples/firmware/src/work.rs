//! Work that takes a known number of instructions.

use core::arch::asm;

/// The time from one timer interrupt to the next in microseconds: the time of 64,000 instructions.
pub const PERIOD_MICROS: u64 = 8_192;

/// Executes this many instructions, rounded down to an even number, but at least two.
#[inline(always)]
pub fn execute(instructions: u32) {
    let rounds = (instructions / 2).max(1);
    // SAFETY: it only counts a register down to 0, which the compiler has reserved for it.
    #[cfg(target_arch = "arm")]
    unsafe {
        asm!(
            "2:",
            "subs {n}, {n}, #1",
            "bne 2b",
            n = inout(reg) rounds => _,
            options(nomem, nostack)
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "riscv32")]
    unsafe {
        asm!(
            "2:",
            "addi {n}, {n}, -1",
            "bnez {n}, 2b",
            n = inout(reg) rounds => _,
            options(nomem, nostack)
        );
    }
}
