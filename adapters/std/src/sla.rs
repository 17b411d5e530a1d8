//! Limits, as they are told: in reports, to hooks, in the queue of changes.

use core::{fmt, time::Duration};
use std::collections::VecDeque;

use serde::{Serialize, Serializer};
use tailwatch_core::{EventInfo, Limit, Quantile, SlaState, SlaStatus, Threshold, Unit};

use crate::report::{json, window_name};

/// As many changes are kept for [`Collector::sla_changes`](crate::Collector::sla_changes); of more, the newest.
const KEPT: usize = 256;

/// A limit of an event, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlaReport {
    /// The event's name.
    pub event: &'static str,
    /// Which quantile is limited; `None` if it is the time without any record of the event, told as `silence`.
    #[serde(serialize_with = "quantile")]
    pub quantile: Option<Quantile>,
    /// Over which window; of silence, the longest that is allowed.
    #[serde(serialize_with = "window")]
    pub window: Duration,
    /// The limit, in nanoseconds or the event's unit.
    pub limit: u64,
    /// `ns`, or `1` for plain numbers.
    #[serde(serialize_with = "json::text")]
    pub unit: Unit,
    /// Whether it is kept.
    #[serde(serialize_with = "json::text")]
    pub state: SlaState,
    /// How many samples exceed the limit, weighted; spans in flight that do so already are among them.
    pub over: u64,
    /// Of how many. The limit on the quantile q is broken if `over` exceeds `count` − max(1, ⌈q · `count`⌉).
    pub count: u64,
    /// What is limited: the quantile, or the age of the oldest span in flight where that is greater; the length of the
    /// silence. `None` without a sample, or if the collector tells no statistics of the limit's window.
    pub observed: Option<u64>,
    /// When it was last raised or cleared, in nanoseconds since 1970.
    pub since_unix_ns: Option<u64>,
    /// How often it was raised.
    pub raised: u64,
    /// How often it was cleared.
    pub cleared: u64,
}

impl SlaReport {
    pub(crate) fn new(info: &EventInfo, status: &SlaStatus, since_unix_ns: Option<u64>) -> Self {
        let (quantile, window, limit, unit) = match status.limit {
            Limit::Quantile(Threshold { quantile, window, limit, .. }) => {
                (Some(quantile), window, limit, info.unit)
            }
            Limit::Silence(longest) => (None, longest, crate::clock::nanos(longest), Unit::Time),
        };
        Self {
            event: info.name,
            quantile,
            window,
            limit,
            unit,
            state: status.state,
            over: status.over,
            count: status.count,
            observed: status.observed,
            since_unix_ns,
            raised: status.raised,
            cleared: status.cleared,
        }
    }
}

impl fmt::Display for SlaReport {
    /// One line: `order_placement p95 over 60s: 31.0 ms, limit 20.0 ms, 17 of 200 over: violated`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |value| crate::report::table::value(self.unit, value);
        match self.quantile {
            Some(quantile) => {
                write!(f, "{} {quantile} over {}: ", self.event, window_name(self.window))?
            }
            None => write!(f, "{} silence: ", self.event)?,
        }
        match self.observed {
            Some(observed) => write!(f, "{}, limit {}", told(observed), told(self.limit))?,
            None => write!(f, "limit {}", told(self.limit))?,
        }
        if self.quantile.is_some() {
            write!(f, ", {} of {} over", self.over, self.count)?;
        }
        write!(f, ": {}", self.state)
    }
}

/// A limit was violated, or is kept again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlaChange {
    /// Whether it was raised: violated from now on. Else it was cleared: kept again.
    pub raised: bool,
    /// When that was found, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The limit as it stands now.
    pub limit: SlaReport,
}

/// Changes of limits that nobody has taken yet; made by [`Collector::sla_changes`](crate::Collector::sla_changes).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlaChanges {
    /// The changes, the oldest first.
    pub changes: Vec<SlaChange>,
    /// How many older ones are gone, because they were too many to be kept.
    pub missed: u64,
}

/// The queue of changes, with its room taken from the beginning.
#[derive(Debug)]
pub(crate) struct ChangeQueue {
    changes: VecDeque<SlaChange>,
    missed: u64,
}

impl Default for ChangeQueue {
    fn default() -> Self {
        Self { changes: VecDeque::with_capacity(KEPT), missed: 0 }
    }
}

impl ChangeQueue {
    /// How many bytes its room takes.
    pub(crate) const BYTES: usize = KEPT * size_of::<SlaChange>();

    pub(crate) fn push(&mut self, change: SlaChange) {
        if self.changes.len() == KEPT {
            self.changes.pop_front();
            self.missed += 1;
        }
        self.changes.push_back(change);
    }

    pub(crate) fn take(&mut self) -> SlaChanges {
        SlaChanges {
            changes: self.changes.drain(..).collect(),
            missed: core::mem::take(&mut self.missed),
        }
    }
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn quantile<S: Serializer>(quantile: &Option<Quantile>, serializer: S) -> Result<S::Ok, S::Error> {
    match quantile {
        Some(quantile) => serializer.collect_str(quantile),
        None => serializer.serialize_str("silence"),
    }
}

fn window<S: Serializer>(window: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&window_name(*window))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(raised: u64) -> SlaReport {
        SlaReport {
            event: "order_placement",
            quantile: Some(Quantile::P95),
            window: Duration::from_mins(1),
            limit: 20_000_000,
            unit: Unit::Time,
            state: SlaState::Violated,
            over: 17,
            count: 200,
            observed: Some(31_000_000),
            since_unix_ns: None,
            raised,
            cleared: 0,
        }
    }

    #[test]
    fn the_newest_changes_are_kept_and_the_others_counted() {
        let mut queue = ChangeQueue::default();
        for n in 0..KEPT as u64 + 3 {
            queue.push(SlaChange { raised: true, unix_ns: 0, limit: report(n) });
        }
        let taken = queue.take();
        assert_eq!((taken.changes.len(), taken.missed), (KEPT, 3));
        assert_eq!(taken.changes[0].limit.raised, 3);
        assert_eq!(queue.take(), SlaChanges::default());
    }

    #[test]
    fn a_limit_is_told_in_a_line() {
        let line = "order_placement p95 over 60s: 31.0 ms, limit 20.0 ms, 17 of 200 over: violated";
        assert_eq!(report(1).to_string(), line);
        let silence = SlaReport { quantile: None, observed: None, limit: 5_000, ..report(1) };
        assert_eq!(silence.to_string(), "order_placement silence: limit 5000 ns: violated");
    }
}
