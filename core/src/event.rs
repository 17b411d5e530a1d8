//! Events: what is measured, by a number on the wire and a name in reports.

use core::{fmt, num::NonZeroU16, time::Duration};

use crate::sla::Threshold;

/// The number of an event on the wire, 1…2,047; 0 is reserved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventId(NonZeroU16);

impl EventId {
    /// The largest id that a record can carry.
    pub const MAX: u16 = 2_047;

    /// The event numbered `id`; `None` for 0 and for more than [`EventId::MAX`].
    #[inline]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) if id.get() <= Self::MAX => Some(Self(id)),
            _ => None,
        }
    }

    /// The number.
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

/// A thing that is measured. Written by [`events!`](crate::events!); an [`EventId`] is one too.
pub trait Event: Copy {
    /// Its number on the wire.
    fn id(self) -> EventId;
}

impl Event for EventId {
    #[inline]
    fn id(self) -> EventId {
        self
    }
}

/// In what an event is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Unit {
    /// Time: spans and durations; told in nanoseconds.
    #[default]
    Time,
    /// Plain numbers, such as the length of a queue.
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

/// What is known of an event besides its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventInfo {
    /// Its number on the wire.
    pub id: EventId,
    /// Its name in reports, in snake case.
    pub name: &'static str,
    /// In what it is measured.
    pub unit: Unit,
    /// The limits it is to keep, until others are set.
    pub limits: &'static [Threshold],
    /// How long it may be silent: a limit on the time without any record of it.
    pub max_silence: Option<Duration>,
    /// How often it is expected to happen, where it is meant to happen at a fixed pace. Then a second summary is kept that is
    /// corrected for coordinated omission: a span that lasts for several intervals has kept others from beginning, which would
    /// have waited for the rest of it (the rule is that of `HdrHistogram`, `recordValueWithExpectedInterval`).
    pub expected_interval: Option<Duration>,
}

impl EventInfo {
    /// An event measured in time, without limits and without a fixed pace.
    pub const fn new(id: EventId, name: &'static str) -> Self {
        Self { id, name, unit: Unit::Time, limits: &[], max_silence: None, expected_interval: None }
    }
}

/// Declares a set of events: an enum whose variants can be measured.
///
/// Beside each variant stands its number on the wire, 1…2,047, and, in braces, what differs from a plain span: `name`
/// (else the variant's own in snake case), `unit`, `limits`, `max_silence`, `expected_interval`. The set's `ALL` lists what is known of
/// each. A number out of range or used twice does not compile.
///
/// ```
/// use core::time::Duration;
/// use tailwatch_core::{Event, Quantile, Threshold, Unit, events};
///
/// events! {
///     /// What the gateway does.
///     pub enum Gateway {
///         /// Decoding one packet.
///         Decode = 20,
///         /// An order's round trip to the venue.
///         RoundTrip = 21 {
///             limits: &[Threshold::duration(Quantile::P95, Duration::from_millis(20))],
///             expected_interval: Some(Duration::from_millis(100)),
///         },
///         /// Packets that wait.
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
            /// What is known of each event of the set, in the order of their declaration.
            pub const ALL: &'static [$crate::EventInfo] = &[$(
                $crate::EventInfo {
                    $($($field: $value,)*)?
                    ..$crate::EventInfo::new(
                        $crate::event_id($id),
                        {
                            const NAME: &[u8] = ::core::stringify!($variant).as_bytes();
                            const SNAKE: [u8; $crate::snake_case::snake_len(NAME)] = $crate::snake_case::snake(NAME);
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

/// The event numbered `id`, for constants.
///
/// # Panics
/// For an id that is 0 or more than [`EventId::MAX`]; in a constant, that is an error of the compiler.
#[doc(hidden)]
pub const fn event_id(id: u16) -> EventId {
    match EventId::new(id) {
        Some(id) => id,
        None => panic!("an event id is a number from 1 to 2,047"),
    }
}
