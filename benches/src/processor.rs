//! The processor: its vendor and model, and processor time, which does not include the time in
//! which others have the core.

use core::time::Duration;
use std::{fs, io};

/// Lets this thread, and those that it starts, run on one core only.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn pin_to(core: usize) -> io::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}

/// Returns an error: threads cannot be pinned on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn pin_to(_: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

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

/// The vendors whose processors have targets of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    Amd,
    /// Intel, and every vendor without targets of its own.
    Intel,
}

/// Returns the vendor of this machine's processor.
pub(crate) fn vendor() -> Vendor {
    if info("vendor_id").is_some_and(|vendor| vendor == "AuthenticAMD") {
        Vendor::Amd
    } else {
        Vendor::Intel
    }
}

/// Returns the model of this machine's processor, by its numbers: a hypervisor may give all models
/// the same name.
pub(crate) fn model() -> String {
    let [vendor, family, model] =
        ["vendor_id", "cpu family", "model"].map(|field| info(field).unwrap_or_default());
    let vendor = match vendor.as_str() {
        "" => return format!("unknown {}", std::env::consts::ARCH),
        "AuthenticAMD" => "AMD",
        "GenuineIntel" => "Intel",
        other => other,
    };
    format!("{vendor} family {family}, model {model}")
}

/// Returns the name that the vendor or a hypervisor gives this machine's processor.
pub(crate) fn name() -> String {
    info("model name").unwrap_or_else(|| "unnamed".to_owned())
}

/// Returns a field of the first core in `/proc/cpuinfo`, which only Linux has.
fn info(field: &str) -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.trim_end() == field).map(|(_, value)| value.trim().to_owned())
}
