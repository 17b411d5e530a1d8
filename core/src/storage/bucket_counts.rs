//! The memory layout of the bucket counts of one row's slices.
//!
//! A window is cut into intervals of equal length, its *slices*. Each slice of each window has a
//! histogram for every *row*: an event, or the corrected summary of an event (corrected for
//! coordinated omission). The slices of a row are numbered consecutively across all windows.
//!
//! A few neighbouring buckets form a *block*. Within a window (in compact storage, within a row),
//! blocks that cover the same buckets in different slices are adjacent: block 0 of every slice,
//! then block 1 of every slice, and so on. With the slices A, B and C, the order is A0 B0 C0 A1 B1
//! C1 ….
//!
//! In wide storage, the rows are divided into *groups* of [`ROWS_PER_GROUP`], and the blocks that
//! cover the same buckets in the rows of a group are adjacent, too: with the rows R and S, A0 B0 C0
//! of R, A0 B0 C0 of S, A1 B1 C1 of R …. The counts since the start lie in groups as well.
//!
//! - Blocks let one vector instruction add several counts.
//! - The interleaved order lets the slices of a window be summed from adjacent memory. It also
//!   keeps the counts of an event in few pages, because its samples usually fall into few buckets,
//!   the same ones in all slices.
//! - The values of different events usually fall into few blocks, most of them the same ones. In a
//!   group, the counts of these blocks fill pages of memory, and the pages of the others stay
//!   unused.
//! - In wide storage, a window whose samples are all in the sample buffer needs no counts. So the
//!   counts of each window lie in pages of their own, which then stay unused.

use core::ops::Range;

use super::used_blocks::UsedBlocks;
use crate::{
    repr::{Repr, StoredMoments},
    statistics::{histogram::count::Count, window::Window},
};

/// The number of buckets in a block: 16 counters of 32 bits fill a cache line of 64 bytes.
pub(crate) const BLOCK: usize = 16;

/// The number of rows in a group: few, so that a row has its counts in few pages.
const ROWS_PER_GROUP: usize = 8;

/// Rounds a number of buckets up to whole blocks.
#[inline(always)]
pub(crate) const fn padded(buckets: usize) -> usize {
    buckets.next_multiple_of(BLOCK)
}

/// Returns the indices of the blocks that contain the buckets with the given indices.
pub(super) fn blocks(buckets: &Range<usize>) -> Range<usize> {
    buckets.start / BLOCK..buckets.end.div_ceil(BLOCK)
}

/// Splits the counts of a histogram's buckets into blocks.
pub(super) fn by_blocks<N: Count>(counts: &[N]) -> &[[N; BLOCK]] {
    counts.as_chunks().0
}

/// The place of a row in its group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InGroup {
    /// The first row of the group.
    first: usize,
    /// The number of rows in the group.
    rows: usize,
    /// The number of the row in the group.
    row: usize,
}

impl InGroup {
    /// Returns the place of a row among `rows` rows.
    #[inline(always)]
    pub(crate) const fn new<R: Repr>(row: usize, rows: usize) -> Self {
        if R::IS_COMPACT {
            return Self { first: row, rows: 1, row: 0 };
        }
        let first = row - row % ROWS_PER_GROUP;
        let rows = if rows - first < ROWS_PER_GROUP { rows - first } else { ROWS_PER_GROUP };
        Self { first, rows, row: row - first }
    }

    /// Returns the part of `counts` that contains those of the group. `per_row` is the number of
    /// counts in each row. Returns an empty part if `counts` has no such part.
    #[inline(always)]
    fn section<C>(self, counts: &mut [C], per_row: usize) -> &mut [C] {
        let (first, len) = (self.first * per_row, self.rows * per_row);
        counts.get_mut(first..).and_then(|rest| rest.get_mut(..len)).unwrap_or_default()
    }
}

/// Returns whether all counts of a block are 0.
// Without a branch for each count, the compiler checks several counts by one vector instruction.
#[inline]
pub(super) fn is_empty<N: Count>(block: &[N; BLOCK]) -> bool {
    block.iter().fold(0, |all, count| all | count.get()) == 0
}

/// The bucket counts of the slices of one row, or of one window of it, or those of one row since
/// the start, which are its only slice. `C` is the type of a stored count.
pub(crate) struct BucketCounts<'a, C> {
    /// The blocks of the row's group, in the order that the module's docs describe.
    blocks: &'a mut [[C; BLOCK]],
    /// The number of blocks in each slice.
    per_slice: usize,
    /// The position of block 0 of slice 0, modulo 2^64 or 2^32: it may lie before the first block.
    origin: usize,
    /// The distance between two blocks of a slice.
    stride: usize,
    /// The number of rows in the group, and the number of the row in it.
    rows: u8,
    row: u8,
}

impl<'a, C: Count> BucketCounts<'a, C> {
    /// Borrows the counts of the row at `place`. In each row, `slices` slices have a histogram of
    /// `buckets` buckets, a [`padded`] number. `counts` has those of all rows.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "at most `ROWS_PER_GROUP`")]
    pub(crate) fn new(
        counts: &'a mut [C],
        place: InGroup,
        (slices, buckets): (usize, usize),
    ) -> Self {
        let blocks = place.section(counts, slices * buckets).as_chunks_mut().0;
        Self {
            blocks,
            per_slice: buckets / BLOCK,
            origin: place.row * slices,
            stride: place.rows * slices,
            rows: place.rows as u8,
            row: place.row as u8,
        }
    }

    /// Borrows the counts of a window. In compact storage, these are those of the row.
    #[inline(always)]
    pub(crate) fn of_window<R: Repr>(&mut self, window: &Window) -> BucketCounts<'_, C> {
        let Self { per_slice, origin, stride, rows, row, .. } = *self;
        if R::IS_COMPACT {
            return BucketCounts { blocks: self.blocks, per_slice, origin, stride, rows, row };
        }
        let slices = window.slice_indices();
        let per_block = per_slice * usize::from(rows);
        let blocks = slices.start * per_block..slices.end * per_block;
        let blocks = self.blocks.get_mut(blocks).unwrap_or_default();
        let origin = (usize::from(row) * slices.len()).wrapping_sub(slices.start);
        let stride = usize::from(rows) * slices.len();
        BucketCounts { blocks, per_slice, origin, stride, rows, row }
    }

    /// Returns the position of a block of a slice.
    #[inline(always)]
    const fn position(&self, block: usize, slice: usize) -> usize {
        self.origin.wrapping_add(block * self.stride + slice)
    }

    /// Adds `weight` to the counter of a bucket in a slice. Returns the weight that did not fit.
    pub(crate) fn add(&mut self, slice: usize, bucket: usize, weight: u64) -> u64 {
        self.blocks[self.position(bucket / BLOCK, slice)][bucket % BLOCK].add(weight)
    }

    /// Returns the sum of a bucket's counts in `slices` consecutive slices. `first` is the index of
    /// the first of them. The sum saturates at [`Count::MAX`].
    #[inline(always)]
    pub(crate) fn sum_at<N: Count>(&self, bucket: usize, first: usize, slices: usize) -> N {
        let blocks = self.blocks.iter().skip(self.position(bucket / BLOCK, first)).take(slices);
        blocks.fold(N::ZERO, |sum, counts| {
            sum.saturating_sum(N::saturating_from(counts[bucket % BLOCK].get()))
        })
    }

    /// Adds a histogram's counts to those of a slice. Returns the weight that did not fit.
    ///
    /// `counts` has [`padded`] length, and `used` is a range of bucket indices outside of
    /// which all counts are 0. `weight` is the weight of all samples in the slice, including those
    /// that this call adds.
    pub(crate) fn add_all<R: Repr>(
        &mut self,
        slice: usize,
        counts: &[R::Counter],
        used: &Range<usize>,
        weight: u64,
    ) -> u64 {
        let mut excess = 0_u64;
        let fits = !R::IS_COMPACT && fits::<C>(weight);
        for block in blocks(used) {
            let more = &by_blocks(counts)[block];
            if !R::IS_COMPACT && is_empty(more) {
                continue;
            }
            let position = self.position(block, slice);
            let counts = self.blocks[position].iter_mut().zip(more);
            if fits {
                counts.for_each(|(count, more)| {
                    *count = count.wrapping_sum(C::from_u64(more.get()));
                });
            } else {
                counts.for_each(|(count, more)| {
                    excess += count.add(more.get());
                });
            }
        }
        excess
    }

    /// Sums the counts of a window's slices for each bucket and writes the sums to `sums`, which
    /// has [`padded`] length. Writes only the blocks that contain the buckets in `used`, a
    /// range of indices.
    ///
    /// `first` is the index of the window's first slice, `moments` has an element for each of its
    /// slices, in order, and `weight` is their total weight. Blocks that are not in `used_blocks`
    /// have never had a sample.
    pub(crate) fn sum<R: Repr>(
        &self,
        (first, moments, weight): (usize, &[R::Moments], u64),
        used: &Range<usize>,
        used_blocks: UsedBlocks,
        sums: &mut [R::Counter],
    ) {
        let sums = sums.as_chunks_mut::<BLOCK>().0;
        let fits = fits::<C>(weight);
        for block in blocks(used) {
            // Most blocks have had no sample since the start, so no slice of them needs to be read.
            if !R::IS_COMPACT && !used_blocks.contains(block) {
                sums[block] = [Count::ZERO; BLOCK];
                continue;
            }
            // Skipping a slice without samples saves fetching a cache line.
            let counted = self.blocks[self.position(block, first)..][..moments.len()]
                .iter()
                .zip(moments)
                .filter(|(_, moments)| moments.count() > 0)
                .map(|(counts, _)| counts);
            sums[block] = if fits {
                narrow_sum(counted).map(|sum| Count::saturating_from(sum.get()))
            } else {
                wide_sum(counted)
            };
        }
    }

    /// Writes the counts of a slice to `copy`, which has [`padded`] length. Writes only the blocks
    /// that contain the buckets in `used`, a range of indices.
    pub(crate) fn copy(&self, slice: usize, used: &Range<usize>, copy: &mut [C]) {
        for block in blocks(used) {
            copy.as_chunks_mut().0[block] = self.blocks[self.position(block, slice)];
        }
    }

    /// Sets all counts of a slice to 0.
    ///
    /// `used`, a range of bucket indices, must include every bucket of the slice with a count other
    /// than 0. Blocks that are not in `used_blocks` have never had a sample.
    pub(crate) fn clear<R: Repr>(
        &mut self,
        slice: usize,
        used: &Range<usize>,
        used_blocks: UsedBlocks,
    ) {
        for block in blocks(used) {
            if R::IS_COMPACT || used_blocks.contains(block) {
                let position = self.position(block, slice);
                self.blocks[position] = [C::ZERO; BLOCK];
            }
        }
    }
}

/// Returns whether counters of type `C` can hold the counts of samples whose total weight is
/// `weight`: no count is greater than this total.
///
/// A weight of 2^64 − 1 may be saturated, and then be less than the sum of the counts. So the
/// result is `false` for it, as for the largest number of narrower counters, whose weight would
/// fit.
fn fits<C: Count>(weight: u64) -> bool {
    weight < C::MAX
}

/// Sums blocks in counters of type `C`. The sums must fit: see [`fits`].
// This must be a function of its own. If it were inlined, the compiler would convert the counts to
// 64 bits before it adds them, and a vector instruction would add fewer of them.
#[inline(never)]
fn narrow_sum<'c, C: Count + 'c>(blocks: impl Iterator<Item = &'c [C; BLOCK]>) -> [C; BLOCK] {
    let mut sums = [C::ZERO; BLOCK];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, count)| *sum = sum.wrapping_sum(*count));
    }
    sums
}

/// Sums blocks in counters of 64 bits, which saturate.
fn wide_sum<'c, C: Count + 'c, N: Count>(
    blocks: impl Iterator<Item = &'c [C; BLOCK]>,
) -> [N; BLOCK] {
    let mut sums = [0_u64; BLOCK];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, count)| *sum = sum.saturating_add(count.get()));
    }
    sums.map(N::saturating_from)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        declaration::EventInfo,
        event::EventId,
        repr::{Compact, Wide},
        statistics::{moments::Moments, select::WeightedSample, window::WindowSpec},
        storage::shape::Shape,
    };

    const EVENTS: [EventInfo; 2] = [
        EventInfo::new(EventId::new(1).unwrap(), "a"),
        EventInfo::new(EventId::new(2).unwrap(), "b"),
    ];
    const SHAPE: Shape = Shape::server(&EVENTS, &[WindowSpec::SECOND]);
    const BUCKETS: usize = SHAPE.buckets_per_histogram();

    /// More rows than a group has.
    const ROWS: usize = ROWS_PER_GROUP + 3;

    /// The index of a slice, the samples to add to it as (bucket, weight), and whether to clear the
    /// slice afterwards.
    type Step = (usize, Vec<(usize, u64)>, bool);

    /// Compares the counts with a plain table of slices and buckets. The counters have 16 bits, so
    /// that some of them saturate.
    fn check<R: Repr>(row: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
        let per_row = (SHAPE.slices, SHAPE.padded_buckets());
        let place = |row| InGroup::new::<R>(row, ROWS);
        let mut all = vec![0_u16; ROWS * per_row.0 * per_row.1];
        let mut used_blocks = UsedBlocks::new(0, SHAPE.padded_buckets());
        let mut plain = vec![vec![0_u64; BUCKETS]; SHAPE.slices];
        // The largest numbers, so that a sum which is not written is noticed.
        let mut sums = vec![R::Counter::from_u64(R::Counter::MAX); SHAPE.padded_buckets()];
        let mut moments = vec![R::Moments::EMPTY; SHAPE.slices];
        // Adds a weight of less than 2^16 as samples whose weights are powers of two.
        let add_weight = |sums: &mut R::Moments, weight: u64| {
            (0..16).filter(|bit| weight >> bit & 1 == 1).for_each(|bit| {
                assert_eq!(sums.merge(&Moments::of(WeightedSample::new(1, bit).unwrap())), 0);
            });
        };
        for (slice, added, clears) in steps {
            let mut counts = BucketCounts::new(&mut all, place(row), per_row);
            let mut staged = vec![R::Counter::ZERO; SHAPE.padded_buckets()];
            for (bucket, weight) in &added {
                assert_eq!(staged[*bucket].add(*weight), 0);
                add_weight(&mut moments[slice], *weight);
            }
            let first = added.iter().map(|(bucket, _)| *bucket).min().unwrap_or(0);
            let used = first..added.iter().map(|(bucket, _)| *bucket + 1).max().unwrap_or(0);
            used_blocks.insert_all(&staged, &used);
            let mut excess = 0;
            if let [(bucket, weight)] = added[..] {
                excess += counts.add(slice, bucket, weight);
            } else {
                let weight = moments[slice].weight();
                excess += counts.add_all::<R>(slice, &staged, &used, weight);
            }
            let mut expected = 0;
            for (count, more) in plain[slice].iter_mut().zip(&staged) {
                let sum = *count + more.get();
                *count = sum.min(u16::MAX.into());
                expected += sum - *count;
            }
            prop_assert_eq!(excess, expected);
            if clears {
                counts.clear::<R>(slice, &(0..BUCKETS), used_blocks);
                plain[slice].fill(0);
                moments[slice] = R::Moments::EMPTY;
            }
            let mut whole = Moments::EMPTY;
            for sums in &moments {
                whole.merge(&sums.moments());
            }
            counts.sum::<R>((0, &moments, whole.weight()), &(0..BUCKETS), used_blocks, &mut sums);
            for (bucket, _) in &added {
                let sum: R::Counter = counts.sum_at(*bucket, 0, SHAPE.slices);
                prop_assert_eq!(sum, sums[*bucket]);
            }
            let expected: Vec<u64> =
                (0..BUCKETS).map(|bucket| plain.iter().map(|slice| slice[bucket]).sum()).collect();
            prop_assert_eq!(
                sums[..BUCKETS].iter().map(|sum| sum.get()).collect::<Vec<_>>(),
                expected
            );
            let mut copy = vec![0; SHAPE.padded_buckets()];
            counts.copy(slice, &(0..BUCKETS), &mut copy);
            let expected = plain[slice].iter().map(|count| u16::try_from(*count).unwrap());
            prop_assert_eq!(&copy[..BUCKETS], &expected.collect::<Vec<_>>());
        }
        // The counts of the other rows have not changed.
        let sum = |counts: &[u16]| counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        let of_row: u64 = plain.iter().flatten().sum();
        prop_assert_eq!(sum(&all), of_row);
        Ok(())
    }

    proptest! {
        #[test]
        fn counts_in_blocks_equal_those_of_a_plain_table(
            is_compact in any::<bool>(),
            row in 0..ROWS,
            steps in proptest::collection::vec(
                (
                    0..SHAPE.slices,
                    proptest::collection::vec(
                        (0..BUCKETS, prop_oneof![1..100_u64, 1..60_000_u64]),
                        0..6,
                    ),
                    proptest::bool::weighted(0.2),
                ),
                1..40,
            ),
        ) {
            if is_compact { check::<Compact>(row, steps)? } else { check::<Wide>(row, steps)? }
        }
    }
}
