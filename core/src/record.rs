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
//! | 0 | invalid | none; reserved for TAG, see below |
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
//! | 3 (reserved) | the span was handed over to another process, which ends it |
//! | 4 (reserved) | a duration that the program computed from two ticks was negative; the magnitude is by how many ticks; closes no span |
//!
//! An END carries its own duration. The latency is therefore exact even if the START was
//! overwritten, and also when spans of one event overlap.
//!
//! # Reserved
//!
//! This version writes neither the reserved reasons nor the reserved record TAG, which carries a
//! further tag as its payload. A TAG is a record of kind 0 whose event is not 0.
//!
//! - A TAG directly behind a DURATION in the same ring, with the same event and tick, belongs to
//!   that DURATION, even if one pass over the rings reads the DURATION and the next one the TAG.
//! - Every other TAG adds a second tag to the newest open span whose START has the same event and
//!   tick.
//!
//! The aggregator of this version counts a TAG as invalid, if it knows the event. Of such events,
//! it also counts as invalid each FORGET whose payload is above 2, and so each FORGET of a reserved
//! reason. It nevertheless takes every FORGET of an event that measures time, also one of reason 4,
//! for the end of a span that began at the tick of the FORGET.

use core::fmt;

use crate::event::EventId;

// The positions of the fields of word 1. Each field starts where the field below it ends.
const EVENT_BITS: u32 = 11;
const KIND_SHIFT: u32 = EVENT_BITS;
const SAMPLING_SHIFT: u32 = KIND_SHIFT + 3;
const PAYLOAD_SHIFT: u32 = SAMPLING_SHIFT + 4;

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

/// Why a span was discarded, that is, closed without a sample. The number of the variant is the
/// payload of the record that closes it, of kind [`Forget`](Kind::Forget).
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
}

/// What a record stands for: START, END (one kind for each [`Outcome`]), VALUE, DURATION or FORGET.
///
/// The kind decides the meaning of the [payload](Record::payload).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Kind {
    /// Not a valid record. No recorder writes this kind. A [slot](crate::Slot) that was never
    /// written has it, because such a slot is all zero.
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
    /// FORGET: a span was closed without a latency. [`DiscardReason`] lists the reasons.
    Forget = 7,
}

impl Kind {
    /// All kinds, indexed by their number in records.
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
    /// latency.
    #[inline]
    pub const fn forget(
        start_ticks: u64,
        event: EventId,
        sampling: u8,
        reason: DiscardReason,
    ) -> Self {
        Self::new(start_ticks, event, sampling, Kind::Forget as u8, reason as u64)
    }

    /// Returns the tick at which it happened, in raw ticks of the clock. A FORGET has the tick of
    /// the START of the span that it closes.
    pub const fn ticks(self) -> u64 {
        self.ticks
    }

    /// Returns which kind of record this is: START, END (with its outcome), VALUE, DURATION or
    /// FORGET.
    pub const fn kind(self) -> Kind {
        Kind::ALL[(self.word >> KIND_SHIFT) as usize & 7]
    }

    /// Returns the id of the event; `None` if the record has the reserved id 0.
    pub const fn event(self) -> Option<EventId> {
        EventId::new((self.word & ((1 << EVENT_BITS) - 1)) as u16)
    }

    /// Returns the index of the outcome (0 ok, 1 error, 2 cancelled) if `start` is a START and
    /// `self` is the END of the same span: both have the same event, and the duration of `self`
    /// leads back to the tick of `start`. Otherwise returns `None`.
    #[inline]
    pub(crate) const fn outcome_index_of(self, start: Self) -> Option<usize> {
        let kind = (self.word >> KIND_SHIFT) as usize & 7;
        let start_of_event =
            self.word & ((1 << EVENT_BITS) - 1) | (Kind::Start as u64) << KIND_SHIFT;
        let is_same_event = start.word & ((1 << SAMPLING_SHIFT) - 1) == start_of_event;
        let is_same_span = is_same_event && self.ticks.wrapping_sub(self.payload()) == start.ticks;
        if is_same_span && kind >= Kind::EndOk as usize && kind <= Kind::EndCancelled as usize {
            Some(kind - Kind::EndOk as usize)
        } else {
            None
        }
    }

    /// Returns the sampling exponent k, from 0 to 15: 1 in 2^k occurrences of the event was
    /// recorded, so this record stands for 2^k occurrences. 0 if every occurrence was recorded.
    pub const fn sampling(self) -> u8 {
        (self.word >> SAMPLING_SHIFT & 0xF) as u8
    }

    /// Returns the payload, 46 bits: the tag of a START, the duration in ticks of an END or a
    /// DURATION, the number of a VALUE, or the [reason](DiscardReason) of a FORGET.
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
            assert_eq!(record.kind() as u64, (word >> 11) & 7);
            assert_eq!(
                record.event().map_or(0, EventId::get),
                u16::try_from(word & 0x7FF).unwrap()
            );
        }
    }
}
