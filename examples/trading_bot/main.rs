//! A small trading bot, measured with tailwatch.
//!
//! A replay server sends exchange messages over a loopback WebSocket. The bot decodes them, keeps
//! the top of the book, builds one-second candles, looks for a crossing of two exponential moving
//! averages, places orders with a mock exchange over loopback TCP and receives their fills. Each
//! stage is a thread, and all eight events of the trading preset and one more are measured where
//! they happen:
//!
//! | event | what is measured | thread |
//! |---|---|---|
//! | `EventBusPublish` | handing a decoded message to the bus | market-data |
//! | `QueueBacklog` | the length of the bus before that | market-data |
//! | `EventBusHandle` | all work caused by one message | strategy |
//! | `CandleProcessing` | closing a candle, signal and order intent included | strategy |
//! | `SignalGeneration` | updating the averages | strategy |
//! | `OrderPlacement` | from sending an order to its acknowledgement | orders |
//! | `TickToOrder` | from the arrival of a message to sending the order that it led to, by a stamp in the message | begins on market-data, ends on orders |
//! | `OrderFill` | from sending an order to its fill | begins on orders, ends on fills |
//! | `GcPause` | how late a sleeping thread is woken | hiccup |
//!
//! Without arguments it runs on a built-in market, with `--feed FILE` on a recorded one; `--help`
//! lists all options. The exit code is not 0 if no message could be processed, an output could not
//! be written, or the bot itself failed.

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
mod summary;

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
use tailwatch::{Collector, HiccupProbe, TraceWriter, Trading};

use crate::{
    options::Options,
    output::Outputs,
    pipeline::Pipeline,
    progress::{Notes, ProblemLimiter, Progress},
    replay::{Replay, Source},
};

/// The seed of the built-in market and of the mock exchange's delays.
const SEED: u64 = 20_240_808;

/// How long the hiccup probe sleeps at a time.
const HICCUP_PERIOD: Duration = Duration::from_millis(1);

/// The interval at which the progress bar is updated and the time limit is checked.
const TICK: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, the message cannot go anywhere.
            let _ = writeln!(io::stderr().lock(), "trading_bot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let source = Source::open(options.feed.as_deref(), SEED)?;
    let mut outputs = Outputs::open(options)?;
    let trace = outputs.trace.take().map(TraceWriter::new);
    let collector = Arc::new(start(options, trace.as_ref())?);
    let probe = HiccupProbe::start(&collector, Trading::GcPause, HICCUP_PERIOD)?;

    let stop = Arc::new(AtomicBool::new(false));
    stop_on_interrupt(Arc::clone(&stop))?;
    let progress = Progress::new(options.run_limit());
    let (notes, mut limiter) = (progress.notes(), ProblemLimiter::default());
    if options.sla.is_some() {
        notes.print(collector.explain_limits().trim_end());
    }
    let replay = Replay::start(source, options.speed(), Arc::clone(&stop), move |notice| {
        if let Some(text) = limiter.text(&notice) {
            notes.print(&text);
        }
    })?;
    let drained = Arc::clone(&collector);
    let flush_collector = move || drained.flush();
    let pipeline = Pipeline::start(
        replay.addr(),
        SEED,
        Arc::clone(&stop),
        options.stall,
        &progress.notes(),
        flush_collector,
    )?;
    let sent = replay.sent_counter();
    watch(
        options,
        &pipeline,
        &stop,
        || {
            print_sla_changes(&collector, &progress.notes());
            progress.update(sent.load(Ordering::Relaxed), replay.is_finished());
        },
        || {
            let report = collector.report();
            let table = report.table().for_terminal(&io::stderr());
            progress.notes().print(&table.to_string());
        },
    );
    let summary = pipeline.join();
    let tally = replay.join();
    probe.stop();
    collector.stop();
    progress.finish();

    let report = collector.report();
    print_sla_changes(&collector, &progress.notes());
    summary.print(&tally, options.stall, &progress.notes());
    let traced = trace.map_or(Ok(()), |trace| trace.finish());
    let failures = summary.failures(
        &tally,
        &report,
        stop.load(Ordering::Relaxed),
        outputs.write(&report, traced),
    );
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\ntrading_bot: ").into()) }
}

/// Starts the collector and installs it, so that every thread records into it.
fn start(options: &Options, trace: Option<&TraceWriter>) -> Result<Collector, Box<dyn Error>> {
    let collector = measure::builder(options, trace)?.start()?;
    collector.install()?;
    Ok(collector)
}

/// Prints the violations that were raised or cleared since the last call.
fn print_sla_changes(collector: &Collector, notes: &Notes) {
    let taken = collector.sla_changes();
    for line in measure::missed_line(taken.missed)
        .into_iter()
        .chain(taken.changes.iter().map(measure::sla_line))
    {
        notes.print(&line);
    }
}

/// Makes the first interrupt stop the run in order, with its report, and the second one exit at
/// once.
fn stop_on_interrupt(stop: Arc<AtomicBool>) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
}

/// Shows progress and tables until all stages have ended. Sets `stop` when the time limit is
/// reached.
fn watch(
    options: &Options,
    pipeline: &Pipeline,
    stop: &AtomicBool,
    show: impl Fn(),
    tabulate: impl Fn(),
) {
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
