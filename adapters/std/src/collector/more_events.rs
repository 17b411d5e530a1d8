//! Events that are made while the collector runs.

use std::sync::Arc;

use tailwatch_core::{EventId, Unit};

use super::Collector;
use crate::{
    drain::{Drain, exclusive, pass_kind::PassKind},
    events::{
        error::EventError,
        family::Family,
        new_event::{NewEvent, Target},
        numbers,
    },
    recording::pool::Pool,
    settings::later_events::LaterEvents,
    sync::{Mutex, lock},
};

impl Collector {
    /// Makes an event, such as for a symbol that was listed while the program runs, up to
    /// [`Builder::max_events`](crate::Builder::max_events).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = tailwatch::Collector::builder().start()?;
    /// let placing = collector.event("order_placement").label("symbol", "ETHUSDT").add()?;
    /// assert!(collector.report().event(placing).is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn event(&self, name: &str) -> NewEvent<'_> {
        NewEvent::new(Target::Collector(self), name)
    }

    /// Returns the family of the events that have this name and differ in the label `key`. It
    /// makes its events when they are first looked up.
    ///
    /// # Errors
    /// Returns an error if the name or the key is not valid, or if there is no room for the event
    /// that [stands for the others](Family#limits).
    pub fn family(&self, name: &str, key: &str) -> Result<Family, EventError> {
        Family::new(self.more_events(), name, key, Unit::Time)
    }

    pub(crate) fn more_events(&self) -> MoreEvents {
        MoreEvents {
            pool: Arc::clone(&self.pool),
            drain: Arc::clone(&self.drain),
            settings: Arc::clone(&self.settings().later_events),
            is_manual: self.in_force.is_manual(),
        }
    }
}

/// Adds events to a collector, which it may outlive.
#[derive(Clone, Debug)]
pub(crate) struct MoreEvents {
    pool: Arc<Pool>,
    drain: Arc<Mutex<Drain>>,
    /// What the configuration file sets for the events.
    settings: Arc<LaterEvents>,
    /// Whether the program makes the passes.
    is_manual: bool,
}

impl MoreEvents {
    /// Returns whether the collector is that of the process from which this one was forked.
    pub(crate) fn is_inherited(&self) -> bool {
        self.pool.is_inherited()
    }

    /// Returns the events of the collector that have this name and unit and only this label, each
    /// with the value of the label. Blocks while the drain makes a pass.
    pub(crate) fn of_family(&self, base: &str, key: &str, unit: Unit) -> Vec<(Box<str>, EventId)> {
        lock(&self.drain).of_family(base, key, unit)
    }

    /// Returns the event with this name and these labels, which are sorted by their keys. Makes it
    /// if it does not exist, and adds it if the collector does not have it, with the limits and the
    /// sampling of the configuration file. Blocks while the drain makes a pass.
    pub(crate) fn make(
        &self,
        base: &str,
        labels: &[(String, String)],
        unit: Unit,
    ) -> Result<EventId, EventError> {
        if self.is_inherited() {
            return Err(EventError::Forked);
        }
        if self.pool.is_stopped() {
            return Err(EventError::Stopped);
        }
        if exclusive::is_inside_pass() {
            return Err(EventError::InsidePass);
        }
        let made = self.make_locked(&mut lock(&self.drain), base, labels, unit);
        // A hook of another collector that stopped this one meanwhile has found the drain locked.
        if self.is_manual && self.pool.is_stopped() {
            exclusive::run(&self.drain, &self.pool, PassKind::Last);
        }
        made
    }

    fn make_locked(
        &self,
        drain: &mut Drain,
        base: &str,
        labels: &[(String, String)],
        unit: Unit,
    ) -> Result<EventId, EventError> {
        // The last pass may have been made while this thread waited for the lock.
        if self.pool.is_stopped() {
            return Err(EventError::Stopped);
        }
        // An event that exists is kept for good, so it is made only if there is room for it.
        let found = numbers::find(base, labels, unit)?;
        let name = numbers::full_name(base, labels);
        if let Some(other) = drain.event_named(&name)
            && found.as_ref().is_none_or(|found| found.info.id != other)
        {
            let (first, second) = (numbers::origin_of(other), numbers::MADE.to_owned());
            return Err(EventError::SameName { name, first, second });
        }
        let made = if let Some(made) = found {
            made
        } else {
            drain.check_room().map_err(|error| error.of(name.clone()))?;
            numbers::make(base, labels, unit)?
        };
        let limits = self.settings.limits_of(&made);
        let sampling = self.settings.sampling_of(&made).map(|setting| setting.value);
        drain.add_event(&made, &limits, sampling).map_err(|error| error.of(name))?;
        Ok(made.info.id)
    }
}
