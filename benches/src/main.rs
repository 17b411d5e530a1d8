//! Benchmarks of tailwatch, as ratios to a bare clock reading within the same run: `cargo run
//! --release -p tailwatch-benches -- versus`.

mod burst;
mod drain;
mod facade;
mod floor;
mod guest;
mod idle;
mod interval;
mod jitter;
mod many;
mod memory;
mod overhead;
mod pace;
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
mod shared;
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
    /// Run a few short rounds, to check that the bench works; the figures mean little
    #[arg(long)]
    smoke: bool,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Nanoseconds per span, for each form and each peer, compared with the floor of its clock mode
    Versus {
        #[command(flatten)]
        effort: Effort,
        /// Also write the results to this file, as JSON
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Nanoseconds per record, from the ring to quantiles that can be queried
    Drain(Effort),
    /// The drain's processor time per record, at different record rates
    Rate {
        #[command(flatten)]
        effort: Effort,
        /// Write the data of the plot to this file, as JSON
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// The cost of queries, published and ad hoc, after few spans and after many
    Query {
        #[command(flatten)]
        effort: Effort,
        /// Write the data of the plot to this file, as JSON
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// How many more spans two threads record than one, for several ring sizes
    Scale(Effort),
    /// Resident memory after a million, a hundred million and a billion spans
    Memory(Effort),
    /// Losses and memory with default settings: in bursts, with many threads, and with many events
    Burst {
        #[command(flatten)]
        effort: Effort,
        /// Run only this row, in this process, and write its outcome as JSON
        #[arg(long, hide = true)]
        row: Option<burst::Row>,
    },
    /// Processor time, losses and memory while many events happen
    Many {
        #[command(flatten)]
        effort: Effort,
        /// Run only this row, in this process, and write its outcome as JSON
        #[arg(long, hide = true)]
        row: Option<many::Row>,
    },
    /// The processor time of a collector while little or nothing is recorded
    Idle(Effort),
    /// What measuring costs a saturated core, compared with what the collector reports
    Overhead {
        #[command(flatten)]
        effort: Effort,
        /// Run only this row, in this process, and write its outcomes as JSON
        #[arg(long, hide = true)]
        row: Option<overhead::Row>,
    },
    /// The variation of a single record's cost, compared with two bare readings of the counter
    Jitter(Effort),
    /// A span in a ring of a shared file, compared with one in a ring of the process
    Shared(Effort),
    /// The cost of measuring to a program that needs the whole cache, for several ring sizes
    Guest(Effort),
    /// The cost of measuring on top of candle processing that takes 10 ms, and 10 µs
    Realistic(Effort),
    /// The cost of measuring tokio tasks: to a future, and to the worker that the drain shares; and
    /// whether every one of many tasks is counted
    Tokio(Effort),
    /// What a library pays for being measurable: packages, and the time to build them
    Facade(Effort),
    /// All benches, each in a process of its own
    All {
        #[command(flatten)]
        effort: Effort,
        /// Write `BENCHMARKS.md` and its plots into this directory
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
        Bench::Burst { effort: Effort { smoke }, row: Some(row) } => burst::run_row(row, smoke),
        Bench::Burst { effort: Effort { smoke }, row: None } => burst::run(smoke),
        Bench::Many { effort: Effort { smoke }, row: Some(row) } => many::run_row(row, smoke),
        Bench::Many { effort: Effort { smoke }, row: None } => many::run(smoke),
        Bench::Idle(Effort { smoke }) => idle::run(smoke),
        Bench::Overhead { effort: Effort { smoke }, row: Some(row) } => {
            overhead::run_row(row, smoke)
        }
        Bench::Overhead { effort: Effort { smoke }, row: None } => overhead::run(smoke),
        Bench::Jitter(Effort { smoke }) => jitter::run(smoke),
        Bench::Shared(Effort { smoke }) => shared::run(smoke),
        Bench::Guest(Effort { smoke }) => guest::run(smoke),
        Bench::Realistic(Effort { smoke }) => realistic::run(smoke),
        Bench::Tokio(Effort { smoke }) => tokio::run(smoke),
        Bench::Facade(Effort { smoke }) => facade::run(smoke),
        Bench::All { effort: Effort { smoke }, page } => page::run(smoke, page.as_deref()),
    }
}
