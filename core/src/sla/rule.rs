//! Limits as they are stored and evaluated: their counts and their state machine.
//!
//! The *weight* of a sample is the number of occurrences of the event that it stands for. Quantiles
//! are evaluated by weight; only [`Threshold::min_samples`] refers to the number of samples.

#[cfg(test)]
mod tests;

use core::time::Duration;

use super::{Limit, MinSamples, SlaState, Threshold};
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
    /// The part of `over` that is of failed spans which the event's summaries do not cover.
    pub(crate) failed: u64,
}

impl Tally {
    /// A tally of no samples, as in an empty storage.
    pub const EMPTY: Self = Self { samples: 0, weight: 0, over: 0, failed: 0 };

    /// Counts a sample of weight 2^`sampling`, where `sampling` is at most 15. `exceeds` is whether
    /// the sample exceeds the threshold, and `is_failed` whether it is of a failed span which the
    /// event's summaries do not cover.
    #[inline]
    pub(crate) fn add(&mut self, exceeds: bool, is_failed: bool, sampling: u8) {
        self.samples += 1;
        let weight = 1 << sampling;
        self.weight = self.weight.saturating_add(weight);
        if exceeds {
            self.over = self.over.saturating_add(weight);
            if is_failed {
                self.failed = self.failed.saturating_add(weight);
            }
        }
    }

    /// Adds the counts of another slice.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.samples += other.samples;
        self.weight = self.weight.saturating_add(other.weight);
        self.over = self.over.saturating_add(other.over);
        self.failed = self.failed.saturating_add(other.failed);
    }
}

/// The state of a limit, and how it has changed. Initially, all fields are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub(crate) struct Watch {
    pub(crate) state: SlaState,
    /// Whether the state is violated, but the violation was not raised yet.
    is_pending: bool,
    /// Whether the last evaluation of the present violation that had enough samples has found the
    /// event within the limit.
    is_within: bool,
    /// The tick at which a violation was last raised or cleared.
    changed: OptionalTick,
    /// While the state is violated: the tick of the first evaluation since which `is_within` is as
    /// it is. None after the clock has restarted.
    turned: OptionalTick,
    /// How many violations have been raised.
    pub(crate) raised: u64,
    /// How many violations have been cleared.
    pub(crate) cleared: u64,
}

/// How long a violation lasts before it is raised, and for how long the event must be within the
/// limit before the violation ends, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    raise: u64,
    clear: u64,
}

impl Watch {
    pub(crate) const EMPTY: Self = Self {
        state: SlaState::Unknown,
        is_pending: false,
        is_within: false,
        changed: OptionalTick::NONE,
        turned: OptionalTick::NONE,
        raised: 0,
        cleared: 0,
    };

    /// Takes the result of an evaluation into account. Returns whether a violation was raised or
    /// cleared.
    ///
    /// `found` is what the evaluation has found, without regard to an earlier violation, and `now`
    /// is the tick of the current pass.
    pub(crate) fn step(&mut self, found: SlaState, now: u64, delays: Delays) -> bool {
        let is_violated = self.state == SlaState::Violated;
        if !is_violated {
            self.state = found;
            if found != SlaState::Violated {
                return false;
            }
            self.is_pending = true;
        }
        let is_within = match found {
            SlaState::Ok => true,
            SlaState::Violated => false,
            // Too few samples neither end a violation nor restart a delay. If an event is rare, a
            // sample may leave the window before the next one arrives, and a delay that restarted
            // each time would never be over.
            SlaState::Unknown => self.is_within,
        };
        let turned = self.turned.get().filter(|_| is_violated && is_within == self.is_within);
        let since = turned.unwrap_or(now);
        (self.is_within, self.turned) = (is_within, OptionalTick::some(since));
        let lasted = now.saturating_sub(since);
        if is_within {
            found == SlaState::Ok && lasted >= delays.clear && self.end(SlaState::Ok, now)
        } else {
            let is_raised = self.is_pending && lasted >= delays.raise;
            if is_raised {
                self.is_pending = false;
                self.raised += 1;
                self.changed = OptionalTick::some(now);
            }
            is_raised
        }
    }

    /// Ends a violation at the tick `now`. `state` is what is known then. Returns whether the
    /// violation was cleared: whether it had been raised.
    fn end(&mut self, state: SlaState, now: u64) -> bool {
        self.state = state;
        let was_raised = !core::mem::take(&mut self.is_pending);
        if was_raised {
            self.cleared += 1;
            self.changed = OptionalTick::some(now);
        }
        was_raised
    }

    /// Restarts the delay before a violation is raised or ends. Called when the clock has
    /// restarted: its ticks cannot be compared with older ones.
    pub(crate) fn restart_clock(&mut self) {
        (self.is_within, self.turned) = (false, OptionalTick::NONE);
    }

    /// Returns the tick at which a violation was last raised or cleared; `None` if there was none
    /// yet.
    pub(crate) const fn since(&self) -> Option<u64> {
        self.changed.get()
    }
}

/// Returns a delay of a violation in milliseconds; `None` if it is impossible.
fn delay_in_millis(delay: Duration) -> Option<u32> {
    let is_whole = delay.subsec_nanos().is_multiple_of(1_000_000);
    let seconds = u32::try_from(delay.as_secs()).ok()?;
    let millis = seconds.checked_mul(1_000)?.checked_add(delay.subsec_millis())?;
    (is_whole && delay <= Threshold::MAX_DELAY).then_some(millis)
}

/// Returns a delay of the threshold that is impossible, if there is one: see
/// [`LimitError::Delay`](crate::LimitError::Delay).
pub(crate) fn impossible_delay(threshold: &Threshold) -> Option<Duration> {
    let delays = [Some(threshold.raise_after), threshold.clear_after];
    delays.into_iter().flatten().find(|delay| delay_in_millis(*delay).is_none())
}

/// The aggregator's run-time state of one [`Threshold`]: its window, what was found at the last
/// evaluation, and the state of the limit.
///
/// A [`Storage`](crate::Storage) holds a fixed array of rules. An unused rule is all zero. The
/// rules of an event form a linked list, by `next`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
#[expect(clippy::struct_excessive_bools, reason = "independent flags, in a gap between integers")]
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
    /// [`Threshold::min_samples`], or the number that the quantile needs if that is auto.
    min_samples: u32,
    /// [`Threshold::raise_after`], in milliseconds.
    raise_after: u32,
    /// One more than [`Threshold::clear_after`] in milliseconds; 0 for one slice of the window.
    clear_after: u32,
    /// Whether [`Threshold::min_samples`] is auto, so that missing samples count as within the
    /// threshold.
    is_auto: bool,
    /// Whether the rule limits the error rate, so that the samples of failed spans exceed it, and
    /// no others.
    pub(crate) limits_errors: bool,
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
    /// The weight of the failed spans in `over` that the event's summaries do not cover.
    pub(crate) failed: u64,
}

impl Rule {
    /// A rule that is not used, as in an empty storage.
    pub const EMPTY: Self = Self {
        window: Window::EMPTY,
        max_value: 0,
        max: 0,
        quantile_ppm: 0,
        min_samples: 0,
        raise_after: 0,
        clear_after: 0,
        is_auto: false,
        limits_errors: false,
        owner: 0,
        next: NO_RULE,
        has_changed: false,
        has_lost_end: false,
        rests_on_sample: false,
        watch: Watch::EMPTY,
        hung: 0,
        weight: 0,
        over: 0,
        failed: 0,
    };

    /// Creates a rule that evaluates `threshold` over `window`, as a limit on the error rate if
    /// `limits_errors`. `owner` is one more than the row of the event, `unit` is the event's unit,
    /// and `time_unit` is the internal unit of time.
    pub(crate) fn new(
        owner: u16,
        threshold: &Threshold,
        limits_errors: bool,
        window: Window,
        unit: Unit,
        time_unit: TimeUnit,
    ) -> Self {
        Self {
            window,
            max_value: match unit {
                // No sample exceeds the limit by its value, and no span is hung.
                _ if limits_errors => u64::MAX,
                Unit::Time => time_unit.max_units_within_nanos(threshold.max),
                Unit::One => threshold.max,
            },
            max: threshold.max,
            quantile_ppm: threshold.quantile.ppm(),
            min_samples: match threshold.min_samples {
                MinSamples::Count(count) => count,
                MinSamples::Auto => threshold.quantile.needed_samples(),
            },
            raise_after: delay_in_millis(threshold.raise_after).unwrap_or(0),
            clear_after: threshold.clear_after.and_then(delay_in_millis).map_or(0, |ms| ms + 1),
            is_auto: threshold.min_samples == MinSamples::Auto,
            limits_errors,
            owner,
            ..Self::EMPTY
        }
    }

    /// Returns the limit that this rule evaluates.
    pub(crate) fn limit(&self) -> Limit {
        if self.limits_errors {
            Limit::Errors(self.threshold())
        } else {
            Limit::Quantile(self.threshold())
        }
    }

    /// Returns the threshold that this rule evaluates.
    pub(crate) fn threshold(&self) -> Threshold {
        Threshold {
            quantile: Quantile::from_ppm(self.quantile_ppm).unwrap_or(Quantile::MAX),
            max: self.max,
            window: self.window.length(),
            min_samples: if self.is_auto {
                MinSamples::Auto
            } else {
                MinSamples::Count(self.min_samples)
            },
            raise_after: Duration::from_millis(u64::from(self.raise_after)),
            clear_after: self
                .clear_after
                .checked_sub(1)
                .map(|millis| Duration::from_millis(u64::from(millis))),
        }
    }

    /// Returns whether the quantile exceeded the threshold at the last evaluation: whether more
    /// samples, by weight, exceeded it than come after the quantile's rank.
    pub(crate) fn quantile_exceeds_threshold(&self) -> bool {
        self.exceeds_threshold(self.over, self.weight)
    }

    /// Returns whether the quantile of samples with the total weight `weight`, of which those with
    /// the weight `over` exceed the threshold, exceeds it.
    pub(crate) fn exceeds_threshold(&self, over: u64, weight: u64) -> bool {
        let quantile = Quantile::from_ppm(self.quantile_ppm).unwrap_or(Quantile::MAX);
        weight > 0 && over > weight - quantile.rank(weight)
    }

    /// Returns the delays of the threshold in ticks.
    fn delays(&self, rate: TickRate) -> Delays {
        let ticks = |millis: u32| rate.ticks_in_nanos(u64::from(millis) * 1_000_000);
        Delays {
            raise: if self.raise_after == 0 { 0 } else { ticks(self.raise_after) },
            // Samples leave the window one slice at a time. A delay of one slice means that at
            // least one slice has left since the event came back within the limit, and that the
            // quantile was within the threshold before and after that.
            clear: self.clear_after.checked_sub(1).map_or(self.window.slice_ticks(), ticks),
        }
    }

    /// Evaluates the threshold from the tallies of its window's slices and the weight of the hung
    /// spans. `now` is the tick of the current pass. Returns whether a violation was raised or
    /// cleared.
    pub(crate) fn evaluate(&mut self, slices: &[Tally], now: u64, rate: TickRate) -> bool {
        let mut tally = Tally::EMPTY;
        for slice in slices {
            tally.merge(slice);
        }
        self.weight = tally.weight.saturating_add(self.hung);
        self.over = tally.over.saturating_add(self.hung);
        self.failed = tally.failed;
        let min_samples = u64::from(self.min_samples);
        let missing = if self.is_auto {
            min_samples.saturating_sub(tally.samples.saturating_add(self.hung))
        } else {
            0
        };
        let exceeds_threshold =
            self.exceeds_threshold(self.over, self.weight.saturating_add(missing));
        let is_enough = self.weight > 0 && tally.samples >= min_samples;
        let found = match (exceeds_threshold, is_enough) {
            (true, true) => SlaState::Violated,
            // Hung spans need no minimum: the first span that hangs may stop all further samples.
            // With auto, the missing samples cannot change the result.
            (true, false) if self.hung > 0 || self.is_auto => SlaState::Violated,
            (false, true) => SlaState::Ok,
            (_, false) => SlaState::Unknown,
        };
        self.watch.step(found, now, self.delays(rate))
    }

    /// Clears a violation if only hung spans were the reason for it, and their ENDs are lost: the
    /// spans are given up. Without this, a violation without further samples would last for ever.
    /// Called after each evaluation. Returns whether the violation was cleared. It is not if it was
    /// never raised.
    pub(crate) fn withdraw_groundless(&mut self, now: u64) -> bool {
        let has_lost_end = core::mem::take(&mut self.has_lost_end);
        let is_violated = self.watch.state == SlaState::Violated;
        self.rests_on_sample = is_violated && (self.rests_on_sample || self.over > self.hung);
        let is_groundless = is_violated && has_lost_end && self.over == 0 && !self.rests_on_sample;
        // Nothing is known then.
        is_groundless && self.watch.end(SlaState::Unknown, now)
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
        // No delays: the next record ends a silence at once. A FORGET has the tick of its START,
        // so it usually does not. A restart of the clock, which lowers `last_seen`, does.
        self.watch.step(found, now, Delays { raise: 0, clear: 0 })
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
