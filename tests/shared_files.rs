//! Files that are no valid shared files: each is refused by an error that names the field, or read
//! without what cannot be right.

#![cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]

use core::time::Duration;
use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use tailwatch::shared::{SharedFile, SharedFileProblem, SharedReader};

/// A directory that is removed with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tailwatch-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns a valid small file.
fn valid() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/shared_file");
    let mut seeds: Vec<_> =
        fs::read_dir(folder).unwrap().map(|seed| seed.unwrap().path()).collect();
    seeds.sort();
    fs::read(&seeds[0]).unwrap()
}

/// Replaces the word at this offset.
fn with(offset: usize, value: u64) -> Vec<u8> {
    let mut bytes = valid();
    bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn word(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

/// The offset of a field of the description of the table of this type.
fn of_table(kind: u64, field: usize) -> usize {
    let bytes = valid();
    let index = (0..16).find(|index| word(&bytes, 512 + 40 * index) == kind).unwrap();
    512 + 40 * index + 8 * field
}

/// The offset of a word of a row of the table of this type.
fn of_row(kind: u64, row: usize, at: usize) -> usize {
    let bytes = valid();
    let [offset, stride] =
        [1, 2].map(|field| usize::try_from(word(&bytes, of_table(kind, field))).unwrap());
    offset + stride * row + 8 * at
}

fn open(scratch: &Scratch, bytes: &[u8]) -> Result<SharedFile, SharedFileProblem> {
    let path = scratch.0.join("file");
    fs::write(&path, bytes).unwrap();
    SharedFile::open(path).map_err(|error| error.problem)
}

#[test]
fn a_header_or_table_that_cannot_be_right_is_refused_and_named() {
    let scratch = Scratch::new("refused");
    assert!(open(&scratch, &valid()).is_ok());
    let end = valid().len() as u64;
    for (offset, value, named) in [
        (0, 1, "`TAILWTCH`"),
        (8, 2, "`version` is 2"),
        (8, 1_u64.swap_bytes(), "byte order"),
        (16, 32, "`word_bits` is 32"),
        (24, 64, "`header_bytes` is 64"),
        (32, end + 1, "truncated"),
        (32, 100, "`file_bytes` is 100"),
        (32, u64::MAX, "`file_bytes`"),
        (80, 0, "`state` is 0"),
        (80, 4, "`state` is 4"),
        (96, 3, "`clock_source` is 3"),
        (104, 0, "`clock_mode` is 0"),
        (112, 0, "`clock_hz` is 0"),
        (184, 17, "`table_count` is 17"),
        (184, 0, "no table of events"),
        (of_table(1, 1), 4_097, "`offset` of table"),
        (of_table(1, 1), u64::MAX - 7, "`offset` of table"),
        (of_table(1, 1), 0, "`offset of a table`"),
        (of_table(4, 2), 0, "`stride` of table"),
        (of_table(4, 2), 24, "`stride` of table"),
        (of_table(5, 2), u64::MAX - 7, "`capacity` of table"),
        (of_table(5, 3), u64::MAX, "`capacity` of table"),
        (of_table(5, 3), 60_000, "`capacity` of table"),
        (of_table(5, 4), 1_000, "`published` of table"),
        (of_table(5, 0), 1, "`stride` of table"),
        (of_table(2, 0), 6, "`type` of table"),
        (168, 0, ""),
    ] {
        match open(&scratch, &with(offset, value)) {
            Err(problem) => {
                let message = problem.to_string();
                assert!(!named.is_empty() && message.contains(named), "{offset}: {message}");
            }
            Ok(_) => assert!(named.is_empty(), "{offset} with {value} is accepted, not: {named}"),
        }
    }
    // A control block in the middle of a table.
    let mut bytes = with(168, 4_096);
    bytes[176..184].copy_from_slice(&8_u64.to_le_bytes());
    assert!(open(&scratch, &bytes).is_err());
    for length in [0, 1, 4_095, 4_096, 5_000, valid().len() - 1] {
        let problem = open(&scratch, &valid()[..length]).unwrap_err();
        let is_named = match problem {
            SharedFileProblem::TooShort { bytes } => bytes == length as u64 && length < 4_096,
            SharedFileProblem::Truncated { bytes, .. } => bytes == length as u64,
            _ => false,
        };
        assert!(is_named, "{length}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let scratch = Scratch::new("kinds");
    let fifo = scratch.0.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let link = scratch.0.join("link");
    fs::write(scratch.0.join("target"), valid()).unwrap();
    std::os::unix::fs::symlink(scratch.0.join("target"), &link).unwrap();
    for path in [&scratch.0, &fifo, &link, Path::new("/dev/null"), Path::new("/dev/zero")] {
        let error = SharedFile::open(path).unwrap_err();
        assert!(matches!(error.problem, SharedFileProblem::NotAFile), "{error}");
    }
    let error = SharedFile::open(scratch.0.join("missing")).unwrap_err();
    assert!(matches!(error.problem, SharedFileProblem::Io(_)), "{error}");
}

/// Reads a file to its end. Returns the records that were delivered, those of unknown threads and
/// the rows that cannot be right.
fn read(scratch: &Scratch, bytes: &[u8]) -> (u64, u64, u64) {
    let file = open(scratch, bytes).unwrap();
    assert!(file.flight().is_ok());
    let mut reader = SharedReader::from_oldest(file).unwrap();
    reader.pass().unwrap();
    let health = reader.report().health;
    assert_eq!(health.produced, health.delivered + health.overwritten + health.pending);
    (health.delivered, reader.unknown_records(), reader.invalid_rows())
}

#[test]
fn rows_that_cannot_be_right_cost_no_other_row() {
    let scratch = Scratch::new("rows");
    let (all, unknown, invalid) = read(&scratch, &valid());
    assert!(all > 0 && (unknown, invalid) == (0, 0));
    let end = valid().len() as u64;
    // Events: the number, the unit and the outcomes. Their limits then belong to no event.
    for (at, value) in [(0, 0), (0, 2_048), (0, 7), (1, 3), (2, 0)] {
        let (delivered, unknown, invalid) = read(&scratch, &with(of_row(1, 0, at), value));
        assert_eq!((delivered, unknown), (all, 0), "{at}, {value}");
        assert!((1..=2).contains(&invalid), "{at}, {value}: {invalid}");
    }
    // A name that is not UTF-8 or has control characters is shown escaped.
    let bytes = with(of_row(1, 0, 5), u64::from_le_bytes(*b"\x1b[31m\xff\0\n"));
    assert_eq!(read(&scratch, &bytes), (all, 0, 0));
    // Limits: the event, the kind, and a row that is just being written.
    for (at, value, invalid) in [(2, 0, 1), (3, 9, 1), (0, 3, 0), (4, u64::MAX, 1)] {
        let bytes = with(of_row(3, 0, at), value);
        assert_eq!(read(&scratch, &bytes), (all, 0, invalid), "{at}, {value}");
    }
    // Threads: without its row, the records of a thread are those of an unknown one.
    for (at, value) in [(0, 0), (0, 5), (1, 9), (3, u64::MAX / 2)] {
        let (delivered, unknown, _) = read(&scratch, &with(of_row(5, 0, at), value));
        assert_eq!(delivered, all);
        assert!(unknown > 0, "{at}, {value}");
    }
    // A predecessor that is the row itself, or none.
    for value in [1, 2, 77, u64::MAX] {
        assert_eq!(read(&scratch, &with(of_row(5, 0, 5), value)).0, all);
    }
    // Rings: the place, the capacity and the size.
    for (at, value) in [(0, 0), (0, 4_100), (0, end), (0, u64::MAX - 127), (1, 63), (1, 0), (2, 1)]
    {
        let (delivered, _, invalid) = read(&scratch, &with(of_row(4, 0, at), value));
        assert!(delivered < all && invalid > 0, "{at}, {value}");
    }
    // Counters of a ring that jump.
    let ring = usize::try_from(word(&valid(), of_row(4, 0, 0))).unwrap();
    for (at, value) in [(0, u64::MAX), (0, 1 << 63), (0, 0), (8, 0), (8, u64::MAX), (128, 1 << 63)]
    {
        read(&scratch, &with(ring + at, value));
    }
}

#[test]
fn tables_of_unknown_types_and_longer_rows_are_read() {
    let scratch = Scratch::new("later");
    let (all, ..) = read(&scratch, &valid());
    // Without its type, the table of labels is one that this version does not know.
    assert_eq!(read(&scratch, &with(of_table(2, 0), 99)).0, all);
}

/// Gives the file room for so many rows of this table, at its end. Returns where they are.
fn move_table(bytes: &mut Vec<u8>, kind: u64, rows: usize) -> usize {
    let stride = usize::try_from(word(bytes, of_table(kind, 2))).unwrap();
    let offset = bytes.len().next_multiple_of(8);
    bytes.resize(offset + stride * rows, 0);
    let values = [(1, offset), (3, rows), (4, rows)].map(|(at, value)| (of_table(kind, at), value));
    for (at, value) in values.into_iter().chain([(32, bytes.len())]) {
        bytes[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
    }
    offset
}

#[test]
fn an_event_with_more_labels_than_one_can_have_is_left_out() {
    let scratch = Scratch::new("labels");
    let event = word(&valid(), of_row(1, 0, 0));
    for (labels, left_out) in [(8, false), (9, true), (20_000, true)] {
        let mut bytes = valid();
        let rows = move_table(&mut bytes, 2, labels);
        for (index, row) in bytes[rows..].chunks_exact_mut(288).enumerate() {
            let key = format!("key_{index}");
            row[..8].copy_from_slice(&event.to_le_bytes());
            row[8..16].copy_from_slice(&(key.len() as u64).to_le_bytes());
            row[16..16 + key.len()].copy_from_slice(key.as_bytes());
            row[144..152].copy_from_slice(&1_u64.to_le_bytes());
            row[152] = b'v';
        }
        // Rings lie behind the tables, so there are none.
        let published = of_table(4, 4);
        bytes[published..published + 8].fill(0);
        let flight = open(&scratch, &bytes).unwrap().flight().unwrap();
        let is_there = flight.events.iter().any(|(id, _)| u64::from(id.get()) == event);
        assert_eq!((is_there, flight.invalid_rows > 0), (!left_out, left_out), "{labels}");
    }
}

/// A program that is damaged, or means harm, changes its file while a reader has it open.
#[test]
fn where_the_tables_are_is_read_once() {
    let scratch = Scratch::new("read_once");
    for kind in [1, 2, 3, 4, 5, 6] {
        let file = open(&scratch, &valid()).unwrap();
        let writer = fs::OpenOptions::new().write(true).open(file.path()).unwrap();
        let mut reader = SharedReader::from_oldest(file).unwrap();
        reader.pass().unwrap();
        let before = reader.report().health;
        // The type, the offset, the stride, the capacity and the number of rows.
        for value in [0, 1, u64::MAX] {
            for field in 0..5 {
                let at = of_table(kind, field) as u64;
                writer.write_all_at(&value.to_le_bytes(), at).unwrap();
            }
            reader.pass().unwrap();
            assert_eq!(reader.report().health.delivered, before.delivered, "{kind}, {value}");
            reader.file().flight().unwrap();
        }
    }
}

#[test]
fn there_is_a_pause_between_two_passes_whatever_the_file_says() {
    let scratch = Scratch::new("pause");
    // Without rings, only the file says how long it is.
    let mut bytes = with(of_table(4, 4), 0);
    for period in [0, 1, u64::MAX] {
        bytes[160..168].copy_from_slice(&period.to_le_bytes());
        let mut reader = SharedReader::from_oldest(open(&scratch, &bytes).unwrap()).unwrap();
        let pause = reader.pass().unwrap();
        let sensible = Duration::from_millis(1)..=Duration::from_millis(50);
        assert!(sensible.contains(&pause), "{period}: {pause:?}");
    }
}
