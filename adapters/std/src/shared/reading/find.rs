//! Finds shared files: all of this machine, or one by name, process or path.

use core::fmt;
use std::{
    error, fs, io,
    path::{Path, PathBuf},
};

use super::file::{FileState, SharedFile};
use crate::{settings::visible::Visible, shared::file_error::SharedFileError};

/// The parent of the directories that hold the shared files of a user each.
const PARENT: &str = "/dev/shm";

/// How the directory of a user begins.
const PREFIX: &str = "tailwatch-";

/// Returns all shared files of this machine in the directories that this user may read, or why one
/// cannot be read, the newest first. Files that programs share elsewhere are not among them.
///
/// # Errors
/// Returns an error if `/dev/shm` cannot be read.
pub fn list() -> io::Result<Vec<Result<SharedFile, SharedFileError>>> {
    list_in(Path::new(PARENT))
}

fn list_in(parent: &Path) -> io::Result<Vec<Result<SharedFile, SharedFileError>>> {
    let mut files = Vec::new();
    for directory in fs::read_dir(parent)? {
        let directory = directory?;
        let is_ours = directory.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_ours || !directory.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // Those of other users are usually closed.
        let Ok(entries) = fs::read_dir(directory.path()) else { continue };
        let names = entries.filter_map(|entry| Some(entry.ok()?.path()));
        // A file that is being made has a name that begins with a dot.
        let is_named = |path: &PathBuf| {
            path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
        };
        files.extend(names.filter(is_named).map(SharedFile::open));
    }
    files.sort_by_key(|file| {
        core::cmp::Reverse(file.as_ref().map_or(0, SharedFile::created_unix_ns))
    });
    Ok(files)
}

/// Opens a shared file by what a person knows of it: a path, if `what` contains a `/`; the number
/// of a process; the name under which a program shares; or that of a file in its directory.
///
/// If several have the name or number, one of this user is opened rather than one of another user,
/// who could share under any name; of these a live one rather than a dead one, and then the newest.
///
/// # Errors
/// Returns an error if there is no such file, or if it cannot be read.
pub fn find(what: &str) -> Result<SharedFile, FindError> {
    if what.contains('/') {
        return SharedFile::open(what).map_err(FindError::File);
    }
    find_in(Path::new(PARENT), what)
}

fn find_in(parent: &Path, what: &str) -> Result<SharedFile, FindError> {
    let files = list_in(parent).map_err(FindError::Directory)?;
    let mut names = Vec::new();
    let uid = rustix::process::geteuid().as_raw();
    // Whether it is of this user, and whether it is live.
    let mut found: Option<([bool; 2], SharedFile)> = None;
    let mut unreadable = None;
    for file in files {
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                let name = error.path.file_name().unwrap_or_default().to_string_lossy();
                if name.split('.').next() == Some(what) {
                    unreadable = Some(error);
                }
                continue;
            }
        };
        let is_named = file.path().file_name().is_some_and(|name| name == what);
        if is_named || file.program() == what || file.pid().to_string() == what {
            let rank = [file.uid().is_ok_and(|of| of == uid), file.state() == FileState::Live];
            // The newest comes first.
            if found.as_ref().is_none_or(|(best, _)| rank > *best) {
                found = Some((rank, file));
            }
        } else {
            names.push(file.program());
        }
    }
    match (found, unreadable) {
        (Some((_, file)), _) => Ok(file),
        (None, Some(error)) => Err(FindError::File(error)),
        (None, None) => {
            names.sort_unstable();
            names.dedup();
            Err(FindError::NotFound { what: what.to_owned(), names })
        }
    }
}

/// The error returned when a shared file is not found.
#[non_exhaustive]
pub enum FindError {
    /// No program shares under this name, and no process with this number shares.
    NotFound {
        /// The name or number.
        what: String,
        /// The names under which programs share.
        names: Vec<String>,
    },
    /// The file cannot be read.
    File(SharedFileError),
    /// The directory of shared files cannot be read.
    Directory(io::Error),
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { what, names } => {
                let what = Visible::text(what);
                write!(f, "nothing is shared under the name or process number {what}; ")?;
                if names.is_empty() {
                    return f.write_str(
                        "nothing is shared on this machine that this user may read: set \
                         `TAILWATCH_SHARE=bot` in the environment of a program",
                    );
                }
                write!(f, "there are: {}; a path has to contain a `/`", names.join(", "))
            }
            Self::File(error) => error.fmt(f),
            Self::Directory(error) => write!(f, "{PARENT} cannot be read: {error}"),
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for FindError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::NotFound { .. } => None,
            Self::File(error) => error.source(),
            Self::Directory(error) => Some(error),
        }
    }
}
