//! Events: the named stages and quantities that are measured.
//!
//! Records identify an event by its number, reports by its name.

use core::{fmt, num::NonZeroU16, time::Duration};

use crate::sla::Threshold;

/// The number that identifies an event in [records](crate::Record), 1…2,047; 0 is reserved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventId(NonZeroU16);

impl EventId {
    /// The largest id that a record can carry.
    pub const MAX: u16 = 2_047;

    /// Creates the event id with the number `id`. Returns `None` if `id` is 0 or above
    /// [`EventId::MAX`].
    #[inline]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) if id.get() <= Self::MAX => Some(Self(id)),
            _ => None,
        }
    }

    /// Returns the id as a number, 1…2,047.
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

/// A named stage or quantity that is measured, such as the handling of a message or the length of a
/// queue.
///
/// The macro [`events!`](crate::events!) declares an enum of events and implements this trait for
/// it. [`EventId`] implements the trait too, for code that only has the number of an event.
pub trait Event: Copy {
    /// Returns the number that identifies the event in records.
    fn id(self) -> EventId;
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

/// The declaration of an event: its number, name and unit, and what is expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventInfo {
    /// The number that identifies the event in records. The events of an aggregator must all have
    /// different numbers.
    pub id: EventId,
    /// The name of the event in reports, by convention in snake case.
    pub name: &'static str,
    /// Whether the event measures durations or plain numbers.
    pub unit: Unit,
    /// The limits on quantiles of the event. They apply until
    /// [`Aggregator::set_limits`](crate::Aggregator::set_limits) replaces them.
    pub limits: &'static [Threshold],
    /// The longest time that may pass, by their ticks, from one valid record of the event to the
    /// next. A longer silence is a violation. `None` means that any silence is allowed.
    ///
    /// [`Aggregator::set_limits`](crate::Aggregator::set_limits) replaces this limit too.
    pub max_silence: Option<Duration>,
    /// The intended interval between the starts of two spans, for an event that is meant to happen
    /// at a fixed rate. `None` for all other events.
    ///
    /// If it is given, the aggregator keeps a second summary of the event, which is corrected for
    /// coordinated omission: while a span lasts longer than the interval, the program does not
    /// start the spans that are due, so their long waits are missing from the plain summary. The
    /// correction adds a sample for each missing span, by the rule of
    /// `recordValueWithExpectedInterval` in `HdrHistogram`.
    pub expected_interval: Option<Duration>,
}

impl EventInfo {
    /// Declares an event that measures durations and has neither limits nor an [expected
    /// interval](Self::expected_interval). `name` is the name of the event in reports.
    pub const fn new(id: EventId, name: &'static str) -> Self {
        Self { id, name, unit: Unit::Time, limits: &[], max_silence: None, expected_interval: None }
    }
}

/// Declares a set of events: an enum with one variant for each event, which implements [`Event`].
///
/// Each variant has a number, 1…2,047, which identifies the event in records. Braces behind the
/// number set fields of [`EventInfo`]: `name`, `unit`, `limits`, `max_silence` and
/// `expected_interval`. By default, an event has the name of its variant in snake case, measures
/// durations and has no limits. The constant `ALL` of the enum holds the [`EventInfo`] of each
/// variant.
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

/// Returns the event id with the number `id`. The expansion of [`events!`](crate::events!) calls it
/// in constants.
///
/// # Panics
///
/// Panics if `id` is 0 or above [`EventId::MAX`]. In a constant, the panic is a compile-time error.
#[doc(hidden)]
pub const fn event_id(id: u16) -> EventId {
    match EventId::new(id) {
        Some(id) => id,
        None => panic!("an event id must be a number from 1 to 2,047"),
    }
}
