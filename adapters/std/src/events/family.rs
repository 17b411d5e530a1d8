//! Families: events of one name that differ in one label.

use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};
use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use tailwatch_core::{EventId, EventInfo, Unit};

use super::{error::EventError, labels, numbers};
use crate::collector::more_events::MoreEvents;

/// The value of the label of the event that stands for those that have none of their own.
const OTHER: &str = "other";

/// The events that have one name and differ in one label, such as one for each symbol; created by
/// [`Collector::family`](crate::Collector::family).
///
/// [`event`](Self::event) looks an event up, and makes it when it is looked up first. Keep the
/// result where you keep the symbol: measuring the event then takes no look-up.
///
/// ```
/// use tailwatch::{Collector, measure};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().start()?;
/// collector.install()?;
/// let placements = collector.family("order_placement", "symbol")?;
/// for symbol in ["BTCUSDT", "ETHUSDT", "BTCUSDT"] {
///     let _span = measure(placements.event(symbol));
/// }
/// collector.flush();
/// let sum = collector.report().family("order_placement").expect("it has events");
/// assert_eq!(sum.outcomes.ok, 3);
/// # Ok(())
/// # }
/// ```
///
/// # Limits
///
/// A look-up takes a lock that only the making of events holds for long, and hashes the value. If
/// no further event can be made, because the collector has
/// [`max_events`](crate::Builder::max_events), because no number or no room for limits is left,
/// because the collector has stopped, because the value is not
/// valid for a label, because an observer or hook looks the event up, or in a process that was
/// forked, the result is the event with the value `other`. [`overflowed`](Self::overflowed) counts
/// these look-ups.
pub struct Family {
    collector: MoreEvents,
    name: String,
    key: String,
    unit: Unit,
    other: EventId,
    /// Whether the collector has as many events as it may have.
    is_full: AtomicBool,
    by_value: RwLock<HashMap<Box<str>, EventId>>,
    overflowed: AtomicU64,
}

/// Returns the event that stands for those of a family that have none of their own.
pub(crate) fn other(name: &str, key: &str) -> Result<EventInfo, EventError> {
    labels::check_name(name)?;
    labels::check_key(key)?;
    Ok(numbers::make(name, &[(key.to_owned(), OTHER.to_owned())], Unit::Time)?.info)
}

impl Family {
    /// Creates a family, and makes the event that stands for those without one of their own.
    pub(crate) fn new(
        collector: MoreEvents,
        name: &str,
        key: &str,
        unit: Unit,
    ) -> Result<Self, EventError> {
        labels::check_name(name)?;
        labels::check_key(key)?;
        let mut family = Self {
            collector,
            name: name.to_owned(),
            key: key.to_owned(),
            unit,
            other: EventId::UNNUMBERED,
            is_full: AtomicBool::new(false),
            by_value: RwLock::default(),
            overflowed: AtomicU64::new(0),
        };
        family.other = family.make(OTHER)?;
        family.by_value = RwLock::new(HashMap::from([(OTHER.into(), family.other)]));
        Ok(family)
    }

    /// Returns the event whose label has this value. Makes it, if it does not exist: the call then
    /// blocks while the drain makes a pass.
    pub fn event(&self, value: &str) -> EventId {
        if let Some(event) = self.known(value) {
            return event;
        }
        // Once the collector is full, it stays so. Asking again would wait for passes of the drain.
        let made = (!self.is_full.load(Relaxed)).then(|| self.make(value));
        let Some(Ok(event)) = made else {
            use EventError::{Full, Limits, NoNumber};
            if let Some(Err(Full { .. } | NoNumber { .. } | Limits { .. })) = made {
                // The collector gets no further event, so these are all that there will be.
                let members = self.collector.of_family(&self.name, &self.key, self.unit);
                self.by_value.write().unwrap_or_else(PoisonError::into_inner).extend(members);
                self.is_full.store(true, Relaxed);
            }
            self.overflowed.fetch_add(1, Relaxed);
            return self.other;
        };
        let mut known = self.by_value.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(value.into(), event);
        event
    }

    /// Returns how many look-ups found the event `other`, because a further event could not be
    /// made.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    /// Returns the event with this value, if it was looked up before.
    fn known(&self, value: &str) -> Option<EventId> {
        let known = if self.collector.is_inherited() {
            // The lock may be held for ever, by a thread of the parent process.
            self.by_value.try_read().ok()?
        } else {
            self.by_value.read().unwrap_or_else(PoisonError::into_inner)
        };
        known.get(value).copied()
    }

    fn make(&self, value: &str) -> Result<EventId, EventError> {
        labels::check_value(value)?;
        let labels = [(self.key.clone(), value.to_owned())];
        self.collector.make(&self.name, &labels, self.unit)
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family")
            .field("name", &self.name)
            .field("key", &self.key)
            .field("overflowed", &self.overflowed())
            .finish_non_exhaustive()
    }
}
