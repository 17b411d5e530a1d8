//! Two libraries that measure themselves and know nothing of each other, and a program that
//! collects what both measure.
//!
//! The libraries depend on `tailwatch-record`, which builds in a second or two and needs no
//! collector. They state no numbers for their events, so their events cannot collide.
//!
//! ```sh
//! cargo run --release --example library_and_program
//! ```

use core::error::Error;

use tailwatch::Collector;
use tailwatch_example_feed_parser::{FeedParser, parse};
use tailwatch_example_venue_client::{Venue, send};
use tailwatch_examples::console::print_line;

fn main() -> Result<(), Box<dyn Error>> {
    // The program lists only one of the libraries.
    let collector = Collector::builder().events(FeedParser::ALL).start()?;
    collector.install()?;
    trade();
    collector.flush();
    // What is not listed is counted, and is never called OK.
    for (set, records) in collector.health().unlisted {
        print_line(format_args!("{records} records of {set} are not collected"))?;
    }
    assert!(collector.breached(Venue::SendOrder));
    drop(collector);

    let collector = Collector::builder().events(FeedParser::ALL).events(Venue::ALL).start()?;
    collector.install()?;
    trade();
    collector.flush();
    assert!(!collector.breached(Venue::SendOrder));
    print_line(format_args!("{}", collector.report()))?;
    Ok(())
}

/// The work of the program: an order for each line that can be parsed.
fn trade() {
    for order in 0..1_000 {
        let line = if order % 10 == 0 { "nonsense".to_owned() } else { format!("BTCUSDT {order}") };
        if let Some((_, price)) = parse(&line) {
            send(order, price);
        }
    }
}
