//! The error of a program that cannot share its rings.

use core::fmt;
use std::{error, io, path::PathBuf};

use super::layout::MAX_FILE_BYTES;
use crate::settings::visible::Visible;

/// The error returned when a collector cannot share its rings with other processes.
///
/// With [`Builder::share_optional`](crate::Builder::share_optional), the collector starts without
/// sharing instead, and [`Health::not_shared`](crate::Health::not_shared) has the error's text.
#[non_exhaustive]
pub enum ShareError {
    /// This is not a 64-bit Linux program.
    Unsupported,
    /// The name is empty, too long, or contains other characters than letters, digits, `.`, `_` and
    /// `-`; or begins with a dot.
    Name {
        /// The name.
        name: String,
    },
    /// The directory belongs to another user, is not a directory, or others may write it.
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: DirectoryProblem,
    },
    /// A live program has the file.
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// The file would be too small for its tables and the first rings.
    TooSmall {
        /// The size that was set.
        share_bytes: usize,
        /// The smallest size that is large enough.
        needed: usize,
    },
    /// The file would be larger than 4 GiB.
    TooLarge {
        /// The size that was set.
        share_bytes: usize,
    },
    /// The file system has less room than the file may need.
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// The bytes that the file may need.
        needed: u64,
        /// The bytes that are free.
        available: u64,
    },
    /// The file cannot be locked, so nobody could find out whether its program is alive.
    NoLock {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The operating system refused to create, map or name the file.
    File {
        /// The file or directory.
        path: PathBuf,
        /// What was refused.
        step: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// What is wrong with the directory of a shared file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirectoryProblem {
    /// It is a file, a symbolic link or something else.
    NotADirectory,
    /// It belongs to the user with this number.
    OtherOwner(u32),
    /// Other users may write it.
    WritableByOthers,
}

impl fmt::Display for DirectoryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADirectory => f.write_str("it is not a directory"),
            Self::OtherOwner(uid) => write!(f, "it belongs to the user {uid}"),
            Self::WritableByOthers => f.write_str("other users may write it"),
        }
    }
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => f.write_str(
                "only 64-bit Linux programs can share their rings; leave `share` out, or set \
                 `share_optional`",
            ),
            Self::Name { name } => write!(
                f,
                "{name:?} cannot be the name of a shared file; write 1 to 64 letters, digits, `.`, `_` \
                 or `-`, not beginning with a dot, such as \"bot\", or a path that ends in such a \
                 name"
            ),
            Self::Directory { path, problem } => write!(
                f,
                "the directory {} cannot hold shared files, because {problem}; remove it, or set \
                 `share` to a path in a directory that only this user may write",
                Visible(path)
            ),
            Self::Taken { path } => write!(
                f,
                "a running program has the shared file {}; give each collector of a process its \
                 own name by `share`",
                Visible(path)
            ),
            Self::TooSmall { share_bytes, needed } => write!(
                f,
                "a shared file of {share_bytes} bytes (`share_bytes`) has no room for its tables \
                 and the first rings; set at least {needed}, or a smaller `ring_capacity`"
            ),
            Self::TooLarge { share_bytes } => write!(
                f,
                "a shared file of {share_bytes} bytes (`share_bytes`) is too large; the maximum is \
                 {MAX_FILE_BYTES}"
            ),
            Self::NoSpace { path, needed, available } => write!(
                f,
                "the shared file may need {needed} bytes (`share_bytes`), but {} has only \
                 {available} bytes free; make room (`--shm-size=` for a container), lower \
                 `share_bytes`, set `share` to a path elsewhere, or set `share_optional`",
                Visible(path)
            ),
            Self::NoLock { path, source } => write!(
                f,
                "the file system of {} cannot lock files ({source}), so nobody could find out \
                 whether the program is alive; set `share` to a path elsewhere, or set \
                 `share_optional`",
                Visible(path)
            ),
            Self::File { path, step, source } => write!(
                f,
                "could not {step} {}: {source}; set `share` to a path where this user may create \
                 files, or set `share_optional`",
                Visible(path)
            ),
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for ShareError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::NoLock { source, .. } | Self::File { source, .. } => Some(source),
            _ => None,
        }
    }
}
