//! The sample buffer: the newest samples of each event, from which exact quantiles are found.
//!
//! A query has to select the samples that belong to its window. A window is cut into intervals of
//! equal length, its *slices*. There are two representations of a sample:
//!
//! - `wide`, on 64-bit targets: 16 bytes, a [`WeightedSample`] and its tick (clock reading). A
//!   sample belongs to a window if its tick does.
//! - `compact`, on 32-bit targets: 8 bytes. 44 bits hold the value and 4 the weight. The other 16
//!   bits are divided among the windows: those of a window hold the number of the slice that the
//!   sample belongs to, or 0 if it is in none. When a slice expires, its number is removed from its
//!   samples, so that they are not taken for samples of the slice that reuses the number.
//!
//! The buffer keeps a fixed number of samples per event. Quantiles of a window are exact as long as
//! no newer sample has replaced one of its samples. A query compares the number of samples that it
//! finds with the number that the slices have counted.

#[cfg(not(target_pointer_width = "64"))]
pub use self::compact::Scratch;
#[cfg(not(target_pointer_width = "64"))]
pub(crate) use self::compact::{
    EMPTY_SCRATCH, Membership, SliceSet, WindowFilter, assign_number_bits, check_capacity,
    clear_membership, quantiles, remove_slice,
};
#[cfg(target_pointer_width = "64")]
pub use self::wide::Scratch;
#[cfg(target_pointer_width = "64")]
pub(crate) use self::wide::{
    EMPTY_SCRATCH, Membership, SliceSet, WindowFilter, assign_number_bits, check_capacity,
    clear_membership, quantiles, remove_slice,
};
use crate::select::WeightedSample;

/// An element of the sample buffer: a value, its weight, and the windows that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sample(Inner);

#[cfg(target_pointer_width = "64")]
type Inner = wide::StoredSample;
#[cfg(not(target_pointer_width = "64"))]
type Inner = compact::StoredSample;

impl Sample {
    /// An unused element, which belongs to no window.
    pub(crate) const NONE: Self = Self(Inner::NONE);

    #[inline(always)]
    pub(crate) fn new(weighted: WeightedSample, membership: Membership) -> Self {
        Self(Inner::new(weighted, membership))
    }

    #[inline(always)]
    pub(crate) const fn weighted(self) -> WeightedSample {
        self.0.weighted()
    }

    /// Returns the value if it fits into 32 bits and the weight is 1, which is so for most samples.
    #[cfg(not(target_pointer_width = "64"))]
    #[inline(always)]
    pub(crate) const fn unweighted_u32(self) -> Option<u32> {
        self.0.unweighted_u32()
    }
}

/// Weighted samples in no particular order.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Samples<'a> {
    /// Some of the samples. On 64-bit targets, all of them.
    list: &'a [WeightedSample],
    /// The other samples: a part of the sample buffer, and the indices of the wanted samples in it.
    #[cfg(not(target_pointer_width = "64"))]
    selected: (&'a [Sample], &'a [Scratch]),
}

impl<'a> Samples<'a> {
    /// Returns the samples that [`quantiles`] has selected from the buffer. `scratch` is the part
    /// of the scratch memory that it has filled.
    #[cfg(target_pointer_width = "64")]
    pub(crate) const fn selected(_: &'a [Sample], scratch: &'a [Scratch]) -> Self {
        Self { list: scratch }
    }

    /// Returns the samples that [`quantiles`] has selected from `buffer`. `scratch` is the part of
    /// the scratch memory that it has filled.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn selected(buffer: &'a [Sample], scratch: &'a [Scratch]) -> Self {
        Self { list: &[], selected: (buffer, scratch) }
    }

    /// Returns an iterator over the samples.
    #[cfg(target_pointer_width = "64")]
    pub fn iter(&self) -> impl Iterator<Item = WeightedSample> + Clone + use<'a> {
        self.list.iter().copied()
    }

    /// Returns an iterator over the samples.
    #[cfg(not(target_pointer_width = "64"))]
    pub fn iter(&self) -> impl Iterator<Item = WeightedSample> + Clone + use<'a> {
        let (buffer, selected) = self.selected;
        let selected = selected.iter().map(|index| buffer[usize::from(*index)].weighted());
        self.list.iter().copied().chain(selected)
    }
}

impl<'a> From<&'a [WeightedSample]> for Samples<'a> {
    fn from(list: &'a [WeightedSample]) -> Self {
        Self {
            list,
            #[cfg(not(target_pointer_width = "64"))]
            selected: (&[], &[]),
        }
    }
}

#[cfg(target_pointer_width = "64")]
mod wide {
    use super::Sample;
    use crate::{
        ConfigError, Quantile, Shape, WindowSpec,
        select::{self, WeightedSample},
        window::Window,
    };

    /// An element of the scratch memory in which quantiles are found: a copy of a sample.
    pub type Scratch = WeightedSample;

    pub(crate) const EMPTY_SCRATCH: Scratch = WeightedSample::ZERO;

    /// Returns `Ok`: this representation has no limit on the number of samples, windows or slices.
    #[expect(clippy::unnecessary_wraps, reason = "the compact representation can fail")]
    pub(crate) const fn check_capacity(_: &Shape, _: &[WindowSpec]) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Does nothing, because this representation does not store slice numbers. Returns `shift`.
    pub(crate) const fn assign_number_bits(_: &mut Window, shift: u8) -> u8 {
        shift
    }

    /// A sample in 16 bytes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(super) struct StoredSample {
        weighted: WeightedSample,
        membership: Membership,
    }

    impl StoredSample {
        pub(super) const NONE: Self =
            Self { weighted: WeightedSample::ZERO, membership: Membership::NONE };

        #[inline(always)]
        pub(super) const fn new(weighted: WeightedSample, membership: Membership) -> Self {
            Self { weighted, membership }
        }

        #[inline(always)]
        pub(super) const fn weighted(self) -> WeightedSample {
            self.weighted
        }
    }

    /// The slices that a tick belongs to. Empty, because this representation stores the tick
    /// itself.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(crate) struct SliceSet;

    impl SliceSet {
        pub(crate) const NONE: Self = Self;

        #[inline(always)]
        #[expect(clippy::unused_self, reason = "the compact representation changes it")]
        pub(crate) const fn add(self, _: &Window, _: usize) {}
    }

    /// Which windows a sample belongs to, as the sample's tick plus 1, or 0 for no window.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(crate) struct Membership(u64);

    impl Membership {
        pub(crate) const NONE: Self = Self(0);

        #[inline(always)]
        pub(crate) const fn new(tick: u64, _: SliceSet) -> Self {
            Self(tick.saturating_add(1))
        }
    }

    /// Selects the samples that belong to a window, given by its first tick. A sample belongs to
    /// the window if its tick is at least this one, so that its [`Membership`] is greater.
    #[derive(Clone, Copy)]
    pub(crate) struct WindowFilter(u64);

    impl WindowFilter {
        #[inline(always)]
        pub(crate) const fn of(window: &Window) -> Self {
            Self(window.start())
        }
    }

    /// Does nothing when a slice expires: its samples have ticks before the window's first one, so
    /// they no longer belong to the window.
    #[inline(always)]
    pub(crate) const fn remove_slice(_: &mut [Sample], _: WindowFilter, _: usize) {}

    /// Removes all samples from all windows. This is needed when the clock steps back, because
    /// ticks from before cannot be compared with later ones.
    pub(crate) fn clear_membership(samples: &mut [Sample]) {
        for Sample(stored) in samples {
            stored.membership = Membership::NONE;
        }
    }

    /// Copies the samples of a window, or all samples if `window` is `None`, to `scratch` and
    /// writes the values at the given quantiles to `found`. Returns the number of samples copied.
    ///
    /// `count` is the number of samples that were recorded in the window. Returns `None` if the
    /// buffer does not hold all of them any more. `is_weighted` must be `true` unless every weight
    /// is 1.
    #[inline(always)]
    pub(crate) fn quantiles<const K: usize>(
        samples: &[Sample],
        scratch: &mut [Scratch],
        window: Option<WindowFilter>,
        (count, is_weighted): (u64, bool),
        (quantiles, found): (&[Quantile; K], &mut [u64; K]),
    ) -> Option<usize> {
        let mut selected = 0;
        for Sample(StoredSample { weighted, membership }) in samples {
            // Without a `window`, even the samples that belong to no window are selected.
            if window.is_none_or(|window| membership.0 > window.0) {
                scratch[selected] = *weighted;
                selected += 1;
            }
        }
        if selected as u64 != count {
            return None;
        }
        let scratch = &mut scratch[..selected];
        *found = if is_weighted {
            select::weighted_quantiles(scratch, *quantiles)?
        } else {
            select::quantiles(scratch, *quantiles)?.map(WeightedSample::value)
        };
        Some(selected)
    }
}

#[cfg(not(target_pointer_width = "64"))]
mod compact {
    use super::Sample;
    use crate::{
        ConfigError, Quantile, Shape, WindowSpec,
        select::{self, WeightedSample},
        window::Window,
    };

    /// An element of the scratch memory in which quantiles are found: the index of a sample.
    pub type Scratch = u16;

    pub(crate) const EMPTY_SCRATCH: Scratch = 0;

    /// The number of samples that a [`Scratch`] can index.
    const MAX_SAMPLES: usize = 1 << u16::BITS;

    /// Checks that a [`Scratch`] can index every sample of an event, and that a [`Membership`] can
    /// hold a slice number for every window.
    pub(crate) fn check_capacity(shape: &Shape, windows: &[WindowSpec]) -> Result<(), ConfigError> {
        if shape.samples > MAX_SAMPLES {
            return Err(ConfigError::TooMany {
                what: "samples per event",
                given: shape.samples,
                max: MAX_SAMPLES,
            });
        }
        let bits = windows.iter().fold(0, |bits, window| bits + Window::number_bits(window.slices));
        if shape.samples > 0 && bits > u16::BITS {
            let (given, max) = (bits as usize, u16::BITS as usize);
            return Err(ConfigError::TooMany {
                what: "bits for the slice numbers of all windows \
                       (3 for up to 7 slices, 4 for up to 15)",
                given,
                max,
            });
        }
        Ok(())
    }

    /// Assigns the bits of a [`Membership`] from `shift` on to the window's slice numbers. Returns
    /// the first bit after them, or 15 if they end at the highest bit or beyond.
    pub(crate) const fn assign_number_bits(window: &mut Window, shift: u8) -> u8 {
        window.assign_number_bits(shift)
    }

    /// A sample in 64 bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(super) struct StoredSample {
        /// From the highest bit on: the 12 high bits of the value, 4 bits with the binary logarithm
        /// of the weight, and the 16 bits of the [`Membership`].
        high: u32,
        /// The 32 low bits of the value.
        low: u32,
    }

    /// The position in `high` of the lowest bit that belongs to the value.
    const VALUE_SHIFT: u32 = u16::BITS + WeightedSample::SAMPLING_BITS;
    const _: () = assert!(WeightedSample::VALUE_BITS + VALUE_SHIFT == u64::BITS);

    #[expect(clippy::cast_possible_truncation, reason = "the fields are extracted bit by bit")]
    impl StoredSample {
        pub(super) const NONE: Self = Self { high: 0, low: 0 };

        #[inline(always)]
        pub(super) const fn new(weighted: WeightedSample, membership: Membership) -> Self {
            let value = weighted.value();
            let rest = (weighted.sampling() as u32) << u16::BITS | membership.0 as u32;
            Self { high: ((value >> u32::BITS) as u32) << VALUE_SHIFT | rest, low: value as u32 }
        }

        #[inline(always)]
        pub(super) const fn value(self) -> u64 {
            ((self.high >> VALUE_SHIFT) as u64) << u32::BITS | self.low as u64
        }

        #[inline(always)]
        pub(super) const fn weighted(self) -> WeightedSample {
            WeightedSample::from_checked_parts(self.value(), (self.high >> u16::BITS) as u8 & 0xF)
        }

        #[inline(always)]
        pub(super) const fn unweighted_u32(self) -> Option<u32> {
            if self.high >> u16::BITS == 0 { Some(self.low) } else { None }
        }

        #[inline(always)]
        pub(super) const fn membership(self) -> Membership {
            Membership(self.high as u16)
        }
    }

    /// The slices that a tick belongs to. The bits of each window hold the number of the slice, or
    /// 0 if the tick is outside the window. The number of a slice is its index minus that of the
    /// window's first slice, plus 1.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(crate) struct SliceSet(u16);

    impl SliceSet {
        pub(crate) const NONE: Self = Self(0);

        /// Adds a slice of `window`, given by its index among the slices of all windows. Must be
        /// called at most once for each window.
        pub(crate) const fn add(&mut self, window: &Window, slice: usize) {
            self.0 |= WindowFilter::of(window).slice_bits(slice);
        }
    }

    /// Which windows a sample belongs to, as a [`SliceSet`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(crate) struct Membership(u16);

    impl Membership {
        pub(crate) const NONE: Self = Self(0);

        #[inline(always)]
        pub(crate) const fn new(_: u64, slices: SliceSet) -> Self {
            Self(slices.0)
        }
    }

    /// Selects the samples that belong to a window: those whose slice number in the window's bits
    /// is not 0.
    #[derive(Clone, Copy)]
    pub(crate) struct WindowFilter {
        /// The index of the window's first slice among the slices of all windows. This slice has
        /// the number 1.
        first: usize,
        /// The position of the lowest of the window's bits.
        shift: u8,
        /// The window's bits, all set.
        mask: u16,
    }

    impl WindowFilter {
        pub(crate) const fn of(window: &Window) -> Self {
            let (shift, mask) = window.number_shift_and_mask();
            Self { first: window.slice_indices().start, shift, mask }
        }

        /// Returns whether a sample with this membership belongs to the window.
        const fn contains(self, membership: Membership) -> bool {
            membership.0 & self.mask != 0
        }

        /// Returns the number of a slice, shifted to the window's bits. `slice` is the index of the
        /// slice among the slices of all windows.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the number fits into the window's bits"
        )]
        const fn slice_bits(self, slice: usize) -> u16 {
            ((slice - self.first + 1) as u16) << self.shift
        }
    }

    /// Removes the samples of a slice from the window when the slice expires. `slice` is its index
    /// among the slices of all windows.
    #[inline(never)]
    pub(crate) fn remove_slice(samples: &mut [Sample], window: WindowFilter, slice: usize) {
        let bits = window.slice_bits(slice);
        for Sample(StoredSample { high, .. }) in samples {
            if *high as u16 & window.mask == bits {
                *high &= !u32::from(window.mask);
            }
        }
    }

    /// Does nothing when the clock steps back: all slices expire then, and [`remove_slice`] removes
    /// their samples.
    #[inline(always)]
    pub(crate) const fn clear_membership(_: &mut [Sample]) {}

    /// Writes the indices of the samples of a window, or of all samples if `window` is `None`, to
    /// `scratch`. Returns the number and the total weight of these samples.
    #[expect(clippy::cast_possible_truncation, reason = "an index is below MAX_SAMPLES")]
    fn select_indices(
        samples: &[Sample],
        scratch: &mut [Scratch],
        window: Option<WindowFilter>,
    ) -> (usize, u32) {
        let (mut selected, mut weight) = (0, 0);
        for (index, sample) in samples.iter().enumerate() {
            if window.is_none_or(|window| window.contains(sample.0.membership())) {
                scratch[selected] = index as u16;
                selected += 1;
                weight += 1 << sample.weighted().sampling();
            }
        }
        (selected, weight)
    }

    /// Sorts the selected indices by the values of their samples.
    // This is a function of its own so that its stack frame is released before the quantiles are
    // computed.
    fn sort(samples: &[Sample], selected: &mut [Scratch]) {
        select::shell_sort(selected, |index| {
            samples.get(usize::from(*index)).map_or(0, |sample| sample.0.value())
        });
    }

    /// Writes the indices of the samples of a window, or of all samples if `window` is `None`, to
    /// `scratch`, in ascending order of their values, and the values at the given quantiles to
    /// `found`. Returns the number of these samples.
    ///
    /// `count` is the number of samples that were recorded in the window. Returns `None` if the
    /// buffer does not hold all of them any more. The `bool` beside `count` is not used here: see
    /// `wide::quantiles`.
    pub(crate) fn quantiles<const K: usize>(
        samples: &[Sample],
        scratch: &mut [Scratch],
        window: Option<WindowFilter>,
        (count, _): (u64, bool),
        (quantiles, found): (&[Quantile; K], &mut [u64; K]),
    ) -> Option<usize> {
        let (selected, weight) = select_indices(samples, scratch, window);
        if selected as u64 != count {
            return None;
        }
        let indices = &mut scratch[..selected];
        sort(samples, indices);
        // A rank is at least 1, so the loop sets `value` before it is used. `reached` fits into a
        // `u32`, because there are at most 2^16 samples of weight 2^15.
        let (mut value, mut reached) = (0, 0_u32);
        let mut rest = indices.iter();
        for (found, quantile) in found.iter_mut().zip(quantiles) {
            let rank = quantile.rank(weight.into());
            while u64::from(reached) < rank {
                let Some(index) = rest.next() else { break };
                let sample = samples[usize::from(*index)];
                reached += 1 << sample.weighted().sampling();
                value = sample.0.value();
            }
            *found = value;
        }
        Some(selected)
    }
}
