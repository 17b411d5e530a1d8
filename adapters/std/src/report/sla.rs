//! The state of limits in reports, and the queue of raised and cleared violations that
//! [`Collector::sla_changes`] returns.
//!
//! [`Collector::sla_changes`]: crate::Collector::sla_changes

use core::{fmt, time::Duration};
use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use tailwatch_core::{
    EventInfo, Limit, MinSamples, Quantile, SlaState, SlaStatus, Threshold, Unit,
};

use super::text::{grouped, length, share, value};
use crate::{clock::nanos, events::labels::Labels};

/// The number of entries in the queue. When it is full, a new entry replaces the oldest.
const QUEUE_CAPACITY: usize = 256;

/// A limit of an event and its state.
///
/// A violation of the limit is *raised* when it begins, or when it has lasted as long as
/// [`Threshold::raise_after`], and *cleared* when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlaReport {
    /// The event's name, including its labels.
    pub event: Cow<'static, str>,
    /// The event's labels.
    pub labels: Labels,
    /// What is limited.
    pub kind: LimitKind,
    /// The limited quantile, or `None` for a limit of another [`kind`](Self::kind); JSON then has
    /// `errors` or `silence`.
    pub quantile: Option<Quantile>,
    /// The window of the quantile or error rate. For a limit on silence, the longest silence within
    /// the limit.
    pub window: Duration,
    /// The largest value within the limit, in nanoseconds or as a plain number. For a limit on the
    /// error rate, the largest share of failed spans, in parts per million.
    pub limit: u64,
    /// The unit of `limit` and `observed`: `ns` for nanoseconds, or `1` for plain numbers and for
    /// parts per million.
    pub unit: Unit,
    /// Whether the limit is violated. The violation may not be raised yet.
    pub state: SlaState,
    /// The number of samples in the window that exceed the limit, by weight: a sample of an event
    /// that is sampled 1 in 2^k counts 2^k times. Open spans that are already older than the limit
    /// are included, and those failed spans that exceed it, but no others. For a limit on the error
    /// rate, the number of failed spans. For a limit on silence, 1 while the limit is violated, or
    /// else 0.
    pub over: u64,
    /// The part of `over` that is of failed spans, which the event's statistics do not
    /// [cover](crate::EventReport::covered). 0 for limits of other kinds, and in a report that was
    /// read from the schema `tailwatch.report/1`.
    pub failed: u64,
    /// The number of all samples in the window, by weight, including the open spans counted in
    /// `over`. For a limit on silence, 1 once the event has been recorded, or else 0.
    ///
    /// A limit on the quantile q is violated if `over` > `count` − max(1, ⌈q · `count`⌉):
    /// more samples exceed the limit than lie above the rank of the quantile. With
    /// [`MinSamples::Auto`](crate::MinSamples::Auto), samples that are missing count as within the
    /// limit in this decision, but not in `count`.
    pub count: u64,
    /// The value of what is limited, as of the report, in nanoseconds or as a plain number.
    ///
    /// For a limit on a quantile, this is the quantile or, if open spans contribute to a violation,
    /// the age of the event's oldest open span if that is greater. The quantile is known if the
    /// window has samples and the collector has a window of this length. For a limit on silence, it
    /// is the length of the silence, and for one on the error rate the share of failed spans,
    /// rounded up. `None` if none of these is known, and if failed spans made a quantile exceed the
    /// limit.
    pub observed: Option<u64>,
    /// The time at which a violation was last raised or cleared, in nanoseconds since 1970. `None`
    /// if there was no violation.
    pub since_unix_ns: Option<u64>,
    /// The number of violations that were raised.
    pub raised: u64,
    /// The number of violations that were cleared.
    pub cleared: u64,
    /// [`Threshold::min_samples`], or 1 for a limit on silence.
    pub min_samples: MinSamples,
    /// [`Threshold::raise_after`], or zero for a limit on silence.
    pub raise_after: Duration,
    /// [`Threshold::clear_after`], or `None` for a limit on silence.
    pub clear_after: Option<Duration>,
    /// Where the limit was set: `declared` with its event, by the `builder`, by a line of a
    /// configuration file such as `file /etc/bot.toml:12`, or `after the start` by
    /// [`Collector::set_limits`](crate::Collector::set_limits). `None` if it is not known: in a
    /// report that was read from the schema `tailwatch.report/1`, and in a [merged
    /// report](crate::Report::merge) of reports in which it differs.
    pub origin: Option<Arc<str>>,
}

impl SlaReport {
    /// Creates the report of a limit. `info` and `labels` are about the event of `status`, `origin`
    /// is where it was set, and `since_unix_ns` is the wall-clock time of [`SlaStatus::since`].
    pub(crate) fn new(
        info: &EventInfo,
        labels: Labels,
        status: &SlaStatus,
        origin: Arc<str>,
        since_unix_ns: Option<u64>,
    ) -> Self {
        let (kind, quantile, window, limit, unit) = match status.limit {
            Limit::Quantile(Threshold { quantile, window, max, .. }) => {
                (LimitKind::Quantile, Some(quantile), window, max, info.unit)
            }
            Limit::Errors(threshold) => {
                let most = threshold.max_error_ppm().into();
                (LimitKind::Errors, None, threshold.window, most, Unit::One)
            }
            Limit::Silence(longest) => {
                (LimitKind::Silence, None, longest, nanos(longest), Unit::Time)
            }
        };
        let (min_samples, raise_after, clear_after) = match status.limit {
            Limit::Quantile(threshold) | Limit::Errors(threshold) => {
                (threshold.min_samples, threshold.raise_after, threshold.clear_after)
            }
            Limit::Silence(_) => (MinSamples::Count(1), Duration::ZERO, None),
        };
        Self {
            event: info.name.into(),
            labels,
            kind,
            quantile,
            window,
            limit,
            unit,
            state: status.state,
            over: status.over,
            failed: status.failed,
            count: status.count,
            observed: status.observed,
            since_unix_ns,
            raised: status.raised,
            cleared: status.cleared,
            min_samples,
            raise_after,
            clear_after,
            origin: Some(origin),
        }
    }
}

impl fmt::Display for SlaReport {
    /// Writes one line, such as `order_placement p99 over 60 s is 7.00 ms (limit 5.00 ms), 1 of 1
    /// samples over`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.quantile) {
            (LimitKind::Errors, _) => {
                self.write_counted(f, &"error rate", share, ["span", "failed"])
            }
            (_, Some(quantile)) => {
                let show = |number| value(self.unit, number);
                self.write_counted(f, &quantile, show, ["sample", "over"])
            }
            (_, None) => self.write_silence(f),
        }
    }
}

impl SlaReport {
    /// Returns the limit as it was set.
    pub(crate) fn as_set(&self) -> Limit {
        let threshold = match (self.kind, self.quantile) {
            (LimitKind::Errors, _) => {
                // A limit on the error rate is less than a million.
                Threshold::error_rate(u32::try_from(self.limit).unwrap_or(0).min(999_999))
            }
            (_, Some(quantile)) => Threshold::value(quantile, self.limit),
            (_, None) => return Limit::Silence(self.window),
        };
        let delayed = threshold.over(self.window).raise_after(self.raise_after);
        let cleared = self.clear_after.map_or(delayed, |after| delayed.clear_after(after));
        let threshold = match self.min_samples {
            MinSamples::Count(samples) => cleared.min_samples(samples),
            MinSamples::Auto => cleared.auto_min_samples(),
        };
        if self.kind == LimitKind::Errors {
            Limit::Errors(threshold)
        } else {
            Limit::Quantile(threshold)
        }
    }

    /// Writes the state of a limit that is judged by counting. `subject` is what is limited, `show`
    /// formats a value of it, `sample` is what is counted, and `over` what some of them are.
    fn write_counted(
        &self,
        f: &mut fmt::Formatter<'_>,
        subject: &impl fmt::Display,
        show: impl Fn(u64) -> String,
        [sample, over]: [&str; 2],
    ) -> fmt::Result {
        let Self { event, state, count, failed, .. } = self;
        let (window, limit) = (length(self.window), show(self.limit));
        write!(f, "{event} {subject} over {window} ")?;
        // A violation lasts until it is cleared, which is later than the value is within the limit
        // again.
        let is_within = self.observed.is_some_and(|observed| observed <= self.limit);
        match (state, self.observed.map(show)) {
            (SlaState::Unknown, _) if *count == 0 => {
                return write!(f, "is unknown (limit {limit}): no {sample}s");
            }
            (SlaState::Violated, _) if *count == 0 => {
                return write!(
                    f,
                    "exceeded the limit of {limit}, and there are no {sample}s in it now that \
                     could end the violation"
                );
            }
            (SlaState::Unknown, _) => {
                write!(f, "is unknown (limit {limit}): too few {sample}s")?;
            }
            (SlaState::Violated, Some(observed)) if is_within => {
                write!(f, "is {observed} again (limit {limit}), but not for long enough yet")?;
            }
            (SlaState::Ok | SlaState::Violated, Some(observed)) => {
                write!(f, "is {observed} (limit {limit})")?;
            }
            // The collector has no window of this length, or the window has become empty.
            (SlaState::Ok, None) => write!(f, "is within the limit of {limit}")?,
            (SlaState::Violated, None) => {
                write!(f, "violates the limit of {limit}")?;
                if self.failed_spans_decide() {
                    f.write_str(" because of spans that took longer and failed")?;
                }
            }
        }
        let plural = if *count == 1 { "" } else { "s" };
        write!(f, ", {} of {} {sample}{plural} {over}", grouped(self.over), grouped(*count))?;
        if *failed > 0 {
            write!(f, ", {} of them failed", grouped(*failed))?;
        }
        Ok(())
    }

    /// Returns whether the quantile exceeds the limit, but would not without the failed spans.
    fn failed_spans_decide(&self) -> bool {
        let Some(quantile) = self.quantile else { return false };
        let exceeds = |over: u64, count: u64| over > count - quantile.rank(count).min(count);
        let (over, count) = (self.over, self.count.max(self.over));
        let failed = self.failed.min(over);
        exceeds(over, count) && !exceeds(over - failed, count - failed)
    }

    fn write_silence(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (event, limit) = (&self.event, value(Unit::Time, self.limit));
        match (self.state, self.observed.map(|observed| value(Unit::Time, observed))) {
            (SlaState::Violated, Some(silence)) => {
                write!(f, "{event} has been silent for {silence} (limit {limit})")
            }
            (SlaState::Violated, None) => write!(f, "{event} has been silent for over {limit}"),
            (SlaState::Ok, Some(silence)) => {
                write!(f, "{event} was recorded {silence} ago (limit {limit})")
            }
            (SlaState::Ok, None) => write!(f, "{event} was recorded within {limit}"),
            (SlaState::Unknown, _) => {
                write!(f, "{event} has no record yet (limit {limit} of silence)")
            }
        }
    }
}

/// What a limit is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitKind {
    /// A quantile of durations or values.
    Quantile,
    /// The error rate: the share of spans that fail.
    Errors,
    /// Silence: the time without any record of the event.
    Silence,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Quantile => "quantile",
            Self::Errors => "errors",
            Self::Silence => "silence",
        })
    }
}

/// A violation of a limit that was raised (began, or has lasted as long as
/// [`Threshold::raise_after`]) or cleared (ended).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlaChange {
    /// `true` if the violation was raised, `false` if it was cleared.
    pub raised: bool,
    /// The time of the pass of the drain that detected it, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The limit and its new state.
    pub limit: SlaReport,
}

/// The violations that were raised or cleared since the last call of
/// [`Collector::sla_changes`](crate::Collector::sla_changes).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlaChanges {
    /// The raised and cleared violations, oldest first.
    pub changes: Vec<SlaChange>,
    /// The number of older entries that were dropped, because the queue holds only 256.
    pub missed: u64,
}

/// The queue of raised and cleared violations. Its memory is allocated when it is created.
#[derive(Debug)]
pub(crate) struct ChangeQueue {
    changes: VecDeque<SlaChange>,
    missed: u64,
}

impl Default for ChangeQueue {
    fn default() -> Self {
        Self { changes: VecDeque::with_capacity(QUEUE_CAPACITY), missed: 0 }
    }
}

impl ChangeQueue {
    /// The size of the allocated memory in bytes.
    pub(crate) const BYTES: usize = QUEUE_CAPACITY * size_of::<SlaChange>();

    /// Adds an entry. If the queue is full, drops the oldest entry and counts it as missed.
    pub(crate) fn push(&mut self, change: SlaChange) {
        if self.changes.len() == QUEUE_CAPACITY {
            self.changes.pop_front();
            self.missed += 1;
        }
        self.changes.push_back(change);
    }

    /// Removes and returns all entries, and resets the number of missed ones.
    pub(crate) fn take(&mut self) -> SlaChanges {
        SlaChanges {
            changes: self.changes.drain(..).collect(),
            missed: core::mem::take(&mut self.missed),
        }
    }
}

/// Returns the rank of a state: the state of several limits is the one with the highest.
pub(super) const fn severity(state: SlaState) -> u8 {
    match state {
        SlaState::Ok => 0,
        SlaState::Unknown => 1,
        SlaState::Violated => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(raised: u64) -> SlaReport {
        SlaReport {
            event: "order_placement".into(),
            labels: Labels::default(),
            kind: LimitKind::Quantile,
            quantile: Some(Quantile::P95),
            window: Duration::from_mins(1),
            limit: 20_000_000,
            unit: Unit::Time,
            state: SlaState::Violated,
            over: 17,
            failed: 0,
            count: 200,
            observed: Some(31_000_000),
            since_unix_ns: None,
            raised,
            cleared: 0,
            min_samples: MinSamples::Count(1),
            raise_after: Duration::ZERO,
            clear_after: None,
            origin: None,
        }
    }

    #[test]
    fn a_full_queue_drops_the_oldest_entries_and_counts_them() {
        let mut queue = ChangeQueue::default();
        for n in 0..QUEUE_CAPACITY as u64 + 3 {
            queue.push(SlaChange { raised: true, unix_ns: 0, limit: report(n) });
        }
        let taken = queue.take();
        assert_eq!((taken.changes.len(), taken.missed), (QUEUE_CAPACITY, 3));
        assert_eq!(taken.changes[0].limit.raised, 3);
        assert_eq!(queue.take(), SlaChanges::default());
    }

    #[test]
    fn a_limit_is_displayed_in_one_line_that_does_not_contradict_its_state() {
        let line = "order_placement p95 over 60 s is 31.0 ms (limit 20.0 ms), 17 of 200 samples \
                    over";
        assert_eq!(report(1).to_string(), line);
        let display = |state, observed, [over, count]: [u64; 2]| {
            SlaReport { state, over, count, observed, ..report(1) }.to_string()
        };
        for (state, observed, counts, expected) in [
            (SlaState::Ok, Some(11_000_000), [3, 200], "is 11.0 ms (limit 20.0 ms), 3 of"),
            (SlaState::Violated, Some(11_000_000), [3, 200], "is 11.0 ms again (limit 20.0 ms), b"),
            (
                SlaState::Violated,
                None,
                [3, 4],
                "violates the limit of 20.0 ms, 3 of 4 samples over",
            ),
            (SlaState::Ok, None, [0, 1], "is within the limit of 20.0 ms, 0 of 1 sample over"),
            (SlaState::Unknown, Some(31_000_000), [1, 1], "is unknown (limit 20.0 ms): too few sa"),
            (SlaState::Unknown, None, [0, 0], "is unknown (limit 20.0 ms): no samples"),
            (
                SlaState::Violated,
                None,
                [0, 0],
                "exceeded the limit of 20.0 ms, and there are no sa",
            ),
        ] {
            let line = display(state, observed, counts);
            let rest = line.strip_prefix("order_placement p95 over 60 s ").unwrap();
            assert!(rest.starts_with(expected), "{line}");
        }
        // That failed spans are over as well is not the reason here.
        let not_decided =
            SlaReport { failed: 1, over: 51, count: 101, observed: None, ..report(1) };
        assert_eq!(
            not_decided.to_string(),
            "order_placement p95 over 60 s violates the limit of 20.0 ms, 51 of 101 samples over, \
             1 of them failed"
        );
        let failed = SlaReport { observed: None, over: 10, failed: 10, count: 100, ..report(1) };
        assert_eq!(
            failed.to_string(),
            "order_placement p95 over 60 s violates the limit of 20.0 ms because of spans that \
             took longer and failed, 10 of 100 samples over, 10 of them failed"
        );
        let errors = |state, observed, [over, count]: [u64; 2]| {
            let (kind, quantile, limit) = (LimitKind::Errors, None, 50_000);
            let of = SlaReport { kind, quantile, limit, unit: Unit::One, ..report(1) };
            SlaReport { state, over, count, observed, ..of }.to_string()
        };
        for (state, observed, counts, expected) in [
            (SlaState::Violated, Some(59_406), [6, 101], "is 5.9406 % (limit 5 %), 6 of 101 spans"),
            (SlaState::Violated, Some(20_000), [1, 50], "is 2 % again (limit 5 %), but not for lo"),
            (SlaState::Ok, Some(0), [0, 1], "is 0 % (limit 5 %), 0 of 1 span failed"),
            (
                SlaState::Unknown,
                Some(1_000_000),
                [1, 1],
                "is unknown (limit 5 %): too few spans, 1",
            ),
            (SlaState::Unknown, None, [0, 0], "is unknown (limit 5 %): no spans"),
        ] {
            let line = errors(state, observed, counts);
            let rest = line.strip_prefix("order_placement error rate over 60 s ").unwrap();
            assert!(rest.starts_with(expected), "{line}");
        }
        let silence = |state, observed| {
            let window = Duration::from_millis(50);
            let (kind, quantile) = (LimitKind::Silence, None);
            let of = SlaReport { kind, quantile, window, limit: 50_000_000, ..report(1) };
            SlaReport { state, observed, ..of }.to_string()
        };
        for (state, observed, expected) in [
            (SlaState::Violated, Some(70_000_000), "has been silent for 70.0 ms (limit 50.0 ms)"),
            (SlaState::Ok, Some(10_000_000), "was recorded 10.0 ms ago (limit 50.0 ms)"),
            (SlaState::Unknown, None, "has no record yet (limit 50.0 ms of silence)"),
        ] {
            assert_eq!(silence(state, observed), format!("order_placement {expected}"));
        }
    }
}
