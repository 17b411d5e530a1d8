//! The memory of the aggregator: boxed slices that are allocated when the collector starts.

use tailwatch_core::{
    Exemplar, Moments, OpenSpan, RowState, Rule, Shape, Silence, Storage, StorageParts, Tally,
    WeightedSample, Wide, Window, repr::WideSample,
};

/// Storage in boxed slices, whose lengths a [`Shape`] determines. [`StorageParts`] documents the
/// fields.
///
/// Most of the memory consists of zeroed pages, which the operating system assigns only when an
/// event happens.
#[derive(Debug)]
pub(crate) struct Boxed {
    shape: Shape,
    row_of_id: Box<[u16]>,
    windows: Box<[Window]>,
    rows: Box<[RowState<Wide>]>,
    slices: Box<[Moments]>,
    counts: Box<[u32]>,
    totals: Box<[u64]>,
    folded: Box<[u64]>,
    samples: Box<[WideSample]>,
    scratch: Box<[WeightedSample]>,
    in_flight: Box<[OpenSpan]>,
    slowest: Box<[Exemplar]>,
    limits: Box<[Rule]>,
    tallies: Box<[Tally]>,
    silences: Box<[Silence]>,
}

impl Boxed {
    /// Creates an empty storage of this shape, which must not be compact.
    pub(crate) fn new(shape: &Shape) -> Self {
        fn empty<T: Clone + Default>(len: usize) -> Box<[T]> {
            vec![T::default(); len].into_boxed_slice()
        }
        Self {
            shape: *shape,
            row_of_id: empty(shape.ids),
            windows: empty(shape.windows),
            rows: empty(shape.rows()),
            slices: empty(shape.all_slices()),
            // Not by `empty`: with a literal 0, `vec!` requests zeroed memory, for which the
            // allocator uses untouched pages.
            counts: vec![0; shape.all_counts()].into_boxed_slice(),
            totals: vec![0; shape.all_totals()].into_boxed_slice(),
            folded: empty(shape.padded_buckets()),
            samples: empty(shape.all_samples()),
            scratch: empty(shape.samples),
            in_flight: empty(shape.in_flight),
            slowest: empty(shape.all_slowest()),
            limits: empty(shape.limits),
            tallies: empty(shape.all_tallies()),
            silences: empty(shape.silences),
        }
    }
}

impl Storage for Boxed {
    type Repr = Wide;
    type Count = u32;
    const SHAPE: Option<Shape> = None;

    #[inline(always)]
    fn shape(&self) -> Shape {
        self.shape
    }

    #[inline(always)]
    fn parts(&mut self) -> StorageParts<'_, Wide, u32> {
        StorageParts {
            row_of_id: &mut self.row_of_id,
            windows: &mut self.windows,
            rows: &mut self.rows,
            slices: &mut self.slices,
            counts: &mut self.counts,
            totals: &mut self.totals,
            folded: &mut self.folded,
            samples: &mut self.samples,
            scratch: &mut self.scratch,
            in_flight: &mut self.in_flight,
            slowest: &mut self.slowest,
            limits: &mut self.limits,
            tallies: &mut self.tallies,
            silences: &mut self.silences,
        }
    }
}
