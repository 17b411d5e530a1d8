//! Helpers shared by the tests.

#![allow(dead_code, reason = "each test is a crate of its own and uses only some of the helpers")]

use core::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Instant,
};

use tailwatch::{Collector, Delivery, Kind, Outcome, Record};

/// A copy of a [`Delivery`].
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) event: String,
    pub(crate) kind: Kind,
    pub(crate) duration_ns_or_value: Option<u64>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) tag: Option<u64>,
    pub(crate) is_repeated_tag: bool,
    pub(crate) thread: String,
    pub(crate) tid: Option<u64>,
    pub(crate) record: Record,
}

impl Seen {
    /// Returns the tick at which the span of this START or END began, which is the same for both.
    pub(crate) fn start_tick(&self) -> u64 {
        self.record.ticks() - if self.kind == Kind::Start { 0 } else { self.record.payload() }
    }
}

/// A file in memory, whose clones share their contents.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl MemoryFile {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).expect("the text is UTF-8")
    }
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps a copy of every delivery.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    pub(crate) fn observer(&self) -> impl FnMut(&Delivery<'_>) + Send + use<> {
        let log = Arc::clone(&self.0);
        move |delivery| {
            log.lock().unwrap().push(Seen {
                event: delivery.event.to_owned(),
                kind: delivery.kind,
                duration_ns_or_value: delivery.duration_ns_or_value,
                outcome: delivery.outcome,
                tag: delivery.tag,
                is_repeated_tag: delivery.is_repeated_tag,
                thread: delivery.thread.to_owned(),
                tid: delivery.tid,
                record: delivery.record,
            });
        }
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.all().iter().map(|seen| seen.kind).collect()
    }
}

/// Counts deliveries, for tests that record too much to keep it all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<AtomicU64>);

impl Tally {
    pub(crate) fn observer(&self) -> impl FnMut(&Delivery<'_>) + Send + use<> {
        let tally = Arc::clone(&self.0);
        move |_| {
            tally.fetch_add(1, SeqCst);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

/// Returns a lock to hold for the whole test, so that the tests of one process, which install
/// collectors, run one after the other.
pub(crate) fn in_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that poisoned the lock has failed already; the other tests can still run.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asserts the loss law for a stopped collector. `pushed` is counted by the recording threads,
/// `delivered` by an observer.
#[track_caller]
pub(crate) fn assert_accounted(collector: &Collector, pushed: u64, delivered: u64) {
    let health = collector.health();
    assert_eq!(
        delivered + health.overwritten + health.unregistered,
        pushed,
        "the loss law does not hold: {health:?}"
    );
    assert_eq!(health.pending, 0, "records are left in the rings: {health:?}");
    assert_eq!(
        health.delivered, delivered,
        "the collector and its observer count differently: {health:?}"
    );
}

/// Runs `work` in a new thread and passes a panic on. Fails if `work` takes longer than a minute.
#[track_caller]
pub(crate) fn without_hanging(work: impl FnOnce() + Send + 'static) {
    let (alive, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _alive = alive;
        work();
    });
    let waited = ended.recv_timeout(Duration::from_mins(1));
    assert_ne!(waited, Err(mpsc::RecvTimeoutError::Timeout), "the test has hung for a minute");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Yields to other threads until `condition` is true. Call it inside [`without_hanging`], as it has
/// no timeout of its own.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

/// Runs `work` in a new thread called `name` and waits until the thread has ended, which includes
/// the drop of its thread-locals.
#[track_caller]
pub(crate) fn in_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread =
        thread::Builder::new().name(name.to_owned()).spawn(work).expect("the thread starts");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Returns the number that the operating system gave the current thread, as Linux's `/proc` shows
/// it, and `None` on other systems.
pub(crate) fn current_tid() -> Option<u64> {
    let link = std::fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// Keeps the processor busy for `time`.
pub(crate) fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        core::hint::spin_loop();
    }
}

/// Prints a notice to stderr that is visible even if the test passes: libtest captures only what
/// the print macros write.
pub(crate) fn print_notice(text: &str) {
    // If stderr is closed, nobody can read the notice anyway.
    let _ = writeln!(std::io::stderr(), "\n*** {text}\n");
}

/// The shortest and the longest duration that a span can have had, measured by the operating
/// system's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DurationBounds {
    /// From just after the span's begin to just before its end.
    pub(crate) shortest: Duration,
    /// From just before the span's begin to just after its end.
    pub(crate) longest: Duration,
}

impl DurationBounds {
    /// Asserts that the duration that was recorded for `what` is within these bounds.
    ///
    /// The tolerance is 1,000 ppm, by which the clock contract allows two clocks to differ, plus a
    /// microsecond, as the processor may read the counter that much earlier or later than the
    /// program asks for it.
    #[track_caller]
    pub(crate) fn assert_contain(&self, recorded_ns: u64, what: &str) {
        let recorded = Duration::from_nanos(recorded_ns);
        let tolerance = self.longest / 1_000 + Duration::from_micros(1);
        assert!(
            recorded + tolerance >= self.shortest,
            "{what}: {recorded:?}, shorter than {self:?}"
        );
        assert!(recorded <= self.longest + tolerance, "{what}: {recorded:?}, longer than {self:?}");
    }
}

/// The moment of an action: a time just before it and one just after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    before: Instant,
    after: Instant,
}

impl Moment {
    /// Runs `action`, which should be short, and returns its result and its moment.
    pub(crate) fn of<T>(action: impl FnOnce() -> T) -> (T, Self) {
        let before = Instant::now();
        let result = action();
        (result, Self { before, after: Instant::now() })
    }

    /// Returns the bounds of the time from this moment to `end`.
    pub(crate) fn to(self, end: Self) -> DurationBounds {
        DurationBounds { shortest: end.before - self.after, longest: end.after - self.before }
    }
}

/// Runs `test` in a process of its own, in which no other test has started a collector. `name` is
/// the path of the test function that calls this.
pub(crate) fn in_own_process(name: &str, test: impl FnOnce()) {
    const VARIABLE: &str = "TEST_IN_OWN_PROCESS";
    if std::env::var_os(VARIABLE).is_some() {
        return test();
    }
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program)
        .args([name, "--exact", "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{errors}");
    assert!(printed.contains("1 passed"), "{name} is no test: {printed}");
}

/// A directory of one test, in memory if possible, which is removed with this.
#[derive(Debug)]
pub(crate) struct Scratch(std::path::PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let memory = std::path::PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let number = NUMBER.fetch_add(1, SeqCst);
        let directory = parent.join(format!("tailwatch-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.0
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
