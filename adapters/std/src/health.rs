//! The health of a collector: counts of delivered and lost records, and the cost of measuring.

use std::collections::BTreeMap;

use serde::Serialize;

/// The health of a collector: how many records were delivered and lost, and what measuring costs.
///
/// Every record is accounted for: `produced == delivered + overwritten + pending` holds exactly.
/// All four are taken from one snapshot of the rings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Records written into rings.
    pub produced: u64,
    /// Records that were drained and processed.
    pub delivered: u64,
    /// Records that were overwritten before they were drained. Their ring was too small for the
    /// burst.
    pub overwritten: u64,
    /// Records in the rings that have not been drained yet.
    pub pending: u64,
    /// ENDs whose START was not seen.
    pub orphans: u64,
    /// Spans whose END was probably lost, and which were therefore given up.
    pub abandoned: u64,
    /// Samples that were drained after a window, or the window of a limit, had ended. They are
    /// missing there, but not in the total.
    pub late: u64,
    /// Spans that ended before they began, records from the future, STARTs from before the
    /// collector's start, and jumps between the clock and the operating system's clock.
    pub clock_anomalies: u64,
    /// Values and durations that are too large for a sample, and samples that did not fit into a
    /// full counter of a histogram. The latter are in the count and mean, but make the quantiles
    /// less accurate; the stated accuracy allows for that.
    pub saturated: u64,
    /// Records of an invalid kind, of event 0, or of a kind that does not match the event's unit.
    pub invalid: u64,
    /// Records of events that the collector does not have.
    pub unknown_events: u64,
    /// Records that were not written, because their thread had no ring or the collector had
    /// stopped. All records of a sampled event count here, because without a ring the sampling
    /// decision is not made.
    pub unregistered: u64,
    /// Panics of observers and hooks, which were caught.
    pub observer_panics: u64,
    /// The age of the oldest record of the last pass when it was drained, in nanoseconds.
    pub drain_lag_ns: u64,
    /// Whether recording is on, as set by
    /// [`Collector::set_enabled`](crate::Collector::set_enabled).
    pub enabled: bool,
    /// The recorded share of each event that is sampled, by name. Events that are recorded in full
    /// are left out.
    pub sampling: BTreeMap<String, f64>,
    /// The estimated share of a core that measuring takes, in all threads together, over the last
    /// complete second. During the first second, the share since the start. 1 is one core.
    ///
    /// It is the sum of the drain's processor time and the number of records times the cost of one
    /// record, which was measured with a warm cache when the collector started.
    pub overhead_ratio: f64,
    /// The memory that the collector takes at most, in bytes: rings, windows, histograms and two
    /// reports.
    pub memory_bytes: u64,
}
