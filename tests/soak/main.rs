//! Records at random in every way, for as long as you like, and checks all the time that the laws
//! hold: `cargo run --release -p tailwatch-tests --example soak -- --seconds 30`.
//!
//! Threads start and end, more of them than there are rings. Bursts overflow rings. Spans end on
//! other threads, are discarded, or end by unwinding. Switches and sampling rates change. One
//! thread reads reports all the time. An observer panics now and then. The collector is stopped
//! under load and followed by another one. Every second collector shares its rings, and readers
//! outside come and go. At the end of each round no thread records, and every
//! record must be accounted for. The first law that does not hold ends the program with a message
//! that names the law.

mod crowd;
mod ledger;
mod memory;
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
mod outside;
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

/// The number of rings of a collector; the main thread takes one of them.
const RINGS: usize = 8;
/// What all rings of a collector may take, in bytes: as much as if each had the largest of the
/// capacities with which rings begin here. Smaller ones may grow.
const MAX_RING_BYTES: usize = RINGS * ((16 << 15) + 256);
/// How long a round lasts.
const ROUND: Duration = Duration::from_secs(1);
/// The number of rounds after which the collector is replaced.
const ROUNDS_PER_COLLECTOR: u32 = 10;
/// The program counts as stuck if no round ends for this long.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Parser)]
struct Arguments {
    /// How long to record, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The largest number of threads that record at once.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    threads: u64,
    /// The seed of all random choices (random unless given); the timing of threads varies anyway.
    #[arg(long)]
    seed: Option<u64>,
    /// Read what is shared under this name, as a process outside.
    #[arg(long, hide = true)]
    outside: Option<String>,
    /// The pause between two passes of such a reader, in microseconds.
    #[arg(long, hide = true, default_value_t = 1_000)]
    micros: u64,
}

/// The seed in use, for error messages.
static SEED: OnceLock<u64> = OnceLock::new();
/// Counts the rounds that have ended, for `watch_progress`.
static PROGRESS: AtomicU64 = AtomicU64::new(0);

/// Ends the program with the message `what`.
pub(crate) fn fail(what: &str) -> ! {
    eprintln!("soak FAILED, seed {}: {what}", SEED.get().copied().unwrap_or_default());
    process::exit(1);
}

/// Totals over all collectors.
#[derive(Debug, Default)]
struct Totals {
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
    #[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
    if let Some(name) = &arguments.outside {
        return outside::read(name, arguments.micros);
    }
    let seed = *SEED.get_or_init(|| arguments.seed.unwrap_or_else(|| fastrand::u64(..)));
    println!("soak for {} s, up to {} threads, seed {seed}", arguments.seconds, arguments.threads);
    thread::spawn(watch_progress);

    let (mut rng, crowd, mut totals) = (Rng::with_seed(seed), Crowd::default(), Totals::default());
    let begun = Instant::now();
    let until = begun + Duration::from_secs(arguments.seconds);
    // The memory after the first collector, which has warmed everything up.
    let mut baseline = None;
    while Instant::now() < until {
        run_collector(&crowd, arguments.threads, until, baseline, &mut rng, &mut totals);
        let now = Memory::now();
        now.check(baseline.get_or_insert(now), 0);
        print_progress(begun, &crowd, &totals, &now);
    }
    println!(
        "ok: {} records in {:.0} s, by {} threads, with {} collectors, in {} rounds; \
         {} overwritten, {} unregistered, {} spans abandoned, {} panics caught, {} reports read; \
         all accounted for",
        totals.pushed,
        begun.elapsed().as_secs_f64(),
        crowd.threads_started(),
        totals.collectors,
        totals.rounds,
        totals.overwritten,
        totals.unregistered,
        totals.abandoned,
        totals.panics,
        totals.queries,
    );
}

fn print_progress(begun: Instant, crowd: &Crowd, totals: &Totals, memory: &Memory) {
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{seconds:6.0} s: {:>13} records, {:5.2} million per second; {} overwritten, \
         {} unregistered; {} threads; heap {} KiB, resident {} KiB",
        totals.pushed,
        f64::from(u32::try_from(totals.pushed / 1_000).unwrap_or(u32::MAX)) / 1_000.0 / seconds,
        totals.overwritten,
        totals.unregistered,
        crowd.threads_started(),
        memory.heap >> 10,
        memory.resident.unwrap_or(0) >> 10,
    );
}

/// Ends the program if no round ends for [`PATIENCE`].
fn watch_progress() {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        thread::sleep(Duration::from_secs(1));
        let now = PROGRESS.load(Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            fail("no round has ended for a minute");
        }
    }
}

/// Runs one collector from start to stop.
fn run_collector(
    crowd: &Crowd,
    threads: u64,
    until: Instant,
    baseline: Option<Memory>,
    rng: &mut Rng,
    totals: &mut Totals,
) {
    let witness = Witness::default();
    let is_wild = totals.collectors % 3 != 1;
    let (capacity, usual_manner) =
        if is_wild { (1 << rng.u32(8..15), Manner::Wild) } else { (1 << 15, Manner::Calm) };
    #[cfg_attr(
        not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")),
        allow(unused_mut, reason = "nothing can be shared")
    )]
    let mut builder = Collector::builder();
    #[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
    if shares(totals.collectors) {
        builder = builder.share(outside::name()).share_bytes(outside::SHARE_BYTES);
    }
    let collector = builder
        .ignore_environment()
        .rings(RINGS)
        .ring_capacity(capacity)
        .max_ring_bytes(MAX_RING_BYTES)
        .observer(witness.observer())
        .observer(witness.observer_that_panics())
        .start()
        .unwrap_or_else(|error| fail(&format!("the collector does not start: {error}")));
    collector
        .install()
        .unwrap_or_else(|error| fail(&format!("the collector cannot be installed: {error}")));
    collector
        .register_thread("main")
        .unwrap_or_else(|error| fail(&format!("the main thread cannot be registered: {error}")));

    let mut pushed = 0;
    for round in 1..=ROUNDS_PER_COLLECTOR {
        let is_last = round == ROUNDS_PER_COLLECTOR || Instant::now() + ROUND >= until;
        let manner = if is_wild && !is_last && rng.bool() { Manner::Gated } else { usual_manner };
        let is_read = shares(totals.collectors);
        let (made, queries) =
            run_round(&collector, crowd, manner, threads, (is_last, is_read), rng);
        pushed += made;
        // The records of spans that no thread has ended belong to this round.
        crowd.end_all();
        // An END without a START counts as an orphan only after one more pass.
        collector.flush();
        collector.flush();
        let mut seen = witness.seen();
        check_laws(&collector, pushed, &seen);
        seen.forget_threads();
        if let Some(baseline) = &baseline {
            let reserved = collector.health().reserved_bytes;
            Memory::now().check(baseline, usize::try_from(reserved).unwrap_or(usize::MAX));
        }
        totals.queries += queries;
        totals.rounds += 1;
        PROGRESS.fetch_add(1, Relaxed);
        if is_last {
            break;
        }
    }
    let (health, Seen { panics, .. }) = (collector.health(), &*witness.seen());
    totals.pushed += pushed;
    totals.overwritten += health.overwritten;
    totals.unregistered += health.unregistered;
    totals.abandoned += health.abandoned;
    totals.panics += panics;
    totals.collectors += 1;
}

/// Runs one round: threads record, one thread reads reports, and one changes settings or stops the
/// collector. Returns the number of records pushed and of reports read.
fn run_round(
    collector: &Collector,
    crowd: &Crowd,
    manner: Manner,
    threads: u64,
    (stops, is_read): (bool, bool),
    rng: &mut Rng,
) -> (u64, u64) {
    // Unless the manner is wild, every thread needs a ring.
    let threads = if manner == Manner::Wild { threads } else { threads.min(RINGS as u64 - 1) };
    let threads = rng.u64(1..=threads);
    let until = Instant::now() + ROUND;
    let is_over = AtomicBool::new(false);
    #[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
    let outside = if is_read { [300, 20_000].map(outside::Outside::start).into() } else { vec![] };
    let made = thread::scope(|scope| {
        let reading = scope.spawn(|| read_reports(collector, &is_over));
        let mut settings_rng = rng.fork();
        if manner == Manner::Gated {
            scope.spawn(move || change_settings(collector, until, &mut settings_rng));
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
        (pushed, reading.join().unwrap_or_else(|_| fail("the thread that reads reports panicked")))
    });
    #[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
    outside.into_iter().for_each(outside::Outside::join);
    made
}

/// Returns whether the collector with this number shares its rings.
fn shares(number: u64) -> bool {
    cfg!(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))
        && number % 2 == 1
}

/// Reads and checks reports until `is_over`. Returns their number.
fn read_reports(collector: &Collector, is_over: &AtomicBool) -> u64 {
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

/// Changes switches and sampling rates at random until `until`; then switches everything on again,
/// at a rate of 1.
fn change_settings(collector: &Collector, until: Instant, rng: &mut Rng) {
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
