//! What the tests share.

#![allow(dead_code, reason = "each test is a crate of its own and needs a part of it")]

use core::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};
use std::{
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Instant,
};

use tailwatch::{Collector, Delivery, Kind, Outcome, Record};

/// A delivery, kept.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) event: String,
    pub(crate) kind: Kind,
    pub(crate) duration_ns_or_value: Option<u64>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) tag: Option<u64>,
    pub(crate) thread: String,
    pub(crate) record: Record,
}

impl Seen {
    /// The tick at which the span of this START or END began: what both have in common.
    pub(crate) fn start_tick(&self) -> u64 {
        self.record.ticks() - if self.kind == Kind::Start { 0 } else { self.record.payload() }
    }
}

/// Keeps what is delivered.
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
                thread: delivery.thread.to_owned(),
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

/// Counts what is delivered, for tests that record too much to keep it.
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

/// Holds until the test is over: tests of one process install collectors one after the other.
pub(crate) fn in_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // The test that poisoned it has failed already.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The loss law of a collector that has stopped: `pushed` counted by who recorded, `delivered` by an observer.
#[track_caller]
pub(crate) fn assert_accounted(collector: &Collector, pushed: u64, delivered: u64) {
    let health = collector.health();
    assert_eq!(
        delivered + health.overwritten + health.unregistered,
        pushed,
        "the loss law: {health:?}"
    );
    assert_eq!(health.pending, 0, "nothing is left behind: {health:?}");
    assert_eq!(
        health.delivered, delivered,
        "the collector counts as its observer does: {health:?}"
    );
}

/// Runs `work` in a thread of its own, whose panic it passes on; fails if it takes longer than a minute.
#[track_caller]
pub(crate) fn without_hanging(work: impl FnOnce() + Send + 'static) {
    let (alive, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _alive = alive;
        work();
    });
    let waited = ended.recv_timeout(Duration::from_mins(1));
    assert_ne!(waited, Err(mpsc::RecvTimeoutError::Timeout), "it hangs");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Gives way to other threads until `is_so`; to be called in [`without_hanging`].
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        thread::yield_now();
    }
}

/// Runs `work` in a thread of this name, to its very end: its thread-locals are gone.
#[track_caller]
pub(crate) fn in_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Works for so long.
pub(crate) fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        core::hint::spin_loop();
    }
}

/// Says it even if the test passes, which hides what it prints by the macros.
pub(crate) fn say_loudly(text: &str) {
    // A stderr that is closed has no reader.
    let _ = writeln!(std::io::stderr(), "\n*** {text}\n");
}

/// Two lengths between which the one that a span tells has to be, each measured by the operating system's clock: from
/// just after its begin to just before its end, and from just before its begin to just after its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bracket {
    pub(crate) inner: Duration,
    pub(crate) outer: Duration,
}

impl Bracket {
    /// Two clocks may differ by 1,000 ppm, as the clock contract has it, and the processor may read the counter a
    /// microsecond from where the program says.
    #[track_caller]
    pub(crate) fn assert_holds(&self, told_ns: u64, what: &str) {
        let told = Duration::from_nanos(told_ns);
        let tolerance = self.outer / 1_000 + Duration::from_micros(1);
        assert!(told + tolerance >= self.inner, "{what}: told {told:?} is shorter than {self:?}");
        assert!(told <= self.outer + tolerance, "{what}: told {told:?} is longer than {self:?}");
    }
}

/// Just before and just after a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    before: Instant,
    after: Instant,
}

impl Around {
    /// Runs `moment`, which is to be short.
    pub(crate) fn the<T>(moment: impl FnOnce() -> T) -> (T, Self) {
        let before = Instant::now();
        let result = moment();
        (result, Self { before, after: Instant::now() })
    }

    /// From this moment to that one.
    pub(crate) fn to(self, end: Self) -> Bracket {
        Bracket { inner: end.before - self.after, outer: end.after - self.before }
    }
}
