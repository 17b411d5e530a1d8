//! How the bucket counts of a row's slices lie in memory.
//!
//! A few neighbouring places make a *block*, and the blocks of one slice after the other lie together. So a window is added up,
//! and samples are poured in, by whole blocks, which takes an instruction for several counts; and few places that all slices
//! share take few pages.

use core::ops::Range;

use crate::{
    counter_width::{CountWord, narrow, widen},
    histogram::Count,
    packed_moments::PackedMoments,
    storage::Shape,
};

/// Places in a block: as many counters of 32 bits as a line of the cache holds. Where registers have 32 bits nothing adds several
/// at once, and room is scarce.
pub(crate) const BLOCK: usize = if IN_BLOCKS { 16 } else { 1 };

/// Whether there are any such blocks.
const IN_BLOCKS: bool = cfg!(target_pointer_width = "64");

/// This many places fill whole blocks.
#[inline(always)]
pub(crate) const fn filled(places: usize) -> usize {
    places.next_multiple_of(BLOCK)
}

/// The blocks that hold these places.
fn blocks(places: &Range<usize>) -> Range<usize> {
    places.start / BLOCK..places.end.div_ceil(BLOCK)
}

/// Counts of all places, as whole blocks.
fn by_blocks(counts: &[CountWord]) -> &[[CountWord; BLOCK]] {
    counts.as_chunks().0
}

/// Without a branch for each count.
#[inline]
fn is_empty(block: &[CountWord; BLOCK]) -> bool {
    block.iter().fold(0, |all, count| all | count) == 0
}

/// The counts of a row's slices.
pub(crate) struct BucketCounts<'a, C> {
    blocks: &'a mut [[C; BLOCK]],
    slices: usize,
}

impl<'a, C: Count> BucketCounts<'a, C> {
    /// Those of this row among those of all rows.
    #[inline(always)]
    pub(crate) fn of(all: &'a mut [C], shape: Shape, row: usize) -> Self {
        let of_row = shape.room() * shape.slices;
        Self { blocks: all[row * of_row..][..of_row].as_chunks_mut().0, slices: shape.slices }
    }

    /// Counts samples of this weight at a place of a slice; what found no room.
    pub(crate) fn add(&mut self, slice: usize, place: usize, weight: u64) -> u64 {
        self.blocks[place / BLOCK * self.slices + slice][place % BLOCK].add(weight)
    }

    /// What so many slices from the `first` on counted at a place; the largest number if it is more.
    #[inline(always)]
    pub(crate) fn at(&self, place: usize, first: usize, slices: usize) -> CountWord {
        let of_place = self.blocks.iter().skip(place / BLOCK * self.slices + first).take(slices);
        of_place.fold(0, |sum: CountWord, counts| {
            sum.saturating_add(narrow(counts[place % BLOCK].get()))
        })
    }

    /// Adds counts of all places, of which these are in use, to a slice that weighs so much with them; what found no room.
    pub(crate) fn add_all(
        &mut self,
        slice: usize,
        counts: &[CountWord],
        used: &Range<usize>,
        weight: u64,
    ) -> u64 {
        let mut full = 0_u64;
        if !IN_BLOCKS {
            for place in used.clone() {
                let count = &mut self.blocks[place * self.slices + slice][0];
                full += widen(count.add_word(counts[place]));
            }
            return full;
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
                counts
                    .for_each(|(count, more)| full = full.saturating_add(count.add(widen(*more))));
            }
        }
        full
    }

    /// Adds up slices from the `first` on, at the places in use, to `sums` of all places: those of the blocks they lie in. `moments`
    /// are those of each slice, together of the weight `weight`; where `totals` has nothing the slices have nothing.
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
            // Most places were never used, and need not be looked at in each slice.
            if is_empty(&by_blocks(totals)[block]) {
                sums[block] = [0; BLOCK];
                continue;
            }
            let of_slices = &self.blocks[block * self.slices + first..][..moments.len()];
            // A line of the cache that need not be fetched.
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

    /// Empties a slice that has counts at these places only, and only where `totals` has some.
    pub(crate) fn clear(&mut self, slice: usize, used: &Range<usize>, totals: &[CountWord]) {
        for block in blocks(used) {
            if !IN_BLOCKS || !is_empty(&by_blocks(totals)[block]) {
                self.blocks[block * self.slices + slice] = [C::ZERO; BLOCK];
            }
        }
    }
}

/// Whether a counter is wide enough for all of what weighs so much. Where registers have 32 bits, what found no room in a sum of moments is
/// in the counts all the same.
fn fits<C: Count>(weight: u64) -> bool {
    cfg!(target_pointer_width = "64") && weight <= C::MAX
}

/// The sum of blocks, which no counter is too narrow for.
// A function of its own, so that it adds as many counts at once as fit: else they are widened in the same stroke, and half as many do.
#[inline(never)]
fn narrow_sum<'c, C: Count + 'c>(blocks: impl Iterator<Item = &'c [C; BLOCK]>) -> [C; BLOCK] {
    let mut sums = [C::ZERO; BLOCK];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, count)| *sum = sum.plus(*count));
    }
    sums
}

/// The sum of blocks. There are not 2^64 samples in a window.
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

    /// Samples of a slice by place and weight, and whether it is emptied then.
    type Step = (usize, Vec<(usize, u64)>, bool);

    /// Against a table of slices and places, in counters as narrow as to be full now and then.
    fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
        let mut all = vec![0_u16; SHAPE.all_counts()];
        let mut plain = vec![vec![0_u64; PLACES]; SHAPE.slices];
        let (mut totals, mut sums) = (vec![0; SHAPE.room()], vec![CountWord::MAX; SHAPE.room()]);
        let mut moments = vec![PackedMoments::EMPTY; SHAPE.slices];
        let weigh = |sums: &mut PackedMoments, weight: u64| {
            (0..16).filter(|bit| weight >> bit & 1 == 1).for_each(|bit| {
                assert_eq!(sums.merge(&Moments::of(WeightedSample::new(1, bit).unwrap())), 0)
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
            let mut full = 0;
            if let [(place, weight)] = added[..] {
                full += counts.add(slice, place, weight);
            } else {
                full += counts.add_all(slice, &staged, &used, moments[slice].weight());
            }
            let mut expected = 0;
            for (count, more) in plain[slice].iter_mut().zip(&staged) {
                let sum = *count + widen(*more);
                *count = sum.min(u16::MAX.into());
                expected += sum - *count;
            }
            prop_assert_eq!(full, expected);
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
            "the other row is left alone"
        );
        Ok(())
    }

    proptest! {
        #[test]
        fn blocks_count_as_a_plain_table_does(
            steps in proptest::collection::vec(
                (
                    0..SHAPE.slices,
                    proptest::collection::vec((0..PLACES, prop_oneof![1..100_u64, 1..60_000_u64]), 0..6),
                    proptest::bool::weighted(0.2),
                ),
                1..40,
            ),
        ) {
            check(steps)?;
        }
    }
}
