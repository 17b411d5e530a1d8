//! The error of a sampling that cannot be set.

use core::{error, fmt};

use tailwatch_core::EventId;

/// The error returned when an event cannot be sampled as requested.
#[derive(Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum SamplingError {
    /// The collector has no such event.
    UnknownEvent {
        /// The event's number.
        id: EventId,
    },
    /// The share is not above 0 and at most 1.
    Rate {
        /// The requested share.
        rate: f64,
    },
    /// The rate limit is not a finite number above 0.
    Above {
        /// The requested limit in events per second.
        above: f64,
    },
    /// The budget is not a finite number above 0.
    Budget {
        /// The requested budget as a share of one core.
        max_cpu: f64,
    },
    /// The collector belongs to the process from which this one was forked.
    Forked,
}

impl fmt::Display for SamplingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEvent { id } => {
                write!(
                    f,
                    "the collector has no event with the id {id}, so the event cannot be sampled; \
                     add its set of events with `Builder::events`"
                )
            }
            Self::Forked => f.write_str(
                "the collector belongs to the process from which this one was forked; set the \
                 sampling there",
            ),
            Self::Rate { rate } => write!(
                f,
                "the sampling rate is {rate}; expected a number above 0 and at most 1 (to record \
                 nothing of an event, switch it off)"
            ),
            Self::Above { above } => {
                write!(
                    f,
                    "the rate limit is {above} per second; expected a finite number above 0, such \
                     as 1000"
                )
            }
            Self::Budget { max_cpu } => {
                write!(
                    f,
                    "the budget is {max_cpu}; expected a finite number above 0, such as 0.01 for \
                     1 % of a core"
                )
            }
        }
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for SamplingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for SamplingError {}
