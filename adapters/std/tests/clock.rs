//! Whatever the clock, spans come out plausible and in order, and the report says which clock it was.

mod support;

use core::time::Duration;

use support::{Around, Log, in_turn, say_loudly, spin};
use tailwatch::{Builder, ClockMode, ClockSource, Collector, Kind, Trading, measure_tagged};

const STEP: Duration = Duration::from_micros(300);

/// Measures the same spans with a collector set up by `set_up`; returns its source, whether it is ordered, and its hz.
fn measure_by(set_up: impl FnOnce(Builder) -> Builder) -> (ClockSource, bool, u64) {
    let _turn = in_turn();
    let log = Log::default();
    let collector = set_up(Collector::builder()).observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    let mut brackets = Vec::new();
    for round in 0..5 {
        let (outer, outer_began) = Around::the(|| measure_tagged(Trading::OrderFill, round * 2));
        spin(STEP);
        let (inner, inner_began) =
            Around::the(|| measure_tagged(Trading::OrderPlacement, round * 2 + 1));
        spin(STEP);
        let ((), inner_ended) = Around::the(|| drop(inner));
        spin(STEP);
        let ((), outer_ended) = Around::the(|| drop(outer));
        brackets.push(inner_began.to(inner_ended));
        brackets.push(outer_began.to(outer_ended));
    }
    collector.stop();

    let seen = log.all();
    let kinds: Vec<_> = seen.iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, [Kind::Start, Kind::Start, Kind::EndOk, Kind::EndOk].repeat(5));
    let ticks: Vec<_> = seen.iter().map(|seen| seen.record.ticks()).collect();
    assert!(ticks.is_sorted(), "one thread's records are in the order of time: {ticks:?}");
    let told: Vec<_> = seen.iter().filter_map(|seen| seen.duration_ns_or_value).collect();
    for (told, bracket) in told.iter().zip(&brackets) {
        bracket.assert_holds(*told, "a span");
    }
    for pair in told.chunks(2) {
        assert!(pair[0] < pair[1], "the inner span is the shorter one: {told:?}");
    }
    let report = collector.report();
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["clock"]["source"], report.clock.source.to_string());
    assert_eq!(json["clock"]["ordered"], report.clock.ordered);
    assert_eq!(json["clock"]["hz"], report.clock.hz);
    assert!(report.to_string().contains(&format!("clock {}", report.clock.source)), "{report}");
    (report.clock.source, report.clock.ordered, report.clock.hz)
}

fn assert_hz(source: ClockSource, hz: u64) {
    match source {
        ClockSource::Monotonic => assert_eq!(hz, 1_000_000_000, "its tick is the nanosecond"),
        ClockSource::Tsc => assert!((1_000_000..20_000_000_000).contains(&hz), "{hz} Hz"),
    }
}

#[test]
fn the_operating_systems_clock_measures_right() {
    let (source, ordered, hz) = measure_by(Builder::monotonic_clock);
    assert_eq!((source, ordered), (ClockSource::Monotonic, true));
    assert_hz(source, hz);
}

#[test]
fn the_ordered_clock_measures_right_and_is_the_default() {
    let (source, ordered, hz) = measure_by(|builder| builder.clock_mode(ClockMode::Ordered));
    assert!(ordered);
    assert_hz(source, hz);
    assert_eq!(
        measure_by(|builder| builder),
        (source, ordered, hz),
        "the ratio is fixed for the process"
    );
}

#[test]
fn the_relaxed_clock_measures_right() {
    let (source, ordered, hz) = measure_by(|builder| builder.clock_mode(ClockMode::Relaxed));
    assert_hz(source, hz);
    if source == ClockSource::Monotonic {
        say_loudly("this machine's counter cannot be trusted: the relaxed clock was not tested");
    }
    assert_eq!(ordered, source == ClockSource::Monotonic);
}
