//! What a record costs the drain, from the ring to quantiles that can be asked for.

use core::{error::Error, time::Duration};
use std::{
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
    time::Instant,
};

use tailwatch::{Collector, EventId, EventInfo, measure};

use crate::rounds::{Figure, figure};

/// Records in a ring at the beginning of a pass: half of what it holds.
const PENDING: u32 = 8_192;

/// How many events and rings, and nanoseconds a record at the most.
const CASES: [(u16, u8, Option<f64>); 6] = [
    (1, 1, None),
    (8, 1, Some(10.0)),
    (64, 1, Some(12.0)),
    (1, 8, None),
    (8, 8, Some(10.0)),
    (64, 8, Some(12.0)),
];

/// A thread that fills its ring when it is asked to.
struct Filler {
    ask: Sender<u32>,
    filled: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Filler {
    fn new(name: &str, ids: Vec<EventId>) -> Self {
        let (ask, asked) = mpsc::channel::<u32>();
        let (tell, filled) = mpsc::channel();
        let name = name.to_owned();
        let thread = thread::spawn(move || {
            tailwatch::register_thread(&name).expect("a ring for each");
            for records in asked {
                for id in ids.iter().cycle().take(records as usize / 2) {
                    // Its length varies, as that of work does.
                    let _span = measure(*id);
                    for n in 0..id.get() % 7 {
                        core::hint::black_box(n);
                    }
                }
                tell.send(()).expect("somebody waits");
            }
        });
        Self { ask, filled, thread }
    }
}

/// Events of numbered names, which are kept for ever: there are few.
fn events(count: u16) -> Vec<EventInfo> {
    let name = |id: EventId| format!("event_{id}").leak();
    (1..=count).filter_map(EventId::new).map(|id| EventInfo::new(id, name(id))).collect()
}

/// When reports are published.
#[derive(Clone, Copy, PartialEq)]
enum Reports {
    /// One in each pass, so that what the pass took is told at once.
    EachPass,
    /// As the drain does of itself: at most every 10 ms.
    AtTheirPace,
}

/// Nanoseconds a record: all rings are filled, then drained in one pass.
fn time(
    events_count: u16,
    rings: u8,
    reports: Reports,
    rounds: usize,
) -> Result<Figure, Box<dyn Error>> {
    let events = events(events_count);
    let collector =
        Collector::builder().events(&events).rings(usize::from(rings)).manual_drain().start()?;
    collector.install()?;
    let ids: Vec<EventId> = events.iter().map(|info| info.id).collect();
    let fillers: Vec<_> =
        (0..rings).map(|n| Filler::new(&format!("filler-{n}"), ids.clone())).collect();
    let mut costs = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        for filler in &fillers {
            filler.ask.send(PENDING)?;
            filler.filled.recv()?;
        }
        let start = Instant::now();
        match reports {
            Reports::EachPass => collector.flush(),
            Reports::AtTheirPace => drop(collector.drain()),
        }
        let elapsed: Duration = start.elapsed();
        if round > 0 {
            costs.push(elapsed.as_secs_f64() * 1e9 / (f64::from(PENDING) * f64::from(rings)));
        }
    }
    for Filler { ask, thread, .. } in fillers {
        drop(ask);
        thread.join().map_err(|_| "a filler panicked")?;
    }
    collector.stop();
    let health = collector.health();
    assert_eq!((health.overwritten, health.unregistered), (0, 0), "nothing was lost: {health:?}");
    if reports == Reports::EachPass {
        return Ok(figure(costs));
    }
    // The few passes that publish count as they are many.
    #[expect(clippy::cast_precision_loss, reason = "there are few rounds")]
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    Ok(Figure { median: mean, ..figure(costs) })
}

/// Times everything and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    let rounds = if smoke { 5 } else { 301 };
    println!("{:<38} {:>9} {:>9} {:>9}", "ns a record", "median", "min", "max");
    for (reports, word) in [(Reports::EachPass, ""), (Reports::AtTheirPace, "/paced")] {
        for (events, rings, target) in CASES {
            let Figure { median, min, max } = time(events, rings, reports, rounds)?;
            let verdict = match target {
                Some(target) if median <= target => format!(" pass: at most {target}"),
                Some(target) => format!(" fall-short: more than {target}"),
                None => String::new(),
            };
            let name = format!("drain/{events}_events/{rings}_rings{word}");
            println!("{name:<38} {median:>9.2} {min:>9.2} {max:>9.2}{verdict}");
        }
    }
    println!(
        "\n{rounds} passes each, of {PENDING} records a ring. Each publishes a report; of /paced, as in the drain's own thread, one in"
    );
    println!(
        "10 ms, and their mean is told instead of the median. What a row has more than its /paced one is the report: four summaries"
    );
    println!("an event, shared by the records of one pass, or of those of 10 ms.");
    Ok(())
}
