//! Observers, which are called with every record that the drain reads, and hooks, which are called
//! with every violation that is raised or cleared.

use core::{fmt, mem, panic::AssertUnwindSafe};
use std::panic::catch_unwind;

use tailwatch_core::{EventId, EventInfo, Kind, Outcome, Record, TickRate, TimeScale};

use crate::{
    clock::Anchor,
    events::{labels::Labels, numbers::NamedEvent},
    recording::{fork, identity::Identity},
    report::sla::SlaChange,
};

/// A record that the drain has read from a ring, as an observer receives it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Delivery<'d> {
    /// The id of the record's event. `None` for the reserved id 0, which only a damaged record has.
    pub id: Option<EventId>,
    /// The name of the record's event, including its labels, or `unknown` if the collector does not
    /// have the event.
    pub event: &'d str,
    /// The labels of the record's event.
    pub labels: &'d Labels,
    /// The kind of the record, such as the START of a span.
    pub kind: Kind,
    /// The time at which the span or duration began, or the value was recorded, in nanoseconds
    /// since 1970. For a TAG, the time of the record that it belongs to: at which its span began,
    /// or its duration ended.
    pub start_unix_ns: u64,
    /// The duration of an END or DURATION in nanoseconds, rounded as in reports, or the value of a
    /// VALUE. `None` if the record is not a sample: it is a START or a FORGET, is too large, does
    /// not fit the unit of its event, or its event is unknown.
    pub duration_ns_or_value: Option<u64>,
    /// The outcome, if the record is an END.
    pub outcome: Option<Outcome>,
    /// The tag, if the record is a START, a TAG, or a DURATION that was recorded with one.
    pub tag: Option<u64>,
    /// Whether the record is a TAG that brings nothing new: the delivery before it, of the DURATION
    /// that it belongs to, had the tag. Every other TAG is the second tag of an open span, or its
    /// record is gone. (Or a flush came between the DURATION and its TAG.)
    pub is_repeated_tag: bool,
    /// The name of the thread that wrote the record.
    pub thread: &'d str,
    /// The number that the operating system gave the thread: on Linux and Android, that of `gettid`
    /// in the process's own namespace. `None` on other systems. Threads of one name differ in it.
    /// A later thread may get the number of one that has ended.
    pub tid: Option<u64>,
    /// The record in the form in which it was in the ring.
    pub record: Record,
}

/// A record that the drain has read from a ring, before its numbers are converted.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) record: Record,
    /// Whether the record became a sample.
    pub(crate) is_sample: bool,
    /// The tag of a DURATION.
    pub(crate) tag: Option<u64>,
    /// See [`Delivery::is_repeated_tag`].
    pub(crate) is_repeated_tag: bool,
    /// The thread that wrote the record.
    pub(crate) thread: Identity,
}

/// What converts the ticks of records: to wall-clock time, and durations to nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scales<'s> {
    pub(crate) anchor: &'s Anchor,
    pub(crate) rate: TickRate,
    pub(crate) time: TimeScale,
}

/// The name and the labels of an event that the collector does not have.
static UNKNOWN: (&str, Labels) = ("unknown", Labels::NONE);

/// An observer.
pub(crate) type Callback = Box<dyn FnMut(&Delivery<'_>) + Send>;
/// A hook.
pub(crate) type Hook = Box<dyn FnMut(&SlaChange) + Send>;

/// The observers and hooks of a collector.
pub(crate) struct Observers {
    callbacks: Vec<Callback>,
    hooks: Vec<Hook>,
    /// The name and the labels of each event, at the index of its id.
    names: Vec<(&'static str, Labels)>,
    /// The number of panics that were caught.
    panics: u64,
    /// How many forks lead to the process of the collector. In a child that one of the closures
    /// forks, the rest of the pass calls none: they may write into files of the parent.
    forks: usize,
}

impl Observers {
    /// Creates the observers and hooks of a collector with these events.
    pub(crate) fn new(callbacks: Vec<Callback>, hooks: Vec<Hook>, events: &[EventInfo]) -> Self {
        let ids = events.iter().map(|info| usize::from(info.id.get()) + 1).max().unwrap_or(0);
        let names = vec![UNKNOWN.clone(); ids];
        let mut observers = Self { callbacks, hooks, names, panics: 0, forks: fork::forks() };
        for info in events {
            observers.add_event(&NamedEvent::new(info));
        }
        observers
    }

    /// Adds an event of the collector.
    pub(crate) fn add_event(&mut self, NamedEvent { info, labels, .. }: &NamedEvent) {
        let id = usize::from(info.id.get());
        self.names.resize(self.names.len().max(id + 1), UNKNOWN.clone());
        self.names[id] = (info.name, labels.clone());
    }

    /// Returns how many panics of observers and hooks were caught.
    pub(crate) fn panics(&self) -> u64 {
        self.panics
    }

    /// Returns whether there are no observers. There may be hooks.
    pub(crate) fn is_empty(&self) -> bool {
        self.callbacks.is_empty()
    }

    /// Calls all observers with a record. Catches and counts their panics.
    pub(crate) fn notify_record(&mut self, delivered: &Delivered, scales: &Scales<'_>) {
        let Delivered { record, is_sample, tag, is_repeated_tag, ref thread } = *delivered;
        let Scales { anchor, rate, time } = scales;
        if self.callbacks.is_empty() {
            return;
        }
        let id = record.event();
        let known = id.and_then(|id| self.names.get(usize::from(id.get())));
        let (event, labels) = known.unwrap_or(&UNKNOWN);
        let kind = record.kind();
        let payload = record.payload();
        let is_duration = kind.outcome().is_some() || kind == Kind::Duration;
        // A duration is recorded at its end, so its tick is that of the end.
        let began =
            if is_duration { record.ticks().saturating_sub(payload) } else { record.ticks() };
        let delivery = Delivery {
            id,
            event,
            labels,
            kind,
            start_unix_ns: anchor.unix_ns(*rate, began),
            duration_ns_or_value: match kind {
                _ if !is_sample => None,
                Kind::Value => Some(payload),
                _ if is_duration => Some(time.nanos(payload)),
                _ => None,
            },
            outcome: kind.outcome(),
            tag: if matches!(kind, Kind::Start | Kind::Tag) { Some(payload) } else { tag },
            is_repeated_tag,
            thread: &thread.name,
            tid: thread.tid,
            record,
        };
        for callback in &mut self.callbacks {
            if self.forks != fork::forks() {
                return;
            }
            self.panics += u64::from(!returns_normally(|| callback(&delivery)));
        }
    }

    /// Calls all hooks with a violation that was raised or cleared. Catches and counts their
    /// panics.
    pub(crate) fn notify_change(&mut self, change: &SlaChange) {
        for hook in &mut self.hooks {
            if self.forks != fork::forks() {
                return;
            }
            self.panics += u64::from(!returns_normally(|| hook(change)));
        }
    }
}

/// Makes a call, and returns `true` if it returned normally and `false` if it panicked.
///
/// `AssertUnwindSafe`: an observer is called again after a panic, so it has to cope with the state
/// that the panic left.
fn returns_normally(call: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(()) => true,
        Err(payload) => {
            // Dropping the payload of the panic may panic again. The payload of that second panic
            // is leaked, because dropping it could panic as well.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(mem::forget);
            false
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers")
            .field("count", &self.callbacks.len())
            .field("hooks", &self.hooks.len())
            .field("panics", &self.panics)
            .finish_non_exhaustive()
    }
}
