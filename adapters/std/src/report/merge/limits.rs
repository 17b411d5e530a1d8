//! The limits of several collectors together.

use std::collections::HashMap;

use super::error::MergeError;
use crate::report::{
    Report,
    sla::{SlaReport, severity},
};

/// Combines limits of the same event that were set to the same, in the order in which the reports
/// have their events.
pub(super) fn merged(reports: &[&Report]) -> Result<Vec<SlaReport>, MergeError> {
    let mut events: HashMap<&str, usize> = HashMap::new();
    let mut by_event: Vec<Vec<SlaReport>> = Vec::new();
    for limit in reports.iter().flat_map(|report| &report.sla) {
        let index = *events.entry(&limit.event).or_insert(by_event.len());
        if index == by_event.len() {
            by_event.push(Vec::new());
        }
        let of_event = &mut by_event[index];
        let is_same =
            |known: &&mut SlaReport| known.as_set() == limit.as_set() && known.unit == limit.unit;
        match of_event.iter_mut().find(is_same) {
            Some(known) => add(known, limit)?,
            None => of_event.push(limit.clone()),
        }
    }
    Ok(by_event.into_iter().flatten().collect())
}

/// Adds the state of the same limit of another collector.
fn add(sum: &mut SlaReport, limit: &SlaReport) -> Result<(), MergeError> {
    let overflow = || MergeError::Overflow { what: format!("the limits of {}", limit.event) };
    let added = |one: u64, other: u64| one.checked_add(other).ok_or_else(overflow);
    sum.state = [sum.state, limit.state]
        .into_iter()
        .max_by_key(|state| severity(*state))
        .unwrap_or(sum.state);
    sum.over = added(sum.over, limit.over)?;
    sum.failed = added(sum.failed, limit.failed)?;
    sum.count = added(sum.count, limit.count)?;
    sum.observed = sum.observed.max(limit.observed);
    sum.since_unix_ns = sum.since_unix_ns.max(limit.since_unix_ns);
    sum.raised = added(sum.raised, limit.raised)?;
    sum.cleared = added(sum.cleared, limit.cleared)?;
    if sum.origin != limit.origin {
        sum.origin = None;
    }
    Ok(())
}
