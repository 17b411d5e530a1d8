//! The place of a shared file: its directory and name, how it gets the name, and which older files
//! of the same name are removed.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, open, renameat_with, statvfs};

use super::lock::lock_whole_file;
use crate::shared::{
    layout::{MAGIC, WORD_BYTES, header, state},
    share_error::{DirectoryProblem, ShareError},
};

/// The largest size of a name in bytes.
const MAX_NAME: usize = 64;

/// Where a shared file will be.
#[derive(Debug)]
pub(super) struct Place {
    /// The program's name.
    pub(super) name: String,
    pub(super) directory: PathBuf,
    pub(super) path: PathBuf,
}

/// The file before it has its name.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) file: File,
    /// Its temporary name, where the file system has no files without one.
    temporary: Option<PathBuf>,
}

impl Place {
    /// Returns the place for `share`, a name or a path that ends in one. Creates the default
    /// directory if it is missing.
    pub(super) fn new(share: &str, pid: u32, start: u64) -> Result<Self, ShareError> {
        let (directory, name) = match share.rsplit_once('/') {
            None => (directory_of_user(Path::new("/dev/shm"))?, share),
            Some(("", name)) => (PathBuf::from("/"), name),
            Some((directory, name)) => (PathBuf::from(directory), name),
        };
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty()
            || name.len() > MAX_NAME
            || name.starts_with('.')
            || !name.bytes().all(is_valid)
        {
            return Err(ShareError::Name { name: name.to_owned() });
        }
        let path = directory.join(format!("{name}.{pid}.{start}"));
        Ok(Self { name: name.to_owned(), directory, path })
    }

    /// Returns an error if a live program has the file. Removes the file if its program is dead, as
    /// after a reboot that repeated the number of the process.
    pub(super) fn check_free(&self) -> Result<(), ShareError> {
        if fs::symlink_metadata(&self.path).is_err() {
            return Ok(());
        }
        remove_dead(&self.path);
        match fs::symlink_metadata(&self.path) {
            Ok(_) => Err(ShareError::Taken { path: self.path.clone() }),
            Err(_) => Ok(()),
        }
    }

    /// Returns an error if the file system has less room than `bytes`.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), ShareError> {
        let stat = statvfs(&self.directory).map_err(|source| self.error("look at", source))?;
        let available = stat.f_bavail.saturating_mul(stat.f_frsize);
        let needed = bytes as u64;
        if needed <= available {
            return Ok(());
        }
        Err(ShareError::NoSpace { path: self.directory.clone(), needed, available })
    }

    /// Creates the file without a name, or with a temporary one.
    pub(super) fn create(&self) -> Result<Unnamed, ShareError> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        match open(&self.directory, flags | OFlags::TMPFILE, mode) {
            Ok(file) => return Ok(Unnamed { file: file.into(), temporary: None }),
            // The file system or the kernel has no files without a name.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {}
            Err(error) => return Err(self.error("create a file in", error)),
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = self.directory.join(format!(".{name}.tmp"));
        // A file of this name was left by a process that died here: pids repeat.
        let _ = fs::remove_file(&temporary);
        let file = open(&temporary, flags | OFlags::CREATE | OFlags::EXCL, mode)
            .map_err(|error| self.error("create a file in", error))?;
        Ok(Unnamed { file: file.into(), temporary: Some(temporary) })
    }

    /// Gives the file its name, which no other file may have.
    pub(super) fn give_name(&self, unnamed: &mut Unnamed) -> Result<(), ShareError> {
        self.link(unnamed).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => ShareError::Taken { path: self.path.clone() },
            _ => ShareError::File { path: self.path.clone(), step: "name the file", source: error },
        })?;
        unnamed.temporary = None;
        Ok(())
    }

    fn link(&self, unnamed: &Unnamed) -> io::Result<()> {
        if let Some(temporary) = &unnamed.temporary {
            let flags = RenameFlags::NOREPLACE;
            return Ok(renameat_with(CWD, temporary, CWD, &self.path, flags)?);
        }
        match linkat(unnamed.file.as_fd(), "", CWD, &self.path, AtFlags::EMPTY_PATH) {
            // Older kernels want a capability for that.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::PERM) => {
                let link = super::lock::link_of(&unnamed.file);
                Ok(linkat(CWD, link, CWD, &self.path, AtFlags::SYMLINK_FOLLOW)?)
            }
            result => Ok(result?),
        }
    }

    /// Removes the files of dead programs of this name, except the `keep` newest. Those that cannot
    /// be read or removed stay.
    pub(super) fn remove_older(&self, keep: usize) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let of_name = |path: &PathBuf| is_file_of(path, &self.name) && *path != self.path;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(of_name);
        let mut files: Vec<(u64, PathBuf)> =
            paths.filter_map(|path| Some((created_by_dead(&path)?, path))).collect();
        files.sort_unstable_by(|one, other| other.cmp(one));
        for (_, path) in files.into_iter().skip(keep) {
            remove_dead(&path);
        }
    }

    fn error(&self, step: &'static str, source: rustix::io::Errno) -> ShareError {
        ShareError::File { path: self.directory.clone(), step, source: source.into() }
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Returns whether this is the path of a file that a program of this name shares:
/// `NAME.<pid>.<start>`.
fn is_file_of(path: &Path, name: &str) -> bool {
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    let file_name = path.file_name().and_then(|name| name.to_str());
    let numbers = file_name.and_then(|file| file.strip_prefix(name)?.strip_prefix('.'));
    let pair = numbers.and_then(|numbers| numbers.split_once('.'));
    pair.is_some_and(|(pid, start)| is_number(pid) && is_number(start))
}

/// Opens a regular file, and waits for nothing.
fn open_regular(path: &Path) -> Option<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    #[expect(clippy::cast_possible_wrap, reason = "flags of the operating system")]
    let flags = flags.bits() as i32;
    let file = File::options().read(true).write(true).custom_flags(flags).open(path).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

/// Returns when a file was created, if its program is dead. Snapshots are of no program.
fn created_by_dead(path: &Path) -> Option<u64> {
    let file = open_regular(path)?;
    let word = |position: usize| {
        let mut bytes = [0; WORD_BYTES];
        let offset = (position * WORD_BYTES) as u64;
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, offset).ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let is_program = word(header::MAGIC)? == MAGIC && word(header::STATE)? != state::SNAPSHOT;
    (is_program && lock_whole_file(&file).ok()?).then_some(())?;
    word(header::CREATED_UNIX_NS)
}

/// Removes a file if its program is dead and the name still leads to it.
fn remove_dead(path: &Path) {
    let Some(file) = open_regular(path) else { return };
    if created_by_dead(path).is_some() && lock_whole_file(&file).unwrap_or(false) {
        remove(path, &file);
    }
}

/// Removes a file, on which the caller has the lock, if the name still leads to it.
pub(super) fn remove(path: &Path, file: &File) {
    let identity = |metadata: io::Result<fs::Metadata>| {
        metadata.ok().map(|metadata| (metadata.dev(), metadata.ino()))
    };
    if identity(fs::symlink_metadata(path)) == identity(file.metadata()) {
        let _ = fs::remove_file(path);
    }
}

/// Returns the directory of this user's shared files, which it creates if it is missing.
fn directory_of_user(parent: &Path) -> Result<PathBuf, ShareError> {
    let uid = rustix::process::geteuid().as_raw();
    let path = parent.join(format!("tailwatch-{uid}"));
    match DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => return Ok(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => {
            return Err(ShareError::File { path, step: "create the directory", source });
        }
    }
    let metadata = fs::symlink_metadata(&path);
    let problem = match &metadata {
        Ok(metadata) if !metadata.is_dir() => DirectoryProblem::NotADirectory,
        Ok(metadata) if metadata.uid() != uid => DirectoryProblem::OtherOwner(metadata.uid()),
        Ok(metadata) if metadata.mode() & 0o022 != 0 => DirectoryProblem::WritableByOthers,
        _ => return Ok(path),
    };
    Err(ShareError::Directory { path, problem })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_directory_that_somebody_else_could_write_is_refused() {
        let parent = std::env::temp_dir().join(format!("tailwatch-place-{}", std::process::id()));
        fs::create_dir(&parent).unwrap();
        let path = directory_of_user(&parent).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert_eq!(directory_of_user(&parent).unwrap(), path, "it is there already");
        // The owner may let a group read.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(directory_of_user(&parent).unwrap(), path);
        let refused = || match directory_of_user(&parent).unwrap_err() {
            ShareError::Directory { path: refused, problem } if refused == path => problem,
            error => panic!("{error}"),
        };
        for mode in [0o777, 0o720] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(refused(), DirectoryProblem::WritableByOthers, "{mode:o}");
        }
        // Only root can give a directory away.
        if rustix::process::geteuid().is_root() {
            chown(&path, Some(12_345), None).unwrap();
            assert_eq!(refused(), DirectoryProblem::OtherOwner(12_345));
        }
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "x").unwrap();
        assert_eq!(refused(), DirectoryProblem::NotADirectory);
        fs::remove_file(&path).unwrap();
        symlink(&parent, &path).unwrap();
        assert_eq!(refused(), DirectoryProblem::NotADirectory);
        fs::remove_dir_all(&parent).unwrap();
    }

    #[test]
    fn files_of_other_names_are_not_those_of_a_program() {
        let is_file = |path: &str| is_file_of(Path::new(path), "bot");
        assert!(is_file("/x/bot.1.2"));
        for other in
            ["/x/bot", "/x/bot.1", "/x/bot.1.2.3", "/x/bot.x.2", "/x/bot2.1.2", "/x/ot.1.2"]
        {
            assert!(!is_file(other), "{other}");
        }
    }
}
