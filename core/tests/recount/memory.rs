//! Storage in vectors, for shapes that are only known at run time.

use tailwatch_core::{
    Count, Exemplar, OpenSpan, Repr, RowState, Rule, Shape, Silence, Storage, StorageParts,
    StoredSample, Tally, Wide, Window,
};

#[derive(Debug)]
pub(crate) struct Memory<C, R: Repr = Wide> {
    shape: Shape,
    row_of_id: Vec<u16>,
    windows: Vec<Window>,
    rows: Vec<RowState<R>>,
    slices: Vec<R::Moments>,
    counts: Vec<C>,
    totals: Vec<R::Counter>,
    folded: Vec<R::Counter>,
    samples: Vec<R::Sample>,
    scratch: Vec<<R::Sample as StoredSample>::Scratch>,
    in_flight: Vec<OpenSpan>,
    slowest: Vec<Exemplar>,
    limits: Vec<Rule>,
    tallies: Vec<Tally>,
    silences: Vec<Silence>,
}

fn empty<T: Clone + Default>(len: usize) -> Vec<T> {
    vec![T::default(); len]
}

impl<C: Count, R: Repr> Memory<C, R> {
    /// Creates an empty storage of this shape. The representation is `R`, whatever the shape says.
    pub(crate) fn new(shape: &Shape) -> Self {
        Self {
            shape: Shape { is_compact: R::IS_COMPACT, ..*shape },
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

impl<C: Count, R: Repr> Storage for Memory<C, R> {
    type Repr = R;
    type Count = C;
    const SHAPE: Option<Shape> = None;

    fn shape(&self) -> Shape {
        self.shape
    }

    fn parts(&mut self) -> StorageParts<'_, R, C> {
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
