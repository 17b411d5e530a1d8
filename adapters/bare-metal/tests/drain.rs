//! Tests of the drain, which reads the rings: ordinary records, interrupt storms, clocks that fail,
//! and limits.

use core::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use heapless::Deque;
use proptest::prelude::*;
use tailwatch_bare_metal::{
    Drain, DrainConfig, EventSummary, Health, ReportItem, StaticRing,
    clock::Counter,
    tailwatch_core::{
        Clock, ConfigError, Consumer, Event, EventInfo, Gate, Kind, Outcome, Quantile, Recorder,
        Scope, Shape, StatusChange, TickRate, WindowSpec, events, storage,
    },
};

/// The largest duration of an interrupt that is within its limit, in nanoseconds.
const LIMIT: u64 = 1_000;

/// Returns the limit that `quantile` over one second is at most [`LIMIT`].
const fn limit(quantile: Quantile) -> tailwatch_bare_metal::tailwatch_core::Threshold {
    tailwatch_bare_metal::tailwatch_core::Threshold::value(quantile, LIMIT)
        .over(Duration::from_secs(1))
}

events! {
    /// The events of these tests.
    enum Work {
        /// Work of main.
        Loop = 1,
        /// Work of an interrupt handler.
        Interrupt = 2 { limits: &[limit(Quantile::MAX)] },
    }
}

const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
const SHAPE: Shape = Shape::small(Work::ALL, &WINDOWS);
storage!(Memory: SHAPE, u16);

/// A clock that the test advances or sets back.
#[derive(Debug)]
struct Ticks(AtomicU64);

impl Ticks {
    fn at(ticks: u64) -> Self {
        Self(AtomicU64::new(ticks))
    }
    fn set(&self, ticks: u64) {
        self.0.store(ticks, Relaxed);
    }
    fn advance(&self, ticks: u64) {
        self.0.fetch_add(ticks, Relaxed);
    }
}

impl Clock for Ticks {
    fn start(&self) -> u64 {
        self.0.load(Relaxed)
    }
    fn rate(&self) -> TickRate {
        TickRate::NANOSECONDS
    }
}

type TestDrain<'r, C, const RINGS: usize> = Drain<'r, &'r mut Memory, C, 3, RINGS>;

/// Creates a drain whose storage is leaked, so that it lives as long as a `static`.
fn drain_of<'r, C: Clock, const RINGS: usize>(
    clock: C,
    gate: &'r Gate<3>,
    rings: [Consumer<'r>; RINGS],
) -> TestDrain<'r, C, RINGS> {
    let memory: &'r mut Memory = Box::leak(Box::new(Memory::new()));
    let config =
        DrainConfig { windows: &WINDOWS, events: Work::ALL, clock, gate, rings, changes: None };
    Drain::new(config, memory).unwrap()
}

/// Returns the entry of `event` in the list of all events.
fn info(event: impl Event) -> &'static EventInfo {
    Work::ALL.iter().find(|info| info.id == event.id()).unwrap()
}

/// Asserts that `pushed` records were produced, and that each is delivered, overwritten or pending.
fn assert_all_accounted_for(health: &Health, pushed: u64) {
    assert_eq!(health.produced, pushed);
    assert_eq!(health.delivered + health.overwritten + health.pending, pushed);
}

#[test]
fn a_span_in_an_interrupt_does_not_disturb_the_span_it_preempts() {
    let (clock, gate) = (Ticks::at(0), Gate::new());
    let (main_ring, interrupt_ring) = (StaticRing::<16>::new(), StaticRing::<16>::new());
    let main = main_ring.take_recorder(&gate, &clock).unwrap();
    let interrupt = interrupt_ring.take_recorder(&gate, &clock).unwrap();
    let rings = [main_ring.take_consumer().unwrap(), interrupt_ring.take_consumer().unwrap()];
    let mut drain = drain_of(&clock, &gate, rings);
    for _ in 0..3 {
        let _outer = main.measure(Work::Loop);
        clock.advance(100);
        {
            let _inner = interrupt.measure(Work::Interrupt);
            clock.advance(7);
        }
        clock.advance(50);
    }
    assert!(!drain.run(100).has_more);
    let count_and_extremes = |drain: &mut TestDrain<'_, _, 2>, event| {
        let EventSummary { summary, .. } = drain.summary(info(event), Scope::Window(0)).unwrap();
        (summary.count, summary.min, summary.max)
    };
    assert_eq!(count_and_extremes(&mut drain, Work::Loop), (3, 157, 157));
    assert_eq!(count_and_extremes(&mut drain, Work::Interrupt), (3, 7, 7));
    let counts = drain.counts(info(Work::Loop)).unwrap();
    assert_eq!((counts.outcomes.ok, counts.pairing.paired, counts.pairing.open), (3, 3, 0));
}

#[test]
fn a_pass_takes_no_more_than_its_budget_and_a_storm_keeps_no_other_ring_waiting() {
    let (clock, gate) = (Ticks::at(0), Gate::new());
    let (storm_ring, calm_ring) = (StaticRing::<64>::new(), StaticRing::<64>::new());
    let storm = storm_ring.take_recorder(&gate, &clock).unwrap();
    let calm = calm_ring.take_recorder(&gate, &clock).unwrap();
    let rings = [storm_ring.take_consumer().unwrap(), calm_ring.take_consumer().unwrap()];
    let mut drain = drain_of(&clock, &gate, rings);
    let (mut pushed, mut delivered, mut from_calm) = (0_u64, 0_u64, 0);
    for pass in 0..200_u64 {
        for _ in 0..50 {
            pushed += u64::from(storm.duration(Work::Interrupt, 5));
        }
        if pass == 20 {
            pushed += u64::from(calm.duration(Work::Loop, 9));
        }
        clock.advance(1_000);
        let taken = drain.observe(10, |ring, record| {
            assert_eq!(record.kind(), Kind::Duration);
            delivered += 1;
            from_calm += u64::from(ring == 1);
        });
        assert!(taken.delivered <= 10, "more than 10 records in a pass: {taken:?}");
        // The record that the calm context writes before pass 20 must be drained in pass 20 or 21.
        assert!(pass < 21 || from_calm == 1, "the calm ring still waits in pass {pass}");
    }
    clock.advance(1_000);
    while drain.observe(10, |_, _| delivered += 1).has_more {}
    drain.observe(1_000, |_, _| delivered += 1);
    let health = drain.health();
    assert_all_accounted_for(&health, pushed);
    assert_eq!((health.delivered, health.pending), (delivered, 0));
    assert!(health.overwritten > 1_000, "the storm must lap the ring: {health}");
    let summary = drain.summary(info(Work::Interrupt), Scope::Total).unwrap().summary;
    assert_eq!((summary.count, summary.complete), (delivered - 1, false));
}

#[test]
fn a_budget_of_zero_counts_as_one_record_per_pass() {
    let (clock, gate, ring) = (Ticks::at(0), Gate::new(), StaticRing::<16>::new());
    let recorder = ring.take_recorder(&gate, &clock).unwrap();
    let mut drain = drain_of(&clock, &gate, [ring.take_consumer().unwrap()]);
    for _ in 0..5 {
        recorder.duration(Work::Loop, 1);
    }
    let passes = (1..100).find(|_| !drain.run(0).has_more);
    assert_eq!((passes, drain.health().delivered), (Some(5), 5));
}

#[test]
fn records_overwritten_before_the_drain_runs_are_counted() {
    let (clock, gate, ring) = (Ticks::at(0), Gate::new(), StaticRing::<16>::new());
    let recorder = ring.take_recorder(&gate, &clock).unwrap();
    let mut drain = drain_of(&clock, &gate, [ring.take_consumer().unwrap()]);
    for _ in 0..10_000 {
        let span = recorder.measure(Work::Loop);
        clock.advance(3);
        drop(span);
    }
    while drain.run(4).has_more {}
    let health = drain.health();
    assert_all_accounted_for(&health, 20_000);
    assert!((1..=16).contains(&health.delivered) && health.pending == 0, "{health}");
    assert!(!drain.summary(info(Work::Loop), Scope::Total).unwrap().summary.complete);
}

#[test]
fn passes_are_counted_while_the_timer_stands_still() {
    let (clock, gate, ring) = (Ticks::at(5), Gate::new(), StaticRing::<16>::new());
    let recorder = ring.take_recorder(&gate, &clock).unwrap();
    let mut drain = drain_of(&clock, &gate, [ring.take_consumer().unwrap()]);
    for _ in 0..10 {
        drop(recorder.measure(Work::Loop));
        drain.run(16);
    }
    let health = drain.health();
    assert_eq!((health.still_passes, health.counters.clock_anomalies), (10, 0));
    let summary = drain.summary(info(Work::Loop), Scope::Window(0)).unwrap().summary;
    assert_eq!((summary.count, summary.max), (10, 0));
    // Passes without records do not count, because they are normal if the clock is coarse.
    for _ in 0..10 {
        drain.run(16);
    }
    assert_eq!(drain.health().still_passes, 10);
    clock.advance(1);
    drop(recorder.measure(Work::Loop));
    drain.run(16);
    assert_eq!(drain.health().still_passes, 10);
}

#[test]
fn a_timer_that_steps_back_counts_as_a_clock_anomaly() {
    let (clock, gate, ring) = (Ticks::at(10_000_000_000), Gate::new(), StaticRing::<16>::new());
    let recorder = ring.take_recorder(&gate, &clock).unwrap();
    let mut drain = drain_of(&clock, &gate, [ring.take_consumer().unwrap()]);
    let span = recorder.measure(Work::Loop);
    clock.set(9_999_999_000);
    drop(span);
    drain.run(16);
    let counters = drain.health().counters;
    assert_eq!(counters.clock_anomalies, 2, "one for the span and one for the pass: {counters:?}");
    assert!(drain.summary(info(Work::Loop), Scope::Total).is_none(), "the span has no latency");
    // After a large step, the windows start over, and new samples are summarized.
    clock.set(50);
    let span = recorder.measure(Work::Loop);
    clock.advance(20);
    drop(span);
    drain.run(16);
    assert_eq!(drain.health().counters.clock_anomalies, 3);
    let summary = drain.summary(info(Work::Loop), Scope::Window(0)).unwrap().summary;
    assert_eq!((summary.count, summary.max), (1, 20));
}

#[test]
fn a_timer_that_wraps_unnoticed_counts_as_a_clock_anomaly() {
    let timer = Cell::new(0_u32);
    let read = || timer.get();
    let clock = Counter::new(&read, 16, TickRate::from_hz(1_000_000).unwrap()).unwrap();
    let (gate, ring) = (Gate::new(), StaticRing::<16>::new());
    let recorder = ring.take_recorder(&gate, &clock).unwrap();
    let mut drain = drain_of(&clock, &gate, [ring.take_consumer().unwrap()]);
    timer.set(60_000);
    drop(recorder.measure(Work::Loop));
    drain.run(16);
    timer.set(1_000); // 6.5 ms later, without a call of `tick`
    drop(recorder.measure(Work::Loop));
    drain.run(16);
    let health = drain.health();
    assert!(health.counters.clock_anomalies >= 1, "{health}");
    assert_all_accounted_for(&health, 4);
    // With calls of `tick` in time, a wrap causes no anomaly.
    clock.tick();
    timer.set(65_000);
    drain.run(16);
    clock.tick();
    timer.set(500);
    drop(recorder.measure(Work::Loop));
    drain.run(16);
    assert_eq!(drain.health().counters, health.counters);
}

/// STARTs are in one ring and ENDs in another. With a budget of one record per pass, ENDs are
/// drained before their STARTs, but none is counted as an orphan.
#[test]
fn a_start_that_is_drained_after_its_end_is_still_paired() {
    let (clock, gate) = (Ticks::at(0), Gate::new());
    let (end_ring, start_ring) = (StaticRing::<64>::new(), StaticRing::<64>::new());
    let ends = end_ring.take_recorder(&gate, &clock).unwrap();
    let starts = start_ring.take_recorder(&gate, &clock).unwrap();
    let rings = [end_ring.take_consumer().unwrap(), start_ring.take_consumer().unwrap()];
    let mut drain = drain_of(&clock, &gate, rings);
    for _ in 0..10 {
        let token = starts.start(Work::Loop, 1);
        clock.advance(2);
        ends.end(token, Outcome::Cancelled);
    }
    for _ in 0..40 {
        clock.advance(1);
        drain.run(1);
    }
    let counts = drain.counts(info(Work::Loop)).unwrap();
    assert_eq!((counts.pairing.paired, counts.pairing.orphans, counts.pairing.early), (10, 0, 0));
    assert_eq!(counts.outcomes.cancelled, 10);
}

#[test]
fn changes_of_limits_are_queued_and_counted_if_the_queue_is_full() {
    let (clock, gate, ring) = (Ticks::at(0), Gate::new(), StaticRing::<64>::new());
    let recorder = ring.take_recorder(&gate, &clock).unwrap();
    let mut queue = Deque::<StatusChange, 1>::new();
    let memory: &mut Memory = Box::leak(Box::new(Memory::new()));
    let config = DrainConfig {
        windows: &WINDOWS,
        events: Work::ALL,
        clock: &clock,
        gate: &gate,
        rings: [ring.take_consumer().unwrap()],
        changes: Some(&mut queue),
    };
    let mut drain = Drain::new(config, memory).unwrap();
    let record_and_wait_a_second = |drain: &mut TestDrain<'_, &Ticks, 1>, duration| {
        recorder.duration(Work::Interrupt, duration);
        for _ in 0..20 {
            clock.advance(50_000_000);
            drain.run(16);
        }
    };
    record_and_wait_a_second(&mut drain, LIMIT);
    assert!(
        drain.next_change().is_none() && !drain.is_breached(Work::Interrupt.id()),
        "a value equal to the limit is within it"
    );
    recorder.duration(Work::Interrupt, LIMIT + 1);
    drain.run(16);
    assert!(drain.is_breached(Work::Interrupt.id()));
    let raised = drain.next_change().unwrap();
    assert!(
        raised.is_raised()
            && raised.status.observed == Some(LIMIT + 1)
            && raised.status.event == Work::Interrupt.id()
    );
    for _ in 0..3 {
        // The violation is cleared a second later, then raised again, and so on. The queue has room
        // for one change.
        clock.advance(1_000_000_000);
        record_and_wait_a_second(&mut drain, LIMIT);
        recorder.duration(Work::Interrupt, LIMIT + 1);
        drain.run(16);
    }
    assert!(!drain.next_change().unwrap().is_raised());
    let mut status = None;
    drain.report(|item| {
        if let ReportItem::Limit(limit) = item {
            status = Some(*limit);
        }
    });
    let status = status.unwrap().status;
    assert_eq!((status.raised, status.cleared), (4, 3));
    assert_eq!(drain.health().transitions_lost, status.raised + status.cleared - 2);
}

#[test]
fn sampling_makes_summaries_incomplete() {
    let (clock, gate, ring) = (Ticks::at(0), Gate::new(), StaticRing::<64>::new());
    let recorder = ring.take_recorder(&gate, &clock).unwrap();
    let mut drain = drain_of(&clock, &gate, [ring.take_consumer().unwrap()]);
    recorder.duration(Work::Loop, 4);
    drain.run(16);
    assert!(drain.summary(info(Work::Loop), Scope::Total).unwrap().summary.complete);
    gate.set_sampling(Work::Loop.id(), 3);
    drain.run(16);
    assert!(!drain.summary(info(Work::Loop), Scope::Total).unwrap().summary.complete);
}

#[test]
fn storage_that_is_already_in_use_is_an_error() {
    let (clock, gate) = (Ticks::at(0), Gate::<3>::new());
    let rings = [StaticRing::<8>::new(), StaticRing::<8>::new()];
    let mut memory = Memory::new();
    let mut drain = |ring| {
        let rings = [StaticRing::take_consumer(ring).unwrap()];
        let config = DrainConfig {
            windows: &WINDOWS,
            events: Work::ALL,
            clock: &clock,
            gate: &gate,
            rings,
            changes: None,
        };
        Drain::new(config, &mut memory).map(|_| ())
    };
    assert_eq!(drain(&rings[0]), Ok(()));
    assert_eq!(drain(&rings[1]), Err(ConfigError::StorageInUse));
}

/// Records a span for each element of `spans`: whether it happens in the interrupt handler, and its
/// duration. `recorders` are those of main and of the interrupt handler. Returns the durations of
/// the spans of main, and of those of the interrupt handler.
fn record(
    recorders: [&Recorder<'_, &Ticks, 3>; 2],
    clock: &Ticks,
    spans: &[(bool, u64)],
) -> [Vec<u64>; 2] {
    let mut durations = [vec![], vec![]];
    for (in_interrupt, duration) in spans {
        let event = if *in_interrupt { Work::Interrupt } else { Work::Loop };
        let span = recorders[usize::from(*in_interrupt)].measure(event);
        clock.advance(*duration);
        drop(span);
        durations[usize::from(*in_interrupt)].push(*duration);
    }
    durations
}

proptest! {
    /// The report must not depend on `budget`, the number of records per pass.
    #[test]
    fn the_report_matches_a_sorted_list_of_the_durations(
        spans in proptest::collection::vec((any::<bool>(), 0..100_000_u64), 1..60),
        budget in 1..40_usize,
    ) {
        let (clock, gate) = (Ticks::at(0), Gate::new());
        let (main_ring, interrupt_ring) = (StaticRing::<128>::new(), StaticRing::<128>::new());
        let main = main_ring.take_recorder(&gate, &clock).unwrap();
        let interrupt = interrupt_ring.take_recorder(&gate, &clock).unwrap();
        let rings = [main_ring.take_consumer().unwrap(), interrupt_ring.take_consumer().unwrap()];
        let mut drain = drain_of(&clock, &gate, rings);
        let mut durations = record([&main, &interrupt], &clock, &spans);
        while drain.run(budget).has_more {}
        assert_all_accounted_for(&drain.health(), 2 * spans.len() as u64);
        let mut lines = vec![];
        drain.report(|item| lines.push(item.to_string()));
        for (event, sorted) in ["loop", "interrupt"].into_iter().zip(&mut durations) {
            sorted.sort_unstable();
            let prefix = format!("summary event={event} window_ms=1000 ");
            let line = lines.iter().find(|line| line.starts_with(&prefix));
            let quantile =
                |permille: usize| sorted[(sorted.len() * permille).div_ceil(1_000).max(1) - 1];
            match line {
                None => prop_assert!(sorted.is_empty()),
                Some(line) => {
                    let expected = format!(
                        " count={} min={} p50={} p95={} p99={} p99.9={} max={} ",
                        sorted.len(),
                        sorted[0],
                        quantile(500),
                        quantile(950),
                        quantile(990),
                        quantile(999),
                        quantile(1_000)
                    );
                    prop_assert!(line.contains(&expected), "{} lacks {}", line, expected);
                }
            }
        }
    }
}
