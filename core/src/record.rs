//! The record: the 16 bytes that the hot path writes into a ring.
//!
//! A record is two 64-bit words. Bits are numbered from the least significant one, which is bit 0.
//!
//! | word | bits | field | meaning |
//! |---|---|---|---|
//! | 0 | 63…0 | ticks | when it happened, in raw ticks; in a FORGET that closes a span: when it began |
//! | 1 | 63…18 | payload | 46 bits; the meaning depends on the kind |
//! | 1 | 17…14 | sampling | k: 1 in 2^k occurrences of the event was recorded, so the record stands for 2^k occurrences |
//! | 1 | 13…11 | kind | see the next table |
//! | 1 | 10…0 | event | the event id, 1…2,047; 0 is reserved |
//!
//! | kind | name | payload |
//! |---|---|---|
//! | 0 | TAG, or invalid if the event is 0 | the low 46 bits of a tag |
//! | 1 | START | the low 46 bits of the tag |
//! | 2 | `END_OK` | the duration of the span in ticks |
//! | 3 | `END_ERROR` | the duration of the span in ticks |
//! | 4 | `END_CANCELLED` | the duration of the span in ticks |
//! | 5 | VALUE | a number; 2^46 − 1 means that the number was 2^46 − 1 or larger |
//! | 6 | DURATION | a duration in ticks that was not measured by a START and an END; 2^46 − 1 means that it was 2^46 − 1 ticks or longer |
//! | 7 | FORGET | bits 3…0: the reason, see the next table; bits 45…4: a magnitude, 0 unless the reason has one |
//!
//! | reason | why the FORGET was written |
//! |---|---|
//! | 0 | the caller discarded the span |
//! | 1 | the clock stepped back: it read less at END than at START |
//! | 2 | the span lasted 2^46 ticks or longer, which the payload of an END cannot hold |
//! | 3 | the span was handed over to another process, which ends it |
//! | 4 | an interval would have ended before its start, which is the tick of this FORGET; the magnitude is by how many ticks, at most 2^42 − 1; closes no span |
//!
//! An END carries its own duration. The latency is therefore exact even if the START was
//! overwritten, and also when spans of one event overlap.
//!
//! # TAG
//!
//! A TAG carries a tag of the record that it belongs to, and has the event and the tick of that
//! record. All records of kind 0 whose event is not 0 are TAGs.
//!
//! - A TAG directly behind a DURATION in the same ring, with the same event and tick, belongs to
//!   that DURATION, even if one pass over the rings reads the DURATION and the next one the TAG.
//! - Every other TAG adds a second tag to the newest open span whose START has the same event and
//!   tick. The span keeps the tag of its START where only one is shown.
//!
//! The aggregator counts a TAG whose record is gone, as
//! [`orphan_tags`](crate::Counters::orphan_tags).
//!
//! The aggregator counts a FORGET with a reason that the table does not have as invalid if it knows
//! the event. It nevertheless takes such a FORGET for the end of a span that began at its tick.

use core::fmt;

use crate::event::EventId;

// The positions of the fields of word 1. Each field starts where the field below it ends.
const EVENT_BITS: u32 = 11;
const KIND_SHIFT: u32 = EVENT_BITS;
const SAMPLING_SHIFT: u32 = KIND_SHIFT + 3;
const PAYLOAD_SHIFT: u32 = SAMPLING_SHIFT + 4;
/// The number of the low bits of a FORGET's payload that hold the reason.
const REASON_BITS: u32 = 4;
/// The number of a TAG in the field of the kind.
pub(crate) const TAG_NUMBER: u8 = Kind::Invalid as u8;

/// The largest payload, 2^46 − 1. In a VALUE or DURATION, it means that the number was 2^46 − 1
/// or larger. In an END, it is an exact duration, because a longer span ends with a FORGET instead.
pub const MAX_PAYLOAD: u64 = (1 << (64 - PAYLOAD_SHIFT)) - 1;

/// How a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Outcome {
    /// The work succeeded.
    Ok = 2,
    /// The work failed.
    Error = 3,
    /// The work was abandoned. For example, its future was dropped before completion, or a panic
    /// unwound through it.
    Cancelled = 4,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        })
    }
}

/// Why there is no sample of a span, which a [`Forget`](Kind::Forget) closes, or of an interval.
/// The number of the variant is the low 4 bits of the payload of that record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
#[non_exhaustive]
pub enum DiscardReason {
    /// The caller discarded the span.
    Discarded = 0,
    /// The clock stepped back: the tick of the END minus that of the START, modulo 2^64, is
    /// negative as a signed number. (If a tick count has wrapped past 2^64 in between, it is not.)
    ClockSteppedBack = 1,
    /// The span lasted 2^46 ticks or more.
    TooLong = 2,
    /// The span was handed over to another process, which ends it.
    HandedOver = 3,
    /// An interval would have ended before it began, because its start came from a clock that is
    /// ahead or from another clock. Closes no span. The payload is this number plus 16 times the
    /// difference in ticks, or the largest such payload if the difference is 2^42 ticks or more.
    NegativeDifference = 4,
}

/// What a record stands for: START, END (one kind for each [`Outcome`]), VALUE, DURATION, FORGET or
/// TAG.
///
/// The kind decides the meaning of the [payload](Record::payload).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Kind {
    /// Not a valid record: its kind and its event are 0. No recorder writes this kind. A
    /// [slot](crate::Slot) that was never written has it, because such a slot is all zero.
    Invalid = 0,
    /// START: a span began.
    Start = 1,
    /// END: a span ended with [`Outcome::Ok`].
    EndOk = 2,
    /// END: a span ended with [`Outcome::Error`].
    EndError = 3,
    /// END: a span ended with [`Outcome::Cancelled`].
    EndCancelled = 4,
    /// VALUE: a plain number was measured, such as the length of a queue.
    Value = 5,
    /// DURATION: a finished duration was recorded that was not measured by a START and an END.
    Duration = 6,
    /// FORGET: a span was closed without a latency, or an interval has none. [`DiscardReason`]
    /// lists the reasons.
    Forget = 7,
    /// TAG: the tag of the DURATION directly before it, or a second tag of an open span. In a
    /// record, it has the number 0 and an event that is not 0.
    Tag = 8,
}

impl Kind {
    /// The kinds, indexed by their number in records. A record of kind 0 may also be a TAG.
    const ALL: [Self; 8] = [
        Self::Invalid,
        Self::Start,
        Self::EndOk,
        Self::EndError,
        Self::EndCancelled,
        Self::Value,
        Self::Duration,
        Self::Forget,
    ];

    /// Returns the outcome of an END of this kind; `None` for every other kind.
    pub const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::EndOk => Some(Outcome::Ok),
            Self::EndError => Some(Outcome::Error),
            Self::EndCancelled => Some(Outcome::Cancelled),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Invalid => "invalid",
            Self::Start => "start",
            Self::EndOk => "end_ok",
            Self::EndError => "end_error",
            Self::EndCancelled => "end_cancelled",
            Self::Value => "value",
            Self::Duration => "duration",
            Self::Forget => "forget",
            Self::Tag => "tag",
        })
    }
}

/// What the hot path writes into one [slot](crate::Slot) of a ring: 16 bytes.
///
/// Any two 64-bit words can be read as a record without an error, even if no recorder would write
/// them.
///
/// In all constructors, `sampling` is a number k: 1 in 2^k occurrences of the event is recorded, so
/// the record stands for 2^k occurrences. It is 0 if every occurrence is recorded. Only its low 4
/// bits are stored.
///
/// ```
/// use tailwatch_core::{EventId, Kind, Outcome, Record};
///
/// let event = EventId::new(3).unwrap();
/// let record = Record::end(1_000, event, 0, Outcome::Ok, 250);
/// assert_eq!((record.ticks(), record.kind(), record.payload()), (1_000, Kind::EndOk, 250));
/// assert_eq!(record.event(), Some(event));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Word 0.
    ticks: u64,
    /// Word 1: payload, sampling, kind and event.
    word: u64,
}

impl Record {
    /// The content of a slot that was never written. All zero: kind [`Kind::Invalid`], event id 0.
    pub const EMPTY: Self = Self { ticks: 0, word: 0 };

    /// Creates a record from its two words: first the ticks, then the word that packs the other
    /// fields.
    pub const fn from_words(words: [u64; 2]) -> Self {
        Self { ticks: words[0], word: words[1] }
    }

    /// Returns the two words: first the ticks, then the word that packs the other fields.
    pub const fn words(self) -> [u64; 2] {
        [self.ticks, self.word]
    }

    #[inline]
    const fn new(ticks: u64, event: EventId, sampling: u8, kind: u8, payload: u64) -> Self {
        Self::of_span(ticks, Self::span_bits(event, sampling), kind, payload)
    }

    /// Returns the bits of word 1 that all records of a span share: event id and sampling. They are
    /// never 0, because no event has the id 0.
    #[inline]
    pub(crate) const fn span_bits(event: EventId, sampling: u8) -> usize {
        ((sampling as usize & 0xF) << SAMPLING_SHIFT) | event.get() as usize
    }

    /// Creates a record of a span. `span_bits` holds its event and sampling, as returned by
    /// [`span_bits`](Self::span_bits). `kind` is the number of a [`Kind`].
    #[inline]
    pub(crate) const fn of_span(ticks: u64, span_bits: usize, kind: u8, payload: u64) -> Self {
        Self {
            ticks,
            word: (payload << PAYLOAD_SHIFT) | ((kind as u64) << KIND_SHIFT) | span_bits as u64,
        }
    }

    /// Creates a START: a span of `event` begins at `ticks`. The low 46 bits of `tag` are kept.
    #[inline]
    pub const fn start(ticks: u64, event: EventId, sampling: u8, tag: u64) -> Self {
        // The shift drops the tag's high bits.
        Self::new(ticks, event, sampling, Kind::Start as u8, tag)
    }

    /// Creates an END: a span of `event` ends at `ticks` and has lasted `duration` ticks.
    ///
    /// The duration must be at most [`MAX_PAYLOAD`]: only its low 46 bits are stored.
    #[inline]
    pub const fn end(
        ticks: u64,
        event: EventId,
        sampling: u8,
        outcome: Outcome,
        duration: u64,
    ) -> Self {
        Self::new(ticks, event, sampling, outcome as u8, duration)
    }

    /// Creates a VALUE: the number `value` was measured at `ticks`.
    ///
    /// A number of [`MAX_PAYLOAD`] or more is stored as [`MAX_PAYLOAD`]. Such a record gives no
    /// sample; the aggregator counts it as [saturated](crate::Counters::saturated).
    #[inline]
    pub const fn value(ticks: u64, event: EventId, sampling: u8, value: u64) -> Self {
        Self::new(
            ticks,
            event,
            sampling,
            Kind::Value as u8,
            if value < MAX_PAYLOAD { value } else { MAX_PAYLOAD },
        )
    }

    /// Creates a DURATION: `duration` ticks that ended at `ticks` and were not measured by a START
    /// and an END.
    ///
    /// A duration of [`MAX_PAYLOAD`] ticks or longer is stored as [`MAX_PAYLOAD`]. Such a record
    /// gives no sample; the aggregator counts it as [saturated](crate::Counters::saturated).
    #[inline]
    pub const fn duration(ticks: u64, event: EventId, sampling: u8, duration: u64) -> Self {
        let payload = if duration < MAX_PAYLOAD { duration } else { MAX_PAYLOAD };
        Self::new(ticks, event, sampling, Kind::Duration as u8, payload)
    }

    /// Creates a FORGET: the span of `event` that began at `start_ticks` is closed without a
    /// latency. With the reason [`NegativeDifference`](DiscardReason::NegativeDifference), closes
    /// no span, and the difference is unknown: see
    /// [`negative_difference`](Self::negative_difference).
    #[inline]
    pub const fn forget(
        start_ticks: u64,
        event: EventId,
        sampling: u8,
        reason: DiscardReason,
    ) -> Self {
        Self::new(start_ticks, event, sampling, Kind::Forget as u8, reason as u64)
    }

    /// Creates a FORGET that closes no span: an interval of `event` would have ended
    /// `difference` ticks before its start, which is at `start_ticks`.
    ///
    /// A difference of 2^42 ticks or more is stored as 2^42 − 1.
    #[inline]
    pub const fn negative_difference(
        start_ticks: u64,
        event: EventId,
        sampling: u8,
        difference: u64,
    ) -> Self {
        const MAX_MAGNITUDE: u64 = MAX_PAYLOAD >> REASON_BITS;
        let magnitude = if difference < MAX_MAGNITUDE { difference } else { MAX_MAGNITUDE };
        let payload = magnitude << REASON_BITS | DiscardReason::NegativeDifference as u64;
        Self::new(start_ticks, event, sampling, Kind::Forget as u8, payload)
    }

    /// Creates a TAG: the low 46 bits of `tag` belong to the DURATION directly before this record,
    /// if that has the same event and `ticks`, or else to the newest open span of `event` that
    /// began at `ticks`.
    #[inline]
    pub const fn tag(ticks: u64, event: EventId, sampling: u8, tag: u64) -> Self {
        Self::new(ticks, event, sampling, TAG_NUMBER, tag)
    }

    /// Returns the tick at which it happened, in raw ticks of the clock. A FORGET has the tick of
    /// the START of the span that it closes, and a TAG the tick of the record that it belongs to.
    pub const fn ticks(self) -> u64 {
        self.ticks
    }

    /// Returns which kind of record this is: START, END (with its outcome), VALUE, DURATION, FORGET
    /// or TAG.
    pub const fn kind(self) -> Kind {
        match Kind::ALL[(self.word >> KIND_SHIFT) as usize & 7] {
            Kind::Invalid if self.event().is_some() => Kind::Tag,
            kind => kind,
        }
    }

    /// Returns whether this is a FORGET that closes no span, because an interval would have ended
    /// before its start.
    ///
    /// ```
    /// use tailwatch_core::{DiscardReason, EventId, Record};
    ///
    /// let event = EventId::new(3).unwrap();
    /// assert!(Record::negative_difference(1_000, event, 0, 10).is_negative_difference());
    /// let closes_span = Record::forget(1_000, event, 0, DiscardReason::TooLong);
    /// assert!(!closes_span.is_negative_difference());
    /// ```
    #[inline]
    pub const fn is_negative_difference(self) -> bool {
        matches!(self.kind(), Kind::Forget) && self.closes_no_span()
    }

    /// Returns whether this closes no span, if it is a FORGET.
    #[inline]
    pub(crate) const fn closes_no_span(self) -> bool {
        let reason = self.word >> PAYLOAD_SHIFT & ((1 << REASON_BITS) - 1);
        reason == DiscardReason::NegativeDifference as u64
    }

    /// Returns whether this is a TAG that belongs to `before`, if that is the record directly
    /// before it in the same ring: `before` is a DURATION of the same event with the same tick.
    ///
    /// ```
    /// use tailwatch_core::{EventId, Record};
    ///
    /// let event = EventId::new(3).unwrap();
    /// let duration = Record::duration(1_000, event, 0, 250);
    /// assert!(Record::tag(1_000, event, 0, 4_711).is_tag_of(duration));
    /// assert!(!Record::tag(1_001, event, 0, 4_711).is_tag_of(duration));
    /// ```
    #[inline]
    pub const fn is_tag_of(self, before: Self) -> bool {
        // Kinds and events of both records are compared at once.
        const DURATION: u64 = (Kind::Duration as u64) << KIND_SHIFT;
        let differing = (self.word ^ before.word ^ DURATION) & ((1 << SAMPLING_SHIFT) - 1);
        differing == 0 && self.ticks == before.ticks && matches!(self.kind(), Kind::Tag)
    }

    /// Returns the id of the event; `None` if the record has the reserved id 0.
    pub const fn event(self) -> Option<EventId> {
        EventId::new((self.word & ((1 << EVENT_BITS) - 1)) as u16)
    }

    /// Returns whether `start` is a START and `self` is the END of the same span, with the outcome
    /// `Ok`: both have the same event, and the duration of `self` leads back to the tick of
    /// `start`.
    #[inline]
    pub(crate) const fn is_ok_end_of(self, start: Self) -> bool {
        // Kinds and events of both records are compared at once.
        const KINDS: u64 = (Kind::Start as u64 ^ Kind::EndOk as u64) << KIND_SHIFT;
        let differing = (self.word ^ start.word ^ KINDS) & ((1 << SAMPLING_SHIFT) - 1);
        differing == 0
            && self.word >> KIND_SHIFT & 7 == Kind::EndOk as u64
            && self.ticks.wrapping_sub(self.payload()) == start.ticks
    }

    /// Returns the sampling exponent k, from 0 to 15: 1 in 2^k occurrences of the event was
    /// recorded, so this record stands for 2^k occurrences. 0 if every occurrence was recorded.
    pub const fn sampling(self) -> u8 {
        (self.word >> SAMPLING_SHIFT & 0xF) as u8
    }

    /// Returns the payload, 46 bits: the tag of a START, the duration in ticks of an END or a
    /// DURATION, the number of a VALUE, the [reason](DiscardReason) and magnitude of a FORGET, or
    /// the tag of a TAG.
    pub const fn payload(self) -> u64 {
        self.word >> PAYLOAD_SHIFT
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("ticks", &self.ticks)
            .field("event", &self.event().map(EventId::get))
            .field("kind", &self.kind())
            .field("sampling", &self.sampling())
            .field("payload", &self.payload())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_where_the_docs_put_them() {
        let event = EventId::new(0x7FF).unwrap();
        let record = Record::start(0xABCD, event, 0b1010, u64::MAX);
        assert_eq!(
            record.words(),
            [0xABCD, (MAX_PAYLOAD << 18) | (0b1010 << 14) | (1 << 11) | 0x7FF]
        );
        let record = Record::end(1, EventId::new(1).unwrap(), 0, Outcome::Cancelled, 5);
        assert_eq!(record.words(), [1, (5 << 18) | (4 << 11) | 1]);
        assert_eq!(Record::forget(9, event, 0, DiscardReason::TooLong).payload(), 2);
    }

    #[test]
    fn kind_0_is_a_tag_unless_the_event_is_0() {
        let event = EventId::new(0x7FF).unwrap();
        let tag = Record::tag(9, event, 0b1010, u64::MAX);
        assert_eq!(tag.words(), [9, (MAX_PAYLOAD << 18) | (0b1010 << 14) | 0x7FF]);
        assert_eq!((tag.kind(), tag.payload()), (Kind::Tag, MAX_PAYLOAD));
        assert_eq!(Record::EMPTY.kind(), Kind::Invalid);
        assert_eq!(Record::from_words([9, MAX_PAYLOAD << 18]).kind(), Kind::Invalid);
    }

    #[test]
    fn a_tag_belongs_to_a_duration_of_the_same_event_and_tick_only() {
        let [event, other] = [3, 2_047].map(|id| EventId::new(id).unwrap());
        let tag = Record::tag(9, event, 0, 4_711);
        assert!(tag.is_tag_of(Record::duration(9, event, 5, 1)));
        for before in [
            Record::EMPTY,
            Record::duration(8, event, 0, 1),
            Record::duration(9, other, 0, 1),
            Record::start(9, event, 0, 1),
            Record::end(9, event, 0, Outcome::Ok, 1),
            Record::value(9, event, 0, 1),
            Record::forget(9, event, 0, DiscardReason::Discarded),
            tag,
        ] {
            assert!(!tag.is_tag_of(before), "{before:?}");
            assert!(!before.is_tag_of(Record::duration(9, event, 0, 1)) || before == tag);
        }
    }

    #[test]
    fn a_number_that_does_not_fit_saturates_instead_of_wrapping() {
        let event = EventId::new(1).unwrap();
        for huge in [MAX_PAYLOAD, MAX_PAYLOAD + 1, u64::MAX] {
            assert_eq!(Record::value(0, event, 0, huge).payload(), MAX_PAYLOAD);
            assert_eq!(Record::duration(0, event, 0, huge).payload(), MAX_PAYLOAD);
        }
        assert_eq!(Record::value(0, event, 0, MAX_PAYLOAD - 1).payload(), MAX_PAYLOAD - 1);
    }

    #[test]
    fn any_two_words_decode() {
        for word in [0, u64::MAX, 1 << 11, 0x5555_5555_5555_5555] {
            let record = Record::from_words([0, word]);
            assert_eq!(record.words()[1], word);
            let number = if record.kind() == Kind::Tag { 0 } else { record.kind() as u64 };
            assert_eq!(number, (word >> 11) & 7);
            assert_eq!(
                record.event().map_or(0, EventId::get),
                u16::try_from(word & 0x7FF).unwrap()
            );
        }
    }
}
