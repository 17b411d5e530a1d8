//! What tailwatch costs, as ratios to the bare clock within one run: `cargo run --release -p tailwatch-benches -- versus`.

mod drain;
mod floor;
mod guest;
mod interval;
mod jitter;
mod memory;
mod peers;
mod progress;
mod query;
mod realistic;
mod rounds;
mod scale;
mod verdict;
mod versus;

use core::error::Error;
use std::{env, path::PathBuf, process::Command};

use clap::{Args, CommandFactory, Parser, Subcommand};

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
    /// What asking costs, published and ad hoc, after few spans and after many.
    Query(Effort),
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
    /// All of them, each in a process of its own.
    All(Effort),
}

fn main() -> Result<(), Box<dyn Error>> {
    match Options::parse().bench {
        Bench::Versus { effort: Effort { smoke }, json } => versus::run(smoke, json.as_deref()),
        Bench::Drain(Effort { smoke }) => drain::run(smoke),
        Bench::Query(Effort { smoke }) => query::run(smoke),
        Bench::Scale(Effort { smoke }) => scale::run(smoke),
        Bench::Memory(Effort { smoke }) => memory::run(smoke),
        Bench::Jitter(Effort { smoke }) => jitter::run(smoke),
        Bench::Guest(Effort { smoke }) => guest::run(smoke),
        Bench::Realistic(Effort { smoke }) => realistic::run(smoke),
        Bench::All(Effort { smoke }) => all(smoke),
    }
}

/// Runs every other subcommand, in processes of their own: there is one installed collector in each, and what the one before
/// left in memory would count as the next one's.
fn all(smoke: bool) -> Result<(), Box<dyn Error>> {
    let command = Options::command();
    for name in command.get_subcommands().map(clap::Command::get_name).filter(|name| *name != "all") {
        println!("\n== {name}");
        let status = Command::new(env::current_exe()?).arg(name).args(smoke.then_some("--smoke")).status()?;
        if !status.success() {
            return Err(format!("{name}: {status}").into());
        }
    }
    Ok(())
}
