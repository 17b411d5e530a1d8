//! The state of one row of a storage.

use crate::{
    clock::OptionalTick,
    repr::{Repr, StoredMoments},
    sla::rule::NO_RULE,
    spans::pairing::PackedPairing,
    statistics::{histogram::count::Count, moments::Moments, sample_buffer::SliceSet},
};

/// The state of a row, except for its bucket counts, its samples, its exemplars, and what belongs
/// to a single slice of a window.
///
/// A row is an event, or a further summary of an event: the one that is corrected for coordinated
/// omission, or that of its failed spans. The row of a further summary uses only `total`,
/// `used_blocks` and `failed`; its other fields stay empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable), zeroable(bound = ""))]
// The most frequently used fields come first: a Cortex-M0 needs fewer instructions to access fields
// near the beginning of a struct, and a server fetches fewer cache lines if they are neighbours.
#[repr(C)]
pub struct RowState<R: Repr> {
    /// The event's id, or 0 for a further summary.
    pub(crate) id: u16,
    /// The number of the event's first [`Rule`](crate::Rule) (the state of a limit on a quantile),
    /// counted from 1, or [`NO_RULE`]. The rules of an event form a linked list.
    pub(crate) first_rule: u16,
    /// The row of the event's corrected summary, or 0 if it has none. Row 0 is always an event, so
    /// 0 is free for this.
    pub(crate) corrected: u16,
    /// A bit for each of the first 8 windows, which is set if the bucket counts of its slices are
    /// complete. Otherwise they are all 0: the sample buffer holds all samples of the window, so
    /// nothing asks for the counts. Those of further windows are always complete, and so are those
    /// of rows without a sample buffer and in compact storage, where no bit is set.
    pub(crate) counted: u8,
    /// Whether the event's summaries also cover failed spans: see
    /// [`CoveredOutcomes::Any`](crate::CoveredOutcomes::Any).
    pub(crate) covers_failed: bool,
    /// The index in the event's sample buffer where the next sample goes. Once the buffer is full,
    /// the oldest sample is there, and the next one replaces it.
    pub(crate) next_sample: usize,
    /// How many ENDs were drained with [`Outcome::Ok`](crate::Outcome::Ok), with `Error` and with
    /// `Cancelled`, in this order, each counted as 1 whatever its weight.
    pub(crate) outcomes: [R::Counter; 3],
    /// The tick from which the event's silence is measured: that of its newest record (at most the
    /// time of the pass that drained it), or of the last pass that restarted it, by
    /// [`reset_silence`](crate::Aggregator::reset_silence) or because the clock restarted. None if
    /// there was no record (a START counts only if its tick is possible), or if no storage of this
    /// type has a limit on silence.
    pub(crate) seen: OptionalTick,
    /// The samples that have not been added to the slices and to `total` yet.
    pub(crate) staged: Staged<R>,
    /// How many STARTs and ENDs have been paired, and how many have not.
    pub(crate) pairing: PackedPairing<R::Counter>,
    /// The last tick at which sampling may have left out records.
    pub(crate) sampled_until: OptionalTick,
    /// The moments of all samples since the start, except for the staged ones.
    pub(crate) total: Moments<R::Sum>,
    /// The [expected interval](crate::EventInfo::expected_interval) between two spans of the event
    /// in nanoseconds, or 0 if it has none.
    pub(crate) interval_nanos: u64,
    /// Which blocks of buckets have ever had a sample:
    /// [`UsedBlocks`](super::used_blocks::UsedBlocks). Not used by compact storage.
    pub(crate) used_blocks: u64,
    /// The link to the next row in the chain of the rows that have had a sample: see [`link`]. Not
    /// used by compact storage, like the next field.
    pub(crate) next_used: u16,
    /// The link to the next row in the chain of the rows that have had a limit, in ascending order.
    pub(crate) next_watched: u16,
    /// Of an event: the row of the summary of its failed spans, or 0 if it has none (yet). Of such
    /// a summary: the row of its event.
    pub(crate) failed: u16,
}

/// The link that ends a chain of rows. It leads to no row, because it is greater than that of any.
pub(crate) const LAST_LINK: u16 = u16::MAX;

/// Returns the link to a row in a chain of rows: the row plus 1. A row whose own link is 0 is not
/// in the chain.
pub(crate) const fn link(row: u16) -> u16 {
    row + 1
}

impl<R: Repr> RowState<R> {
    /// The state of a row without samples.
    pub const EMPTY: Self = Self {
        total: Moments::EMPTY,
        staged: Staged::EMPTY,
        outcomes: [R::Counter::ZERO; 3],
        pairing: PackedPairing::EMPTY,
        next_sample: 0,
        seen: OptionalTick::NONE,
        sampled_until: OptionalTick::NONE,
        id: 0,
        first_rule: NO_RULE,
        corrected: 0,
        interval_nanos: 0,
        used_blocks: 0,
        next_used: 0,
        next_watched: 0,
        failed: 0,
        counted: 0,
        covers_failed: false,
    };
}

impl<R: Repr> AsMut<PackedPairing<R::Counter>> for RowState<R> {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut PackedPairing<R::Counter> {
        &mut self.pairing
    }
}

/// The sums of an event's staged samples, which are not yet part of the total and the slices. The
/// bucket counts and exemplars of these samples are not here: they are in the arrays that also hold
/// those of the total and the slices.
///
/// Staged weights and bucket counts cannot overflow; sums saturate as those of the total do. In
/// compact storage, a total weight above 2^31 makes the
/// next sample commit them. In wide storage, they have 64 bits or more, and a sample has a weight
/// of at most 2^15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable), zeroable(bound = ""))]
// As in `RowState`.
#[repr(C)]
pub(crate) struct Staged<R: Repr> {
    /// The first of the ticks that belong to the same slices as the staged samples, in every
    /// window.
    pub(crate) from: u64,
    /// How many ticks from `from` on belong to these slices. 0 if the next sample must not be added
    /// to these sums: it commits them and looks up its own slices.
    pub(crate) ticks: u64,
    /// Samples below this value do not become exemplars of the staged samples: enough that are at
    /// least as slow are staged already. Wide storage compares each sample with it first, which is
    /// fast; compact storage does not use it.
    pub(crate) min_slow_value: R::Counter,
    /// The number of samples in the current batch. These are the newest ones in the sample buffer,
    /// and are not yet part of `sums`. Always 0 in compact storage.
    pub(crate) batch: u32,
    /// The slices that the tick `from` belongs to, like the ticks after it, `ticks` in all.
    pub(crate) slices: SliceSet,
    /// Whether the batch also has samples of other slices. Nothing else is staged then, except for
    /// exemplars of these samples. Always `false` in compact storage.
    pub(crate) is_mixed: bool,
    /// The moments of the staged samples, except for those of the current batch.
    pub(crate) sums: R::Moments,
}

impl<R: Repr> Staged<R> {
    pub(crate) const EMPTY: Self = Self {
        sums: R::Moments::EMPTY,
        from: 0,
        ticks: 0,
        slices: SliceSet::NONE,
        is_mixed: false,
        min_slow_value: R::Counter::ZERO,
        batch: 0,
    };

    /// Adds a sample to the sums.
    #[inline(always)]
    pub(crate) fn add(&mut self, sample: R::Sample) {
        self.sums.add(sample);
        // Make the next sample commit these sums, so that the weight never reaches 2^32 − 1,
        // where it would saturate.
        if R::IS_COMPACT && self.sums.weight() > 1 << 31 {
            self.ticks = 0;
        }
    }

    /// Returns whether nothing is staged.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        (R::IS_COMPACT || self.batch == 0) && self.sums.count() == 0
    }

    /// Returns whether `tick` belongs to the same slices as the staged samples.
    #[inline]
    pub(crate) const fn covers(&self, tick: u64) -> bool {
        tick.wrapping_sub(self.from) < self.ticks
    }
}
