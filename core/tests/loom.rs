//! Models of the ring and the gate, explored by `loom`:
//! `RUSTFLAGS="--cfg tailwatch_loom" cargo test --release -p tailwatch-core --test loom`.
//!
//! Each runs every interleaving with up to three preemptions, and every value that the memory model lets a load see. Rings
//! of four records, reservations of two and copies of two: the protocol with all its parts, but small. With the variable
//! `TAILWATCH_WEAKEN` one ordering is weakened, by its name in `tailwatch_core::sync`; then the models that need it fail.
#![cfg(tailwatch_loom)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use loom::{model::Builder, sync::Mutex, thread};
use tailwatch_core::{
    Clock, Consumer, EventId, Gate, Kind, Outcome, Record, Recorder, Ring, Slot, TickRate,
    claim_once::Once,
};

/// Both words tell the number, so that a mixture of two records shows.
fn numbered(n: u64) -> Record {
    Record::value(n, EventId::new(1).unwrap(), 0, n)
}

/// What consumers saw, checked as it comes: whole records, in order, none twice.
#[derive(Default)]
struct Seen {
    next: u64,
    delivered: u64,
    overwritten: u64,
}

impl Seen {
    fn pass(&mut self, consumer: &mut Consumer<'_>) {
        consumer.refresh();
        let drained = consumer.drain(|record| {
            assert_eq!(record.ticks(), record.payload(), "a torn record");
            assert!(record.ticks() >= self.next, "a stale record, or one twice");
            self.next = record.ticks() + 1;
            self.delivered += 1;
        });
        self.overwritten += drained.overwritten;
    }
}

/// Explores the model and says how many executions that took: fewer than `least` would mean that its threads never met.
fn explore(name: &str, least: usize, model: impl Fn() + Sync + Send + 'static) {
    let executions = Arc::new(AtomicUsize::new(0));
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check({
        let executions = Arc::clone(&executions);
        move || {
            executions.fetch_add(1, Relaxed);
            model();
        }
    });
    let executions = executions.load(Relaxed);
    println!("{name}: {executions} executions");
    assert!(executions >= least, "{name} explored only {executions} executions");
}

type Shared = Arc<Ring<[Slot; 4]>>;

fn push(ring: &Shared, records: core::ops::Range<u64>) {
    let ring: &Ring = &**ring;
    let producer = ring.attach_producer();
    records.for_each(|n| producer.push(numbered(n)));
}

/// One pass over the ring by a consumer of its own, in a thread of its own.
fn pass_beside(shared: &Shared) -> thread::JoinHandle<Seen> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let ring: &Ring = &*shared;
        let mut seen = Seen::default();
        seen.pass(&mut ring.attach_consumer());
        seen
    })
}

fn laps(name: &str, first: usize) {
    explore(name, 4_000, move || {
        let shared: Shared = Arc::new(Ring::starting_at(first));
        let reading = pass_beside(&shared);
        push(&shared, 0..6);
        let mut seen = reading.join().unwrap();
        let ring: &Ring = &*shared;
        let mut consumer = ring.attach_consumer();
        seen.pass(&mut consumer);
        assert_eq!(seen.next, 6, "the newest record is there once nobody pushes");
        assert_eq!(seen.delivered + seen.overwritten, 6);
        assert_eq!(consumer.pending(), 0);
    });
}

#[test]
fn a_producer_laps_a_consumer() {
    laps("a producer laps a consumer", 0);
}

#[test]
fn counters_wrap() {
    laps("counters wrap", usize::MAX - 2);
}

/// The ring goes from one producer to the next by a lock, while the consumer reads. What the first one reserved and did not
/// use, the second one uses.
#[test]
fn a_second_producer_goes_on() {
    explore("a second producer goes on", 200_000, || {
        let shared: Shared = Arc::new(Ring::starting_at(0));
        let next = Arc::new(Mutex::new(0));
        let turn = |shared: &Shared, next: &Arc<Mutex<u64>>| {
            let mut next = next.lock().unwrap();
            // Five end in the middle of a reservation, over a record of the first lap.
            let until = if *next == 0 { 5 } else { 7 };
            push(shared, *next..until);
            *next = until;
        };
        let reading = pass_beside(&shared);
        let other = thread::spawn({
            let (shared, next) = (Arc::clone(&shared), Arc::clone(&next));
            move || turn(&shared, &next)
        });
        turn(&shared, &next);
        other.join().unwrap();
        let mut seen = reading.join().unwrap();
        let ring: &Ring = &*shared;
        seen.pass(&mut ring.attach_consumer());
        assert_eq!((seen.next, seen.delivered + seen.overwritten), (7, 7));
    });
}

/// The ring is full and its oldest records are overwritten before anybody looks, while the producer goes on.
#[test]
fn a_consumer_comes_late() {
    explore("a consumer comes late", 70_000, || {
        let shared: Shared = Arc::new(Ring::starting_at(0));
        push(&shared, 0..5);
        let reading = pass_beside(&shared);
        push(&shared, 5..9);
        let mut seen = reading.join().unwrap();
        let ring: &Ring = &*shared;
        seen.pass(&mut ring.attach_consumer());
        assert_eq!((seen.next, seen.delivered + seen.overwritten), (9, 9));
    });
}

/// Another consumer goes on where the first one ended, while the producer goes on as well.
#[test]
fn a_second_consumer_goes_on() {
    explore("a second consumer goes on", 7_000, || {
        let shared: Shared = Arc::new(Ring::starting_at(0));
        let reading = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let ring: &Ring = &*shared;
                let mut seen = Seen::default();
                seen.pass(&mut ring.attach_consumer());
                seen.pass(&mut ring.attach_consumer());
                seen
            }
        });
        push(&shared, 0..5);
        let mut seen = reading.join().unwrap();
        let ring: &Ring = &*shared;
        seen.pass(&mut ring.attach_consumer());
        assert_eq!((seen.next, seen.delivered + seen.overwritten), (5, 5));
    });
}

/// Ticks once a read.
#[derive(Default)]
struct Counter(core::cell::Cell<u64>);

impl Clock for Counter {
    fn start(&self) -> u64 {
        self.0.replace(self.0.get() + 1)
    }
    fn end(&self) -> u64 {
        self.start()
    }
    fn rate(&self) -> TickRate {
        TickRate::NANOSECONDS
    }
}

/// Both switches of an event are turned by two threads, one after the other by a lock, while a third one records.
#[test]
fn a_gate_turns_while_spans_run() {
    explore("a gate turns while spans run", 700, || {
        let event = EventId::new(1).unwrap();
        let gate = Arc::new((Gate::<2>::new(), Mutex::new(())));
        let shared: Shared = Arc::new(Ring::starting_at(0));
        let recording = thread::spawn({
            let (gate, shared) = (Arc::clone(&gate), Arc::clone(&shared));
            move || {
                let ring: &Ring = &*shared;
                let recorder = Recorder::new(ring.attach_producer(), &gate.0, Counter::default());
                let span = || {
                    let token = recorder.start(event, 0);
                    let recorded = token.is_recorded();
                    recorder.end(token, Outcome::Ok);
                    recorded
                };
                usize::from(span()) + usize::from(span())
            }
        });
        let turning = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                let _turning = gate.1.lock().unwrap();
                gate.0.set_enabled(false);
            }
        });
        {
            let _turning = gate.1.lock().unwrap();
            gate.0.set_event_enabled(event, false);
            gate.0.set_event_enabled(event, true);
        }
        turning.join().unwrap();
        assert!(!gate.0.admits(event), "a turn is undone by another");
        let recorded = recording.join().unwrap();

        let ring: &Ring = &*shared;
        let mut consumer = ring.attach_consumer();
        consumer.refresh();
        let mut kinds = Vec::new();
        consumer.drain(|record| kinds.push(record.kind()));
        assert_eq!(
            kinds,
            [Kind::Start, Kind::EndOk].repeat(recorded),
            "END inherits what was decided at START"
        );
    });
}

/// Two claim the same at once, from two cores.
#[test]
fn one_alone_gets_it() {
    explore("one alone gets it", 20, || {
        let once = Arc::new(Once::new());
        let claiming = [(); 2].map(|()| {
            let once = Arc::clone(&once);
            thread::spawn(move || u32::from(once.claim()))
        });
        let winners: u32 = claiming.map(|claiming| claiming.join().unwrap()).iter().sum();
        assert!(winners <= 1, "both got it");
    });
}
