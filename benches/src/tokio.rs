//! The cost of measuring tokio tasks: to a future, and to the worker that the drain shares; and
//! whether every one of many tasks is counted.

mod crowd;
mod hold;
mod polls;

use core::error::Error;

use tailwatch::{Builder, Collector};

/// Runs the benches and prints the tables.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    polls::run(if smoke { 3 } else { 301 })?;
    hold::run(if smoke { 3 } else { 21 })?;
    crowd::run(if smoke { 10_000 } else { 100_000 })
}

/// Returns a builder of a collector that a task drains.
fn builder() -> Builder {
    Collector::builder().ignore_environment().manual_drain()
}
