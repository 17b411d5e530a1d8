//! How long the drain's task holds its worker while a thread records a million spans per second.

use core::{
    error::Error,
    hint::{black_box, spin_loop},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use std::{sync::Arc, thread, time::Instant};

use ::tokio::{runtime, task::yield_now, time::sleep};
use tailwatch::{Collector, Trading, measure, record_value};
use tailwatch_tokio::CancellationToken;

use crate::{processor, rounds::figure, verdict};

/// The spans in a burst, and the interval between bursts: a million spans per second.
const SPANS: usize = 1_000;
const INTERVAL: Duration = Duration::from_millis(1);

/// The bursts in a round.
const BURSTS: u32 = 500;

/// The capacity of a ring. By the sizing formula it lasts for 1.3 million spans per second.
const RING: usize = 262_144;

/// The longest allowed hold, in microseconds.
const MOST: f64 = 1_000.0;

/// The events of the spans, in turn. A report has a summary of each.
const EVENTS: [Trading; 7] = [
    Trading::CandleProcessing,
    Trading::SignalGeneration,
    Trading::OrderPlacement,
    Trading::OrderFill,
    Trading::EventBusPublish,
    Trading::EventBusHandle,
    Trading::GcPause,
];

/// Records the spans and values of one round.
fn load() {
    let start = Instant::now();
    for burst in 0..BURSTS {
        for event in EVENTS.iter().cycle().take(SPANS) {
            drop(measure(*event));
        }
        record_value(Trading::QueueBacklog, u64::from(burst % 100));
        while start.elapsed() < INTERVAL * burst {
            spin_loop();
        }
    }
}

/// Does `steps` steps of work that takes the same time whenever it runs.
fn work(steps: u32) {
    let mut sum = 1_u64;
    for _ in 0..steps {
        sum = black_box(sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    black_box(sum);
}

/// Returns the number of steps of [`work`] that take a quarter of a millisecond.
fn steps() -> u32 {
    const TRIED: u32 = 100_000;
    let took = (0..21).map(|_| {
        let start = Instant::now();
        work(TRIED);
        start.elapsed().as_secs_f64()
    });
    let one = figure(took.collect()).median / f64::from(TRIED);
    let steps = Duration::from_secs_f64(0.000_25 / one / 1e9).as_nanos();
    u32::try_from(steps).unwrap_or(u32::MAX)
}

/// Stands in for the drain for one round: holds the worker for a quarter of a millisecond, then
/// sleeps for a millisecond.
async fn stand_in(steps: u32) {
    for _ in 0..BURSTS / 2 {
        work(steps);
        sleep(INTERVAL).await;
    }
}

/// The longest time between two polls of a task that is always ready, in microseconds: the time in
/// which the worker did something else.
#[derive(Clone, Copy, Debug, Default)]
struct Longest {
    /// By the thread's processor time, which excludes the time in which others had the core.
    processor: f64,
    /// By the wall clock.
    wall: f64,
}

/// Reads the clocks at each poll and returns the longest time between two polls.
async fn observe(over: Arc<AtomicBool>) -> Longest {
    let mut longest = Longest::default();
    let (mut wall, mut processor) = (Instant::now(), processor::thread_time());
    while !over.load(Relaxed) {
        yield_now().await;
        let (wall_now, processor_now) = (Instant::now(), processor::thread_time());
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        longest.wall = longest.wall.max(micros(wall_now - wall));
        longest.processor = longest.processor.max(micros(processor_now.saturating_sub(processor)));
        (wall, processor) = (wall_now, processor_now);
    }
    longest
}

/// Runs one round with the load and the drain, and one with the stand-in.
async fn round(collector: &Arc<Collector>, steps: u32) -> Result<[Longest; 2], Box<dyn Error>> {
    let over = || Arc::new(AtomicBool::new(false));
    let (loaded, idle) = (over(), over());
    let observer = ::tokio::spawn(observe(Arc::clone(&loaded)));
    let collector = Arc::clone(collector);
    let loading = thread::spawn(move || {
        collector.register_thread("load").expect("the only thread gets a ring");
        load();
        loaded.store(true, Relaxed);
    });
    let beside_load = observer.await?;
    loading.join().map_err(|_| "the loading thread panicked")?;

    let observer = ::tokio::spawn(observe(Arc::clone(&idle)));
    stand_in(steps).await;
    idle.store(true, Relaxed);
    Ok([beside_load, observer.await?])
}

/// Runs the bench and prints the table.
pub(super) fn run(rounds: u32) -> Result<(), Box<dyn Error>> {
    let collector = Arc::new(super::builder().ring_capacity(RING).start()?);
    let token = CancellationToken::new();
    let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
    let steps = steps();
    let (found, report) = runtime.block_on(async {
        let drain = tailwatch_tokio::spawn_drain(Arc::clone(&collector), token.clone())?;
        let mut found = Vec::new();
        for number in 0..=rounds {
            let of_round = round(&collector, steps).await?;
            // The first round does not count: it touches memory for the first time.
            found.extend((number > 0).then_some(of_round));
        }
        token.cancel();
        Ok::<_, Box<dyn Error>>((found, drain.join().await?))
    })?;
    let health = &report.health;
    let recorded = u64::from(BURSTS) * (2 * SPANS as u64 + 1) * u64::from(rounds + 1);
    if health.delivered + health.overwritten != recorded || health.unregistered > 0 {
        return Err(format!("expected {recorded} records: {health:?}").into());
    }

    println!("\n{:<26} {:>9} {:>9} {:>9}", "longest hold in µs", "median", "min", "max");
    let row = |name, of: fn(&[Longest; 2]) -> f64| {
        let figure = figure(found.iter().map(of).collect());
        println!("{name:<26} {:>9.0} {:>9.0} {:>9.0}", figure.median, figure.min, figure.max);
        figure
    };
    let drain = row("hold/drain", |[drain, _]| drain.processor);
    row("hold/drain/wall", |[drain, _]| drain.wall);
    let stand_in = row("hold/stand_in", |[_, stand_in]| stand_in.processor);
    row("hold/stand_in/wall", |[_, stand_in]| stand_in.wall);
    println!(
        "\n{rounds} rounds of {BURSTS} ms, with {SPANS} spans of {} events and one value per ms; \
         by the worker's processor time\n\
         /wall: by the wall clock, which includes the time in which others had the core\n\
         stand_in: 250 µs of work in place of the drain, which the machine interrupts as it does \
         the drain\n",
        EVENTS.len()
    );
    verdict::print(
        "the drain's task holds its worker for at most 1 ms, at 10^6 spans per second",
        format!(
            "{:.0} µs over all rounds, {:.0} µs in the median round, {:.0} µs by the stand-in \
             over all rounds",
            drain.max, drain.median, stand_in.max
        ),
        drain.max <= MOST,
    );
    verdict::print("nothing is overwritten", health.overwritten, health.overwritten == 0);
    Ok(())
}
