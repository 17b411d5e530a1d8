//! Which limits are in force: those that are declared with the events, with the overrides of the
//! builder and then of the configuration file.

use core::time::Duration;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tailwatch_core::{EventId, EventInfo, Limit, LimitError, Quantile};

use super::{Origin, Setting, Settings, limit_overrides::LimitOverrides};

/// A limit that is not in force, because another one has replaced it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplacedLimit {
    /// The event of the limit.
    pub event: EventId,
    /// The limit, and what set it.
    pub limit: Setting<Limit>,
    /// What replaced it.
    pub by: Origin,
}

/// What two limits of an event have in common if one of them can override the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Quantile(Quantile, Duration),
    Errors(Duration),
    Silence,
}

impl Subject {
    fn of(limit: &Limit) -> Self {
        match limit {
            Limit::Quantile(threshold) => Self::Quantile(threshold.quantile, threshold.window),
            Limit::Errors(threshold) => Self::Errors(threshold.window),
            Limit::Silence(_) => Self::Silence,
        }
    }
}

/// Returns where a limit was set, as [`SlaReport::origin`](crate::SlaReport::origin) has it.
pub(crate) fn origin_text(origin: &Origin) -> Arc<str> {
    match origin {
        Origin::Default => "declared".into(),
        Origin::Builder => "builder".into(),
        Origin::File { .. } => format!("file {origin}").into(),
        Origin::Environment { .. } => format!("environment {origin}").into(),
    }
}

/// Returns the limits that are declared with an event.
pub(crate) fn declared(info: &EventInfo) -> impl Iterator<Item = Limit> {
    let errors = info.max_error_rate.copied().map(Limit::Errors);
    let silence = info.max_silence.map(Limit::Silence);
    info.limits.iter().copied().map(Limit::Quantile).chain(errors).chain(silence)
}

/// Returns the declaration of an event without the limits that are declared with it.
pub(crate) fn without_limits(info: &EventInfo) -> EventInfo {
    EventInfo { limits: &[], max_error_rate: None, max_silence: None, ..*info }
}

/// Returns whether the first limit, of an event, is overridden by the second, of the same event.
pub(crate) fn is_overridden(limit: &Limit, by: &Limit) -> bool {
    Subject::of(limit) == Subject::of(by)
}

impl Settings {
    /// Begins with the limits that are declared with the events.
    pub(crate) fn declare_limits(&mut self, events: &[EventInfo]) {
        let limits = events
            .iter()
            .flat_map(|info| declared(info).map(|limit| (info.id, Setting::new_default(limit))));
        self.limits = limits.collect();
    }

    /// Applies the overrides of the builder.
    pub(crate) fn override_limits_by_builder(&mut self, overrides: &LimitOverrides) {
        let by_builder = |limit| Setting { value: limit, origin: Origin::Builder };
        let limits = overrides.iter().map(|(event, limit)| (*event, by_builder(*limit)));
        let dropping = overrides.dropping().iter().map(|event| (*event, Origin::Builder));
        self.override_limits(limits.collect(), &dropping.collect());
    }

    /// Puts `limits` in force instead of the same limits of other origins, and of all limits of the
    /// events in `dropping`.
    pub(super) fn override_limits(
        &mut self,
        limits: Vec<(EventId, Setting<Limit>)>,
        dropping: &HashMap<EventId, Origin>,
    ) {
        // Looked up in maps, because a file can have many thousand limits.
        let subject = |(event, limit): &(EventId, Setting<Limit>)| {
            ((*event, Subject::of(&limit.value)), limit.origin.clone())
        };
        let overridden: HashMap<_, _> = limits.iter().map(subject).collect();
        for (event, limit) in core::mem::take(&mut self.limits) {
            let same = overridden.get(&(event, Subject::of(&limit.value)));
            match same.or_else(|| dropping.get(&event)).cloned() {
                Some(by) => self.replaced_limits.push(ReplacedLimit { event, limit, by }),
                None => self.limits.push((event, limit)),
            }
        }
        self.limits.extend(limits);
    }

    /// Returns the events that have other limits than those that are declared with them.
    pub(crate) fn events_with_overrides(&self) -> HashSet<EventId> {
        let set = self.limits.iter().filter(|(_, limit)| limit.origin != Origin::Default);
        let set = set.map(|(event, _)| *event);
        set.chain(self.replaced_limits.iter().map(|replaced| replaced.event)).collect()
    }

    /// Returns the origin of the limit of `event` that has caused this error.
    pub(super) fn origin_of_limit(&self, event: EventId, error: &LimitError) -> Option<&Origin> {
        let threshold = |limit: &Limit| match limit {
            Limit::Quantile(threshold) | Limit::Errors(threshold) => Some(*threshold),
            Limit::Silence(_) => None,
        };
        let causes = |limit: &Limit| match (error, threshold(limit)) {
            (LimitError::Window { window }, Some(threshold)) => threshold.window == *window,
            (LimitError::Delay { delay }, Some(threshold)) => {
                threshold.raise_after == *delay || threshold.clear_after == Some(*delay)
            }
            (LimitError::Zero { quantile }, Some(threshold)) => {
                threshold.max == 0 && *quantile == Some(threshold.quantile)
            }
            (LimitError::Zero { quantile }, None) => quantile.is_none(),
            (LimitError::Window { .. } | LimitError::Delay { .. }, None) => false,
            (LimitError::Duplicate { limit: second }, _) => limit == second,
            _ => true,
        };
        let mut of_event = self.limits.iter().rev().filter(|(id, _)| *id == event);
        of_event.find(|(_, limit)| causes(&limit.value)).map(|(_, limit)| &limit.origin)
    }
}
