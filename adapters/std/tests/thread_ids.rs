//! The number that the operating system gave a thread distinguishes threads of one name.

#![cfg(any(target_os = "linux", target_os = "android"))]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use support::{Log, MemoryFile, current_tid, in_thread, in_turn};
use tailwatch::{
    Collector, Kind, Outcome, TraceWriter, Trading, WindowSpec, measure_tagged, record_end,
    record_start_tagged, record_value,
};

/// Records a span with this tag in a new thread called `worker`, and returns the thread's number.
fn work(tag: u64) -> u64 {
    in_thread("worker", move || {
        drop(measure_tagged(Trading::OrderFill, tag));
        current_tid().expect("/proc is mounted")
    })
}

#[test]
fn two_threads_of_one_name_differ_in_trace_slowest_list_and_json() {
    let _turn = in_turn();
    let (file, log) = (MemoryFile::default(), Log::default());
    let trace = TraceWriter::new(file.clone());
    let collector =
        Collector::builder().observer(trace.observer()).observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let tids = BTreeMap::from([1, 2].map(|tag| (tag, work(tag))));
    assert_ne!(tids[&1], tids[&2]);
    collector.stop();
    trace.finish().unwrap();

    // The rings of the two threads are drained in any order.
    let seen: BTreeSet<_> = log.all().iter().map(|seen| (seen.thread.clone(), seen.tid)).collect();
    let expected = [1, 2].map(|tag| ("worker".to_owned(), Some(tids[&tag])));
    assert_eq!((seen, log.count()), (BTreeSet::from(expected), 4));

    let text = file.text();
    let starts = text.lines().filter_map(|row| row.split_once(",start,"));
    let found: BTreeSet<_> = starts.map(|(_, row)| row.split_once(",,,").unwrap().1).collect();
    let rows = [1, 2].map(|tag| format!("{tag},worker,{}", tids[&tag]));
    assert_eq!(found, rows.iter().map(String::as_str).collect());

    for slow in collector.slowest(Trading::OrderFill, WindowSpec::MINUTE.length).unwrap() {
        assert_eq!((&*slow.thread, slow.tid), ("worker", Some(tids[&slow.tag.unwrap()])));
    }
    let json: Value = serde_json::from_str(&collector.report().to_json()).unwrap();
    let event =
        json["events"].as_array().unwrap().iter().find(|event| event["name"] == "order_fill");
    let slowest = event.unwrap()["total"]["slowest"].as_array().unwrap();
    assert_eq!(slowest.len(), 2);
    for slow in slowest {
        assert_eq!(slow["thread"], "worker");
        assert_eq!(slow["tid"], tids[&slow["tag"].as_u64().unwrap()]);
    }
}

#[test]
fn a_span_that_ends_on_another_thread_of_the_same_name_has_the_number_of_that_thread() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let begin = || (record_start_tagged(Trading::OrderFill, 5), current_tid());
    let (token, first) = in_thread("worker", begin);
    let ended = in_thread("worker", move || {
        record_end(token, Outcome::Ok);
        current_tid()
    });
    collector.stop();
    let tids: BTreeMap<_, _> = log.all().iter().map(|seen| (seen.kind as u8, seen.tid)).collect();
    assert_eq!((tids[&(Kind::Start as u8)], tids[&(Kind::EndOk as u8)]), (first, ended));
    let report = collector.report();
    let total = report.event(Trading::OrderFill).unwrap().total.as_ref().unwrap();
    assert_eq!((total.slowest[0].tag, total.slowest[0].tid), (Some(5), ended));
}

#[test]
fn a_registered_name_comes_with_the_number_of_its_thread() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread("renamed").unwrap();
    record_value(Trading::QueueBacklog, 1);
    collector.stop();
    let seen: Vec<_> = log.all().iter().map(|seen| (seen.thread.clone(), seen.tid)).collect();
    assert_eq!(seen, [("renamed".to_owned(), current_tid())]);
}

#[test]
fn ten_thousand_short_lived_threads_of_one_name_take_little_memory() {
    const THREADS: u64 = 10_000;
    // All values are in one bucket, so histograms take as much memory after 100 threads as at the
    // end.
    const LOWEST: u64 = 10_000_000;
    let _turn = in_turn();
    let collector = Collector::builder().manual_drain().rings(8).start().unwrap();
    collector.install().unwrap();
    let mut tids = BTreeMap::new();
    let mut after_100 = 0;
    for n in 1..=THREADS {
        // The last threads have the largest numbers, so they are the slowest ones.
        let tid = in_thread("worker", move || {
            record_value(Trading::QueueBacklog, LOWEST + n);
            current_tid().expect("/proc is mounted")
        });
        tids.insert(n, tid);
        collector.drain();
        if n == 100 {
            collector.flush();
            after_100 = collector.memory_bytes();
        }
    }
    collector.stop();
    let report = collector.report();
    let total = report.event(Trading::QueueBacklog).unwrap().total.as_ref().unwrap();
    assert_eq!(total.summary.count, THREADS);
    let slowest: Vec<_> = total.slowest.iter().map(|slow| (slow.duration, slow.tid)).collect();
    let expected: Vec<_> =
        tids.iter().rev().take(4).map(|(n, tid)| (LOWEST + *n, Some(*tid))).collect();
    assert_eq!(slowest, expected);
    assert!(tids.values().collect::<BTreeSet<_>>().len() > 100, "the numbers of threads differ");
    // The names of all threads would take 2,480 KB. Those of as many threads as the table may have
    // take 247 KB.
    let grown = collector.memory_bytes().saturating_sub(after_100);
    assert!(grown < 250_000, "{grown} bytes, after {after_100}");
}
