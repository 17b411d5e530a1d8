//! The cost of a record to the drain, from the ring to quantiles that can be queried.

use core::{error::Error, time::Duration};
use std::{
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
    time::Instant,
};

use tailwatch::{Collector, EventId, EventInfo, measure};

use crate::rounds::{Figure, figure};

/// The records in a ring at the beginning of a pass: half of its capacity.
const PENDING: u32 = 8_192;

/// The number of events, the number of rings, and the target in nanoseconds per record.
const CASES: [(u16, u8, Option<f64>); 6] = [
    (1, 1, None),
    (8, 1, Some(10.0)),
    (64, 1, Some(12.0)),
    (1, 8, None),
    (8, 8, Some(10.0)),
    (64, 8, Some(12.0)),
];

/// A thread that fills its ring on request.
struct Filler {
    requests: Sender<u32>,
    filled: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Filler {
    fn new(name: &str, ids: Vec<EventId>) -> Self {
        let (requests, received) = mpsc::channel::<u32>();
        let (done, filled) = mpsc::channel();
        let name = name.to_owned();
        let thread = thread::spawn(move || {
            tailwatch::register_thread(&name).expect("each filler gets a ring");
            for records in received {
                for id in ids.iter().cycle().take(records as usize / 2) {
                    // Durations vary, as those of real work do.
                    let _span = measure(*id);
                    for n in 0..id.get() % 7 {
                        core::hint::black_box(n);
                    }
                }
                done.send(()).expect("the bench waits for the filler");
            }
        });
        Self { requests, filled, thread }
    }
}

/// Returns `count` events. Their names are leaked; there are few.
pub(crate) fn events(count: u16) -> Vec<EventInfo> {
    let name = |id: EventId| format!("event_{id}").leak();
    (1..=count).filter_map(EventId::new).map(|id| EventInfo::new(id, name(id))).collect()
}

/// When the drain publishes reports.
#[derive(Clone, Copy, PartialEq)]
enum Reports {
    /// One in each pass, so that its results can be queried at once.
    EachPass,
    /// At most every 10 ms, as in the drain's own thread.
    Paced,
}

/// Returns the nanoseconds per record. All rings are filled, then drained in one pass.
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
            filler.requests.send(PENDING)?;
            filler.filled.recv()?;
        }
        let start = Instant::now();
        match reports {
            Reports::EachPass => collector.flush(),
            Reports::Paced => drop(collector.drain()),
        }
        let elapsed: Duration = start.elapsed();
        if round > 0 {
            costs.push(elapsed.as_secs_f64() * 1e9 / (f64::from(PENDING) * f64::from(rings)));
        }
    }
    for Filler { requests, thread, .. } in fillers {
        drop(requests);
        thread.join().map_err(|_| "a filler panicked")?;
    }
    collector.stop();
    let health = collector.health();
    assert_eq!((health.overwritten, health.unregistered), (0, 0), "records were lost: {health:?}");
    if reports == Reports::EachPass {
        return Ok(figure(costs));
    }
    // A mean, because the cost of a report is spread over all passes, and only a few publish one.
    #[expect(clippy::cast_precision_loss, reason = "there are few rounds")]
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    Ok(Figure { median: mean, ..figure(costs) })
}

/// Runs the bench and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    let rounds = if smoke { 5 } else { 301 };
    println!("{:<38} {:>9} {:>9} {:>9}", "ns per record", "median", "min", "max");
    for (reports, suffix) in [(Reports::EachPass, ""), (Reports::Paced, "/paced")] {
        for (events, rings, target) in CASES {
            let Figure { median, min, max } = time(events, rings, reports, rounds)?;
            let verdict = match target {
                Some(target) if median <= target => format!(" pass: at most {target}"),
                Some(target) => format!(" miss: more than {target}"),
                None => String::new(),
            };
            let name = format!("drain/{events}_events/{rings}_rings{suffix}");
            println!("{name:<38} {median:>9.2} {min:>9.2} {max:>9.2}{verdict}");
        }
    }
    println!(
        "\n{rounds} passes per row, each over {PENDING} records per ring. Every pass publishes a \
         report; in the /paced rows\na report is published at most every 10 ms, as in the drain's \
         own thread, and the median column has the\nmean. The difference between a row and its \
         /paced row is the report: four summaries per event, for the\nrecords of one pass or of \
         10 ms."
    );
    Ok(())
}
