//! A shared file that is open for reading.

#![allow(unsafe_code, reason = "the file is mapped, and its lock looked at")]

use core::{mem, ptr::NonNull, time::Duration};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::Instant,
};

use memmap2::{Advice, Mmap, MmapOptions};
use tailwatch_core::{
    Clock, Ring, WindowSpec,
    sync::{
        Ordering::{Acquire, Relaxed},
        at, fence_at,
    },
};

use super::{
    rows::{self, LimitRow, RingRow, ThreadRow},
    tables::{Header, TablePlace, TableViews, Tables},
    text,
};
use crate::{
    clock::{Anchor, HostClock},
    events::numbers::NamedEvent,
    shared::{
        file_error::{SharedFileError, SharedFileProblem},
        layout::{HEADER_WORDS, WORD_BYTES, anchor, header, state},
        machine,
        words::Words,
    },
};

/// What became of the program of a shared file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileState {
    /// The program is alive, and its collector has not stopped.
    Live,
    /// The program was killed or has aborted, or it ended without stopping its collector.
    Dead,
    /// The collector has stopped.
    Stopped,
    /// The file is a copy of the newest records, which no program has.
    Snapshot,
}

impl core::fmt::Display for FileState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Live => "live",
            Self::Dead => "dead",
            Self::Stopped => "stopped",
            Self::Snapshot => "snapshot",
        })
    }
}

/// What other processes do not see of a program that shares its rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hidden {
    /// Threads with a ring outside the file.
    pub threads: u64,
    /// Records in such rings.
    pub records: u64,
    /// Records that went into no ring.
    pub unregistered: u64,
    /// Records in the file whose thread is not known any more.
    pub unknown_records: u64,
}

/// A shared file that is open for reading: what a program has shared, whether it is alive or not.
///
/// The file is validated when it is opened, and mapped read-only. Nothing in it is trusted: what
/// cannot be right is an error, or is left out and counted.
///
/// If the file is truncated while it is open, an access to the missing part kills this process
/// (SIGBUS). Only its owner and root can do that.
/// [`SharedReader`](crate::shared::SharedReader) checks the size before each pass.
///
/// ```
/// use tailwatch::{Collector, shared::{self, FileState}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().share("doc-file").start()?;
/// let file = shared::find("doc-file")?;
/// assert_eq!((file.state(), file.pid()), (FileState::Live, std::process::id().into()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SharedFile {
    path: PathBuf,
    header: Header,
    tables: Tables<TablePlace>,
    file: File,
    map: Mmap,
}

impl SharedFile {
    /// Opens and validates a file. Waits for nothing.
    ///
    /// # Errors
    /// Returns an error if it is no regular file, cannot be read, or is no valid shared file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SharedFileError> {
        let path = path.as_ref();
        Self::open_file(path).map_err(|problem| SharedFileError::new(path, problem))
    }

    fn open_file(path: &Path) -> Result<Self, SharedFileProblem> {
        // A symbolic link is looked at, not followed: somebody else may have put it there.
        let kind = fs::symlink_metadata(path).map_err(SharedFileProblem::Io)?;
        if !kind.is_file() {
            return Err(SharedFileProblem::NotAFile);
        }
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags).open(path);
        let file = file.map_err(SharedFileProblem::Io)?;
        let metadata = file.metadata().map_err(SharedFileProblem::Io)?;
        if !metadata.is_file() {
            return Err(SharedFileProblem::NotAFile);
        }
        let bytes = metadata.len();
        let header_bytes = HEADER_WORDS * WORD_BYTES;
        if bytes < header_bytes as u64 {
            return Err(SharedFileProblem::TooShort { bytes });
        }
        let map = |len| {
            // SAFETY: only atomic words are accessed through the mapping, so a change by another
            // process is no undefined behaviour. The docs of the type state what truncation does.
            unsafe { MmapOptions::new().len(len).map(&file) }.map_err(SharedFileProblem::Io)
        };
        let first = map(header_bytes)?;
        probe(&first, 0, header_bytes).map_err(SharedFileProblem::Io)?;
        let header = Header::read(words_of(&first)?, bytes)?;
        let tables = Tables::read(words_of(&first)?, header.file_bytes)?;
        let file_bytes = usize::try_from(header.file_bytes).unwrap_or(usize::MAX);
        let map = map(file_bytes)?;
        probe(&map, 0, header_bytes).map_err(SharedFileProblem::Io)?;
        let opened = Self { path: path.to_owned(), header, tables, file, map };
        opened.state_word()?;
        Ok(opened)
    }

    fn words(&self) -> Words<'_> {
        words_of(&self.map).unwrap_or_else(|_| unreachable!("a mapping is not at address 0"))
    }

    /// Returns the tables, which are where they were when the file was opened.
    fn tables(&self) -> TableViews<'_> {
        self.tables.of_file(self.words())
    }

    fn error(&self, problem: SharedFileProblem) -> SharedFileError {
        SharedFileError::new(&self.path, problem)
    }

    /// Returns the path with which the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name under which the program shares. Characters that are invisible or control a
    /// terminal are escaped.
    pub fn program(&self) -> String {
        text::visible(&self.header.name)
    }

    /// Returns the number of the process, in its own namespace.
    pub fn pid(&self) -> u64 {
        self.header.pid
    }

    /// Returns when the process started, in clock ticks since the boot, as `/proc` has it. Together
    /// with [`pid`](Self::pid) and [`boot_id`](Self::boot_id), it identifies the process.
    pub fn process_start(&self) -> u64 {
        self.header.process_start
    }

    /// Returns the identity of the boot of the machine on which the program ran.
    pub fn boot_id(&self) -> [u8; 16] {
        self.header.boot_id
    }

    /// Returns whether the program ran on this machine, since its present boot. Otherwise, its
    /// clock cannot be read here.
    pub fn is_of_this_boot(&self) -> bool {
        machine::boot_id() == Some(self.header.boot_id)
    }

    /// Returns when the collector started, in nanoseconds since 1970.
    pub fn created_unix_ns(&self) -> u64 {
        self.header.created_unix_ns
    }

    /// Returns the number of the user who owns the file.
    ///
    /// # Errors
    /// Returns an error if the operating system refuses to look at the file.
    pub fn uid(&self) -> Result<u32, SharedFileError> {
        Ok(self.metadata()?.uid())
    }

    /// Returns the size of the file in bytes, and how many of them take memory.
    ///
    /// # Errors
    /// Returns an error if the operating system refuses to look at the file.
    pub fn bytes(&self) -> Result<(u64, u64), SharedFileError> {
        let metadata = self.metadata()?;
        Ok((metadata.len(), metadata.blocks() * 512))
    }

    fn metadata(&self) -> Result<fs::Metadata, SharedFileError> {
        self.file.metadata().map_err(|error| self.error(SharedFileProblem::Io(error)))
    }

    /// Returns an error if the file was truncated since it was opened.
    ///
    /// # Errors
    /// See above.
    pub fn check_size(&self) -> Result<(), SharedFileError> {
        let (bytes, file_bytes) = (self.metadata()?.len(), self.header.file_bytes);
        if bytes >= file_bytes {
            return Ok(());
        }
        Err(self.error(SharedFileProblem::Truncated { bytes, file_bytes }))
    }

    fn state_word(&self) -> Result<u64, SharedFileProblem> {
        // Acquire, paired with the Release store at the stop: all that was written is visible.
        let value = self.words().at(header::STATE).load(at("shared: a look at the state", Acquire));
        let is_known = [state::LIVE, state::STOPPED, state::SNAPSHOT].contains(&value);
        let wanted = "1, 2 or 3";
        if is_known {
            Ok(value)
        } else {
            Err(SharedFileProblem::Field { field: "state", value, wanted })
        }
    }

    /// Returns what became of the program: from the lock that it holds while it lives.
    ///
    /// Never blocks. If the operating system does not say whether the file is locked, the program
    /// counts as dead.
    pub fn state(&self) -> FileState {
        match self.state_word() {
            Ok(state::STOPPED) => FileState::Stopped,
            Ok(state::SNAPSHOT) => FileState::Snapshot,
            _ if self.is_locked() => FileState::Live,
            // It may have stopped in the meantime.
            _ if self.state_word().is_ok_and(|state| state == state::STOPPED) => FileState::Stopped,
            _ => FileState::Dead,
        }
    }

    fn is_locked(&self) -> bool {
        // SAFETY: all fields are integers, for which 0 is valid.
        let mut lock: libc::flock = unsafe { mem::zeroed() };
        #[expect(clippy::cast_possible_truncation, reason = "small constants")]
        {
            (lock.l_type, lock.l_whence) = (libc::F_WRLCK as _, libc::SEEK_SET as _);
        }
        // SAFETY: the descriptor is open, and the pointer is to a lock of the type that this
        // command takes.
        let result =
            unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        result == 0 && i32::from(lock.l_type) != libc::F_UNLCK
    }

    /// Returns whether recording is switched on.
    pub fn is_recording(&self) -> bool {
        self.words().load(header::RECORDING) == 1
    }

    /// Returns the time since the last pass of the program's drain. `None` if its clock cannot be
    /// read here.
    pub fn heartbeat_age(&self) -> Option<Duration> {
        let clock = self.is_of_this_boot().then(|| self.clock())?;
        let age = clock.start().saturating_sub(self.words().load(header::HEARTBEAT));
        Some(Duration::from_nanos(clock.rate().nanos_in_ticks(age)))
    }

    /// Returns what other processes do not see of the program.
    pub fn hidden(&self) -> Hidden {
        let words = self.words();
        Hidden {
            threads: words.load(header::HIDDEN_THREADS),
            records: words.load(header::HIDDEN_RECORDS),
            unregistered: words.load(header::UNREGISTERED),
            unknown_records: words.load(header::UNKNOWN_RECORDS),
        }
    }

    /// Returns the clock of the program, which can be read here if it
    /// [ran on this machine](Self::is_of_this_boot).
    pub(crate) fn clock(&self) -> HostClock {
        let Header { clock_source, clock_mode, rate, .. } = self.header;
        HostClock::of_other_process(clock_source, clock_mode, rate)
    }

    /// Returns the tick at which the collector started.
    pub(crate) fn started(&self) -> u64 {
        self.header.started
    }

    /// Returns the longest time for which the program's drain leaves a ring unread.
    pub(crate) fn max_period(&self) -> Duration {
        Duration::from_nanos(self.header.max_period_ns)
    }

    /// Returns the tick of the last pass of the program's drain.
    pub(crate) fn heartbeat(&self) -> u64 {
        self.words().load(header::HEARTBEAT)
    }

    /// Returns the newest moment of which the program has noted both its clock and the wall clock.
    pub(crate) fn anchor(&self) -> Anchor {
        let words = self.words();
        let anchors = [0, 1].map(|index| {
            let first = header::ANCHORS + index * anchor::WORDS;
            // Acquire, paired with the Release store of the end: the fields are visible.
            let end =
                words.at(first + anchor::END).load(at("shared: a look at an anchor", Acquire));
            let (ticks, unix_ns) =
                (words.load(first + anchor::TICKS), words.load(first + anchor::UNIX_NS));
            // Acquire, paired with the Release fence behind the store of the next begin: if a field
            // of the next anchor was loaded, the load below sees that begin.
            fence_at("shared: an anchor was copied", Acquire);
            let begin = words.at(first + anchor::BEGIN).load(Relaxed);
            (end, ticks, unix_ns, begin == end && end > 0)
        });
        let whole = anchors.into_iter().filter(|(.., is_whole)| *is_whole);
        let newest = whole.max_by_key(|(number, ..)| *number);
        // Without one, the start is such a moment as well.
        let start = (self.header.started, self.header.created_unix_ns);
        let (ticks, unix_ns) = newest.map_or(start, |(_, ticks, unix_ns, _)| (ticks, unix_ns));
        Anchor { ticks, monotonic: Instant::now(), unix_ns }
    }

    /// Returns the events in the rows from `from` on, and how many rows cannot be right.
    pub(crate) fn events(&self, from: usize) -> (Vec<NamedEvent>, u64) {
        rows::events(&self.tables(), from)
    }

    /// Returns the largest number of events, and of limits.
    pub(crate) fn capacities(&self) -> (usize, usize) {
        let Tables { events, limits, .. } = self.tables;
        (events.capacity, limits.map_or(0, |limits| limits.capacity))
    }

    /// Returns the number of events.
    pub(crate) fn event_rows(&self) -> usize {
        self.tables().events.published()
    }

    /// Returns the limits that hold, and how many rows cannot be right.
    pub(crate) fn limits(&self) -> (Vec<LimitRow>, u64) {
        rows::limits(&self.tables())
    }

    /// Returns the windows of the program, and how many rows cannot be right.
    pub(crate) fn windows(&self) -> (Vec<WindowSpec>, u64) {
        rows::windows(&self.tables())
    }

    /// Adds the rings that are not among these. A row that cannot be right becomes `None`.
    pub(crate) fn add_rings(&self, rings: &mut Vec<Option<RingRow>>) {
        let known = rings.len();
        rows::add_rings(&self.tables(), self.header.file_bytes, rings);
        for ring in &mut rings[known..] {
            *ring = ring.filter(|row| probe(&self.map, row.offset, row.bytes).is_ok());
        }
    }

    /// Updates copies of all rows of the log of threads.
    pub(crate) fn update_threads(&self, threads: &mut Vec<Option<ThreadRow>>) {
        rows::update_threads(&self.tables(), threads);
    }

    /// Returns a ring of the file.
    pub(crate) fn ring(&self, row: &RingRow) -> &Ring {
        let end = row.offset.checked_add(row.bytes);
        assert!(end.is_some_and(|end| end <= self.map.len()), "the row was validated");
        let start = NonNull::new(self.map.as_ptr().cast_mut()).expect("it is not at address 0");
        // SAFETY: the ring lies in the mapping, which lives as long as `self`. Its offset is a
        // multiple of 128, and the mapping begins at a page. Only readers with positions of their
        // own are attached to it, so the memory need not be writable.
        let ring = unsafe { Ring::from_memory(start.add(row.offset), row.capacity) };
        ring.expect("the row was validated")
    }
}

/// Returns an error if an access to this part would kill the process: because the file was
/// truncated, or because a page would have to be allocated on a full file system.
fn probe(map: &Mmap, offset: usize, bytes: usize) -> io::Result<()> {
    match map.advise_range(Advice::PopulateRead, offset, bytes) {
        // Linux before 5.14 does not know the advice.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// Returns the words of a mapping.
fn words_of(map: &Mmap) -> Result<Words<'_>, SharedFileProblem> {
    let start = NonNull::new(map.as_ptr().cast_mut());
    let start = start.ok_or(SharedFileProblem::Io(io::ErrorKind::AddrNotAvailable.into()))?;
    // SAFETY: the mapping begins at a page, has this size and lives as long as the result. It is
    // accessed only as atomics, and nothing is stored through the result.
    Ok(unsafe { Words::of_mapping(start, map.len()) })
}
