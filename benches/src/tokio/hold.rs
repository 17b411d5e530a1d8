//! For how long the drain's task holds its worker, while a thread records a million spans a second.

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

/// Spans of a beat, and its length: a million a second.
const SPANS: usize = 1_000;
const BEAT: Duration = Duration::from_millis(1);

/// Beats of a round.
const BEATS: u32 = 500;

/// By the sizing formula 1.3 million spans a second.
const RING: usize = 262_144;

/// What a hold may take, in microseconds.
const MOST: f64 = 1_000.0;

/// The events that the spans are of, by turns: a report tells of all.
const EVENTS: [Trading; 7] = [
    Trading::CandleProcessing,
    Trading::SignalGeneration,
    Trading::OrderPlacement,
    Trading::OrderFill,
    Trading::EventBusPublish,
    Trading::EventBusHandle,
    Trading::GcPause,
];

/// Records for one round.
fn load() {
    let start = Instant::now();
    for beat in 0..BEATS {
        for event in EVENTS.iter().cycle().take(SPANS) {
            drop(measure(*event));
        }
        record_value(Trading::QueueBacklog, u64::from(beat % 100));
        while start.elapsed() < BEAT * beat {
            spin_loop();
        }
    }
}

/// Some work, always the same.
fn work(steps: u32) {
    let mut sum = 1_u64;
    for _ in 0..steps {
        sum = black_box(sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    black_box(sum);
}

/// As many steps take a quarter of a millisecond.
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

/// Stands in for the drain: a task that holds its worker for a quarter of a millisecond, each millisecond, for one round.
async fn stand_in(steps: u32) {
    for _ in 0..BEATS / 2 {
        work(steps);
        sleep(BEAT).await;
    }
}

/// The longest time between two polls of a task that always could go on, in microseconds: what else its worker did.
#[derive(Clone, Copy, Debug, Default)]
struct Longest {
    /// Of processor time of the thread, in which it does not show that another one had the core.
    own: f64,
    wall: f64,
}

/// Looks at the clocks whenever it is polled.
async fn look(over: Arc<AtomicBool>) -> Longest {
    let mut longest = Longest::default();
    let (mut wall, mut own) = (Instant::now(), processor::time());
    while !over.load(Relaxed) {
        yield_now().await;
        let (wall_now, own_now) = (Instant::now(), processor::time());
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        longest.wall = longest.wall.max(micros(wall_now - wall));
        longest.own = longest.own.max(micros(own_now.saturating_sub(own)));
        (wall, own) = (wall_now, own_now);
    }
    longest
}

/// One round beside the load, and one beside the stand-in.
async fn round(collector: &Arc<Collector>, steps: u32) -> Result<[Longest; 2], Box<dyn Error>> {
    let over = || Arc::new(AtomicBool::new(false));
    let (loaded, idle) = (over(), over());
    let looking = ::tokio::spawn(look(Arc::clone(&loaded)));
    let collector = Arc::clone(collector);
    let loading = thread::spawn(move || {
        collector.register_thread("load").expect("a ring for it");
        load();
        loaded.store(true, Relaxed);
    });
    let beside_load = looking.await?;
    loading.join().map_err(|_| "the load panicked")?;

    let looking = ::tokio::spawn(look(Arc::clone(&idle)));
    stand_in(steps).await;
    idle.store(true, Relaxed);
    Ok([beside_load, looking.await?])
}

/// Runs so many rounds, and prints the table.
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
            // The first one meets memory that nobody has touched.
            found.extend((number > 0).then_some(of_round));
        }
        token.cancel();
        Ok::<_, Box<dyn Error>>((found, drain.join().await?))
    })?;
    let health = &report.health;
    let recorded = u64::from(BEATS) * (2 * SPANS as u64 + 1) * u64::from(rounds + 1);
    if health.delivered + health.overwritten != recorded || health.unregistered > 0 {
        return Err(format!("{recorded} records should have come: {health:?}").into());
    }

    println!("\n{:<26} {:>9} {:>9} {:>9}", "µs, the longest hold", "median", "min", "max");
    let row = |name, of: fn(&[Longest; 2]) -> f64| {
        let figure = figure(found.iter().map(of).collect());
        println!("{name:<26} {:>9.0} {:>9.0} {:>9.0}", figure.median, figure.min, figure.max);
        figure
    };
    let drain = row("hold/drain", |[drain, _]| drain.own);
    row("hold/drain/wall", |[drain, _]| drain.wall);
    let alone = row("hold/stand_in", |[_, alone]| alone.own);
    row("hold/stand_in/wall", |[_, alone]| alone.wall);
    println!(
        "\n{rounds} rounds of {BEATS} ms, at {SPANS} spans a ms, of {} events, beside a value each ms; processor time of the worker, \
         and on the wall, where others had its core meanwhile; stand_in: work of 250 µs instead of the drain, which the machine \
         interrupts as it does the drain\n",
        EVENTS.len()
    );
    verdict::say(
        "the drain's task holds its worker for at most 1 ms, at 10^6 spans a second",
        format!(
            "{:.0} µs in all rounds, {:.0} in the median one, beside {:.0} of the stand-in in all",
            drain.max, drain.median, alone.max
        ),
        drain.max <= MOST,
    );
    verdict::say("nothing is overwritten meanwhile", health.overwritten, health.overwritten == 0);
    Ok(())
}
