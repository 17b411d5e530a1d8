//! Shows a table on standard error that is replaced twice a second, and writes JSON lines to a
//! file, while the program works. If standard error is no terminal, the tables follow each other.
//!
//! `cargo run --release --example periodic_report -- report.jsonl`

use core::{error::Error, hint::black_box, time::Duration};
use std::{env, fs::File, io, time::Instant};

use tailwatch::{Collector, HiccupProbe, Reporter, Trading, time};
use tailwatch_examples::console::print_line;

fn main() -> Result<(), Box<dyn Error>> {
    let collector = Collector::builder().start()?;
    collector.install()?;
    // Measures how long the whole process or its core stood still, to distinguish a slow span from
    // a slow machine.
    let probe = HiccupProbe::start(&collector, Trading::GcPause, Duration::from_millis(1))?;
    let table = Reporter::live(&collector, Duration::from_millis(500), io::stderr())?;
    let lines = match env::args_os().nth(1) {
        Some(path) => {
            Some(Reporter::json_lines(&collector, Duration::from_millis(100), File::create(path)?)?)
        }
        None => None,
    };

    let (begin, before) = (Instant::now(), collector.report());
    while begin.elapsed() < Duration::from_millis(1_200) {
        time(Trading::CandleProcessing, || black_box((0..2_000_u64).sum::<u64>()));
    }

    probe.stop();
    collector.stop(); // so that the last report has all records
    match table.stop() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {} // nobody reads the tables
        stopped => stopped?,
    }
    lines.map_or(Ok(()), Reporter::stop)?;
    let diff = collector.report().diff(&before);
    print_line(diff.ok_or("the first report is not older than the second")?)?;
    Ok(())
}
