//! Runs code in a forked child process.

#![allow(unsafe_code, reason = "`fork` and `waitpid`")]

use core::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};
use std::{path::PathBuf, thread, time::Instant};

use tailwatch::{Builder, Collector};

/// Whether the collectors share their rings.
static SHARES: AtomicBool = AtomicBool::new(false);

/// How many collectors have shared their rings.
static SHARED: AtomicUsize = AtomicUsize::new(0);

/// Makes all collectors that are built from now on share their rings.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) fn share_from_now_on() {
    SHARES.store(true, Relaxed);
}

/// Returns the path at which the next collector shares its rings, without the numbers.
pub(crate) fn next_shared() -> PathBuf {
    let number = SHARED.fetch_add(1, Relaxed);
    std::env::temp_dir().join(format!("tailwatch-fork-{}-{number}", std::process::id()))
}

/// Returns a builder that ignores the environment and, from a certain moment on, shares the rings.
pub(crate) fn builder() -> Builder {
    let builder = Collector::builder().ignore_environment();
    if SHARES.load(Relaxed) {
        builder.share(next_shared().to_str().expect("the path is text"))
    } else {
        builder
    }
}

/// Runs `child` in a forked child process, and asserts that it returns within 30 s.
pub(crate) fn in_child(child: impl FnOnce()) {
    // SAFETY: the child calls only `child` and `_exit`. What it needs of other threads, a test is
    // about: `child` calls the library, whose promise is that it needs none of their locks.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let passed = std::panic::catch_unwind(core::panic::AssertUnwindSafe(child)).is_ok();
        // SAFETY: the function does not return.
        unsafe { libc::_exit(i32::from(!passed)) };
    }
    await_child(pid);
}

/// Asserts that the child process with this number ends with status 0 within 30 s.
pub(crate) fn await_child(pid: libc::pid_t) {
    let begun = Instant::now();
    let mut status = 0;
    // SAFETY: the pointer is to a local variable.
    while unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == 0 {
        if begun.elapsed() > Duration::from_secs(30) {
            // SAFETY: the child was not waited for, so the number is still its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            panic!("the child hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(status, 0, "the child failed");
}
