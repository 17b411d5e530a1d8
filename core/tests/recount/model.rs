//! The model: keeps everything in plain lists and computes all results from their definitions.

use core::ops::Range;

use tailwatch_core::{Counters, DiscardReason, Limit, MAX_PAYLOAD, Outcome, Outcomes, SlaState};

use crate::{
    definitions::{Cut, MILLI, Recount, SECOND, Time},
    limits::{Limits, Watched},
    open_spans::{OpenSpans, SpanKey},
    steps::{COVERS_FAILED, EVENTS},
};

/// A recorded duration or number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) event: usize,
    /// The tick at which the sample was recorded; `None` if the sample belongs to no window.
    pub(crate) tick: Option<u64>,
    /// The value in whole nanoseconds, or the plain number.
    pub(crate) value: u64,
    /// The sample has the weight 2^`sampling`.
    pub(crate) sampling: u8,
    /// The tick at which the measured interval began. For a plain number, this is its own tick.
    pub(crate) start: u64,
    pub(crate) source: u16,
    /// The key of the span if the sample is that of an END.
    pub(crate) key: Option<SpanKey>,
    /// How the span ended if the sample is that of an END.
    pub(crate) outcome: Option<Outcome>,
}

impl Sample {
    /// Returns whether the sample is of a failed span.
    pub(crate) fn has_failed(&self) -> bool {
        self.outcome.is_some_and(|outcome| outcome != Outcome::Ok)
    }

    /// Returns whether the summaries of the sample's event cover it.
    pub(crate) fn is_covered(&self) -> bool {
        !self.has_failed() || self.event == COVERS_FAILED
    }

    /// Returns the value and its weight.
    pub(crate) fn weighted(&self) -> (u64, u64) {
        (self.value, 1 << self.sampling)
    }
}

pub(crate) struct Model {
    pub(crate) time: Time,
    /// How the aggregator's windows are cut into slices.
    pub(crate) cuts: Vec<Cut>,
    /// The largest number of bits in the value of a sample.
    value_bits: u32,
    /// How many samples of each event the aggregator buffers.
    buffered: usize,
    /// The time of the current pass.
    pub(crate) now: u64,
    /// The tick of the creation, or that of a restart of the clock if it is lower.
    pub(crate) started: u64,
    /// The number of the current pass.
    pub(crate) pass: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) counters: Counters,
    pub(crate) outcomes: [Outcomes; EVENTS],
    pub(crate) open_spans: OpenSpans,
    /// The tick of the last loss of records.
    lost: Option<u64>,
    /// For each event, the last tick at which sampling may have left out records.
    sampled: [Option<u64>; EVENTS],
    /// For each event, the tick of the newest record.
    pub(crate) seen: [Option<u64>; EVENTS],
    pub(crate) limits: [Limits; EVENTS],
}

impl Model {
    pub(crate) fn new(
        time: Time,
        cuts: Vec<Cut>,
        value_bits: u32,
        buffered: usize,
        entries: usize,
        now: u64,
    ) -> Self {
        Self {
            time,
            cuts,
            value_bits,
            buffered,
            now,
            started: now,
            pass: 0,
            samples: vec![],
            counters: Counters::default(),
            outcomes: [Outcomes::default(); EVENTS],
            open_spans: OpenSpans::new(EVENTS, entries),
            lost: None,
            sampled: [None; EVENTS],
            seen: [None; EVENTS],
            limits: Default::default(),
        }
    }

    /// Returns how many ticks a record may lie ahead of the time of the pass: 10 ms.
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
            for tick in self.seen.iter_mut().chain(&mut self.sampled).flatten() {
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
        self.sampled[event] = Some(self.now);
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
            DiscardReason::Discarded | DiscardReason::HandedOver => (),
            DiscardReason::ClockSteppedBack => self.counters.clock_anomalies += 1,
            DiscardReason::TooLong => self.counters.saturated += 1,
            other => panic!("the model does not know {other:?}"),
        }
    }

    /// Processes a TAG that is not directly behind a DURATION.
    pub(crate) fn tag(&mut self, key: SpanKey) {
        self.counters.orphan_tags += u64::from(!self.open_spans.is_open(key));
    }

    /// Processes a FORGET of an interval of this event that would have ended before its start,
    /// which is at `tick`.
    pub(crate) fn negative_difference(&mut self, event: usize, tick: u64) {
        self.note_activity(event, tick);
        self.counters.negative_differences += 1;
    }

    /// Processes an END. Returns whether it produces a sample.
    pub(crate) fn end(
        &mut self,
        tick: u64,
        key: SpanKey,
        outcome: Outcome,
        length: u64,
        sampling: u8,
        source: u16,
    ) -> bool {
        let outcomes = &mut self.outcomes[key.0];
        match outcome {
            Outcome::Ok => outcomes.ok += 1,
            Outcome::Error => outcomes.error += 1,
            Outcome::Cancelled => outcomes.cancelled += 1,
        }
        self.open_spans.end(key, self.pass);
        self.add_duration(tick, key.0, Some((key, outcome)), length, sampling, source)
    }

    /// Processes a DURATION. Returns whether it produces a sample.
    pub(crate) fn duration(
        &mut self,
        tick: u64,
        event: usize,
        length: u64,
        sampling: u8,
        source: u16,
    ) -> bool {
        if length >= MAX_PAYLOAD {
            self.note_activity(event, tick);
            self.counters.saturated += 1;
            return false;
        }
        self.add_duration(tick, event, None, length, sampling, source)
    }

    fn add_duration(
        &mut self,
        tick: u64,
        event: usize,
        ended: Option<(SpanKey, Outcome)>,
        length: u64,
        sampling: u8,
        source: u16,
    ) -> bool {
        self.note_activity(event, tick);
        if self.time.units(length) >> self.value_bits > 0 {
            self.counters.saturated += 1;
            return false;
        }
        let (value, start) = (self.time.nanos(length), tick.wrapping_sub(length));
        let (key, outcome) = ended.unzip();
        let tick = Some(tick);
        self.add_sample(Sample { event, tick, value, sampling, start, source, key, outcome });
        true
    }

    /// Processes a VALUE. Returns whether it produces a sample.
    pub(crate) fn value(
        &mut self,
        tick: u64,
        event: usize,
        value: u64,
        sampling: u8,
        source: u16,
    ) -> bool {
        self.note_activity(event, tick);
        if value >= MAX_PAYLOAD || value >> self.value_bits > 0 {
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
            outcome: None,
        });
        true
    }

    fn add_sample(&mut self, mut sample: Sample) {
        let tick = sample.tick.unwrap();
        if tick > self.now + self.tolerance() {
            self.counters.clock_anomalies += 1;
            sample.tick = None;
        } else {
            // A tick that is ahead of the time of the pass, but within the tolerance, counts as
            // now.
            let tick = tick.min(self.now);
            sample.tick = Some(tick);
            let cuts_of_limits =
                self.limits[sample.event].watched.iter().map(|watched| &watched.cut);
            self.counters.late += u64::from(
                self.cuts.iter().chain(cuts_of_limits).any(|cut| !cut.holds(tick, self.now)),
            );
        }
        self.samples.push(sample);
    }

    fn of_event(&self, event: usize) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.event == event)
    }

    fn is_in(&self, sample: &Sample, cut: Option<&Cut>) -> bool {
        cut.is_none_or(|cut| sample.tick.is_some_and(|tick| cut.holds(tick, self.now)))
    }

    /// Returns the samples of the event in a window, or all of them if `cut` is `None`. Those of
    /// failed spans are included.
    pub(crate) fn members(&self, event: usize, cut: Option<&Cut>) -> Vec<&Sample> {
        self.of_event(event).filter(|sample| self.is_in(sample, cut)).collect()
    }

    /// Returns the values and weights of the samples in a window, or of all of them, that the
    /// event's summaries cover.
    pub(crate) fn recount(&self, event: usize, cut: Option<&Cut>) -> Recount {
        let covered = |sample: &&Sample| sample.is_covered();
        self.members(event, cut).into_iter().filter(covered).map(Sample::weighted).collect()
    }

    /// Returns the values and weights of the failed spans in a window, or of all of them.
    pub(crate) fn failed(&self, event: usize, cut: Option<&Cut>) -> Recount {
        let failed = |sample: &&Sample| sample.has_failed();
        self.members(event, cut).into_iter().filter(failed).map(Sample::weighted).collect()
    }

    /// Returns whether the sample buffer, which contains the newest samples, still contains all
    /// samples of the window.
    pub(crate) fn is_exact(&self, event: usize, cut: Option<&Cut>) -> bool {
        let covered = || self.of_event(event).filter(|sample| sample.is_covered());
        let gone = covered().count().saturating_sub(self.buffered);
        !covered().take(gone).any(|sample| self.is_in(sample, cut))
    }

    /// Returns the ticks that a window covers, or all ticks since the creation if `cut` is `None`.
    pub(crate) fn covered(&self, cut: Option<&Cut>) -> Range<u64> {
        cut.map_or(0, |cut| cut.start(self.now)).max(self.started)..self.now
    }

    /// Returns whether no record of this time was lost or left out by sampling, and each of
    /// `counted` has a weight of 1.
    pub(crate) fn is_complete(&self, event: usize, cut: Option<&Cut>, counted: &Recount) -> bool {
        let from = self.covered(cut).start;
        let is_in = |tick: Option<u64>| tick.is_some_and(|tick| tick >= from);
        !is_in(self.lost)
            && !is_in(self.sampled[event])
            && counted.0.iter().all(|(_, weight)| *weight == 1)
    }

    /// Returns the samples that a limit may count: those in its window that came after it was set.
    pub(crate) fn counted(&self, event: usize, watched: &Watched) -> Vec<&Sample> {
        let samples = self.samples.iter().skip(watched.from);
        samples
            .filter(|sample| sample.event == event && self.is_in(sample, Some(&watched.cut)))
            .collect()
    }

    /// Evaluates the limits of an event. Returns those of which a violation was raised or cleared.
    pub(crate) fn watch(&mut self, event: usize) -> Vec<(Limit, SlaState)> {
        let mut limits = core::mem::take(&mut self.limits[event]);
        let counted = |watched: &Watched| {
            let samples = self.counted(event, watched).into_iter();
            samples.filter_map(|sample| watched.count(sample)).collect()
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
