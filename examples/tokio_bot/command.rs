//! The command line: the options of `trading_bot`, and the runtime that everything runs on.

use std::io;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::options::Options;

/// The largest accepted number of workers.
const MOST_WORKERS: u64 = 64;

/// A trading bot of tokio tasks, measured by tailwatch: market data in over a WebSocket, orders out
/// over TCP, latencies in a table
#[derive(Debug, Clone, Parser)]
#[command(name = "tokio_bot", version)]
pub(crate) struct Command {
    /// Number of worker threads of the runtime; 0 or 1 runs everything on the main thread
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(..=MOST_WORKERS))]
    workers: u64,

    #[command(flatten)]
    pub(crate) options: Options,
}

impl Command {
    /// Returns the runtime that the options ask for.
    pub(crate) fn runtime(&self) -> io::Result<Runtime> {
        let mut builder = if self.workers() < 2 {
            Builder::new_current_thread()
        } else {
            Builder::new_multi_thread()
        };
        if self.workers() >= 2 {
            builder.worker_threads(self.workers()).thread_name("worker");
        }
        builder.enable_all().build()
    }

    fn workers(&self) -> usize {
        usize::try_from(self.workers).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::RuntimeFlavor;

    use super::*;

    #[test]
    fn the_declaration_is_consistent() {
        <Command as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn one_worker_is_the_current_thread() {
        for (workers, flavor) in [
            ("0", RuntimeFlavor::CurrentThread),
            ("1", RuntimeFlavor::CurrentThread),
            ("3", RuntimeFlavor::MultiThread),
        ] {
            let command = Command::try_parse_from(["tokio_bot", "--workers", workers]).unwrap();
            let runtime = command.runtime().unwrap();
            assert_eq!(runtime.handle().runtime_flavor(), flavor, "{workers}");
        }
        for wrong in ["-1", "65", "two"] {
            assert!(Command::try_parse_from(["tokio_bot", &format!("--workers={wrong}")]).is_err());
        }
    }
}
