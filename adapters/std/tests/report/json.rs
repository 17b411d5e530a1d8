//! The JSON of a report has exactly the layout of the schema `tailwatch.report/2`.

use std::collections::BTreeSet;

use serde_json::Value;
use tailwatch::{Collector, Event, Outcome, Trading, WindowSpec, measure, record_value};

use crate::{
    support::{current_tid, in_turn},
    to_json,
};

#[track_caller]
pub(crate) fn assert_keys(value: &Value, keys: &[&str]) {
    let found: BTreeSet<_> =
        value.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(found, keys.iter().copied().collect());
}

/// Returns a JSON number that has to be a whole number from 0.
#[track_caller]
fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a whole number from 0: {value}"))
}

/// Returns how one of the slowest spans ended, or nothing if it is no span.
fn slow_outcome(slow: &Value) -> &str {
    slow.get("outcome").map_or("", |outcome| outcome.as_str().expect("a text"))
}

#[track_caller]
fn assert_is_summary(value: &Value, has_histogram: bool, outcomes: [&str; 2]) {
    let histogram: &[_] = if has_histogram { &["histogram"] } else { &[] };
    let keys = [
        "count",
        "estimated_total",
        "min",
        "max",
        "mean",
        "stddev",
        "p50",
        "p95",
        "p99",
        "p99_9",
        "interval",
        "max_relative_error_ppm",
        "covered_ns",
        "complete",
        "corrected",
        "slowest",
    ];
    assert_keys(value, &[&keys[..], histogram].concat());
    let numbers = [
        "count",
        "estimated_total",
        "min",
        "max",
        "p50",
        "p95",
        "p99",
        "p99_9",
        "max_relative_error_ppm",
    ];
    for key in numbers.iter().chain(&["covered_ns"]) {
        whole(&value[key]);
    }
    // Of p95, the second of three samples is the lower bound, or the first of two. One sample is
    // too few for it.
    assert_keys(&value["interval"], &["p50", "p95", "p99", "p99_9"]);
    let low = match whole(&value["count"]) {
        3 => value["p50"].clone(),
        2 => value["min"].clone(),
        _ => Value::Null,
    };
    let (median, p95) = (serde_json::json!([null, null]), serde_json::json!([low, null]));
    assert_eq!((&value["interval"]["p50"], &value["interval"]["p95"]), (&median, &p95));
    assert!(value["mean"].is_f64() && value["stddev"].is_f64());
    assert!(value["complete"].is_boolean());
    assert!(value["corrected"].is_null(), "no event here has an expected interval");
    let slowest = value["slowest"].as_array().unwrap();
    assert!((1..=4).contains(&slowest.len()));
    // Failed spans are among the slowest, but not in the summary.
    let covered = slowest.iter().find(|slow| outcomes.contains(&slow_outcome(slow)));
    assert_eq!(covered.unwrap()["duration"], value["max"]);
    for slow in slowest {
        let outcome = slow.get("outcome").map(|_| "outcome");
        let keys = ["start_unix_ns", "duration", "tag", "thread", "tid"];
        assert_keys(slow, &keys.into_iter().chain(outcome).collect::<Vec<_>>());
        assert!(whole(&slow["start_unix_ns"]) > 1_600_000_000_000_000_000);
        assert!(slow["tag"].is_u64() || slow["tag"].is_null());
        assert_eq!(slow["thread"], "main");
        assert_eq!(slow["tid"].as_u64(), current_tid());
    }
    assert!(whole(&value["count"]) > 0, "a summary without a sample must be null");
}

/// The outcomes that summaries cover; a plain number has none.
const COVERED: [&str; 2] = ["ok", ""];
/// Those of failed spans.
const FAILED: [&str; 2] = ["error", "cancelled"];

/// Checks the limits of the preset after three order placements. No other event with a limit was
/// recorded.
#[track_caller]
fn assert_are_the_limits_of_the_preset(limits: &Value) {
    let found: Vec<_> = limits
        .as_array()
        .unwrap()
        .iter()
        .map(|limit| {
            assert_keys(
                limit,
                &[
                    "event",
                    "labels",
                    "quantile",
                    "window",
                    "limit",
                    "unit",
                    "state",
                    "over",
                    "failed",
                    "count",
                    "observed",
                    "since_unix_ns",
                    "raised",
                    "cleared",
                    "min_samples",
                    "raise_after_ns",
                    "clear_after_ns",
                    "origin",
                ],
            );
            assert!(
                (&limit["window"], &limit["unit"], whole(&limit["over"]))
                    == (&"60s".into(), &"ns".into(), 0)
            );
            assert!(
                limit["since_unix_ns"].is_null() && limit["raised"] == 0 && limit["cleared"] == 0
            );
            assert_eq!((&limit["min_samples"], &limit["origin"]), (&1.into(), &"declared".into()));
            assert!(limit["raise_after_ns"] == 0 && limit["clear_after_ns"].is_null());
            if limit["event"] == "order_placement" {
                assert_eq!((limit["state"].as_str(), whole(&limit["count"])), (Some("ok"), 1));
                assert!(whole(&limit["observed"]) < 20_000_000);
            } else {
                assert_eq!((limit["state"].as_str(), whole(&limit["count"])), (Some("unknown"), 0));
                assert!(limit["observed"].is_null(), "there is no quantile without a sample");
            }
            let text = |key: &str| limit[key].as_str().unwrap().to_owned();
            (text("event"), text("quantile"), whole(&limit["limit"]) / 1_000_000)
        })
        .collect();
    let expected = [
        ("candle_processing", "p95", 50),
        ("candle_processing", "p99", 100),
        ("signal_generation", "p95", 10),
        ("signal_generation", "p99", 20),
        ("order_placement", "p95", 20),
        ("order_placement", "p99", 50),
        ("event_bus_publish", "p95", 5),
        ("event_bus_publish", "p99", 10),
    ];
    let expected =
        expected.map(|(event, quantile, limit)| (event.to_owned(), quantile.to_owned(), limit));
    assert_eq!(found, expected, "the limits of the preset");
}

/// Checks the event with this number after spans of the event 3, and a value of the event 7.
#[track_caller]
fn assert_is_event(id: u64, event: &Value) {
    let keys = ["id", "name", "base_name", "labels", "unit", "windows", "total", "outcomes"];
    assert_keys(
        event,
        &[&keys[..], &["of", "failed", "failed_windows", "flows", "in_flight"]].concat(),
    );
    assert_eq!((&event["base_name"], &event["of"]), (&event["name"], &"ok".into()));
    assert_keys(&event["labels"], &[]);
    let (failed, windows) = (&event["failed"], &event["failed_windows"]);
    assert_keys(windows, &["1s", "5s", "60s"]);
    if id == 3 {
        assert_is_summary(&windows["60s"], false, FAILED);
        assert_is_summary(failed, true, FAILED);
        assert_eq!((&event["total"]["count"], &failed["count"]), (&1.into(), &2.into()));
    } else {
        assert!(failed.is_null() && windows["1s"].is_null());
    }
    assert_eq!(event["flows"].as_array().map(Vec::len), Some(0));
    assert_eq!(event["id"], id);
    assert_eq!(event["unit"], if id == 7 { "1" } else { "ns" });
    assert_keys(&event["windows"], &["1s", "5s", "60s"]);
    assert_keys(&event["outcomes"], &["ok", "error", "cancelled"]);
    let in_flight = &event["in_flight"];
    assert_keys(in_flight, &["open", "uncertain", "untracked", "oldest_ns", "oldest_tag"]);
    assert!(
        ["open", "uncertain", "untracked"].iter().all(|key| in_flight[key] == 0),
        "{in_flight}"
    );
    assert!(in_flight["oldest_ns"].is_null() && in_flight["oldest_tag"].is_null(), "{in_flight}");
    if id == 3 || id == 7 {
        assert_is_summary(&event["windows"]["60s"], false, COVERED);
        assert_is_summary(&event["total"], true, COVERED);
        let histogram = &event["total"]["histogram"];
        assert_keys(
            histogram,
            &["scale", "unit", "lowest", "octaves", "zero", "underflow", "overflow", "buckets"],
        );
        assert_eq!(histogram["unit"], if id == 7 { "1" } else { "2^-40 s" });
    } else {
        let windows = event["windows"].as_object().unwrap();
        assert!(
            windows.values().all(Value::is_null),
            "a window without a sample must be null: {event}"
        );
        assert!(event["total"].is_null());
    }
    for outcome in ["ok", "error", "cancelled"] {
        assert_eq!(event["outcomes"][outcome], u64::from(id == 3));
    }
}

/// Checks the health after seven records.
#[track_caller]
fn assert_is_health(health: &Value, collector: &Collector) {
    assert_keys(
        health,
        &[
            "produced",
            "delivered",
            "overwritten",
            "pending",
            "orphans",
            "abandoned",
            "late",
            "clock_anomalies",
            "saturated",
            "negative_differences",
            "orphan_tags",
            "invalid",
            "unknown_events",
            "unregistered",
            "rings_refused",
            "hidden_threads",
            "hidden_records",
            "not_shared",
            "observer_panics",
            "drain_lag_ns",
            "enabled",
            "has_drain",
            "sampling",
            "overhead_ratio",
            "record_ns",
            "drain_ns",
            "memory_bytes",
            "reserved_bytes",
        ],
    );
    for (key, value) in health.as_object().unwrap() {
        match key.as_str() {
            "enabled" | "has_drain" => assert_eq!(*value, false),
            "not_shared" => assert!(value.is_null(), "{value}"),
            "sampling" => assert_keys(value, &[]),
            "overhead_ratio" => {
                assert!(value.as_f64().is_some_and(|ratio| ratio > 0.0 && ratio < 2.0), "{value}");
            }
            "produced" | "delivered" => assert_eq!(whole(value), 7),
            "memory_bytes" => assert_eq!(whole(value), collector.memory_bytes() as u64),
            "record_ns" | "drain_ns" => assert!(value.as_f64().is_some_and(|cost| cost > 0.0)),
            "reserved_bytes" => assert!(whole(value) > 0),
            "drain_lag_ns" | "clock_anomalies" | "late" => assert!(value.is_u64(), "{key}"),
            _ => assert_eq!(whole(value), 0, "{key}"),
        }
    }
}

#[test]
fn the_json_has_exactly_the_layout_of_its_schema() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    drop(measure(Trading::OrderPlacement));
    measure(Trading::OrderPlacement).end(Outcome::Error);
    measure(Trading::OrderPlacement).end(Outcome::Cancelled);
    record_value(Trading::QueueBacklog, 3);
    collector.stop();

    let json = to_json(&collector);
    let keys = ["schema", "unix_ns", "started_unix_ns", "uptime_ns", "clock", "events", "sla"];
    assert_keys(&json, &[&keys[..], &["health"]].concat());
    assert_eq!(json["schema"], "tailwatch.report/2");
    assert!(whole(&json["started_unix_ns"]) < whole(&json["unix_ns"]));
    assert!(whole(&json["unix_ns"]) > 1_600_000_000_000_000_000, "nanoseconds since 1970");
    assert!(whole(&json["uptime_ns"]) > 0);
    assert_keys(&json["clock"], &["source", "ordered", "hz", "drift_ppm"]);
    assert!(json["clock"]["source"].is_string() && json["clock"]["ordered"].is_boolean());
    assert!(whole(&json["clock"]["hz"]) > 0 && json["clock"]["drift_ppm"].is_f64());
    assert_are_the_limits_of_the_preset(&json["sla"]);

    let events = json["events"].as_array().unwrap();
    let names: Vec<_> = events.iter().map(|event| event["name"].as_str().unwrap()).collect();
    let expected = [
        "candle_processing",
        "signal_generation",
        "order_placement",
        "order_fill",
        "event_bus_publish",
        "event_bus_handle",
        "queue_backlog",
        "gc_pause",
    ];
    assert_eq!(names, expected);
    for (id, event) in (1..).zip(events) {
        assert_is_event(id, event);
    }
    assert_is_health(&json["health"], &collector);
}

#[test]
fn a_mean_that_is_not_known_is_null_in_json_and_a_dash_in_the_table() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    record_value(Trading::QueueBacklog, 7);
    collector.flush();
    let mut report = collector.report();
    let index = report.events.iter().position(|event| event.id == Trading::QueueBacklog.id());
    let index = index.unwrap();
    for is_known in [true, false] {
        let total = report.events[index].total.as_mut().unwrap();
        if !is_known {
            (total.summary.mean, total.summary.stddev) = (None, None);
        }
        let json: Value = serde_json::from_str(&report.to_json()).unwrap();
        let total = &json["events"][index]["total"];
        let expected = if is_known { [Some(7.0), Some(0.0)] } else { [None, None] };
        assert_eq!([&total["mean"], &total["stddev"]].map(Value::as_f64), expected);
        assert_eq!([&total["mean"], &total["stddev"]].map(Value::is_null), [!is_known; 2]);
        let table = report.to_string();
        let row = table.lines().find(|row| row.split_whitespace().any(|cell| cell == "total"));
        let cells: Vec<_> = row.unwrap().split_whitespace().collect();
        assert_eq!(cells.contains(&"-"), !is_known, "{cells:?}");
        assert_eq!(cells.contains(&"7.0"), is_known, "{cells:?}");
    }
}

#[test]
fn a_report_without_samples_has_null_summaries() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    let json = to_json(&collector);
    assert_eq!(json["health"]["enabled"], true);
    for event in json["events"].as_array().unwrap() {
        assert_keys(&event["windows"], &["1s", "5s", "60s"]);
        assert!(event["windows"].as_object().unwrap().values().all(Value::is_null));
        assert!(event["total"].is_null());
    }
    for window in WindowSpec::DEFAULT {
        assert_eq!(collector.stats(Trading::OrderFill, window.length), Ok(None));
    }
    assert_eq!(collector.total(Trading::OrderFill), Ok(None));
    assert_eq!(json["health"]["memory_bytes"], collector.memory_bytes() as u64);
    // The spare rings alone: 4 rings of 16,384 records of 16 bytes.
    let rings = 4 * 16_384 * 16;
    assert!(collector.memory_bytes() >= rings);
    // No event has happened, so most of what is reserved is not in use.
    let in_use = (collector.memory_bytes() - rings) as u64;
    assert!(in_use < collector.health().reserved_bytes / 4, "{:?}", collector.health());
}
