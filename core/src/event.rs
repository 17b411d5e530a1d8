//! Events: the things that are measured, each with a number in records and a name in reports.

use core::{fmt, num::NonZeroU16, time::Duration};

use crate::sla::Threshold;

/// The number of an event in records, 1…2,047; 0 is reserved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventId(NonZeroU16);

impl EventId {
    /// The largest id that a record can carry.
    pub const MAX: u16 = 2_047;

    /// Creates an event id; `None` if `id` is 0 or above [`EventId::MAX`].
    #[inline]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) if id.get() <= Self::MAX => Some(Self(id)),
            _ => None,
        }
    }

    /// Returns the number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({})", self.get())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A thing that is measured.
///
/// The macro [`events!`](crate::events!) implements it for an enum. [`EventId`] implements it as
/// well.
pub trait Event: Copy {
    /// Returns the number of the event in records.
    fn id(self) -> EventId;
}

impl Event for EventId {
    #[inline]
    fn id(self) -> EventId {
        self
    }
}

/// The unit an event is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Unit {
    /// Time, for spans and durations. Reports show nanoseconds.
    #[default]
    Time,
    /// Plain numbers, for values such as the length of a queue.
    One,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Time => "ns",
            Self::One => "1",
        })
    }
}

/// The declaration of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventInfo {
    /// The number in records.
    pub id: EventId,
    /// The name in reports, in snake case.
    pub name: &'static str,
    /// The unit that the event is measured in.
    pub unit: Unit,
    /// The thresholds that the event must keep until others are set at run time.
    pub limits: &'static [Threshold],
    /// The longest time that the event may go without any record; more is a violation.
    pub max_silence: Option<Duration>,
    /// The interval between two spans, for an event that is meant to happen at a fixed rate.
    ///
    /// With it, the aggregator keeps a second summary that is corrected for coordinated omission: a
    /// span that lasts several intervals kept other spans from starting, and those would have
    /// waited for the rest of it. The rule is that of `recordValueWithExpectedInterval` in
    /// `HdrHistogram`.
    pub expected_interval: Option<Duration>,
}

impl EventInfo {
    /// Declares an event that is measured in time, without limits and without an expected interval.
    pub const fn new(id: EventId, name: &'static str) -> Self {
        Self { id, name, unit: Unit::Time, limits: &[], max_silence: None, expected_interval: None }
    }
}

/// Declares a set of events: an enum whose variants can be measured.
///
/// Each variant is given its number in records, 1…2,047. Braces behind the number set fields of
/// [`EventInfo`]: `name`, `unit`, `limits`, `max_silence`, `expected_interval`. By default, an
/// event is named after its variant in snake case and is measured in time, without limits. The
/// constant `ALL` of the enum holds the declarations of all its events.
///
/// A number that is out of range or used twice does not compile.
///
/// ```
/// use core::time::Duration;
/// use tailwatch_core::{Event, Quantile, Threshold, Unit, events};
///
/// events! {
///     /// The events of the gateway.
///     pub enum Gateway {
///         /// Decoding one packet.
///         Decode = 20,
///         /// An order's round trip to the venue.
///         RoundTrip = 21 {
///             limits: &[Threshold::duration(Quantile::P95, Duration::from_millis(20))],
///             expected_interval: Some(Duration::from_millis(100)),
///         },
///         /// The number of packets that wait to be decoded.
///         Backlog = 22 { unit: Unit::One, name: "packets_waiting" },
///     }
/// }
///
/// assert_eq!(Gateway::Decode.id().get(), 20);
/// assert_eq!(Gateway::ALL[1].name, "round_trip");
/// assert_eq!(Gateway::ALL[2].name, "packets_waiting");
/// ```
///
/// ```compile_fail
/// tailwatch_core::events! { enum Wrong { Zero = 0 } }
/// ```
#[macro_export]
macro_rules! events {
    (
        $(#[$set_meta:meta])*
        $vis:vis enum $set:ident {
            $(
                $(#[$meta:meta])*
                $variant:ident = $id:literal $({ $($field:ident : $value:expr),* $(,)? })?
            ),+ $(,)?
        }
    ) => {
        $(#[$set_meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        $vis enum $set {
            $($(#[$meta])* $variant = $id,)+
        }

        impl $set {
            /// The declarations of all events, in the order of the variants.
            pub const ALL: &'static [$crate::EventInfo] = &[$(
                $crate::EventInfo {
                    $($($field: $value,)*)?
                    ..$crate::EventInfo::new(
                        $crate::event_id($id),
                        {
                            const NAME: &[u8] = ::core::stringify!($variant).as_bytes();
                            const SNAKE: [u8; $crate::snake_case::snake_len(NAME)] =
                                $crate::snake_case::snake(NAME);
                            $crate::snake_case::as_str(&SNAKE)
                        },
                    )
                },
            )+];
        }

        impl $crate::Event for $set {
            #[inline]
            fn id(self) -> $crate::EventId {
                match self {
                    $(Self::$variant => const { $crate::event_id($id) },)+
                }
            }
        }
    };
}

/// Returns the event numbered `id`, for use in constants.
///
/// # Panics
///
/// Panics if `id` is 0 or above [`EventId::MAX`]. In a constant this is a compile-time error.
#[doc(hidden)]
pub const fn event_id(id: u16) -> EventId {
    match EventId::new(id) {
        Some(id) => id,
        None => panic!("an event id must be a number from 1 to 2,047"),
    }
}
