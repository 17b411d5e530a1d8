//! Which events a table `[[sla]]` or `[[sampling]]` is about: all of one name, or those with some
//! labels.

#[cfg(feature = "toml")]
pub(crate) mod read;

use std::collections::HashSet;

use tailwatch_core::EventInfo;

use crate::events::numbers::NamedEvent;

/// A family that was declared: its events may not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeclaredFamily {
    pub(crate) name: String,
    pub(crate) key: String,
}

/// The events that a text may name.
#[derive(Debug)]
pub(crate) struct Selectable<'f> {
    events: Vec<NamedEvent>,
    families: &'f [DeclaredFamily],
}

/// Selects the events of one name that have some labels. All of that name if these are none, and
/// one event if the name is a full name, with labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    event: String,
    /// Pairs of a key and a value, sorted by their keys.
    labels: Vec<(String, String)>,
}

impl<'f> Selectable<'f> {
    /// Combines events that exist, and families whose events may not exist yet.
    pub(crate) fn new(events: &[EventInfo], families: &'f [DeclaredFamily]) -> Self {
        let mut ids = HashSet::new();
        let events = events.iter().filter(|event| ids.insert(event.id));
        Self { events: events.map(NamedEvent::new).collect(), families }
    }
}

impl Selection {
    /// Returns the name of the event as it was written.
    pub(crate) fn event(&self) -> &str {
        &self.event
    }

    /// Returns the name without labels.
    pub(crate) fn base(&self) -> &str {
        self.event.split_once('{').map_or(&self.event, |(base, _)| base)
    }

    /// Returns whether the event is selected.
    pub(crate) fn selects(&self, event: &NamedEvent) -> bool {
        let has = |(key, value): &(String, String)| event.labels.value(key) == Some(value);
        (event.base == self.event && self.labels.iter().all(has))
            || (event.info.name == self.event && self.labels.is_empty())
    }
}
