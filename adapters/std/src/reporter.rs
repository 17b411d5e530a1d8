//! Tells what is known, again and again.

use core::{fmt, time::Duration};
use std::{
    io::{self, Write},
    sync::mpsc::{self, RecvTimeoutError, SyncSender},
    thread::{self, JoinHandle},
    time::Instant,
};

use crate::{Collector, Report};

/// A shorter beat is as good as none: reports are published every 10 ms at the most.
const SHORTEST: Duration = Duration::from_millis(1);

/// Tells a collector's report at a beat, in a thread of its own: the drain never waits for it.
///
/// It reads what was published, at most 10 ms after the drain's last pass. A telling that takes longer than the beat is followed by
/// the next one on the beat, not by all that were missed. When it is stopped or dropped it tells a last one; for a last report with
/// everything in it, stop the collector first.
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
    /// Until it is stopped; that nobody has it any more ends the thread.
    alive: Option<SyncSender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Reporter {
    /// Writes the report as a table for people.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn table(
        collector: &Collector,
        every: Duration,
        mut to: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        Self::start(collector, every, move |report| {
            writeln!(to, "{report}")?;
            to.flush()
        })
    }

    /// Writes the report as JSON of schema `tailwatch.report/1`, one in a line.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn json_lines(
        collector: &Collector,
        every: Duration,
        mut to: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        Self::start(collector, every, move |report| {
            writeln!(to, "{}", report.to_json())?;
            to.flush()
        })
    }

    /// Calls `tell` with the report, such as to send it somewhere. An error that it returns ends the reporter, and
    /// [`stop`](Self::stop) returns it.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(
        collector: &Collector,
        every: Duration,
        mut tell: impl FnMut(&Report) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let published = collector.published();
        let (alive, stopped) = mpsc::sync_channel::<()>(0);
        let every = every.max(SHORTEST);
        let run = move || {
            let start = Instant::now();
            loop {
                let since_beat =
                    Duration::from_nanos_u128(start.elapsed().as_nanos() % every.as_nanos());
                let end = match stopped.recv_timeout(every.saturating_sub(since_beat)) {
                    Err(RecvTimeoutError::Timeout) => false,
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
                };
                tell(&published.report())?;
                if end {
                    return Ok(());
                }
            }
        };
        let thread = thread::Builder::new().name("tailwatch-report".to_owned()).spawn(run)?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }

    /// Tells a last report and ends the thread.
    ///
    /// # Errors
    /// What ended it before, or went wrong with the last one: a writer's error, or a panic of what was called.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.alive = None;
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the reporter panicked")),
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        // Who wants to know calls `stop`.
        let _ = self.end();
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}
