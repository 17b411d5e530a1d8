//! The gate: which events are recorded, and how many of them.

use core::fmt;

use crate::{
    EventId,
    sync::{AtomicU8, Ordering::Relaxed},
};

/// Set in every word while the master switch is off.
const ALL_OFF: u8 = 0x80;
/// Set in the word of an event that is switched off by itself.
const EVENT_OFF: u8 = 0x40;
/// Off for good.
const CLOSED: u8 = 0x20;
/// The `k` of an event that is sampled 1 in 2^k.
const SAMPLING: u8 = 0x0F;

/// One word for each of the ids below `IDS` decides whether that event is recorded: not, always, or 1 in 2^k; a master switch
/// decides for all.
///
/// A recorder reads one word at START, relaxed and wait-free; its END inherits the decision. All zero, as it begins, it
/// lets everything through. An event beyond its size (and the reserved id 0) obeys the master switch alone.
///
/// The switches are turned from one thread at a time: two at once could undo each other's turn, because targets without
/// compare-and-swap have no other way to set a bit.
///
/// ```
/// use tailwatch_core::{EventId, Gate};
///
/// static GATE: Gate<9> = Gate::new();
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
    words: [AtomicU8; IDS],
}

impl<const IDS: usize> Gate<IDS> {
    /// An open gate with a word for each of the ids below `IDS`.
    #[cfg(not(tailwatch_loom))]
    #[expect(
        clippy::new_without_default,
        reason = "`const` is the point of it, and `Default::default` is not"
    )]
    pub const fn new() -> Self {
        const { assert!(IDS > 0, "a gate has a word at least for the reserved id 0, the master switch") };
        Self { words: [const { AtomicU8::new(0) }; IDS] }
    }

    /// An open gate with a word for each of the ids below `IDS`.
    #[cfg(tailwatch_loom)]
    pub fn new() -> Self {
        Self { words: core::array::from_fn(|_| AtomicU8::new(0)) }
    }

    #[inline(always)]
    fn word(&self, event: EventId) -> &AtomicU8 {
        let id = usize::from(event.get());
        // No id is 0, so its word holds the master switch and nothing else.
        &self.words[if id < IDS { id } else { 0 }]
    }

    /// What is decided for `event`.
    #[inline(always)]
    pub(crate) fn decision(&self, event: EventId) -> Decision {
        // Relaxed: a switch says nothing about other memory; it is obeyed as soon as it is seen.
        Decision(self.word(event).load(Relaxed))
    }

    /// Whether `event` is recorded, be it only 1 in so many.
    #[inline(always)]
    pub fn admits(&self, event: EventId) -> bool {
        !self.decision(event).is_off()
    }

    /// `event` is recorded 1 in 2^k times, this is k; 0 if always.
    pub fn sampling(&self, event: EventId) -> u8 {
        self.decision(event).sampling()
    }

    /// Has `event` recorded 1 in 2^`sampling` times: at most 15, which a record has room for. An event beyond the gate's size
    /// stays as it is. Returns what is in force.
    pub fn set_sampling(&self, event: EventId, sampling: u8) -> u8 {
        if let Some(word) = self.words.get(usize::from(event.get())) {
            word.store((word.load(Relaxed) & !SAMPLING) | sampling.min(SAMPLING), Relaxed);
        }
        self.sampling(event)
    }

    /// Turns the master switch.
    pub fn set_enabled(&self, enabled: bool) {
        for word in &self.words {
            let rest = word.load(Relaxed) & !ALL_OFF;
            word.store(if enabled { rest } else { rest | ALL_OFF }, Relaxed);
        }
    }

    /// Turns everything off for good: no switch turns anything on again, and who is turned away
    /// [can tell](crate::Recorder::try_start).
    pub fn close(&self) {
        for word in &self.words {
            word.store(word.load(Relaxed) | CLOSED, Relaxed);
        }
    }

    /// Whether anything may be recorded: the master switch is on, and the gate is not closed.
    pub fn is_enabled(&self) -> bool {
        self.words[0].load(Relaxed) & (ALL_OFF | CLOSED) == 0
    }

    /// Switches one event. An event beyond the gate's size stays as it is.
    pub fn set_event_enabled(&self, event: EventId, enabled: bool) {
        if let Some(word) = self.words.get(usize::from(event.get())) {
            let rest = word.load(Relaxed) & !EVENT_OFF;
            word.store(if enabled { rest } else { rest | EVENT_OFF }, Relaxed);
        }
    }
}

/// What the gate says of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision(u8);

impl Decision {
    /// Whether every one is recorded: the usual case, told by one comparison.
    #[inline(always)]
    pub(crate) const fn is_always(self) -> bool {
        self.0 == 0
    }

    /// Whether none is recorded.
    #[inline(always)]
    pub(crate) const fn is_off(self) -> bool {
        self.0 >= CLOSED
    }

    /// Whether the gate is closed for good.
    #[inline(always)]
    pub(crate) const fn is_final(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// 1 in 2^k is recorded.
    #[inline(always)]
    pub(crate) const fn sampling(self) -> u8 {
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
    fn switches_and_sampling_do_not_disturb_each_other() {
        let gate = Gate::<5>::new();
        let [one, other, beyond] = [1, 2, 2_047].map(|id| EventId::new(id).unwrap());
        assert_eq!(gate.set_sampling(one, 4), 4);
        assert_eq!(gate.set_sampling(one, 200), 15, "no more fits a record");
        gate.set_event_enabled(one, false);
        gate.set_enabled(false);
        assert!(![one, other, beyond].into_iter().any(|event| gate.admits(event)));
        gate.set_enabled(true);
        assert_eq!([one, other, beyond].map(|event| gate.admits(event)), [false, true, true]);
        gate.set_event_enabled(one, true);
        assert!(gate.admits(one) && !gate.decision(one).is_always());
        assert_eq!([one, other, beyond].map(|event| gate.sampling(event)), [15, 0, 0]);
        assert_eq!(gate.set_sampling(beyond, 3), 0, "the master switch's word is nobody's");
        assert!(gate.is_enabled() && gate.decision(beyond).is_always());
        gate.close();
        gate.set_enabled(true);
        assert!(
            !gate.is_enabled() && ![one, other, beyond].into_iter().any(|event| gate.admits(event))
        );
    }
}
