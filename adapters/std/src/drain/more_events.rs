//! Adds an event to a running drain.

use std::sync::Arc;

use tailwatch_core::{CoveredOutcomes, EventId, EventInfo, Limit, LimitError, Unit};
use tailwatch_record::{EventSet, collecting::sets_with_missed_records};

use super::{Drain, sampling::Sampling};
use crate::{
    events::{
        error::EventError,
        numbers::{self, NamedEvent},
    },
    settings::{Setting, limits_in_force::without_limits},
    sync::lock,
};

/// Why an event could not be added.
#[derive(Debug)]
pub(crate) enum AddError {
    /// The collector has as many events as it may have.
    Full { max_events: usize },
    /// The limits of the event cannot be watched.
    Limits(LimitError),
}

/// The sets that a collector was offered that gets every set of the process.
#[derive(Debug, Default)]
pub(super) struct EverySet {
    /// How many sets of which something was measured before they had numbers.
    measured: usize,
    /// How many numbers were assigned at the last look.
    assigned: usize,
}

impl EverySet {
    /// Returns the sets that were measured since the last call, and, if any were numbered since,
    /// all that have numbers. Takes no lock unless there are such.
    fn take_new(&mut self) -> Vec<EventSet> {
        let mut sets: Vec<_> = sets_with_missed_records().skip(self.measured).collect();
        self.measured += sets.len();
        let assigned = numbers::assigned();
        if assigned != self.assigned {
            self.assigned = assigned;
            sets.extend(numbers::numbered_sets());
        }
        sets
    }
}

impl AddError {
    /// Returns the error for `event`.
    pub(crate) fn of(self, event: String) -> EventError {
        match self {
            Self::Full { max_events } => EventError::Full { event, max_events },
            Self::Limits(error) => EventError::Limits { event, error },
        }
    }
}

impl Drain {
    /// Returns an error if no further event can be added.
    pub(crate) fn check_room(&self) -> Result<(), AddError> {
        let max_events = self.aggregator.shape().events;
        if self.events.len() < max_events { Ok(()) } else { Err(AddError::Full { max_events }) }
    }

    /// If the collector gets every set, adds those that were measured or numbered since the last
    /// call. What cannot be added stays unlisted.
    pub(super) fn add_every_set(&mut self) {
        let Some(every_set) = &mut self.every_set else { return };
        for set in every_set.take_new() {
            for info in numbers::numbered(set).unwrap_or_default() {
                if self.events.iter().any(|known| known.id == info.id) {
                    continue;
                }
                // There is no room for a corrected summary.
                let info = EventInfo { expected_interval: None, ..info };
                let event = NamedEvent::new(&info);
                let limits = self.later_events.limits_of(&event);
                let sampling = self.later_events.sampling_of(&event).map(|set| set.value);
                let is_named = self.event_named(info.name).is_some();
                if is_named || self.add_event(&event, &limits, sampling).is_err() {
                    if !is_named {
                        // Without room for its limits, it is still measured.
                        let _ = self.add_event(&event, &[], sampling);
                    }
                    // Without room for the event or its limits, nobody judges it.
                    self.pool.breaches().set_unjudged(info.id);
                }
            }
        }
    }

    /// Returns the number of the event with this full name, if the collector has it.
    pub(crate) fn event_named(&self, name: &str) -> Option<EventId> {
        self.events.iter().find(|event| event.name == name).map(|event| event.id)
    }

    /// Returns the events that have this name and unit and only this label, each with the value of
    /// the label.
    pub(crate) fn of_family(&self, base: &str, key: &str, unit: Unit) -> Vec<(Box<str>, EventId)> {
        let of_unit = self.events.iter().filter(|info| info.unit == unit);
        let member = |NamedEvent { info, base: of, labels }: NamedEvent| {
            let value = labels.value(key).filter(|_| of == base && labels.iter().count() == 1);
            value.map(|value| (value.into(), info.id))
        };
        of_unit.map(NamedEvent::new).filter_map(member).collect()
    }

    /// Returns an error if an event that is added now could not have these limits.
    pub(crate) fn check_limits(&mut self, unit: Unit, limits: &[Limit]) -> Result<(), LimitError> {
        self.aggregator.check_limits(unit, limits)
    }

    /// Adds an event with this sampling and these limits, which include those that are declared
    /// with it, and publishes a report that has it. Does nothing if the collector has the event. If
    /// the event cannot have the limits, it is not added.
    pub(crate) fn add_event(
        &mut self,
        event: &NamedEvent,
        limits: &[Setting<Limit>],
        sampling: Option<Sampling>,
    ) -> Result<(), AddError> {
        let mut info = without_limits(&event.info);
        if self.covers_all_outcomes {
            info.outcomes = CoveredOutcomes::Any;
        }
        if self.events.iter().any(|known| known.id == info.id) {
            return Ok(());
        }
        let values: Vec<_> = limits.iter().map(|limit| limit.value).collect();
        self.check_limits(info.unit, &values).map_err(AddError::Limits)?;
        let max_events = self.aggregator.shape().events;
        self.aggregator.add_event(&info).map_err(|_| AddError::Full { max_events })?;
        self.events = self.events.iter().copied().chain([info]).collect();
        self.readers.add_event(info.id);
        self.observers.add_event(event);
        self.publisher.add_event(Arc::clone(&self.events));
        self.limits.add_event(Arc::clone(&self.events), event.labels.clone());
        self.set_first_sampling(info.id, sampling);
        let set = self.limits.set_at_start(info.id, limits, &mut self.aggregator);
        self.share_event(&NamedEvent { info, ..event.clone() });
        if !limits.is_empty() {
            self.publisher.changes.note_new_limits();
        }
        self.publish(false);
        set.map_err(AddError::Limits)
    }

    /// Adds an event to those that can be sampled, and sets its sampling if there is one.
    fn set_first_sampling(&self, id: EventId, sampling: Option<Sampling>) {
        let mut sampler = lock(self.coverage.sampler());
        sampler.add_event(id);
        if let Some(k) = sampling.and_then(|sampling| sampler.set(id, sampling)) {
            self.pool.update_gate(|gate| {
                gate.set_sampling(id, k);
            });
        }
    }
}
