//! The record: what the hot path writes, 16 bytes.
//!
//! ```text
//! word 0   ticks                 when it happened, in raw clock ticks
//! word 1   [63:18] payload   [17:14] k: sampled 1 in 2^k   [13:11] kind   [10:0] event id
//! ```
//!
//! | kind | payload |
//! |---|---|
//! | 0 invalid | never written |
//! | 1 START | the tag, its low 46 bits |
//! | 2 `END_OK`, 3 `END_ERROR`, 4 `END_CANCELLED` | the duration in ticks |
//! | 5 VALUE | the number; 2^46 − 1 stands for "too large" |
//! | 6 DURATION | a duration in ticks that was measured elsewhere; 2^46 − 1 stands for "too large" |
//! | 7 FORGET | why: 0 discarded, 1 the clock stepped back, 2 the duration needs more than 46 bits; word 0 is the START's |
//!
//! An END carries its own duration, so that a latency is exact whatever else was lost and however spans overlap.

use core::fmt;

use crate::event::EventId;

const EVENT_BITS: u32 = 11;
const KIND_SHIFT: u32 = EVENT_BITS;
const SAMPLING_SHIFT: u32 = KIND_SHIFT + 3;
const PAYLOAD_SHIFT: u32 = SAMPLING_SHIFT + 4;

/// The largest payload, 2^46 − 1. A VALUE or DURATION that carries it was too large to be told exactly.
pub const MAX_PAYLOAD: u64 = (1 << (64 - PAYLOAD_SHIFT)) - 1;

/// How a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Outcome {
    /// The work was done.
    Ok = 2,
    /// The work failed.
    Error = 3,
    /// The work was given up: a future dropped before it was ready, or a panic that unwinds.
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

/// Why a START was closed without a latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum DiscardReason {
    /// The caller discarded the span.
    Discarded = 0,
    /// The clock read less at END than at START.
    ClockSteppedBack = 1,
    /// The span lasted 2^46 ticks or more.
    TooLong = 2,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Kind {
    /// Nothing: no recorder writes it.
    Invalid = 0,
    /// A span began.
    Start = 1,
    /// A span ended well.
    EndOk = 2,
    /// A span ended with an error.
    EndError = 3,
    /// A span was given up.
    EndCancelled = 4,
    /// A number was measured.
    Value = 5,
    /// A duration was measured elsewhere.
    Duration = 6,
    /// A span was closed without a latency.
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

    /// The outcome that an END of this kind stands for; `None` for what is no END.
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

/// One entry of the ring; any two 64-bit words are a record, though not one that a recorder would write.
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
    /// The record of an empty ring: kind [`Kind::Invalid`], event 0.
    pub const EMPTY: Self = Self { ticks: 0, word: 0 };

    /// The record made of these two words, as they lie in the ring.
    pub const fn from_words(words: [u64; 2]) -> Self {
        Self { ticks: words[0], word: words[1] }
    }

    /// The two words, as they lie in the ring.
    pub const fn words(self) -> [u64; 2] {
        [self.ticks, self.word]
    }

    #[inline]
    const fn new(ticks: u64, event: EventId, sampling: u8, kind: u8, payload: u64) -> Self {
        Self::of_span(ticks, Self::span_bits(event, sampling), kind, payload)
    }

    /// What all records of a span share: the bits of its event and sampling. Never 0.
    #[inline]
    pub(crate) const fn span_bits(event: EventId, sampling: u8) -> usize {
        ((sampling as usize & 0xF) << SAMPLING_SHIFT) | event.get() as usize
    }

    /// A record of the span with these bits.
    #[inline]
    pub(crate) const fn of_span(ticks: u64, span_bits: usize, kind: u8, payload: u64) -> Self {
        Self {
            ticks,
            word: (payload << PAYLOAD_SHIFT) | ((kind as u64) << KIND_SHIFT) | span_bits as u64,
        }
    }

    /// A span of `event` begins at `ticks`; of `tag` the low 46 bits are kept.
    #[inline]
    pub const fn start(ticks: u64, event: EventId, sampling: u8, tag: u64) -> Self {
        // The shift drops the tag's high bits.
        Self::new(ticks, event, sampling, Kind::Start as u8, tag)
    }

    /// A span ends at `ticks` after `duration` ticks, which must be at most [`MAX_PAYLOAD`].
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

    /// A number measured at `ticks`; one of [`MAX_PAYLOAD`] or more is kept as [`MAX_PAYLOAD`] and counted as saturated.
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

    /// A duration that ended at `ticks`; one of [`MAX_PAYLOAD`] ticks or more is kept as [`MAX_PAYLOAD`] and counted as
    /// saturated.
    #[inline]
    pub const fn duration(ticks: u64, event: EventId, sampling: u8, duration: u64) -> Self {
        let payload = if duration < MAX_PAYLOAD { duration } else { MAX_PAYLOAD };
        Self::new(ticks, event, sampling, Kind::Duration as u8, payload)
    }

    /// The span that began at `start_ticks` is closed without a latency.
    #[inline]
    pub const fn forget(
        start_ticks: u64,
        event: EventId,
        sampling: u8,
        why: DiscardReason,
    ) -> Self {
        Self::new(start_ticks, event, sampling, Kind::Forget as u8, why as u64)
    }

    /// When it happened, in raw ticks; of a FORGET, when its span began.
    pub const fn ticks(self) -> u64 {
        self.ticks
    }

    /// What it says.
    pub const fn kind(self) -> Kind {
        Kind::ALL[(self.word >> KIND_SHIFT) as usize & 7]
    }

    /// Of which event; `None` for the reserved id 0.
    pub const fn event(self) -> Option<EventId> {
        EventId::new((self.word & ((1 << EVENT_BITS) - 1)) as u16)
    }

    /// If `start` is a START, and this the END of its span: the number of its outcome, from 0.
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

    /// It stands for 2^k of its like.
    pub const fn sampling(self) -> u8 {
        (self.word >> SAMPLING_SHIFT & 0xF) as u8
    }

    /// The payload, 46 bits; what it means depends on the kind.
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
    fn the_layout_is_the_documented_one() {
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
    fn numbers_too_large_are_marked_and_never_wrap() {
        let event = EventId::new(1).unwrap();
        for huge in [MAX_PAYLOAD, MAX_PAYLOAD + 1, u64::MAX] {
            assert_eq!(Record::value(0, event, 0, huge).payload(), MAX_PAYLOAD);
            assert_eq!(Record::duration(0, event, 0, huge).payload(), MAX_PAYLOAD);
        }
        assert_eq!(Record::value(0, event, 0, MAX_PAYLOAD - 1).payload(), MAX_PAYLOAD - 1);
    }

    #[test]
    fn every_word_decodes() {
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
