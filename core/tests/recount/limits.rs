//! A model of limits: evaluates them from lists of samples, by definition.

use core::time::Duration;

use tailwatch_core::{Limit, MinSamples, SlaState, Threshold};

use crate::{
    definitions::{Cut, Time},
    model::Sample,
};

/// The state machine of a limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) state: SlaState,
    /// While violated: the tick since which every evaluation has found the event within the limit.
    within_since: Option<u64>,
    /// While violated, and not raised yet: the tick since which no evaluation has found the event
    /// within the limit.
    over_since: Option<u64>,
    /// Whether the present violation was raised.
    is_raised: bool,
    /// The tick at which a violation was last raised or cleared.
    pub(crate) since: Option<u64>,
    pub(crate) raised: u64,
    pub(crate) cleared: u64,
}

impl Machine {
    /// Takes the result of an evaluation into account: the state that follows from the present
    /// samples alone. Returns whether a violation was raised or cleared. A violation is raised when
    /// it has lasted for `raise`, and ends when the event has been within the limit for `hold`.
    fn step(&mut self, found: SlaState, now: u64, raise: u64, hold: u64) -> bool {
        let was = (self.raised, self.cleared);
        if found == SlaState::Violated {
            self.within_since = None;
            self.state = found;
        } else if self.state != SlaState::Violated {
            self.state = found;
        } else if found == SlaState::Ok {
            // An unknown state never ends a violation.
            let since = *self.within_since.get_or_insert(now);
            if now - since >= hold {
                self.state = found;
                self.within_since = None;
                self.cleared += u64::from(self.is_raised);
                self.is_raised = false;
            }
        }
        if self.state != SlaState::Violated || self.within_since.is_some() {
            self.over_since = None;
        } else if !self.is_raised && now - *self.over_since.get_or_insert(now) >= raise {
            self.is_raised = true;
            self.raised += 1;
        }
        let is_changed = was != (self.raised, self.cleared);
        if is_changed {
            self.since = Some(now);
        }
        is_changed
    }
}

/// How a limit counts a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    weight: u64,
    exceeds: bool,
    /// Whether it is of a failed span that no summary covers.
    is_failed: bool,
}

/// A limit on a quantile or on the error rate, as it is evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) limit: Limit,
    pub(crate) threshold: Threshold,
    pub(crate) cut: Cut,
    /// The index, in the list of all samples, of the first sample that the limit counts.
    pub(crate) from: usize,
    pub(crate) machine: Machine,
    /// The weight of all samples in the window, including hung spans.
    pub(crate) count: u64,
    /// The weight of the samples that exceed the threshold, including hung spans.
    pub(crate) over: u64,
    /// The part of `over` that is of failed spans which no summary covers.
    pub(crate) failed: u64,
    /// The weight of the open spans that are older than the threshold.
    pub(crate) hung: u64,
}

impl Watched {
    /// Returns how the limit counts this sample; `None` if it ignores it.
    pub(crate) fn count(&self, sample: &Sample) -> Option<Counted> {
        let (value, weight) = sample.weighted();
        let max = self.threshold.max;
        match self.limit {
            Limit::Errors(_) => {
                Some(Counted { weight, exceeds: sample.has_failed(), is_failed: false })
            }
            _ if sample.is_covered() => {
                Some(Counted { weight, exceeds: value > max, is_failed: false })
            }
            _ => (value > max).then_some(Counted { weight, exceeds: true, is_failed: true }),
        }
    }

    /// Evaluates the limit at tick `now`. `samples` are those in its window, and `hung` is the
    /// weight of the open spans that are older than the threshold. Returns whether a violation was
    /// raised or cleared.
    fn evaluate(&mut self, samples: &[Counted], hung: u64, now: u64, time: Time) -> bool {
        let Threshold { quantile, min_samples, .. } = self.threshold;
        let sum = |is_counted: fn(&Counted) -> bool| -> u64 {
            samples.iter().filter(|sample| is_counted(sample)).map(|sample| sample.weight).sum()
        };
        let hung = if matches!(self.limit, Limit::Errors(_)) { 0 } else { hung };
        self.hung = hung;
        self.over = sum(|sample| sample.exceeds) + hung;
        self.failed = sum(|sample| sample.exceeds && sample.is_failed);
        self.count = sum(|_| true) + hung;
        let exceeds = self.quantile_exceeds_threshold();
        let (is_enough, exceeds) = match min_samples {
            // The minimum does not apply to a violation that involves hung spans.
            MinSamples::Count(least) => {
                (samples.len() >= least as usize || hung > 0 && exceeds, exceeds)
            }
            // The missing samples are within the threshold. If even then it is exceeded, more
            // samples are not needed.
            MinSamples::Auto => {
                let (recorded, least) = (samples.len() as u64, needed_samples(quantile.ppm()));
                let missing = least.saturating_sub(recorded + hung);
                let exceeds = exceeds_threshold(quantile.ppm(), self.over, self.count + missing);
                (recorded >= least || exceeds, exceeds)
            }
        };
        let found = match (self.count > 0 && is_enough, exceeds) {
            (false, _) => SlaState::Unknown,
            (true, true) => SlaState::Violated,
            (true, false) => SlaState::Ok,
        };
        let ticks = |delay: Duration| time.ticks(delay.as_nanos() as u64);
        let clear = self.threshold.clear_after.map_or(self.cut.slice_ticks, ticks);
        self.machine.step(found, now, ticks(self.threshold.raise_after), clear)
    }

    /// Returns whether more samples exceed the threshold than come after the quantile's rank:
    /// `over > n − max(1, ceil(q·n))`.
    pub(crate) fn quantile_exceeds_threshold(&self) -> bool {
        exceeds_threshold(self.threshold.quantile.ppm(), self.over, self.count)
    }
}

/// Returns whether `over` samples of `n` exceed a threshold on the quantile of this many ppm.
pub(crate) fn exceeds_threshold(ppm: u32, over: u64, n: u64) -> bool {
    let n = u128::from(n);
    let rank = (n * u128::from(ppm)).div_ceil(1_000_000).max(1);
    u128::from(over) > n - rank.min(n) && n > 0
}

/// Returns the least number of samples of which one may exceed a threshold on the quantile of this
/// many ppm without violating it; 1 if there is none.
fn needed_samples(ppm: u32) -> u64 {
    let share = 1_000_000 - u64::from(ppm);
    (1..=1_000_000).find(|n| n * share >= 1_000_000).unwrap_or(1)
}

/// A limit on silence, as it is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchedSilence {
    /// The longest allowed silence.
    pub(crate) length: Duration,
    pub(crate) machine: Machine,
}

/// The limits of an event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) watched: Vec<Watched>,
    pub(crate) silence: Option<WatchedSilence>,
}

impl Limits {
    /// Replaces the limits. Those that remain keep their state. New ones count the samples from the
    /// index `from` on, and `cut` returns how their windows are cut into slices.
    pub(crate) fn set(&mut self, limits: &[Limit], from: usize, cut: impl Fn(Duration) -> Cut) {
        let before = core::mem::take(self);
        for limit in limits {
            match *limit {
                Limit::Quantile(threshold) | Limit::Errors(threshold) => {
                    let unchanged = before.watched.iter().find(|watched| watched.limit == *limit);
                    self.watched.push(unchanged.cloned().unwrap_or_else(|| Watched {
                        limit: *limit,
                        threshold,
                        cut: cut(threshold.window),
                        from,
                        machine: Machine::default(),
                        count: 0,
                        over: 0,
                        failed: 0,
                        hung: 0,
                    }));
                }
                Limit::Silence(length) => {
                    let unchanged = before.silence.filter(|silence| silence.length == length);
                    self.silence = Some(
                        unchanged.unwrap_or(WatchedSilence { length, machine: Machine::default() }),
                    );
                }
            }
        }
    }

    /// Evaluates all limits at tick `now`. Returns those of which a violation was raised or
    /// cleared.
    ///
    /// `seen` is the tick of the event's last record. `samples_of` returns the samples that a limit
    /// counts in its window, and `hung` the weight of the open spans that are older than a number
    /// of nanoseconds.
    pub(crate) fn watch(
        &mut self,
        now: u64,
        seen: Option<u64>,
        time: Time,
        samples_of: impl Fn(&Watched) -> Vec<Counted>,
        hung: impl Fn(u64) -> u64,
    ) -> Vec<(Limit, SlaState)> {
        let mut changed = vec![];
        for watched in &mut self.watched {
            let samples = samples_of(watched);
            if watched.evaluate(&samples, hung(watched.threshold.max), now, time) {
                changed.push((watched.limit, watched.machine.state));
            }
        }
        if let Some(silence) = &mut self.silence {
            let longest = time.ticks(silence.length.as_nanos() as u64);
            let found = match seen {
                None => SlaState::Unknown,
                Some(seen) if now - seen > longest => SlaState::Violated,
                Some(_) => SlaState::Ok,
            };
            if silence.machine.step(found, now, 0, 0) {
                changed.push((Limit::Silence(silence.length), silence.machine.state));
            }
        }
        changed
    }

    /// Makes the delays of violations begin anew: the ticks of a restarted clock cannot be
    /// compared with older ones.
    pub(crate) fn restart_clock(&mut self) {
        let machines = self.watched.iter_mut().map(|watched| &mut watched.machine);
        machines
            .chain(self.silence.as_mut().map(|silence| &mut silence.machine))
            .for_each(|machine| (machine.within_since, machine.over_since) = (None, None));
    }
}

/// Returns the number of slices of a window that is used by limits only: the largest number up to
/// 12 for which the length of a slice is a whole number of nanoseconds.
pub(crate) fn slices_of(length: Duration) -> u16 {
    (1..=12_u16).rev().find(|slices| length.as_nanos().is_multiple_of(u128::from(*slices))).unwrap()
}
