//! The cost of a record to the drain at its own pace, at different record rates: the fixed cost of
//! a pass is shared by few records or by many.

use core::{error::Error, time::Duration};
use std::{
    path::Path,
    sync::mpsc::{self, Sender, TryRecvError},
    thread,
    time::Instant,
};

use tailwatch::{Collector, EventId, Trading, Unit, measure};

use crate::{
    processor, progress,
    series::{self, Series},
};

/// Spans per second.
const RATES: [u32; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Spans come in bunches; the number of bunches per second.
const BUNCHES: u32 = 10_000;

/// Records spans of all events in turn at `rate` per second for `length`, then sends how long it
/// really took.
#[expect(clippy::needless_pass_by_value, reason = "dropping it signals the end of the thread")]
fn produce(rate: u32, length: Duration, done: Sender<Duration>) {
    tailwatch::register_thread("producer").expect("the only thread gets a ring");
    let timed = Trading::ALL.iter().filter(|info| info.unit == Unit::Time);
    let ids: Vec<EventId> = timed.map(|info| info.id).collect();
    let bunches = BUNCHES.min(rate);
    let mut events = ids.iter().cycle();
    let start = Instant::now();
    for bunch in 1.. {
        for id in events.by_ref().take((rate / bunches) as usize) {
            let _span = measure(*id);
        }
        let next = start + Duration::from_secs(1) * bunch / bunches;
        let now = Instant::now();
        if now >= start + length {
            break;
        }
        if let Some(rest) = next.checked_duration_since(now) {
            thread::sleep(rest);
        }
    }
    done.send(start.elapsed()).expect("the bench waits for it");
}

/// The records at one rate, and their cost.
struct Cost {
    /// The records per second that were really produced.
    rate: f64,
    overwritten: u64,
    ns_per_record: f64,
}

/// Measures the drain's processor time per record while spans come at `rate` per second.
fn time(rate: u32, length: Duration) -> Result<Cost, Box<dyn Error>> {
    let collector = Collector::builder().rings(1).manual_drain().start()?;
    collector.install()?;
    let (done, is_done) = mpsc::channel();
    let before = processor::thread_time();
    let elapsed = thread::scope(|scope| {
        scope.spawn(|| produce(rate, length, done));
        // The same loop as in the drain's own thread.
        loop {
            match is_done.try_recv() {
                Err(TryRecvError::Empty) => thread::sleep(collector.drain()),
                result => return result,
            }
        }
    })?;
    collector.stop();
    let took = processor::thread_time().saturating_sub(before);
    let health = collector.health();
    #[expect(clippy::cast_precision_loss, reason = "a figure is printed with a few digits")]
    let [produced, delivered] = [health.produced, health.delivered].map(|records| records as f64);
    Ok(Cost {
        rate: produced / elapsed.as_secs_f64(),
        overwritten: health.overwritten,
        ns_per_record: took.as_secs_f64() * 1e9 / delivered,
    })
}

/// Runs the bench, prints the table and writes the data of the plot.
pub(crate) fn run(smoke: bool, json: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let length = if smoke { Duration::from_millis(50) } else { Duration::from_secs(5) };
    let rates = progress::bar("rates", RATES.len() as u64).wrap_iter(RATES.iter());
    let costs = rates.map(|rate| time(*rate, length)).collect::<Result<Vec<_>, _>>()?;
    println!(
        "{:>14} {:>16} {:>14} {:>20}",
        "spans / s", "records / s", "overwritten", "drain, ns per record"
    );
    for (spans, Cost { rate, overwritten, ns_per_record }) in RATES.iter().zip(&costs) {
        println!("{spans:>14} {rate:>16.0} {overwritten:>14} {ns_per_record:>20.1}");
    }
    println!(
        "\nprocessor time of the draining thread, which sleeps between passes; {length:?} per \
         rate; a ring of 16,384 records at first, which grows"
    );
    if let Some(path) = json {
        let points = costs.iter().map(|cost| (cost.rate, cost.ns_per_record)).collect();
        series::write(path, &[Series { name: "drain".to_owned(), points }])?;
    }
    Ok(())
}
