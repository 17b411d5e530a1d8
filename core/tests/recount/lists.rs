//! What the aggregator is told, kept in plain lists, and what follows from it by the design.

use core::ops::Range;

use tailwatch_core::{
    Counters, DiscardReason, Limit, MAX_PAYLOAD, Outcome, Outcomes, SlaState, WeightedSample,
};

use crate::{
    flights::{Flights, Kind},
    limits::{Limits, Watched},
    numbers::{Cut, MILLI, Recount, SECOND, Time},
    steps::EVENTS,
};

/// A duration or number that was recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) event: usize,
    /// When it was measured; `None` if it belongs to no window.
    pub(crate) tick: Option<u64>,
    pub(crate) told: u64,
    pub(crate) sampling: u8,
    pub(crate) start: u64,
    pub(crate) source: u16,
    /// Of the END of a span.
    pub(crate) kind: Option<Kind>,
}

impl Sample {
    pub(crate) fn weighted(&self) -> (u64, u64) {
        (self.told, 1 << self.sampling)
    }
}

pub(crate) struct Lists {
    pub(crate) time: Time,
    pub(crate) cuts: Vec<Cut>,
    /// How many samples of an event are kept.
    kept: usize,
    pub(crate) now: u64,
    pub(crate) started: u64,
    pub(crate) pass: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) counters: Counters,
    pub(crate) outcomes: [Outcomes; EVENTS],
    pub(crate) flights: Flights,
    lost: Option<u64>,
    sampled_away: [Option<u64>; EVENTS],
    pub(crate) seen: [Option<u64>; EVENTS],
    pub(crate) limits: [Limits; EVENTS],
}

impl Lists {
    pub(crate) fn new(time: Time, cuts: Vec<Cut>, kept: usize, places: usize, now: u64) -> Self {
        Self {
            time,
            cuts,
            kept,
            now,
            started: now,
            pass: 0,
            samples: vec![],
            counters: Counters::default(),
            outcomes: [Outcomes::default(); EVENTS],
            flights: Flights::new(EVENTS, places),
            lost: None,
            sampled_away: [None; EVENTS],
            seen: [None; EVENTS],
            limits: Default::default(),
        }
    }

    /// By how much a record may be later than the drain's own clock: 10 ms.
    pub(crate) fn tolerance(&self) -> u64 {
        self.time.ticks(10 * MILLI)
    }

    pub(crate) fn begin_pass(&mut self, now: u64) {
        self.pass += 1;
        if now < self.now {
            self.counters.clock_anomalies += 1;
            if self.now - now <= self.tolerance() {
                return;
            }
            // A clock that begins again: what was before belongs to no window.
            self.now = now;
            self.started = self.started.min(now);
            self.mark_lost();
            self.samples.iter_mut().for_each(|sample| sample.tick = None);
            self.limits.iter_mut().for_each(Limits::begin_anew);
            for tick in self.seen.iter_mut().chain(&mut self.sampled_away).flatten() {
                *tick = now.min(*tick);
            }
        }
        self.now = now;
        self.flights.abandon(now, self.time.ticks(60 * SECOND));
    }

    pub(crate) fn mark_lost(&mut self) {
        self.lost = Some(self.now);
        self.flights.mark_lost(self.now);
    }

    pub(crate) fn sampled_away(&mut self, event: usize) {
        self.sampled_away[event] = Some(self.now);
    }

    pub(crate) fn reset_silence(&mut self, event: usize) {
        if self.limits[event].quiet.is_none_or(|quiet| quiet.machine.state != SlaState::Violated) {
            self.seen[event] = self.seen[event].map(|_| self.now);
        }
    }

    fn see(&mut self, event: usize, tick: u64) {
        self.seen[event] = self.seen[event].max(Some(tick.min(self.now)));
    }

    pub(crate) fn start(&mut self, kind: Kind, tag: u64, sampling: u8) {
        // What began in the future, or before the beginning, is no span in flight.
        if kind.1 > self.now + self.tolerance() || kind.1 + self.tolerance() < self.started {
            self.counters.clock_anomalies += 1;
            return;
        }
        self.see(kind.0, kind.1);
        self.flights.start(kind, tag, sampling);
    }

    pub(crate) fn forget(&mut self, kind: Kind, why: DiscardReason) {
        self.see(kind.0, kind.1);
        self.flights.end(kind, self.pass);
        match why {
            DiscardReason::Discarded => (),
            DiscardReason::ClockSteppedBack => self.counters.clock_anomalies += 1,
            DiscardReason::TooLong => self.counters.saturated += 1,
        }
    }

    /// An END. Whether it is a sample.
    pub(crate) fn end(
        &mut self,
        tick: u64,
        kind: Kind,
        outcome: Outcome,
        length: u64,
        k: u8,
        source: u16,
    ) -> bool {
        let outcomes = &mut self.outcomes[kind.0];
        match outcome {
            Outcome::Ok => outcomes.ok += 1,
            Outcome::Error => outcomes.error += 1,
            Outcome::Cancelled => outcomes.cancelled += 1,
        }
        self.flights.end(kind, self.pass);
        self.length(tick, kind.0, Some(kind), length, k, source)
    }

    /// A DURATION. Whether it is a sample.
    pub(crate) fn duration(
        &mut self,
        tick: u64,
        event: usize,
        length: u64,
        k: u8,
        source: u16,
    ) -> bool {
        if length >= MAX_PAYLOAD {
            self.see(event, tick);
            self.counters.saturated += 1;
            return false;
        }
        self.length(tick, event, None, length, k, source)
    }

    fn length(
        &mut self,
        tick: u64,
        event: usize,
        kind: Option<Kind>,
        length: u64,
        sampling: u8,
        source: u16,
    ) -> bool {
        self.see(event, tick);
        if self.time.units(length) >> WeightedSample::VALUE_BITS > 0 {
            self.counters.saturated += 1;
            return false;
        }
        let (told, start) = (self.time.told(length), tick.wrapping_sub(length));
        self.sample(Sample { event, tick: Some(tick), told, sampling, start, source, kind });
        true
    }

    /// A VALUE. Whether it is a sample.
    pub(crate) fn value(
        &mut self,
        tick: u64,
        event: usize,
        told: u64,
        sampling: u8,
        source: u16,
    ) -> bool {
        self.see(event, tick);
        if told >= MAX_PAYLOAD || told >> WeightedSample::VALUE_BITS > 0 {
            self.counters.saturated += 1;
            return false;
        }
        self.sample(Sample {
            event,
            tick: Some(tick),
            told,
            sampling,
            start: tick,
            source,
            kind: None,
        });
        true
    }

    fn sample(&mut self, mut sample: Sample) {
        let tick = sample.tick.unwrap();
        if tick > self.now + self.tolerance() {
            self.counters.clock_anomalies += 1;
            sample.tick = None;
        } else {
            // A little later than the drain's clock is now.
            let tick = tick.min(self.now);
            sample.tick = Some(tick);
            let of_limits = self.limits[sample.event].watched.iter().map(|watched| &watched.cut);
            self.counters.late +=
                u64::from(self.cuts.iter().chain(of_limits).any(|cut| !cut.holds(tick, self.now)));
        }
        self.samples.push(sample);
    }

    fn of_event(&self, event: usize) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.event == event)
    }

    fn is_in(&self, sample: &Sample, cut: Option<&Cut>) -> bool {
        cut.is_none_or(|cut| sample.tick.is_some_and(|tick| cut.holds(tick, self.now)))
    }

    /// The samples of a window, or all.
    pub(crate) fn members(&self, event: usize, cut: Option<&Cut>) -> Vec<&Sample> {
        self.of_event(event).filter(|sample| self.is_in(sample, cut)).collect()
    }

    pub(crate) fn recount(&self, event: usize, cut: Option<&Cut>) -> Recount {
        self.members(event, cut).into_iter().map(Sample::weighted).collect()
    }

    /// Whether no sample of the window is gone from the newest ones of its event, of which so many are kept.
    pub(crate) fn is_exact(&self, event: usize, cut: Option<&Cut>) -> bool {
        let gone = self.of_event(event).count().saturating_sub(self.kept);
        !self.of_event(event).take(gone).any(|sample| self.is_in(sample, cut))
    }

    /// The time that a window covers, or all since the start, in ticks.
    pub(crate) fn covered(&self, cut: Option<&Cut>) -> Range<u64> {
        cut.map_or(0, |cut| cut.start(self.now)).max(self.started)..self.now
    }

    /// Whether nothing was lost or sampled away in its time.
    pub(crate) fn is_complete(&self, event: usize, cut: Option<&Cut>) -> bool {
        let from = self.covered(cut).start;
        let is_in = |tick: Option<u64>| tick.is_some_and(|tick| tick >= from);
        !is_in(self.lost)
            && !is_in(self.sampled_away[event])
            && self.members(event, cut).iter().all(|sample| sample.sampling == 0)
    }

    /// The samples that a limit counts.
    pub(crate) fn counted(&self, event: usize, watched: &Watched) -> Vec<&Sample> {
        let samples = self.samples.iter().skip(watched.from);
        samples
            .filter(|sample| sample.event == event && self.is_in(sample, Some(&watched.cut)))
            .collect()
    }

    /// Judges the limits of an event; tells which were raised or cleared.
    pub(crate) fn watch(&mut self, event: usize) -> Vec<(Limit, SlaState)> {
        let mut limits = core::mem::take(&mut self.limits[event]);
        let counted = |watched: &Watched| {
            self.counted(event, watched).into_iter().map(Sample::weighted).collect()
        };
        let hung = |limit: u64| {
            self.flights.hung(event, |start| self.time.told(self.now.saturating_sub(start)) > limit)
        };
        let changed = limits.watch(self.now, self.seen[event], self.time, counted, hung);
        self.limits[event] = limits;
        changed
    }
}
