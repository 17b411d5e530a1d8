//! Warnings on standard error: what the person who runs the program must know, and no caller can
//! be given as an error.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::io::{self, Write};

/// A warning that is printed at most once per process.
#[derive(Debug)]
pub(crate) struct Warning {
    text: &'static str,
    is_printed: AtomicBool,
}

/// The operating system's clock is read, although the settings select the processor's counter.
pub(crate) static CLOCK_FALLBACK: Warning = Warning::new(
    "tailwatch: the processor's counter is missing or does not run at a constant rate; spans are \
     measured with the operating system's clock, which is slower to read and may need a system \
     call\n",
);

/// The feature `off` is enabled, perhaps by a library that the program does not know of.
pub(crate) static COMPILED_OUT: Warning = Warning::new(
    "tailwatch: recording is compiled out by the feature `off`: nothing is measured, and no limit \
     is judged; `cargo tree -e features -i tailwatch` shows who enables it\n",
);

/// The shared file is not in memory.
pub(crate) static SHARED_ON_DISK: Warning = Warning::new(
    "tailwatch: the shared file is on a disk, which can stall the program for hundreds of \
     milliseconds while it writes pages back; share in a directory of a tmpfs, such as /dev/shm\n",
);

impl Warning {
    const fn new(text: &'static str) -> Self {
        Self { text, is_printed: AtomicBool::new(false) }
    }

    /// Prints the warning, unless this process has printed it before.
    ///
    /// The warning is left out if standard error cannot be written. The print macros would panic
    /// then. [`Collector::explain`](crate::Collector::explain) says the same.
    pub(crate) fn print(&self) {
        if !self.is_printed.swap(true, Relaxed) {
            let _ = io::stderr().write_all(self.text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_warning_fails_nobody_if_it_cannot_be_printed() {
        use std::{
            env,
            fs::File,
            process::{Command, Stdio},
        };

        const NAME: &str = "warning::tests::a_warning_fails_nobody_if_it_cannot_be_printed";
        const IN_CHILD: &str = "WARNING_TEST_IN_CHILD";

        if env::var_os(IN_CHILD).is_some() {
            CLOCK_FALLBACK.print();
            return;
        }
        let child = || {
            let mut child = Command::new(env::current_exe().unwrap());
            child.args(["--exact", NAME, "--nocapture"]).env(IN_CHILD, "");
            child
        };
        let warned = child().output().unwrap();
        let stderr = String::from_utf8(warned.stderr).unwrap();
        assert!(warned.status.success() && stderr.contains("operating system's clock"), "{stderr}");

        let (reader, pipe) = io::pipe().unwrap();
        drop(reader);
        let full = File::options().write(true).open("/dev/full").unwrap();
        for (case, stderr) in
            [("a pipe without a reader", Stdio::from(pipe)), ("full", full.into())]
        {
            let warned = child().stderr(stderr).output().unwrap();
            let stdout = String::from_utf8(warned.stdout).unwrap();
            assert!(warned.status.success() && stdout.contains("1 passed"), "{case}: {stdout}");
        }
        let closed = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 2>&-"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(IN_CHILD, "")
            .output()
            .unwrap();
        assert!(closed.status.success(), "{}", String::from_utf8_lossy(&closed.stdout));
    }
}
