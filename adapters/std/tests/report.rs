//! The report: its table, its JSON, the accuracy of its numbers, and its events and windows.

#[path = "report/accuracy.rs"]
mod accuracy;
#[path = "report/json.rs"]
mod json;
mod support;

use core::time::Duration;

use serde_json::Value;
use support::{Log, in_turn};
use tailwatch::{
    Collector, Event, EventId, EventInfo, QueryError, Trading, Unit, WindowSpec, events, measure,
    measure_tagged, record_duration, record_value, time,
};

const MINUTE: Duration = Duration::from_mins(1);

events! {
    /// Events as a user of the library declares them.
    enum Gateway {
        /// A span.
        DecodePacket = 20,
        /// An event with an explicit name and the largest possible number.
        RoundTrip = 2_047 { name: "to_the_venue_and_back" },
        /// A plain number.
        Backlog = 1 { unit: Unit::One },
    }
}

fn to_json(collector: &Collector) -> Value {
    serde_json::from_str(&collector.report().to_json()).expect("the report is valid JSON")
}

#[test]
fn open_spans_are_reported_with_the_tag_of_the_oldest() {
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
fn the_table_has_every_event_and_the_lost_records() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    time(Trading::OrderFill, || ());
    collector.stop();
    let table = collector.report().table().width(usize::MAX).to_string();
    for info in Trading::ALL {
        assert!(table.contains(info.name), "{} is missing:\n{table}", info.name);
    }
    for word in ["p50", "p99", "p99.9", "max", "total", "2 delivered", "0 overwritten", "0 pending"]
    {
        assert!(table.contains(word), "{word} is missing:\n{table}");
    }
    assert!(table.lines().next().unwrap().contains(", collector stopped; clock "), "{table}");
}

#[test]
fn the_table_shows_that_recording_is_off() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    let shows_off = || collector.report().to_string().contains("recording is off");
    assert!(!shows_off());
    collector.set_enabled(false);
    assert!(shows_off());
    collector.set_enabled(true);
    assert!(!shows_off());
}

#[test]
fn a_collector_measures_user_defined_events() {
    let _turn = in_turn();
    let log = Log::default();
    let collector =
        Collector::builder().events(Gateway::ALL).observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    drop(measure(Gateway::DecodePacket));
    record_duration(Gateway::RoundTrip, Duration::from_millis(3));
    record_value(Gateway::Backlog, 12);
    collector.stop();
    let json = to_json(&collector);
    let reported: Vec<_> = json["events"]
        .as_array()
        .unwrap()
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
        reported,
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
fn several_sets_of_events_can_be_combined() {
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
fn a_record_of_an_unknown_event_is_delivered_and_counted() {
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
fn the_configured_windows_are_reported_shortest_first() {
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
    let json = to_json(&collector);
    json::assert_keys(&json["events"][3]["windows"], &["2500ms", "90s", "600s"]);
    for length in [90_000, 600_000].map(Duration::from_millis) {
        let summary = collector.stats(Trading::OrderFill, length).unwrap().unwrap();
        assert_eq!(summary.count, 1);
        assert!(summary.covered <= u64::try_from(length.as_nanos()).unwrap());
        assert!(
            summary.covered <= report.uptime_ns + 1_000_000,
            "covered time cannot exceed the uptime: {summary:?}"
        );
    }
    assert!(
        collector.stats(Trading::OrderFill, MINUTE).is_err(),
        "the default windows are replaced"
    );
}

#[test]
fn the_default_windows_are_1_5_and_60_seconds() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    for seconds in [1, 5, 60] {
        assert_eq!(collector.stats(Trading::OrderFill, Duration::from_secs(seconds)), Ok(None));
        assert_eq!(collector.all_stats(Duration::from_secs(seconds)).unwrap().len(), 8);
    }
}

#[test]
fn the_error_for_an_unknown_event_or_window_names_it() {
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
