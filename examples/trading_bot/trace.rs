//! The trace: one CSV row for every record that the collector delivered.
//!
//! Rows are written on the drain thread, through a buffer. A write that fails ends the trace, not the run: the first
//! error is kept, and the run says so at its end.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tailwatch::{Delivery, Kind, Outcome};

const HEADER: [&str; 7] = ["event", "kind", "start_unix_ns", "duration_ns_or_value", "outcome", "tag", "thread"];

/// Large, because the drain rests while a row is written.
const BUFFER_BYTES: usize = 1 << 20;

/// What is written of a record.
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

/// A trace that the drain thread and the end of the run share.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Mutex<Writer>>);

struct Writer {
    csv: csv::Writer<Box<dyn Write + Send>>,
    error: Option<io::Error>,
}

impl Trace {
    /// Begins a trace with its header.
    pub(crate) fn new(file: impl Write + Send + 'static) -> Self {
        let file: Box<dyn Write + Send> = Box::new(file);
        let csv = csv::WriterBuilder::new().buffer_capacity(BUFFER_BYTES).from_writer(file);
        let mut writer = Writer { csv, error: None };
        let written = writer.csv.write_record(HEADER);
        writer.keep(written);
        Self(Arc::new(Mutex::new(writer)))
    }

    /// Adds a row.
    pub(crate) fn record(&self, delivery: &Delivery<'_>) {
        self.write(&Row {
            event: delivery.event,
            kind: delivery.kind,
            start_unix_ns: delivery.start_unix_ns,
            duration_ns_or_value: delivery.duration_ns_or_value,
            outcome: delivery.outcome,
            tag: delivery.tag,
            thread: delivery.thread,
        });
    }

    fn write(&self, row: &Row<'_>) {
        let mut writer = self.lock();
        if writer.error.is_some() {
            return;
        }
        let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let written = writer.csv.write_record([
            row.event,
            &row.kind.to_string(),
            &row.start_unix_ns.to_string(),
            &number(row.duration_ns_or_value),
            &row.outcome.map_or_else(String::new, |outcome| outcome.to_string()),
            &number(row.tag),
            row.thread,
        ]);
        writer.keep(written);
    }

    /// Writes what is still buffered. The first error of all, if there was one.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let mut writer = self.lock();
        if writer.error.is_none() {
            writer.csv.flush()?;
        }
        writer.error.take().map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        // A panic in between can at worst have cut a row.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn keep(&mut self, written: csv::Result<()>) {
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
    fn a_row_for_each_record_under_the_header() {
        let file = Shared::default();
        let trace = Trace::new(file.clone());
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
    fn an_error_is_kept_to_the_end() {
        let trace = Trace::new(Full);
        for _ in 0..40_000 {
            trace.write(&start("a thread with a name to fill the buffer"));
        }
        assert_eq!(trace.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let trace = Trace::new(Full);
        assert_eq!(trace.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
