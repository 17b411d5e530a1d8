//! Checks each clock: its records are in order, its durations are plausible, and the report names
//! it.

mod support;

use core::time::Duration;

use support::{Log, Moment, in_own_process, in_turn, print_notice, spin};
use tailwatch::{
    BuildError, Builder, ClockMode, ClockSource, Collector, Kind, Trading, measure_tagged,
};

/// How long a thread spins between the begins and ends of the spans.
const STEP: Duration = Duration::from_micros(300);

/// Measures nested spans with a collector that `set_up` configures. Returns the source of its
/// clock, whether the clock is ordered, and its rate in Hz.
fn measure_by(set_up: impl FnOnce(Builder) -> Builder) -> (ClockSource, bool, u64) {
    let _turn = in_turn();
    let log = Log::default();
    let collector = set_up(Collector::builder()).observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    let mut bounds = Vec::new();
    for round in 0..5 {
        let (outer, outer_began) = Moment::of(|| measure_tagged(Trading::OrderFill, round * 2));
        spin(STEP);
        let (inner, inner_began) =
            Moment::of(|| measure_tagged(Trading::OrderPlacement, round * 2 + 1));
        spin(STEP);
        let ((), inner_ended) = Moment::of(|| drop(inner));
        spin(STEP);
        let ((), outer_ended) = Moment::of(|| drop(outer));
        bounds.push(inner_began.to(inner_ended));
        bounds.push(outer_began.to(outer_ended));
    }
    collector.stop();

    let seen = log.all();
    let kinds: Vec<_> = seen.iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, [Kind::Start, Kind::Start, Kind::EndOk, Kind::EndOk].repeat(5));
    let ticks: Vec<_> = seen.iter().map(|seen| seen.record.ticks()).collect();
    assert!(ticks.is_sorted(), "the records of one thread must be in the order of time: {ticks:?}");
    let durations: Vec<_> = seen.iter().filter_map(|seen| seen.duration_ns_or_value).collect();
    for (duration, bounds) in durations.iter().zip(&bounds) {
        bounds.assert_contain(*duration, "a span");
    }
    for pair in durations.chunks(2) {
        assert!(pair[0] < pair[1], "the inner span must be the shorter one: {durations:?}");
    }
    let report = collector.report();
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    let clock = report.clock.as_ref().unwrap();
    assert_eq!(json["clock"]["source"], clock.source.to_string());
    assert_eq!(json["clock"]["ordered"], clock.ordered);
    assert_eq!(json["clock"]["hz"], clock.hz);
    assert!(report.to_string().contains(&format!("clock {}", clock.source)), "{report}");
    (clock.source, clock.ordered, clock.hz)
}

fn assert_hz(source: ClockSource, hz: u64) {
    match source {
        ClockSource::Monotonic => assert_eq!(hz, 1_000_000_000, "a tick must be one nanosecond"),
        ClockSource::Tsc => assert!((1_000_000..20_000_000_000).contains(&hz), "{hz} Hz"),
    }
}

#[test]
fn the_monotonic_clock_measures_correctly() {
    in_own_process("the_monotonic_clock_measures_correctly", || {
        let (source, ordered, hz) = measure_by(Builder::monotonic_clock);
        assert_eq!((source, ordered), (ClockSource::Monotonic, true));
        assert_hz(source, hz);
    });
}

#[test]
fn the_ordered_clock_measures_correctly_and_is_the_default() {
    let (source, ordered, hz) = measure_by(|builder| builder.clock_mode(ClockMode::Ordered));
    assert!(ordered);
    assert_hz(source, hz);
    assert_eq!(
        measure_by(|builder| builder),
        (source, ordered, hz),
        "the rate must be the same for all collectors of a process"
    );
}

#[test]
fn the_relaxed_clock_measures_correctly() {
    let (source, ordered, hz) = measure_by(|builder| builder.clock_mode(ClockMode::Relaxed));
    assert_hz(source, hz);
    if source == ClockSource::Monotonic {
        print_notice(
            "NOT TESTED: the relaxed clock, as this machine's tick counter is not trustworthy",
        );
    }
    assert_eq!(ordered, source == ClockSource::Monotonic);
}

/// A span may end in another collector than the one where it began.
#[test]
fn all_collectors_of_a_process_read_the_same_clock() {
    in_own_process("all_collectors_of_a_process_read_the_same_clock", || {
        // A collector that does not start fixes nothing.
        Collector::builder().rings(0).monotonic_clock().start().unwrap_err();
        let first = Collector::builder().start().unwrap();
        let in_use = first.report().clock.unwrap().source;
        drop(first);
        let relaxed = Collector::builder().clock_mode(ClockMode::Relaxed).start().unwrap();
        assert_eq!(relaxed.report().clock.unwrap().source, in_use);
        let variable = ("TAILWATCH_CLOCK", "monotonic");
        let second = Collector::builder().environment([variable]).start();
        if in_use == ClockSource::Monotonic {
            print_notice("NOT TESTED: a second clock, as this machine has only one");
            second.unwrap();
            return;
        }
        let error = second.unwrap_err().to_string();
        assert!(error.starts_with("TAILWATCH_CLOCK: "), "{error}");
        assert!(error.contains("the clock monotonic is not the clock tsc"), "{error}");
        let error = Collector::builder().monotonic_clock().start().unwrap_err();
        assert!(matches!(
            error,
            BuildError::ClockSource { source: ClockSource::Monotonic, in_use: ClockSource::Tsc }
        ));
    });
}
