use std::sync::{Mutex, mpsc};

use super::{
    queue::{CHUNK_BYTES, MAX_CHUNKS},
    *,
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_hours(1);

/// A file that keeps what each call writes.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<Vec<u8>>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().concat()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(bytes.to_vec());
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

/// A file whose writes block until the test permits them, each by one message. It no longer blocks
/// once the sender of the permits is gone.
struct Gate {
    permits: mpsc::Receiver<()>,
    /// Gets a message when a write begins.
    begun: mpsc::Sender<()>,
    file: Shared,
}

impl Gate {
    fn new(file: Shared) -> (Self, mpsc::Sender<()>, mpsc::Receiver<()>) {
        let ((permit, permits), (begun, begins)) = (mpsc::channel(), mpsc::channel());
        (Self { permits, begun, file }, permit, begins)
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(());
        let _ = self.permits.recv();
        self.file.write(bytes)
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
        tid: Some(71),
        labels: &Labels::NONE,
    }
}

/// A row of `start("main")`.
const ROW: &str = "order_fill,start,17,,,3,main,71\n";
/// More rows than the queue has room for.
const TOO_MANY: usize = (MAX_CHUNKS + 4) * CHUNK_BYTES / ROW.len();

fn incomplete(error: &io::Error) -> TraceIncomplete {
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TraceIncomplete>());
    *inner.unwrap_or_else(|| panic!("{error:?}"))
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
        tid: None,
        ..start("fills")
    });
    trace.finish().unwrap();
    let expected = "event,kind,start_unix_ns,duration_ns_or_value,outcome,tag,thread,tid\n\
        order_fill,start,17,,,3,\"a, \"\"b\"\"\",71\n\
        order_fill,end_ok,17,250,ok,,fills,\n";
    assert_eq!(file.text(), expected);
    // A trace goes on after `finish`.
    trace.write(&start("main"));
    trace.finish().unwrap();
    assert_eq!(file.text(), expected.to_owned() + ROW);
    assert_eq!(trace.dropped(), 0);
}

#[test]
fn each_call_of_write_gets_whole_rows() {
    let file = Shared::default();
    let trace = TraceWriter::new(file.clone());
    let names: Vec<String> = (0..5_000).map(|length| "x".repeat(length % 97)).collect();
    for name in &names {
        trace.write(&start(name));
    }
    trace.finish().unwrap();
    let calls = file.0.lock().unwrap();
    assert!(calls.len() > 2, "{}", calls.len());
    let mut expected = names.iter().map(|name| format!("order_fill,start,17,,,3,{name},71"));
    for (number, call) in calls.iter().enumerate() {
        let call = str::from_utf8(call).unwrap();
        assert!(call.ends_with('\n'));
        for line in call.lines().skip(usize::from(number == 0)) {
            assert_eq!(Some(line), expected.next().as_deref());
        }
    }
    assert_eq!(expected.next(), None);
}

#[test]
fn finish_returns_the_first_write_error() {
    let trace = TraceWriter::new(Full);
    for _ in 0..40_000 {
        trace.write(&start("a thread with a name to fill the buffer"));
    }
    assert_eq!(trace.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(trace.dropped(), 40_000);
    assert!(trace.finish().unwrap_err().to_string().contains("an earlier call"));
    let trace = TraceWriter::new(Full);
    assert_eq!(trace.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_panic_of_the_file_is_an_error_of_finish() {
    struct Panics;

    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("on purpose")
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let trace = TraceWriter::new(Panics);
    trace.write(&start("main"));
    assert!(trace.finish_within(LONG).unwrap_err().to_string().contains("panicked"));
    assert_eq!(trace.dropped(), 1);
}

#[test]
fn rows_that_do_not_fit_while_the_file_blocks_are_dropped_and_counted() {
    let file = Shared::default();
    let (gate, permits, _begins) = Gate::new(file.clone());
    let trace = TraceWriter::start(gate, Duration::from_millis(1), Placement::default(), None);
    for _ in 0..TOO_MANY {
        trace.write(&start("main"));
    }
    let waited = Duration::from_millis(1);
    let missing = incomplete(&trace.finish_within(waited).unwrap_err());
    assert!(missing.dropped > 0 && missing.unwritten > 0, "{missing:?}");
    assert_eq!((missing.dropped, missing.waited), (trace.dropped(), waited));
    assert_eq!(missing.dropped + missing.unwritten, TOO_MANY as u64);
    assert!(missing.to_string().contains(&format!("{} rows were dropped", missing.dropped)));

    // The file takes the rest, and then rows are kept again.
    drop(permits);
    let finished = TraceIncomplete { unwritten: 0, waited: LONG, ..missing };
    assert_eq!(incomplete(&trace.finish_within(LONG).unwrap_err()), finished);
    trace.write(&start("main"));
    assert_eq!(incomplete(&trace.finish_within(LONG).unwrap_err()), finished);
    let text = file.text();
    let rows: Vec<&str> = text.split_inclusive('\n').skip(1).collect();
    assert!(rows.iter().all(|row| *row == ROW));
    assert_eq!(rows.len() as u64, missing.unwritten + 1);
}

#[test]
fn no_row_is_dropped_while_a_slow_file_makes_progress() {
    let file = Shared::default();
    let (gate, permits, begins) = Gate::new(file.clone());
    let trace = TraceWriter::start(gate, LONG, Placement::default(), None);
    let of_writer = trace.clone();
    let writer = std::thread::spawn(move || {
        for _ in 0..TOO_MANY {
            of_writer.write(&start("main"));
        }
    });
    // Each write blocks until the test has seen it begin.
    while !writer.is_finished() {
        if begins.recv_timeout(Duration::from_millis(1)).is_ok() {
            permits.send(()).unwrap();
        }
    }
    writer.join().unwrap();
    drop(permits);
    trace.finish_within(LONG).unwrap();
    assert_eq!(trace.dropped(), 0);
    assert_eq!(file.text().lines().count(), TOO_MANY + 1);
}

#[test]
fn dropping_the_last_clone_writes_what_waits() {
    let file = Shared::default();
    let trace = TraceWriter::new(file.clone());
    let clone = trace.clone();
    clone.write(&start("main"));
    drop(trace);
    drop(clone);
    assert!(file.text().ends_with(ROW), "{}", file.text());
}

#[test]
fn dropping_a_trace_whose_file_blocks_does_not_wait_again() {
    let (gate, permits, begins) = Gate::new(Shared::default());
    let trace = TraceWriter::new(gate);
    trace.write(&start("main"));
    incomplete(&trace.finish_within(Duration::ZERO).unwrap_err());
    begins.recv().unwrap();
    // Would wait for a permit that comes only after it.
    trace.0.queue.close(LONG);
    drop(permits);
}

/// A file that writes a last part when it is dropped, as an archive does.
struct WithTrailer(Shared);

impl Write for WithTrailer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WithTrailer {
    fn drop(&mut self) {
        self.0.write_all(b"the end").unwrap();
    }
}

#[test]
fn the_file_is_dropped_before_the_drop_of_the_trace_returns() {
    let shared = Shared::default();
    drop(TraceWriter::new(WithTrailer(shared.clone())));
    assert!(shared.text().ends_with("the end"), "{}", shared.text());
}
