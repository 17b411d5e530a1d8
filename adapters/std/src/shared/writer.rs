//! The writer: shares the rings of a collector in a file.
//!
//! The file is created without a name. The collector takes its rings from it and writes its tables.
//! Then the file gets its name, so whoever finds it finds it complete.

#![allow(unsafe_code, reason = "rings in a mapping that an `Arc` keeps")]

pub(crate) mod lock;
mod mapping;
mod place;
mod ring_area;
mod table;
mod tables;
mod thread_log;

use core::{
    mem,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize},
    time::Duration,
};
use std::{fs::File, io, path::Path, sync::Arc};

use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use tailwatch_core::{
    Clock, EventId, Limit, Ring, WindowSpec,
    sync::{
        Ordering::{Relaxed, Release},
        at, fence_at,
    },
};

use self::{
    lock::FileLock,
    mapping::Mapping,
    place::{Place, Unnamed},
    ring_area::RingArea,
    tables::Tables,
    thread_log::ThreadLog,
};
use super::{
    layout::{
        HEADER_WORDS, MAGIC, MAX_FILE_BYTES, VERSION, WORD_BYTES, anchor, clock_mode, clock_source,
        header, state,
    },
    machine,
    share_error::ShareError,
    words::Words,
};
use crate::{
    clock::{Anchor, ClockMode, ClockSource, HostClock, nanos},
    events::numbers::NamedEvent,
    recording::{fork, identity::Identity, ring_budget::Purpose, ring_settings::RingSettings},
    sync::{Mutex, lock as locked},
};

/// What a program shares, and where.
#[derive(Clone, Debug)]
pub(crate) struct ShareSpec {
    /// A name, or a path that ends in one.
    pub(crate) share: String,
    /// The largest size of the file.
    pub(crate) bytes: usize,
    /// Whether the file stays when the collector stops.
    pub(crate) keep: bool,
    /// How many files of dead programs of this name stay.
    pub(crate) keep_dead: usize,
}

/// How much there is to share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShareSizes {
    /// The largest number of events.
    pub(crate) events: usize,
    /// The largest number of limits.
    pub(crate) limits: usize,
    /// The number of windows.
    pub(crate) windows: usize,
    pub(crate) rings: RingSettings,
}

/// A shared file and its contents, in the program that shares it.
#[derive(Debug)]
pub(crate) struct Share {
    words: Words<'static>,
    tables: Mutex<Tables>,
    log: ThreadLog,
    area: Mutex<RingArea>,
    /// Whether a thread without a ring may get one from the file, as of the last look.
    has_room: AtomicBool,
    /// How many bytes of the file are in use.
    in_use: AtomicUsize,
    /// The capacity of a thread's first ring.
    first_capacity: usize,
    hidden_threads: AtomicU64,
    /// That number in the header.
    shown_hidden_threads: &'static AtomicU64,
    /// The number of anchors that were written.
    anchors: AtomicU64,
    place: Place,
    /// `None` once the file has its name.
    unnamed: Mutex<Option<Unnamed>>,
    keep: bool,
    lock: FileLock,
    /// How many forks lead to the process that shares the file.
    forks: usize,
    /// Whether the file was given up: the collector has stopped, or never started.
    is_over: AtomicBool,
    file: File,
    // Dropped last: everything above refers to it.
    mapping: Mapping,
}

impl Share {
    /// Creates the file, without its name and with empty tables.
    pub(crate) fn create(
        spec: &ShareSpec,
        sizes: &ShareSizes,
        clock: HostClock,
    ) -> Result<Arc<Self>, ShareError> {
        let (pid, start) = (std::process::id(), machine::process_start().unwrap_or(0));
        let place = Place::new(&spec.share, pid, start)?;
        let page = rustix::param::page_size();
        let ring_specs = Tables::specs(sizes, spec.bytes);
        let table_words: usize = ring_specs.iter().map(table::TableSpec::all_words).sum();
        let first_ring = ((HEADER_WORDS + table_words) * WORD_BYTES).next_multiple_of(page);
        let ring_bytes = Ring::layout(sizes.rings.capacity).map_or(usize::MAX, |ring| ring.size());
        let needed = ring_bytes.next_multiple_of(page).saturating_add(first_ring);
        if spec.bytes as u64 > MAX_FILE_BYTES {
            return Err(ShareError::TooLarge { share_bytes: spec.bytes });
        }
        if spec.bytes < needed {
            return Err(ShareError::TooSmall { share_bytes: spec.bytes, needed });
        }
        place.check_free()?;
        place.remove_older(spec.keep_dead);
        place.check_room(spec.bytes)?;

        let failed = |step| {
            let path = place.directory.clone();
            move |source: io::Error| ShareError::File { path, step, source }
        };
        let unnamed = place.create()?;
        let file = unnamed.file.try_clone().map_err(failed("open a file in"))?;
        let bytes = spec.bytes / page * page;
        ftruncate(&file, bytes as u64)
            .map_err(|e| failed("set the size of a file in")(e.into()))?;
        // Otherwise a write into the tables could kill the program when the file system is full.
        fallocate(&file, FallocateFlags::empty(), 0, first_ring as u64)
            .map_err(|error| failed("allocate a file in")(error.into()))?;
        let lock = FileLock::take(&file)
            .map_err(|source| ShareError::NoLock { path: place.directory.clone(), source })?;
        let mapping = Mapping::new(&file, bytes).map_err(failed("map a file in"))?;
        // SAFETY: the mapping is dropped with `Self`, after everything that has its words. What
        // leaves `Self`, the rings, is kept with an `Arc` of it.
        let words = unsafe { mapping.words() };
        let (tables, [rings, threads]) = Tables::describe(words, ring_specs);
        let share = Self {
            words,
            tables: Mutex::new(tables),
            log: ThreadLog::new(threads),
            area: Mutex::new(RingArea::new(rings, first_ring, bytes)),
            has_room: AtomicBool::new(true),
            in_use: AtomicUsize::new(first_ring),
            first_capacity: sizes.rings.capacity,
            hidden_threads: AtomicU64::new(0),
            shown_hidden_threads: words.at(header::HIDDEN_THREADS),
            anchors: AtomicU64::new(0),
            place,
            unnamed: Mutex::new(Some(unnamed)),
            keep: spec.keep,
            lock,
            forks: fork::forks(),
            is_over: AtomicBool::new(false),
            file,
            mapping,
        };
        share.write_header(pid, start, bytes, clock);
        Ok(Arc::new(share))
    }

    fn write_header(&self, pid: u32, start: u64, bytes: usize, clock: HostClock) {
        let words = self.words;
        words.store(header::MAGIC, MAGIC);
        words.store(header::VERSION, VERSION);
        words.store(header::WORD_BITS, u64::BITS.into());
        words.store(header::HEADER_BYTES, (HEADER_WORDS * WORD_BYTES) as u64);
        words.store(header::FILE_BYTES, bytes as u64);
        words.store(header::PID, pid.into());
        words.store(header::PROCESS_START, start);
        let boot_id = machine::boot_id().unwrap_or_default();
        for (at, bytes) in (header::BOOT_ID..).zip(boot_id.chunks_exact(WORD_BYTES)) {
            words.store(at, u64::from_le_bytes(bytes.try_into().unwrap_or_default()));
        }
        words.store(header::STATE, state::LIVE);
        words.store(
            header::CLOCK_SOURCE,
            match clock.source() {
                ClockSource::Tsc => clock_source::TSC,
                ClockSource::Monotonic => clock_source::MONOTONIC,
            },
        );
        words.store(
            header::CLOCK_MODE,
            match clock.mode() {
                ClockMode::Ordered => clock_mode::ORDERED,
                ClockMode::Relaxed => clock_mode::RELAXED,
            },
        );
        words.store(header::CLOCK_HZ, clock.rate().hz());
        words.store_text(header::NAME, &self.place.name);
    }

    /// Writes what the drain reads at its start: when that was, its windows and how long it pauses.
    pub(crate) fn begin(&self, started: &Anchor, windows: &[WindowSpec], max_period: Duration) {
        self.words.store(header::CREATED_UNIX_NS, started.unix_ns);
        self.words.store(header::STARTED, started.ticks);
        self.words.store(header::MAX_PERIOD_NS, nanos(max_period));
        locked(&self.tables).set_windows(windows);
        self.note_pass(started, &PassCounts { is_recording: true, ..PassCounts::default() });
    }

    /// Gives the file its name, once its tables are complete.
    ///
    /// # Errors
    /// Returns an error if a live program has the name, or if the operating system refuses it.
    pub(crate) fn publish(&self) -> Result<(), ShareError> {
        let Some(mut unnamed) = locked(&self.unnamed).take() else { return Ok(()) };
        self.place.give_name(&mut unnamed)
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.place.path
    }

    /// Returns whether the file is on a disk, whose writes can stall the program.
    pub(crate) fn is_on_disk(&self) -> bool {
        /// The types of `tmpfs`, `ramfs` and `hugetlbfs`.
        const IN_MEMORY: [i64; 3] = [0x0102_1994, 0x8584_58f6, 0x9584_58f6];
        rustix::fs::fstatfs(&self.file).is_ok_and(|stat| !IN_MEMORY.contains(&stat.f_type))
    }

    /// Takes a ring of this capacity from the file. Returns `None` if there is no room for it.
    pub(crate) fn ring(self: &Arc<Self>, capacity: usize, purpose: Purpose) -> Option<SharedRing> {
        let mut area = locked(&self.area);
        let index = area.take(capacity, purpose, &self.file, &self.mapping);
        let offset = index.map(|index| area.offset(index));
        let has_room = index.is_some() && area.fits(self.first_capacity, Purpose::First);
        if index.is_some() || purpose == Purpose::First {
            self.has_room.store(has_room, Relaxed);
        }
        self.in_use.store(area.bytes_in_use(), Relaxed);
        drop(area);
        let (index, offset) = index.zip(offset)?;
        // SAFETY: `SharedRing` keeps `Self` and therefore the mapping. The area has made the ring.
        let ring = unsafe { self.mapping.ring(offset, capacity) };
        let reserved = (purpose == Purpose::Growth).then(|| self.reserve_row()).flatten();
        Some(SharedRing {
            ring,
            head: self.words.at(offset / WORD_BYTES),
            index,
            offset,
            reserved,
            is_entered: AtomicBool::new(false),
            share: Arc::clone(self),
        })
    }

    /// Returns whether a thread without a ring may get one from the file.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room.load(Relaxed)
    }

    fn reserve_row(&self) -> Option<usize> {
        let area = locked(&self.area);
        let whole_from = |index: usize| {
            let head = self.words.load(area.offset(index) / WORD_BYTES);
            head.saturating_sub(area.ring_capacity(index) as u64)
        };
        let taken = self.log.reserve(whole_from)?;
        self.words.at(header::UNKNOWN_RECORDS).fetch_add(taken.unknown_records, Relaxed);
        Some(taken.row)
    }

    /// Counts a thread whose ring is not in the file.
    pub(crate) fn count_hidden_thread(&self) {
        let hidden = self.hidden_threads.fetch_add(1, Relaxed) + 1;
        self.shown_hidden_threads.fetch_max(hidden, Relaxed);
    }

    /// Returns how many threads had a ring that is not in the file.
    pub(crate) fn hidden_threads(&self) -> u64 {
        self.hidden_threads.load(Relaxed)
    }

    /// Returns how many records lost the entry of their thread.
    pub(crate) fn unknown_records(&self) -> u64 {
        self.words.load(header::UNKNOWN_RECORDS)
    }

    /// Returns how many bytes of memory the file takes.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.in_use.load(Relaxed)
    }

    /// Adds an event, with its labels.
    pub(crate) fn add_event(&self, event: &NamedEvent) {
        locked(&self.tables).add_event(event);
    }

    /// Replaces the limits of an event, each with where it was set.
    pub(crate) fn set_limits(&self, event: EventId, limits: &[(Limit, Arc<str>)]) {
        locked(&self.tables).set_limits(event, limits);
    }

    /// Notes a pass of the drain, at the time of `now`.
    pub(crate) fn note_pass(&self, now: &Anchor, counts: &PassCounts) {
        let words = self.words;
        words.store(header::RECORDING, counts.is_recording.into());
        words.store(header::HIDDEN_RECORDS, counts.hidden_records);
        words.store(header::UNREGISTERED, counts.unregistered);
        words.store(header::HEARTBEAT, now.ticks);
        // Only the drain calls this, under its lock.
        let number = self.anchors.load(Relaxed) + 1;
        self.anchors.store(number, Relaxed);
        let first = header::ANCHORS + (number % 2) as usize * anchor::WORDS;
        words.store(first + anchor::BEGIN, number);
        // Release, paired with the Acquire fence of a reader behind its copy: one that has copied a
        // field of this anchor also sees its begin.
        fence_at("shared: an anchor is begun", Release);
        words.store(first + anchor::TICKS, now.ticks);
        words.store(first + anchor::UNIX_NS, now.unix_ns);
        // Release, paired with the Acquire load with which a reader begins: it sees the fields.
        words.at(first + anchor::END).store(number, at("shared: an anchor is complete", Release));
    }

    /// Marks the file as that of a stopped collector, and removes it unless it is to stay. Does
    /// nothing in a forked child, whose parent has the file.
    pub(crate) fn finish(&self) {
        if self.forks != fork::forks() || self.is_over.swap(true, Relaxed) {
            return;
        }
        self.words.store(header::RECORDING, 0);
        // Release, paired with the Acquire load of readers: they then see all that was written.
        self.words.at(header::STATE).store(state::STOPPED, at("shared: stopped", Release));
        let is_named = locked(&self.unnamed).take().is_none();
        if is_named && !self.keep {
            place::remove(&self.place.path, &self.file);
        }
        self.lock.release();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // A collector that could not start has not stopped.
        self.finish();
        if self.forks != fork::forks() {
            // A temporary file belongs to the parent.
            mem::forget(locked(&self.unnamed).take());
        }
    }
}

/// What a pass of the drain has counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PassCounts {
    pub(crate) is_recording: bool,
    pub(crate) hidden_records: u64,
    pub(crate) unregistered: u64,
}

/// A ring of the file that somebody has. It goes back to the file when it is dropped.
#[derive(Debug)]
pub(crate) struct SharedRing {
    ring: &'static Ring,
    /// The `head` of the ring.
    head: &'static AtomicU64,
    index: usize,
    offset: usize,
    /// The row for the thread that moves to this ring.
    reserved: Option<usize>,
    /// Whether the thread has moved to this ring.
    is_entered: AtomicBool,
    share: Arc<Share>,
}

impl SharedRing {
    pub(crate) fn ring(&self) -> &Ring {
        self.ring
    }

    /// Locks the ring in memory.
    pub(crate) fn lock(&self) -> io::Result<()> {
        let bytes = Ring::layout(self.ring.capacity()).map_or(0, |layout| layout.size());
        self.share.mapping.lock(self.offset, bytes)
    }

    /// Notes that a thread has this ring from now on.
    pub(crate) fn enter(&self, thread: &Identity) -> Option<usize> {
        let row = self.share.reserve_row()?;
        self.share.log.enter(row, self.index, thread, self.head());
        Some(row)
    }

    /// Notes that the thread of this row leaves the ring.
    pub(crate) fn leave(&self, row: usize) {
        self.share.log.leave(row, self.head());
    }

    /// Notes that the thread of the row `from` moves from this ring to another one. Returns its row
    /// there. Wait-free.
    pub(crate) fn go_on(&self, from: Option<usize>, to: &Self) -> Option<usize> {
        let from = from?;
        let Some(reserved) = to.reserved else {
            self.leave(from);
            return None;
        };
        to.is_entered.store(true, Relaxed);
        self.share.log.go_on(from, reserved, to.index, self.head(), to.head());
        Some(reserved)
    }

    /// Notes that the thread of this row moves to a ring outside the file.
    pub(crate) fn hide(&self, row: Option<usize>) {
        if let Some(row) = row {
            self.leave(row);
        }
        self.share.count_hidden_thread();
    }

    /// Returns the sequence number of the next record.
    fn head(&self) -> u64 {
        self.head.load(Relaxed)
    }
}

impl Drop for SharedRing {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.filter(|_| !self.is_entered.load(Relaxed)) {
            self.share.log.give_back(reserved);
        }
        let mut area = locked(&self.share.area);
        area.give_back(self.index);
        self.share.has_room.store(area.fits(self.share.first_capacity, Purpose::First), Relaxed);
    }
}
