//! A thread that writes a collector's report periodically.

#[cfg(feature = "table")]
mod screen;

use core::{fmt, mem, time::Duration};
#[cfg(feature = "table")]
use std::io::IsTerminal;
use std::{
    io::{self, Write},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    time::Instant,
};

#[cfg(feature = "table")]
use self::screen::Screen;
#[cfg(feature = "table")]
use crate::report::table::has_escapes;
use crate::{
    collector::Collector,
    own_thread::{OwnThread, placement::Placement},
    report::Report,
};

/// The shortest interval. A program that flushes can have a new report in each interval. The drain
/// alone publishes one at most every 10 ms, so below this the reporter repeats reports.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// How long [`Reporter::stop`] and the drop of a reporter wait for the thread.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Emits a collector's report at a fixed interval, on a thread of its own.
///
/// The reporter reads the last report that the drain published, so the drain never waits for it.
/// With more than 512 events and an interval of more than 5 s, that report may be up to 5 s old if
/// nobody else reads reports: see [`Collector::report`]. If emitting a report takes longer than the
/// interval, the reporter skips the intervals that passed meanwhile. An interval below 1 ms is
/// raised to 1 ms.
///
/// [`table`](Self::table) and [`json_lines`](Self::json_lines) pass each table or line to the
/// writer in one call. So several reporters, also of several processes, may write to one file that
/// each of them has opened for appending. Through a pipe, the operating system may interleave texts
/// of more than 4 KiB.
///
/// The thread blocks signals, and runs on the cores that the process may use, or on the one that
/// [`start_on_core`](Self::start_on_core) gets. A process that was forked from that of the reporter
/// may drop its copy or [`stop`](Self::stop) it, which does nothing there.
///
/// When the reporter is stopped or dropped, it emits a last report, unless one failed before. Stop
/// the collector before, so that this report includes everything that was recorded.
///
/// ```
/// use std::time::Duration;
/// use tailwatch::{Collector, Reporter};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().start()?;
/// let reporter = Reporter::table(&collector, Duration::from_secs(5), std::io::stderr())?;
/// // … the program …
/// collector.stop();
/// reporter.stop()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a reporter stops when it is dropped"]
pub struct Reporter {
    /// `None` once the reporter was stopped.
    running: Option<Running>,
}

/// The thread of a reporter, and the channels to and from it.
struct Running {
    /// Dropping it disconnects the channel, which stops the thread.
    alive: SyncSender<()>,
    /// Receives the result of the thread when it is about to end, and none if it has panicked. In a
    /// mutex, so that a reporter is `Sync`.
    ended: Mutex<Receiver<io::Result<()>>>,
    thread: OwnThread<()>,
}

impl Reporter {
    /// Starts a reporter that writes the report to `to` as a table for people, once in each
    /// interval `every`. A report of more than 30 events is cut to those that matter most. To sort
    /// or cut it in another way, pass a closure to [`start`](Self::start) that writes
    /// [`Report::table`].
    ///
    /// # Errors
    /// Returns an error if the operating system cannot start the thread.
    #[cfg(feature = "table")]
    pub fn table(
        collector: &Collector,
        every: Duration,
        mut to: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        Self::start(collector, every, move |report| write_whole(&mut to, &format!("{report}\n")))
    }

    /// Starts a reporter that shows the report as a table that is always up to date: on a terminal,
    /// each table replaces the one before, and is as wide as the terminal
    /// ([`ReportTable::for_terminal`](crate::ReportTable::for_terminal)). On any other stream, and
    /// on a terminal with `TERM=dumb`, it does the same as [`table`](Self::table): each table
    /// begins with its time.
    ///
    /// What does not fit on the screen is left out, except in the report of a stopped collector.
    /// Nothing else should be written to the terminal meanwhile: the next table would overwrite
    /// some of it. If the terminal becomes narrower, or has less than 40 columns, parts of earlier
    /// tables stay above.
    ///
    /// ```no_run
    /// use std::{io, time::Duration};
    /// use tailwatch::{Collector, Reporter};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().start()?;
    /// let reporter = Reporter::live(&collector, Duration::from_millis(500), io::stderr())?;
    /// // … the program …
    /// collector.stop();
    /// reporter.stop()?; // the last table stays on the terminal
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the operating system cannot start the thread.
    #[cfg(feature = "table")]
    pub fn live(
        collector: &Collector,
        every: Duration,
        mut to: impl Write + IsTerminal + Send + 'static,
    ) -> io::Result<Self> {
        let mut screen = has_escapes(&to).then(Screen::default);
        Self::start(collector, every, move |report| {
            let text = match &mut screen {
                Some(screen) => screen.show(report, &report.table().for_terminal(&to).to_string()),
                None => format!("{report}\n"),
            };
            write_whole(&mut to, &text)
        })
    }

    /// Starts a reporter that writes the report to `to` as JSON of the schema `tailwatch.report/2`,
    /// one line in each interval `every`.
    ///
    /// # Errors
    /// Returns an error if the operating system cannot start the thread.
    pub fn json_lines(
        collector: &Collector,
        every: Duration,
        mut to: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        Self::start(collector, every, move |report| {
            write_whole(&mut to, &(report.to_json() + "\n"))
        })
    }

    /// Starts a reporter that calls `emit` with the report once in each interval `every`, for
    /// example to send the report somewhere.
    ///
    /// If `emit` returns an error, the reporter ends, and [`stop`](Self::stop) returns the error.
    ///
    /// # Errors
    /// Returns an error if the operating system cannot start the thread.
    pub fn start(
        collector: &Collector,
        every: Duration,
        emit: impl FnMut(&Report) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        Self::spawn(collector, every, Placement::default(), emit)
    }

    /// Does the same as [`start`](Self::start), with the thread pinned to the core to which the
    /// operating system gives the number `core`.
    ///
    /// # Errors
    /// Returns an error if the operating system cannot start the thread, or does not let it run on
    /// the core.
    pub fn start_on_core(
        collector: &Collector,
        every: Duration,
        core: usize,
        emit: impl FnMut(&Report) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        Self::spawn(collector, every, Placement::on_core(core), emit)
    }

    fn spawn(
        collector: &Collector,
        every: Duration,
        placement: Placement,
        mut emit: impl FnMut(&Report) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let published = collector.published();
        let (alive, stopped) = mpsc::sync_channel::<()>(0);
        let every = every.max(MIN_INTERVAL);
        let mut emit_until_stopped = move || {
            let start = Instant::now();
            loop {
                // The intervals are counted from the start, so that delays do not add up.
                let since_last =
                    Duration::from_nanos_u128(start.elapsed().as_nanos() % every.as_nanos());
                let end = match stopped.recv_timeout(every.saturating_sub(since_last)) {
                    Err(RecvTimeoutError::Timeout) => false,
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
                };
                emit(&published.report())?;
                if end {
                    return Ok(());
                }
            }
        };
        let (result, ended) = mpsc::channel();
        let run = move || {
            let emitted = emit_until_stopped();
            // Before the result is sent, because dropping `emit` may write what is in a buffer.
            drop(emit_until_stopped);
            // Nobody receives the result if `stop` has not waited long enough.
            let _ = result.send(emitted);
        };
        let thread = OwnThread::spawn("tailwatch-emit", placement, run)?;
        Ok(Self { running: Some(Running { alive, ended: Mutex::new(ended), thread }) })
    }

    /// Emits a last report, unless one failed before, and ends the thread. Waits until the thread
    /// has ended, for at most 5 s: a file may block for ever, such as a pipe that nobody reads.
    /// Dropping the reporter does the same, and ignores the error.
    ///
    /// If the reporter's own thread makes this call, which only code in `emit` or in a writer can
    /// do, it does not block: the thread emits the last report and ends after the call has
    /// returned.
    ///
    /// # Errors
    /// Returns the error of the writer or of `emit`, in an earlier report or in the last one.
    /// Returns an error of the kind [`Other`](io::ErrorKind::Other) if the thread has panicked, and
    /// of the kind [`TimedOut`](io::ErrorKind::TimedOut) if the thread has not ended in time. It
    /// then ends when the report that it is emitting, and the last one, have been emitted.
    pub fn stop(self) -> io::Result<()> {
        self.stop_within(STOP_TIMEOUT)
    }

    /// Does the same as [`stop`](Self::stop), but waits for at most `time`.
    ///
    /// # Errors
    /// Returns the same errors.
    pub fn stop_within(mut self, time: Duration) -> io::Result<()> {
        self.end(time)
    }

    fn end(&mut self, time: Duration) -> io::Result<()> {
        let Some(running) = self.running.take() else { return Ok(()) };
        if running.thread.is_inherited() {
            // Forgotten and not dropped: a thread of the parent may have had locks of the channels.
            mem::forget(running);
            return Ok(());
        }
        let Running { alive, ended, mut thread } = running;
        drop(alive);
        // A thread that waited for itself would wait in vain. It ends by itself, as `alive` is
        // gone.
        if thread.is_current() {
            return Ok(());
        }
        let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        match ended.recv_timeout(time) {
            Ok(result) => {
                // Returns soon, because the thread has sent its result at its end.
                let _ = thread.join();
                result
            }
            Err(RecvTimeoutError::Timeout) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the reporter was not able to emit its last report within {time:?}"),
            )),
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("the reporter's thread panicked"))
            }
        }
    }
}

/// Writes a table or line by one call of `write`, so that no other writer of the same file can
/// write in the middle of it, and flushes it.
fn write_whole(to: &mut impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}

impl Drop for Reporter {
    fn drop(&mut self) {
        // A drop cannot return the error. Call `stop` to get it.
        let _ = self.end(STOP_TIMEOUT);
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}
