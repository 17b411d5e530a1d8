//! The smallest program: a collector, some spans, and a query.
//!
//! `cargo run --release --example quickstart`

use core::{error::Error, hint::black_box, time::Duration};

use tailwatch::{Collector, Trading, measure};
use tailwatch_examples::console::print_line;

fn main() -> Result<(), Box<dyn Error>> {
    let collector = Collector::builder().start()?;
    collector.install()?; // from now on `measure` records into it, on every thread

    for order in 0..1_000_u64 {
        let _span = measure(Trading::OrderPlacement); // ends with the loop body
        black_box((0..order).sum::<u64>());
    }

    collector.stop(); // use `flush` if the program goes on
    let minute = collector
        .stats(Trading::OrderPlacement, Duration::from_mins(1))?
        .ok_or("no order was measured")?;
    print_line(format_args!(
        "{} orders: p50 {} ns, p99 {} ns, max {} ns",
        minute.count, minute.p50, minute.p99, minute.max
    ))?;
    Ok(())
}
