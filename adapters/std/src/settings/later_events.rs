//! What the configuration file sets for events that are made while the collector runs.

use std::collections::HashMap;

use tailwatch_core::{Limit, LimitError, Unit};

use super::{
    Origin, Setting,
    build_error::BuildError,
    limits_in_force::{declared, is_overridden},
    selection::Selection,
};
use crate::{
    drain::sampling::Sampling,
    events::{error::EventError, numbers::NamedEvent},
};

/// The limits and samplings of the configuration file, for events that do not exist yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LaterEvents {
    pub(crate) limits: Vec<LaterLimit>,
    pub(crate) samplings: Vec<(Selection, Setting<Sampling>)>,
}

/// A limit for all events that are selected.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LaterLimit {
    /// The line of the file where its table begins.
    pub(crate) origin: Origin,
    pub(crate) selection: Selection,
    /// The unit of a limit on a quantile or on the error rate.
    pub(crate) unit: Unit,
    pub(crate) limit: Limit,
    /// Whether it drops all other limits of an event.
    pub(crate) replaces_all: bool,
    /// Whether an event that exists at the start has the limit, so that it was checked there.
    pub(crate) is_checked: bool,
}

impl LaterLimit {
    /// Returns whether the event gets the limit. A limit on a quantile has to fit its unit.
    fn is_for(&self, event: &NamedEvent) -> bool {
        let fits = self.unit == event.info.unit || matches!(self.limit, Limit::Silence(_));
        fits && self.selection.selects(event)
    }
}

impl LaterEvents {
    /// Returns an error if `check` returns one for a limit that no event has at the start.
    pub(crate) fn check(
        &self,
        mut check: impl FnMut(Unit, Limit) -> Result<(), LimitError>,
    ) -> Result<(), BuildError> {
        let unchecked = self.limits.iter().filter(|limit| !limit.is_checked);
        for LaterLimit { selection, unit, limit, .. } in unchecked {
            let refuse = |error| {
                let event = selection.event().to_owned();
                BuildError::Events(EventError::Limits { event, error })
            };
            check(*unit, *limit).map_err(refuse)?;
        }
        Ok(())
    }

    /// Returns the limits of an event and their origins, with those that are declared with it. Of
    /// limits of the file that an event cannot have both, it gets the first.
    pub(crate) fn limits_of(&self, event: &NamedEvent) -> Vec<Setting<Limit>> {
        let of_file = || self.limits.iter().filter(|later| later.is_for(event));
        let is_kept = |limit: &Limit| {
            !of_file().any(|later| later.replaces_all || is_overridden(limit, &later.limit))
        };
        let mut limits: Vec<_> =
            declared(&event.info).filter(is_kept).map(Setting::new_default).collect();
        for later in of_file() {
            if !limits.iter().any(|limit| limit.value.conflicts_with(&later.limit)) {
                limits.push(Setting { value: later.limit, origin: later.origin.clone() });
            }
        }
        limits
    }

    /// Returns how an event is sampled, if that is set. The first that is for the event counts.
    pub(crate) fn sampling_of(&self, event: &NamedEvent) -> Option<&Setting<Sampling>> {
        let mut samplings = self.samplings.iter();
        samplings.find(|(selection, _)| selection.selects(event)).map(|(_, sampling)| sampling)
    }

    /// Returns how many limits an event has at most.
    pub(crate) fn most_limits(&self) -> usize {
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for later in &self.limits {
            *by_name.entry(later.selection.base()).or_default() += 1;
        }
        by_name.into_values().max().unwrap_or_default()
    }
}
