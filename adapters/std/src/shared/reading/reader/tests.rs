use std::{fs, os::unix::fs::FileExt, path::PathBuf};

use tailwatch_core::{Outcome, Record, Unit};

use super::*;
use crate::shared::{
    layout::{TextField, WORD_BYTES, event, header, label, ring, table, thread},
    reading::text,
};

/// A file that a test changes as the program would, while a reader has it open.
struct Program {
    path: PathBuf,
    file: fs::File,
}

impl Program {
    /// Creates a file with two empty rings of 8 records, and no thread.
    fn new(name: &str) -> Self {
        let seed =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/shared_file/ba6c7481fc6d");
        let path = std::env::temp_dir().join(format!("tailwatch-{name}-{}", std::process::id()));
        fs::copy(seed, &path).unwrap();
        let file = fs::File::options().read(true).write(true).open(&path).unwrap();
        let program = Self { path, file };
        for index in 0..2 {
            assert_eq!(program.load(program.row(ring::TYPE, index) + ring::CAPACITY), 8);
            for word in 0..256 / WORD_BYTES {
                program.store(program.ring(index) + word, 0);
            }
        }
        for row in 0..3 {
            program.store(program.row(thread::TYPE, row) + thread::GENERATION, 0);
        }
        program
    }

    fn load(&self, word: usize) -> u64 {
        let mut bytes = [0; WORD_BYTES];
        self.file.read_exact_at(&mut bytes, (word * WORD_BYTES) as u64).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn store(&self, word: usize, value: u64) {
        self.file.write_all_at(&value.to_le_bytes(), (word * WORD_BYTES) as u64).unwrap();
    }

    fn load_usize(&self, word: usize) -> usize {
        self.load(word).try_into().unwrap()
    }

    /// Returns the position of the description of a table.
    fn table(&self, kind: u64) -> usize {
        let mut tables = (header::TABLES..).step_by(table::WORDS);
        tables.find(|at| self.load(*at + table::TYPE) == kind).unwrap()
    }

    fn row(&self, kind: u64, index: usize) -> usize {
        let at = self.table(kind);
        let [offset, stride] =
            [table::OFFSET, table::STRIDE].map(|field| self.load_usize(at + field) / WORD_BYTES);
        offset + index * stride
    }

    fn ring(&self, index: usize) -> usize {
        self.load_usize(self.row(ring::TYPE, index) + ring::OFFSET) / WORD_BYTES
    }

    /// Writes a text of at most 8 bytes.
    fn store_text(&self, row: usize, field: TextField, text: &str) {
        let mut bytes = [0; WORD_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        self.store(row + field.at, text.len() as u64);
        self.store(row + field.at + 1, u64::from_le_bytes(bytes));
    }

    /// Writes a row for a thread that has a ring from its first record on.
    fn enter(&self, row: usize, ring: u64, predecessor: u64) {
        let at = self.row(thread::TYPE, row);
        self.store(at + thread::RING, ring);
        self.store(at + thread::FIRST, 0);
        self.store(at + thread::LAST, thread::STILL_HAS_IT);
        self.store(at + thread::PREDECESSOR, predecessor);
        self.store(at + thread::PREDECESSOR_GENERATION, if predecessor > 0 { 2 } else { 0 });
        self.store(at + thread::GENERATION, 2);
    }

    fn push(&self, ring: usize, record: Record) {
        let ring = self.ring(ring);
        let head = self.load_usize(ring);
        self.store(ring + 1, head as u64 + 1);
        let slot = ring + 256 / WORD_BYTES + head % 8 * 2;
        for (at, word) in (slot..).zip(record.words()) {
            self.store(at, word);
        }
        self.store(ring, head as u64 + 1);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[test]
fn a_ring_that_was_lapped_before_its_thread_moved_is_read_first() {
    let program = Program::new("lapped_before_a_move");
    program.enter(0, 0, 0);
    let file = SharedFile::open(&program.path).unwrap();
    let tick = file.heartbeat();
    let (events, _) = file.events(0);
    let event = events.iter().find(|event| event.info.unit == Unit::Time).unwrap().info.id;
    let start = Record::start(tick, event, 0, 1);
    let end = Record::end(tick, event, 0, Outcome::Ok, 0);
    let mut reader = SharedReader::from_oldest(file).unwrap();
    for _ in 0..2 {
        program.push(0, start);
        program.push(0, end);
    }
    reader.pass().unwrap();

    // A pass in which a thread overwrites its ring and moves between two refreshes.
    reader.rings[0].as_mut().unwrap().refresh();
    for _ in 0..10 {
        program.push(0, start);
        program.push(0, end);
    }
    program.push(0, start);
    let last = program.row(thread::TYPE, 0) + thread::LAST;
    program.store(last, program.load(program.ring(0)));
    program.enter(1, 1, 1);
    program.push(1, end);
    reader.rings[1].as_mut().unwrap().refresh();
    reader.file.update_threads(&mut reader.threads);
    let now = reader.now(None);
    reader.drain.begin_pass(now);
    reader.read_rings();
    reader.drain.end_pass(now.ticks);
    let pending = |reader: &SharedReader| -> Vec<_> {
        reader.rings.iter().flatten().map(|ring| ring.reader.pending()).collect()
    };
    assert_eq!(pending(&reader), [0, 0], "records in the former and in the later ring");

    reader.pass().unwrap();
    let report = reader.report();
    let health = &report.health;
    assert_eq!((health.produced, health.pending), (26, 0), "{health:?}");
    assert_eq!(health.produced, health.delivered + health.overwritten, "{health:?}");
}

#[test]
fn the_name_of_an_event_that_is_left_out_is_not_kept() {
    let program = Program::new("name_not_kept");
    let (event_row, label_row) = (program.row(event::TYPE, 0), program.row(label::TYPE, 0));
    program.store(label_row + label::EVENT, program.load(event_row + event::ID));
    program.store_text(label_row, label::VALUE, "v");
    // The second key is one that no label can have.
    for (name, key, name_in_full) in [("kept_1", "key", "kept_1{key=\"v\"}"), ("kept_2", "le", "")]
    {
        program.store_text(event_row, event::NAME, name);
        program.store_text(label_row, label::KEY, key);
        let (events, invalid) = SharedFile::open(&program.path).unwrap().events(0);
        let is_valid = !name_in_full.is_empty();
        assert_eq!(events.iter().any(|event| event.info.name == name_in_full), is_valid, "{name}");
        assert_eq!((invalid == 0, text::is_kept(name)), (is_valid, is_valid), "{name}");
        assert!(!text::is_kept("kept_2{le=\"v\"}"));
    }
}
