//! What default settings lose and how much memory they take: in bursts, with many threads, and with
//! many events. Each row runs in a process of its own, so that no row pays for the memory of
//! another.

use core::{error::Error, fmt::Display, hint, time::Duration};
use std::{
    env,
    process::{Command, Stdio},
    sync::Barrier,
    thread,
    time::Instant,
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tailwatch::{Collector, Health, Trading, measure};

use crate::{drain::events, memory::resident, progress, verdict};

/// What a process records.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Row {
    /// A second of silence, then 100 ms at a million spans per second; several times.
    QuietThenBurst,
    /// One thread records as fast as it can.
    FlatOut,
    /// Many threads, one after the other, with one span each.
    ThreadAfterThread,
    /// The same threads, in scopes of three.
    ScopesOfThree,
    /// Many threads at once.
    ThreadsAtOnce,
    /// A collector that has just been started.
    Start,
    /// Many events, of which few happen.
    FewOfManyEvents,
}

/// The spans per second in a burst, how long it lasts, and how many spans there are between two
/// readings of the clock.
const BURST_RATE: u32 = 1_000_000;
const BURST: Duration = Duration::from_millis(100);
const BATCH: u32 = 100;

/// The spans of the thread that records as fast as it can, how long the rings may take to adapt to
/// it, and the largest share that may be overwritten afterwards.
const FLAT_OUT_SPANS: u32 = 10_000_000;
const ADAPTS_WITHIN: Duration = Duration::from_millis(20);
const MAX_SHARE: f64 = 0.05;

/// The threads of which each records one span.
const BRIEF_THREADS: usize = 100_000;

/// The threads that exist at once, and what they may take, in bytes.
const THREADS_AT_ONCE: usize = 256;
const THREADS_TARGET: u64 = 96_000_000;

/// The spans of each thread that exists at the same time as others, and of each of few events.
const SPANS: usize = 1_000;

/// What a collector of eight events may take when it starts, in bytes.
const START_TARGET: u64 = 5_000_000;

/// Many events, how many of them happen, and what the collector may then take, in bytes.
const MANY_EVENTS: u16 = 2_047;
const USED_EVENTS: usize = 100;
const EVENTS_TARGET: u64 = 64_000_000;

/// What came out of a row, as its process writes it for the one that prints the table.
#[derive(Debug, Deserialize, Serialize)]
struct Outcome {
    produced: u64,
    overwritten: u64,
    unregistered: u64,
    /// Bytes above what the process had before the collector, where the row has a target for them.
    above: Option<u64>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Target {
    wanted: String,
    measured: String,
    met: bool,
}

impl Outcome {
    fn new(health: &Health) -> Self {
        let Health { produced, overwritten, unregistered, .. } = *health;
        Self { produced, overwritten, unregistered, above: None, targets: vec![] }
    }

    fn with_target(mut self, wanted: impl Display, measured: impl Display, met: bool) -> Self {
        let (wanted, measured) = (wanted.to_string(), measured.to_string());
        self.targets.push(Target { wanted, measured, met });
        self
    }

    fn without_overwritten(self, row: &str) -> Self {
        let overwritten = self.overwritten;
        self.with_target(format!("{row}: 0 overwritten"), overwritten, overwritten == 0)
    }

    fn without_unregistered(self, row: &str) -> Self {
        let unregistered = self.unregistered;
        self.with_target(format!("{row}: 0 unregistered"), unregistered, unregistered == 0)
    }

    fn within_bytes(self, row: &str, above: u64, target: u64) -> Self {
        Self { above: Some(above), ..self }.with_target(
            format!("{row}: at most {target} bytes above an empty process"),
            above,
            above <= target,
        )
    }
}

/// Returns the resident bytes of a process without a collector.
fn empty_process() -> Result<u64, Box<dyn Error>> {
    // A first reading allocates what it needs, so that it does not count.
    resident()?;
    resident()
}

fn started() -> Result<Collector, Box<dyn Error>> {
    let collector = Collector::builder().start()?;
    collector.install()?;
    Ok(collector)
}

/// Returns the health after the last pass, which must know of `spans` spans.
fn stopped(collector: &Collector, spans: u64) -> Health {
    collector.stop();
    let health = collector.health();
    assert_eq!(health.produced + health.unregistered, 2 * spans, "spans are missing: {health:?}");
    health
}

fn record(spans: u32) {
    for _ in 0..spans {
        let _span = measure(Trading::OrderPlacement);
        hint::black_box(());
    }
}

/// Records one burst. The thread never sleeps in it, because a sleep may last longer than a batch.
fn burst() {
    let batches = BURST_RATE / 1_000 * u32::try_from(BURST.as_millis()).expect("it is short");
    let start = Instant::now();
    for batch in 0..batches / BATCH {
        let due = start + BURST * batch / (batches / BATCH);
        while Instant::now() < due {
            hint::spin_loop();
        }
        record(BATCH);
    }
}

fn quiet_then_burst(row: &str, smoke: bool) -> Result<Outcome, Box<dyn Error>> {
    let bursts = if smoke { 2 } else { 20 };
    let collector = started()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..bursts {
                thread::sleep(Duration::from_secs(1));
                burst();
            }
        });
    });
    let spans = BURST_RATE / 10 * bursts;
    Ok(Outcome::new(&stopped(&collector, spans.into())).without_overwritten(row))
}

/// The state at the end of the first 20 ms is that of the last published report: reading it does
/// not make the drain do anything. It is up to a pause of the drain and 10 ms old, and records that
/// are pending in it may be overwritten later, so the share counts more losses than those after 20
/// ms, never fewer.
fn flat_out(row: &str) -> Result<Outcome, Box<dyn Error>> {
    let collector = started()?;
    let begins = Barrier::new(2);
    let early = thread::scope(|scope| {
        scope.spawn(|| {
            begins.wait();
            record(FLAT_OUT_SPANS);
        });
        begins.wait();
        thread::sleep(ADAPTS_WITHIN);
        collector.health()
    });
    let health = stopped(&collector, FLAT_OUT_SPANS.into());
    let share = share(health.overwritten - early.overwritten, health.produced - early.produced);
    Ok(Outcome::new(&health).with_target(
        format!(
            "{row}: at most {} % overwritten after {ADAPTS_WITHIN:?}",
            f64::round(MAX_SHARE * 100.0)
        ),
        format!("{:.2} %", share * 100.0),
        share <= MAX_SHARE,
    ))
}

#[expect(clippy::cast_precision_loss, reason = "a share is printed with a few digits")]
fn share(of: u64, all: u64) -> f64 {
    of as f64 / all as f64
}

/// Starts threads in scopes of `at_once` threads. The end of a scope does not wait until its
/// threads have given their rings back.
fn brief_threads(row: &str, at_once: usize, smoke: bool) -> Result<Outcome, Box<dyn Error>> {
    let scopes = (if smoke { 1_000 } else { BRIEF_THREADS }).div_ceil(at_once);
    let collector = started()?;
    for _ in progress::bar("threads", scopes as u64).wrap_iter(0..scopes) {
        thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| record(1));
            }
        });
    }
    let health = stopped(&collector, (scopes * at_once) as u64);
    Ok(Outcome::new(&health).without_unregistered(row))
}

/// The memory is read while all threads exist and have recorded everything.
fn threads_at_once(row: &str) -> Result<Outcome, Box<dyn Error>> {
    let empty = empty_process()?;
    let collector = started()?;
    let (begins, ends) = (Barrier::new(THREADS_AT_ONCE), Barrier::new(THREADS_AT_ONCE + 1));
    let is_read = Barrier::new(THREADS_AT_ONCE + 1);
    let above = thread::scope(|scope| {
        for _ in 0..THREADS_AT_ONCE {
            scope.spawn(|| {
                begins.wait();
                (0..SPANS).for_each(|_| record(1));
                ends.wait();
                is_read.wait();
            });
        }
        ends.wait();
        let now = resident().map_err(|error| error.to_string());
        is_read.wait();
        now.map(|now| now.saturating_sub(empty))
    })?;
    let health = stopped(&collector, (THREADS_AT_ONCE * SPANS) as u64);
    let outcome = Outcome::new(&health).without_unregistered(row).without_overwritten(row);
    Ok(outcome.within_bytes(row, above, THREADS_TARGET))
}

fn start(row: &str) -> Result<Outcome, Box<dyn Error>> {
    let empty = empty_process()?;
    let collector = started()?;
    let above = resident()?.saturating_sub(empty);
    Ok(Outcome::new(&stopped(&collector, 0)).within_bytes(row, above, START_TARGET))
}

fn few_of_many_events(row: &str) -> Result<Outcome, Box<dyn Error>> {
    let events = events(MANY_EVENTS);
    let empty = empty_process()?;
    let collector = Collector::builder().events(&events).start()?;
    collector.install()?;
    // The events that happen are spread over all, so that they have no pages in common.
    for event in events.iter().step_by(events.len() / USED_EVENTS).take(USED_EVENTS) {
        for _ in 0..SPANS {
            let _span = measure(event.id);
        }
        // Every event has to reach the drain, also if the ring is small.
        collector.flush();
    }
    let above = resident()?.saturating_sub(empty);
    let health = stopped(&collector, (USED_EVENTS * SPANS) as u64);
    Ok(Outcome::new(&health).within_bytes(row, above, EVENTS_TARGET))
}

fn name(row: Row) -> String {
    row.to_possible_value().expect("no row is hidden").get_name().replace('-', "_")
}

/// Runs a single row and writes its outcome as JSON.
pub(crate) fn run_row(row: Row, smoke: bool) -> Result<(), Box<dyn Error>> {
    let name = name(row);
    let outcome = match row {
        Row::QuietThenBurst => quiet_then_burst(&name, smoke),
        Row::FlatOut => flat_out(&name),
        Row::ThreadAfterThread => brief_threads(&name, 1, smoke),
        Row::ScopesOfThree => brief_threads(&name, 3, smoke),
        Row::ThreadsAtOnce => threads_at_once(&name),
        Row::Start => start(&name),
        Row::FewOfManyEvents => few_of_many_events(&name),
    }?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Runs each row in a process of its own and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    println!(
        "{:<20} {:>10} {:>11} {:>12} {:>12}",
        "", "records", "overwritten", "unregistered", "bytes above"
    );
    let mut targets = vec![];
    for row in Row::value_variants() {
        let mut command = Command::new(env::current_exe()?);
        command.arg("burst").args(smoke.then_some("--smoke")).arg("--row");
        command.arg(row.to_possible_value().expect("no row is hidden").get_name());
        let output = command.stderr(Stdio::inherit()).output()?;
        let name = name(*row);
        if !output.status.success() {
            return Err(format!("row {name} failed: {}", output.status).into());
        }
        let outcome: Outcome = serde_json::from_slice(&output.stdout)?;
        let Outcome { produced, overwritten, unregistered, above, .. } = outcome;
        let above = above.map_or_else(String::new, |above| above.to_string());
        let line =
            format!("{name:<20} {produced:>10} {overwritten:>11} {unregistered:>12} {above:>12}");
        println!("{}", line.trim_end());
        targets.extend(outcome.targets);
    }
    println!(
        "\nquiet_then_burst: {BURST:?} at {BURST_RATE} spans per second after each second of \
         silence, {} times\n\
         flat_out: {FLAT_OUT_SPANS} spans without a pause\n\
         thread_after_thread and scopes_of_three: a span per thread\n\
         threads_at_once: {THREADS_AT_ONCE} threads with {SPANS} spans each; the memory includes \
         their stacks\n\
         start: 8 events; few_of_many_events: {USED_EVENTS} of {MANY_EVENTS} events happen \
         {SPANS} times each, with a flush after each\n",
        if smoke { 2 } else { 20 }
    );
    for Target { wanted, measured, met } in targets {
        verdict::print(wanted, measured, met);
    }
    Ok(())
}
