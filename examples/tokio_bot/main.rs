//! The trading bot with tokio tasks as its stages. It has the same market, strategy, exchange and
//! outputs as `trading_bot`, and the same totals.
//!
//! It shares the code in `trading_bot/`. This directory has what differs for tasks:
//!
//! | event | what is measured | how |
//! |---|---|---|
//! | `EventBusPublish`, `QueueBacklog` | handing a message to the bus; the length of the bus before that | a measured future; a `MeasuredSender` |
//! | `EventBusHandle`, `CandleProcessing`, `SignalGeneration` | the strategy's work | guards, because the strategy awaits nothing |
//! | `OrderPlacement` | from sending an order to its acknowledgement | a measured future, which records an `Err` as `Outcome::Error` |
//! | `TickToOrder` | from the arrival of a message to sending the order that it led to | a stamp in the message |
//! | `OrderFill` | from sending an order to its fill | a span that another task ends |
//! | `GcPause` | how late a sleeping thread is woken | a thread, because a task would measure the pauses of its runtime |
//! | those of `RuntimeEvent` | how long tasks wait for a worker, how many tasks there are | `watch_runtime` |
//!
//! The drain is a task as well. `--workers N` sets the number of the runtime's threads; 0 or 1 runs
//! everything on one thread, the drain included. The other options are those of `trading_bot`,
//! except `--pin-drain`, because a task has no core of its own.

mod bus;
mod command;
mod lines;
mod orders;
mod pipeline;
mod stop;

#[path = "../trading_bot/book.rs"]
mod book;
#[path = "../trading_bot/candle.rs"]
mod candle;
#[path = "../trading_bot/clock.rs"]
mod clock;
#[path = "../trading_bot/exchange.rs"]
#[allow(dead_code, reason = "the bot's end in it is for threads")]
mod exchange;
#[path = "../trading_bot/feed.rs"]
mod feed;
#[path = "../trading_bot/generator.rs"]
mod generator;
#[path = "../trading_bot/measure.rs"]
mod measure;
#[path = "../trading_bot/message.rs"]
mod message;
#[path = "../trading_bot/net.rs"]
mod net;
#[path = "../trading_bot/options.rs"]
mod options;
#[path = "../trading_bot/output.rs"]
mod output;
#[path = "../trading_bot/progress.rs"]
mod progress;
#[path = "../trading_bot/replay.rs"]
mod replay;
#[path = "../trading_bot/signal.rs"]
mod signal;
#[path = "../trading_bot/stall.rs"]
#[allow(dead_code, reason = "a thread waits differently from a task")]
mod stall;
#[path = "../trading_bot/strategy.rs"]
mod strategy;
#[path = "../trading_bot/summary.rs"]
mod summary;

use core::{error::Error, pin::pin, sync::atomic::Ordering, time::Duration};
use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use tailwatch::{Collector, HiccupProbe, TraceWriter, Trading};
use tailwatch_tokio::{CancellationToken, RuntimeEvent, SlaUpdate, watch_runtime};
use tokio::{
    select,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    command::Command,
    output::Outputs,
    pipeline::Pipeline,
    progress::{Notes, ProblemLimiter, Progress},
    replay::{Replay, Source},
    stop::Stop,
};

/// The seed of the built-in market and of the mock exchange's delays.
const SEED: u64 = 20_240_808;

/// How long the hiccup probe sleeps at a time, and how often the runtime's metrics are read.
const HICCUP_PERIOD: Duration = Duration::from_millis(1);
const RUNTIME_PERIOD: Duration = Duration::from_millis(10);

/// The interval at which the progress bar is updated and the time limit is checked.
const TICK: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let command = Command::parse();
    let run = || command.runtime()?.block_on(run(&command));
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, the message cannot go anywhere.
            let _ = writeln!(io::stderr().lock(), "tokio_bot: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: &Command) -> Result<(), Box<dyn Error>> {
    let options = &command.options;
    if let Some(core) = options.pin_drain {
        return Err(format!(
            "--pin-drain {core}: the drain is a task and has no thread of its own to pin"
        )
        .into());
    }
    let source = Source::open(options.feed.as_deref(), SEED)?;
    let mut outputs = Outputs::open(options)?;
    let trace = outputs.trace.take().map(TraceWriter::new);
    let collector = start(command, trace.as_ref())?;
    let (watching, draining) = (CancellationToken::new(), CancellationToken::new());
    let drain = Arc::new(tailwatch_tokio::spawn_drain(Arc::clone(&collector), draining.clone())?);
    let watcher = watch_runtime(RUNTIME_PERIOD, watching.clone())?;
    let probe = HiccupProbe::start(&collector, Trading::GcPause, HICCUP_PERIOD)?;

    let stop = Stop::default();
    stop.on_interrupt()?;
    let progress = Progress::new(options.run_limit());
    let notes = progress.notes();
    if options.sla.is_some() {
        notes.print(collector.explain_limits().trim_end());
    }
    let (feed_notes, mut limiter) = (progress.notes(), ProblemLimiter::default());
    let replay = Replay::start(source, options.speed(), stop.flag(), move |notice| {
        if let Some(text) = limiter.text(&notice) {
            feed_notes.print(&text);
        }
    })?;
    let (mut updates, reports) = (drain.sla_updates(), drain.reports());
    let pipeline =
        Pipeline::start(replay.addr(), SEED, &stop, options.stall, &notes, &drain).await?;
    let mut pipeline = pin!(pipeline.join());
    let sent = replay.sent_counter();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let start = Instant::now();
    let mut next_table = options.report_every();
    let summary = loop {
        select! {
            summary = &mut pipeline => break summary,
            Some(update) = updates.next() => print_sla_update(&update, &notes),
            _ = ticks.tick() => {
                let elapsed = start.elapsed();
                if options.run_limit().is_some_and(|limit| elapsed >= limit) {
                    stop.now();
                } else if elapsed >= next_table {
                    next_table = elapsed.saturating_add(options.report_every());
                    notes.print(&reports.borrow().table().for_terminal(&io::stderr()).to_string());
                }
                progress.update(sent.load(Ordering::Relaxed), replay.is_finished());
            }
        }
    };
    // The replay has ended, so these end at once.
    let tally = replay.join();
    probe.stop();
    watching.cancel();
    watcher.await?;
    draining.cancel();
    let drain = Arc::into_inner(drain).ok_or("a task still holds the drain")?;
    let report = drain.join().await?;
    while let Some(update) = updates.next().await {
        print_sla_update(&update, &notes);
    }
    progress.finish();

    summary.print(&tally, options.stall, &notes);
    let traced = trace.map_or(Ok(()), |trace| trace.finish());
    let failures = summary.failures(&tally, &report, stop.is_set(), outputs.write(&report, traced));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\ntokio_bot: ").into()) }
}

/// Starts the collector and installs it, so that every thread records into it.
fn start(command: &Command, trace: Option<&TraceWriter>) -> Result<Arc<Collector>, Box<dyn Error>> {
    let builder = measure::builder(&command.options, trace)?;
    let builder = builder.events(RuntimeEvent::ALL);
    let collector = builder.manual_drain().start()?;
    collector.install()?;
    Ok(Arc::new(collector))
}

/// Prints a violation that was raised or cleared.
fn print_sla_update(update: &SlaUpdate, notes: &Notes) {
    match update {
        SlaUpdate::Change(change) => notes.print(&measure::sla_line(change)),
        SlaUpdate::Missed(count) => {
            if let Some(line) = measure::missed_line(*count) {
                notes.print(&line);
            }
        }
        _ => {}
    }
}
