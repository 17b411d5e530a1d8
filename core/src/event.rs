//! Events: the named stages and quantities that are measured.
//!
//! Records identify an event by its number, reports by its name.

use core::{fmt, hint, num::NonZeroU16};

use crate::event_number::EventNumber;

/// The number that identifies an event in [records](crate::Record), 1…2,047; 0 is reserved.
///
/// An event that waits for its number ([`EventNumber`](crate::EventNumber)) has the id
/// [`UNNUMBERED`](Self::UNNUMBERED) until then.
// The number is at most `UNNUMBERED`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventId(NonZeroU16);

impl EventId {
    /// The largest id that a record can carry.
    pub const MAX: u16 = 2_047;

    /// The id of an event that has no number yet, 2,048. No record has it. A gate that has more
    /// than 2,048 switches can keep such events from being recorded, and should.
    pub const UNNUMBERED: Self = Self(NonZeroU16::new(Self::MAX + 1).unwrap());

    /// Creates the event id with the number `id`. Returns `None` if `id` is 0 or above
    /// [`EventId::MAX`].
    #[inline]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) if id.get() <= Self::MAX => Some(Self(id)),
            _ => None,
        }
    }

    /// Creates an event id.
    ///
    /// # Safety
    ///
    /// `id` must be the number of an event id.
    #[inline(always)]
    pub(crate) const unsafe fn new_unchecked(id: u16) -> Self {
        // SAFETY: no event id is 0.
        Self(unsafe { NonZeroU16::new_unchecked(id) })
    }

    /// Returns the id as a number, 1…2,047, or 2,048 for [`UNNUMBERED`](Self::UNNUMBERED).
    #[inline(always)]
    pub const fn get(self) -> u16 {
        let id = self.0.get();
        // SAFETY: `new` and `new_unchecked` create no other ids. The compiler does not know that,
        // and would check an index where none can be out of bounds.
        unsafe { hint::assert_unchecked(id <= Self::UNNUMBERED.0.get()) };
        id
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::UNNUMBERED { f.pad("none yet") } else { self.get().fmt(f) }
    }
}

/// A named stage or quantity that is measured, such as the handling of a message or the length of a
/// queue.
///
/// The macro [`events!`](crate::events!) declares an enum of events and implements this trait for
/// it. [`EventId`] implements the trait too, for code that only has the number of an event.
pub trait Event: Copy {
    /// Returns the number that identifies the event in records.
    fn id(self) -> EventId;

    /// Takes note of records of this event that are not written, because the event has no number.
    /// Only events that can be [`EventId::UNNUMBERED`] need this.
    #[cold]
    fn count_unnumbered(self, records: usize) {
        let _ = records;
    }

    /// Returns the event in a form that can be kept, whatever its type. An event that has no number
    /// yet will have it there as well.
    #[inline]
    fn any(self) -> AnyEvent {
        AnyEvent(Kept::Id(self.id()))
    }
}

/// An event of any type, to be kept until it is measured; returned by [`Event::any`].
///
/// ```
/// use tailwatch_core::{AnyEvent, Event, Trading};
///
/// struct Connection { received: AnyEvent }
///
/// let connection = Connection { received: Trading::EventBusHandle.any() };
/// assert_eq!(connection.received.id(), Trading::EventBusHandle.id());
/// ```
///
/// Two are equal if they have the same number now, or wait for the same one.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AnyEvent(Kept);

#[derive(Clone, Copy, Debug)]
enum Kept {
    Id(EventId),
    Number(&'static EventNumber),
}

#[cfg(feature = "defmt")]
impl defmt::Format for Kept {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self {
            Self::Id(id) => defmt::write!(f, "{}", id),
            Self::Number(number) => defmt::write!(f, "{}", number),
        }
    }
}

impl AnyEvent {
    /// Creates an event whose number is assigned when the program runs.
    #[inline]
    pub const fn numbered(number: &'static EventNumber) -> Self {
        Self(Kept::Number(number))
    }

    /// Returns where the number of the event is, if it is assigned when the program runs.
    #[inline]
    pub const fn number(self) -> Option<&'static EventNumber> {
        match self.0 {
            Kept::Id(_) => None,
            Kept::Number(number) => Some(number),
        }
    }
}

impl PartialEq for AnyEvent {
    fn eq(&self, other: &Self) -> bool {
        match (self.0, other.0) {
            (Kept::Number(number), Kept::Number(other)) => core::ptr::eq(number, other),
            _ => self.id() == other.id(),
        }
    }
}

impl Eq for AnyEvent {}

impl Event for AnyEvent {
    #[inline]
    fn id(self) -> EventId {
        match self.0 {
            Kept::Id(id) => id,
            Kept::Number(number) => number.id(),
        }
    }

    #[cold]
    fn count_unnumbered(self, records: usize) {
        if let Kept::Number(number) = self.0 {
            number.count_unnumbered(records);
        }
    }

    #[inline]
    fn any(self) -> AnyEvent {
        self
    }
}

impl Event for EventId {
    #[inline]
    fn id(self) -> EventId {
        self
    }
}

/// Which kind of quantity an event measures: durations or plain numbers.
///
/// A record of the other kind counts as [invalid](crate::Counters::invalid) and gives no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Unit {
    /// Durations: spans (START and END), and durations that were not measured by a span. Reports
    /// hold them in nanoseconds. The table of the crate `tailwatch` shows those of 10 µs or more
    /// in µs, ms or s.
    #[default]
    Time,
    /// Plain numbers, such as the length of a queue, recorded by
    /// [`Recorder::value`](crate::Recorder::value).
    One,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Time => "ns",
            // The code of a plain number in UCUM, the units that OpenTelemetry uses.
            Self::One => "1",
        })
    }
}

/// Returns the event id with the number `id`. The expansion of [`events!`](crate::events!) calls it
/// in constants, and with the number of a variant, which is valid. An optimised program has no
/// check of the latter, because inlining shows the compiler which numbers the variants have.
///
/// # Panics
///
/// Panics if `id` is 0 or above [`EventId::MAX`]. In a constant, the panic is a compile-time error.
#[doc(hidden)]
#[inline(always)]
pub const fn event_id(id: u16) -> EventId {
    match EventId::new(id) {
        Some(id) => id,
        None => panic!("an event id must be a number from 1 to 2,047"),
    }
}
