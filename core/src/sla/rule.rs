//! Limits as they are stored and evaluated: their counts and their state machine.
//!
//! The *weight* of a sample is the number of occurrences of the event that it stands for. Quantiles
//! are evaluated by weight; only [`Threshold::min_samples`] refers to the number of samples.

use core::time::Duration;

use super::{SlaState, Threshold};
use crate::{
    arithmetic,
    clock::{OptionalTick, TickRate, TimeUnit, nanos_from_duration},
    event::Unit,
    statistics::{
        quantile::Quantile,
        window::{Window, WindowSpec},
    },
};

/// The rule number that means "no rule". Rules are numbered from 1.
pub(crate) const NO_RULE: u16 = 0;

/// The most slices into which a window is cut if only limits use it.
const MAX_SLICES: u16 = 12;

/// What a [`Rule`] has counted in one slice of its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct Tally {
    /// The number of recorded samples, each counted as 1 whatever its weight.
    pub(crate) samples: u64,
    /// The total weight of these samples.
    pub(crate) weight: u64,
    /// The total weight of those samples that exceed the threshold.
    pub(crate) over: u64,
}

impl Tally {
    /// A tally of no samples, as in an empty storage.
    pub const EMPTY: Self = Self { samples: 0, weight: 0, over: 0 };

    /// Counts a sample of weight 2^`sampling`, where `sampling` is at most 15. `exceeds` is whether
    /// the sample exceeds the threshold.
    #[inline]
    pub(crate) fn add(&mut self, exceeds: bool, sampling: u8) {
        self.samples += 1;
        let weight = 1 << sampling;
        self.weight = self.weight.saturating_add(weight);
        if exceeds {
            self.over = self.over.saturating_add(weight);
        }
    }

    /// Adds the counts of another slice.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.samples += other.samples;
        self.weight = self.weight.saturating_add(other.weight);
        self.over = self.over.saturating_add(other.over);
    }
}

/// The state of a limit, and how it has changed. Initially, all fields are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub(crate) struct Watch {
    pub(crate) state: SlaState,
    /// The tick at which a violation was last raised or cleared.
    changed: OptionalTick,
    /// While the state is violated: the tick at which the event came back within the limit, or none
    /// while it is still outside. An evaluation with too few samples leaves this unchanged. In all
    /// other states, none.
    within_since: OptionalTick,
    /// How many violations have been raised.
    pub(crate) raised: u64,
    /// How many violations have been cleared.
    pub(crate) cleared: u64,
}

impl Watch {
    pub(crate) const EMPTY: Self = Self {
        state: SlaState::Unknown,
        changed: OptionalTick::NONE,
        within_since: OptionalTick::NONE,
        raised: 0,
        cleared: 0,
    };

    /// Takes the result of an evaluation into account. Returns whether a violation was raised or
    /// cleared.
    ///
    /// `found` is what the evaluation has found, without regard to an earlier violation, and `now`
    /// is the tick of the current pass. A violation is cleared by an evaluation that finds
    /// [`SlaState::Ok`] when the event has been within the limit for at least `hold_ticks`.
    pub(crate) fn step(&mut self, found: SlaState, now: u64, hold_ticks: u64) -> bool {
        match (self.state, found) {
            // Too few samples neither clear a violation nor restart the hold time. If an event is
            // rare, a sample may leave the window before the next one arrives, and a violation
            // whose hold time restarted each time would never be cleared.
            (SlaState::Violated, SlaState::Unknown) => false,
            (SlaState::Violated, SlaState::Violated) => {
                self.within_since = OptionalTick::NONE;
                false
            }
            (SlaState::Violated, SlaState::Ok) => {
                let since = self.within_since.get().unwrap_or(now);
                self.within_since = OptionalTick::some(since);
                let has_held = now.saturating_sub(since) >= hold_ticks;
                if has_held {
                    self.cleared += 1;
                    self.change(SlaState::Ok, now);
                }
                has_held
            }
            (_, SlaState::Violated) => {
                self.raised += 1;
                self.change(SlaState::Violated, now);
                true
            }
            (_, found) => {
                self.state = found;
                false
            }
        }
    }

    /// Clears a violation for which there is no evidence any more. Nothing is known then.
    fn withdraw(&mut self, now: u64) {
        self.cleared += 1;
        self.change(SlaState::Unknown, now);
    }

    /// Sets the state at the tick `now`, when a violation is raised or cleared.
    fn change(&mut self, state: SlaState, now: u64) {
        self.state = state;
        self.changed = OptionalTick::some(now);
        self.within_since = OptionalTick::NONE;
    }

    /// Restarts the hold time of a violation. Called when the clock has restarted: its ticks cannot
    /// be compared with older ones.
    pub(crate) fn restart_clock(&mut self) {
        self.within_since = OptionalTick::NONE;
    }

    /// Returns the tick at which a violation was last raised or cleared; `None` if there was none
    /// yet.
    pub(crate) const fn since(&self) -> Option<u64> {
        self.changed.get()
    }
}

/// The aggregator's run-time state of one [`Threshold`]: its window, what was found at the last
/// evaluation, and the state of the limit.
///
/// A [`Storage`](crate::Storage) holds a fixed array of rules. An unused rule is all zero. The
/// rules of an event form a linked list, by `next`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct Rule {
    /// The window of the threshold. Each rule has its own, because the threshold's window need not
    /// be one of the aggregator's.
    pub(crate) window: Window,
    /// The largest sample that does not exceed the threshold, in the aggregator's
    /// [unit](TimeUnit): the longest duration that is at most `max` when it is rounded to
    /// nanoseconds.
    pub(crate) max_value: u64,
    /// [`Threshold::max`], in nanoseconds or as a plain number.
    max: u64,
    /// The quantile, in millionths.
    quantile_ppm: u32,
    /// [`Threshold::min_samples`].
    min_samples: u32,
    /// One more than the row of the event that the rule belongs to; 0 if the rule is unused.
    pub(crate) owner: u16,
    /// The number of the event's next rule, or [`NO_RULE`].
    pub(crate) next: u16,
    /// Whether an evaluation has changed `weight` or `over` since the program last asked. Not used
    /// by compact storage.
    pub(crate) has_changed: bool,
    /// Whether a span of the event was given up, because its END is lost, since the last
    /// evaluation. Not used by compact storage.
    pub(crate) has_lost_end: bool,
    /// Whether a sample exceeded the threshold at any evaluation of the present violation. Not used
    /// by compact storage.
    rests_on_sample: bool,
    pub(crate) watch: Watch,
    /// The weight of the hung spans: the event's open spans that are older than `max`. The
    /// aggregator sets it before each evaluation.
    pub(crate) hung: u64,
    /// The total weight of the samples in the window and of the hung spans at the last evaluation.
    /// [`SlaStatus::count`](crate::SlaStatus::count) reports it.
    pub(crate) weight: u64,
    /// The weight of the samples that exceeded the threshold, and of the hung spans, at the last
    /// evaluation.
    pub(crate) over: u64,
}

impl Rule {
    /// A rule that is not used, as in an empty storage.
    pub const EMPTY: Self = Self {
        window: Window::EMPTY,
        max_value: 0,
        max: 0,
        quantile_ppm: 0,
        min_samples: 0,
        owner: 0,
        next: NO_RULE,
        has_changed: false,
        has_lost_end: false,
        rests_on_sample: false,
        watch: Watch::EMPTY,
        hung: 0,
        weight: 0,
        over: 0,
    };

    /// Creates a rule that evaluates `threshold` over `window`. `owner` is one more than the row of
    /// the event, `unit` is the event's unit, and `time_unit` is the internal unit of time.
    pub(crate) fn new(
        owner: u16,
        threshold: &Threshold,
        window: Window,
        unit: Unit,
        time_unit: TimeUnit,
    ) -> Self {
        Self {
            window,
            max_value: match unit {
                Unit::Time => time_unit.max_units_within_nanos(threshold.max),
                Unit::One => threshold.max,
            },
            max: threshold.max,
            quantile_ppm: threshold.quantile.ppm(),
            min_samples: threshold.min_samples,
            owner,
            ..Self::EMPTY
        }
    }

    /// Returns the threshold that this rule evaluates.
    pub(crate) fn threshold(&self) -> Threshold {
        Threshold {
            quantile: Quantile::from_ppm(self.quantile_ppm).unwrap_or(Quantile::MAX),
            max: self.max,
            window: self.window.length(),
            min_samples: self.min_samples,
        }
    }

    /// Returns whether the quantile exceeded the threshold at the last evaluation: whether more
    /// samples, by weight, exceeded it than come after the quantile's rank.
    pub(crate) fn quantile_exceeds_threshold(&self) -> bool {
        let rank = self.threshold().quantile.rank(self.weight);
        self.weight > 0 && self.over > self.weight - rank
    }

    /// Evaluates the threshold from the tallies of its window's slices and the weight of the hung
    /// spans. `now` is the tick of the current pass. Returns whether a violation was raised or
    /// cleared.
    pub(crate) fn evaluate(&mut self, slices: &[Tally], now: u64) -> bool {
        let mut tally = Tally::EMPTY;
        for slice in slices {
            tally.merge(slice);
        }
        self.weight = tally.weight.saturating_add(self.hung);
        self.over = tally.over.saturating_add(self.hung);
        let exceeds_threshold = self.quantile_exceeds_threshold();
        let is_enough = self.weight > 0 && tally.samples >= u64::from(self.min_samples);
        let found = match (exceeds_threshold, is_enough) {
            (true, true) => SlaState::Violated,
            // Hung spans need no minimum: the first span that hangs may stop all further samples.
            (true, false) if self.hung > 0 => SlaState::Violated,
            (false, true) => SlaState::Ok,
            (_, false) => SlaState::Unknown,
        };
        // Samples leave the window one slice at a time. A hold time of one slice means that at
        // least one slice has left since the event came back within the limit, and that the
        // quantile was within the threshold before and after that.
        self.watch.step(found, now, self.window.slice_ticks())
    }

    /// Clears a violation if only hung spans were the reason for it, and their ENDs are lost: the
    /// spans are given up. Without this, a violation without further samples would last for ever.
    /// Called after each evaluation. Returns whether the violation was cleared.
    pub(crate) fn withdraw_groundless(&mut self, now: u64) -> bool {
        let has_lost_end = core::mem::take(&mut self.has_lost_end);
        let is_violated = self.watch.state == SlaState::Violated;
        self.rests_on_sample = is_violated && (self.rests_on_sample || self.over > self.hung);
        let is_groundless = is_violated && has_lost_end && self.over == 0 && !self.rests_on_sample;
        if is_groundless {
            self.watch.withdraw(now);
        }
        is_groundless
    }

    /// Returns the tick up to which another [`evaluate`](Self::evaluate) changes nothing if no
    /// record is processed and no span is open.
    pub(crate) fn settled_until(&self) -> u64 {
        // A violation is cleared some time after its event is within the limit again.
        if self.watch.state == SlaState::Violated { 0 } else { self.window.slice_end() }
    }
}

/// The aggregator's run-time state of one limit on silence. A [`Storage`](crate::Storage) holds one
/// for each event, or none at all. It is all zero if the event has no such limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct Silence {
    /// The longest allowed silence, in nanoseconds; 0 if there is no limit.
    pub(crate) nanos: u64,
    /// The longest allowed silence, in ticks.
    ticks: u64,
    pub(crate) watch: Watch,
}

impl Silence {
    /// A limit that is not used, as in an empty storage.
    pub const EMPTY: Self = Self { nanos: 0, ticks: 0, watch: Watch::EMPTY };

    pub(crate) fn new(nanos: u64, rate: TickRate) -> Self {
        Self { nanos, ticks: rate.ticks_in_nanos(nanos), watch: Watch::EMPTY }
    }

    /// Evaluates the limit. Returns whether a violation was raised or cleared.
    ///
    /// `last_seen` is the tick from which the silence is measured: that of the event's last record,
    /// or of the last pass that restarted the silence, because
    /// [`reset_silence`](crate::Aggregator::reset_silence) was called or the clock restarted.
    /// `None` if there was no record. `as_of` is the tick up to which the silence is measured: all
    /// records from before it have been drained. `now` is the tick of the current pass, which
    /// becomes the time of the change.
    pub(crate) fn evaluate(&mut self, last_seen: Option<u64>, as_of: u64, now: u64) -> bool {
        if self.nanos == 0 {
            return false;
        }
        let found = match last_seen {
            None => SlaState::Unknown,
            Some(seen) if as_of.saturating_sub(seen) > self.ticks => SlaState::Violated,
            Some(_) => SlaState::Ok,
        };
        // No hold time: the next record ends a silence at once. A FORGET has the tick of its START,
        // so it usually does not. A restart of the clock, which lowers `last_seen`, does.
        self.watch.step(found, now, 0)
    }

    /// Returns the tick up to which another [`evaluate`](Self::evaluate) changes nothing if no
    /// record is processed.
    pub(crate) fn settled_until(&self, last_seen: Option<u64>) -> u64 {
        match last_seen {
            _ if self.nanos == 0 => u64::MAX,
            _ if self.watch.state == SlaState::Violated => 0,
            Some(seen) => seen.saturating_add(self.ticks),
            None => u64::MAX,
        }
    }
}

/// Returns the number of slices of a window that is used by limits only: the largest number, up to
/// [`MAX_SLICES`] and `max_slices` but at least 1, for which the length of a slice is a whole
/// number of nanoseconds.
fn slices_for(length: Duration, max_slices: usize) -> u16 {
    let max_slices = u16::try_from(max_slices).map_or(MAX_SLICES, |max| max.min(MAX_SLICES));
    // With 2^64 ns or more, the window is refused later, whatever the number of its slices.
    let nanos = nanos_from_duration(length).unwrap_or(0);
    let divides = |slices: &u16| arithmetic::div_rem(nanos, u64::from(*slices)).1 == 0;
    (1..=max_slices).rev().find(divides).unwrap_or(1)
}

/// Returns the window over which `threshold` is evaluated, as of the tick `now`. Returns `None` if
/// its length is impossible: see [`LimitError::Window`](crate::LimitError::Window).
///
/// `windows` are the aggregator's windows. If one of them has the same length, the new window gets
/// as many slices as that one. Otherwise, it gets at most `max_slices`, but at least 1.
pub(crate) fn window_for(
    threshold: &Threshold,
    windows: &[Window],
    max_slices: usize,
    rate: TickRate,
    now: u64,
) -> Option<Window> {
    let configured = windows.iter().find(|window| window.length() == threshold.window);
    let slices =
        configured.map_or_else(|| slices_for(threshold.window, max_slices), Window::slices);
    Window::new(&WindowSpec::new(threshold.window, slices), rate, now, 0)
}

#[cfg(test)]
mod tests {
    use super::{SlaState::*, *};

    #[test]
    fn a_violation_is_raised_at_once_and_cleared_after_the_hold_time() {
        let mut watch = Watch::EMPTY;
        let steps = [
            // (tick, state found, whether a violation is raised or cleared, resulting state)
            (0, Unknown, false, Unknown),
            (1, Ok, false, Ok),
            (2, Violated, true, Violated),
            (3, Violated, false, Violated),
            (4, Ok, false, Violated),
            (13, Ok, false, Violated),
            (13, Violated, false, Violated), // restarts the hold time
            (20, Ok, false, Violated),
            (40, Unknown, false, Violated), // too few samples to clear it
            (41, Ok, true, Ok),
            (42, Unknown, false, Unknown),
            (43, Violated, true, Violated),
        ];
        for (now, found, changed, state) in steps {
            assert_eq!((watch.step(found, now, 10), watch.state), (changed, state), "at {now}");
        }
        assert_eq!((watch.raised, watch.cleared, watch.since()), (2, 1, Some(43)));
    }

    #[test]
    fn any_record_ends_a_silence() {
        let mut silence = Silence::new(100, TickRate::NANOSECONDS);
        let steps = [
            // (tick, tick of the last record, resulting state)
            (500, None, Unknown),
            (510, Some(505), Ok),
            (605, Some(505), Ok),
            (606, Some(505), Violated),
        ];
        for (now, seen, state) in steps {
            silence.evaluate(seen, now, now);
            assert_eq!(silence.watch.state, state, "at {now}");
        }
        assert!(silence.evaluate(Some(607), 607, 608));
        assert_eq!((silence.watch.state, silence.watch.raised, silence.watch.cleared), (Ok, 1, 1));
    }

    #[test]
    fn a_window_that_serves_a_limit_only_is_cut_evenly() {
        let cut = |nanos, max| slices_for(Duration::from_nanos(nanos), max);
        assert_eq!(
            [cut(60_000_000_000, 12), cut(10_000_000_000, 12), cut(7, 12), cut(13, 12), cut(60, 5)],
            [12, 10, 7, 1, 5]
        );
        assert_eq!(cut(60, 0), 1);
    }
}
