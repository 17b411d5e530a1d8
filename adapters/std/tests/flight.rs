//! The flight recorder of a shared file: its times, its gaps, and what it says of open spans.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod support;

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{collections::HashMap, fs, sync::Barrier, thread};

use support::{Scratch, in_turn};
use tailwatch::{
    Builder, Collector, Trading, measure, measure_tagged, record_value,
    shared::{Flight, FlightRing, Open, SharedFile},
};

fn builder(scratch: &Scratch) -> Builder {
    Collector::builder()
        .ignore_environment()
        .share(scratch.path("bot").to_str().unwrap())
        .ring_capacity(1_024)
        .max_ring_capacity(1_024)
}

fn open(scratch: &Scratch) -> SharedFile {
    let path = fs::read_dir(scratch.directory()).unwrap().next().unwrap().unwrap().path();
    SharedFile::open(path).unwrap()
}

/// Asserts that what is there of a ring is all that was not overwritten.
fn assert_contiguous(flight: &Flight, ring: &FlightRing) {
    let of_ring = flight.records.iter().filter(|record| record.ring == ring.index);
    let numbers: Vec<u64> = of_ring.map(|record| record.sequence).collect();
    assert!(numbers.iter().copied().eq(ring.overwritten..ring.head), "{ring:?}: {numbers:?}");
}

#[test]
fn a_record_without_a_time_of_its_own_has_that_of_a_neighbour() {
    let _turn = in_turn();
    for shift in 0..2 {
        let scratch = Scratch::new();
        let collector = builder(&scratch).manual_drain().start().unwrap();
        collector.install().unwrap();
        (0..shift).for_each(|n| record_value(Trading::QueueBacklog, n));
        // In pairs, so the oldest record that is left is a START or a FORGET.
        (0..2_000).for_each(|_| measure(Trading::OrderFill).discard());
        let flight = open(&scratch).flight().unwrap();
        let newest = flight.records.last().unwrap().unix_ns;
        for record in &flight.records {
            assert!(record.unix_ns.abs_diff(newest) < 10_000_000_000, "{shift}: {record:?}");
        }
        collector.stop();
    }
}

#[test]
fn what_is_left_of_a_ring_that_is_read_while_it_is_written_has_no_gap() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let collector = builder(&scratch).start().unwrap();
    collector.install().unwrap();
    let (file, is_over) = (open(&scratch), AtomicBool::new(false));
    let flights: Vec<Flight> = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                record_value(Trading::QueueBacklog, 1);
            }
        });
        let flights = (0..300).map(|_| file.flight().unwrap()).collect();
        is_over.store(true, Relaxed);
        flights
    });
    assert!(flights.iter().flat_map(|flight| &flight.rings).any(|ring| ring.overwritten > 0));
    for flight in &flights {
        flight.rings.iter().for_each(|ring| assert_contiguous(flight, ring));
    }
    collector.stop();
}

#[test]
fn a_span_whose_end_may_be_outside_the_file_is_not_called_open() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let collector = builder(&scratch).share_bytes(1 << 20).start().unwrap();
    collector.install().unwrap();
    let moved = measure_tagged(Trading::OrderPlacement, 4_711);
    // So many threads at once that the last ones have rings outside the file.
    let (ready, done) = (Barrier::new(65), Barrier::new(65));
    thread::scope(|scope| {
        for n in 0..64 {
            let (ready, done) = (&ready, &done);
            scope.spawn(move || {
                record_value(Trading::QueueBacklog, n);
                ready.wait();
                done.wait();
            });
        }
        ready.wait();
        let last = scope.spawn(move || drop(moved));
        last.join().unwrap();
        done.wait();
    });
    collector.flush();
    let health = collector.health();
    assert!(health.hidden_records > 0 && health.overwritten == 0, "{health:?}");
    let flight = open(&scratch).flight().unwrap();
    let mut open_of: HashMap<u64, Open> = HashMap::new();
    for record in &flight.records {
        if let Some(tag) = record.tag {
            open_of.insert(tag, record.open);
        }
    }
    println!("{open_of:?} {health:?}");
    assert_eq!(open_of.get(&4_711), Some(&Open::Unknown));
    collector.stop();
}
