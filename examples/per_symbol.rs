//! One event for each symbol, made when the program runs: some at the start, and one for a symbol
//! that is listed later.
//!
//! ```sh
//! cargo run --release --example per_symbol
//! ```

use core::error::Error;

use tailwatch::{Collector, Family, measure};
use tailwatch_examples::console::print_line;

fn main() -> Result<(), Box<dyn Error>> {
    let collector = Collector::builder().family("order_placement", "symbol").start()?;
    collector.install()?;
    let placements = collector.family("order_placement", "symbol")?;

    // An event is looked up once for each symbol, where the symbol is set up.
    let mut symbols: Vec<Symbol> =
        ["BTCUSDT", "ETHUSDT"].map(|name| Symbol::new(name, &placements)).into();
    for round in 0..100 {
        if round == 50 {
            symbols.push(Symbol::new("NEWUSDT", &placements)); // listed today
        }
        for symbol in &symbols {
            symbol.place_order();
        }
    }
    collector.stop();

    let report = collector.report();
    for event in report.events.iter().filter(|event| event.base_name == "order_placement") {
        let symbol = event.labels.value("symbol").unwrap_or_default();
        print_line(format_args!("{symbol}: {} orders", event.outcomes.ok))?;
    }
    let sum = report.family("order_placement").ok_or("the family has no events")?;
    let total = sum.total.ok_or("no order was placed")?.summary;
    let (count, p99) = (total.count, total.p99);
    print_line(format_args!("all: {count} orders, p99 {p99} ns"))?;
    Ok(())
}

/// What the program keeps of a symbol.
struct Symbol {
    /// The event of placing an order for it.
    placement: tailwatch::EventId,
}

impl Symbol {
    fn new(name: &str, placements: &Family) -> Self {
        Self { placement: placements.event(name) }
    }

    fn place_order(&self) {
        // No look-up and no text: the event is a number.
        let _span = measure(self.placement);
    }
}
