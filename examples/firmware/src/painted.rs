//! How much stack something takes: what lies below it is painted, and looked at afterwards.

use core::{arch::asm, hint::black_box, ptr};

/// What unused stack is painted with.
const PAINT: u32 = 0xA5A5_5A5A;

unsafe extern "C" {
    /// Where static memory ends, by the linker script of `cortex-m-rt`; from here on, all is stack.
    static mut __sheap: u32;
}

fn stack_pointer() -> usize {
    let pointer;
    // SAFETY: it only reads a register.
    unsafe { asm!("mov {0}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// The bytes of stack that `work` takes, those of what calls it not counted.
#[inline(never)]
pub fn stack_of(work: impl FnOnce()) -> usize {
    let top = stack_pointer();
    let bottom = (&raw mut __sheap).expose_provenance();
    // Not what this function itself may still put there.
    for address in (bottom..top - 64).step_by(4) {
        // SAFETY: from the end of static memory to the stack pointer nothing lies; both are multiples of 4.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(PAINT) };
    }
    black_box(work)();
    // SAFETY: as above; it was written.
    let is_painted =
        |address: &usize| unsafe { ptr::with_exposed_provenance::<u32>(*address).read_volatile() } == PAINT;
    top - (bottom..top).step_by(4).find(|address| !is_painted(address)).unwrap_or(top)
}
