//! How the bot sets the library up; the measuring itself stands where the work is done.

use core::{error::Error, time::Duration};

use tailwatch::Collector;

use crate::{options::Options, trace::Trace};

/// Threads that record, each with a ring of its own: market data, strategy, orders, fills, hiccup.
pub(crate) const RECORDING_THREADS: usize = 5;

/// At full speed market data records three times a message, some 10^6 times a second: this is a quarter of a second of
/// it, time enough for a drain that shares its core with everybody else.
pub(crate) const RING_CAPACITY: usize = 262_144;

/// The longest rest of the drain: short beside what a ring holds.
const LONGEST_REST: Duration = Duration::from_millis(5);

/// Starts a collector as the options ask for, and makes it the one that every thread records into.
pub(crate) fn start(options: &Options, trace: Option<Trace>) -> Result<Collector, Box<dyn Error>> {
    let mut builder =
        Collector::builder().ring_capacity(RING_CAPACITY).rings(RECORDING_THREADS).max_period(LONGEST_REST);
    if let Some(core) = options.pin_drain {
        builder = builder.drain_core(core);
    }
    if let Some(trace) = trace {
        builder = builder.observer(move |delivery| trace.record(delivery));
    }
    let collector = builder.start()?;
    collector.install()?;
    Ok(collector)
}
