//! The model: all records in plain lists, and the results that follow from them by definition.

use core::ops::Range;

use tailwatch_core::{
    Counters, DiscardReason, Limit, MAX_PAYLOAD, Outcome, Outcomes, SlaState, WeightedSample,
};

use crate::{
    definitions::{Cut, MILLI, Recount, SECOND, Time},
    limits::{Limits, Watched},
    open_spans::{OpenSpans, SpanKey},
    steps::EVENTS,
};

/// A recorded duration or number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) event: usize,
    /// When it was measured; `None` if it belongs to no window.
    pub(crate) tick: Option<u64>,
    /// In whole nanoseconds, or as a plain number.
    pub(crate) value: u64,
    pub(crate) sampling: u8,
    pub(crate) start: u64,
    pub(crate) source: u16,
    /// Set for the END of a span.
    pub(crate) key: Option<SpanKey>,
}

impl Sample {
    pub(crate) fn weighted(&self) -> (u64, u64) {
        (self.value, 1 << self.sampling)
    }
}

pub(crate) struct Model {
    pub(crate) time: Time,
    pub(crate) cuts: Vec<Cut>,
    /// How many samples of an event the aggregator buffers.
    buffered: usize,
    pub(crate) now: u64,
    pub(crate) started: u64,
    pub(crate) pass: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) counters: Counters,
    pub(crate) outcomes: [Outcomes; EVENTS],
    pub(crate) open_spans: OpenSpans,
    lost: Option<u64>,
    mark_sampled: [Option<u64>; EVENTS],
    pub(crate) seen: [Option<u64>; EVENTS],
    pub(crate) limits: [Limits; EVENTS],
}

impl Model {
    pub(crate) fn new(time: Time, cuts: Vec<Cut>, buffered: usize, slots: usize, now: u64) -> Self {
        Self {
            time,
            cuts,
            buffered,
            now,
            started: now,
            pass: 0,
            samples: vec![],
            counters: Counters::default(),
            outcomes: [Outcomes::default(); EVENTS],
            open_spans: OpenSpans::new(EVENTS, slots),
            lost: None,
            mark_sampled: [None; EVENTS],
            seen: [None; EVENTS],
            limits: Default::default(),
        }
    }

    /// How far a record may lie ahead of the drain's clock: 10 ms.
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
            // The clock has restarted. Earlier samples belong to no window.
            self.now = now;
            self.started = self.started.min(now);
            self.mark_lost();
            self.samples.iter_mut().for_each(|sample| sample.tick = None);
            self.limits.iter_mut().for_each(Limits::restart_clock);
            for tick in self.seen.iter_mut().chain(&mut self.mark_sampled).flatten() {
                *tick = now.min(*tick);
            }
        }
        self.now = now;
        self.open_spans.abandon(now, self.time.ticks(60 * SECOND));
    }

    pub(crate) fn mark_lost(&mut self) {
        self.lost = Some(self.now);
        self.open_spans.mark_lost(self.now);
    }

    pub(crate) fn mark_sampled(&mut self, event: usize) {
        self.mark_sampled[event] = Some(self.now);
    }

    pub(crate) fn reset_silence(&mut self, event: usize) {
        let silence = &self.limits[event].silence;
        if silence.is_none_or(|silence| silence.machine.state != SlaState::Violated) {
            self.seen[event] = self.seen[event].map(|_| self.now);
        }
    }

    fn note_activity(&mut self, event: usize, tick: u64) {
        self.seen[event] = self.seen[event].max(Some(tick.min(self.now)));
    }

    pub(crate) fn start(&mut self, key: SpanKey, tag: u64, sampling: u8) {
        // A START from the future, or from before the creation, opens no span.
        if key.1 > self.now + self.tolerance() || key.1 + self.tolerance() < self.started {
            self.counters.clock_anomalies += 1;
            return;
        }
        self.note_activity(key.0, key.1);
        self.open_spans.start(key, tag, sampling);
    }

    pub(crate) fn discard(&mut self, key: SpanKey, why: DiscardReason) {
        self.note_activity(key.0, key.1);
        self.open_spans.end(key, self.pass);
        match why {
            DiscardReason::Discarded => (),
            DiscardReason::ClockSteppedBack => self.counters.clock_anomalies += 1,
            DiscardReason::TooLong => self.counters.saturated += 1,
            other => panic!("the model does not know {other:?}"),
        }
    }

    /// Processes an END. Returns whether it is a sample.
    pub(crate) fn end(
        &mut self,
        tick: u64,
        key: SpanKey,
        outcome: Outcome,
        length: u64,
        k: u8,
        source: u16,
    ) -> bool {
        let outcomes = &mut self.outcomes[key.0];
        match outcome {
            Outcome::Ok => outcomes.ok += 1,
            Outcome::Error => outcomes.error += 1,
            Outcome::Cancelled => outcomes.cancelled += 1,
        }
        self.open_spans.end(key, self.pass);
        self.add_duration(tick, key.0, Some(key), length, k, source)
    }

    /// Processes a DURATION. Returns whether it is a sample.
    pub(crate) fn duration(
        &mut self,
        tick: u64,
        event: usize,
        length: u64,
        k: u8,
        source: u16,
    ) -> bool {
        if length >= MAX_PAYLOAD {
            self.note_activity(event, tick);
            self.counters.saturated += 1;
            return false;
        }
        self.add_duration(tick, event, None, length, k, source)
    }

    fn add_duration(
        &mut self,
        tick: u64,
        event: usize,
        key: Option<SpanKey>,
        length: u64,
        sampling: u8,
        source: u16,
    ) -> bool {
        self.note_activity(event, tick);
        if self.time.units(length) >> WeightedSample::VALUE_BITS > 0 {
            self.counters.saturated += 1;
            return false;
        }
        let (value, start) = (self.time.nanos(length), tick.wrapping_sub(length));
        self.add_sample(Sample { event, tick: Some(tick), value, sampling, start, source, key });
        true
    }

    /// Processes a VALUE. Returns whether it is a sample.
    pub(crate) fn value(
        &mut self,
        tick: u64,
        event: usize,
        value: u64,
        sampling: u8,
        source: u16,
    ) -> bool {
        self.note_activity(event, tick);
        if value >= MAX_PAYLOAD || value >> WeightedSample::VALUE_BITS > 0 {
            self.counters.saturated += 1;
            return false;
        }
        self.add_sample(Sample {
            event,
            tick: Some(tick),
            value,
            sampling,
            start: tick,
            source,
            key: None,
        });
        true
    }

    fn add_sample(&mut self, mut sample: Sample) {
        let tick = sample.tick.unwrap();
        if tick > self.now + self.tolerance() {
            self.counters.clock_anomalies += 1;
            sample.tick = None;
        } else {
            // A tick slightly ahead of the drain's clock counts as now.
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

    /// Returns the samples of a window, or all.
    pub(crate) fn members(&self, event: usize, cut: Option<&Cut>) -> Vec<&Sample> {
        self.of_event(event).filter(|sample| self.is_in(sample, cut)).collect()
    }

    pub(crate) fn recount(&self, event: usize, cut: Option<&Cut>) -> Recount {
        self.members(event, cut).into_iter().map(Sample::weighted).collect()
    }

    /// Returns whether the buffer of the newest samples still holds all samples of the window.
    pub(crate) fn is_exact(&self, event: usize, cut: Option<&Cut>) -> bool {
        let gone = self.of_event(event).count().saturating_sub(self.buffered);
        !self.of_event(event).take(gone).any(|sample| self.is_in(sample, cut))
    }

    /// Returns the ticks that a window covers, or all since the creation.
    pub(crate) fn covered(&self, cut: Option<&Cut>) -> Range<u64> {
        cut.map_or(0, |cut| cut.start(self.now)).max(self.started)..self.now
    }

    /// Returns whether nothing of this time was lost or sampled away.
    pub(crate) fn is_complete(&self, event: usize, cut: Option<&Cut>) -> bool {
        let from = self.covered(cut).start;
        let is_in = |tick: Option<u64>| tick.is_some_and(|tick| tick >= from);
        !is_in(self.lost)
            && !is_in(self.mark_sampled[event])
            && self.members(event, cut).iter().all(|sample| sample.sampling == 0)
    }

    /// Returns the samples that a limit counts.
    pub(crate) fn counted(&self, event: usize, watched: &Watched) -> Vec<&Sample> {
        let samples = self.samples.iter().skip(watched.from);
        samples
            .filter(|sample| sample.event == event && self.is_in(sample, Some(&watched.cut)))
            .collect()
    }

    /// Evaluates the limits of an event. Returns those that were raised or cleared.
    pub(crate) fn watch(&mut self, event: usize) -> Vec<(Limit, SlaState)> {
        let mut limits = core::mem::take(&mut self.limits[event]);
        let counted = |watched: &Watched| {
            self.counted(event, watched).into_iter().map(Sample::weighted).collect()
        };
        let hung = |limit: u64| {
            self.open_spans
                .hung(event, |start| self.time.nanos(self.now.saturating_sub(start)) > limit)
        };
        let changed = limits.watch(self.now, self.seen[event], self.time, counted, hung);
        self.limits[event] = limits;
        changed
    }
}
