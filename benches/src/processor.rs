//! The processor's time, which others cannot take away.

use core::time::Duration;

/// What this thread has used of the processor.
#[cfg(unix)]
pub(crate) fn time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("it is not negative")
}

/// Elsewhere it is not known: the time itself, as if nobody else were on the core.
#[cfg(not(unix))]
pub(crate) fn time() -> Duration {
    static BEGINNING: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    BEGINNING.elapsed()
}
