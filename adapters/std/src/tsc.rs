//! The processor's own counter of time, read by one instruction.
//!
//! On `x86-64` the time-stamp counter, on `AArch64` the virtual counter; elsewhere there is none, and
//! [`HostClock`](crate::HostClock) falls back to the operating system's monotonic clock.
//!
//! `relaxed` lets the processor read the counter before the instructions in front of it are done. `ordered` waits for
//! them, as the end of a span has to: read too early, it misses work such as a load from memory.

#![allow(unsafe_code, reason = "the instructions are behind unsafe intrinsics and inline assembly")]

/// Whether this module knows a counter on this architecture.
pub(crate) const AVAILABLE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn relaxed() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 processor and touches no memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// `RDTSCP` "waits until all previous instructions have executed and all previous loads are globally visible" (Intel SDM,
/// volume 2B).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn ordered() -> u64 {
    let mut core_number = 0;
    // SAFETY: it is reached only with a counter that `quanta` found to be usable, which on x86-64 includes RDTSCP; the
    // pointer is to a local.
    unsafe { core::arch::x86_64::__rdtscp(&raw mut core_number) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn relaxed() -> u64 {
    let ticks;
    // SAFETY: CNTVCT_EL0 can be read at every exception level where an operating system gives user programs its clock, as
    // those that Rust's `std` supports do; it touches no memory.
    unsafe {
        core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags))
    };
    ticks
}

/// `ISB` keeps the read behind all earlier instructions (Arm ARM, "Self-synchronized and non-self-synchronized views").
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn ordered() -> u64 {
    let ticks;
    // SAFETY: as in `relaxed`. Not `nomem`: the compiler must not move memory accesses of the measured work behind it.
    unsafe {
        core::arch::asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nostack, preserves_flags))
    };
    ticks
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn relaxed() -> u64 {
    0
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn ordered() -> u64 {
    0
}
