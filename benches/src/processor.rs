//! Processor time, which does not include the time in which others have the core.

use core::time::Duration;

/// Returns the processor time of this thread.
#[cfg(unix)]
pub(crate) fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("processor time is not negative")
}

/// Returns the processor time of all threads of this process.
#[cfg(unix)]
pub(crate) fn process_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(now).expect("processor time is not negative")
}

/// Returns zero: the time is not known on other systems.
#[cfg(not(unix))]
pub(crate) fn process_time() -> Duration {
    Duration::ZERO
}

/// Returns the elapsed time, as if nobody else used the core: processor time is not known on other
/// systems.
#[cfg(not(unix))]
pub(crate) fn thread_time() -> Duration {
    static BEGINNING: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    BEGINNING.elapsed()
}
