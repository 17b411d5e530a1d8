//! Checks the lifecycle of rings, threads and collectors.

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
            register_thread(&format!("thread-{number}"))
                .expect("the previous thread's ring is free");
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
fn a_ring_belongs_to_one_thread_and_the_error_names_the_number_of_rings() {
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
                // Keeps the ring until `done` is dropped.
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
    assert_eq!(
        in_thread("later", || register_thread("later")),
        Ok(()),
        "the rings must be free again"
    );
    collector.stop();
    assert_eq!(collector.health().unregistered, 2, "the START and END of the thread `late`");
}

#[test]
fn a_registered_thread_keeps_its_ring_and_its_name() {
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
    static HELD_SPAN: RefCell<Option<SpanGuard>> = const { RefCell::new(None) };
}

#[test]
fn a_span_held_in_a_thread_local_is_recorded_or_counted_in_either_drop_order() {
    let _turn = in_turn();
    let mut unregistered = Vec::new();
    for user_local_first in [false, true] {
        let tally = Tally::default();
        let collector = Collector::builder().observer(tally.observer()).start().unwrap();
        collector.install().unwrap();
        in_thread("recorder", move || {
            // The order in which thread-locals are dropped depends on the order of their first use.
            if user_local_first {
                HELD_SPAN.set(None);
                register_thread("recorder").unwrap();
            } else {
                register_thread("recorder").unwrap();
                HELD_SPAN.set(None);
            }
            HELD_SPAN.set(Some(measure(Trading::OrderFill)));
        });
        collector.stop();
        assert_accounted(&collector, 2, tally.count());
        unregistered.push(collector.health().unregistered);
    }
    // When the span ends, the thread still has its ring in one order and has given it back in the
    // other. On Linux, the thread-local that was used first is dropped last.
    unregistered.sort_unstable();
    assert_eq!(unregistered, [0, 1]);
}

/// Records in every way when it is dropped.
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
    static RECORDS_AT_EXIT: RefCell<Option<RecordsAtDrop>> = const { RefCell::new(None) };
}

#[test]
fn records_made_while_thread_locals_are_dropped_are_delivered_or_counted() {
    const PUSHED: u64 = 8;
    let _turn = in_turn();
    let mut unregistered = Vec::new();
    for user_local_first in [false, true] {
        let tally = Tally::default();
        // The second ring is free: a thread that has already given its ring back could take this
        // one for its last records, and would then never give it back.
        let collector = Collector::builder().rings(2).observer(tally.observer()).start().unwrap();
        collector.install().unwrap();
        for _ in 0..10 {
            in_thread("recorder", move || {
                if user_local_first {
                    RECORDS_AT_EXIT.set(Some(RecordsAtDrop));
                    register_thread("recorder").unwrap();
                } else {
                    register_thread("recorder").unwrap();
                    RECORDS_AT_EXIT.set(Some(RecordsAtDrop));
                }
            });
        }
        for number in 0..2 {
            let registered = in_thread("next", move || (number, register_thread("next")));
            assert_eq!(registered, (number, Ok(())), "a ring is lost");
        }
        collector.stop();
        assert_accounted(&collector, 10 * PUSHED, tally.count());
        unregistered.push(collector.health().unregistered);
    }
    unregistered.sort_unstable();
    assert_eq!(unregistered, [0, 10 * PUSHED]);
}

#[test]
fn dropping_the_collector_stops_it() {
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
    assert_eq!(tally.count(), 1_000, "everything recorded before the drop must be drained");
    record_value(Trading::QueueBacklog, 1_000);
    assert_eq!(tally.count(), 1_000, "nothing recorded after the drop may be delivered");
    assert!(register_thread("main").is_err());
    assert_eq!(
        second.install(),
        Ok(()),
        "dropping the installed collector must make room for another"
    );
}

#[test]
fn records_after_stop_count_as_unregistered() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    register_thread("main").unwrap();
    let [to_drop, to_end, to_discard] = [(); 3].map(|()| measure(Trading::OrderFill));
    let (token, token_to_discard) =
        (record_start(Trading::OrderFill), record_start(Trading::OrderFill));
    record_value(Trading::QueueBacklog, 1);
    collector.stop();
    assert_accounted(&collector, 6, log.count());
    assert_eq!(collector.health().unregistered, 0);

    // Each end of an open span is one record.
    drop(to_drop);
    to_end.end(Outcome::Error);
    to_discard.discard();
    record_end(token, Outcome::Ok);
    record_discard(token_to_discard);
    assert_eq!(collector.health().unregistered, 5);
    // Records on a thread that had a ring, then on one that never had one.
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

    // A stopped collector cannot be switched on again.
    collector.set_enabled(true);
    assert!(!collector.health().enabled);
    collector.flush();
    collector.stop();
    record_value(Trading::QueueBacklog, 1);
    assert_accounted(&collector, 6 + 5 + 6 + 6 + 1, log.count());
}

#[test]
fn a_stopped_collector_registers_no_thread() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.install().unwrap();
    collector.stop();
    assert_eq!(collector.register_thread("main"), Err(RegisterError::Stopped));
    assert_eq!(register_thread("main"), Err(RegisterError::Stopped));
    assert!(RegisterError::Stopped.to_string().contains("stopped"));
}

#[test]
fn only_one_collector_is_installed_at_a_time() {
    let _turn = in_turn();
    let first = Collector::builder().rings(1).start().unwrap();
    let second = Collector::builder().rings(1).start().unwrap();
    assert_eq!(first.install(), Ok(()));
    assert_eq!(first.install(), Ok(()), "installing the installed collector again must succeed");
    assert_eq!(second.install(), Err(InstallError::AlreadyInstalled));
    assert!(InstallError::AlreadyInstalled.to_string().contains("another collector is installed"));
    in_thread("recorder", || record_value(Trading::QueueBacklog, 1));
    second.stop();
    assert_eq!(
        second.health().produced,
        0,
        "a collector that is not installed must receive nothing"
    );
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
    let (installed_log, other_log) = (Log::default(), Log::default());
    let installed = Collector::builder().observer(installed_log.observer()).start().unwrap();
    let other = Collector::builder().observer(other_log.observer()).start().unwrap();
    installed.install().unwrap();
    thread::scope(|scope| {
        let recording = scope.spawn(|| {
            other.register_thread("other's").unwrap();
            record_value(Trading::QueueBacklog, 1);
            // A thread may register with another collector later.
            installed.register_thread("installed's").unwrap();
            record_value(Trading::QueueBacklog, 2);
        });
        recording.join().unwrap();
    });
    installed.stop();
    other.stop();
    let threads_and_values = |log: &Log| {
        log.all()
            .iter()
            .map(|seen| (seen.thread.clone(), seen.duration_ns_or_value))
            .collect::<Vec<_>>()
    };
    assert_eq!(threads_and_values(&other_log), [("other's".to_owned(), Some(1))]);
    assert_eq!(threads_and_values(&installed_log), [("installed's".to_owned(), Some(2))]);
}

#[test]
fn threads_of_a_stopped_collector_move_to_the_next_one_by_themselves() {
    let _turn = in_turn();
    let (first_log, second_log) = (Log::default(), Log::default());
    let first = Collector::builder().observer(first_log.observer()).start().unwrap();
    first.install().unwrap();
    let (go, requests) = mpsc::channel::<u64>();
    let (done, is_done) = mpsc::channel();
    let recording = thread::Builder::new().name("recorder".to_owned()).spawn(move || {
        for value in requests {
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
    record(2); // counts as unregistered
    let second = Collector::builder().observer(second_log.observer()).start().unwrap();
    second.install().unwrap();
    record(3);
    record(4);
    drop(go);
    recording.unwrap().join().unwrap();
    second.stop();

    assert_accounted(&first, 6, first_log.count());
    assert_eq!(first.health().unregistered, 3);
    assert_accounted(&second, 6, second_log.count());
    assert_eq!(second.health().unregistered, 0);
    let values = |log: &Log| {
        log.all()
            .iter()
            .filter_map(|seen| seen.duration_ns_or_value.filter(|_| seen.kind == Kind::Value))
            .collect::<Vec<_>>()
    };
    assert_eq!((values(&first_log), values(&second_log)), (vec![1], vec![3, 4]));
    assert!(second_log.all().iter().all(|seen| seen.thread == "recorder"));
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
    let (go, requests) = mpsc::channel::<()>();
    let (done, is_done) = mpsc::channel();
    let other = thread::spawn(move || {
        for () in requests {
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
    assert_eq!(log.count(), 2 * 4 + 1, "nothing may be recorded while recording is off");
    drop(open);
    collector.flush();
    assert_eq!(log.kinds().last(), Some(&Kind::EndOk));
    assert_eq!(log.count(), 2 * 4 + 2);
    collector.set_enabled(true);
    drop(not_recorded);
    record_on_both();
    collector.stop();
    assert_eq!(
        collector.health().unregistered,
        0,
        "what is not recorded while recording is off must not count as lost"
    );
    assert_accounted(&collector, 2 * 4 + 2 + 2 * 4, log.count());
    drop(go);
    other.join().unwrap();
}

#[test]
fn spans_open_when_recording_is_switched_off_also_end_on_a_thread_without_a_ring() {
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
    assert_eq!(collector.health().unregistered, 0, "a ring was free for each thread");
    let ends: Vec<_> =
        log.all().into_iter().filter(|seen| seen.thread == "ends").map(|seen| seen.kind).collect();
    assert_eq!(ends, [Kind::EndOk, Kind::Forget, Kind::EndError]);
}

#[test]
fn stop_returns_once_everything_is_drained_even_if_several_threads_call_it() {
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

/// An event whose `id` moves the thread to another collector.
#[derive(Clone, Copy)]
struct MovesThread<'c>(&'c Collector, Trading);

impl Event for MovesThread<'_> {
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
    drop(measure(MovesThread(&latter, Trading::OrderFill)));
    former.register_thread("main").unwrap();
    record_value(MovesThread(&latter, Trading::QueueBacklog), 3);
    for collector in [&former, &latter] {
        collector.stop();
    }
    assert_eq!(former.health().produced, 0);
    assert_eq!(latter.health().delivered, 3);
}
