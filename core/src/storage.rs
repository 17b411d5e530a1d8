//! The memory of an [`Aggregator`](crate::Aggregator): the [`Storage`] trait and the arrays that a
//! storage consists of.

mod row_state;
mod shape;
mod static_storage;

pub use self::{row_state::RowState, shape::Shape, static_storage::StaticStorage};
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
///
/// A *row* is an event, or the corrected summary of an event with an expected interval: a second
/// summary of its samples, corrected for coordinated omission. The rows of the events come first.
/// The arrays `slices` and `counts`, and the first part of `totals`, consist of one section of
/// equal length per row.
///
/// Each window is cut into intervals of equal length, its *slices*. The slices of a row are those
/// of the first window, then those of the second, and so on.
///
/// New samples are *staged*: they are first collected for each event, and later added together to
/// their slices and to the total since the start.
#[derive(Debug)]
pub struct StorageParts<'s, C> {
    /// The row of each event, indexed by event id: the index of the row plus 1, or 0 if there is no
    /// such event. The highest bit is set if the event measures plain numbers.
    pub row_of_id: &'s mut [u16],
    /// The windows, which are the same for all events.
    pub windows: &'s mut [Window],
    /// The state of each row, except for what belongs to a single slice.
    pub rows: &'s mut [RowState],
    /// The count, sums and extremes of the samples in each slice, row after row.
    pub slices: &'s mut [PackedMoments],
    /// The bucket counts of the slices, row after row. Within a row, a few neighbouring buckets
    /// form a block. With the slices A, B and C, the order of the blocks is A0 B0 C0 A1 B1 C1 ….
    pub counts: &'s mut [C],
    /// The bucket counts of each row since the start, then those of each event's staged samples.
    pub totals: &'s mut [CountWord],
    /// Temporary memory in which a query sums the bucket counts of a window's slices.
    pub folded: &'s mut [CountWord],
    /// The sample buffer of each event: its newest samples, from which exact quantiles are found.
    pub samples: &'s mut [Sample],
    /// Temporary memory in which a query selects or sorts the buffered samples of one event.
    pub scratch: &'s mut [Scratch],
    /// The table of open spans: those whose START has been drained, but not their END.
    pub in_flight: &'s mut [OpenSpan],
    /// The exemplars (slowest samples) of each event: a list for each of its slices, one for the
    /// time since the start, and one for its staged samples.
    pub slowest: &'s mut [Exemplar],
    /// The limits on quantiles, each with its own window and state.
    pub limits: &'s mut [Rule],
    /// For each limit on a quantile, and each slice of its window, the number and weight of the
    /// samples, and the weight of those that exceed the threshold.
    pub tallies: &'s mut [Tally],
    /// The limit on the silence of each event, with its state. Empty if no event can have such a
    /// limit.
    pub silences: &'s mut [Silence],
}

/// The features that a storage has no room for: a field is `true` if there is no such feature.
#[expect(clippy::struct_excessive_bools, reason = "the features are independent of each other")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Absent {
    /// No event has an expected interval, so there are no summaries that are corrected for
    /// coordinated omission.
    pub corrected: bool,
    /// There are no limits on quantiles.
    pub limits: bool,
    /// There are no exemplars, which are the slowest samples with their tags.
    pub slowest: bool,
    /// There are no histograms.
    pub histogram: bool,
    /// There are no limits on silence.
    pub silences: bool,
    /// No event measures plain numbers.
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

    /// Returns whether any feature is absent here but not in `other`.
    pub(crate) const fn declares_more_than(self, other: Self) -> bool {
        (self.corrected && !other.corrected)
            || (self.limits && !other.limits)
            || (self.slowest && !other.slowest)
            || (self.histogram && !other.histogram)
            || (self.silences && !other.silences)
            || (self.numbers && !other.numbers)
            || (self.in_flight && !other.in_flight)
    }

    /// Returns the features that a storage of this shape has no room for.
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

/// The memory of an [`Aggregator`](crate::Aggregator): arrays in a `static`
/// ([`storage!`](crate::storage!)), or boxed slices in the std adapter.
///
/// A new storage must be *empty*: all numbers in its arrays are 0. An implementation has to ensure
/// this. [`Aggregator::new`](crate::Aggregator::new) checks it only for
/// [`row_of_id`](StorageParts::row_of_id), to refuse a storage that another aggregator has used.
pub trait Storage {
    /// The type of the bucket counters in the slices of windows. A counter saturates at its
    /// maximum. Quantiles then become less accurate, as their [`Accuracy`](crate::Accuracy) shows.
    type Count: Count;

    /// The features that no storage of this type has room for. No code is generated for them, which
    /// matters where flash is scarce.
    ///
    /// A feature may be `true` here only if the [`shape`](Self::shape) has no room for it either:
    /// [`Aggregator::new`](crate::Aggregator::new) returns an error otherwise.
    const ABSENT: Absent = Absent::NOTHING;

    /// Returns the shape, which must be the same at every call. If it is a constant, as for
    /// [`StaticStorage`], the compiler can evaluate much of what depends on it.
    fn shape(&self) -> Shape;

    /// Returns the arrays. Their lengths must fit the [`shape`](Self::shape), which
    /// [`Aggregator::new`](crate::Aggregator::new) checks.
    fn parts(&mut self) -> StorageParts<'_, Self::Count>;
}
