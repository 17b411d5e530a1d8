//! How rings, threads and collectors come and go.

mod support;

use core::cell::RefCell;
use std::{sync::mpsc, thread};

use support::{Log, Tally, assert_accounted, in_thread, in_turn};
use tailwatch::{
    Collector, Event, EventId, InstallError, Kind, Outcome, RegisterError, SpanGuard, Trading,
    measure, record_discard, record_duration, record_end, record_start, record_value,
    register_thread,
};

#[test]
fn a_thread_that_ends_gives_its_ring_back() {
    const THREADS: u64 = 100;
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().rings(1).observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    for number in 0..THREADS {
        in_thread("recorder", move || {
            register_thread(&format!("thread-{number}")).expect("the ring of the thread before");
            record_value(Trading::QueueBacklog, number);
        });
    }
    collector.stop();
    assert_accounted(&collector, THREADS, log.count());
    for (number, seen) in (0..).zip(log.all()) {
        assert_eq!(seen.duration_ns_or_value, Some(number));
        assert_eq!(seen.thread, format!("thread-{number}"));
    }
}

#[test]
fn a_ring_that_is_taken_is_nobody_elses_and_the_error_says_how_many_there_are() {
    let _turn = in_turn();
    let collector = Collector::builder().rings(3).start().unwrap();
    collector.install().unwrap();
    let (done, is_done) = mpsc::channel::<()>();
    let (took, taken) = mpsc::channel();
    let is_done = std::sync::Arc::new(std::sync::Mutex::new(is_done));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (took, is_done) = (took.clone(), std::sync::Arc::clone(&is_done));
            thread::spawn(move || {
                took.send(register_thread("owner")).unwrap();
                // Until the sender is gone.
                let _ = is_done.lock().unwrap().recv();
            })
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(taken.recv().unwrap(), Ok(()));
    }
    let refused = in_thread("late", || {
        let refused = register_thread("late");
        drop(measure(Trading::OrderFill));
        refused
    });
    assert_eq!(refused, Err(RegisterError::AllTaken { rings: 3 }));
    assert!(RegisterError::AllTaken { rings: 3 }.to_string().contains('3'));
    drop(done);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(in_thread("later", || register_thread("later")), Ok(()), "they have come back");
    collector.stop();
    assert_eq!(collector.health().unregistered, 2, "START and END");
}

#[test]
fn a_thread_that_is_registered_keeps_its_ring_and_its_name() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().rings(1).observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    in_thread("by itself", || {
        record_value(Trading::QueueBacklog, 1);
        assert_eq!(register_thread("by hand"), Ok(()));
        record_value(Trading::QueueBacklog, 2);
    });
    collector.stop();
    assert_eq!(
        log.all().iter().map(|seen| seen.thread.as_str()).collect::<Vec<_>>(),
        ["by itself"; 2]
    );
}

thread_local! {
    static KEPT: RefCell<Option<SpanGuard>> = const { RefCell::new(None) };
}

#[test]
fn a_span_kept_in_a_thread_local_is_recorded_or_counted_whichever_is_dropped_first() {
    let _turn = in_turn();
    let mut unregistered = Vec::new();
    for users_first in [false, true] {
        let tally = Tally::default();
        let collector = Collector::builder().observer(tally.observer()).start().unwrap();
        collector.install().unwrap();
        in_thread("recorder", move || {
            // The order in which thread-locals are dropped follows that of their first use.
            if users_first {
                KEPT.set(None);
                register_thread("recorder").unwrap();
            } else {
                register_thread("recorder").unwrap();
                KEPT.set(None);
            }
            KEPT.set(Some(measure(Trading::OrderFill)));
        });
        collector.stop();
        assert_accounted(&collector, 2, tally.count());
        unregistered.push(collector.health().unregistered);
    }
    // In one order the thread still has its ring, in the other it has given it back: on Linux, the first used is the last
    // dropped.
    unregistered.sort_unstable();
    assert_eq!(unregistered, [0, 1]);
}

/// Records at its drop.
struct RecordsAtDrop;

impl Drop for RecordsAtDrop {
    fn drop(&mut self) {
        drop(measure(Trading::OrderFill));
        measure(Trading::OrderFill).discard();
        record_end(record_start(Trading::OrderFill), Outcome::Error);
        record_value(Trading::QueueBacklog, 1);
        record_duration(Trading::GcPause, core::time::Duration::from_nanos(1));
    }
}

thread_local! {
    static LAST_WORDS: RefCell<Option<RecordsAtDrop>> = const { RefCell::new(None) };
}

#[test]
fn what_a_thread_records_while_its_thread_locals_are_dropped_is_delivered_or_counted() {
    const PUSHED: u64 = 8;
    let _turn = in_turn();
    let mut unregistered = Vec::new();
    for users_first in [false, true] {
        let tally = Tally::default();
        // Two rings: one would be free to be taken once more, and must not be lost.
        let collector = Collector::builder().rings(2).observer(tally.observer()).start().unwrap();
        collector.install().unwrap();
        for _ in 0..10 {
            in_thread("recorder", move || {
                if users_first {
                    LAST_WORDS.set(Some(RecordsAtDrop));
                    register_thread("recorder").unwrap();
                } else {
                    register_thread("recorder").unwrap();
                    LAST_WORDS.set(Some(RecordsAtDrop));
                }
            });
        }
        for number in 0..2 {
            let registered = in_thread("next", move || (number, register_thread("next")));
            assert_eq!(registered, (number, Ok(())), "no ring is lost");
        }
        collector.stop();
        assert_accounted(&collector, 10 * PUSHED, tally.count());
        unregistered.push(collector.health().unregistered);
    }
    unregistered.sort_unstable();
    assert_eq!(unregistered, [0, 10 * PUSHED]);
}

#[test]
fn to_drop_the_collector_is_to_stop_it() {
    let _turn = in_turn();
    let tally = Tally::default();
    let collector = Collector::builder().observer(tally.observer()).start().unwrap();
    collector.install().unwrap();
    let second = Collector::builder().start().unwrap();
    register_thread("main").unwrap();
    for n in 0..1_000 {
        record_value(Trading::QueueBacklog, n);
    }
    drop(collector);
    assert_eq!(tally.count(), 1_000, "everything recorded before is drained");
    record_value(Trading::QueueBacklog, 1_000);
    assert_eq!(tally.count(), 1_000, "nothing more comes");
    assert!(register_thread("main").is_err());
    assert_eq!(second.install(), Ok(()), "the place is free");
}

#[test]
fn what_is_recorded_after_stop_counts_as_unregistered() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    register_thread("main").unwrap();
    let [to_drop, to_end, to_discard] = [(); 3].map(|()| measure(Trading::OrderFill));
    let (token, thrown_away) = (record_start(Trading::OrderFill), record_start(Trading::OrderFill));
    record_value(Trading::QueueBacklog, 1);
    collector.stop();
    assert_accounted(&collector, 6, log.count());
    assert_eq!(collector.health().unregistered, 0);

    // The spans that were open: one record each.
    drop(to_drop);
    to_end.end(Outcome::Error);
    to_discard.discard();
    record_end(token, Outcome::Ok);
    record_discard(thrown_away);
    assert_eq!(collector.health().unregistered, 5);
    // On a thread that had a ring, and on one that never had.
    let record = || {
        drop(measure(Trading::OrderFill)); // 2
        measure(Trading::OrderFill).discard(); // 2
        record_value(Trading::QueueBacklog, 1);
        record_duration(Trading::GcPause, core::time::Duration::from_nanos(1));
    };
    record();
    assert_eq!(collector.health().unregistered, 5 + 6);
    in_thread("late", record);
    assert_eq!(collector.health().unregistered, 5 + 6 + 6);
    assert_eq!(collector.report().health.unregistered, 5 + 6 + 6);

    // Nor does anything bring it back.
    collector.set_enabled(true);
    assert!(!collector.health().enabled);
    collector.flush();
    collector.stop();
    record_value(Trading::QueueBacklog, 1);
    assert_accounted(&collector, 6 + 5 + 6 + 6 + 1, log.count());
}

#[test]
fn a_collector_that_has_stopped_registers_nobody() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.install().unwrap();
    collector.stop();
    assert_eq!(collector.register_thread("main"), Err(RegisterError::Stopped));
    assert_eq!(register_thread("main"), Err(RegisterError::Stopped));
    assert!(RegisterError::Stopped.to_string().contains("stopped"));
}

#[test]
fn one_collector_is_installed_at_a_time() {
    let _turn = in_turn();
    let first = Collector::builder().rings(1).start().unwrap();
    let second = Collector::builder().rings(1).start().unwrap();
    assert_eq!(first.install(), Ok(()));
    assert_eq!(first.install(), Ok(()), "it is installed already");
    assert_eq!(second.install(), Err(InstallError::Taken));
    assert!(InstallError::Taken.to_string().contains("another collector is installed"));
    in_thread("recorder", || record_value(Trading::QueueBacklog, 1));
    second.stop();
    assert_eq!(second.health().produced, 0, "it was not installed");
    first.stop();
    assert_eq!(first.health().delivered, 1);
    assert_eq!(first.install(), Err(InstallError::Stopped));
    assert!(InstallError::Stopped.to_string().contains("stopped"));
    let third = Collector::builder().rings(1).start().unwrap();
    assert_eq!(third.install(), Ok(()));
}

#[test]
fn a_thread_records_into_the_collector_it_registered_with() {
    let _turn = in_turn();
    let (of_installed, of_other) = (Log::default(), Log::default());
    let installed = Collector::builder().observer(of_installed.observer()).start().unwrap();
    let other = Collector::builder().observer(of_other.observer()).start().unwrap();
    installed.install().unwrap();
    thread::scope(|scope| {
        let recording = scope.spawn(|| {
            other.register_thread("other's").unwrap();
            record_value(Trading::QueueBacklog, 1);
            // And it may change its mind.
            installed.register_thread("installed's").unwrap();
            record_value(Trading::QueueBacklog, 2);
        });
        recording.join().unwrap();
    });
    installed.stop();
    other.stop();
    let told = |log: &Log| {
        log.all()
            .iter()
            .map(|seen| (seen.thread.clone(), seen.duration_ns_or_value))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&of_other), [("other's".to_owned(), Some(1))]);
    assert_eq!(told(&of_installed), [("installed's".to_owned(), Some(2))]);
}

#[test]
fn threads_of_a_stopped_collector_move_over_to_the_next_one_by_themselves() {
    let _turn = in_turn();
    let (of_first, of_second) = (Log::default(), Log::default());
    let first = Collector::builder().observer(of_first.observer()).start().unwrap();
    first.install().unwrap();
    let (go, goes) = mpsc::channel::<u64>();
    let (done, is_done) = mpsc::channel();
    let recording = thread::Builder::new().name("recorder".to_owned()).spawn(move || {
        for value in goes {
            record_value(Trading::QueueBacklog, value);
            drop(measure(Trading::OrderFill));
            done.send(()).unwrap();
        }
    });
    let record = |value| {
        go.send(value).unwrap();
        is_done.recv().unwrap();
    };
    record(1);
    first.stop();
    record(2); // nobody's
    let second = Collector::builder().observer(of_second.observer()).start().unwrap();
    second.install().unwrap();
    record(3);
    record(4);
    drop(go);
    recording.unwrap().join().unwrap();
    second.stop();

    assert_accounted(&first, 6, of_first.count());
    assert_eq!(first.health().unregistered, 3);
    assert_accounted(&second, 6, of_second.count());
    assert_eq!(second.health().unregistered, 0);
    let told = |log: &Log| {
        log.all()
            .iter()
            .filter_map(|seen| seen.duration_ns_or_value.filter(|_| seen.kind == Kind::Value))
            .collect::<Vec<_>>()
    };
    assert_eq!((told(&of_first), told(&of_second)), (vec![1], vec![3, 4]));
    assert!(of_second.all().iter().all(|seen| seen.thread == "recorder"));
}

#[test]
fn a_span_may_outlive_its_collector() {
    let _turn = in_turn();
    let first = Collector::builder().start().unwrap();
    first.install().unwrap();
    register_thread("main").unwrap();
    let (span, other) = (measure(Trading::OrderFill), measure(Trading::OrderFill));
    drop(first);
    drop(span);
    let second = Collector::builder().start().unwrap();
    second.install().unwrap();
    drop(other);
    in_thread("recorder", || drop(measure(Trading::OrderFill)));
    second.stop();
    assert_eq!(second.total(Trading::OrderFill).unwrap().map(|total| total.count), Some(1));
}

#[test]
fn the_master_switch_stops_all_threads_at_once_and_open_spans_still_end() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let record = || {
        drop(measure(Trading::OrderFill));
        record_value(Trading::QueueBacklog, 1);
        record_duration(Trading::GcPause, core::time::Duration::from_nanos(1));
    };
    let (go, goes) = mpsc::channel::<()>();
    let (done, is_done) = mpsc::channel();
    let other = thread::spawn(move || {
        for () in goes {
            record();
            done.send(()).unwrap();
        }
    });
    let record_on_both = || {
        go.send(()).unwrap();
        is_done.recv().unwrap();
        record();
    };
    record_on_both();
    let open = measure(Trading::OrderPlacement);
    assert!(collector.health().enabled);
    collector.set_enabled(false);
    assert!(!collector.health().enabled);
    collector.flush();
    assert_eq!(log.count(), 2 * 4 + 1);
    record_on_both();
    let not_recorded = measure(Trading::OrderPlacement);
    in_thread("one more", record);
    collector.flush();
    assert_eq!(log.count(), 2 * 4 + 1, "nothing while it is off");
    drop(open);
    collector.flush();
    assert_eq!(log.kinds().last(), Some(&Kind::EndOk));
    assert_eq!(log.count(), 2 * 4 + 2);
    collector.set_enabled(true);
    drop(not_recorded);
    record_on_both();
    collector.stop();
    assert_eq!(collector.health().unregistered, 0, "switched off is not lost");
    assert_accounted(&collector, 2 * 4 + 2 + 2 * 4, log.count());
    drop(go);
    other.join().unwrap();
}

#[test]
fn spans_that_are_open_when_the_master_switch_turns_end_on_a_thread_without_a_ring_too() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    register_thread("begins").unwrap();
    let (to_drop, to_discard, token) = (
        measure(Trading::OrderFill),
        measure(Trading::OrderFill),
        record_start(Trading::OrderFill),
    );
    collector.set_enabled(false);
    in_thread("ends", move || {
        drop(to_drop);
        to_discard.discard();
        record_end(token, Outcome::Error);
    });
    collector.stop();
    assert_accounted(&collector, 6, log.count());
    assert_eq!(collector.health().unregistered, 0, "there were rings");
    let ends: Vec<_> =
        log.all().into_iter().filter(|seen| seen.thread == "ends").map(|seen| seen.kind).collect();
    assert_eq!(ends, [Kind::EndOk, Kind::Forget, Kind::EndError]);
}

#[test]
fn stop_returns_when_everything_is_drained_whoever_else_calls_it() {
    const PUSHED: u64 = 10_000;
    let _turn = in_turn();
    for _ in 0..20 {
        let tally = Tally::default();
        let collector = Collector::builder().observer(tally.observer()).start().unwrap();
        collector.register_thread("main").unwrap();
        for n in 0..PUSHED {
            record_value(Trading::QueueBacklog, n);
        }
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    collector.stop();
                    assert_accounted(&collector, PUSHED, tally.count());
                });
            }
            scope.spawn(|| collector.flush());
        });
    }
}

/// An event whose number is found by code that moves the thread to another collector.
#[derive(Clone, Copy)]
struct Meddling<'c>(&'c Collector, Trading);

impl Event for Meddling<'_> {
    fn id(self) -> EventId {
        self.0.register_thread("meddling").unwrap();
        self.1.id()
    }
}

#[test]
fn an_events_own_code_may_move_the_thread_to_another_collector() {
    let _turn = in_turn();
    let [former, latter] = [(); 2].map(|()| Collector::builder().start().unwrap());
    former.register_thread("main").unwrap();
    drop(measure(Meddling(&latter, Trading::OrderFill)));
    former.register_thread("main").unwrap();
    record_value(Meddling(&latter, Trading::QueueBacklog), 3);
    for collector in [&former, &latter] {
        collector.stop();
    }
    assert_eq!(former.health().produced, 0);
    assert_eq!(latter.health().delivered, 3);
}
