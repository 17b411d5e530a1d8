//! The state of an event or of its corrected summary.

use crate::{
    Moments, aggregator::Staged, counter_width::CountWord, in_flight::PackedPairing,
    sample_buffer::Evicted, sla::NO_RULE,
};

/// The state of a row, except for its slices. A row is an event or the corrected summary of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// A Cortex-M0 needs fewer instructions to access fields near the beginning of a struct, so the most
// frequently used ones come first.
#[repr(C)]
pub struct EventState {
    /// The event's id, or 0 for a corrected summary.
    pub(crate) id: u16,
    /// The number of the event's first rule, counted from 1, or [`NO_RULE`].
    pub(crate) first_rule: u16,
    /// The index in the event's sample buffer where the next sample replaces the oldest one.
    pub(crate) next_sample: usize,
    pub(crate) outcomes: [CountWord; 3],
    pub(crate) pairing: PackedPairing,
    pub(crate) staged: Staged,
    pub(crate) evicted: Evicted,
    /// The tick of the newest record, plus 1. 0 if there is none or if no silence is watched.
    pub(crate) seen: u64,
    /// The last tick at which sampling may have left out records, plus 1. 0 if there is none.
    pub(crate) sampled: u64,
    pub(crate) total: Moments,
    /// The expected interval in nanoseconds, or 0 if the event has none.
    pub(crate) interval_nanos: u64,
    /// The row of the event's corrected summary, or 0 if it has none. Row 0 is always an event.
    pub(crate) corrected: u16,
}

impl EventState {
    pub(super) const EMPTY: Self = Self {
        total: Moments::EMPTY,
        staged: Staged::EMPTY,
        outcomes: [0; 3],
        pairing: PackedPairing::EMPTY,
        next_sample: 0,
        evicted: Evicted::NONE,
        seen: 0,
        sampled: 0,
        id: 0,
        first_rule: NO_RULE,
        corrected: 0,
        interval_nanos: 0,
    };
}
