//! Events of your own, with names, units, limits, an expected interval, and sampling of a frequent
//! one.

use core::{error::Error, time::Duration};
use std::io;

use tailwatch::{
    Collector, Quantile, Sampling, Threshold, Unit, events, measure, record_duration, record_value,
};
use tailwatch_examples::console::print_line;

events! {
    /// The events of a gateway.
    pub enum Gateway {
        /// Decoding one packet.
        Decode = 20,
        /// An order's round trip to the venue.
        RoundTrip = 21 {
            limits: &[Threshold::duration(Quantile::P99, Duration::from_millis(5))],
            max_silence: Some(Duration::from_secs(30)),
        },
        /// A heartbeat that is due every 10 ms. A late one has delayed the next ones.
        Heartbeat = 22 { expected_interval: Some(Duration::from_millis(10)) },
        /// The number of waiting packets: a plain number, not a duration.
        Backlog = 23 { unit: Unit::One, name: "packets_waiting" },
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let sampling = Sampling::RateLimit { above: 100_000.0, sample: 0.1 };
    let collector =
        Collector::builder().events(Gateway::ALL).sampling(Gateway::Decode, sampling).start()?;
    collector.install()?;

    for packet in 0..1_000 {
        drop(measure(Gateway::Decode));
        record_value(Gateway::Backlog, packet % 17);
    }
    for _ in 0..99 {
        record_duration(Gateway::Heartbeat, Duration::from_micros(80));
    }
    record_duration(Gateway::Heartbeat, Duration::from_millis(500)); // it hung once
    record_duration(Gateway::RoundTrip, Duration::from_millis(7));

    collector.stop();
    let report = collector.report();
    print_line(report.table().for_terminal(&io::stdout()))?;
    let heartbeat = report.event(Gateway::Heartbeat).and_then(|event| event.total.as_ref());
    let heartbeat = heartbeat.ok_or("no heartbeat was recorded")?;
    let corrected = heartbeat.corrected.ok_or("heartbeats have no expected interval")?;
    print_line(format_args!(
        "heartbeat p95: {} ns as measured, {} ns corrected for coordinated omission",
        heartbeat.summary.p95, corrected.p95
    ))?;
    Ok(())
}
