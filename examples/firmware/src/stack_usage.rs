//! Measures how much stack a function takes. The unused stack is filled with a pattern before the
//! call, and searched for the first word that differs from the pattern after the call.

use core::{arch::asm, hint::black_box, ptr};

/// The pattern that fills the unused stack.
const PATTERN: u32 = 0xA5A5_5A5A;

unsafe extern "C" {
    /// The end of static memory, as defined by the linker script of `cortex-m-rt`. The stack grows
    /// down towards this address.
    static mut __sheap: u32;
}

/// Returns the address of the top of the stack, below which the stack is unused.
fn stack_pointer() -> usize {
    let pointer;
    // SAFETY: the assembly only copies a register.
    unsafe { asm!("mov {0}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// Calls `work`, and returns how many bytes of stack `work` takes, without the stack of its
/// callers.
#[inline(never)]
pub fn stack_used_by(work: impl FnOnce()) -> usize {
    let top = stack_pointer();
    let bottom = (&raw mut __sheap).expose_provenance();
    // The topmost 64 bytes are left out, because this function itself may still store something
    // there.
    for address in (bottom..top - 64).step_by(4) {
        // SAFETY: nothing uses the memory between the end of static memory and the stack pointer.
        // Both are multiples of 4.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(PATTERN) };
    }
    black_box(work)();
    let is_unused = |address: &usize| {
        // SAFETY: nothing else uses this memory now. The loop above or `work` has initialised it.
        let word = unsafe { ptr::with_exposed_provenance::<u32>(*address).read_volatile() };
        word == PATTERN
    };
    top - (bottom..top).step_by(4).find(|address| !is_unused(address)).unwrap_or(top)
}
