//! Limits on events, and their states.
//!
//! An event can have limits on quantiles ("p95 of the last 60 s is at most 20 ms"), on its error
//! rate ("at most 1 % of the spans of the last 60 s failed") and on its silence ("there is a record
//! at least every 5 s").
//!
//! A limit on a quantile is called a *threshold*: see [`Threshold`]. A sample *exceeds* it if its
//! duration, rounded to whole nanoseconds, or its plain number is greater than the threshold's
//! [`max`](Threshold::max). An open span that is already older than the `max` of a threshold is
//! called *hung*. It counts as a sample that exceeds the threshold, so a hang is detected while it
//! lasts.
//!
//! Whether a quantile exceeds its threshold is decided by counting, which is exact whatever the
//! error of the histogram. Each sample and each hung span is counted with its *weight*: the number
//! of occurrences of the event that it stands for, which is 2^k if only 1 in 2^k of them is
//! recorded. Let n be the weight of all samples in the window and of the hung spans, so that they
//! stand for n occurrences. In ascending order, the quantile q of these is the one at
//! rank(n) = max(1, ⌈q · n⌉), counted from 1, and n − rank(n) of them come after it. The
//! quantile exceeds the threshold if and only if more than n − rank(n) of them exceed it.
//!
//! A failed span, one that ended with another outcome than `Ok`, counts only if it exceeds the
//! threshold: see [`Threshold`].
//!
//! A limit on the error rate is evaluated as a threshold is, with other samples: every END is one,
//! and so is every duration that was recorded without a span. Those of failed spans exceed the
//! limit, whatever their duration, and hung spans do not count. It is violated if and only if the
//! share of failed spans, by weight, is greater than allowed.
//!
//! The states of a threshold:
//!
//! - *unknown*: it was not evaluated yet; or there are too few samples, hung spans do not make the
//!   quantile exceed the threshold, and no violation is going on
//! - *ok*: there are enough samples, the quantile does not exceed the threshold, and no violation
//!   is going on
//! - *violated*: the quantile exceeds the threshold, and there are enough samples or hung spans are
//!   among them; or a violation has not ended yet
//!
//! How many samples are enough is a property of the threshold, [`MinSamples`]: a number, 1 by
//! default, or *auto*. Auto is the number that the quantile needs, ⌈1 / (1 − q)⌉: 20 for p95, 100
//! for p99, and 1 for p100. With auto, samples missing from this number count as within the
//! threshold, each with a weight of 1. If the quantile exceeds the threshold nevertheless, the
//! samples are enough: whatever the missing ones were, the threshold would be violated.
//!
//! | p95, `over` of `count` samples exceed the threshold | with 1 | with auto |
//! |---|---|---|
//! | 0 of 1 | ok | unknown |
//! | 1 of 1 | violated | unknown |
//! | 2 of 3 | violated | violated |
//! | 1 of 20 | ok | ok |
//!
//! Hung spans stand for missing samples here, by their weight, but do not make the samples enough
//! for the state ok. While an event is sampled, one sample may weigh more than all missing ones.
//!
//! A violation begins, and the state becomes violated, with the first evaluation that finds it. It
//! is *raised* at once, or when it has lasted for as long as
//! [`raise_after`](Threshold::raise_after), if the threshold has that delay: when all evaluations
//! for this long have found it. It ends once the evaluations have found the quantile within the
//! threshold for as long as [`clear_after`](Threshold::clear_after). By default, this is one slice
//! of the window (a window is cut into intervals of equal length, its slices). A quantile close to
//! its threshold therefore does not raise and clear a violation all the time. A violation that ends
//! is *cleared*, unless it was never raised. An evaluation that finds too few samples never ends a
//! violation, because missing samples do not prove that all is well. Nor does it restart either of
//! the two delays, so the violation may be raised when the samples that caused it are gone.
//!
//! A limit on silence is violated if the time since the event's last record is longer than allowed.
//! The violation is cleared by the next record. A [FORGET](crate::Kind::Forget), which closes a
//! span without a sample, has the tick of its START, so it usually does not end a silence.
//!
//! While the event is switched off or sampled, the adapter
//! [restarts](crate::Aggregator::reset_silence) its silence in each pass over the rings, so no
//! violation is raised. Restarting it clears no violation; a record does, and a restart
//! of the clock.
//!
//! # Limitations
//!
//! - A sample that is drained too late for the window of a limit does not count in it: the counter
//!   [`late`](crate::Counters::late) counts such samples. The oldest slice of a window expires as a
//!   whole, and right after that the window reaches back only by its length minus one slice.
//!   Samples are drained in time if the pause between two passes is shorter than this.
//! - A span that found no room in the table of open spans does not count as hung.
//! - A duration that is too large for a sample counts in no limit, not even on the error rate:
//!   [`saturated`](crate::Counters::saturated) counts it.
//! - If records are lost, the END of an open span may be among them. Such a span counts as hung
//!   once it is older than the threshold, although it may have ended. A minute after the loss was
//!   noted, the span is given up, although it may still hang.
//! - If a thread is suspended between reading the clock and writing its END, its span stays open
//!   for this time and may count as hung.
//! - Silence is not watched while an event is switched off or sampled.

pub(crate) mod rule;

use core::{error, fmt, time::Duration};

use crate::{event::EventId, statistics::quantile::Quantile};

/// A limit on a quantile of an event's samples over a window, such as "p95 of the last 60 s is at
/// most 20 ms", or on its [error rate](Self::error_rate). [`Limit`] is any limit.
///
/// A span that ended with another [outcome](crate::Outcome) than `Ok` has *failed*. A failed span
/// that exceeds the limit on a quantile counts like any other sample. One that does not exceed it
/// counts neither way, as if it had not happened: a rejection within 60 ns is not a fast order, but
/// a time-out after 5 s is a slow one. If the summaries of the event
/// [cover](crate::CoveredOutcomes::Any) failed spans, all of them count.
///
/// ```
/// use core::time::Duration;
/// use tailwatch_core::{Quantile, Threshold};
///
/// let threshold = Threshold::duration(Quantile::P95, Duration::from_millis(20));
/// assert_eq!((threshold.max, threshold.window), (20_000_000, Duration::from_secs(60)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Threshold {
    /// The quantile that must not exceed `max`. For a limit on the error rate r, the quantile
    /// 1 − r.
    pub quantile: Quantile,
    /// The largest value that the quantile may have. In nanoseconds, or a plain number for events
    /// of [`Unit::One`](crate::Unit::One). For a limit on the error rate, which does not use it, 0.
    pub max: u64,
    /// The length of the window.
    ///
    /// The window is cut into intervals of equal length, its slices. If the aggregator has a window
    /// of the same length, the threshold's window has as many slices as that one. Otherwise, the
    /// window is for this threshold only, and there are no summaries over it. It then has the
    /// largest number of slices, up to 12 and up to
    /// [`Shape::limit_slices`](crate::Shape::limit_slices), that divides the window into whole
    /// nanoseconds.
    pub window: Duration,
    /// How many samples the window must contain before the quantile is compared with `max`. With
    /// fewer samples, the state is [`SlaState::Unknown`], unless a violation has not ended yet.
    ///
    /// Hung spans (open spans older than `max`) need no minimum: if there are any and the quantile
    /// exceeds `max`, the limit is violated even with fewer samples.
    pub min_samples: MinSamples,
    /// How long a violation must last before it is raised: before a [`StatusChange`] reports it,
    /// and [`SlaStatus::raised`] counts it. In whole milliseconds, and at most
    /// [`MAX_DELAY`](Self::MAX_DELAY).
    ///
    /// The time begins with the first evaluation that finds the quantile above `max`, and again
    /// with the first one after each that finds it within `max`. A violation that ends before it
    /// was raised is not reported at all. The delay does not change the state, which is
    /// [`SlaState::Violated`] from the beginning of the violation to its end.
    pub raise_after: Duration,
    /// For how long the quantile must be within `max` before a violation ends. In whole
    /// milliseconds, and at most [`MAX_DELAY`](Self::MAX_DELAY). `None` is one slice of the window.
    ///
    /// An evaluation that finds the quantile above `max` restarts the time.
    pub clear_after: Option<Duration>,
}

/// How many samples a window must contain before a quantile is compared with its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MinSamples {
    /// This number of samples. Each recorded sample counts as 1, whatever its weight. The quantile
    /// of an empty window is unknown in any case, so 0 means the same as 1.
    Count(u32),
    /// The number of samples that the quantile q needs, ⌈1 / (1 − q)⌉: 20 for p95, 100 for p99,
    /// 1,000 for p99.9 and 1 for p100. Of fewer samples, a single one decides.
    ///
    /// Samples missing from this number, which includes hung spans, count as within the threshold,
    /// each with a weight of 1. If the quantile exceeds the threshold nevertheless, the limit is
    /// violated. With p95, 1 of 1 sample above the threshold does not violate it, nor does a single
    /// hung span, but 2 of 3 do.
    Auto,
}

impl fmt::Display for MinSamples {
    /// Writes the number, or `auto`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Auto => f.pad("auto"),
        }
    }
}

impl Threshold {
    /// The longest delay that `raise_after` and `clear_after` may have: 24 hours.
    pub const MAX_DELAY: Duration = Duration::from_hours(24);

    /// Creates a limit of `max` on a quantile of durations, over a window of 60 s and with a
    /// `min_samples` of 1. Violations are raised at once, and cleared after one slice.
    ///
    /// # Panics
    ///
    /// Panics if `max` is 2^64 ns (584 years) or longer. In a constant, this is a compile-time
    /// error.
    pub const fn duration(quantile: Quantile, max: Duration) -> Self {
        let nanos = max.as_nanos();
        assert!(nanos <= u64::MAX as u128, "a limit must be less than 2^64 ns");
        #[expect(clippy::cast_possible_truncation, reason = "checked in the line above")]
        Self::value(quantile, nanos as u64)
    }

    /// Creates a limit of `max` on a quantile of plain numbers, over a window of 60 s and with a
    /// `min_samples` of 1. Violations are raised at once, and cleared after one slice.
    pub const fn value(quantile: Quantile, max: u64) -> Self {
        Self {
            quantile,
            max,
            window: Duration::from_mins(1),
            min_samples: MinSamples::Count(1),
            raise_after: Duration::ZERO,
            clear_after: None,
        }
    }

    /// Creates a limit on the share of an event's spans that fail, in parts per million, over a
    /// window of 60 s and with a `min_samples` of 1. Violations are raised at once, and cleared
    /// after one slice.
    ///
    /// Such a threshold belongs in [`Limit::Errors`] or
    /// [`EventInfo::max_error_rate`](crate::EventInfo::max_error_rate). Give every failed span the
    /// value 1 and every other one the value 0. At most 1 % of them failed if and only if their p99
    /// is 0.
    ///
    /// ```
    /// use tailwatch_core::{Quantile, Threshold};
    ///
    /// let threshold = Threshold::error_rate(10_000); // 1 %
    /// assert_eq!((threshold.quantile, threshold.max), (Quantile::P99, 0));
    /// assert_eq!(threshold.max_error_ppm(), 10_000);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if `max_ppm` is 1,000,000 or more, which no share exceeds. In a constant, this is a
    /// compile-time error.
    pub const fn error_rate(max_ppm: u32) -> Self {
        assert!(max_ppm < 1_000_000, "a limit on the error rate must be less than 1,000,000 ppm");
        match Quantile::from_ppm(1_000_000 - max_ppm) {
            Some(quantile) => Self::value(quantile, 0),
            None => unreachable!(),
        }
    }

    /// Returns the largest share of failed spans within the limit, in parts per million, if this is
    /// a limit on the error rate: one minus the quantile.
    pub const fn max_error_ppm(&self) -> u32 {
        1_000_000 - self.quantile.ppm()
    }

    /// Returns this threshold with its window changed to `window`.
    #[must_use]
    pub const fn over(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    /// Returns this threshold with its minimum number of samples changed to `min_samples`.
    #[must_use]
    pub const fn min_samples(self, min_samples: u32) -> Self {
        Self { min_samples: MinSamples::Count(min_samples), ..self }
    }

    /// Returns this threshold with the minimum number of samples that its quantile needs:
    /// [`MinSamples::Auto`].
    ///
    /// ```
    /// use core::time::Duration;
    /// use tailwatch_core::{MinSamples, Quantile, Threshold};
    ///
    /// let threshold = Threshold::duration(Quantile::P99, Duration::from_millis(20))
    ///     .auto_min_samples()
    ///     .raise_after(Duration::from_secs(2))
    ///     .clear_after(Duration::from_secs(10));
    /// assert_eq!(threshold.min_samples, MinSamples::Auto);
    /// assert_eq!(threshold.raise_after, Duration::from_secs(2));
    /// assert_eq!(threshold.clear_after, Some(Duration::from_secs(10)));
    /// ```
    #[must_use]
    pub const fn auto_min_samples(self) -> Self {
        Self { min_samples: MinSamples::Auto, ..self }
    }

    /// Returns this threshold with a delay before a violation is raised:
    /// [`raise_after`](Self::raise_after). 0 raises it at once.
    #[must_use]
    pub const fn raise_after(self, raise_after: Duration) -> Self {
        Self { raise_after, ..self }
    }

    /// Returns this threshold with another time that the quantile must be within `max` before a
    /// violation ends: [`clear_after`](Self::clear_after). 0 ends it at once.
    #[must_use]
    pub const fn clear_after(self, clear_after: Duration) -> Self {
        Self { clear_after: Some(clear_after), ..self }
    }
}

/// A bound on an event: on a quantile of its durations or values, on its error rate, or on its
/// silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Limit {
    /// The largest value that a quantile of the event's samples over a window may have: a
    /// threshold.
    Quantile(Threshold),
    /// The largest share of the event's spans over a window that may fail, that is, end with
    /// another [outcome](crate::Outcome) than `Ok`. [`Threshold::error_rate`] creates it.
    ///
    /// A duration that was recorded without a span counts as a span that did not fail. Discarded
    /// spans do not count. The event must be measured in time.
    Errors(Threshold),
    /// The longest time that may pass without any record of the event.
    ///
    /// The limit is watched from the event's first record on: an event that has never happened
    /// cannot have stopped. A [FORGET](crate::Kind::Forget), which closes a span without a sample,
    /// has the tick of its START, so it usually does not end a silence.
    ///
    /// While the event is switched off or sampled, no violation is raised, but one that was raised
    /// before stays until a record ends the silence, or the clock restarts.
    Silence(Duration),
}

impl Limit {
    /// Returns the threshold if this is a limit on a quantile or on the error rate.
    pub(crate) fn threshold(self) -> Option<Threshold> {
        match self {
            Self::Quantile(threshold) | Self::Errors(threshold) => Some(threshold),
            Self::Silence(_) => None,
        }
    }

    /// Returns the longest allowed silence if this is a limit on silence.
    pub(crate) fn silence(self) -> Option<Duration> {
        match self {
            Self::Quantile(_) | Self::Errors(_) => None,
            Self::Silence(longest) => Some(longest),
        }
    }

    /// Returns whether the two limits conflict, so that an event cannot have both. They do if they
    /// are limits on the same quantile, `max` and window, on the same error rate and window, or if
    /// both are limits on silence.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quantile(one), Self::Quantile(other))
            | (Self::Errors(one), Self::Errors(other)) => {
                (one.quantile, one.max, one.window) == (other.quantile, other.max, other.window)
            }
            (Self::Silence(_), Self::Silence(_)) => true,
            _ => false,
        }
    }
}

/// The state of a [`Limit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
#[repr(u8)]
pub enum SlaState {
    /// The limit was not evaluated yet, or there are too few samples to decide and it was not
    /// violated. For a limit on silence: the event has no record yet.
    #[default]
    Unknown = 0,
    /// The event is within the limit.
    Ok = 1,
    /// The event is not within the limit, or a violation has not ended yet: a violation of a
    /// threshold ends only after the quantile has been within the threshold for the length of
    /// a slice of the window, or [`clear_after`](Threshold::clear_after). A violation of a limit on
    /// silence is cleared by the next record, or a restart of the clock. A
    /// [FORGET](crate::Kind::Forget) usually does not clear it, because it has the tick of its
    /// START.
    ///
    /// With [`raise_after`](Threshold::raise_after), a violation in this state may not have been
    /// raised yet.
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

/// The status of a [`Limit`] as of its last evaluation, except for [`observed`](Self::observed)
/// and, for a limit on silence, [`count`](Self::count), which may be newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SlaStatus {
    /// The event that the limit belongs to.
    pub event: EventId,
    /// The limit that was evaluated.
    pub limit: Limit,
    /// The state of the limit.
    pub state: SlaState,
    /// The total weight of the samples in the window that exceed the threshold, and of the hung
    /// spans (open spans older than the threshold's `max`). The weight of a sample is the number of
    /// occurrences of the event that it stands for. For a limit on the error rate, that of the
    /// failed spans. For a limit on silence, this is 1 while it is violated, and 0 otherwise.
    pub over: u64,
    /// The part of `over` that is of failed spans, which the summaries of the event do not cover. 0
    /// if they do, and for a limit on the error rate or on silence.
    pub failed: u64,
    /// The total weight of all samples in the window and of the hung spans. Despite its name, this
    /// is the number of recorded samples only if each has the weight 1. Samples that are missing
    /// for [`MinSamples::Auto`] are not included. For a limit on silence,
    /// this is 1 if the event has any record with a possible tick, and 0 otherwise.
    pub count: u64,
    /// The current value of what is limited, in nanoseconds or as a plain number. Unlike `state`
    /// and `over`, it is computed when the status is created, not at the last evaluation. Times are
    /// measured up to the tick that was passed to the last
    /// [`begin_pass`](crate::Aggregator::begin_pass).
    ///
    /// For a threshold, this is the greater one of two values, or the one that is known:
    ///
    /// - the quantile of the samples in the window, known if there are samples and the aggregator
    ///   has a window of the same length
    /// - the age of the event's oldest open span, known if hung spans were counted and the quantile
    ///   exceeded the threshold at the last evaluation
    ///
    /// If failed spans are counted in `over`, and the quantile is within the threshold without
    /// them, the value of what exceeds the threshold is not known.
    ///
    /// For a limit on the error rate, it is the share of failed spans in parts per million, rounded
    /// up, as of the last evaluation. For a limit on silence, it is the time since the event's last
    /// record, or since its silence was restarted
    /// ([`reset_silence`](crate::Aggregator::reset_silence)) or the clock restarted.
    ///
    /// `None` if neither value is known, or if there is no record.
    pub observed: Option<u64>,
    /// The tick of the pass in which a violation of this limit was last raised or cleared; `None`
    /// if there was no violation yet.
    pub since: Option<u64>,
    /// How many violations of this limit have been raised since the limit was set.
    pub raised: u64,
    /// How many violations of this limit have been cleared since the limit was set.
    pub cleared: u64,
}

/// A notice that a violation of a limit was raised (the limit became violated, as long ago as
/// [`Threshold::raise_after`]) or cleared (the violation is over, as the docs of
/// [`SlaState::Violated`] describe).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StatusChange {
    /// The status of the limit after the change.
    pub status: SlaStatus,
    /// The tick of the pass that found the change.
    pub at: u64,
}

impl StatusChange {
    /// Returns `true` if a violation was raised, and `false` if it was cleared.
    pub fn is_raised(&self) -> bool {
        self.status.state == SlaState::Violated
    }
}

/// The error returned when limits cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LimitError {
    /// The event is not one of those that the aggregator was created with.
    UnknownEvent {
        /// The id of the event.
        id: EventId,
    },
    /// The `max` of a threshold, or the longest allowed silence, is 0. Every sample above 0 would
    /// exceed such a threshold, and any silence would violate such a limit.
    Zero {
        /// The quantile of the threshold; `None` for a limit on silence.
        quantile: Option<Quantile>,
    },
    /// The window of a limit has the length 0, is 2^64 ns (584 years) or longer, or would have
    /// slices shorter than one step of the clock (one tick).
    Window {
        /// The length of the window.
        window: Duration,
    },
    /// [`raise_after`](Threshold::raise_after) or [`clear_after`](Threshold::clear_after) is longer
    /// than [`Threshold::MAX_DELAY`], or not a whole number of milliseconds.
    Delay {
        /// The delay.
        delay: Duration,
    },
    /// An event has two thresholds, or two limits on its error rate, that differ at most in
    /// `min_samples`, `raise_after` and `clear_after`, or two limits on silence.
    Duplicate {
        /// The second of the two limits.
        limit: Limit,
    },
    /// There are more limits on quantiles and error rates than the storage has room for.
    NoRoom {
        /// How many of them the storage has room for, counting those of all events.
        room: usize,
    },
    /// A [limit on the error rate](Limit::Errors) has another `max` than 0, or its quantile is 0,
    /// which allows every span to fail.
    ErrorRate {
        /// The quantile.
        quantile: Quantile,
        /// The `max`.
        max: u64,
    },
    /// There is a limit on the error rate of an event that measures plain numbers, which have no
    /// outcome.
    NoOutcomes,
    /// There is a limit on silence, but the storage has no room for any: see
    /// [`Shape::silences`](crate::Shape::silences).
    NoRoomForSilence,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownEvent { id } => {
                write!(f, "event {id} is not one of the measured events, so it cannot have limits")
            }
            Self::Zero { quantile: Some(quantile) } => {
                write!(
                    f,
                    "the limit on {quantile} is 0, but must be at least 1 (1 ns for durations)"
                )
            }
            Self::Zero { quantile: None } => {
                f.write_str("the limit on silence is 0, but must be at least 1 ns")
            }
            Self::Window { window } => write!(
                f,
                "a limit over a window of {window:?} is not possible: the window must be shorter \
                 than 584 years (2^64 ns), and each of its slices must last at least one tick of \
                 the clock"
            ),
            Self::Delay { delay } => write!(
                f,
                "a violation cannot be raised or cleared after {delay:?}: the delay must be a \
                 whole number of milliseconds, and at most {:?}",
                Threshold::MAX_DELAY
            ),
            Self::Duplicate { limit: Limit::Quantile(Threshold { quantile, window, max, .. }) } => {
                write!(
                    f,
                    "an event cannot have two limits of {max} on {quantile} over {window:?}; \
                     remove one of them"
                )
            }
            Self::Duplicate { limit: Limit::Errors(Threshold { window, .. }) } => write!(
                f,
                "an event cannot have two equal limits on its error rate over {window:?}; remove \
                 one of them"
            ),
            Self::ErrorRate { quantile, max } => write!(
                f,
                "a limit on the error rate has the quantile {quantile} and the max {max}, but its \
                 quantile must be above 0 and its max 0; `Threshold::error_rate` creates one"
            ),
            Self::NoOutcomes => f.write_str(
                "an event that measures plain numbers cannot have a limit on its error rate, \
                 because numbers have no outcome",
            ),
            Self::Duplicate { limit: Limit::Silence(_) } => {
                f.write_str("there are two limits on silence, but an event can have only one")
            }
            Self::NoRoom { room } => write!(
                f,
                "too many limits on quantiles and error rates: there is room for {room}, counting \
                 those of all events; the std adapter has room for twice as many as it is started \
                 with, plus two per event"
            ),
            Self::NoRoomForSilence => f.write_str(
                "there is no room for limits on silence: `silences` of the storage's shape must be \
                 the number of events",
            ),
        }
    }
}

impl error::Error for LimitError {}
