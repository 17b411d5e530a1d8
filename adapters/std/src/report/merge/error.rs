//! The error of reports that cannot be merged.

use core::fmt;
use std::error;

use tailwatch_core::Unit;

use crate::{report::histogram::SumProblem, settings::visible::Visible};

/// The error returned when reports cannot be [merged](crate::Report::merge).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// There are no reports.
    NoReports,
    /// A report was read from the schema `tailwatch.report/1`, which has neither histograms nor the
    /// time of the collector's start.
    UnknownStart {
        /// The time of the report, in nanoseconds since 1970.
        unix_ns: u64,
    },
    /// Two reports have the same start, so they would be of one collector, but the later one lacks
    /// something of the earlier one.
    SameStart {
        /// The time of the start, in nanoseconds since 1970.
        started_unix_ns: u64,
    },
    /// A collector is part of two merged reports that also have others, so that it would count
    /// twice.
    Overlap {
        /// The time of its start, in nanoseconds since 1970.
        started_unix_ns: u64,
    },
    /// An event has different units in the reports.
    OtherUnit {
        /// The name of the event.
        event: String,
        /// The units.
        units: [Unit; 2],
    },
    /// The statistics of an event [cover](crate::EventReport::covered) different outcomes.
    OtherOutcomes {
        /// The name of the event.
        event: String,
    },
    /// The histograms of an event have different units, or ranges with nothing in common.
    Histograms {
        /// The name of the event.
        event: String,
    },
    /// A sum exceeds 2^64 − 1.
    Overflow {
        /// What was added up.
        what: String,
    },
}

impl MergeError {
    pub(super) fn of_sum(problem: SumProblem, event: &str) -> Self {
        match problem {
            SumProblem::NoHistogram | SumProblem::Buckets => {
                Self::Histograms { event: event.to_owned() }
            }
            SumProblem::Overflow => Self::Overflow { what: format!("the samples of {event}") },
        }
    }
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReports => f.write_str("there are no reports to merge"),
            Self::UnknownStart { unix_ns } => write!(
                f,
                "the report of {unix_ns} ns since 1970 does not have the time of its collector's \
                 start; merge reports of the schema \"tailwatch.report/2\""
            ),
            Self::SameStart { started_unix_ns } => write!(
                f,
                "two reports have the start {started_unix_ns} ns since 1970, but the later one \
                 lacks something of the earlier one, so they are of two collectors"
            ),
            Self::Overlap { started_unix_ns } => write!(
                f,
                "the collector that was started {started_unix_ns} ns since 1970 is part of two of \
                 the reports, neither of which contains the other; merge the reports of which they \
                 consist"
            ),
            Self::OtherUnit { event, units: [one, other] } => {
                write!(f, "the event {} has the units {one} and {other}", Visible::text(event))
            }
            Self::OtherOutcomes { event } => write!(
                f,
                "the statistics of the event {} cover all outcomes in some reports, but only `ok` \
                 in others",
                Visible::text(event)
            ),
            Self::Histograms { event } => write!(
                f,
                "the histograms of the event {} have different units, or ranges with nothing in \
                 common",
                Visible::text(event)
            ),
            Self::Overflow { what } => {
                write!(f, "the sum of {} exceeds 2^64 - 1", Visible::text(what))
            }
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for MergeError {}
