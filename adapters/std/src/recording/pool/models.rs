//! Models of how a ring passes from thread to thread, for the model checker `loom`. Run them with
//! `RUSTFLAGS="--cfg tailwatch_loom" cargo test --release -p tailwatch --lib pool::models`.
//!
//! Like the models of the ring in the core's `tests/loom.rs`, they explore every interleaving of
//! the threads with up to three preemptions. The environment variable `TAILWATCH_WEAKEN` selects
//! one ordering, by its name in the table of `pool.rs`: a load or store with this name becomes
//! `Relaxed`, and a fence is left out.

#![allow(unsafe_code, reason = "the copies of a recorder follow a gate")]

use core::ops::Range;
use std::sync::{Arc, atomic};

use loom::{model::Builder, thread};
use tailwatch_core::{Clock, EventId, Outcome, Pending, Recorder, TickRate, Token};

use super::*;
use crate::{clock::ClockMode, drain::lane_rings::LaneRings};
use tailwatch_record::collecting::{RecorderCopies, RingOffer};

/// The settings of the pool in each model.
const SETTINGS: RingSettings =
    RingSettings { lanes: 1, capacity: 4, max_capacity: 8, max_bytes: 64, locked: false };

/// The name of a thread that may write any ticks.
const RECORDER: &str = "recorder";

/// Explores every interleaving of the model and prints their number. Fails if it is below
/// `min_executions`, because then the threads of the model did not interleave.
fn explore(name: &str, min_executions: usize, model: impl Fn(Arc<Pool>) + Sync + Send + 'static) {
    explore_with(SETTINGS, 3, name, min_executions, model);
}

/// Does the same for a pool with these settings, and with at most this many preemptions.
fn explore_with(
    settings: RingSettings,
    preemptions: usize,
    name: &str,
    min_executions: usize,
    model: impl Fn(Arc<Pool>) + Sync + Send + 'static,
) {
    let executions = Arc::new(atomic::AtomicUsize::new(0));
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check({
        let executions = Arc::clone(&executions);
        move || {
            executions.fetch_add(1, atomic::Ordering::Relaxed);
            model(Arc::new(Pool::new(settings, HostClock::new(ClockMode::Relaxed)).unwrap()));
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
    let Some(claim) = pool.claim(|| (&*number.to_string()).into()) else { return 0 };
    let producer = pool.lane(claim.lane_index).producer().unwrap();
    let recorder = Recorder::new(producer, pool.gate(), Stamp(number)).with_copies();
    let received = open_span.lock().unwrap().take();
    let ended = u64::from(received.is_some());
    recorder.end(received.unwrap_or(Token::unrecorded()), Outcome::Ok);
    let begun = recorder.start(event(), number);
    open_span.lock().unwrap().replace(begun);
    ended + 1
}

/// A drain of one lane. It checks that every record was written by the thread whose name the lane
/// has, unless that is [`RECORDER`].
struct Drain<'p> {
    pool: &'p Pool,
    lane_index: usize,
    rings: LaneRings,
    /// The ticks of the delivered records.
    ticks: Vec<u64>,
}

impl<'p> Drain<'p> {
    fn new(pool: &'p Pool) -> Self {
        Self::of_lane(pool, 0)
    }

    fn of_lane(pool: &'p Pool, lane_index: usize) -> Self {
        let rings = LaneRings::default();
        Self { pool, lane_index, rings, ticks: vec![] }
    }

    fn delivered(&self) -> u64 {
        self.ticks.len() as u64
    }

    /// Makes a pass in the same steps as the real drain.
    fn pass(&mut self) {
        let Self { pool, lane_index, rings, ticks } = self;
        let lane = pool.lane(*lane_index);
        let ending = lane.is_ending();
        rings.refresh(lane);
        rings.drain(pool, *lane_index, usize::MAX, |thread, consumer, max_records| {
            consumer.drain_up_to(max_records, |record| {
                let last_digit = (record.ticks() % 10).to_string();
                assert!(
                    &*thread.name == RECORDER || last_digit == *thread.name,
                    "a record is attributed to another thread"
                );
                ticks.push(record.ticks());
            })
        });
        if ending && rings.pending() == 0 && pool.release(*lane_index) {
            rings.become_free();
        }
    }

    /// Offers a larger ring, as the real drain does.
    fn offer(&mut self) {
        self.rings.offer_larger(self.pool, self.lane_index);
    }

    /// Returns the number of records that were delivered or overwritten.
    fn drained(&self) -> u64 {
        let drained = self.rings.totals().drained;
        drained.delivered + drained.overwritten
    }
}

/// Two threads have the only ring one after the other. The second one ends the span that the first
/// one began.
#[test]
fn a_ring_goes_from_thread_to_thread() {
    // With a third preemption, there are three million interleavings.
    explore_with(SETTINGS, 2, "a ring goes from thread to thread", 20_000, |pool| {
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
                drain.delivered()
            }
        });
        let written = first.join().unwrap() + second.join().unwrap();
        let delivered = draining.join().unwrap();
        let mut drain = Drain::new(&pool);
        drain.pass();
        assert!(
            pool.lane(0).is_free(),
            "the ring of a thread that has ended is free after the next pass"
        );
        let last = thread_with_a_ring(&pool, 3, &open_span);
        assert_eq!(last, 2, "the last thread ends the open span and begins another one");
        drain.pass();
        assert_eq!(delivered + drain.delivered(), written + last);
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
fn with_copies(pool: &Pool, work: impl FnOnce(&Recorder<'_, (), IDS, RecorderCopies>)) {
    let producer = pool.lane(0).producer().unwrap();
    let recorder = Recorder::new(producer, pool.gate(), ()).with_copies_and(RingOffer(None));
    // SAFETY: the recorder does not move, and is dropped after what keeps its copies in the list.
    let _following = unsafe { pool.followers.follow(pool.gate(), recorder.copies().into()) };
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
                assert!(!is_last || drain.delivered() == 1, "the last pass missed a record");
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

/// The code of a thread that writes records with these ticks into the lane of the claim, and moves
/// whenever it finds an offer.
fn write_and_move(claim: &Claim, ticks: Range<u64>) {
    let lane = claim.pool().lane(claim.lane_index);
    let producer = lane.producer().unwrap();
    let lane: *const Lane = lane;
    // SAFETY: the claim keeps the pool alive, and the recorder does not outlive this function.
    let offer = RingOffer(Some(unsafe { &*lane }.larger_ring()));
    let recorder = Recorder::new(producer, claim.pool().gate(), ()).with_copies_and(offer);
    for tick in ticks {
        recorder.value_at(event(), 0, tick, tick);
    }
}

/// A thread that finds no spare allocates its ring, which the drain reads.
#[test]
fn a_lane_gets_its_ring_from_its_thread() {
    let settings = RingSettings { lanes: 2, ..SETTINGS };
    explore_with(settings, 3, "a lane gets its ring from its thread", 20, |pool| {
        let _spare = pool.claim(|| "other".into()).unwrap();
        let recording = thread::spawn({
            let pool = Arc::clone(&pool);
            move || write_and_move(&pool.claim(|| RECORDER.into()).unwrap(), 1..2)
        });
        let mut drain = Drain::of_lane(&pool, 1);
        drain.pass();
        recording.join().unwrap();
        drain.pass();
        assert_eq!(drain.ticks, [1]);
    });
}

/// The drain offers larger rings while a thread writes, and makes passes before, while and after
/// the thread moves. Every record is delivered in order or counted as overwritten, and no ring
/// leaks.
#[test]
fn a_thread_moves_to_a_larger_ring() {
    // With a third preemption, the model runs for minutes.
    explore_with(SETTINGS, 2, "a thread moves to a larger ring", 1_000, |pool| {
        let budget = Arc::clone(&pool.budget);
        let claim = pool.claim(|| RECORDER.into()).unwrap();
        write_and_move(&claim, 1..4);
        let mut drain = Drain::new(&pool);
        drain.pass();
        let recording = thread::spawn(move || write_and_move(&claim, 4..10));
        for _ in 0..2 {
            drain.offer();
            drain.pass();
        }
        recording.join().unwrap();
        drain.pass();
        drain.pass();
        assert!(drain.ticks.is_sorted_by(|a, b| a < b), "{:?}", drain.ticks);
        assert_eq!(drain.drained(), 9, "a record is missing");
        assert!(pool.lane(0).is_free() && !pool.lane(0).has_offer());
        drop(drain);
        drop(pool);
        assert_eq!(budget.in_use(), 0, "a ring leaks");
    });
}

/// A thread ends while the drain offers it a larger ring. The drain withdraws the offer when it
/// makes the lane free, so the next thread does not find it, and no ring is left when the pool is
/// gone.
#[test]
fn the_end_of_a_thread_crosses_an_offer() {
    explore("the end of a thread crosses an offer", 100, |pool| {
        let budget = Arc::clone(&pool.budget);
        let claim = pool.claim(|| RECORDER.into()).unwrap();
        let recording = thread::spawn(move || write_and_move(&claim, 1..2));
        let mut drain = Drain::new(&pool);
        drain.pass();
        pool.offer(0, 8);
        drain.pass();
        recording.join().unwrap();
        drain.pass();
        assert_eq!(drain.drained(), 1);
        assert!(!pool.lane(0).has_offer(), "the next thread would find the offer of another");
        drop(drain);
        drop(pool);
        assert_eq!(budget.in_use(), 0, "a ring leaks");
    });
}

/// The last pass is made while a thread moves and ends. Every record is delivered, overwritten or
/// counted as unregistered.
#[test]
fn a_stop_crosses_a_move() {
    explore("a stop crosses a move", 1_000, |pool| {
        let claim = pool.claim(|| RECORDER.into()).unwrap();
        let mut drain = Drain::new(&pool);
        drain.pass();
        pool.offer(0, 8);
        let recording = thread::spawn(move || write_and_move(&claim, 1..4));
        pool.stop();
        drain.pass();
        pool.finish();
        recording.join().unwrap();
        assert_eq!(drain.drained() + pool.unregistered(), 3);
        let budget = Arc::clone(&pool.budget);
        drop(drain);
        drop(pool);
        assert_eq!(budget.in_use(), 0, "a ring leaks");
    });
}
