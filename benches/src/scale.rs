//! How many more spans two threads record than one while the drain runs normally, for several ring
//! sizes.

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

/// The least that two threads are to record, as a multiple of one.
const TARGET: f64 = 1.9;

/// The repetitions between two readings of the clock.
const BATCH: u32 = 1_000;

/// The warm-up before a turn. A drain that found nothing to do sleeps for up to 100 ms, and then
/// adapts to the rate.
const WARM_UP: Duration = Duration::from_millis(120);

/// The work that a thread repeats.
type Work = fn(u32);

fn span(times: u32) {
    for _ in 0..times {
        let _span = measure(Trading::OrderPlacement);
        black_box(());
    }
}

/// A span around some work, as in a program that does more than measure.
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

/// How often the work was done per second of elapsed time, and per second of its own processor
/// time, which excludes the time in which others had the core.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    by_time: f64,
    by_processor: f64,
    /// What the other threads of the process (the drain and the waiting main thread) took
    /// meanwhile, as a share of one core.
    drain: f64,
}

/// The results of a turn.
struct Turn {
    batches: u32,
    elapsed: Duration,
    processor: Duration,
    /// When the turn began, and the processor time of the whole process by then.
    began: (Instant, Duration),
}

/// A thread that works for a given time on request. All requested threads begin at the same moment.
struct Worker {
    requests: Sender<(Duration, Arc<Barrier>)>,
    turn: Receiver<Turn>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn new(work: Work, collector: Option<Arc<Collector>>) -> Self {
        let (requests, received) = mpsc::channel::<(Duration, Arc<Barrier>)>();
        let (results, turn) = mpsc::channel();
        let thread = thread::spawn(move || {
            if let Some(collector) = &collector {
                collector.register_thread("worker").expect("each worker gets a ring");
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
            for (length, begin) in received {
                run(WARM_UP);
                begin.wait();
                let (began, processor) =
                    ((Instant::now(), processor::process_time()), processor::thread_time());
                let (batches, elapsed) = run(length);
                let turn = Turn {
                    batches,
                    elapsed,
                    processor: processor::thread_time().saturating_sub(processor),
                    began,
                };
                results.send(turn).expect("the bench waits for the worker");
            }
        });
        Self { requests, turn, thread }
    }
}

/// A kind of work, for which two threads are compared with one.
struct Case {
    name: String,
    /// Whether the target applies to it.
    judged: bool,
    collector: Option<Arc<Collector>>,
    workers: [Worker; 2],
    /// The rates of one thread, and of two together, in each round.
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
            worker.requests.send((length, Arc::clone(&begin)))?;
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
        let others = processor::process_time().saturating_sub(before + of_workers);
        rate.drain = others.as_secs_f64() / start.elapsed().as_secs_f64();
        // Without this, the remaining records would be drained during the turn of another case.
        if let Some(collector) = &self.collector {
            collector.flush();
        }
        Ok(rate)
    }

    /// Returns the ratio of two threads to one, over the rounds.
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
        let verdict = if self.judged { verdict::label(median >= TARGET) } else { "" };
        let name = &self.name;
        let line = format!(
            "{name:<34} {one:>9.2} {two:>7.2} {median:>8.3} {min:>7.3} {max:>7.3} \
             {processor:>13.3} {drain:>6.2} {verdict}"
        );
        println!("{}", line.trim_end());
    }
}

fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let mut cases = vec![Case::new("two bare readings of the counter".to_owned(), bare, None)];
    for size in RING_SIZES {
        let builder = || Collector::builder().rings(2).ring_capacity(size).max_ring_capacity(size);
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

/// Runs the bench and prints the table.
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
        "million per second", "1 thread", "2", "2 / 1", "min", "max", "by processor", "drain"
    );
    cases.iter().for_each(Case::print);
    let cores = thread::available_parallelism()?;
    println!(
        "\n{rounds} interleaved rounds of {turn:?} each on {cores} cores, after a warm-up of \
         {WARM_UP:?} in which the drain adapts to the rate\n\
         by processor: the ratio per second of the threads' own processor time; below 2 they slow \
         each other down\n\
         drain: the share of a core that the drain and the waiting main thread take while two \
         threads record"
    );
    if cores.get() < 3 {
        println!("no core is left for the drain, so its time is taken from the threads");
    }
    let gain = |case: &Case| case.gain(|rate| rate.by_time).median;
    println!(
        "the machine itself: two threads read the counter {:.3} times as often as one",
        gain(&cases[0])
    );
    let least = cases.iter().filter(|case| case.judged).map(gain).fold(f64::MAX, f64::min);
    verdict::print(
        format!("two threads, with the drain running normally, at least {TARGET} x one"),
        format!("{least:.3} at worst"),
        least >= TARGET,
    );
    let least = cases
        .iter()
        .filter(|case| case.judged)
        .map(|case| case.gain(|rate| rate.by_processor).median);
    let least = least.fold(f64::MAX, f64::min);
    verdict::print(
        format!("the same by the threads' processor time, at least {TARGET} x one"),
        format!("{least:.3} at worst"),
        least >= TARGET,
    );
    for Worker { requests, thread, .. } in cases.into_iter().flat_map(|case| case.workers) {
        drop(requests);
        thread.join().map_err(|_| "a worker panicked")?;
    }
    Ok(())
}
