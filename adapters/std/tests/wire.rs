//! Spans that begin in one process and end in another.

mod support;

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
};

use support::in_turn;
use tailwatch::{
    Builder, CancelOnDrop, Collector, IntoWire, Kind, Outcome, Token, Trading, WireError, events,
    measure, measure_cancel_on_drop, receive_span, record_end, record_start,
};

events! {
    /// Events of this test.
    enum Local {
        Travels = 60,
        /// Has the same number as nothing else, and is in no collector.
        Unlisted = 61,
    }
}

const ORDER: Trading = Trading::OrderPlacement;

fn builder() -> Builder {
    Collector::builder().ignore_environment().manual_drain()
}

/// Returns the counts of open spans and of samples of an event.
fn open_and_ended(collector: &Collector) -> (u64, u64) {
    collector.flush();
    let report = collector.report();
    let event = report.event(ORDER).unwrap();
    (event.in_flight.open, event.total.as_ref().map_or(0, |total| total.summary.count))
}

/// What the receiver prints once its collector has started.
#[cfg(target_os = "linux")]
const READY: &str = "ready to receive";

/// This test runs itself as another process, which receives the span and ends it.
#[cfg(target_os = "linux")]
#[test]
fn a_span_ends_in_another_process_with_its_duration_and_tag() {
    const IN_CHILD: &str = "WIRE_IN_CHILD";
    const NAME: &str = "a_span_ends_in_another_process_with_its_duration_and_tag";
    for monotonic in [false, true] {
        if env::var_os(IN_CHILD).is_some() {
            let monotonic = env::var(IN_CHILD).unwrap() == "true";
            return receive(monotonic);
        }
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(IN_CHILD, monotonic.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // A span that begins before the collector where it arrives would not be open there.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with(READY)), "the receiver has not started");
        send(monotonic, &mut child.stdin.take().unwrap());
        let text: Vec<_> = lines.collect();
        let is_received = text.iter().any(|line| line.ends_with("received: ok"));
        assert!(child.wait().unwrap().success() && is_received, "{text:?}");
    }
}

/// Begins spans, and hands them over in another process than this one, which has the clock already.
#[cfg(target_os = "linux")]
fn send(monotonic: bool, to: &mut impl Write) {
    const NAME: &str = "WIRE_SEND";
    // All collectors of a process read one clock, so a sender for each clock is a process as well.
    let mut sender = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_sender_of_the_test_above", "--nocapture"])
        .env(NAME, monotonic.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    sender.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(sender.wait().unwrap().success(), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("wire: ")).expect(&text);
    to.write_all(line.as_bytes()).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn the_sender_of_the_test_above() {
    let _turn = in_turn();
    let Ok(monotonic) = env::var("WIRE_SEND") else { return };
    let builder = if monotonic == "true" { builder().monotonic_clock() } else { builder() };
    let collector = builder.start().unwrap();
    collector.install().unwrap();
    let span = measure(ORDER);
    assert_eq!(open_and_ended(&collector), (1, 0));
    let wire = span.into_wire(4_711);
    assert_eq!(open_and_ended(&collector), (0, 0), "the span is open elsewhere");
    let health = collector.health();
    assert_eq!((health.invalid, health.orphans, health.clock_anomalies), (0, 0, 0), "{health:?}");
    let halves =
        [&wire[..16], &wire[16..]].map(|half| u128::from_be_bytes(half.try_into().unwrap()));
    println!("wire: {:032x}{:032x}", halves[0], halves[1]);
    collector.stop();
}

#[cfg(target_os = "linux")]
fn receive(monotonic: bool) {
    let builder = if monotonic { builder().monotonic_clock() } else { builder() };
    let collector = builder.start().unwrap();
    collector.install().unwrap();
    println!("{READY}");
    let mut hex = String::new();
    std::io::stdin().read_to_string(&mut hex).unwrap();
    let mut wire = [0; 32];
    for (index, byte) in wire.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap();
    }
    let token = receive_span(ORDER, &wire).unwrap();
    let begun = token.start();
    assert_eq!(open_and_ended(&collector), (1, 0), "it is open here now");
    let oldest = collector.report().event(ORDER).unwrap().in_flight.oldest_tag;
    assert_eq!(oldest, Some(4_711));
    std::thread::sleep(core::time::Duration::from_millis(20));
    CancelOnDrop::from(token).end(Outcome::Error);
    assert_eq!(open_and_ended(&collector).0, 0);
    let report = collector.report();
    let failed = report.event(ORDER).unwrap().failed.clone().unwrap();
    // It has lasted at least since it arrived, and no longer than this test has.
    let nanos = failed.summary.max;
    assert!((20_000_000..60_000_000_000).contains(&nanos), "{nanos}");
    assert_eq!(failed.slowest[0].tag, Some(4_711));
    assert!(begun > 0);
    assert_eq!(collector.health().clock_anomalies, 0);
    println!("received: ok");
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let _turn = in_turn();
    let collector = builder().events(Trading::ALL).events(&Local::ALL[..1]).start().unwrap();
    collector.install().unwrap();
    let wire = record_start(Local::Travels).into_wire(1);
    if cfg!(not(target_os = "linux")) {
        return;
    }
    assert!(receive_span(Local::Travels, &wire).unwrap().is_recorded());
    let changed = |byte: usize, bits: u8| {
        let mut wire = wire;
        wire[byte] ^= bits;
        receive_span(Local::Travels, &wire).unwrap_err()
    };
    assert_eq!(changed(8, 3), WireError::Version { version: 2 });
    assert!(matches!(changed(9, 0x30), WireError::OtherClock { .. }));
    assert!(matches!(changed(16, 1), WireError::OtherEvent { .. }));
    assert!(matches!(changed(31, 1), WireError::OtherBoot { .. }));
    let other = receive_span(ORDER, &wire).unwrap_err();
    assert!(matches!(other, WireError::OtherEvent { .. }) && other.to_string().contains("hash"));
    collector.stop();
    drop(collector);
    let collector = builder().start().unwrap();
    collector.install().unwrap();
    // The name of an event is known once any collector of the process has had it.
    assert!(receive_span(Local::Travels, &wire).is_ok());
    collector.stop();
}

#[test]
fn a_span_that_is_not_recorded_arrives_as_such() {
    let _turn = in_turn();
    let collector = builder().start().unwrap();
    collector.install().unwrap();
    collector.set_event_enabled(ORDER, false);
    let off = measure_cancel_on_drop(ORDER).into_wire(1);
    collector.set_event_enabled(ORDER, true);
    assert!(!receive_span(ORDER, &off).unwrap().is_recorded());
    assert!(!receive_span(ORDER, &Token::unrecorded().into_wire(3)).unwrap().is_recorded());
    let unlisted = record_start(Local::Unlisted).into_wire(1);
    assert!(receive_span(ORDER, &unlisted).is_ok_and(|token| !token.is_recorded()));

    let wire = record_start(ORDER).into_wire(u64::MAX);
    collector.set_event_enabled(ORDER, false);
    assert!(!receive_span(ORDER, &wire).unwrap().is_recorded(), "it is off where it arrives");
    collector.stop();
}

#[test]
fn hostile_bytes_are_refused_or_counted() {
    let _turn = in_turn();
    let collector = builder().start().unwrap();
    collector.install().unwrap();
    let valid = record_start(ORDER).into_wire(9);
    let mut bits = 1_u64;
    for round in 0..20_000_usize {
        // A generator of Marsaglia.
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        let mut wire = valid;
        let [at, value, ..] = bits.to_le_bytes();
        let at = usize::from(at) % if round % 2 == 0 { 32 } else { 16 };
        wire[at] = value;
        if let Ok(token) = receive_span(ORDER, &wire) {
            record_end(token, Outcome::Ok);
        }
    }
    collector.flush();
    let health = collector.health();
    assert_eq!(health.produced, health.delivered + health.overwritten, "{health:?}");
    assert_eq!(health.invalid, 0, "{health:?}");
    collector.stop();
}

#[test]
fn a_handed_over_span_is_a_forget_with_its_reason() {
    let _turn = in_turn();
    let log = support::Log::default();
    let collector = builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let token = record_start(ORDER);
    let start = token.start();
    let _ = token.into_wire(5);
    collector.stop();
    let forget = log.all().into_iter().find(|seen| seen.kind == Kind::Forget).unwrap();
    assert_eq!((forget.record.ticks(), forget.record.payload()), (start, 3));
}
