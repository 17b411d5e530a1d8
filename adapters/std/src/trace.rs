//! The trace: a CSV file with a row for every record that the drain reads.

use core::fmt;
use std::{
    io::{self, Write},
    sync::Arc,
};

use tailwatch_core::{Kind, Outcome};

use crate::{
    observer::Delivery,
    sync::{Mutex, lock},
};

const HEADER: [&str; 7] =
    ["event", "kind", "start_unix_ns", "duration_ns_or_value", "outcome", "tag", "thread"];

/// The size of the write buffer. It is large so that the drain, which waits while the buffer is
/// written to the file, has to wait rarely.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes a CSV row for every record that the drain reads. Clones write to the same file.
///
/// The thread that drains writes the rows, through a buffer of 1 MiB. While it waits for a slow
/// file, it reads no rings, so records may be overwritten. The two rows of a span take about 100
/// bytes, so a trace is for an investigation, not for permanent use. A failed write ends the trace
/// but not the program; [`finish`](Self::finish) returns the first error.
///
/// The columns are `event,kind,start_unix_ns,duration_ns_or_value,outcome,tag,thread`. The kind is
/// `start`, `end_ok`, `end_error`, `end_cancelled`, `value`, `duration` or `forget`, which is the
/// end of a span without a sample. The other columns are the fields of [`Delivery`]. Durations are
/// converted to nanoseconds exactly as in reports, so a report can be recomputed from a trace. Only
/// `start` rows have a tag.
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
pub struct TraceWriter(Arc<Mutex<Writer>>);

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
}

/// What all clones of a [`TraceWriter`] share.
struct Writer {
    csv: csv::Writer<Box<dyn Write + Send>>,
    /// The first error of a write. No row is written after it.
    error: Option<io::Error>,
}

impl TraceWriter {
    /// Creates a trace and writes the header, one line with the names of the columns.
    pub fn new(file: impl Write + Send + 'static) -> Self {
        let file: Box<dyn Write + Send> = Box::new(file);
        let csv = csv::WriterBuilder::new().buffer_capacity(BUFFER_BYTES).from_writer(file);
        let mut writer = Writer { csv, error: None };
        let written = writer.csv.write_record(HEADER);
        writer.note_error(written);
        Self(Arc::new(Mutex::new(writer)))
    }

    /// Returns an observer that writes the rows. Pass it to
    /// [`Builder::observer`](crate::Builder::observer).
    pub fn observer(&self) -> impl FnMut(&Delivery<'_>) + Send + use<> {
        let trace = self.clone();
        move |delivery| {
            trace.write(&Row {
                event: delivery.event,
                kind: delivery.kind,
                start_unix_ns: delivery.start_unix_ns,
                duration_ns_or_value: delivery.duration_ns_or_value,
                outcome: delivery.outcome,
                tag: delivery.tag,
                thread: delivery.thread,
            });
        }
    }

    /// Writes a row, unless an earlier write has failed.
    fn write(&self, row: &Row<'_>) {
        let mut writer = lock(&self.0);
        if writer.error.is_some() {
            return;
        }
        let number =
            |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let written = writer.csv.write_record([
            row.event,
            &row.kind.to_string(),
            &row.start_unix_ns.to_string(),
            &number(row.duration_ns_or_value),
            &row.outcome.map_or_else(String::new, |outcome| outcome.to_string()),
            &number(row.tag),
            row.thread,
        ]);
        writer.note_error(written);
    }

    /// Writes the rows that are still in the buffer. Call it after the collector has stopped.
    ///
    /// # Errors
    /// Returns the first error of all writes. If there is one, the file lacks rows.
    pub fn finish(&self) -> io::Result<()> {
        let mut writer = lock(&self.0);
        if writer.error.is_none() {
            writer.csv.flush()?;
        }
        writer.error.take().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for TraceWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceWriter").finish_non_exhaustive()
    }
}

impl Writer {
    /// Keeps the error of a write if it is the first one.
    fn note_error(&mut self, written: csv::Result<()>) {
        if let Err(error) = written {
            self.error.get_or_insert_with(|| match error.into_kind() {
                csv::ErrorKind::Io(error) => error,
                kind => io::Error::other(format!("{kind:?}")),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(thread: &str) -> Row<'_> {
        Row {
            event: "order_fill",
            kind: Kind::Start,
            start_unix_ns: 17,
            duration_ns_or_value: None,
            outcome: None,
            tag: Some(3),
            thread,
        }
    }

    #[test]
    fn each_record_has_a_row_below_the_header() {
        let file = Shared::default();
        let trace = TraceWriter::new(file.clone());
        trace.write(&start("a, \"b\""));
        trace.write(&Row {
            kind: Kind::EndOk,
            duration_ns_or_value: Some(250),
            outcome: Some(Outcome::Ok),
            tag: None,
            ..start("fills")
        });
        trace.finish().unwrap();
        let text = String::from_utf8(file.0.lock().unwrap().clone()).unwrap();
        let expected = "event,kind,start_unix_ns,duration_ns_or_value,outcome,tag,thread\n\
            order_fill,start,17,,,3,\"a, \"\"b\"\"\"\n\
            order_fill,end_ok,17,250,ok,,fills\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn finish_returns_the_first_write_error() {
        let trace = TraceWriter::new(Full);
        for _ in 0..40_000 {
            trace.write(&start("a thread with a name to fill the buffer"));
        }
        assert_eq!(trace.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let trace = TraceWriter::new(Full);
        assert_eq!(trace.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
