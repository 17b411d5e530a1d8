//! The processor's time, which others cannot take away.

use core::time::Duration;

/// What this thread has used of the processor.
#[cfg(unix)]
pub(crate) fn time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("it is not negative")
}

/// What all threads of this process have used of it.
#[cfg(unix)]
pub(crate) fn of_all() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(now).expect("it is not negative")
}

/// Elsewhere that is not known, either: nothing.
#[cfg(not(unix))]
pub(crate) fn of_all() -> Duration {
    Duration::ZERO
}

/// Elsewhere it is not known: the time itself, as if nobody else were on the core.
#[cfg(not(unix))]
pub(crate) fn time() -> Duration {
    static BEGINNING: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    BEGINNING.elapsed()
}
