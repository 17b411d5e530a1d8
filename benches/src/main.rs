//! What tailwatch costs, as ratios to the bare clock within one run: `cargo run --release -p tailwatch-benches -- versus`.

mod drain;
mod floor;
mod guest;
mod interval;
mod jitter;
mod memory;
mod page;
mod peers;
mod plot;
mod processor;
mod progress;
mod query;
mod rate;
mod realistic;
mod rounds;
mod scale;
mod series;
mod tokio;
mod verdict;
mod versus;

use core::error::Error;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about)]
struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Args)]
struct Effort {
    /// A few short rounds, to see that it runs: the figures mean little.
    #[arg(long)]
    smoke: bool,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Nanoseconds a span in each form and of each peer, beside the floor of its clock mode.
    Versus {
        #[command(flatten)]
        effort: Effort,
        /// Writes what is printed to this file, too.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Nanoseconds a record, from the ring to quantiles that can be asked for.
    Drain(Effort),
    /// Processor time of the drain a record, by how many come.
    Rate {
        #[command(flatten)]
        effort: Effort,
        /// Writes the line of a plot to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// What asking costs, published and ad hoc, after few spans and after many.
    Query {
        #[command(flatten)]
        effort: Effort,
        /// Writes the lines of a plot to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// How much more two threads record than one, with rings of each size.
    Scale(Effort),
    /// Memory that is resident after a million, a hundred million and a billion spans.
    Memory(Effort),
    /// How much the cost of a single record varies, beside that of two bare readings of the counter.
    Jitter(Effort),
    /// What the measuring takes from a program that needs the cache for itself, with rings of each size.
    Guest(Effort),
    /// What the measuring adds to the processing of candles that takes 10 ms, and 10 µs.
    Realistic(Effort),
    /// What measuring takes from tokio's tasks and their workers, and whether all of a crowd of tasks is counted.
    Tokio(Effort),
    /// All of them, each in a process of its own.
    All {
        #[command(flatten)]
        effort: Effort,
        /// Writes `BENCHMARKS.md` and its plots into this directory.
        #[arg(long, value_name = "DIRECTORY")]
        page: Option<PathBuf>,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    match Options::parse().bench {
        Bench::Versus { effort: Effort { smoke }, json } => versus::run(smoke, json.as_deref()),
        Bench::Drain(Effort { smoke }) => drain::run(smoke),
        Bench::Rate { effort: Effort { smoke }, json } => rate::run(smoke, json.as_deref()),
        Bench::Query { effort: Effort { smoke }, json } => query::run(smoke, json.as_deref()),
        Bench::Scale(Effort { smoke }) => scale::run(smoke),
        Bench::Memory(Effort { smoke }) => memory::run(smoke),
        Bench::Jitter(Effort { smoke }) => jitter::run(smoke),
        Bench::Guest(Effort { smoke }) => guest::run(smoke),
        Bench::Realistic(Effort { smoke }) => realistic::run(smoke),
        Bench::Tokio(Effort { smoke }) => tokio::run(smoke),
        Bench::All { effort: Effort { smoke }, page } => page::run(smoke, page.as_deref()),
    }
}
