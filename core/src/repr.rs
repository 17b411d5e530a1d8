//! How an aggregator stores its numbers: [`Wide`], for servers, or [`Compact`], for
//! microcontrollers.
//!
//! The type of the [`Storage`](crate::Storage) chooses one of them. The target does not: both are
//! compiled on every target, and tested on every host.
//!
//! | | `Wide` | `Compact` |
//! |---|---|---|
//! | count and weight of an event's samples since the start | 64 bits | 64 bits |
//! | a count of outcomes or of paired spans of an event, or of a bucket since the start | 64 bits | 32 bits, saturates |
//! | a bucket counter of a slice | [`Storage::Count`](crate::Storage::Count) | the same |
//! | the value of a sample | up to 60 bits | up to 44 bits |
//! | a sample in the buffer | 16 bytes: value, weight and tick | 8 bytes: value, weight and slices |
//! | samples in the buffer of an event | any number | at most 65,536 |
//! | a sum of values | 128 bits | 64 bits, saturates |
//! | the moments of a slice | 64 bytes | 40 bytes; count and weight have 32 bits and saturate |
//! | exact quantiles | selects among copies of the samples, or sorts them if they are weighted | sorts the indices of the samples |
//! | code | has fast paths for frequent cases | is small |

pub(crate) mod compact;
pub(crate) mod samples;
pub(crate) mod wide;

use self::samples::Samples;
pub use self::{
    compact::{CompactMoments, CompactSample},
    wide::WideSample,
};
use crate::{
    statistics::{
        histogram::count::Count,
        moments::{Moments, Sum},
        quantile::Quantile,
        sample_buffer::{Membership, WindowFilter},
        select::WeightedSample,
    },
    stored::Stored,
};

/// The representation for servers: fast, and no number saturates in practice (except bucket
/// counters of slices, for which the storage may choose a narrow type).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct Wide;

/// The representation for microcontrollers: little memory and little code. Its limits are those in
/// the table of the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct Compact;

/// The types in which an aggregator stores its numbers: [`Wide`] or [`Compact`].
pub trait Repr: Stored + private::Sealed {
    /// Whether numbers are narrow and may saturate, and small code matters more than speed.
    const IS_COMPACT: bool;

    /// A counter of an event, or of a bucket of its histogram since the start.
    type Counter: Count;

    /// A sum of values.
    type Sum: Sum;

    /// The moments of the samples in one slice of a window, or of an event's staged samples.
    type Moments: StoredMoments<Self>;

    /// An element of the sample buffer.
    type Sample: StoredSample;
}

mod private {
    pub trait Sealed {}
    impl Sealed for super::Wide {}
    impl Sealed for super::Compact {}
    impl Sealed for super::Moments<u128> {}
    impl Sealed for super::CompactMoments {}
    impl Sealed for super::WideSample {}
    impl Sealed for super::CompactSample {}
}

/// The moments of the samples in one slice of a window, or of an event's staged samples, as they
/// are stored.
pub trait StoredMoments<R: Repr>: Stored + private::Sealed {
    /// The moments of no samples.
    const EMPTY: Self;

    /// Returns the moments. A saturated weight or sum becomes the largest number of its type, so
    /// the bounds of quantiles allow for any amount of weight that is missing.
    fn moments(&self) -> Moments<R::Sum>;

    /// Returns the number of samples.
    fn count(&self) -> u64;

    /// Returns the total weight of the samples as it is stored: if it is saturated, the largest
    /// number that can be stored.
    fn weight(&self) -> u64;

    /// Adds the samples of `other`. Returns the weight that did not fit: 0 if the weight is stored
    /// in 64 bits.
    fn merge(&mut self, other: &Moments<R::Sum>) -> u64;

    /// Adds one sample. In compact storage, the weight before must be at most 2^31, so that the
    /// count and the weight cannot overflow here: there, the aggregator commits staged samples once
    /// they weigh more.
    fn add(&mut self, sample: R::Sample);

    /// Adds at most 2^16 samples. The caller must ensure the condition of [`add`](Self::add) for
    /// each of them.
    fn add_all(&mut self, samples: &[R::Sample]) {
        for sample in samples {
            self.add(*sample);
        }
    }
}

/// An element of the sample buffer: a value, its weight, and the windows that it belongs to.
pub trait StoredSample: Stored + private::Sealed {
    /// An unused element, which belongs to no window.
    const EMPTY: Self;

    /// The largest number of bits in a value.
    const VALUE_BITS: u32;

    /// The largest number of samples that the buffer of an event can hold.
    const MAX_SAMPLES: usize;

    /// The number of bits for the slices of all windows together. A window of n slices needs
    /// ⌊log2 n⌋ + 1 bits.
    const SLICE_BITS: u32;

    /// An element of the temporary memory in which quantiles are found.
    type Scratch: Stored;

    /// An element of empty temporary memory.
    const EMPTY_SCRATCH: Self::Scratch;

    /// Creates an element in use. The value must have at most [`VALUE_BITS`](Self::VALUE_BITS).
    fn new(weighted: WeightedSample, membership: Membership) -> Self;

    /// Returns the value and its weight.
    fn weighted(self) -> WeightedSample;

    /// Returns the tick of the sample, if the representation stores it and the sample belongs to
    /// any window.
    fn tick(self) -> Option<u64>;

    /// Removes the samples of an expired slice from its window. `slice` is the index of the slice
    /// among those of all windows.
    fn remove_slice(samples: &mut [Self], window: WindowFilter, slice: usize);

    /// Removes all samples from all windows. This is needed when the clock steps back, because
    /// ticks from before cannot be compared with later ones.
    fn clear_membership(samples: &mut [Self]);

    /// Selects the samples of a window, or all samples if `window` is `None`, and writes the values
    /// at the given quantiles to `found`. Returns the number of samples. The beginning of `scratch`
    /// then identifies them: see [`selected`](Self::selected).
    ///
    /// `count` is the number of samples that were recorded in the window. Returns `None` if
    /// `samples` does not contain all of them any more. `is_weighted` must be `true` unless every
    /// weight is 1.
    fn quantiles<const K: usize>(
        samples: &[Self],
        scratch: &mut [Self::Scratch],
        window: Option<WindowFilter>,
        count_and_is_weighted: (u64, bool),
        quantiles_and_found: (&[Quantile; K], &mut [u64; K]),
    ) -> Option<usize>;

    /// Returns the samples that [`quantiles`](Self::quantiles) has selected. `scratch` is the part
    /// of the temporary memory that it has filled.
    fn selected<'a>(samples: &'a [Self], scratch: &'a [Self::Scratch]) -> Samples<'a>;
}

#[cfg(test)]
mod tests;
