//! What the drain takes, what it loses and how much memory there is while many events happen. Each
//! row runs in a process of its own, so that no row pays for the memory of another.

use core::{error::Error, hint::black_box, time::Duration};
use std::{
    env,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Instant,
};

use clap::ValueEnum;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use tailwatch::{Collector, measure};

use crate::{drain::events, memory::resident, pace::pace, processor, verdict};

/// What a process records.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Row {
    /// 600 symbols with 3 events each, with 17,000 spans per second in all.
    Symbols,
    /// The same, and a thread reads the report once per second.
    SymbolsRead,
    /// As many events as there can be, each with 100 spans per second.
    AllEvents,
}

/// What happens in a row, and its targets.
struct Case {
    events: u16,
    /// The spans of all events per second.
    spans: f64,
    /// Whether another thread reads the report once per second.
    is_read: bool,
    /// The most that the drain may take of a core.
    drain: Option<f64>,
    /// The most bytes that the collector may report as its own, and that the process may take in
    /// addition to those of an empty one.
    bytes: Option<u64>,
}

impl Row {
    const fn case(self) -> Case {
        let (drain, bytes, is_read) = (None, None, false);
        match self {
            Self::Symbols => Case {
                events: 1_800,
                spans: 17_000.0,
                is_read,
                drain: Some(0.02),
                bytes: Some(64 << 20),
            },
            Self::SymbolsRead => {
                Case { events: 1_800, spans: 17_000.0, is_read: true, drain, bytes }
            }
            Self::AllEvents => {
                Case { events: 2_047, spans: 204_700.0, is_read, drain: Some(0.04), bytes }
            }
        }
    }
}

/// How long a row records: longer than the longest window, so that all slices come into use.
const LENGTH: Duration = Duration::from_secs(70);
const SMOKE_LENGTH: Duration = Duration::from_secs(2);

/// The time between two reads of the report, in the rows that have a reader.
const READ_EVERY: Duration = Duration::from_secs(1);

/// The part of this time before the drain is measured, in which every event happens first.
const WARM_UP_SHARE: u32 = 10;

/// What came out of a row, as its process writes it for the one that prints the table.
#[derive(Debug, Deserialize, Serialize)]
struct Outcome {
    produced: u64,
    lost: u64,
    /// The processor time of all threads but the recording one, as a share of a core. That of the
    /// thread that reads reports is a few microseconds per second.
    drain: f64,
    /// What the collector reports as its own.
    reported: u64,
    /// Bytes above what the process had before the collector.
    above: u64,
}

/// Takes a time that varies as that of real work does: usually within a factor of eight, and every
/// 64th time longer.
fn work(random: &mut Rng) {
    let octaves = (0..3).map(|_| random.u64(..256)).sum::<u64>();
    let tail = if random.u8(..64) == 0 { 8 } else { 1 };
    // In steps of 1/256 of an octave, and linear within an octave.
    let times = tail * ((256 + octaves % 256) << (octaves / 256)) / 8;
    for n in 0..times {
        black_box(n);
    }
}

/// Runs a single row and writes its outcome as JSON.
pub(crate) fn run_row(row: Row, smoke: bool) -> Result<(), Box<dyn Error>> {
    let Case { events: count, spans, is_read, .. } = row.case();
    let (events, length) = (events(count), if smoke { SMOKE_LENGTH } else { LENGTH });
    // A first reading allocates what it needs, so that it does not count.
    resident()?;
    let empty = resident()?;
    let collector = Collector::builder().events(&events).start()?;
    collector.install()?;
    let warm_up = length / WARM_UP_SHARE;
    let (is_recording, ended) = mpsc::channel::<()>();
    let recording = thread::scope(|scope| {
        if is_read {
            let collector = &collector;
            scope.spawn(move || {
                while ended.recv_timeout(READ_EVERY) == Err(RecvTimeoutError::Timeout) {
                    black_box(collector.published_report());
                }
            });
        }
        let recording = scope.spawn(|| {
            let mut random = Rng::with_seed(42);
            let mut ids = events.iter().map(|event| event.id).cycle();
            let mut record = || {
                let _span = ids.next().map(measure);
                work(&mut random);
            };
            pace(spans / 1e3, warm_up, &mut record);
            let others = || processor::process_time().saturating_sub(processor::thread_time());
            let (start, before) = (Instant::now(), others());
            pace(spans / 1e3, length.saturating_sub(warm_up), record);
            let took = others().saturating_sub(before);
            took.as_secs_f64() / start.elapsed().as_secs_f64()
        });
        let recording = recording.join();
        drop(is_recording);
        recording
    });
    let drain = recording.map_err(|_| "the recording thread panicked")?;
    let above = resident()?.saturating_sub(empty);
    let reported = collector.health().memory_bytes;
    collector.stop();
    let health = collector.health();
    let lost = health.overwritten + health.unregistered;
    let outcome = Outcome { produced: health.produced, lost, drain, reported, above };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Runs each row in a process of its own and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    println!(
        "{:<12} {:>7} {:>11} {:>8} {:>10} {:>13} {:>12}",
        "", "events", "records", "lost", "drain", "memory_bytes", "bytes above"
    );
    let mut verdicts = vec![];
    for row in Row::value_variants() {
        let name = row.to_possible_value().expect("no row is hidden").get_name().to_owned();
        let mut command = Command::new(env::current_exe()?);
        command.arg("many").args(smoke.then_some("--smoke")).args(["--row", &name]);
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("row {name} failed: {}", output.status).into());
        }
        let Case { events, spans, drain: most, bytes, .. } = row.case();
        let Outcome { produced, lost, drain, reported, above } =
            serde_json::from_slice(&output.stdout)?;
        println!(
            "{name:<12} {events:>7} {produced:>11} {lost:>8} {:>8.2} % {reported:>13} {above:>12}",
            drain * 100.0
        );
        let row = format!("{events} events with {spans} spans per s");
        if let Some(most) = most {
            verdicts.push((
                format!("{row}: at most {:.0} % of a core, 0 lost", most * 100.0),
                format!("{:.2} %, {lost} lost", drain * 100.0),
                drain <= most && lost == 0,
            ));
        }
        if let Some(bytes) = bytes {
            verdicts.push((
                format!("{row}: at most {bytes} bytes, reported and above an empty process"),
                format!("{reported}, {above}"),
                reported.max(above) <= bytes,
            ));
        }
    }
    println!(
        "\ndrain: processor time of all threads but the recording one, over the last {} % of {:?}\n\
         memory_bytes: what the collector reports as its own\n\
         symbols-read: as symbols, and a thread reads the report once per second\n",
        100 - 100 / WARM_UP_SHARE,
        if smoke { SMOKE_LENGTH } else { LENGTH },
    );
    for (target, measured, met) in verdicts {
        verdict::print(target, measured, met);
    }
    Ok(())
}
