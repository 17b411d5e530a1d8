//! Helpers that the tests share.

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

/// A copy of a record that was delivered to the observer.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) event: EventId,
    pub(crate) kind: Kind,
    /// A duration in nanoseconds, or a plain number.
    pub(crate) value: Option<u64>,
    pub(crate) tag: Option<u64>,
    pub(crate) thread: String,
    /// When the record was written, in ticks of the clock.
    pub(crate) ticks: u64,
}

/// Collects the records that are delivered to an observer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
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

    /// Returns all records, oldest first. They are delivered thread by thread, hence the sorting.
    pub(crate) fn all(&self) -> Vec<Seen> {
        let mut all = self.0.lock().unwrap().clone();
        all.sort_by_key(|seen| seen.ticks);
        all
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Returns the records of one event, oldest first.
    pub(crate) fn of(&self, event: impl Event) -> Vec<Seen> {
        self.all().into_iter().filter(|seen| seen.event == event.id()).collect()
    }

    pub(crate) fn kinds(&self, event: impl Event) -> Vec<Kind> {
        self.of(event).iter().map(|seen| seen.kind).collect()
    }

    pub(crate) fn values(&self, event: impl Event) -> Vec<u64> {
        self.of(event).iter().filter_map(|seen| seen.value).collect()
    }
}

/// A collector with a log of its records, and a runtime whose threads record into this collector.
///
/// The current thread is registered as well. The collector is not installed, so that tests that run
/// at the same time do not share it.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) collector: Arc<Collector>,
    pub(crate) log: Log,
    pub(crate) runtime: Runtime,
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

/// Starts a collector, and a runtime with this many workers that are registered with it.
fn bench(
    name: &'static str,
    setup: impl FnOnce(Builder) -> Builder,
    mut runtime: runtime::Builder,
    workers: usize,
) -> Bench {
    let log = Log::default();
    let collector = Arc::new(setup(builder()).observer(log.observer()).start().unwrap());
    collector.register_thread("main").unwrap();
    let registering = Arc::clone(&collector);
    let (registered, registrations) = mpsc::channel();
    runtime.on_thread_start(move || {
        let name = format!("{:?}", thread::current().id());
        // Sending fails for threads that start after this function has returned, which does not
        // matter.
        let _ = registered.send(registering.register_thread(&name));
    });
    let runtime = runtime.enable_all().build().unwrap();
    for _ in 0..workers {
        registrations.recv().unwrap().unwrap();
    }
    Bench { collector, log, runtime, name }
}

/// Creates a bench on a current-thread runtime.
pub(crate) fn on_current_thread(setup: impl FnOnce(Builder) -> Builder) -> Bench {
    bench("current thread", setup, runtime::Builder::new_current_thread(), 0)
}

/// Creates a bench on a current-thread runtime whose clock is paused: it advances only when the
/// test advances it, or when all tasks are idle.
pub(crate) fn paused(setup: impl FnOnce(Builder) -> Builder) -> Bench {
    let mut runtime = runtime::Builder::new_current_thread();
    runtime.start_paused(true);
    bench("current thread, paused", setup, runtime, 0)
}

/// Creates a bench on a runtime with two workers.
pub(crate) fn on_workers(setup: impl FnOnce(Builder) -> Builder) -> Bench {
    let mut runtime = runtime::Builder::new_multi_thread();
    runtime.worker_threads(2);
    bench("two workers", setup, runtime, 2)
}

/// Runs `test` on both kinds of runtime, one after the other, because a thread can be registered
/// with only one collector at a time.
pub(crate) fn on_both(setup: impl Fn(Builder) -> Builder, test: impl Fn(Bench)) {
    test(on_current_thread(&setup));
    test(on_workers(&setup));
}
