//! The floor: two readings of the processor's counter, without anything else.

use core::hint::black_box;

/// Two readings, neither of which waits for other instructions.
#[inline(always)]
pub(crate) fn relaxed() {
    let start = counter::relaxed();
    let end = counter::relaxed();
    black_box(end.wrapping_sub(start));
}

/// Two readings; the second one waits for all instructions before it.
#[inline(always)]
pub(crate) fn ordered() {
    let start = counter::relaxed();
    let end = counter::ordered();
    black_box(end.wrapping_sub(start));
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod counter {
    #[inline(always)]
    pub(crate) fn relaxed() -> u64 {
        // SAFETY: RDTSC exists on every x86-64 processor and touches no memory.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    #[inline(always)]
    pub(crate) fn ordered() -> u64 {
        let mut core_number = 0;
        // SAFETY: every x86-64 processor with an invariant counter has RDTSCP; the pointer is to a
        // local variable.
        unsafe { core::arch::x86_64::__rdtscp(&raw mut core_number) }
    }
}

/// On other processors the floor is the adapter's own clock.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) mod counter {
    use std::sync::LazyLock;

    use tailwatch::{Clock, ClockMode, HostClock};

    static CLOCK: LazyLock<HostClock> = LazyLock::new(|| HostClock::new(ClockMode::Ordered));

    pub(crate) fn relaxed() -> u64 {
        CLOCK.start()
    }

    pub(crate) fn ordered() -> u64 {
        CLOCK.end()
    }
}
