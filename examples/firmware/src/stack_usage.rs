//! Measures how much stack a function takes: the unused stack is filled with a pattern before the
//! call, and searched for changes after it.

use core::{arch::asm, hint::black_box, ptr};

/// The pattern that fills the unused stack.
const PATTERN: u32 = 0xA5A5_5A5A;

unsafe extern "C" {
    /// The end of static memory, from the linker script of `cortex-m-rt`. The stack grows down to
    /// it.
    static mut __sheap: u32;
}

fn stack_pointer() -> usize {
    let pointer;
    // SAFETY: it only copies a register.
    unsafe { asm!("mov {0}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// Calls `work`, and returns how many bytes of stack it takes, without those of its callers.
#[inline(never)]
pub fn stack_used_by(work: impl FnOnce()) -> usize {
    let top = stack_pointer();
    let bottom = (&raw mut __sheap).expose_provenance();
    // Leave out 64 bytes, in which this function itself may still store something.
    for address in (bottom..top - 64).step_by(4) {
        // SAFETY: nothing uses the memory between the end of static memory and the stack pointer.
        // Both are multiples of 4.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(PATTERN) };
    }
    black_box(work)();
    let is_unused = |address: &usize| {
        // SAFETY: as above. The memory was initialised by this function or by `work`.
        let word = unsafe { ptr::with_exposed_provenance::<u32>(*address).read_volatile() };
        word == PATTERN
    };
    top - (bottom..top).step_by(4).find(|address| !is_unused(address)).unwrap_or(top)
}
