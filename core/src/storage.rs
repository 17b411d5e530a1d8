//! The memory of an aggregator: the [`Storage`] trait and the arrays that a storage consists of.

mod event_state;
mod shape;
mod static_storage;

pub use self::{event_state::EventState, shape::Shape, static_storage::StaticStorage};
use crate::{
    counter_width::CountWord,
    exemplars::Exemplar,
    histogram::Count,
    in_flight::OpenSpan,
    packed_moments::PackedMoments,
    sample_buffer::{Sample, Scratch},
    sla::{Rule, Silence, Tally},
    window::Window,
};

/// The arrays of a storage. Their lengths follow from its [`Shape`].
#[derive(Debug)]
pub struct StorageParts<'s, C> {
    /// For each event id, the number of its row.
    pub rows: &'s mut [u16],
    /// The windows, which are the same for all events.
    pub windows: &'s mut [Window],
    /// The state of each row: of each event, then of each corrected summary.
    pub events: &'s mut [EventState],
    /// The slices of all windows, row after row.
    pub slices: &'s mut [PackedMoments],
    /// The bucket counts of the slices, row after row. Within a row, a few neighbouring places form
    /// a block, and the blocks of all slices for the same places are adjacent.
    pub counts: &'s mut [C],
    /// The bucket counts of each row since the start, then those of each event's staged samples.
    pub totals: &'s mut [CountWord],
    /// Memory in which the bucket counts of a window are summed.
    pub folded: &'s mut [CountWord],
    /// The sample buffer of each event: its newest samples.
    pub samples: &'s mut [Sample],
    /// Memory in which exact quantiles are selected from the samples of one event.
    pub scratch: &'s mut [Scratch],
    /// The table of open spans.
    pub in_flight: &'s mut [OpenSpan],
    /// The exemplars of each event: those of its slices, those since the start, and those of its
    /// staged samples.
    pub slowest: &'s mut [Exemplar],
    /// The quantile limits that are watched.
    pub limits: &'s mut [Rule],
    /// The counts of the limits, in the slices of their windows.
    pub tallies: &'s mut [Tally],
    /// The limit on the silence of each event. Empty if no event can have one.
    pub silences: &'s mut [Silence],
}

/// The features that a storage has no room for.
#[expect(clippy::struct_excessive_bools, reason = "the features are independent of each other")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Absent {
    /// There are no corrected summaries, because no event has an expected interval.
    pub corrected: bool,
    /// There are no limits on quantiles.
    pub limits: bool,
    /// There are no exemplars.
    pub slowest: bool,
    /// There are no histograms.
    pub histogram: bool,
    /// There are no limits on silence.
    pub silences: bool,
    /// No event is measured in plain numbers.
    pub numbers: bool,
    /// There is no table of open spans.
    pub in_flight: bool,
}

impl Absent {
    /// Nothing is declared absent: the storage may have room for everything.
    pub const NOTHING: Self = Self {
        corrected: false,
        limits: false,
        slowest: false,
        histogram: false,
        silences: false,
        numbers: false,
        in_flight: false,
    };

    /// Returns whether a feature is absent here but not in `other`.
    pub(crate) const fn exceeds(self, other: Self) -> bool {
        (self.corrected && !other.corrected)
            || (self.limits && !other.limits)
            || (self.slowest && !other.slowest)
            || (self.histogram && !other.histogram)
            || (self.silences && !other.silences)
            || (self.numbers && !other.numbers)
            || (self.in_flight && !other.in_flight)
    }

    /// Returns the features that a shape has no room for.
    pub const fn of(shape: &Shape) -> Self {
        Self {
            corrected: shape.corrected == 0,
            limits: shape.limits == 0,
            slowest: shape.slowest == 0,
            histogram: shape.octaves == 0,
            silences: shape.silences == 0,
            numbers: shape.numbers == 0,
            in_flight: shape.in_flight == 0,
        }
    }
}

/// The memory of an aggregator: arrays in a `static` ([`storage!`](crate::storage!)), or boxed
/// slices in the std adapter.
///
/// An empty storage is all zero.
pub trait Storage {
    /// The type of the bucket counters in the slices. A full counter stays full. This widens the
    /// bounds of quantiles, and their [`Accuracy`](crate::Accuracy) reports it.
    type Count: Count;

    /// The features that this type of storage never has room for. No code is generated for them,
    /// which matters where flash is scarce.
    ///
    /// Every feature declared here must also be absent from the [`shape`](Self::shape).
    const ABSENT: Absent = Absent::NOTHING;

    /// Returns the shape, which must never change. If the shape is a constant, as for
    /// [`StaticStorage`], the compiler computes much that depends on it.
    fn shape(&self) -> Shape;

    /// Returns the arrays.
    fn parts(&mut self) -> StorageParts<'_, Self::Count>;
}
