//! The declaration of events: their numbers, names and units, and what is expected of them.

pub(crate) mod presets;
pub mod snake_case;

use core::{fmt, time::Duration};

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
    /// Which spans the event's summaries cover, by the outcome with which they ended.
    pub outcomes: CoveredOutcomes,
    /// The limit on the share of the event's spans that fail, which
    /// [`Threshold::error_rate`] creates. `None` means that any share is allowed.
    ///
    /// [`Aggregator::set_limits`](crate::Aggregator::set_limits) replaces this limit too.
    pub max_error_rate: Option<&'static Threshold>,
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
        Self {
            id,
            name,
            unit: Unit::Time,
            limits: &[],
            outcomes: CoveredOutcomes::Ok,
            max_error_rate: None,
            max_silence: None,
            expected_interval: None,
        }
    }
}

/// Which spans the summaries of an event cover, by the [outcome](crate::Outcome) with which they
/// ended.
///
/// Durations that were recorded without a span have no outcome, so summaries cover them in any
/// case. Both choices count the spans of each outcome ([`Outcomes`](crate::Outcomes)), and keep a
/// [summary of the failed spans](crate::Aggregator::failed) where the storage has room for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CoveredOutcomes {
    /// Those that ended with [`Outcome::Ok`](crate::Outcome::Ok): an order that was rejected within
    /// 60 ns is not a fast order. How limits on quantiles count the other spans is described at
    /// [`Threshold`].
    #[default]
    Ok,
    /// All spans that ended.
    Any,
}

impl fmt::Display for CoveredOutcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Any => "any",
        })
    }
}

/// Declares a set of events: an enum with one variant for each event, which implements
/// [`Event`](crate::Event).
///
/// Each variant has a number, 1…2,047, which identifies the event in records. Braces behind the
/// number set fields of [`EventInfo`]: `name`, `unit`, `limits`, `outcomes`, `max_error_rate`,
/// `max_silence` and `expected_interval`. By default, an event has the name of its variant in snake case, measures
/// durations and has no limits. The constant `ALL` of the enum holds the [`EventInfo`] of each
/// variant.
///
/// A number that is out of range or used twice does not compile. No variant can be called `ALL`.
///
/// The enum and its variants may have attributes. A variant that a `cfg` leaves out is in neither
/// the enum nor `ALL`. The name of a raw identifier such as `r#type` lacks the `r#`. A macro that
/// passes a `cfg` on to `events!` has to capture it as `$(#[$($attribute:tt)*])*`; a `cfg` that was
/// captured as `meta` does not compile when it leaves a variant out.
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
///
/// ```compile_fail,E0081
/// tailwatch_core::events! { enum Wrong { One = 1, Another = 1 } }
/// ```
#[macro_export]
macro_rules! events {
    (
        $(#[$($set_attribute:tt)*])*
        $vis:vis enum $set:ident {
            $(
                $(#[$($attribute:tt)*])*
                $variant:ident = $id:literal $({ $($field:ident : $value:expr),* $(,)? })?
            ),+ $(,)?
        }
    ) => {
        $(#[$($set_attribute)*])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        $vis enum $set {
            $($(#[$($attribute)*])* $variant = $crate::event_id($id).get(),)+
        }

        $crate::under_cfg! { [] $(#[$($set_attribute)*])* @
            const _: () = {
                // The set may be deprecated. Another name for it limits the `allow` to this line,
                // so that the compiler still warns about the values of the fields.
                #[allow(deprecated)]
                type __TailwatchEvents = $set;

                impl __TailwatchEvents {
                    /// The declarations of all events, in the order of the variants.
                    pub const ALL: &'static [$crate::EventInfo] = &$crate::event_list! {
                        __TailwatchEvents:
                        $(
                            $(#[$($attribute)*])*
                            $variant = ($crate::event_id($id)) $({ $($field : $value,)* })?;
                        )+
                    };
                }

                impl $crate::Event for __TailwatchEvents {
                    #[inline]
                    fn id(self) -> $crate::EventId {
                        // Cannot panic: the declaration of the variants has checked the numbers.
                        // The compiler knows which numbers they have, so no check is left in an
                        // optimised program.
                        $crate::event_id(self as ::core::primitive::u16)
                    }
                }
            };
        }
    };
}

/// Generates the array of the declarations of a set's events, in the order of its variants. `$set`
/// is the enum, and `$id` the id of a variant.
///
/// The expansion of [`events!`](crate::events!) uses it, and so does that of the macro with this
/// name in the crate `tailwatch-record`.
#[doc(hidden)]
#[macro_export]
macro_rules! event_list {
    (
        $set:ident:
        $(
            $(#[$($attribute:tt)*])*
            $variant:ident = ($id:expr) $({ $($field:ident : $value:expr,)* })?;
        )+
    ) => {{
        let mut __tailwatch_list = [
            $crate::EventInfo::new($crate::event_id(1), "");
            {
                let mut __tailwatch_count = 0;
                $($crate::under_cfg! { [] $(#[$($attribute)*])* @ {
                    __tailwatch_count += 1;
                } })+
                __tailwatch_count
            }
        ];
        let mut __tailwatch_index = 0;
        $($crate::under_cfg! { [] $(#[$($attribute)*])* @ {
            // In a constant of its own, the values may borrow from temporaries.
            __tailwatch_list[__tailwatch_index] = const {
                $crate::EventInfo {
                    $($($field: $value,)*)?
                    ..$crate::EventInfo::new($id, {
                        const NAME: &[u8] = $crate::snake_case::without_raw_prefix(
                            ::core::stringify!($variant),
                        );
                        const SNAKE: [u8; $crate::snake_case::snake_len(NAME)] =
                            $crate::snake_case::snake(NAME);
                        $crate::snake_case::as_str(&SNAKE)
                    })
                }
            };
            __tailwatch_index += 1;
            // Does not compile if the enum lacks the variant, because of a `cfg` that another
            // macro has captured as `meta`, which hides it here.
            #[allow(deprecated)]
            let _ = $set::$variant;
        } })+
        ::core::assert!(__tailwatch_index == __tailwatch_list.len());
        __tailwatch_list
    }};
}

/// Generates one item or statement with the `cfg` attributes from a list of attributes. The other
/// attributes would have no effect there, or no meaning.
///
/// The expansion of [`events!`](crate::events!) uses it, once for each variant, so that the depth
/// of the recursion depends only on the attributes of one variant.
///
/// An attribute that another macro has captured as `meta` is opaque, so its `cfg` is not found. The
/// enum then lacks a variant that this macro still finds, which does not compile:
///
/// ```compile_fail,E0599
/// macro_rules! set {
///     ($(#[$attribute:meta])* $variant:ident) => {
///         tailwatch_core::events! { enum Set { Kept = 1, $(#[$attribute])* $variant = 2 } }
///     };
/// }
/// set! { #[cfg(absent)] LeftOut }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! under_cfg {
    ([$($kept:tt)*] @ $($code:tt)*) => { $($kept)* $($code)* };
    ([$($kept:tt)*] #[cfg($($condition:tt)*)] $($rest:tt)*) => {
        $crate::under_cfg! { [$($kept)* #[cfg($($condition)*)]] $($rest)* }
    };
    ([$($kept:tt)*] #[cfg_attr($if:meta $(,)?)] $($rest:tt)*) => {
        $crate::under_cfg! { [$($kept)*] $($rest)* }
    };
    (
        [$($kept:tt)*]
        #[cfg_attr($if:meta, cfg($($condition:tt)*) $(, $($more:tt)*)?)]
        $($rest:tt)*
    ) => {
        $crate::under_cfg! {
            [$($kept)* #[cfg_attr($if, cfg($($condition)*))]]
            #[cfg_attr($if, $($($more)*)?)]
            $($rest)*
        }
    };
    (
        [$($kept:tt)*]
        #[cfg_attr($if:meta, cfg_attr($and_if:meta, $($inner:tt)*) $(, $($more:tt)*)?)]
        $($rest:tt)*
    ) => {
        $crate::under_cfg! {
            [$($kept)*]
            #[cfg_attr(all($if, $and_if), $($inner)*)]
            #[cfg_attr($if, $($($more)*)?)]
            $($rest)*
        }
    };
    (
        [$($kept:tt)*]
        #[cfg_attr($if:meta, $other:meta $(, $($more:tt)*)?)]
        $($rest:tt)*
    ) => {
        $crate::under_cfg! { [$($kept)*] #[cfg_attr($if, $($($more)*)?)] $($rest)* }
    };
    ([$($kept:tt)*] #[cfg_attr $($unknown:tt)*] $($rest:tt)*) => {
        ::core::compile_error! { ::core::concat!(
            "`events!` cannot read `#[cfg_attr",
            ::core::stringify!($($unknown)*),
            "]`; write it as `#[cfg_attr(condition, attribute)]`",
        ) }
    };
    // Long docs would otherwise take a step of the recursion for each line.
    (
        [$($kept:tt)*]
        #[doc $($a:tt)*] #[doc $($b:tt)*] #[doc $($c:tt)*] #[doc $($d:tt)*]
        #[doc $($e:tt)*] #[doc $($f:tt)*] #[doc $($g:tt)*] #[doc $($h:tt)*]
        $($rest:tt)*
    ) => {
        $crate::under_cfg! { [$($kept)*] $($rest)* }
    };
    ([$($kept:tt)*] #[$($other:tt)*] $($rest:tt)*) => {
        $crate::under_cfg! { [$($kept)*] $($rest)* }
    };
}
