//! The processor time that a collector takes while little or nothing is recorded, compared with a
//! thread that only wakes up as often as the drain does at least.

use core::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use std::{thread, time::Instant};

use tailwatch::{Collector, EventInfo, Trading, measure};

use crate::{drain::events, pace::pace, processor, progress, rounds::figure, verdict};

/// How long a contestant runs in a round before its time is measured: the drain's pauses adapt.
const WARM_UP: Duration = Duration::from_millis(250);

/// The most that an idle collector may take, as a multiple of the bare loop.
const IDLE_TARGET: f64 = 1.3;
/// The most that a collector may take of whose events one happens every millisecond.
const ONE_EVENT_TARGET: f64 = 2.0;
/// The most that the drain may take while every event happens 100 times per second, as a share of
/// one core.
const ALL_EVENTS_TARGET: f64 = 0.04;
/// The most that a pass without records may take, in microseconds.
const PASS_TARGET: f64 = 5.0;

const MANY_EVENTS: u16 = 1_000;
const ALL_EVENTS: u16 = 2_047;
/// How often each event happens per second in the row in which all of them do.
const RATE: u32 = 100;

/// The time between two passes of a program that drains by itself. It is longer than the 10 ms
/// between two reports, so that each pass may publish one.
const BETWEEN_PASSES: Duration = Duration::from_millis(11);

/// Runs `work` in a thread of its own, and returns the processor time per second that all other
/// threads took meanwhile, in seconds.
fn others_during(work: impl FnOnce() + Send) -> Result<f64, Box<dyn Error>> {
    let measured = thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            let others = || processor::process_time().saturating_sub(processor::thread_time());
            let (start, before) = (Instant::now(), others());
            work();
            let took = others().saturating_sub(before);
            took.as_secs_f64() / start.elapsed().as_secs_f64()
        });
        measuring.join()
    });
    measured.map_err(|_| "the measuring thread panicked".into())
}

/// Measures a thread that only waits.
fn bare_loop(pause: Duration, length: Duration) -> Result<f64, Box<dyn Error>> {
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let parked = scope.spawn(|| {
            while !ends.load(Relaxed) {
                thread::park_timeout(pause);
            }
        });
        thread::sleep(WARM_UP);
        let took = others_during(|| thread::sleep(length));
        ends.store(true, Relaxed);
        parked.thread().unpark();
        took
    })
}

/// Measures the collector of `events` while `work` records. Adds to `lost` how many records were
/// lost, because the drain has saved the time for these.
fn collector(
    events: &[EventInfo],
    mut work: impl FnMut(Duration) + Send,
    length: Duration,
    lost: &mut u64,
) -> Result<f64, Box<dyn Error>> {
    let collector = Collector::builder().events(events).start()?;
    collector.install()?;
    thread::scope(|scope| scope.spawn(|| work(WARM_UP)).join())
        .map_err(|_| "the recording thread panicked")?;
    let took = others_during(|| work(length))?;
    collector.stop();
    let health = collector.health();
    *lost += health.overwritten + health.unregistered;
    Ok(took)
}

/// Returns the median time of a pass of a collector without records, in microseconds.
fn pass(events: &[EventInfo], passes: usize) -> Result<f64, Box<dyn Error>> {
    let collector = Collector::builder().events(events).manual_drain().start()?;
    let mut took = Vec::with_capacity(passes);
    for _ in 0..passes {
        thread::sleep(BETWEEN_PASSES);
        let start = Instant::now();
        collector.drain();
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    collector.stop();
    Ok(figure(took).median)
}

/// Runs the bench and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    let (rounds, length, passes) = if smoke {
        (2_u32, Duration::from_millis(500), 20)
    } else {
        (5, Duration::from_secs(2), 200)
    };
    let (many, all) = (events(MANY_EVENTS), events(ALL_EVENTS));
    let one = many[many.len() / 2].id;
    let mut ids = all.iter().map(|event| event.id).cycle();
    // Not a constant, because the environment may set it.
    let pause = {
        let collector = Collector::builder().manual_drain().start()?;
        collector.settings().max_period.value
    };
    let (mut figures, mut lost) = ([const { Vec::new() }; 4], [0; 4]);
    for _ in progress::bar("rounds", rounds.into()).wrap_iter(0..rounds) {
        figures[0].push(bare_loop(pause, length)?);
        figures[1].push(collector(Trading::ALL, thread::sleep, length, &mut lost[1])?);
        figures[2].push(collector(
            &many,
            |length| pace(1.0, length, || drop(measure(one))),
            length,
            &mut lost[2],
        )?);
        let per_tick = f64::from(ALL_EVENTS) * f64::from(RATE) / 1e3;
        figures[3].push(collector(
            &all,
            |length| pace(per_tick, length, || drop(ids.next().map(measure))),
            length,
            &mut lost[3],
        )?);
    }
    let [bare, idle, one_event, all_events] = figures.map(figure);
    let names = [
        "bare loop",
        "idle, 8 events",
        "one of 1,000 events once per ms",
        "2,047 events 100 times per s each",
    ];
    println!(
        "{:<34} {:>12} {:>9} {:>9} {:>8} {:>8}",
        "", "µs per s", "min", "max", "x bare", "lost"
    );
    for ((name, row), lost) in names.into_iter().zip([bare, idle, one_event, all_events]).zip(lost)
    {
        let [median, min, max] = [row.median, row.min, row.max].map(|share| share * 1e6);
        let ratio = row.median / bare.median;
        println!("{name:<34} {median:>12.1} {min:>9.1} {max:>9.1} {ratio:>8.2} {lost:>8}");
    }
    let (few_pass, all_pass) = (pass(Trading::ALL, passes)?, pass(&all, passes)?);
    println!("\n{:<34} {:>12}", "", "µs per pass");
    println!("{:<34} {few_pass:>12.2}", "a pass without records, 8 events");
    println!("{:<34} {all_pass:>12.2}", "the same, 2,047 events");
    println!(
        "\nprocessor time of all threads but the recording one; median of {rounds} interleaved \
         rounds of {length:?}\n\
         bare loop: a thread that only waits {pause:?} at a time, the longest pause of the drain\n\
         each of {passes} passes comes {BETWEEN_PASSES:?} after the one before\n"
    );
    for (target, row, most) in [
        ("idle, 8 events", idle, IDLE_TARGET),
        ("one of 1,000 events once per ms", one_event, ONE_EVENT_TARGET),
    ] {
        let ratio = row.median / bare.median;
        let measured = format!("{ratio:.2} x");
        verdict::print(
            format!("{target}: at most {most} x the bare loop"),
            measured,
            ratio <= most,
        );
    }
    let share = all_events.median;
    verdict::print(
        format!(
            "2,047 events 100 times per s each: at most {:.0} % of a core, 0 lost",
            ALL_EVENTS_TARGET * 100.0
        ),
        format!("{:.1} %, {} lost", share * 100.0, lost[3]),
        share <= ALL_EVENTS_TARGET && lost[3] == 0,
    );
    verdict::print(
        format!("a pass without records, 8 events: at most {PASS_TARGET} µs"),
        format!("{few_pass:.2} µs"),
        few_pass <= PASS_TARGET,
    );
    Ok(())
}
