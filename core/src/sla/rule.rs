//! A limit at work: what it counts, and its state machine.

use core::time::Duration;

use super::{SlaState, Threshold};
use crate::{
    Quantile, TickRate, Unit, WindowSpec,
    clock::{TimeUnit, nanos_of},
    counter_width::{self, CountWord},
    wide_math,
    window::Window,
};

/// Stands for "no rule" where the number of one is expected, which are counted from 1.
pub(crate) const NO_RULE: u16 = 0;

/// In as many slices a window is cut of which no statistics are told.
const SLICES: u16 = 12;

/// What a rule counted in one slice of its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Tally {
    /// Samples as they were recorded.
    pub(crate) samples: u64,
    /// How many they stand for.
    pub(crate) weight: u64,
    /// Of these, how many exceed the limit.
    pub(crate) over: u64,
}

impl Tally {
    pub(crate) const EMPTY: Self = Self { samples: 0, weight: 0, over: 0 };

    #[inline]
    pub(crate) fn add(&mut self, is_over: bool, sampling: u8) {
        self.samples += 1;
        let weight = 1 << sampling;
        self.weight = self.weight.saturating_add(weight);
        if is_over {
            self.over = self.over.saturating_add(weight);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.samples += other.samples;
        self.weight = self.weight.saturating_add(other.weight);
        self.over = self.over.saturating_add(other.over);
    }
}

/// The state of a limit. All zero when nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Watch {
    pub(crate) state: SlaState,
    /// One more than the tick of its last change; 0 if there was none.
    changed: u64,
    /// While it is violated: one more than the tick since which the limit is kept; 0 if it is not.
    kept: u64,
    pub(crate) raised: CountWord,
    pub(crate) cleared: CountWord,
}

impl Watch {
    pub(crate) const EMPTY: Self =
        Self { state: SlaState::Unknown, changed: 0, kept: 0, raised: 0, cleared: 0 };

    /// Goes on to what was found at the tick `now`. Whether the state was raised or cleared by it; it is cleared once the limit
    /// has been kept for `hold` ticks.
    pub(crate) fn step(&mut self, found: SlaState, now: u64, hold: u64) -> bool {
        match (self.state, found) {
            // That too little is known says nothing against a violation, nor against what kept the limit before: of what happens
            // seldom, one sample is gone from the window before the next one comes.
            (SlaState::Violated, SlaState::Unknown) => false,
            (SlaState::Violated, SlaState::Violated) => {
                self.kept = 0;
                false
            }
            (SlaState::Violated, SlaState::Ok) => {
                if self.kept == 0 {
                    self.kept = now.saturating_add(1);
                }
                let is_over = now.saturating_sub(self.kept - 1) >= hold;
                if is_over {
                    counter_width::count(&mut self.cleared, 1);
                    self.change(SlaState::Ok, now);
                }
                is_over
            }
            (_, SlaState::Violated) => {
                counter_width::count(&mut self.raised, 1);
                self.change(SlaState::Violated, now);
                true
            }
            (_, found) => {
                self.state = found;
                false
            }
        }
    }

    fn change(&mut self, state: SlaState, now: u64) {
        self.state = state;
        self.changed = now.saturating_add(1);
        self.kept = 0;
    }

    /// The clock began again: since when the limit is kept is not known any more.
    pub(crate) fn begin_anew(&mut self) {
        self.kept = 0;
    }

    /// The tick of its last change.
    pub(crate) const fn since(&self) -> Option<u64> {
        self.changed.checked_sub(1)
    }
}

/// A limit on a quantile that is watched. All zero in a free place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rule {
    /// Where its own window stands: a rule watches windows of which no statistics are told as well.
    pub(crate) window: Window,
    /// The largest value, as it is counted inside, that keeps the limit.
    pub(crate) most: u64,
    /// The limit as it was given.
    limit: u64,
    quantile_ppm: u32,
    min_samples: u32,
    /// One more than its event's row; 0 in a free place.
    pub(crate) row: u16,
    /// The number of the event's next rule, or [`NO_RULE`].
    pub(crate) next: u16,
    pub(crate) watch: Watch,
    /// The weight of the spans that are in flight and over the limit.
    pub(crate) hung: u64,
    /// What was counted when it was looked at last, hung spans included.
    pub(crate) count: u64,
    pub(crate) over: u64,
}

impl Rule {
    pub(crate) const EMPTY: Self = Self {
        window: Window::EMPTY,
        most: 0,
        limit: 0,
        quantile_ppm: 0,
        min_samples: 0,
        row: 0,
        next: NO_RULE,
        watch: Watch::EMPTY,
        hung: 0,
        count: 0,
        over: 0,
    };

    /// A rule that begins to watch at `now`, `window` being the threshold's.
    pub(crate) fn new(
        row: u16,
        threshold: &Threshold,
        window: Window,
        unit: Unit,
        time: TimeUnit,
    ) -> Self {
        Self {
            window,
            most: match unit {
                Unit::Time => time.units_told_as(threshold.limit),
                Unit::One => threshold.limit,
            },
            limit: threshold.limit,
            quantile_ppm: threshold.quantile.ppm(),
            min_samples: threshold.min_samples,
            row,
            ..Self::EMPTY
        }
    }

    /// What it watches.
    pub(crate) fn threshold(&self) -> Threshold {
        Threshold {
            quantile: Quantile::from_ppm(self.quantile_ppm).unwrap_or(Quantile::MAX),
            limit: self.limit,
            window: self.window.length(),
            min_samples: self.min_samples,
        }
    }

    /// Whether more samples exceed the limit than the quantile leaves above itself, by what was counted last.
    pub(crate) fn is_broken(&self) -> bool {
        let rank = self.threshold().quantile.rank(self.count);
        self.count > 0 && self.over > self.count - rank
    }

    /// Judges what its slices counted, together with the hung spans, at the tick `now`. Whether the state was raised or cleared.
    pub(crate) fn judge(&mut self, slices: &[Tally], now: u64) -> bool {
        let mut tally = Tally::EMPTY;
        for slice in slices {
            tally.merge(slice);
        }
        self.count = tally.weight.saturating_add(self.hung);
        self.over = tally.over.saturating_add(self.hung);
        let is_broken = self.is_broken();
        let is_enough = self.count > 0 && tally.samples >= u64::from(self.min_samples);
        let found = match (is_broken, is_enough) {
            (true, true) => SlaState::Violated,
            (true, false) if self.hung > 0 => SlaState::Violated,
            (false, true) => SlaState::Ok,
            (_, false) => SlaState::Unknown,
        };
        self.watch.step(found, now, self.window.slice_ticks())
    }
}

/// A limit on silence that is watched. All zero when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Silence {
    /// The longest that keeps the limit; 0 without a limit.
    pub(crate) nanos: u64,
    ticks: u64,
    pub(crate) watch: Watch,
}

impl Silence {
    pub(crate) const EMPTY: Self = Self { nanos: 0, ticks: 0, watch: Watch::EMPTY };

    pub(crate) fn new(nanos: u64, rate: TickRate) -> Self {
        Self { nanos, ticks: rate.ticks_in_nanos(nanos), watch: Watch::EMPTY }
    }

    /// Judges at the tick `now` how long it had been, as of the tick `as_of`, since something was `seen`. Whether the state was
    /// raised or cleared.
    pub(crate) fn judge(&mut self, seen: Option<u64>, as_of: u64, now: u64) -> bool {
        if self.nanos == 0 {
            return false;
        }
        let found = match seen {
            None => SlaState::Unknown,
            Some(seen) if as_of.saturating_sub(seen) > self.ticks => SlaState::Violated,
            Some(_) => SlaState::Ok,
        };
        self.watch.step(found, now, 0)
    }
}

/// The slices of a window of `length` of which no statistics are told: as many as divide it into whole nanoseconds, 12 at most.
fn slices_for(length: Duration, most: usize) -> u16 {
    let most = u16::try_from(most).map_or(SLICES, |most| most.min(SLICES));
    // One that is too long is refused in any slices.
    let nanos = nanos_of(length).unwrap_or(0);
    let divides = |slices: &u16| wide_math::divided(nanos, u64::from(*slices)).1 == 0;
    (1..=most).rev().find(divides).unwrap_or(1)
}

/// The window of a threshold: cut like the one of the same length among `windows`, if there is one.
pub(crate) fn window_for(
    threshold: &Threshold,
    windows: &[Window],
    most_slices: usize,
    rate: TickRate,
    now: u64,
) -> Option<Window> {
    let alike = windows.iter().find(|window| window.length() == threshold.window);
    let slices = alike.map_or_else(|| slices_for(threshold.window, most_slices), Window::slices);
    Window::new(&WindowSpec::new(threshold.window, slices), rate, now, 0)
}

#[cfg(test)]
mod tests {
    use super::{SlaState::*, *};

    #[test]
    fn a_violation_is_raised_at_once_and_cleared_when_the_limit_was_kept_for_a_while() {
        let mut watch = Watch::EMPTY;
        let steps = [
            // (tick, found, changed, state)
            (0, Unknown, false, Unknown),
            (1, Ok, false, Ok),
            (2, Violated, true, Violated),
            (3, Violated, false, Violated),
            (4, Ok, false, Violated),
            (13, Ok, false, Violated),
            (13, Violated, false, Violated), // it begins to be kept anew
            (20, Ok, false, Violated),
            (40, Unknown, false, Violated), // too little to clear it
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
    fn silence_is_broken_by_anything_that_is_seen() {
        let mut silence = Silence::new(100, TickRate::NANOSECONDS);
        let steps = [
            (500, None, Unknown),
            (510, Some(505), Ok),
            (605, Some(505), Ok),
            (606, Some(505), Violated),
        ];
        for (now, seen, state) in steps {
            silence.judge(seen, now, now);
            assert_eq!(silence.watch.state, state, "at {now}");
        }
        assert!(silence.judge(Some(607), 607, 608));
        assert_eq!((silence.watch.state, silence.watch.raised, silence.watch.cleared), (Ok, 1, 1));
    }

    #[test]
    fn a_window_without_statistics_is_cut_evenly() {
        let cut = |nanos, most| slices_for(Duration::from_nanos(nanos), most);
        assert_eq!(
            [cut(60_000_000_000, 12), cut(10_000_000_000, 12), cut(7, 12), cut(13, 12), cut(60, 5)],
            [12, 10, 7, 1, 5]
        );
        assert_eq!(cut(60, 0), 1);
    }
}
