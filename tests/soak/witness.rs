//! Observers that count and check every delivered record.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tailwatch::{Delivery, Kind};

use crate::fail;

/// The lowest bit of the thread's serial number in a mark. Every tag and value is a mark; its bits
/// below this one count the marks of the thread.
pub(crate) const SERIAL_BIT: u32 = 24;

/// Returns the name of the thread with this serial number.
pub(crate) fn name(serial: u64) -> String {
    format!("worker-{serial}")
}

/// Counts of what was delivered since the collector started.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) delivered: u64,
    pub(crate) starts: u64,
    pub(crate) ends: u64,
    pub(crate) forgets: u64,
    pub(crate) samples: u64,
    /// Panics of [`Witness::observer_that_panics`].
    pub(crate) panics: u64,
    /// The last mark of each thread, by its serial number.
    last: HashMap<u64, u64>,
}

impl Seen {
    fn see(&mut self, delivery: &Delivery<'_>) {
        self.delivered += 1;
        self.samples += u64::from(delivery.duration_ns_or_value.is_some());
        match delivery.kind {
            Kind::Start => self.starts += 1,
            Kind::EndOk | Kind::EndError | Kind::EndCancelled => self.ends += 1,
            Kind::Forget => self.forgets += 1,
            _ => (),
        }
        let mark = match delivery.kind {
            Kind::Start => delivery.tag,
            Kind::Value => delivery.duration_ns_or_value,
            _ => None,
        };
        if let Some(mark) = mark.filter(|mark| *mark > 0) {
            self.check_mark(mark, delivery.thread);
        }
    }

    fn check_mark(&mut self, mark: u64, thread: &str) {
        let serial = mark >> SERIAL_BIT;
        let named = thread.strip_prefix("worker-").and_then(|number| number.parse().ok());
        if named != Some(serial) {
            fail(&format!("a record of thread {serial} is attributed to {thread}"));
        }
        let last = self.last.entry(serial).or_default();
        if *last >= mark {
            fail(&format!(
                "thread {serial}: mark {mark:#x} came after {last:#x}, out of order or twice"
            ));
        }
        *last = mark;
    }

    /// Removes the last marks of all threads. Call it once these threads have ended.
    pub(crate) fn forget_threads(&mut self) {
        self.last.clear();
    }
}

/// The counts, shared by the observers and the program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness(Arc<Mutex<Seen>>);

impl Witness {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an observer that counts and checks each delivery.
    pub(crate) fn observer(&self) -> impl FnMut(&Delivery<'_>) + Send + use<> {
        let witness = self.clone();
        move |delivery| witness.seen().see(delivery)
    }

    /// Returns an observer that panics now and then. Add it after [`Self::observer`], so that every
    /// delivery is counted.
    pub(crate) fn observer_that_panics(&self) -> impl FnMut(&Delivery<'_>) + Send + use<> {
        const EVERY: u64 = 1_000_003;
        let (witness, mut calls) = (self.clone(), 0_u64);
        move |_| {
            calls += 1;
            if calls.is_multiple_of(EVERY) {
                witness.seen().panics += 1;
                // Panics without printing a message.
                std::panic::resume_unwind(Box::new("now and then"));
            }
        }
    }
}
