//! The lock that shows that the program of a shared file is alive.
//!
//! It is an open-file-description lock: it ends with the last descriptor of its description, so
//! also when the process is killed. A mapping keeps the description from which it was made, so the
//! lock is on a description of its own, from which nothing is mapped. A forked child inherits the
//! descriptor and closes it in its [fork handler](crate::recording::fork): otherwise a child that
//! lives on would keep the file of its dead parent alive.

#![allow(unsafe_code, reason = "no crate has open-file-description locks with a safe API")]

use core::{
    mem,
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};
use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    path::PathBuf,
};

use crate::recording::{fork, process};

/// The value of [`FileLock::descriptor`] once the lock is released.
const RELEASED: RawFd = -1;

/// A lock that this process holds on a shared file of its own.
#[derive(Debug)]
pub(crate) struct FileLock {
    descriptor: AtomicI32,
    /// How many forks lead to the process that holds the lock.
    forks: usize,
}

impl FileLock {
    /// Locks `file` through a description of its own.
    ///
    /// # Errors
    /// Returns an error if the file system has no such locks, or `/proc` is not mounted.
    pub(crate) fn take(file: &File) -> io::Result<Self> {
        // While this lock is held, no thread forks, so no child misses the descriptor.
        let mut process = process::lock();
        let description = reopen(file)?;
        if !lock_whole_file(&description)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let descriptor = OwnedFd::from(description).into_raw_fd();
        process.file_locks.push(descriptor);
        Ok(Self { descriptor: AtomicI32::new(descriptor), forks: fork::forks() })
    }

    /// Releases the lock. Does nothing in a forked child, which has closed the descriptor.
    pub(crate) fn release(&self) {
        if self.forks != fork::forks() {
            return;
        }
        let mut process = process::lock();
        let descriptor = self.descriptor.swap(RELEASED, Relaxed);
        if descriptor == RELEASED {
            return;
        }
        process.file_locks.retain(|known| *known != descriptor);
        // SAFETY: `take` has made the number from a descriptor that nothing else owns, and the swap
        // lets this happen once.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        self.release();
    }
}

/// Returns a path that leads to an open file, even if it has no name.
pub(super) fn link_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Opens the file again, with a description of its own.
fn reopen(file: &File) -> io::Result<File> {
    File::options().read(true).write(true).open(link_of(file))
}

/// Locks the whole file through this description, if no other description has it locked. Returns
/// whether it did.
pub(super) fn lock_whole_file(description: &File) -> io::Result<bool> {
    // SAFETY: all fields are integers, for which 0 is valid.
    let mut lock: libc::flock = unsafe { mem::zeroed() };
    #[expect(clippy::cast_possible_truncation, reason = "small constants")]
    {
        (lock.l_type, lock.l_whence) = (libc::F_WRLCK as _, libc::SEEK_SET as _);
    }
    // SAFETY: the descriptor is open, and the pointer is to a lock of the type that this command
    // takes.
    let result =
        unsafe { libc::fcntl(description.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// Closes the descriptors of the locks in a forked child, which has no other thread.
pub(crate) fn close_in_child(descriptors: &mut Vec<RawFd>) {
    for descriptor in descriptors.drain(..) {
        // SAFETY: it is the child's copy of a descriptor that only a `FileLock` owns, which does
        // nothing in the child.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
}
