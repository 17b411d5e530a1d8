//! Sets of events that state no numbers: libraries need not know of each other, and what nobody
//! listed is counted.

mod support;

use core::time::Duration;
use std::thread;

use support::{in_own_process, in_turn};
use tailwatch::{
    BuildError, Collector, Event, EventError, EventId, EventInfo, Quantile, Sampling, Threshold,
    Trading, measure, record_value,
};

/// What a library declares that knows of no other.
mod parser {
    use super::{Duration, Quantile, Threshold};

    tailwatch::events! {
        pub enum Parser {
            Parse { limits: &[Threshold::duration(Quantile::P99, Duration::from_secs(9))] },
            Waiting { unit: tailwatch::Unit::One },
        }
    }
}

/// Another library.
mod sender {
    tailwatch::events! {
        pub enum Sender { Send, #[cfg(any())] Absent, Receive { name: "received" } }
    }
}

/// A library whose events nobody lists at first.
mod forgotten {
    tailwatch::events! { pub enum Forgotten { One, Two } }
}

/// A library whose event has the name of another library's.
mod namesake {
    tailwatch::events! { pub enum Namesake { Parse } }
}

use forgotten::Forgotten;
use namesake::Namesake;
use parser::Parser;
use sender::Sender;

fn builder() -> tailwatch::Builder {
    Collector::builder().ignore_environment().manual_drain()
}

#[test]
fn libraries_that_know_nothing_of_each_other_are_collected_together() {
    let _turn = in_turn();
    let collector = builder().events(Trading::ALL).events(Parser::ALL).events(Sender::ALL);
    let collector = collector.start().unwrap();
    collector.install().unwrap();
    for _ in 0..3 {
        drop(measure(Parser::Parse));
    }
    for number in [7, 9] {
        record_value(Parser::Waiting, number);
    }
    drop(measure(Sender::Receive));
    drop(measure(Trading::OrderFill));
    collector.stop();
    let report = collector.report();
    let names: Vec<_> = report.events[8..].iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["parse", "waiting", "send", "received"]);
    let count =
        |event: EventId| report.event(event).unwrap().total.as_ref().map(|all| all.summary.count);
    assert_eq!(
        [Parser::Parse.id(), Parser::Waiting.id(), Sender::Send.id(), Sender::Receive.id()]
            .map(count),
        [Some(3), Some(2), None, Some(1)]
    );
    assert_eq!(count(Trading::OrderFill.id()), Some(1));
    assert_eq!((report.health.unknown_events, report.health.invalid), (0, 0));
    assert!(report.health.unlisted.is_empty(), "{:?}", report.health.unlisted);
    assert_eq!(report.sla.iter().filter(|limit| limit.event == "parse").count(), 1);
}

#[test]
fn a_set_keeps_its_numbers_for_later_collectors() {
    let _turn = in_turn();
    let first = builder().events(Parser::ALL).events(Sender::ALL).start().unwrap();
    let ids =
        || [Parser::Parse.id(), Parser::Waiting.id(), Sender::Send.id(), Sender::Receive.id()];
    let before = ids();
    assert!(before.iter().all(|id| (80..=EventId::MAX).contains(&id.get())), "{before:?}");
    drop(first);
    let second = builder().events(Sender::ALL).events(Parser::ALL).start().unwrap();
    assert_eq!(ids(), before);
    let reported: Vec<_> = second.report().events.iter().map(|event| event.id).collect();
    assert_eq!(reported, [before[2], before[3], before[0], before[1]]);
}

#[test]
fn a_set_that_nobody_listed_is_counted_by_name_and_never_ok() {
    in_own_process("a_set_that_nobody_listed_is_counted_by_name_and_never_ok", || {
        // Without a collector, nobody would have the records.
        drop(measure(Forgotten::One));
        assert_eq!(Forgotten::ALL.missed(), 0);
        let collector = builder().start().unwrap();
        collector.install().unwrap();
        let on_threads: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(|| {
                    for _ in 0..1_000 {
                        drop(measure(Forgotten::One));
                        record_value(Forgotten::Two, 1);
                    }
                })
            })
            .collect();
        for thread in on_threads {
            thread.join().unwrap();
        }
        collector.flush();
        let health = collector.health();
        let name = Forgotten::ALL.name();
        assert!(name.ends_with("::forgotten::Forgotten"), "{name}");
        // A span is two records.
        assert_eq!(health.unlisted.get(name), Some(&12_000));
        assert_eq!((health.produced, health.unknown_events, health.unregistered), (0, 0, 0));
        assert!(collector.breached(Forgotten::One) && collector.breached(Forgotten::Two));
        assert!(!collector.breached(Trading::OrderFill));

        collector.set_enabled(false);
        drop(measure(Forgotten::One));
        assert_eq!(Forgotten::ALL.missed(), 12_000, "nothing is recorded while all is off");
        drop(collector);

        // Another collector has the set from its start, and missed nothing of it.
        let collector = builder().events(Forgotten::ALL).start().unwrap();
        collector.install().unwrap();
        drop(measure(Forgotten::One));
        assert!(!collector.breached(Forgotten::One));
        collector.stop();
        let health = collector.health();
        assert_eq!((health.delivered, health.unlisted.len()), (2, 0), "{health:?}");
    });
}

#[test]
fn records_of_a_set_that_another_collector_has_are_counted_by_name() {
    let _turn = in_turn();
    drop(builder().events(Parser::ALL).events(Sender::ALL).start().unwrap());
    let collector = builder().start().unwrap();
    collector.install().unwrap();
    assert!(collector.breached(Parser::Parse), "nobody judges its limits");
    drop(measure(Parser::Parse));
    record_value(Parser::Waiting, 1);
    drop(measure(Sender::Send));
    drop(measure(Trading::OrderFill));
    collector.stop();
    let health = collector.health();
    assert_eq!((health.delivered, health.unknown_events), (7, 5));
    assert_eq!(health.unlisted.get(Parser::ALL.name()), Some(&3));
    assert_eq!(health.unlisted.get(Sender::ALL.name()), Some(&2));
    assert_eq!(health.unlisted.len(), 2);
}

#[test]
fn a_stated_number_that_was_assigned_is_refused_with_both_names() {
    let _turn = in_turn();
    drop(builder().events(Parser::ALL).start().unwrap());
    let id = Parser::Waiting.id();
    let stated = [EventInfo::new(id, "stated")];
    for listed in [builder().events(&stated), builder().events(Parser::ALL).events(&stated)] {
        let error = listed.start().unwrap_err();
        assert!(
            matches!(error, BuildError::Events(EventError::SameNumber { id: at, .. }) if at == id),
            "{error:?}"
        );
        let message = error.to_string();
        for part in ["`waiting`", Parser::ALL.name(), "`stated`", &id.to_string()] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
}

#[test]
fn two_events_of_one_name_are_refused_with_both_sets() {
    let _turn = in_turn();
    let error = builder().events(Parser::ALL).events(Namesake::ALL).start().unwrap_err();
    let message = error.to_string();
    for part in ["\"parse\"", Parser::ALL.name(), Namesake::ALL.name()] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    let error = builder().events(Parser::ALL).events(Namesake::ALL).settings().unwrap_err();
    assert!(error.to_string().contains("\"parse\""), "{error}");
}

#[test]
fn more_events_than_numbers_are_refused() {
    in_own_process("more_events_than_numbers_are_refused", || {
        let all: Vec<EventInfo> = (1..=EventId::MAX)
            .map(|id| EventInfo::new(EventId::new(id).unwrap(), format!("event_{id}").leak()))
            .collect();
        let error = builder().events(&all).events(Parser::ALL).start().unwrap_err();
        assert!(matches!(error, BuildError::Events(EventError::NoNumber { .. })), "{error:?}");
        assert!(error.to_string().contains("`parse`"), "{error}");
        // The refused start has taken no number.
        drop(builder().events(Parser::ALL).start().unwrap());
        for max_events in [0, 2_048] {
            let error = builder().max_events(max_events).start().unwrap_err();
            assert!(matches!(error, BuildError::Events(EventError::MaxEvents { .. })), "{error:?}");
        }
        let error = builder().max_events(7).start().unwrap_err();
        assert!(matches!(error, BuildError::Events(EventError::TooMany { events: 8, .. })));
    });
}

#[test]
fn an_event_without_a_number_can_be_sampled_by_the_builder() {
    in_own_process("an_event_without_a_number_can_be_sampled_by_the_builder", || {
        assert_eq!(Sender::Send.id(), EventId::UNNUMBERED);
        let listed = builder().sampling(Sender::Send, Sampling::Rate(0.25)).events(Sender::ALL);
        let collector = listed.start().unwrap();
        assert_eq!(collector.health().sampling.get("send"), Some(&0.25));
        let unlisted =
            Collector::builder().ignore_environment().sampling(Forgotten::One, Sampling::Rate(0.5));
        assert!(matches!(unlisted.start().unwrap_err(), BuildError::Sampling(_)));
    });
}

#[test]
fn queries_for_an_event_without_a_number_are_refused() {
    in_own_process("queries_for_an_event_without_a_number_are_refused", || {
        let collector = builder().start().unwrap();
        let minute = Duration::from_mins(1);
        assert!(collector.stats(Forgotten::One, minute).is_err());
        assert!(collector.total(Forgotten::One).is_err());
        assert!(collector.slowest(Forgotten::One, minute).is_err());
        assert!(collector.set_limits(Forgotten::One, &[]).is_err());
        assert!(collector.set_sampling_rate(Forgotten::One, 0.5).is_err());
        assert!(collector.report().event(Forgotten::One).is_none());
        // Neither changes anything.
        collector.set_event_enabled(Forgotten::One, false);
        collector.set_event_enabled(Forgotten::One, true);
        collector.install().unwrap();
        drop(measure(Forgotten::One));
        collector.flush();
        assert_eq!(collector.health().unlisted.get(Forgotten::ALL.name()), Some(&2));
    });
}

#[test]
fn a_collector_can_get_every_set_of_the_process() {
    in_own_process("a_collector_can_get_every_set_of_the_process", || {
        drop(builder().events(Sender::ALL).start().unwrap());
        let collector = builder().every_set().start().unwrap();
        collector.install().unwrap();
        // Without a number, so this only makes the set known.
        drop(measure(Parser::Parse));
        assert!(collector.breached(Parser::Parse));
        collector.flush();
        assert!(!collector.breached(Parser::Parse));
        for _ in 0..3 {
            drop(measure(Parser::Parse));
        }
        drop(measure(Sender::Send));
        collector.stop();
        let report = collector.report();
        let count = |event: EventId| report.event(event).unwrap().outcomes.ok;
        assert_eq!([Parser::Parse.id(), Sender::Send.id()].map(count), [3, 1]);
        assert_eq!(report.health.unlisted.get(Parser::ALL.name()), Some(&2));
        assert_eq!((report.health.unlisted.len(), report.health.unknown_events), (1, 0));
        let limits: Vec<_> = report.sla.iter().map(|limit| &*limit.event).collect();
        assert!(limits.contains(&"parse"), "the set declares a limit: {limits:?}");
    });
}

#[test]
fn a_set_without_room_stays_unlisted() {
    in_own_process("a_set_without_room_stays_unlisted", || {
        // Room for one of the set's two events.
        let collector = builder().every_set().max_events(9).start().unwrap();
        collector.install().unwrap();
        drop(measure(Forgotten::One));
        collector.flush();
        drop(measure(Forgotten::One));
        drop(measure(Forgotten::Two));
        collector.stop();
        let health = collector.health();
        assert_eq!((health.delivered, health.unknown_events), (4, 2));
        assert_eq!(health.unlisted.get(Forgotten::ALL.name()), Some(&4));
        assert!(collector.breached(Forgotten::Two));
        assert!(!collector.breached(Forgotten::One));
    });
}

#[test]
fn a_kept_event_gets_its_number_later() {
    in_own_process("a_kept_event_gets_its_number_later", || {
        let (kept, stated) = (Forgotten::One.any(), Trading::OrderFill.any());
        assert_eq!((kept.id(), stated.id()), (EventId::UNNUMBERED, Trading::OrderFill.id()));
        let unlisted = builder().start().unwrap();
        unlisted.register_thread("main").unwrap();
        // Also counted without `install`.
        drop(measure(kept));
        assert_eq!(Forgotten::ALL.missed(), 2);
        drop(unlisted);
        let collector = builder().events(Forgotten::ALL).events(Forgotten::ALL).start().unwrap();
        collector.register_thread("main").unwrap();
        drop(measure(kept));
        drop(measured_future());
        collector.stop();
        assert_eq!(collector.report().event(kept).unwrap().outcomes.ok, 1);
        assert_eq!(kept, Forgotten::One.any());
    });
}

/// Returns a future that was never polled, and so measures nothing.
#[tailwatch::measure(Forgotten::Two)]
fn measured_future() -> impl Future<Output = ()> {
    async {}
}

#[test]
fn a_returned_future_made_before_its_set_has_numbers_is_measured_with_them() {
    let test = "a_returned_future_made_before_its_set_has_numbers_is_measured_with_them";
    in_own_process(test, || {
        let mut early = Box::pin(measured_future());
        let collector = builder().events(Forgotten::ALL).start().unwrap();
        collector.register_thread("main").unwrap();
        let mut context = core::task::Context::from_waker(core::task::Waker::noop());
        assert!(early.as_mut().poll(&mut context).is_ready());
        collector.stop();
        assert_eq!(collector.report().event(Forgotten::Two).unwrap().outcomes.ok, 1);
    });
}

#[test]
fn of_two_sets_with_an_event_of_one_name_the_second_one_stays_unlisted() {
    let test = "of_two_sets_with_an_event_of_one_name_the_second_one_stays_unlisted";
    in_own_process(test, || {
        let collector = builder().every_set().start().unwrap();
        collector.register_thread("main").unwrap();
        drop(measure(Parser::Parse));
        drop(measure(Namesake::Parse));
        collector.flush();
        drop(measure(Parser::Parse));
        drop(measure(Namesake::Parse));
        collector.stop();
        let report = collector.report();
        assert_eq!(report.events.iter().filter(|event| event.name == "parse").count(), 1);
        assert_eq!(report.event(Parser::Parse).unwrap().outcomes.ok, 1);
        assert_eq!(report.health.unlisted.get(Namesake::ALL.name()), Some(&4));
        assert!(collector.breached(Namesake::Parse));
    });
}

#[test]
fn a_list_of_the_events_of_a_set_without_numbers_is_refused() {
    in_own_process("a_list_of_the_events_of_a_set_without_numbers_is_refused", || {
        let events: Vec<EventInfo> = Forgotten::ALL.events().collect();
        for listed in [&events[..1], &events] {
            let error = builder().events(listed).start().unwrap_err();
            assert!(matches!(error, BuildError::Events(EventError::Unnumbered { .. })));
            assert!(error.to_string().contains("`one`"), "{error}");
        }
        let unnamed = [EventInfo::new(EventId::new(7).unwrap(), "")];
        let error = builder().events(&unnamed).start().unwrap_err();
        assert!(matches!(error, BuildError::Events(EventError::Text { .. })), "{error:?}");
    });
}
