//! Prints every record as it is delivered, and how STARTs and ENDs pair. This helps to find out
//! where a number comes from.
//!
//! `cargo run --release --example inspect`

use core::error::Error;
use std::collections::HashMap;

use tailwatch::{
    Collector, Delivery, EventId, Kind, Outcome, Trading, measure, measure_tagged, record_end,
    record_start_tagged,
};

/// The tags of STARTs without an END, by event and start tick.
///
/// STARTs and ENDs pair by these two, as in the collector: an END has its duration, so its tick
/// minus its duration is the tick of its START.
#[derive(Default)]
struct OpenSpans(HashMap<(u16, u64), u64>);

impl OpenSpans {
    fn print(&mut self, delivery: &Delivery<'_>) {
        let record = delivery.record;
        let id = delivery.id.map_or(0, EventId::get);
        let text = match (delivery.kind, delivery.duration_ns_or_value) {
            (Kind::Start, _) => {
                self.0.insert((id, record.ticks()), record.payload());
                String::new()
            }
            (Kind::Forget, _) => match self.0.remove(&(id, record.ticks())) {
                Some(tag) => format!("closes the START with tag {tag}"),
                None => "closes a START that has not been seen".to_owned(),
            },
            (kind, Some(nanos)) if kind.outcome().is_some() => {
                match self.0.remove(&(id, record.ticks() - record.payload())) {
                    Some(tag) => format!("{nanos} ns, pairs with the START with tag {tag}"),
                    // Rings are drained one after another, so the START may be in a ring that is
                    // drained later.
                    None => format!("{nanos} ns, its START has not been seen yet"),
                }
            }
            (_, number) => number.map_or_else(String::new, |number| number.to_string()),
        };
        println!(
            "{:<18} {:<13} {:<8} {text}",
            delivery.event,
            delivery.kind.to_string(),
            delivery.thread
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut open = OpenSpans::default();
    let collector = Collector::builder().observer(move |delivery| open.print(delivery)).start()?;
    collector.install()?;
    tailwatch::register_thread("main")?;

    {
        let _handling = measure(Trading::EventBusHandle);
        // Two overlapping spans of the same event. Pairing by event alone would mix them up.
        let first = record_start_tagged(Trading::OrderFill, 1);
        let second = record_start_tagged(Trading::OrderFill, 2);
        record_end(first, Outcome::Ok);
        collector.flush(); // so that the START of the second is drained before its END
        let fills = std::thread::Builder::new().name("fills".to_owned());
        fills
            .spawn(move || record_end(second, Outcome::Error))?
            .join()
            .map_err(|_| "the thread panicked")?;
        measure_tagged(Trading::OrderPlacement, 3).discard();
    }

    collector.stop();
    let health = collector.health();
    println!(
        "{} records delivered, {} overwritten, {} orphans",
        health.delivered, health.overwritten, health.orphans
    );
    Ok(())
}
