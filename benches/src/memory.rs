//! Resident memory after given numbers of spans of one thread, with default settings and eight
//! events.

use core::{error::Error, hint::black_box, time::Duration};
use std::{fs, thread, time::Instant};

use tailwatch::{Collector, Trading, Unit, measure, record_value};

use crate::{progress, verdict};

/// The target, in bytes above what an empty process has.
const TARGET: u64 = 5_000_000;

/// The largest allowed growth factor once every slice of every window has been in use: no memory is
/// left that is touched for the first time.
const FLAT: f64 = 1.01;

/// When the memory is read.
#[derive(Clone, Copy)]
enum Until {
    /// After this many spans, counted from the start.
    Spans(u64),
    /// After the longest window has passed.
    Windows,
    /// After this many more spans than at the previous mark.
    Further(u64),
}

const MARKS: [Until; 5] = [
    Until::Spans(1_000_000),
    Until::Spans(100_000_000),
    Until::Spans(1_000_000_000),
    Until::Windows,
    Until::Further(1_000_000_000),
];
const SMOKE_MARKS: [Until; 3] =
    [Until::Spans(10_000), Until::Spans(100_000), Until::Spans(1_000_000)];

/// The length of the longest default window, and one slice more.
const WINDOWS: Duration = Duration::from_secs(66);

/// The spans between two checks of the mark.
const BATCH: u64 = 1_000_000 / 8;

/// Returns the bytes of this process that are resident, counted page by page.
pub(crate) fn resident() -> Result<u64, Box<dyn Error>> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")
        .map_err(|error| format!("this bench needs Linux: {error}"))?;
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .ok_or("/proc/self/smaps_rollup has no line `Rss:`")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim_end().parse()?;
    Ok(kib * 1_024)
}

/// Records `spans` spans, the same number of each event; for an event that is a plain number,
/// values.
fn record(spans: u64) {
    for (info, n) in Trading::ALL.iter().cycle().zip(0..spans) {
        if info.unit == Unit::One {
            record_value(info.id, n);
        } else {
            let _span = measure(info.id);
            black_box(());
        }
    }
}

/// The memory at one mark.
struct Mark {
    spans: u64,
    after: Duration,
    /// Bytes above what the process had before the collector.
    above: u64,
}

/// Records in this thread until each of the marks. One more mark follows after a `flush` in this
/// thread.
fn marks(collector: &Collector, wanted: &[Until], empty: u64) -> Result<Vec<Mark>, Box<dyn Error>> {
    let (start, mut spans, mut marks) = (Instant::now(), 0, Vec::with_capacity(wanted.len()));
    for until in progress::bar("marks", wanted.len() as u64).wrap_iter(wanted.iter()) {
        let from = spans;
        loop {
            let left = match *until {
                Until::Spans(all) => all - spans,
                Until::Windows if start.elapsed() < WINDOWS => BATCH,
                Until::Windows => 0,
                Until::Further(more) => from + more - spans,
            };
            if left == 0 {
                break;
            }
            let batch = left.min(BATCH);
            record(batch);
            spans += batch;
        }
        marks.push(Mark {
            spans,
            after: start.elapsed(),
            above: resident()?.saturating_sub(empty),
        });
    }
    // The flush comes last, because it makes a report in this thread, and the allocator keeps its
    // memory for the thread.
    collector.flush();
    marks.push(Mark { spans, after: start.elapsed(), above: resident()?.saturating_sub(empty) });
    Ok(marks)
}

/// Runs the bench and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    let wanted = if smoke { &SMOKE_MARKS[..] } else { &MARKS };
    // A first progress bar and reading allocate what they need, so that it does not count.
    progress::bar("marks", 1).finish_and_clear();
    resident()?;
    let empty = resident()?;
    let collector = Collector::builder().start()?;
    collector.install()?;
    let marks = thread::scope(|scope| {
        let recording =
            scope.spawn(|| marks(&collector, wanted, empty).map_err(|error| error.to_string()));
        recording.join().map_err(|_| "the recording thread panicked".to_owned())?
    })?;

    println!("{:>15} {:>9} {:>14} {:>11}", "spans", "after s", "bytes above", "x previous");
    let mut last = None;
    for Mark { spans, after, above } in &marks {
        let growth = last.map_or(String::new(), |last| format!("{:.3}", ratio(*above, last)));
        let line = format!("{spans:>15} {:>9.2} {above:>14} {growth:>11}", after.as_secs_f64());
        println!("{}", line.trim_end());
        last = Some(*above);
    }
    println!(
        "\nan empty process has {empty} bytes; the collector reports {} bytes as its own\n\
         slices come into use one after another over a minute; until then memory grows with time, \
         not with spans\n\
         the ring of the recording thread grows up to 4 MiB, because the thread records as fast as \
         it can\n\
         the last row is after a flush, whose report stays in the allocator's memory for the \
         recording thread",
        collector.memory_bytes()
    );
    let [drained @ .., flushed] = &marks[..] else { return Ok(()) };
    let most = drained.iter().map(|mark| mark.above).max().unwrap_or_default();
    verdict::print(format!("at most {TARGET} bytes above an empty process"), most, most <= TARGET);
    let most = flushed.above;
    verdict::print(
        format!("at most {TARGET} bytes above an empty process, after a flush"),
        most,
        most <= TARGET,
    );
    if let ([.., full, end], false) = (drained, smoke) {
        let growth = ratio(end.above, full.above);
        verdict::print(
            "flat once all slices are in use, within 1 %",
            format!("x {growth:.3}"),
            growth <= FLAT,
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is printed with a few digits")]
fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to as f64
}
