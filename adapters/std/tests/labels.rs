//! Observers and traces get the labels of events.

mod support;

use core::time::Duration;
use std::{
    io,
    sync::{Arc, Mutex},
};

use support::in_turn;
use tailwatch::{Collector, Event, TraceWriter, Trading, record_duration};

fn builder() -> tailwatch::Builder {
    Collector::builder().ignore_environment().manual_drain()
}

#[test]
fn observers_and_traces_get_the_labels() {
    let _turn = in_turn();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&seen);
    let file = SharedFile::default();
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
    let text = String::from_utf8(file.0.lock().unwrap().clone()).unwrap();
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

/// A file in memory.
#[derive(Clone, Default)]
struct SharedFile(Arc<Mutex<Vec<u8>>>);

impl io::Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
