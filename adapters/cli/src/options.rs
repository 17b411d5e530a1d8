//! The command line.

use core::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The longest time for which `report` reads, and the longest window: a day.
const LONGEST: Duration = Duration::from_hours(24);

/// Shows the latencies of programs that share their rings, and what they did last
///
/// A program shares its rings if `TAILWATCH_SHARE=bot` is in its environment. It is then found by
/// this name, by the number of its process, or by the path of its file.
#[derive(Debug, Parser)]
#[command(name = "tailwatch", version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what is shared on this machine, by whom, and whether the programs are alive
    List(List),
    /// Show percentiles, limits and open spans, computed from the rings
    Report(Report),
    /// Show the newest records of every thread in the order of time
    Dump(Dump),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Write JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The name of a program, the number of its process, or the path of a file
    #[arg(value_name = "NAME|PID|FILE")]
    pub(crate) program: String,

    /// Write the report as JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// A window, such as 10s; may be given several times [default: the windows of the program]
    #[arg(long = "window", value_name = "LENGTH", value_parser = duration)]
    pub(crate) windows: Vec<Duration>,

    /// Read for so many seconds more before the report, or until the program has stopped
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(crate) seconds: u64,

    /// Begin at the present instead of with the oldest records that are there
    #[arg(long)]
    pub(crate) from_now: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// The path of a file, the name of a program, or the number of its process
    #[arg(value_name = "FILE|NAME|PID")]
    pub(crate) program: String,

    /// Only the newest N of the records that the other options select
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<usize>,

    /// Only records with this tag, and the ends of spans that began with it
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<u64>,

    /// Only records of this event, by its name with or without labels
    #[arg(long, value_name = "EVENT")]
    pub(crate) event: Option<String>,

    /// Only records of this thread, by its name or number
    #[arg(long, value_name = "THREAD")]
    pub(crate) thread: Option<String>,

    /// Also records from before a gap: a thread that has moved to a larger ring and has overwritten
    /// records there may have left older ones behind
    #[arg(long)]
    pub(crate) all: bool,

    /// The format of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    Text,
    /// The columns of a trace
    Csv,
    /// One object with everything that the file holds
    Json,
}

/// Parses the length of a window.
fn duration(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; a length is a number and a unit, such as 10s"))?;
    if length < Duration::from_millis(100) || length > LONGEST {
        return Err("a window has to be 100ms to 24h long".to_owned());
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declaration_is_consistent() {
        <Options as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_window_has_a_unit_and_a_sensible_length() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        for wrong in ["10", "", "s", "-1s", "1ms", "2days"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
