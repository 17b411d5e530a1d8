//! An aggregator's memory in arrays. The const parameters of its type encode the [`Shape`].

use super::{Absent, RowState, Shape, Storage, StorageParts};
use crate::{
    TimeUnit,
    counter_width::CountWord,
    exemplars::Exemplar,
    histogram::Count,
    in_flight::OpenSpan,
    packed_moments::PackedMoments,
    sample_buffer::{EMPTY_SCRATCH, Sample, Scratch},
    sla::{Rule, Silence, Tally},
    window::Window,
};

/// An aggregator's memory in arrays, for use in a `static`. Its const parameters encode the
/// [`Shape`]. The
/// macro [`storage!`](crate::storage!) expands to this type with all its parameters.
///
/// `C` is the type of the bucket counters in the slices of windows. Most of the other parameters
/// are the lengths of the arrays. `CORRECTED`, `NUMBERS` and `HISTOGRAM` belong to no array: they
/// hold fields of the [`Shape`] that do not follow from the lengths.
#[derive(Debug)]
// A Cortex-M0 needs fewer instructions to access fields near the beginning of a struct, so small
// and frequently used ones come first.
#[repr(C)]
pub struct StaticStorage<
    C,
    // The length of `row_of_id`: the largest event id plus 1, or more.
    const IDS: usize,
    // The length of `windows`.
    const WINDOWS: usize,
    // The length of `rows`: the number of events plus `CORRECTED`.
    const ROWS: usize,
    // Not a length: the number of events that have a summary corrected for coordinated omission.
    const CORRECTED: usize,
    // The length of `slices`: `ROWS` times the number of slices in all windows.
    const SLICES: usize,
    // The length of `counts`.
    const COUNTS: usize,
    // The length of `totals`.
    const TOTALS: usize,
    // The length of `folded`: the number of counters of one histogram.
    const PADDED_BUCKETS: usize,
    // The length of `samples`, which is that of all events: the number of events times `SCRATCH`.
    const SAMPLES: usize,
    // The length of `scratch`: the number of buffered samples of one event, `Shape::samples`.
    const SCRATCH: usize,
    // The length of `in_flight`.
    const IN_FLIGHT: usize,
    // The length of `slowest`.
    const SLOWEST: usize,
    // The length of `limits`.
    const LIMITS: usize,
    // The length of `tallies`: `LIMITS` times the number of slices for each limit.
    const TALLIES: usize,
    // The length of `silences`.
    const SILENCES: usize,
    // Not a length: the number of events that measure plain numbers.
    const NUMBERS: usize,
    // Not a length: four fields of the shape in one number, see `Shape::packed_histogram`.
    const HISTOGRAM: usize,
> {
    // `StorageParts` documents what each array holds.
    windows: [Window; WINDOWS],
    row_of_id: [u16; IDS],
    rows: [RowState; ROWS],
    in_flight: [OpenSpan; IN_FLIGHT],
    slices: [PackedMoments; SLICES],
    samples: [Sample; SAMPLES],
    scratch: [Scratch; SCRATCH],
    limits: [Rule; LIMITS],
    tallies: [Tally; TALLIES],
    slowest: [Exemplar; SLOWEST],
    // The bucket counts of a window, which a query sums here.
    folded: [CountWord; PADDED_BUCKETS],
    // The bucket counts of the rows since the start, and of the events' staged samples.
    totals: [CountWord; TOTALS],
    // The bucket counts of the slices.
    counts: [C; COUNTS],
    silences: [Silence; SILENCES],
}

/// Returns `total / parts`, or 0 if `parts` is 0. `total` is the length of an array with `parts`
/// parts of equal length, so it is also 0 then.
const fn divide_or_zero(total: usize, parts: usize) -> usize {
    match total.checked_div(parts) {
        Some(quotient) => quotient,
        None => 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only the lowest byte is wanted")]
const fn low_byte(word: usize) -> u8 {
    word as u8
}

/// Expands to the type of a [`StaticStorage`] for a [`Shape`], which must be a constant.
///
/// The second argument is the type of the bucket counters in the slices of windows: `u16`, `u32` or
/// `u64`. The default is `u32`. See [`Shape`] for an example.
#[macro_export]
macro_rules! storage {
    ($shape:expr) => {
        $crate::storage!($shape, u32)
    };
    ($shape:expr, $count:ty) => {
        $crate::StaticStorage<
            $count,
            { $shape.ids },
            { $shape.windows },
            { $shape.rows() },
            { $shape.corrected },
            { $shape.all_slices() },
            { $shape.all_counts() },
            { $shape.all_totals() },
            { $shape.padded_buckets() },
            { $shape.all_samples() },
            { $shape.samples },
            { $shape.in_flight },
            { $shape.all_slowest() },
            { $shape.limits },
            { $shape.all_tallies() },
            { $shape.silences },
            { $shape.numbers },
            { $shape.packed_histogram() },
        >
    };
}

impl<
    C: Count,
    const IDS: usize,
    const WINDOWS: usize,
    const ROWS: usize,
    const CORRECTED: usize,
    const SLICES: usize,
    const COUNTS: usize,
    const TOTALS: usize,
    const PADDED_BUCKETS: usize,
    const SAMPLES: usize,
    const SCRATCH: usize,
    const IN_FLIGHT: usize,
    const SLOWEST: usize,
    const LIMITS: usize,
    const TALLIES: usize,
    const SILENCES: usize,
    const NUMBERS: usize,
    const HISTOGRAM: usize,
>
    StaticStorage<
        C,
        IDS,
        WINDOWS,
        ROWS,
        CORRECTED,
        SLICES,
        COUNTS,
        TOTALS,
        PADDED_BUCKETS,
        SAMPLES,
        SCRATCH,
        IN_FLIGHT,
        SLOWEST,
        LIMITS,
        TALLIES,
        SILENCES,
        NUMBERS,
        HISTOGRAM,
    >
{
    /// The shape from which [`storage!`](crate::storage!) computed the parameters of this type. The
    /// only difference is a `limit_slices` of 0 if there are no limits, as it cannot be computed
    /// then.
    const SHAPE: Shape = {
        let events = ROWS - CORRECTED;
        let slices = divide_or_zero(SLICES, ROWS);
        Shape {
            events,
            ids: IDS,
            windows: WINDOWS,
            slices,
            // The scratch memory has an element for each buffered sample of one event.
            samples: SCRATCH,
            scale: low_byte(HISTOGRAM),
            lowest: low_byte(HISTOGRAM >> 8),
            octaves: low_byte(HISTOGRAM >> 16),
            unit: if HISTOGRAM >> 24 == TimeUnit::Fine as usize {
                TimeUnit::Fine
            } else {
                TimeUnit::Coarse
            },
            in_flight: IN_FLIGHT,
            // Each event has a list for each slice, one for the total and one for its staged
            // samples: see `Shape::exemplar_lists`.
            slowest: divide_or_zero(SLOWEST, events * (slices + 2)),
            corrected: CORRECTED,
            numbers: NUMBERS,
            limits: LIMITS,
            limit_slices: divide_or_zero(TALLIES, LIMITS),
            silences: SILENCES,
        }
    };

    /// Creates an empty storage.
    #[expect(
        clippy::new_without_default,
        reason = "`new` is used in constants, where `Default::default` cannot be called"
    )]
    pub const fn new() -> Self {
        Self {
            row_of_id: [0; IDS],
            windows: [Window::EMPTY; WINDOWS],
            rows: [RowState::EMPTY; ROWS],
            slices: [PackedMoments::EMPTY; SLICES],
            counts: [C::ZERO; COUNTS],
            totals: [0; TOTALS],
            folded: [0; PADDED_BUCKETS],
            samples: [Sample::NONE; SAMPLES],
            scratch: [EMPTY_SCRATCH; SCRATCH],
            in_flight: [OpenSpan::EMPTY; IN_FLIGHT],
            slowest: [Exemplar::EMPTY; SLOWEST],
            limits: [Rule::EMPTY; LIMITS],
            tallies: [Tally::EMPTY; TALLIES],
            silences: [Silence::EMPTY; SILENCES],
        }
    }
}

impl<
    C: Count,
    const IDS: usize,
    const WINDOWS: usize,
    const ROWS: usize,
    const CORRECTED: usize,
    const SLICES: usize,
    const COUNTS: usize,
    const TOTALS: usize,
    const PADDED_BUCKETS: usize,
    const SAMPLES: usize,
    const SCRATCH: usize,
    const IN_FLIGHT: usize,
    const SLOWEST: usize,
    const LIMITS: usize,
    const TALLIES: usize,
    const SILENCES: usize,
    const NUMBERS: usize,
    const HISTOGRAM: usize,
> Storage
    for &mut StaticStorage<
        C,
        IDS,
        WINDOWS,
        ROWS,
        CORRECTED,
        SLICES,
        COUNTS,
        TOTALS,
        PADDED_BUCKETS,
        SAMPLES,
        SCRATCH,
        IN_FLIGHT,
        SLOWEST,
        LIMITS,
        TALLIES,
        SILENCES,
        NUMBERS,
        HISTOGRAM,
    >
{
    type Count = C;

    // `Self` is a reference, so its `Target` is the `StaticStorage` with these parameters.
    const ABSENT: Absent = Absent::of(&<Self as core::ops::Deref>::Target::SHAPE);

    #[inline(always)]
    fn shape(&self) -> Shape {
        <Self as core::ops::Deref>::Target::SHAPE
    }

    fn parts(&mut self) -> StorageParts<'_, C> {
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
