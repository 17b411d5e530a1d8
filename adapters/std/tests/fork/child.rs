//! Runs code in a forked child process.

#![allow(unsafe_code, reason = "`fork` and `waitpid`")]

use core::time::Duration;
use std::{thread, time::Instant};

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
