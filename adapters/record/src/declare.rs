//! The macro that declares sets of events.

/// Declares a set of events: an enum with one variant for each event, which implements
/// [`Event`](crate::Event).
///
/// A library states no numbers. The set then gets its numbers when the first collector that has
/// the set is built: see [`EventSet`](crate::EventSet), which the constant `ALL` of the enum is.
///
/// ```
/// use core::time::Duration;
/// use tailwatch_record::{Quantile, Threshold, Unit, events};
///
/// events! {
///     /// The events of the parser.
///     pub enum Parser {
///         /// Parsing one message.
///         Parse { limits: &[Threshold::duration(Quantile::P99, Duration::from_micros(50))] },
///         /// The number of messages that wait.
///         Backlog { unit: Unit::One, name: "messages_waiting" },
///     }
/// }
///
/// assert!(Parser::ALL.name().ends_with("Parser"));
/// assert_eq!(Parser::ALL.events().map(|info| info.name).collect::<Vec<_>>(), [
///     "parse",
///     "messages_waiting",
/// ]);
/// ```
///
/// If every variant has a number, 1…2,047, as in `Parse = 20`, the numbers are fixed: a *stated*
/// number costs an instruction or two less, and is the same in every run, as a wire format needs.
/// The constant `ALL` is then a slice of [`EventInfo`](crate::EventInfo). Two sets with stated
/// numbers must not use the same ones. State numbers below 80: higher ones may have been assigned
/// to other events, and then the set is refused or, if nobody lists it, measured as these. In all
/// other respects, this is the macro [`events!`](tailwatch_core::events!) of `tailwatch-core`,
/// whose docs describe the braces behind a variant.
///
/// Either all variants have numbers or none:
///
/// ```compile_fail
/// tailwatch_record::events! { enum Mixed { One = 1, Two } }
/// ```
#[macro_export]
macro_rules! events {
    (
        $(#[$($set_attribute:tt)*])*
        $vis:vis enum $set:ident {
            $(
                $(#[$($attribute:tt)*])*
                $variant:ident $({ $($field:ident : $value:expr),* $(,)? })?
            ),+ $(,)?
        }
    ) => {
        $(#[$($set_attribute)*])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $set {
            $($(#[$($attribute)*])* $variant,)+
        }

        $crate::tailwatch_core::under_cfg! { [] $(#[$($set_attribute)*])* @
            const _: () = {
                // The set may be deprecated. Another name for it limits the `allow` to this line,
                // so that the compiler still warns about the values of the fields.
                #[allow(deprecated)]
                type __TailwatchEvents = $set;

                const __TAILWATCH_LIST: &[$crate::EventInfo] =
                    &$crate::tailwatch_core::event_list! {
                        __TailwatchEvents:
                        $(
                            $(#[$($attribute)*])*
                            $variant = ($crate::EventId::UNNUMBERED)
                                $({ $($field : $value,)* })?;
                        )+
                    };

                static __TAILWATCH_NUMBERS: [$crate::EventNumber; __TAILWATCH_LIST.len()] = [const {
                    $crate::EventNumber::unassigned_and_counted(|records| {
                        __TailwatchEvents::ALL.count_missed(records);
                    })
                }; __TAILWATCH_LIST.len()];

                static __TAILWATCH_DATA: $crate::__private::SetData =
                    $crate::__private::SetData::new(
                        ::core::concat!(::core::module_path!(), "::", ::core::stringify!($set)),
                        __TAILWATCH_LIST,
                        &__TAILWATCH_NUMBERS,
                    );

                impl __TailwatchEvents {
                    /// All events, whose numbers the first collector that has them assigns.
                    pub const ALL: $crate::EventSet = $crate::EventSet::new(|| &__TAILWATCH_DATA);
                }

                impl $crate::Event for __TailwatchEvents {
                    #[inline(always)]
                    fn id(self) -> $crate::EventId {
                        __TAILWATCH_NUMBERS[self as ::core::primitive::usize].id()
                    }

                    fn count_unnumbered(self, records: ::core::primitive::usize) {
                        Self::ALL.count_missed(records);
                    }

                    #[inline]
                    fn any(self) -> $crate::AnyEvent {
                        let number = &__TAILWATCH_NUMBERS[self as ::core::primitive::usize];
                        $crate::AnyEvent::numbered(number)
                    }
                }
            };
        }
    };
    ($($set:tt)*) => { $crate::tailwatch_core::events! { $($set)* } };
}
