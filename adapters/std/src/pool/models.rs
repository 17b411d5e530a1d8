//! Models of how a ring goes from hand to hand, explored by `loom`:
//! `RUSTFLAGS="--cfg tailwatch_loom" cargo test --release -p tailwatch --lib pool::models`.
//!
//! As those of the ring in the core's `tests/loom.rs`, they run every interleaving with up to three preemptions; with the
//! variable `TAILWATCH_WEAKEN` one ordering is weakened.

use std::sync::{Arc, atomic};

use loom::{model::Builder, thread};
use tailwatch_core::{Clock, Consumer, EventId, Outcome, Recorder, TickRate, Token};

use super::*;
use crate::ClockMode;

/// Explores the model and says how many executions that took: fewer than `least` would mean that its threads never met.
fn explore(name: &str, least: usize, model: impl Fn(Arc<Pool>) + Sync + Send + 'static) {
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
    assert!(executions >= least, "{name} explored only {executions} executions");
}

fn event() -> EventId {
    EventId::new(1).unwrap()
}

/// A clock whose last digit tells who reads it.
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

/// The open span that threads hand to each other, by a lock that the checker does not know: it orders nothing.
type Baton = Arc<std::sync::Mutex<Option<Token>>>;

/// A thread of this number: takes a ring, closes the span that another thread began, begins one, and gives the ring back
/// while that one lives. How many records it wrote.
fn thread_with_a_ring(pool: &Arc<Pool>, number: u64, baton: &Baton) -> u64 {
    let Some(claim) = pool.claim(|| number.to_string().into()) else { return 0 };
    let recorder =
        Recorder::new(pool.ring(claim.slot).attach_producer(), pool.gate(), Stamp(number));
    let given = baton.lock().unwrap().take();
    let closed = u64::from(given.is_some());
    recorder.end(given.unwrap_or(Token::unrecorded()), Outcome::Ok);
    let begun = recorder.start(event(), number);
    baton.lock().unwrap().replace(begun);
    closed + 1
}

/// The drain: what it was shown, and under whose name.
struct Drain<'p> {
    pool: &'p Pool,
    consumer: Consumer<'p>,
    thread: Option<Arc<str>>,
    delivered: u64,
}

impl<'p> Drain<'p> {
    fn new(pool: &'p Pool) -> Self {
        Self { pool, consumer: pool.ring(0).attach_consumer(), thread: None, delivered: 0 }
    }

    /// As the real one does it.
    fn pass(&mut self) {
        let Self { pool, consumer, thread, delivered } = self;
        let ending = pool.refresh(0, consumer);
        if consumer.pending() > 0 {
            let name = thread.get_or_insert_with(|| pool.thread(0));
            consumer.drain(|record| {
                assert_eq!(
                    (record.ticks() % 10).to_string(),
                    **name,
                    "a thread is blamed for another one's record"
                );
                *delivered += 1;
            });
        }
        if ending {
            *thread = None;
            pool.release(0);
        }
    }
}

/// Two threads share the only ring, one after the other, and a span of the first is closed by whichever comes next.
#[test]
fn a_ring_goes_from_thread_to_thread() {
    explore("a ring goes from thread to thread", 20_000, |pool| {
        let baton = Baton::default();
        let thread = |number| {
            let (pool, baton) = (Arc::clone(&pool), Arc::clone(&baton));
            thread::spawn(move || thread_with_a_ring(&pool, number, &baton))
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
            "the ring of a thread that is gone comes back with the next pass"
        );
        let last = thread_with_a_ring(&pool, 3, &baton);
        assert_eq!(last, 2, "a span that was open is closed, and one begun");
        drain.pass();
        assert_eq!(delivered + drain.delivered, written + last);
    });
}

/// A thread that is turned away by the gate asks why, while the collector is stopped.
#[test]
fn who_finds_the_gate_closed_knows_whether_it_is_for_good() {
    explore("who finds the gate closed knows whether it is for good", 8, |pool| {
        let recording = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                if !pool.gate().admits(event()) {
                    assert!(pool.is_stopped(), "nobody but `stop` closed the gate");
                }
            }
        });
        pool.stop();
        recording.join().unwrap();
    });
}

/// What a thread recorded before it, or another thread that it told so, calls `stop`, is in the last pass.
#[test]
fn the_last_pass_finds_what_was_recorded_before_the_stop() {
    explore("the last pass finds what was recorded before the stop", 100, |pool| {
        let draining = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let mut drain = Drain::new(&pool);
                let is_last = pool.is_stopping();
                drain.pass();
                assert!(!is_last || drain.delivered == 1, "a record is missing");
            }
        });
        assert_eq!(thread_with_a_ring(&pool, 1, &Baton::default()), 1);
        pool.stop();
        draining.join().unwrap();
    });
}

/// Somebody asks all the time how many records nobody will see; then some come in after the last pass.
#[test]
fn what_is_recorded_after_the_last_pass_is_counted() {
    explore("what is recorded after the last pass is counted", 20, |pool| {
        let baton = Baton::default();
        assert_eq!(thread_with_a_ring(&pool, 1, &baton), 1);
        let draining = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                Drain::new(&pool).pass();
                pool.finish();
            }
        });
        let asking = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                assert_eq!(pool.unregistered(), 0, "what the last pass delivered is taken for lost")
            }
        });
        draining.join().unwrap();
        asking.join().unwrap();
        let written = thread_with_a_ring(&pool, 1, &baton);
        assert_eq!((written, pool.unregistered()), (2, 2));
    });
}
