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
}

/// What the thread does once it has written all chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It waits for further chunks.
    Wait,
    /// It flushes the file, and then waits.
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
    /// The number of rows that the thread is writing. `None` while it writes nothing.
    writing: Option<u64>,
    /// What the thread does once it has written all chunks.
    then: Then,
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
        header: [&str; 7],
        patience: Duration,
    ) -> Arc<Self> {
        let mut state = State {
            csv: csv::Writer::from_writer(Vec::new()),
            rows: 0,
            chunks: VecDeque::new(),
            writing: None,
            then: Then::Wait,
            ended: false,
            error: None,
            waited: Duration::ZERO,
            gave_up: false,
            dropped: 0,
        };
        state.format(header);
        let queue = Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), patience });
        let of_thread = Arc::clone(&queue);
        let run = move || of_thread.write_chunks(file);
        if let Err(error) = thread::Builder::new().name("tailwatch-trace".to_owned()).spawn(run) {
            queue.end(Some(error));
        }
        queue
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
    pub(super) fn add(&self, fields: [&str; 7]) {
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
        if state.csv.get_ref().len() >= CHUNK_BYTES && state.chunks.len() < MAX_CHUNKS {
            state.seal();
            self.changed.notify_all();
        }
    }

    /// Returns the number of dropped rows.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits for at most `time` until all rows are written and the file is flushed.
    pub(super) fn finish(&self, time: Duration) -> io::Result<()> {
        let mut state = self.lock();
        state.seal();
        state.then = Then::Flush;
        self.changed.notify_all();
        let mut state = self.wait(state, time, |state| !state.is_finished());
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        if state.ended {
            return Err(io::Error::other(
                "the trace has ended with an error, which an earlier call returned",
            ));
        }
        let is_finished = state.is_finished();
        state.gave_up = !is_finished;
        let waiting: u64 = state.chunks.iter().map(|chunk| chunk.rows).sum();
        let unwritten = waiting + state.writing.unwrap_or(0);
        if is_finished && state.dropped == 0 {
            return Ok(());
        }
        let incomplete = TraceIncomplete { dropped: state.dropped, unwritten, waited: time };
        Err(io::Error::new(io::ErrorKind::TimedOut, incomplete))
    }

    /// Lets the thread end when it has written everything. Waits for that for at most `time`,
    /// unless a call of `finish` has waited in vain already.
    pub(super) fn close(&self, time: Duration) {
        let mut state = self.lock();
        state.seal();
        state.then = Then::Close;
        self.changed.notify_all();
        if !state.gave_up {
            drop(self.wait(state, time, |state| !state.ended));
        }
    }

    /// The body of the thread.
    fn write_chunks(&self, mut file: impl Write) {
        /// Ends the thread's part also if `file` panics.
        struct Panics<'q>(&'q Queue);

        impl Drop for Panics<'_> {
            fn drop(&mut self) {
                let panicked = || io::Error::other("the writer of the trace panicked");
                self.0.end(thread::panicking().then(panicked));
            }
        }

        let _panics = Panics(self);
        if let Err(error) = self.write_until_closed(&mut file) {
            self.end(Some(error));
        }
    }

    fn write_until_closed(&self, file: &mut impl Write) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            if let Some(Chunk { bytes, rows }) = state.chunks.pop_front() {
                state.writing = Some(rows);
                drop(state);
                file.write_all(&bytes)?;
                state = self.lock();
                state.writing = None;
                if !state.is_behind() {
                    state.waited = Duration::ZERO;
                }
            } else if state.then != Then::Wait {
                let then = state.then;
                drop(state);
                file.flush()?;
                if then == Then::Close {
                    return Ok(());
                }
                state = self.lock();
                // Rows that came meanwhile, and a close, need another flush.
                if state.chunks.is_empty() && state.then == Then::Flush {
                    state.then = Then::Wait;
                }
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
        state.seal();
        let waiting: u64 = state.chunks.drain(..).map(|chunk| chunk.rows).sum();
        state.dropped += waiting + state.writing.take().unwrap_or(0);
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

    /// Returns whether everything is written and flushed, or nothing more will be.
    fn is_finished(&self) -> bool {
        self.ended || (self.chunks.is_empty() && self.writing.is_none() && self.then == Then::Wait)
    }

    /// Appends a row.
    fn format(&mut self, fields: [&str; 7]) {
        // Neither fails: all rows have the same number of fields, and a `Vec` takes any bytes.
        let _ = self.csv.write_record(fields);
        let _ = self.csv.flush();
    }

    /// Makes a chunk of the rows that are not in one yet, if there are any.
    fn seal(&mut self) {
        let new = csv::Writer::from_writer(Vec::with_capacity(CHUNK_BYTES));
        let full = mem::replace(&mut self.csv, new);
        // Never fails, because all rows have been flushed.
        let bytes = full.into_inner().unwrap_or_default();
        let rows = mem::take(&mut self.rows);
        if !bytes.is_empty() {
            self.chunks.push_back(Chunk { bytes, rows });
        }
    }
}
