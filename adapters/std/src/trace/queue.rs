//! The rows that wait to be written to the file of a trace, and the thread that writes them.
//!
//! The file may be slow or block for ever, such as a pipe that nobody reads. Only the thread waits
//! for it. Whoever adds a row waits for room in the queue, and only for a limited time.

use core::{mem, time::Duration};
use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use super::TraceIncomplete;
use crate::{
    own_thread::{OwnThread, placement::Placement},
    recording::fork,
};

/// The bytes after which rows are passed on to the file.
pub(super) const CHUNK_BYTES: usize = 1 << 16;

/// The number of chunks that may wait: 8 MiB.
pub(super) const MAX_CHUNKS: usize = 128;

/// How long those who add rows wait in total, from when the queue is full until it is half empty.
/// A write to a disk that is busy may be delayed by 0.2 s.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Whole rows, which are written by one call.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// The number of rows, without the header.
    rows: u64,
}

/// A queue of rows, shared by the handles of a trace and its thread.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Notified when anything changes that somebody may wait for.
    changed: Condvar,
    patience: Duration,
    /// How many forks lead to the process that writes the trace. In a child, the lock may be held
    /// for ever, and the rows that wait are those of the parent.
    forks: usize,
}

/// What the thread does once it has written enough rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It goes on.
    Wait,
    /// It flushes the file, and then goes on.
    Flush,
    /// It flushes the file and ends, because no more rows will come.
    Close,
}

#[derive(Debug)]
struct State {
    /// The rows that are not in a chunk yet.
    csv: csv::Writer<Vec<u8>>,
    /// The number of these rows.
    rows: u64,
    chunks: VecDeque<Chunk>,
    /// The numbers of rows that were added, that are in the file, and that were in it when it was
    /// last flushed.
    added: u64,
    written: u64,
    flushed: u64,
    /// What the thread does once it has written the first `flush_at` rows.
    then: Then,
    flush_at: u64,
    /// Whether the thread has ended.
    ended: bool,
    /// The first error, which ended the thread, until `finish` returns it.
    error: Option<io::Error>,
    /// For how long those who add rows have waited since the queue was half empty.
    waited: Duration,
    /// Whether a call of `finish` has not waited long enough.
    gave_up: bool,
    /// The number of rows that are not in the file and never will be.
    dropped: u64,
}

impl Queue {
    /// Creates a queue with the header, and starts the thread that writes to `file`.
    pub(super) fn start(
        file: impl Write + Send + 'static,
        header: &[&str],
        patience: Duration,
        placement: Placement,
    ) -> Arc<Self> {
        let mut state = State {
            csv: csv::Writer::from_writer(Vec::new()),
            rows: 0,
            chunks: VecDeque::new(),
            added: 0,
            written: 0,
            flushed: 0,
            then: Then::Wait,
            flush_at: 0,
            ended: false,
            error: None,
            waited: Duration::ZERO,
            gave_up: false,
            dropped: 0,
        };
        state.format(header);
        let header = mem::replace(&mut state.csv, csv::Writer::from_writer(Vec::new()));
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let queue = Arc::new(Self { state, changed, patience, forks: fork::forks() });
        let of_thread = Arc::clone(&queue);
        // Never fails, because the row has been flushed.
        let header = header.into_inner().unwrap_or_default();
        let run = move || of_thread.write_chunks(&header, file);
        if let Err(error) = OwnThread::spawn("tailwatch-trace", placement, run) {
            queue.end(Some(error.into()));
        }
        queue
    }

    /// Returns whether this process was forked from the one that writes the trace.
    fn is_inherited(&self) -> bool {
        self.forks != fork::forks()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid whenever the lock is released, also by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for at most `time`, until `condition` is false.
    fn wait<'q>(
        &self,
        state: MutexGuard<'q, State>,
        time: Duration,
        condition: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'q, State> {
        let waited = self.changed.wait_timeout_while(state, time, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Adds a row. Waits if the queue is full, for at most the rest of the patience. Drops and
    /// counts the row if the queue is still full then, or if the thread has ended.
    pub(super) fn add(&self, fields: &[&str]) {
        if self.is_inherited() {
            return;
        }
        let mut state = self.lock();
        if state.is_full() && state.waited < self.patience {
            let (since, rest) = (Instant::now(), self.patience.saturating_sub(state.waited));
            state = self.wait(state, rest, |state| state.is_full() && !state.ended);
            // Otherwise the thread has set it to 0.
            if state.is_behind() {
                state.waited += since.elapsed();
            }
        }
        if state.ended || state.is_full() {
            state.dropped += 1;
            return;
        }
        state.format(fields);
        state.rows += 1;
        state.added += 1;
        if state.csv.get_ref().len() >= CHUNK_BYTES && state.chunks.len() < MAX_CHUNKS {
            state.seal();
            self.changed.notify_all();
        }
    }

    /// Returns the number of dropped rows.
    pub(super) fn dropped(&self) -> u64 {
        if self.is_inherited() { 0 } else { self.lock().dropped }
    }

    /// Waits for at most `time` until all rows are written and the file is flushed.
    pub(super) fn finish(&self, time: Duration) -> io::Result<()> {
        if self.is_inherited() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the process from which this one was forked writes the trace; finish it there",
            ));
        }
        let mut state = self.lock();
        let rows = state.added;
        state.flush_at = rows;
        state.then = Then::Flush;
        self.changed.notify_all();
        let is_flushed = |state: &State| state.then != Then::Flush && state.flushed >= rows;
        let mut state = self.wait(state, time, |state| !state.ended && !is_flushed(state));
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        if state.ended {
            return Err(io::Error::other(
                "the trace has ended with an error, which an earlier call returned",
            ));
        }
        let unwritten = rows - state.flushed.min(rows);
        state.gave_up = !is_flushed(&state);
        if !state.gave_up && state.dropped == 0 {
            return Ok(());
        }
        let incomplete = TraceIncomplete { dropped: state.dropped, unwritten, waited: time };
        Err(io::Error::new(io::ErrorKind::TimedOut, incomplete))
    }

    /// Lets the thread end when it has written everything. Waits for that for at most `time`,
    /// unless a call of `finish` has waited in vain already.
    pub(super) fn close(&self, time: Duration) {
        if self.is_inherited() {
            return;
        }
        let mut state = self.lock();
        state.flush_at = state.added;
        state.then = Then::Close;
        self.changed.notify_all();
        if !state.gave_up {
            drop(self.wait(state, time, |state| !state.ended));
        }
    }

    /// The body of the thread.
    fn write_chunks(&self, header: &[u8], mut file: impl Write) {
        /// Ends the thread's part also if `file` panics, when it is used or dropped.
        struct Panics<'q>(&'q Queue);

        impl Drop for Panics<'_> {
            fn drop(&mut self) {
                let panicked = || io::Error::other("the writer of the trace panicked");
                self.0.end(thread::panicking().then(panicked));
            }
        }

        let _panics = Panics(self);
        let written = file.write_all(header).and_then(|()| self.write_until_closed(&mut file));
        // Before the end is noted, because dropping the file may write what it still has.
        drop(file);
        if let Err(error) = written {
            self.end(Some(error));
        }
    }

    fn write_until_closed(&self, file: &mut impl Write) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            let (then, written) = (state.then, state.written);
            if then != Then::Wait && written >= state.flush_at {
                drop(state);
                file.flush()?;
                if then == Then::Close {
                    return Ok(());
                }
                state = self.lock();
                state.flushed = written;
                // Another call may have asked for more in the meantime.
                if state.then == Then::Flush && state.flush_at <= written {
                    state.then = Then::Wait;
                }
            } else if let Some(Chunk { bytes, rows }) = state.chunks.pop_front() {
                drop(state);
                file.write_all(&bytes)?;
                state = self.lock();
                state.written += rows;
                if !state.is_behind() {
                    state.waited = Duration::ZERO;
                }
            } else if then != Then::Wait {
                // The rows that are to be flushed are not in a chunk yet.
                state.seal();
                continue;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            self.changed.notify_all();
        }
    }

    /// Notes that the thread has ended, with an error if it did so before it was closed. The rows
    /// that it has not written are dropped.
    fn end(&self, error: Option<io::Error>) {
        let mut state = self.lock();
        if mem::replace(&mut state.ended, true) {
            return;
        }
        state.chunks.clear();
        state.dropped += state.added - state.written;
        state.error = error;
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
    /// Returns whether there is no room for a row.
    fn is_full(&self) -> bool {
        self.chunks.len() >= MAX_CHUNKS && self.csv.get_ref().len() >= CHUNK_BYTES
    }

    /// Returns whether more than half of the queue waits for the file.
    fn is_behind(&self) -> bool {
        self.chunks.len() > MAX_CHUNKS / 2
    }

    /// Appends a row.
    fn format(&mut self, fields: &[&str]) {
        // Neither fails: all rows have the same number of fields, and a `Vec` takes any bytes.
        let _ = self.csv.write_record(fields);
        let _ = self.csv.flush();
    }

    /// Makes a chunk of the rows that are not in one yet, if there are any and there is room for a
    /// chunk. The thread makes one of the last rows itself.
    fn seal(&mut self) {
        if self.chunks.len() >= MAX_CHUNKS || self.csv.get_ref().is_empty() {
            return;
        }
        let new = csv::Writer::from_writer(Vec::with_capacity(CHUNK_BYTES));
        let full = mem::replace(&mut self.csv, new);
        // Never fails, because all rows have been flushed.
        let mut bytes = full.into_inner().unwrap_or_default();
        bytes.shrink_to_fit();
        let rows = mem::take(&mut self.rows);
        self.chunks.push_back(Chunk { bytes, rows });
    }
}
