//! Numbers that events get when the program runs.

use core::{
    fmt, hint,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use crate::event::EventId;

/// The number of an event, assigned when the program runs: a library cannot know which numbers
/// other libraries use.
///
/// A static holds it. The code that owns the aggregator assigns it, because it knows all events.
///
/// ```
/// use tailwatch_core::{EventId, EventNumber};
///
/// static PARSE: EventNumber = EventNumber::unassigned();
/// assert_eq!(PARSE.id(), EventId::UNNUMBERED);
/// PARSE.assign(EventId::new(80).unwrap());
/// assert_eq!(PARSE.id().get(), 80);
/// ```
pub struct EventNumber {
    /// An event id, at least `FIRST`. It has 32 bits, because loading 16 bits takes an extension.
    number: AtomicU32,
    /// Counts records that are not written because there is no number yet.
    count: fn(usize),
}

impl EventNumber {
    /// The first number that can be assigned. Smaller numbers are left to events that state them.
    /// Of those, a [recorder with copies](crate::ThreadCopies) copies the switches in the gate.
    pub const FIRST: u16 = 80;

    /// Creates the number of an event that has none yet.
    pub const fn unassigned() -> Self {
        Self::unassigned_and_counted(|_| ())
    }

    /// Creates the number of an event that has none yet. Until there is one, `count` is called with
    /// how many records are not written.
    pub const fn unassigned_and_counted(count: fn(usize)) -> Self {
        Self { number: AtomicU32::new(EventId::UNNUMBERED.get() as u32), count }
    }

    /// Counts records that are not written because there is no number yet.
    #[cold]
    pub fn count_unnumbered(&self, records: usize) {
        (self.count)(records);
    }

    /// Returns the id of the event: [`EventId::UNNUMBERED`] until a number is assigned.
    #[inline(always)]
    pub fn id(&self) -> EventId {
        // Relaxed: a thread that still sees no number records nothing of the event.
        let id = self.number.load(Relaxed);
        // SAFETY: nothing else is stored. The compiler does not know that, and would look for a
        // copy of the event's switch.
        unsafe {
            hint::assert_unchecked(
                id >= u32::from(Self::FIRST) && id <= u32::from(EventId::UNNUMBERED.get()),
            );
        }
        #[expect(clippy::cast_possible_truncation, reason = "the line above")]
        let id = id as u16;
        // SAFETY: only the numbers of event ids are stored.
        unsafe { EventId::new_unchecked(id) }
    }

    /// Assigns the number of the event. The number should not change again: records with the former
    /// one may still be in a ring.
    ///
    /// # Panics
    /// Panics if the number is below [`FIRST`](Self::FIRST).
    pub fn assign(&self, id: EventId) {
        assert!(id.get() >= Self::FIRST, "an assigned event number must be at least 80");
        self.number.store(id.get().into(), Relaxed);
    }
}

impl fmt::Debug for EventNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventNumber").field(&self.id()).finish()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for EventNumber {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "EventNumber({})", self.id());
    }
}
