//! What tells of itself: the reporter, the trace, the hiccup probe; and the difference of two reports.

mod support;

use core::time::Duration;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, mpsc},
};

use serde_json::Value;
use support::{in_turn, until, without_hanging};
use tailwatch::{
    Accuracy, Collector, HiccupError, HiccupProbe, Outcome, RegisterError, Report, Reporter,
    TraceWriter, Trading, measure, measure_tagged, record_duration, record_value,
};

const BEAT: Duration = Duration::from_millis(2);
const NEVER: Duration = Duration::from_hours(1);

/// A file that somebody looks into.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).expect("text")
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn reports_come_at_a_beat_and_the_last_one_has_everything() {
    let _turn = in_turn();
    without_hanging(|| {
        let file = Shared::default();
        let collector = Collector::builder().start().unwrap();
        collector.register_thread("main").unwrap();
        let reporter = Reporter::json_lines(&collector, BEAT, file.clone()).unwrap();
        until(|| file.text().lines().count() >= 5);
        (0..7).for_each(|_| drop(measure(Trading::OrderFill)));
        collector.stop();
        reporter.stop().unwrap();
        let reports: Vec<Value> = file
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON in each line"))
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
fn a_table_is_told_to_people_even_if_the_beat_never_comes() {
    let _turn = in_turn();
    let file = Shared::default();
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
fn what_ends_a_reporter_is_told_when_it_is_stopped() {
    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().start().unwrap();
        let (calls, called) = mpsc::channel();
        let full = move |_: &Report| {
            calls.send(()).unwrap();
            Err(io::ErrorKind::StorageFull.into())
        };
        let reporter = Reporter::start(&collector, BEAT, full).unwrap();
        assert_eq!(called.iter().count(), 1, "it ends with the first error");
        assert_eq!(reporter.stop().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let panics = Reporter::start(&collector, BEAT, |_| panic!("its own fault")).unwrap();
        assert!(panics.stop().unwrap_err().to_string().contains("panicked"));
    });
}

#[test]
fn a_trace_has_a_row_for_each_record() {
    let _turn = in_turn();
    let file = Shared::default();
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
        ["event", "kind", "start_unix_ns", "duration_ns_or_value", "outcome", "tag", "thread"]
    );
    let told: Vec<_> =
        rows[1..].iter().map(|row| [row[0], row[1], row[4], row[5], row[6]]).collect();
    let thread = "\"main, or so\"";
    let expected = [
        ["order_placement", "start", "", "9", thread],
        ["order_placement", "end_error", "error", "", thread],
        ["queue_backlog", "value", "", "", thread],
        ["gc_pause", "duration", "", "", thread],
    ];
    assert_eq!(told, expected);
    assert_eq!((rows[3][3], rows[4][3]), ("5", "3000"));
    assert_eq!(rows[1][2], rows[2][2], "both tell when the span began");
    let max = collector.total(Trading::OrderPlacement).unwrap().unwrap().max;
    assert_eq!(rows[2][3], max.to_string());
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

/// The value at the nearest rank, by sorting.
fn nearest_rank(values: &[u64], per_mille: usize) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(values.len() * per_mille).div_ceil(1_000).max(1) - 1]
}

#[test]
fn a_difference_is_what_came_in_between() {
    let _turn = in_turn();
    // How many come before and in between: all known, then not in the second report, then in neither.
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
        let diff = later.diff(&earlier).expect("an earlier report");
        assert_eq!(
            (diff.produced, diff.delivered, diff.overwritten, diff.unregistered),
            (between, between, 0, 0)
        );
        assert_eq!(diff.elapsed_ns, later.uptime_ns - earlier.uptime_ns);
        assert_eq!(diff.event(Trading::OrderFill).unwrap().samples, None);
        let Some(told) = diff.event(Trading::QueueBacklog).unwrap().samples else {
            assert_eq!(between, 0);
            continue;
        };
        assert_eq!((told.count, told.estimated_total), (between, between));
        let mean = added.iter().sum::<u64>() * 100 / between;
        assert!((told.mean.to_bits() * 100 / 65_536).abs_diff(mean) <= 1, "{} {mean}", told.mean);
        assert_eq!(told.accuracy == Accuracy::Exact, before + between <= 512);
        for (quantile, per_mille) in
            [(told.p50, 500), (told.p95, 950), (told.p99, 990), (told.p99_9, 999)]
        {
            let exact = nearest_rank(&added, per_mille);
            let allowed = u64::from(told.accuracy.max_relative_error_ppm()) * exact;
            assert!(
                quantile.abs_diff(exact) * 1_000_000 <= allowed,
                "{quantile} {exact} {:?}",
                told.accuracy
            );
        }
        assert!(
            before + between == 0 || between == 0 || earlier.diff(&later).is_none(),
            "the other way round"
        );
        assert!(diff.to_string().contains("queue_backlog"));
    }
}
