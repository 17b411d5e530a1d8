//! The declaration of events: their numbers, names and units, and what is expected of them.

pub(crate) mod presets;
pub mod snake_case;

use core::time::Duration;

use crate::{
    event::{EventId, Unit},
    sla::Threshold,
};

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
    /// The longest time that may pass, by their ticks, from one record of the event to the next
    /// (other than a record of the wrong kind). A longer silence is a violation. `None` means that
    /// any silence is allowed.
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

/// Declares a set of events: an enum with one variant for each event, which implements
/// [`Event`](crate::Event).
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
