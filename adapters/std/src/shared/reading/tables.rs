//! The header and the tables of a shared file, as a reader finds them: copied and validated once.
//! What the file says later of where its tables are has no effect.

use tailwatch_core::{
    TickRate,
    sync::{Ordering::Acquire, at},
};

use crate::{
    clock::{ClockMode, ClockSource},
    shared::{
        file_error::{FILE_BYTES_WANTED, SharedFileProblem},
        layout::{
            HEADER_WORDS, MAGIC, MAX_FILE_BYTES, MAX_RINGS, MAX_TABLES, VERSION, WORD_BYTES,
            clock_mode, clock_source, event, header, label, limit, ring, table, thread, window,
        },
        words::Words,
    },
};

/// The fields of the header that never change.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) file_bytes: u64,
    pub(super) pid: u64,
    pub(super) process_start: u64,
    pub(super) boot_id: [u8; 16],
    pub(super) created_unix_ns: u64,
    pub(super) started: u64,
    pub(super) clock_source: ClockSource,
    pub(super) clock_mode: ClockMode,
    pub(super) rate: TickRate,
    pub(super) max_period_ns: u64,
    pub(super) name: Vec<u8>,
}

/// Where a table is, all in words: a copy of its description, which was valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct TablePlace {
    /// The position of the number of published rows.
    published: usize,
    first: usize,
    stride: usize,
    /// In rows.
    pub(super) capacity: usize,
}

/// A table of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableView<'m> {
    file: Words<'m>,
    place: TablePlace,
}

/// The tables that a reader knows: where they are, or the tables themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables<T> {
    pub(super) events: T,
    pub(super) labels: Option<T>,
    pub(super) limits: Option<T>,
    pub(super) windows: Option<T>,
    pub(super) rings: T,
    pub(super) threads: T,
    /// Up to where the header, tables and control block reach, in bytes. Rings come behind.
    pub(super) end: u64,
}

/// The tables of a file.
pub(super) type TableViews<'m> = Tables<TableView<'m>>;

/// What a reader requires of a table: its type, the least words of a row, and the largest capacity.
struct Known {
    kind: u64,
    words: usize,
    max_capacity: u64,
}

const KNOWN: [Known; 6] = [
    Known { kind: event::TYPE, words: event::WORDS, max_capacity: 4_096 },
    Known { kind: label::TYPE, words: label::WORDS, max_capacity: 1 << 15 },
    Known { kind: limit::TYPE, words: limit::WORDS, max_capacity: 1 << 17 },
    Known { kind: window::TYPE, words: window::WORDS, max_capacity: 256 },
    Known { kind: ring::TYPE, words: ring::WORDS, max_capacity: MAX_RINGS as u64 },
    Known { kind: thread::TYPE, words: thread::WORDS, max_capacity: 1 << 16 },
];

impl Header {
    /// Reads and checks the header of a file of `bytes` bytes. `words` are at least a header.
    pub(super) fn read(words: Words<'_>, bytes: u64) -> Result<Self, SharedFileProblem> {
        if words.load(header::MAGIC) != MAGIC {
            return Err(SharedFileProblem::NotShared);
        }
        let version = words.load(header::VERSION);
        if version == VERSION.swap_bytes() {
            return Err(SharedFileProblem::OtherByteOrder);
        }
        if version != VERSION {
            return Err(SharedFileProblem::Version { version });
        }
        let field = |field, value, wanted| SharedFileProblem::Field { field, value, wanted };
        let exactly = |name, position: usize, expected: u64, wanted| {
            let value = words.load(position);
            if value == expected { Ok(()) } else { Err(field(name, value, wanted)) }
        };
        exactly("word_bits", header::WORD_BITS, 64, "64")?;
        exactly("header_bytes", header::HEADER_BYTES, 4_096, "4096")?;
        let file_bytes = words.load(header::FILE_BYTES);
        if !(4_096..=MAX_FILE_BYTES).contains(&file_bytes) {
            return Err(field("file_bytes", file_bytes, FILE_BYTES_WANTED));
        }
        if file_bytes > bytes {
            return Err(SharedFileProblem::Truncated { bytes, file_bytes });
        }
        let clock_source = match words.load(header::CLOCK_SOURCE) {
            clock_source::TSC => ClockSource::Tsc,
            clock_source::MONOTONIC => ClockSource::Monotonic,
            value => return Err(field("clock_source", value, "1 or 2")),
        };
        let clock_mode = match words.load(header::CLOCK_MODE) {
            clock_mode::ORDERED => ClockMode::Ordered,
            clock_mode::RELAXED => ClockMode::Relaxed,
            value => return Err(field("clock_mode", value, "1 or 2")),
        };
        let hz = words.load(header::CLOCK_HZ);
        let rate = TickRate::from_hz(hz);
        let rate = rate.ok_or_else(|| field("clock_hz", hz, "the ticks of a clock per second"))?;
        let tables = words.load(header::TABLE_COUNT);
        if tables > MAX_TABLES as u64 {
            return Err(field("table_count", tables, "at most 16"));
        }
        let mut boot_id = [0; 16];
        for (at, bytes) in (header::BOOT_ID..).zip(boot_id.chunks_exact_mut(WORD_BYTES)) {
            bytes.copy_from_slice(&words.load(at).to_le_bytes());
        }
        Ok(Self {
            file_bytes,
            pid: words.load(header::PID),
            process_start: words.load(header::PROCESS_START),
            boot_id,
            created_unix_ns: words.load(header::CREATED_UNIX_NS),
            started: words.load(header::STARTED),
            clock_source,
            clock_mode,
            rate,
            max_period_ns: words.load(header::MAX_PERIOD_NS),
            name: words.load_text(header::NAME),
        })
    }
}

impl<'m> TableView<'m> {
    /// Returns the number of rows that may be read.
    pub(super) fn published(&self) -> usize {
        // Acquire, paired with the Release store of the program: the rows below are visible.
        let published =
            self.file.at(self.place.published).load(at("shared: a look at the rows", Acquire));
        usize::try_from(published).unwrap_or(usize::MAX).min(self.place.capacity)
    }

    /// Returns a row below the capacity.
    ///
    /// # Panics
    /// Panics if there is no such row.
    pub(super) fn row(&self, index: usize) -> Words<'m> {
        let TablePlace { first, stride, capacity, .. } = self.place;
        assert!(index < capacity, "the table has so many rows");
        let row = self.file.part(first + index * stride, stride);
        row.expect("the table was checked to have its rows")
    }
}

impl Tables<TablePlace> {
    /// Reads and checks the descriptions of the tables in this header, of a file of `file_bytes`
    /// bytes.
    pub(super) fn read(words: Words<'_>, file_bytes: u64) -> Result<Self, SharedFileProblem> {
        let mut ranges = vec![(0, HEADER_WORDS as u64 * 8)];
        let mut found = [None; KNOWN.len()];
        // Bounded again, because the header may have changed since it was checked.
        let tables = words.load(header::TABLE_COUNT).min(MAX_TABLES as u64);
        for index in 0..usize::try_from(tables).unwrap_or(MAX_TABLES) {
            let (kind, place, range) = read_table(words, index, file_bytes)?;
            ranges.push(range);
            let Some(at) = KNOWN.iter().position(|known| known.kind == kind) else { continue };
            if found[at].is_some() {
                let wanted = "a type that no other table has";
                let value = kind;
                let field = "type";
                return Err(SharedFileProblem::Table { index, kind, field, value, wanted });
            }
            found[at] = Some(place);
        }
        let control = [header::CONTROL_OFFSET, header::CONTROL_BYTES].map(|at| words.load(at));
        if control[1] > 0 {
            ranges.push((control[0], control[0].saturating_add(control[1])));
        }
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            if pair[0].1 > pair[1].0 {
                let wanted = "an offset behind the header and behind every other table";
                let (field, value) = ("offset of a table", pair[1].0);
                return Err(SharedFileProblem::Field { field, value, wanted });
            }
        }
        let [events, labels, limits, windows, rings, threads] = found;
        let missing = |of| SharedFileProblem::NoTable { of };
        Ok(Self {
            events: events.ok_or_else(|| missing("events"))?,
            labels,
            limits,
            windows,
            rings: rings.ok_or_else(|| missing("rings"))?,
            threads: threads.ok_or_else(|| missing("threads"))?,
            end: ranges.iter().map(|range| range.1).max().unwrap_or_default(),
        })
    }

    /// Returns the tables of a file of which these are the places.
    pub(super) fn of_file(self, file: Words<'_>) -> TableViews<'_> {
        let view = |place| TableView { file, place };
        Tables {
            events: view(self.events),
            labels: self.labels.map(view),
            limits: self.limits.map(view),
            windows: self.windows.map(view),
            rings: view(self.rings),
            threads: view(self.threads),
            end: self.end,
        }
    }
}

/// Reads and checks the description of a table. Returns its type and the bytes from which and up to
/// which it reaches.
fn read_table(
    words: Words<'_>,
    index: usize,
    file_bytes: u64,
) -> Result<(u64, TablePlace, (u64, u64)), SharedFileProblem> {
    let at = header::TABLES + index * table::WORDS;
    // The header has room for 16 of them.
    let Some(description) = words.part(at, table::WORDS) else {
        return Err(SharedFileProblem::TooShort { bytes: words.len() as u64 * 8 });
    };
    let [kind, offset, stride, capacity] =
        [table::TYPE, table::OFFSET, table::STRIDE, table::CAPACITY].map(|at| description.load(at));
    let wrong =
        |field, value, wanted| Err(SharedFileProblem::Table { index, kind, field, value, wanted });
    let known = KNOWN.iter().find(|known| known.kind == kind);
    if offset % 8 != 0 || offset > file_bytes {
        return wrong("offset", offset, "a multiple of 8 in the file");
    }
    let min_stride = known.map_or(8, |known| (known.words * WORD_BYTES) as u64);
    if stride % 8 != 0 || stride < min_stride {
        return wrong("stride", stride, "a multiple of 8 that is at least the size of a known row");
    }
    if known.is_some_and(|known| capacity > known.max_capacity) {
        return wrong("capacity", capacity, "no more than a program can need");
    }
    let bytes = stride.checked_mul(capacity).filter(|bytes| *bytes <= file_bytes - offset);
    let Some(bytes) = bytes else {
        return wrong("capacity", capacity, "no more rows than the file has room for");
    };
    let published = description.load(table::PUBLISHED);
    if published > capacity {
        return wrong("published", published, "at most the capacity");
    }
    // All of these are below the size of the file.
    let words_of = |bytes: u64| usize::try_from(bytes / 8).unwrap_or(usize::MAX);
    let place = TablePlace {
        published: at + table::PUBLISHED,
        first: words_of(offset),
        stride: words_of(stride),
        capacity: usize::try_from(capacity).unwrap_or(usize::MAX),
    };
    Ok((kind, place, (offset, offset + bytes)))
}
