//! The error of a file that cannot be read as a shared file.

use core::fmt;
use std::{
    error, io,
    path::{Path, PathBuf},
};

use super::layout::{HEADER_WORDS, MAX_FILE_BYTES, VERSION, WORD_BYTES};
use crate::settings::visible::Visible;

/// The error returned when a file cannot be read as a shared file.
#[non_exhaustive]
pub struct SharedFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: SharedFileProblem,
}

/// What is wrong with a shared file.
#[derive(Debug)]
#[non_exhaustive]
pub enum SharedFileProblem {
    /// The operating system refused to open, look at or map it.
    Io(io::Error),
    /// It is a directory, a symbolic link, a pipe, a socket or a device.
    NotAFile,
    /// It is shorter than a header.
    TooShort {
        /// Its size in bytes.
        bytes: u64,
    },
    /// It does not begin with `TAILWTCH`.
    NotShared,
    /// It was written on a processor of the other byte order.
    OtherByteOrder,
    /// It has a version that this reader does not know.
    Version {
        /// The version.
        version: u64,
    },
    /// It is shorter than its header says, for example because somebody has truncated it.
    Truncated {
        /// Its size in bytes.
        bytes: u64,
        /// Its size as the header says.
        file_bytes: u64,
    },
    /// A field of the header has a value that it cannot have.
    Field {
        /// The name of the field, as in `docs/shared-file.md`.
        field: &'static str,
        /// The value.
        value: u64,
        /// What would be valid.
        wanted: &'static str,
    },
    /// A field of the description of a table has a value that it cannot have.
    Table {
        /// The index of the table.
        index: usize,
        /// The type of the table.
        kind: u64,
        /// The name of the field.
        field: &'static str,
        /// The value.
        value: u64,
        /// What would be valid.
        wanted: &'static str,
    },
    /// The file has no table of a kind that is needed.
    NoTable {
        /// What the table has.
        of: &'static str,
    },
    /// No statistics of the events, windows or limits in it can be kept.
    Statistics {
        /// Why not.
        reason: String,
    },
}

impl SharedFileError {
    pub(crate) fn new(path: &Path, problem: SharedFileProblem) -> Self {
        Self { path: path.to_owned(), problem }
    }
}

impl fmt::Display for SharedFileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
            Self::NotAFile => f.write_str("it is not a regular file"),
            Self::TooShort { bytes } => write!(
                f,
                "it is no shared file: it has {bytes} bytes, fewer than the {} of a header",
                HEADER_WORDS * WORD_BYTES
            ),
            Self::NotShared => {
                f.write_str("it is no shared file: it does not begin with `TAILWTCH`")
            }
            Self::OtherByteOrder => {
                f.write_str("it was written on a machine of the other byte order")
            }
            Self::Version { version } => write!(
                f,
                "`version` is {version}, and this program reads version {VERSION}: use the \
                 `tailwatch` of the program that wrote it"
            ),
            Self::Truncated { bytes, file_bytes } => write!(
                f,
                "`file_bytes` is {file_bytes}, but it has {bytes} bytes: it was truncated"
            ),
            Self::Field { field, value, wanted } => {
                write!(f, "`{field}` is {value}; it must be {wanted}")
            }
            Self::Table { index, kind, field, value, wanted } => write!(
                f,
                "`{field}` of table {index}, which has type {kind}, is {value}; it must be {wanted}"
            ),
            Self::NoTable { of } => write!(f, "it has no table of {of}"),
            Self::Statistics { reason } => write!(f, "no statistics can be kept of it: {reason}"),
        }
    }
}

impl fmt::Display for SharedFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Visible(&self.path), self.problem)
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for SharedFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for SharedFileError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.problem {
            SharedFileProblem::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// What `file_bytes` must be.
pub(crate) const FILE_BYTES_WANTED: &str = "at least 4096 and at most 4294967296";
const _: () = assert!(MAX_FILE_BYTES == 4_294_967_296);
