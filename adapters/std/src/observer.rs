//! Who is shown every delivered record.

use core::{fmt, mem, panic::AssertUnwindSafe};
use std::{panic::catch_unwind, sync::Arc};

use tailwatch_core::{EventId, EventInfo, Kind, Outcome, Record, TickRate, TimeScale};

use crate::{SlaChange, clock::Anchor};

/// A record as it was delivered: every field of the trace.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Delivery<'d> {
    /// The number of its event; `None` for the reserved 0, which no recorder writes.
    pub id: Option<EventId>,
    /// The name of its event in reports; `unknown` if the event was not announced.
    pub event: &'d str,
    /// What it says.
    pub kind: Kind,
    /// When the span or duration began, or the number was measured: nanoseconds since 1970.
    pub start_unix_ns: u64,
    /// The duration of an END or DURATION in nanoseconds, exactly as reports tell it, or the number of a VALUE; `None` if
    /// the record is no sample: it does not fit its event's unit, or is too large to be told.
    pub duration_ns_or_value: Option<u64>,
    /// How an END ended.
    pub outcome: Option<Outcome>,
    /// The tag of a START.
    pub tag: Option<u64>,
    /// The name of the thread that recorded it.
    pub thread: &'d str,
    /// The record itself.
    pub record: Record,
}

pub(crate) type Callback = Box<dyn FnMut(&Delivery<'_>) + Send>;
pub(crate) type Hook = Box<dyn FnMut(&SlaChange) + Send>;

/// The observers of a collector: of its records, and of its limits.
pub(crate) struct Observers {
    callbacks: Vec<Callback>,
    hooks: Vec<Hook>,
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

    /// Panics of observers, each caught.
    pub(crate) fn panics(&self) -> u64 {
        self.panics
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.callbacks.is_empty()
    }

    /// Shows them a record. A panic is caught and counted.
    pub(crate) fn show(
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
            self.panics += u64::from(!survives(|| callback(&delivery)));
        }
    }

    /// Shows them that a limit was raised or cleared. A panic is caught and counted.
    pub(crate) fn show_change(&mut self, change: &SlaChange) {
        for hook in &mut self.hooks {
            self.panics += u64::from(!survives(|| hook(change)));
        }
    }
}

/// Whether it does not panic. One that panicked half way is its own affair; it is called again the next time.
fn survives(call: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(()) => true,
        Err(payload) => {
            // What it panicked with may panic when it is dropped, and so may what that panics with: that much is left behind.
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
