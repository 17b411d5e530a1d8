//! Adds an event to a running drain.

use std::sync::Arc;

use tailwatch_core::{ConfigError, EventInfo, Limit, LimitError};

use super::Drain;
use crate::{events::error::EventError, sync::lock};

/// Why an event could not be added.
#[derive(Debug)]
pub(crate) enum AddError {
    /// The collector has as many events as it may have.
    Full { max_events: usize },
    /// The limits of the event cannot be watched. The event was added without them.
    Limits(LimitError),
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

    /// Adds an event with these limits, and publishes a report that has it. Does nothing if the
    /// collector has the event.
    pub(crate) fn add_event(&mut self, info: EventInfo, limits: &[Limit]) -> Result<(), AddError> {
        if self.events.iter().any(|known| known.id == info.id) {
            return Ok(());
        }
        let max_events = self.aggregator.shape().events;
        match self.aggregator.add_event(&info) {
            Ok(()) => {}
            Err(ConfigError::Limit { error, .. }) => return Err(AddError::Limits(error)),
            Err(_) => return Err(AddError::Full { max_events }),
        }
        self.events = self.events.iter().copied().chain([info]).collect();
        self.readers.add_event(info.id);
        self.observers.add_event(&info);
        self.publisher.add_event(Arc::clone(&self.events));
        self.limits.add_event(Arc::clone(&self.events));
        lock(self.coverage.sampler()).add_event(info.id);
        let set = self.limits.set(info.id, limits, &mut self.aggregator);
        if !limits.is_empty() {
            self.publisher.changes.note_new_limits();
        }
        self.publish(false);
        set.map_err(AddError::Limits)
    }
}
