//! What a child process may do with a collector that it inherits from `fork`.
//!
//! This program has no test harness: a harness has threads of its own, and the child of a program
//! with threads may do little. The parent asserts that the child ends with status 0 within 30 s.

#[cfg(not(unix))]
fn main() {}

/// A check, and its name.
#[cfg(unix)]
type Check = (&'static str, fn());

#[cfg(unix)]
const CHECKS: [Check; 11] = [
    ("children_record_and_turn_switches", unix::children_record_and_turn_switches),
    ("a_fork_waits_for_a_change_of_a_switch", unix::a_fork_waits_for_a_change_of_a_switch),
    (
        "a_process_forks_while_threads_move_to_larger_rings",
        unix::a_process_forks_while_threads_move_to_larger_rings,
    ),
    (
        "a_child_drops_or_stops_its_copy_of_the_collector",
        handles::a_child_drops_or_stops_its_copy_of_the_collector,
    ),
    (
        "a_child_calls_every_method_while_the_parent_drains",
        handles::a_child_calls_every_method_while_the_parent_drains,
    ),
    ("a_child_installs_a_collector_of_its_own", handles::a_child_installs_a_collector_of_its_own),
    ("nobody_drains_or_judges_in_a_child", handles::nobody_drains_or_judges_in_a_child),
    (
        "a_child_drops_a_reporter_a_probe_and_a_trace",
        handles::a_child_drops_a_reporter_a_probe_and_a_trace,
    ),
    (
        "a_child_drops_a_collector_whose_observer_has_a_file",
        handles::a_child_drops_a_collector_whose_observer_has_a_file,
    ),
    (
        "a_hook_forks_while_the_program_changes_the_sampling",
        handles::a_hook_forks_while_the_program_changes_the_sampling,
    ),
    ("a_hook_forks", handles::a_hook_forks),
];

#[cfg(unix)]
fn main() {
    for (name, check) in CHECKS {
        check();
        println!("{name}: ok");
    }
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    {
        child::share_from_now_on();
        for (name, check) in CHECKS {
            check();
            println!("{name}, with shared rings: ok");
        }
        for (name, check) in sharing::CHECKS {
            check();
            println!("{name}: ok");
        }
    }
}

#[cfg(unix)]
#[path = "fork/child.rs"]
mod child;
#[cfg(unix)]
#[path = "fork/handles.rs"]
mod handles;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[path = "fork/sharing.rs"]
mod sharing;

#[cfg(unix)]
mod unix {
    use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::{
        sync::{Arc, Barrier},
        thread::{self, JoinHandle},
    };

    use tailwatch::{Collector, Trading, measure, record_value};

    use crate::child::{builder, in_child};

    /// The threads of the parent that record, and half of the collector's rings.
    const THREADS: usize = 4;

    /// Starts threads that each record a span in each of `rounds` rounds. All threads pass `turn`
    /// before and after a round.
    fn start_threads(threads: usize, rounds: usize, turn: &Arc<Barrier>) -> Vec<JoinHandle<()>> {
        let thread = |_| {
            let turn = Arc::clone(turn);
            thread::spawn(move || {
                for _ in 0..rounds {
                    turn.wait();
                    drop(measure(Trading::OrderPlacement));
                    turn.wait();
                }
            })
        };
        (0..threads).map(thread).collect()
    }

    pub(crate) fn children_record_and_turn_switches() {
        let collector =
            builder().manual_drain().rings(2 * THREADS).start().expect("the settings are valid");
        collector.install().expect("no other collector is installed");
        let turn = Arc::new(Barrier::new(THREADS));
        let threads = start_threads(THREADS - 1, 3, &turn);
        let round = |children: usize| {
            turn.wait();
            drop(measure(Trading::OrderPlacement));
            turn.wait();
            for _ in 0..children {
                in_child(|| child(&collector));
            }
            collector.flush();
            let health = collector.health();
            assert_eq!(health.unregistered, 0, "{health:?}");
            health.produced
        };
        let records = 2 * THREADS as u64;
        assert_eq!(round(20), records);
        // Switches still reach the threads of the parent, and the threads still have their rings.
        collector.set_event_enabled(Trading::OrderPlacement, false);
        assert_eq!(round(1), records);
        collector.set_event_enabled(Trading::OrderPlacement, true);
        assert_eq!(round(0), 2 * records);
        for thread in threads {
            thread.join().expect("the thread does not panic");
        }
        collector.stop();
    }

    /// A child forks while another thread of the parent turns a switch all the time.
    pub(crate) fn a_fork_waits_for_a_change_of_a_switch() {
        let collector = builder().start();
        let collector = collector.expect("the settings are valid");
        collector.register_thread("forking").expect("a ring is free");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    collector.set_event_enabled(Trading::OrderFill, false);
                    collector.set_event_enabled(Trading::OrderFill, true);
                }
            });
            for _ in 0..100 {
                in_child(|| collector.set_enabled(false));
            }
            is_over.store(true, Relaxed);
        });
        drop(measure(Trading::OrderPlacement));
        collector.flush();
        assert_eq!(collector.health().produced, 2, "the switch of a child is its own");
    }

    /// Children fork while short threads of the parent, and the thread that forks, move from ring
    /// to ring all the time.
    pub(crate) fn a_process_forks_while_threads_move_to_larger_rings() {
        const FORKS: u64 = 100;
        const RECORDS: u64 = 1_000;
        let collector = builder().ring_capacity(64).start();
        let collector = collector.expect("the settings are valid");
        collector.install().expect("no other collector is installed");
        let record = || (0..RECORDS).for_each(|n| record_value(Trading::QueueBacklog, n));
        let is_over = AtomicBool::new(false);
        let threads = thread::scope(|scope| {
            let moving = scope.spawn(|| {
                let mut threads = 0;
                while !is_over.load(Relaxed) {
                    thread::spawn(record).join().expect("the thread does not panic");
                    threads += 1;
                }
                threads
            });
            for _ in 0..FORKS {
                record();
                in_child(|| {
                    let before = collector.health().unregistered;
                    record();
                    assert_eq!(collector.health().unregistered, before + RECORDS);
                });
            }
            is_over.store(true, Relaxed);
            moving.join().expect("the thread does not panic")
        });
        collector.stop();
        let health = collector.health();
        let counted = health.delivered + health.overwritten + health.unregistered;
        assert_eq!(counted, (FORKS + threads) * RECORDS, "{health:?}");
        assert_eq!((health.pending, health.unregistered), (0, 0), "{health:?}");
    }

    /// The threads of the child get the stacks of the parent's threads, where these had their
    /// copies of the gate. The child must not change these copies: the threads would then record,
    /// and not count what they record as unregistered.
    fn child(collector: &Collector) {
        let (threads, rounds) = (2 * THREADS, 5);
        // Whatever the parent did: the event is on.
        collector.set_event_enabled(Trading::OrderPlacement, true);
        let turn = Arc::new(Barrier::new(threads + 1));
        let running = start_threads(threads, rounds, &turn);
        for _ in 0..rounds {
            collector.set_event_enabled(Trading::OrderPlacement, false);
            collector.set_event_enabled(Trading::OrderPlacement, true);
            turn.wait();
            turn.wait();
        }
        for thread in running {
            thread.join().expect("the thread does not panic");
        }
        drop(measure(Trading::OrderPlacement));
        let records = 2 * (threads * rounds + 1);
        assert_eq!(collector.health().unregistered, records as u64);
    }
}
