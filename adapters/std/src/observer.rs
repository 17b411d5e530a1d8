//! Observers, which receive every delivered record, and hooks, which receive every change of a
//! limit.

use core::{fmt, mem, panic::AssertUnwindSafe};
use std::{panic::catch_unwind, sync::Arc};

use tailwatch_core::{EventId, EventInfo, Kind, Outcome, Record, TickRate, TimeScale};

use crate::{SlaChange, clock::Anchor};

/// A delivered record with all fields of the trace, as an observer receives it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Delivery<'d> {
    /// The id of the record's event; `None` for the reserved id 0, which no recorder writes.
    pub id: Option<EventId>,
    /// The name of the record's event; `unknown` if the collector does not have the event.
    pub event: &'d str,
    /// What the record stands for, such as the START of a span.
    pub kind: Kind,
    /// When the span or duration began, or the value was measured, in nanoseconds since 1970.
    pub start_unix_ns: u64,
    /// The duration of an END or DURATION in nanoseconds, rounded as in reports, or the value of a
    /// VALUE. `None` if the record is not a sample: a START, a FORGET, or a record that is too
    /// large or does not fit the unit of its event.
    pub duration_ns_or_value: Option<u64>,
    /// The outcome of an END.
    pub outcome: Option<Outcome>,
    /// The tag of a START.
    pub tag: Option<u64>,
    /// The name of the thread that recorded it.
    pub thread: &'d str,
    /// The record as it was in the ring.
    pub record: Record,
}

/// Receives every delivered record.
pub(crate) type Callback = Box<dyn FnMut(&Delivery<'_>) + Send>;
/// Receives every change of a limit.
pub(crate) type Hook = Box<dyn FnMut(&SlaChange) + Send>;

/// The observers and hooks of a collector.
pub(crate) struct Observers {
    callbacks: Vec<Callback>,
    hooks: Vec<Hook>,
    /// The names of the events, by id.
    names: Vec<&'static str>,
    panics: u64,
}

impl Observers {
    pub(crate) fn new(callbacks: Vec<Callback>, hooks: Vec<Hook>, events: &[EventInfo]) -> Self {
        let ids = events.iter().map(|info| usize::from(info.id.get()) + 1).max().unwrap_or(0);
        let mut names = vec!["unknown"; ids];
        for info in events {
            names[usize::from(info.id.get())] = info.name;
        }
        Self { callbacks, hooks, names, panics: 0 }
    }

    /// Returns how many panics of observers and hooks were caught.
    pub(crate) fn panics(&self) -> u64 {
        self.panics
    }

    /// Whether there are no observers of records.
    pub(crate) fn is_empty(&self) -> bool {
        self.callbacks.is_empty()
    }

    /// Passes a record to all observers. Their panics are caught and counted.
    pub(crate) fn notify_record(
        &mut self,
        record: Record,
        is_sample: bool,
        thread: &Arc<str>,
        anchor: &Anchor,
        rate: TickRate,
        time: &TimeScale,
    ) {
        let id = record.event();
        let known = id.and_then(|id| self.names.get(usize::from(id.get())));
        let kind = record.kind();
        let payload = record.payload();
        let is_duration = kind.outcome().is_some() || kind == Kind::Duration;
        let began =
            if is_duration { record.ticks().saturating_sub(payload) } else { record.ticks() };
        let delivery = Delivery {
            id,
            event: known.copied().unwrap_or("unknown"),
            kind,
            start_unix_ns: anchor.unix_ns(rate, began),
            duration_ns_or_value: match kind {
                _ if !is_sample => None,
                Kind::Value => Some(payload),
                _ if is_duration => Some(time.nanos(payload)),
                _ => None,
            },
            outcome: kind.outcome(),
            tag: (kind == Kind::Start).then_some(payload),
            thread,
            record,
        };
        for callback in &mut self.callbacks {
            self.panics += u64::from(!returns(|| callback(&delivery)));
        }
    }

    /// Passes a change of a limit to all hooks. Their panics are caught and counted.
    pub(crate) fn notify_change(&mut self, change: &SlaChange) {
        for hook in &mut self.hooks {
            self.panics += u64::from(!returns(|| hook(change)));
        }
    }
}

/// Makes a call and returns whether it returned, which it does unless it panics.
///
/// `AssertUnwindSafe`: an observer that panics half way must cope with its own state, as it is
/// called again for the next record.
fn returns(call: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(()) => true,
        Err(payload) => {
            // Dropping the payload of the panic may panic in turn. The payload of this second panic
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
