//! Tests of the publisher.

use tailwatch_core::{Event, Limit, Record, Shape, Trading};

use super::*;
use crate::{
    clock::HostClock,
    drain::{
        Drain, Setup, pass_kind::PassKind, readers::Readers, sampling::Sampler, test_aggregator,
    },
    observer::Observers,
    recording::{pool::Pool, ring_settings::RingSettings},
    settings::{Origin, Setting},
    sync::Mutex,
};

#[test]
fn a_report_is_due_after_10_ms_and_is_written_over_the_one_before_the_last() {
    let clock = HostClock::monotonic();
    let mut clocks = Clocks::start(clock);
    let pool = Arc::new(Pool::new(RingSettings::fixed(1, 8), clock).unwrap());
    let readers = Readers::new(
        Arc::clone(&pool),
        Trading::ALL,
        clocks.now().ticks,
        8,
        Duration::from_millis(100),
    );
    let mut aggregator = test_aggregator(&clocks);
    let mut publisher =
        Publisher::new(Arc::clone(&pool), Trading::ALL.into(), vec![], 2, &clocks, None);
    let mut limits = LimitWatch::new(pool, Trading::ALL.into());
    assert!(publisher.due_in(clocks.now().monotonic).is_zero(), "there is no report yet");

    let mut memory = vec![];
    for number in 1..=4 {
        clocks.read();
        let now = clocks.now();
        aggregator.begin_pass(now.ticks);
        let event = Trading::OrderPlacement.id();
        aggregator.record(0, Record::duration(now.ticks, event, 0, number));
        publisher.changes.note_event(event);
        let Contents { events, sla, times_at } =
            publisher.fill(true, &clocks, readers.names(), &mut aggregator, &mut limits);
        let report = Report { sla, ..Report::empty(0, clocks.report(), events) };
        publisher.publish(report, times_at, now.monotonic);
        assert_eq!(
            publisher.due_in(now.monotonic),
            Duration::from_secs(1),
            "only the times become outdated"
        );
        publisher.changes.note_event(event);
        for (after, due_in) in [(0, 10), (4, 6), (10, 0), (11, 0)] {
            assert_eq!(
                publisher.due_in(now.monotonic + Duration::from_millis(after)),
                Duration::from_millis(due_in)
            );
        }
        let report = publisher.published().load();
        assert_eq!(report.events.len(), Trading::ALL.len());
        let total = report.event(Trading::OrderPlacement).unwrap().total.as_ref().unwrap();
        assert_eq!((total.summary.count, total.summary.max), (number, number));
        let threads: Vec<_> = total.slowest.iter().map(|slow| &*slow.thread).collect();
        assert_eq!(threads, ["unknown"; 2][..threads.len()]);
        memory.push(report.events.as_ptr());
        let replaced = publisher.replaced.as_ref().unwrap().events.as_ptr();
        assert!(number == 1 || replaced == memory[memory.len() - 2]);
    }
    assert_eq!((memory[0], memory[1]), (memory[2], memory[3]));
}

#[test]
fn a_read_makes_a_report_on_many_events_due_that_nobody_had_read_for_5_s() {
    let clock = HostClock::monotonic();
    let clocks = Clocks::start(clock);
    let pool = Arc::new(Pool::new(RingSettings::fixed(1, 8), clock).unwrap());
    let mut publisher = Publisher::new(pool, Trading::ALL.into(), vec![], 2, &clocks, None);
    let seconds = |seconds| clocks.now().monotonic + Duration::from_secs(seconds);
    publisher.publish(Report::empty(0, clocks.report(), vec![]), seconds(10), seconds(10));
    let changes = &mut publisher.changes;
    for _ in 0..2 {
        (1..=600).for_each(|id| changes.note_event(EventId::new(id).unwrap()));
        changes.begin_report(None, seconds(10), false);
    }
    publisher.note_reads(seconds(13));
    // The next pass comes within a second even if no ring is due earlier.
    assert_eq!(publisher.due_in(seconds(13)), REFRESH_EVERY);
    assert_eq!(publisher.due_in(seconds(15)), Duration::ZERO);

    publisher.published().load();
    assert_eq!(publisher.due_in(seconds(13)), REFRESH_EVERY, "the drain has not noticed the read");
    publisher.note_reads(seconds(13));
    assert_eq!(publisher.due_in(seconds(13)), Duration::ZERO);
    // The read counts once.
    publisher.publish(Report::empty(0, clocks.report(), vec![]), seconds(20), seconds(20));
    publisher.note_reads(seconds(20));
    assert_eq!(publisher.due_in(seconds(22)), REFRESH_EVERY);
}

/// Creates a drain with two limits that watch for silence.
fn drain() -> Drain {
    let windows = [WindowSpec::SECOND];
    let limit = |event: Trading| {
        let value = Limit::Silence(Duration::from_secs(1));
        (event.id(), Setting { value, origin: Origin::Builder })
    };
    let setup = Setup {
        shape: Shape { limits: 8, ..Shape::server(Trading::ALL, &windows) },
        windows: windows.to_vec(),
        events: Trading::ALL.iter().map(|info| EventInfo { limits: &[], ..*info }).collect(),
        limits: vec![limit(Trading::OrderFill), limit(Trading::GcPause)],
        observers: Observers::new(vec![], vec![], Trading::ALL),
        sampler: Arc::new(Mutex::new(Sampler::new(Trading::ALL.iter().map(|info| info.id)))),
        max_period: Duration::from_millis(100),
        every_set: false,
        later_events: Arc::default(),
        covers_all_outcomes: false,
        not_shared: None,
        tag_names: None,
    };
    let pool = Arc::new(Pool::new(RingSettings::fixed(1, 8), HostClock::monotonic()).unwrap());
    Drain::new(pool, setup).unwrap()
}

#[test]
fn the_start_publishes_one_report_with_all_limits() {
    let drain = drain();
    assert_eq!(drain.published().load().sla.len(), 2);
    // The report that `publish` replaced is that of `Publisher::new`.
    assert_eq!(drain.publisher.replaced.unwrap().unix_ns, 0);
}

#[test]
fn a_pass_notes_that_a_report_was_read() {
    let mut drain = drain();
    for kind in [PassKind::Due, PassKind::All] {
        drain.published().load();
        drain.pass(kind);
        assert!(!drain.published().take_read(), "{kind:?}");
    }
}
