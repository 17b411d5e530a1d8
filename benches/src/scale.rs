//! How much more two threads record than one, the drain at its normal pace beside them, with rings of each size.

use core::{error::Error, hint::black_box, time::Duration};
use std::{
    sync::{
        Arc, Barrier,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use tailwatch::{Collector, Trading, measure};

use crate::{
    floor, processor, progress,
    rounds::{Figure, figure},
    verdict,
};

const RING_SIZES: [usize; 6] = [1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20];
const DEFAULT_RING: usize = 1 << 14;

/// How many times as much two threads are to record.
const TARGET: f64 = 1.9;

/// Between two looks at the time.
const BATCH: u32 = 1_000;

/// What goes before: a drain that found nothing to do sleeps for up to 100 ms, and then learns the rate.
const WARM_UP: Duration = Duration::from_millis(120);

/// What a thread does over and over.
type Work = fn(u32);

fn span(times: u32) {
    for _ in 0..times {
        let _span = measure(Trading::OrderPlacement);
        black_box(());
    }
}

/// With some work inside, as a program has it that does more than measure.
fn span_with_work(times: u32) {
    for _ in 0..times {
        let _span = measure(Trading::OrderPlacement);
        for n in 0..4_000 {
            black_box(n);
        }
    }
}

fn bare(times: u32) {
    for _ in 0..times {
        floor::ordered();
    }
}

/// How often something was done in a second of time, and in a second of the processor's time for it, which others on the same
/// core take nothing from.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    by_time: f64,
    by_processor: f64,
    /// What the others of the process took meanwhile, which is the drain, as a part of a core.
    drain: f64,
}

/// How a turn went.
struct Turn {
    batches: u32,
    elapsed: Duration,
    processor: Duration,
    /// When it began, and what the whole process had used of the processor by then.
    began: (Instant, Duration),
}

/// A thread that works for so long when it is asked to, all those that are asked at once from the same moment on.
struct Worker {
    ask: Sender<(Duration, Arc<Barrier>)>,
    turn: Receiver<Turn>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn new(work: Work, collector: Option<Arc<Collector>>) -> Self {
        let (ask, asked) = mpsc::channel::<(Duration, Arc<Barrier>)>();
        let (tell, turn) = mpsc::channel();
        let thread = thread::spawn(move || {
            if let Some(collector) = &collector {
                collector.register_thread("worker").expect("a ring for each");
            }
            let run = |length| {
                let (start, mut batches) = (Instant::now(), 0_u32);
                loop {
                    work(BATCH);
                    batches += 1;
                    let elapsed = start.elapsed();
                    if elapsed >= length {
                        break (batches, elapsed);
                    }
                }
            };
            for (length, begin) in asked {
                run(WARM_UP);
                begin.wait();
                let (began, processor) = ((Instant::now(), processor::of_all()), processor::time());
                let (batches, elapsed) = run(length);
                let turn = Turn {
                    batches,
                    elapsed,
                    processor: processor::time().saturating_sub(processor),
                    began,
                };
                tell.send(turn).expect("somebody waits");
            }
        });
        Self { ask, turn, thread }
    }
}

/// What is compared with itself: two threads with one.
struct Case {
    name: String,
    /// Whether the target is for it.
    judged: bool,
    collector: Option<Arc<Collector>>,
    workers: [Worker; 2],
    /// Of one thread, and of two together, in each round.
    rates: [Vec<Rate>; 2],
}

impl Case {
    fn new(name: String, work: Work, collector: Option<Collector>) -> Self {
        let collector = collector.map(Arc::new);
        let workers = [(); 2].map(|()| Worker::new(work, collector.clone()));
        Self { name, judged: false, collector, workers, rates: [Vec::new(), Vec::new()] }
    }

    fn turn(&self, threads: usize, length: Duration) -> Result<Rate, Box<dyn Error>> {
        let begin = Arc::new(Barrier::new(threads + 1));
        let workers = &self.workers[..threads];
        for worker in workers {
            worker.ask.send((length, Arc::clone(&begin)))?;
        }
        begin.wait();
        let (mut rate, mut of_workers, mut first) = (Rate::default(), Duration::ZERO, None);
        for worker in workers {
            let Turn { batches, elapsed, processor, began } = worker.turn.recv()?;
            first = first.into_iter().chain([began]).min();
            let times = f64::from(batches) * f64::from(BATCH);
            rate.by_time += times / elapsed.as_secs_f64();
            rate.by_processor += times / processor.as_secs_f64();
            of_workers += processor;
        }
        let (start, before) = first.ok_or("there are no workers")?;
        let others = processor::of_all().saturating_sub(before + of_workers);
        rate.drain = others.as_secs_f64() / start.elapsed().as_secs_f64();
        // What is left would be drained during somebody else's turn.
        if let Some(collector) = &self.collector {
            collector.flush();
        }
        Ok(rate)
    }

    /// Two threads as a multiple of one, round by round.
    fn gain(&self, by: impl Fn(&Rate) -> f64) -> Figure {
        let [one, two] = &self.rates;
        figure(one.iter().zip(two).map(|(one, two)| by(two) / by(one)).collect())
    }

    fn print(&self) {
        let [one, two] = &self.rates;
        let drain = figure(two.iter().map(|rate| rate.drain).collect()).median;
        let [one, two] = [one, two]
            .map(|rates| figure(rates.iter().map(|rate| rate.by_time / 1e6).collect()).median);
        let Figure { min, median, max } = self.gain(|rate| rate.by_time);
        let processor = self.gain(|rate| rate.by_processor).median;
        let verdict = if self.judged { verdict::word(median >= TARGET) } else { "" };
        let name = &self.name;
        let line = format!(
            "{name:<34} {one:>9.2} {two:>7.2} {median:>8.3} {min:>7.3} {max:>7.3} {processor:>13.3} {drain:>6.2} {verdict}"
        );
        println!("{}", line.trim_end());
    }
}

fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let mut cases = vec![Case::new("two bare readings of the counter".to_owned(), bare, None)];
    for size in RING_SIZES {
        let builder = || Collector::builder().rings(2).ring_capacity(size);
        let power = size.ilog2();
        cases.push(Case::new(
            format!("span, ring 2^{power}, no drain"),
            span,
            Some(builder().manual_drain().start()?),
        ));
        let drained = Case::new(format!("span, ring 2^{power}"), span, Some(builder().start()?));
        cases.push(Case { judged: true, ..drained });
        if size == DEFAULT_RING {
            let drained = Case::new(
                format!("span with work, ring 2^{power}"),
                span_with_work,
                Some(builder().start()?),
            );
            cases.push(Case { judged: true, ..drained });
        }
    }
    Ok(cases)
}

/// Times everything and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    let (rounds, turn) =
        if smoke { (1, Duration::from_millis(5)) } else { (21, Duration::from_millis(50)) };
    let mut cases = cases()?;
    for round in progress::bar("rounds", rounds + 1).wrap_iter(0..=rounds) {
        for case in &mut cases {
            for threads in [1, 2] {
                let rate = case.turn(threads, turn)?;
                if round > 0 {
                    case.rates[threads - 1].push(rate);
                }
            }
        }
    }
    println!(
        "{:<34} {:>9} {:>7} {:>8} {:>7} {:>7} {:>13} {:>6}",
        "million a second", "1 thread", "2", "2 / 1", "min", "max", "by processor", "drain"
    );
    cases.iter().for_each(Case::print);
    let cores = thread::available_parallelism()?;
    println!(
        "\n{rounds} interleaved rounds of {turn:?} each, on {cores} cores, after {WARM_UP:?} in which the drain, if any, comes to its pace"
    );
    println!(
        "by processor: a second of the time that the threads got; short of 2, they hinder each other"
    );
    println!("drain: what it, and whoever waits, takes of a core beside two threads");
    if cores.get() < 3 {
        println!("no core is left for it then: what it takes is missing to the threads");
    }
    let gain = |case: &Case| case.gain(|rate| rate.by_time).median;
    println!(
        "the machine itself: two threads read the counter {:.3} x as often as one",
        gain(&cases[0])
    );
    let least = cases.iter().filter(|case| case.judged).map(gain).fold(f64::MAX, f64::min);
    verdict::say(
        format!("two threads, drain at its normal pace, at least {TARGET} x one"),
        format!("{least:.3} at the least"),
        least >= TARGET,
    );
    let least = cases
        .iter()
        .filter(|case| case.judged)
        .map(|case| case.gain(|rate| rate.by_processor).median);
    let least = least.fold(f64::MAX, f64::min);
    verdict::say(
        format!("the same by the processor time that the threads got, at least {TARGET} x one"),
        format!("{least:.3} at the least"),
        least >= TARGET,
    );
    for Worker { ask, thread, .. } in cases.into_iter().flat_map(|case| case.workers) {
        drop(ask);
        thread.join().map_err(|_| "a worker panicked")?;
    }
    Ok(())
}
