//! Switches and sampling of events on both sides of the boundaries of what a recorder copies of the
//! gate: its first 64 bytes hold 16 ids, its first 128 bytes 80 ids.

mod support;

use support::in_own_process;
use tailwatch::{Builder, ClockMode, Collector, EventId, EventInfo, measure, record_value};

const IDS: [u16; 7] = [1, 15, 16, 79, 80, 81, 2_047];

fn events() -> Vec<EventInfo> {
    let event = |id| EventInfo::new(EventId::new(id).unwrap(), format!("event_{id}").leak());
    IDS.map(event).to_vec()
}

/// Records a span of each event and returns which events got both of its records.
fn recorded(collector: &Collector) -> Vec<u16> {
    let count = |id: &EventId| {
        collector.flush();
        collector.total(*id).unwrap().map_or(0, |total| total.count)
    };
    let ids = IDS.map(|id| EventId::new(id).unwrap());
    let is_recorded = |id: &EventId| {
        let before = count(id);
        drop(measure(*id));
        count(id) > before
    };
    ids.into_iter().filter(is_recorded).map(EventId::get).collect()
}

fn record_spans() {
    for id in IDS {
        drop(measure(EventId::new(id).unwrap()));
    }
}

fn check(builder: Builder) {
    let collector = builder.ignore_environment().manual_drain().events(&events()).start().unwrap();
    collector.register_thread("test").unwrap();
    assert_eq!(recorded(&collector), IDS);
    for id in IDS {
        let event = EventId::new(id).unwrap();
        collector.set_event_enabled(event, false);
        let others: Vec<_> = IDS.into_iter().filter(|other| *other != id).collect();
        assert_eq!(recorded(&collector), others, "event {id} is off");
        collector.set_event_enabled(event, true);
    }
    collector.set_enabled(false);
    assert!(recorded(&collector).is_empty(), "all events are off");
    // A thread that gets its ring now gets the switches with it.
    std::thread::scope(|scope| {
        let recording = || {
            collector.register_thread("other").unwrap();
            recorded(&collector)
        };
        assert!(scope.spawn(recording).join().unwrap().is_empty());
    });
    collector.set_enabled(true);
    assert_eq!(recorded(&collector), IDS);

    let before = collector.health().produced;
    for id in IDS {
        collector.set_sampling_rate(EventId::new(id).unwrap(), 1.0 / 32_768.0).unwrap();
    }
    for _ in 0..1_000 {
        record_spans();
    }
    collector.flush();
    // 0.4 records are expected. More than 20 would come up once in 10^20 runs.
    let sampled = collector.health().produced - before;
    assert!(sampled <= 20, "{sampled} records of 14,000");

    assert_eq!(collector.health().unregistered, 0);
    collector.stop();
    record_spans();
    for id in IDS {
        record_value(EventId::new(id).unwrap(), 1);
    }
    assert_eq!(collector.health().unregistered, 3 * IDS.len() as u64);
}

#[test]
fn every_event_has_its_switch_and_sampling_with_the_counter() {
    check(Collector::builder().clock_mode(ClockMode::Ordered));
    check(Collector::builder().clock_mode(ClockMode::Relaxed));
}

#[test]
fn every_event_has_its_switch_and_sampling_with_the_clock_of_the_operating_system() {
    in_own_process(
        "every_event_has_its_switch_and_sampling_with_the_clock_of_the_operating_system",
        || check(Collector::builder().monotonic_clock()),
    );
}
