//! A hiccup probe, as jHiccup is one: a thread that does nothing but sleep, and measures how late it is woken.

use core::{error, fmt, time::Duration};
use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Instant,
};

use tailwatch_core::{
    Event,
    sync::{AtomicU8, Ordering::Relaxed},
};

use crate::{Collector, RegisterError, measure::record_duration, thread_recorder::OFF};

/// Measures how late a sleeping thread is woken, until it is stopped or dropped.
///
/// What stops a thread that should run, be it a garbage collector next door, the scheduler, another process or the hypervisor,
/// stops every other thread on its core as well: a slow span beside such a pause is not the span's fault. The floor is the
/// timer's own slack, some 50 µs on Linux; a pause shorter than the period is seen only if it hits the wake-up. It takes a ring
/// and wakes up once a period.
///
/// ```
/// use std::time::Duration;
/// use tailwatch::{Collector, HiccupProbe, Trading};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().start()?;
/// let probe = HiccupProbe::start(&collector, Trading::GcPause, Duration::from_millis(1))?;
/// // … the program …
/// probe.stop();
/// collector.stop();
/// assert!(collector.total(Trading::GcPause)?.is_some()); // at least its first wake-up
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a probe stops when it is dropped"]
pub struct HiccupProbe {
    stop: Arc<AtomicU8>,
    thread: Option<JoinHandle<()>>,
}

impl HiccupProbe {
    /// Starts the thread `hiccup`, which records into `collector`, as durations of `event`, by how much each sleep of one `period`
    /// was too long.
    ///
    /// # Errors
    /// If the operating system gives no thread, or the collector has no ring for it.
    pub fn start(
        collector: &Collector,
        event: impl Event + Send + 'static,
        period: Duration,
    ) -> Result<Self, HiccupError> {
        let stop = Arc::new(AtomicU8::new(0));
        if OFF {
            return Ok(Self { stop, thread: None });
        }
        let stopped = Arc::clone(&stop);
        let register = collector.registration();
        let (registered, outcome) = mpsc::channel();
        let run = move || {
            let result = register("hiccup");
            let is_registered = result.is_ok();
            // Nobody listens any more only if nobody has the probe.
            let _ = registered.send(result);
            if is_registered {
                loop {
                    let start = Instant::now();
                    thread::sleep(period);
                    record_duration(event, start.elapsed().saturating_sub(period));
                    if stopped.load(Relaxed) != 0 {
                        return;
                    }
                }
            }
        };
        let thread = thread::Builder::new()
            .name("hiccup".to_owned())
            .spawn(run)
            .map_err(HiccupError::Thread)?;
        let probe = Self { stop, thread: Some(thread) };
        match outcome.recv() {
            Ok(Err(error)) => Err(HiccupError::Register(error)),
            _ => Ok(probe),
        }
    }

    /// Ends the thread, after the sleep that it is in, and waits for it.
    pub fn stop(self) {
        // By `Drop`.
    }
}

impl Drop for HiccupProbe {
    fn drop(&mut self) {
        self.stop.store(1, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does not panic but by the event's own code, which is told on stderr then.
            let _ = thread.join();
        }
    }
}

/// A hiccup probe could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum HiccupError {
    /// The operating system gave no thread.
    Thread(io::Error),
    /// The collector had no ring for it.
    Register(RegisterError),
}

impl fmt::Display for HiccupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "no thread for the hiccup probe: {error}"),
            Self::Register(error) => write!(f, "no ring for the hiccup probe: {error}"),
        }
    }
}

impl error::Error for HiccupError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Thread(error) => Some(error),
            Self::Register(error) => Some(error),
        }
    }
}
