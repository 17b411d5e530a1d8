//! The counts of an event's STARTs and ENDs: how many have been paired, and what became of the
//! others.

use crate::statistics::histogram::count::Count;

/// How many STARTs and ENDs of an event have been paired, and what became of the others.
///
/// `open`, `uncertain` and `early` are the present numbers. `paired`, `abandoned` and `orphans` are
/// totals since the aggregator was created. ENDs include FORGETs, which close a span without a
/// duration. In [compact](crate::Compact) storage, each number saturates at 2^32 − 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Pairing {
    /// Spans whose START has been paired with an END.
    pub paired: u64,
    /// Spans whose START is in the table of open spans and has not been paired with an END yet.
    /// Includes the uncertain spans.
    pub open: u64,
    /// Open spans that are uncertain, because their ENDs may be among lost records.
    ///
    /// When the drain notes a loss, all spans that are open become uncertain. It notes overwritten
    /// records after it has processed the others in their ring, so spans that began after the lost
    /// records become uncertain, too. If the clock restarts
    /// ([`begin_pass`](crate::Aggregator::begin_pass)), all open spans become uncertain as well. A
    /// new span is uncertain from the start if an uncertain span of its event began at the same
    /// tick, because the two cannot be distinguished.
    pub uncertain: u64,
    /// STARTs that found no room in the table of open spans (or, in compact storage, in the count
    /// of their entry), or that gave up their room, minus those whose ENDs have arrived or are
    /// known to be lost.
    ///
    /// In a full table, the event with the most open spans gives up its youngest one to make room
    /// for an event that has fewer. It never gives up its oldest open span.
    ///
    /// Without an entry in the table, the END of an untracked START cannot be recognised as such.
    /// Therefore an END that finds no START counts as that of an untracked START if there is any.
    pub untracked: u64,
    /// Spans that were given up: because they had been uncertain for 60 s, or because their END is
    /// known to be lost ([`Aggregator::abandon`](crate::Aggregator::abandon)).
    pub abandoned: u64,
    /// ENDs that were drained before their STARTs and wait for them in the table.
    pub early: u64,
    /// ENDs that were counted without a START, while no START was untracked.
    ///
    /// Their STARTs were lost, or abandoned before the END was drained, or ignored because of an
    /// impossible tick ([`clock_anomalies`](crate::Counters::clock_anomalies)). Or the END was
    /// drained before its START and found no room in the table to wait for it. Or the START was
    /// untracked, but another END of the event without a START was counted in its place.
    pub orphans: u64,
}

/// A [`Pairing`] as it is stored, in counters of type `N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub(crate) struct PackedPairing<N> {
    pub(crate) paired: N,
    pub(super) open: N,
    pub(super) uncertain: N,
    pub(super) untracked: N,
    pub(super) abandoned: N,
    pub(super) early: N,
    pub(super) orphans: N,
}

impl<N: Count> PackedPairing<N> {
    pub(crate) const EMPTY: Self = Self {
        paired: N::ZERO,
        open: N::ZERO,
        uncertain: N::ZERO,
        untracked: N::ZERO,
        abandoned: N::ZERO,
        early: N::ZERO,
        orphans: N::ZERO,
    };

    /// Counts a START, or an END if `is_end`, that finds neither its counterpart nor room in the
    /// table.
    pub(crate) fn count_unpaired(&mut self, is_end: bool) {
        if is_end {
            count_without_start(self, N::from_u64(1));
        } else {
            self.untracked.increment();
        }
    }

    /// Counts an untracked START as abandoned. Returns `false` if there is none.
    pub(crate) fn abandon_untracked(&mut self) -> bool {
        let is_untracked = self.untracked > N::ZERO;
        if is_untracked {
            self.untracked.decrement();
            self.abandoned.increment();
        }
        is_untracked
    }

    /// Returns the pairing with counts of 64 bits.
    pub(crate) fn unpacked(&self) -> Pairing {
        Pairing {
            paired: self.paired.get(),
            open: self.open.get(),
            uncertain: self.uncertain.get(),
            untracked: self.untracked.get(),
            abandoned: self.abandoned.get(),
            early: self.early.get(),
            orphans: self.orphans.get(),
        }
    }
}

/// Counts ENDs that found no START in the table. As long as there are untracked STARTs, these ENDs
/// are taken to be theirs. The others are [orphans](Pairing::orphans).
#[inline(never)]
pub(super) fn count_without_start<N: Count>(pairing: &mut PackedPairing<N>, mut count: N) {
    let untracked = pairing.untracked.min(count);
    pairing.untracked.subtract(untracked);
    pairing.paired = pairing.paired.saturating_sum(untracked);
    count.subtract(untracked);
    pairing.orphans = pairing.orphans.saturating_sum(count);
}
