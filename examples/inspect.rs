//! What is recorded, record by record, and how STARTs and ENDs pair: for who wonders where a number comes from.
//!
//! `cargo run --release --example inspect`

use core::error::Error;
use std::collections::HashMap;

use tailwatch::{
    Collector, Delivery, EventId, Kind, Outcome, Trading, measure, measure_tagged, record_end,
    record_start_tagged,
};

/// Pairs by event and start tick, as the collector does: an END carries its own duration, so its START is where it must have been.
#[derive(Default)]
struct Pairs(HashMap<(u16, u64), u64>);

impl Pairs {
    fn look_at(&mut self, delivery: &Delivery<'_>) {
        let record = delivery.record;
        let id = delivery.id.map_or(0, EventId::get);
        let said = match (delivery.kind, delivery.duration_ns_or_value) {
            (Kind::Start, _) => {
                self.0.insert((id, record.ticks()), record.payload());
                String::new()
            }
            (Kind::Forget, _) => match self.0.remove(&(id, record.ticks())) {
                Some(tag) => format!("closes the START with tag {tag}"),
                None => "closes a START that was not seen".to_owned(),
            },
            (kind, Some(nanos)) if kind.outcome().is_some() => {
                match self.0.remove(&(id, record.ticks() - record.payload())) {
                    Some(tag) => format!("{nanos} ns, pairs with the START with tag {tag}"),
                    // Rings are drained one after the other: it may be in one whose turn is still to come.
                    None => format!("{nanos} ns, its START was not seen yet"),
                }
            }
            (_, number) => number.map_or_else(String::new, |number| number.to_string()),
        };
        println!(
            "{:<18} {:<13} {:<8} {said}",
            delivery.event,
            delivery.kind.to_string(),
            delivery.thread
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut pairs = Pairs::default();
    let collector =
        Collector::builder().observer(move |delivery| pairs.look_at(delivery)).start()?;
    collector.install()?;
    tailwatch::register_thread("main")?;

    {
        let _handling = measure(Trading::EventBusHandle);
        // Two spans of one event that overlap: by event alone they would be paired wrongly.
        let first = record_start_tagged(Trading::OrderFill, 1);
        let second = record_start_tagged(Trading::OrderFill, 2);
        record_end(first, Outcome::Ok);
        collector.flush(); // the START of the second comes before its END then
        let sent = std::thread::Builder::new().name("fills".to_owned());
        sent.spawn(move || record_end(second, Outcome::Error))?
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
