//! The hot path: what runs in the program that is measured.

use core::{error, fmt};

use crate::{
    Clock, DiscardReason, Event, EventId, Gate, Kind, MAX_PAYLOAD, Outcome, Record, gate::Decision,
    ring::Producer, sync::Cell,
};

/// Whether there is room for code of its own for the usual case, beside that for all of them.
const ROOMY: bool = cfg!(target_pointer_width = "64");

/// Writes what happens in one thread, task or interrupt into its ring.
///
/// A span costs two reads of the clock, six stores and predictable branches. Nothing here panics, allocates, blocks or
/// fails; all of it is wait-free. A recorder takes `&self`, so spans of one recorder nest and overlap freely; it can move
/// to another thread, but not be used by two at once.
///
/// ```
/// use tailwatch_core::{Clock, Event, Gate, Outcome, Recorder, Ring, Slot, TickRate, Trading};
///
/// struct Counter(core::cell::Cell<u64>); // a clock that ticks once a read
/// impl Clock for Counter {
///     fn start(&self) -> u64 { self.0.replace(self.0.get() + 1) }
///     fn end(&self) -> u64 { self.start() }
///     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
/// }
///
/// let gate = Gate::<9>::new();
/// let mut ring = Ring::<[Slot; 64]>::new();
/// let (producer, mut consumer) = ring.split();
/// let recorder = Recorder::new(producer, &gate, Counter(0.into()));
/// {
///     let _handling = recorder.measure(Trading::EventBusHandle);
///     let placing = recorder.measure_tagged(Trading::OrderPlacement, 4711); // nested
///     placing.end(Outcome::Error);
/// }
/// consumer.refresh();
/// let mut kinds = Vec::new();
/// consumer.drain(|record| kinds.push(record.kind().to_string()));
/// assert_eq!(kinds, ["start", "start", "end_error", "end_ok"]);
/// ```
// Where registers are of 32 bits, the usual case and the rare ones share their code: a few instructions more, for half the flash.
#[derive(Debug)]
pub struct Recorder<'r, C, const IDS: usize> {
    producer: Producer<'r>,
    gate: &'r Gate<IDS>,
    clock: C,
    draws: SampleRng,
}

/// The generator that decides which of the events that are sampled are recorded: a linear congruential one, whose high bits are
/// taken (the multiplier is that of PCG; O'Neill, *PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms
/// for Random Number Generation*, 2014). Each pattern of k high bits comes up exactly once in 2^k over its period of 2^32. All
/// generators walk the same cycle; each adds a number of its own, so that no two of them decide alike.
///
/// Not a counter: every n-th of what comes at a beat would show a part of the beat.
#[derive(Debug)]
struct SampleRng(Cell<u32>);

impl SampleRng {
    /// Whether this one of 2^`sampling` is it; `sampling` is 1 to 15.
    #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
    fn draw(&self, sampling: u8, own: usize) -> bool {
        let state = self.0.get().wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        self.0.set(state);
        // Multiplied, because addresses differ in their low bits (Fibonacci hashing; Knuth, TAOCP 3, 6.4).
        let own = (own as u32).wrapping_mul(0x9E37_79B9);
        state.wrapping_add(own) >> (u32::BITS - u32::from(sampling)) == 0
    }
}

/// A span that has begun and is not closed yet: what START hands to END.
///
/// It is plain data, points to no ring and may be closed by another recorder, in another thread, as long as both record
/// into one collector and read one clock. A token that is dropped leaves its span in flight for ever: close it.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "a span whose token is dropped never ends; pass it to `end` or `forget`"]
pub struct Token {
    start: u64,
    /// What all records of the span share; 0 for a span that is not recorded. (As few words as can be, so that a token stays
    /// in registers.)
    span_bits: usize,
}

/// The gate lets nothing of this event through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Disabled {
    /// Whether it is [closed](Gate::close) for good.
    pub is_final: bool,
}

impl fmt::Display for Disabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_final { "the gate is closed for good" } else { "the gate is off" })
    }
}

impl error::Error for Disabled {}

impl Token {
    /// The token of a span that is not recorded: to close it does nothing.
    #[inline]
    pub const fn unrecorded() -> Self {
        Self { start: 0, span_bits: 0 }
    }

    /// Whether the span is recorded.
    #[inline(always)]
    pub const fn is_recorded(&self) -> bool {
        self.span_bits != 0
    }
}

impl<'r, C: Clock, const IDS: usize> Recorder<'r, C, IDS> {
    /// Records into this ring what this gate admits, at the times of this clock.
    #[cfg(not(tailwatch_loom))]
    pub const fn new(producer: Producer<'r>, gate: &'r Gate<IDS>, clock: C) -> Self {
        Self { producer, gate, clock, draws: SampleRng(Cell::new(0)) }
    }

    /// Records into this ring what this gate admits, at the times of this clock.
    #[cfg(tailwatch_loom)]
    pub fn new(producer: Producer<'r>, gate: &'r Gate<IDS>, clock: C) -> Self {
        Self { producer, gate, clock, draws: SampleRng(Cell::new(0)) }
    }

    /// The clock it reads.
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// Begins a span that ends when the guard is dropped.
    #[inline(always)]
    pub fn measure(&self, event: impl Event) -> SpanGuard<'_, 'r, C, IDS> {
        self.measure_tagged(event, 0)
    }

    /// Begins a span with a tag, such as an order's number, of which the low 46 bits are kept.
    #[inline(always)]
    pub fn measure_tagged(&self, event: impl Event, tag: u64) -> SpanGuard<'_, 'r, C, IDS> {
        SpanGuard { recorder: self, token: self.start(event, tag) }
    }

    /// Begins a span that [`end`](Self::end) or [`forget`](Self::forget) closes.
    #[inline(always)]
    pub fn start(&self, event: impl Event, tag: u64) -> Token {
        self.try_start(event, tag).unwrap_or(Token::unrecorded())
    }

    /// As [`start`](Self::start), for adapters, which may count what comes too late.
    ///
    /// # Errors
    /// If the gate turns the event away: what is sampled is not turned away, drawn or not.
    #[inline(always)]
    pub fn try_start(&self, event: impl Event, tag: u64) -> Result<Token, Disabled> {
        let event = event.id();
        let decision = self.gate.decision(event);
        if ROOMY && decision.is_always() {
            Ok(self.begin(event, 0, tag))
        } else if decision.is_off() {
            Err(Disabled { is_final: decision.is_final() })
        } else if ROOMY {
            Ok(self.start_sampled(event, decision, tag))
        } else {
            let sampling = if decision.is_always() { Some(0) } else { self.draw(decision) };
            Ok(sampling.map_or(Token::unrecorded(), |sampling| self.begin(event, sampling, tag)))
        }
    }

    #[inline(always)]
    fn begin(&self, event: EventId, sampling: u8, tag: u64) -> Token {
        let start = self.clock.start();
        self.producer.push(Record::start(start, event, sampling, tag));
        Token { start, span_bits: Record::span_bits(event, sampling) }
    }

    /// A function of its own, so that those who do not sample do not carry it.
    #[inline(never)]
    fn start_sampled(&self, event: EventId, decision: Decision, tag: u64) -> Token {
        match self.draw(decision) {
            Some(sampling) => self.begin(event, sampling, tag),
            None => Token::unrecorded(),
        }
    }

    /// With which sampling `event` is recorded this time; `None` if it is not.
    #[inline(always)]
    fn decide(&self, event: EventId) -> Option<u8> {
        let decision = self.gate.decision(event);
        if decision.is_always() { Some(0) } else { self.draw(decision) }
    }

    #[inline(never)]
    fn draw(&self, decision: Decision) -> Option<u8> {
        let sampling = decision.sampling();
        if decision.is_off() {
            None
        } else if sampling == 0 || self.draws.draw(sampling, core::ptr::from_ref(self).addr()) {
            Some(sampling)
        } else {
            None
        }
    }

    /// Ends a span.
    #[inline(always)]
    pub fn end(&self, token: Token, outcome: Outcome) {
        if !token.is_recorded() {
            return;
        }
        let end = self.clock.end();
        if ROOMY && self.try_end_at(&token, outcome, end) {
            return;
        }
        self.end_at(token, outcome, end);
    }

    /// Ends a span that is recorded at the tick `end`, unless something is rare about it: `false`, and nothing is done. Then
    /// [`end_at`](Self::end_at) does it.
    ///
    /// For adapters, which have rare things of their own and want one cold call for all of them.
    #[inline(always)]
    pub fn try_end_at(&self, token: &Token, outcome: Outcome, end: u64) -> bool {
        let duration = end.wrapping_sub(token.start);
        match self.producer.announced() {
            // One comparison for two cases: an end before the start wraps around to more than a record can carry.
            Some(seq) if duration <= MAX_PAYLOAD => {
                self.producer
                    .push_at(seq, Record::of_span(end, token.span_bits, outcome as u8, duration));
                true
            }
            _ => false,
        }
    }

    /// Ends a span at the tick `end`, read from this recorder's clock.
    #[cfg_attr(target_pointer_width = "64", cold, inline(never))]
    #[expect(clippy::needless_pass_by_value, reason = "a span is closed once")]
    pub fn end_at(&self, token: Token, outcome: Outcome, end: u64) {
        let duration = end.wrapping_sub(token.start);
        if !token.is_recorded() {
            return;
        }
        if duration <= MAX_PAYLOAD {
            return self.producer.push(Record::of_span(
                end,
                token.span_bits,
                outcome as u8,
                duration,
            ));
        }
        // As a signed number, so that a clock that wraps past 2^64 has still gone forward.
        let backwards = duration.cast_signed() < 0;
        self.push_forget(
            &token,
            if backwards { DiscardReason::ClockSteppedBack } else { DiscardReason::TooLong },
        );
    }

    /// Closes a span without a latency.
    #[expect(clippy::needless_pass_by_value, reason = "a span is closed once")]
    pub fn discard(&self, token: Token) {
        self.push_forget(&token, DiscardReason::Discarded);
    }

    fn push_forget(&self, token: &Token, why: DiscardReason) {
        if token.is_recorded() {
            self.producer.push(Record::of_span(
                token.start,
                token.span_bits,
                Kind::Forget as u8,
                why as u64,
            ));
        }
    }

    /// Records a number, such as the length of a queue; 2^46 − 1 and more is counted as saturated, without a
    /// sample. Whether it was recorded, which the gate decides.
    #[inline(always)]
    pub fn value(&self, event: impl Event, value: u64) -> bool {
        let event = event.id();
        let sampling = self.decide(event);
        if let Some(sampling) = sampling {
            self.producer.push(Record::value(self.clock.start(), event, sampling, value));
        }
        sampling.is_some()
    }

    /// Records a duration that was measured elsewhere and ended just now, in ticks; 2^46 − 1 and more is counted as
    /// saturated, without a sample. Whether it was recorded, which the gate decides.
    #[inline(always)]
    pub fn duration(&self, event: impl Event, ticks: u64) -> bool {
        let event = event.id();
        let sampling = self.decide(event);
        if let Some(sampling) = sampling {
            self.producer.push(Record::duration(self.clock.start(), event, sampling, ticks));
        }
        sampling.is_some()
    }
}

/// A span that ends when it is dropped, with [`Outcome::Ok`] unless it is told otherwise.
#[derive(Debug)]
#[must_use = "a span ends when its guard is dropped, which is at once if it is not kept in a variable"]
pub struct SpanGuard<'s, 'r, C: Clock, const IDS: usize> {
    recorder: &'s Recorder<'r, C, IDS>,
    token: Token,
}

impl<C: Clock, const IDS: usize> SpanGuard<'_, '_, C, IDS> {
    /// Ends the span now, with this outcome.
    #[inline(always)]
    pub fn end(mut self, outcome: Outcome) {
        let token = core::mem::replace(&mut self.token, Token::unrecorded());
        self.recorder.end(token, outcome);
    }

    /// Closes the span without a latency.
    pub fn discard(mut self) {
        let token = core::mem::replace(&mut self.token, Token::unrecorded());
        self.recorder.discard(token);
    }
}

impl<C: Clock, const IDS: usize> Drop for SpanGuard<'_, '_, C, IDS> {
    #[inline(always)]
    fn drop(&mut self) {
        let token = core::mem::replace(&mut self.token, Token::unrecorded());
        self.recorder.end(token, Outcome::Ok);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use core::cell::Cell;
    use std::{vec, vec::Vec};

    use super::*;
    use crate::{Ring, Slot, TickRate, Trading};

    #[derive(Debug)]
    struct Script(Cell<u64>);

    impl Clock for &Script {
        fn start(&self) -> u64 {
            self.0.get()
        }
        fn end(&self) -> u64 {
            self.0.get()
        }
        fn rate(&self) -> TickRate {
            TickRate::NANOSECONDS
        }
    }

    /// What is recorded while `work` runs, as (ticks, kind, payload).
    fn recorded(
        work: impl FnOnce(&Recorder<'_, &Script, 9>, &Script, &Gate<9>),
    ) -> Vec<(u64, Kind, u64)> {
        let gate = Gate::<9>::new();
        let mut ring = Ring::<[Slot; 64]>::new();
        let (producer, mut consumer) = ring.split();
        let clock = Script(Cell::new(0));
        work(&Recorder::new(producer, &gate, &clock), &clock, &gate);
        consumer.refresh();
        let mut seen = vec![];
        consumer.drain(|record| seen.push((record.ticks(), record.kind(), record.payload())));
        seen
    }

    #[test]
    fn overlapping_spans_of_one_event_keep_their_own_latency() {
        let seen = recorded(|recorder, clock, _| {
            let first = recorder.start(Trading::OrderFill, 1);
            clock.0.set(10);
            let second = recorder.start(Trading::OrderFill, 2);
            clock.0.set(15);
            recorder.end(first, Outcome::Ok);
            clock.0.set(40);
            recorder.end(second, Outcome::Error);
        });
        let expected = [
            (0, Kind::Start, 1),
            (10, Kind::Start, 2),
            (15, Kind::EndOk, 15),
            (40, Kind::EndError, 30),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_impossible_length_is_forgotten_and_says_why() {
        let seen = recorded(|recorder, clock, _| {
            for (start, end) in [(100, 99), (0, MAX_PAYLOAD + 1), (0, MAX_PAYLOAD), (u64::MAX, 4)] {
                clock.0.set(start);
                let span = recorder.measure(Trading::OrderFill);
                clock.0.set(end);
                drop(span);
            }
        });
        let closing: Vec<_> =
            seen.into_iter().filter(|(_, kind, _)| *kind != Kind::Start).collect();
        let expected = [
            (100, Kind::Forget, DiscardReason::ClockSteppedBack as u64),
            (0, Kind::Forget, DiscardReason::TooLong as u64),
            (MAX_PAYLOAD, Kind::EndOk, MAX_PAYLOAD),
            (4, Kind::EndOk, 5), // across the wrap of the counter
        ];
        assert_eq!(closing, expected);
    }

    #[test]
    fn the_gate_decides_at_start_and_end_inherits_it() {
        let seen = recorded(|recorder, clock, gate| {
            let recorded = recorder.measure(Trading::OrderFill);
            gate.set_enabled(false);
            let unrecorded = recorder.measure(Trading::OrderFill);
            recorder.value(Trading::QueueBacklog, 1);
            recorder.duration(Trading::GcPause, 1);
            gate.set_enabled(true);
            clock.0.set(7);
            drop(unrecorded);
            drop(recorded);
        });
        assert_eq!(seen, [(0, Kind::Start, 0), (7, Kind::EndOk, 7)]);
    }

    /// Of 40,000 spans, 1 in 2^k is recorded, whole, and says so; within 6 standard deviations of a fair coin's.
    #[test]
    fn sampling_takes_its_share_and_end_inherits_it() {
        for k in 1..=8_u8 {
            let (mut starts, mut last) = (0_u64, None);
            for round in 0..2_000 {
                let seen = recorded(|recorder, clock, gate| {
                    // Or every round would draw the same.
                    recorder.draws.0.set(1 + round * 77_777);
                    gate.set_sampling(Trading::OrderFill.id(), k);
                    for _ in 0..20 {
                        let span = recorder.measure(Trading::OrderFill);
                        clock.0.set(clock.0.get() + 1);
                        // The decision is that of the START.
                        gate.set_sampling(Trading::OrderFill.id(), 0);
                        drop(span);
                        gate.set_sampling(Trading::OrderFill.id(), k);
                    }
                });
                for (ticks, kind, payload) in seen {
                    match kind {
                        Kind::Start => {
                            starts += 1;
                            last = Some(ticks);
                        }
                        _ => assert_eq!(
                            (kind, last.take(), payload),
                            (Kind::EndOk, Some(ticks - 1), 1)
                        ),
                    }
                }
                assert_eq!(last, None, "an END for each START");
            }
            let p = 0.5_f64.powi(i32::from(k));
            let deviation = (40_000.0 * p * (1.0 - p)).sqrt();
            assert!(
                (starts as f64 - 40_000.0 * p).abs() < 6.0 * deviation,
                "1 in 2^{k}: {starts} of 40,000"
            );
        }
    }

    #[test]
    fn a_sampled_number_carries_its_weight() {
        let gate = Gate::<9>::new();
        let mut ring = Ring::<[Slot; 64]>::new();
        let (producer, mut consumer) = ring.split();
        let clock = Script(Cell::new(0));
        let recorder = Recorder::new(producer, &gate, &clock);
        gate.set_sampling(Trading::QueueBacklog.id(), 2);
        let taken = (0..40).filter(|n| recorder.value(Trading::QueueBacklog, *n)).count();
        consumer.refresh();
        let mut seen = 0;
        consumer.drain(|record| {
            assert_eq!(record.sampling(), 2);
            seen += 1;
        });
        assert_eq!(seen, taken);
        assert!((1..30).contains(&taken), "1 in 4 of 40: {taken}");
    }

    #[test]
    fn a_discarded_span_is_closed_once() {
        let seen = recorded(|recorder, _, _| {
            recorder.measure(Trading::OrderFill).discard();
            recorder.measure(Trading::OrderFill).end(Outcome::Cancelled);
        });
        let expected = [
            (0, Kind::Start, 0),
            (0, Kind::Forget, 0),
            (0, Kind::Start, 0),
            (0, Kind::EndCancelled, 0),
        ];
        assert_eq!(seen, expected);
    }
}
