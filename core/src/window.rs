//! Sliding windows, cut into slices.
//!
//! A slice begins at a multiple of its length. The window that ends now consists of the current slice, which is not over
//! yet, and the full ones before it: it covers between its length less one slice and its length.

use core::{ops::Range, time::Duration};

use crate::{
    TickRate,
    clock::{duration_of, nanos_of},
    wide_math,
};

/// A window's length and in how many slices it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WindowSpec {
    /// How far it reaches back at the most.
    pub length: Duration,
    /// In how many slices it is cut: it moves on by one at a time. They divide the length into whole nanoseconds.
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

    /// A window of this length in so many slices.
    pub const fn new(length: Duration, slices: u16) -> Self {
        Self { length, slices }
    }
}

/// Where a window stands. All zero until it is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Window {
    length_nanos: u64,
    slice_ticks: u64,
    /// The first tick of the current slice, a multiple of the slice's length: cached, so that a record needs no division.
    begins: u64,
    /// The place of that slice, and of its first one, among those of all windows of an event.
    current_place: usize,
    first: usize,
    slices: u16,
    /// The bits in which the kept samples have the number of its slice, and the lowest one of them.
    #[cfg(not(target_pointer_width = "64"))]
    mask: u16,
    #[cfg(not(target_pointer_width = "64"))]
    shift: u8,
}

impl Window {
    pub(crate) const EMPTY: Self = Self {
        length_nanos: 0,
        slice_ticks: 0,
        begins: 0,
        current_place: 0,
        first: 0,
        slices: 0,
        #[cfg(not(target_pointer_width = "64"))]
        mask: 0,
        #[cfg(not(target_pointer_width = "64"))]
        shift: 0,
    };

    /// The window that ends at `now` and whose slices begin at the place `first`, or `None` if a slice is shorter than a tick
    /// or there are none.
    pub(crate) fn new(spec: &WindowSpec, rate: TickRate, now: u64, first: usize) -> Option<Self> {
        let mut window = Self::EMPTY;
        window.set_up(spec, rate, now, first).then_some(window)
    }

    /// The same, where it lies; `false` if there can be none.
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
            rate.ticks_in_nanos(wide_math::divided(length_nanos, spec.slices.into()).0);
        if slice_ticks == 0 {
            return false;
        }
        (self.length_nanos, self.slice_ticks, self.slices) =
            (length_nanos, slice_ticks, spec.slices);
        (self.first, self.current_place) = (first, first);
        self.begins = now - wide_math::divided(now, slice_ticks).1;
        true
    }

    /// How far it reaches back at the most.
    pub(crate) fn length(&self) -> Duration {
        duration_of(self.length_nanos)
    }

    /// In how many slices it is cut.
    pub(crate) const fn slices(&self) -> u16 {
        self.slices
    }

    /// How long a slice is.
    pub(crate) const fn slice_ticks(&self) -> u64 {
        self.slice_ticks
    }

    /// The places of its slices among those of all windows of an event.
    pub(crate) const fn places(&self) -> Range<usize> {
        self.first..self.first + self.slices as usize
    }

    /// The first tick that belongs to it.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub const fn start(&self) -> u64 {
        if cfg!(target_pointer_width = "64") {
            return self
                .begins
                .saturating_sub(self.slice_ticks.saturating_mul(self.slices as u64 - 1));
        }
        let (mut start, mut before) = (self.begins, self.slices - 1);
        while before > 0 {
            start = start.saturating_sub(self.slice_ticks);
            before -= 1;
        }
        start
    }

    /// Moves on to the slice of `now`, and calls `expired` with the place of each slice that begins anew: of all, if the clock does. Else a
    /// `now` before the current slice changes nothing.
    pub(crate) fn advance(&mut self, now: u64, is_anew: bool, mut expired: impl FnMut(usize)) {
        if !is_anew && !self.ends_by(now) {
            return;
        }
        let before = self.begins;
        self.begins = now - wide_math::divided(now, self.slice_ticks).1;
        // Slice after slice: divisions are dear where registers have 32 bits, and more than all do not count.
        let mut passed = self.begins.wrapping_sub(before);
        for _ in 0..self.slices {
            if !is_anew && passed == 0 {
                return;
            }
            passed = passed.wrapping_sub(self.slice_ticks);
            let next = self.current_place + 1;
            self.current_place = if next < self.places().end { next } else { self.first };
            expired(self.current_place);
        }
    }

    /// Whether the current slice is over by then.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) const fn ends_by(&self, now: u64) -> bool {
        now >= self.begins.saturating_add(self.slice_ticks)
    }

    /// How many bits number its slices from 1.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn bits(slices: u16) -> u32 {
        u16::BITS - slices.leading_zeros()
    }

    /// Has the kept samples have the number of its slice from this bit on; the next one behind.
    #[cfg(not(target_pointer_width = "64"))]
    #[expect(clippy::cast_possible_truncation, reason = "16 at the most")]
    pub(crate) const fn number_slices(&mut self, shift: u8) -> u8 {
        let bits = Self::bits(self.slices);
        (self.shift, self.mask) = (shift, (((1_u32 << bits) - 1) << shift) as u16);
        let next = shift as u32 + bits;
        // Where no samples are kept, there may be more slices than bits.
        if next >= u16::BITS { u16::BITS as u8 - 1 } else { next as u8 }
    }

    /// Where the kept samples have the number of its slice, from the lowest bit on, and these bits.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn mark(&self) -> (u8, u16) {
        (self.shift, self.mask)
    }

    /// The place of the slice that `tick` belongs to; `None` if it is older than the window. A tick after the current slice
    /// counts as in it.
    #[inline]
    pub(crate) fn place(&self, tick: u64) -> Option<usize> {
        if tick >= self.begins {
            Some(self.current_place)
        } else {
            self.slice(tick).map(|(place, _)| place)
        }
    }

    /// The same, and the slice's first tick.
    #[expect(clippy::cast_possible_truncation, reason = "fewer than there are slices")]
    pub(crate) fn slice(&self, tick: u64) -> Option<(usize, u64)> {
        if cfg!(not(target_pointer_width = "64")) {
            return self.slice_by_steps(tick);
        }
        if tick >= self.begins {
            return Some((self.current_place, self.begins));
        }
        if tick < self.start() {
            return None;
        }
        let back = (self.begins - 1 - tick) / self.slice_ticks + 1;
        let turn =
            if self.current_place < self.first + back as usize { self.slices as usize } else { 0 };
        Some((self.current_place + turn - back as usize, self.begins - back * self.slice_ticks))
    }

    /// The same, slice after slice: there are few of them, and divisions are dear where registers have 32 bits.
    fn slice_by_steps(&self, tick: u64) -> Option<(usize, u64)> {
        let (mut place, mut from) = (self.current_place, self.begins);
        for _ in 0..self.slices {
            if tick >= from {
                return Some((place, from));
            }
            place = if place == self.first { self.places().end - 1 } else { place - 1 };
            // The first slice of all begins at 0, and nothing is before that.
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
        /// Against a list of (tick, slice number) that is searched anew each time.
        #[test]
        fn membership_is_that_of_the_list(
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
                let begins = window.slice(tick).map(|(_, begins)| begins);
                prop_assert_eq!(begins, (tick / slice >= oldest).then_some(tick / slice * slice));
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
    fn a_long_idle_time_expires_every_slice_once() {
        let mut window = Window::new(&WindowSpec::SECOND, TICK, 0, 0).unwrap();
        let mut expired = vec![];
        window.advance(1 << 62, false, |place| expired.push(place));
        assert_eq!(expired.len(), 10);
        assert_eq!(expired.iter().collect::<BTreeSet<_>>().len(), 10);
        window.advance(5, false, |_| panic!("time went back"));
    }

    #[test]
    fn the_end_of_time_is_survived() {
        let mut window = Window::new(&WindowSpec::MINUTE, TICK, u64::MAX - 1, 0).unwrap();
        window.advance(u64::MAX, false, |_| ());
        window.advance(u64::MAX, false, |_| ());
        assert!(window.place(u64::MAX).is_some());
        assert_eq!(window.place(0), None);
    }

    #[test]
    fn a_slice_below_a_tick_is_refused() {
        let slow = TickRate::from_hz(4).unwrap();
        assert_eq!(Window::new(&WindowSpec::SECOND, slow, 0, 0), None);
        assert_eq!(Window::new(&WindowSpec::new(Duration::from_secs(1), 0), TICK, 0, 0), None);
    }
}
