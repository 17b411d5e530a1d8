//! The cores that the process may use, and the pinning of a thread.
//!
//! A thread inherits its cores from the thread that starts it. A trading thread is often pinned to
//! one core, on which the library must not run. The operating system does not say which cores a
//! process may use, only which ones a thread may use.

use std::io;

/// Returns the cores that the process may use, in ascending order, by the operating system's
/// numbers. The list is empty if the operating system does not provide them.
///
/// On Linux, these are the cores of the thread that may use the most, if it may use those of all
/// others. Otherwise the program has pinned all its threads. And if that is a single core, it is
/// not known whether the program has pinned itself to it, or was confined to it from outside, as by
/// `taskset`. In both cases these are all cores that the operating system grants, which the control
/// group of the process may limit.
pub(crate) fn of_process() -> Vec<usize> {
    system::of_process()
}

/// Lets the current thread run only on these cores.
///
/// # Errors
/// Returns the error of the operating system.
pub(super) fn restrict_to(cores: &[usize]) -> io::Result<()> {
    system::restrict_to(cores)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::{fs, io, thread};

    use rustix::{
        process::Pid,
        thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    };

    use super::super::signals;

    pub(super) fn of_process() -> Vec<usize> {
        let mut all = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        let mut most = all.count();
        // Without `/proc`, those of the current thread have to do.
        for entry in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A thread may end meanwhile.
            if let Some(thread) = number.and_then(Pid::from_raw)
                && let Ok(of_thread) = sched_getaffinity(Some(thread))
            {
                numbers(&of_thread).for_each(|core| all.set(core));
                most = most.max(of_thread.count());
            }
        }
        if all.count() == 1 || most < all.count() {
            // Another thread asks, so that the current one does not leave its core.
            let ask = || {
                let mut every = CpuSet::new();
                (0..CpuSet::MAX_CPU).for_each(|core| every.set(core));
                sched_setaffinity(None, &every)?;
                sched_getaffinity(None)
            };
            let granted = signals::while_blocked(|| thread::Builder::new().spawn(ask));
            if let Ok(Ok(Ok(granted))) = granted.map(thread::JoinHandle::join) {
                all = granted;
            }
        }
        numbers(&all).collect()
    }

    pub(super) fn restrict_to(cores: &[usize]) -> io::Result<()> {
        let mut set = CpuSet::new();
        // `CpuSet::set` would panic at a larger number.
        cores.iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| set.set(*core));
        Ok(sched_setaffinity(None, &set)?)
    }

    fn numbers(set: &CpuSet) -> impl Iterator<Item = usize> {
        (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io;

    use core_affinity::CoreId;

    pub(super) fn of_process() -> Vec<usize> {
        core_affinity::get_core_ids().into_iter().flatten().map(|CoreId { id }| id).collect()
    }

    pub(super) fn restrict_to(cores: &[usize]) -> io::Result<()> {
        match *cores {
            [core] if core_affinity::set_for_current(CoreId { id: core }) => Ok(()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_cores_of_a_process_include_those_of_its_other_threads() {
        let before = of_process();
        let pinned = before[0];
        let seen = thread::spawn(move || {
            restrict_to(&[pinned]).unwrap();
            of_process()
        });
        assert_eq!(seen.join().unwrap(), before);
    }

    #[test]
    fn a_core_that_does_not_exist_is_refused() {
        for core in [1_023, 1_024, usize::MAX] {
            let restricted = thread::spawn(move || restrict_to(&[core])).join().unwrap();
            assert_eq!(restricted.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{core}");
        }
    }
}
