//! The errors of [`parse_limits`](crate::parse_limits).

use core::fmt;
use std::error;

use tailwatch_core::ParseQuantileError;

/// How many valid names an error lists if none of them is similar to the wrong one.
const MAX_LISTED: usize = 16;

/// The error returned by [`parse_limits`](crate::parse_limits) when the text is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseLimitsError {
    /// The line of the invalid key or value, counted from 1. If a key is missing, the line where
    /// its `[[sla]]` table begins.
    pub line: usize,
    /// What is wrong in this line.
    pub problem: ParseLimitsProblem,
}

impl fmt::Display for ParseLimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

// It has no `source`, because the text that `Display` writes already includes the problem.
impl error::Error for ParseLimitsError {}

/// What is wrong with a text of limits. The text that `Display` writes names the invalid value and
/// what would be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseLimitsProblem {
    /// The text is not valid TOML.
    InvalidToml {
        /// The message of the TOML parser.
        message: String,
    },
    /// The text has no `[[sla]]` table.
    NoLimits,
    /// `sla` is a single table instead of a list of tables: `[sla]` instead of `[[sla]]`.
    SingleTable,
    /// A key outside of all `[[sla]]` tables is unknown.
    UnknownTopLevelKey {
        /// The key.
        key: String,
        /// `sla` if the key is similar to it, or else `None`.
        nearest: Option<&'static str>,
    },
    /// A key in a `[[sla]]` table is unknown.
    UnknownKey {
        /// The key.
        key: String,
        /// The most similar valid key, or `None` if none is similar.
        nearest: Option<&'static str>,
    },
    /// A `[[sla]]` table lacks a required key.
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A `[[sla]]` table sets no limit: it has none of `quantile`, `limit` and `max_silence`.
    MissingLimit,
    /// A `[[sla]]` table with `max_silence` also has a key of a limit on a quantile.
    ConflictsWithSilence {
        /// The key of the limit on a quantile.
        key: String,
    },
    /// A value has the wrong type.
    WrongType {
        /// The key.
        key: &'static str,
        /// The TOML type of the value.
        found: &'static str,
        /// A description of a valid value.
        wanted: &'static str,
    },
    /// None of the events has this name.
    UnknownEvent {
        /// The name.
        name: String,
        /// The name of the most similar event, or `None` if none is similar.
        nearest: Option<&'static str>,
        /// The names of all events.
        known: Vec<&'static str>,
    },
    /// A quantile cannot be read.
    BadQuantile {
        /// The quantile as it was written.
        text: String,
        /// The most similar common quantile, or `None` if none is similar.
        nearest: Option<&'static str>,
    },
    /// A duration cannot be read.
    BadDuration {
        /// The key.
        key: &'static str,
        /// The duration as it was written.
        text: String,
        /// What is wrong with it.
        problem: DurationProblem,
    },
    /// The limit is a plain number, but the event is measured in time.
    NumberForTime {
        /// The name of the event.
        event: &'static str,
        /// The number as it was written.
        number: String,
    },
    /// The limit is a text, such as a duration, but the event is measured in plain numbers.
    TextForNumber {
        /// The name of the event.
        event: &'static str,
        /// The text as it was written.
        text: String,
    },
    /// A whole number is 0, negative or too large.
    OutOfRange {
        /// The key.
        key: &'static str,
        /// The number as it was written.
        number: String,
        /// The maximum. The minimum is 1.
        most: u64,
    },
    /// An earlier `[[sla]]` table sets the same limit: it has the same event, quantile, window and
    /// limit, or also limits the silence of the event.
    DuplicateLimit {
        /// The line of the earlier table.
        first_line: usize,
    },
}

/// What is wrong with a duration. The text that `Display` writes includes what would be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationProblem {
    /// The text is not a list of numbers with units.
    Malformed,
    /// A number has no unit.
    NoUnit,
    /// The unit of a number is unknown.
    UnknownUnit {
        /// The unit as it was written.
        unit: String,
        /// The most similar unit, or `None` if none is similar.
        nearest: Option<&'static str>,
    },
    /// A number has so many decimals that the duration is not a whole number of nanoseconds.
    Inexact,
    /// The duration is 0.
    Zero,
    /// The duration is longer than 2^64 − 1 ns.
    TooLong,
}

impl fmt::Display for ParseLimitsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidToml { message } => write!(f, "not valid TOML: {message}"),
            Self::NoLimits => f.write_str("no limits; write at least one [[sla]] table"),
            Self::SingleTable => {
                f.write_str("`sla` is a single table; write one [[sla]] table for each limit")
            }
            Self::UnknownTopLevelKey { key, nearest } => {
                write!(f, "unknown top-level key {key:?}; ")?;
                match nearest {
                    Some(nearest) => write!(f, "did you mean [[{nearest}]]?"),
                    None => f.write_str("expected [[sla]]"),
                }
            }
            Self::UnknownKey { key, nearest } => {
                write!(f, "unknown key {key:?} in [[sla]]")?;
                write_suggestion(f, *nearest, &super::KEYS)
            }
            Self::MissingKey { key } => write!(f, "missing key `{key}` in [[sla]]"),
            Self::MissingLimit => f.write_str(
                "this [[sla]] sets no limit; write `quantile` and `limit`, or `max_silence`",
            ),
            Self::ConflictsWithSilence { key } => write!(
                f,
                "`{key}` cannot be combined with `max_silence`; write one [[sla]] table for each \
                 limit"
            ),
            Self::WrongType { key, found, wanted } => {
                write!(f, "`{key}` has type {found}; expected {wanted}")
            }
            Self::UnknownEvent { name, nearest, known } => {
                write!(f, "unknown event {name:?}")?;
                write_suggestion(f, *nearest, known)
            }
            Self::BadQuantile { text, nearest } => {
                write!(f, "{text:?} is not a quantile; ")?;
                match nearest {
                    Some(nearest) => write!(f, "did you mean {nearest:?}?"),
                    None => ParseQuantileError.fmt(f),
                }
            }
            Self::BadDuration { key, text, problem } => write!(f, "`{key}` is {text:?}: {problem}"),
            Self::NumberForTime { event, number } => write!(
                f,
                "`limit` is {number}, but {event:?} is measured in time; write a duration in \
                 quotes, such as \"20ms\""
            ),
            Self::TextForNumber { event, text } => write!(
                f,
                "`limit` is {text:?}, but {event:?} is measured in plain numbers; write a number \
                 without quotes, such as 20"
            ),
            Self::OutOfRange { key, number, most } => {
                write!(f, "`{key}` is {number}; expected a whole number from 1 to {most}")
            }
            Self::DuplicateLimit { first_line } => {
                write!(f, "this limit is already set in line {first_line}; remove one of the two")
            }
        }
    }
}

impl fmt::Display for DurationProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => {
                f.write_str("not a duration; write numbers with units, such as \"20ms\"")
            }
            Self::NoUnit => {
                f.write_str("the unit is missing; write ns, us, ms, s, m or h after the number")
            }
            Self::UnknownUnit { unit, nearest } => {
                write!(f, "unknown unit {unit:?}")?;
                write_suggestion(f, *nearest, &["ns", "us", "ms", "s", "m", "h"])
            }
            Self::Inexact => {
                f.write_str("too many decimals; write fewer decimals or use a smaller unit")
            }
            Self::Zero => f.write_str("too short; the minimum is \"1ns\""),
            Self::TooLong => {
                write!(f, "too long; the maximum is \"{}ns\" (584 years)", u64::MAX)
            }
        }
    }
}

/// Writes the end of a message about an unknown word: the most similar valid word, or a list of the
/// valid words.
pub(crate) fn write_suggestion(
    f: &mut fmt::Formatter<'_>,
    nearest: Option<&str>,
    known: &[&str],
) -> fmt::Result {
    if let Some(nearest) = nearest {
        return write!(f, "; did you mean {nearest:?}?");
    }
    if known.is_empty() {
        return f.write_str("; the list of known names is empty");
    }
    let listed = &known[..known.len().min(MAX_LISTED)];
    write!(f, "; expected one of {}", listed.join(", "))?;
    if known.len() > listed.len() {
        write!(f, " and {} more", known.len() - listed.len())?;
    }
    Ok(())
}
