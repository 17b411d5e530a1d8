//! The layout of a shared file: where each field is. `docs/shared-file.md` describes what the
//! fields mean.
//!
//! The file consists of *words*: unsigned numbers of 8 bytes, little-endian. All positions here are
//! in words, from the beginning of the file, of a row or of a ring.

/// The bytes of a word.
pub(crate) const WORD_BYTES: usize = 8;

/// The first word: `TAILWTCH`.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"TAILWTCH");
/// The version of the format.
pub(crate) const VERSION: u64 = 1;
/// The size of the header.
pub(crate) const HEADER_WORDS: usize = 512;
/// The largest number of tables.
pub(crate) const MAX_TABLES: usize = 16;
/// The largest number of rings.
pub(crate) const MAX_RINGS: usize = 4_096;
/// The largest size of a file in bytes: more memory than rings can sensibly take. It bounds the
/// time that a reader spends on a file that somebody made up.
pub(crate) const MAX_FILE_BYTES: u64 = 4 << 30;
/// The alignment of a ring in the file, in bytes.
pub(crate) const RING_ALIGN: usize = 128;

/// A text: a word with its length in bytes, and behind it a field of this many words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextField {
    /// The position of the length.
    pub(crate) at: usize,
    /// The words of the field.
    pub(crate) words: usize,
}

impl TextField {
    /// The largest size of a text in bytes.
    pub(crate) const fn max_bytes(self) -> usize {
        self.words * WORD_BYTES
    }
}

/// The fields of the header.
pub(crate) mod header {
    use super::TextField;

    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = 1;
    pub(crate) const WORD_BITS: usize = 2;
    pub(crate) const HEADER_BYTES: usize = 3;
    pub(crate) const FILE_BYTES: usize = 4;
    pub(crate) const PID: usize = 5;
    pub(crate) const PROCESS_START: usize = 6;
    /// Two words.
    pub(crate) const BOOT_ID: usize = 7;
    pub(crate) const CREATED_UNIX_NS: usize = 9;
    pub(crate) const STATE: usize = 10;
    pub(crate) const RECORDING: usize = 11;
    pub(crate) const CLOCK_SOURCE: usize = 12;
    pub(crate) const CLOCK_MODE: usize = 13;
    pub(crate) const CLOCK_HZ: usize = 14;
    pub(crate) const HEARTBEAT: usize = 15;
    pub(crate) const HIDDEN_THREADS: usize = 16;
    pub(crate) const HIDDEN_RECORDS: usize = 17;
    pub(crate) const UNREGISTERED: usize = 18;
    pub(crate) const UNKNOWN_RECORDS: usize = 19;
    pub(crate) const MAX_PERIOD_NS: usize = 20;
    pub(crate) const CONTROL_OFFSET: usize = 21;
    pub(crate) const CONTROL_BYTES: usize = 22;
    pub(crate) const TABLE_COUNT: usize = 23;
    pub(crate) const STARTED: usize = 24;
    /// Two anchors, each of [`ANCHOR_WORDS`](super::anchor::WORDS).
    pub(crate) const ANCHORS: usize = 32;
    pub(crate) const NAME: TextField = TextField { at: 40, words: 16 };
    /// The descriptions of the tables, each of [`WORDS`](super::table::WORDS).
    pub(crate) const TABLES: usize = 64;
}

/// The values of [`header::STATE`].
pub(crate) mod state {
    pub(crate) const LIVE: u64 = 1;
    pub(crate) const STOPPED: u64 = 2;
    pub(crate) const SNAPSHOT: u64 = 3;
}

/// The values of [`header::CLOCK_SOURCE`].
pub(crate) mod clock_source {
    pub(crate) const TSC: u64 = 1;
    pub(crate) const MONOTONIC: u64 = 2;
}

/// The values of [`header::CLOCK_MODE`].
pub(crate) mod clock_mode {
    pub(crate) const ORDERED: u64 = 1;
    pub(crate) const RELAXED: u64 = 2;
}

/// The fields of an anchor.
pub(crate) mod anchor {
    pub(crate) const BEGIN: usize = 0;
    pub(crate) const TICKS: usize = 1;
    pub(crate) const UNIX_NS: usize = 2;
    pub(crate) const END: usize = 3;
    pub(crate) const WORDS: usize = 4;
}

/// The fields of the description of a table.
pub(crate) mod table {
    pub(crate) const TYPE: usize = 0;
    pub(crate) const OFFSET: usize = 1;
    pub(crate) const STRIDE: usize = 2;
    pub(crate) const CAPACITY: usize = 3;
    pub(crate) const PUBLISHED: usize = 4;
    pub(crate) const WORDS: usize = 5;
}

/// The rows of the table of events.
pub(crate) mod event {
    use super::TextField;

    pub(crate) const TYPE: u64 = 1;
    pub(crate) const ID: usize = 0;
    pub(crate) const UNIT: usize = 1;
    pub(crate) const OUTCOMES: usize = 2;
    pub(crate) const EXPECTED_INTERVAL_NS: usize = 3;
    pub(crate) const NAME: TextField = TextField { at: 4, words: 16 };
    pub(crate) const WORDS: usize = 32;

    /// The values of [`UNIT`].
    pub(crate) const TIME: u64 = 1;
    pub(crate) const ONE: u64 = 2;
    /// The values of [`OUTCOMES`].
    pub(crate) const COVERS_OK: u64 = 1;
    pub(crate) const COVERS_ANY: u64 = 2;
}

/// The rows of the table of labels.
pub(crate) mod label {
    use super::TextField;

    pub(crate) const TYPE: u64 = 2;
    pub(crate) const EVENT: usize = 0;
    pub(crate) const KEY: TextField = TextField { at: 1, words: 16 };
    pub(crate) const VALUE: TextField = TextField { at: 18, words: 16 };
    pub(crate) const WORDS: usize = 36;
}

/// The rows of the table of limits.
pub(crate) mod limit {
    use super::TextField;

    pub(crate) const TYPE: u64 = 3;
    pub(crate) const GENERATION: usize = 0;
    pub(crate) const RETIRED: usize = 1;
    pub(crate) const EVENT: usize = 2;
    pub(crate) const KIND: usize = 3;
    pub(crate) const QUANTILE_PPM: usize = 4;
    pub(crate) const MAX: usize = 5;
    pub(crate) const WINDOW_NS: usize = 6;
    pub(crate) const MIN_SAMPLES: usize = 7;
    pub(crate) const RAISE_AFTER_NS: usize = 8;
    pub(crate) const CLEAR_AFTER_NS: usize = 9;
    pub(crate) const ORIGIN: TextField = TextField { at: 10, words: 16 };
    pub(crate) const WORDS: usize = 28;

    /// The values of [`KIND`].
    pub(crate) const QUANTILE: u64 = 1;
    pub(crate) const SILENCE: u64 = 2;
    pub(crate) const ERRORS: u64 = 3;
    /// The value of [`MIN_SAMPLES`] for the number that the quantile needs.
    pub(crate) const AUTO: u64 = u64::MAX;
    /// The value of [`CLEAR_AFTER_NS`] for one slice of the window.
    pub(crate) const ONE_SLICE: u64 = u64::MAX;
}

/// The rows of the table of rings.
pub(crate) mod ring {
    pub(crate) const TYPE: u64 = 4;
    pub(crate) const OFFSET: usize = 0;
    pub(crate) const CAPACITY: usize = 1;
    pub(crate) const BYTES: usize = 2;
    pub(crate) const WORDS: usize = 4;
}

/// The rows of the log of threads.
pub(crate) mod thread {
    use super::TextField;

    pub(crate) const TYPE: u64 = 5;
    pub(crate) const GENERATION: usize = 0;
    pub(crate) const RING: usize = 1;
    pub(crate) const TID: usize = 2;
    pub(crate) const FIRST: usize = 3;
    pub(crate) const LAST: usize = 4;
    pub(crate) const PREDECESSOR: usize = 5;
    pub(crate) const PREDECESSOR_GENERATION: usize = 6;
    pub(crate) const NAME: TextField = TextField { at: 7, words: 8 };
    pub(crate) const WORDS: usize = 16;

    /// The value of [`LAST`] while the thread has the ring.
    pub(crate) const STILL_HAS_IT: u64 = u64::MAX;
}

/// The rows of the table of windows.
pub(crate) mod window {
    pub(crate) const TYPE: u64 = 6;
    pub(crate) const LENGTH_NS: usize = 0;
    pub(crate) const SLICES: usize = 1;
    pub(crate) const WORDS: usize = 2;
}
