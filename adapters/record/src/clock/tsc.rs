//! The processor's counter, which one instruction reads.
//!
//! On x86-64 this is the time-stamp counter (TSC), on `AArch64` the virtual counter (CNTVCT). For
//! other architectures this module has no counter, and [`HostClock`](crate::HostClock) uses the
//! operating system's monotonic clock.
//!
//! [`relaxed`] reads the counter, but the processor may do so before earlier instructions have
//! finished. [`ordered`] waits for them. The end of a span needs this: a counter that is read too
//! early misses the last part of the work, such as a load from memory.

#![allow(unsafe_code, reason = "the instructions need unsafe intrinsics and inline assembly")]

/// Whether this module can read a counter on this architecture.
pub(crate) const AVAILABLE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Reads the counter by `RDTSC`, which waits for nothing.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn relaxed() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 processor and touches no memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads the counter by `RDTSCP`, which "waits until all previous instructions have executed and
/// all previous loads are globally visible" (Intel SDM, volume 2B).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn ordered() -> u64 {
    let mut core_number = 0;
    // SAFETY: every x86-64 processor since 2008 has RDTSCP (an older one raises SIGILL here), and
    // the pointer is to a local variable.
    unsafe { core::arch::x86_64::__rdtscp(&raw mut core_number) }
}

/// Reads the counter by `MRS`, which waits for nothing.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn relaxed() -> u64 {
    let ticks;
    // SAFETY: the operating systems that Rust's `std` supports let user programs read CNTVCT_EL0,
    // because their own clock functions read it; the instruction touches no memory.
    unsafe {
        core::arch::asm!(
            "mrs {}, cntvct_el0",
            out(reg) ticks,
            options(nomem, nostack, preserves_flags)
        )
    };
    ticks
}

/// Reads the counter after an `ISB`. The `ISB` makes the read wait for all earlier instructions
/// (Arm ARM, "Self-synchronized and non-self-synchronized views").
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn ordered() -> u64 {
    let ticks;
    // SAFETY: as in `relaxed`. The option `nomem` is left out, so that the compiler does not move
    // memory accesses of the measured work past the read.
    unsafe {
        core::arch::asm!(
            "isb",
            "mrs {}, cntvct_el0",
            out(reg) ticks,
            options(nostack, preserves_flags)
        )
    };
    ticks
}

/// Never called, because [`AVAILABLE`] is `false`.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn relaxed() -> u64 {
    0
}

/// Never called, because [`AVAILABLE`] is `false`.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn ordered() -> u64 {
    0
}
