//! Which windows the samples in the buffer of an event belong to.
//!
//! The buffer holds the newest samples of an event. A query for exact quantiles has to select those
//! that belong to its window. A window is cut into intervals of equal length, its *slices*. Each
//! [representation](crate::repr) of a sample stores one part of its [`Membership`]: the tick, or
//! the slices.

use crate::{clock::OptionalTick, statistics::window::Window};

/// The slices of all windows that a tick belongs to, in 16 bits that are divided among the windows.
/// Those of a window hold the number of the slice, counted from 1, or 0 if the tick is outside the
/// window. In wide storage, which does not use the set, the windows may need more bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub(crate) struct SliceSet(u16);

impl SliceSet {
    /// No slice of any window.
    pub(crate) const NONE: Self = Self(0);

    /// Adds a slice of `window`, given by its index among the slices of all windows. Must be called
    /// at most once for each window.
    pub(crate) const fn add(&mut self, window: &Window, slice: usize) {
        self.0 |= WindowFilter::of(window).slice_bits(slice);
    }

    /// Returns the set as bits.
    pub(crate) const fn bits(self) -> u16 {
        self.0
    }
}

/// Which windows a sample belongs to: by its tick, and by its slices.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    /// The tick of the sample; none if it belongs to no window because it is from the future, from
    /// before a restart of the clock, or not kept in a buffer. (A tick from before the windows is
    /// excluded by their start.)
    pub(crate) tick: OptionalTick,
    /// The slices that the tick belongs to.
    pub(crate) slices: SliceSet,
}

impl Membership {
    /// Belongs to no window.
    pub(crate) const NONE: Self = Self { tick: OptionalTick::NONE, slices: SliceSet::NONE };

    /// Creates the membership of a sample with this tick, which belongs to these slices.
    #[inline(always)]
    pub(crate) const fn new(tick: u64, slices: SliceSet) -> Self {
        Self { tick: OptionalTick::some(tick), slices }
    }
}

/// Selects the samples that belong to a window.
#[derive(Clone, Copy, Debug)]
pub struct WindowFilter {
    /// The first tick of the window.
    start: u64,
    /// The index of the window's first slice among the slices of all windows. This slice has the
    /// number 1.
    first: usize,
    /// The position of the lowest of the window's bits in a [`SliceSet`].
    shift: u8,
    /// The window's bits in a [`SliceSet`], all set.
    mask: u16,
}

impl WindowFilter {
    /// Creates the filter of a window as it is now.
    #[inline(always)]
    pub(crate) const fn of(window: &Window) -> Self {
        let (shift, mask) = window.number_shift_and_mask();
        Self { start: window.start(), first: window.slice_indices().start, shift, mask }
    }

    /// Returns whether a sample with this tick belongs to the window.
    #[inline(always)]
    pub(crate) fn contains_tick(self, tick: OptionalTick) -> bool {
        tick >= OptionalTick::some(self.start)
    }

    /// Returns the mask of the window's bits. In the [`SliceSet`] of a sample that does not belong
    /// to the window, these bits are 0.
    pub(crate) const fn mask(self) -> u16 {
        self.mask
    }

    /// Returns the number of a slice, shifted to the window's bits. `slice` is the index of the
    /// slice among the slices of all windows.
    #[expect(clippy::cast_possible_truncation, reason = "the number fits into the window's bits")]
    pub(crate) const fn slice_bits(self, slice: usize) -> u16 {
        ((slice - self.first + 1) as u16) << self.shift
    }
}
