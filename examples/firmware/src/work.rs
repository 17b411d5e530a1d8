//! Work that takes a known number of instructions.

use core::arch::asm;

/// The time from one timer interrupt to the next, in microseconds. In this time, the emulator
/// executes 64,000 instructions of 128 ns each.
pub const PERIOD_MICROS: u64 = 8_192;

/// Executes `instructions` instructions, rounded down to an even number, but at least two. Each
/// round of the loop takes two.
#[inline(always)]
pub fn execute(instructions: u32) {
    let rounds = (instructions / 2).max(1);
    // SAFETY: the assembly only counts a register down to 0, which the compiler has reserved for
    // it.
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
    // SAFETY: as for the other architecture.
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
