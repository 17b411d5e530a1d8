//! Limits that an event is to keep, and whether it keeps them.
//!
//! A limit on a quantile is watched by counting: of the samples in its window, how many exceed the limit. The quantile exceeds
//! it if, and only if, more of them do than the quantile leaves above itself, `over > n − rank(n)`: exactly, whatever the
//! histogram's error. A span in flight that is older than the limit already counts as a sample over it, so that a hang shows
//! while it lasts. A sample is over the limit if its duration *as it is told*, in whole nanoseconds, is greater.
//!
//! | state | when |
//! |---|---|
//! | unknown | there are fewer samples than the limit asks for, and no hung span breaks it |
//! | ok | the limit is kept |
//! | violated | it is not, or was not and has not been kept for a slice of its window since |
//!
//! A violation is *raised* at once and *cleared* once the limit was kept, and never broken since, for as long as a slice of its
//! window lasts, so that what hovers around its limit does not flap. Too few samples never clear: that nothing happens any more is
//! no proof that all is well.
//!
//! # Limits of the limits
//!
//! - A sample that is drained after its window is over is missing there, and counted as late: a window, less a slice, is to be longer
//!   than the drain rests.
//! - A span that found no room in the table of open spans does not count while it hangs.
//! - Where records were overwritten, the END of a span may be among them. It counts as hanging until it is given up, a minute
//!   later; a span that really hangs is given up as well.
//! - A thread that stands still between reading the clock and writing its END is in flight as long as it does.
//! - Silence is not watched while an event is switched off or sampled.

mod rule;

use core::{error, fmt, time::Duration};

pub(crate) use self::rule::{NO_RULE, window_for};
pub use self::rule::{Rule, Silence, Tally};
use crate::{EventId, Quantile};

/// A limit on a quantile of an event over a window: "p95 of the last 60 s is at most 20 ms".
///
/// A sample that equals the limit keeps it. Fewer than `min_samples` samples say nothing.
///
/// ```
/// use core::time::Duration;
/// use tailwatch_core::{Quantile, Threshold};
///
/// let limit = Threshold::duration(Quantile::P95, Duration::from_millis(20));
/// assert_eq!((limit.limit, limit.window), (20_000_000, Duration::from_secs(60)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Threshold {
    /// Which quantile is limited.
    pub quantile: Quantile,
    /// The largest value that keeps the limit: nanoseconds, or plain numbers for events of unit 1.
    pub limit: u64,
    /// Over which window: one of those configured, or any other, of which then no statistics are told.
    pub window: Duration,
    /// With fewer samples (as recorded, not weighted) nothing is said; a hung span is not held back by it.
    pub min_samples: u32,
}

impl Threshold {
    /// A limit on a duration, over 60 s, from the first sample on.
    ///
    /// # Panics
    /// If the duration exceeds 2^64 ns (584 years); in a constant, an error of the compiler.
    pub const fn duration(quantile: Quantile, limit: Duration) -> Self {
        let nanos = limit.as_nanos();
        assert!(nanos <= u64::MAX as u128, "a limit is at most 2^64 - 1 ns");
        #[expect(clippy::cast_possible_truncation, reason = "checked in the line above")]
        Self::value(quantile, nanos as u64)
    }

    /// A limit on a plain number, over 60 s, from the first sample on.
    pub const fn value(quantile: Quantile, limit: u64) -> Self {
        Self { quantile, limit, window: Duration::from_mins(1), min_samples: 1 }
    }

    /// The same limit over another window.
    pub const fn over(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    /// The same limit, but fewer than `min_samples` samples say nothing.
    pub const fn min_samples(self, min_samples: u32) -> Self {
        Self { min_samples, ..self }
    }
}

/// A limit that an event is to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Limit {
    /// On a quantile of its samples over a window.
    Quantile(Threshold),
    /// On the time without any record of it. It counts from the first one on: what never happened has not stopped. While less than
    /// everything is recorded it is not watched.
    Silence(Duration),
}

impl Limit {
    pub(crate) fn threshold(self) -> Option<Threshold> {
        match self {
            Self::Quantile(threshold) => Some(threshold),
            Self::Silence(_) => None,
        }
    }

    pub(crate) fn silence(self) -> Option<Duration> {
        match self {
            Self::Quantile(_) => None,
            Self::Silence(longest) => Some(longest),
        }
    }

    /// Whether an event has no use for both.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quantile(one), Self::Quantile(other)) => {
                one.min_samples(0) == other.min_samples(0)
            }
            (Self::Silence(_), Self::Silence(_)) => true,
            _ => false,
        }
    }
}

/// How a limit stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum SlaState {
    /// Too little is known.
    #[default]
    Unknown = 0,
    /// It is kept.
    Ok = 1,
    /// It is not kept.
    Violated = 2,
}

impl fmt::Display for SlaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Violated => "violated",
        })
    }
}

/// A limit, and how it stood when the limits were looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SlaStatus {
    /// Whose limit it is.
    pub event: EventId,
    /// The limit.
    pub limit: Limit,
    /// How it stands.
    pub state: SlaState,
    /// How many exceed it, hung spans included, weighted: 1 or 0 for silence.
    pub over: u64,
    /// Of how many, hung spans included, weighted.
    pub count: u64,
    /// The value that is limited, in nanoseconds or the event's unit: the quantile, or the age of the oldest hung span where that
    /// is greater; the length of the silence. `None` if there is no sample, or nothing but the state is known of the limit's
    /// window.
    pub observed: Option<u64>,
    /// The tick of its last change, raised or cleared.
    pub since: Option<u64>,
    /// How often it was raised.
    pub raised: u64,
    /// How often it was cleared.
    pub cleared: u64,
}

/// A limit's state has changed: it was raised if the status says violated, else cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StatusChange {
    /// The state as it is now.
    pub status: SlaStatus,
    /// The tick at which that was found.
    pub at: u64,
}

impl StatusChange {
    /// Whether the limit is violated from now on; else it is kept again.
    pub fn is_raised(&self) -> bool {
        self.status.state == SlaState::Violated
    }
}

/// Limits that cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LimitError {
    /// The event was not announced.
    UnknownEvent {
        /// Its number.
        id: EventId,
    },
    /// A limit of 0: every sample but 0 would violate it.
    Zero {
        /// The limited quantile, or `None` for silence.
        quantile: Option<Quantile>,
    },
    /// A window without length, or too long, or too short for the clock.
    Window {
        /// The window.
        window: Duration,
    },
    /// The same limit twice, or two limits on silence.
    Duplicate {
        /// The limit.
        limit: Limit,
    },
    /// More limits than there is room for.
    NoRoom {
        /// How many the shape has room for, of all events.
        room: usize,
    },
    /// A limit on silence, where the shape has room for none: see [`Shape::silences`](crate::Shape::silences).
    NoRoomForSilence,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownEvent { id } => write!(f, "event {id} was not announced, so it has no limits"),
            Self::Zero { quantile: Some(quantile) } => {
                write!(f, "a limit of 0 on {quantile}: the least that can be kept is 1")
            }
            Self::Zero { quantile: None } => f.write_str("a silence of 0: the least that can be kept is 1 ns"),
            Self::Window { window } => write!(
                f,
                "a limit over a window of {window:?}: a slice of it has to last at least one tick of the clock, and all of it \
                 less than 584 years"
            ),
            Self::Duplicate { limit: Limit::Quantile(Threshold { quantile, window, limit, .. }) } => {
                write!(f, "two limits of {limit} on {quantile} over {window:?}: each stands once")
            }
            Self::Duplicate { limit: Limit::Silence(_) } => f.write_str("two limits on silence: an event has one"),
            Self::NoRoom { room } => write!(
                f,
                "more than {room} limits of all events together, for which the shape has room; in the std adapter that is \
                 twice as many as it is started with, and two an event"
            ),
            Self::NoRoomForSilence => f.write_str(
                "a limit on silence, where the shape has room for none: its `silences` would have to be the number of events"
            ),
        }
    }
}

impl error::Error for LimitError {}
