//! The same loops at other places: where a loop begins within a line of the instruction cache is chance, and may cost or save
//! more than what is compared.

use core::hint::black_box;

use tailwatch::{Trading, measure};

use crate::floor;

/// How many places: compilers begin loops at multiples of 16 bytes, and a line has 64.
pub(super) const PLACES: usize = 4;

/// The same loop at each place.
type Copies = [fn(u32); PLACES];

pub(super) const GUARD: Copies = [guard::<0>, guard::<16>, guard::<32>, guard::<48>];

pub(super) const FLOORS: [(&str, Copies); 2] = [
    ("aligned/floor/relaxed", [relaxed::<0>, relaxed::<16>, relaxed::<32>, relaxed::<48>]),
    ("aligned/floor/ordered", [ordered::<0>, ordered::<16>, ordered::<32>, ordered::<48>]),
];

/// Has what follows begin so many bytes behind the beginning of a line; elsewhere than on x86-64, wherever it does.
#[inline(always)]
fn shift<const BYTES: usize>() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: they are instructions that do nothing.
    unsafe {
        core::arch::asm!(".p2align 6", ".skip {}, 0x90", const BYTES, options(nomem, nostack, preserves_flags));
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
