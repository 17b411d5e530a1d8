//! The trace: a CSV file with the records that the drain reads.

mod open_tags;
mod queue;

#[cfg(test)]
mod tests;

use core::{fmt, time::Duration};
use std::{
    error,
    io::{self, Write},
    sync::Arc,
};

use tailwatch_core::{Kind, Outcome};

use self::{
    open_tags::OpenTags,
    queue::{PATIENCE, Queue},
};
use crate::{
    events::labels::Labels, observer::Delivery, own_thread::placement::Placement,
    tag_names::TagNames,
};

/// The columns that every trace has.
const HEADER: [&str; 8] =
    ["event", "kind", "start_unix_ns", "duration_ns_or_value", "outcome", "tag", "thread", "tid"];

/// How long [`TraceWriter::finish`] and the drop of the last clone wait for the file.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes a CSV row for every record that the drain reads, except for a tag that the row of its
/// duration contains. Clones write to the same file.
///
/// The two rows of a span take about 100 bytes, so a trace is for an investigation, not for
/// permanent use. A thread named `tailwatch-trace` writes them, and each call of `write` gets whole
/// rows. A failed write ends the trace but not the program; [`finish`](Self::finish) returns the
/// first error.
///
/// # A slow file
///
/// Up to 8 MiB of rows wait for the file. When these are full, the drain waits for room, and
/// records may be overwritten in the rings meanwhile. It waits for 0.5 s in total, until half of
/// the waiting rows have been written. If there is no room after that time, rows are dropped until
/// there is. [`dropped`](Self::dropped) counts them, and `finish` returns an error that names their
/// number. So a trace to a disk is usually complete, and a file that blocks, such as a pipe that
/// nobody reads, keeps neither the drain nor [`Collector::stop`](crate::Collector::stop) from
/// ending.
///
/// # Children
///
/// In a process that was forked from the one that created the trace, nothing is written: rows are
/// ignored, a drop does nothing, and `finish` returns an error of the kind
/// [`Unsupported`](io::ErrorKind::Unsupported).
///
/// # Columns
///
/// The columns are `event,kind,start_unix_ns,duration_ns_or_value,outcome,tag,thread,tid`. The kind
/// is `start`, `end_ok`, `end_error`, `end_cancelled`, `value`, `duration`, `forget`, which is the
/// end of a span without a sample or an interval that would be negative, or `tag`. The other
/// columns are the fields of [`Delivery`]. Durations are converted to nanoseconds exactly as in
/// reports, so a report can be recomputed from a trace.
///
/// The rows that have a tag are those of `start`, those of a `duration` that was recorded with a
/// tag, and those of `tag`: the second tag of an open span, or a tag whose record is gone. The row
/// that ends a span has the tag of its START if that was read before it. The tags of the newest
/// 65,536 open spans are kept. The ENDs of spans of one event that began at the same tick with
/// different tags have no tag; if only one of the STARTs was read before, they may have its tag. A
/// trace [with tag names](Self::with_tag_names) has one more column, `tag_name`, and a trace [with
/// labels](Self::with_labels) has `labels`.
///
/// ```
/// use tailwatch::{Collector, TraceWriter, Trading, measure};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = std::io::sink();
/// let trace = TraceWriter::new(file); // such as `File::create("trace.csv")?`
/// let collector = Collector::builder().observer(trace.observer()).start()?;
/// collector.register_thread("main")?;
/// drop(measure(Trading::CandleProcessing));
/// collector.stop(); // delivers what is still in the rings
/// trace.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TraceWriter(Arc<Handle>);

/// What all clones of a [`TraceWriter`] share.
struct Handle {
    queue: Arc<Queue>,
    last: Option<LastColumn>,
}

/// One more column.
enum LastColumn {
    TagNames(TagNames),
    Labels,
}

impl LastColumn {
    const fn name(&self) -> &'static str {
        match self {
            Self::TagNames(_) => "tag_name",
            Self::Labels => "labels",
        }
    }

    /// Returns the field of a row.
    fn of(&self, row: &Row<'_>) -> String {
        match self {
            Self::TagNames(names) => row.tag.and_then(|tag| names.name(tag)).unwrap_or_default(),
            Self::Labels => row.labels.to_string(),
        }
    }
}

/// The fields of a row, in the order of the columns.
#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    event: &'a str,
    kind: Kind,
    start_unix_ns: u64,
    duration_ns_or_value: Option<u64>,
    outcome: Option<Outcome>,
    tag: Option<u64>,
    thread: &'a str,
    tid: Option<u64>,
    labels: &'a Labels,
}

impl TraceWriter {
    /// Creates a trace, whose first line is the header with the names of the columns, and starts
    /// its thread. If the operating system cannot start the thread, `finish` returns the error.
    pub fn new(file: impl Write + Send + 'static) -> Self {
        Self::start(file, PATIENCE, Placement::default(), None)
    }

    /// Does the same as [`new`](Self::new), with the thread pinned to the core to which the
    /// operating system gives the number `core`. If the operating system does not let it run there,
    /// `finish` returns the error.
    pub fn on_core(file: impl Write + Send + 'static, core: usize) -> Self {
        Self::start(file, PATIENCE, Placement::on_core(core), None)
    }

    /// Does the same as [`new`](Self::new), with one more column: `tag_name`, the text from which
    /// the tag was made. It is empty if the table `names` does not have the text when the drain
    /// reads the record.
    pub fn with_tag_names(file: impl Write + Send + 'static, names: &TagNames) -> Self {
        Self::start(file, PATIENCE, Placement::default(), Some(LastColumn::TagNames(names.clone())))
    }

    /// Does the same as [`new`](Self::new), with one more column: `labels`, the labels of the
    /// event, such as `symbol="BTCUSDT",venue="X"`. In a value, a backslash precedes each quote and
    /// backslash. The name of the event contains them in any trace.
    pub fn with_labels(file: impl Write + Send + 'static) -> Self {
        Self::start(file, PATIENCE, Placement::default(), Some(LastColumn::Labels))
    }

    /// Creates a trace for which the drain waits no longer than `patience`.
    fn start(
        file: impl Write + Send + 'static,
        patience: Duration,
        placement: Placement,
        last: Option<LastColumn>,
    ) -> Self {
        let header: Vec<_> =
            HEADER.into_iter().chain(last.as_ref().map(LastColumn::name)).collect();
        let queue = Queue::start(file, &header, patience, placement);
        Self(Arc::new(Handle { queue, last }))
    }

    /// Returns an observer that writes the rows. Pass it to
    /// [`Builder::observer`](crate::Builder::observer).
    pub fn observer(&self) -> impl FnMut(&Delivery<'_>) + Send + use<> {
        let (trace, mut open) = (self.clone(), OpenTags::default());
        move |delivery| {
            if delivery.is_repeated_tag {
                return;
            }
            trace.write(&Row {
                event: delivery.event,
                kind: delivery.kind,
                start_unix_ns: delivery.start_unix_ns,
                duration_ns_or_value: delivery.duration_ns_or_value,
                outcome: delivery.outcome,
                tag: open.tag(&delivery.record).or(delivery.tag),
                thread: delivery.thread,
                tid: delivery.tid,
                labels: delivery.labels,
            });
        }
    }

    /// Adds a row to those that wait for the file.
    fn write(&self, row: &Row<'_>) {
        let number =
            |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let last = self.0.last.as_ref().map(|last| last.of(row));
        let fields: [&str; HEADER.len() + 1] = [
            row.event,
            &row.kind.to_string(),
            &row.start_unix_ns.to_string(),
            &number(row.duration_ns_or_value),
            &row.outcome.map_or_else(String::new, |outcome| outcome.to_string()),
            &number(row.tag),
            row.thread,
            &number(row.tid),
            last.as_deref().unwrap_or_default(),
        ];
        self.0.queue.add(&fields[..HEADER.len() + usize::from(last.is_some())]);
    }

    /// Returns the number of rows that were dropped, because the file was too slow or a write has
    /// failed. Rows that still wait for the file are not included.
    pub fn dropped(&self) -> u64 {
        self.0.queue.dropped()
    }

    /// Waits until the rows so far are in the file, for at most 5 s. Call it after the collector
    /// has stopped. Dropping the last clone does the same, unless an earlier call has waited in
    /// vain, and ignores the error.
    ///
    /// # Errors
    /// Returns the first error of all writes, which has ended the trace. Otherwise, returns an
    /// error of the kind [`TimedOut`](io::ErrorKind::TimedOut), which contains a
    /// [`TraceIncomplete`], if rows were dropped or are not in the file yet. In each case, the file
    /// lacks rows.
    pub fn finish(&self) -> io::Result<()> {
        self.finish_within(FINISH_TIMEOUT)
    }

    /// Does the same as [`finish`](Self::finish), but waits for at most `time`.
    ///
    /// # Errors
    /// Returns the same errors.
    pub fn finish_within(&self, time: Duration) -> io::Result<()> {
        self.0.queue.finish(time)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A drop cannot return the error. Call `finish` to get it.
        self.queue.close(FINISH_TIMEOUT);
    }
}

impl fmt::Debug for TraceWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceWriter").finish_non_exhaustive()
    }
}

/// The reason why a trace lacks rows, although no write has failed. It is inside the [`io::Error`]
/// that [`TraceWriter::finish`] returns:
///
/// ```
/// use tailwatch::{TraceIncomplete, TraceWriter};
///
/// # let trace = TraceWriter::new(std::io::sink());
/// if let Err(error) = trace.finish() {
///     let incomplete = error.get_ref().and_then(|inner| inner.downcast_ref::<TraceIncomplete>());
///     println!("{} rows are missing", incomplete.map_or(0, |incomplete| incomplete.dropped));
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceIncomplete {
    /// The number of rows that were dropped, because the file was too slow.
    pub dropped: u64,
    /// The number of rows that still waited for the file at the end of the call. They will be
    /// written if the file takes them before the program ends.
    pub unwritten: u64,
    /// The longest time that the call was to wait.
    pub waited: Duration,
}

impl fmt::Display for TraceIncomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dropped, unwritten, waited } = self;
        write!(
            f,
            "the file was too slow: {dropped} rows were dropped, and {unwritten} rows were not \
             written within {waited:?}; write the trace to a faster file"
        )
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for TraceIncomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for TraceIncomplete {}
