//! The memory of the aggregator: boxed slices that are allocated when the collector starts.

use bytemuck::{Zeroable, allocation::zeroed_slice_box};
use tailwatch_core::{
    Exemplar, Moments, OpenSpan, RowState, Rule, Shape, Silence, Storage, StorageParts, Tally,
    WeightedSample, Wide, Window, repr::WideSample,
};

/// Storage in boxed slices, whose lengths a [`Shape`] determines. [`StorageParts`] documents the
/// fields.
///
/// All memory consists of zeroed pages, which the operating system assigns only when they are
/// written to. An event therefore takes memory when it first happens.
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
        // Unlike `vec!`, this requests zeroed memory from the allocator instead of writing to it.
        fn empty<T: Zeroable>(len: usize) -> Box<[T]> {
            zeroed_slice_box(len)
        }
        Self {
            shape: *shape,
            row_of_id: empty(shape.ids),
            windows: empty(shape.windows),
            rows: empty(shape.rows()),
            slices: empty(shape.all_slices()),
            counts: empty(shape.all_counts()),
            totals: empty(shape.all_totals()),
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

#[cfg(test)]
mod tests {
    use tailwatch_core::{Trading, WindowSpec};

    use super::*;

    /// Whether zeroed memory is valid follows from the types. Whether it is an empty storage does
    /// not.
    #[test]
    fn a_new_storage_is_empty() {
        fn all_empty<T: Default + PartialEq>(elements: &[T]) -> bool {
            !elements.is_empty() && elements.iter().all(|element| *element == T::default())
        }
        let mut storage = Boxed::new(&Shape::server(Trading::ALL, &[WindowSpec::SECOND]));
        let StorageParts {
            row_of_id,
            windows,
            rows,
            slices,
            counts,
            totals,
            folded,
            samples,
            scratch,
            in_flight,
            slowest,
            limits,
            tallies,
            silences,
        } = storage.parts();
        assert!(all_empty(row_of_id) && all_empty(windows) && all_empty(rows));
        assert!(all_empty(slices) && all_empty(counts) && all_empty(totals) && all_empty(folded));
        assert!(all_empty(samples) && all_empty(scratch) && all_empty(in_flight));
        assert!(all_empty(slowest) && all_empty(limits) && all_empty(tallies));
        assert!(all_empty(silences));
    }
}
