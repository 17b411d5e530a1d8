//! Whether `Health::overhead_ratio` states what measuring costs: the processor time that a
//! saturated core saves when tailwatch is left out. Each row runs in a process of its own, all of
//! whose threads share one core.

use core::{
    error::Error,
    hint::black_box,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use std::{
    collections::HashMap,
    env,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use clap::ValueEnum;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use tailwatch::{Collector, measure};

use crate::{drain::events, pace::pace, processor, rounds::figure, verdict};

/// How far the reported cost may be from the true one, as a share of the true one.
const TARGET: f64 = 0.1;

/// The core that all threads of a row share.
const CORE: usize = 0;

/// What a process measures.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Row {
    /// One event, with about 200 ns of work in each span.
    OneEvent,
    /// 64 events in turn.
    ManyEvents,
    /// A span within a span.
    Nested,
    /// About 35 ns of work in each span.
    ShortWork,
    /// About 500 ns of work in each span.
    LongWork,
    /// Work over more memory than the second-level cache holds.
    LargeWork,
    /// Two threads that record.
    TwoThreads,
    /// Work that needs the result of that of the span before.
    Dependent,
    /// Sorting 32 numbers, whose order the processor cannot predict.
    Sort,
    /// Counting 8 numbers in a `HashMap`.
    Map,
    /// 10,000 spans per second, and sleep in between.
    Paced,
}

/// The work of a span.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Hashes the next few cache lines of a memory.
    Hash {
        lines: usize,
        bytes: usize,
    },
    /// Does the same, beginning with the hash of the span before.
    Chain,
    Sort,
    Map,
}

/// The bytes of the memory that is usually hashed.
const MEMORY: usize = 256 << 10;
const HASH: Work = Work::Hash { lines: 24, bytes: MEMORY };

/// What happens in a row.
struct Case {
    events: u16,
    work: Work,
    /// Whether each span contains another one, which has the work in it.
    is_nested: bool,
    threads: usize,
    /// The spans per millisecond. `None` if there are as many as the core can take.
    rate: Option<f64>,
}

impl Row {
    const fn case(self) -> Case {
        let usual = Case { events: 1, work: HASH, is_nested: false, threads: 1, rate: None };
        match self {
            Self::OneEvent => usual,
            Self::ManyEvents => Case { events: 64, ..usual },
            Self::Nested => Case { events: 2, is_nested: true, ..usual },
            Self::ShortWork => Case { work: Work::Hash { lines: 6, bytes: MEMORY }, ..usual },
            Self::LongWork => Case { work: Work::Hash { lines: 54, bytes: MEMORY }, ..usual },
            Self::LargeWork => Case { work: Work::Hash { lines: 24, bytes: 16 << 20 }, ..usual },
            Self::TwoThreads => Case { threads: 2, ..usual },
            Self::Dependent => Case { work: Work::Chain, ..usual },
            Self::Sort => Case { work: Work::Sort, ..usual },
            Self::Map => Case { work: Work::Map, ..usual },
            Self::Paced => Case { rate: Some(10.0), ..usual },
        }
    }
}

/// The spans between two looks at whether a turn is over.
const CHUNK: u32 = 1_000;

/// How often it is asked whether a turn is over.
const POLL: Duration = Duration::from_millis(2);

/// How long a turn runs before it is measured. In the first second, the ratio changes all the time.
const WARM_UP: Duration = Duration::from_millis(1_100);

/// How many rounds there are, and how long their turns last.
struct Effort {
    rounds: u32,
    /// Over how many periods of the ratio it is measured. Each lasts a second.
    periods: u32,
}

impl Effort {
    const fn new(smoke: bool) -> Self {
        if smoke { Self { rounds: 1, periods: 1 } } else { Self { rounds: 5, periods: 2 } }
    }
}

/// What the work of a thread uses.
struct Workplace {
    words: Vec<u64>,
    at: usize,
    hash: u64,
    random: Rng,
    counts: HashMap<u8, u64>,
}

impl Workplace {
    fn new(work: Work) -> Self {
        let bytes = if let Work::Hash { bytes, .. } = work { bytes } else { MEMORY };
        let words = (0..).take(bytes / 8).collect();
        Self { words, at: 0, hash: 0, random: Rng::with_seed(1), counts: HashMap::new() }
    }

    /// Does the work of one span.
    #[inline(never)]
    fn work(&mut self, work: Work) {
        match work {
            Work::Hash { lines, .. } => self.hash = self.hash_from(0, lines),
            Work::Chain => self.hash = self.hash_from(self.hash, 24),
            Work::Sort => {
                let mut numbers = [0; 32].map(|_: u32| self.random.u32(..));
                numbers.sort_unstable();
                black_box(numbers);
            }
            Work::Map => (0..8).for_each(|_| {
                *self.counts.entry(self.random.u8(..)).or_default() += 1;
            }),
        }
    }

    /// Hashes the next `lines` cache lines.
    fn hash_from(&mut self, mut hash: u64, lines: usize) -> u64 {
        let count = 8 * lines;
        if self.at + count > self.words.len() {
            self.at = 0;
        }
        for word in &self.words[self.at..self.at + count] {
            hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        self.at += count;
        hash
    }
}

/// What the threads of a turn have done, as they write it after every few spans.
#[derive(Debug, Default)]
struct Progress {
    spans: AtomicU64,
    /// Their processor time, in nanoseconds.
    nanos: AtomicU64,
    is_over: AtomicBool,
}

/// Works until the turn is over, with spans if `MEASURED`.
fn work<const MEASURED: bool>(case: &Case, progress: &Progress) {
    let mut workplace = Workplace::new(case.work);
    let ids: Vec<_> = events(case.events).into_iter().map(|event| event.id).collect();
    let (inner, mut next) = (ids[0], 0);
    let mut once = || {
        next = if next + 1 < ids.len() { next + 1 } else { 0 };
        let id = black_box(ids[next]);
        let _span = MEASURED.then(|| measure(id));
        let _inner = (MEASURED && case.is_nested).then(|| measure(inner));
        workplace.work(case.work);
    };
    let mut before = Duration::ZERO;
    while !progress.is_over.load(Relaxed) {
        let times = if let Some(rate) = case.rate {
            pace(rate, POLL, &mut once);
            rate * POLL.as_secs_f64() * 1e3
        } else {
            (0..CHUNK).for_each(|_| once());
            f64::from(CHUNK)
        };
        let now = processor::thread_time();
        progress.nanos.fetch_add(nanos(now.saturating_sub(before)), Relaxed);
        before = now;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small")]
        progress.spans.fetch_add(times as u64 * if case.is_nested { 2 } else { 1 }, Relaxed);
    }
    black_box(workplace.hash);
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What a turn took, in nanoseconds per span.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// The processor time of the process.
    process: f64,
    /// That of the threads that record.
    recording: f64,
    /// What the collector reported.
    reported: f64,
    /// The records that were lost.
    lost: u64,
}

/// Runs a turn. If not `MEASURED`, tailwatch is left out.
fn turn<const MEASURED: bool>(row: Row, effort: &Effort) -> Result<Turn, Box<dyn Error>> {
    let (case, progress) = (row.case(), Progress::default());
    let collector = if MEASURED {
        let events = events(case.events);
        let collector = Collector::builder().events(&events).drain_core(CORE).start()?;
        collector.install()?;
        Some(collector)
    } else {
        None
    };
    let mut turn = thread::scope(|scope| {
        for _ in 0..case.threads {
            scope.spawn(|| work::<MEASURED>(&case, &progress));
        }
        let turn = measure_turn(collector.as_ref(), effort, &progress);
        progress.is_over.store(true, Relaxed);
        turn
    });
    if let Some(collector) = collector {
        collector.stop();
        let health = collector.health();
        turn.lost = health.overwritten + health.unregistered;
    }
    Ok(turn)
}

/// Measures threads that are working, over whole periods of the ratio: each ends when the ratio
/// changes.
fn measure_turn(collector: Option<&Collector>, effort: &Effort, progress: &Progress) -> Turn {
    let ratio = || collector.map(|collector| collector.health().overhead_ratio);
    // Returns the ratio of the period that has ended, and when it did.
    let next_period = || {
        let (start, before) = (Instant::now(), ratio());
        loop {
            thread::sleep(POLL);
            let (now, ratio) = (Instant::now(), ratio());
            if ratio != before || ratio.is_none() && now - start >= Duration::from_secs(1) {
                return (ratio.unwrap_or_default(), now);
            }
        }
    };
    let counts = || {
        let [spans, recording] = [&progress.spans, &progress.nanos].map(|n| n.load(Relaxed));
        [spans, recording, nanos(processor::process_time())]
    };
    thread::sleep(WARM_UP);
    let (_, mut period_start) = next_period();
    let (mut reported, before) = (0.0, counts());
    for _ in 0..effort.periods {
        let (ratio, now) = next_period();
        reported += ratio * (now - period_start).as_secs_f64() * 1e9;
        period_start = now;
    }
    let after = counts();
    #[expect(clippy::cast_precision_loss, reason = "they are less than 2^52")]
    let [spans, recording, process] = [0, 1, 2].map(|n| (after[n] - before[n]) as f64);
    let [process, recording, reported] = [process, recording, reported].map(|took| took / spans);
    Turn { process, recording, reported, lost: 0 }
}

/// What came out of a round, in nanoseconds per span, as the process of a row writes it for the one
/// that prints the table.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Outcome {
    /// The work without tailwatch.
    plain: f64,
    /// What tailwatch adds to the recording threads.
    recording: f64,
    /// What it adds to all others.
    others: f64,
    /// What the collector reported.
    reported: f64,
    lost: u64,
}

impl Outcome {
    /// Compares two turns with tailwatch and two without it.
    fn new(measured: [Turn; 2], plain: [Turn; 2]) -> Self {
        let mean = |turns: [Turn; 2], of: fn(&Turn) -> f64| turns.iter().map(of).sum::<f64>() / 2.0;
        let added = |of| mean(measured, of) - mean(plain, of);
        Self {
            plain: mean(plain, |turn| turn.process),
            recording: added(|turn| turn.recording),
            others: added(|turn| turn.process - turn.recording),
            reported: mean(measured, |turn| turn.reported),
            lost: measured.iter().map(|turn| turn.lost).sum(),
        }
    }

    /// What tailwatch costs.
    fn added(&self) -> f64 {
        self.recording + self.others
    }
}

/// Runs a single row and writes its outcomes as JSON.
pub(crate) fn run_row(row: Row, smoke: bool) -> Result<(), Box<dyn Error>> {
    processor::pin_to(CORE)?;
    let effort = Effort::new(smoke);
    let mut outcomes = Vec::new();
    for _ in 0..effort.rounds {
        // In this order, a machine that becomes faster or slower favours neither.
        let first = turn::<true>(row, &effort)?;
        let plain = [turn::<false>(row, &effort)?, turn::<false>(row, &effort)?];
        outcomes.push(Outcome::new([first, turn::<true>(row, &effort)?], plain));
    }
    println!("{}", serde_json::to_string(&outcomes)?);
    Ok(())
}

/// Runs each row in a process of its own and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    println!(
        "{:<12} {:>8} {:>10} {:>7} {:>7} {:>9} {:>16} {:>13} {:>9}",
        "ns per span",
        "work",
        "recording",
        "drain",
        "sum",
        "reported",
        "reported / sum",
        "",
        "lost"
    );
    let mut verdicts = vec![];
    for row in Row::value_variants() {
        let name = row.to_possible_value().expect("no row is hidden").get_name().to_owned();
        let mut command = Command::new(env::current_exe()?);
        command.arg("overhead").args(smoke.then_some("--smoke")).args(["--row", &name]);
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("row {name} failed: {}", output.status).into());
        }
        let outcomes: Vec<Outcome> = serde_json::from_slice(&output.stdout)?;
        let of = |of: fn(&Outcome) -> f64| figure(outcomes.iter().map(of).collect());
        let [plain, recording, others, added, reported] = [
            of(|outcome| outcome.plain),
            of(|outcome| outcome.recording),
            of(|outcome| outcome.others),
            of(Outcome::added),
            of(|outcome| outcome.reported),
        ]
        .map(|figure| figure.median);
        let ratio = of(|outcome| outcome.reported / outcome.added());
        let range = format!("{:.2} to {:.2}", ratio.min, ratio.max);
        let lost = outcomes.iter().map(|outcome| outcome.lost).sum::<u64>();
        println!(
            "{name:<12} {plain:>8.1} {recording:>10.1} {others:>7.1} {added:>7.1} {reported:>9.1} \
             {:>16.2} {range:>13} {lost:>9}",
            ratio.median
        );
        if row.case().rate.is_none() {
            let met = (ratio.median - 1.0).abs() <= TARGET;
            verdicts.push((name, format!("{:.2} x", ratio.median), met));
        }
    }
    let Effort { rounds, periods, .. } = Effort::new(smoke);
    println!(
        "\nall threads share a core; medians of {rounds} rounds, each of four turns of {periods} s \
         in the order with,\nwithout, without and with tailwatch; processor time\n\
         work: of a span, without tailwatch; recording: what tailwatch adds to the threads that \
         record;\ndrain: what it adds to all others; reported: by `overhead_ratio`\n\
         lost: records in all rounds\n"
    );
    for (name, measured, met) in verdicts {
        let target = format!("{name}: reported within {:.0} % of the sum", TARGET * 100.0);
        verdict::print(target, measured, met);
    }
    Ok(())
}
