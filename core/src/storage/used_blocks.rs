//! Which buckets of a row have ever had a sample.

use core::ops::Range;

use super::bucket_counts::{BLOCK, blocks, by_blocks, is_empty};
use crate::statistics::histogram::count::Count;

/// Which blocks of a row have ever had a sample: a bit for each block or, if there are more than
/// 64, for each 2^`shift` neighbouring blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsedBlocks {
    bits: u64,
    shift: u8,
}

impl UsedBlocks {
    /// Creates the set with these bits, for a histogram with this
    /// [`padded`](super::bucket_counts::padded) number of buckets.
    pub(crate) const fn new(bits: u64, buckets: usize) -> Self {
        let mut shift = 0;
        while (buckets / BLOCK).div_ceil(1 << shift) > u64::BITS as usize {
            shift += 1;
        }
        Self { bits, shift }
    }

    /// Returns the bits.
    pub(crate) const fn bits(self) -> u64 {
        self.bits
    }

    /// Adds the block that contains this bucket.
    #[inline(always)]
    pub(crate) const fn insert(&mut self, bucket: usize) {
        self.bits |= 1 << ((bucket / BLOCK) >> self.shift);
    }

    /// Adds the blocks among those of `used`, a range of bucket indices, in which `counts` are not
    /// all 0. `counts` has [`padded`](super::bucket_counts::padded) length.
    pub(crate) fn insert_all<N: Count>(&mut self, counts: &[N], used: &Range<usize>) {
        for block in blocks(used) {
            if !is_empty(&by_blocks(counts)[block]) {
                self.insert(block * BLOCK);
            }
        }
    }

    /// Returns whether this block has ever had a sample, or a neighbour with the same bit.
    #[inline(always)]
    pub(super) const fn contains(self, block: usize) -> bool {
        self.bits >> (block >> self.shift) & 1 != 0
    }

    /// Returns the number of buckets in the blocks.
    pub(crate) const fn buckets(self) -> usize {
        ((self.bits.count_ones() as usize) << self.shift) * BLOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::histogram::buckets::Buckets;

    #[test]
    fn every_bucket_of_every_histogram_has_a_bit() {
        for (scale, octaves) in (0..=8).flat_map(|scale| (1..=64).map(move |o| (scale, o))) {
            let buckets = Buckets::new(scale, 0, octaves).unwrap().len();
            let padded = buckets.next_multiple_of(BLOCK);
            let blocks = padded / BLOCK;
            let mut used = UsedBlocks::new(0, padded);
            for block in 0..blocks {
                used.insert(block * BLOCK);
                assert!(used.contains(block), "{scale} {octaves}");
            }
            assert!(used.buckets() >= padded, "{scale} {octaves}");
        }
    }
}
