//! The errors of [`parse_limits`](crate::parse_limits).

use core::{fmt, time::Duration};
use std::error;

use tailwatch_core::{ParseQuantileError, Threshold};

use super::{CLEAR_AFTER, KEYS, RAISE_AFTER};
use crate::settings::{
    duration::DurationProblem,
    suggestion::{write_suggestion, write_unknown_labels},
    visible::Visible,
};

/// The error returned by [`parse_limits`](crate::parse_limits) when the text is invalid.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseLimitsError {
    /// The line of the invalid key or value, counted from 1. If a key is missing, or a limit is
    /// declared twice, the line where its `[[sla]]` table begins. If there is no such table, 1.
    pub line: usize,
    /// What is wrong in this line.
    pub problem: ParseLimitsProblem,
}

impl fmt::Display for ParseLimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for ParseLimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
    /// A `[[sla]]` table sets no limit: it has none of `quantile`, `limit`, `max_error_rate` and
    /// `max_silence`.
    MissingLimit,
    /// A `[[sla]]` table with `max_silence` also has a key of another limit.
    ConflictsWithSilence {
        /// The key of the other limit.
        key: String,
    },
    /// A `[[sla]]` table with `max_error_rate` also has a key of a limit on a quantile.
    ConflictsWithErrorRate {
        /// The key of the limit on a quantile.
        key: String,
    },
    /// `max_error_rate` is not a whole number of millionths from 0 to less than 1.
    BadErrorRate {
        /// The share as it was written.
        text: String,
    },
    /// There is a `max_error_rate`, but the event is measured in plain numbers, which cannot fail.
    NoOutcomes {
        /// The name of the event.
        event: String,
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
        nearest: Option<String>,
        /// The names of all events, without labels.
        known: Vec<String>,
    },
    /// No event of this name has these labels, and no family that was declared can make one.
    UnknownLabels {
        /// The name of the event.
        event: String,
        /// The labels, such as `symbol="BTCUSDT"`.
        labels: String,
        /// The labels of each event of this name that has any. A family that was declared has one
        /// of any value, such as `symbol="…"`.
        known: Vec<String>,
    },
    /// The table `labels` is empty.
    NoLabels,
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
    /// `raise_after` or `clear_after` is longer than [`Threshold::MAX_DELAY`], or not a whole
    /// number of milliseconds.
    DelayOutOfRange {
        /// The key.
        key: &'static str,
        /// The delay.
        delay: Duration,
    },
    /// `min_samples` is a text other than `auto`.
    BadMinSamples {
        /// The text.
        text: String,
    },
    /// The limit is a plain number, but the event is measured in time.
    NumberForTime {
        /// The name of the event.
        event: String,
        /// The number as it was written.
        number: String,
    },
    /// The limit is a text, such as a duration, but the event is measured in plain numbers.
    TextForNumber {
        /// The name of the event.
        event: String,
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
    /// An earlier `[[sla]]` table sets the same limit: it has the same quantile, window and limit,
    /// or also limits the silence, and there is an event that both are for.
    DuplicateLimit {
        /// The line of the earlier table.
        first_line: usize,
    },
}

impl fmt::Display for ParseLimitsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidToml { message } => {
                write!(f, "not valid TOML: {}", Visible::text(message))
            }
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
                write_suggestion(f, *nearest, &KEYS)
            }
            Self::MissingKey { key } => write!(f, "missing key `{key}` in [[sla]]"),
            Self::MissingLimit => f.write_str(
                "this [[sla]] sets no limit; write `quantile` and `limit`, `max_error_rate` or \
                 `max_silence`",
            ),
            Self::ConflictsWithSilence { key } => write_conflict_with_silence(f, key),
            Self::ConflictsWithErrorRate { key } => write!(
                f,
                "`{key}` cannot be combined with `max_error_rate`; write one [[sla]] table for \
                 each limit"
            ),
            Self::BadErrorRate { text } => write!(
                f,
                "`max_error_rate` is {text:?}; expected a share of at least 0 and less than 1, \
                 such as \"1%\" or 0.01, in steps of a millionth"
            ),
            Self::NoOutcomes { event } => write!(
                f,
                "{event:?} is measured in plain numbers, which cannot fail; remove \
                 `max_error_rate`"
            ),
            Self::WrongType { key, found, wanted } => {
                write!(f, "`{key}` has type {found}; expected {wanted}")
            }
            Self::UnknownEvent { name, nearest, known } => {
                write!(f, "unknown event {name:?}")?;
                write_suggestion(f, nearest.as_deref(), known)
            }
            Self::UnknownLabels { event, labels, known } => {
                write_unknown_labels(f, event, labels, known)
            }
            Self::NoLabels => {
                f.write_str("`labels` is empty; write at least one label, or no such key")
            }
            Self::BadQuantile { text, nearest } => {
                write!(f, "{text:?} is not a quantile; ")?;
                match nearest {
                    Some(nearest) => write!(f, "did you mean {nearest:?}?"),
                    None => ParseQuantileError.fmt(f),
                }
            }
            Self::BadDuration { key, text, problem } => write!(f, "`{key}` is {text:?}: {problem}"),
            Self::DelayOutOfRange { key, delay } => write!(
                f,
                "`{key}` is {delay:?}; expected a whole number of milliseconds, at most {} h",
                Threshold::MAX_DELAY.as_secs() / 3_600
            ),
            Self::BadMinSamples { text } => write!(
                f,
                "`min_samples` is {text:?}; expected a whole number without quotes, such as 20, or \
                 \"auto\""
            ),
            Self::NumberForTime { event, number } => {
                let example = number.parse().ok().filter(|number| *number > 0).unwrap_or(20_u32);
                write!(
                    f,
                    "`limit` is {number}, but {event:?} is measured in time; write a duration in \
                     quotes, such as \"{example}ms\" or \"{example}us\""
                )
            }
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

/// Writes that a key cannot stand beside `max_silence`, and what to do about it.
fn write_conflict_with_silence(f: &mut fmt::Formatter<'_>, key: &str) -> fmt::Result {
    write!(f, "`{key}` cannot be combined with `max_silence`; ")?;
    f.write_str(if [RAISE_AFTER, CLEAR_AFTER].contains(&key) {
        "remove it, and to have a silence reported later, make `max_silence` longer"
    } else {
        "write one [[sla]] table for each limit"
    })
}
