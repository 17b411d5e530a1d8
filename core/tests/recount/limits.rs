//! How limits stand: from lists of samples, by the rules of the design.

use core::time::Duration;

use tailwatch_core::{Limit, SlaState, Threshold};

use crate::numbers::{Cut, Time};

/// A limit's state machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) state: SlaState,
    /// While it is violated: since when the limit has been kept.
    kept: Option<u64>,
    pub(crate) since: Option<u64>,
    pub(crate) raised: u64,
    pub(crate) cleared: u64,
}

impl Machine {
    /// Whether the state was raised or cleared by what was found.
    fn step(&mut self, found: SlaState, now: u64, hold: u64) -> bool {
        let was = self.state;
        if found == SlaState::Violated {
            self.kept = None;
            self.state = found;
            self.raised += u64::from(was != found);
        } else if was != SlaState::Violated {
            self.state = found;
            return false;
        } else if found == SlaState::Ok {
            // Unknown never clears.
            let kept = *self.kept.get_or_insert(now);
            if now - kept >= hold {
                self.state = found;
                self.kept = None;
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

/// A limit on a quantile at work.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) threshold: Threshold,
    pub(crate) cut: Cut,
    /// It counts the samples from this one on.
    pub(crate) from: usize,
    pub(crate) machine: Machine,
    pub(crate) count: u64,
    pub(crate) over: u64,
    pub(crate) hung: u64,
}

impl Watched {
    /// Judges the samples of its window, each a value and a weight, and the weight of the spans that hang over the limit.
    fn judge(&mut self, samples: &[(u64, u64)], hung: u64, now: u64) -> bool {
        let Threshold { limit, min_samples, .. } = self.threshold;
        let sum = |is_meant: &dyn Fn(u64) -> bool| -> u64 {
            samples.iter().filter(|(value, _)| is_meant(*value)).map(|(_, weight)| weight).sum()
        };
        self.hung = hung;
        self.over = sum(&|value| value > limit) + hung;
        self.count = sum(&|_| true) + hung;
        // A span that hangs is not held back by the minimum.
        let is_enough = samples.len() >= min_samples as usize || hung > 0 && self.is_broken();
        let found = match (self.count > 0 && is_enough, self.is_broken()) {
            (false, _) => SlaState::Unknown,
            (true, true) => SlaState::Violated,
            (true, false) => SlaState::Ok,
        };
        self.machine.step(found, now, self.cut.ticks)
    }

    /// `over > n − max(1, ceil(q·n))`.
    pub(crate) fn is_broken(&self) -> bool {
        let n = u128::from(self.count);
        let rank = (n * u128::from(self.threshold.quantile.ppm())).div_ceil(1_000_000).max(1);
        u128::from(self.over) > n - rank.min(n) && n > 0
    }
}

/// A limit on silence at work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet {
    pub(crate) length: Duration,
    pub(crate) machine: Machine,
}

/// The limits of an event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) watched: Vec<Watched>,
    pub(crate) quiet: Option<Quiet>,
}

impl Limits {
    /// Replaces them; what stays as it was keeps its state.
    pub(crate) fn set(&mut self, limits: &[Limit], from: usize, cut: impl Fn(Duration) -> Cut) {
        let before = core::mem::take(self);
        for limit in limits {
            match *limit {
                Limit::Quantile(threshold) => {
                    let kept = before.watched.iter().find(|watched| watched.threshold == threshold);
                    self.watched.push(kept.cloned().unwrap_or_else(|| Watched {
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
                    let kept = before.quiet.filter(|quiet| quiet.length == length);
                    self.quiet =
                        Some(kept.unwrap_or(Quiet { length, machine: Machine::default() }));
                }
            }
        }
    }

    /// Judges them all; tells which were raised or cleared. `samples_of` a limit are those of its window that it counts, and
    /// `hung` the weight of the spans that are older than the number of nanoseconds.
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
            if watched.judge(&samples, hung(watched.threshold.limit), now) {
                changed.push((Limit::Quantile(watched.threshold), watched.machine.state));
            }
        }
        if let Some(quiet) = &mut self.quiet {
            let longest = time.ticks(quiet.length.as_nanos() as u64);
            let found = match seen {
                None => SlaState::Unknown,
                Some(seen) if now - seen > longest => SlaState::Violated,
                Some(_) => SlaState::Ok,
            };
            if quiet.machine.step(found, now, 0) {
                changed.push((Limit::Silence(quiet.length), quiet.machine.state));
            }
        }
        changed
    }

    /// The clock began again: since when they are kept means nothing any more.
    pub(crate) fn begin_anew(&mut self) {
        let machines = self.watched.iter_mut().map(|watched| &mut watched.machine);
        machines
            .chain(self.quiet.as_mut().map(|quiet| &mut quiet.machine))
            .for_each(|machine| machine.kept = None);
    }
}

/// Of which window no statistics are told, is cut into as many slices as divide it into whole nanoseconds, 12 at most.
pub(crate) fn slices_of(length: Duration) -> u16 {
    (1..=12_u16).rev().find(|slices| length.as_nanos().is_multiple_of(u128::from(*slices))).unwrap()
}
