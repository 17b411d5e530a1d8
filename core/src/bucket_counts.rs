//! The memory layout of the bucket counts of a row's slices.
//!
//! A few neighbouring places of a histogram form a *block*. The blocks of all slices for the same
//! places are adjacent: first block 0 of every slice, then block 1 of every slice, and so on. This
//! has two advantages:
//!
//! - Staged samples are committed, and the slices of a window are summed, by whole blocks. One
//!   vector instruction adds several counts.
//! - The samples of an event usually fall into few places, the same ones in all slices. Their
//!   counts then touch few pages of memory.

use core::ops::Range;

use crate::{
    counter_width::{CountWord, narrow, widen},
    histogram::Count,
    packed_moments::PackedMoments,
    storage::Shape,
};

/// The number of places in a block: 16 counters of 32 bits fill a cache line of 64 bytes. On 32-bit
/// targets a block is a single place, because these have no vector instructions to add several
/// counts and no memory to spare for padding.
pub(crate) const BLOCK: usize = if IN_BLOCKS { 16 } else { 1 };

/// Whether a block has more than one place.
const IN_BLOCKS: bool = cfg!(target_pointer_width = "64");

/// Rounds a number of places up to whole blocks.
#[inline(always)]
pub(crate) const fn padded(places: usize) -> usize {
    places.next_multiple_of(BLOCK)
}

/// Returns the indices of the blocks that contain the given places.
fn blocks(places: &Range<usize>) -> Range<usize> {
    places.start / BLOCK..places.end.div_ceil(BLOCK)
}

/// Splits the counts of all places into blocks.
fn by_blocks(counts: &[CountWord]) -> &[[CountWord; BLOCK]] {
    counts.as_chunks().0
}

/// Returns whether all counts of a block are 0.
// The fold avoids a branch for each count.
#[inline]
fn is_empty(block: &[CountWord; BLOCK]) -> bool {
    block.iter().fold(0, |all, count| all | count) == 0
}

/// The bucket counts of a row's slices.
pub(crate) struct BucketCounts<'a, C> {
    blocks: &'a mut [[C; BLOCK]],
    slices: usize,
}

impl<'a, C: Count> BucketCounts<'a, C> {
    /// Borrows the counts of one row from the counts of all rows.
    #[inline(always)]
    pub(crate) fn of(all: &'a mut [C], shape: Shape, row: usize) -> Self {
        let of_row = shape.room() * shape.slices;
        Self { blocks: all[row * of_row..][..of_row].as_chunks_mut().0, slices: shape.slices }
    }

    /// Adds `weight` to the counter of a place in a slice. Returns the weight that did not fit.
    pub(crate) fn add(&mut self, slice: usize, place: usize, weight: u64) -> u64 {
        self.blocks[place / BLOCK * self.slices + slice][place % BLOCK].add(weight)
    }

    /// Returns the sum of a place's counts over `slices` slices from `first` on, saturating at
    /// [`CountWord::MAX`].
    #[inline(always)]
    pub(crate) fn sum_at(&self, place: usize, first: usize, slices: usize) -> CountWord {
        let of_place = self.blocks.iter().skip(place / BLOCK * self.slices + first).take(slices);
        of_place.fold(0, |sum: CountWord, counts| {
            sum.saturating_add(narrow(counts[place % BLOCK].get()))
        })
    }

    /// Adds counts to a slice. Returns the weight that did not fit.
    ///
    /// `counts` holds the counts of all places, of which at most those in `used` are not 0.
    /// `weight` is the weight of the slice after the addition.
    pub(crate) fn add_all(
        &mut self,
        slice: usize,
        counts: &[CountWord],
        used: &Range<usize>,
        weight: u64,
    ) -> u64 {
        let mut excess = 0_u64;
        if !IN_BLOCKS {
            for place in used.clone() {
                let count = &mut self.blocks[place * self.slices + slice][0];
                excess += widen(count.add_word(counts[place]));
            }
            return excess;
        }
        let fits = fits::<C>(weight);
        for block in blocks(used) {
            let more = &by_blocks(counts)[block];
            if is_empty(more) {
                continue;
            }
            let counts = self.blocks[block * self.slices + slice].iter_mut().zip(more);
            if fits {
                counts.for_each(|(count, more)| *count = count.plus(C::of(widen(*more))));
            } else {
                counts.for_each(|(count, more)| {
                    excess = excess.saturating_add(count.add(widen(*more)));
                });
            }
        }
        excess
    }

    /// Sums the counts of a window's slices and writes them to `sums`, which is indexed by place.
    /// Writes only the blocks that contain the places in `used`.
    ///
    /// `first` is the window's first slice, `moments` are the moments of each of its slices, and
    /// `weight` is their total weight. `totals` are the row's counts since the start: where such a
    /// count is 0, the counts of the slices are 0, too.
    pub(crate) fn sum(
        &self,
        (first, moments, weight): (usize, &[PackedMoments], u64),
        used: &Range<usize>,
        totals: &[CountWord],
        sums: &mut [CountWord],
    ) {
        if !IN_BLOCKS {
            for place in used.clone() {
                let of_slices = &self.blocks[place * self.slices + first..][..moments.len()];
                sums[place] = of_slices
                    .iter()
                    .fold(0, |sum: CountWord, count| sum.saturating_add(narrow(count[0].get())));
            }
            return;
        }
        let sums = sums.as_chunks_mut::<BLOCK>().0;
        let fits = fits::<C>(weight);
        for block in blocks(used) {
            // Most blocks were never used. They need not be read in every slice.
            if is_empty(&by_blocks(totals)[block]) {
                sums[block] = [0; BLOCK];
                continue;
            }
            let of_slices = &self.blocks[block * self.slices + first..][..moments.len()];
            // Skip empty slices: each saves fetching a cache line.
            let counted = of_slices
                .iter()
                .zip(moments)
                .filter(|(_, moments)| moments.count() > 0)
                .map(|(counts, _)| counts);
            sums[block] = if fits {
                narrow_sum(counted).map(|sum| narrow(sum.get()))
            } else {
                wide_sum(counted)
            };
        }
    }

    /// Sets all counts of a slice to 0.
    ///
    /// `used` must include every place of the slice whose count is not 0. `totals` are the row's
    /// counts since the start: where such a count is 0, the count of the slice is 0, too.
    pub(crate) fn clear(&mut self, slice: usize, used: &Range<usize>, totals: &[CountWord]) {
        for block in blocks(used) {
            if !IN_BLOCKS || !is_empty(&by_blocks(totals)[block]) {
                self.blocks[block * self.slices + slice] = [C::ZERO; BLOCK];
            }
        }
    }
}

/// Returns whether no counter of type `C` can overflow while the total weight is at most `weight`.
///
/// Always `false` on 32-bit targets. There, the weight of a slice's moments saturates at 2^32 − 1,
/// while the sum of its counts can exceed that.
fn fits<C: Count>(weight: u64) -> bool {
    cfg!(target_pointer_width = "64") && weight <= C::MAX
}

/// Sums blocks in counters of type `C`. The caller guarantees that the sums fit.
// This must be a function of its own. If it were inlined, the compiler would widen the counts while
// adding them, and a vector instruction would add only half as many.
#[inline(never)]
fn narrow_sum<'c, C: Count + 'c>(blocks: impl Iterator<Item = &'c [C; BLOCK]>) -> [C; BLOCK] {
    let mut sums = [C::ZERO; BLOCK];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, count)| *sum = sum.plus(*count));
    }
    sums
}

/// Sums blocks in counters of 64 bits, which cannot overflow: a window has fewer than 2^64 samples.
fn wide_sum<'c, C: Count + 'c>(blocks: impl Iterator<Item = &'c [C; BLOCK]>) -> [CountWord; BLOCK] {
    let mut sums = [0_u64; BLOCK];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, count)| *sum = sum.wrapping_add(count.get()));
    }
    sums.map(narrow)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::{EventId, EventInfo, Moments, WeightedSample, WindowSpec};

    const EVENTS: [EventInfo; 2] = [
        EventInfo::new(EventId::new(1).unwrap(), "a"),
        EventInfo::new(EventId::new(2).unwrap(), "b"),
    ];
    const SHAPE: Shape = Shape::server(&EVENTS, &[WindowSpec::SECOND]);
    const PLACES: usize = SHAPE.places();

    /// A slice, the samples to add to it as (place, weight), and whether to clear it afterwards.
    type Step = (usize, Vec<(usize, u64)>, bool);

    /// Compares the counts with a plain table of slices and places. The counters have 16 bits, so
    /// that some of them fill up.
    fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
        let mut all = vec![0_u16; SHAPE.all_counts()];
        let mut plain = vec![vec![0_u64; PLACES]; SHAPE.slices];
        let (mut totals, mut sums) = (vec![0; SHAPE.room()], vec![CountWord::MAX; SHAPE.room()]);
        let mut moments = vec![PackedMoments::EMPTY; SHAPE.slices];
        let weigh = |sums: &mut PackedMoments, weight: u64| {
            (0..16).filter(|bit| weight >> bit & 1 == 1).for_each(|bit| {
                assert_eq!(sums.merge(&Moments::of(WeightedSample::new(1, bit).unwrap())), 0);
            });
        };
        for (slice, added, clears) in steps {
            let mut counts = BucketCounts::of(&mut all, SHAPE, 1);
            let mut staged = vec![0; SHAPE.room()];
            for (place, weight) in &added {
                staged[*place] += narrow(*weight);
                totals[*place] += narrow(*weight);
                weigh(&mut moments[slice], *weight);
            }
            let first = added.iter().map(|(place, _)| *place).min().unwrap_or(0);
            let used = first..added.iter().map(|(place, _)| *place + 1).max().unwrap_or(0);
            let mut excess = 0;
            if let [(place, weight)] = added[..] {
                excess += counts.add(slice, place, weight);
            } else {
                excess += counts.add_all(slice, &staged, &used, moments[slice].weight());
            }
            let mut expected = 0;
            for (count, more) in plain[slice].iter_mut().zip(&staged) {
                let sum = *count + widen(*more);
                *count = sum.min(u16::MAX.into());
                expected += sum - *count;
            }
            prop_assert_eq!(excess, expected);
            if clears {
                counts.clear(slice, &(0..PLACES), &totals);
                plain[slice].fill(0);
                moments[slice] = PackedMoments::EMPTY;
            }
            let mut whole = Moments::EMPTY;
            for sums in &moments {
                sums.add_to(&mut whole);
            }
            counts.sum((0, &moments, whole.weight()), &(0..PLACES), &totals, &mut sums);
            let expected: Vec<u64> =
                (0..PLACES).map(|place| plain.iter().map(|slice| slice[place]).sum()).collect();
            prop_assert_eq!(
                sums[..PLACES].iter().copied().map(widen).collect::<Vec<_>>(),
                expected
            );
        }
        prop_assert!(
            all[..all.len() / 2].iter().all(|count| *count == 0),
            "the counts of another row have changed"
        );
        Ok(())
    }

    proptest! {
        #[test]
        fn blocks_count_like_a_plain_table(
            steps in proptest::collection::vec(
                (
                    0..SHAPE.slices,
                    proptest::collection::vec(
                        (0..PLACES, prop_oneof![1..100_u64, 1..60_000_u64]),
                        0..6,
                    ),
                    proptest::bool::weighted(0.2),
                ),
                1..40,
            ),
        ) {
            check(steps)?;
        }
    }
}
