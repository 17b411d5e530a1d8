//! The gate: which events are recorded at all.

use core::fmt;

use crate::{
    EventId,
    sync::{AtomicU8, Ordering::Relaxed},
};

/// Set in every word while the master switch is off.
const ALL_OFF: u8 = 0x80;
/// Set in the word of an event that is switched off by itself.
const EVENT_OFF: u8 = 0x40;

/// One word for each of the ids below `IDS` decides whether that event is recorded; a master switch decides for all.
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
/// ```
pub struct Gate<const IDS: usize> {
    words: [AtomicU8; IDS],
}

impl<const IDS: usize> Gate<IDS> {
    /// An open gate with a word for each of the ids below `IDS`.
    #[cfg(not(tailwatch_loom))]
    #[expect(clippy::new_without_default, reason = "`const` is the point of it, and `Default::default` is not")]
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

    /// Whether `event` is recorded.
    #[inline(always)]
    pub fn admits(&self, event: EventId) -> bool {
        // Relaxed: a switch says nothing about other memory; it is obeyed as soon as it is seen.
        self.word(event).load(Relaxed) == 0
    }

    /// Turns the master switch.
    pub fn set_enabled(&self, enabled: bool) {
        for word in &self.words {
            let rest = word.load(Relaxed) & !ALL_OFF;
            word.store(if enabled { rest } else { rest | ALL_OFF }, Relaxed);
        }
    }

    /// Where the master switch stands.
    pub fn is_enabled(&self) -> bool {
        self.words[0].load(Relaxed) & ALL_OFF == 0
    }

    /// Switches one event. An event beyond the gate's size stays as it is.
    pub fn set_event_enabled(&self, event: EventId, enabled: bool) {
        if let Some(word) = self.words.get(usize::from(event.get())) {
            let rest = word.load(Relaxed) & !EVENT_OFF;
            word.store(if enabled { rest } else { rest | EVENT_OFF }, Relaxed);
        }
    }
}

impl<const IDS: usize> fmt::Debug for Gate<IDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("enabled", &self.is_enabled()).field("ids", &IDS).finish()
    }
}
