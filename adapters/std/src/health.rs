//! What was produced, delivered and lost.

use std::collections::BTreeMap;

use serde::Serialize;

/// The health of a collector: every record is accounted for.
///
/// `produced == delivered + overwritten + pending`, always and exactly, as of one look at the rings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Records written into rings.
    pub produced: u64,
    /// Records that were drained and counted.
    pub delivered: u64,
    /// Records that were overwritten before they were drained: the ring was too small for the burst.
    pub overwritten: u64,
    /// Records in the rings that are not drained yet.
    pub pending: u64,
    /// ENDs without a START.
    pub orphans: u64,
    /// STARTs without an END, given up.
    pub abandoned: u64,
    /// Records that were older than a window, or that of a limit, when they were drained: missing there, not in the total.
    pub late: u64,
    /// Spans that ended before they began, records from the future, STARTs from before the beginning, and leaps between the clock and the operating system's.
    pub clock_anomalies: u64,
    /// Values and durations too large to be told: no sample. And what did not fit into a counter of a histogram any more: counted
    /// and in the mean, but quantiles are less accurate for it, and say so.
    pub saturated: u64,
    /// Records of a kind or event that makes no sense.
    pub invalid: u64,
    /// Records of an event that was not announced.
    pub unknown_events: u64,
    /// Records that went into no ring: their thread had none, or the collector had stopped. Of an event that is sampled all of
    /// them, as nobody decided which were to be recorded.
    pub unregistered: u64,
    /// Panics of observers and hooks, each caught.
    pub observer_panics: u64,
    /// How old the oldest record of the last pass was when it was drained.
    pub drain_lag_ns: u64,
    /// Where the master switch stands.
    pub enabled: bool,
    /// Of each event that is sampled, the rate.
    pub sampling: BTreeMap<String, f64>,
    /// Which share of the wall-clock time goes into measuring, in all threads together, the drain included: over the last second
    /// that is over, before that since the start. An estimate: records at what one costs on a warm cache, found out at the start,
    /// and the processor time of the drain's passes. 1 is one core.
    pub overhead_ratio: f64,
    /// The memory taken: rings, windows, histograms.
    pub memory_bytes: u64,
}
