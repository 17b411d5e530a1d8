//! A span whose END cannot reach the collector where the span began is given up there, and the END
//! is counted.

mod support;

use core::{cell::RefCell, time::Duration};
use std::{sync::mpsc, thread};

use support::{in_own_process, in_turn};
use tailwatch::{
    Builder, Collector, EventId, EventInfo, Limit, Outcome, Quantile, RegisterError, SlaState,
    Threshold, Token, Trading, measure, record_discard, record_end, record_start,
};

const ORDER: Trading = Trading::OrderPlacement;

fn builder() -> Builder {
    Collector::builder().ignore_environment().manual_drain()
}

/// Begins a span that exceeds its limit while it is open.
fn begin_hung_span(collector: &Collector) -> Token {
    collector.register_thread("begins").unwrap();
    let limit = Threshold::duration(Quantile::P95, Duration::from_nanos(1));
    collector.set_limits(ORDER, &[Limit::Quantile(limit)]).unwrap();
    let token = record_start(ORDER);
    thread::sleep(Duration::from_millis(1));
    collector.flush();
    assert!(collector.breached(ORDER));
    assert_eq!(in_flight(collector), 1);
    token
}

fn in_flight(collector: &Collector) -> u64 {
    collector.report().event(ORDER).unwrap().in_flight.open
}

/// Asserts that the span was given up, that its END was counted, and that nothing else was.
fn assert_given_up(collector: &Collector) {
    collector.flush();
    assert!(!collector.breached(ORDER), "{:?}", collector.report().sla);
    assert_eq!(in_flight(collector), 0);
    let health = collector.health();
    assert_eq!((health.unregistered, health.abandoned), (1, 1), "{health:?}");
    assert_eq!((health.produced, health.clock_anomalies), (1, 0), "{health:?}");
    assert!(collector.report().event(ORDER).unwrap().total.is_none());
    let judged = collector.report();
    let limit = judged.sla.iter().find(|limit| limit.event == "order_placement").unwrap();
    assert_eq!((limit.over, limit.state), (0, SlaState::Unknown), "{limit:?}");
}

#[test]
fn an_end_on_a_thread_without_a_ring_gives_its_span_up() {
    let _turn = in_turn();
    for end in [|token| record_end(token, Outcome::Ok), record_discard] {
        let collector = builder().start().unwrap();
        let token = begin_hung_span(&collector);
        thread::spawn(move || end(token)).join().unwrap();
        assert_eq!(collector.health().unregistered, 1, "it counts at once");
        assert_given_up(&collector);
        collector.stop();
    }
}

#[test]
fn only_the_collector_with_the_span_counts_an_end_without_a_ring() {
    let _turn = in_turn();
    let (first, second) = (builder().start().unwrap(), builder().start().unwrap());
    let token = begin_hung_span(&first);
    thread::spawn(move || record_end(token, Outcome::Ok)).join().unwrap();
    second.flush();
    assert_given_up(&first);
    second.flush();
    assert_eq!(second.health().unregistered, 0);
}

#[test]
fn an_end_in_another_collector_gives_its_span_up() {
    let _turn = in_turn();
    for on_same_thread in [true, false] {
        let (first, second) = (builder().start().unwrap(), builder().start().unwrap());
        let token = begin_hung_span(&first);
        let end = |token: Token| {
            second.register_thread("ends").unwrap();
            record_end(token, Outcome::Ok);
        };
        if on_same_thread {
            end(token);
        } else {
            thread::scope(|scope| scope.spawn(|| end(token)).join().unwrap());
        }
        // The END may be drained before its START, so the second collector waits for one pass.
        second.flush();
        second.flush();
        assert_given_up(&first);
        assert_eq!((second.health().delivered, second.health().orphans), (1, 1));
        assert_eq!(second.health().unregistered, 0);
    }
}

#[test]
fn an_end_whose_start_is_lost_too_is_counted_once() {
    let _turn = in_turn();
    let first = builder().ring_capacity(8).max_ring_capacity(8).start().unwrap();
    let second = builder().start().unwrap();
    first.register_thread("begins").unwrap();
    let token = record_start(ORDER);
    (0..20).for_each(|_| drop(measure(Trading::OrderFill)));
    thread::spawn(move || record_end(token, Outcome::Ok)).join().unwrap();
    for _ in 0..2 {
        first.flush();
        second.flush();
    }
    assert_eq!(first.health().unregistered + second.health().unregistered, 1);
    assert_eq!(in_flight(&first), 0);
}

#[test]
fn a_replaced_collector_has_no_span_in_flight_for_ever() {
    let _turn = in_turn();
    let first = Collector::builder().ignore_environment().start().unwrap();
    first.install().unwrap();
    let guard = measure(ORDER);
    first.stop();
    let second = Collector::builder().ignore_environment().start().unwrap();
    second.install().unwrap();
    drop(guard);
    second.flush();
    let health = [first.health(), second.health()];
    let counted: u64 = health.iter().map(|health| health.unregistered).sum();
    assert_eq!(counted, 1, "{health:?}");
    assert_eq!(in_flight(&second), 0);
}

#[test]
fn a_thread_that_is_ending_is_refused_for_that_reason() {
    struct AtTheEnd(Collector);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let refused = self.0.register_thread("too late").unwrap_err();
            assert_eq!(refused, RegisterError::ThreadEnding);
        }
    }
    thread_local! {
        static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    }
    let _turn = in_turn();
    let ending = thread::spawn(|| {
        // A thread-local that is used first is dropped last.
        LAST.with(|_| ());
        let collector = builder().start().unwrap();
        collector.register_thread("ending").unwrap();
        LAST.set(Some(AtTheEnd(collector)));
    });
    ending.join().unwrap();
}

/// A thread that only ends spans keeps the ring of the collector that has stopped.
#[test]
fn an_end_in_the_ring_of_a_stopped_collector_gives_its_span_up() {
    let _turn = in_turn();
    for spans in [1, 200] {
        let first = builder().start().unwrap();
        first.install().unwrap();
        let (tokens, received) = mpsc::channel::<Token>();
        let (ended, is_ended) = mpsc::channel();
        let ends = thread::spawn(move || {
            for token in received {
                record_end(token, Outcome::Ok);
                ended.send(()).unwrap();
            }
        });
        tokens.send(record_start(ORDER)).unwrap();
        is_ended.recv().unwrap();
        first.stop();
        let second = builder().start().unwrap();
        second.install().unwrap();
        for _ in 0..spans {
            tokens.send(record_start(ORDER)).unwrap();
            is_ended.recv().unwrap();
        }
        second.flush();
        second.flush();
        let health = second.health();
        let outcomes = second.report().event(ORDER).unwrap().outcomes;
        assert_eq!(in_flight(&second), 0, "{health:?}");
        assert_eq!(outcomes.ok + health.unregistered, spans, "{health:?}");
        assert!(health.unregistered <= 64, "the thread takes a ring of the second: {health:?}");
        drop(tokens);
        ends.join().unwrap();
        second.stop();
    }
}

#[test]
fn an_end_of_an_event_that_the_other_collector_does_not_have_gives_its_span_up() {
    let _turn = in_turn();
    let first = builder().start().unwrap();
    let second = builder().events(&[EventInfo::new(EventId::new(99).unwrap(), "other")]);
    let second = second.start().unwrap();
    for discards in [false, true] {
        let before = first.health();
        let token = begin_hung_span(&first);
        second.register_thread("ends").unwrap();
        if discards {
            record_discard(token);
        } else {
            record_end(token, Outcome::Ok);
        }
        second.flush();
        first.flush();
        assert_eq!(in_flight(&first), 0);
        assert!(!first.breached(ORDER));
        assert_eq!(first.health().unregistered, before.unregistered + 1);
    }
    assert_eq!(second.health().unknown_events, 2);
}

#[test]
fn an_end_of_a_stopped_collector_is_counted_there() {
    // The thread of another test may still have a ring of another stopped collector.
    in_own_process("an_end_of_a_stopped_collector_is_counted_there", || {
        let collector = builder().start().unwrap();
        collector.register_thread("begins").unwrap();
        let token = record_start(ORDER);
        collector.stop();
        thread::spawn(move || record_end(token, Outcome::Ok)).join().unwrap();
        assert_eq!(collector.health().unregistered, 1);
    });
}

/// The table of open spans is full, so nobody knows which collector has the START of an END.
#[test]
fn an_end_of_another_collector_takes_no_untracked_span() {
    const SPANS: usize = 1_100;
    let _turn = in_turn();
    let (first, second) = (builder().start().unwrap(), builder().start().unwrap());
    let begin = |collector: &Collector| -> Vec<Token> {
        collector.register_thread("begins").unwrap();
        (0..SPANS).map(|_| record_start(ORDER)).collect()
    };
    let of_first = begin(&first);
    first.flush();
    let [open, untracked] = {
        let in_flight = first.report().event(ORDER).unwrap().in_flight;
        [in_flight.open, in_flight.untracked]
    };
    assert_eq!((open + untracked, untracked > 0), (SPANS as u64, true));
    for token in begin(&second) {
        record_end(token, Outcome::Ok);
    }
    second.flush();
    second.flush();
    first.flush();
    assert_eq!(first.health().abandoned, 0);
    first.register_thread("begins").unwrap();
    for token in of_first {
        record_end(token, Outcome::Ok);
    }
    first.flush();
    first.flush();
    let counts = first.report().event(ORDER).unwrap().in_flight;
    assert_eq!((counts.open, counts.untracked, first.health().orphans), (0, 0, 0));
}
