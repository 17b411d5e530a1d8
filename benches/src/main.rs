//! What tailwatch costs, as ratios to the bare clock within one run: `cargo run --release -p tailwatch-benches -- versus`.

mod drain;
mod floor;
mod rounds;
mod versus;

use core::error::Error;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about)]
struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Nanoseconds a span in each form, beside the floor of its clock mode.
    Versus {
        /// A few short rounds, to see that it runs: the figures mean little.
        #[arg(long)]
        smoke: bool,
    },
    /// Nanoseconds a record, from the ring to quantiles that can be asked for.
    Drain {
        /// A few short rounds, to see that it runs: the figures mean little.
        #[arg(long)]
        smoke: bool,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    match Options::parse().bench {
        Bench::Versus { smoke } => versus::run(smoke),
        Bench::Drain { smoke } => drain::run(smoke),
    }
}
