//! Which events are breached: a flag per event, which any thread may read at any time.

use tailwatch_core::{
    EventId,
    sync::{AtomicU8, Ordering::Relaxed},
};

use tailwatch_record::collecting::IDS;

/// The flags of all events. Wait-free.
#[derive(Debug)]
pub(crate) struct Breaches {
    /// For each event id: not 0 while a limit of the event is violated, once the event has a limit
    /// that nobody judges any more, and for an event that the collector does not have.
    breached: Box<[AtomicU8]>,
    /// For each event id: not 0 while the event has a limit.
    limited: Box<[AtomicU8]>,
    /// Not 0 once nobody judges the limits any more.
    unjudged: AtomicU8,
}

impl Breaches {
    /// Creates the flags of events that the collector does not have. Nobody judges limits of such
    /// an event, so each counts as breached.
    pub(super) fn new() -> Self {
        let flags = |flag| (0..IDS).map(|_| AtomicU8::new(flag)).collect();
        Self { breached: flags(1), limited: flags(0), unjudged: AtomicU8::new(0) }
    }

    /// Returns whether a limit of this event is violated, as of the last pass or, if that came
    /// later, of the last change of the event's limits. Also returns `true` once the event has a
    /// limit that nobody judges any more, and for an event that the collector does not have.
    #[inline]
    pub(crate) fn contains(&self, id: EventId) -> bool {
        // Relaxed: the flag guards no other memory.
        self.breached[usize::from(id.get())].load(Relaxed) != 0
    }

    /// Sets whether this event has limits, and whether one of them is violated. The caller must
    /// hold the drain.
    pub(crate) fn set(&self, id: EventId, has_limits: bool, is_violated: bool) {
        let index = usize::from(id.get());
        let is_unjudged = has_limits && self.unjudged.load(Relaxed) != 0;
        self.limited[index].store(has_limits.into(), Relaxed);
        self.breached[index].store((is_violated || is_unjudged).into(), Relaxed);
    }

    /// Makes an event breached until its limits are set, because nobody judges it. Only whoever has
    /// the drain may call this.
    pub(crate) fn set_unjudged(&self, id: EventId) {
        self.breached[usize::from(id.get())].store(1, Relaxed);
    }

    /// Makes all events that have a limit breached for good, because nobody judges their limits any
    /// more. Only whoever has the drain may call this, or the only thread of a forked child.
    pub(super) fn stop_judging(&self) {
        self.unjudged.store(1, Relaxed);
        for (breached, limited) in self.breached.iter().zip(&self.limited) {
            if limited.load(Relaxed) != 0 {
                breached.store(1, Relaxed);
            }
        }
    }
}

#[cfg(all(test, not(tailwatch_loom)))]
mod tests {
    use tailwatch_core::{Event, Trading};

    use super::*;

    #[test]
    fn an_event_whose_limit_nobody_judges_is_breached() {
        let [order, fill] = [Trading::OrderPlacement.id(), Trading::OrderFill.id()];
        let breaches = Breaches::new();
        breaches.set(order, true, true);
        assert!(breaches.contains(order));
        breaches.set(order, true, false);
        breaches.set(fill, false, false);
        assert!(!breaches.contains(order));
        breaches.stop_judging();
        assert!(breaches.contains(order));
        assert!(!breaches.contains(fill));
        breaches.set(order, false, false);
        breaches.set(fill, true, false);
        assert!(!breaches.contains(order));
        assert!(breaches.contains(fill));
    }
}
