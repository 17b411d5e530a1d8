//! The counts of a histogram, packed into few bytes.

/// The counts of neighbouring buckets of a histogram, in as few bytes as they need. Those of a
/// report are usually small, and one sample far from the others leaves many buckets between them
/// empty.
///
/// The counts form blocks. A block is a byte with the *width*, and then each count in as many
/// bytes, the lowest byte first. A block of empty buckets has the width 0.
#[derive(Clone, Default, PartialEq)]
pub(super) struct PackedCounts {
    /// The number of counts. The last block may have more, which are 0.
    len: usize,
    bytes: Vec<u8>,
}

/// The number of counts in a block.
const BLOCK: usize = 16;

/// The byte that stands for each width.
const WIDTH_BYTES: [u8; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 8];

/// The size of a block with the largest counts, in bytes.
const MAX_BYTES: usize = size_of_block(size_of::<u64>());

/// The smallest number of bytes by which the memory grows.
const MIN_GROWTH: usize = 64;

impl PackedCounts {
    /// Packs these counts.
    pub(super) fn new(counts: &[u64]) -> Self {
        let mut packed = Self::default();
        packed.replace(counts);
        packed
    }

    /// Replaces the counts. Reuses the allocated memory.
    pub(super) fn replace(&mut self, counts: &[u64]) {
        self.len = counts.len();
        self.bytes.clear();
        let (blocks, rest) = counts.as_chunks();
        let all = counts.len().div_ceil(BLOCK);
        for (left, block) in (1..=all).rev().zip(blocks) {
            self.push(block, left);
        }
        if !rest.is_empty() {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            self.push(&block, 1);
        }
    }

    /// Returns how many bytes the counts have on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns how many bytes so many counts have on the heap at most.
    pub(super) const fn max_heap_bytes(counts: usize) -> usize {
        counts.div_ceil(BLOCK) * MAX_BYTES
    }

    /// Returns all counts, those of empty buckets included.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        let mut bytes = self.bytes.as_slice();
        let blocks = core::iter::from_fn(move || {
            let (width, rest) = bytes.split_first()?;
            let width = usize::from(*width);
            let (block, rest) = rest.split_at(BLOCK * width);
            bytes = rest;
            Some((0..BLOCK).map(move |index| number(&block[index * width..][..width])))
        });
        blocks.flatten().take(self.len)
    }

    /// Adds a block, after which `left - 1` others follow.
    #[inline]
    fn push(&mut self, block: &[u64; BLOCK], left: usize) {
        let bits = block.iter().fold(0, |bits, count| bits | count);
        match bits {
            0 => self.push_bytes::<0>(block, left),
            1..=0xFF => self.push_bytes::<1>(block, left),
            0x100..=0xFFFF => self.push_bytes::<2>(block, left),
            0x1_0000..=0xFFFF_FFFF => self.push_bytes::<4>(block, left),
            _ => self.push_bytes::<8>(block, left),
        }
    }

    /// Adds the lowest `WIDTH` bytes of each count.
    #[inline]
    fn push_bytes<const WIDTH: usize>(&mut self, block: &[u64; BLOCK], left: usize) {
        if self.bytes.capacity() - self.bytes.len() < size_of_block(WIDTH) {
            self.grow(size_of_block(WIDTH), left);
        }
        self.bytes.push(WIDTH_BYTES[WIDTH]);
        let low = |count: u64| core::array::from_fn::<_, WIDTH, _>(|at| count.to_le_bytes()[at]);
        self.bytes.extend_from_slice(block.map(low).as_flattened());
    }

    /// Makes room for the next of the `left` blocks that are still to be added.
    #[cold]
    fn grow(&mut self, next: usize, left: usize) {
        // Not by doubling, because many events have reports.
        let growth = next.max(MIN_GROWTH).max(self.bytes.len() / 4);
        self.bytes.reserve_exact(growth.min(left * MAX_BYTES));
    }
}

/// Returns the size in bytes of a block of this width.
const fn size_of_block(width: usize) -> usize {
    1 + BLOCK * width
}

/// Returns the number with these bytes, the lowest first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << u8::BITS | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_counts_stay_the_same(
            lists in prop::collection::vec(
                prop::collection::vec((0..96_u32, any::<u64>()), 0..300),
                1..4,
            ),
        ) {
            let mut packed = PackedCounts::default();
            for list in lists {
                // Of all sizes, and often 0.
                let count = |(bits, number): &(u32, u64)| number.checked_shr(*bits).unwrap_or(0);
                let counts: Vec<u64> = list.iter().map(count).collect();
                packed.replace(&counts);
                prop_assert_eq!(packed.iter().collect::<Vec<_>>(), counts.clone());
                prop_assert!(packed == PackedCounts::new(&counts));
            }
        }
    }

    #[test]
    fn the_largest_counts_and_empty_buckets_at_the_ends_stay_the_same() {
        for counts in [&[][..], &[0], &[0; 1_000], &[0, u64::MAX, 0, 0], &[u64::MAX, 1 << 63]] {
            assert_eq!(PackedCounts::new(counts).iter().collect::<Vec<_>>(), counts);
        }
    }

    #[test]
    fn counts_take_as_few_bytes_as_they_need_and_far_samples_add_little() {
        let bytes = |counts: &[u64]| PackedCounts::new(counts).heap_bytes();
        let (few, many) = ([3; 192], [3_000; 192]);
        assert!(bytes(&few) <= 192 * 5 / 4, "{}", bytes(&few));
        assert!(bytes(&many) <= 2 * 192 * 5 / 4, "{}", bytes(&many));
        let far = [&few[..], &[0; 320], &[1]].concat();
        assert!(bytes(&far) <= bytes(&few) + 64, "{}", bytes(&far));
        for buckets in [1_usize, 15, 16, 17, 1_539] {
            let most = PackedCounts::max_heap_bytes(buckets);
            assert!(bytes(&vec![u64::MAX; buckets]) <= most, "{buckets} buckets");
            assert!(most <= buckets.next_multiple_of(BLOCK) * 81 / 10, "{buckets} buckets");
        }
    }
}
