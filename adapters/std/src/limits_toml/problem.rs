//! What can be wrong with a file of limits.

use core::fmt;
use std::error;

use tailwatch_core::ParseQuantileError;

/// How many names are told where none is near.
const MOST_NAMES: usize = 16;

/// A text sets no limits, because of something in one of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseLimitsError {
    /// The line, counted from 1: that of the value or key that is wrong, or where one is missing, of its `[[sla]]`.
    pub line: usize,
    /// What is wrong there.
    pub problem: ParseLimitsProblem,
}

impl fmt::Display for ParseLimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

// The problem is told in full already, so it is not a source as well.
impl error::Error for ParseLimitsError {}

/// What is wrong with a text of limits. Its Display says what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseLimitsProblem {
    /// The text is not TOML.
    NotToml {
        /// What the parser says.
        message: String,
    },
    /// There is no entry.
    NoLimits,
    /// `sla` is a table instead of a list of them: `[sla]` where `[[sla]]` belongs.
    SingleTable,
    /// A key outside of all entries.
    UnknownTopLevelKey {
        /// The key.
        key: String,
        /// What it may have meant.
        nearest: Option<&'static str>,
    },
    /// A key that entries do not have.
    UnknownKey {
        /// The key.
        key: String,
        /// What it may have meant.
        nearest: Option<&'static str>,
    },
    /// An entry lacks a key.
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// An entry limits neither a quantile nor silence.
    NothingLimited,
    /// A key that says something of a quantile, in an entry that limits silence.
    BesideSilence {
        /// The key.
        key: String,
    },
    /// A value of another type than its key has.
    WrongType {
        /// The key.
        key: &'static str,
        /// The type of its value, in the words of TOML.
        found: &'static str,
        /// What it is to be.
        wanted: &'static str,
    },
    /// No event has this name.
    UnknownEvent {
        /// The name.
        name: String,
        /// The name that it may have meant.
        nearest: Option<&'static str>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// A text is no quantile.
    BadQuantile {
        /// The text.
        text: String,
        /// The usual quantile that it may have meant.
        nearest: Option<&'static str>,
    },
    /// A text is no duration that its key can have.
    BadDuration {
        /// The key.
        key: &'static str,
        /// The text.
        text: String,
        /// Why it is none.
        problem: DurationProblem,
    },
    /// A limit in plain numbers for an event that is measured in time.
    NumberForTime {
        /// The event.
        event: &'static str,
        /// The number.
        number: String,
    },
    /// A limit in quotes, such as a duration, for an event that is measured in plain numbers.
    TextForNumber {
        /// The event.
        event: &'static str,
        /// The text.
        text: String,
    },
    /// A plain number that is 0, negative or too large.
    OutOfRange {
        /// The key.
        key: &'static str,
        /// The number.
        number: String,
        /// The largest that is allowed; the least is 1.
        most: u64,
    },
    /// The same event, quantile, window and limit as in an entry before, or the same event and silence.
    Twice {
        /// The line of that entry.
        first_line: usize,
    },
}

/// What is wrong with a duration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationProblem {
    /// It is not written like one.
    Malformed,
    /// A number alone.
    NoUnit,
    /// A unit that is none.
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The unit that it may have meant.
        nearest: Option<&'static str>,
    },
    /// More decimals than can be kept.
    Inexact,
    /// It is 0.
    Zero,
    /// It exceeds 2^64 - 1 ns.
    TooLong,
}

impl fmt::Display for ParseLimitsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotToml { message } => write!(f, "not TOML: {message}"),
            Self::NoLimits => f.write_str("no limits: write at least one [[sla]]"),
            Self::SingleTable => {
                f.write_str("`sla` is a single table: write [[sla]], once for each limit")
            }
            Self::UnknownTopLevelKey { key, nearest } => {
                write!(f, "unknown key {key:?}")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean [[{nearest}]]?"),
                    None => f.write_str(": all keys stand under a [[sla]]"),
                }
            }
            Self::UnknownKey { key, nearest } => {
                write!(f, "unknown key {key:?}")?;
                did_you_mean(f, *nearest, &super::KEYS)
            }
            Self::MissingKey { key } => write!(f, "this [[sla]] has no `{key}`"),
            Self::NothingLimited => f.write_str(
                "this [[sla]] limits nothing: write `quantile` and `limit`, or `max_silence`",
            ),
            Self::BesideSilence { key } => {
                write!(
                    f,
                    "`{key}` beside `max_silence`: each is a limit of its own, under a [[sla]] of its own"
                )
            }
            Self::WrongType { key, found, wanted } => {
                write!(f, "`{key}` is of type {found}: write {wanted}")
            }
            Self::UnknownEvent { name, nearest, known } => {
                write!(f, "unknown event {name:?}")?;
                did_you_mean(f, *nearest, known)
            }
            Self::BadQuantile { text, nearest } => {
                write!(f, "{text:?} is no quantile; ")?;
                match nearest {
                    Some(nearest) => write!(f, "did you mean {nearest:?}?"),
                    None => ParseQuantileError.fmt(f),
                }
            }
            Self::BadDuration { key, text, problem } => write!(f, "`{key}` of {text:?} {problem}"),
            Self::NumberForTime { event, number } => write!(
                f,
                "`limit` of {number} for {event:?}, which is measured in time: write a duration in quotes, such as \
                 \"20ms\""
            ),
            Self::TextForNumber { event, text } => write!(
                f,
                "`limit` of {text:?} for {event:?}, which is measured in plain numbers: write one without quotes, such \
                 as 20"
            ),
            Self::OutOfRange { key, number, most } => {
                write!(
                    f,
                    "`{key}` of {number} is out of range: write a whole number from 1 to {most}"
                )
            }
            Self::Twice { first_line } => {
                write!(f, "the limit of line {first_line} once more: leave one of them out")
            }
        }
    }
}

impl fmt::Display for DurationProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => {
                f.write_str("is no duration: write numbers with units, such as \"20ms\"")
            }
            Self::NoUnit => {
                f.write_str("has no unit: write ns, us, ms, s, m or h after the number")
            }
            Self::UnknownUnit { unit, nearest } => {
                write!(f, "has the unknown unit {unit:?}")?;
                did_you_mean(f, *nearest, &["ns", "us", "ms", "s", "m", "h"])
            }
            Self::Inexact => f.write_str(
                "cannot be kept exactly: write it with fewer decimals or in a smaller unit",
            ),
            Self::Zero => f.write_str("is too short: write at least \"1ns\""),
            Self::TooLong => {
                write!(f, "is too long: write at most \"{}ns\", which are 584 years", u64::MAX)
            }
        }
    }
}

/// Tells what was meant; if that is nothing, what there is.
pub(crate) fn did_you_mean(
    f: &mut fmt::Formatter<'_>,
    nearest: Option<&str>,
    known: &[&str],
) -> fmt::Result {
    if let Some(nearest) = nearest {
        return write!(f, "; did you mean {nearest:?}?");
    }
    if known.is_empty() {
        return f.write_str(": none is announced");
    }
    let told = &known[..known.len().min(MOST_NAMES)];
    write!(f, "; there are {}", told.join(", "))?;
    if known.len() > told.len() {
        write!(f, " and {} more", known.len() - told.len())?;
    }
    Ok(())
}
