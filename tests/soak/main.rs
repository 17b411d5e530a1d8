//! Records for as long as one likes, in every way and at random, and checks throughout that nothing goes wrong:
//! `cargo run --release -p tailwatch-tests --example soak -- --seconds 30`.
//!
//! Threads are born and die, more of them than there are rings; bursts overflow rings; spans end on other threads, are
//! discarded, unwind; switches are turned and rates changed; somebody asks all the time; an observer panics now and then;
//! the collector is stopped under load and followed by another one. Each round ends with a moment at which nobody records,
//! when every record has to be accounted for. The first law that is broken ends the program, which then says which.

mod crowd;
mod ledger;
mod memory;
mod witness;

use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use std::{process, sync::OnceLock, thread, time::Instant};

use clap::Parser;
use fastrand::Rng;
use tailwatch::{Collector, Sampling, Trading};

use crate::{
    crowd::{Crowd, Manner},
    ledger::{Memory, check_laws, check_report},
    witness::{Seen, Witness},
};

/// Rings of a collector; the main thread has one of them.
const RINGS: usize = 8;
const ROUND: Duration = Duration::from_secs(1);
/// Rounds until the collector is replaced.
const ROUNDS: u32 = 10;
/// The program is stuck if nothing changes for so long.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Parser)]
struct Arguments {
    /// How long it records.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How many threads record at once, at the most.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    threads: u64,
    /// Where chance begins; the threads' timing it does not decide.
    #[arg(long)]
    seed: Option<u64>,
}

static SEED: OnceLock<u64> = OnceLock::new();
/// Changes as long as the program goes on.
static PROGRESS: AtomicU64 = AtomicU64::new(0);

/// Ends the program: something is not as it should be.
pub(crate) fn fail(what: &str) -> ! {
    eprintln!("soak FAILED, seed {}: {what}", SEED.get().copied().unwrap_or_default());
    process::exit(1);
}

/// Over all collectors.
#[derive(Debug, Default)]
struct PackedMoments {
    pushed: u64,
    overwritten: u64,
    unregistered: u64,
    abandoned: u64,
    panics: u64,
    queries: u64,
    rounds: u64,
    collectors: u64,
}

fn main() {
    let arguments = Arguments::parse();
    let seed = *SEED.get_or_init(|| arguments.seed.unwrap_or_else(|| fastrand::u64(..)));
    println!("soak for {} s, up to {} threads, seed {seed}", arguments.seconds, arguments.threads);
    thread::spawn(watch_progress);

    let (mut rng, crowd, mut sums) =
        (Rng::with_seed(seed), Crowd::default(), PackedMoments::default());
    let begun = Instant::now();
    let until = begun + Duration::from_secs(arguments.seconds);
    // The first collector warms everything up.
    let mut empty = None;
    while Instant::now() < until {
        live_of_a_collector(&crowd, arguments.threads, until, empty, &mut rng, &mut sums);
        let now = Memory::now();
        now.check(empty.get_or_insert(now), 0);
        say(begun, &crowd, &sums, &now);
    }
    println!(
        "ok: {} records in {:.0} s, of {} threads and {} collectors, in {} rounds; {} overwritten, {} unregistered, {} spans \
         given up, {} panics caught, {} reports read; all accounted for",
        sums.pushed,
        begun.elapsed().as_secs_f64(),
        crowd.born(),
        sums.collectors,
        sums.rounds,
        sums.overwritten,
        sums.unregistered,
        sums.abandoned,
        sums.panics,
        sums.queries,
    );
}

fn say(begun: Instant, crowd: &Crowd, sums: &PackedMoments, memory: &Memory) {
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{seconds:6.0} s: {:>13} records, {:5.2} million a second; {} overwritten, {} unregistered; {} threads; heap {} KiB, \
         resident {} KiB",
        sums.pushed,
        f64::from(u32::try_from(sums.pushed / 1_000).unwrap_or(u32::MAX)) / 1_000.0 / seconds,
        sums.overwritten,
        sums.unregistered,
        crowd.born(),
        memory.heap >> 10,
        memory.resident.unwrap_or(0) >> 10,
    );
}

fn watch_progress() {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        thread::sleep(Duration::from_secs(1));
        let now = PROGRESS.load(Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            fail("nothing has moved for a minute");
        }
    }
}

/// From start to stop of one collector.
fn live_of_a_collector(
    crowd: &Crowd,
    threads: u64,
    until: Instant,
    empty: Option<Memory>,
    rng: &mut Rng,
    sums: &mut PackedMoments,
) {
    let witness = Witness::default();
    let is_wild = sums.collectors % 3 != 1;
    let (capacity, free) =
        if is_wild { (1 << rng.u32(8..15), Manner::Wild) } else { (1 << 15, Manner::Calm) };
    let collector = Collector::builder()
        .ignore_environment()
        .rings(RINGS)
        .ring_capacity(capacity)
        .observer(witness.observer())
        .observer(witness.observer_that_panics())
        .start()
        .unwrap_or_else(|error| fail(&format!("no collector: {error}")));
    collector.install().unwrap_or_else(|error| fail(&format!("not installed: {error}")));
    collector
        .register_thread("main")
        .unwrap_or_else(|error| fail(&format!("not registered: {error}")));

    let mut pushed = 0;
    for round in 1..=ROUNDS {
        let is_last = round == ROUNDS || Instant::now() + ROUND >= until;
        let manner = if is_wild && !is_last && rng.bool() { Manner::Gated } else { free };
        let (made, queries) = live_of_a_round(&collector, crowd, manner, threads, is_last, rng);
        pushed += made;
        // Spans that nobody has ended belong to the round.
        crowd.end_all();
        // An END waits one more pass for its START.
        collector.flush();
        collector.flush();
        let mut seen = witness.seen();
        check_laws(&collector, pushed, &seen);
        seen.forget_threads();
        if let Some(empty) = &empty {
            Memory::now().check(empty, collector.memory_bytes());
        }
        sums.queries += queries;
        sums.rounds += 1;
        PROGRESS.fetch_add(1, Relaxed);
        if is_last {
            break;
        }
    }
    let (health, Seen { panics, .. }) = (collector.health(), &*witness.seen());
    sums.pushed += pushed;
    sums.overwritten += health.overwritten;
    sums.unregistered += health.unregistered;
    sums.abandoned += health.abandoned;
    sums.panics += panics;
    sums.collectors += 1;
}

/// Threads record, somebody asks, and somebody turns switches or stops the collector. How many records were pushed, and how
/// many reports read.
fn live_of_a_round(
    collector: &Collector,
    crowd: &Crowd,
    manner: Manner,
    threads: u64,
    stops: bool,
    rng: &mut Rng,
) -> (u64, u64) {
    // Except for the wild, each has a ring.
    let threads = if manner == Manner::Wild { threads } else { threads.min(RINGS as u64 - 1) };
    let threads = rng.u64(1..=threads);
    let until = Instant::now() + ROUND;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(collector, &is_over));
        let mut of_switches = rng.fork();
        if manner == Manner::Gated {
            scope.spawn(move || turn_switches(collector, until, &mut of_switches));
        } else if stops {
            scope.spawn(move || {
                thread::sleep(ROUND / 2);
                collector.stop();
            });
        }
        let recording: Vec<_> = (0..threads)
            .map(|_| {
                let rng = rng.fork();
                scope.spawn(move || crowd.keep_busy(manner, until, rng))
            })
            .collect();
        let pushed = recording
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| fail("a thread panicked")))
            .sum();
        is_over.store(true, Relaxed);
        (pushed, asking.join().unwrap_or_else(|_| fail("who asks panicked")))
    })
}

/// Reads reports until it is over; how many.
fn ask(collector: &Collector, is_over: &AtomicBool) -> u64 {
    let (mut before, mut queries) = (None, 0);
    while !is_over.load(Relaxed) {
        let report = collector.report();
        check_report(before.as_ref(), &report);
        before = Some(report);
        let _ = collector.breached(Trading::OrderPlacement);
        queries += 1;
        thread::sleep(Duration::from_millis(1));
    }
    queries
}

/// Turns switches and changes rates; in the end, everything is recorded again.
fn turn_switches(collector: &Collector, until: Instant, rng: &mut Rng) {
    let set = |event: Trading, sampling| {
        collector
            .set_sampling(event, sampling)
            .unwrap_or_else(|error| fail(&format!("{sampling:?}: {error}")));
    };
    while Instant::now() < until {
        let event = Trading::OrderPlacement;
        match rng.u32(..6) {
            0 => collector.set_enabled(rng.bool()),
            1 => collector.set_event_enabled(event, rng.bool()),
            2 => set(event, Sampling::Rate(rng.f64().max(1e-4))),
            3 => set(
                Trading::OrderFill,
                Sampling::RateLimit { above: rng.f64() * 1e6 + 1.0, sample: 0.1 },
            ),
            4 => set(Trading::EventBusPublish, Sampling::Budget { max_cpu: 0.01 }),
            _ => collector.flush(),
        }
        thread::sleep(Duration::from_micros(rng.u64(1..5_000)));
    }
    collector.set_enabled(true);
    for info in Trading::ALL {
        collector.set_event_enabled(info.id, true);
        collector
            .set_sampling(info.id, Sampling::Rate(1.0))
            .unwrap_or_else(|error| fail(&error.to_string()));
    }
}
