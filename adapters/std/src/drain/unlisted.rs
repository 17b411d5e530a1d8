//! Counts, by name, what was recorded of events that the collector does not have.

use std::collections::{BTreeMap, HashMap};

use tailwatch_core::{EventId, Record};
use tailwatch_record::{EventSet, collecting::sets_with_missed_records};

use super::{event_ids::EventIds, lost_ends::UnknownEnds};
use crate::events::numbers;

/// What was recorded of events that the collector does not have.
#[derive(Debug, Default)]
pub(super) struct Unlisted {
    /// The drained records of such events.
    records: HashMap<EventId, u64>,
    /// The ENDs among those of the last pass.
    pub(super) ends: UnknownEnds,
    /// How many records of each set without numbers were missed before the collector started.
    missed_before: Vec<(EventSet, usize)>,
    /// For so many assigned numbers, the next field holds.
    checked: usize,
    /// Whether an event of this process has a number and is not among those of the collector.
    may_occur: bool,
}

impl Unlisted {
    /// Begins to count.
    pub(super) fn new() -> Self {
        let missed_before = sets_with_missed_records().map(|set| (set, set.missed())).collect();
        Self { missed_before, ..Self::default() }
    }

    /// Returns whether the rings may have records of events that are not `known`. Takes a lock only
    /// if events were numbered since the last call.
    pub(super) fn may_occur(&mut self, known: &EventIds) -> bool {
        let assigned = numbers::assigned();
        if assigned != self.checked {
            self.checked = assigned;
            self.may_occur = !numbers::are_all(|id| known.contains(id));
        }
        self.may_occur
    }

    /// Counts a record of an event that the collector does not have.
    pub(super) fn note(&mut self, event: EventId, record: Record) {
        *self.records.entry(event).or_default() += 1;
        self.ends.note(record);
    }

    /// Returns the numbers of records by the names of their sets.
    pub(super) fn by_name(&self) -> BTreeMap<String, u64> {
        let mut by_name = BTreeMap::new();
        for (event, records) in &self.records {
            *by_name.entry(numbers::name_of_unlisted(*event)).or_default() += records;
        }
        for set in sets_with_missed_records() {
            let before = self.missed_before.iter().find(|(known, _)| *known == set);
            let missed = set.missed().saturating_sub(before.map_or(0, |(_, missed)| *missed));
            if missed > 0 {
                *by_name.entry(set.name().to_owned()).or_default() += missed as u64;
            }
        }
        by_name
    }
}
