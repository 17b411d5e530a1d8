//! Limits on events, and the states that result from them.
//!
//! A limit on a quantile is watched by counting how many samples in its window exceed the
//! threshold. The quantile exceeds the threshold if and only if more samples do than lie above the
//! quantile's rank: `over > n − rank(n)`. This is exact, whatever the histogram's error. A sample
//! exceeds a threshold if its duration, rounded to whole nanoseconds, is greater. An open span that
//! is older than the threshold already counts as a sample above it, so that a hang is detected
//! while it lasts.
//!
//! | state | meaning |
//! |---|---|
//! | unknown | there are fewer samples than required, and no hung span causes a violation |
//! | ok | the limit is not exceeded |
//! | violated | the limit is exceeded, or was exceeded less than one slice length ago |
//!
//! A violation is *raised* immediately. It is *cleared* once the value has stayed within the limit
//! for as long as one slice of the window, so that a value close to its limit does not flap. Too
//! few samples never clear a violation: missing samples do not prove that all is well.
//!
//! # Limitations
//!
//! - A sample that is drained after its window has ended is missing there, and counts as late. The
//!   pause between two passes must therefore be shorter than the window less one slice.
//! - A span that found no room in the table of open spans does not count while it hangs.
//! - If records were overwritten, the END of a span may be among them. Such a span counts as hung
//!   until it is abandoned a minute later, and so does a span that really hangs.
//! - A thread that is suspended between reading the clock and writing its END keeps its span open
//!   for that time.
//! - Silence is not watched while an event is switched off or sampled.

mod rule;

use core::{error, fmt, time::Duration};

pub(crate) use self::rule::{NO_RULE, window_for};
pub use self::rule::{Rule, Silence, Tally};
use crate::{EventId, Quantile};

/// A limit on a quantile of an event over a window, such as "p95 of the last 60 s is at most 20
/// ms".
///
/// A sample equal to the limit is within it. With fewer than `min_samples` samples, the state is
/// unknown.
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
#[non_exhaustive]
pub struct Threshold {
    /// The quantile that is limited.
    pub quantile: Quantile,
    /// The largest value within the limit, in nanoseconds, or in plain numbers for events of
    /// [`Unit::One`](crate::Unit::One).
    pub limit: u64,
    /// The length of the window. It need not be a configured one; another window serves this limit
    /// only and has no summaries.
    pub window: Duration,
    /// With fewer samples (recorded ones, not by weight), the state is unknown. Only a violation in
    /// which spans hang does not wait for this many.
    pub min_samples: u32,
}

impl Threshold {
    /// Creates a limit on a duration, over 60 s and from the first sample on.
    ///
    /// # Panics
    ///
    /// Panics if the duration is 2^64 ns (584 years) or longer. In a constant, this is a
    /// compile-time error.
    pub const fn duration(quantile: Quantile, limit: Duration) -> Self {
        let nanos = limit.as_nanos();
        assert!(nanos <= u64::MAX as u128, "a limit must be less than 2^64 ns");
        #[expect(clippy::cast_possible_truncation, reason = "checked in the line above")]
        Self::value(quantile, nanos as u64)
    }

    /// Creates a limit on a plain number, over 60 s and from the first sample on.
    pub const fn value(quantile: Quantile, limit: u64) -> Self {
        Self { quantile, limit, window: Duration::from_mins(1), min_samples: 1 }
    }

    /// Returns the same limit over another window.
    pub const fn over(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    /// Returns the same limit with another minimum number of samples.
    pub const fn min_samples(self, min_samples: u32) -> Self {
        Self { min_samples, ..self }
    }
}

/// A bound that an event must stay within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Limit {
    /// A bound on a quantile of the event's samples over a window.
    Quantile(Threshold),
    /// A bound on the time without any record of the event. It applies from the first record on: an
    /// event that has never happened has not stopped. It is not watched while the event is switched
    /// off or sampled.
    Silence(Duration),
}

impl Limit {
    /// Returns the limit if it is one on a quantile.
    pub(crate) fn threshold(self) -> Option<Threshold> {
        match self {
            Self::Quantile(threshold) => Some(threshold),
            Self::Silence(_) => None,
        }
    }

    /// Returns the longest allowed silence if the limit is one on silence.
    pub(crate) fn silence(self) -> Option<Duration> {
        match self {
            Self::Quantile(_) => None,
            Self::Silence(longest) => Some(longest),
        }
    }

    /// Returns whether an event cannot have both limits, because they differ at most in
    /// `min_samples` or both bound its silence.
    pub(crate) fn is_duplicate_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quantile(one), Self::Quantile(other)) => {
                one.min_samples(0) == other.min_samples(0)
            }
            (Self::Silence(_), Self::Silence(_)) => true,
            _ => false,
        }
    }
}

/// The state of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum SlaState {
    /// There are too few samples to decide.
    #[default]
    Unknown = 0,
    /// The limit is not exceeded.
    Ok = 1,
    /// The limit is exceeded, or was so recently that it is not cleared yet.
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

/// The status of a limit as of its last evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SlaStatus {
    /// The event that the limit belongs to.
    pub event: EventId,
    /// The limit.
    pub limit: Limit,
    /// Its state.
    pub state: SlaState,
    /// The weight of the samples that exceed the limit, including hung spans. For silence, 1 while
    /// the limit is violated, else 0.
    pub over: u64,
    /// The weight of all samples in the window, including hung spans. For silence, 1 if the event
    /// was ever recorded, else 0.
    pub count: u64,
    /// The current value of what is limited, in nanoseconds or plain numbers: the quantile, or the
    /// age of the oldest hung span where that is greater; for silence, the time since the last
    /// record.
    ///
    /// `None` if there are no samples, or if the limit has a window of its own, for which only the
    /// state is computed.
    pub observed: Option<u64>,
    /// The tick at which it was last raised or cleared.
    pub since: Option<u64>,
    /// How often it has been raised.
    pub raised: u64,
    /// How often it has been cleared.
    pub cleared: u64,
}

/// A change of a limit's state: raised if the new state is violated, else cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StatusChange {
    /// The new status.
    pub status: SlaStatus,
    /// The tick of the pass that detected the change.
    pub at: u64,
}

impl StatusChange {
    /// Returns whether the limit was raised. Otherwise, it was cleared.
    pub fn is_raised(&self) -> bool {
        self.status.state == SlaState::Violated
    }
}

/// The error returned when limits cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LimitError {
    /// The event is not one of those that the aggregator was created with.
    UnknownEvent {
        /// Its id.
        id: EventId,
    },
    /// A limit is 0, so every sample above 0 would violate it.
    Zero {
        /// The limited quantile, or `None` for a limit on silence.
        quantile: Option<Quantile>,
    },
    /// A window has a length of 0, is 2^64 ns or longer, or has slices shorter than a tick.
    Window {
        /// The window.
        window: Duration,
    },
    /// There are two limits that differ at most in `min_samples`, or two limits on silence.
    Duplicate {
        /// The second of the two.
        limit: Limit,
    },
    /// There are more limits than the storage has room for.
    NoRoom {
        /// How many limits of all events together it has room for.
        room: usize,
    },
    /// There is a limit on silence, but the storage has no room for one: see
    /// [`Shape::silences`](crate::Shape::silences).
    NoRoomForSilence,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownEvent { id } => {
                write!(f, "event {id} is unknown, so it cannot have limits")
            }
            Self::Zero { quantile: Some(quantile) } => {
                write!(f, "the limit on {quantile} is 0, but must be at least 1")
            }
            Self::Zero { quantile: None } => {
                f.write_str("the limit on silence is 0, but must be at least 1 ns")
            }
            Self::Window { window } => write!(
                f,
                "a limit over a window of {window:?} is not possible: each slice must last at \
                 least one tick of the clock, and the window less than 584 years"
            ),
            Self::Duplicate {
                limit: Limit::Quantile(Threshold { quantile, window, limit, .. }),
            } => {
                write!(
                    f,
                    "there are two limits of {limit} on {quantile} over {window:?}; remove one"
                )
            }
            Self::Duplicate { limit: Limit::Silence(_) } => {
                f.write_str("there are two limits on silence, but an event can have only one")
            }
            Self::NoRoom { room } => write!(
                f,
                "too many limits: there is room for {room}, over all events; the std adapter has \
                 room for twice as many as it is started with, plus two per event"
            ),
            Self::NoRoomForSilence => f.write_str(
                "there is no room for a limit on silence: the shape's `silences` must be the \
                 number of events",
            ),
        }
    }
}

impl error::Error for LimitError {}
