//! Sliding windows, which are cut into slices.
//!
//! A *slice* of a window is an interval of time (not a Rust slice). Its start, in ticks, is a
//! multiple of its length. A window consists of the current slice, which is not over yet, and the
//! complete slices before it. The time that a window covers therefore varies between its length
//! minus one slice and its length, up to the rounding of a slice to the nearest tick.
//!
//! A window owns a range of indices, one for each of its slices. Whatever is kept per slice (sums,
//! bucket counts, exemplars) is in arrays with these indices. A new slice takes over the index of
//! the slice that leaves the window.

use core::{ops::Range, time::Duration};

use crate::{
    arithmetic,
    clock::{TickRate, duration_from_nanos, nanos_from_duration},
};

/// The length of a window and the number of slices it is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WindowSpec {
    /// The longest time that the window covers, up to the rounding of a slice to the nearest tick.
    /// Right after a new slice has begun, the window covers almost one slice less.
    pub length: Duration,
    /// The number of slices, at least 1. The window advances by one slice at a time.
    ///
    /// [`Aggregator::new`](crate::Aggregator::new) returns an error unless `length / slices` is a
    /// whole number of nanoseconds
    /// ([`ConfigError::SlicesDoNotDivide`](crate::ConfigError::SlicesDoNotDivide)). It rounds this
    /// to a whole number of ticks of the clock, which must not be 0
    /// ([`ConfigError::SliceTooShort`](crate::ConfigError::SliceTooShort)).
    pub slices: u16,
}

impl WindowSpec {
    /// The last second, in slices of 100 ms.
    pub const SECOND: Self = Self::new(Duration::from_secs(1), 10);
    /// The last 5 s, in slices of 500 ms.
    pub const FIVE_SECONDS: Self = Self::new(Duration::from_secs(5), 10);
    /// The last 60 s, in slices of 5 s.
    pub const MINUTE: Self = Self::new(Duration::from_mins(1), 12);
    /// The windows of 1 s, 5 s and 60 s.
    pub const DEFAULT: [Self; 3] = [Self::SECOND, Self::FIVE_SECONDS, Self::MINUTE];

    /// Specifies a window of this length that is cut into this number of slices.
    pub const fn new(length: Duration, slices: u16) -> Self {
        Self { length, slices }
    }
}

/// The state of a sliding window: its slices, and which of them is the current one.
///
/// The [`Storage`](crate::Storage) of an aggregator holds one for each [`WindowSpec`], and one in
/// each [`Rule`](crate::Rule) (a limit on a quantile or error rate). A window is all zero until it
/// is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct Window {
    /// The length in the [`WindowSpec`], in nanoseconds: the longest time that the window covers,
    /// up to the rounding of a slice to the nearest tick.
    length_nanos: u64,
    /// The length of a slice, in ticks.
    slice_ticks: u64,
    /// The first tick of the current slice, a multiple of `slice_ticks`. It is stored so that it
    /// takes only a comparison to find that a record is in the current slice, as most records are.
    /// Finding an earlier slice takes a search.
    slice_start: u64,
    /// The first tick of the window, that is of its oldest slice. It is 0 if the slices would reach
    /// back beyond tick 0. It is stored so that a tick before the window is found by a comparison.
    start: u64,
    /// The index of the current slice.
    current_index: usize,
    /// The smallest index of this window's slices.
    first_index: usize,
    /// The number of slices.
    slices: u16,
    /// The bits that hold the number of a sample's slice in this window: see
    /// [`assign_number_bits`](Self::assign_number_bits).
    number_mask: u16,
    /// The position of the lowest bit in `number_mask`.
    number_shift: u8,
}

impl Window {
    /// A window that is not set up, as in an empty storage.
    pub const EMPTY: Self = Self {
        length_nanos: 0,
        slice_ticks: 0,
        slice_start: 0,
        start: 0,
        current_index: 0,
        first_index: 0,
        slices: 0,
        number_mask: 0,
        number_shift: 0,
    };

    /// Creates a window and sets it up. Returns `None` if [`set_up`](Self::set_up) returns `false`.
    pub(crate) fn new(
        spec: &WindowSpec,
        rate: TickRate,
        now: u64,
        first_index: usize,
    ) -> Option<Self> {
        let mut window = Self::EMPTY;
        window.set_up(spec, rate, now, first_index).then_some(window)
    }

    /// Sets up the window in place: the slice that contains the tick `now` becomes the current one,
    /// and the slices get the indices from `first_index` on. `rate` is that of the clock.
    ///
    /// Returns `false` if the window has no slices, if the length of a slice is rounded to 0 ticks,
    /// or if the window is 2^64 ns or longer. The length of a slice is `length / slices`, rounded
    /// down to whole nanoseconds and then to the nearest tick.
    pub(crate) fn set_up(
        &mut self,
        spec: &WindowSpec,
        rate: TickRate,
        now: u64,
        first_index: usize,
    ) -> bool {
        let Some(length_nanos) = nanos_from_duration(spec.length) else { return false };
        if spec.slices == 0 {
            return false;
        }
        let slice_ticks =
            rate.ticks_in_nanos(arithmetic::div_rem(length_nanos, spec.slices.into()).0);
        if slice_ticks == 0 {
            return false;
        }
        (self.length_nanos, self.slice_ticks, self.slices) =
            (length_nanos, slice_ticks, spec.slices);
        (self.first_index, self.current_index) = (first_index, first_index);
        self.advance(now, true);
        true
    }

    /// Returns the length in the [`WindowSpec`]: the longest time that the window covers, up to the
    /// rounding of a slice to the nearest tick.
    pub(crate) fn length(&self) -> Duration {
        duration_from_nanos(self.length_nanos)
    }

    /// Returns the number of slices.
    pub(crate) const fn slices(&self) -> u16 {
        self.slices
    }

    /// Returns the length of a slice, in ticks.
    pub(crate) const fn slice_ticks(&self) -> u64 {
        self.slice_ticks
    }

    /// Returns the indices of this window's slices, which are not in the order of time: see
    /// [`newest_slices`](Self::newest_slices).
    pub(crate) const fn slice_indices(&self) -> Range<usize> {
        self.first_index..self.first_index + self.slices as usize
    }

    /// Returns the first tick of the window, that is of its oldest slice. It is 0 if the slices
    /// would reach back beyond tick 0.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Makes the slice that contains the tick `now` the current one.
    fn set_current_slice(&mut self, now: u64) {
        self.slice_start = now - arithmetic::div_rem(now, self.slice_ticks).1;
        // A loop, because 64-bit multiplications are expensive in 32-bit registers.
        self.start = (1..self.slices)
            .fold(self.slice_start, |start, _| start.saturating_sub(self.slice_ticks));
    }

    /// Makes the slice that contains the tick `now` the current one. Returns how many slices have
    /// left the window. As many new slices take over their indices; the caller must clear these
    /// [newest](Self::newest_slices) slices.
    ///
    /// A `now` before the current slice changes nothing, unless `restart` is set. With `restart`,
    /// the window moves to `now` even if that is earlier, as it is when the clock has stepped back,
    /// and all slices are new.
    #[inline(never)]
    pub(crate) fn advance(&mut self, now: u64, restart: bool) -> u16 {
        let (previous_start, mut expired) = (self.slice_start, 0);
        if restart || self.is_slice_over(now) {
            self.set_current_slice(now);
            // One slice at a time instead of dividing by the length of a slice, because divisions
            // are expensive on processors with 32-bit registers. The number of steps is limited to
            // the number of slices: after that many, every slice is new.
            //
            // Both starts are multiples of `slice_ticks`, so without `restart` the difference
            // reaches exactly 0. With `restart` the window may move back. The difference then
            // wraps, but it is not used.
            let mut ticks_to_advance = self.slice_start.wrapping_sub(previous_start);
            while expired < self.slices && (restart || ticks_to_advance > 0) {
                ticks_to_advance = ticks_to_advance.wrapping_sub(self.slice_ticks);
                expired += 1;
                let next = self.current_index + 1;
                self.current_index =
                    if next < self.slice_indices().end { next } else { self.first_index };
            }
        }
        expired
    }

    /// Returns the indices of the newest slices, `count` of them, which must not be more than there
    /// are. The current slice comes first.
    #[inline(always)]
    pub(crate) fn newest_slices(&self, count: u16) -> impl Iterator<Item = usize> + use<> {
        let (slices, mut next) = (self.slice_indices(), self.current_index);
        (0..count).map(move |_| {
            let index = next;
            next = if index == slices.start { slices.end - 1 } else { index - 1 };
            index
        })
    }

    /// Returns whether the current slice is over at the tick `now`.
    pub(crate) const fn is_slice_over(&self, now: u64) -> bool {
        now >= self.slice_end()
    }

    /// Returns the first tick after the current slice.
    pub(crate) const fn slice_end(&self) -> u64 {
        self.slice_start.saturating_add(self.slice_ticks)
    }

    /// Returns how many bits the numbers 0 to `slices` need. The number of a slice is its index
    /// minus the smallest index of the window, plus 1. 0 means that a sample is not in the window.
    pub(crate) const fn number_bits(slices: u16) -> u32 {
        u16::BITS - slices.leading_zeros()
    }

    /// Assigns to this window the bits from `shift` on, as many as its slice numbers need, in the
    /// 16-bit word that a sample in a compact sample buffer has for them. Returns the next free
    /// bit, at most 15. A wide sample has no such word, because it stores its tick.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the next bit is below 16, and the mask is not used if bits of it are cut off"
    )]
    pub(crate) const fn assign_number_bits(&mut self, shift: u8) -> u8 {
        let bits = Self::number_bits(self.slices);
        (self.number_shift, self.number_mask) = (shift, (((1_u32 << bits) - 1) << shift) as u16);
        let next = shift as u32 + bits;
        // If the windows use all 16 bits, no window comes after this one. In wide storage, or
        // without a sample buffer, they may need more than 16 bits together. The masks are not used
        // then, and capping the position only keeps the shift above from overflowing.
        if next >= u16::BITS { 15 } else { next as u8 }
    }

    /// Returns which bits of the 16-bit word of a compact sample hold the number of its slice in
    /// this window: the position of the lowest one, and a mask of all.
    pub(crate) const fn number_shift_and_mask(&self) -> (u8, u16) {
        (self.number_shift, self.number_mask)
    }

    /// Returns the index of the slice that contains `tick`, or `None` if `tick` is before the
    /// window. A tick after the current slice counts as part of the current slice.
    #[inline]
    pub(crate) fn slice_index(&self, tick: u64) -> Option<usize> {
        if tick >= self.slice_start {
            Some(self.current_index)
        } else {
            self.slice_index_and_start(tick).map(|(index, _)| index)
        }
    }

    /// Like [`slice_index`](Self::slice_index), but also returns the first tick of the slice.
    ///
    /// Searches from the current slice backwards, because a division would be expensive on
    /// processors with 32-bit registers. Takes time linear in the number of slices between the
    /// current one and that of the tick.
    #[inline(never)]
    pub(crate) fn slice_index_and_start(&self, tick: u64) -> Option<(usize, u64)> {
        // A tick before the window, of which there may be many after a pause of the drain, must not
        // take a search.
        if tick < self.start {
            return None;
        }
        let (mut index, mut start) = (self.current_index, self.slice_start);
        for _ in 0..self.slices {
            if tick >= start {
                return Some((index, start));
            }
            index =
                if index == self.first_index { self.slice_indices().end - 1 } else { index - 1 };
            // Cannot wrap: `start` is a multiple of `slice_ticks`, and not 0 because it is above
            // `tick`.
            start = start.wrapping_sub(self.slice_ticks);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{collections::BTreeSet, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    const TICK: TickRate = TickRate::NANOSECONDS;

    proptest! {
        /// Counts ticks by the index of their slice, and compares with a list of all ticks in the
        /// window. In each step, `step` is the time since the previous step, and `age` is how long
        /// ago the counted tick was.
        #[test]
        fn a_window_counts_the_same_ticks_as_a_list(
            slice_ticks in 1..50_u64,
            slices in 1..12_u16,
            first_now in prop_oneof![0..1_000_u64, Just(u64::MAX / 2)],
            steps in proptest::collection::vec((0..400_u64, 0..200_u64), 1..60),
        ) {
            let length = Duration::from_nanos(slice_ticks * u64::from(slices));
            let (spec, first_index) = (WindowSpec::new(length, slices), 3);
            let mut window = Window::new(&spec, TICK, first_now, first_index).unwrap();
            let mut counts = vec![0; first_index + usize::from(slices)];
            let mut list: Vec<u64> = vec![];
            let mut now = first_now;
            for (step, age) in steps {
                now += step;
                let expired = window.advance(now, false);
                window.newest_slices(expired).for_each(|index| counts[index] = 0);
                let tick = now.saturating_sub(age);
                // Slices are numbered from tick 0 on.
                let slice = tick / slice_ticks;
                let oldest = (now / slice_ticks).saturating_sub(u64::from(slices) - 1);
                prop_assert_eq!(window.start(), oldest * slice_ticks);
                prop_assert_eq!(window.slice_index(tick).is_some(), slice >= oldest);
                let start = window.slice_index_and_start(tick).map(|(_, start)| start);
                prop_assert_eq!(start, (slice >= oldest).then_some(slice * slice_ticks));
                if let Some(index) = window.slice_index(tick) {
                    counts[index] += 1;
                }
                list.push(tick);
                list.retain(|tick| tick / slice_ticks >= oldest);
                prop_assert_eq!(counts[first_index..].iter().sum::<usize>(), list.len());
            }
        }
    }

    #[test]
    fn a_long_idle_time_clears_every_index_once() {
        let mut window = Window::new(&WindowSpec::SECOND, TICK, 0, 0).unwrap();
        let expired = window.advance(1 << 62, false);
        let cleared: Vec<_> = window.newest_slices(expired).collect();
        assert_eq!(cleared.len(), 10);
        assert_eq!(cleared.iter().collect::<BTreeSet<_>>().len(), 10);
        assert_eq!(window.advance(5, false), 0, "the clock stepped back");
    }

    #[test]
    fn the_largest_tick_is_in_the_window() {
        let mut window = Window::new(&WindowSpec::MINUTE, TICK, u64::MAX - 1, 0).unwrap();
        for _ in 0..2 {
            window.advance(u64::MAX, false);
        }
        assert!(window.slice_index(u64::MAX).is_some());
        assert_eq!(window.slice_index(0), None);
    }

    #[test]
    fn a_window_without_slices_or_with_slices_of_0_ticks_is_refused() {
        // A tick is 250 ms, so slices of 100 ms are rounded to 0 ticks.
        let slow = TickRate::from_hz(4).unwrap();
        assert_eq!(Window::new(&WindowSpec::SECOND, slow, 0, 0), None);
        assert_eq!(Window::new(&WindowSpec::new(Duration::from_secs(1), 0), TICK, 0, 0), None);
    }
}
