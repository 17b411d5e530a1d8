//! The error of a text that is not the JSON of a report.

use core::fmt;
use std::error;

use tailwatch_core::Unit;

use super::{SCHEMA_1, SCHEMA_2, read::shown};
use crate::{events::error::EventError, settings::visible::Visible};

/// The error returned when a text is not the JSON of a report.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum ReportJsonError {
    /// The text is not JSON, it is damaged, or a key is missing or has a value of another type or
    /// out of the range of its type.
    Json {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
        /// The message of the JSON parser.
        message: String,
    },
    /// The schema is none that can be read, such as that of a later version.
    Schema {
        /// The name of the schema.
        found: String,
    },
    /// The part on the report as a whole is wrong.
    Report {
        /// What is wrong.
        problem: ReportProblem,
    },
    /// The part on an event is wrong.
    Event {
        /// The name of the event.
        event: String,
        /// What is wrong.
        problem: ReportProblem,
    },
    /// The part on a limit is wrong.
    Limit {
        /// The name of the limit's event.
        event: String,
        /// What is wrong.
        problem: ReportProblem,
    },
}

/// What is wrong with the JSON of a report. The text that `Display` writes names the invalid value
/// and what would be valid.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ReportProblem {
    /// A key is missing that the schema requires.
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A text is none of the possible ones.
    Text {
        /// The key.
        key: &'static str,
        /// The text.
        text: String,
        /// The possible ones.
        expected: &'static str,
    },
    /// A number is out of range.
    Number {
        /// The key.
        key: &'static str,
        /// The number.
        number: String,
        /// What would be in range.
        expected: &'static str,
    },
    /// Two numbers contradict each other.
    Contradiction {
        /// What contradicts what.
        what: &'static str,
        /// The first number.
        first: u64,
        /// The second number.
        second: u64,
    },
    /// The id is not that of an event, or there is none although the report is not merged.
    Id {
        /// The id.
        id: Option<u64>,
    },
    /// Two events have the same id.
    SameId {
        /// The id.
        id: u16,
    },
    /// Two events have the same name.
    SameName,
    /// The event has the same limit twice.
    SameLimit,
    /// An event cannot have this name or these labels.
    Name(Box<EventError>),
    /// The name does not consist of the base name and the labels.
    OtherName {
        /// The name that does.
        expected: String,
    },
    /// The windows are not in ascending order of their lengths.
    WindowOrder {
        /// The first window that is not longer than the one before it.
        window: String,
    },
    /// The event has other windows than the first event, or other ones for its failed spans.
    OtherWindows,
    /// A limit is on an event that the report does not have.
    UnknownEvent,
    /// The unit of a limit is not that of its event.
    OtherUnit {
        /// The unit of the limit.
        unit: Unit,
        /// The unit of the event.
        of_event: Unit,
    },
    /// The numbers of a summary or of its slowest samples are wrong.
    Summary {
        /// The window, such as `60s`, or `total`.
        scope: String,
        /// What is wrong.
        problem: Box<ReportProblem>,
    },
    /// The histogram is wrong.
    Histogram(HistogramProblem),
}

/// What is wrong with a histogram. The text that `Display` writes names the invalid value and what
/// would be valid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistogramProblem {
    /// The unit is unknown, or does not fit that of the event.
    Unit {
        /// The unit of the histogram.
        unit: String,
        /// The unit of the event.
        of_event: Unit,
    },
    /// The scale is too fine, or the range ends above 2^64.
    Range {
        /// The scale.
        scale: u8,
        /// The binary logarithm of the lower bound of the range.
        lowest: u8,
        /// The number of octaves.
        octaves: u8,
    },
    /// A bucket is not in the range of the histogram.
    OutOfRange {
        /// The number of the bucket.
        bucket: u64,
    },
    /// A bucket does not come after the one before it.
    Order {
        /// The number of the bucket.
        bucket: u64,
    },
    /// A bucket is listed that is empty.
    EmptyBucket {
        /// The number of the bucket.
        bucket: u64,
    },
    /// The sum of all counts exceeds 2^64 − 1.
    Overflow,
    /// The sum of all counts is not the total weight of the samples.
    Weight {
        /// The sum.
        sum: u64,
        /// The weight.
        estimated_total: u64,
    },
    /// The smallest sample is not in the first bucket, or the largest one is not in the last.
    Extreme {
        /// `min` or `max`.
        key: &'static str,
        /// The sample.
        value: u64,
    },
}

impl ReportJsonError {
    pub(super) fn json(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let place = format!(" at line {line} column {column}");
        let message = shown(message.strip_suffix(&place).unwrap_or(&message));
        Self::Json { line, column, message }
    }
}

impl fmt::Display for ReportJsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { line, column, message } => {
                write!(f, "line {line}, column {column}: {}", Visible::text(message))
            }
            Self::Schema { found } => write!(
                f,
                "the schema {found:?} cannot be read; this version of tailwatch reads {SCHEMA_1:?} \
                 and {SCHEMA_2:?}"
            ),
            Self::Report { problem } => problem.fmt(f),
            Self::Event { event, problem } => {
                write!(f, "event {}: {problem}", Visible::text(event))
            }
            Self::Limit { event, problem } => {
                write!(f, "limit of {}: {problem}", Visible::text(event))
            }
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for ReportJsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// It has no `source`, because the text that `Display` writes already includes the problem.
impl error::Error for ReportJsonError {}

impl fmt::Display for ReportProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingKey { key } => {
                write!(f, "`{key}` is missing, which the schema {SCHEMA_2:?} requires")
            }
            Self::Text { key, text, expected } => {
                write!(f, "`{key}` is {text:?}, but must be {expected}")
            }
            Self::Number { key, number, expected } => {
                write!(f, "`{key}` is {number}, but must be {expected}")
            }
            Self::Contradiction { what, first, second } => {
                write!(f, "{what}: {first} and {second}")
            }
            Self::Id { id: Some(id) } => write!(f, "`id` is {id}, but must be 1 to 2,047"),
            Self::Id { id: None } => {
                f.write_str("`id` is null, which only events of a merged report may have")
            }
            Self::SameId { id } => write!(f, "an event before it has the same `id`, {id}"),
            Self::SameName => f.write_str("an event before it has the same `name`"),
            Self::SameLimit => f.write_str("a limit before it is the same one"),
            Self::Name(error) => error.fmt(f),
            Self::OtherName { expected } => write!(
                f,
                "with this `base_name` and these `labels`, its `name` must be {}",
                Visible::text(expected)
            ),
            Self::WindowOrder { window } => {
                write!(f, "the window {window} is not longer than the one before it")
            }
            Self::OtherWindows => f.write_str(
                "its `windows` are others than those of the first event or of its `failed_windows`",
            ),
            Self::UnknownEvent => f.write_str("the report has no such event"),
            Self::OtherUnit { unit, of_event } => {
                write!(f, "its `unit` is {unit}, but that of the event is {of_event}")
            }
            Self::Summary { scope, problem } => write!(f, "{scope}: {problem}"),
            Self::Histogram(problem) => write!(f, "`histogram`: {problem}"),
        }
    }
}

impl fmt::Display for HistogramProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit { unit, of_event: Unit::One } => {
                write!(f, "the unit is {unit:?}, but must be \"1\" for plain numbers")
            }
            Self::Unit { unit, .. } => write!(
                f,
                "the unit is {unit:?}, but must be \"2^-40 s\" or \"2^-30 s\" for durations"
            ),
            Self::Range { scale, lowest, octaves } => write!(
                f,
                "scale {scale}, lowest {lowest} and octaves {octaves} are out of range; the scale \
                 must be at most 8, and lowest + octaves at most 64"
            ),
            Self::OutOfRange { bucket } => {
                write!(f, "the bucket {bucket} is not in the range of lowest and octaves")
            }
            Self::Order { bucket } => {
                write!(f, "the bucket {bucket} must be greater than the one before it")
            }
            Self::EmptyBucket { bucket } => {
                write!(f, "the bucket {bucket} is empty; only others may be listed")
            }
            Self::Overflow => f.write_str("the sum of all counts exceeds 2^64 - 1"),
            Self::Weight { sum, estimated_total } => write!(
                f,
                "the sum of all counts is {sum}, but must be `estimated_total`, {estimated_total}"
            ),
            Self::Extreme { key, value } => {
                let bucket = if *key == "min" { "first" } else { "last" };
                write!(f, "`{key}`, {value}, is not in the {bucket} bucket that is not empty")
            }
        }
    }
}
