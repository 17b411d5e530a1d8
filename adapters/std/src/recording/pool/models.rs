//! Models of how a ring passes from thread to thread, for the model checker `loom`. Run them with
//! `RUSTFLAGS="--cfg tailwatch_loom" cargo test --release -p tailwatch --lib pool::models`.
//!
//! Like the models of the ring in the core's `tests/loom.rs`, they explore every interleaving of
//! the threads with up to three preemptions. The environment variable `TAILWATCH_WEAKEN` selects
//! one ordering, by its name in the table of `pool.rs`: a load or store with this name becomes
//! `Relaxed`, and a fence is left out.

#![allow(unsafe_code, reason = "the copies of a recorder follow a gate")]

use std::sync::{Arc, atomic};

use loom::{model::Builder, thread};
use tailwatch_core::{Clock, Consumer, EventId, Outcome, Recorder, ThreadCopies, TickRate, Token};

use super::*;
use crate::clock::ClockMode;

/// Explores every interleaving of the model and prints their number. Fails if it is below
/// `min_executions`, because then the threads of the model did not interleave.
fn explore(name: &str, min_executions: usize, model: impl Fn(Arc<Pool>) + Sync + Send + 'static) {
    let executions = Arc::new(atomic::AtomicUsize::new(0));
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check({
        let executions = Arc::clone(&executions);
        move || {
            executions.fetch_add(1, atomic::Ordering::Relaxed);
            model(Arc::new(Pool::new(1, 4, HostClock::new(ClockMode::Relaxed)).unwrap()));
        }
    });
    let executions = executions.load(atomic::Ordering::Relaxed);
    println!("{name}: {executions} executions");
    assert!(executions >= min_executions, "{name} explored only {executions} executions");
}

fn event() -> EventId {
    EventId::new(1).unwrap()
}

/// A clock that returns the same tick at every start of a span, and another one at every end. The
/// last digit of both is the number of the thread, `self.0`.
struct Stamp(u64);

impl Clock for Stamp {
    fn start(&self) -> u64 {
        self.0
    }
    fn end(&self) -> u64 {
        10 + self.0
    }
    fn rate(&self) -> TickRate {
        TickRate::NANOSECONDS
    }
}

/// The open span that the threads of a model pass on to each other. Its lock is that of `std`,
/// which the model checker does not see, so the lock orders nothing in the model.
type OpenSpan = Arc<std::sync::Mutex<Option<Token>>>;

/// The code of the thread with this number: it takes a ring, ends the span that another thread
/// began, begins a new one, and gives the ring back while the new span is open. Returns how many
/// records it wrote.
fn thread_with_a_ring(pool: &Arc<Pool>, number: u64, open_span: &OpenSpan) -> u64 {
    let Some(claim) = pool.claim(|| number.to_string().into()) else { return 0 };
    let producer = pool.ring(claim.ring_index).attach_producer();
    let recorder = Recorder::new(producer, pool.gate(), Stamp(number)).with_copies();
    let received = open_span.lock().unwrap().take();
    let ended = u64::from(received.is_some());
    recorder.end(received.unwrap_or(Token::unrecorded()), Outcome::Ok);
    let begun = recorder.start(event(), number);
    open_span.lock().unwrap().replace(begun);
    ended + 1
}

/// A drain of the only ring. It checks that every record was written by the thread whose name the
/// ring has.
struct Drain<'p> {
    pool: &'p Pool,
    consumer: Consumer<'p>,
    thread_name: Option<Arc<str>>,
    delivered: u64,
}

impl<'p> Drain<'p> {
    fn new(pool: &'p Pool) -> Self {
        Self { pool, consumer: pool.ring(0).attach_consumer(), thread_name: None, delivered: 0 }
    }

    /// Makes a pass in the same steps as the real drain.
    fn pass(&mut self) {
        let Self { pool, consumer, thread_name, delivered } = self;
        let ending = pool.refresh(0, consumer);
        if consumer.pending() > 0 {
            let name = thread_name.get_or_insert_with(|| pool.thread_name(0));
            consumer.drain(|record| {
                assert_eq!(
                    (record.ticks() % 10).to_string(),
                    **name,
                    "a record is attributed to another thread"
                );
                *delivered += 1;
            });
        }
        if ending {
            *thread_name = None;
            pool.release(0);
        }
    }
}

/// Two threads have the only ring one after the other. The second one ends the span that the first
/// one began.
#[test]
fn a_ring_goes_from_thread_to_thread() {
    explore("a ring goes from thread to thread", 20_000, |pool| {
        let open_span = OpenSpan::default();
        let thread = |number| {
            let (pool, open_span) = (Arc::clone(&pool), Arc::clone(&open_span));
            thread::spawn(move || thread_with_a_ring(&pool, number, &open_span))
        };
        let (first, second) = (thread(1), thread(2));
        let draining = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let mut drain = Drain::new(&pool);
                drain.pass();
                drain.pass();
                drain.delivered
            }
        });
        let written = first.join().unwrap() + second.join().unwrap();
        let delivered = draining.join().unwrap();
        let mut drain = Drain::new(&pool);
        drain.pass();
        assert!(
            !pool.is_taken(0),
            "the ring of a thread that has ended is free after the next pass"
        );
        let last = thread_with_a_ring(&pool, 3, &open_span);
        assert_eq!(last, 2, "the last thread ends the open span and begins another one");
        drain.pass();
        assert_eq!(delivered + drain.delivered, written + last);
    });
}

/// While the collector is stopped, a thread whose event the copies of the gate reject checks
/// whether the collector has stopped. The thread gets its copies in the meantime, so the gate may
/// close before, while or after they are made.
#[test]
fn a_thread_that_finds_the_gate_closed_sees_the_stop() {
    explore("a thread that finds the gate closed sees the stop", 20, |pool| {
        let recording = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                with_copies(&pool, |recorder| {
                    if recorder.decision(event()).is_off() {
                        assert!(pool.is_stopped(), "the gate is closed, which only `stop` does");
                    }
                });
            }
        });
        pool.stop();
        recording.join().unwrap();
    });
}

/// Calls `work` with a recorder whose copies follow the gate of the pool.
fn with_copies(pool: &Pool, work: impl FnOnce(&Recorder<'_, (), IDS, ThreadCopies>)) {
    let producer = pool.ring(0).attach_producer();
    let recorder = Recorder::new(producer, pool.gate(), ()).with_copies();
    // SAFETY: the recorder does not move, and is dropped after what keeps its copies in the list.
    let _following = unsafe { pool.followers.follow(pool.gate(), recorder.copies()) };
    work(&recorder);
}

/// A thread gets copies of the gate, while one thread turns the switch of the event off, and
/// another one gets copies and gives them up again. Once the switch is off, the copies agree.
#[test]
fn copies_of_the_gate_follow_it() {
    explore("copies of the gate follow it", 100, |pool| {
        let switching = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.update_gate(|gate| gate.set_event_enabled(event(), false))
        });
        let coming_and_going = thread::spawn({
            let pool = Arc::clone(&pool);
            move || with_copies(&pool, |_| ())
        });
        with_copies(&pool, |recorder| {
            switching.join().unwrap();
            let decision = recorder.decision(event());
            assert!(decision.is_switched_off(), "the copies did not follow the gate");
        });
        coming_and_going.join().unwrap();
    });
}

/// A record that was written before the call of `stop` is delivered in the last pass.
#[test]
fn the_last_pass_delivers_every_record_from_before_the_stop() {
    explore("the last pass delivers every record from before the stop", 100, |pool| {
        let draining = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let mut drain = Drain::new(&pool);
                let is_last = pool.is_stopping();
                drain.pass();
                assert!(!is_last || drain.delivered == 1, "the last pass missed a record");
            }
        });
        assert_eq!(thread_with_a_ring(&pool, 1, &OpenSpan::default()), 1);
        pool.stop();
        draining.join().unwrap();
    });
}

/// A thread reads the count of unregistered records during the last pass, where it has to be 0. Two
/// records that follow the last pass are counted.
#[test]
fn records_after_the_last_pass_are_counted() {
    explore("records after the last pass are counted", 20, |pool| {
        let open_span = OpenSpan::default();
        assert_eq!(thread_with_a_ring(&pool, 1, &open_span), 1);
        let draining = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                Drain::new(&pool).pass();
                pool.finish();
            }
        });
        let querying = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                assert_eq!(pool.unregistered(), 0, "a delivered record is counted as unregistered")
            }
        });
        draining.join().unwrap();
        querying.join().unwrap();
        let written = thread_with_a_ring(&pool, 1, &open_span);
        assert_eq!((written, pool.unregistered()), (2, 2));
    });
}
