//! The memory of an [`Aggregator`](crate::Aggregator): the [`Storage`] trait and the arrays that a
//! storage consists of.

pub(crate) mod bucket_counts;
pub(crate) mod declare;
pub(crate) mod row;
pub(crate) mod row_state;
pub(crate) mod shape;
pub(crate) mod used_blocks;

use self::{row_state::RowState, shape::Shape};
use crate::{
    repr::{Repr, StoredSample},
    sla::rule::{Rule, Silence, Tally},
    spans::{exemplars::Exemplar, in_flight::OpenSpan},
    statistics::{histogram::count::Count, window::Window},
};

/// The arrays of a storage. Their lengths follow from its [`Shape`].
///
/// A *row* is an event or a further summary of an event: the one of its samples that is corrected
/// for coordinated omission, or the one of its failed spans. The rows of the events come first,
/// then those of the corrected summaries. The array `slices` consists of one section of equal
/// length per row. So do `counts` and the first part of `totals` in compact storage; in wide
/// storage, these have a section for each *group* of 8 rows, or of as many as are left.
///
/// Each window is cut into intervals of equal length, its *slices*. The slices of a row are those
/// of the first window, then those of the second, and so on.
///
/// New samples are *staged*: they are first collected for each event, and later added together to
/// their slices and to the total since the start.
#[derive(Debug)]
pub struct StorageParts<'s, R: Repr, C> {
    /// The row of each event, indexed by event id: the index of the row plus 1, or 0 if there is no
    /// such event. The highest bit is set if the event measures plain numbers.
    pub row_of_id: &'s mut [u16],
    /// The windows, which are the same for all events.
    pub windows: &'s mut [Window],
    /// The state of each row, except for what belongs to a single slice.
    pub rows: &'s mut [RowState<R>],
    /// The count, sums and extremes of the samples in each slice, row after row.
    pub slices: &'s mut [R::Moments],
    /// The bucket counts of the slices, row after row, and in wide storage group after group, each
    /// window after window. A few neighbouring buckets form a block. With the slices A, B and C of
    /// a row, the order of the blocks is A0 B0 C0 A1 B1 C1 …. In wide storage, these are the slices
    /// of a window, and with the rows R and S of a group, the order is A0 B0 C0 of R, A0 B0 C0 of
    /// S, A1 B1 C1 of R ….
    pub counts: &'s mut [C],
    /// The bucket counts of each row since the start, then those of each event's staged samples.
    pub totals: &'s mut [R::Counter],
    /// Temporary memory in which a query sums the bucket counts of a window's slices.
    pub folded: &'s mut [R::Counter],
    /// The sample buffer of each event: its newest samples, from which exact quantiles are found.
    pub samples: &'s mut [R::Sample],
    /// Temporary memory in which a query selects or sorts the buffered samples of one event.
    pub scratch: &'s mut [<R::Sample as StoredSample>::Scratch],
    /// The table of open spans: those whose START has been drained, but not their END. It also
    /// holds early ENDs, those that were drained before their START.
    pub in_flight: &'s mut [OpenSpan],
    /// The exemplars (slowest samples) of each event: a list for each of its slices, one for the
    /// time since the start, and one for its staged samples.
    pub slowest: &'s mut [Exemplar],
    /// The limits on quantiles and error rates, each with its own window and state.
    pub limits: &'s mut [Rule],
    /// For each of these limits, and each slice of its window, the number and weight of the
    /// samples, and the weight of those that exceed the threshold.
    pub tallies: &'s mut [Tally],
    /// The limit on the silence of each event, with its state. Empty if no event can have such a
    /// limit.
    pub silences: &'s mut [Silence],
}

/// The features that a storage has no room for: a field is `true` if there is no such feature.
#[expect(clippy::struct_excessive_bools, reason = "the features are independent of each other")]
#[derive(Clone, Copy)]
pub(crate) struct Absent {
    /// No event has an expected interval, so there are no summaries that are corrected for
    /// coordinated omission.
    pub(crate) corrected: bool,
    /// There are no summaries of failed spans.
    pub(crate) failed: bool,
    /// There are no limits on quantiles and error rates.
    pub(crate) limits: bool,
    /// There are no exemplars, which are the slowest samples with their tags.
    pub(crate) slowest: bool,
    /// There are no histograms.
    pub(crate) histogram: bool,
    /// There are no limits on silence.
    pub(crate) silences: bool,
    /// No event measures plain numbers.
    pub(crate) numbers: bool,
    /// There is no table of open spans.
    pub(crate) in_flight: bool,
}

impl Absent {
    /// Nothing is declared absent: the storage may have room for everything.
    pub(crate) const NOTHING: Self = Self {
        corrected: false,
        failed: false,
        limits: false,
        slowest: false,
        histogram: false,
        silences: false,
        numbers: false,
        in_flight: false,
    };

    /// Returns the features that a storage of this shape has no room for.
    pub(crate) const fn of(shape: &Shape) -> Self {
        Self {
            corrected: shape.corrected == 0,
            failed: shape.failed == 0,
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
/// [`Aggregator::new`](crate::Aggregator::new) needs an empty storage: one that no aggregator has
/// used, in which every number is 0. It checks this only in part.
pub trait Storage {
    /// How numbers are stored: [`Wide`](crate::Wide) or [`Compact`](crate::Compact). The field
    /// [`is_compact`](Shape::is_compact) of the shape must say the same.
    type Repr: Repr;

    /// The type of the bucket counters in the slices of windows. A counter saturates at its
    /// maximum. Quantiles then become less accurate, as their [`Accuracy`](crate::Accuracy) shows.
    type Count: Count;

    /// The shape of every storage of this type, if they all have the same. For what it has no room
    /// for, no code is generated, which matters where flash is scarce.
    const SHAPE: Option<Shape>;

    /// Returns the shape, which must be the same at every call: that in [`SHAPE`](Self::SHAPE), if
    /// there is one.
    fn shape(&self) -> Shape;

    /// Returns the arrays. Their lengths must fit the [`shape`](Self::shape), which
    /// [`Aggregator::new`](crate::Aggregator::new) checks.
    fn parts(&mut self) -> StorageParts<'_, Self::Repr, Self::Count>;
}
