//! Work of which it is known how many instructions it takes.

use core::arch::asm;

/// From one interrupt of the timer to the next: as long as 64,000 instructions take.
pub const PERIOD_MICROS: u64 = 8_192;

/// Executes so many instructions, rounded down to an even number, and at least two.
#[inline(always)]
pub fn execute(instructions: u32) {
    let rounds = (instructions / 2).max(1);
    // SAFETY: it counts a register of its own down to 0 and touches nothing else.
    #[cfg(target_arch = "arm")]
    unsafe {
        asm!("2:", "subs {n}, {n}, #1", "bne 2b", n = inout(reg) rounds => _, options(nomem, nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "riscv32")]
    unsafe {
        asm!("2:", "addi {n}, {n}, -1", "bnez {n}, 2b", n = inout(reg) rounds => _, options(nomem, nostack));
    }
}
