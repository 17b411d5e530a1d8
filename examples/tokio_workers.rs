//! Tasks that move between 16 workers: spans held across awaits, the backlogs of four kinds of
//! channels, and the runtime's own delays. The drain is a task as well.
//!
//! ```text
//! client ──bounded──▶ dispatcher ──spawns──▶ jobs ──unbounded──▶ accounts
//! market ──broadcast──▶ a reader that is too slow
//! operator ──watch──▶ a reader that misses values
//! ```

use core::{
    error::Error,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};
use std::{sync::Arc, thread};

use tailwatch::{Collector, Event, FixedPoint, Report, Summary, Unit, events, register_thread};
use tailwatch_examples::console::{print_line, print_note};
use tailwatch_tokio::{
    CancellationToken, CountedSender, CountedWatchSender, MeasureExt, MeasuredBroadcastReceiver,
    MeasuredSender, RuntimeEvent, counted_unbounded_channel, watch_backlog, watch_runtime,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{
        Barrier,
        broadcast::{self, error::TryRecvError},
        mpsc, oneshot, watch,
    },
    task::{JoinSet, yield_now},
};

events! {
    /// What this program measures.
    enum Desk {
        /// A job, from its first poll to its end. It may end on another worker than it began on.
        Job = 60,
        /// The jobs that wait for the dispatcher.
        JobsWaiting = 61 { unit: Unit::One },
        /// The results that wait for the accounts.
        ResultsWaiting = 62 { unit: Unit::One },
        /// The quotes that wait for their reader.
        QuotesWaiting = 63 { unit: Unit::One },
        /// The quotes that their reader lost at once.
        QuotesLost = 64 { unit: Unit::One },
        /// The changes of the settings that their reader had not seen.
        SettingsUnseen = 65 { unit: Unit::One },
        /// The same number, once per millisecond.
        SettingsBehind = 66 { unit: Unit::One },
    }
}

const WORKERS: usize = 16;
/// At most 896, which is what the table of open spans holds. The ENDs of all jobs that moved may be
/// drained before their STARTs, and then wait in it.
const JOBS: u64 = 800;
/// How many jobs run at the same time.
const CONCURRENT: usize = 64;
const BURSTS: u64 = 50;
/// How many quotes the channel keeps, and how many a burst has. The rest of each burst is lost.
const QUOTES_KEPT: usize = 16;
const QUOTES_PER_BURST: usize = 24;
const QUOTES_LOST: u64 = (QUOTES_PER_BURST - QUOTES_KEPT) as u64;
const CHANGES: u64 = 1_000;
/// The records in a ring. The records of all jobs, quotes and settings would fit into one of them,
/// so none is lost, however late the drain is and however unevenly the workers share the work.
const RING_CAPACITY: usize = 65_536;
const _: () = assert!(
    4 * JOBS + BURSTS * (QUOTES_KEPT as u64 + 1) + CHANGES < RING_CAPACITY as u64 / 2,
    "a job has a span of two records and a backlog of each of its two channels"
);
/// How often the runtime and the settings are looked at.
const PERIOD: Duration = Duration::from_millis(1);

/// An error that can leave a task.
type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    let events = Collector::builder().events(Desk::ALL).events(RuntimeEvent::ALL);
    let collector = events.ring_capacity(RING_CAPACITY).manual_drain().start()?;
    // Before the runtime starts its workers, which register with the installed collector.
    collector.install()?;
    let (report, moved) = runtime()?.block_on(run(collector))?;
    print_line(&report)?;
    print_line(format_args!("{moved} of {JOBS} jobs ended on another worker than they began on"))?;
    check(&report)?;
    print_line(format_args!("{WORKERS} workers lost none of {} records", report.health.produced))?;
    Ok(())
}

/// Starts a runtime whose threads take their rings before they run a task, under names of their
/// own. Tokio gives all of them the same name.
fn runtime() -> std::io::Result<Runtime> {
    let number = AtomicUsize::new(0);
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_time()
        .on_thread_start(move || {
            let name = format!("worker {}", number.fetch_add(1, Relaxed));
            if let Err(error) = register_thread(&name) {
                print_note(format_args!("{name} records nothing: {error}"));
            }
        })
        .build()
}

/// Does all the work. Returns the last report, and how many jobs moved.
async fn run(collector: Collector) -> Result<(Arc<Report>, u64), AnyError> {
    let (watching, draining) = (CancellationToken::new(), CancellationToken::new());
    let drain = tailwatch_tokio::spawn_drain(collector, draining.clone())?;
    let watcher = watch_runtime(PERIOD, watching.clone())?;

    let mut reports = drain.reports();
    let quotes = tokio::spawn(read_quotes_too_slowly());
    let settings = tokio::spawn(read_settings_too_slowly(reports.clone()));
    let moved = run_jobs().await?;
    quotes.await??;
    settings.await??;
    reports.wait_for(|report| total(report, RuntimeEvent::AliveTasks).is_some()).await?;

    // All tasks that record end before the drain, so that it has their last records.
    watching.cancel();
    watcher.await?;
    draining.cancel();
    Ok((drain.join().await?, moved))
}

/// Runs the jobs. Returns how many of them ended on another worker than they began on.
async fn run_jobs() -> Result<u64, AnyError> {
    let (jobs, mut waiting_jobs) = mpsc::channel(CONCURRENT);
    let jobs = MeasuredSender::new(jobs, Desk::JobsWaiting);
    let client = tokio::spawn(async move {
        for job in 0..JOBS {
            jobs.send(job).await?;
        }
        Ok::<_, AnyError>(())
    });

    let (results, mut waiting_results) = counted_unbounded_channel();
    let results = MeasuredSender::new(results, Desk::ResultsWaiting);
    let dispatcher = tokio::spawn(async move {
        let (mut running, mut moved) = (JoinSet::new(), 0);
        while let Some(job) = waiting_jobs.recv().await {
            if running.len() == CONCURRENT
                && let Some(ended) = running.join_next().await
            {
                moved += u64::from(ended??);
            }
            running.spawn(run_job(results.clone()).try_measured_tagged(Desk::Job, job));
        }
        while let Some(ended) = running.join_next().await {
            moved += u64::from(ended??);
        }
        Ok::<_, AnyError>(moved)
    });

    // The accounts. They run on the main thread, which is no worker, so the runtime gives a job
    // that they wake to whichever worker is free.
    let mut count = 0;
    while let Some(booked) = waiting_results.recv().await {
        count += 1;
        booked.send(()).map_err(|()| "a job has ended before its result was booked")?;
    }
    expect("results", count, JOBS)?;
    client.await??;
    dispatcher.await?
}

/// Sends a result and waits until it is booked. Returns whether the job has moved.
async fn run_job(
    results: MeasuredSender<CountedSender<oneshot::Sender<()>>>,
) -> Result<bool, AnyError> {
    let began_on = thread::current().id();
    yield_now().await;
    let (booked, is_booked) = oneshot::channel();
    results.send(booked)?;
    is_booked.await?;
    Ok(thread::current().id() != began_on)
}

/// Sends bursts of quotes that are larger than their channel, so that each burst loses some.
async fn read_quotes_too_slowly() -> Result<(), AnyError> {
    let (quotes, receiver) = broadcast::channel(QUOTES_KEPT);
    let mut receiver =
        MeasuredBroadcastReceiver::new(receiver, Desk::QuotesWaiting).record_lost(Desk::QuotesLost);
    // The reader and the market take turns.
    let turn = Arc::new(Barrier::new(2));
    let turn_of_reader = Arc::clone(&turn);
    let reader = tokio::spawn(async move {
        let mut lost = 0;
        for _ in 0..BURSTS {
            turn_of_reader.wait().await;
            loop {
                match receiver.try_recv() {
                    Ok(_) => {}
                    Err(TryRecvError::Lagged(quotes)) => lost += quotes,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            turn_of_reader.wait().await;
        }
        lost
    });
    for burst in 0..BURSTS {
        for quote in 0..QUOTES_PER_BURST {
            quotes.send(burst * QUOTES_PER_BURST as u64 + quote as u64)?;
        }
        turn.wait().await;
        turn.wait().await;
    }
    expect("lost quotes", reader.await?, BURSTS * QUOTES_LOST)?;
    Ok(())
}

/// Changes the settings more often than their reader looks at them.
async fn read_settings_too_slowly(
    mut reports: watch::Receiver<Arc<Report>>,
) -> Result<(), AnyError> {
    let settings = CountedWatchSender::new(0);
    let mut receiver = settings.subscribe(Desk::SettingsUnseen);
    // Shows how far the reader is behind, even if it never looks. Ends with the reader.
    let watcher = watch_backlog(&receiver, Desk::SettingsBehind, PERIOD, CancellationToken::new())?;
    settings.send(1)?;
    settings.send(2)?;
    let reader = tokio::spawn(async move {
        // Hangs until the report shows it.
        let is_behind = |report: &Arc<Report>| {
            total(report, Desk::SettingsBehind).is_some_and(|behind| behind.max >= 2)
        };
        reports.wait_for(is_behind).await?;
        let mut newest = 0;
        while receiver.changed().await.is_ok() {
            newest = *receiver.borrow();
            yield_now().await;
        }
        Ok::<_, AnyError>(newest)
    });
    for change in 3..=CHANGES {
        settings.send(change)?;
        yield_now().await;
    }
    drop(settings);
    expect("newest setting", reader.await??, CHANGES)?;
    watcher.await?;
    Ok(())
}

/// Returns the statistics of an event since the start, or `None` if nothing was recorded.
fn total(report: &Report, event: impl Event) -> Option<&Summary> {
    report.event(event)?.total.as_ref().map(|total| &total.summary)
}

/// Compares the report with what the program did.
fn check(report: &Report) -> Result<(), AnyError> {
    let total = |event| total(report, event).ok_or(format!("nothing recorded as {event:?}"));
    let job = report.event(Desk::Job).ok_or("the collector does not have the jobs")?;
    expect("ended jobs", job.outcomes.ok, JOBS)?;
    expect("jobs sent", total(Desk::JobsWaiting)?.count, JOBS)?;
    expect("results sent", total(Desk::ResultsWaiting)?.count, JOBS)?;
    expect("quotes received", total(Desk::QuotesWaiting)?.count, BURSTS * QUOTES_KEPT as u64)?;
    expect("bursts that lost quotes", total(Desk::QuotesLost)?.count, BURSTS)?;
    expect("quotes lost at once", total(Desk::QuotesLost)?.max, QUOTES_LOST)?;
    let unseen = total(Desk::SettingsUnseen)?;
    // The sum of the values is the number of changes.
    let mean = unseen.mean.ok_or("the mean of the changes is not known")?;
    let changes = FixedPoint::from_bits(mean.to_bits() * unseen.count).map(FixedPoint::round);
    expect("changes of the settings", changes.unwrap_or(u64::MAX), CHANGES)?;

    let health = &report.health;
    expect("delivered records", health.delivered, health.produced)?;
    for (what, count) in [
        ("overwritten", health.overwritten),
        ("unregistered", health.unregistered),
        ("pending", health.pending),
        ("invalid", health.invalid),
        ("unknown", health.unknown_events),
        ("orphaned", health.orphans),
        ("open", job.in_flight.open + job.in_flight.untracked),
        ("abandoned", health.abandoned),
    ] {
        expect(what, count, 0)?;
    }
    Ok(())
}

/// Returns an error that names `what` if its number is not the expected one.
fn expect(what: &str, number: u64, expected: u64) -> Result<(), AnyError> {
    if number == expected {
        Ok(())
    } else {
        Err(format!("{what}: {number}, not {expected}").into())
    }
}
