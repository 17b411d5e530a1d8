//! Observers and traces get the labels of events.

mod support;

use core::time::Duration;
use std::sync::{Arc, Mutex};

use support::{MemoryFile, in_turn};
use tailwatch::{Collector, Event, TraceWriter, Trading, record_duration};

fn builder() -> tailwatch::Builder {
    Collector::builder().ignore_environment().manual_drain()
}

#[test]
fn observers_and_traces_get_the_labels() {
    let _turn = in_turn();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&seen);
    let file = MemoryFile::default();
    let trace = TraceWriter::with_labels(file.clone());
    let mut builder = builder()
        .observer(move |delivery| log.lock().unwrap().push(delivery.labels.to_string()))
        .observer(trace.observer());
    let early = builder.event("traced").label("symbol", "BTC").label("venue", "X").add().unwrap();
    let collector = builder.events(Trading::ALL).start().unwrap();
    collector.register_thread("main").unwrap();
    let later = collector.event("traced").label("symbol", "a\"b").add().unwrap();
    for event in [early, later, Trading::GcPause.id()] {
        record_duration(event, Duration::from_micros(1));
    }
    collector.stop();
    trace.finish().unwrap();
    let expected = [r#"symbol="BTC",venue="X""#, r#"symbol="a\"b""#, ""];
    assert_eq!(*seen.lock().unwrap(), expected);
    let text = file.text();
    let rows: Vec<_> = text.lines().collect();
    assert!(rows[0].ends_with(",thread,tid,labels"), "{text}");
    assert!(
        rows[1].starts_with(r#""traced{symbol=""BTC"",venue=""X""}",duration,"#)
            && rows[1].contains(",main,")
            && rows[1].ends_with(r#","symbol=""BTC"",venue=""X""""#),
        "{text}"
    );
    assert!(rows[3].contains(",main,") && rows[3].ends_with(','), "{text}");
}

#[test]
fn the_sum_of_a_family_leaves_out_events_with_other_labels() {
    let _turn = in_turn();
    let collector = builder().start().unwrap();
    collector.register_thread("main").unwrap();
    let make = |key: Option<&str>, value| {
        let event = collector.event("summed");
        key.map_or(collector.event("summed"), |key| event.label(key, value)).add().unwrap()
    };
    // Each order is measured three times.
    let [plain, btc, eth, venue] =
        [(None, ""), (Some("symbol"), "BTC"), (Some("symbol"), "ETH"), (Some("venue"), "X")]
            .map(|(key, value)| make(key, value));
    for events in [[plain, btc, venue], [plain, eth, venue]] {
        for event in events {
            record_duration(event, Duration::from_micros(1));
        }
    }
    collector.stop();
    let sum = collector.report().family("summed").unwrap();
    assert_eq!(sum.total.unwrap().summary.count, 2);
}
