//! The content of frames: the items of a report as plain numbers, for serialization.

use core::time::Duration;

use heapless::String;
use serde::{Deserialize, Serialize};
use tailwatch_core::{
    Counters, EventInfo, FixedPoint, Limit, Pairing, SlaState, SlaStatus, StatusChange, Summary,
    Unit,
};

use super::MAX_NAME;
use crate::{EventCounts, EventLimit, EventSummary, Health, ReportItem};

/// The name of an event, cut between two characters to at most [`MAX_NAME`] bytes.
pub type Name = String<MAX_NAME>;

/// The content of a frame: an item of a report, or a violation that was raised or cleared.
///
/// All durations are in nanoseconds. All points in time are ticks of the drain's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Frame {
    /// How many records were written, drained and lost: the first item of a report.
    Health(HealthFrame),
    /// The spans of an event, by outcome.
    Counts(CountsFrame),
    /// The summary of an event over a window, or since the drain was created.
    Summary(SummaryFrame),
    /// A limit and its state.
    Limit(LimitFrame),
    /// A violation of a limit was raised (the limit became violated) or cleared (the quantile has
    /// been within the limit for one slice of its window, or a record has ended a silence).
    StatusChange {
        /// The tick of the pass in which the drain found the change.
        at: u64,
        /// The limit and its new state.
        limit: LimitFrame,
    },
}

/// A [`Health`] in a frame. The fields have the same meaning as those of [`Health`] and
/// [`Counters`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(
    missing_docs,
    reason = "the fields are documented in the type that the frame is made from"
)]
pub struct HealthFrame {
    pub produced: u64,
    pub delivered: u64,
    pub overwritten: u64,
    pub pending: u64,
    pub late: u64,
    pub clock_anomalies: u64,
    pub saturated: u64,
    pub invalid: u64,
    pub unknown_events: u64,
    pub full_counters: u64,
    pub negative_differences: u64,
    pub orphan_tags: u64,
    pub passes: u64,
    pub still_passes: u64,
    pub transitions_lost: u64,
}

/// An [`EventCounts`] in a frame. The fields have the same meaning as those of [`EventCounts`],
/// [`Outcomes`](tailwatch_core::Outcomes) and [`Pairing`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(
    missing_docs,
    reason = "the fields are documented in the type that the frame is made from"
)]
pub struct CountsFrame {
    pub event: u16,
    pub name: Name,
    pub ok: u64,
    pub error: u64,
    pub cancelled: u64,
    pub paired: u64,
    pub open: u64,
    pub uncertain: u64,
    pub untracked: u64,
    pub abandoned: u64,
    pub early: u64,
    pub orphans: u64,
    pub oldest: Option<u64>,
}

/// Whether an event measures durations or plain numbers: a [`Unit`] in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum UnitKind {
    /// Durations in nanoseconds.
    Time,
    /// Plain numbers.
    One,
}

/// An [`EventSummary`] in a frame. Fields without a description have the same meaning as those of
/// [`EventSummary`] and [`Summary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(
    missing_docs,
    reason = "the fields are documented in the type that the frame is made from"
)]
pub struct SummaryFrame {
    pub event: u16,
    pub name: Name,
    pub unit: UnitKind,
    /// The length of the window in nanoseconds; `None` for the summary since the drain was created.
    pub window: Option<u64>,
    pub count: u64,
    pub estimated_total: u64,
    pub min: u64,
    pub max: u64,
    /// The mean times 2^16, or 2^64 − 1 if it is not known:
    /// [`FixedPoint::from_bits`](tailwatch_core::FixedPoint::from_bits) converts it back.
    pub mean_bits: u64,
    /// The standard deviation times 2^16, or 2^64 − 1 if it is not known.
    pub stddev_bits: u64,
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
    pub p99_9: u64,
    /// The maximum relative error of the quantiles in parts per million: 0 if they are exact, and
    /// 2^32 − 1 if there is no bound.
    pub error_ppm: u32,
    pub covered: u64,
    pub complete: bool,
}

/// A [`Limit`] as a frame encodes it: the variant is its kind, the fields are its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LimitKind {
    /// A limit on a quantile of the samples in a sliding window.
    Quantile {
        /// The quantile in parts per million: 990,000 for p99.
        ppm: u32,
        /// The largest value of the quantile that is within the limit, in nanoseconds or as a plain
        /// number.
        limit: u64,
        /// The length of the window in nanoseconds.
        window: u64,
    },
    /// A limit on the time without any record of the event.
    Silence {
        /// The longest silence that is within the limit, in nanoseconds.
        longest: u64,
    },
    /// A limit on the share of failed spans in a sliding window.
    Errors {
        /// The largest share that is within the limit, in parts per million: 50,000 for 5 %.
        ppm: u32,
        /// The length of the window in nanoseconds.
        window: u64,
    },
}

/// The state of a limit: an [`SlaState`] in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LimitState {
    /// There is not enough data to decide whether the limit is violated.
    Unknown,
    /// The event is within the limit.
    Ok,
    /// The event is not within the limit, or a violation has not been cleared yet.
    Violated,
}

/// An [`EventLimit`] in a frame. Fields without a description have the same meaning as those of
/// [`EventLimit`] and [`SlaStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(
    missing_docs,
    reason = "the fields are documented in the type that the frame is made from"
)]
pub struct LimitFrame {
    pub event: u16,
    pub name: Name,
    pub kind: LimitKind,
    pub state: LimitState,
    pub over: u64,
    pub failed: u64,
    pub count: u64,
    pub observed: Option<u64>,
    /// The tick of the pass in which a violation of the limit was last raised or cleared; `None` if
    /// there was no violation yet.
    pub since: Option<u64>,
    pub raised: u64,
    pub cleared: u64,
}

impl Frame {
    /// Creates the frame for a violation that was raised or cleared, as returned by
    /// [`Drain::next_change`](crate::Drain::next_change). The name of the event is looked up in
    /// `events`.
    pub fn change(events: &'static [EventInfo], change: &StatusChange) -> Self {
        Self::StatusChange {
            at: change.at,
            limit: LimitFrame::from(&EventLimit::new(events, change.status)),
        }
    }
}

impl From<&ReportItem> for Frame {
    fn from(item: &ReportItem) -> Self {
        match item {
            ReportItem::Health(health) => Self::Health(health.into()),
            ReportItem::Counts(counts) => Self::Counts(counts.into()),
            ReportItem::Summary(summary) => Self::Summary(summary.into()),
            ReportItem::Limit(limit) => Self::Limit(limit.into()),
        }
    }
}

impl From<&Health> for HealthFrame {
    fn from(health: &Health) -> Self {
        let Health {
            produced,
            delivered,
            overwritten,
            pending,
            counters,
            passes,
            still_passes,
            transitions_lost,
        } = *health;
        let Counters {
            late,
            clock_anomalies,
            saturated,
            invalid,
            unknown_events,
            full_counters,
            negative_differences,
            orphan_tags,
            ..
        } = counters;
        Self {
            produced,
            delivered,
            overwritten,
            pending,
            late,
            clock_anomalies,
            saturated,
            invalid,
            unknown_events,
            full_counters,
            negative_differences,
            orphan_tags,
            passes,
            still_passes,
            transitions_lost,
        }
    }
}

impl From<&EventCounts> for CountsFrame {
    fn from(counts: &EventCounts) -> Self {
        let EventCounts { event, name: full_name, outcomes, pairing, oldest } = *counts;
        let Pairing { paired, open, uncertain, untracked, abandoned, early, orphans, .. } = pairing;
        Self {
            event: event.get(),
            name: cut_name(full_name),
            ok: outcomes.ok,
            error: outcomes.error,
            cancelled: outcomes.cancelled,
            paired,
            open,
            uncertain,
            untracked,
            abandoned,
            early,
            orphans,
            oldest,
        }
    }
}

/// Returns the bits of a mean or standard deviation.
fn fixed_point_bits(number: Option<FixedPoint>) -> u64 {
    number.map_or(u64::MAX, FixedPoint::to_bits)
}

impl From<&EventSummary> for SummaryFrame {
    fn from(item: &EventSummary) -> Self {
        let EventSummary { event, name: full_name, unit, window, summary } = *item;
        let Summary {
            count, estimated_total, min, max, mean, stddev, p50, p95, p99, p99_9, ..
        } = summary;
        Self {
            event: event.get(),
            name: cut_name(full_name),
            unit: if unit == Unit::Time { UnitKind::Time } else { UnitKind::One },
            window: window.map(nanos),
            count,
            estimated_total,
            min,
            max,
            mean_bits: fixed_point_bits(mean),
            stddev_bits: fixed_point_bits(stddev),
            p50,
            p95,
            p99,
            p99_9,
            error_ppm: summary.accuracy.max_relative_error_ppm(),
            covered: summary.covered,
            complete: summary.complete,
        }
    }
}

impl From<&EventLimit> for LimitFrame {
    fn from(limit: &EventLimit) -> Self {
        let EventLimit { name: full_name, status } = *limit;
        let SlaStatus { event, limit, state, over, failed, count, observed, since, .. } = status;
        let SlaStatus { raised, cleared, .. } = status;
        Self {
            event: event.get(),
            name: cut_name(full_name),
            kind: match limit {
                Limit::Quantile(threshold) => LimitKind::Quantile {
                    ppm: threshold.quantile.ppm(),
                    limit: threshold.max,
                    window: nanos(threshold.window),
                },
                Limit::Errors(threshold) => LimitKind::Errors {
                    ppm: threshold.max_error_ppm(),
                    window: nanos(threshold.window),
                },
                Limit::Silence(longest) => LimitKind::Silence { longest: nanos(longest) },
            },
            state: match state {
                SlaState::Unknown => LimitState::Unknown,
                SlaState::Ok => LimitState::Ok,
                SlaState::Violated => LimitState::Violated,
            },
            over,
            failed,
            count,
            observed,
            since,
            raised,
            cleared,
        }
    }
}

/// Returns the longest prefix of `full` that consists of whole characters and fits into a frame.
fn cut_name(full: &str) -> Name {
    let mut name = Name::new();
    for character in full.chars() {
        if name.push(character).is_err() {
            break;
        }
    }
    name
}

/// Converts a duration to nanoseconds. A duration of 2^64 ns or more becomes 2^64 − 1.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
