//! Prints every record that is delivered, and how STARTs and ENDs pair. This helps to find out
//! where a number comes from.
//!
//! `cargo run --release --example inspect`

use core::error::Error;
use std::{collections::HashMap, sync::mpsc};

use tailwatch::{
    Collector, Delivery, EventId, Kind, Outcome, Trading, measure, measure_tagged, record_end,
    record_start_tagged,
};
use tailwatch_examples::console::print_line;

/// The tags of STARTs without an END, by event and start tick.
///
/// STARTs and ENDs pair by these two, as in the collector: an END has its duration, so its tick
/// minus its duration is the tick of its START.
#[derive(Default)]
struct OpenSpans(HashMap<(u16, u64), u64>);

impl OpenSpans {
    /// Returns the line about a record.
    fn line(&mut self, delivery: &Delivery<'_>) -> String {
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
        let (event, kind, thread) = (delivery.event, delivery.kind.to_string(), delivery.thread);
        format!("{event:<18} {kind:<13} {thread:<8} {text}")
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut open = OpenSpans::default();
    // An observer runs in the thread that drains and cannot return an error, so it hands its lines
    // over.
    let (line, lines) = mpsc::channel();
    let collector = Collector::builder()
        .observer(move |delivery| drop(line.send(open.line(delivery))))
        .start()?;
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
    for line in lines.try_iter() {
        print_line(line)?;
    }
    let health = collector.health();
    print_line(format_args!(
        "{} records delivered, {} overwritten, {} orphans",
        health.delivered, health.overwritten, health.orphans
    ))?;
    Ok(())
}
