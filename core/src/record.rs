//! The record: the 16 bytes that the hot path writes into a ring.
//!
//! A record is two 64-bit words. Bits are numbered from the least significant one, 0.
//!
//! | word | bits | field | meaning |
//! |---|---|---|---|
//! | 0 | 63…0 | ticks | when it happened, in raw ticks of the clock; a FORGET holds the tick of its START instead |
//! | 1 | 63…18 | payload | 46 bits; the meaning depends on the kind |
//! | 1 | 17…14 | sampling | k: the event is sampled 1 in 2^k, so a sample has a weight of 2^k |
//! | 1 | 13…11 | kind | see the next table |
//! | 1 | 10…0 | event | the event id, 1…2,047; 0 is reserved |
//!
//! | kind | name | payload |
//! |---|---|---|
//! | 0 | invalid | none; reserved for TAG, see below |
//! | 1 | START | the tag, of which the low 46 bits are kept |
//! | 2 | `END_OK` | the duration in ticks |
//! | 3 | `END_ERROR` | the duration in ticks |
//! | 4 | `END_CANCELLED` | the duration in ticks |
//! | 5 | VALUE | the number; 2^46 − 1 means that the number was too large |
//! | 6 | DURATION | a duration in ticks that was measured elsewhere; 2^46 − 1 means that it was too large |
//! | 7 | FORGET | bits 3…0: the reason, see the next table; bits 45…4: a magnitude, 0 unless the reason has one |
//!
//! | reason | why the span has no latency |
//! |---|---|
//! | 0 | the caller discarded the span |
//! | 1 | the clock stepped back: it read less at END than at START |
//! | 2 | the duration needs more than 46 bits |
//! | 3 (reserved) | the span was handed over to another process |
//! | 4 (reserved) | a difference was negative: the magnitude is its amount in ticks, and the record closes no START |
//!
//! An END carries its own duration. The latency is therefore exact even if the START was
//! overwritten, and however spans of one event overlap.
//!
//! # Reserved
//!
//! This version writes neither the reserved reasons nor TAG. TAG is kind 0 with an event other than
//! 0; its payload is a tag. A TAG directly after a DURATION of the same event and tick in the same
//! ring belongs to that DURATION, even across two passes. Every other TAG adds a second tag to the
//! newest open span of the event whose START has the same tick.
//!
//! The aggregator of this version counts a TAG as invalid. A FORGET whose payload is above 2 closes
//! its span and counts as invalid as well.

use core::fmt;

use crate::event::EventId;

const EVENT_BITS: u32 = 11;
const KIND_SHIFT: u32 = EVENT_BITS;
const SAMPLING_SHIFT: u32 = KIND_SHIFT + 3;
const PAYLOAD_SHIFT: u32 = SAMPLING_SHIFT + 4;

/// The largest payload, 2^46 − 1. In a VALUE or DURATION it means that the number did not fit.
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
    /// The work was abandoned: its future was dropped before completion, or a panic unwound through
    /// it.
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

/// Why a span was closed without a latency: the payload of a FORGET.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
#[non_exhaustive]
pub enum DiscardReason {
    /// The caller discarded the span.
    Discarded = 0,
    /// The clock stepped back: it read less at END than at START.
    ClockSteppedBack = 1,
    /// The span lasted 2^46 ticks or more.
    TooLong = 2,
}

/// The kind of a record, which decides the meaning of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Kind {
    /// Not a valid record. No recorder writes this kind; an empty slot holds it.
    Invalid = 0,
    /// START: a span began.
    Start = 1,
    /// END: a span ended with [`Outcome::Ok`].
    EndOk = 2,
    /// END: a span ended with [`Outcome::Error`].
    EndError = 3,
    /// END: a span ended with [`Outcome::Cancelled`].
    EndCancelled = 4,
    /// VALUE: a number was measured.
    Value = 5,
    /// DURATION: a duration was measured elsewhere.
    Duration = 6,
    /// FORGET: a span was closed without a latency; see [`DiscardReason`].
    Forget = 7,
}

impl Kind {
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

/// One entry of a ring, 16 bytes.
///
/// Any two 64-bit words decode to a record without an error, though not necessarily to one that a
/// recorder would write. The constructors take `sampling` as the k of 1 in 2^k and keep its low 4
/// bits.
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
    ticks: u64,
    word: u64,
}

impl Record {
    /// The content of an empty slot, all zero: kind [`Kind::Invalid`], event 0.
    pub const EMPTY: Self = Self { ticks: 0, word: 0 };

    /// Creates a record from its two words, in the layout of the ring.
    pub const fn from_words(words: [u64; 2]) -> Self {
        Self { ticks: words[0], word: words[1] }
    }

    /// Returns the two words, in the layout of the ring.
    pub const fn words(self) -> [u64; 2] {
        [self.ticks, self.word]
    }

    #[inline]
    const fn new(ticks: u64, event: EventId, sampling: u8, kind: u8, payload: u64) -> Self {
        Self::of_span(ticks, Self::span_bits(event, sampling), kind, payload)
    }

    /// Returns the bits that all records of a span share: event id and sampling. They are never 0,
    /// because no event has the id 0.
    #[inline]
    pub(crate) const fn span_bits(event: EventId, sampling: u8) -> usize {
        ((sampling as usize & 0xF) << SAMPLING_SHIFT) | event.get() as usize
    }

    /// Creates a record of the span that [`span_bits`](Self::span_bits) describe.
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

    /// Creates an END: a span of `event` ends at `ticks` after `duration` ticks.
    ///
    /// The duration must be at most [`MAX_PAYLOAD`]; higher bits are lost.
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

    /// Creates a VALUE: a number that was measured at `ticks`.
    ///
    /// A number of [`MAX_PAYLOAD`] or more is stored as [`MAX_PAYLOAD`], which the aggregator
    /// counts as saturated instead of as a sample.
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

    /// Creates a DURATION: a duration in ticks that ended at `ticks` and was measured elsewhere.
    ///
    /// A duration of [`MAX_PAYLOAD`] ticks or more is stored as [`MAX_PAYLOAD`], which the
    /// aggregator counts as saturated instead of as a sample.
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

    /// Returns when it happened, in raw ticks. For a FORGET this is the start of its span.
    pub const fn ticks(self) -> u64 {
        self.ticks
    }

    /// Returns the kind.
    pub const fn kind(self) -> Kind {
        Kind::ALL[(self.word >> KIND_SHIFT) as usize & 7]
    }

    /// Returns the event; `None` for the reserved id 0.
    pub const fn event(self) -> Option<EventId> {
        EventId::new((self.word & ((1 << EVENT_BITS) - 1)) as u16)
    }

    /// Returns the index of the outcome (0 ok, 1 error, 2 cancelled) if `start` is a START and
    /// `self` is the END of the same span: same event, same sampling, and a duration that leads
    /// back to its tick.
    #[inline]
    pub(crate) const fn outcome_of(self, start: Self) -> Option<usize> {
        let kind = (self.word >> KIND_SHIFT) as usize & 7;
        let begun = self.word & ((1 << EVENT_BITS) - 1) | (Kind::Start as u64) << KIND_SHIFT;
        let is_of_event = start.word & ((1 << SAMPLING_SHIFT) - 1) == begun;
        let is_of_span = is_of_event && self.ticks.wrapping_sub(self.payload()) == start.ticks;
        if is_of_span && kind >= Kind::EndOk as usize && kind <= Kind::EndCancelled as usize {
            Some(kind - Kind::EndOk as usize)
        } else {
            None
        }
    }

    /// Returns k: the event is sampled 1 in 2^k, so a sample from this record has a weight of 2^k.
    pub const fn sampling(self) -> u8 {
        (self.word >> SAMPLING_SHIFT & 0xF) as u8
    }

    /// Returns the payload, 46 bits, whose meaning depends on the kind.
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
