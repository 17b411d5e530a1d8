//! The gate: decides which events are recorded, and what share of their occurrences.

use core::fmt;

use crate::{
    event::EventId,
    sync::{AtomicU8, Ordering::Relaxed},
};

// The values of a gate's byte. It is 0 if every occurrence of the event is recorded, and `CLOSED`
// without any other bit once the gate is closed. The order of the values lets a single comparison
// answer each question that a `Decision` is asked.

/// The four bits that hold the sampling exponent k: 1 in 2^k occurrences is recorded.
const SAMPLING: u8 = 0x0F;
/// The value of every byte once the gate is closed permanently.
const CLOSED: u8 = 0x10;
/// Set in the byte of an event whose own switch is off.
const EVENT_OFF: u8 = 0x20;
/// Set in every byte while the master switch is off.
const ALL_OFF: u8 = 0x40;

/// Decides which occurrences of which events are recorded. It has a master switch for all events.
/// Each event whose id is below `IDS` also has a switch of its own and a *sampling* exponent k: 1
/// in 2^k of its occurrences is recorded, chosen at random. With k = 0, every occurrence is.
///
/// A new gate is all zero and admits everything. An event whose id is `IDS` or more has neither a
/// switch nor a sampling exponent of its own: all of its occurrences are recorded, unless the
/// master switch is off or the gate is closed.
///
/// A [`Recorder`](crate::Recorder) reads the gate at the START of a span and before it records a
/// value or a duration, wait-free by a relaxed load of one byte. If it keeps copies, it reads those
/// instead, and they must [follow](crate::ThreadCopies::follow) each change of the gate. When a
/// span is closed, its END is written if its START was, even if the event was switched off or the
/// gate was closed in between. A [FORGET](crate::Kind::Forget) takes the place of the END if the
/// span is discarded or is too long for an END, or if the clock stepped back during the span.
///
/// # Limits
///
/// Only one thread at a time may change a gate. Two threads at once could undo each other's change:
/// every change is a load and a store, because some targets have no compare-and-swap.
///
/// ```
/// use tailwatch_core::{EventId, Gate};
///
/// static GATE: Gate<9> = Gate::new(); // for the event ids 1 to 8
/// let gate = &GATE;
/// let order = EventId::new(3).unwrap();
/// gate.set_event_enabled(order, false);
/// assert!(!gate.admits(order));
/// gate.set_enabled(false);
/// gate.set_event_enabled(order, true);
/// assert!(!gate.admits(order)); // the master switch is off
/// gate.set_enabled(true);
/// assert!(gate.admits(order));
/// gate.set_sampling(order, 3);
/// assert_eq!((gate.admits(order), gate.sampling(order)), (true, 3)); // 1 in 8
/// ```
pub struct Gate<const IDS: usize> {
    /// One byte for each event id, whose bits the constants above define. Byte 0 belongs to no
    /// event: only the master switch and closing the gate change it.
    switches: [AtomicU8; IDS],
}

impl<const IDS: usize> Gate<IDS> {
    /// Creates a gate that admits everything.
    #[cfg(not(tailwatch_loom))]
    #[expect(
        clippy::new_without_default,
        reason = "gates are made in constants, where `Default` cannot be called"
    )]
    pub const fn new() -> Self {
        const { assert!(IDS > 0, "a gate must have at least one byte, for the master switch") };
        Self { switches: [const { AtomicU8::new(0) }; IDS] }
    }

    /// Creates a gate that admits everything.
    #[cfg(tailwatch_loom)]
    pub fn new() -> Self {
        Self { switches: core::array::from_fn(|_| AtomicU8::new(0)) }
    }

    /// Creates a gate that is [closed](Self::close): it admits nothing, and never will.
    #[cfg(not(tailwatch_loom))]
    pub const fn closed() -> Self {
        Self { switches: [const { AtomicU8::new(CLOSED) }; IDS] }
    }

    /// Returns whether and how to record `event` at this moment.
    #[inline(always)]
    pub fn decision(&self, event: EventId) -> Decision {
        self.decision_of(usize::from(event.get()))
    }

    /// Returns the decision about the event with this id: its own byte, or byte 0 if it has none.
    #[inline(always)]
    pub(super) fn decision_of(&self, id: usize) -> Decision {
        // Relaxed: no other memory depends on a switch. A change takes effect once this load sees
        // it.
        Decision(self.switches[if id < IDS { id } else { 0 }].load(Relaxed))
    }

    /// Returns whether `event` is recorded at all: every occurrence of it, or 1 in 2^k.
    #[inline(always)]
    pub fn admits(&self, event: EventId) -> bool {
        !self.decision(event).is_off()
    }

    /// Returns the sampling exponent k of `event`: 1 in 2^k occurrences is recorded. 0 if every
    /// occurrence is recorded.
    pub fn sampling(&self, event: EventId) -> u8 {
        self.decision(event).sampling()
    }

    /// Sets the sampling exponent of `event`: from now on, 1 in 2^`sampling` occurrences is
    /// recorded, and every occurrence if `sampling` is 0. Returns the exponent that is now in
    /// force.
    ///
    /// A `sampling` above 15 becomes 15, because a record has 4 bits for it. An event whose id is
    /// `IDS` or more cannot be sampled: nothing changes, and the result is 0.
    pub fn set_sampling(&self, event: EventId, sampling: u8) -> u8 {
        if let Some(switch) = self.switches.get(usize::from(event.get())) {
            change(switch, SAMPLING, sampling.min(SAMPLING));
        }
        self.sampling(event)
    }

    /// Turns the master switch on or off. While it is off, no event is recorded.
    ///
    /// The switches and sampling exponents of the events keep their values in the meantime.
    pub fn set_enabled(&self, enabled: bool) {
        for switch in &self.switches {
            change(switch, ALL_OFF, if enabled { 0 } else { ALL_OFF });
        }
    }

    /// Closes the gate permanently: no span starts and no value or duration is recorded any more,
    /// whatever switches are turned on. A span that is open when the gate closes still gets its
    /// END.
    ///
    /// A closed gate has no switches and no sampling exponents any more.
    pub fn close(&self) {
        for switch in &self.switches {
            switch.store(CLOSED, Relaxed);
        }
    }

    /// Closes the gate permanently for one event: as [`close`](Self::close), but the other events
    /// are still recorded.
    ///
    /// An event whose id is `IDS` or more has no switch of its own: nothing changes.
    pub fn close_event(&self, event: EventId) {
        if let Some(switch) = self.switches.get(usize::from(event.get())) {
            switch.store(CLOSED, Relaxed);
        }
    }

    /// Returns whether the master switch is on and the gate is not closed.
    pub fn is_enabled(&self) -> bool {
        self.switches[0].load(Relaxed) < CLOSED
    }

    /// Turns the switch of one event on or off. While it is off, the event is not recorded.
    ///
    /// An event whose id is `IDS` or more has no switch of its own: nothing changes.
    pub fn set_event_enabled(&self, event: EventId, enabled: bool) {
        if let Some(switch) = self.switches.get(usize::from(event.get())) {
            change(switch, EVENT_OFF, if enabled { 0 } else { EVENT_OFF });
        }
    }
}

/// Sets the bits `mask` of a gate's byte to `value`, unless the gate is closed.
fn change(switch: &AtomicU8, mask: u8, value: u8) {
    let byte = switch.load(Relaxed);
    if byte != CLOSED {
        switch.store(byte & !mask | value, Relaxed);
    }
}

/// Whether and how to record an event: a copy of the event's byte in a [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Decision(pub(super) u8);

impl Decision {
    /// The decision of a gate that is closed permanently.
    #[cfg(not(tailwatch_loom))]
    pub(super) const CLOSED: Self = Self(CLOSED);

    /// Returns whether every occurrence of the event is recorded.
    #[inline(always)]
    pub const fn is_always(self) -> bool {
        self.0 == 0
    }

    /// Returns whether the event is not recorded at all, because it or all events are switched off
    /// or because the gate is closed.
    #[inline(always)]
    pub const fn is_off(self) -> bool {
        self.0 >= CLOSED
    }

    /// Returns whether the event or all events are switched off, and may be switched on again.
    #[inline(always)]
    pub const fn is_switched_off(self) -> bool {
        self.0 >= EVENT_OFF
    }

    /// Returns whether the gate is closed permanently.
    #[inline(always)]
    pub const fn is_closed(self) -> bool {
        self.0 == CLOSED
    }

    /// Returns the sampling exponent k: 1 in 2^k occurrences is recorded, unless the event is off.
    #[inline(always)]
    pub const fn sampling(self) -> u8 {
        self.0 & SAMPLING
    }
}

impl<const IDS: usize> fmt::Debug for Gate<IDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("enabled", &self.is_enabled()).field("ids", &IDS).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_and_sampling_are_independent_of_each_other() {
        let gate = Gate::<5>::new();
        // The gate has no byte for the event `beyond`.
        let [one, other, beyond] = [1, 2, 2_047].map(|id| EventId::new(id).unwrap());
        assert_eq!(gate.set_sampling(one, 4), 4);
        assert_eq!(gate.set_sampling(one, 200), 15, "a record has 4 bits for the sampling");
        gate.set_event_enabled(one, false);
        gate.set_enabled(false);
        assert!(![one, other, beyond].into_iter().any(|event| gate.admits(event)));
        gate.set_enabled(true);
        assert_eq!([one, other, beyond].map(|event| gate.admits(event)), [false, true, true]);
        gate.set_event_enabled(one, true);
        assert!(gate.admits(one) && !gate.decision(one).is_always());
        assert_eq!([one, other, beyond].map(|event| gate.sampling(event)), [15, 0, 0]);
        assert_eq!(
            gate.set_sampling(beyond, 3),
            0,
            "an event without a byte must not change the byte of the master switch"
        );
        assert!(gate.is_enabled() && gate.decision(beyond).is_always());
        gate.close();
        gate.set_enabled(true);
        assert!(
            !gate.is_enabled() && ![one, other, beyond].into_iter().any(|event| gate.admits(event))
        );
    }
}
