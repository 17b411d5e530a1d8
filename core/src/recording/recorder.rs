//! Recording: the code that runs on the measured thread.

#[cfg(not(tailwatch_loom))]
use crate::ring::Ring;
use crate::{
    arithmetic,
    clock::Clock,
    event::{Event, EventId},
    record::{DiscardReason, Kind, MAX_PAYLOAD, Outcome, Record, TAG_NUMBER},
    recording::{
        copies::{Copies, NoCopies, SameRing, ThreadCopies},
        gate::{Decision, Gate},
        token::Token,
    },
    ring::producer::Producer,
    sync::Cell,
};

/// Whether the usual case (every occurrence of the event is recorded, and the duration fits an END)
/// comes first and, at the END, has code of its own in addition to the general code. Targets with
/// 32-bit registers have only the general code: a span then takes a few more instructions, but its
/// code takes half as much flash.
const FAST_PATH: bool = arithmetic::HAS_64_BIT_REGISTERS;

/// Records the events of one thread, task or interrupt into a [`Ring`](crate::Ring) of its own.
///
/// Recording is wait-free, and it never panics, allocates or blocks. A record that the gate admits
/// and sampling selects is always written: once the ring is full, it overwrites the oldest record.
/// On a 64-bit target, a span takes two reads of the clock, three stores for each of its two
/// records and one more for every [batch](crate::ring), and predictable branches.
///
/// `C` is the type of the clock. `IDS` is the length of the [`Gate`], usually the largest id + 1.
/// `K` is what the recorder keeps copies of: nothing, or [all that a span reads](ThreadCopies),
/// which takes one more store for each record.
///
/// All methods take `&self`, so the spans of one recorder may nest and overlap. A recorder can move
/// to another thread, but two threads cannot use it at once.
///
/// ```
/// use tailwatch_core::{Clock, Event, Gate, Outcome, Recorder, Ring, Slot, TickRate, Trading};
///
/// struct CountingClock(core::cell::Cell<u64>); // a clock that advances by one tick at every read
/// impl Clock for CountingClock {
///     fn start(&self) -> u64 { self.0.replace(self.0.get() + 1) }
///     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
/// }
///
/// let gate = Gate::<9>::new();
/// let mut ring = Ring::<[Slot; 64]>::new();
/// let (producer, mut consumer) = ring.split();
/// let recorder = Recorder::new(producer, &gate, CountingClock(0.into()));
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
#[derive(Debug)]
// In this order, so that all that a span of an event with a low id reads is in the first 64 bytes.
#[repr(C)]
pub struct Recorder<'r, C, const IDS: usize, K = NoCopies> {
    producer: Producer<'r>,
    gate: &'r Gate<IDS>,
    clock: C,
    rng: SampleRng,
    copies: K,
}

/// The random number generator that selects which occurrences of a sampled event are recorded.
///
/// It is a linear congruential generator with a state of 32 bits, whose high bits are used. The
/// multiplier is that of PCG (O'Neill, *PCG: A Family of Simple Fast Space-Efficient Statistically
/// Good Algorithms for Random Number Generation*, 2014). Over the period of 2^32 draws, each
/// pattern of k high bits comes up in exactly 1 of 2^k draws.
///
/// All generators walk the same cycle, and start at the same state unless the adapter gives each a
/// seed. Each adds a salt, the address of its recorder, so that two recorders do not select the
/// same occurrences.
///
/// A counter would be cheaper. But if it recorded every n-th occurrence of an event that repeats a
/// pattern, it could hit the same part of the pattern every time.
#[derive(Debug)]
struct SampleRng(Cell<u32>);

impl SampleRng {
    /// Returns `true` with a probability of 1 in 2^`sampling`. `sampling` must be 1 to 15.
    #[expect(clippy::cast_possible_truncation, reason = "any bits of an address will do")]
    fn draw(&self, sampling: u8, salt: usize) -> bool {
        let state = self.0.get().wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        self.0.set(state);
        // The salt is an address, and addresses differ mostly in their low bits. Only high bits are
        // used below, so the multiplication spreads the difference to them (Fibonacci hashing;
        // Knuth, TAOCP volume 3, section 6.4).
        let salt = (salt as u32).wrapping_mul(0x9E37_79B9);
        state.wrapping_add(salt) >> (u32::BITS - u32::from(sampling)) == 0
    }
}

impl<'r, C, const IDS: usize> Recorder<'r, C, IDS> {
    /// Creates a recorder that writes the events that `gate` admits into the ring of `producer`.
    /// The ticks in its records are read from `clock`.
    #[cfg(not(tailwatch_loom))]
    pub const fn new(producer: Producer<'r>, gate: &'r Gate<IDS>, clock: C) -> Self {
        Self { producer, gate, clock, rng: SampleRng(Cell::new(0)), copies: NoCopies }
    }

    /// Creates a recorder that writes the events that `gate` admits into the ring of `producer`.
    /// The ticks in its records are read from `clock`.
    #[cfg(tailwatch_loom)]
    pub fn new(producer: Producer<'r>, gate: &'r Gate<IDS>, clock: C) -> Self {
        Self { producer, gate, clock, rng: SampleRng(Cell::new(0)), copies: NoCopies }
    }

    /// Returns a recorder that keeps [copies](ThreadCopies) of what a span reads.
    ///
    /// From now on, a change of the gate takes effect on events with copies only if
    /// [`ThreadCopies::follow`] is called.
    pub fn with_copies(self) -> Recorder<'r, C, IDS, ThreadCopies> {
        self.with_copies_and(SameRing)
    }

    /// Does the same as [`with_copies`](Self::with_copies). In addition, the recorder moves to a
    /// larger ring whenever it finds one in `larger_ring`.
    ///
    /// ```
    /// use tailwatch_core::{Event, Gate, LargerRing, Producer, Recorder, Ring, Slot, Trading};
    ///
    /// struct Offer(core::cell::Cell<Option<Producer<'static>>>);
    /// impl LargerRing for Offer {
    ///     fn take(&self) -> Option<Producer<'static>> { self.0.take() }
    /// }
    ///
    /// static GATE: Gate<9> = Gate::new();
    /// static SMALL: Ring<[Slot; 8]> = Ring::new(); // a batch of such a ring is one record
    /// static LARGE: Ring<[Slot; 64]> = Ring::new();
    /// let (small, large): (&'static Ring, &'static Ring) = (&SMALL, &LARGE);
    /// let offer = Offer(None.into());
    /// let recorder = Recorder::new(small.attach_producer(), &GATE, ()).with_copies_and(&offer);
    /// recorder.value_at(Trading::QueueBacklog.id(), 0, 1, 100);
    /// offer.0.set(Some(large.attach_producer()));
    /// recorder.value_at(Trading::QueueBacklog.id(), 0, 2, 200);
    /// assert_eq!((small.pending(), large.pending()), (1, 1));
    /// ```
    pub fn with_copies_and<L>(self, larger_ring: L) -> Recorder<'r, C, IDS, ThreadCopies<L>> {
        let Self { producer, gate, clock, rng, copies: NoCopies } = self;
        let copies = ThreadCopies::of(&producer, gate, larger_ring);
        Recorder { producer, gate, clock, rng, copies }
    }
}

impl<'r, C, const IDS: usize, L> Recorder<'r, C, IDS, ThreadCopies<L>> {
    /// Creates a recorder whose copies are those of a closed gate, which a thread-local can begin
    /// with. It admits no event, if `gate` is closed too.
    ///
    /// The recorder is not attached to `ring`, so nothing should be written by it. A record that is
    /// written all the same, such as the END of a span of another recorder, goes into `ring`, and
    /// is torn if something else writes there.
    #[cfg(not(tailwatch_loom))]
    pub const fn closed(ring: &'r Ring, gate: &'r Gate<IDS>, clock: C, larger_ring: L) -> Self {
        Self {
            producer: Producer::unattached(ring),
            gate,
            clock,
            rng: SampleRng(Cell::new(0)),
            copies: ThreadCopies::closed(larger_ring),
        }
    }

    /// Returns the copies that this recorder keeps.
    pub const fn copies(&self) -> &ThreadCopies<L> {
        &self.copies
    }
}

/// What adapters build their hot paths from. The caller reads the clock.
impl<C, const IDS: usize, K: Copies> Recorder<'_, C, IDS, K> {
    /// Seeds the random choice of the occurrences that sampling records.
    ///
    /// Recorders that are created one after the other at the same address begin with the same
    /// choice, unless their seeds differ. If many of them record only a little, as on threads that
    /// end soon, give each a seed of its own, such as the number of recorders before it.
    #[must_use]
    pub fn with_seed(self, seed: u32) -> Self {
        self.rng.0.set(seed);
        self
    }

    /// Returns the clock from which this recorder reads the ticks in its records.
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// Returns whether and how to record `event` at this moment.
    #[inline(always)]
    pub fn decision(&self, event: EventId) -> Decision {
        self.copies.decision(self.gate, event)
    }

    /// Decides whether to record this occurrence of an event. Returns the sampling to write into
    /// its record, or `None` if the occurrence is not recorded. If the event is sampled, the random
    /// number generator decides.
    ///
    /// Not inlined, because most programs do not sample and should not carry this code at every
    /// call site.
    #[inline(never)]
    pub fn decide(&self, decision: Decision) -> Option<u8> {
        let sampling = decision.sampling();
        if decision.is_off() {
            None
        } else if sampling == 0 || self.rng.draw(sampling, core::ptr::from_ref(self).addr()) {
            Some(sampling)
        } else {
            None
        }
    }

    /// Appends a record to the ring.
    #[inline(always)]
    fn push(&self, record: Record) {
        let seq = match self.copies.next_reserved(&self.producer) {
            Some(seq) => seq,
            None => self.copies.reserve(&self.producer),
        };
        self.push_at(seq, record);
    }

    /// Appends a record under the sequence number `seq`, which must be the next one and reserved.
    #[inline(always)]
    fn push_at(&self, seq: usize, record: Record) {
        self.producer.push_at(seq, record);
        self.copies.advance(seq.wrapping_add(1));
    }

    /// Starts a span at the tick `start` by writing its START, whatever the gate says. `sampling`
    /// is the one that [`decide`](Self::decide) returned, or 0 if the decision
    /// [is always](Decision::is_always).
    #[inline(always)]
    pub fn start_at(&self, event: EventId, sampling: u8, tag: u64, start: u64) -> Token {
        self.push(Record::start(start, event, sampling, tag));
        let span_bits = Record::span_bits(event, sampling);
        // SAFETY: no event id is 0. The compiler does not see that in an id that it does not know,
        // and would ask again whether the span is recorded.
        unsafe { core::hint::assert_unchecked(span_bits != 0) };
        Token { start, span_bits }
    }

    /// Records a plain number at the tick `now`, whatever the gate says. `sampling` is as in
    /// [`start_at`](Self::start_at).
    #[inline(always)]
    pub fn value_at(&self, event: EventId, sampling: u8, value: u64, now: u64) {
        self.push(Record::value(now, event, sampling, value));
    }

    /// Records a duration of `ticks` that ended at the tick `now`, whatever the gate says.
    /// `sampling` is as in [`start_at`](Self::start_at).
    #[inline(always)]
    pub fn duration_at(&self, event: EventId, sampling: u8, ticks: u64, now: u64) {
        self.push(Record::duration(now, event, sampling, ticks));
    }

    /// Records a duration of `ticks` that ended at the tick `now`, with a tag, whatever the gate
    /// says. `sampling` is as in [`start_at`](Self::start_at).
    ///
    /// Only the low 46 bits of the tag are recorded. If these are 0, as for a duration that has no
    /// tag, this does the same as [`duration_at`](Self::duration_at). Otherwise it writes a second
    /// record, a [TAG](Kind::Tag), directly behind the DURATION.
    #[inline(always)]
    pub fn duration_tagged_at(&self, event: EventId, sampling: u8, ticks: u64, tag: u64, now: u64) {
        self.duration_at(event, sampling, ticks, now);
        if tag & MAX_PAYLOAD != 0 {
            self.push(Record::tag(now, event, sampling, tag));
        }
    }

    /// Records the interval from the tick `start` to the tick `now` as a duration with a tag,
    /// whatever the gate says. `sampling` is as in [`start_at`](Self::start_at), and the tag as in
    /// [`duration_tagged_at`](Self::duration_tagged_at).
    ///
    /// `start` must come from the clock of this recorder, or one with the same rate and the same
    /// tick 0. If it is after `now`, there is no duration: this writes a [FORGET](Kind::Forget)
    /// that closes no span, and the aggregator counts it in
    /// [`negative_differences`](crate::Counters::negative_differences). An interval of 2^46 − 1
    /// ticks or more gives no sample, like every such DURATION.
    ///
    /// ```
    /// use tailwatch_core::{EventId, Gate, Kind, Recorder, Ring, Slot};
    ///
    /// let (gate, mut ring) = (Gate::<8>::new(), Ring::<[Slot; 64]>::new());
    /// let (producer, mut consumer) = ring.split();
    /// let recorder = Recorder::new(producer, &gate, ());
    /// let event = EventId::new(3).unwrap();
    /// recorder.interval_at(event, 0, 1_000, 4_711, 1_250);
    /// recorder.interval_at(event, 0, 1_000, 4_712, 990);
    ///
    /// let mut records = vec![];
    /// consumer.refresh();
    /// consumer.drain(|record| records.push((record.kind(), record.ticks(), record.payload())));
    /// assert_eq!(
    ///     records,
    ///     [
    ///         (Kind::Duration, 1_250, 250),
    ///         (Kind::Tag, 1_250, 4_711),
    ///         (Kind::Forget, 1_000, 10 << 4 | 4),
    ///     ]
    /// );
    /// ```
    #[inline(always)]
    pub fn interval_at(&self, event: EventId, sampling: u8, start: u64, tag: u64, now: u64) {
        let ticks = now.wrapping_sub(start);
        // One comparison excludes two rare cases, as in `try_end_at`.
        if ticks >= MAX_PAYLOAD {
            return self.push_unusual_interval(event, sampling, start, tag, now);
        }
        self.duration_tagged_at(event, sampling, ticks, tag, now);
    }

    /// Records an interval that would be negative, or is too long for a sample.
    #[cold]
    #[inline(never)]
    fn push_unusual_interval(&self, event: EventId, sampling: u8, start: u64, tag: u64, now: u64) {
        let ticks = now.wrapping_sub(start);
        // The sign of the wrapping difference decides, as in `end_at`.
        if ticks.cast_signed() < 0 {
            let difference = ticks.wrapping_neg();
            self.push(Record::negative_difference(start, event, sampling, difference));
        } else {
            self.duration_tagged_at(event, sampling, ticks, tag, now);
        }
    }

    /// Gives the open span of `token` a second tag, of which only the low 46 bits are recorded.
    /// Does nothing if the token is unrecorded.
    ///
    /// The span keeps the tag of its START where one tag is shown, as in the exemplars. Whoever
    /// reads the records, such as an observer on a host, gets both. The aggregator must have the
    /// START before it reads the tag, as it has if both are in one ring. Otherwise it counts the
    /// tag in [`orphan_tags`](crate::Counters::orphan_tags).
    pub fn tag_at(&self, token: &Token, tag: u64) {
        if token.is_recorded() {
            self.push(Record::of_span(token.start, token.span_bits, TAG_NUMBER, tag));
        }
    }

    /// Ends a span at the tick `end` and returns `true`, or returns `false` without having done
    /// anything.
    ///
    /// `false` is rare. It means that an END cannot hold the duration, or that the producer has to
    /// [reserve](crate::ring) records first. The caller must then call [`end_at`](Self::end_at),
    /// which handles all cases.
    ///
    /// This method is for adapters that have rare cases of their own. They can handle these and the
    /// rare cases of this method in one cold function.
    ///
    /// `end` must come from the clock of the START, or one with the same rate and the same tick 0.
    /// The token must be [recorded](Token::is_recorded); otherwise the result is `false` or an
    /// [invalid](crate::Counters::invalid) record is written.
    #[inline(always)]
    pub fn try_end_at(&self, token: &Token, outcome: Outcome, end: u64) -> bool {
        let duration = end.wrapping_sub(token.start);
        match self.copies.next_reserved(&self.producer) {
            // One comparison excludes two cases. A duration can be too long for a record. And if
            // `end` is before the start, the difference wraps around to more than a record holds.
            Some(seq) if duration <= MAX_PAYLOAD => {
                self.push_at(seq, Record::of_span(end, token.span_bits, outcome as u8, duration));
                true
            }
            _ => false,
        }
    }

    /// Ends a span at the tick `end`. Does nothing if the token is unrecorded.
    ///
    /// `end` must come from the clock of the START, or one with the same rate and the same tick 0.
    /// If the duration is negative or needs more than 46 bits, the span is closed by a
    /// [FORGET](Kind::Forget), the record that closes a span without a latency, and the aggregator
    /// counts the [reason](DiscardReason).
    ///
    /// On 64-bit targets, this function is optimised for size and not for speed, because it is
    /// meant for rare cases: call [`try_end_at`](Self::try_end_at) first.
    #[cfg_attr(target_pointer_width = "64", cold, inline(never))]
    #[expect(clippy::needless_pass_by_value, reason = "a token must not be used twice")]
    pub fn end_at(&self, token: Token, outcome: Outcome, end: u64) {
        let duration = end.wrapping_sub(token.start);
        if !token.is_recorded() {
            return;
        }
        if duration <= MAX_PAYLOAD {
            return self.push(Record::of_span(end, token.span_bits, outcome as u8, duration));
        }
        // The sign of the wrapping difference decides, not a comparison of `end` with the start: a
        // tick count that has wrapped past 2^64 has not stepped back.
        let stepped_back = duration.cast_signed() < 0;
        self.push_forget(
            &token,
            if stepped_back { DiscardReason::ClockSteppedBack } else { DiscardReason::TooLong },
        );
    }

    /// Closes a span without a latency, by a [FORGET](Kind::Forget), so that it enters no
    /// statistics. Does nothing if the token is unrecorded.
    #[expect(clippy::needless_pass_by_value, reason = "a token must not be used twice")]
    pub fn discard(&self, token: Token) {
        self.push_forget(&token, DiscardReason::Discarded);
    }

    /// Closes a span that another process ends, by a [FORGET](Kind::Forget). Does nothing if the
    /// token is unrecorded.
    #[expect(clippy::needless_pass_by_value, reason = "a token must not be used twice")]
    pub fn hand_over(&self, token: Token) {
        self.push_forget(&token, DiscardReason::HandedOver);
    }

    /// Writes a FORGET, the record that closes a span without a latency. Does nothing if the token
    /// is unrecorded.
    fn push_forget(&self, token: &Token, reason: DiscardReason) {
        if token.is_recorded() {
            self.push(Record::of_span(
                token.start,
                token.span_bits,
                Kind::Forget as u8,
                reason as u64,
            ));
        }
    }
}

impl<'r, C: Clock, const IDS: usize, K: Copies> Recorder<'r, C, IDS, K> {
    /// Starts a span without a tag, that is, with the tag 0. It ends when the returned guard is
    /// dropped.
    #[inline(always)]
    pub fn measure(&self, event: impl Event) -> SpanGuard<'_, 'r, C, IDS, K> {
        self.measure_tagged(event, 0)
    }

    /// Like [`measure`](Self::measure), but gives the span a tag: a number that the caller chooses,
    /// such as an order id. Only the low 46 bits of the tag are recorded.
    #[inline(always)]
    pub fn measure_tagged(&self, event: impl Event, tag: u64) -> SpanGuard<'_, 'r, C, IDS, K> {
        SpanGuard { recorder: self, token: self.start(event, tag) }
    }

    /// Starts a span with a tag, of which only the low 46 bits are recorded. Pass 0 for a span that
    /// needs no tag.
    ///
    /// Close the span by passing the token to [`end`](Self::end) or [`discard`](Self::discard). If
    /// the gate or sampling skips this occurrence, the span is not recorded, and closing it does
    /// nothing.
    #[inline(always)]
    pub fn start(&self, event: impl Event, tag: u64) -> Token {
        let event = event.id();
        match self.decide_fast(event) {
            Some(sampling) => self.start_at(event, sampling, tag, self.clock.start()),
            None => Token::unrecorded(),
        }
    }

    /// Decides as [`decide`](Self::decide) does, without a call unless the event is sampled.
    #[inline(always)]
    fn decide_fast(&self, event: EventId) -> Option<u8> {
        let decision = self.decision(event);
        // The usual case first, or, where only the size of the code matters, in its smallest form.
        if FAST_PATH && decision.is_always() {
            Some(0)
        } else if decision.is_off() {
            None
        } else if decision.is_always() {
            Some(0)
        } else {
            self.decide(decision)
        }
    }

    /// Ends a span with the given outcome. Does nothing if the token is unrecorded.
    #[inline(always)]
    pub fn end(&self, token: Token, outcome: Outcome) {
        if !token.is_recorded() {
            return;
        }
        let end = self.clock.end();
        if FAST_PATH && self.try_end_at(&token, outcome, end) {
            return;
        }
        self.end_at(token, outcome, end);
    }

    /// Records a plain number, such as the length of a queue. Returns whether it was recorded:
    /// `false` if the gate or sampling skips this occurrence.
    ///
    /// The event must have [`Unit::One`](crate::Unit::One); otherwise the aggregator counts the
    /// record as [invalid](crate::Counters::invalid). A number that is too large is recorded, but
    /// gives no sample: see [`Counters::saturated`](crate::Counters::saturated) for the bounds. A
    /// record holds numbers up to 2^46 − 2; 2^46 − 1 marks every larger one as too large.
    #[inline(always)]
    pub fn value(&self, event: impl Event, value: u64) -> bool {
        let event = event.id();
        let sampling = self.decide_fast(event);
        if let Some(sampling) = sampling {
            self.value_at(event, sampling, value, self.clock.start());
        }
        sampling.is_some()
    }

    /// Records a duration of `ticks` that ended just now and was not measured by a span of this
    /// crate. Returns whether it was recorded: `false` if the gate or sampling skips this
    /// occurrence.
    ///
    /// The event must have [`Unit::Time`](crate::Unit::Time); otherwise the aggregator counts the
    /// record as [invalid](crate::Counters::invalid). A duration that is too long is recorded, but
    /// gives no sample: see [`Counters::saturated`](crate::Counters::saturated) for the bounds. A
    /// record holds durations up to 2^46 − 2 ticks; 2^46 − 1 marks a longer one as too long.
    #[inline(always)]
    pub fn duration(&self, event: impl Event, ticks: u64) -> bool {
        let event = event.id();
        let sampling = self.decide_fast(event);
        if let Some(sampling) = sampling {
            self.duration_at(event, sampling, ticks, self.clock.start());
        }
        sampling.is_some()
    }
}

/// A guard that ends its span with [`Outcome::Ok`] when it is dropped, even while a panic unwinds
/// the thread. (The guards of the crate `tailwatch` end it as [`Outcome::Cancelled`] if the panic
/// began during the span.)
///
/// [`end`](Self::end) ends the span earlier or with another outcome. [`discard`](Self::discard)
/// closes the span without a latency.
#[derive(Debug)]
#[must_use = "the span ends when its guard is dropped; bind the guard to a variable"]
pub struct SpanGuard<'s, 'r, C: Clock, const IDS: usize, K: Copies = NoCopies> {
    recorder: &'s Recorder<'r, C, IDS, K>,
    token: Token,
}

impl<C: Clock, const IDS: usize, K: Copies> SpanGuard<'_, '_, C, IDS, K> {
    /// Ends the span now, with the given outcome.
    #[inline(always)]
    pub fn end(mut self, outcome: Outcome) {
        let token = core::mem::replace(&mut self.token, Token::unrecorded());
        self.recorder.end(token, outcome);
    }

    /// Closes the span without a latency, by a [FORGET](Kind::Forget), so that it enters no
    /// statistics.
    pub fn discard(mut self) {
        let token = core::mem::replace(&mut self.token, Token::unrecorded());
        self.recorder.discard(token);
    }
}

impl<C: Clock, const IDS: usize, K: Copies> Drop for SpanGuard<'_, '_, C, IDS, K> {
    #[inline(always)]
    fn drop(&mut self) {
        let token = core::mem::replace(&mut self.token, Token::unrecorded());
        self.recorder.end(token, Outcome::Ok);
    }
}

#[cfg(test)]
mod tests;
