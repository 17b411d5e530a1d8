//! What the report tells: its JSON layout, its table, and that its numbers are right.

mod support;

use core::time::Duration;
use std::collections::BTreeSet;

use serde_json::Value;
use support::{Log, in_turn, say_loudly};
use tailwatch::{
    Accuracy, Builder, Collector, Event, EventId, EventInfo, MAX_PAYLOAD, Outcome, QueryError,
    Summary, Trading, Unit, WindowSpec, events, measure, measure_tagged, record_duration,
    record_value, time,
};

const MINUTE: Duration = Duration::from_mins(1);

events! {
    /// A user's own events.
    enum Gateway {
        /// A plain span.
        DecodePacket = 20,
        /// One with a name of its own, and the largest number there is.
        RoundTrip = 2_047 { name: "to_the_venue_and_back" },
        /// A number.
        Backlog = 1 { unit: Unit::One },
    }
}

#[track_caller]
fn assert_keys(value: &Value, keys: &[&str]) {
    let found: BTreeSet<_> =
        value.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(found, keys.iter().copied().collect());
}

/// A whole number that is not negative.
#[track_caller]
fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a whole number, not {value}"))
}

#[track_caller]
fn assert_is_summary(value: &Value) {
    assert_keys(
        value,
        &[
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
            "max_relative_error_ppm",
            "covered_ns",
            "complete",
            "corrected",
            "slowest",
        ],
    );
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
    assert!(value["mean"].is_f64() && value["stddev"].is_f64());
    assert!(value["complete"].is_boolean());
    assert!(value["corrected"].is_null(), "no event here has an expected interval");
    let slowest = value["slowest"].as_array().unwrap();
    assert!((1..=4).contains(&slowest.len()) && slowest.len() as u64 <= whole(&value["count"]));
    assert_eq!(slowest[0]["duration"], value["max"]);
    for slow in slowest {
        assert_keys(slow, &["start_unix_ns", "duration", "tag", "thread"]);
        assert!(whole(&slow["start_unix_ns"]) > 1_600_000_000_000_000_000);
        assert!(slow["tag"].is_u64() || slow["tag"].is_null());
        assert_eq!(slow["thread"], "main");
    }
    assert!(whole(&value["count"]) > 0, "without a sample it is null");
}

fn json(collector: &Collector) -> Value {
    serde_json::from_str(&collector.report().to_json()).expect("JSON")
}

/// After three order placements, and nothing else of what has limits.
#[track_caller]
fn assert_are_the_limits_of_the_preset(limits: &Value) {
    let told: Vec<_> = limits
        .as_array()
        .unwrap()
        .iter()
        .map(|limit| {
            assert_keys(
                limit,
                &[
                    "event",
                    "quantile",
                    "window",
                    "limit",
                    "unit",
                    "state",
                    "over",
                    "count",
                    "observed",
                    "since_unix_ns",
                    "raised",
                    "cleared",
                ],
            );
            assert!(
                (&limit["window"], &limit["unit"], whole(&limit["over"]))
                    == (&"60s".into(), &"ns".into(), 0)
            );
            assert!(
                limit["since_unix_ns"].is_null() && limit["raised"] == 0 && limit["cleared"] == 0
            );
            if limit["event"] == "order_placement" {
                assert_eq!((limit["state"].as_str(), whole(&limit["count"])), (Some("ok"), 3));
                assert!(whole(&limit["observed"]) < 20_000_000);
            } else {
                assert_eq!((limit["state"].as_str(), whole(&limit["count"])), (Some("unknown"), 0));
                assert!(limit["observed"].is_null(), "no sample, no quantile");
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
    assert_eq!(told, expected, "the limits of the preset");
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

    let json = json(&collector);
    assert_keys(&json, &["schema", "unix_ns", "uptime_ns", "clock", "events", "sla", "health"]);
    assert_eq!(json["schema"], "tailwatch.report/1");
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
        assert_keys(event, &["id", "name", "unit", "windows", "total", "outcomes", "in_flight"]);
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
        assert!(
            in_flight["oldest_ns"].is_null() && in_flight["oldest_tag"].is_null(),
            "{in_flight}"
        );
        if id == 3 || id == 7 {
            assert_is_summary(&event["windows"]["60s"]);
            assert_is_summary(&event["total"]);
        } else {
            let windows = event["windows"].as_object().unwrap();
            assert!(windows.values().all(Value::is_null), "nothing happened: {event}");
            assert!(event["total"].is_null());
        }
        for outcome in ["ok", "error", "cancelled"] {
            assert_eq!(event["outcomes"][outcome], u64::from(id == 3));
        }
    }
    let health = &json["health"];
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
            "invalid",
            "unknown_events",
            "unregistered",
            "observer_panics",
            "drain_lag_ns",
            "enabled",
            "sampling",
            "overhead_ratio",
            "memory_bytes",
        ],
    );
    for (key, value) in health.as_object().unwrap() {
        match key.as_str() {
            "enabled" => assert_eq!(*value, false),
            "sampling" => assert_keys(value, &[]),
            "overhead_ratio" => {
                assert!(value.as_f64().is_some_and(|ratio| ratio > 0.0 && ratio < 2.0), "{value}")
            }
            "produced" | "delivered" => assert_eq!(whole(value), 7),
            "memory_bytes" => assert_eq!(whole(value), collector.memory_bytes() as u64),
            "drain_lag_ns" | "clock_anomalies" | "late" => assert!(value.is_u64(), "{key}"),
            _ => assert_eq!(whole(value), 0, "{key}"),
        }
    }
}

#[test]
fn spans_that_are_open_are_told_with_the_tag_of_the_oldest() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    let spans = [5, 6, 7].map(|tag| measure_tagged(Trading::OrderFill, tag));
    collector.flush();
    let in_flight = collector.report().event(Trading::OrderFill.id()).unwrap().in_flight;
    assert_eq!((in_flight.open, in_flight.oldest_tag), (3, Some(5)));
    assert!(
        in_flight.oldest_ns.is_some_and(|age| age <= collector.report().uptime_ns),
        "{in_flight:?}"
    );
    drop(spans);
    collector.stop();
    let in_flight = collector.report().event(Trading::OrderFill.id()).unwrap().in_flight;
    assert_eq!((in_flight.open, in_flight.oldest_tag, in_flight.oldest_ns), (0, None, None));
}

#[test]
fn a_collector_that_saw_nothing_reports_that() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    let json = json(&collector);
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
    // The rings alone: 8 of 16,384 records of 16 bytes.
    assert!(collector.memory_bytes() >= 8 * 16_384 * 16);
}

#[test]
fn the_table_names_every_event_and_says_what_was_lost() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    time(Trading::OrderFill, || ());
    collector.stop();
    let table = collector.report().to_string();
    for info in Trading::ALL {
        assert!(table.contains(info.name), "{} is missing:\n{table}", info.name);
    }
    for word in [
        "p50",
        "p95",
        "p99",
        "p99.9",
        "60s",
        "total",
        "exact",
        "2 delivered",
        "0 overwritten",
        "0 pending",
    ] {
        assert!(table.contains(word), "{word} is missing:\n{table}");
    }
    assert!(table.ends_with("; stopped"), "{table}");
}

#[test]
fn the_table_says_when_recording_is_off() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    let says = |collector: &Collector| collector.report().to_string().contains("recording is off");
    assert!(!says(&collector));
    collector.set_enabled(false);
    assert!(says(&collector));
    collector.set_enabled(true);
    assert!(!says(&collector));
}

/// The quantile by nearest rank: the smallest sample that at least the share q of all does not exceed.
fn nearest_rank(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1);
    sorted[rank - 1]
}

const PER_MILLE: [usize; 4] = [500, 950, 990, 999];

fn quantiles(summary: &Summary) -> [u64; 4] {
    [summary.p50, summary.p95, summary.p99, summary.p99_9]
}

/// Numbers that repeat from run to run, between 1 and some 8 ms.
fn durations(count: usize) -> Vec<u64> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // Over many powers of two, as latencies are.
    (0..count).map(|_| 1 + ((next() % 1_000) << (next() % 14))).collect()
}

#[track_caller]
fn assert_moments(summary: &Summary, sorted: &[u64]) {
    assert_eq!(summary.count, sorted.len() as u64);
    assert_eq!(summary.estimated_total, summary.count);
    assert_eq!((summary.min, summary.max), (sorted[0], sorted[sorted.len() - 1]));
    #[expect(clippy::cast_precision_loss, reason = "compared to a nanosecond")]
    let mean = sorted.iter().sum::<u64>() as f64 / sorted.len() as f64;
    assert!((summary.mean.to_f64() - mean).abs() <= 1.0, "{} instead of {mean}", summary.mean);
    #[expect(clippy::cast_precision_loss, reason = "compared to a nanosecond")]
    let square = |x: &u64| (*x as f64 - mean).powi(2);
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let deviations = [sorted.len(), (sorted.len() - 1).max(1)]
        .map(|of| (sorted.iter().map(square).sum::<f64>() / of as f64).sqrt());
    // Of these samples, or of what they are drawn from: both are called so.
    let told = summary.stddev.to_f64();
    assert!(
        deviations.iter().any(|stddev| (told - stddev).abs() <= 1.0),
        "{told}, not one of {deviations:?}"
    );
    assert!(summary.complete);
}

/// Records these durations in a collector of its own; what the observer saw is what the report was made of.
fn report_of(durations: &[u64], set_up: impl FnOnce(Builder) -> Builder) -> (Summary, Summary) {
    let log = Log::default();
    let collector = set_up(Collector::builder()).observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    for duration in durations {
        record_duration(Trading::GcPause, Duration::from_nanos(*duration));
    }
    collector.stop();
    let told: Vec<_> = log.all().iter().map(|seen| seen.duration_ns_or_value.unwrap()).collect();
    // A tick of less than a nanosecond can tell every nanosecond.
    if collector.report().clock.hz >= 1_100_000_000 || collector.report().clock.hz == 1_000_000_000
    {
        assert_eq!(told, durations, "a duration comes back as it was, to the nanosecond");
    } else {
        say_loudly(
            "this machine's tick is longer than a nanosecond: durations come back rounded to it",
        );
        let tick = 1_000_000_000 / collector.report().clock.hz + 1;
        assert!(told.iter().zip(durations).all(|(told, was)| told.abs_diff(*was) <= tick));
    }
    let window = collector.stats(Trading::GcPause, MINUTE).unwrap().unwrap();
    let total = collector.total(Trading::GcPause).unwrap().unwrap();
    let mut sorted = told;
    sorted.sort_unstable();
    assert_moments(&window, &sorted);
    assert_moments(&total, &sorted);
    let ranks = PER_MILLE.map(|per_mille| nearest_rank(&sorted, per_mille));
    for summary in [window, total] {
        match summary.accuracy {
            Accuracy::Exact => assert_eq!(quantiles(&summary), ranks),
            Accuracy::WithinPpm(ppm) => {
                for (told, rank) in quantiles(&summary).into_iter().zip(ranks) {
                    let error = u128::from(told.abs_diff(rank)) * 1_000_000;
                    assert!(
                        error <= u128::from(ppm) * u128::from(rank),
                        "{told} is not within {ppm} ppm of {rank}"
                    );
                }
            }
        }
    }
    (window, total)
}

#[test]
fn quantiles_of_known_durations_are_those_at_the_nearest_rank() {
    let _turn = in_turn();
    for count in [1, 2, 3, 19, 20, 21, 100, 101, 512] {
        let (window, total) = report_of(&durations(count), |builder| builder);
        assert_eq!(window.accuracy, Accuracy::Exact, "{count} samples are kept");
        assert_eq!(total.accuracy, Accuracy::Exact, "{count} samples are kept");
        report_of(&durations(count), Builder::monotonic_clock);
    }
    // p99.9 of 1,000 samples is the 999th smallest.
    let thousand: Vec<_> = (1..=1_000).map(|n| n * 1_000).collect();
    let (window, _) = report_of(&thousand, |builder| builder.exact_samples(1_000));
    assert_eq!(window.accuracy, Accuracy::Exact);
    assert_eq!(quantiles(&window), [500_000, 950_000, 990_000, 999_000]);
}

#[test]
fn quantiles_of_more_samples_than_are_kept_are_within_the_error_that_is_told() {
    let _turn = in_turn();
    for count in [513, 2_000, 7_000] {
        let (window, _) = report_of(&durations(count), |builder| builder);
        assert!(
            matches!(window.accuracy, Accuracy::WithinPpm(1..)),
            "{count}: {:?}",
            window.accuracy
        );
        // 1.09 % is that of the histogram; the rounding to whole nanoseconds is in it.
        assert!(window.accuracy.max_relative_error_ppm() <= 12_000, "{:?}", window.accuracy);
    }
}

#[test]
fn numbers_are_told_in_their_unit() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    let mut values: Vec<u64> = (0..200).map(|n| n * n % 313).collect();
    values.push(MAX_PAYLOAD - 1);
    for value in &values {
        record_value(Trading::QueueBacklog, *value);
    }
    collector.stop();
    let told: Vec<_> = log.all().iter().filter_map(|seen| seen.duration_ns_or_value).collect();
    assert_eq!(told, values);
    let summary = collector.stats(Trading::QueueBacklog, MINUTE).unwrap().unwrap();
    values.sort_unstable();
    assert_eq!((summary.count, summary.min, summary.max), (201, 0, MAX_PAYLOAD - 1));
    assert_eq!(summary.accuracy, Accuracy::Exact);
    assert_eq!(quantiles(&summary), PER_MILLE.map(|per_mille| nearest_rank(&values, per_mille)));
    let outcomes = collector.report().event(Trading::QueueBacklog.id()).unwrap().outcomes;
    assert_eq!((outcomes.ok, outcomes.error, outcomes.cancelled), (0, 0, 0), "a value is no span");
}

#[test]
fn what_is_too_large_is_counted_and_makes_no_sample() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    for huge in [MAX_PAYLOAD, MAX_PAYLOAD + 1, u64::MAX] {
        record_value(Trading::QueueBacklog, huge);
    }
    record_duration(Trading::GcPause, Duration::MAX);
    collector.stop();
    assert_eq!(collector.health().saturated, 4);
    assert_eq!(collector.health().delivered, 4);
    assert_eq!(collector.total(Trading::QueueBacklog), Ok(None));
    assert_eq!(collector.total(Trading::GcPause), Ok(None));
}

#[test]
fn a_user_measures_events_of_his_own() {
    let _turn = in_turn();
    let log = Log::default();
    let collector =
        Collector::builder().events(Gateway::ALL).observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    drop(measure(Gateway::DecodePacket));
    record_duration(Gateway::RoundTrip, Duration::from_millis(3));
    record_value(Gateway::Backlog, 12);
    collector.stop();
    let json = json(&collector);
    let told: Vec<_> = json["events"].as_array().unwrap().iter().collect();
    let told: Vec<_> = told
        .iter()
        .map(|event| {
            (
                event["id"].as_u64().unwrap(),
                event["name"].as_str().unwrap(),
                event["unit"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [(20, "decode_packet", "ns"), (2_047, "to_the_venue_and_back", "ns"), (1, "backlog", "1")]
    );
    for event in json["events"].as_array().unwrap() {
        assert_eq!(event["total"]["count"], 1);
    }
    assert_eq!(collector.total(Gateway::Backlog).unwrap().unwrap().max, 12);
    let names: Vec<_> = log.all().into_iter().map(|seen| seen.event).collect();
    assert_eq!(names, ["decode_packet", "decode_packet", "to_the_venue_and_back", "backlog"]);
    let table = collector.report().to_string();
    assert!(Gateway::ALL.iter().all(|info| table.contains(info.name)), "{table}");
    let all = collector.all_stats(MINUTE).unwrap();
    let all: Vec<_> =
        all.iter().map(|(name, summary)| (*name, summary.map(|summary| summary.count))).collect();
    assert_eq!(
        all,
        [("decode_packet", Some(1)), ("to_the_venue_and_back", Some(1)), ("backlog", Some(1))]
    );
}

#[test]
fn several_sets_of_events_go_together() {
    const MORE: &[EventInfo] = &[EventInfo::new(EventId::new(100).unwrap(), "one_more")];
    let _turn = in_turn();
    let collector = Collector::builder().events(Trading::ALL).events(MORE).start().unwrap();
    collector.register_thread("main").unwrap();
    drop(measure(MORE[0].id));
    drop(measure(Trading::GcPause));
    collector.stop();
    assert_eq!(collector.report().events.len(), 9);
    assert_eq!(collector.total(MORE[0].id).unwrap().unwrap().count, 1);
    assert_eq!(collector.total(Trading::GcPause).unwrap().unwrap().count, 1);
}

#[test]
fn an_event_that_was_not_announced_is_delivered_and_counted() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    drop(measure(Gateway::DecodePacket));
    drop(measure(Gateway::RoundTrip));
    collector.stop();
    assert_eq!(log.count(), 4);
    assert!(log.all().iter().all(|seen| seen.event == "unknown"));
    assert_eq!(collector.health().unknown_events, 4);
    assert_eq!(collector.health().delivered, 4);
}

#[test]
fn windows_are_those_that_were_asked_for_the_shortest_first() {
    let _turn = in_turn();
    let windows = [
        WindowSpec::new(Duration::from_mins(10), 10),
        WindowSpec::new(Duration::from_millis(2_500), 5),
        WindowSpec::new(Duration::from_secs(90), 1),
    ];
    let collector = Collector::builder().windows(&windows).start().unwrap();
    collector.register_thread("main").unwrap();
    drop(measure(Trading::OrderFill));
    collector.stop();
    let report = collector.report();
    let lengths: Vec<_> = report.events[3].windows.iter().map(|window| window.length).collect();
    assert_eq!(lengths, [2_500, 90_000, 600_000].map(Duration::from_millis));
    let json = json(&collector);
    assert_keys(&json["events"][3]["windows"], &["2500ms", "90s", "600s"]);
    for length in [90_000, 600_000].map(Duration::from_millis) {
        let summary = collector.stats(Trading::OrderFill, length).unwrap().unwrap();
        assert_eq!(summary.count, 1);
        assert!(summary.covered <= u64::try_from(length.as_nanos()).unwrap());
        assert!(
            summary.covered <= report.uptime_ns + 1_000_000,
            "no more than there was: {summary:?}"
        );
    }
    assert!(collector.stats(Trading::OrderFill, MINUTE).is_err(), "instead of the usual ones");
}

#[test]
fn the_usual_windows_are_1_5_and_60_seconds() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    for seconds in [1, 5, 60] {
        assert_eq!(collector.stats(Trading::OrderFill, Duration::from_secs(seconds)), Ok(None));
        assert_eq!(collector.all_stats(Duration::from_secs(seconds)).unwrap().len(), 8);
    }
}

#[test]
fn a_question_about_what_there_is_not_names_it() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    let length = Duration::from_secs(17);
    let known = [1, 5, 60].map(Duration::from_secs).to_vec();
    let expected = QueryError::UnknownWindow { length, known };
    assert_eq!(collector.stats(Trading::OrderFill, length), Err(expected.clone()));
    assert_eq!(collector.all_stats(length), Err(expected.clone()));
    assert!(
        expected.to_string().contains("17s") && expected.to_string().contains("60s"),
        "{expected}"
    );

    let id = Gateway::DecodePacket.id();
    let expected = QueryError::UnknownEvent { id };
    assert_eq!(collector.stats(id, MINUTE), Err(expected.clone()));
    assert_eq!(collector.total(Gateway::DecodePacket), Err(expected.clone()));
    assert!(expected.to_string().contains("20"), "{expected}");
}
