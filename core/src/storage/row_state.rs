//! The state of one row of a storage.

use crate::{
    Moments, aggregator::Staged, counter_width::CountWord, in_flight::PackedPairing, sla::NO_RULE,
};

/// The state of a row, except for its bucket counts, its samples, its exemplars, and what belongs
/// to a single slice of a window.
///
/// A row is an event, or the summary of an event that is corrected for coordinated omission. The
/// row of a corrected summary uses only `total`; its other fields stay empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// A Cortex-M0 needs fewer instructions to access fields near the beginning of a struct, so the most
// frequently used ones come first.
#[repr(C)]
pub struct RowState {
    /// The event's id, or 0 for a corrected summary.
    pub(crate) id: u16,
    /// The number of the event's first [`Rule`](crate::Rule) (the state of a limit on a quantile),
    /// counted from 1, or [`NO_RULE`]. The rules of an event form a linked list.
    pub(crate) first_rule: u16,
    /// The index in the event's sample buffer where the next sample goes. Once the buffer is full,
    /// the oldest sample is there, and the next one replaces it.
    pub(crate) next_sample: usize,
    /// How many ENDs were drained with [`Outcome::Ok`](crate::Outcome::Ok), with `Error` and with
    /// `Cancelled`, in this order, each counted as 1 whatever its weight.
    pub(crate) outcomes: [CountWord; 3],
    /// How many STARTs and ENDs have been paired, and how many have not.
    pub(crate) pairing: PackedPairing,
    /// The samples that have not been added to the slices and to `total` yet.
    pub(crate) staged: Staged,
    /// The tick from which the event's silence is measured, plus 1: that of its newest record, or
    /// of the last pass in which [`reset_silence`](crate::Aggregator::reset_silence) restarted it.
    /// 0 if there was no record, or if the storage's type declares that no event has a limit on
    /// silence.
    pub(crate) seen: u64,
    /// The last tick at which sampling may have left out records, plus 1. 0 if there is none.
    pub(crate) sampled_until: u64,
    /// The moments of all samples since the start, except for the staged ones.
    pub(crate) total: Moments,
    /// The [expected interval](crate::EventInfo::expected_interval) between two spans of the event
    /// in nanoseconds, or 0 if it has none.
    pub(crate) interval_nanos: u64,
    /// The row of the event's corrected summary, or 0 if it has none. Row 0 is always an event, so
    /// 0 is free for this.
    pub(crate) corrected: u16,
}

impl RowState {
    pub(super) const EMPTY: Self = Self {
        total: Moments::EMPTY,
        staged: Staged::EMPTY,
        outcomes: [0; 3],
        pairing: PackedPairing::EMPTY,
        next_sample: 0,
        seen: 0,
        sampled_until: 0,
        id: 0,
        first_rule: NO_RULE,
        corrected: 0,
        interval_nanos: 0,
    };

    /// Returns the tick from which the event's silence is measured; `None` if there is none:
    /// see [`seen`](Self::seen).
    pub(crate) const fn last_seen(&self) -> Option<u64> {
        self.seen.checked_sub(1)
    }
}
