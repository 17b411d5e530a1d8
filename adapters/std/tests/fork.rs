//! What a child process may do with a collector that it inherits from `fork`.
//!
//! This program has no test harness: a harness has threads of its own, and the child of a program
//! with threads may do little. The parent asserts that the child ends with status 0 within 30 s.

#![allow(unsafe_code, reason = "`fork` and `waitpid`")]

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    unix::children_record_and_turn_switches();
    println!("children_record_and_turn_switches: ok");
}

#[cfg(unix)]
mod unix {
    use core::time::Duration;
    use std::{
        sync::{Arc, Barrier},
        thread,
        time::Instant,
    };

    use tailwatch::{Collector, Trading, measure};

    /// The rings of the collector, all of which threads of the parent have.
    const RINGS: usize = 4;

    /// Runs `child` in a forked child process, and asserts that it returns within 30 s.
    fn in_child(child: impl FnOnce()) {
        // SAFETY: the child calls only `child` and `_exit`.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            let passed = std::panic::catch_unwind(core::panic::AssertUnwindSafe(child)).is_ok();
            // SAFETY: the function does not return.
            unsafe { libc::_exit(i32::from(!passed)) };
        }
        let begun = Instant::now();
        let mut status = 0;
        // SAFETY: the pointer is to a local variable.
        while unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == 0 {
            if begun.elapsed() > Duration::from_secs(30) {
                // SAFETY: the child was not waited for, so the number is still its own.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                panic!("the child hangs");
            }
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(status, 0, "the child failed");
    }

    /// Starts threads that each record a span whenever `turn` is passed, and end after `rounds`.
    fn start_threads(threads: usize, rounds: usize, turn: &Arc<Barrier>) -> Vec<Thread> {
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

    type Thread = thread::JoinHandle<()>;

    pub(crate) fn children_record_and_turn_switches() {
        let collector = Collector::builder()
            .ignore_environment()
            .manual_drain()
            .rings(RINGS)
            .start()
            .expect("the settings are valid");
        collector.install().expect("no other collector is installed");
        let turn = Arc::new(Barrier::new(RINGS));
        let threads = start_threads(RINGS - 1, 2, &turn);
        turn.wait();
        drop(measure(Trading::OrderPlacement));
        turn.wait();
        collector.flush();
        let health = collector.health();
        let spans = RINGS as u64;
        assert_eq!((health.produced, health.unregistered), (2 * spans, 0));

        for _ in 0..20 {
            in_child(|| child(&collector));
        }

        // In the parent, the threads still have their rings, and switches still reach them.
        collector.set_event_enabled(Trading::OrderPlacement, false);
        turn.wait();
        collector.set_event_enabled(Trading::OrderPlacement, true);
        drop(measure(Trading::OrderPlacement));
        turn.wait();
        for thread in threads {
            thread.join().expect("the thread does not panic");
        }
        collector.stop();
        let health = collector.health();
        // The threads record their second span before or after the event is turned on again.
        assert!((2 * spans + 2..=4 * spans).contains(&health.produced), "{health:?}");
        assert_eq!(health.unregistered, 0);
    }

    /// The threads of the child get the stacks of the parent's threads, where these had their
    /// copies of the gate. The parent's threads have all rings, so none of the child's records goes
    /// into a ring. Were the copies of the child's threads changed, the threads would record, and
    /// not count what they record as unregistered.
    fn child(collector: &Collector) {
        let (threads, rounds) = (2 * RINGS, 5);
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
