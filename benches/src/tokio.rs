//! What measuring takes from tokio's tasks: from a future, from a worker that the drain shares, and whether all of a crowd is counted.

mod crowd;
mod hold;
mod polls;

use core::error::Error;

use tailwatch::{Builder, Collector};

/// Times everything and prints the tables.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    polls::run(if smoke { 3 } else { 301 })?;
    hold::run(if smoke { 3 } else { 21 })?;
    crowd::run(if smoke { 10_000 } else { 100_000 })
}

/// A collector that a task drains.
fn builder() -> Builder {
    Collector::builder().ignore_environment().manual_drain()
}
