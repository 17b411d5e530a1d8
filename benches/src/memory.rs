//! Memory that is resident after so many spans of one thread, with default settings and eight events.

use core::{error::Error, hint::black_box, time::Duration};
use std::{fs, thread, time::Instant};

use tailwatch::{Collector, Trading, Unit, measure, record_value};

use crate::{progress, verdict};

/// Bytes that there may be above what an empty process has.
const TARGET: u64 = 5_000_000;

/// By which factor it may grow once every slice of every window was in use: nothing is left that is touched for the first time.
const FLAT: f64 = 1.01;

/// When it is looked at.
#[derive(Clone, Copy)]
enum Until {
    /// After so many spans, from the start.
    Spans(u64),
    /// Once the longest window has gone by.
    Windows,
    /// After so many spans more than at the last look.
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

/// The longest of the default windows, and a slice more.
const WINDOWS: Duration = Duration::from_secs(66);

/// Between two looks at how far it is.
const BATCH: u64 = 1_000_000 / 8;

/// What of this process is in memory, in bytes, counted page by page.
fn resident() -> Result<u64, Box<dyn Error>> {
    let told = fs::read_to_string("/proc/self/smaps_rollup")
        .map_err(|error| format!("this needs Linux: {error}"))?;
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .ok_or("smaps_rollup tells no Rss")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim_end().parse()?;
    Ok(kib * 1_024)
}

/// So many spans, as many of each event; of the one that is a number, numbers.
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

/// What was found at one look.
struct Mark {
    spans: u64,
    after: Duration,
    /// Bytes above what there was before the collector.
    above: u64,
}

/// Records until each of these marks, in this thread; the last one is after a `flush`, which is made here too.
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
    // Last of all, as it makes a report in this thread: what the allocator keeps of it for the thread comes on top.
    collector.flush();
    marks.push(Mark { spans, after: start.elapsed(), above: resident()?.saturating_sub(empty) });
    Ok(marks)
}

/// Looks at all marks and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    let wanted = if smoke { &SMOKE_MARKS[..] } else { &MARKS };
    // What the look itself needs, and the bar, is there before it counts.
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

    println!("{:>15} {:>9} {:>14} {:>11}", "spans", "after s", "bytes above", "x the last");
    let mut last = None;
    for Mark { spans, after, above } in &marks {
        let growth = last.map_or(String::new(), |last| format!("{:.3}", ratio(*above, last)));
        let line = format!("{spans:>15} {:>9.2} {above:>14} {growth:>11}", after.as_secs_f64());
        println!("{}", line.trim_end());
        last = Some(*above);
    }
    println!(
        "\nan empty process has {empty} bytes; the collector tells {} of its own",
        collector.memory_bytes()
    );
    println!(
        "slices come into use one after the other, in a minute: until then it grows with time, not with spans"
    );
    println!(
        "the last line is after a flush, whose report lies in a heap that the allocator has for the thread that records"
    );
    let [drained @ .., flushed] = &marks[..] else { return Ok(()) };
    let most = drained.iter().map(|mark| mark.above).max().unwrap_or_default();
    verdict::say(format!("at most {TARGET} bytes above an empty process"), most, most <= TARGET);
    let most = flushed.above;
    verdict::say(
        format!("at most {TARGET} bytes above an empty process, after a flush too"),
        most,
        most <= TARGET,
    );
    if let ([.., full, end], false) = (drained, smoke) {
        let growth = ratio(end.above, full.above);
        verdict::say(
            "flat once all slices are in use, within 1 %",
            format!("x {growth:.3}"),
            growth <= FLAT,
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is told to a few digits")]
fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to as f64
}
