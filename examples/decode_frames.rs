//! Prints the reports that firmware sends over a serial line as tables. The frames are read from a
//! file, a device or standard input.
//!
//! ```sh
//! stty -F /dev/ttyACM0 115200 raw && cargo run --release -p tailwatch-examples --example
//! decode_frames -- /dev/ttyACM0
//! ```

use core::{error::Error, mem};
use std::{
    env,
    fs::File,
    io::{self, Read},
};

use tailwatch_bare_metal::wire::{
    CountsFrame, Decoder, Frame, HealthFrame, LimitFrame, LimitKind, LimitState, SummaryFrame,
    UnitKind,
};
use tailwatch_examples::console::print_line;

fn main() -> Result<(), Box<dyn Error>> {
    let mut input: Box<dyn Read> = match env::args().nth(1) {
        Some(path) if path != "-" => {
            Box::new(File::open(&path).map_err(|error| format!("{path}: {error}"))?)
        }
        _ => Box::new(io::stdin()),
    };
    let (mut decoder, mut frames) = (Decoder::new(), 0_u64);
    let mut bytes = [0; 4_096];
    let mut printed = Ok(());
    loop {
        let read = match input.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        decoder.feed(&bytes[..read], |frame| {
            frames += 1;
            if printed.is_ok() {
                printed = print_line(text(&frame));
            }
        });
        mem::replace(&mut printed, Ok(()))?;
    }
    let rejected = decoder.rejected();
    print_line(format_args!(
        "{frames} frames; rejected: {} too long, {} damaged, {} of another version, {} unknown",
        rejected.too_long, rejected.damaged, rejected.other_version, rejected.unknown
    ))?;
    Ok(())
}

/// Returns the lines about a frame.
fn text(frame: &Frame) -> String {
    match frame {
        Frame::Health(health) => health_text(health),
        Frame::Counts(counts) => counts_text(counts),
        Frame::Summary(summary) => summary_text(summary),
        Frame::Limit(limit) => limit_text("limit", limit),
        Frame::StatusChange { at, limit } => {
            let what = if limit.state == LimitState::Violated { "RAISED" } else { "cleared" };
            format!("{}\n  at tick {at}", limit_text(what, limit))
        }
        other => format!("{other:?}"),
    }
}

/// Health is the first frame of a report, so the head of the table follows it.
fn health_text(health: &HealthFrame) -> String {
    let counts = format!(
        "\n{} records: {} delivered, {} overwritten, {} pending; {} late, {} clock anomalies, \
         {} saturated, {} invalid, {} of unknown events, {} negative differences, \
         {} tags without a record; \
         {} passes, {} of them while the clock stood still",
        health.produced,
        health.delivered,
        health.overwritten,
        health.pending,
        health.late,
        health.clock_anomalies,
        health.saturated,
        health.invalid,
        health.unknown_events,
        health.negative_differences,
        health.orphan_tags,
        health.passes,
        health.still_passes
    );
    let head = format!(
        "{:<24}{:>9}{:>10}{:>14}{:>14}{:>14}{:>14}{:>14}  ±",
        "event", "window", "count", "p50", "p95", "p99", "p99.9", "max"
    );
    format!("{counts}\n{head}")
}

fn counts_text(counts: &CountsFrame) -> String {
    format!(
        "{:<24}{} ok, {} error, {} cancelled; {} open, {} orphans",
        counts.name.as_str(),
        counts.ok,
        counts.error,
        counts.cancelled,
        counts.open,
        counts.orphans
    )
}

fn summary_text(summary: &SummaryFrame) -> String {
    let window = summary.window.map_or("all".into(), |nanos| format!("{} ms", nanos / 1_000_000));
    let unit = if summary.unit == UnitKind::Time { "ns" } else { "" };
    let values: String = [summary.p50, summary.p95, summary.p99, summary.p99_9, summary.max]
        .map(|value| format!("{:>14}", format!("{value} {unit}").trim_end()))
        .concat();
    let accuracy = match summary.error_ppm {
        0 => "exact".into(),
        ppm => format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100),
    };
    format!(
        "{:<24}{window:>9}{:>10}{values}  {accuracy}{}",
        summary.name.as_str(),
        summary.count,
        if summary.complete { "" } else { ", incomplete" }
    )
}

fn limit_text(what: &str, limit: &LimitFrame) -> String {
    let kind = match limit.kind {
        LimitKind::Quantile { ppm, limit, window } => {
            format!(
                "{}.{:04} % at most {limit} over {} ms",
                ppm / 10_000,
                ppm % 10_000,
                window / 1_000_000
            )
        }
        LimitKind::Errors { ppm, window } => {
            format!("at most {ppm} ppm failed over {} ms", window / 1_000_000)
        }
        LimitKind::Silence { longest } => format!("silent for {} ms at most", longest / 1_000_000),
    };
    let observed = limit.observed.map_or("nothing".into(), |observed| observed.to_string());
    format!(
        "{:<24}{what}: {kind}: {:?}, {observed} observed, {} of {} over ({} failed); raised {}, \
         cleared {}",
        limit.name.as_str(),
        limit.state,
        limit.over,
        limit.count,
        limit.failed,
        limit.raised,
        limit.cleared
    )
}
