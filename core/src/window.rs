//! Sliding windows, cut into slices.
//!
//! A slice starts at a multiple of its length. A window consists of the current slice, which is not
//! over yet, and the complete slices before it. The time it covers therefore varies between its
//! length minus one slice and its length.
//!
//! Each event has an array of slices, in which every window has a range of *places* (indices). A
//! window reuses its places in turn.

use core::{ops::Range, time::Duration};

use crate::{
    TickRate,
    clock::{duration_of, nanos_of},
    wide_math,
};

/// The length of a window and the number of slices it is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WindowSpec {
    /// The longest time that the window reaches back.
    pub length: Duration,
    /// The number of slices. The window advances by one slice at a time. The length of a slice must
    /// be a whole number of nanoseconds.
    pub slices: u16,
}

impl WindowSpec {
    /// 1 s in slices of 100 ms.
    pub const SECOND: Self = Self::new(Duration::from_secs(1), 10);
    /// 5 s in slices of 500 ms.
    pub const FIVE_SECONDS: Self = Self::new(Duration::from_secs(5), 10);
    /// 60 s in slices of 5 s.
    pub const MINUTE: Self = Self::new(Duration::from_mins(1), 12);
    /// 1 s, 5 s and 60 s.
    pub const DEFAULT: [Self; 3] = [Self::SECOND, Self::FIVE_SECONDS, Self::MINUTE];

    /// Creates the specification of a window.
    pub const fn new(length: Duration, slices: u16) -> Self {
        Self { length, slices }
    }
}

/// The position of a window. All zero until it is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Window {
    length_nanos: u64,
    slice_ticks: u64,
    /// The first tick of the current slice, a multiple of `slice_ticks`. Stored so that placing a
    /// record needs no division.
    slice_start: u64,
    /// The place of the current slice.
    current_place: usize,
    /// The first place of this window.
    first: usize,
    slices: u16,
    /// The bits of a buffered sample that hold the number of its slice in this window.
    #[cfg(not(target_pointer_width = "64"))]
    mask: u16,
    /// The position of the lowest bit of `mask`.
    #[cfg(not(target_pointer_width = "64"))]
    shift: u8,
}

impl Window {
    pub(crate) const EMPTY: Self = Self {
        length_nanos: 0,
        slice_ticks: 0,
        slice_start: 0,
        current_place: 0,
        first: 0,
        slices: 0,
        #[cfg(not(target_pointer_width = "64"))]
        mask: 0,
        #[cfg(not(target_pointer_width = "64"))]
        shift: 0,
    };

    /// Creates the window that ends at `now` and whose places start at `first`; `None` in the cases
    /// in which [`set_up`](Self::set_up) returns `false`.
    pub(crate) fn new(spec: &WindowSpec, rate: TickRate, now: u64, first: usize) -> Option<Self> {
        let mut window = Self::EMPTY;
        window.set_up(spec, rate, now, first).then_some(window)
    }

    /// Sets up the window in place, to end at `now` and with places that start at `first`.
    ///
    /// Returns `false` if there are no slices, a slice is shorter than a tick, or the length does
    /// not fit 64 bits of nanoseconds.
    pub(crate) fn set_up(
        &mut self,
        spec: &WindowSpec,
        rate: TickRate,
        now: u64,
        first: usize,
    ) -> bool {
        let Some(length_nanos) = nanos_of(spec.length) else { return false };
        if spec.slices == 0 {
            return false;
        }
        let slice_ticks =
            rate.ticks_in_nanos(wide_math::div_rem(length_nanos, spec.slices.into()).0);
        if slice_ticks == 0 {
            return false;
        }
        (self.length_nanos, self.slice_ticks, self.slices) =
            (length_nanos, slice_ticks, spec.slices);
        (self.first, self.current_place) = (first, first);
        self.slice_start = now - wide_math::div_rem(now, slice_ticks).1;
        true
    }

    /// Returns the longest time that the window reaches back.
    pub(crate) fn length(&self) -> Duration {
        duration_of(self.length_nanos)
    }

    /// Returns the number of slices.
    pub(crate) const fn slices(&self) -> u16 {
        self.slices
    }

    /// Returns the length of a slice, in ticks.
    pub(crate) const fn slice_ticks(&self) -> u64 {
        self.slice_ticks
    }

    /// Returns the places of this window's slices among the slices of an event.
    pub(crate) const fn places(&self) -> Range<usize> {
        self.first..self.first + self.slices as usize
    }

    /// Returns the first tick that belongs to the window.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub const fn start(&self) -> u64 {
        if cfg!(target_pointer_width = "64") {
            return self
                .slice_start
                .saturating_sub(self.slice_ticks.saturating_mul(self.slices as u64 - 1));
        }
        let (mut start, mut before) = (self.slice_start, self.slices - 1);
        while before > 0 {
            start = start.saturating_sub(self.slice_ticks);
            before -= 1;
        }
        start
    }

    /// Advances to the slice of `now`, and calls `clear` with each place that a new slice takes
    /// over.
    ///
    /// A `now` before the current slice changes nothing, unless `restart` is set: then the clock
    /// has stepped back, the window moves to `now` all the same, and all places are cleared.
    pub(crate) fn advance(&mut self, now: u64, restart: bool, mut clear: impl FnMut(usize)) {
        if !restart && !self.ends_by(now) {
            return;
        }
        let before = self.slice_start;
        self.slice_start = now - wide_math::div_rem(now, self.slice_ticks).1;
        // One slice at a time, because divisions are expensive on targets with 32-bit registers.
        // After as many steps as there are slices, every place has been cleared.
        let mut passed = self.slice_start.wrapping_sub(before);
        for _ in 0..self.slices {
            if !restart && passed == 0 {
                return;
            }
            passed = passed.wrapping_sub(self.slice_ticks);
            let next = self.current_place + 1;
            self.current_place = if next < self.places().end { next } else { self.first };
            clear(self.current_place);
        }
    }

    /// Returns whether the current slice is over at `now`.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) const fn ends_by(&self, now: u64) -> bool {
        now >= self.slice_start.saturating_add(self.slice_ticks)
    }

    /// Returns the number of bits that can number `slices` slices from 1.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn slice_number_bits(slices: u16) -> u32 {
        u16::BITS - slices.leading_zeros()
    }

    /// Assigns this window's slice number to the bits of a buffered sample that start at `shift`,
    /// and returns the next free bit.
    #[cfg(not(target_pointer_width = "64"))]
    #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
    pub(crate) const fn number_slices(&mut self, shift: u8) -> u8 {
        let bits = Self::slice_number_bits(self.slices);
        (self.shift, self.mask) = (shift, (((1_u32 << bits) - 1) << shift) as u16);
        let next = shift as u32 + bits;
        // The slice numbers of all windows may need more than 16 bits if no samples are buffered,
        // in which case the result is not used.
        if next >= u16::BITS { u16::BITS as u8 - 1 } else { next as u8 }
    }

    /// Returns the lowest bit and the mask of the bits that hold this window's slice number in a
    /// buffered sample.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn shift_and_mask(&self) -> (u8, u16) {
        (self.shift, self.mask)
    }

    /// Returns the place of the slice that `tick` belongs to; `None` if `tick` is before the
    /// window. A tick after the current slice counts as part of it.
    #[inline]
    pub(crate) fn place(&self, tick: u64) -> Option<usize> {
        if tick >= self.slice_start {
            Some(self.current_place)
        } else {
            self.slice(tick).map(|(place, _)| place)
        }
    }

    /// Like [`place`](Self::place), but also returns the first tick of the slice.
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of slices")]
    pub(crate) fn slice(&self, tick: u64) -> Option<(usize, u64)> {
        if cfg!(not(target_pointer_width = "64")) {
            return self.slice_by_steps(tick);
        }
        if tick >= self.slice_start {
            return Some((self.current_place, self.slice_start));
        }
        if tick < self.start() {
            return None;
        }
        let back = (self.slice_start - 1 - tick) / self.slice_ticks + 1;
        let turn =
            if self.current_place < self.first + back as usize { self.slices as usize } else { 0 };
        Some((
            self.current_place + turn - back as usize,
            self.slice_start - back * self.slice_ticks,
        ))
    }

    /// Computes [`slice`](Self::slice) by searching from the newest slice backwards, for targets
    /// with 32-bit registers: slices are few, and divisions are expensive there.
    fn slice_by_steps(&self, tick: u64) -> Option<(usize, u64)> {
        let (mut place, mut from) = (self.current_place, self.slice_start);
        for _ in 0..self.slices {
            if tick >= from {
                return Some((place, from));
            }
            place = if place == self.first { self.places().end - 1 } else { place - 1 };
            // Cannot wrap: `from` is a multiple of `slice_ticks`, and not 0 because it is above
            // `tick`.
            from = from.wrapping_sub(self.slice_ticks);
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
        /// Compares with a list of all ticks in the window, searched after each step.
        #[test]
        fn a_window_has_the_same_ticks_as_a_list(
            slice in 1..50_u64,
            slices in 1..12_u16,
            first in prop_oneof![0..1_000_u64, Just(u64::MAX / 2)],
            steps in proptest::collection::vec((0..400_u64, 0..200_u64), 1..60),
        ) {
            let spec = WindowSpec::new(Duration::from_nanos(slice * u64::from(slices)), slices);
            let mut window = Window::new(&spec, TICK, first, 3).unwrap();
            let mut counted = vec![0; 3 + usize::from(slices)];
            let mut seen: Vec<u64> = vec![];
            let mut now = first;
            for (step, age) in steps {
                now += step;
                window.advance(now, false, |place| counted[place] = 0);
                let tick = now.saturating_sub(age);
                let oldest = (now / slice).saturating_sub(u64::from(slices) - 1);
                prop_assert_eq!(window.start(), oldest * slice);
                prop_assert_eq!(window.place(tick).is_some(), tick / slice >= oldest);
                prop_assert_eq!(window.slice_by_steps(tick), window.slice(tick));
                let start = window.slice(tick).map(|(_, start)| start);
                prop_assert_eq!(start, (tick / slice >= oldest).then_some(tick / slice * slice));
                if let Some(place) = window.place(tick) {
                    counted[place] += 1;
                }
                seen.push(tick);
                seen.retain(|tick| tick / slice >= oldest);
                prop_assert_eq!(counted[3..].iter().sum::<usize>(), seen.len());
            }
        }
    }

    #[test]
    fn a_long_idle_time_clears_every_place_once() {
        let mut window = Window::new(&WindowSpec::SECOND, TICK, 0, 0).unwrap();
        let mut cleared = vec![];
        window.advance(1 << 62, false, |place| cleared.push(place));
        assert_eq!(cleared.len(), 10);
        assert_eq!(cleared.iter().collect::<BTreeSet<_>>().len(), 10);
        window.advance(5, false, |_| panic!("nothing to clear, because the clock stepped back"));
    }

    #[test]
    fn the_largest_tick_has_a_place() {
        let mut window = Window::new(&WindowSpec::MINUTE, TICK, u64::MAX - 1, 0).unwrap();
        window.advance(u64::MAX, false, |_| ());
        window.advance(u64::MAX, false, |_| ());
        assert!(window.place(u64::MAX).is_some());
        assert_eq!(window.place(0), None);
    }

    #[test]
    fn a_slice_shorter_than_a_tick_is_refused() {
        let slow = TickRate::from_hz(4).unwrap();
        assert_eq!(Window::new(&WindowSpec::SECOND, slow, 0, 0), None);
        assert_eq!(Window::new(&WindowSpec::new(Duration::from_secs(1), 0), TICK, 0, 0), None);
    }
}
