//! The reporter, the trace, the hiccup probe, and the difference between two reports.

mod support;

use core::time::Duration;
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread::{self, ThreadId},
};

use serde_json::Value;
use support::{MemoryFile, current_tid, in_turn, until, without_hanging};
use tailwatch::{
    Accuracy, Collector, Event, EventId, HiccupError, HiccupProbe, Outcome, RegisterError, Report,
    Reporter, TraceWriter, Trading, measure, measure_tagged, record_duration, record_value,
};

const INTERVAL: Duration = Duration::from_millis(2);
/// Longer than any test takes.
const NEVER: Duration = Duration::from_hours(1);

#[test]
fn reports_come_periodically_and_the_last_one_is_complete() {
    let _turn = in_turn();
    without_hanging(|| {
        let file = MemoryFile::default();
        let collector = Collector::builder().start().unwrap();
        collector.register_thread("main").unwrap();
        let reporter = Reporter::json_lines(&collector, INTERVAL, file.clone()).unwrap();
        until(|| file.text().lines().count() >= 5);
        (0..7).for_each(|_| drop(measure(Trading::OrderFill)));
        collector.stop();
        reporter.stop().unwrap();
        let reports: Vec<Value> = file
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect();
        let uptimes: Vec<_> =
            reports.iter().map(|report| report["uptime_ns"].as_u64().unwrap()).collect();
        assert!(uptimes.is_sorted(), "{uptimes:?}");
        let last = reports.last().unwrap();
        assert_eq!(
            (&last["events"][3]["total"]["count"], &last["health"]["pending"]),
            (&7.into(), &0.into())
        );
    });
}

#[test]
fn dropping_a_reporter_writes_a_last_table() {
    let _turn = in_turn();
    let file = MemoryFile::default();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    let reporter = Reporter::table(&collector, NEVER, file.clone()).unwrap();
    drop(measure(Trading::OrderFill));
    collector.stop();
    drop(reporter);
    assert!(
        file.text().contains("order_fill") && file.text().contains("stopped"),
        "{}",
        file.text()
    );
}

#[test]
fn stop_returns_the_error_or_panic_that_ended_the_reporter() {
    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().start().unwrap();
        let (calls, called) = mpsc::channel();
        let full = move |_: &Report| {
            calls.send(()).unwrap();
            Err(io::ErrorKind::StorageFull.into())
        };
        let reporter = Reporter::start(&collector, INTERVAL, full).unwrap();
        assert_eq!(called.iter().count(), 1, "the reporter ends with the first error");
        assert_eq!(reporter.stop().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let panics = Reporter::start(&collector, INTERVAL, |_| panic!("on purpose")).unwrap();
        assert!(panics.stop().unwrap_err().to_string().contains("panicked"));
    });
}

#[test]
fn each_table_and_each_line_is_written_in_one_call() {
    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<Vec<String>>>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().start().unwrap();
        let (tables, lines) = (Calls::default(), Calls::default());
        let table = Reporter::table(&collector, INTERVAL, tables.clone()).unwrap();
        let line = Reporter::json_lines(&collector, INTERVAL, lines.clone()).unwrap();
        let count = |calls: &Calls| calls.0.lock().unwrap().len();
        until(|| count(&tables) >= 3 && count(&lines) >= 3);
        table.stop().unwrap();
        line.stop().unwrap();
        for call in &*tables.0.lock().unwrap() {
            assert!(call.contains("Z, up ") && call.contains(" records: "), "{call:?}");
            assert!(call.ends_with('\n'), "{call:?}");
        }
        for call in &*lines.0.lock().unwrap() {
            let line = call.strip_suffix('\n').expect("the line ends in the same call");
            let report: Value = serde_json::from_str(line).unwrap();
            assert_eq!(report["schema"], "tailwatch.report/2");
        }
    });
}

#[test]
fn reporters_that_append_to_one_file_leave_each_line_whole() {
    let _turn = in_turn();
    without_hanging(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reporting-appended.jsonl");
        // A file of an earlier run.
        let _ = fs::remove_file(&path);
        let open = || OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let collector = Collector::builder().start().unwrap();
        let reporters = [(); 8]
            .map(|()| Reporter::json_lines(&collector, Duration::from_millis(1), open()).unwrap());
        let text = || fs::read_to_string(&path).unwrap();
        until(|| fs::metadata(&path).unwrap().len() >= 4_000_000);
        for reporter in reporters {
            reporter.stop().unwrap();
        }
        for line in text().lines() {
            let report: Value = serde_json::from_str(line).expect("each line is one report");
            assert_eq!(report["schema"], "tailwatch.report/2");
        }
    });
}

#[test]
fn a_reporter_that_its_own_callback_drops_or_stops_ends_by_itself() {
    type Owned = Arc<Mutex<Option<Reporter>>>;

    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().start().unwrap();
        let end: [fn(Reporter); 2] = [drop, |reporter| reporter.stop().unwrap()];
        for end in end {
            let reporter = Owned::default();
            let (owned, (calls, called)) = (Arc::clone(&reporter), mpsc::channel());
            let own = move |_: &Report| {
                // `None` in the last report, after the reporter has been dropped.
                if let Some(reporter) = owned.lock().unwrap().take() {
                    end(reporter);
                }
                calls.send(()).map_err(io::Error::other)
            };
            // The callback cannot take the reporter before it is here.
            let mut place = reporter.lock().unwrap();
            *place = Some(Reporter::start(&collector, INTERVAL, own).unwrap());
            drop(place);
            // Ends when the thread has ended and its callback is gone.
            assert_eq!(called.iter().count(), 2, "one report, and the last one");
        }
    });
}

#[test]
fn a_reporter_whose_writer_blocks_is_stopped_without_waiting_for_it() {
    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().start().unwrap();
        let ((begun, begins), (unblock, blocked)) = (mpsc::channel(), mpsc::channel::<()>());
        let reporter = Reporter::start(&collector, INTERVAL, move |_| {
            begun.send(()).map_err(io::Error::other)?;
            // Ends when the sender is gone.
            let _ = blocked.recv();
            Ok(())
        });
        begins.recv().unwrap();
        let error = reporter.unwrap().stop_within(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("within 1ms"), "{error}");
        drop(unblock);
        assert_eq!(begins.iter().count(), 1, "the last report, and then the thread ends");
    });
}

#[test]
fn a_trace_has_a_row_for_each_record() {
    let _turn = in_turn();
    let file = MemoryFile::default();
    let trace = TraceWriter::new(file.clone());
    let collector = Collector::builder().observer(trace.observer()).start().unwrap();
    collector.register_thread("main, or so").unwrap();
    measure_tagged(Trading::OrderPlacement, 9).end(Outcome::Error);
    record_value(Trading::QueueBacklog, 5);
    record_duration(Trading::GcPause, Duration::from_micros(3));
    collector.stop();
    trace.finish().unwrap();
    let text = file.text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.splitn(7, ',').collect()).collect();
    assert_eq!(
        rows[0],
        ["event", "kind", "start_unix_ns", "duration_ns_or_value", "outcome", "tag", "thread,tid"]
    );
    let fields: Vec<_> =
        rows[1..].iter().map(|row| [row[0], row[1], row[4], row[5], row[6]]).collect();
    let tid = current_tid().map_or_else(String::new, |tid| tid.to_string());
    let thread = &*format!("\"main, or so\",{tid}");
    let expected = [
        ["order_placement", "start", "", "9", thread],
        // The tag is that of its START.
        ["order_placement", "end_error", "error", "9", thread],
        ["queue_backlog", "value", "", "", thread],
        ["gc_pause", "duration", "", "", thread],
    ];
    assert_eq!(fields, expected);
    assert_eq!((rows[3][3], rows[4][3]), ("5", "3000"));
    assert_eq!(rows[1][2], rows[2][2], "START and END have the same start time");
    let report = collector.report();
    let failed = report.event(Trading::OrderPlacement).unwrap().failed.as_ref().unwrap();
    assert_eq!(rows[2][3], failed.summary.max.to_string());
}

#[cfg(unix)]
#[test]
fn a_trace_into_a_pipe_that_nobody_reads_delays_neither_the_drain_nor_the_stop() {
    use std::{io::Read, process::Command};

    use tailwatch::TraceIncomplete;

    let _turn = in_turn();
    without_hanging(|| {
        let path = std::env::temp_dir().join(format!("tailwatch-trace-{}", std::process::id()));
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Opened for both, because opening a pipe for one side waits for the other.
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let trace = TraceWriter::new(OpenOptions::new().write(true).open(&path).unwrap());
        let collector = Collector::builder().observer(trace.observer()).start().unwrap();
        collector.register_thread("main").unwrap();
        // More than the pipe and the rows that may wait have room for.
        for value in 0..300_000 {
            record_value(Trading::QueueBacklog, value);
            if value % 1_000 == 0 {
                collector.flush();
            }
        }
        collector.stop();
        let delivered = collector.health().delivered;
        let error = trace.finish_within(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let inner = error.get_ref().unwrap().downcast_ref::<TraceIncomplete>().unwrap();
        assert!(inner.dropped > 0 && inner.unwritten > 0, "{inner:?}");
        assert!(inner.dropped + inner.unwritten <= delivered, "{inner:?} {delivered}");

        // The reader goes on. It gets whole rows: all that were not dropped.
        let (mut text, mut bytes, mut lines) = (String::new(), [0; 4_096], 0);
        while lines != 1 + delivered - inner.dropped {
            let read = reader.read(&mut bytes).unwrap();
            let read = str::from_utf8(&bytes[..read]).unwrap();
            lines += read.matches('\n').count() as u64;
            text.push_str(read);
        }
        let end =
            format!(",main,{}", current_tid().map_or_else(String::new, |tid| tid.to_string()));
        for row in text.lines().skip(1) {
            assert!(row.starts_with("queue_backlog,value,") && row.ends_with(&end), "{row}");
        }
        fs::remove_file(path).unwrap();
    });
}

#[test]
fn a_hiccup_probe_records_until_it_is_stopped() {
    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().rings(1).start().unwrap();
        let probe =
            HiccupProbe::start(&collector, Trading::GcPause, Duration::from_millis(1)).unwrap();
        let refused =
            HiccupProbe::start(&collector, Trading::GcPause, Duration::from_millis(1)).unwrap_err();
        assert!(
            matches!(refused, HiccupError::Register(RegisterError::AllTaken { rings: 1 })),
            "{refused}"
        );
        let count = || {
            collector.flush();
            collector.total(Trading::GcPause).unwrap().map_or(0, |total| total.count)
        };
        until(|| count() >= 3);
        probe.stop();
        let at_the_end = count();
        assert_eq!(count(), at_the_end);
        let slowest = collector.slowest(Trading::GcPause, Duration::from_mins(1)).unwrap();
        assert!(slowest.iter().all(|slow| &*slow.thread == "hiccup"));
    });
}

#[test]
fn the_code_of_an_event_runs_only_where_a_hiccup_probe_is_started() {
    #[derive(Clone, Copy)]
    struct Watched(&'static Mutex<Vec<ThreadId>>);

    impl Event for Watched {
        fn id(self) -> EventId {
            self.0.lock().unwrap().push(thread::current().id());
            Trading::GcPause.id()
        }
    }

    static CALLERS: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().start().unwrap();
        let probe = HiccupProbe::start(&collector, Watched(&CALLERS), INTERVAL).unwrap();
        until(|| collector.total(Trading::GcPause).unwrap().is_some());
        probe.stop();
        let here = thread::current().id();
        assert!(CALLERS.lock().unwrap().iter().all(|caller| *caller == here));
    });
}

#[test]
fn a_hiccup_probe_refuses_a_period_without_sleep_and_stops_within_a_long_one() {
    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().start().unwrap();
        let start = |period| HiccupProbe::start(&collector, Trading::GcPause, period);
        for (period, name) in [(Duration::ZERO, "0ns"), (Duration::from_nanos(9_999), "9.999µs")] {
            let error = start(period).unwrap_err();
            assert!(
                matches!(error, HiccupError::PeriodTooShort { period: named, minimum }
                    if named == period && minimum == Duration::from_micros(10)),
                "{error:?}"
            );
            let message = error.to_string();
            assert!(message.contains(name) && message.contains("minimum is 10µs"), "{message}");
        }
        start(Duration::from_micros(10)).unwrap().stop();
        start(NEVER).unwrap().stop();
        start(Duration::MAX).unwrap().stop();
    });
}

/// Returns the value at the nearest rank, computed by sorting.
fn nearest_rank(values: &[u64], per_mille: usize) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(values.len() * per_mille).div_ceil(1_000).max(1) - 1]
}

#[test]
fn a_difference_has_only_the_samples_between_two_reports() {
    let _turn = in_turn();
    // The numbers of samples before and between the reports. At most 512 samples are kept, so the
    // cases cover reports of which both, only the first, or none have all samples.
    for (before, between) in
        [(0, 1), (100, 300), (100, 5_000), (3_000, 4_000), (3_000, 0), (0, 3_000)]
    {
        let collector = Collector::builder().ring_capacity(65_536).start().unwrap();
        collector.register_thread("main").unwrap();
        let values = |count: u64, factor: u64| -> Vec<u64> {
            (0..count).map(|n| n * n * factor % 99_991).collect()
        };
        let record = |values: &[u64]| {
            for value in values {
                record_value(Trading::QueueBacklog, *value);
            }
            collector.flush();
            collector.report()
        };
        let earlier = record(&values(before, 7));
        let added = values(between, 13);
        let later = record(&added);
        let diff = later.diff(&earlier).expect("`earlier` is an earlier report");
        assert_eq!(
            (diff.produced, diff.delivered, diff.overwritten, diff.unregistered),
            (between, between, 0, 0)
        );
        assert_eq!(diff.elapsed_ns, later.uptime_ns - earlier.uptime_ns);
        assert_eq!(diff.event(Trading::OrderFill).unwrap().samples, None);
        let Some(samples) = diff.event(Trading::QueueBacklog).unwrap().samples else {
            assert_eq!(between, 0);
            continue;
        };
        assert_eq!((samples.count, samples.estimated_total), (between, between));
        let mean = added.iter().sum::<u64>() * 100 / between;
        let hundredths = samples.mean.unwrap().to_bits() * 100 / 65_536;
        assert!(hundredths.abs_diff(mean) <= 1, "{:?} {mean}", samples.mean);
        assert_eq!(samples.accuracy == Accuracy::Exact, before + between <= 512);
        for (quantile, per_mille) in
            [(samples.p50, 500), (samples.p95, 950), (samples.p99, 990), (samples.p99_9, 999)]
        {
            let exact = nearest_rank(&added, per_mille);
            let allowed = u64::from(samples.accuracy.max_relative_error_ppm()) * exact;
            assert!(
                quantile.abs_diff(exact) * 1_000_000 <= allowed,
                "{quantile} {exact} {:?}",
                samples.accuracy
            );
        }
        assert!(
            before + between == 0 || between == 0 || earlier.diff(&later).is_none(),
            "the later report is not an earlier one"
        );
        assert!(diff.to_string().contains("queue_backlog"));
    }
}

#[test]
fn after_a_restart_the_difference_is_everything_since_then() {
    let _turn = in_turn();
    let record = |values: u64| {
        let collector = Collector::builder().manual_drain().start().unwrap();
        collector.register_thread("main").unwrap();
        (1..=values).for_each(|value| record_value(Trading::QueueBacklog, value));
        collector.stop();
        collector.report()
    };
    let (before, after) = (record(600), record(1_000));
    let diff = after.diff(&before).expect("`before` is earlier");
    assert!(diff.restarted);
    assert_eq!((diff.produced, diff.elapsed_ns), (1_000, after.uptime_ns));
    let samples = diff.event(Trading::QueueBacklog).unwrap().samples.unwrap();
    let total = after.event(Trading::QueueBacklog).unwrap().total.as_ref().unwrap().summary;
    assert_eq!((samples.count, samples.mean), (1_000, total.mean));
    assert!(diff.to_string().contains("since a restart"));
    assert!(before.diff(&after).is_none());
}
