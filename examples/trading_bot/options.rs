//! The command line, with the defaults that depend on the source of the messages.
//!
//! Only the text of the options is checked here; [`crate::feed`] and [`crate::output`] open the
//! files.

use core::{str::FromStr, time::Duration};
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::stall::Stall;

/// The length of a run on generated messages, which never end, unless `--seconds` is given.
const GENERATED_SECONDS: u64 = 15;

/// The factor by which generated messages are faster than real time unless `--speed` is given. It
/// gives enough messages for a full table.
const GENERATED_FACTOR: f64 = 10.0;

/// The largest number of seconds that the options accept, one year: far from where adding it to a
/// clock reading overflows.
const LONGEST_SECONDS: u64 = 365 * 24 * 60 * 60;

/// A trading bot measured by tailwatch: market data in over a WebSocket, orders out over TCP,
/// latencies in a table
#[derive(Debug, Clone, Parser)]
#[command(name = "trading_bot", version)]
pub(crate) struct Options {
    /// Replay recorded messages: lines of `<receive time in ns> <JSON>`, plain or gzip [default: a
    /// built-in market]
    #[arg(long, value_name = "FILE")]
    pub(crate) feed: Option<PathBuf>,

    /// Replay speed: `real`, `max`, or a factor such as 10 or 0.5 [default: real with --feed, 10
    /// without]
    #[arg(long, value_name = "real|max|FACTOR")]
    speed: Option<Speed>,

    /// Stop after N seconds [default: the end of the feed with --feed, 15 without]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=LONGEST_SECONDS))]
    seconds: Option<u64>,

    /// Seconds between two tables while the bot runs
    #[arg(long, value_name = "SECS", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(1..=LONGEST_SECONDS))]
    report_every: u64,

    /// Watch the limits in this TOML file instead of those of the preset
    #[arg(long, value_name = "FILE")]
    pub(crate) sla: Option<PathBuf>,

    /// Delay one order while it is placed: `200ms@5` delays the fifth order by 200 ms
    #[arg(long, value_name = "D@N")]
    pub(crate) stall: Option<Stall>,

    /// Write the final report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,

    /// Write every delivered record to this CSV file
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Share the rings under this name with the command `tailwatch`
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) share: Option<String>,

    /// Pin the drain's thread to this core (`trading_bot` only)
    #[arg(long, value_name = "CORE")]
    pub(crate) pin_drain: Option<usize>,
}

impl Options {
    /// Returns the speed of the replay.
    pub(crate) fn speed(&self) -> Speed {
        let default = if self.feed.is_some() { 1.0 } else { GENERATED_FACTOR };
        self.speed.unwrap_or(Speed::Factor(default))
    }

    /// Returns the time after which the run is stopped; `None` runs to the end of the feed.
    pub(crate) fn run_limit(&self) -> Option<Duration> {
        let default = self.feed.is_none().then_some(GENERATED_SECONDS);
        self.seconds.or(default).map(Duration::from_secs)
    }

    /// Returns the time between two tables.
    pub(crate) fn report_every(&self) -> Duration {
        Duration::from_secs(self.report_every)
    }

    /// Whether the JSON report goes to standard output, so that everything else has to go
    /// elsewhere.
    pub(crate) fn json_to_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }
}

/// The speed of a replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// A multiple of the speed at which the messages were received; finite and greater than zero.
    Factor(f64),
    /// As fast as the connection allows.
    Max,
}

/// The error returned for an invalid speed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `real`, `max` or a factor greater than 0, such as 10 or 0.5")]
pub(crate) struct SpeedError;

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Self, SpeedError> {
        match text {
            "real" => Ok(Self::Factor(1.0)),
            "max" => Ok(Self::Max),
            _ => match text.parse::<f64>() {
                Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(Self::Factor(factor)),
                _ => Err(SpeedError),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["trading_bot"], arguments].concat())
    }

    #[test]
    fn the_declaration_is_consistent() {
        <Options as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn defaults_depend_on_the_source() {
        let generated = parse(&[]).expect("valid");
        assert_eq!(generated.speed(), Speed::Factor(10.0));
        assert_eq!(generated.run_limit(), Some(Duration::from_secs(15)));
        assert_eq!(generated.report_every(), Duration::from_secs(5));
        let fed = parse(&["--feed", "x.jsonl"]).expect("valid");
        assert_eq!(fed.speed(), Speed::Factor(1.0));
        assert_eq!(fed.run_limit(), None);
    }

    #[test]
    fn given_options_override_the_defaults() {
        let options = parse(&[
            "--feed",
            "x",
            "--speed",
            "max",
            "--seconds",
            "3",
            "--report-every",
            "1",
            "--json",
            "-",
            "--sla",
            "x.toml",
            "--stall",
            "200ms@5",
            "--pin-drain",
            "1",
        ])
        .expect("valid");
        assert_eq!(options.speed(), Speed::Max);
        assert_eq!(options.run_limit(), Some(Duration::from_secs(3)));
        assert_eq!(options.report_every(), Duration::from_secs(1));
        assert!(options.json_to_stdout());
        assert_eq!(options.sla.as_deref(), Some(Path::new("x.toml")));
        assert_eq!(options.stall, Some(Stall { delay: Duration::from_millis(200), order: 5 }));
        assert_eq!(options.pin_drain, Some(1));
        assert!(!parse(&["--json", "./-"]).expect("valid").json_to_stdout());
    }

    #[test]
    fn invalid_values_are_refused() {
        for arguments in [
            ["--speed", "0"],
            ["--speed", "inf"],
            ["--speed", "NaN"],
            ["--speed", "fast"],
            ["--speed", ""],
            ["--seconds", "0"],
            ["--seconds", "18446744073709551615"],
            ["--report-every", "0"],
            ["--pin-drain", "x"],
            ["--stall", "200ms"],
            ["--stall", "@5"],
            ["--stall", "0ms@3"],
            ["--stall", "5@3"],
            ["--stall", "1s@0"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
        assert!(parse(&["--stall", "1s@1", "--stall", "1s@2"]).is_err());
        assert!(parse(&["--speed=-1"]).is_err());
    }

    #[test]
    fn speeds_are_parsed() {
        assert_eq!("0.5".parse(), Ok(Speed::Factor(0.5)));
        assert_eq!("real".parse(), Ok(Speed::Factor(1.0)));
    }
}
