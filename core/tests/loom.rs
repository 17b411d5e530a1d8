//! Models of the ring, the gate and [`ClaimOnce`], run under the model checker loom:
//!
//! ```text
//! RUSTFLAGS="--cfg tailwatch_loom" cargo test --release -p tailwatch-core --test loom
//! ```
//!
//! Each model runs every interleaving of its threads with up to three preemptions, and every value
//! that the memory model lets a load see. In these builds a ring has four slots, and a reservation
//! and a copied chunk have two records each. These are the smallest numbers that exercise all parts
//! of the ring's protocol, which the docs of `tailwatch_core::ring` describe.
//!
//! The environment variable `TAILWATCH_WEAKEN` names one ordering to weaken (see
//! `tailwatch_core::sync`). The models that need this ordering then fail.
#![cfg(tailwatch_loom)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use loom::{model::Builder, sync::Mutex, thread};
use tailwatch_core::{
    Clock, EventId, Gate, Kind, Outcome, Position, Reader, Record, Recorder, Ring, Slot, TickRate,
    claim_once::ClaimOnce,
};

/// Creates a record with `n` in both words, so that a mixture of two records is detected.
fn numbered(n: u64) -> Record {
    Record::value(n, EventId::new(1).unwrap(), 0, n)
}

/// Checks that readers deliver intact records, in order and none twice, and counts them.
#[derive(Default)]
struct Seen {
    /// The lowest number that the next delivered record may have.
    next: u64,
    delivered: u64,
    overwritten: u64,
}

impl Seen {
    /// Nothing has been seen by a reader that begins with the record with this number.
    fn from(first: usize) -> Self {
        Self { next: first as u64, ..Self::default() }
    }

    /// Drains the ring once.
    fn drain<P: Position>(&mut self, reader: &mut Reader<'_, P>) {
        reader.refresh();
        let drained = reader.drain(|record| {
            assert_eq!(record.ticks(), record.payload(), "a torn record");
            assert!(record.ticks() >= self.next, "a stale or repeated record");
            self.next = record.ticks() + 1;
            self.delivered += 1;
        });
        self.overwritten += drained.overwritten;
    }
}

/// Runs the model in all its executions and prints how many there are. Requires at least
/// `min_executions`: if there are fewer, the threads of the model do not touch the same memory, and
/// the model checks nothing.
fn explore(name: &str, min_executions: usize, model: impl Fn() + Sync + Send + 'static) {
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
    assert!(
        executions >= min_executions,
        "{name}: only {executions} executions, expected at least {min_executions}"
    );
}

type SharedRing = Arc<Ring<[Slot; 4]>>;

/// Attaches a producer and pushes records with these numbers.
fn push(ring: &SharedRing, records: core::ops::Range<u64>) {
    let ring: &Ring = &**ring;
    let producer = ring.attach_producer();
    records.for_each(|n| producer.push(numbered(n)));
}

/// Attaches a consumer in a new thread and drains the ring once.
fn spawn_consumer(shared: &SharedRing) -> thread::JoinHandle<Seen> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let ring: &Ring = &*shared;
        let mut seen = Seen::default();
        seen.drain(&mut ring.attach_consumer());
        seen
    })
}

/// A producer pushes six records into a ring of four while a consumer drains it. `first` is the
/// counters' value in the empty ring.
fn lap_a_consumer(name: &str, first: usize) {
    explore(name, 4_000, move || {
        let shared: SharedRing = Arc::new(Ring::starting_at(first));
        let reading = spawn_consumer(&shared);
        push(&shared, 0..6);
        let mut seen = reading.join().unwrap();
        let ring: &Ring = &*shared;
        let mut consumer = ring.attach_consumer();
        seen.drain(&mut consumer);
        assert_eq!(
            seen.next, 6,
            "the newest record must be delivered once nothing is pushed any more"
        );
        assert_eq!(seen.delivered + seen.overwritten, 6);
        assert_eq!(consumer.pending(), 0);
    });
}

#[test]
fn a_producer_laps_a_consumer() {
    lap_a_consumer("a producer laps a consumer", 0);
}

#[test]
fn counters_wrap() {
    lap_a_consumer("counters wrap", usize::MAX - 2);
}

/// A lock hands the ring from one producer to the next while a consumer drains it. The second
/// producer writes a record that the first one reserved but did not write.
#[test]
fn a_second_producer_takes_over() {
    explore("a second producer takes over", 200_000, || {
        let shared: SharedRing = Arc::new(Ring::starting_at(0));
        // The number of the next record to push. Its lock is the one that hands the ring over.
        let next = Arc::new(Mutex::new(0));
        let take_turn = |shared: &SharedRing, next: &Arc<Mutex<u64>>| {
            let mut next = next.lock().unwrap();
            // The fifth record overwrites the first, and is the first of a reservation of two.
            let end = if *next == 0 { 5 } else { 7 };
            push(shared, *next..end);
            *next = end;
        };
        let reading = spawn_consumer(&shared);
        let other = thread::spawn({
            let (shared, next) = (Arc::clone(&shared), Arc::clone(&next));
            move || take_turn(&shared, &next)
        });
        take_turn(&shared, &next);
        other.join().unwrap();
        let mut seen = reading.join().unwrap();
        let ring: &Ring = &*shared;
        seen.drain(&mut ring.attach_consumer());
        assert_eq!((seen.next, seen.delivered + seen.overwritten), (7, 7));
    });
}

/// A lock hands the ring from one recorder to the next while a consumer drains it. Both write by
/// copies of the ring's counters. The second one writes a record that the first one reserved but
/// did not write.
#[test]
fn a_recorder_with_copies_takes_over() {
    explore("a recorder with copies takes over", 200_000, || {
        let shared: SharedRing = Arc::new(Ring::starting_at(0));
        let gate = Arc::new(Gate::<2>::new());
        // The number of the next record to write. Its lock is the one that hands the ring over.
        let next = Arc::new(Mutex::new(0));
        let take_turn = |shared: &SharedRing, gate: &Gate<2>, next: &Mutex<u64>| {
            let mut next = next.lock().unwrap();
            // As in `a_second_producer_takes_over`.
            let end = if *next == 0 { 5 } else { 7 };
            let ring: &Ring = &**shared;
            let recorder = Recorder::new(ring.attach_producer(), gate, ()).with_copies();
            for n in *next..end {
                recorder.value_at(EventId::new(1).unwrap(), 0, n, n);
            }
            *next = end;
        };
        let reading = spawn_consumer(&shared);
        let other = thread::spawn({
            let (shared, gate) = (Arc::clone(&shared), Arc::clone(&gate));
            let next = Arc::clone(&next);
            move || take_turn(&shared, &gate, &next)
        });
        take_turn(&shared, &gate, &next);
        other.join().unwrap();
        let mut seen = reading.join().unwrap();
        let ring: &Ring = &*shared;
        seen.drain(&mut ring.attach_consumer());
        assert_eq!((seen.next, seen.delivered + seen.overwritten), (7, 7));
    });
}

/// The producer has already overwritten a record when a consumer attaches, and pushes further
/// records while the consumer drains the ring.
#[test]
fn a_consumer_attaches_to_a_lapped_ring() {
    explore("a consumer attaches to a lapped ring", 70_000, || {
        let shared: SharedRing = Arc::new(Ring::starting_at(0));
        push(&shared, 0..5);
        let reading = spawn_consumer(&shared);
        push(&shared, 5..9);
        let mut seen = reading.join().unwrap();
        let ring: &Ring = &*shared;
        seen.drain(&mut ring.attach_consumer());
        assert_eq!((seen.next, seen.delivered + seen.overwritten), (9, 9));
    });
}

/// Begins to read in a new thread and drains the ring once. The thread returns the sequence number
/// of the next record, and requires that the reader has delivered or counted all before it, from
/// where it began.
fn spawn_reader(
    shared: &SharedRing,
    begin: for<'r> fn(&'r Ring) -> Reader<'r>,
) -> thread::JoinHandle<usize> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let mut reader = begin(&*shared);
        let mut seen = Seen::from(reader.first_seq());
        seen.drain(&mut reader);
        assert_eq!(reader.produced(), seen.delivered + seen.overwritten);
        assert_eq!(reader.pending(), 0);
        reader.next_seq()
    })
}

/// The producer has filled the ring, and laps two readers that begin while it pushes: one with the
/// oldest record, the other with the present.
#[test]
fn a_producer_laps_two_readers() {
    explore("a producer laps two readers", 30_000, || {
        let shared: SharedRing = Arc::new(Ring::starting_at(0));
        push(&shared, 0..4);
        let reading = [Ring::reader_from_oldest, Ring::reader_from_now]
            .map(|begin| spawn_reader(&shared, begin));
        push(&shared, 4..6);
        for reading in reading {
            assert!((4..=6).contains(&reading.join().unwrap()));
        }
        let ring: &Ring = &*shared;
        let mut reader = ring.reader_from_oldest();
        let mut seen = Seen::from(reader.first_seq());
        seen.drain(&mut reader);
        assert_eq!((seen.delivered, seen.overwritten, seen.next), (4, 0, 6));
    });
}

/// A second consumer continues where the first one stopped, while the producer pushes.
#[test]
fn a_second_consumer_takes_over() {
    explore("a second consumer takes over", 7_000, || {
        let shared: SharedRing = Arc::new(Ring::starting_at(0));
        let reading = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let ring: &Ring = &*shared;
                let mut seen = Seen::default();
                seen.drain(&mut ring.attach_consumer());
                seen.drain(&mut ring.attach_consumer());
                seen
            }
        });
        push(&shared, 0..5);
        let mut seen = reading.join().unwrap();
        let ring: &Ring = &*shared;
        seen.drain(&mut ring.attach_consumer());
        assert_eq!((seen.next, seen.delivered + seen.overwritten), (5, 5));
    });
}

/// A clock that advances by one tick at every read.
#[derive(Default)]
struct CountingClock(core::cell::Cell<u64>);

impl Clock for CountingClock {
    fn start(&self) -> u64 {
        self.0.replace(self.0.get() + 1)
    }
    fn rate(&self) -> TickRate {
        TickRate::NANOSECONDS
    }
}

/// One thread turns the master switch off, another turns the switch of an event off and on again,
/// and a third one records spans. A lock ensures that only one thread at a time changes the gate.
#[test]
fn a_gate_changes_while_spans_are_recorded() {
    explore("a gate changes while spans are recorded", 700, || {
        let event = EventId::new(1).unwrap();
        let gate = Arc::new((Gate::<2>::new(), Mutex::new(())));
        let shared: SharedRing = Arc::new(Ring::starting_at(0));
        let recording = thread::spawn({
            let (gate, shared) = (Arc::clone(&gate), Arc::clone(&shared));
            move || {
                let ring: &Ring = &*shared;
                let recorder =
                    Recorder::new(ring.attach_producer(), &gate.0, CountingClock::default());
                let span = || {
                    let token = recorder.start(event, 0);
                    let recorded = token.is_recorded();
                    recorder.end(token, Outcome::Ok);
                    recorded
                };
                usize::from(span()) + usize::from(span())
            }
        });
        let switching = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                let _guard = gate.1.lock().unwrap();
                gate.0.set_enabled(false);
            }
        });
        {
            let _guard = gate.1.lock().unwrap();
            gate.0.set_event_enabled(event, false);
            gate.0.set_event_enabled(event, true);
        }
        switching.join().unwrap();
        assert!(!gate.0.admits(event), "one thread undid the change of another");
        let recorded = recording.join().unwrap();

        let ring: &Ring = &*shared;
        let mut consumer = ring.attach_consumer();
        consumer.refresh();
        let mut kinds = Vec::new();
        consumer.drain(|record| kinds.push(record.kind()));
        assert_eq!(
            kinds,
            [Kind::Start, Kind::EndOk].repeat(recorded),
            "every START needs its END, whatever the gate did in between"
        );
    });
}

/// Two threads claim the same [`ClaimOnce`] at the same time.
#[test]
fn at_most_one_of_two_claims_wins() {
    explore("at most one of two claims wins", 20, || {
        let once = Arc::new(ClaimOnce::new());
        let claiming = [(); 2].map(|()| {
            let once = Arc::clone(&once);
            thread::spawn(move || u32::from(once.claim()))
        });
        let winners: u32 = claiming.map(|claiming| claiming.join().unwrap()).iter().sum();
        assert!(winners <= 1, "both claims won");
    });
}
