//! What the tests share: a log of the records that a collector delivers, and runtimes whose threads
//! record into that collector.

#![allow(dead_code, reason = "each test crate uses only some of the helpers")]

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
};

use tailwatch::{Builder, Collector, Delivery, Event, EventId, Kind};
use tokio::runtime::{self, Runtime};

pub(crate) const START: Kind = Kind::Start;
pub(crate) const OK: Kind = Kind::EndOk;
pub(crate) const ERROR: Kind = Kind::EndError;
pub(crate) const CANCELLED: Kind = Kind::EndCancelled;

/// A copy of a record that the drain delivered to the collector's observer.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) event: EventId,
    pub(crate) kind: Kind,
    /// A duration in nanoseconds, or a plain number; `None` for a START.
    pub(crate) value: Option<u64>,
    /// The span's tag; `None` unless the record is a START.
    pub(crate) tag: Option<u64>,
    /// The name of the thread that recorded it.
    pub(crate) thread: String,
    /// The tick at which the record was written.
    pub(crate) ticks: u64,
}

/// A list of all records that were delivered to an observer. Clones share the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    /// Returns an observer that appends each record to the list.
    pub(crate) fn observer(&self) -> impl FnMut(&Delivery<'_>) + Send + use<> {
        let log = Arc::clone(&self.0);
        move |delivery| {
            log.lock().unwrap().push(Seen {
                event: delivery.id.unwrap(),
                kind: delivery.kind,
                value: delivery.duration_ns_or_value,
                tag: delivery.tag,
                thread: delivery.thread.to_owned(),
                ticks: delivery.record.ticks(),
            });
        }
    }

    /// Returns all records, oldest first. They are sorted here, because the drain delivers them
    /// thread by thread.
    pub(crate) fn all(&self) -> Vec<Seen> {
        let mut all = self.0.lock().unwrap().clone();
        all.sort_by_key(|seen| seen.ticks);
        all
    }

    /// Returns the number of records.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Returns the records of `event`, oldest first.
    pub(crate) fn records_of(&self, event: impl Event) -> Vec<Seen> {
        self.all().into_iter().filter(|seen| seen.event == event.id()).collect()
    }

    /// Returns the kinds of the records of `event`, oldest record first.
    pub(crate) fn kinds(&self, event: impl Event) -> Vec<Kind> {
        self.records_of(event).iter().map(|seen| seen.kind).collect()
    }

    /// Returns the durations in nanoseconds, or the plain numbers, of the records of `event`,
    /// oldest record first.
    pub(crate) fn values(&self, event: impl Event) -> Vec<u64> {
        self.records_of(event).iter().filter_map(|seen| seen.value).collect()
    }
}

/// A collector with a log of its records, and a runtime whose threads record into this collector.
///
/// The current thread is registered with the collector as well. The collector is not installed for
/// the whole process, because tests that run at the same time would then share it.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) collector: Arc<Collector>,
    pub(crate) log: Log,
    pub(crate) runtime: Runtime,
    /// The kind of the runtime, for messages of failed assertions.
    pub(crate) name: &'static str,
}

impl Bench {
    /// Drains the rings and returns the log of everything recorded so far.
    pub(crate) fn flushed(&self) -> &Log {
        self.collector.flush();
        &self.log
    }
}

fn builder() -> Builder {
    Collector::builder().ignore_environment().manual_drain()
}

/// Starts a collector that `setup` has configured, and a runtime with `workers` worker threads (0
/// for a current-thread runtime), which are registered with the collector.
fn bench(
    name: &'static str,
    setup: impl FnOnce(Builder) -> Builder,
    mut runtime: runtime::Builder,
    workers: usize,
) -> Bench {
    let log = Log::default();
    let collector = Arc::new(setup(builder()).observer(log.observer()).start().unwrap());
    collector.register_thread("main").unwrap();
    let collector_of_threads = Arc::clone(&collector);
    let (results, received_results) = mpsc::channel();
    runtime.on_thread_start(move || {
        let name = format!("{:?}", thread::current().id());
        // Sending fails for threads that start after this function has returned. Nobody waits for
        // their results.
        let _ = results.send(collector_of_threads.register_thread(&name));
    });
    let runtime = runtime.enable_all().build().unwrap();
    for _ in 0..workers {
        received_results.recv().unwrap().unwrap();
    }
    Bench { collector, log, runtime, name }
}

/// Creates a bench with a current-thread runtime.
pub(crate) fn on_current_thread(setup: impl FnOnce(Builder) -> Builder) -> Bench {
    bench("current thread", setup, runtime::Builder::new_current_thread(), 0)
}

/// Creates a bench with a current-thread runtime whose clock is paused: the clock advances only
/// when the test advances it, or when all tasks are idle.
pub(crate) fn paused(setup: impl FnOnce(Builder) -> Builder) -> Bench {
    let mut runtime = runtime::Builder::new_current_thread();
    runtime.start_paused(true);
    bench("current thread, paused", setup, runtime, 0)
}

/// Creates a bench with a runtime of two worker threads.
pub(crate) fn on_workers(setup: impl FnOnce(Builder) -> Builder) -> Bench {
    let mut runtime = runtime::Builder::new_multi_thread();
    runtime.worker_threads(2);
    bench("two workers", setup, runtime, 2)
}

/// Runs `test` on both kinds of runtime. The runs follow each other, because a thread can be
/// registered with only one collector at a time.
pub(crate) fn on_both(setup: impl Fn(Builder) -> Builder, test: impl Fn(Bench)) {
    test(on_current_thread(&setup));
    test(on_workers(&setup));
}
