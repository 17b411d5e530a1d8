//! The least there is to it: a collector, some spans, a question.
//!
//! `cargo run --release --example quickstart`

use core::{error::Error, hint::black_box, time::Duration};

use tailwatch::{Collector, Trading, measure};

fn main() -> Result<(), Box<dyn Error>> {
    let collector = Collector::builder().start()?;
    collector.install()?; // `measure` records into it now, on every thread

    for order in 0..1_000_u64 {
        let _span = measure(Trading::OrderPlacement); // ends with the loop's body
        black_box((0..order).sum::<u64>());
    }

    collector.stop(); // or `flush`, while the program goes on
    let minute = collector
        .stats(Trading::OrderPlacement, Duration::from_mins(1))?
        .ok_or("nothing happened")?;
    println!(
        "{} orders: p50 {} ns, p99 {} ns, max {} ns",
        minute.count, minute.p50, minute.p99, minute.max
    );
    Ok(())
}
