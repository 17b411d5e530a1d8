//! `tailwatch report`: the report of a program, computed outside of it.

use core::{error::Error, time::Duration};
use std::{
    io::{self, IsTerminal},
    thread,
    time::Instant,
};

use tailwatch::{
    WindowSpec,
    shared::{self, FileState, ReaderStart, SharedReader},
};

use crate::{options::Report, output};

/// Runs the subcommand.
pub(crate) fn run(options: &Report) -> Result<(), Box<dyn Error>> {
    let file = shared::find(&options.program)?;
    let start = if options.from_now { ReaderStart::Now } else { ReaderStart::Oldest };
    let windows: Vec<_> = options.windows.iter().map(|length| window(*length)).collect();
    let mut reader = SharedReader::new(file, start, &windows)?;
    let until = Instant::now() + Duration::from_secs(options.seconds);
    loop {
        let pause = reader.pass()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || reader.file().state() != FileState::Live {
            break;
        }
        thread::sleep(pause.min(left));
    }
    // What was written before the program stopped or died.
    reader.pass()?;
    let report = reader.report();
    say_what_it_rests_on(&reader);
    if options.json {
        return output::print_json(&report.to_json());
    }
    let stdout = io::stdout();
    let table = report.table();
    let table = if stdout.is_terminal() { table.for_terminal(&stdout) } else { table };
    output::print(table.to_string().trim_end())
}

/// Returns a window with the slices that the library's own windows have.
fn window(length: Duration) -> WindowSpec {
    // So many slices that each has a whole number of nanoseconds.
    let divides = |slices: &u16| length.as_nanos().is_multiple_of(u128::from(*slices));
    WindowSpec::new(length, [12, 10, 8, 6, 5, 4, 3, 2].into_iter().find(divides).unwrap_or(1))
}

/// Writes to standard error where the reader began, and what it has missed.
fn say_what_it_rests_on(reader: &SharedReader) {
    let (file, total) = (reader.file(), reader.total());
    let began = match reader.start() {
        ReaderStart::First | ReaderStart::Oldest => "from the oldest records that were there",
        ReaderStart::Now => "from the present on",
    };
    let (program, pid, state) = (file.program(), file.pid(), file.state());
    output::say(&format!(
        "{program} (pid {pid}, {state}): read {} records, {began}; missed {}",
        total.delivered, total.overwritten
    ));
    let hidden = file.hidden();
    if hidden.records > 0 {
        output::say(&format!(
            "not visible: {} records of {} threads with rings outside the file",
            hidden.records, hidden.threads
        ));
    }
    if reader.unknown_records() > 0 {
        output::say(&format!("{} records are of unknown threads", reader.unknown_records()));
    }
    if reader.invalid_rows() > 0 {
        output::say(&format!("{} rows of the file are invalid", reader.invalid_rows()));
    }
}
