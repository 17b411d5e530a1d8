//! The macro `events!` passes attributes on to all that it generates.

// The generated code must not cause any warning.
#![deny(warnings, clippy::pedantic)]
#![allow(unexpected_cfgs, reason = "the names stand for features of a user")]

use core::time::Duration;

use tailwatch_core::{Event, EventInfo, Quantile, Threshold, Unit, events};

/// Returns the number and name of each event.
fn listed(all: &[EventInfo]) -> Vec<(u16, &'static str)> {
    all.iter().map(|info| (info.id.get(), info.name)).collect()
}

events! {
    /// Events of which some exist only in some programs.
    #[derive(Default)]
    enum Optional {
        #[cfg(absent)]
        First = 1,
        /// The docs do not matter.
        #[cfg(not(absent))]
        #[default]
        Second = 2 { unit: Unit::One },
        #[cfg_attr(not(absent), cfg(absent))]
        Third = 3,
        #[cfg_attr(not(absent), doc = "Docs.", cfg(not(absent)), allow(dead_code))]
        Fourth = 4,
        #[cfg_attr(not(absent), allow(dead_code), cfg_attr(not(other), cfg(absent)))]
        Fifth = 5,
        #[cfg(not(absent))]
        #[cfg(absent)]
        Sixth = 6,
        #[cfg(not(absent))]
        Either = 7,
        #[cfg(absent)]
        Or = 7 { name: "not_this" },
        Last = 8,
    }
}

#[test]
fn a_variant_that_cfg_leaves_out_is_nowhere_and_the_others_keep_their_numbers() {
    let expected = [(2, "second"), (4, "fourth"), (7, "either"), (8, "last")];
    assert_eq!(listed(Optional::ALL), expected);
    assert_eq!(Optional::ALL[0].unit, Unit::One);
    // The match has an arm for every variant that exists.
    let name = match Optional::default() {
        Optional::Second => "second",
        Optional::Fourth | Optional::Either | Optional::Last => "another",
    };
    assert_eq!(name, "second");
    assert_eq!(
        [Optional::Second, Optional::Fourth, Optional::Either, Optional::Last]
            .map(|event| event.id().get()),
        [2, 4, 7, 8]
    );
}

events! {
    #[cfg(absent)]
    enum Absent {
        Only = 1 { unit: NoSuchUnit::Any },
    }
}

events! {
    #[cfg_attr(not(absent), cfg(not(absent)))]
    enum Present {
        Only = 1,
    }
}

#[cfg(not(absent))]
#[test]
fn a_set_that_cfg_leaves_out_does_not_exist() {
    /// Would be ambiguous if the set existed.
    struct Absent;
    let _ = Absent;
    assert_eq!(listed(Present::ALL), [(Present::Only.id().get(), "only")]);
}

/// An old event and an old set. Only their uses outside of `events!` warn.
mod old {
    use super::events;

    events! {
        #[derive(PartialOrd, Ord)]
        pub(crate) enum Partly {
            #[deprecated = "use `New`"]
            Old = 1 { name: "old_one" },
            #[deprecated(since = "1.0.0", note = "use `New`")]
            Older = 2,
            New = 3,
        }
    }

    events! {
        #[deprecated]
        #[allow(clippy::enum_variant_names)]
        pub(crate) enum Entirely {
            TheOld = 1,
            TheOlder = 2,
            TheOldest = 3,
        }
    }
}

#[test]
fn deprecated_events_warn_only_where_they_are_used() {
    assert_eq!(listed(old::Partly::ALL), [(1, "old_one"), (2, "older"), (3, "new")]);
    #[expect(deprecated, reason = "each of these uses has to warn")]
    let ids = {
        #[expect(deprecated, reason = "a use of the set")]
        let entirely = old::Entirely::ALL;
        assert_eq!(listed(entirely), [(1, "the_old"), (2, "the_older"), (3, "the_oldest")]);
        [old::Partly::Old.id().get(), old::Partly::Older.id().get()]
    };
    assert_eq!(ids, [1, 2]);
}

#[deprecated]
const OLD_LIMIT: Duration = Duration::from_millis(5);

#[expect(deprecated, reason = "the macro hides no warning about the values of a field")]
mod with_deprecated_value {
    use super::{Duration, OLD_LIMIT, events};

    events! {
        pub(crate) enum Beating {
            Heart = 1 { expected_interval: Some(OLD_LIMIT), max_silence: None::<Duration> },
        }
    }
}

#[test]
fn a_deprecated_value_of_a_field_warns() {
    let info = with_deprecated_value::Beating::ALL[0];
    assert_eq!(info.expected_interval, Some(Duration::from_millis(5)));
}

#[expect(non_camel_case_types, reason = "keywords are in lower case")]
mod raw {
    use super::events;

    events! {
        pub(crate) enum r#struct {
            r#type = 1,
            r#Match = 2,
            r = 3,
            r#loop = 4 { name: "r#loop" },
        }
    }
}

#[test]
fn the_name_of_a_raw_identifier_has_no_prefix() {
    assert_eq!(listed(raw::r#struct::ALL), [(1, "type"), (2, "match"), (3, "r"), (4, "r#loop")]);
    assert_eq!(raw::r#struct::r#type.id().get(), 1);
}

/// Variants, constants and types with the names that the macro uses.
mod names {
    use core::time::Duration;

    use super::{Quantile, Threshold, events};

    const NAME: Quantile = Quantile::P99;
    const SNAKE: Duration = Duration::from_millis(7);
    #[expect(non_camel_case_types, dead_code, reason = "the generated code must not use it")]
    struct u16;
    #[expect(dead_code, reason = "the generated code must not use it")]
    enum Option {
        Some,
        None,
    }

    events! {
        #[expect(non_camel_case_types, reason = "the name of a local variable")]
        pub(crate) enum EventInfo {
            NAME = 1 { limits: &[Threshold::duration(NAME, SNAKE)] },
            SNAKE = 2,
            Event = 3,
            EventId = 4,
            Some = 5,
            None = 6,
            Self_ = 7,
            __tailwatch_list = 8,
            __TailwatchEvents = 9,
            Id = 10,
        }
    }
}

#[test]
fn names_do_not_clash() {
    assert_eq!(names::EventInfo::ALL.len(), 10);
    assert_eq!(names::EventInfo::ALL[1].name, "snake");
    assert_eq!(
        names::EventInfo::ALL[0].limits,
        [Threshold::duration(Quantile::P99, Duration::from_millis(7))]
    );
    assert_eq!(names::EventInfo::None.id().get(), 6);
}

/// Passes 3 × 64 lines of docs on to an event.
macro_rules! long {
    ($($line:literal)+) => {
        events! {
            enum Long {
                $(#[doc = $line] #[doc = $line] #[doc = $line])+
                #[cfg(not(absent))]
                Event = 2_047,
            }
        }
    };
}

long! {
    "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a"
    "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a"
    "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a" "a"
}

#[test]
fn the_docs_of_an_event_may_be_long() {
    assert_eq!(listed(Long::ALL), [(Long::Event.id().get(), "event")]);
}

/// Passes attributes on as `meta`, in which `events!` cannot see them.
macro_rules! opaque {
    ($($(#[$attribute:meta])* $variant:ident = $id:literal)+) => {
        events! {
            #[derive(Default)]
            enum Opaque {
                $($(#[$attribute])* $variant = $id,)+
            }
        }
    };
}

/// Passes attributes on as tokens.
macro_rules! transparent {
    ($($(#[$($attribute:tt)*])* $variant:ident = $id:literal)+) => {
        events! {
            enum Transparent {
                $($(#[$($attribute)*])* $variant = $id,)+
            }
        }
    };
}

opaque! {
    /// Docs.
    #[default]
    Documented = 1
    #[deprecated]
    #[cfg(not(absent))]
    Old = 2
}

transparent! {
    #[cfg(absent)]
    Gone = 1
    #[deprecated]
    Old = 2
}

#[test]
fn another_macro_may_pass_attributes_on() {
    assert_eq!(listed(Opaque::ALL), [(Opaque::default().id().get(), "documented"), (2, "old")]);
    assert_eq!(listed(Transparent::ALL), [(2, "old")]);
}

#[test]
fn a_set_may_be_declared_inside_of_a_function() {
    const FIRST: EventInfo = {
        events! {
            enum Inner {
                First = 5,
            }
        }
        Inner::ALL[0]
    };
    events! {
        /// Docs.
        #[derive(PartialOrd)]
        enum Local {
            Second = 6,
        }
    }
    assert_eq!(listed(&[FIRST, Local::ALL[0]]), [(5, "first"), (6, "second")]);
    assert_eq!(Local::Second.id().get(), 6);
}
