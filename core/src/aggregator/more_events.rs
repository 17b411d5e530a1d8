//! Adds events to an aggregator that already runs.

use super::{Aggregator, ConfigError, row_number};
use crate::{
    declaration::{CoveredOutcomes, EventInfo},
    event::Unit,
    storage::{
        Storage,
        row::{StorageExt, UNIT_ONE},
    },
};

impl<S: Storage> Aggregator<S> {
    /// Adds an event, with the limits that it declares. The storage must have room for it: its
    /// [`Shape`](crate::Shape) must have more events than the aggregator has.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no room for the event or for its limits, if the aggregator has
    /// an event with this id, or if the event has an
    /// [expected interval](EventInfo::expected_interval). The aggregator is then as before, except
    /// that an event whose limits are refused was added without them.
    pub fn add_event(&mut self, info: &EventInfo) -> Result<(), ConfigError> {
        let shape = self.shape();
        if let Some(interval) = info.expected_interval {
            return Err(ConfigError::Interval { name: info.name, interval });
        }
        let id = usize::from(info.id.get());
        let parts = self.storage.parts();
        let Some(entry) = parts.row_of_id.get_mut(id) else {
            let what = "number of ids (the largest event id plus 1)";
            return Err(ConfigError::Shape { what, given: shape.ids, needed: id + 1 });
        };
        if *entry != 0 {
            return Err(ConfigError::DuplicateEvent { id: info.id });
        }
        let Some(row) = parts.rows[..shape.events].iter().position(|row| row.id == 0) else {
            let (given, needed) = (shape.events, shape.events + 1);
            return Err(ConfigError::Shape { what: "number of events", given, needed });
        };
        // As in `new`.
        let number = row_number(row) + 1;
        let is_number = !S::ABSENT.numbers && info.unit == Unit::One;
        *entry = if is_number { number | UNIT_ONE } else { number };
        parts.rows[row].id = info.id.get();
        parts.rows[row].covers_failed = info.outcomes == CoveredOutcomes::Any;
        self.declare_limits(info).map_err(|error| ConfigError::Limit { name: info.name, error })
    }
}
