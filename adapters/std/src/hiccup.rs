//! A hiccup probe like jHiccup: a thread that sleeps repeatedly and measures how much later than
//! requested it is woken.

use core::{error, fmt, time::Duration};
use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use tailwatch_core::{
    AnyEvent, Event,
    sync::{AtomicU8, Ordering::Relaxed},
};
use tailwatch_record::{collecting::OFF, record_duration};

use crate::{
    collector::{Collector, error::RegisterError},
    own_thread::{OwnThread, placement::Placement},
};

/// The shortest period. Waking up takes a thread some microseconds.
const MIN_PERIOD: Duration = Duration::from_micros(10);

/// Measures how late a sleeping thread is woken, until the probe is stopped or dropped.
///
/// If the scheduler, another process or the hypervisor stops the threads on a core for a while, the
/// probe is woken late by that time. A span that was slow during such a pause was not slow because
/// of its own work.
///
/// The shortest period is 10 µs, because a thread that sleeps for less is awake for most of the
/// time. The smallest delay is the timer slack of the operating system, about 50 µs on Linux. A
/// pause that is shorter than the period is detected only if the thread should have been woken
/// during the pause. The probe takes one ring and wakes up once per period.
///
/// ```
/// use std::time::Duration;
/// use tailwatch::{Collector, HiccupProbe, Trading};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().start()?;
/// let probe = HiccupProbe::start(&collector, Trading::GcPause, Duration::from_millis(1))?;
/// // … the program …
/// # while collector.total(Trading::GcPause)?.is_none() {
/// #     std::thread::sleep(Duration::from_millis(1));
/// # }
/// probe.stop();
/// collector.stop();
/// println!("{}", collector.report());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a probe stops when it is dropped"]
pub struct HiccupProbe {
    /// Not 0 once the thread has to end.
    stop: Arc<AtomicU8>,
    /// `None` once the thread has ended, or if recording is compiled out.
    thread: Option<OwnThread<()>>,
}

impl HiccupProbe {
    /// Starts a thread named `hiccup`, which sleeps for one `period` at a time. After each sleep it
    /// records into `collector`, as a duration of `event`, how much longer than `period` the sleep
    /// took.
    ///
    /// # Errors
    /// Returns an error if `period` is below 10 µs, if the operating system cannot start the
    /// thread, or if the thread gets no ring of `collector`.
    pub fn start(
        collector: &Collector,
        event: impl Event,
        period: Duration,
    ) -> Result<Self, HiccupError> {
        Self::spawn(collector, event.any(), period, Placement::default())
    }

    /// Does the same as [`start`](Self::start), with the thread pinned to the core to which the
    /// operating system gives the number `core`. It then measures the pauses of that core.
    ///
    /// # Errors
    /// Returns the errors of [`start`](Self::start), and one if the operating system does not let
    /// the thread run on the core.
    pub fn start_on_core(
        collector: &Collector,
        event: impl Event,
        period: Duration,
        core: usize,
    ) -> Result<Self, HiccupError> {
        Self::spawn(collector, event.any(), period, Placement::on_core(core))
    }

    fn spawn(
        collector: &Collector,
        event: AnyEvent,
        period: Duration,
        placement: Placement,
    ) -> Result<Self, HiccupError> {
        if period < MIN_PERIOD {
            return Err(HiccupError::PeriodTooShort { period, minimum: MIN_PERIOD });
        }
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
            // Sending cannot fail, because `start` waits for this message.
            let _ = registered.send(result);
            if !is_registered {
                return;
            }
            loop {
                let start = Instant::now();
                // Repeated, because parking may end too early.
                let late_by = loop {
                    if stopped.load(Relaxed) != 0 {
                        return;
                    }
                    match period.checked_sub(start.elapsed()) {
                        Some(rest) if !rest.is_zero() => thread::park_timeout(rest),
                        _ => break start.elapsed().saturating_sub(period),
                    }
                };
                record_duration(event, late_by);
            }
        };
        let thread = OwnThread::spawn("hiccup", placement, run)
            .map_err(|error| HiccupError::Thread(error.into()))?;
        let probe = Self { stop, thread: Some(thread) };
        match outcome.recv() {
            Ok(Err(error)) => Err(HiccupError::Register(error)),
            _ => Ok(probe),
        }
    }

    /// Stops the probe: wakes its thread, and waits until the thread has ended. The sleep that this
    /// interrupts is not recorded.
    ///
    /// Dropping the probe does the same.
    pub fn stop(self) {
        // `Drop` ends the thread.
    }
}

impl Drop for HiccupProbe {
    fn drop(&mut self) {
        self.stop.store(1, Relaxed);
        if let Some(mut own) = self.thread.take() {
            if let Some(thread) = own.thread() {
                thread.unpark();
            }
            // No code of the program runs on this thread, so only a bug could make it panic.
            let _ = own.join();
        }
    }
}

/// The error returned when a [`HiccupProbe`] cannot be started.
#[non_exhaustive]
pub enum HiccupError {
    /// The period is so short that the thread would hardly sleep.
    PeriodTooShort {
        /// The requested period.
        period: Duration,
        /// The shortest period.
        minimum: Duration,
    },
    /// The operating system could not start the thread.
    Thread(io::Error),
    /// The thread got no ring of the collector.
    Register(RegisterError),
}

impl fmt::Display for HiccupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeriodTooShort { period, minimum } => write!(
                f,
                "the period of the hiccup probe is {period:?}, which is too short; the minimum is \
                 {minimum:?}"
            ),
            Self::Thread(error) => {
                write!(f, "the hiccup probe's thread cannot be started: {error}")
            }
            Self::Register(error) => {
                write!(f, "the hiccup probe's thread cannot be registered: {error}")
            }
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for HiccupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for HiccupError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::PeriodTooShort { .. } => None,
            Self::Thread(error) => Some(error),
            Self::Register(error) => Some(error),
        }
    }
}
