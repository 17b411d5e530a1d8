//! Lists of the samples that a query has selected in a sample buffer.

use super::compact::CompactSample;
use crate::statistics::select::WeightedSample;

/// Weighted samples in no particular order.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Samples<'a> {
    /// Some of the samples.
    list: &'a [WeightedSample],
    /// The other samples: a part of a compact sample buffer, and the indices of the samples in it.
    indexed: (&'a [CompactSample], &'a [u16]),
}

impl<'a> Samples<'a> {
    /// Returns the elements of `buffer` with these indices.
    pub(crate) const fn indexed(buffer: &'a [CompactSample], indices: &'a [u16]) -> Self {
        Self { list: &[], indexed: (buffer, indices) }
    }

    /// Returns an iterator over the samples.
    pub fn iter(&self) -> impl Iterator<Item = WeightedSample> + Clone + use<'a> {
        let (buffer, indices) = self.indexed;
        let indexed = indices.iter().map(|index| buffer[usize::from(*index)].unpack());
        self.list.iter().copied().chain(indexed)
    }
}

impl<'a> From<&'a [WeightedSample]> for Samples<'a> {
    fn from(list: &'a [WeightedSample]) -> Self {
        Self { list, indexed: (&[], &[]) }
    }
}
