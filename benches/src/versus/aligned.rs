//! The same loops at other positions. Where a loop begins within a line of the instruction cache is
//! chance, and may make more difference than what is compared.

use core::hint::black_box;

use tailwatch::{Trading, measure};

use crate::floor;

/// The number of positions: compilers align loops to multiples of 16 bytes, and a line has 64.
pub(super) const POSITIONS: usize = 4;

/// The same loop at each position.
type Copies = [fn(u32); POSITIONS];

pub(super) const GUARD: Copies = [guard::<0>, guard::<16>, guard::<32>, guard::<48>];

pub(super) const FLOORS: [(&str, Copies); 2] = [
    ("aligned/floor/relaxed", [relaxed::<0>, relaxed::<16>, relaxed::<32>, relaxed::<48>]),
    ("aligned/floor/ordered", [ordered::<0>, ordered::<16>, ordered::<32>, ordered::<48>]),
];

/// Makes the following code begin `BYTES` bytes after the beginning of a cache line; only on
/// x86-64.
#[inline(always)]
fn shift<const BYTES: usize>() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the inserted instructions do nothing.
    unsafe {
        core::arch::asm!(
            ".p2align 6",
            ".skip {}, 0x90",
            const BYTES,
            options(nomem, nostack, preserves_flags)
        );
    }
}

#[inline(never)]
fn guard<const BYTES: usize>(times: u32) {
    shift::<BYTES>();
    for _ in 0..times {
        let _span = measure(Trading::OrderPlacement);
        black_box(());
    }
}

#[inline(never)]
fn relaxed<const BYTES: usize>(times: u32) {
    shift::<BYTES>();
    for _ in 0..times {
        floor::relaxed();
    }
}

#[inline(never)]
fn ordered<const BYTES: usize>(times: u32) {
    shift::<BYTES>();
    for _ in 0..times {
        floor::ordered();
    }
}
