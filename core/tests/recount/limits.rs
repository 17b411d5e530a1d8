//! A model of limits: evaluates them from lists of samples, by definition.

use core::time::Duration;

use tailwatch_core::{Limit, SlaState, Threshold};

use crate::definitions::{Cut, Time};

/// The state machine of a limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) state: SlaState,
    /// While violated: since when the limit has not been exceeded.
    within_since: Option<u64>,
    pub(crate) since: Option<u64>,
    pub(crate) raised: u64,
    pub(crate) cleared: u64,
}

impl Machine {
    /// Advances to the state `found`. Returns whether the limit was raised or cleared.
    fn step(&mut self, found: SlaState, now: u64, hold: u64) -> bool {
        let was = self.state;
        if found == SlaState::Violated {
            self.within_since = None;
            self.state = found;
            self.raised += u64::from(was != found);
        } else if was != SlaState::Violated {
            self.state = found;
            return false;
        } else if found == SlaState::Ok {
            // An unknown state never clears a violation.
            let since = *self.within_since.get_or_insert(now);
            if now - since >= hold {
                self.state = found;
                self.within_since = None;
                self.cleared += 1;
            }
        }
        let is_changed = was != self.state;
        if is_changed {
            self.since = Some(now);
        }
        is_changed
    }
}

/// A watched limit on a quantile.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) threshold: Threshold,
    pub(crate) cut: Cut,
    /// It counts the samples from this index on.
    pub(crate) from: usize,
    pub(crate) machine: Machine,
    pub(crate) count: u64,
    pub(crate) over: u64,
    pub(crate) hung: u64,
}

impl Watched {
    /// Evaluates the limit. `samples` are the values and weights in its window, and `hung` is the
    /// weight of the open spans that exceed it.
    fn evaluate(&mut self, samples: &[(u64, u64)], hung: u64, now: u64) -> bool {
        let Threshold { limit, min_samples, .. } = self.threshold;
        let sum = |is_meant: &dyn Fn(u64) -> bool| -> u64 {
            samples.iter().filter(|(value, _)| is_meant(*value)).map(|(_, weight)| weight).sum()
        };
        self.hung = hung;
        self.over = sum(&|value| value > limit) + hung;
        self.count = sum(&|_| true) + hung;
        // The minimum number of samples does not apply to hung spans.
        let is_enough = samples.len() >= min_samples as usize || hung > 0 && self.is_exceeded();
        let found = match (self.count > 0 && is_enough, self.is_exceeded()) {
            (false, _) => SlaState::Unknown,
            (true, true) => SlaState::Violated,
            (true, false) => SlaState::Ok,
        };
        self.machine.step(found, now, self.cut.ticks)
    }

    /// Returns whether `over > n − max(1, ceil(q·n))`.
    pub(crate) fn is_exceeded(&self) -> bool {
        let n = u128::from(self.count);
        let rank = (n * u128::from(self.threshold.quantile.ppm())).div_ceil(1_000_000).max(1);
        u128::from(self.over) > n - rank.min(n) && n > 0
    }
}

/// A watched limit on silence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchedSilence {
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
    /// Replaces the limits. Unchanged ones keep their state.
    pub(crate) fn set(&mut self, limits: &[Limit], from: usize, cut: impl Fn(Duration) -> Cut) {
        let before = core::mem::take(self);
        for limit in limits {
            match *limit {
                Limit::Quantile(threshold) => {
                    let unchanged =
                        before.watched.iter().find(|watched| watched.threshold == threshold);
                    self.watched.push(unchanged.cloned().unwrap_or_else(|| Watched {
                        threshold,
                        cut: cut(threshold.window),
                        from,
                        machine: Machine::default(),
                        count: 0,
                        over: 0,
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

    /// Evaluates all limits. Returns those that were raised or cleared. `samples_of` returns the
    /// samples that a limit counts in its window, and `hung` the weight of the open spans older
    /// than a number of nanoseconds.
    pub(crate) fn watch(
        &mut self,
        now: u64,
        seen: Option<u64>,
        time: Time,
        samples_of: impl Fn(&Watched) -> Vec<(u64, u64)>,
        hung: impl Fn(u64) -> u64,
    ) -> Vec<(Limit, SlaState)> {
        let mut changed = vec![];
        for watched in &mut self.watched {
            let samples = samples_of(watched);
            if watched.evaluate(&samples, hung(watched.threshold.limit), now) {
                changed.push((Limit::Quantile(watched.threshold), watched.machine.state));
            }
        }
        if let Some(silence) = &mut self.silence {
            let longest = time.ticks(silence.length.as_nanos() as u64);
            let found = match seen {
                None => SlaState::Unknown,
                Some(seen) if now - seen > longest => SlaState::Violated,
                Some(_) => SlaState::Ok,
            };
            if silence.machine.step(found, now, 0) {
                changed.push((Limit::Silence(silence.length), silence.machine.state));
            }
        }
        changed
    }

    /// Restarts the hold times: the ticks of a restarted clock cannot be compared with older ones.
    pub(crate) fn restart_clock(&mut self) {
        let machines = self.watched.iter_mut().map(|watched| &mut watched.machine);
        machines
            .chain(self.silence.as_mut().map(|silence| &mut silence.machine))
            .for_each(|machine| machine.within_since = None);
    }
}

/// Returns the number of slices of a window that serves a limit only: the largest up to 12 that
/// divides it into whole nanoseconds.
pub(crate) fn slices_of(length: Duration) -> u16 {
    (1..=12_u16).rev().find(|slices| length.as_nanos().is_multiple_of(u128::from(*slices))).unwrap()
}
