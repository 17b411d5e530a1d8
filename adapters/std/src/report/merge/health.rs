//! The health of several collectors together.

use std::collections::BTreeMap;

use super::error::MergeError;
use crate::report::{Report, health::Health};

/// Adds up the counters of reports. What is no counter is the largest, or holds if it does in all.
pub(super) fn merged(reports: &[&Report]) -> Result<Health, MergeError> {
    let all = || reports.iter().map(|report| &report.health);
    let add = |name: &str, count: fn(&Health) -> u64| {
        let overflow = || MergeError::Overflow { what: format!("`{name}`") };
        all().map(count).try_fold(0, u64::checked_add).ok_or_else(overflow)
    };
    let largest = |number: fn(&Health) -> u64| all().map(number).max().unwrap_or_default();
    let mut unlisted: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in all().flat_map(|health| &health.unlisted) {
        let sum = unlisted.entry(name.clone()).or_default();
        let overflow = || MergeError::Overflow { what: "`unlisted`".to_owned() };
        *sum = sum.checked_add(*count).ok_or_else(overflow)?;
    }
    let mut sampling: BTreeMap<String, f64> = BTreeMap::new();
    for (name, share) in all().flat_map(|health| &health.sampling) {
        let smallest = sampling.entry(name.clone()).or_insert(*share);
        *smallest = smallest.min(*share);
    }
    Ok(Health {
        produced: add("produced", |of| of.produced)?,
        delivered: add("delivered", |of| of.delivered)?,
        overwritten: add("overwritten", |of| of.overwritten)?,
        pending: add("pending", |of| of.pending)?,
        orphans: add("orphans", |of| of.orphans)?,
        abandoned: add("abandoned", |of| of.abandoned)?,
        late: add("late", |of| of.late)?,
        clock_anomalies: add("clock_anomalies", |of| of.clock_anomalies)?,
        saturated: add("saturated", |of| of.saturated)?,
        negative_differences: add("negative_differences", |of| of.negative_differences)?,
        orphan_tags: add("orphan_tags", |of| of.orphan_tags)?,
        invalid: add("invalid", |of| of.invalid)?,
        unknown_events: add("unknown_events", |of| of.unknown_events)?,
        unlisted,
        unregistered: add("unregistered", |of| of.unregistered)?,
        rings_refused: add("rings_refused", |of| of.rings_refused)?,
        hidden_threads: add("hidden_threads", |of| of.hidden_threads)?,
        hidden_records: add("hidden_records", |of| of.hidden_records)?,
        not_shared: all().find_map(|of| of.not_shared.clone()),
        observer_panics: add("observer_panics", |of| of.observer_panics)?,
        drain_lag_ns: largest(|of| of.drain_lag_ns),
        enabled: all().all(|of| of.enabled),
        has_drain: all().all(|of| of.has_drain),
        sampling,
        overhead_ratio: all().map(|of| of.overhead_ratio).fold(0.0, f64::max),
        record_ns: all().map(|of| of.record_ns).fold(0.0, f64::max),
        drain_ns: all().map(|of| of.drain_ns).fold(0.0, f64::max),
        memory_bytes: largest(|of| of.memory_bytes),
        reserved_bytes: largest(|of| of.reserved_bytes),
    })
}
