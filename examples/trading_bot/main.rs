//! A small but honest trading bot, measured with tailwatch.
//!
//! A replay server sends exchange messages over a real loopback WebSocket; the bot decodes them, keeps the top of the
//! book, builds one-second candles, looks for an EMA cross, places orders with a mock exchange over loopback TCP and
//! receives their fills. Each stage is a thread, and all eight events of the trading preset are measured where they
//! happen:
//!
//! | event | what is measured | thread |
//! |---|---|---|
//! | `EventBusPublish` | handing a decoded message to the bus | market-data |
//! | `QueueBacklog` | length of the bus before that | market-data |
//! | `EventBusHandle` | all that one message causes | strategy |
//! | `CandleProcessing` | closing a candle, with its signal and order intent | strategy |
//! | `SignalGeneration` | the averages' update | strategy |
//! | `OrderPlacement` | from sending an order to its acknowledgement | orders |
//! | `OrderFill` | from sending an order to its fill | orders, ended on fills |
//! | `GcPause` | how late a sleeping thread is woken | hiccup |
//!
//! Run it without arguments for a built-in market, or with `--feed FILE` for a recorded one; `--help` tells the rest.
//! The exit code is not 0 if no message could be processed, an output could not be written, or the bot itself failed.

mod book;
mod bus;
mod candle;
mod clock;
mod exchange;
mod feed;
mod generator;
mod measure;
mod message;
mod net;
mod options;
mod orders;
mod output;
mod pipeline;
mod progress;
mod replay;
mod signal;
mod stall;
mod strategy;

use core::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use clap::Parser;
use crossbeam_channel::RecvTimeoutError;
use tailwatch::{HiccupProbe, TraceWriter, Trading};

use crate::{
    feed::Feed,
    generator::Generator,
    options::Options,
    output::Outputs,
    pipeline::{Pipeline, RunSummary},
    progress::{Notes, Progress, Sparing},
    replay::{Notice, Replay, Source, Tally},
    stall::Stall,
};

/// Of the built-in market and of the mock exchange's delays.
const SEED: u64 = 20_240_808;

/// How long the hiccup probe sleeps at a time.
const HICCUP_PERIOD: Duration = Duration::from_millis(1);

/// How often the bar moves and the clock is looked at.
const TICK: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error gone there is nobody left to tell.
            let _ = writeln!(io::stderr().lock(), "trading_bot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let source = match &options.feed {
        Some(path) => Source::Feed(Feed::open(path)?),
        None => Source::Generated(Box::new(Generator::new(SEED))),
    };
    let mut outputs = Outputs::open(options)?;
    let trace = outputs.trace.take().map(TraceWriter::new);
    let collector = Arc::new(measure::start(options, trace.as_ref())?);
    let probe = HiccupProbe::start(&collector, Trading::GcPause, HICCUP_PERIOD)?;

    let stop = Arc::new(AtomicBool::new(false));
    stop_on_interrupt(Arc::clone(&stop))?;
    let progress = Progress::new(options.run_limit());
    let (notes, mut sparing) = (progress.notes(), Sparing::default());
    let replay = Replay::start(source, options.speed(), Arc::clone(&stop), move |notice| {
        match notice {
        Notice::Problem(problem) => {
            if let Some(text) = sparing.tell(problem.cause.kind(), problem) {
                notes.say(&text);
            }
        }
        Notice::ClockBehind { line, behind } => notes.say(&format!(
            "line {line} was received {behind:.2?} before it was sent: the recording's clock was behind the exchange's. \
             All messages are used all the same; this is said once."
        )),
    }
    })?;
    let drained = Arc::clone(&collector);
    let settle = move || drained.flush();
    let pipeline = Pipeline::start(replay.addr(), SEED, Arc::clone(&stop), options.stall, &progress.notes(), settle)?;
    let sent = replay.sent_counter();
    watch(
        options,
        &pipeline,
        &stop,
        || {
            for line in measure::changes(&collector) {
                progress.notes().say(&line);
            }
            progress.update(sent.load(Ordering::Relaxed), replay.is_finished());
        },
        || progress.notes().say(&collector.report().to_string()),
    );
    let summary = pipeline.join();
    let tally = replay.join();
    probe.stop();
    collector.stop();
    progress.finish();

    let report = collector.report();
    for line in measure::changes(&collector) {
        progress.notes().say(&line);
    }
    tell(&summary, &tally, options.stall, &progress.notes());
    // Each is tried, whatever became of the others.
    let table = outputs.write_table(&report.to_string());
    let json = outputs.write_json(&report);
    let traced = trace.map_or(Ok(()), |trace| trace.finish());
    let mut failures = summary.failures;
    failures.extend(table.err().map(|error| error.to_string()));
    failures.extend(json.err().map(|error| error.to_string()));
    failures.extend(traced.err().map(|error| format!("--trace: writing failed, the file is not complete: {error}")));
    if tally.no_client {
        failures.push("the bot did not reach the replay server".to_owned());
    } else if tally.client_left {
        failures.push("the bot left the replay server before the end".to_owned());
    } else if summary.published != tally.sent && !stop.load(Ordering::Relaxed) {
        failures.push(format!("{} messages were sent, {} published", tally.sent, summary.published));
    }
    if report.health.overwritten > 0 {
        failures.push(format!("{} records were overwritten: the report is not complete", report.health.overwritten));
    }
    if summary.strategy.handled == 0 {
        failures.push("nothing could be processed: no well-formed message of a known stream".to_owned());
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\ntrading_bot: ").into()) }
}

/// The first interrupt ends the run in order, with its report; the second one ends it at once.
fn stop_on_interrupt(stop: Arc<AtomicBool>) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
}

/// Shows progress and tables until all stages have ended; sets `stop` when the time is over.
fn watch(options: &Options, pipeline: &Pipeline, stop: &AtomicBool, show: impl Fn(), tabulate: impl Fn()) {
    let start = Instant::now();
    let mut next_table = options.report_every();
    loop {
        match pipeline.ended().recv_timeout(TICK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let elapsed = start.elapsed();
        if options.run_limit().is_some_and(|limit| elapsed >= limit) {
            stop.store(true, Ordering::Relaxed);
        } else if elapsed >= next_table {
            next_table = elapsed.saturating_add(options.report_every());
            tabulate();
        }
        show();
    }
}

/// What the run did, in numbers.
fn tell(summary: &RunSummary, tally: &Tally, stall: Option<Stall>, notes: &Notes) {
    let strategy = &summary.strategy;
    notes.say(&format!(
        "sent {} stream messages and {} snapshots; published {}, handled {}, candles {}, signals {}, orders {}, fills {}",
        tally.sent,
        tally.snapshots,
        summary.published,
        strategy.handled,
        strategy.candles,
        strategy.signals,
        summary.placed,
        summary.filled,
    ));
    if tally.total_problems > 0 {
        let kinds: Vec<String> = tally.problems.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        notes.say(&format!("{} problems with the feed: {}", tally.total_problems, kinds.join(", ")));
    }
    for (count, what) in [
        (strategy.skipped, "signals made no order: orders were not taken fast enough"),
        (strategy.out_of_order, "candles came out of order, and no signal of them"),
        (strategy.too_late, "trades came so late that their candle was forgotten"),
        (strategy.book_gaps, "gaps in the depth stream: levels were given up until the next snapshot"),
    ] {
        if count > 0 {
            notes.say(&format!("{count} {what}"));
        }
    }
    if let Some(Stall { order, .. }) = stall
        && summary.placed < order
    {
        notes.say(&format!("order {order} was to be stalled, but only {} were placed", summary.placed));
    }
}
