//! The token of an open span.

use crate::{event::EventId, record::Record};

/// A span that was started and is not closed yet. [`Recorder::start`](crate::Recorder::start)
/// returns it, and [`Recorder::end`](crate::Recorder::end) or
/// [`Recorder::discard`](crate::Recorder::discard) takes it back.
///
/// A token is plain data without a reference to a ring. Another recorder may close its span, even
/// in another thread, as long as the rings of both are drained by the same
/// [`Aggregator`](crate::Aggregator) and both read the same clock. Dropping a token does not close
/// its span: the aggregator then counts the span as open, or as untracked if its table is full. It
/// gives an open span up 60 s after records were lost or the clock stepped back by more than 10 ms.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "a span whose token is dropped never ends; pass the token to `end` or `discard`"]
pub struct Token {
    /// The tick of the START.
    pub(super) start: u64,
    /// The event and its sampling, as [`Record::span_bits`] packs them; 0 for a span that is not
    /// recorded. They share one word so that a token stays in registers.
    pub(super) span_bits: usize,
}

impl Token {
    /// Returns the token of a span that is not recorded. Ending or discarding it does nothing.
    #[inline]
    pub const fn unrecorded() -> Self {
        Self { start: 0, span_bits: 0 }
    }

    /// Returns whether the span is recorded, that is whether its START was written to a ring.
    #[inline(always)]
    pub const fn is_recorded(&self) -> bool {
        self.span_bits != 0
    }

    /// Returns the event of the span, or `None` if the span is not recorded.
    pub const fn event(&self) -> Option<EventId> {
        Record::from_words([0, self.span_bits as u64]).event()
    }

    /// Returns the tick at which the span began; 0 if the span is not recorded.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Returns the k of the span, of which 1 in 2^k is recorded; 0 if the span is not recorded.
    pub const fn sampling(&self) -> u8 {
        Record::from_words([0, self.span_bits as u64]).sampling()
    }
}
