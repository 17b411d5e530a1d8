//! The command `tailwatch`: shows what programs share that are measured with tailwatch.

#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
mod dump;
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
mod list;
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
mod options;
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
mod output;
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
mod report;

use std::process::ExitCode;

/// The exit code if the command could not do what was asked.
const FAILED: u8 = 2;

#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
fn main() -> ExitCode {
    use clap::Parser;

    use self::options::{Command, Options};

    let result = match &Options::parse().command {
        Command::List(options) => list::run(options),
        Command::Report(options) => report::run(options),
        Command::Dump(options) => dump::run(options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(&format!("tailwatch: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
fn main() -> ExitCode {
    eprintln!("tailwatch: only 64-bit Linux programs share their rings");
    ExitCode::from(FAILED)
}
