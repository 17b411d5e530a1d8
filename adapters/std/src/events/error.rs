//! The error of events that cannot be collected together, or cannot be made.

use core::fmt;
use std::error;

use tailwatch_core::{EventId, EventNumber, LimitError, Unit};

use super::labels::{MAX_LABELS, MAX_TEXT_BYTES};

/// The error returned when events cannot be collected together, or when an event cannot be made.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventError {
    /// Two events have the same number.
    SameNumber {
        /// The number.
        id: EventId,
        /// The event that had the number before, and where it comes from.
        first: String,
        /// The other event, and where it comes from.
        second: String,
    },
    /// An event that states its number has [`EventId::UNNUMBERED`] for it.
    Unnumbered {
        /// The name of the event.
        event: String,
    },
    /// Two events have the same name.
    SameName {
        /// The name.
        name: String,
        /// Where the first event comes from.
        first: String,
        /// Where the other event comes from.
        second: String,
    },
    /// No number is left: the events of all collectors of the process need more than there are.
    NoNumber {
        /// The event that gets none, and where it comes from.
        event: String,
    },
    /// The collector has as many events as it may have.
    Full {
        /// The event that it cannot have.
        event: String,
        /// The largest number of events.
        max_events: usize,
    },
    /// More events are listed than a collector may have.
    TooMany {
        /// The number of listed events.
        events: usize,
        /// The largest number of events.
        max_events: usize,
    },
    /// The largest number of events is above 2,047.
    MaxEvents {
        /// The requested number.
        max_events: usize,
    },
    /// A name, or a part of a label, is not valid.
    Text {
        /// What is not valid.
        what: TextKind,
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: TextProblem,
    },
    /// The key of a label has another meaning in what reports are exported to.
    ReservedLabel {
        /// The key.
        key: String,
    },
    /// An event has two labels with the same key.
    RepeatedLabel {
        /// The key.
        key: String,
    },
    /// An event has more than 8 labels.
    TooManyLabels {
        /// The number of labels.
        labels: usize,
    },
    /// The event exists, but measures the other kind of quantity.
    OtherUnit {
        /// The event.
        event: String,
        /// The unit that it has.
        unit: Unit,
    },
    /// The collector has no room for the limits of the event.
    Limits {
        /// The event.
        event: String,
        /// What is wrong with the limits.
        error: LimitError,
    },
    /// An observer or hook makes the call.
    InsidePass,
    /// The collector has stopped.
    Stopped,
    /// The collector belongs to the process from which this one was forked.
    Forked,
}

/// Which text of an event is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextKind {
    /// The name of an event.
    Name,
    /// The key of a label.
    Key,
    /// The value of a label.
    Value,
}

/// What is wrong with the text of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextProblem {
    /// It is empty.
    Empty,
    /// It has more than 128 bytes.
    TooLong,
    /// It contains a control character, such as a line feed.
    Control,
    /// It is the key of a label, and does not consist of ASCII letters, digits and underscores, or
    /// begins with a digit.
    NotAKey,
    /// It is a name, and contains a brace, which begins or ends labels.
    Brace,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameNumber { id, first, second } => write!(
                f,
                "{first} and {second} have the same number, {id}; let a set state no numbers, or \
                 other ones"
            ),
            Self::Unnumbered { event } => write!(
                f,
                "the event `{event}` has no number; pass its set, such as `Library::ALL`, and not \
                 a list of its events"
            ),
            Self::SameName { name, first, second } => write!(
                f,
                "two events have the name \"{name}\": one {first}, the other {second}; give one \
                 of them another `name`"
            ),
            Self::NoNumber { event } => write!(
                f,
                "no event number is left for {event}; all collectors of a process together can \
                 have {} events that do not state their numbers",
                EventId::MAX - EventNumber::FIRST + 1
            ),
            Self::Full { event, max_events } => write!(
                f,
                "there is no room for {event}: the collector already has {max_events} events; set \
                 `Builder::max_events` to at most {}",
                EventId::MAX
            ),
            Self::TooMany { events, max_events } => write!(
                f,
                "{events} events are listed, but the collector may have only {max_events}; list \
                 fewer, or set `Builder::max_events` to at most {}",
                EventId::MAX
            ),
            Self::MaxEvents { max_events } => write!(
                f,
                "a collector cannot have {max_events} events; `max_events` must be 1 to {}",
                EventId::MAX
            ),
            Self::Text { what, text, problem } => {
                let what = what.as_str();
                match problem {
                    TextProblem::Empty => write!(f, "the {what} is empty"),
                    TextProblem::TooLong => write!(
                        f,
                        "the {what} {text:?} is too long; it may have {MAX_TEXT_BYTES} bytes"
                    ),
                    TextProblem::Control => {
                        write!(f, "the {what} {text:?} contains a control character")
                    }
                    TextProblem::NotAKey => write!(
                        f,
                        "the {what} {text:?} must consist of ASCII letters, digits and \
                         underscores, and not begin with a digit"
                    ),
                    TextProblem::Brace => {
                        write!(f, "the {what} {text:?} contains a brace; use labels instead")
                    }
                }
            }
            Self::ReservedLabel { key } => write!(
                f,
                "a label cannot have the key {key:?}, which has another meaning in exported \
                 figures; choose another key"
            ),
            Self::RepeatedLabel { key } => {
                write!(f, "the event has two labels with the key {key:?}")
            }
            Self::TooManyLabels { labels } => {
                write!(f, "the event has {labels} labels; it may have {MAX_LABELS}")
            }
            Self::OtherUnit { event, unit } => {
                write!(f, "the event `{event}` exists already, with the unit {unit}")
            }
            Self::Limits { event, error } => {
                write!(f, "the limits of the event `{event}` cannot be watched: {error}")
            }
            Self::InsidePass => {
                f.write_str("an observer or hook cannot make an event; make it on another thread")
            }
            Self::Stopped => f.write_str("the collector has stopped; start another one"),
            Self::Forked => f.write_str(
                "the collector belongs to the process from which this one was forked; start one in \
                 this process",
            ),
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for EventError {}

impl TextKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name of an event",
            Self::Key => "key of a label",
            Self::Value => "value of a label",
        }
    }
}
