//! The limits of several collectors together.

use std::collections::HashMap;

use tailwatch_core::SlaState;

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
    // Looked up in a map, because a report from anybody can have very many limits. The text of a
    // limit shows all that was set.
    let mut known: HashMap<(usize, String), usize> = HashMap::new();
    for limit in reports.iter().flat_map(|report| &report.sla) {
        let event = *events.entry(&limit.event).or_insert(by_event.len());
        if event == by_event.len() {
            by_event.push(Vec::new());
        }
        let of_event = &mut by_event[event];
        let as_set = format!("{:?} {}", limit.as_set(), limit.unit);
        let index = *known.entry((event, as_set)).or_insert(of_event.len());
        match of_event.get_mut(index) {
            Some(same) => add(same, limit)?,
            None => of_event.push(limit.clone()),
        }
    }
    Ok(by_event.into_iter().flatten().collect())
}

/// Adds the state of the same limit of another collector.
fn add(sum: &mut SlaReport, limit: &SlaReport) -> Result<(), MergeError> {
    let overflow = || MergeError::Overflow { what: format!("the limits of {}", limit.event) };
    let added = |one: u64, other: u64| one.checked_add(other).ok_or_else(overflow);
    // The largest of several could be within a limit that is violated, if the one that violates it
    // is not known.
    let is_hidden = |of: &SlaReport| of.state == SlaState::Violated && of.observed.is_none();
    let is_known = !is_hidden(sum) && !is_hidden(limit);
    sum.observed = sum.observed.max(limit.observed).filter(|_| is_known);
    let states = [sum.state, limit.state];
    sum.state = states.into_iter().max_by_key(|state| severity(*state)).unwrap_or(sum.state);
    sum.over = added(sum.over, limit.over)?;
    sum.failed = added(sum.failed, limit.failed)?;
    sum.count = added(sum.count, limit.count)?;
    sum.since_unix_ns = sum.since_unix_ns.max(limit.since_unix_ns);
    sum.raised = added(sum.raised, limit.raised)?;
    sum.cleared = added(sum.cleared, limit.cleared)?;
    if sum.origin != limit.origin {
        sum.origin = None;
    }
    Ok(())
}
