//! Limits that replace some of those that are set elsewhere.

use core::ops::Deref;

use tailwatch_core::{Event, EventId, Limit};

use super::limits_in_force::is_overridden;

/// Limits that override those declared with the events: what
/// [`Builder::limits`](crate::Builder::limits) takes and [`parse_limits`](crate::parse_limits)
/// returns.
///
/// Each limit replaces *the same limit* of its event: all on the same quantile over the same
/// window, those on the error rate over the same window, or the one on silence. If there is none,
/// it is added. **All other limits stay armed**, unless the event's other limits are
/// [dropped](Self::dropping_others). It dereferences to the slice of its limits, which does not
/// show whether others are dropped.
///
/// The start fails if the collector does not have an event. Those of a set without stated numbers
/// have none before the start: declare their limits with the set, or set them with
/// [`Collector::set_limits`](crate::Collector::set_limits).
///
/// ```
/// use core::time::Duration;
/// use tailwatch::{Collector, Limit, LimitOverrides, Quantile, Threshold, Trading};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let strict = Threshold::duration(Quantile::P95, Duration::from_millis(5));
/// let overrides = LimitOverrides::new()
///     // `Trading` declares 20 ms on this p95, which is replaced, and 50 ms on the p99.
///     .with(Trading::OrderPlacement, Limit::Quantile(strict))
///     // The collector has no limit on this event.
///     .dropping_others(Trading::EventBusPublish);
/// let report = Collector::builder().limits(overrides).start()?.report();
/// let of = |event| report.sla.iter().filter(move |limit| limit.event == event);
/// let placement: Vec<_> = of("order_placement").map(|limit| limit.limit / 1_000_000).collect();
/// assert_eq!(placement, [50, 5]);
/// assert_eq!(of("event_bus_publish").count(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    limits: Vec<(EventId, Limit)>,
    /// The events whose other limits are dropped.
    dropping: Vec<EventId>,
}

impl LimitOverrides {
    /// Creates overrides without a limit, which change nothing.
    pub const fn new() -> Self {
        Self { limits: Vec::new(), dropping: Vec::new() }
    }

    /// Adds a limit.
    #[must_use]
    pub fn with(mut self, event: impl Event, limit: Limit) -> Self {
        self.limits.push((event.id(), limit));
        self
    }

    /// Drops all limits of an event that are set elsewhere: those that are declared with it, and
    /// those of earlier overrides.
    #[must_use]
    pub fn dropping_others(mut self, event: impl Event) -> Self {
        self.dropping.push(event.id());
        self
    }

    /// Adds those of `later`, as if they were set after these: each of its limits replaces the same
    /// limit, too.
    #[must_use]
    pub fn and(mut self, later: &Self) -> Self {
        let is_replaced = |(event, limit): &(EventId, Limit)| {
            later.dropping.contains(event)
                || later.iter().any(|(of, by)| of == event && is_overridden(limit, by))
        };
        self.limits.retain(|limit| !is_replaced(limit));
        self.limits.extend(&later.limits);
        self.dropping.extend(&later.dropping);
        self
    }

    /// Returns all events of which something is overridden.
    pub(crate) fn events(&self) -> impl Iterator<Item = &EventId> {
        self.limits.iter().map(|(event, _)| event).chain(&self.dropping)
    }

    /// Returns the events whose other limits are dropped.
    pub(super) fn dropping(&self) -> &[EventId] {
        &self.dropping
    }
}

impl Deref for LimitOverrides {
    type Target = [(EventId, Limit)];

    fn deref(&self) -> &Self::Target {
        &self.limits
    }
}

impl<'o> IntoIterator for &'o LimitOverrides {
    type Item = &'o (EventId, Limit);
    type IntoIter = core::slice::Iter<'o, (EventId, Limit)>;

    fn into_iter(self) -> Self::IntoIter {
        self.limits.iter()
    }
}

impl From<Vec<(EventId, Limit)>> for LimitOverrides {
    fn from(limits: Vec<(EventId, Limit)>) -> Self {
        Self { limits, dropping: Vec::new() }
    }
}

impl From<&Vec<(EventId, Limit)>> for LimitOverrides {
    fn from(limits: &Vec<(EventId, Limit)>) -> Self {
        limits.clone().into()
    }
}

impl From<&[(EventId, Limit)]> for LimitOverrides {
    fn from(limits: &[(EventId, Limit)]) -> Self {
        limits.to_vec().into()
    }
}

impl<const N: usize> From<&[(EventId, Limit); N]> for LimitOverrides {
    fn from(limits: &[(EventId, Limit); N]) -> Self {
        limits.to_vec().into()
    }
}

impl From<&LimitOverrides> for LimitOverrides {
    fn from(overrides: &LimitOverrides) -> Self {
        overrides.clone()
    }
}
