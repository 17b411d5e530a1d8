//! Readers of shared files: they see what the program sees, each counts what it missed, and what a
//! killed program leaves is whole.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod support;

use core::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead, BufReader, Write, pipe},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Barrier,
    thread,
};

use support::{Scratch, in_turn};
use tailwatch::{
    Builder, Collector, EventId, Kind, Limit, Quantile, Report, Threshold, Trading, measure_tagged,
    record_value,
    shared::{FileState, Open, SharedFile, SharedReader},
};

fn builder(scratch: &Scratch) -> Builder {
    Collector::builder().ignore_environment().share(scratch.path("bot").to_str().unwrap())
}

/// Opens the only file in the directory.
fn open(scratch: &Scratch) -> SharedFile {
    SharedFile::open(path(scratch)).unwrap()
}

fn path(scratch: &Scratch) -> PathBuf {
    fs::read_dir(scratch.directory()).unwrap().next().unwrap().unwrap().path()
}

/// Asserts that two reports have the same events, each with the same statistics since the start.
fn assert_same_totals(outside: &Report, own: &Report) {
    assert_eq!(outside.events.len(), own.events.len());
    for (outside, own) in outside.events.iter().zip(&own.events) {
        assert_eq!((&outside.name, &outside.labels), (&own.name, &own.labels));
        assert_eq!((outside.id, outside.unit, outside.covered), (own.id, own.unit, own.covered));
        assert_eq!(outside.outcomes, own.outcomes, "{}", own.name);
        assert_eq!(outside.in_flight.open, own.in_flight.open, "{}", own.name);
        let total = |event: &tailwatch::EventReport| {
            event.total.as_ref().map(|total| {
                let summary = &total.summary;
                let quantiles = [summary.p50, summary.p95, summary.p99, summary.p99_9];
                // Of several that are equally slow, which one is kept depends on the order of the rings.
                let slowest: Vec<_> = total.slowest.iter().map(|slow| slow.duration).collect();
                (summary.count, summary.min, summary.max, quantiles, slowest)
            })
        };
        assert_eq!(total(outside), total(own), "{}", own.name);
    }
}

#[test]
fn a_reader_from_the_beginning_reports_what_the_program_does() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let collector = builder(&scratch).keep_shared(true).ring_capacity(256).start().unwrap();
    collector.install().unwrap();
    let mut reader = SharedReader::from_oldest(open(&scratch)).unwrap();
    let family = collector.family("orders", "symbol").unwrap();
    let limit = Threshold::duration(Quantile::P50, Duration::from_nanos(1));
    collector.set_limits(Trading::OrderFill, &[Limit::Quantile(limit)]).unwrap();
    let turn = Barrier::new(5);
    // The rings of the threads grow while they record.
    thread::scope(|scope| {
        for number in 0..4_u64 {
            let (turn, family) = (&turn, &family);
            let work = move || {
                let symbol = family.event(if number % 2 == 0 { "A" } else { "B" });
                for round in 0..100 {
                    // All that a ring can hold, which makes it grow, and then more.
                    for n in 0..if round < 50 { 36 } else { 80 } {
                        drop(measure_tagged(Trading::OrderFill, round * 1_000 + n));
                        drop(measure_tagged(symbol, n));
                        record_value(Trading::QueueBacklog, n);
                    }
                    turn.wait();
                    turn.wait();
                }
            };
            thread::Builder::new()
                .name(format!("worker {number}"))
                .spawn_scoped(scope, work)
                .unwrap();
        }
        for _ in 0..100 {
            turn.wait();
            collector.flush();
            reader.pass().unwrap();
            turn.wait();
        }
    });
    let _open = measure_tagged(Trading::CandleProcessing, 4_711);
    collector.stop();
    reader.pass().unwrap();
    let (outside, own) = (reader.report(), collector.report());
    assert_same_totals(&outside, &own);
    let read = Report::from_json(&outside.to_json()).unwrap();
    assert_eq!(read, outside, "JSON from outside can be read");
    assert_eq!((reader.unknown_records(), reader.invalid_rows()), (0, 0));
    let [produced, delivered] = [own.health.produced, own.health.delivered];
    assert_eq!((outside.health.produced, outside.health.delivered), (produced, delivered));
    assert_eq!(outside.started_unix_ns, own.started_unix_ns);
    let states = |report: &Report| -> Vec<_> {
        report.sla.iter().map(|limit| (limit.event.clone(), limit.state, limit.over)).collect()
    };
    assert_eq!(states(&outside), states(&own));
    let origin =
        |report: &Report| report.sla.iter().map(|limit| limit.origin.clone()).collect::<Vec<_>>();
    assert_eq!(origin(&outside), origin(&own));
    assert_eq!(reader.file().state(), FileState::Stopped);
}

#[test]
fn a_reader_that_begins_late_has_what_the_rings_hold_and_misses_nothing() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let collector = builder(&scratch)
        .ring_capacity(1_024)
        .max_ring_capacity(1_024)
        .manual_drain()
        .start()
        .unwrap();
    collector.install().unwrap();
    (0..5_000).for_each(|n| record_value(Trading::QueueBacklog, n));
    let mut late = SharedReader::from_oldest(open(&scratch)).unwrap();
    let mut later = SharedReader::from_now(open(&scratch)).unwrap();
    (5_000..5_010).for_each(|n| record_value(Trading::QueueBacklog, n));
    for (reader, first) in [(&mut late, 5_010 - 1_024 + 64), (&mut later, 5_000)] {
        reader.pass().unwrap();
        let report = reader.report();
        let total = report.event(Trading::QueueBacklog).unwrap().total.clone().unwrap();
        assert_eq!(total.summary.max, 5_009);
        // Up to a batch of 64 records may already be reserved for newer ones.
        assert!(total.summary.min <= first && total.summary.min + 128 > first, "{total:?}");
        assert_eq!(total.summary.count, 5_010 - total.summary.min);
        assert!(!total.summary.complete || first == 5_000, "{total:?}");
        let health = &report.health;
        assert_eq!(health.produced, health.delivered + health.overwritten + health.pending);
    }
    assert_eq!(later.total().overwritten, 0);
}

/// Eight readers of different speeds, while a thread records as fast as it can. `READER_LAW_RECORDS`
/// sets how many records.
#[test]
fn the_law_holds_for_each_of_eight_readers_at_once() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let records =
        env::var("READER_LAW_RECORDS").map_or(3_000_000, |records| records.parse().unwrap());
    let collector = builder(&scratch)
        .keep_shared(true)
        .ring_capacity(4_096)
        .max_ring_capacity(4_096)
        .start()
        .unwrap();
    collector.register_thread("recorder").unwrap();
    let readers: Vec<_> =
        (0..8).map(|_| SharedReader::from_oldest(open(&scratch)).unwrap()).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut readings = Vec::new();
        for (number, mut reader) in readers.into_iter().enumerate() {
            let is_over = &is_over;
            readings.push(scope.spawn(move || {
                while !is_over.load(Relaxed) {
                    reader.pass().unwrap();
                    thread::sleep(Duration::from_micros(50 << number));
                }
                reader.pass().unwrap();
                reader
            }));
        }
        (0..records).for_each(|n| record_value(Trading::QueueBacklog, n));
        is_over.store(true, Relaxed);
        for reading in readings {
            let mut reader = reading.join().unwrap();
            let report = reader.report();
            let health = &report.health;
            println!("{} delivered, {} overwritten", health.delivered, health.overwritten);
            assert_eq!((health.produced, health.pending), (records, 0), "{health:?}");
            assert_eq!(health.produced, health.delivered + health.overwritten, "{health:?}");
            let total = report.event(Trading::QueueBacklog).unwrap().total.clone().unwrap();
            assert_eq!(total.summary.count, health.delivered);
            assert_eq!(health.invalid, 0);
        }
    });
    collector.stop();
}

/// How many values a thread records between two announcements.
const BATCH: u64 = 200;

/// The threads of the program that is killed.
const THREADS: usize = 4;

/// The program that is killed: four threads record values that count up. Before each batch, a
/// thread announces on standard output with which value the batch begins.
fn record_until_killed(share: &str) -> ! {
    let collector = Collector::builder()
        .ignore_environment()
        .share(share)
        .ring_capacity(256)
        .max_ring_capacity(8_192)
        .start()
        .unwrap();
    collector.install().unwrap();
    let record = |thread: usize| {
        move || {
            for batch in 0_u64.. {
                // One write of less than a page is not mixed with others.
                let line = format!("{thread} {}\n", batch * BATCH);
                std::io::stdout().write_all(line.as_bytes()).unwrap();
                (batch * BATCH..(batch + 1) * BATCH)
                    .for_each(|n| record_value(Trading::QueueBacklog, n));
            }
        }
    };
    for thread in 0..THREADS {
        thread::Builder::new().name(format!("t{thread}")).spawn(record(thread)).unwrap();
    }
    loop {
        thread::park();
    }
}

/// Kills a program at a random moment, and checks what is left. `KILLS` sets how often.
#[test]
fn what_a_killed_program_leaves_is_whole() {
    const IN_CHILD: &str = "SHARED_READERS_IN_CHILD";
    const NAME: &str = "what_a_killed_program_leaves_is_whole";
    if let Ok(share) = env::var(IN_CHILD) {
        record_until_killed(&share);
    }
    let kills = env::var("KILLS").map_or(50, |kills| kills.parse().unwrap());
    let mut overwritten = 0;
    for kill in 0..kills {
        let scratch = Scratch::new();
        let (reader, writer) = pipe().unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(IN_CHILD, scratch.path("bot"))
            .stdout(Stdio::from(writer))
            .spawn()
            .unwrap();
        // The pipe is read while the child lives, so that it does not block.
        let announcements = thread::spawn(move || {
            let mut begun = [None; THREADS];
            for line in BufReader::new(reader).lines() {
                let line = line.unwrap();
                let mut numbers = line.split(' ').map(str::parse::<u64>);
                if let (Some(Ok(thread)), Some(Ok(first))) = (numbers.next(), numbers.next()) {
                    begun[usize::try_from(thread).unwrap()] = Some(first);
                }
            }
            begun
        });
        // Any moment will do: multiples of an odd number are spread over the interval.
        let pause = 20_000 + kill * 7_919 % 60_000;
        thread::sleep(Duration::from_micros(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        let announced = announcements.join().unwrap();
        if fs::read_dir(scratch.directory()).unwrap().next().is_none() {
            // Killed before the file had its name.
            assert_eq!(announced, [None; THREADS]);
            continue;
        }
        overwritten += check_left(&open(&scratch), &announced);
    }
    println!("{kills} kills; {overwritten} records were overwritten before");
}

/// Checks what a killed program has left: the values of each thread have no gap and end where the
/// program was. Returns how many records were overwritten.
fn check_left(file: &SharedFile, announced: &[Option<u64>]) -> u64 {
    assert_eq!(file.state(), FileState::Dead);
    let flight = file.flight().unwrap();
    let mut values: HashMap<&str, Vec<u64>> = HashMap::new();
    let mut ticks: HashMap<&str, u64> = HashMap::new();
    for record in flight.records.iter().filter(|record| !record.before_gap) {
        let thread = record.thread.as_deref().expect("every record belongs to a thread");
        assert_eq!(record.record.kind(), Kind::Value, "{record:?}");
        assert_eq!(record.record.event(), Some(tailwatch::Event::id(Trading::QueueBacklog)));
        let last = ticks.entry(thread).or_default();
        assert!(*last <= record.record.ticks(), "{record:?}");
        *last = record.record.ticks();
        let left = values.entry(thread).or_default();
        if let Some(last) = left.last() {
            assert_eq!(record.record.payload(), last + 1, "a gap before {record:?}");
        }
        left.push(record.record.payload());
    }
    for (thread, begun) in announced.iter().enumerate() {
        let values = values.get(&*format!("t{thread}")).map_or(&[][..], Vec::as_slice);
        let next = values.last().map_or(0, |last| last + 1);
        let from = begun.unwrap_or(0);
        // Once a batch was announced, the one before it was recorded.
        assert!((from..=from + BATCH).contains(&next), "{next} is not in the batch of {from}");
    }
    let mut reader = SharedReader::from_oldest(SharedFile::open(file.path()).unwrap()).unwrap();
    reader.pass().unwrap();
    let report = reader.report();
    assert_eq!(report.health.delivered, flight.records.len() as u64);
    assert_eq!((report.health.invalid, reader.unknown_records()), (0, 0), "{report:?}");
    flight.rings.iter().map(|ring| ring.overwritten).sum()
}

#[test]
fn a_flight_marks_the_spans_that_were_open() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let collector = builder(&scratch).keep_shared(true).start().unwrap();
    collector.install().unwrap();
    drop(measure_tagged(Trading::OrderPlacement, 1));
    let open_span = measure_tagged(Trading::OrderPlacement, 2);
    let moved = measure_tagged(Trading::OrderFill, 3);
    thread::Builder::new().name("ends".into()).spawn(move || drop(moved)).unwrap().join().unwrap();
    let flight = open(&scratch).flight().unwrap();
    let found: Vec<_> = flight
        .records
        .iter()
        .map(|record| (record.record.kind(), record.tag.unwrap(), record.open))
        .collect();
    let (started, ended) = (Kind::Start, Kind::EndOk);
    assert_eq!(
        found,
        [
            (started, 1, Open::No),
            (ended, 1, Open::No),
            (started, 2, Open::Yes),
            (started, 3, Open::No),
            (ended, 3, Open::No),
        ]
    );
    let last = flight.records.last().unwrap();
    assert_eq!((last.thread.as_deref(), last.event), (Some("ends"), Some("order_fill")));
    assert!(
        flight
            .records
            .iter()
            .all(|record| record.unix_ns.abs_diff(record.start_unix_ns) < 10_000_000_000)
    );
    drop(open_span);
    collector.stop();
}

#[test]
fn a_file_that_is_truncated_while_it_is_read_is_an_error() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let collector = builder(&scratch).keep_shared(true).start().unwrap();
    let copy = scratch.path("copy");
    collector.stop();
    fs::copy(path(&scratch), &copy).unwrap();
    let mut reader = SharedReader::from_oldest(SharedFile::open(&copy).unwrap()).unwrap();
    reader.pass().unwrap();
    fs::OpenOptions::new().write(true).open(&copy).unwrap().set_len(8_192).unwrap();
    let error = reader.pass().unwrap_err();
    assert!(error.to_string().contains("`file_bytes`"), "{error}");
    assert!(SharedFile::open(&copy).is_err());
}

#[test]
fn events_of_a_file_are_not_those_of_this_process() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let collector = builder(&scratch).start().unwrap();
    let made = collector.event("of_this_process").label("a", "b").add().unwrap();
    let id: EventId = tailwatch::Event::id(made);
    collector.register_thread("main").unwrap();
    record_value(made, 1);
    let mut reader = SharedReader::from_oldest(open(&scratch)).unwrap();
    reader.pass().unwrap();
    let report = reader.report();
    let event = report.events.iter().find(|event| event.id == id).unwrap();
    assert_eq!((&*event.base_name, &*event.name), ("of_this_process", "of_this_process{a=\"b\"}"));
    assert_eq!(event.labels.iter().collect::<Vec<_>>(), [("a", "b")]);
}
